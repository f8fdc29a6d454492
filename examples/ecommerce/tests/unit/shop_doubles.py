"""Stand-ins that the tests of several services share."""

from contextlib import asynccontextmanager, contextmanager
from types import coroutine

from prodkit.call import CURRENT, Call, Principal
from prodkit.data.database import Database
from prodkit.errors import UnavailableError
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import StaticPool

from ecommerce.payments.provider import DeclinedError, Token


class Events:
    """An event store that only remembers what was committed with a unit of work."""

    def __init__(self):
        self.all = []

    async def append(self, tx, events):
        self.all.extend(events)

    def committed(self):
        pass

    def of(self, type_):
        return [event for event in self.all if event.type == type_]

    @property
    def types(self):
        return [event.type for event in self.all]


async def opened(*tables):
    """Return a database of its own; its waits are long, for the machine may be busy."""
    database = Database(":memory:", wait=30.0)
    await database.start()
    await database.create_all(*tables)
    return database


@contextmanager
def calling(subject, *permissions, session="", **metadata):
    """Be called by somebody."""
    principal = Principal(subject, permissions=frozenset(permissions), session=session)
    metadata = {name.replace("_", "-"): value for name, value in metadata.items()}
    token = CURRENT.set(Call("test", principal=principal, metadata=metadata))
    try:
        yield
    finally:
        CURRENT.reset(token)


@contextmanager
def counted(database):
    """Collect the statements that are executed meanwhile."""
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    engines = [database.writer.sync_engine, database._reader.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


@coroutine
def pause():
    """Let others go first: whoever steps coroutines by hand (or a loop) gets control here."""
    yield


def at_once(work):
    """Run a coroutine to its end, past its pauses, without a loop."""
    try:
        while True:
            work.send(None)
    except StopIteration as end:
        return end.value


class InlineDatabase:
    """A Database's transactions without threads or a loop: who holds the coroutine, holds time.

    Coroutines over it give control away before each transaction, and nowhere inside of one.
    """

    def __init__(self, *tables):
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        for metadata in tables:
            metadata.create_all(self._engine)

    @asynccontextmanager
    async def transaction(self, *, serializable=True):
        await pause()
        with self._engine.begin() as connection:
            yield InlineTransaction(connection)

    read = transaction

    async def fetch(self, statement, parameters=None):
        async with self.transaction() as tx:
            return (await tx.execute(statement, parameters)).freeze()()

    async def execute(self, statement, parameters=None):
        async with self.transaction() as tx:
            result = await tx.execute(statement, parameters)
            return result.freeze()() if result.returns_rows else result

    def close(self):
        self._engine.dispose()


class InlineTransaction:
    def __init__(self, connection):
        self.connection = connection

    async def execute(self, statement, parameters=None):
        return self.connection.execute(statement, parameters)

    def on_commit(self, listener):
        listener()  # nothing comes in between

    async def insert_new(self, table, row):
        statement = sqlite.insert(table).values(row).on_conflict_do_nothing()
        return self.connection.execute(statement).rowcount > 0


class FakeProvider:
    """The provider in memory: each key once, a ledger, and faults on demand.

    `faults[operation]` are met one a call: "away" before the work, "lost" after it, None not.
    """

    def __init__(self):
        self.ledger = []
        self.calls = []
        self.faults = {}
        self.authorizations = {}
        self._replies = {}
        self._tokens = {}

    async def tokenize(self, means, key):
        def work():
            token = f"tok_{len(self._tokens)}"
            self._tokens[token] = (means.method, means.number)
            return Token(token, means.number[-4:])

        return await self._once("tokenize", key, work)

    async def authorize(self, token, amount, currency, reference, key):
        def work():
            method, number = self._tokens[token]
            if number == "4000000000000002":
                raise DeclinedError("the provider refused: card_declined")
            authorization = f"auth_{reference}"
            assert authorization not in self.authorizations, "a second authorization"
            status = "pending" if method == "bank_transfer" else "authorized"
            self.authorizations[authorization] = [status, number]
            return authorization, status

        return await self._once("authorize", key, work)

    async def capture(self, authorization, key):
        def work():
            if self.authorizations[authorization][1] == "4000000000009995":
                raise DeclinedError("the provider refused: insufficient_funds")
            self._move(authorization, {"authorized"}, "captured")

        await self._once("capture", key, work)

    async def void(self, authorization, key):
        await self._once(
            "void", key, lambda: self._move(authorization, {"authorized", "pending"}, "voided")
        )

    async def refund(self, authorization, key):
        await self._once("refund", key, lambda: self._move(authorization, {"captured"}, "refunded"))

    async def status(self, authorization):
        await self._fault("status")
        return self.authorizations[authorization][0]

    def arrive(self, reference):
        """Let the money of a bank transfer arrive."""
        self._move(f"auth_{reference}", {"pending"}, "captured")

    def keys(self, operation):
        return [key for name, key in self.calls if name == operation]

    def _move(self, authorization, before, after):
        status = self.authorizations[authorization][0]
        if status not in before:
            raise DeclinedError(f"the provider refused: authorization_{status}")
        self.authorizations[authorization][0] = after
        self.ledger.append((after, authorization))

    async def _once(self, operation, key, work):
        self.calls.append((operation, key))
        fault = await self._fault(operation)
        if key not in self._replies:
            try:
                self._replies[key] = work(), None
            except DeclinedError as error:
                self._replies[key] = None, error.message
        await pause()
        if fault == "lost":
            raise UnavailableError("the reply was lost")
        value, refusal = self._replies[key]
        if refusal is not None:
            raise DeclinedError(refusal)
        return value

    async def _fault(self, operation):
        await pause()
        faults = self.faults.get(operation)
        fault = faults.pop(0) if faults else None
        if fault == "away":
            raise UnavailableError("the provider is away")
        return fault
