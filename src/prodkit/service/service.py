"""The composition root: what a service is made of, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from prodkit.service.component import Component, Parts
from prodkit.service.health import Check, Health
from prodkit.service.platform import Console, Platform
from prodkit.service.settings import ServiceSettings
from prodkit.telemetry.telemetry import Telemetry


class Service:
    """A service and its parts, in the order of their dependency.

    `resources` (databases, brokers) come up first and close last; then internal `servers`,
    `consumers`, `workers`, and last the servers that strangers reach (`edge`). `checks` decide
    when it is ready; `health` may be made before, so that the app can serve its routes. What
    `settings` say of draining holds for `run()`; in a `Platform` the platform's word does.
    `telemetry` is flushed when all that it could tell of has ended.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: ServiceSettings | None = None,
        resources: Sequence[Component] = (),
        servers: Sequence[Component] = (),
        consumers: Sequence[Component] = (),
        workers: Sequence[Component] = (),
        telemetry: Telemetry | None = None,
        checks: Iterable[Check] = (),
        health: Health | None = None,
        admin: Console | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or ServiceSettings()
        self.parts = Parts(
            tuple(resources),
            tuple(servers),
            tuple(consumers),
            tuple(workers),
            () if telemetry is None else (telemetry,),
        )
        self.checks = tuple(checks)
        self.health = health or Health()
        self.health.add(*self.checks)
        self._admin = admin

    def platform(self) -> Platform:
        """Return the process that holds this service alone."""
        return Platform(
            [self],
            admin=self._admin,
            drain_delay=self.settings.drain_delay,
            drain_timeout=self.settings.drain_timeout,
        )

    def run(self) -> NoReturn:
        """Be the process: start, serve, drain on SIGTERM, exit (see `Platform.run`)."""
        self.platform().run()
