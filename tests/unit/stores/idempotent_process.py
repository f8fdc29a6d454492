"""A process with one handler under idempotency keys, for test_sql_processes.py to steer and kill.

Arguments: database file, number of calls, where to stop (or "nowhere"). It prints a line for all
that happens and goes on when it reads one.
"""

import asyncio
import os
import sys

from sqlalchemy import Column, MetaData, String, Table, insert

from prodkit import Call, Kind, Pipeline, Principal
from prodkit.data.database import Database
from prodkit.errors import AbortedError
from prodkit.policies.idempotency import Idempotency, current_claim
from prodkit.stores.sql import SqlIdempotencyStore, metadata

effects_metadata = MetaData()
effects = Table("effects", effects_metadata, Column("id", String, nullable=False))
LEASE = 30.0


class BytesCodec:
    async def content(self):
        return b"ten euros"

    def freeze(self, result):
        return result

    def thaw(self, data):
        return data


def guarded(database, handler, clock=None):
    """Return `handler` under the policy; all processes share the secret and the key."""
    options = {} if clock is None else {"clock": clock}
    policy = Idempotency(
        SqlIdempotencyStore(database.writer), secret=b"shared by processes", lease=LEASE, **options
    )
    handle = Pipeline(policy).bind(handler)
    return lambda: handle(
        Call("pay", Kind.SERVER, key="key", principal=Principal("ann"), codec=BytesCodec())
    )


def say(*words):
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


async def told():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def reach(point, stop):
    if point == stop:
        say("reached")
        await asyncio.Event().wait()


async def pay(database, stop):
    await reach("claimed", stop)
    if stop == "nowhere":
        say("running")
        await told()
    answer = os.urandom(1024)
    async with database.transaction() as tx:
        await tx.execute(insert(effects).values(id=current_claim().id))
        await current_claim().complete(tx.connection, answer)
        await reach("written", stop)
    await reach("committed", stop)
    return answer


async def ask(send):
    try:
        say("200", (await send()).hex())
    except AbortedError as error:
        say("409", error.reason, error.retry_after)


async def main(path, calls, stop):
    database = Database(path, wait=20.0)
    await database.start()
    await database.create_all(metadata, effects_metadata)
    send = guarded(database, lambda call: pay(database, stop))
    say("ready")
    await told()
    await asyncio.gather(*(ask(send) for _ in range(calls)))
    say("over")
    await told()
    await ask(send)
    await database.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
