"""The basic pension (基本养老金): pooled part, personal account, transition and local extra, and how the account grows.

1. Each part is rounded half up to fen by itself, then they are added.
2. Years are months / 12 with two decimals, half up.
3. A transition that the rules do not hold for the area, or the record not for the area's rule, is left out and told; nothing
   is made up. A local extra is added where the area has a row; whether another area has one is open, and not told.
国发〔2005〕38号; local parts by their own rows.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.retirement import payout_months, years_of
from ledger.domain.calculators.rounding import half_up
from ledger.domain.rules import Rules, Terms

MAX_YEARS: Final = 100
PROVINCE: Final = len("CN-11")


class Record(Struct, frozen=True, kw_only=True):
    """What a pension is computed from.

    `base_fen`: the benefit base B (计发基数), or None: that of the rules' day and area. `index`: average contribution index.
    `months`: all that count, deemed ones included. `pre_account_months`: before the personal account began (None: the
    deemed ones and those from 1992-10 to 1998-06). `account_fen`: the personal account at retirement.
    """

    birth: str
    base_fen: int | None
    index: Fraction
    months: int
    account_fen: int
    age_months: int
    deemed_months: int = 0
    actual_months_1992_10_to_1998_06: int = 0
    pre_account_months: int | None = None


class Benefit(Struct, frozen=True):
    """A month's pension by parts, in fen.

    `open_parts`: rules that would add a part, and cannot: the area has no row, or the record lacks what the row asks for.
    """

    basic_fen: int
    account_fen: int
    transition_fen: int
    extra_fen: int
    total_fen: int
    open_parts: tuple[str, ...] = ()


class AccountYear(Struct, frozen=True):
    """One year of the personal account, in fen."""

    year: int
    opening_fen: int
    paid_fen: int
    interest_fen: int
    closing_fen: int


class Stay(Struct, frozen=True):
    """Months insured in one area."""

    area: str
    months: int


class DrawingPlace(Struct, frozen=True):
    """The province that pays, and by which step of the order."""

    area: str
    basis: Literal["household", "current", "last_with_years"]


def basic_fen(base_fen: int, index: Fraction, months: int, rules: Rules) -> int:
    """(B + B x idx) / 2 x years x 1 % (fp.basic)."""
    not_negative(base_fen=base_fen, index=index, months=months)
    share = rules.terms("fp.basic").exact("share_per_year")
    return half_up(base_fen * (1 + index) / 2 * years_of(months) * share)


def account_fen(balance_fen: int, age_months: int, rules: Rules) -> int:
    """The balance / M of the age at retirement."""
    not_negative(balance_fen=balance_fen)
    return half_up(balance_fen / payout_months(age_months, rules))


def benefit(record: Record, rules: Rules) -> Benefit:
    """The pension of the first month (invariants 1 and 3)."""
    _must_agree(record)
    base_fen = rules.limit("fp.B").value if record.base_fen is None else record.base_fen
    basic = basic_fen(base_fen, record.index, record.months, rules)
    account = account_fen(record.account_fen, record.age_months, rules)
    transition, is_open = _transition(base_fen, record, rules)
    extra = _extra(base_fen, record, rules)
    return Benefit(
        basic_fen=basic,
        account_fen=account,
        transition_fen=transition,
        extra_fen=extra,
        total_fen=basic + account + transition + extra,
        open_parts=("fp.transition",) if is_open else (),
    )


def _must_agree(record: Record) -> None:
    deemed, actual, before = (
        record.deemed_months,
        record.actual_months_1992_10_to_1998_06,
        record.pre_account_months or 0,
    )
    not_negative(deemed_months=deemed, actual_months_1992_10_to_1998_06=actual, pre_account_months=before)
    if max(deemed + actual, before) > record.months:
        raise ValueError(f"{record.months} months are fewer than those among them; give all that count")


def _transition(base_fen: int, record: Record, rules: Rules) -> tuple[int, bool]:
    """For months before the personal account; whether there are such and the part is open."""
    before = record.deemed_months + record.actual_months_1992_10_to_1998_06
    if record.pre_account_months is not None:
        before = record.pre_account_months
    if not before:
        return 0, False
    terms = rules.find(Terms, "fp.transition")
    if terms is None:
        return 0, True
    share = terms.exact("share_per_year")
    if terms.method == "deemed_and_actual":
        # Of months before the account alone it is not known which formula they take.
        if not record.deemed_months + record.actual_months_1992_10_to_1998_06:
            return 0, True
        deemed = base_fen * years_of(record.deemed_months) * share
        actual = base_fen * record.index * years_of(record.actual_months_1992_10_to_1998_06) * share
        return half_up(deemed + actual), False
    assert terms.method == "pre_account_years", f"unknown method {terms.method}"
    return half_up(base_fen * (1 + record.index) / 2 * years_of(before) * share), False


def _extra(base_fen: int, record: Record, rules: Rules) -> int:
    """The local extra, where the area has one."""
    terms = rules.find(Terms, "fp.extra")
    if terms is None:
        return 0
    assert terms.method == "indexed_base", f"unknown method {terms.method}"
    return half_up(base_fen * record.index * terms.exact("share_per_year") * years_of(record.months))


def resident_account_fen(balance_fen: int, rules: Rules) -> int:
    """The account part of the residents' scheme: balance / 139 (fp.resident)."""
    not_negative(balance_fen=balance_fen)
    return half_up(Fraction(balance_fen, rules.limit("fp.resident").value))


