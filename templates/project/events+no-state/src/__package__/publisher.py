"""Events straight to the broker: told at most once, for there is no database to keep them in."""

from __future__ import annotations

import time
from dataclasses import replace

from prodkit.call import current_call
from prodkit.messaging.event import Event
from prodkit.telemetry.propagation import current_traceparent
from prodkit.transports.broker import Broker, Message


class Publisher:
    """Publishes a service's events; what dies between an effect and its event never tells of it."""

    def __init__(self, broker: Broker, source: str) -> None:
        self._broker = broker
        self._source = source

    async def publish(self, event: Event) -> None:
        """Return once the broker has `event`. Raises UnavailableError.

        Nobody has to listen.
        """
        call = current_call()
        event = replace(
            event,
            source=self._source,
            time=time.time(),
            traceparent=current_traceparent() or "",
            request_id=call.request_id if call is not None else "",
        )
        headers = {"traceparent": event.traceparent, "x-request-id": event.request_id}
        told = {name: value for name, value in headers.items() if value}
        message = Message(event.id, event.type, event.to_json(), key=event.subject, headers=told)
        await self._broker.publish([message], mandatory=False)
