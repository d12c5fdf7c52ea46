"""What is paid into each pot in each month, by whom, and what of it the wage tax lets her deduct.

1. Rates of an enterprise annuity above its caps are refused, and the year's personal pension above its cap.
2. Employer and employee parts are each rounded half up to fen by month, as the calculators of the rules round them.
3. Own annuity contributions are deductible up to their share of the wage of the year before, at most the highest
   contribution base, which is published as three times the average wage; what is above is taxed as wages (an.tax.in.excess).
4. The personal pension is paid once a year, in the month asked for; in the first year in the plan's first month when that
   month is over, less what the facts show as paid; in the year of retirement at the latest in the month of retirement.
"""

from fractions import Fraction
from typing import Final

import numpy as np
from msgspec import Struct

from ledger.domain.calculators.annuities import schedule
from ledger.domain.rules import Rules
from ledger.planning.answers import AnswerRefused, Answers
from ledger.planning.asked import Asked
from ledger.planning.axis import YEAR
from ledger.planning.outlook import NOWHERE, PARTS, Transfer, Whole
from ledger.planning.working import Months, Pay, Share, rule_share, share

UNVESTED: Final = "enterprise_annuity_unvested"


class Paid(Struct, frozen=True, eq=False):
    """Arrays by month. `into`: contributions by pot; `own`: what of them she pays; `deductible_fen`: besides the basic one."""

    into: dict[str, Whole]
    own: dict[str, Whole]
    first_pillar_own_fen: Whole
    deductible_fen: Whole
    personal_pension_fen: Whole


def _yearly(amounts: Whole, part: Share) -> Whole:
    return np.array([part.half_up(amount) for amount in amounts.tolist()])


def _first_pillar(asked: Asked, months: Months, pay: Pay) -> tuple[Whole, Whole]:
    """What goes to the personal account, and what she pays for it, pooled part included."""
    to_account, alone = rule_share(asked.rules, "fp.rate.employee"), rule_share(asked.rules, "fp.rate.flexible")
    lowest, year = months.lowest, pay.year
    on_base = months.from_wage | months.flexible
    account = np.where(on_base, _yearly(pay.base_fen, to_account)[year], 0)
    account += np.where(lowest, _yearly(pay.floor_fen, to_account)[year], 0)
    cost = np.where(months.from_wage, account, 0)
    cost += np.where(months.flexible, _yearly(pay.base_fen, alone)[year], 0)
    cost += np.where(lowest, _yearly(pay.floor_fen, alone)[year], 0)
    return account, cost


def _annuity_rates(answers: Answers, rules: Rules) -> tuple[str, Share, Share] | None:
    """The annuity that her work pays into, with the own and the employer's rate (invariant 1)."""
    own, employer = answers.ea_employee_rate, answers.ea_employer_rate
    if answers.employment != "enterprise" and (own or employer):
        field = "ea_employer_rate" if employer else "ea_employee_rate"
        raise AnswerRefused(field, "an enterprise annuity goes with employment enterprise; give 0 or change employment")
    if answers.employment == "public":
        return "occupational_annuity", rule_share(rules, "oa.rate.employee"), rule_share(rules, "oa.rate.employer")
    if not own and not employer:
        return None
    for rule_id, rate in (("ea.cap.employer", employer), ("ea.cap.total", own + employer)):
        most = rules.rate(rule_id).value
        if rate > most:
            raise rules.refuse(rule_id, "choose lower rates for the plan", most=str(most))
    return "enterprise_annuity", share(own), share(employer)


