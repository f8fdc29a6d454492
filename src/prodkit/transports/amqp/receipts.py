"""Acknowledgements, gathered: one for all messages up to a point, where that can be said."""

from __future__ import annotations


class Receipts:
    """Which messages of a channel are unsettled, and what is to be told about the others; sans-I/O.

    RabbitMQ numbers what it delivers on a channel from 1 on, and takes one word for all up to a
    number: most of the frames, and of the work that they make at both ends, are saved so.
    """

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}  # in the order of delivery; True: acknowledge it
        self._waiting: set[int] = set()

    @property
    def waiting(self) -> int:
        """How many acknowledgements are to be told."""
        return len(self._waiting)

    def delivered(self, number: int) -> None:
        """Note that it is unsettled."""
        self._open[number] = False

    def acknowledge(self, number: int) -> None:
        """Have it told with the next."""
        if number in self._open:
            self._open[number] = True
            self._waiting.add(number)

    def forget(self, number: int) -> None:
        """Note that it was settled in another way."""
        self._open.pop(number, None)

    def tell(self) -> list[tuple[int, bool]]:
        """Return the acknowledgements to send now: a number, and whether all before are meant."""
        upto = 0
        while self._open:
            number = next(iter(self._open))
            if not self._open[number]:
                break
            del self._open[number]
            self._waiting.discard(number)
            upto = number
        told = [(upto, True)] if upto else []
        for number in sorted(self._waiting):
            del self._open[number]
            told.append((number, False))
        self._waiting.clear()
        return told
