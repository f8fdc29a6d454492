"""The context of work that is done for several callers, of whom none may outlast it."""

from __future__ import annotations

from contextvars import Context, copy_context

from prodkit.call import CURRENT


def detached() -> Context:
    """Return a copy of the caller's context whose current call has no deadline.

    Shared work belongs to the trace and the identity of whoever asked first, but the time of that
    caller is not the time of the others: each waits as long as it may, and the work ends when none
    of them waits any more.
    """
    context = copy_context()
    call = context.get(CURRENT)
    if call is not None and call.deadline is not None:
        twin = call.fork()
        twin.deadline = None
        context.run(CURRENT.set, twin)
    return context
