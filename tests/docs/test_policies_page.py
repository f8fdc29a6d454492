"""The page on policies is true: its snippets run and print what it shows, and it lists them all."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/policies.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: A block without a language, which no other block ends just before.
SHOWN = re.findall(r"\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
ROWS = re.findall(r"^\| `(\w+)` \| `([a-z_]+)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    "snippet", SNIPPETS, ids=["order", "route", "safe", "caller", "events", "change", "test"]
)
def test_a_snippet_runs_and_prints_what_the_page_shows(snippet, capsys):
    exec(compile(snippet, "policies.md", "exec", dont_inherit=True), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert printed == (SHOWN if "print" in snippet else "")


@pytest.mark.parametrize(("name", "module"), ROWS)
def test_each_policy_is_where_the_page_says(name, module):
    policy = getattr(import_module(f"prodkit.policies.{module}"), name)
    assert callable(policy.__call__)
    assert policy.__doc__
    assert hasattr(policy, "reconfigure")
    assert policy.__repr__ is not object.__repr__


def test_no_policy_is_left_out():
    folder = ROOT / "src/prodkit/policies"
    modules = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert {module for _, module in ROWS} == modules - {"claim"}
    assert len(ROWS) == 14


def test_each_store_is_where_the_page_says():
    stores = set(re.findall(r"`((?:Memory|Sql|Redis)\w+Store)`", PAGE))
    modules = [import_module(f"prodkit.stores.{name}") for name in ("memory", "sql", "redis")]
    assert len(stores) == 8
    assert all(any(hasattr(module, store) for module in modules) for store in stores)
