"""What a closed circuit remembers of its calls: failures in a row, or the ratio in a window."""

from __future__ import annotations

from collections.abc import Iterator

#: Parts into which the sampling duration is cut: the window moves on by a tenth at a time.
BUCKETS = 10


class ConsecutiveFailures:
    """Trips on `threshold` failures with no success between them."""

    __slots__ = ("_failures", "threshold")

    def __init__(self, threshold: int) -> None:
        self.threshold: float = threshold
        self._failures = 0

    def succeeded(self, _now: float) -> None:
        """Start counting anew."""
        self._failures = 0

    def failed(self, _now: float) -> float | None:
        """Count a failure; return the count if that is enough."""
        self._failures += 1
        return self._failures if self._failures >= self.threshold else None

    def clear(self) -> None:
        """Start counting anew."""
        self._failures = 0


class FailureRatio:
    """Trips when `threshold` of the calls of the last `duration` seconds failed.

    A ring of `BUCKETS` buckets: the one that is filling and the full ones before it. Counting is
    one addition; the sums are brought up to date when a bucket begins. The ratio is looked at when
    a call fails and at least `minimum` calls ended. The ring is made when a first bucket is full.
    """

    __slots__ = (
        "_bucket",
        "_failed",
        "_failed_before",
        "_ring",
        "_succeeded",
        "_total_before",
        "_width",
        "minimum",
        "threshold",
    )

    def __init__(self, threshold: float, minimum: int, duration: float) -> None:
        self.threshold = threshold
        self.minimum = minimum
        self._width = duration / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._bucket = 0
        self._ring: list[int] | None = None  # calls of each bucket, then failures of each
        self._total_before = self._failed_before = 0  # sums over the ring
        self._succeeded = self._failed = 0  # of the bucket that is filling

    def succeeded(self, now: float) -> None:
        """Count a success."""
        if now // self._width != self._bucket:
            self._turn(int(now // self._width))
        self._succeeded += 1

    def failed(self, now: float) -> float | None:
        """Count a failure; return the ratio if that reaches the threshold."""
        if now // self._width != self._bucket:
            self._turn(int(now // self._width))
        self._failed += 1
        failed = self._failed_before + self._failed
        total = self._total_before + self._succeeded + self._failed
        ratio = failed / total  # divided, since 3 / 30 >= 0.1 but 3 < 0.1 * 30
        return ratio if total >= self.minimum and ratio >= self.threshold else None

    def change(self, threshold: float, minimum: int, duration: float) -> None:
        """Take other limits; what a window of `duration` seconds still covers stays counted.

        A bucket moves as a whole, to where it began: in a shorter window it may be forgotten early,
        by its old width at most.
        """
        self.threshold = threshold
        self.minimum = minimum
        old, width = self._width, duration / BUCKETS
        if width == old:
            return
        buckets = list(self._buckets())
        self.clear()
        self._width = width
        for bucket, total, failed in buckets:
            if int(bucket * old // width) != self._bucket:
                self._turn(int(bucket * old // width))
            self._succeeded += total - failed
            self._failed += failed

    def _buckets(self) -> Iterator[tuple[int, int, int]]:
        """Yield every bucket that counted something, its calls and failures, oldest first."""
        if self._ring is not None:
            for bucket in range(self._bucket - BUCKETS + 1, self._bucket):
                slot = bucket % BUCKETS
                if self._ring[slot]:
                    yield bucket, self._ring[slot], self._ring[slot + BUCKETS]
        yield self._bucket, self._succeeded + self._failed, self._failed

    def _turn(self, bucket: int) -> None:
        """Put the counts of the bucket that was filling into the ring and drop what is too old."""
        if self._succeeded or self._failed:
            self._put(self._bucket, self._succeeded + self._failed, self._failed)
            for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
                self._put(passed, 0, 0)
        self._bucket = bucket
        self._succeeded = self._failed = 0

    def _put(self, bucket: int, total: int, failed: int) -> None:
        if self._ring is None:
            self._ring = [0] * (2 * BUCKETS)
        ring, slot = self._ring, bucket % BUCKETS
        self._total_before += total - ring[slot]
        self._failed_before += failed - ring[slot + BUCKETS]
        ring[slot] = total
        ring[slot + BUCKETS] = failed
