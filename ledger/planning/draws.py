"""Chance for the simulated paths: seeded shocks of the factors, the same on every machine.

1. The same seed gives the same shocks; a longer horizon only appends months, and another plan changes none.
2. Paths come in pairs: the second of a pair has the shocks of the first with the sign turned.
3. Only integers from the generator, one table, sums and products lead to a shock: no routine of a processor's own.

A normal number is one of 65,536 equally likely quantiles (so at most 4.3 standard deviations out), scaled to variance one.
That costs a fifth of the generator's own normal numbers, and a month's shock of a market needs no finer ones.
"""

from collections.abc import Iterator
from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.planning.markets import FACTORS, JUMPING, MONTHS, PERSISTENT, Markets

LEVELS: Final = 65_536
# The streams of one seed: markets and lives do not disturb each other.
MARKET_STREAM: Final = 1
LIFE_STREAM: Final = 2

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@cache
def quantiles() -> Singles:
    """The normal quantiles in the middle of each of the levels, scaled to variance one."""
    normal = NormalDist()
    upper = np.array([normal.inv_cdf((level + 0.5) / LEVELS) for level in range(LEVELS // 2, LEVELS)])
    # Rounded, so that the last bits of a machine's logarithm do not matter.
    upper = np.round(upper / np.sqrt(np.mean(upper * upper)), 9)
    return np.concatenate([-upper[::-1], upper]).astype(np.float32)


def _bits(seed: int, stream: int) -> np.random.SFC64:
    return np.random.SFC64(np.random.SeedSequence([seed, stream]))


def life_numbers(seed: int, pairs: int) -> Floats:
    """One number from 0 to below 1 for each path, the second half turned around: `u` and `1 - u`."""
    first = (_bits(seed, LIFE_STREAM).random_raw(pairs) >> np.uint64(11)) * 2.0**-53
    return np.concatenate([first, (1 - 2.0**-53) - first])


def yearly_normals(seed: int, pairs: int) -> Iterator[Singles]:
    """For each year without end, independent normal numbers by factor, month and first path of a pair.

    The array is used again for the next year.
    """
    assert pairs % 2 == 0, "a raw number of the generator makes four"
    generator = _bits(seed, MARKET_STREAM)
    table = quantiles()
    shape = (len(FACTORS), MONTHS, pairs)
    count = len(FACTORS) * MONTHS * pairs
    normals = np.empty(count, np.float32)
    while True:
        raw = generator.random_raw(count // 4).astype("<u8", copy=False).view("<u2")
        # With "clip" nothing is checked for bounds; all 16-bit numbers lie within.
        table.take(raw, mode="clip", out=normals)
        yield normals.reshape(shape)


def yearly_shocks(markets: Markets, seed: int, pairs: int) -> Iterator[Singles]:
    """For each year without end, how far each factor strays in a month, by factor, month and first path of a pair.

    Of the jumping factors the shock of the month; of the persistent ones the deviation of their yearly rate.
    """
    loads = np.array(markets.correlation.root) * markets.monthly_scale()[:, np.newaxis]
    rows = [[np.float32(load) for load in row] for row in loads.tolist()]
    kept = markets.persistence().astype(np.float32)[:, np.newaxis]
    scratch = np.empty((MONTHS, pairs), np.float32)
    before = np.zeros((len(PERSISTENT), pairs), np.float32)
    left = np.empty_like(before)
    for shocks in yearly_normals(seed, pairs):
        # From the last factor to the first, in place: a factor leans on those before it, and no longer on those after.
        for factor in reversed(range(len(FACTORS))):
            shock = shocks[factor]
            np.multiply(shock, rows[factor][factor], out=shock)
            for source in range(factor):
                if rows[factor][source]:
                    np.multiply(shocks[source], rows[factor][source], out=scratch)
                    np.add(shock, scratch, out=shock)
        for month in range(MONTHS):
            drifting = shocks[len(JUMPING) :, month]
            np.multiply(before, kept, out=left)
            np.add(drifting, left, out=drifting)
            before = drifting
        before = before.copy()
        yield shocks
