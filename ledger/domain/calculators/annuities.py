"""Enterprise and occupational annuities (企业年金, 职业年金): caps of contributions, tax going in and out, vesting, fees.

1. A contribution above a cap is refused and the cap is told; caps are rounded down, so never exceeded.
2. Own contributions above 4 % of the capped base are wages of that month (财税〔2013〕103号 art. 1).
3. A payout is taxed by its form, alone: no basic deduction, no settlement, each plan apart (财税〔2018〕164号 art. 4).
4. A vesting schedule never falls, and reaches all of the employer's part after at most 8 years (企业年金办法 art. 19).
5. What is vested and what is forfeited make the employer's part, to the fen.
"""

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.income_tax import spread_tax_fen
from ledger.domain.calculators.rounding import down, half_up
from ledger.domain.rules import Rate, Rules

Form = Literal["monthly", "quarterly", "yearly", "lump_settled_abroad", "lump_heirs", "lump_other"]
# What the law does not name: which form's tax it gets is an open choice (RULES.md section 12, point 5).
OpenForm = Literal["parts", "lump_disabled", "product"]
INSTALMENTS: Final = frozenset({"monthly", "quarterly", "yearly"})
LAST_YEAR: Final = "of_last_year"
OPEN_FORMS: Final = frozenset({"parts", "lump_disabled", "product"})


class Caps(Struct, frozen=True, kw_only=True):
    """The most that a plan may take in a year: from the employer, and from employer and employees together."""

    employer_fen: int
    total_fen: int


class Contribution(Struct, frozen=True, kw_only=True):
    """What employee and employer pay."""

    employee_fen: int
    employer_fen: int


class EmployeeDeduction(Struct, frozen=True, kw_only=True):
    """The own contribution and tax. `base_fen`: the wage after the cap. `excess_fen`: wages of that month."""

    base_fen: int
    deductible_fen: int
    excess_fen: int


class Before2014(Struct, frozen=True):
    """Contributions that were taxed as wages before 2014, and all contributions of the account."""

    taxed_fen: int
    all_fen: int


class Vested(Struct, frozen=True):
    """The employer's part when she leaves. `to_enterprise_account_fen`: forfeited (ea.vest.forfeit)."""

    share: Fraction
    vested_fen: int
    to_enterprise_account_fen: int


class Schedule(Struct, frozen=True):
    """A plan's schedule: the share that is vested from so many completed years of service on.

    `full_events`: what the plan lets vest everything, besides the law's events.
    """

    shares: Mapping[int, Fraction]
    full_events: frozenset[str] = frozenset()

    def share(self, years: int) -> Fraction:
        """The share vested after so many completed years."""
        reached = [from_year for from_year in self.shares if from_year <= years]
        return self.shares[max(reached)] if reached else Fraction(0)


class FeeCaps(Struct, frozen=True):
    """The most an enterprise annuity fund may pay in a year of its net assets, and one account in a month."""

    trustee_fen: int
    custodian_fen: int
    investment_fen: int
    account_month_fen: int


def _cap_fen(row: Rate, wages_year_fen: int, wages_last_year_fen: int | None) -> int:
    """What a share of the wages comes to; the row's unit says of which year's wages."""
    if not row.unit.endswith(LAST_YEAR):
        return down(row.value * wages_year_fen)
    if wages_last_year_fen is None:
        raise ValueError(f"{row.id} of that date is a share of last year's wages; give wages_last_year_fen")
    return down(row.value * wages_last_year_fen)


def contribution_caps(wages_year_fen: int, rules: Rules, *, wages_last_year_fen: int | None = None) -> Caps:
    """The caps of an enterprise annuity (企业年金办法 art. 15; before 2018-02-01 by last year's wages)."""
    not_negative(wages_year_fen=wages_year_fen, wages_last_year_fen=wages_last_year_fen or 0)
    employer, total = rules.rate("ea.cap.employer"), rules.rate("ea.cap.total")
    return Caps(
        employer_fen=_cap_fen(employer, wages_year_fen, wages_last_year_fen),
        total_fen=_cap_fen(total, wages_year_fen, wages_last_year_fen),
    )


