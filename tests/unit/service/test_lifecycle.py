import asyncio

import pytest
import structlog

from prodkit.errors import ConfigurationError, DeadlineExceededError, UnavailableError
from prodkit.service.lifecycle import Lifecycle, Parts, State
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Part:
    """A component that writes down what happens to it; `work` is how long its stop needs."""

    def __init__(self, name, journal, clock, *, edge=False, work=0.0, fails=None, starts_in=0.0):
        self.name = name
        self.edge = edge
        self.grace = None
        self._journal = journal
        self._clock = clock
        self._work = work
        self._fails = fails
        self._starts_in = starts_in

    async def start(self):
        try:
            await self._clock.sleep(self._starts_in)
        except asyncio.CancelledError:
            self._journal.append(f"{self.name} start cancelled")
            raise
        if self._fails == "start":
            raise ConnectionError("no such host")
        self._journal.append(f"{self.name} up")

    async def stop(self, grace):
        self.grace = grace
        try:
            await self._clock.sleep(min(self._work, grace) if self.polite else self._work)
        except asyncio.CancelledError:
            self._journal.append(f"{self.name} cut")
            raise
        if self._fails == "stop":
            raise OSError("broken")
        self._journal.append(f"{self.name} down")

    polite = True


class Rude(Part):
    polite = False


class Mortal(Part):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.death = asyncio.get_running_loop().create_future()

    async def wait(self):
        await asyncio.shield(self.death)


class Announced(Part):
    def quiesce(self):
        self._journal.append(f"{self.name} quiesced")


class AnnouncedAsync(Announced):
    async def quiesce(self):
        super().quiesce()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def journal():
    return []


class Process:
    """A lifecycle under test, with the hand on its clock."""

    def __init__(self, parts, clock, journal, **options):
        self.clock = clock
        self.lifecycle = Lifecycle(
            parts,
            clock=clock,
            on_state=lambda state: journal.append(f"[{state.value}]"),
            **options,
        )
        self.task = asyncio.create_task(self.lifecycle.run())

    async def exit_code(self):
        await self.clock.advance(0.0)
        assert self.task.done(), "the process still runs"
        return self.task.result()


@pytest.fixture
def run(clock, journal):
    def run(parts, **options):
        return Process(parts, clock, journal, **options)

    return run


@pytest.fixture
def part(clock, journal):
    def part(name, kind=Part, **options):
        return kind(name, journal, clock, **options)

    return part


async def test_up_by_dependency_and_down_in_reverse(run, part, journal, clock):
    parts = Parts(
        resources=[part("database"), part("broker")],
        servers=[part("http", Announced, edge=True), part("grpc", AnnouncedAsync)],
        consumers=[part("events")],
        workers=[part("relay")],
        telemetry=[part("telemetry")],
    )
    process = run(parts)
    await clock.settle()
    assert journal == [
        "[starting]",
        *("telemetry up", "database up", "broker up", "grpc up", "events up", "relay up"),
        "http up",
        "[ready]",
    ]
    journal.clear()
    process.lifecycle.drain("SIGTERM")
    await clock.settle()
    assert journal[0] == "[draining]"
    assert sorted(journal[1:]) == ["grpc quiesced", "http quiesced"]
    journal.clear()
    await clock.advance(2.999)
    assert journal == []
    await clock.advance(0.001)
    assert journal == [
        *("http down", "relay down", "events down", "grpc down", "telemetry down"),
        *("broker down", "database down", "[stopped]"),
    ]
    assert await process.exit_code() == 0


async def test_one_deadline_for_all_phases(run, part, clock):
    edge, worker = part("http", edge=True, work=3.0), part("relay", work=1.0)
    internal, resource = part("grpc"), part("database")
    process = run(
        Parts([resource], [edge, internal], [], [worker]), drain_delay=2.0, drain_timeout=5.0
    )
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(2.0 + 3.0 + 1.0)
    assert [c.grace for c in (edge, worker, internal)] == [5.0, 2.0, 1.0]
    assert resource.grace == pytest.approx(2.0)  # what closes may take one second more
    assert await process.exit_code() == 0


