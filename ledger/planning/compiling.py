"""Compile a question into an Outlook: everything that is looked up, refused or decided before the months run."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.answers import AnswerRefused, Answers, Levers
from ledger.planning.asked import Asked
from ledger.planning.assumptions import Assumptions
from ledger.planning.axis import YEAR, axis
from ledger.planning.contributing import Paid, contributed, leaving, transfers, vesting
from ledger.planning.growth import january_index, monthly_parts, parts, price_index
from ledger.planning.holdings import Held, first_pillar_pot, held, pot, savings_pot, steps
from ledger.planning.outlook import NOWHERE, Outlook, Pot, Whole
from ledger.planning.retiring import Retiring, benefit_base_fen, pension, prolonged, retiring
from ledger.planning.working import Months, pay, working_months

# What vests comes before what it vests into; the order of the catalogue otherwise.
ORDER = (
    "enterprise_annuity_unvested",
    "enterprise_annuity",
    "occupational_annuity_book",
    "occupational_annuity",
    "group_pension_unvested",
    "group_pension",
    "retained_account",
    "personal_pension",
    "commercial_pension",
)
PILLAR_OF = {"personal_pension": 3}
PASSES_ON = {
    "enterprise_annuity_unvested": "enterprise_annuity",
    "occupational_annuity_book": "occupational_annuity",
    "group_pension_unvested": "group_pension",
}


class Compiled(Struct, frozen=True, eq=False):
    """The Outlook, and what of it has to be said in words: codes of `notes`."""

    outlook: Outlook
    notes: tuple[str, ...]


def _holdings(asked: Asked, paid: Paid, retirement: int) -> dict[str, Held]:
    """Every pot of the second and third pillar that holds money or will: those that pass on have where to."""
    shown = held(asked)
    if retirement < 0:
        shown = _passed_on(shown)
    codes = {*shown, *(code for code in paid.into if code in ORDER)}
    codes |= {PASSES_ON[code] for code in codes if code in PASSES_ON}
    return {code: shown.get(code) or _empty(code) for code in ORDER if code in codes}


def _passed_on(shown: dict[str, Held]) -> dict[str, Held]:
    """Of who has retired: what was to vest or to be funded by then is taken as vested and funded."""
    merged: dict[str, Held] = {}
    for code, found in shown.items():
        into = PASSES_ON.get(code, code)
        other = merged.get(into)
        merged[into] = replace(
            found,
            pot=into,
            opening_fen=found.opening_fen + (other.opening_fen if other else 0),
            accounts=tuple(dict.fromkeys((*(other.accounts if other else ()), *found.accounts))),
        )
    return merged


def _empty(code: str) -> Held:
    return Held(code, PASSES_ON.get(code, code), PILLAR_OF.get(code, 2), 0, ())  # type: ignore[arg-type]


def _needs(asked: Asked, months: Months, retirement: int) -> tuple[Whole, Whole]:
    """The needs of each month, and the lump, in today's money."""
    there, levers = asked.axis, asked.levers
    need = np.where(np.arange(there.months) > retirement, asked.answers.monthly_need_fen, 0)
    if levers.break_in_work is not None:
        need = np.where(months.in_break, levers.break_in_work.monthly_need_fen, need)
    lump = np.zeros(there.months, np.int64)
    if levers.lump_need is not None:
        at = there.index(levers.lump_need.month)
        if not 0 <= at < there.months:
            last = there.period(there.months - 1)
            raise AnswerRefused("lump_need.month", f"choose a month from {there.period(0)} to {last}")
        lump[at] = levers.lump_need.amount_fen
    return need, lump


def _matrix(pots: tuple[Pot, ...], rows: dict[str, Whole], months: int) -> Whole:
    matrix = np.zeros((len(pots), months), np.int64)
    for index, each in enumerate(pots):
        if each.code in rows:
            matrix[index] = rows[each.code]
    return matrix


def _checked(asked: Asked) -> None:
    answers, levers = asked.answers, asked.levers
    if answers.employment == "none" and answers.monthly_wage_fen:
        raise AnswerRefused("monthly_wage_fen", "who does not work has no wage: give 0 or change employment")
    if asked.rules.area != answers.area:
        raise AnswerRefused("area", f"the rules asked are those of {asked.rules.area}: give the same area")
    until = levers.contribute_until
    if until is not None and asked.axis.index(until) < -1:
        raise AnswerRefused("contribute_until", f"give a month from {asked.axis.period(-1)} on")