def _annuity(asked: Asked, months: Months, pay: Pay, paid: Paid, shares: Whole) -> None:
    """Enter the annuity contributions and their deduction. `shares`: by month, what of the employer's part is vested."""
    rates = _annuity_rates(asked.answers, asked.rules)
    if rates is None:
        return
    product, own_rate, employer_rate = rates
    wage = pay.base_fen if product == "occupational_annuity" else pay.wage_fen
    own_year, employer_year = _yearly(wage, own_rate), _yearly(wage, employer_rate)
    last_year = np.concatenate((pay.wage_fen[:1], pay.wage_fen[:-1]))
    asked.rules.rate("an.tax.base")
    asked.rules.provision("an.tax.in.employer")
    most = rule_share(asked.rules, "an.tax.in.employee")
    capped = np.minimum(last_year, pay.cap_fen)
    deductible_year = np.minimum(own_year, np.array([most.down(amount) for amount in capped.tolist()]))
    if (deductible_year < own_year).any():
        asked.rules.provision("an.tax.in.excess")
    works = months.from_wage
    year = pay.year
    own = np.where(works, own_year[year], 0)
    employer = np.where(works, employer_year[year], 0)
    paid.deductible_fen[:] += np.where(works, deductible_year[year], 0)
    paid.own[product] = own
    if product == "occupational_annuity":
        book = _pays_book(asked)
        paid.into[product] = own if book else own + employer
        if book:
            paid.into["occupational_annuity_book"] = employer
        return
    vested = (employer * shares + PARTS // 2) // PARTS
    paid.into[product] = own + vested
    if (employer > vested).any():
        paid.into[UNVESTED] = employer - vested


def _pays_book(asked: Asked) -> bool:
    """Whether the unit pays its part as a book entry: as answered, or as the sheet shows."""
    if asked.answers.oa_employer_part is not None:
        return asked.answers.oa_employer_part == "book"
    parts = (
        part
        for pillar in asked.sheet.pillars
        for line in pillar.products
        for account in line.accounts
        for part in account.parts
    )
    return any(part.part == "employer_book" and part.balance_fen > 0 for part in parts)


def _personal_pension(asked: Asked, retirement: int) -> Whole:
    """What is paid in which month (invariants 1 and 4)."""
    axis, levers = asked.axis, asked.levers
    amounts = np.zeros(axis.months, np.int64)
    if not levers.pp_yearly_fen:
        return amounts
    _personal_pension_allowed(asked, retirement)
    last = retirement if levers.contribute_until is None else min(retirement, axis.index(levers.contribute_until))
    this_year = max(0, levers.pp_yearly_fen - asked.used_this_year_fen)
    # Who has ended all payments before the plan begins pays nothing in its first year either.
    for year in range(axis.years if last >= 0 else 0):
        january = year * YEAR - axis.lead
        if january > last:
            break
        amount = this_year if year == 0 and axis.lead else levers.pp_yearly_fen
        at = min(january + levers.pp_month - 1, last)
        amounts[max(at, 0)] = amount
    return amounts


def _personal_pension_allowed(asked: Asked, retirement: int) -> None:
    rules, levers = asked.rules, asked.levers
    cap = rules.limit("pp.cap.year").value
    if levers.pp_yearly_fen > cap:
        left = max(0, cap - asked.used_this_year_fen)
        raise rules.refuse("pp.cap.year", f"pp_yearly_fen is from 0 to {cap}", most_fen=cap, left_fen=left)
    if retirement < 0:
        raise AnswerRefused("pp_yearly_fen", "she has retired, and the personal pension takes nothing more: give 0")
    accounts = [
        account
        for pillar in asked.sheet.pillars
        for line in pillar.products
        if line.product == "personal_pension"
        for account in line.accounts
    ]
    if accounts and not any(account.takes_contributions for account in accounts):
        raise rules.refuse("pp.out.resume", "her account takes no more contributions: give 0 for pp_yearly_fen")
    rules.limit("pp.tax.in")


def vesting(asked: Asked, retirement: int) -> tuple[Whole, list[tuple[int, int]]]:
    """The vested share of the employer's part by month, and when which part of what is unvested vests (of PARTS).

    Years of service go on through breaks. Without a schedule what is paid from now on is vested at once, and what the sheet
    shows as unvested vests at retirement.
    """
    answers, axis = asked.answers, asked.axis
    vested = np.full(axis.months, PARTS, np.int64)
    at_retirement = [(retirement, PARTS)] if retirement >= 0 else []
    if not answers.ea_vesting or retirement < 0:
        return vested, at_retirement
    plan = schedule({step.service_years: Fraction(step.vested_share) for step in answers.ea_vesting}, asked.rules)
    moves: list[tuple[int, int]] = []
    reached = plan.share(answers.ea_service_months // YEAR)
    vested[:] = int(reached * PARTS)
    for years in sorted(plan.shares):
        at = years * YEAR - answers.ea_service_months - 1
        new = plan.share(years)
        if 0 <= at < retirement and new > reached:
            moves.append((at, int((new - reached) / (1 - reached) * PARTS)))
            vested[at + 1 :] = int(new * PARTS)
            reached = new
    return vested, [*moves, *at_retirement]


def leaving(moves: list[tuple[int, int]], last_work: int, retirement: int) -> list[tuple[int, int, bool]]:
    """The same moves when work ends before retirement: the rest that is then unvested is forfeited (third: to nowhere)."""
    if last_work < 0 or last_work >= retirement:
        return [(at, parts, False) for at, parts in moves]
    return [*((at, parts, False) for at, parts in moves if at <= last_work), (last_work, PARTS, True)]


def contributed(asked: Asked, months: Months, pay: Pay, retirement: int, vested: Whole) -> Paid:
    """Everything that is paid in."""
    account, cost = _first_pillar(asked, months, pay)
    paid = Paid({"first_pillar": account}, {"first_pillar": account}, cost, cost.copy(), np.zeros_like(cost))
    _annuity(asked, months, pay, paid, vested)
    personal = _personal_pension(asked, retirement)
    paid.personal_pension_fen[:] = personal
    if personal.any():
        paid.into["personal_pension"] = paid.own["personal_pension"] = personal
        paid.deductible_fen[:] += personal
    return paid


def transfers(codes: list[str], ea_moves: list[tuple[int, int, bool]], retirement: int) -> tuple[Transfer, ...]:
    """What vests and is funded, between pots by their place, in order of time."""
    found: list[Transfer] = []
    for index, code in enumerate(codes):
        if code == UNVESTED:
            into = codes.index("enterprise_annuity")
            found += [Transfer(at, index, NOWHERE if lost else into, parts) for at, parts, lost in ea_moves]
        elif code == "group_pension_unvested":
            found.append(Transfer(retirement, index, codes.index("group_pension"), PARTS))
        elif code == "occupational_annuity_book":
            found.append(Transfer(retirement, index, codes.index("occupational_annuity"), PARTS))
    return tuple(sorted(found, key=lambda transfer: transfer.at))