async def test_work_beyond_the_deadline_is_cut_and_the_exit_code_says_so(run, part, clock, journal):
    edge = part("http", Rude, edge=True, work=60.0)
    process = run(
        Parts([part("database")], [edge, part("grpc")]), drain_delay=0.0, drain_timeout=5.0
    )
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(5.39)
    assert not process.task.done()
    await clock.advance(0.01)
    assert journal[-4:] == ["http cut", "grpc down", "database down", "[stopped]"]
    assert await process.exit_code() == 1


async def test_a_part_that_cuts_its_own_work_at_the_deadline_is_not_a_clean_drain(run, part, clock):
    process = run(Parts(servers=[part("http", edge=True, work=60.0)]), drain_timeout=5.0)
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(8.0)
    assert await process.exit_code() == 1


async def test_everything_that_hangs_is_gone_a_second_after_the_deadline(run, part, clock, journal):
    parts = Parts(
        [part("database", Rude, work=600)],
        [part("http", Rude, edge=True, work=600), part("grpc", Rude, work=600)],
        [],
        [part("relay", Rude, work=600)],
        [part("telemetry", Rude, work=600)],
    )
    process = run(parts, drain_delay=3.0, drain_timeout=5.0)
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(3.0 + 5.0 + 1.0)
    cut = [line for line in journal if line.endswith("cut")]
    assert cut == ["http cut", "relay cut", "grpc cut", "telemetry cut", "database cut"]
    assert await process.exit_code() == 1


@pytest.mark.parametrize("after", [0.5, 4.0])
async def test_cut_ends_it_at_once(run, part, clock, journal, after):
    parts = Parts([part("database")], [part("http", Rude, edge=True, work=600)])
    process = run(parts, drain_delay=3.0, drain_timeout=20.0)
    await clock.settle()
    process.lifecycle.drain("first signal")
    await clock.advance(after)
    process.lifecycle.cut("second signal")
    await clock.advance(0.4)
    assert journal[-3:] == ["http cut", "database down", "[stopped]"]
    assert await process.exit_code() == 1


async def test_a_failed_start_unwinds_what_started(run, part, clock, journal):
    process = run(
        Parts(
            [part("database"), part("cache")],
            [part("grpc", fails="start"), part("http", edge=True)],
            [part("events")],
        )
    )
    assert await process.exit_code() == 1
    assert journal == [
        "[starting]",
        *("database up", "cache up"),
        "[draining]",
        *("cache down", "database down"),
        "[stopped]",
    ]


@pytest.mark.parametrize(
    ("error", "code", "stack"),
    [
        (OSError("port in use"), 1, False),
        (UnavailableError("the database is away"), 1, False),
        (DeadlineExceededError("the other service did not answer"), 1, False),
        (ConfigurationError("the database refuses the password"), 2, False),
        (KeyError(1), 1, True),
    ],
)
async def test_a_failed_start_tells_a_stack_where_it_helps(run, part, clock, error, code, stack):
    class Unfit(Part):
        async def start(self):
            raise error

    with structlog.testing.capture_logs() as logs:
        assert await run(Parts([part("http", Unfit)])).exit_code() == code
    (line,) = (line for line in logs if line["event"] == "start failed")
    assert (line["component"], line["error"]) == ("http", str(error))
    assert (line["exc_info"] is error) == stack


async def test_a_failed_start_says_what_only_operators_may_know(run, part, clock):
    class Away(Part):
        async def start(self):
            error = UnavailableError("the broker is not available")
            error.add_note("RabbitMQ at 10.0.0.1:5672 cannot be reached")
            raise error

    with structlog.testing.capture_logs() as logs:
        await run(Parts([part("broker", Away)])).exit_code()
    (line,) = (line for line in logs if line["event"] == "start failed")
    assert line["error"] == "RabbitMQ at 10.0.0.1:5672 cannot be reached"


async def test_a_start_that_hangs_is_given_up(run, part, clock, journal):
    parts = Parts([part("database"), part("broker", starts_in=600)])
    process = run(parts, start_timeout=30.0)
    await clock.advance(30.0)
    assert "broker start cancelled" in journal
    assert journal[-2:] == ["database down", "[stopped]"]
    assert await process.exit_code() == 1


