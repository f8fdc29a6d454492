import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
from httpx2 import ASGITransport, AsyncClient
from starlette.applications import Starlette

from prodkit.errors import ConfigurationError
from prodkit.service.component import State
from prodkit.service.health import Check, Health, Status
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Dependency:
    """Something to check: it answers, fails, or hangs, and counts who asks."""

    def __init__(self, clock):
        self.clock = clock
        self.asked = 0
        self.error = None
        self.takes = 0.0

    async def ping(self):
        self.asked += 1
        if self.takes:
            await self.clock.sleep(self.takes)
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(clock):
    return Dependency(clock)


@pytest.fixture
def mail(clock):
    return Dependency(clock)


@pytest.fixture
async def health(database, mail, clock):
    health = Health(
        [Check("database", database.ping), Check("mail", mail.ping, essential=False)],
        clock=clock,
    )
    health.enter(State.READY)
    yield health
    await health.close()


@pytest.fixture
async def get(health):
    app = Starlette(routes=health.routes())
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:

        async def get(path):
            return await client.get(path)

        yield get


async def test_all_is_well(get):
    response = await get("/health")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["status"], body["state"]) == ("healthy", "ready")
    assert body["checks"]["database"] == {"status": "healthy", "duration_ms": 0.0}
    ready = await get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_an_essential_dependency_makes_it_unready_and_another_one_degraded(
    get, database, mail, clock
):
    mail.error = ConnectionError("smtp://user:hunter2@mail")
    assert (await get("/health")).json()["status"] == "degraded"
    assert (await get("/health/ready")).status_code == 200
    database.error = ConnectionError("postgres://app:hunter2@db")
    await clock.advance(1)
    detail, ready, live = [await get(f"/health{path}") for path in ("", "/ready", "/live")]
    assert [r.status_code for r in (detail, ready, live)] == [503, 503, 200]
    assert detail.json()["checks"]["database"]["error"] == "failed"
    assert ready.json() == {"status": "unhealthy"}
    assert "hunter2" not in detail.text


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.STOPPED])
async def test_it_is_ready_in_one_state_only(health, get, state):
    health.enter(state)
    ready = await get("/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": state.value})
    assert (await get("/health/live")).status_code == 200


async def test_results_are_kept_for_a_second(health, database, clock):
    for _ in range(10):
        await health.report()
    assert database.asked == 1
    await clock.advance(1)
    await health.report()
    assert database.asked == 2


async def test_a_crowd_makes_one_check(health, database, clock):
    database.takes = 0.02
    crowd = [asyncio.create_task(health.report()) for _ in range(50)]
    await clock.advance(0.02)
    assert {report.status for report in await asyncio.gather(*crowd)} == {Status.HEALTHY}
    assert database.asked == 1


async def test_checks_run_together(health, database, mail, clock):
    database.takes = mail.takes = 0.02
    report = asyncio.create_task(health.report())
    await clock.advance(0.02)
    assert report.done()


async def test_a_hanging_dependency_does_not_hold_the_probe(health, database, clock):
    """Scenario 35: the answer comes within 50 ms, and says 503 one time limit later."""
    await health.report()
    database.takes = 600
    await clock.advance(1)
    for expected in (Status.HEALTHY, Status.UNHEALTHY):
        asking = asyncio.create_task(health.report())
        await clock.advance(0.05)
        assert asking.done()
        assert asking.result().status is expected
        await clock.advance(0.95)
    assert asking.result().results["database"].error == "timeout"


async def test_a_check_that_cannot_be_cancelled_fails_in_time(health, database, clock):
    await health.report()
    stuck = asyncio.Event()

    async def wait_without_end(_):
        while not stuck.is_set():
            with suppress(asyncio.CancelledError):
                await stuck.wait()

    database.takes, database.clock = 1, SimpleNamespace(sleep=wait_without_end)
    await clock.advance(1)
    asking = asyncio.create_task(health.report())
    await clock.advance(0.05)
    assert asking.result().status is Status.HEALTHY
    await clock.advance(1)
    asking = asyncio.create_task(health.report())
    await clock.advance(0.05)
    assert asking.result().results["database"].error == "timeout"
    assert not asking.result().ready
    stuck.set()
    database.takes = 0
    await clock.advance(1.1)
    assert (await health.report()).ready


async def test_what_was_never_found_out_is_not_healthy(health, database, clock):
    database.takes = 600
    asking = asyncio.create_task(health.report())
    await clock.advance(0.05)
    report = asking.result()
    assert report.results["database"].error == "unknown"
    assert not report.ready


async def test_a_probe_that_leaves_does_not_end_the_check(health, database, clock):
    database.takes = 0.5
    asking = asyncio.create_task(health.report())
    await clock.settle()
    asking.cancel()
    await clock.advance(0.5)
    assert (await health.report()).status is Status.HEALTHY
    assert database.asked == 1


async def test_recovery_is_seen(health, database, clock):
    database.error = OSError("away")
    assert not (await health.report()).ready
    database.error = None
    await clock.advance(1)
    assert (await health.report()).ready


async def test_close_ends_what_runs_in_the_background(health, database, clock):
    database.takes = 600
    asking = asyncio.create_task(health.report())
    await clock.advance(0.05)
    await asking
    await health.close()
    assert [t for t in asyncio.all_tasks() if t.get_name().startswith("check ")] == []


def test_names_are_unique_and_time_limits_positive(database):
    health = Health([Check("database", database.ping)])
    with pytest.raises(ConfigurationError, match="database"):
        health.add(Check("database", database.ping))
    with pytest.raises(ValueError, match="timeout"):
        Check("x", database.ping, timeout=0)
