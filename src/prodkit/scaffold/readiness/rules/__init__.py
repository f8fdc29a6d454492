"""The rules, by what they look at; each yields findings of a project."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project
from prodkit.scaffold.readiness.rules import (
    breakers,
    contracts,
    drain,
    health,
    inbound,
    outbound,
    production,
    queues,
    retries,
    secrets,
    web,
)

Rule: TypeAlias = Callable[[Project], Iterator[Finding]]

ALL: tuple[Rule, ...] = (
    inbound.unlimited_doors,
    outbound.unlimited_doors,
    outbound.unlimited_clients,
    health.unasked_resources,
    health.unasked_services,
    queues.unbounded_queues,
    queues.unbounded_bulkheads,
    retries.unbounded_retries,
    breakers.shared_breakers,
    contracts.silent_methods,
    secrets.defaults,
    secrets.files,
    production.missing_files,
    drain.abrupt_ends,
    web.debug_modes,
    web.open_doors,
)