def contributions_allowed(
    paid: Contribution, wages_year_fen: int, rules: Rules, *, wages_last_year_fen: int | None = None
) -> Caps:
    """The caps that a year's contributions of the whole plan keep; above one of them they are refused."""
    not_negative(employee_fen=paid.employee_fen, employer_fen=paid.employer_fen)
    caps = contribution_caps(wages_year_fen, rules, wages_last_year_fen=wages_last_year_fen)
    if paid.employer_fen > caps.employer_fen:
        raise rules.refuse(
            "ea.cap.employer", "the employer pays at most its share of the wages", most_fen=caps.employer_fen
        )
    if paid.employer_fen + paid.employee_fen > caps.total_fen:
        raise rules.refuse("ea.cap.total", "both together pay at most their share", most_fen=caps.total_fen)
    return caps


def enterprise_contribution(
    wage_fen: int, employer_rate: Fraction, employee_rate: Fraction, rules: Rules
) -> Contribution:
    """What a plan with the same rates for everybody pays on a wage, each half up to fen.

    Rates above the caps are refused. Caps on last year's wages (before 2018-02-01) say nothing about
    rates: there it is `contributions_allowed` that answers.
    """
    not_negative(wage_fen=wage_fen, employer_rate=employer_rate, employee_rate=employee_rate)
    for rule_id, rate in (("ea.cap.employer", employer_rate), ("ea.cap.total", employer_rate + employee_rate)):
        row = rules.rate(rule_id)
        if row.unit.endswith(LAST_YEAR):
            continue
        if rate > row.value:
            raise rules.refuse(rule_id, "choose lower rates for the plan", most=str(row.value))
    return Contribution(employee_fen=half_up(wage_fen * employee_rate), employer_fen=half_up(wage_fen * employer_rate))


def occupational_contribution(base_fen: int, rules: Rules) -> Contribution:
    """What an occupational annuity takes on one person's base (oa.rate; 国办发〔2015〕18号), each half up to fen."""
    not_negative(base_fen=base_fen)
    return Contribution(
        employee_fen=half_up(base_fen * rules.rate("oa.rate.employee").value),
        employer_fen=half_up(base_fen * rules.rate("oa.rate.employer").value),
    )


def highest_credit_fen(employer_total_fen: int, persons: int, rules: Rules) -> int:
    """The most that the employer may credit to one person (企业年金办法 art. 18): 5 times the period's average."""
    if persons <= 0:
        raise ValueError(f"{persons} persons; give one or more")
    not_negative(employer_total_fen=employer_total_fen)
    return down(Fraction(employer_total_fen, persons) * rules.limit("ea.cap.individual_ratio").value)


def credit_allowed(credit_fen: int, employer_total_fen: int, persons: int, rules: Rules) -> None:
    """Refuse a credit to one person above 5 times the average (ea.cap.individual_ratio)."""
    not_negative(credit_fen=credit_fen)
    most_fen = highest_credit_fen(employer_total_fen, persons, rules)
    if credit_fen > most_fen:
        raise rules.refuse("ea.cap.individual_ratio", "credit this person less", most_fen=most_fen)


def employee_deduction(
    own_fen: int, monthly_base_fen: int, city_average_month_fen: int, rules: Rules
) -> EmployeeDeduction:
    """What of a month's own contribution is deductible (an.tax.in.employee), and what is taxed as wages.

    The base is the own average monthly wage of last year (EA) or post and grade wage (OA), at most three
    times the city's average monthly wage of last year (an.tax.base).
    """
    not_negative(own_fen=own_fen, monthly_base_fen=monthly_base_fen, city_average_month_fen=city_average_month_fen)
    base_fen = min(monthly_base_fen, down(city_average_month_fen * rules.rate("an.tax.base").value))
    deductible_fen = min(own_fen, down(base_fen * rules.rate("an.tax.in.employee").value))
    if deductible_fen < own_fen:
        rules.provision("an.tax.in.excess")
    return EmployeeDeduction(base_fen=base_fen, deductible_fen=deductible_fen, excess_fen=own_fen - deductible_fen)


def employer_excess_fen(credited_fen: int, allowed_fen: int, rules: Rules) -> int:
    """What of an employer's credit is above the caps and so wages of that month (an.tax.in.excess)."""
    not_negative(credited_fen=credited_fen, allowed_fen=allowed_fen)
    rules.provision("an.tax.in.employer")
    excess_fen = max(0, credited_fen - allowed_fen)
    if excess_fen:
        rules.provision("an.tax.in.excess")
    return excess_fen


def _decided_form(form: Form | OpenForm, rules: Rules) -> str:
    if form not in OPEN_FORMS:
        return form
    return rules.choice(f"an.tax.out.{form}").value