def account_years(
    opening_fen: int, paid_fen: Mapping[int, int], first_year: int, last_year: int, rules: Rules
) -> tuple[AccountYear, ...]:
    """The personal account year by year, from its balance at the beginning of `first_year`.

    Each year earns its book rate on the balance at its beginning, and on the share of what is paid in it that
    fp.book_rate.method says (open in law), half up. A year without a published rate is refused.
    """
    if not 0 <= last_year - first_year < MAX_YEARS:
        raise ValueError(f"from {first_year} to {last_year} are no 1 to {MAX_YEARS} years")
    if opening_fen < 0 or min(paid_fen.values(), default=0) < 0:
        raise ValueError("a balance or payment below zero; give zero or more")
    years: list[AccountYear] = []
    balance_fen = opening_fen
    for year in range(first_year, last_year + 1):
        of_year = rules.at(date(year, 12, 31))
        rate = of_year.rate("fp.book_rate").value
        method = of_year.choice("fp.book_rate.method").value
        share_of_paid = of_year.terms("fp.book_rate.interest", method).exact("share_of_paid")
        paid = paid_fen.get(year, 0)
        interest_fen = half_up((balance_fen + paid * share_of_paid) * rate)
        years.append(AccountYear(year, balance_fen, paid, interest_fen, balance_fen + paid + interest_fen))
        balance_fen = years[-1].closing_fen
    return tuple(years)


def grown_account_fen(
    opening_fen: int, paid_fen: Mapping[int, int], first_year: int, last_year: int, rules: Rules
) -> int:
    """The personal account at the end of `last_year`, as `account_years` tells it."""
    return account_years(opening_fen, paid_fen, first_year, last_year, rules)[-1].closing_fen


def drawing_place(household_area: str, stays: Sequence[Stay], rules: Rules) -> DrawingPlace:
    """The province that pays the pension (fp.place; 国办发〔2009〕66号).

    The household place, if she is insured there last; else the current place with ten years; else the last place that has
    ten; else the household place. `stays`: where she was insured, in order of time, the current place last. What was paid
    in one province adds up.
    """
    household = household_area[:PROVINCE]
    least = rules.terms("fp.place").whole("least_months")
    months: dict[str, int] = {}
    for stay in stays:
        province = stay.area[:PROVINCE]
        months[province] = months.get(province, 0) + stay.months
    backwards = list(dict.fromkeys(stay.area[:PROVINCE] for stay in reversed(stays)))
    if not backwards or backwards[0] == household:
        return DrawingPlace(household, "household")
    for province in backwards:
        if months[province] >= least:
            return DrawingPlace(province, "current" if province == backwards[0] else "last_with_years")
    return DrawingPlace(household, "household")
