"""Text put into files that are there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodkit.scaffold.event_table import entries_of, with_entry
from prodkit.scaffold.insertion import PlaceError, with_import, with_method
from prodkit.scaffold.protofile import read_proto, with_proto_import, with_rpc

SHOP = Path(__file__).parents[3] / "examples/ecommerce/src/ecommerce"
METHOD = 'async def Find(self) -> None:\n    """Find it."""\n\n    return None\n'


def ruff(text: str, *words: str) -> str:
    command = [sys.executable, "-m", "ruff", *words, "--isolated", "--stdin-filename", "a.py", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def laid_out(text: str) -> bool:
    return not ruff(text, "format", "--check", "--line-length", "100") and not ruff(
        text, "check", "--select", "I"
    )


CLASS = '''\
"""It."""


class Servicer(Base):  # a base
    """Serves."""

    async def Get(self) -> str:
        """Get it."""
        return """
} no end
"""  # the end of it


class Other:
    pass
'''


def test_a_method_goes_to_the_end_of_its_class():
    text = with_method(CLASS, "Servicer", METHOD)
    added = '\n    async def Find(self) -> None:\n        """Find it."""\n\n        return None\n'
    assert text == CLASS.replace("  # the end of it\n", f"  # the end of it\n{added}")
    assert laid_out(text)


def test_a_class_at_the_end_of_a_file_without_a_newline_takes_one():
    text = with_method("class A:\n    x = 1", "A", METHOD)
    assert text.startswith("class A:\n    x = 1\n\n    async def Find(self)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Other:\n    pass\n", "there is no class Servicer"),
        ("class Servicer: pass\n", "stands on one line"),
        ("class Servicer:\n    def Find(self): ...\n", r"Servicer\.Find is there already"),
        ("class Servicer\n", "line 1: this is no Python"),
        ("\0", "this is no Python"),
        ("", "there is no class Servicer"),
        ("class Servicer:\n    x = 1; \\\n    y = 2\n    if x:\n        pass; z = 1 # \\\n", None),
    ],
)
def test_a_class_that_takes_no_method_is_told(text, said):
    if said is None:
        assert "Find" in with_method(text, "Servicer", METHOD)
        return
    with pytest.raises(PlaceError, match=said):
        with_method(text, "Servicer", METHOD)


IMPORTS = "from __future__ import annotations\n\nfrom os import path\n\nfrom ..kit import Kit\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (IMPORTS, IMPORTS + "from .on_b2 import f\n"),
        (
            IMPORTS + "from .on_a import f\n",
            IMPORTS + "from .on_a import f\nfrom .on_b2 import f\n",
        ),
        (
            IMPORTS + "from .on_b10 import f\n",
            IMPORTS + "from .on_b2 import f\nfrom .on_b10 import f\n",
        ),
        ("import os\n\nA = 1\n", "import os\n\nfrom .on_b2 import f\n\nA = 1\n"),
        (
            "import os\n\nfrom .on_c import (\n    f,\n)\n",
            "import os\n\nfrom .on_b2 import f\nfrom .on_c import (\n    f,\n)\n",
        ),
    ],
)
def test_an_import_goes_where_it_sorts(text, wanted):
    assert with_import(text, "from .on_b2 import f") == wanted
    assert not ruff(wanted, "check", "--select", "I")


TABLE = 'def handlers(kit):\n    return {\n        "a.b": kit.once(on_a),  # it, too\n    }\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TABLE, TABLE.replace("too\n", 'too\n        "c.d": new(kit.once(on_a)),\n')),
        (
            TABLE.replace("),", ")"),
            TABLE.replace("too\n", 'too\n        "c.d": new(kit.once(on_a)),\n'),
        ),
        (
            "f(\n"
            '    many=[kit.consumer({"a_rather_long_name.for.an_event": kit.once(function)})],\n'
            ")\n",
            """\
f(
    many=[
        kit.consumer(
            {
                "a_rather_long_name.for.an_event": kit.once(function),
                "c.d": new(kit.once(function)),
            }
        )
    ],
)
""",
        ),
        ('HANDLERS = {"ä.b": é}\n', 'HANDLERS = {"ä.b": é, "c.d": new(é)}\n'),
        ('HANDLERS = {"ä.b": é, }\n', 'HANDLERS = {"ä.b": é, "c.d": new(é)}\n'),
        ('Consumer(q, {"a.#": g(h),})\n', 'Consumer(q, {"a.#": g(h), "c.d": new(g(h))})\n'),
    ],
)
def test_an_entry_goes_to_the_end_of_its_table(text, wanted):
    made = with_entry(text, "c.d", lambda last: f"new({last})")
    assert made == wanted
    assert list(entries_of(made))[-1] == "c.d"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("handlers = {}\n", "it holds no tables of events"),
        ('TEXTS = {"a.b": f}\n', "it holds no tables of events"),
        ('handlers = {"a": f}\n', "it holds no tables of events"),
        ('handlers = {"a.b": 1}\n', "it holds no tables of events"),
        (
            'handlers = {"a.b": f}\nconsumer({"b.c": f})\n',
            "it holds 2 tables of events, and should hold one",
        ),
        ('handlers = {"c.d": f}\n', r"c\.d is handled already"),
        ('handlers = {\n    "a.b": (f)\n}\n', "do it by hand"),
    ],
)
def test_a_table_that_takes_no_entry_is_told(text, said):
    with pytest.raises(PlaceError, match=said):
        with_entry(text, "c.d", lambda last: last)


PIECES = st.lists(
    st.sampled_from(
        [
            *("class A:\n", "    x = 1\n", "    def f(self): ...\n", "import c\n", "\\\n", "é"),
            *('"""', "# {\n", "\n", "handlers = {", '"a.b": f', ",", "}", "\n}\n", "\f", "\r\n"),
            "from .a import b\n",
        ]
    ),
    max_size=12,
)


