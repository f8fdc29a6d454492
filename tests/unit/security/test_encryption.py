import os

import pytest

from prodkit.errors import ConfigurationError
from prodkit.security import encryption
from prodkit.security.encryption import DecryptionError, Encryption, identity

OLD, NEW = os.urandom(32), os.urandom(32)
ROW = identity("users", "phone", 7)


@pytest.fixture
def cipher():
    return Encryption({"2026-01": OLD}, current="2026-01")


def test_what_is_encrypted_comes_back(cipher):
    for plaintext in (b"", b"+43 1 234", os.urandom(100_000)):
        assert cipher.decrypt(cipher.encrypt(plaintext, aad=ROW), aad=ROW) == plaintext


def test_every_flipped_bit_is_noticed(cipher):
    data = cipher.encrypt(b"+43 1 234", aad=ROW)
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(DecryptionError):
            cipher.decrypt(bytes(changed), aad=ROW)


def test_every_cut_is_noticed(cipher):
    data = cipher.encrypt(b"x", aad=ROW)
    for size in range(len(data)):
        with pytest.raises(DecryptionError):
            cipher.decrypt(data[:size], aad=ROW)


def test_a_value_moved_to_another_row_does_not_decrypt(cipher):
    data = cipher.encrypt(b"+43 1 234", aad=ROW)
    for other in (identity("users", "phone", 8), identity("users", "phon", "e7"), b""):
        with pytest.raises(DecryptionError):
            cipher.decrypt(data, aad=other)


def test_rotation_reads_the_old_and_writes_the_new(cipher):
    old = cipher.encrypt(b"secret", aad=ROW)
    rotated = Encryption({"2026-01": OLD, "2026-02": NEW}, current="2026-02")
    assert rotated.decrypt(old, aad=ROW) == b"secret"
    assert rotated.needs_rotation(old)
    new = rotated.encrypt(rotated.decrypt(old, aad=ROW), aad=ROW)
    assert not rotated.needs_rotation(new)
    with pytest.raises(DecryptionError) as caught:
        Encryption({"2026-02": NEW}, current="2026-02").decrypt(old, aad=ROW)
    assert caught.value.reason == "KEY_UNKNOWN"


def test_the_key_id_cannot_be_exchanged():
    both = Encryption({"a": OLD, "b": OLD}, current="a")
    data = bytearray(both.encrypt(b"x", aad=ROW))
    data[2:3] = b"b"
    with pytest.raises(DecryptionError):
        both.decrypt(bytes(data), aad=ROW)


def test_no_nonce_comes_twice(cipher):
    """Scenario 50: 10^6 values; only the nonces are kept, not the values."""
    start = len(cipher.encrypt(b"", aad=b"")) - 12 - 16
    nonces = {cipher.encrypt(b"", aad=b"")[start : start + 12] for _ in range(1_000_000)}
    assert len(nonces) == 1_000_000


def test_a_nonce_is_taken_from_the_system(cipher, monkeypatch):
    monkeypatch.setattr(encryption.os, "urandom", lambda size: b"\x07" * size)
    assert b"\x07" * 12 in cipher.encrypt(b"x", aad=b"")


@pytest.mark.parametrize(
    ("keys", "current", "said"),
    [
        ({"a": OLD}, "b", "current"),
        ({"a": b"short"}, "a", "32 bytes"),
        ({"": OLD}, "", "1 to 255"),
        ({"x" * 256: OLD}, "x" * 256, "1 to 255"),
    ],
)
def test_keys_are_checked_at_construction(keys, current, said):
    with pytest.raises(ConfigurationError, match=said):
        Encryption(keys, current=current)
