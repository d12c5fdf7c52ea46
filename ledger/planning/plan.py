"""The plan: what a person will live on, month by month and pillar by pillar, from her sheet and her answers."""

from msgspec import Struct

from ledger.domain.rules import Cited, Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import Assumptions
from ledger.planning.cashflow import run
from ledger.planning.compiling import asked_for, compiled
from ledger.planning.flows import Flows
from ledger.planning.outlook import FIRST_PILLAR, SAVINGS, Outlook
from ledger.planning.summing import Summary, summary


class Source(Struct, frozen=True):
    """Where an opening balance comes from: accounts of the sheet at the plan's position, or her own answers."""

    pot: str
    opening_fen: int
    accounts: tuple[str, ...]
    said: str | None


class Plan(Struct, frozen=True, eq=False):
    """The answer, with everything that it rests on. `notes`: what has to be said with it, as codes (compiling)."""

    one_id: str
    position: int
    plan_day: str
    area: str
    outlook: Outlook
    flows: Flows
    summary: Summary
    sources: tuple[Source, ...]
    answers: Answers
    levers: Levers
    assumptions: Assumptions
    cited: tuple[Cited, ...]
    notes: tuple[str, ...]


def plan(  # noqa: PLR0913 - the facts, the answers and what is taken for granted each have their own source
    sheet: BalanceSheet,
    position: int,
    answers: Answers,
    levers: Levers,
    assumptions: Assumptions,
    rules: Rules,
    *,
    used_this_year_fen: int = 0,
) -> Plan:
    """Plan a life from the sheet at this position; the plan's day and area are those of `rules`.

    `used_this_year_fen`: what the facts show as paid into the personal pension in the year of the plan's day.
    Raises RuleRefused where a rule does not allow what was asked, AnswerRefused where an answer is missing or out of place.
    """
    asked = asked_for(sheet, answers, levers, assumptions, rules, used_this_year_fen)
    found = compiled(asked)
    flows = run(found.outlook)
    return Plan(
        one_id=sheet.one_id,
        position=position,
        plan_day=rules.on.isoformat(),
        area=answers.area,
        outlook=found.outlook,
        flows=flows,
        summary=summary(found.outlook, flows),
        sources=_sources(found.outlook),
        answers=answers,
        levers=levers,
        assumptions=assumptions,
        cited=rules.cited,
        notes=found.notes,
    )


def _sources(outlook: Outlook) -> tuple[Source, ...]:
    said = {FIRST_PILLAR: "first_pillar_account_fen", SAVINGS: "liquid_savings_fen"}
    return tuple(Source(pot.code, pot.opening_fen, pot.accounts, said.get(pot.code)) for pot in outlook.pots)