@given(PIECES)
@settings(max_examples=200, deadline=None)
def test_whatever_a_file_holds_it_is_as_it_was_and_one_thing_more(pieces):
    text = "".join(pieces)
    for put in (
        lambda: with_method(text, "A", METHOD),
        lambda: with_import(text, "from .on_b import f"),
        lambda: with_entry(text, "c.d", lambda last: last),
    ):
        try:
            made = put()
        except PlaceError:
            continue
        ast.parse(made)
        rest = iter(made)
        assert all(letter in rest for letter in text.rstrip()), "something is gone"


PROTO = """\
// service Fake { rpc Not(A) returns (B); }
syntax = "proto3";
package shop.stock.v1;
import "google/api/annotations.proto";

/* service Fake2 {} */
service StockService {
  // One item, or "}" in quotes.
  rpc GetItem(GetItemRequest) returns (Item) {
    option (google.api.http) = {get: "/v1/items/{id}"};
  }
  rpc List(Item) returns (stream Item); // the end }
}

service Empty {}

message Item { string id = 1; message Inner { string name = 1 [default = "}"]; } }
message GetItemRequest {}
"""
RPC = "// Find.\nrpc Find(FindRequest) returns (FindResponse);"
MESSAGES = "message FindRequest {}\n\nmessage FindResponse {}\n"


def test_a_proto_file_is_read_as_far_as_needed():
    found = read_proto(PROTO)
    assert found.package == "shop.stock.v1"
    assert found.imports == ["google/api/annotations.proto"]
    assert {each.name: each.methods for each in found.services.values()} == {
        "StockService": ["GetItem", "List"],
        "Empty": [],
    }
    assert found.names == ["Item", "GetItemRequest"]


@pytest.mark.parametrize("service", ["StockService", "Empty"])
def test_a_method_goes_to_the_end_of_its_service(service):
    made = with_rpc(PROTO, service, "Find", RPC, MESSAGES)
    assert read_proto(made).services[service].methods[-1] == "Find"
    assert made.endswith("message FindRequest {}\n\nmessage FindResponse {}\n")
    rest = iter(made)
    assert all(letter in rest for letter in PROTO)


@pytest.mark.parametrize(
    ("text", "service", "method", "said"),
    [
        (PROTO, "Other", "Find", "there is no service Other; there are StockService, Empty"),
        (PROTO, "StockService", "List", r"StockService\.List is there already"),
        (f"{PROTO}message FindRequest {{}}\n", "Empty", "Find", "the name FindRequest is taken"),
        (f"{PROTO}enum FindResponse {{ A = 0; }}\n", "Empty", "Find", "the name FindResponse is"),
        (f"{PROTO}}}", "Empty", "Find", "its braces do not match"),
        (f"{PROTO}message A {{", "Empty", "Find", "its braces do not match"),
    ],
)
def test_a_contract_that_takes_no_method_is_told(text, service, method, said):
    with pytest.raises(PlaceError, match=said):
        with_rpc(text, service, method, RPC, MESSAGES)


def test_an_import_is_made_once():
    made = with_proto_import(PROTO, "buf/validate/validate.proto")
    wanted = ["google/api/annotations.proto", "buf/validate/validate.proto"]
    assert read_proto(made).imports == wanted
    assert with_proto_import(made, "buf/validate/validate.proto") == made
    with pytest.raises(PlaceError, match="it imports nothing"):
        with_proto_import('syntax = "proto3";\n', "a.proto")


def test_contracts_of_the_shop_compile_with_a_method_more(tmp_path):
    from prodkit.contract.compile import compile_contracts

    for path in SHOP.rglob("*.proto"):
        text = path.read_text("utf-8")
        for service in read_proto(text).services:
            text = with_rpc(
                text,
                service,
                f"Find{service}",
                RPC.replace("Find", f"Find{service}"),
                MESSAGES.replace("Find", f"Find{service}"),
            )
        place = tmp_path / "ecommerce" / path.relative_to(SHOP)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    made = compile_contracts([tmp_path / "ecommerce"], [tmp_path])
    assert any(b"FindStockService" in file.content for file in made)
