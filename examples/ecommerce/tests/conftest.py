"""What every test of the shop may ask for."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
