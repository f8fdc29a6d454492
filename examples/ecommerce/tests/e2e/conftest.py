"""A shop per mesh for tests that only use it, and one's own for those that break it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import MESHES, ORIGIN, Shop


@pytest.fixture(scope="session", params=MESHES)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A running shop, over each mesh; shared, so leave its switches as you found them."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(
        folder,
        mesh=request.param,
        spans_file=folder / "spans.jsonl",
        cors_origins=json.dumps([ORIGIN]),
        revocations_every=0.3,
    )
    try:
        yield shop.start()
    finally:
        shop.close()


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
