"""After kill -9 over SQLite the next process goes on at once, and waits for no lease to end."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from take_over_process import Service

from prodkit.data.saga import SagaStatus

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
PROCESS = Path(__file__).with_name("take_over_process.py")


class Broker:
    def __init__(self):
        self.ids = []

    async def publish(self, messages, /, *, mandatory=True):
        self.ids += [each.id for each in messages]


async def pay(run):
    return {"paid": run.attempt}


async def test_what_a_killed_process_held_is_free_at_once(tmp_path):
    path, broker = tmp_path / "orders.db", Broker()
    command = [sys.executable, str(PROCESS), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        await asyncio.to_thread(process.stdout.readline)
        service = Service(path, pay, broker)
        await service.start()
        await asyncio.sleep(1.0)
        held = await service.runner.get("s1")
        assert (held.progress.step, held.lease_left > 0) == ("pay", True)
        assert broker.ids == []
        await service.stop()
        process.kill()
    service = Service(path, pay, broker)
    await service.start()
    async with asyncio.timeout(60):  # the leases have ten minutes left
        while not broker.ids or not (await service.runner.get("s1")).status.ended:
            await asyncio.sleep(0.05)
    record = await service.runner.get("s1")
    await service.stop()
    assert (record.status, record.state) == (SagaStatus.COMPLETED, {"paid": 1})
    assert service.reserved == 0  # that step had been recorded
    assert broker.ids == ["e1"]
