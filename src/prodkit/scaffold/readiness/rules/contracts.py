"""Methods of contracts that leave open who may call them, or how long a change may take."""

from __future__ import annotations

from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project
from prodkit.scaffold.readiness.proto import OPTIONS, Method


def silent_methods(project: Project) -> Iterator[Finding]:
    """Find methods without `access`, and those that change something without `deadline`."""
    for contract in project.contracts:
        if OPTIONS not in contract.imports:
            continue
        for method in contract.methods:
            if _nobody(method):
                yield Finding(
                    contract.path,
                    method.line,
                    "rpc-access",
                    f"{method.name} does not say who may call it, so the service will not start",
                    "option (prodkit.v1.method) = {access: {authenticated: true}};",
                )
            changes = method.level != "NO_SIDE_EFFECTS"
            if changes and not method.streams and "deadline" not in method.options:
                yield Finding(
                    contract.path,
                    method.line,
                    "rpc-deadline",
                    f"{method.name} may change something, and names no deadline",
                    "add deadline: {seconds: 2}; or idempotency_level = NO_SIDE_EFFECTS, if it"
                    " only reads",
                )


def _nobody(method: Method) -> bool:
    access = method.options.get("access")
    return access is None or not any(word.isidentifier() for word in access)
