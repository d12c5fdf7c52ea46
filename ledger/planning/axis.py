"""The months of a plan: from the month after its day to the month in which the person turns 100."""

from datetime import date
from typing import Final

import numpy as np
from msgspec import Struct

from ledger.domain.calendar import month_number, period_of_number
from ledger.planning.answers import AnswerRefused
from ledger.planning.outlook import Whole

YEAR: Final = 12
LAST_AGE_MONTHS: Final = 100 * YEAR
FIRST_AGE_MONTHS: Final = 16 * YEAR


class Axis(Struct, frozen=True, eq=False):
    """The months: `first` and `birth` are numbers of months; `year_of` counts calendar years from the first month's."""

    first: int
    birth: int
    months: int

    def index(self, month: str) -> int:
        """Where a month stands on the axis; below zero before it, `months` or more after it."""
        return month_number(month) - self.first

    def period(self, index: int) -> str:
        """The month of an index."""
        return period_of_number(self.first + index)

    @property
    def lead(self) -> int:
        """Months of the first calendar year before the plan."""
        return self.first % YEAR

    @property
    def years(self) -> int:
        """Calendar years that the axis touches."""
        return (self.lead + self.months - 1) // YEAR + 1

    def numbers(self) -> Whole:
        """The number of each month."""
        return np.arange(self.first, self.first + self.months)


def axis(on: date, birth: str) -> Axis:
    """The axis of a plan made on a day. Refuses a birth that leaves no month, or no adult."""
    first = on.year * YEAR + on.month
    born = month_number(birth)
    months = born + LAST_AGE_MONTHS - first + 1
    if months < 1 or first - born < FIRST_AGE_MONTHS:
        oldest, youngest = period_of_number(first - LAST_AGE_MONTHS), period_of_number(first - FIRST_AGE_MONTHS)
        raise AnswerRefused(
            "birth",
            f"a plan is for ages from 16 to 100: a month of birth from {oldest} to {youngest}",
            earliest=oldest,
            latest=youngest,
        )
    return Axis(first, born, months)
