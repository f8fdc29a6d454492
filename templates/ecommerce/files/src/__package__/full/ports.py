"""Ports for processes that are restarted."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from itertools import count
from random import SystemRandom

#: Below what the kernel gives to outgoing connections (32768 and up): while a process is away, no
#: connection of somebody else's takes its port.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Say whether the port of loopback can be listened on, as servers will."""
    with socket.socket() as probe:
        return _bound(probe, port)


def free_ports(number: int) -> list[int]:
    """Return so many ports of loopback, all different, that nobody listens on now."""
    found: list[int] = []
    start = SystemRandom().randrange(_FIRST, _LAST)
    with ExitStack() as held:
        for step in count():
            if len(found) == number:
                return found
            if step == _LAST - _FIRST:
                break
            port = _FIRST + (start - _FIRST + step) % (_LAST - _FIRST)
            if _bound(held.enter_context(socket.socket()), port):
                found.append(port)
    raise OSError(f"no {number} free ports between {_FIRST} and {_LAST}")


def _bound(probe: socket.socket, port: int) -> bool:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
