"""What many paths say together: bands, chances and their errors.

1. A band rises from its 5 % to its 95 %.
2. A chance comes with its standard error, taken over pairs of paths, as the two of a pair are not independent.

Amounts are whole fen, rounded half to even from the floats of the paths.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

PERCENTS: Final = (5, 25, 50, 75, 95)
DIGITS: Final = 6

Floats = NDArray[np.float64]


class Band(msgspec.Struct, frozen=True):
    """So many percent of the paths lie at or below each value."""

    p5: int
    p25: int
    p50: int
    p75: int
    p95: int


class Chance(msgspec.Struct, frozen=True):
    """The share of the paths in which something happens, and the number of these.

    The true share lies within two errors in 19 cases of 20. Where it happens on no path or on all, the error is nought, and
    all that is known is less than 3 in so many pairs.
    """

    share: float
    standard_error: float
    paths: int


def percentiles(samples: Floats) -> Floats:
    """The values at `PERCENTS` of each row, straight lines between neighbours; the rows are sorted in place.

    Sorting a row whole is faster here than choosing five of its places.
    """
    samples.sort(axis=1)
    places = np.array(PERCENTS) / 100 * (samples.shape[1] - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, samples.shape[1] - 1)
    below: Floats = samples[:, lower]
    above: Floats = samples[:, upper]
    between: Floats = below + (above - below) * (places - lower)
    return between


def bands(samples: Floats) -> list[Band]:
    """One band for each row; the rows are sorted in place."""
    return [Band(*row) for row in np.rint(percentiles(samples)).astype(np.int64).tolist()]


def chance(happens: NDArray[np.bool_]) -> Chance:
    """How often something happens; the second half of the paths are the partners of the first."""
    half = len(happens) // 2
    pairs = (happens[:half].astype(np.float64) + happens[half:]) / 2
    share = float(pairs.mean())
    error = float(np.sqrt(np.square(pairs - share).sum() / (half - 1) / half))
    return Chance(share=round(share, DIGITS), standard_error=round(error, DIGITS), paths=int(happens.sum()))
