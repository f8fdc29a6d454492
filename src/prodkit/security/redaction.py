"""What must not be read in logs and spans: fields declared secret, and text that looks secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

REDACTED = "[redacted]"

#: A field whose name contains one of these is secret, however it is spelt (`cardNumber`,
#: `X-Api-Key`, `new_password`); `DECLARED` ones must be the whole name.
FRAGMENTS = frozenset(
    {"password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "cvv", "cvc"}
    | {"cardnumber", "apikey", "privatekey", "credential"}
)
DECLARED = frozenset({"pan", "pin", "otp", "card"})

#: No card number begins so (ISO/IEC 7812-1), but times in milliseconds and nanoseconds do.
_NO_CARD = "01"
_SHORTEST_SECRET = 13  # characters of the shortest card number; no token is shorter
_DEPTH = 8
_NAMES_REMEMBERED = 4096

_LONGEST_TEXT = 64 * 1024

# One look that nearly every text passes untouched (in lower case, which is ten times cheaper than
# IGNORECASE); the patterns below run only after it. All of
# them are linear: a log line must not be a way to stop the process.
_SUSPECT = re.compile(
    r"\d(?:[ -]?\d){12}|eyj|://[^/\s]*:|bearer|basic|passw|passphrase|secret|token|authorization|"
    r"cookie|cvv|cvc|card_?number|api_?key|private_?key|credential"
)
_PATH_SUSPECT = re.compile(r"\d[\d -]{12}|eyJ")
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,}")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{2,}\.[\w-]+(?:\.[\w-]*)*")
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_DSN = re.compile(r"(://[^\s:/?#@]{0,128}:)[^\s/]{1,256}@")
_COOKIE = re.compile(r"(cookie[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((?:passw(?:or)?d|passphrase|secret|token|authorization|cvv|cvc|card_?number|api_?key|"
    r"private_?key|credential)[\w-]{0,32}[\"']?\s*[:=]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&}\]\[)\"']+)",
    re.IGNORECASE,
)


class Redactor:
    """Takes secrets out of what is about to be written.

    `secret` declares further field names (compared without case, dashes and underscores). Card
    numbers are runs of 13 to 19 digits that pass the Luhn check (ISO/IEC 7812), spaces and dashes
    allowed; bearer tokens, JWTs, passwords in URLs, cookies and `password=...` are found by their
    form. A secret in free text that has neither name nor form cannot be found: do not put it there.
    """

    __slots__ = ("_declared", "_known")

    def __init__(self, secret: Iterable[str] = ()) -> None:
        self._declared = DECLARED | {_plain(name) for name in secret}
        self._known: dict[str, bool] = {}

    def is_secret(self, name: str) -> bool:
        """Say whether a field of this name is never written."""
        known = self._known.get(name)
        if known is None:
            plain = _plain(name)
            known = plain in self._declared or any(part in plain for part in FRAGMENTS)
            if len(self._known) < _NAMES_REMEMBERED:
                self._known[name] = known
        return known

    def text(self, text: str) -> str:
        """Return `text` without what looks secret in it."""
        if len(text) > _LONGEST_TEXT:
            text = text[:_LONGEST_TEXT] + "..."
        if _SUSPECT.search(text.lower()) is None:
            return text
        text = _BEARER.sub(rf"\1 {REDACTED}", text)
        text = _JWT.sub(REDACTED, text)
        text = _DSN.sub(rf"\1{REDACTED}@", text)
        text = _COOKIE.sub(rf"\1{REDACTED}", text)
        text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
        return _DIGITS.sub(_cards, text)

    def path(self, path: str) -> str:
        """Return a URL path without card numbers and tokens; the cheap form for access lines."""
        if len(path) < _SHORTEST_SECRET or _PATH_SUSPECT.search(path) is None:
            return path
        return self.text(path)

    def fields(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        """Return `fields` as plain JSON values, at any depth, without secrets."""
        return self._fields(fields, _DEPTH)

    def _fields(self, fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {
            name: REDACTED if self.is_secret(name) and value else self._value(value, depth)
            for name, value in ((str(key), value) for key, value in fields.items())
        }

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            # a card number may come as a number; and no JSON reader agrees on larger ones
            return value if -(10**12) < value < 10**12 else self._long(value)
        if isinstance(value, float):
            return value if isfinite(value) else str(value)
        if depth == 0:
            return "..."
        if isinstance(value, Mapping):
            return self._fields(value, depth - 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(item, depth - 1) for item in value]
        return self.text(_shown(value))

    def _long(self, value: int) -> int | str:
        if value.bit_length() > 63:
            return self.text(hex(value) if value.bit_length() > 128 else str(value))
        return value if self.text(str(value)) == str(value) else REDACTED


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(".", "")


def _shown(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    try:
        return str(value) if isinstance(value, Exception) else repr(value)
    except Exception:  # noqa: BLE001 - a log line is no place to fail in
        return f"<unprintable {type(value).__name__}>"


def _cards(match: re.Match[str]) -> str:
    """Look at every run of whole groups: a card number may have its expiry or CVV beside it."""
    parts = re.split(r"([ -])", match[0])  # digits at even places, separators at odd ones
    start = 0
    while start < len(parts):
        for end in range(min(len(parts), start + 37), start, -2):  # 19 groups at most
            run = "".join(parts[start:end:2])
            if 13 <= len(run) <= 19 and run[0] not in _NO_CARD and passes_luhn(run):
                parts[start:end] = [REDACTED]
                break
        start += 2
    return "".join(parts)


def passes_luhn(text: str) -> bool:
    """Say whether the digits in `text` end in a valid check digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + doubled) % 10 == 0
