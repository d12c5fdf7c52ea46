"""Income tax of a year, a month or a business, what of an income is taxable, and what is withheld from wages.

1. tax = taxable x rate - quick deduction, rounded half up to fen, once, at the end.
2. Deductions are limited to the year's income; what is left of them is lost and told (个人所得税法实施条例 art. 13).
3. What is withheld in the months and what is settled after the year make the year's tax, to the fen.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.rounding import half_up
from ledger.domain.rules import Brackets, Rules

Class = Literal["comprehensive", "business"]
TABLE_OF: Final[dict[Class, str]] = {"comprehensive": "tax.annual", "business": "tax.business"}
MONTHS_OF_YEAR: Final = 12


class YearIncome(Struct, frozen=True, kw_only=True):
    """Comprehensive income of one year (综合所得), and what the person may deduct besides the basic 60,000."""

    wages_fen: int = 0
    labour_fen: int = 0
    royalties_fen: int = 0
    manuscripts_fen: int = 0
    insurance_and_housing_fund_fen: int = 0
    special_additional_fen: int = 0
    annuity_fen: int = 0
    personal_pension_fen: int = 0
    other_fen: int = 0


class Taxable(Struct, frozen=True):
    """What of a year's income is taxed. `lost_fen`: deductions that found no income and go into no other year."""

    income_fen: int
    deducted_fen: int
    taxable_fen: int
    lost_fen: int


class BonusWays(Struct, frozen=True, kw_only=True):
    """The tax of a year with a bonus: taxed apart, or counted with the wages. The person chooses."""

    apart_fen: int
    together_fen: int


class MonthWages(Struct, frozen=True):
    """Wages of one month, and the deductions of that month besides the basic one."""

    wages_fen: int
    deductions_fen: int = 0


class Withheld(Struct, frozen=True):
    """What is withheld month by month. `settlement_fen`: to pay after the year; below zero is refunded."""

    months_fen: tuple[int, ...]
    settlement_fen: int
    tax_fen: int


