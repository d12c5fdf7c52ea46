"""The sample is what AUDIT section 7 says, worked out here in another way."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.sample import MAX_SAMPLE, SampleImpossible, sample

# The root of AUDIT section 2.5.
ROOT = bytes.fromhex("81d5eb2ef6de2f8494eb5e741aa164202c7cd1d133406ff0712ce94ac4e193b3")
BLOCK_BYTES = 64


def hmac_by_hand(key: bytes, message: bytes) -> bytes:
    """HMAC as RFC 2104 writes it, out of SHA-256 alone."""
    padded = key.ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()


def drawn_by_hand(root: bytes, nonce: bytes, size: int, count: int) -> list[int]:
    seed = hashlib.sha256(root + nonce).digest()
    found: list[int] = []
    counter = 0
    while len(found) < count:
        high, low = divmod(counter, 2**32)
        mac = hmac_by_hand(seed, high.to_bytes(4, "big") + low.to_bytes(4, "big"))
        position = int(mac.hex(), 16) % size + 1
        if position not in found:
            found.append(position)
        counter += 1
    return found


def test_the_worked_example_of_audit() -> None:
    """Draws 1, 2, 3 in this order; a shorter sample is the beginning."""
    assert sample(ROOT, b"nonce-1", size=3, count=3) == [1, 2, 3]
    assert sample(ROOT, b"nonce-1", size=3, count=2) == [1, 2]


@given(
    root=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=1, max_size=100),
    size=st.integers(1, 2**53),
    count=st.integers(1, 40),
)
def test_an_independent_computation_draws_the_same(root: bytes, nonce: bytes, size: int, count: int) -> None:
    count = min(count, size)
    assert sample(root, nonce, size=size, count=count) == drawn_by_hand(root, nonce, size, count)


def test_a_sample_of_all_facts_is_all_of_them() -> None:
    """Most of the last draws are repeats, and are skipped."""
    found = sample(ROOT, b"all", size=3_000, count=3_000)
    assert sorted(found) == list(range(1, 3_001))


def test_another_root_or_nonce_draws_others() -> None:
    first = sample(ROOT, b"nonce-1", size=10**9, count=20)
    assert first != sample(ROOT, b"nonce-2", size=10**9, count=20)
    assert first != sample(bytes(32), b"nonce-1", size=10**9, count=20)


@pytest.mark.parametrize(
    ("root", "nonce", "size", "count", "said"),
    [
        (b"short", b"n", 3, 1, "A root has 32 bytes, this one 5."),
        (ROOT, b"", 3, 1, "A nonce has 1 to 1024 bytes, this one 0."),
        (ROOT, b"n" * 1_025, 3, 1, "A nonce has 1 to 1024 bytes, this one 1025."),
        (ROOT, b"n", 3, 4, "There are 3 facts under this root, asked were 4."),
        (ROOT, b"n", 3, 0, "A sample has 1 to 100000 facts, asked were 0."),
        (ROOT, b"n", 10**9, MAX_SAMPLE + 1, "A sample has 1 to 100000 facts, asked were 100001."),
    ],
)
def test_what_cannot_be_drawn_is_said(root: bytes, nonce: bytes, size: int, count: int, said: str) -> None:
    with pytest.raises(SampleImpossible) as raised:
        sample(root, nonce, size=size, count=count)
    assert str(raised.value) == said
