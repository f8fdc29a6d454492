"""What a check finds, and the rules that it goes by."""

from __future__ import annotations

from dataclasses import dataclass

#: Each rule, and what it says in a line; docs/how-to/check-before-production.md has a section each.
RULES = {
    "inbound-limit": "what comes in has a time limit",
    "outbound-limit": "what goes out has a time limit",
    "health-checks": "a service asks its databases and brokers whether they are there",
    "health-routes": "somebody can ask whether a service is ready",
    "unbounded-queue": "a queue has an end",
    "unbounded-retry": "retries have an end",
    "shared-breaker": "a circuit breaker is for one dependency",
    "plain-secret": "a secret has no default that production would take",
    "secret-in-file": "a secret does not stand in a file",
    "production-settings": "a project that keeps settings in files keeps those of production",
    "rpc-access": "a method says who may call it",
    "rpc-deadline": "a method that changes something names its deadline",
    "no-drain": "a process ends what it began before it goes",
    "debug": "nothing runs in debug mode",
    "cors": "pages of strangers do not act with a user's cookies",
    "ignore": "what is ignored has a name and a reason",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not ready: where, by which rule, what is wrong, and how to mend it."""

    path: str
    line: int
    rule: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True, order=True)
class Unread:
    """A file that could not be read, from which line on (0: not at all), and why."""

    path: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found, sorted by place; `files` says how many were read."""

    files: int
    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...]
