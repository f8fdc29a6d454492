"""The README is true: its snippets run, its commands and links exist, and it does what it says."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from ecommerce.settings import Settings
from pydantic import SecretStr

from prodkit.errors import RateLimitedError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
#: Header fields, which look like classes.
HEADERS = {"RateLimit"}
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/ecommerce/README.md"]
PAGES += [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")]


def run(snippet: str) -> SimpleNamespace:
    """Execute a snippet as a module of its own."""
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)


@pytest.fixture
def example() -> SimpleNamespace:
    return run(SNIPPETS[0])


def client_of(example: SimpleNamespace) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(example.door), base_url="http://shop")


async def call_three_times(example: SimpleNamespace, door: str) -> None:
    if door == "function":
        assert [await example.units("laptop") for _ in range(3)] == [7, 7, 7]
    else:
        async with client_of(example) as client:
            answers = [await client.get("/stock/laptop") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_the_signature_of_a_function_is_kept(example):
    assert str(inspect.signature(example.units)) == "(product: str) -> int"


@pytest.mark.anyio
async def test_both_doors_answer_while_all_is_well(example):
    assert await example.units("laptop") == 7
    async with client_of(example) as client:
        assert (await client.get("/stock/laptop")).json() == {"product": "laptop"}


@pytest.mark.anyio
@pytest.mark.parametrize("door", ["function", "app"])
async def test_three_calls_through_either_door_and_both_refuse(example, door):
    await call_three_times(example, door)
    with pytest.raises(RateLimitedError):
        await example.units("laptop")
    async with client_of(example) as client:
        answer = await client.get("/stock/laptop")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit"].startswith('"default";r=0;t=')
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["policy"] == "rate_limiter default"
    assert problem["measured"] > problem["threshold"] == 3
    assert 0 < problem["retry_after"] <= 60


@pytest.mark.anyio
async def test_a_bare_function_is_a_middleware(capsys):
    pipeline = run(SNIPPETS[1]).pipeline

    @pipeline(operation="double")
    async def double(number: int) -> int:
        return 2 * number

    assert await double(21) == 42
    assert capsys.readouterr().out == "double OK\n"


@pytest.mark.parametrize(
    ("page", "lines"), [("README.md", 150), ("examples/ecommerce/README.md", 200)]
)
def test_it_is_short(page, lines):
    assert len((ROOT / page).read_text("utf-8").splitlines()) < lines


def test_the_shops_settings_are_what_its_readme_says():
    page = (ROOT / "examples/ecommerce/README.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`SHOP_\w+`(?:, )?)+) \| (.+?) \|", page, re.MULTILINE)
    assert len(rows) >= 8
    for names, defaults in rows:
        for name, told in zip(re.findall(r"SHOP_(\w+)", names), defaults.split(", "), strict=False):
            default = Settings.model_fields[name.lower()].default
            if not isinstance(default, SecretStr) and default is not None:
                nothing = {"any": "0", "none": str(type(default)())}
                said = nothing.get(told) or told.strip("`")
                assert str(default).removesuffix(".0") == said.removesuffix(".0")


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_are_in_the_makefile(page):
    beside = (ROOT / page).with_name("Makefile")
    makefile = beside if beside.exists() else ROOT / "Makefile"
    targets = set(re.findall(r"^([a-z-]+):", makefile.read_text(), re.MULTILINE))
    text = (ROOT / page).read_text("utf-8")
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "CHANGELOG.md", "examples/ecommerce/README.md"]
)
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_extras_are_those_of_the_distribution():
    rows = re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rows == list(project["optional-dependencies"])
    assert f"called `{project['name']}`" in README


def test_what_it_names_exists():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]?\w+)[(`]", prose)) - HEADERS
    assert len(named) > 10
    assert {name for name in named if not re.search(rf"class {name}\b", source)} == set()
    for module in re.findall(r"`(prodkit\.[\w.]+)`", prose):
        import_module(module)
