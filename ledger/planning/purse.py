"""Her purse over many paths: wage and its tax, the basic pension, needs, and `savings`, in vectors over the paths.

As `ledger.planning.cashflow` does exactly, in floats; the wage and all that follows it are times the wages of the path.
"""

from typing import Final

import numpy as np

from ledger.planning.courses import DECEMBER, LINKED_PILLARS, Brackets, Course, Year
from ledger.planning.draws import Floats
from ledger.planning.markets import MONTHS, Markets
from ledger.planning.outlook import PARTS, Outlook

# A yuan that is missing through rounding is no want.
MISSED_FEN: Final = 100.0
JANUARY: Final = 1


class FirstPillar:
    """The personal account and the pension for life, whose account part the account pays as long as it can."""

    def __init__(self, outlook: Outlook, markets: Markets, pairs: int) -> None:
        self.account = Course(outlook, 0, markets, pairs)
        self.pension = outlook.pension
        self.account.start = outlook.pension.start
        self.index: list[float] = (outlook.pension_index / PARTS).tolist()
        self.from_account = np.zeros(2 * pairs)
        self.whole = np.zeros(2 * pairs)

    def run(self, year: Year) -> None:
        """A year of months: the account's returns and contributions, then the pension, which is added to the income."""
        account, start = self.account, self.pension.start
        spent = start < year.first and account.done
        factors = None if spent else account.growth.of(year)
        paid = owed = self.whole
        for month, t in year.months:
            if t == start:
                self.from_account = account.balance * (self.pension.divisor_of / self.pension.divisor)
                self.whole = self.from_account + year.with_wages(month, self.pension.pooled_fen)
            elif t > start and month == year.january:
                self.from_account = self.from_account * year.indexing
                self.whole = self.whole * year.indexing
            if t >= start and (month == 0 or t == start or month == year.january or self.index[t] != self.index[t - 1]):
                paid = self.whole * self.index[t]
                owed = self.from_account * self.index[t]
            if factors is not None:
                account.earn(factors[month], t)
                if t < start:
                    account.take_in(year, month, t)
                else:
                    account.balance -= owed
                    np.maximum(account.balance, 0, out=account.balance)
                if month == year.birthday:
                    year.closing += account.balance
            if t >= start:
                income = year.income[month]
                np.add(income, paid, out=income)


class WageTax:
    """Cumulative withholding (累计预扣法) by path: the year's table on the year so far, December settling the year.

    In a calendar year the taxable income so far is `follows` x her wage to the plan's - `deducted`, and what pots paid as
    wages, if any do: two numbers and one vector say where each path lies in the table.
    """

    def __init__(self, outlook: Outlook, linked_fen: Floats, pairs: int) -> None:
        self.brackets = Brackets.of(outlook.wage_tax)
        self.linked: list[float] = (outlook.wage_fen - linked_fen).tolist()
        basic = outlook.basic_deduction_fen / MONTHS
        self.fixed: list[float] = (outlook.deductions_fen - linked_fen + basic).tolist()
        earning = set(outlook.year[outlook.wage_fen > 0].tolist())
        if outlook.lead_wage_fen:
            earning.add(int(outlook.year[0]))
        self.of_wages: list[bool] = [each in earning for each in outlook.year.tolist()]
        self.calendar: list[int] = outlook.month.tolist()
        self.nothing = np.zeros(2 * pairs)
        self.withheld = self.nothing
        self._begin()
        # The months of the first calendar year that lie before the plan, alike on all paths.
        self.deducted += outlook.lead_once_fen
        for _ in range(outlook.lead):
            self.deducted += outlook.lead_deductions_fen + basic - outlook.lead_wage_fen
            self.withheld = np.maximum(self.withheld, self._owed(self.nothing + 1))

    def _begin(self) -> None:
        self.follows = 0.0
        self.deducted = 0.0
        self.withheld = self.nothing
        self.as_wages: Floats | None = None
        self.range: tuple[float, float] = (1.0, 1.0)

    def _owed(self, wages: Floats) -> Floats:
        low, high = (self.follows * each - self.deducted for each in self.range)
        if self.as_wages is not None:
            taxable = wages * self.follows + self.as_wages - self.deducted
            owed = self.brackets.tax(taxable, float(taxable.max()))
            return np.maximum(owed, 0, out=owed)
        if high <= 0:
            return self.nothing
        owed = self.brackets.tax_of_line(wages, self.follows, self.deducted, (low, high))
        return owed if low >= 0 else np.maximum(owed, 0, out=owed)

    def of_month(self, year: Year, month: int, t: int) -> Floats | None:
        """The tax of this month by path, below nought where December gives back; None where nothing is taxed all year."""
        wages = year.wages[month >= year.january]
        if self.calendar[t] == JANUARY:
            self._begin()
            if self.of_wages[t]:
                self.range = (float(wages.min()), float(wages.max()))
        self.follows += self.linked[t]
        self.deducted += self.fixed[t]
        paid = year.as_wages.get(month)
        if paid is not None:
            self.as_wages = paid if self.as_wages is None else self.as_wages + paid
        if not self.of_wages[t] and self.as_wages is None:
            return None
        owed = self._owed(wages)
        if self.calendar[t] != DECEMBER:
            owed = np.maximum(owed, self.withheld)
        tax = owed - self.withheld
        self.withheld = owed
        return tax


