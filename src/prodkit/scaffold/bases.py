"""Texts that `prodkit update` will merge from and that git does not have, in `.prodkit.base`.

Git has what was committed. A file that you changed is committed as you have it; how the newest
templates had it would be lost, and the next update could not tell your lines from theirs.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.disk import replace
from prodkit.scaffold.record import blob_id

BASES = ".prodkit.base"
_HEAD = (
    "# Written by prodkit: how the templates had files that changed. The next update needs it.\n"
)


def read_bases(folder: Path) -> dict[str, bytes]:
    """Return the texts by their blob ids; raise ConfigurationError for a damaged file."""
    path = folder / BASES
    try:
        lines = path.read_text("ascii").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    texts = {}
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            name, text = _read(line)
            if blob_id(text) != name:
                raise ConfigurationError(
                    f"{path}:{number} is damaged: take the file back from git, or delete it and"
                    " resolve the conflicts that are marked then"
                )
            texts[name] = text
    return texts


def write_bases(folder: Path, texts: Mapping[str, bytes]) -> None:
    """Write `texts`, or no file if there are none; raise OSError."""
    path = folder / BASES
    if not texts:
        path.unlink(missing_ok=True)
        return
    lines = (
        f"{name} {base64.b64encode(zlib.compress(texts[name], 9)).decode()}\n"
        for name in sorted(texts)
    )
    replace(path, (_HEAD + "".join(lines)).encode())


def _read(line: str) -> tuple[str, bytes]:
    name, _, packed = line.partition(" ")
    try:
        return name, zlib.decompress(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError, zlib.error):
        return name, b""
