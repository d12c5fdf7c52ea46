"""The personal pension (个人养老金): room to pay in, what the tax saves and costs, how it is paid out, hardship.

1. A payment above the room left is refused whole, and the room stays (人社部发〔2022〕70号).
2. What is saved now is tax before less tax after; what is paid later is 3 % of every payout, principal and return.
3. Every payout schedule adds up to the balance: it ends exactly empty.
"""

from calendar import monthrange
from collections.abc import Collection, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.income_tax import MONTHS_OF_YEAR, Class, tax_fen
from ledger.domain.calculators.rounding import half_up
from ledger.domain.rules import Condition, RuleRefused, Rules

PRODUCT: Final = "personal_pension"
Kin = Literal["own", "spouse", "minor_child"]
DeathBenefit = Literal["balance", "insurance_death_benefit"]


class PensionSaving(Struct, frozen=True):
    """What a year's payment saves in tax, and costs when it is paid out.

    `lost_deduction_fen`: what was paid but found no income to deduct it from. `exit_tax_fen`: on the
    payment alone, without returns. `net_fen`: saved less exit tax; below zero the payment only costs.
    """

    tax_before_fen: int
    tax_after_fen: int
    saved_fen: int
    lost_deduction_fen: int
    exit_tax_fen: int
    net_fen: int


class MedicalCost(Struct, frozen=True):
    """What was paid for one person on one day: inside the medical catalogue, after reimbursement.

    `child` tells several minor children apart.
    """

    day: date
    person: Kin
    amount_fen: int
    child: int = 0


class Hardship(Struct, frozen=True):
    """A hardship that opens the account. `counted`: fen of cost (W4) or months of benefit (W5).

    `open_point`: the answer rests on a point that the law leaves open, and would otherwise be another.
    """

    condition: str
    counted: int
    open_point: bool
    may_contribute_again: bool


def contribution_room_fen(paid_fen: int, rules: Rules) -> int:
    """What may still be paid in the calendar year (pp.cap.year), with `paid_fen` paid so far. No carry-over."""
    not_negative(paid_fen=paid_fen)
    return max(0, rules.limit("pp.cap.year").value - paid_fen)


def payment_allowed(payment_fen: int, paid_fen: int, rules: Rules) -> int:
    """The room left after the payment, in fen; a payment above the room is refused whole (invariant 1)."""
    if payment_fen <= 0:
        raise ValueError(f"a payment of {payment_fen} fen; give more than zero")
    room_fen = contribution_room_fen(paid_fen, rules)
    if payment_fen > room_fen:
        raise rules.refuse("pp.cap.year", "pay at most what is left of the year's quota", left_fen=room_fen)
    return room_fen - payment_fen


def exit_tax_fen(payout_fen: int, rules: Rules) -> int:
    """Tax on a payout (pp.tax.out): 3 % of all of it, apart from other income, half up to fen."""
    not_negative(payout_fen=payout_fen)
    return half_up(payout_fen * rules.rate("pp.tax.out").value)


def death_tax_fen(payout_fen: int, benefit: DeathBenefit, rules: Rules) -> int:
    """Tax on what heirs receive (pp.death.tax), by kind of benefit; open in law."""
    not_negative(payout_fen=payout_fen)
    return half_up(payout_fen * rules.terms("pp.death.tax", benefit).exact("rate"))


def saving(paid_fen: int, taxable_before_fen: int, kind: Class, rules: Rules) -> PensionSaving:
    """What paying this much in the year does to the tax of a person with this taxable income (pp.tax.in).

    `paid_fen` is the whole year's payment; above the cap it is refused.
    """
    if paid_fen:
        payment_allowed(paid_fen, 0, rules)
    deducted_fen = min(paid_fen, rules.limit("pp.tax.in").value, taxable_before_fen)
    before_fen = tax_fen(taxable_before_fen, kind, rules)
    after_fen = tax_fen(taxable_before_fen - deducted_fen, kind, rules)
    leaving_fen = exit_tax_fen(paid_fen, rules)
    return PensionSaving(
        tax_before_fen=before_fen,
        tax_after_fen=after_fen,
        saved_fen=before_fen - after_fen,
        lost_deduction_fen=paid_fen - deducted_fen,
        exit_tax_fen=leaving_fen,
        net_fen=before_fen - after_fen - leaving_fen,
    )


def grown_fen(yearly_fen: int, years: int, yearly_return: Fraction) -> int:
    """What equal payments at the start of each year grow to; rounded half up once, at the end."""
    not_negative(yearly_fen=yearly_fen, years=years)
    grown = Fraction(0)
    for _ in range(years):
        grown = (grown + yearly_fen) * (1 + yearly_return)
    return half_up(grown)


