"""What happens to everybody on a path, year by year of the plan: prices, wages, and the indexing of pensions.

1. With still markets prices and wages are the plan's, to the last bit.
2. Wages, contribution bounds and the benefit base stray together, and in Januaries only, as the plan raises them then.

Within twelve months the deviations of a yearly rate add up; from year to year they multiply.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from ledger.planning.courses import Year
from ledger.planning.draws import Floats, Singles, yearly_shocks
from ledger.planning.markets import FACTORS, MONTHS, Markets
from ledger.planning.outlook import PARTS, Outlook

INFLATION: Final = FACTORS.index("inflation")
WAGES: Final = FACTORS.index("wages")
JANUARY: Final = 1


def _both(half: Floats | Singles, out: Floats) -> Floats:
    """Of a deviation of the first paths of the pairs: one and the deviation, of all paths."""
    pairs = half.shape[-1]
    one = np.float64(1)
    np.add(one, half, out=out[..., :pairs])
    np.subtract(one, half, out=out[..., pairs:])
    return out


def years(outlook: Outlook, markets: Markets, seed: int, pairs: int) -> Iterator[Year]:
    """The years of the plan, of twelve months each but for the last, with what markets do in them. Arrays are used again."""
    shocks = yearly_shocks(markets, seed, pairs)
    index = outlook.price_index[:, np.newaxis] / PARTS
    share = markets.pension_indexing.value
    calendar: list[int] = outlook.month.tolist()
    ages: list[int] = outlook.age_months.tolist()
    prices, income, factors = np.empty((3, MONTHS, 2 * pairs))
    singles = np.empty((2, MONTHS, pairs), np.float32)
    strayed = np.empty((MONTHS, pairs), np.float32)
    level, wages = np.ones(2 * pairs), np.ones(2 * pairs)
    dearer, paid_more = np.zeros(pairs), np.zeros(pairs)
    for first in range(0, outlook.months, MONTHS):
        count = min(MONTHS, outlook.months - first)
        shock = next(shocks)
        np.divide(shock[INFLATION], np.float32(MONTHS), out=strayed)
        # Row by row: a fifth of the time of a cumulative sum down the columns.
        for earlier, later in pairwise(strayed):
            np.add(earlier, later, out=later)
        _both(strayed, out=prices)
        level_after = level * prices[-1]
        nominal = prices[:count]
        np.multiply(nominal, index[first : first + count], out=nominal)
        np.multiply(nominal, level, out=nominal)
        january = next((month for month in range(count) if calendar[first + month] == JANUARY), count)
        if january:
            dearer = dearer + strayed[january - 1]
            paid_more = paid_more + shock[WAGES, :january].sum(axis=0) / MONTHS
        before, indexing = wages, np.ones(2 * pairs)
        if january < count:
            wages = before * _both(paid_more, out=np.empty(2 * pairs))
            _both(share * dearer + (1 - share) * paid_more, out=indexing)
            dearer = strayed[-1] - strayed[january - 1] if january else strayed[-1].astype(np.float64)
            paid_more = shock[WAGES, january:].sum(axis=0) / MONTHS
        income.fill(0)
        yield Year(
            first=first,
            count=count,
            shocks=shock,
            wages=(before, wages),
            january=january,
            indexing=indexing,
            prices=prices,
            birthday=next((month for month in range(count) if ages[first + month] % MONTHS == MONTHS - 1), count),
            income=income,
            closing=np.zeros(2 * pairs),
            windfall={},
            as_wages={},
            moved={},
            factors=factors,
            strayed=singles[0],
            scratch=singles[1],
            following={},
        )
        level = level_after
