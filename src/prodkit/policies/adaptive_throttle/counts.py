"""What a throttle remembers: requests and accepts in a sliding window."""

from __future__ import annotations

#: Parts into which the window is cut: it moves on by a tenth at a time.
BUCKETS = 10


class Counts:
    """Requests and accepts of the last `BUCKETS` x `width` seconds, by the time they ended."""

    __slots__ = ("_before", "_bucket", "_ring", "accepts", "requests", "width")

    def __init__(self, width: float) -> None:
        self.width = width
        self.requests = self.accepts = 0
        self._bucket = 0
        self._ring = [(0, 0)] * BUCKETS  # (requests, accepts) of each full bucket
        self._before = (0, 0)  # the sums when the bucket that is filling began

    def count(self, accepted: int, now: float) -> None:
        """Count a request and whether (1 or 0) it was accepted."""
        if now // self.width != self._bucket:
            self._turn(int(now // self.width))
        self.requests += 1
        self.accepts += accepted

    def move(self, now: float) -> None:
        """Drop what is too old by now."""
        if now // self.width != self._bucket:
            self._turn(int(now // self.width))

    def _turn(self, bucket: int) -> None:
        filled = (self.requests - self._before[0], self.accepts - self._before[1])
        self._ring[self._bucket % BUCKETS] = filled
        for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            requests, accepts = self._ring[passed % BUCKETS]
            self._ring[passed % BUCKETS] = (0, 0)
            self.requests -= requests
            self.accepts -= accepts
        self._bucket = bucket
        self._before = (self.requests, self.accepts)