def _notes(asked: Asked, when: Retiring, months: Months, outlook: Outlook) -> tuple[str, ...]:
    """What has to be said in words, as codes."""
    answers = asked.answers
    found = {
        "retired_already": when.retirement < 0,
        "pension_estimated_though_retired": when.retirement < 0 and answers.pension_in_payment_fen is None,
        "minimum_months_missing": outlook.pension.missing_months > 0,
        "prolonged_after_retirement": bool(months.paid[when.first_retired :].any()),
        "benefit_base_as_answered": answers.benefit_base_fen is not None,
        "base_bounds_as_answered": answers.base_floor_fen is not None,
        "unvested_part_forfeited": any(each.to_pot == NOWHERE for each in outlook.transfers),
        "local_part_unknown": bool(outlook.pension.open_parts),
        "break_keeps_employment": asked.levers.break_in_work is not None,
        "flexible_income_taxed_as_wages": answers.employment == "flexible" and answers.monthly_wage_fen > 0,
        "law_of_the_day_goes_on": True,
    }
    return tuple(code for code, holds in found.items() if holds)


def asked_for(  # noqa: PLR0913 - each of its own source
    sheet: BalanceSheet,
    answers: Answers,
    levers: Levers,
    assumptions: Assumptions,
    rules: Rules,
    used_this_year_fen: int,
) -> Asked:
    """The question in one piece, with its months."""
    months = axis(rules.on, answers.birth)
    return Asked(sheet, answers, levers, assumptions, rules, months, used_this_year_fen)


def compiled(asked: Asked) -> Compiled:
    """The Outlook of a question. Raises RuleRefused and AnswerRefused."""
    there, answers, rules = asked.axis, asked.answers, asked.rules
    _checked(asked)
    rules.terms("iit.withholding")
    rules.provision("iit.exempt")
    rules.choice("fp.book_rate.method")
    when = retiring(asked)
    months = prolonged(asked, when, working_months(asked, when.retirement))
    yearly = pay(asked, benefit_base_fen(asked))
    basic = pension(asked, when, months, yearly)
    if when.early and basic.missing_months:
        raise rules.refuse(
            "ret.flex.early",
            "years are missing to retire early: choose a later month",
            least_months=when.least_months,
            missing_months=basic.missing_months,
        )
    vested, vests = vesting(asked, when.retirement)
    leaves = months.last_wage if answers.employment == "enterprise" else when.retirement
    moves = leaving(vests, leaves, when.retirement)
    paid = contributed(asked, months, yearly, when.retirement, vested)
    holdings = _holdings(asked, paid, when.retirement)
    pots = (
        first_pillar_pot(asked, basic.start),
        *(pot(found, asked, when) for found in holdings.values()),
        savings_pot(asked),
    )
    need, lump = _needs(asked, months, when.retirement)
    wage = np.where(months.earns, yearly.wage_fen[yearly.year], 0)
    withheld = np.where(months.earns, yearly.withheld_fen[yearly.year], 0)
    deductible = paid.deductible_fen + withheld + np.where(months.earns, answers.special_deductions_fen, 0)
    # The months before the plan are like its first, but for the personal pension, of which the facts are known.
    before = int(deductible[0] - paid.personal_pension_fen[0])
    prices = monthly_parts(asked.assumptions.inflation.value)
    numbers = there.numbers()
    outlook = Outlook(
        start=there.period(0),
        months=there.months,
        year=numbers // YEAR,
        month=numbers % YEAR + 1,
        age_months=numbers - there.birth,
        retirement=when.retirement,
        retirement_month=when.retirement_month,
        retirement_age_months=when.age_months,
        last_wage=months.last_wage,
        pots=pots,
        transfers=transfers([each.code for each in pots], moves, when.retirement),
        contributions_fen=_matrix(pots, paid.into, there.months),
        own_contributions_fen=_matrix(pots, paid.own, there.months),
        first_pillar_own_fen=paid.first_pillar_own_fen,
        wage_fen=wage,
        wage_month=months.earns,
        other_withheld_fen=withheld,
        deductions_fen=deductible,
        lead=there.lead,
        lead_wage_fen=int(wage[0]),
        lead_deductions_fen=before,
        lead_once_fen=asked.used_this_year_fen if there.lead else 0,
        basic_deduction_fen=rules.terms("iit.taxable").whole("basic_deduction_fen"),
        wage_tax=steps(rules.brackets("tax.annual")),
        pension=basic,
        pension_index=january_index(
            parts(asked.assumptions.pension_growth.value),
            min(basic.start, there.months - 1),
            -there.lead % YEAR,
            there.months,
        ),
        saving_fen=np.where(months.earns, yearly.saving_fen[yearly.year], 0),
        need_today_fen=need,
        lump_today_fen=lump,
        prices_parts=prices,
        price_index=price_index(prices, there.months),
        last_net_wage_month=int(np.flatnonzero(months.earns)[-1]) if months.earns.any() else -1,
    )
    return Compiled(outlook, _notes(asked, when, months, outlook))
