"""The whole shop in the process of a test, for services that were added to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prodkit.service.component import State

if TYPE_CHECKING:
    from ecommerce.settings import Settings


def _ports(*names: str) -> dict[str, int]:
    probes = [socket.socket() for _ in names]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}
    for probe in probes:
        probe.close()
    return found


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Settings]:
    """Serve, services over gRPC; a drain ends it, and must go well."""
    # Most tests start the shop as processes of its own, and need none of it here.
    from ecommerce.platform import build
    from ecommerce.settings import Settings

    told = {"environment": "test", "drain_delay": 0, "data_dir": folder, "mesh": "grpc"}
    settings = Settings.model_validate(told | _ports("port", "admin_port", "grpc_port"))
    platform = build(settings)
    process = asyncio.create_task(platform.serve())
    try:
        while platform.state is not State.READY:
            assert not process.done(), "it did not start"
            await asyncio.sleep(0.01)
        yield settings
    finally:
        platform.drain("the test is over")
        assert await process == 0