def _by_length(balance_fen: int, months: Fraction | int, rules: Rules) -> tuple[int, ...]:
    """Equal monthly payments; a started month at the end gets its share.

    Each payment is what is due up to its month, rounded half up, less what was paid before: so it is
    within one fen of the exact amount, and the sum is the balance.
    """
    not_negative(balance_fen=balance_fen)
    count = -(-Fraction(months) // 1)
    most = rules.limit("pp.out.max_payments").value
    if not 0 < count <= most:
        raise rules.refuse("pp.out.method", "choose a number of months inside the bounds", most_payments=most)
    due = [half_up(balance_fen * min(Fraction(month), Fraction(months)) / months) for month in range(count + 1)]
    return tuple(after - before for before, after in pairwise(due))


def payouts_by_payout_months(balance_fen: int, payout_months: Fraction, rules: Rules) -> tuple[int, ...]:
    """Monthly payments of balance / M (计发月数) until empty (pp.out.method), were there no more returns."""
    rules.terms("pp.out.method")
    return _by_length(balance_fen, payout_months, rules)


def payouts_by_months(balance_fen: int, months: int, rules: Rules) -> tuple[int, ...]:
    """Equal monthly payments over a chosen number of months."""
    rules.terms("pp.out.method")
    return _by_length(balance_fen, months, rules)


def payouts_by_amount(balance_fen: int, amount_fen: int, rules: Rules) -> tuple[int, ...]:
    """Monthly payments of a chosen amount; the last is the rest."""
    not_negative(balance_fen=balance_fen)
    rules.terms("pp.out.method")
    most = rules.limit("pp.out.max_payments").value
    if amount_fen <= 0 or -(-balance_fen // amount_fen) > most:
        least_fen = -(-balance_fen // most)
        raise rules.refuse("pp.out.method", "choose a larger monthly amount", least_fen=least_fen)
    count, rest_fen = divmod(balance_fen, amount_fen)
    return (amount_fen,) * count + ((rest_fen,) if rest_fen else ())


def payouts_in_parts(balance_fen: int, parts_fen: Sequence[int], rules: Rules) -> tuple[int, ...]:
    """Chosen parts (分次); they must add up to the balance."""
    rules.terms("pp.out.method")
    if min(parts_fen, default=0) <= 0 or sum(parts_fen) != balance_fen:
        raise rules.refuse(
            "pp.out.method", "choose parts that add up to the balance", left_fen=balance_fen - sum(parts_fen)
        )
    return tuple(parts_fen)


def payout_lump(balance_fen: int, rules: Rules) -> tuple[int, ...]:
    """All at once."""
    not_negative(balance_fen=balance_fen)
    rules.terms("pp.out.method")
    return (balance_fen,) if balance_fen else ()


def method_may_change(rules: Rules) -> bool:
    """Whether a payout method that was chosen may be changed (pp.out.change; open in law)."""
    return rules.choice("pp.out.change").value == "may_change"


def flexible_early_opens(rules: Rules) -> bool:
    """Whether flexible early retirement already counts as the age of W1 (pp.out.flexible_early; open in law)."""
    return rules.choice("pp.out.flexible_early").value == "opens"


def may_contribute_again(condition: str, rules: Rules) -> bool:
    """Whether she may pay in again after a payout for this condition (pp.out.resume; before 2025-09-01 no rule)."""
    resume = rules.terms("pp.out.resume")
    if condition in resume.texts("resumes_after"):
        return True
    if condition in resume.texts("ends_after"):
        return False
    raise rules.refuse("pp.out.resume", "the rule does not speak of this condition; ask the bank", condition=condition)


def _condition(code: str, rules: Rules) -> Condition:
    row = rules.condition(PRODUCT, code)
    if row is None:
        detail = {"on": rules.on.isoformat(), "area": rules.area}
        sentence = f"no row of this rule is in force on {rules.on}; choose a later date"
        raise RuleRefused(code, "rule_not_in_force", sentence, detail)
    return row


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or the last day of that month where it has no such day."""
    month = day.year * MONTHS_OF_YEAR + day.month - 1 - months
    year, number = month // MONTHS_OF_YEAR, month % MONTHS_OF_YEAR + 1
    return date(year, number, min(day.day, monthrange(year, number)[1]))


def medical_hardship(costs: Collection[MedicalCost], disposable_income_fen: int, rules: Rules) -> Hardship:
    """W4: own costs of the 12 months before the application exceed last year's per-capita disposable income.

    The rules' date is the day of the application; `disposable_income_fen` is the province's figure.
    Raises RuleRefused when the costs do not exceed it.
    """
    condition = _condition("PP_W4_MEDICAL", rules)
    since = months_before(rules.on, rules.terms("pp.w4.medical").whole("within_months"))
    not_negative(disposable_income_fen=disposable_income_fen)
    by_person: dict[tuple[Kin, int], int] = {}
    for cost in costs:
        not_negative(amount_fen=cost.amount_fen)
        if since <= cost.day < rules.on:
            person = (cost.person, cost.child)
            by_person[person] = by_person.get(person, 0) + cost.amount_fen
    alone_fen, together_fen = max(by_person.values(), default=0), sum(by_person.values())
    counted_fen = alone_fen if rules.choice("pp.w4.persons").value == "each_alone" else together_fen
    open_point = (alone_fen > disposable_income_fen) != (together_fen > disposable_income_fen)
    if counted_fen <= disposable_income_fen:
        raise rules.refuse(
            condition.id,
            "the own costs of the last 12 months must exceed the province's per-capita disposable income of last year",
            counted_fen=counted_fen,
            must_exceed_fen=disposable_income_fen,
            open_point=open_point,
        )
    return Hardship(condition.code, counted_fen, open_point, may_contribute_again(condition.code, rules))


def unemployment_hardship(benefit_months: Collection[str], rules: Rules) -> Hardship:
    """W5: 12 months of unemployment benefit in total within the 2 years before the application (the rules' date).

    `benefit_months` are the months "YYYY-MM" with benefit. Raises RuleRefused when they are too few.
    """
    condition = _condition("PP_W5_UNEMPLOYED", rules)
    terms = rules.terms("pp.w5.unemployed")
    since, until = (
        months_before(rules.on, months).isoformat()[: len("2026-01")] for months in (terms.whole("within_months"), 0)
    )
    counted = sum(since <= month < until for month in set(benefit_months))
    needed = terms.whole("benefit_months")
    if counted < needed:
        raise rules.refuse(
            condition.id,
            "benefit must have been received for that many months within the two years before the application",
            counted_months=counted,
            needed_months=needed,
        )
    return Hardship(
        condition.code, counted, open_point=False, may_contribute_again=may_contribute_again(condition.code, rules)
    )