class Purse:
    """Income and needs of each month; `short_from` is the first month in which both savings and income do not do.

    `settled`: of the year that ran last, by month, the tax on the last wages that is settled after retirement.
    """

    def __init__(self, outlook: Outlook, markets: Markets, pairs: int) -> None:
        self.outlook = outlook
        self.savings = Course(outlook, len(outlook.pots) - 1, markets, pairs)
        plans = [each for each, pot in enumerate(outlook.pots[:-1]) if each and pot.pillar <= LINKED_PILLARS]
        follows = outlook.first_pillar_own_fen + outlook.own_contributions_fen[plans].sum(axis=0)
        follows = follows + outlook.other_withheld_fen
        rest = outlook.first_pillar_own_fen + outlook.own_contributions_fen[1:].sum(axis=0) + outlook.other_withheld_fen
        self.tax = WageTax(outlook, np.minimum(follows, outlook.deductions_fen).astype(np.float64), pairs)
        self.kept: list[int] = (outlook.wage_fen - follows).tolist()
        self.fixed: list[int] = (rest - follows).tolist()
        self.need: list[int] = outlook.need_today_fen.tolist()
        self.lump: list[int] = outlook.lump_today_fen.tolist()
        self.aside: list[int] = outlook.saving_fen.tolist()
        self.short_from = np.full(2 * pairs, outlook.months)
        self.settled: dict[int, Floats] = {}

    def run(self, year: Year) -> Floats:
        """A year of months, after all other pots have run; gives the savings at the end of the month `birthday`."""
        then = self.savings.balance
        self.settled.clear()
        factors = self.savings.growth.of(year)
        for month, t in year.months:
            income = year.income[month]
            if self.kept[t]:
                income += year.with_wages(month, self.kept[t])
            if self.fixed[t]:
                income -= self.fixed[t]
            tax = self.tax.of_month(year, month, t)
            if tax is not None:
                income -= tax
                if t > self.outlook.retirement and self.tax.as_wages is None:
                    self.settled[month] = tax
            self.savings.earn(factors[month], t)
            self._save_or_draw(year, month, t)
            if month == year.birthday:
                then = self.savings.balance.copy()
        return then

    def _save_or_draw(self, year: Year, month: int, t: int) -> None:
        balance = self.savings.balance
        surplus = year.income[month]
        if month in year.windfall:
            surplus = surplus + year.windfall[month]
        if self.need[t]:
            surplus = surplus - year.prices[month] * self.need[t]
        if t <= self.outlook.retirement:
            surplus = np.minimum(surplus, year.with_wages(month, self.aside[t]))
        balance += surplus
        if self.lump[t]:
            balance -= year.prices[month] * self.lump[t]
        lowest = float(balance.min())
        if lowest < 0:
            if lowest < -MISSED_FEN:
                np.minimum(self.short_from, np.where(balance < -MISSED_FEN, t, len(self.need)), out=self.short_from)
            np.maximum(balance, 0, out=balance)
