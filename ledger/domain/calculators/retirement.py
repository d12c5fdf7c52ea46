"""When a person may retire, how many years she needs, and by what her balances are divided then.

1. Without a choice it is the statutory month; a choice lies inside the flexible window, never below the original age.
2. What counts is the law of the month in which the original age is reached, not of the day of asking.
3. Months between whole ages have their own divisor from 2025 on, to one decimal; before, the whole age counts.
渐进式延迟法定退休年龄 (decision of 2024-09-13 with State Council measures), 人社部发〔2024〕94号.
"""

from datetime import date
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.calculators.rounding import half_up
from ledger.domain.calendar import month_number, period_of_number
from ledger.domain.rules import Choice, Provision, Rules, Terms

Category = Literal["M", "F55", "F50"]
MONTHS: Final = 12
TENTHS: Final = 10
HUNDREDTHS: Final = 100


class Retirement(Struct, frozen=True):
    """The statutory retirement: age and delay in months, the month as YYYY-MM."""

    age_months: int
    delay_months: int
    month: str


class FlexibleWindow(Struct, frozen=True):
    """The months that may be chosen, both included, with what each end needs: minimum months paid, months of notice.

    Where `is_flexible` is false, the statutory month is the only one.
    """

    earliest_month: str
    earliest_age_months: int
    earliest_minimum_months: int
    earliest_notice_months: int
    latest_month: str
    latest_age_months: int
    latest_minimum_months: int
    latest_notice_months: int
    is_flexible: bool


class Missing(Struct, frozen=True):
    """What of the minimum years is missing at a month.

    `missing_years`: to two decimals. `ways`: what may be done, as `ret.short.ways` names it. `reached_month`: until when
    payment that goes on without a break has filled them.
    """

    minimum_months: int
    counted_months: int
    missing_months: int
    missing_years: Fraction = Fraction(0)
    ways: tuple[str, ...] = ()
    reached_month: str | None = None


def years_of(months: int) -> Fraction:
    """Years to two decimals, half up (RULES.md section 1)."""
    return Fraction(half_up(Fraction(months * HUNDREDTHS, MONTHS)), HUNDREDTHS)


def first_day(period: str) -> date:
    """The day a period begins with."""
    return date(int(period[:4]), int(period[5:7]), 1)


def _ages(birth: str, category: Category, rules: Rules) -> tuple[Terms, int]:
    """The row of the month in which the original age is reached, and that month."""
    original = rules.terms("ret.age", category).whole("original_age_months")
    reached = month_number(birth) + original
    return rules.at(first_day(period_of_number(reached))).terms("ret.age", category), reached


def statutory(birth: str, category: Category, rules: Rules) -> Retirement:
    """The statutory age and month of a birth month (ret.age): one month later for each step begun since 2025-01."""
    terms, reached = _ages(birth, category, rules)
    delay = 0
    if terms.method == "step":
        since = reached - month_number(terms.text("first_month"))
        delay = min(since // terms.whole("step_months") + 1, terms.whole("max_delay_months"))
    return Retirement(terms.whole("original_age_months") + delay, delay, period_of_number(reached + delay))


def flexible_window(birth: str, category: Category, rules: Rules) -> FlexibleWindow:
    """The months that she may choose to retire in (ret.flex.early, ret.flex.late)."""
    by_law = statutory(birth, category, rules)
    at_law = rules.at(first_day(by_law.month))
    born, fixed = month_number(birth), month_number(by_law.month)
    early, late = at_law.find(Terms, "ret.flex.early"), at_law.find(Terms, "ret.flex.late")
    first, last = fixed, fixed
    if early is not None:
        terms, reached = _ages(birth, category, rules)
        begins = first if early.valid_from is None else month_number(early.valid_from.isoformat())
        lowest = reached - terms.whole("original_age_months") + terms.whole("earliest_age_months")
        first = max(fixed - early.whole("most_months"), lowest, begins)
    if late is not None:
        last = fixed + late.whole("most_months")
    return FlexibleWindow(
        earliest_month=period_of_number(first),
        earliest_age_months=first - born,
        earliest_minimum_months=minimum_at(period_of_number(first), by_law.month, rules),
        earliest_notice_months=0 if early is None else early.whole("notice_months"),
        latest_month=period_of_number(last),
        latest_age_months=last - born,
        latest_minimum_months=minimum_at(period_of_number(last), by_law.month, rules),
        latest_notice_months=0 if late is None else late.whole("notice_months"),
        is_flexible=first < last,
    )


def minimum_at(month: str, statutory_month: str, rules: Rules) -> int:
    """The months that retiring in this month needs; which year counts off the statutory month is an open choice."""
    year = int(statutory_month[:4])
    if month != statutory_month:
        side = "early" if month < statutory_month else "late"
        choice = rules.at(first_day(statutory_month)).find(Choice, f"ret.flex.min_year.{side}")
        if choice is not None and choice.value == "chosen_year":
            year = int(month[:4])
    return minimum_months(year, rules)


def minimum_months(year: int, rules: Rules) -> int:
    """The months paid, with deemed ones, that a pension begun in this calendar year needs (ret.min_years)."""
    table = rules.at(date(year, 12, 31)).table("ret.min_years")
    begun = [key for key in table.entries if key <= year]
    if not begun:
        raise rules.refuse(
            "ret.min_years", f"the minimum years of {year} are not held; ask for a later year", year=year
        )
    months = table.entries[max(begun)] * MONTHS
    assert months.denominator == 1, "minimum years are whole months"
    return months.numerator


def missing(month: str, statutory_month: str, counted_months: int, rules: Rules) -> Missing:
    """What of the minimum years is missing, and what the law of that month says may be done (ret.short)."""
    needed = minimum_at(month, statutory_month, rules)
    short = max(0, needed - counted_months)
    if not short:
        return Missing(needed, counted_months, 0)
    at_month = rules.at(first_day(month))
    at_month.find(Provision, "ret.short")
    ways = at_month.find(Terms, "ret.short.ways")
    return Missing(
        needed,
        counted_months,
        short,
        missing_years=years_of(short),
        ways=() if ways is None else ways.texts("ways"),
        reached_month=period_of_number(month_number(month) + short),
    )


def payout_months(age_months: int, rules: Rules) -> Fraction:
    """M (计发月数) of an age in months: fp.M, and between whole ages fp.M.month."""
    table = rules.table("fp.M").entries
    years, months = divmod(age_months, MONTHS)
    first, last = min(table), max(table)
    if not first * MONTHS <= age_months <= last * MONTHS:
        raise rules.refuse("fp.M", f"payout months are held for ages from {first} to {last}", age_months=age_months)
    method = rules.find(Choice, "fp.M.month") if months else None
    if method is None or method.value != "linear":
        return table[years]
    between = table[years] - (table[years] - table[years + 1]) * Fraction(months, MONTHS)
    return Fraction(half_up(between * TENTHS), TENTHS)
