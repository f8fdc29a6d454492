"""What is read of a contract, and what it leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodkit.scaffold.readiness.proto import ProtoError, read_contract

HEAD = 'syntax = "proto3";\npackage x.v1;\nimport "prodkit/v1/options.proto";\n'
OPEN = "  rpc Make(A) returns (B) {\n"
LIBRARY = Path(__file__).parents[3] / "fixtures/library/v1/library.proto"


def contract(*lines: str) -> dict[str, str]:
    return {"x.proto": HEAD + "service S {\n" + "".join(lines) + "}\n"}


def method(option: str, more: str = "") -> dict[str, str]:
    return contract(OPEN, more, f"    option (prodkit.v1.method) = {option};\n", "  }\n")


FOUND = [
    (contract("  rpc Make(A) returns (B);\n"), ["rpc-access", "rpc-deadline"]),
    (contract(OPEN, "  }\n"), ["rpc-access", "rpc-deadline"]),
    (method("{deadline: {seconds: 1}}"), ["rpc-access"]),
    (method("{access: {} deadline: {seconds: 1}}"), ["rpc-access"]),
    (method("{access: {public: true}}"), ["rpc-deadline"]),
    (method('{access {permission: "deadline: {}"}}'), ["rpc-deadline"]),
    (method("{access: {public: true} /* deadline: {seconds: 1} */}"), ["rpc-deadline"]),
    (
        method("{access: {public: true}}", "    option idempotency_level = IDEMPOTENT;\n"),
        ["rpc-deadline"],
    ),
]

LEFT = [
    method("{access: {public: true} deadline: {seconds: 1}}"),
    method("{access {authenticated: true}, deadline {seconds: 1}}"),
    method('{access: <services: ["a", "b"]> deadline: <seconds: 1>}'),
    method("{access: {public: true}}", "    option idempotency_level = NO_SIDE_EFFECTS;\n"),
    contract(
        OPEN,
        "    option (.prodkit.v1.method).access.public = true;\n",
        "    option (prodkit.v1.method).deadline = {seconds: 1};\n",
        "  }\n",
    ),
    contract(
        "  rpc Watch(A) returns (stream B) {\n",
        "    option (prodkit.v1.method) = {access: {public: true}};\n",
        "  };\n",
    ),
    {"x.proto": "service S { rpc Make(A) returns (B); }"},  # no word of prodkit
    {"x.proto": HEAD + "message M { string rpc = 1; }\n// service S { rpc Make(A) returns (B); }"},
]


@pytest.mark.parametrize(("files", "rules"), FOUND)
def test_what_a_method_leaves_open_is_found_at_its_line(found, files, rules):
    assert found(files) == [(rule, 5) for rule in rules]


@pytest.mark.parametrize("files", LEFT)
def test_a_method_that_says_it_is_left_in_peace(found, files):
    assert found(files) == []


def test_a_method_is_ignored_by_a_comment(found):
    lines = "  // prodkit: ignore[rpc-access, rpc-deadline] it goes in the next version\n"
    assert found(contract(lines, "  rpc Make(A) returns (B);\n")) == []


@pytest.mark.parametrize(
    ("text", "line"), [("service S {\n", 1), ("a\n}\n", 2), ("service S {\n (]\n}", 2)]
)
def test_brackets_without_partners_are_told_with_their_line(text, line):
    with pytest.raises(ProtoError) as caught:
        read_contract("x.proto", text)
    assert caught.value.line == line


def test_it_reads_what_protoc_reads():
    """The names, streams and options of the fixture, as its own descriptors have them."""
    read = read_contract("library.proto", LIBRARY.read_text())
    text = LIBRARY.read_text()
    assert len(read.methods) == text.count("\n  rpc ")
    for each in read.methods:
        line = text.splitlines()[each.line - 1]
        assert f"rpc {each.name.partition('.')[2]}(" in line
        assert each.streams == ("returns (stream " in line)
        assert "access" in each.options
