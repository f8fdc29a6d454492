"""What every test of the shop may ask for, and which of them run in one process."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadGroupScheduling

_OVER_A_MESH = re.compile(r"/e2e/.*\[(local|grpc)\b")
_CHAOS = re.compile(r"tests/chaos/")
_LONG = re.compile(r"tests/(chaos|e2e)/")
_OVER_ENGINES = re.compile(r"/e2e/(test_(engines|full)\w*\.py|.*\[(engines|fleet)\b)")
#: The parameters of `shop`, and the fixtures, that start PostgreSQL, Redis and RabbitMQ.
_ENGINES, _SERVERS = re.compile(r"\[(engines|fleet)\b"), {"servers", "postgres"}

# Slow machines are busy, not wrong: no test of ours fails by time.
settings.register_profile(
    "shop", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shop")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OneShopPerMesh(LoadGroupScheduling):
    """Gives all tests over one mesh to one process, so that the shop they share starts once.

    So it does with those over PostgreSQL, Redis and RabbitMQ, which start once; and with chaos, for
    what times a shop and what starves one go badly together.

    Marks would say it too, but xdist 3.8 passes them on in a way that pytest 9.2 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        if _OVER_ENGINES.search(nodeid):
            return "shop over engines"
        if _CHAOS.search(nodeid):
            return "chaos"
        found = _OVER_A_MESH.search(nodeid)
        return super()._split_scope(nodeid) if found is None else f"shop over {found[1]}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "servers: needs PostgreSQL, Redis, RabbitMQ or nginx; run by `make test-full`"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers, and begin with what takes longest: everybody waits for it."""
    for item in items:
        if _ENGINES.search(item.nodeid) or _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    items.sort(key=lambda item: _LONG.search(item.nodeid) is None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # not by the number of tests: by the order above
    return OneShopPerMesh(config, log)
