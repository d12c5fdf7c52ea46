"""A sample of facts that nobody could have steered: drawn from a sealed root and a number named after it was signed.

1. The sample depends on the root, the nonce and the number of facts alone (AUDIT section 7): seed = SHA-256(root, nonce);
   draw i, from 0, is HMAC-SHA-256(seed, i as 8 bytes, big-endian) modulo n, plus 1; a repeat is skipped.
2. Whoever chose the facts could not know the nonce, and whoever chooses the nonce cannot change the facts.
3. Positions come in the order of drawing: a longer sample begins with the shorter one.

The modulo favours low positions by less than n in 2^256: for every journal that fits into a database that is less than one
draw in 10^57, so it is accepted and nothing is drawn again for it.
"""

import hmac
from hashlib import sha256
from typing import Final

from ledger.domain.tree import HASH_BYTES, Hash

MAX_SAMPLE: Final = 100_000
MAX_NONCE_BYTES: Final = 1_024
COUNTER_BYTES: Final = 8
# A sample of all n facts takes about n * (ln n + 0.6) draws, because most of the last ones are repeats: of 100,000 about
# 12 draws a fact. Four times that is not reached by chance.
MAX_DRAWS_PER_FACT: Final = 50
MIN_MAX_DRAWS: Final = 10_000


class SampleImpossible(ValueError):
    """What was asked for cannot be drawn: a sample has a root of 32 bytes, a nonce, and no more positions than facts."""


def sample(root: Hash, nonce: bytes, *, size: int, count: int) -> list[int]:
    """Positions of `count` facts among the first `size`, in the order of drawing. Raises SampleImpossible."""
    if len(root) != HASH_BYTES:
        raise SampleImpossible(f"A root has {HASH_BYTES} bytes, this one {len(root)}.")
    if not 0 < len(nonce) <= MAX_NONCE_BYTES:
        raise SampleImpossible(f"A nonce has 1 to {MAX_NONCE_BYTES} bytes, this one {len(nonce)}.")
    if not 0 < count <= MAX_SAMPLE:
        raise SampleImpossible(f"A sample has 1 to {MAX_SAMPLE} facts, asked were {count}.")
    if count > size:
        raise SampleImpossible(f"There are {size} facts under this root, asked were {count}.")
    seed = sha256(root + nonce).digest()
    drawn: dict[int, None] = {}
    for draw in range(max(MIN_MAX_DRAWS, count * MAX_DRAWS_PER_FACT)):
        mac = hmac.digest(seed, draw.to_bytes(COUNTER_BYTES, "big"), "sha256")
        drawn[int.from_bytes(mac, "big") % size + 1] = None
        if len(drawn) == count:
            return list(drawn)
    raise AssertionError("so many draws cannot all be repeats")
