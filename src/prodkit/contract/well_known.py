"""The well-known types that JSON writes as strings: Timestamp, Duration, FieldMask.

Written forms are those of the protobuf JSON mapping, but for one thing: the paths of a FieldMask
are the proto's own field names, like everything else in our JSON. Parsed values are plain dicts
that a message constructor takes.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_MASK = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", re.ASCII)
_EPOCH = datetime(1970, 1, 1)  # arithmetic in UTC needs no zone
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_LONGEST_DURATION = 315_576_000_000


def parse_timestamp(text: str) -> dict[str, int]:
    """Return the fields of a Timestamp for an RFC 3339 `text`; ValueError if it is none."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("there is no such time of day")
    days = date(year, month, day).toordinal() - _EPOCH_DAY
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
    if match[8]:
        offset = int(match[9]) * 3_600 + int(match[10]) * 60
        seconds += offset if match[8] == "-" else -offset
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise ValueError("must lie between the years 1 and 9999")
    return {"seconds": seconds, "nanos": _nanos(match[7])}


def print_timestamp(message: Any) -> str:
    """Return a Timestamp as RFC 3339 in UTC."""
    moment = _EPOCH + timedelta(seconds=message.seconds)
    return f"{moment.isoformat()}{_fraction(message.nanos)}Z"


def parse_duration(text: str) -> dict[str, int]:
    """Return the fields of a Duration for `text`, `1.5s` say; ValueError if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("must be a number of seconds such as 1.5s")
    seconds, nanos = int(match[2]), _nanos(match[3])
    if seconds > _LONGEST_DURATION or (seconds == _LONGEST_DURATION and nanos):
        raise ValueError("must not exceed 10,000 years")
    sign = -1 if match[1] else 1
    return {"seconds": sign * seconds, "nanos": sign * nanos}


def print_duration(message: Any) -> str:
    """Return a Duration as seconds with an `s` behind."""
    seconds, nanos = message.seconds, message.nanos
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def parse_mask(text: str) -> dict[str, list[str]]:
    """Return the fields of a FieldMask for comma-separated paths; ValueError if it is none."""
    paths = text.split(",") if text else []
    if not all(_MASK.fullmatch(path) for path in paths):
        raise ValueError("must be field names, separated by commas")
    return {"paths": paths}


def print_mask(message: Any) -> str:
    """Return the paths of a FieldMask, separated by commas."""
    return ",".join(message.paths)


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _fraction(nanos: int) -> str:
    """Return `nanos` as 0, 3, 6 or 9 decimals, as few as hold them."""
    if not nanos:
        return ""
    if nanos % 1_000:
        return f".{nanos:09d}"
    if nanos % 1_000_000:
        return f".{nanos // 1_000:06d}"
    return f".{nanos // 1_000_000:03d}"
