"""The pages of the policies have one form, and their tables are what the code is."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import MISSING, fields
from enum import Enum
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from blocks import DOCS, ROOT, name_of, rows_of, sections_of
from test_every_door import POLICIES, REFUSED

from prodkit import Event

FOLDER = DOCS / "policies"
FORM = [
    "About",
    "Usage",
    "Defaults and their reasons",
    "Behavior",
    "Events and metrics",
    "On each door",
    "Anti-patterns",
]
INDEX = (FOLDER / "index.md").read_text("utf-8")
#: Class, page and module of each policy, as the first table of the index has them.
LISTED = re.findall(r"^\| \[`(\w+)`\]\(([\w-]+)\.md\) \| `(\w+)` \|", INDEX, re.MULTILINE)
CLASSES = {
    name: getattr(import_module(f"prodkit.policies.{module}"), name) for name, _, module in LISTED
}
PAGE_OF = {name: FOLDER / f"{page}.md" for name, page, _ in LISTED}
MODULE_OF = {name: module for name, _, module in LISTED}
#: Where breakers have their options; what the other two share with it is linked.
OPTIONS = import_module("prodkit.policies.circuit_breaker").Options
#: Which of the doors that test_every_door opens stands for each row.
DOORS = {
    "HTTP in": "http in",
    "HTTP out": "http out",
    "gRPC in": "grpc in",
    "gRPC out": "grpc out",
    "messages": "messages",
    "functions": "function",
}
#: For tests and simulations alone; said once, on the index.
INJECTED = {"clock", "random"}


def defaults_of(name: str) -> dict[str, object]:
    """Return the options of a policy and their defaults; `required` where there is none."""
    empty = inspect.Parameter.empty
    signature = inspect.signature(CLASSES[name].__init__)
    found = {
        each.name: "required" if each.default is empty else each.default
        for each in list(signature.parameters.values())[1:]
        if each.name not in INJECTED and each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    if name == "CircuitBreaker":
        found |= {
            each.name: each.default for each in fields(OPTIONS) if each.default is not MISSING
        }
    return found


def same(told: str, default: object) -> bool:
    """Say whether a cell of a table tells a default."""
    told = told.strip("`")
    if told == "required":
        return default == told
    if isinstance(default, Enum):
        return told == f"{type(default).__name__}.{default.name}"
    if default is None or type(default) in (bool, int, float, str):
        value = ast.literal_eval(told)
        return value == default and type(value) is type(default)
    return default == OPTIONS() if told == "DEFAULTS" else told == getattr(default, "__name__", "")


@pytest.mark.parametrize("name", CLASSES)
def test_a_page_has_the_form_of_all(name):
    page = PAGE_OF[name]
    sections = sections_of(page)
    assert list(sections) == FORM
    assert all(text.strip() for text in sections.values())
    assert f"`{name}`" in sections["About"]
    assert "```python" in sections["Usage"]
    assert sections["Anti-patterns"].count("\n- **") >= 1


@pytest.mark.parametrize("name", CLASSES)
def test_the_defaults_are_those_of_the_code_and_each_has_a_reason(name):
    rows = rows_of(sections_of(PAGE_OF[name])["Defaults and their reasons"])
    defaults = defaults_of(name)
    assert {row[0].strip("`") for row in rows} == set(defaults)
    wrong = [row for row in rows if not same(row[1], defaults[row[0].strip("`")])]
    assert wrong == []
    assert all(len(row[2]) > 10 for row in rows)


def test_a_wrong_default_would_be_noticed():
    assert same("`0.5`", 0.5)
    assert not same("`0.25`", 0.5)
    assert not same("`1`", 1.0)
    assert not same("`1`", True)
    assert not same("`required`", None)
    assert not same("`by_client`", CLASSES["RateLimiter"])


def events_of(module: str) -> dict[str, type[Event]]:
    """Return the events that the modules of a policy declare, by name."""
    prefix = f"prodkit.policies.{module}"
    also = {"idempotency": "prodkit.policies.claim"}.get(module, prefix)
    return {
        each.__name__: each
        for each in Event.__subclasses__()
        if each.__module__ in (prefix, also) or each.__module__.startswith(f"{prefix}.")
    }


@pytest.mark.parametrize("name", CLASSES)
def test_the_events_are_those_of_the_code(name):
    rows = rows_of(sections_of(PAGE_OF[name])["Events and metrics"])
    declared = events_of(MODULE_OF[name])
    if name == "CircuitBreaker":
        del declared["BreakerStoreFailed"]
    elif name == "SharedCircuitBreaker":
        declared = {"BreakerStoreFailed": declared["BreakerStoreFailed"]}
    elif name == "KeyedCircuitBreaker":
        declared = {}
    assert {row[0].strip("`") for row in rows} == set(declared)
    for row in rows:
        event = declared[row[0].strip("`")]
        assert row[1] == event.level
        told = re.findall(r"`(\w+)`", row[2])
        assert told == [each.name for each in fields(event) if each.name != "policy"]


@pytest.mark.parametrize("name", CLASSES)
def test_the_metrics_are_declared(name):
    source = "".join(path.read_text() for path in (ROOT / "src/prodkit/telemetry").glob("*.py"))
    text = sections_of(PAGE_OF[name])["Events and metrics"]
    for metric in re.findall(r"`([a-z_]+)(?:\{[^}]*\})?`", text):
        if metric.endswith(("_total", "_state")) or metric.startswith("policy_calls"):
            assert f'"{metric}"' in source


@pytest.mark.parametrize("name", CLASSES)
def test_the_doors_are_those_that_the_tests_open(name):
    rows = rows_of(sections_of(PAGE_OF[name])["On each door"])
    assert [row[0] for row in rows] == list(DOORS)
    tried = [policy for policy in POLICIES if policy.partition(",")[0] == name]
    assert tried
    for door, told in rows:
        refused = any((policy, DOORS[door]) in REFUSED for policy in tried)
        assert told.startswith("Refused at start") is refused, f"{name} at {door}: {told}"


def test_no_policy_is_left_out():
    folder = ROOT / "src/prodkit/policies"
    modules = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert set(MODULE_OF.values()) == modules - {"claim"}
    assert len(CLASSES) == 14
    pages = {path.name for path in FOLDER.glob("*.md")} - {"index.md"}
    assert pages == {path.name for path in PAGE_OF.values()}
    assert {policy.partition(",")[0] for policy in POLICIES} == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_each_policy_can_be_changed_while_it_runs_and_shows_itself(name):
    policy = CLASSES[name]
    assert callable(policy.__call__)
    assert policy.__doc__
    assert hasattr(policy, "reconfigure")
    assert policy.__repr__ is not object.__repr__


def test_each_store_is_where_the_index_says():
    stores = set(re.findall(r"`((?:Memory|Sql|Redis)\w+Store)`", INDEX))
    modules = [import_module(f"prodkit.stores.{name}") for name in ("memory", "sql", "redis")]
    assert len(stores) == 8
    assert all(any(hasattr(module, store) for module in modules) for store in stores)


def test_the_pages_are_named_once():
    assert all(name_of(page).startswith("docs/policies/") for page in PAGE_OF.values())
    assert len(set(PAGE_OF.values())) == len(PAGE_OF)
