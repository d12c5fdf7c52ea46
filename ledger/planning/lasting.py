"""What a person can spend every month from retirement up to the age of 100, in today's money, before anything is short.

An exact run says what she has at the end of the month of retirement and what comes in later; neither depends on what she
spends then. So only the months of `savings` are run again, as step 8 of `ledger.planning.outlook` says, in whole fen. A
closed formula in floats says where to look; which amount is the answer the exact months alone decide.

1. With this as her need, no month after retirement is short; with one fen more, one is.
"""

from bisect import bisect_left
from typing import Final

import numpy as np
from msgspec import Struct

from ledger.planning.flows import Flows
from ledger.planning.outlook import PARTS, Outlook

HALF: Final = PARTS // 2
# The formula is off by some of the months' halves of a fen; where that is not enough, the span is widened.
SPAN_FEN: Final = 16
MAX_SPAN_FEN: Final = 2**62


class _Purse(Struct, frozen=True):
    """Savings at retirement, and what comes, goes and costs in each month after it."""

    held: int
    rate: int
    fee_rate: int
    comes: list[int]
    goes: list[int]
    prices: list[int]

    def is_short(self, need_today_fen: int) -> bool:
        balance, rate, fee_rate = self.held, self.rate, self.fee_rate
        for comes, goes, price in zip(self.comes, self.goes, self.prices, strict=True):
            earned = (balance * rate + HALF) // PARTS
            balance += earned
            fee = (balance * fee_rate + HALF) // PARTS
            balance += comes - fee - (need_today_fen * price + HALF) // PARTS - goes
            if balance < 0:
                return True
        return False

    def about(self) -> int:
        """Where the need lies that empties the savings in the month in which they suffice least, but for roundings."""
        grows = (1 + self.rate / PARTS) * (1 - self.fee_rate / PARTS)
        growth = grows ** np.arange(1, len(self.comes) + 1)
        brings = self.held + np.cumsum((np.array(self.comes, float) - np.array(self.goes, float)) / growth)
        costs = np.cumsum(np.array(self.prices, float) / PARTS / growth)
        return int((brings / costs).min())


def lasting_today_fen(outlook: Outlook, flows: Flows) -> int:
    """The most she can spend a month, in whole fen; 0 where something is short even if she spends nothing."""
    pot, first = outlook.pots[-1], outlook.first_retired
    purse = _Purse(
        held=int(flows.pots[-1].closing_fen[outlook.retirement]) if outlook.retirement >= 0 else pot.opening_fen,
        rate=pot.monthly_return,
        fee_rate=pot.monthly_fee,
        comes=flows.household.income_fen[first:].tolist(),
        goes=flows.household.lump_fen[first:].tolist(),
        prices=outlook.price_index[first:].tolist(),
    )
    about, span = max(0, purse.about()), SPAN_FEN
    while span < MAX_SPAN_FEN:
        least, most = max(0, about - span), about + span
        if not purse.is_short(least) and purse.is_short(most):
            return bisect_left(range(most), True, lo=least, key=purse.is_short) - 1
        if least == 0 and purse.is_short(0):
            return 0
        span *= SPAN_FEN
    raise AssertionError("no bound to what she can spend")