def spread_tax_fen(taxable_fen: int, brackets: Brackets, parts: int = 1) -> int:
    """Tax of an amount that is taxed in equal parts, each by the table (invariant 1)."""
    not_negative(taxable_fen=taxable_fen)
    # A part lies above a bound exactly when its whole fen, rounded up, do.
    step = brackets.step(-(-taxable_fen // parts))
    return half_up(taxable_fen * step.rate) - parts * step.quick_deduction_fen


def annual_tax(taxable_fen: int, rules: Rules) -> int:
    """Tax on a year's comprehensive income after deductions, in fen (tax.annual)."""
    return spread_tax_fen(taxable_fen, rules.brackets("tax.annual"))


def monthly_tax(taxable_fen: int, rules: Rules) -> int:
    """Tax on one month's amount by the monthly table, in fen (tax.monthly)."""
    return spread_tax_fen(taxable_fen, rules.brackets("tax.monthly"))


def business_tax(taxable_fen: int, rules: Rules) -> int:
    """Tax on a year's business income (经营所得) after deductions, in fen (tax.business)."""
    return spread_tax_fen(taxable_fen, rules.brackets("tax.business"))


def tax_fen(taxable_fen: int, kind: Class, rules: Rules) -> int:
    """Tax of a year by class of income, in fen."""
    return spread_tax_fen(taxable_fen, rules.brackets(TABLE_OF[kind]))


def marginal_rate(taxable_fen: int, kind: Class, rules: Rules) -> Fraction:
    """The rate that the last fen of this amount pays; at zero, the rate of the first bracket."""
    not_negative(taxable_fen=taxable_fen)
    return rules.brackets(TABLE_OF[kind]).step(taxable_fen).rate


def bonus_tax(bonus_fen: int, rules: Rules) -> int:
    """Tax on a yearly bonus taxed apart (iit.bonus, iit.bonus.method; 财政部 税务总局公告2023年第30号), in fen. Once a year.

    A twelfth finds rate and quick deduction in the monthly table; both apply once to the whole bonus,
    so that one fen above a bound may cost thousands of yuan.
    """
    not_negative(bonus_fen=bonus_fen)
    rules.provision("iit.bonus")
    divided_by = rules.terms("iit.bonus.method").whole("divided_by")
    step = rules.brackets("tax.monthly").step(-(-bonus_fen // divided_by))
    return half_up(bonus_fen * step.rate) - step.quick_deduction_fen


def comprehensive_income_fen(year: YearIncome, rules: Rules) -> int:
    """What counts of each kind of income (iit.income; 个人所得税法 art. 6); each kind is rounded half up to fen."""
    shares = rules.terms("iit.income")
    manuscripts = shares.exact("manuscripts") * shares.exact("manuscripts_reduced_to")
    return (
        half_up(year.wages_fen * shares.exact("wages"))
        + half_up(year.labour_fen * shares.exact("labour"))
        + half_up(year.royalties_fen * shares.exact("royalties"))
        + half_up(year.manuscripts_fen * manuscripts)
    )


def taxable_income(year: YearIncome, rules: Rules) -> Taxable:
    """What of a year's comprehensive income is taxed (iit.taxable), and which deductions are lost (iit.nocarry)."""
    not_negative(**{name: getattr(year, name) for name in year.__struct_fields__})
    income_fen = comprehensive_income_fen(year, rules)
    above_fen = max(0, income_fen - rules.terms("iit.taxable").whole("basic_deduction_fen"))
    rules.provision("iit.nocarry")
    claimed_fen = (
        year.insurance_and_housing_fund_fen
        + year.special_additional_fen
        + year.annuity_fen
        + year.personal_pension_fen
        + year.other_fen
    )
    deducted_fen = min(claimed_fen, above_fen)
    return Taxable(income_fen, deducted_fen, above_fen - deducted_fen, claimed_fen - deducted_fen)


def bonus_ways(year: YearIncome, bonus_fen: int, rules: Rules) -> BonusWays:
    """The tax of the whole year both ways; `year` is without the bonus. After the end of iit.bonus it is refused."""
    with_bonus = replace(year, wages_fen=year.wages_fen + bonus_fen)
    return BonusWays(
        apart_fen=annual_tax(taxable_income(year, rules).taxable_fen, rules) + bonus_tax(bonus_fen, rules),
        together_fen=annual_tax(taxable_income(with_bonus, rules).taxable_fen, rules),
    )


def withholding(months: Sequence[MonthWages], rules: Rules) -> Withheld:
    """What an employer withholds in each month from the first on (累计预扣法, iit.withholding), and the settlement.

    Each month pays the annual table on the year to date, less what was withheld; when that is below
    zero nothing is withheld, and the rest waits for later months or the settlement. A year begun later
    has fewer months but the whole basic deduction, which the settlement gives.
    """
    method = rules.terms("iit.withholding")
    if len(months) > method.whole("months"):
        raise ValueError(f"{len(months)} months are more than a year")
    brackets = rules.brackets("tax.annual")
    basic_fen = rules.terms("iit.taxable").whole("basic_deduction_fen")
    withheld: list[int] = []
    wages_fen = deductions_fen = 0
    for number, month in enumerate(months, 1):
        not_negative(wages_fen=month.wages_fen, deductions_fen=month.deductions_fen)
        wages_fen += month.wages_fen
        deductions_fen += month.deductions_fen
        # Exact for a basic deduction that twelve does not divide: the months' parts add up to the whole.
        to_date_fen = wages_fen - basic_fen * number // method.whole("months") - deductions_fen
        withheld.append(max(0, spread_tax_fen(max(0, to_date_fen), brackets) - sum(withheld)))
    tax_of_year_fen = spread_tax_fen(max(0, wages_fen - basic_fen - deductions_fen), brackets)
    return Withheld(tuple(withheld), tax_of_year_fen - sum(withheld), tax_of_year_fen)
