"""A shop per mesh for tests that only use it, and one's own for those that break it.

Where it is worth it a test asks for more: `@pytest.mark.parametrize("shop", SHOPS, indirect=True)`
runs it over servers as well, in one process ("engines") and in several ("fleet").
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import MESHES, ORIGIN, Shop
from servers import EnginesShop, Fleet, Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL, Redis and RabbitMQ, for the whole run."""
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.close()


@pytest.fixture(scope="session", params=MESHES)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A running shop, over each mesh; shared, so leave its switches as you found them."""
    shop = _shop(request, tmp_path_factory.mktemp("shop"))
    try:
        yield shop.start()
    finally:
        shop.close()


def _shop(request: pytest.FixtureRequest, folder: Path) -> Shop:
    settings: dict[str, object] = {
        "spans_file": folder / "spans.jsonl",
        "cors_origins": json.dumps([ORIGIN]),
        "revocations_every": 0.3,
    }
    if request.param in MESHES:
        return Shop(folder, mesh=request.param, **settings)
    settings |= request.getfixturevalue("servers").settings()
    if request.param == "engines":
        return EnginesShop(folder, **settings)
    return Fleet(folder, drain_delay=1, **settings)  # a moment for balancers to take notice


@pytest.fixture
def own_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Start shops of one's own: `own_shop(mesh="grpc")`."""
    shops: list[Shop] = []

    def start(**settings: object) -> Shop:
        made = Shop(tmp_path / str(len(shops)), **settings)
        made.folder.mkdir()
        shops.append(made)
        return made.start()

    yield start
    for each in shops:
        each.close()
