"""What every test of the shop may ask for, and which of them run in one process."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadGroupScheduling

_OVER_A_MESH = re.compile(r"/e2e/.*\[(local|grpc)\b")
_OVER_ENGINES = re.compile(r"/e2e/(test_(engines|full)\w*\.py|.*\[(engines|fleet)\b)")

# Slow machines are busy, not wrong: no test of ours fails by time.
settings.register_profile(
    "prodkit", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("prodkit")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OneShopPerMesh(LoadGroupScheduling):
    """Gives all tests over one mesh to one process, so that the shop they share starts once.

    So it does with those over PostgreSQL, Redis and RabbitMQ, which start once.

    Marks would say it too, but xdist 3.8 passes them on in a way that pytest 9.2 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        if _OVER_ENGINES.search(nodeid):
            return "shop over engines"
        found = _OVER_A_MESH.search(nodeid)
        return super()._split_scope(nodeid) if found is None else f"shop over {found[1]}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    return OneShopPerMesh(config, log) if config.getvalue("dist") == "loadgroup" else None
