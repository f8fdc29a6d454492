"""Which consumers a queue has in this process: one, or one for each partition that is ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from prodkit.errors import FailedPreconditionError
from prodkit.transports.amqp.failures import close, quietly
from prodkit.transports.amqp.intake import Intake
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.shares import divide
from prodkit.transports.amqp.topology import Topology


class Consumers:
    """Opens and closes the intakes of a queue.

    Processes that consume an ordered queue divide its partitions among them: a queue without
    messages counts them by its consumers, and an exclusive queue for each partition says whose it
    is. These only share the work out; that one consumer at a time is active in a partition, and the
    others wait, is what the partition itself sees to.
    """

    def __init__(
        self,
        link: Link,
        topology: Topology,
        declare: Callable[[Channel], Awaitable[None]],
        *,
        prefetch: int,
        arrived: Callable[[], None],
    ) -> None:
        self.intakes: dict[str, Intake] = {}
        self._link = link
        self._topology = topology
        self._declare = declare
        self._prefetch = prefetch
        self._arrived = arrived
        self._control: Channel | None = None
        self._doubtful = False  # what was declared may be gone

    async def balance(self) -> bool:
        """Open and leave what is to be; say whether something is under way.

        Raises UnavailableError, and FailedPreconditionError for a queue that cannot be consumed.
        """
        control = await self._ready()
        if not self._topology.ordered:
            join = [name for name in self._topology.queues if name not in self.intakes]
        else:
            join, leave = await self._shares(control)
            await self.leave(leave)
        for name in join:
            await self._join(name)
        return bool(join)

    async def leave(self, queues: Iterable[str]) -> None:
        """Let these receive no more; they close when what is in hand is settled."""
        for queue in list(queues):
            await self.intakes[queue].leave()

    async def tidy(self) -> None:
        """Close what has died, and what has left and has nothing in hand."""
        for intake in list(self.intakes.values()):
            if not intake.alive or (intake.leaving and not intake.window.taken):
                self._doubtful |= not intake.leaving
                await self._drop(intake)

    async def close(self) -> None:
        """Close all; what was not settled is handed out again."""
        await asyncio.gather(*(self._drop(intake) for intake in list(self.intakes.values())))
        control, self._control = self._control, None
        if control is not None:
            await close(control, self._link.timeout)

    async def _ready(self) -> Channel:
        """Return the channel for all but messages; what was declared is declared anew with it."""
        if self._control is None or self._control.is_closed:
            control = await self._link.channel(confirms=False)
            await self._declare(control)
            if self._topology.ordered:
                await self._enter(control)
            self._control = control
        elif self._doubtful:
            await self._declare(self._control)
        self._doubtful = False
        return self._control

    async def _enter(self, control: Channel) -> None:
        members = self._topology.members
        async with self._link.asking(f"consume queue {members}"):
            await control.queue_declare(members, durable=True, auto_delete=True)
            await control.basic_consume(members, _ignore, no_ack=True)

    async def _shares(self, control: Channel) -> tuple[list[str], list[str]]:
        consumers, topology = dict[str, int](), self._topology
        async with self._link.asking(f"look at queue {topology.entry}"):
            found = await control.queue_declare(topology.members, passive=True)
            for name in topology.queues:
                stated = await control.queue_declare(name, passive=True)
                consumers[name] = stated.consumer_count or 0
        mine = {name for name, intake in self.intakes.items() if not intake.leaving}
        return divide(consumers, mine, found.consumer_count or 1, random.random)

    async def _join(self, queue: str) -> None:
        if self._topology.ordered and not await self._sit_down(queue):
            return
        intake = Intake(
            self._link,
            queue,
            ordered=self._topology.ordered,
            prefetch=self._prefetch,
            arrived=self._arrived,
        )
        self.intakes[queue] = intake
        await intake.open()

    async def _sit_down(self, queue: str) -> bool:
        """Say whether the partition is ours now; False if somebody else was faster."""
        seat = self._topology.seat(queue)
        channel = await self._link.channel(confirms=False)
        try:
            async with self._link.asking(f"declare queue {seat}"):
                await channel.queue_declare(seat, exclusive=True)
        except FailedPreconditionError:
            return False
        finally:
            await close(channel, self._link.timeout)
        return True

    async def _drop(self, intake: Intake) -> None:
        self.intakes.pop(intake.queue, None)
        await intake.close()
        if self._topology.ordered and self._control is not None:
            await quietly(self._stand_up(self._control, self._topology.seat(intake.queue)))

    async def _stand_up(self, control: Channel, seat: str) -> None:
        async with asyncio.timeout(self._link.timeout):
            await control.queue_delete(seat)


async def _ignore(_: DeliveredMessage) -> None:
    return