async def test_drain_during_start_is_a_clean_exit_that_never_gets_ready(run, part, clock, journal):
    process = run(Parts([part("database"), part("broker", starts_in=10)]))
    await clock.advance(1.0)
    process.lifecycle.drain("SIGTERM")
    assert await process.exit_code() == 0
    assert "[ready]" not in journal
    assert journal[2:] == [
        *("broker start cancelled", "[draining]", "database down", "[stopped]"),
    ]


@pytest.mark.parametrize("error", [None, RuntimeError("lost the lease")])
async def test_the_death_of_a_part_drains_with_exit_code_1(run, part, clock, journal, error):
    relay = part("relay", Mortal)
    process = run(Parts(workers=[relay], servers=[part("http", edge=True)]), drain_delay=1.0)
    await clock.settle()
    if error is None:
        relay.death.set_result(None)
    else:
        relay.death.set_exception(error)
    await clock.settle()
    assert process.lifecycle.state is State.DRAINING
    await clock.advance(1.0)
    assert journal[-3:] == ["http down", "relay down", "[stopped]"]
    assert await process.exit_code() == 1


async def test_a_part_that_ends_because_it_was_told_to_has_not_died(run, part, clock):
    class Told(Mortal):
        async def stop(self, grace):
            self.death.set_result(None)
            await clock.sleep(0.1)

    process = run(Parts(workers=[part("relay", Told)]), drain_delay=0.0)
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(0.1)
    assert await process.exit_code() == 0


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_up(run, part, clock, journal):
    parts = Parts([part("database"), part("broker", fails="stop")])
    process = run(parts, drain_delay=0.0)
    await clock.settle()
    process.lifecycle.drain("test")
    assert await process.exit_code() == 1
    assert journal[-2:] == ["database down", "[stopped]"]


async def test_a_failing_quiesce_or_flush_is_logged_and_changes_nothing(run, part, clock, journal):
    class Broken(Part):
        def quiesce(self):
            raise OSError("no peers")

    parts = Parts(servers=[part("grpc", Broken)], telemetry=[part("spans", fails="stop")])
    process = run(parts, drain_delay=0.0)
    await clock.settle()
    with structlog.testing.capture_logs() as logs:
        process.lifecycle.drain("test")
        assert await process.exit_code() == 0
    assert {"quiesce failed", "telemetry not flushed"} <= {line["event"] for line in logs}


async def test_a_collector_that_hangs_holds_up_the_exit_five_seconds_and_is_no_fault(
    run, part, clock, journal
):
    parts = Parts([part("database")], telemetry=[part("spans", Rude, work=600)])
    process = run(parts, drain_delay=0.0, drain_timeout=20.0)
    await clock.settle()
    process.lifecycle.drain("test")
    await clock.advance(5.0)
    assert journal[-3:] == ["spans cut", "database down", "[stopped]"]
    assert await process.exit_code() == 0


async def test_cancelling_run_takes_everything_down(run, part, clock, journal):
    process = run(Parts([part("database")], [part("http", Rude, edge=True, work=600)]))
    await clock.settle()
    process.task.cancel()
    await clock.advance(0.4)
    assert process.task.cancelled()
    assert journal[-3:] == ["http cut", "database down", "[stopped]"]


async def test_asking_twice_to_drain_changes_nothing(run, part, clock, journal):
    process = run(Parts([part("database")]), drain_delay=3.0)
    await clock.settle()
    process.lifecycle.drain("deploy")
    process.lifecycle.drain("impatience")
    await clock.advance(2.9)
    assert "database down" not in journal
    await clock.advance(0.1)
    assert await process.exit_code() == 0


async def test_every_phase_is_logged_with_figures(run, part, clock):
    with structlog.testing.capture_logs() as logs:
        parts = Parts([part("database", starts_in=2)], [part("http", Rude, edge=True, work=9)])
        process = run(parts, drain_delay=1.0, drain_timeout=5.0)
        await clock.advance(2.0)
        process.lifecycle.drain("SIGTERM")
        await clock.advance(7.0)
        assert await process.exit_code() == 1
    told = [(x["event"], x.get("stage"), x.get("seconds"), x.get("cut")) for x in logs]
    assert ("started", "resources", 2.0, None) in told
    assert ("stopped", "edge servers", 5.4, ["stop http"]) in told
    assert {"event": "drain asked for", "reason": "SIGTERM", "log_level": "info"} in logs
