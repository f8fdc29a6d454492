"""The idempotency stores against what their Protocol says, in a dictionary."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule

from prodkit.data.database import Database
from prodkit.policies.claim import Record, Terms
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.stores.sql import SqlIdempotencyStore, metadata

TERMS = Terms(lease=10.0, retention=25.0)


@dataclass
class Row:
    fingerprint: bytes
    holder: str
    lease_until: float
    expires_at: float
    result: bytes | None = None


class Model:
    def __init__(self):
        self.rows = {}

    def claim(self, key, fingerprint, holder, now):
        row = self.rows.get(key)
        if row is not None and row.expires_at > now:
            abandoned = row.result is None and row.lease_until <= now
            if not abandoned or row.fingerprint != fingerprint:
                return Record(row.fingerprint, row.result)
        self.rows[key] = Row(fingerprint, holder, now + TERMS.lease, now + TERMS.retention)
        return None

    def held(self, key, holder, now):
        row = self.rows.get(key)
        if row is None or row.holder != holder or row.result is not None or row.expires_at <= now:
            return None
        return row

    def extend(self, key, holder, now):
        row = self.held(key, holder, now)
        if row is not None:
            row.lease_until, row.expires_at = now + TERMS.lease, now + TERMS.retention
        return row is not None

    def complete(self, key, holder, result, now):
        row = self.held(key, holder, now)
        if row is not None:
            row.result, row.expires_at = result, now + TERMS.retention
        return row is not None

    def release(self, key, holder, now):
        if self.held(key, holder, now) is not None:
            del self.rows[key]


class RollBackError(Exception):
    pass


class MemoryMachine(RuleBasedStateMachine):
    """Holders never leave: those of long ago go on trying to extend, complete and release."""

    holders = Bundle("holders")

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.now = 1000.0
        self.claims = 0
        self.open()

    def open(self):
        self.store = MemoryIdempotencyStore()

    @rule(target=holders, key=st.sampled_from("ab"), fingerprint=st.sampled_from([b"x", b"y"]))
    def claim(self, key, fingerprint):
        self.claims += 1
        holder = f"holder {self.claims}"
        record = self.runner.run(
            self.store.claim(key, fingerprint, holder, now=self.now, terms=TERMS)
        )
        assert record == self.model.claim(key, fingerprint, holder, self.now)
        return multiple() if record else (key, holder)

    @rule(held=holders)
    def extend(self, held):
        extended = self.runner.run(self.store.extend(*held, now=self.now, terms=TERMS))
        assert extended == self.model.extend(*held, self.now)

    @rule(held=holders, result=st.binary(max_size=3))
    def complete(self, held, result):
        completed = self.runner.run(self.store.complete(*held, result, now=self.now, terms=TERMS))
        assert completed == self.model.complete(*held, result, self.now)

    @rule(held=holders)
    def release(self, held):
        self.runner.run(self.store.release(*held))
        self.model.release(*held, self.now)

    @rule(seconds=st.sampled_from([1.0, 5.0, 10.0, 12.0, 30.0]))
    def pass_time(self, seconds):
        self.now += seconds

    def teardown(self):
        self.runner.close()


class SqlMachine(MemoryMachine):
    def open(self):
        self.database = Database(":memory:")
        self.runner.run(self.database.start())
        self.runner.run(self.database.create_all(metadata))
        self.store = SqlIdempotencyStore(self.database.writer)

    @rule(held=MemoryMachine.holders, result=st.binary(max_size=3), commits=st.booleans())
    def complete_in_a_transaction(self, held, result, commits):
        completed = self.runner.run(self._complete(held, result, commits))
        expected = self.model.held(*held, self.now) is not None
        if commits:
            self.model.complete(*held, result, self.now)
        assert completed == expected

    async def _complete(self, held, result, commits):
        completed = None
        with suppress(RollBackError):
            async with self.database.transaction() as tx:
                completed = await self.store.complete(
                    *held, result, now=self.now, terms=TERMS, tx=tx.connection
                )
                if not commits:
                    raise RollBackError
        return completed

    @rule()
    def purge(self):
        self.runner.run(self.store.purge(self.now))

    def teardown(self):
        self.runner.run(self.database.stop())
        super().teardown()


SqlMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 4, stateful_step_count=40
)
TestMemory = MemoryMachine.TestCase
TestSql = SqlMachine.TestCase
