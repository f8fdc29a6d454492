"""What tests that kill, stop and starve the shop are given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from harness import Shop


@pytest.fixture
def make_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Make shops of one's own, not started: `make_shop(drain_delay=3)`; they end with the test."""
    shops: list[Shop] = []

    def make(**settings: object) -> Shop:
        folder = tmp_path / f"shop-{len(shops)}"
        folder.mkdir()
        shops.append(Shop(folder, **settings))
        return shops[-1]

    yield make
    for each in shops:
        each.close()


@pytest.fixture
def own_shop(make_shop: Callable[..., Shop]) -> Callable[..., Shop]:
    """Start a shop and its sandbox: `own_shop(payment_patience=2)`."""
    return lambda **settings: make_shop(**settings).start()
