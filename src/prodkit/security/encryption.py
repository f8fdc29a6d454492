"""Encryption at rest: AES-256-GCM under named keys, bound to the row that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prodkit._extras import extra

with extra("auth", of=__name__):
    import cryptography  # noqa: F401

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from prodkit.errors import Code, ConfigurationError, ServiceError

_VERSION = 1
_NONCE = 12
_TAG = 16


class DecryptionError(ServiceError):
    """The data was changed, moved to another row, or made with a key that we do not have."""

    code = Code.DATA_LOSS
    reason = "DECRYPTION_FAILED"


class Encryption:
    """Encrypts under the `current` one of `keys`; decrypts under any of them.

    `keys` maps key ids (1 to 255 bytes, stored in the clear) to 32 random bytes each. To rotate,
    add a key, make it current, and encrypt anew what `needs_rotation`; then drop the old key. A
    nonce is 96 random bits, so a key is good for some 2^32 values (NIST SP 800-38D). The layout is
    version, length of the key id, key id, nonce, ciphertext, tag; the header is authenticated too.
    """

    def __init__(self, keys: Mapping[str, bytes], *, current: str) -> None:
        if current not in keys:
            raise ConfigurationError(f"current: there is no key {current!r}")
        for key_id, key in keys.items():
            if len(key) != 32:
                raise ConfigurationError(f"key {key_id!r} must have 32 bytes, not {len(key)}")
            if not 1 <= len(key_id.encode()) <= 255:
                raise ConfigurationError(f"key id {key_id!r} must have 1 to 255 bytes")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._cipher = self._ciphers[current]
        self._current = current
        name = current.encode()
        self._header = bytes([_VERSION, len(name)]) + name

    def encrypt(self, plaintext: bytes, *, aad: bytes) -> bytes:
        """Return `plaintext` encrypted; it decrypts with the same `aad` only (see `identity`)."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, plaintext, self._header + aad)
        return self._header + nonce + sealed

    def decrypt(self, data: bytes, *, aad: bytes) -> bytes:
        """Return the plaintext; DecryptionError for anything that is not exactly as encrypted."""
        key_id, size = _header(data)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptionError(f"no key {key_id!r}", reason="KEY_UNKNOWN")
        nonce, sealed = data[size : size + _NONCE], data[size + _NONCE :]
        try:
            return cipher.decrypt(nonce, sealed, data[:size] + aad)
        except InvalidTag:
            raise DecryptionError("the data does not decrypt") from None

    def needs_rotation(self, data: bytes) -> bool:
        """Say whether `data` was encrypted under a key that is not the current one."""
        return _header(data)[0] != self._current


def identity(*parts: str | int) -> bytes:
    """Return the `aad` of a value by where it stands: `identity("users", "phone", user_id)`.

    Parts are counted, so ("ab", "c") and ("a", "bc") differ.
    """
    encoded = [str(part).encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _header(data: bytes) -> tuple[str, int]:
    """Return the key id, and how long the header is."""
    size = 2 + (data[1] if len(data) > 1 else 0)
    if len(data) < size + _NONCE + _TAG or data[0] != _VERSION:
        raise DecryptionError("this is nothing that was encrypted here")
    return data[2:size].decode("utf-8", "replace"), size
