"""Exact growth in whole numbers: monthly parts of a yearly rate, and indices that grow by month or in each January.

A rate is whole parts of PARTS (10**9). Each step of an index is rounded half up.
"""

from decimal import Context, Decimal
from functools import lru_cache
from typing import Final

import numpy as np

from ledger.planning.outlook import PARTS, Whole

_EXACT: Final = Context(prec=40)
_YEAR: Final = 12
_HALF: Final = PARTS // 2
_KEPT: Final = 256


def parts(rate: Decimal) -> int:
    """A rate of at most nine decimals as whole parts."""
    return int(rate.scaleb(9))


@lru_cache(maxsize=_KEPT)
def monthly_parts(yearly: Decimal) -> int:
    """The monthly rate that compounds to a yearly one: the twelfth root, to the nearest part."""
    if yearly == 0:
        return 0
    root = _EXACT.exp(_EXACT.divide(_EXACT.ln(1 + yearly), Decimal(_YEAR)))
    return int((root - 1).scaleb(9).to_integral_value())


def grown(value: int, rate_parts: int, steps: int) -> list[int]:
    """A value and what it is after 1 to `steps` steps of growth."""
    values = [value]
    for _ in range(steps):
        value = (value * (PARTS + rate_parts) + _HALF) // PARTS
        values.append(value)
    return values


@lru_cache(maxsize=_KEPT)
def price_index(monthly_rate_parts: int, months: int) -> Whole:
    """Prices of each month in parts of those of the month before the first. Read-only."""
    index = np.array(grown(PARTS, monthly_rate_parts, months)[1:], np.int64)
    index.flags.writeable = False
    return index


@lru_cache(maxsize=_KEPT)
def january_index(rate_parts: int, start: int, first_january: int, months: int) -> Whole:
    """PARTS from the month `start` on, more by the rate in each later January; before `start` PARTS. Read-only.

    `first_january`: index of the first January of the axis.
    """
    ahead = np.arange(months)
    januaries = (ahead - first_january) // _YEAR + 1
    steps = np.maximum(januaries - ((start - first_january) // _YEAR + 1), 0)
    index = np.array(grown(PARTS, rate_parts, int(steps[-1])), np.int64)[steps]
    index.flags.writeable = False
    return index
