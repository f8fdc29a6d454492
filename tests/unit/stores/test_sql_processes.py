"""Processes that share a database file, as replicas of a service share a database."""

import asyncio
import importlib.util
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from prodkit.data.database import Database
from prodkit.errors import AbortedError
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio
SCRIPT = Path(__file__).with_name("idempotent_process.py")
spec = importlib.util.spec_from_file_location("idempotent_process", SCRIPT)
process_code = importlib.util.module_from_spec(spec)
spec.loader.exec_module(process_code)


class Process:
    def __init__(self, process):
        self.process = process

    async def hear(self):
        line = await self.process.stdout.readline()
        assert line, "the process ended"
        return line.decode().split()

    def tell(self):
        self.process.stdin.write(b"go on\n")

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        self.process.stdin.close()
        await self.process.wait()


@asynccontextmanager
async def processes(path, count, calls, stop="nowhere"):
    pipe = asyncio.subprocess.PIPE
    arguments = (sys.executable, str(SCRIPT), str(path), str(calls), stop)
    running = []
    try:
        for _ in range(count):
            started = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe)
            running.append(Process(started))
            assert await running[-1].hear() == ["ready"]
        yield running
    finally:
        for process in running:
            await process.kill()


async def effects_in(database):
    async with database.read() as tx:
        return (await tx.execute(select(process_code.effects.c.id))).scalars().all()


async def test_scenario_8_of_the_same_key_100_times_in_4_processes_one_runs(tmp_path):
    async with processes(tmp_path / "shop.db", count=4, calls=25) as running:
        for process in running:
            process.tell()
        heard = await asyncio.gather(*(hear_refusals(process) for process in running))
        winners = [process for process, runs in zip(running, heard, strict=True) if runs]
        assert len(winners) == 1
        winners[0].tell()
        first = await winners[0].hear()
        assert first[0] == "200"
        for process in running:
            assert await process.hear() == ["over"]
            process.tell()
            assert await process.hear() == first  # byte for byte
    database = Database(tmp_path / "shop.db")
    await database.start()
    assert len(await effects_in(database)) == 1
    await database.stop()


async def hear_refusals(process):
    """Hear of all calls but the one that runs, if it runs here; return how many do."""
    runs, refused = 0, 0
    while runs + refused < 25:
        line = await process.hear()
        if line == ["running"]:
            runs += 1
        else:
            assert line == ["409", "IDEMPOTENCY_KEY_IN_USE", "1.0"]
            refused += 1
    return runs


@pytest.mark.parametrize("point", ["claimed", "written", "committed"])
async def test_after_kill_9_the_lease_ends_and_the_effect_is_there_once(tmp_path, point):
    async with processes(tmp_path / "shop.db", count=1, calls=1, stop=point) as [victim]:
        victim.tell()
        assert await victim.hear() == ["reached"]
        await victim.kill()

    database = Database(tmp_path / "shop.db")
    await database.start()
    clock = ManualClock(wall=time.time())
    send = process_code.guarded(database, lambda call: process_code.pay(database, "never"), clock)
    if point != "committed":
        with pytest.raises(AbortedError, match="still running"):
            await send()
        assert await effects_in(database) == []
    clock.jump_wall(process_code.LEASE + 1)
    answer = await send()
    assert len(await effects_in(database)) == 1
    assert await send() == answer
    await database.stop()
