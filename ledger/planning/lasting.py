"""What a person can spend every month from retirement up to the age of 100, in today's money, before anything is short.

An exact run says what she has at the end of the month of retirement and what comes in later; neither depends on what she
spends then. So only the months of `savings` are run again, as step 8 of `ledger.planning.outlook` says, in whole fen. A
closed formula in floats says where to look; which amount is the answer the exact months alone decide, with what returns are
short of a fen carried on as in the exact run.

1. With this as her need, no month after retirement is short; with one fen more, one is.
"""

from bisect import bisect_left
from typing import Final

import numpy as np
from msgspec import Struct

from ledger.planning.cashflow import Course, begun, credit
from ledger.planning.flows import Flows
from ledger.planning.outlook import PARTS, Outlook, Pot

HALF: Final = PARTS // 2
# The formula is off by some of the months' halves of a fen; where that is not enough, the span is widened.
SPAN_FEN: Final = 16
MAX_SPAN_FEN: Final = 2**62


class _Purse(Struct, frozen=True):
    """Savings at retirement with what their returns are then short of, and what comes, goes and costs in each month after."""

    pot: Pot
    held: int
    carry: int
    accrued: int
    comes: list[int]
    goes: list[int]
    prices: list[int]
    month: list[int]

    def is_short(self, need_today_fen: int) -> bool:
        if self.pot.credited == "yearly":
            return self._is_short_yearly(need_today_fen)
        balance, carry, rate, fee_rate = self.held, self.carry, self.pot.monthly_return, self.pot.monthly_fee
        for comes, goes, price in zip(self.comes, self.goes, self.prices, strict=True):
            earned, carry = divmod(balance * rate + carry, PARTS)
            balance += earned
            fee = (balance * fee_rate + HALF) // PARTS
            balance += comes - fee - (need_today_fen * price + HALF) // PARTS - goes
            if balance < 0:
                return True
        return False

    def _is_short_yearly(self, need_today_fen: int) -> bool:
        course = Course(self.held, [], [], [], accrued=self.accrued, carry=self.carry)
        for t, (comes, goes, price) in enumerate(zip(self.comes, self.goes, self.prices, strict=True)):
            earned, fee = credit(course, self.pot, t, self.month)
            course.balance += earned - fee + comes - (need_today_fen * price + HALF) // PARTS - goes
            if course.balance < 0:
                return True
        return False

    def about(self) -> int:
        """Where the need lies that empties the savings in the month in which they suffice least, but for roundings."""
        grows = (1 + self.pot.monthly_return / PARTS) * (1 - self.pot.monthly_fee / PARTS)
        growth = grows ** np.arange(1, len(self.comes) + 1)
        brings = self.held + np.cumsum((np.array(self.comes, float) - np.array(self.goes, float)) / growth)
        costs = np.cumsum(np.array(self.prices, float) / PARTS / growth)
        return int((brings / costs).min())


def _at_retirement(outlook: Outlook, flows: Flows) -> Course:
    """Her savings as the exact run has them at the end of the month of retirement."""
    pot, shown, month = outlook.pots[-1], flows.pots[-1], outlook.month.tolist()
    course = begun(pot)
    for t, closing_fen in enumerate(shown.closing_fen[: outlook.first_retired].tolist()):
        credit(course, pot, t, month)
        course.balance = closing_fen
    return course


def lasting_today_fen(outlook: Outlook, flows: Flows) -> int:
    """The most she can spend a month, in whole fen; 0 where something is short even if she spends nothing."""
    first = outlook.first_retired
    course = _at_retirement(outlook, flows)
    purse = _Purse(
        pot=outlook.pots[-1],
        held=course.balance,
        carry=course.carry,
        accrued=course.accrued,
        comes=flows.household.income_fen[first:].tolist(),
        goes=flows.household.lump_fen[first:].tolist(),
        prices=outlook.price_index[first:].tolist(),
        month=outlook.month[first:].tolist(),
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