def taxable_payout_fen(form: str, amount_fen: int, rules: Rules, before_2014: Before2014 | None) -> int:
    """What of a payout is taxed, half up to fen, once what was taxed before 2014 is taken off (an.tax.pre2014)."""
    if before_2014 is None or not before_2014.taxed_fen:
        return amount_fen
    if not 0 <= before_2014.taxed_fen <= before_2014.all_fen:
        raise ValueError("what was taxed before 2014 is a part of all contributions")
    if form in INSTALMENTS:
        rules.terms("an.tax.pre2014", "instalments")
        return half_up(amount_fen * (1 - Fraction(before_2014.taxed_fen, before_2014.all_fen)))
    rules.terms("an.tax.pre2014", "lump")
    return max(0, amount_fen - before_2014.taxed_fen)


def payout_tax_fen(
    form: Form | OpenForm, amount_fen: int, rules: Rules, *, before_2014: Before2014 | None = None
) -> int:
    """Tax of one payout of one plan by its real form (an.tax.out.*), half up to fen.

    A quarter's payout is taxed as three equal months. Enterprise and occupational annuity are never added.
    Buying a pension product is taxed as the open choice says: not now, when its benefits are.
    """
    not_negative(amount_fen=amount_fen)
    decided = _decided_form(form, rules)
    if decided == "with_each_benefit":
        return 0
    terms = rules.terms(f"an.tax.out.{decided}")
    rules.choice("an.tax.out.nodeduct")
    taxable_fen = taxable_payout_fen(decided, amount_fen, rules, before_2014)
    return spread_tax_fen(taxable_fen, rules.brackets(terms.text("table")), terms.whole("months"))


def flexible_early_opens(rules: Rules) -> bool:
    """Whether flexible early retirement already opens an annuity's payout at age (ea.out.flexible_early; open in law)."""
    return rules.choice("ea.out.flexible_early").value == "opens"


def schedule(shares: Mapping[int, Fraction], rules: Rules, *, full_events: frozenset[str] = frozenset()) -> Schedule:
    """A schedule that the law allows (ea.vest.employer); another is refused."""
    most_years = rules.limit("ea.vest.employer").value
    ordered = dict(sorted(shares.items()))
    if any(years < 0 or not 0 <= share <= 1 for years, share in ordered.items()):
        raise ValueError("a schedule has years from 0 on and shares from 0 to 1")
    if any(before > after for before, after in pairwise(ordered.values())):
        raise rules.refuse("ea.vest.employer", "what is vested stays vested: let no share fall")
    found = Schedule(ordered, full_events)
    if found.share(most_years) != 1:
        raise rules.refuse("ea.vest.employer", "let everything vest in time", most_years=most_years)
    return found


def vested(employer_fen: int, years: int, plan: Schedule, rules: Rules, *, event: str | None = None) -> Vested:
    """What of the employer's part is hers after so many completed years when she leaves, half up to fen.

    An event of ea.vest.full_events, or one that the plan names, vests everything (企业年金办法 art. 20).
    """
    not_negative(employer_fen=employer_fen, years=years)
    full = event in (*plan.full_events, *rules.terms("ea.vest.full_events").texts("events"))
    rules.limit("ea.vest.employer")
    share = Fraction(1) if full else plan.share(years)
    vested_fen = half_up(employer_fen * share)
    if vested_fen < employer_fen:
        rules.provision("ea.vest.forfeit")
    return Vested(share, vested_fen, employer_fen - vested_fen)


def own_part_fen(own_fen: int, rules: Rules) -> int:
    """What of her own contributions and their returns is hers: all (ea.vest.own)."""
    not_negative(own_fen=own_fen)
    return half_up(own_fen * rules.rate("ea.vest.own").value)


def fee_caps(net_assets_fen: int, rules: Rules) -> FeeCaps:
    """The caps of the fees of an enterprise annuity (ea.fee.*), rounded down."""
    not_negative(net_assets_fen=net_assets_fen)
    return FeeCaps(
        trustee_fen=down(net_assets_fen * rules.rate("ea.fee.trustee").value),
        custodian_fen=down(net_assets_fen * rules.rate("ea.fee.custodian").value),
        investment_fen=down(net_assets_fen * rules.rate("ea.fee.investment").value),
        account_month_fen=rules.limit("ea.fee.account").value,
    )


def corporate_deduction_fen(employer_paid_fen: int, wages_year_fen: int, rules: Rules) -> int:
    """What of its contributions an employer may deduct from its own tax base (ea.cit)."""
    not_negative(employer_paid_fen=employer_paid_fen, wages_year_fen=wages_year_fen)
    return min(employer_paid_fen, down(wages_year_fen * rules.rate("ea.cit").value))
