"""One pot over many paths: what it earns, takes in and pays out in a year, each month a vector over the paths.

The months run as `ledger.planning.outlook` says, as in the exact run but in floats: nothing is rounded before the end.

1. With still markets every path is the exact run, but for halves of a fen.
2. A balance is never negative.
3. A declared rate does not fall below nought, unless the plan itself expects that.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from msgspec import Struct

from ledger.planning.draws import Floats, Singles
from ledger.planning.markets import FACTORS, MONTHS, Markets
from ledger.planning.outlook import BASIS_POINTS, NOWHERE, PARTS, Outlook, Payout, PayoutTax, Pot, Steps

DECEMBER: Final = 12
# The basic pension and plans of employers follow wages; what she pays into the third pillar does not.
LINKED_PILLARS: Final = 2


class Year(Struct, eq=False):
    """Twelve months of all paths. `first` is the index of the first month, `count` how many of them the plan has.

    `shocks`: by factor, month and pair. `wages`: her wage to the plan's by path, before and from `january`, the January
    among these months (`count` if there is none). `indexing`: by path, what pensions in payment gain on the plan in that
    January. `prices`: nominal for today's money, by month and path. `income`, `windfall`: net of tax, by month and path; a
    windfall is a lump sum. `as_wages`: gross payouts that are taxed as wages. `closing`: what all pots but savings hold at
    the end of the month `birthday`. `moved`: what was transferred to a pot in a month. `following` keeps what
    was computed already; `factors`, `strayed` and `scratch` are room for `Growth.of`.
    """

    first: int
    count: int
    shocks: Singles
    wages: tuple[Floats, Floats]
    january: int
    indexing: Floats
    prices: Floats
    birthday: int
    income: Floats
    closing: Floats
    windfall: dict[int, Floats]
    as_wages: dict[int, Floats]
    moved: dict[tuple[int, int], Floats]
    factors: Floats
    strayed: Singles
    scratch: Singles
    following: dict[tuple[bool, float], Floats]
    filled_for: tuple[object, ...] = ()

    def with_wages(self, month: int, amount_fen: float) -> Floats:
        """An amount that follows wages, in the month of the year with this index; not to be changed."""
        key = (month >= self.january, amount_fen)
        if key not in self.following:
            self.following[key] = self.wages[key[0]] * amount_fen
        return self.following[key]

    @property
    def months(self) -> Iterator[tuple[int, int]]:
        """The index in this year and in the plan."""
        return enumerate(range(self.first, self.first + self.count))


class Brackets(Struct, eq=False):
    """A progressive table in floats. As it is continuous and rises, the tax is the largest that any bracket gives."""

    up_to: list[float]
    rate: list[float]
    quick: list[float]

    @classmethod
    def of(cls, steps: Steps) -> "Brackets":
        """The same table for vectors."""
        rates = (steps.rate_bp / BASIS_POINTS).tolist()
        return cls(
            [float(each) for each in steps.up_to_fen.tolist()], rates, steps.quick_fen.astype(np.float64).tolist()
        )

    def tax(self, taxable: Floats, largest: float, spread: int = 1) -> Floats:
        """The tax of each amount, none of which is above `largest`; an amount below nought gives less than nought."""
        owed = taxable * self.rate[0]
        for below, rate, quick in zip(self.up_to, self.rate[1:], self.quick[1:], strict=False):
            if largest <= below * spread:
                break
            more = taxable * rate
            more -= quick * spread
            np.maximum(owed, more, out=owed)
        return owed

    def tax_of_line(self, over: Floats, slope: float, less: float, reach: tuple[float, float]) -> Floats:
        """The tax of `over` x slope - less, all of which lie within `reach`; the upper end is above nought."""
        low, high = reach
        owed: Floats | None = None
        for above, below, rate, quick in zip([0.0, *self.up_to], self.up_to, self.rate, self.quick, strict=False):
            if below < low or above >= high:
                continue
            more = over * (rate * slope)
            more -= rate * less + quick
            owed = more if owed is None else np.maximum(owed, more, out=owed)
        assert owed is not None, "the last bracket has no bound"
        return owed


def net_of(tax: PayoutTax, brackets: Brackets | None, paid: Floats) -> Floats:
    """What is left of a payout after the tax that is taken from it alone."""
    share = tax.taxable_bp / BASIS_POINTS
    if tax.kind == "flat":
        return paid * (1 - share * tax.rate_bp / BASIS_POINTS)
    if brackets is None:
        return paid
    taxable = paid * share
    return paid - brackets.tax(taxable, float(taxable.max()), tax.spread)


class Growth:
    """How a pot scatters: its factor of each month and path, out of the shocks of a year."""

    def __init__(self, pot: Pot, markets: Markets) -> None:
        weights = markets.weights(pot.code)
        self.monthly = pot.credited == "monthly"
        # The fee is taken from the opening balance and its return; what is credited yearly pays it apart.
        kept = 1 - pot.monthly_fee / PARTS if self.monthly else 1.0
        loads = {"equities": weights["equities"], "bonds": weights["bonds"], "declared": weights["declared"] / MONTHS}
        self.loads = [(FACTORS.index(name), np.float32(kept * load)) for name, load in loads.items() if load]
        expected = pot.monthly_return / PARTS if self.monthly else pot.yearly_return / PARTS / MONTHS
        # A plan's return is read as growth over the years: half the variance makes the median path follow it.
        self.middle = kept * (self.monthly + expected + markets.monthly_variance(weights) / 2)
        # How far a declared rate may fall (invariant 3).
        self.room = np.float32(kept * max(0.0, expected)) if weights["declared"] == 1 else None
        self.alike = (*self.loads, self.middle, self.room)

    def of(self, year: Year) -> Floats:
        """By month and path: the growth of a balance, or what accrues on it where returns are credited yearly.

        To be read before another pot asks: all use one array, and pots that scatter alike find it filled.
        """
        if year.filled_for == self.alike:
            return year.factors
        (factor, load), *others = self.loads
        strayed = np.multiply(year.shocks[factor], load, out=year.strayed)
        for factor, load in others:
            np.multiply(year.shocks[factor], load, out=year.scratch)
            np.add(strayed, year.scratch, out=strayed)
        above = below = strayed
        if self.room is not None:
            above = np.maximum(strayed, -self.room, out=year.scratch)
        # A number of numpy's own: with a plain one the sum would be taken in single precision.
        middle = np.float64(self.middle)
        pairs = strayed.shape[1]
        np.add(middle, above, out=year.factors[:, :pairs])
        if self.room is not None:
            below = np.minimum(strayed, self.room, out=year.scratch)
        np.subtract(middle, below, out=year.factors[:, pairs:])
        year.filled_for = self.alike
        return year.factors


class Course:
    """A pot on its way, by path. `done`: it is empty on every path and stays so."""

    def __init__(self, outlook: Outlook, index: int, markets: Markets, pairs: int) -> None:
        pot = outlook.pots[index]
        self.pot = pot
        self.index = index
        self.balance = np.full(2 * pairs, float(pot.opening_fen))
        self.growth = Growth(pot, markets)
        self.accrued = np.zeros(2 * pairs)
        self.fee = pot.monthly_fee / PARTS
        payout = pot.payout
        self.start = outlook.months if payout is None else payout.start
        self.inflows: list[int] = outlook.contributions_fen[index].tolist()
        self.linked = pot.pillar <= LINKED_PILLARS
        self.leaving = {each.at: each for each in outlook.transfers if each.from_pot == index}
        arriving = [each.at for each in outlook.transfers if each.to_pot == index]
        paid_in = np.flatnonzero(outlook.contributions_fen[index][: self.start])
        self.moves_until = max([*arriving, *self.leaving, *paid_in[-1:].tolist()], default=-1)
        self.calendar: list[int] = outlook.month.tolist()
        self.brackets = None
        if payout is not None and payout.tax.steps is not None and payout.tax.kind == "table":
            self.brackets = Brackets.of(payout.tax.steps)
        self.instalment = np.zeros(0)
        self.instalment_net = np.zeros(0)

    @property
    def done(self) -> bool:
        return float(self.balance.max()) <= 0

    def run(self, year: Year) -> None:
        """A year of months: returns and fees, inflows, transfers, payouts; adds what is paid to the year's income."""
        if self.moves_until < year.first and self.done:
            return
        factors = self.growth.of(year)
        for month, t in year.months:
            self.earn(factors[month], t)
            if t < self.start:
                self._gather(year, month, t)
            else:
                self._pay(year, month, t)
            if month == year.birthday:
                year.closing += self.balance

    def earn(self, factor: Floats, t: int) -> None:
        """This month's return and fee."""
        if self.growth.monthly:
            self.balance *= factor
            return
        self.accrued += self.balance * factor
        if self.calendar[t] == DECEMBER or t == self.pot.credit_month:
            if t >= self.start:
                # What was not credited yet lapsed where payouts have emptied the pot.
                self.accrued *= self.balance > 0
            self.balance += self.accrued
            self.accrued[:] = 0
        if self.fee:
            self.balance *= 1 - self.fee

    def take_in(self, year: Year, month: int, t: int) -> None:
        """This month's contribution."""
        inflow = self.inflows[t]
        if not inflow:
            return
        if self.linked:
            self.balance += year.with_wages(month, inflow)
        else:
            self.balance += inflow

    def _gather(self, year: Year, month: int, t: int) -> None:
        self.take_in(year, month, t)
        moved = year.moved.get((self.index, t))
        if moved is not None:
            self.balance += moved
        transfer = self.leaving.get(t)
        if transfer is not None:
            leaving = self.balance * (transfer.parts / PARTS)
            self.balance -= leaving
            if transfer.parts == PARTS:
                self.accrued[:] = 0
            if transfer.to_pot == NOWHERE:
                return
            there = (transfer.to_pot, t)
            year.moved[there] = year.moved[there] + leaving if there in year.moved else leaving

    def _pay(self, year: Year, month: int, t: int) -> None:
        payout = self.pot.payout
        assert payout is not None, "the months from `start` on have a payout"
        if payout.form == "fixed_months":
            gross = self.balance / max(1, payout.start + payout.months - t)
            self.balance -= gross
            net = net_of(payout.tax, self.brackets, gross)
        else:
            if t == payout.start:
                self._agree(payout)
            if (t - payout.start) % payout.every:
                return
            gross, net = self._pay_instalment(payout)
        if payout.tax.kind == "wages":
            year.as_wages[month] = year.as_wages.get(month, 0.0) + gross
        if payout.form == "lump_sum":
            year.windfall[month] = year.windfall.get(month, 0.0) + net
        else:
            income = year.income[month]
            np.add(income, net, out=income)

    def _agree(self, payout: Payout) -> None:
        """Fix the instalment, and tax it once: it stays level until the pot runs dry."""
        if payout.form == "lump_sum":
            self.instalment = self.balance.copy()
        elif payout.form == "fixed_amount":
            self.instalment = np.full_like(self.balance, payout.amount_fen)
        else:
            self.instalment = self.balance * (payout.every * payout.divisor_of / payout.divisor)
        self.instalment_net = net_of(payout.tax, self.brackets, self.instalment)

    def _pay_instalment(self, payout: Payout) -> tuple[Floats, Floats]:
        left = self.balance - self.instalment
        if left.min() >= 0:
            self.balance = left
            return self.instalment, self.instalment_net
        gross = np.minimum(self.balance, self.instalment)
        self.balance = np.maximum(left, 0, out=left)
        return gross, net_of(payout.tax, self.brackets, gross)
