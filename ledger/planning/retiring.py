"""When she retires, by statute or by her choice inside the lawful window, and what the basic pension then is.

1. A month outside the window is refused, with the rule and the window; so is an early one without the minimum years.
2. Who reached the statutory month before the plan, and asks for no other, is retired already.
3. Without the minimum years there is no basic pension, until payment that is prolonged has filled them.
4. The benefit base goes on growing to the month of retirement; the index is that of all months paid.
"""

from fractions import Fraction

import numpy as np
from msgspec import Struct

from ledger.domain.calculators.first_pillar import Record, benefit
from ledger.domain.calculators.retirement import flexible_window, minimum_at, payout_months, statutory
from ledger.domain.calendar import month_number, period_of_number
from ledger.domain.rules import Limit, RuleRefused
from ledger.planning.answers import AnswerRefused
from ledger.planning.asked import Asked
from ledger.planning.axis import YEAR
from ledger.planning.outlook import PARTS, Pension
from ledger.planning.working import Months, Pay


class Retiring(Struct, frozen=True):
    """Indices of the axis; -1 for a month before the plan. `payout_months`: M of the age at retirement.

    `early`: before the statutory month. `least_months`: the minimum years, in months.
    """

    retirement: int
    retirement_month: str
    age_months: int
    statutory: int
    early: bool
    payout_months: Fraction
    least_months: int

    @property
    def first_retired(self) -> int:
        """The first month of payouts at age."""
        return self.retirement + 1


def retiring(asked: Asked) -> Retiring:
    """The month of retirement, by law and lever (invariants 1 and 2)."""
    answers, levers, rules = asked.answers, asked.levers, asked.rules
    by_law = statutory(answers.birth, answers.category, rules)
    month = by_law.month
    if levers.retirement_age_months is not None:
        month = period_of_number(asked.axis.birth + levers.retirement_age_months)
    if levers.retirement_month is not None:
        month = levers.retirement_month
    early, late = month < by_law.month, month > by_law.month
    if early or late:
        window = flexible_window(answers.birth, answers.category, rules)
        if not window.earliest_month <= month <= window.latest_month:
            raise rules.refuse(
                "ret.flex.early" if early else "ret.flex.late",
                f"choose a month of retirement from {window.earliest_month} to {window.latest_month}",
                earliest=window.earliest_month,
                latest=window.latest_month,
                asked=month,
            )
    age_months = month_number(month) - asked.axis.birth
    return Retiring(
        retirement=max(asked.axis.index(month), -1),
        retirement_month=month,
        age_months=age_months,
        statutory=max(asked.axis.index(by_law.month), -1),
        early=early,
        payout_months=payout_months(age_months, rules),
        least_months=_least_months(asked, month, by_law.month),
    )


def _least_months(asked: Asked, month: str, statutory_month: str) -> int:
    """The minimum years in months; of who draws a pension already, none are asked."""
    if asked.answers.pension_in_payment_fen is not None:
        return 0
    try:
        return minimum_at(month, statutory_month, asked.rules)
    except RuleRefused as refused:
        if refused.rule != "ret.min_years":
            raise
        raise AnswerRefused(
            "pension_in_payment_fen",
            f"she retired in {month}, of which the minimum years are not held: give her pension",
        ) from refused


def benefit_base_fen(asked: Asked) -> int:
    """B of today: as answered, or the last published one of the area."""
    if asked.answers.benefit_base_fen is not None:
        return asked.answers.benefit_base_fen
    try:
        return asked.rules.latest(Limit, "fp.B").value
    except RuleRefused as refused:
        raise AnswerRefused(
            "benefit_base_fen", f"fp.B has no row for {asked.answers.area}: give benefit_base_fen"
        ) from refused


def prolonged(asked: Asked, when: Retiring, months: Months) -> Months:
    """The same months with those that she goes on paying after retirement, for as long as years are missing."""
    until = asked.levers.contribute_until
    answers = asked.answers
    if until is None or asked.axis.index(until) <= when.retirement:
        return months
    so_far = answers.paid_months + answers.deemed_months + int(months.paid.sum())
    missing = when.least_months - so_far
    if missing <= 0:
        raise asked.rules.refuse(
            "ret.short", f"no years are missing: contribute_until is at most {when.retirement_month}", until=until
        )
    last = min(asked.axis.index(until), when.retirement + missing, asked.axis.months - 1)
    lowest = months.lowest.copy()
    lowest[when.retirement + 1 : last + 1] = True
    return Months(
        earns=months.earns,
        in_break=months.in_break,
        from_wage=months.from_wage,
        flexible=months.flexible,
        lowest=lowest,
        last_wage=months.last_wage,
    )


def pension(asked: Asked, when: Retiring, months: Months, pay: Pay) -> Pension:
    """The basic pension from its first month on (invariants 3 and 4). The account part waits for the run."""
    answers, axis = asked.answers, asked.axis
    divisor = when.payout_months
    future = months.paid
    paid = answers.paid_months + int(future.sum())
    missing = max(0, when.least_months - paid - answers.deemed_months)
    start = when.first_retired
    if future[start:].any():
        start = int(np.flatnonzero(future)[-1]) + 1
    if answers.pension_in_payment_fen is not None:
        if when.retirement >= 0:
            raise AnswerRefused(
                "pension_in_payment_fen", f"she retires in {when.retirement_month}: leave it out until it is paid"
            )
        of_account = (answers.first_pillar_account_fen / divisor + Fraction(1, 2)).__floor__()
        pooled = max(0, answers.pension_in_payment_fen - of_account)
        return Pension(0, pooled, divisor.numerator, divisor.denominator, 0, paid)
    if missing:
        asked.rules.provision("ret.short")
        return Pension(axis.months, 0, divisor.numerator, divisor.denominator, missing, paid)
    start = min(start, axis.months - 1)
    year = (start - 1 + axis.lead) // YEAR if start else 0
    record = Record(
        birth=answers.birth,
        base_fen=int(pay.benefit_base_fen[year]),
        index=_index(asked, months, pay, paid),
        months=paid + answers.deemed_months,
        deemed_months=answers.deemed_months,
        actual_months_1992_10_to_1998_06=answers.actual_months_1992_10_to_1998_06,
        account_fen=0,
        age_months=when.age_months,
    )
    found = benefit(record, asked.rules)
    return Pension(start, found.total_fen, divisor.numerator, divisor.denominator, 0, paid, found.open_parts)


def _index(asked: Asked, months: Months, pay: Pay, paid: int) -> Fraction:
    """The average of the index so far and of the months to come, each with its base over the benefit base of its year."""
    if not paid:
        return Fraction(asked.answers.contribution_index)
    year = pay.year
    on_base = months.from_wage | months.flexible
    to_come = int(pay.index_parts[year][on_base].sum()) + int(pay.lowest_index_parts[year][months.lowest].sum())
    so_far = Fraction(asked.answers.contribution_index) * asked.answers.paid_months
    return (so_far + Fraction(to_come, PARTS)) / paid
