from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold.names import DEPENDENCIES, LONGEST, Names, names_of, service_of

ROOT = Path(__file__).parents[3]
#: What is installed beside a generated project, to test and check it.
TOOLS = ("grpcio-tools", "hatchling", "import-linter", "mypy", "mypy-protobuf", "pytest", "ruff")


def test_a_name_has_its_forms():
    assert names_of("my-shop2") == Names("my-shop2", "my_shop2", "MY_SHOP2", "My shop2")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("My_Shop", "; my-shop would do"),
        ("myShop", "; my-shop would do"),
        ("2shop", "; shop would do"),
        ("-shop-", "; shop would do"),
        ("my shop", "; my-shop would do"),
        ("shop\n", "; shop would do"),
        ("a" * (LONGEST + 1), f"; {'a' * LONGEST} would do"),
        ("a--b", "; a-b would do"),
        ("../shop", "; shop would do"),
        ("", "characters"),
        ("注文", "characters"),
        ("١٢", "characters"),
    ],
)
def test_what_is_no_name_is_refused_with_what_is(name, instead):
    with pytest.raises(ConfigurationError, match="lower-case letters and digits") as refused:
        names_of(name)
    assert str(refused.value).endswith(instead)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "a keyword"),
        ("json", "standard library"),
        ("prodkit", "depend on"),
        ("prometheus-client", "depend on"),
        ("tests", "own folders"),
        ("test", "own folders"),
    ],
)
def test_reserved_names_are_refused_with_the_reason(name, reason):
    with pytest.raises(ConfigurationError, match=reason):
        names_of(name)


def test_a_service_hides_nobody_and_has_fewer_reserved_names():
    assert service_of("redis") == "redis"
    assert service_of("order-history") == "order_history"
    with pytest.raises(ConfigurationError, match="a keyword of Python"):
        service_of("class")
    with pytest.raises(ConfigurationError, match="no name of a service"):
        service_of("Orders")


def test_all_that_is_installed_beside_a_project_is_reserved():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"all"}
    found: dict[str, set[str]] = {}
    for name, asked in (("prodkit-services", extras), *((tool, set()) for tool in TOOLS)):
        gather(name, asked, found)
    modules = packages_distributions().items()
    brought = {
        module
        for module, distributions in modules
        if found.keys() & {normal(each) for each in distributions}
        if module.isidentifier() and not module.startswith("_")
    }
    assert {"starlette", "grpc", "yaml", "mypy"} <= brought
    assert (brought | found.keys()) - DEPENDENCIES == set()


def gather(name: str, extras: set[str], found: dict[str, set[str]]) -> None:
    """Collect what an installed distribution depends on, itself included."""
    known = found.setdefault(normal(name), set())
    if known and extras <= known:
        return
    known |= extras | {""}
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:  # another platform's
        del found[normal(name)]
        return
    for line in requires:
        needed, _, marker = line.partition(";")
        only = re.search(r"extra\s*==\s*['\"]([\w-]+)", marker)
        if only and only[1] not in extras:
            continue
        parts = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", needed)
        assert parts is not None
        gather(parts[1], set(filter(None, (parts[2] or "").split(","))), found)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
