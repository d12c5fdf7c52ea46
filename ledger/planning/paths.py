"""The same plan on many paths: how good or bad it may get, and how likely the money runs short while she lives.

The paths scatter around the plan: markets.toml says how far, the Outlook where to. Amounts are float64 fen and whole fen at
the end. All of it is seeded and uses only sums, products, quotients and comparisons of floats, so that the same seed
gives the same answer on every machine with the same numpy.

1. With still markets and no death every path is the exact plan, but for rounding.
2. The bands are of markets alone: what she would have at an age if she reaches it. Lives enter the chances.
3. Another plan with the same seed meets the same markets and the same lives.

What is left out: jumps and calm spells of markets (each month's shock is normal), a career of her own, and changes of law.
"""

from datetime import date
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ledger.planning.bands import Band, Chance, bands, chance
from ledger.planning.courses import Course, Year
from ledger.planning.draws import Floats, life_numbers
from ledger.planning.markets import MONTHS, Life, Markets
from ledger.planning.mortality import months_lived, survival
from ledger.planning.outlook import Outlook
from ledger.planning.purse import MISSED_FEN, FirstPillar, Purse
from ledger.planning.weather import years

FEWEST: Final = 2_000
MOST: Final = 20_000
# Whole numbers up to here are exact in the JSON of every language.
MAX_SEED: Final = 2**53 - 1


class Throws(BaseModel):
    """What a simulation is asked for besides the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED, description="the same seed gives the same answer")]
    paths: Annotated[
        int,
        Field(strict=True, ge=FEWEST, le=MOST, multiple_of=4, description="how many paths, in pairs of opposites"),
    ] = FEWEST


class YearOfAge(msgspec.Struct, frozen=True):
    """One year of her life, in money of the plan's day.

    `income`: monthly net income, averaged over the year's months, lump sums left out. `balances`: all pots, `savings` among
    them, at the end. `alive`: the chance that she lives to the end.
    """

    age: int
    alive: float
    income_today_fen: Band
    balances_today_fen: Band
    savings_today_fen: Band


class Uncertainty(msgspec.Struct, frozen=True):
    """What the paths say.

    `short`: in some month of her life income and savings do not meet the need; `short_age_months`: her age then, over the
    paths where it happens, None if it never does. `outlives_money`: from some birthday of her retirement on she lives with
    all pots and savings empty. `reaches_end`: she lives to the end of the plan. `first_income_today_fen`: as
    `Summary.first_income_today_fen`, of who has retired that of the year to come.
    """

    seed: int
    paths: int
    lives: str
    years: tuple[YearOfAge, ...]
    first_income_today_fen: Band | None
    short: Chance
    short_age_months: Band | None
    outlives_money: Chance
    reaches_end: Chance


class _Record:
    """What is kept of the months: sums over years of age, by path."""

    def __init__(self, outlook: Outlook, paths: int) -> None:
        ages = outlook.age_months // MONTHS
        ends = np.flatnonzero(outlook.age_months % MONTHS == MONTHS - 1)
        self.outlook = outlook
        self.ends: list[int] = ends.tolist()
        self.ages: list[int] = ages[ends].tolist()
        self.first_age = int(ages[0])
        self.income = np.zeros((len(ends), paths))
        self.balances = np.zeros((len(ends), paths))
        self.savings = np.zeros((len(ends), paths))
        self.first_income = np.zeros(paths)
        self.empty_from = np.full(paths, outlook.months)

    def keep(self, year: Year, purse: Purse, savings: Floats, real: Floats) -> None:
        """Take note of a year of months; `savings` are those of the month `birthday`."""
        turned = year.birthday + 1
        row = int(self.outlook.age_months[year.first]) // MONTHS - self.first_age
        for place, share in ((row, real[:turned]), (row + 1, real[turned:])):
            if place < len(self.ends) and len(share):
                total = self.income[place]
                np.add(total, share.sum(axis=0), out=total)
        retired = self.outlook.first_retired - year.first
        first = range(max(0, retired), min(year.count, retired + MONTHS))
        if first:
            self.first_income += real[first.start : first.stop].sum(axis=0)
        for month, tax in purse.settled.items():
            if month in first:
                self.first_income += tax / year.prices[month]
        if year.birthday < year.count:
            t = year.first + year.birthday
            held = year.closing + savings
            if t >= self.outlook.first_retired:
                np.minimum(self.empty_from, np.where(held < MISSED_FEN, t, self.outlook.months), out=self.empty_from)
            prices = year.prices[year.birthday]
            np.divide(held, prices, out=self.balances[row])
            np.divide(savings, prices, out=self.savings[row])

    def average(self) -> None:
        """Turn the sums into averages over the months that the plan has of each year of age."""
        counts = np.diff([-1, *self.ends])
        self.income /= counts[:, np.newaxis]
        self.first_income /= max(1, min(MONTHS, self.outlook.months - self.outlook.first_retired))


def _run(outlook: Outlook, markets: Markets, seed: int, pairs: int) -> tuple[_Record, Purse]:
    first_pillar = FirstPillar(outlook, markets, pairs)
    middle = [Course(outlook, index, markets, pairs) for index in range(1, len(outlook.pots) - 1)]
    purse = Purse(outlook, markets, pairs)
    record = _Record(outlook, 2 * pairs)
    for year in years(outlook, markets, seed, pairs):
        first_pillar.run(year)
        for course in middle:
            course.run(year)
        savings = purse.run(year)
        real = year.income[: year.count]
        real /= year.prices[: year.count]
        record.keep(year, purse, savings, real)
    record.average()
    return record, purse


def simulate(outlook: Outlook, markets: Markets, seed: int, paths: int, *, life: Life) -> Uncertainty:
    """Run the outlook on so many paths; `life` is one of `markets.life`.

    Raises ValidationError, which names the field and its range, for a seed or a number of paths out of range.
    """
    throws = Throws(seed=seed, paths=paths)
    record, purse = _run(outlook, markets, throws.seed, throws.paths // 2)
    start = date.fromisoformat(f"{outlook.start}-01")
    alive = survival(
        life,
        age_months=int(outlook.age_months[0]),
        start_year=start.year + (start.month - 1) / MONTHS,
        months=outlook.months,
    )
    lived = months_lived(alive, life_numbers(throws.seed, throws.paths // 2))
    short = purse.short_from < lived
    return Uncertainty(
        seed=throws.seed,
        paths=throws.paths,
        lives=life.basis,
        years=_years(record, alive),
        first_income_today_fen=_first_income(record, outlook),
        short=chance(short),
        short_age_months=_ages(outlook, purse.short_from[short]),
        outlives_money=chance(record.empty_from < lived),
        reaches_end=chance(lived >= outlook.months),
    )


def _years(record: _Record, alive: Floats) -> tuple[YearOfAge, ...]:
    rows = zip(
        record.ages,
        alive[record.ends].tolist(),
        bands(record.income),
        bands(record.balances),
        bands(record.savings),
        strict=True,
    )
    return tuple(YearOfAge(age, round(share, 6), income, total, savings) for age, share, income, total, savings in rows)


def _first_income(record: _Record, outlook: Outlook) -> Band | None:
    """The band of the first retirement income; None where the plan ends before retirement."""
    if outlook.first_retired >= outlook.months:
        return None
    return bands(record.first_income[np.newaxis])[0]


def _ages(outlook: Outlook, months: NDArray[np.int64]) -> Band | None:
    if not len(months):
        return None
    return bands(outlook.age_months[months].astype(np.float64)[np.newaxis])[0]
