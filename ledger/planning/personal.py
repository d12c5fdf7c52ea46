"""Questions about one person's future, answered from her sheet at one position: the plan, what-if, and this year's saving.

1. An answer carries its question with every assumption, the position, the versions and the rules: asked again by these, it is
   the same.
2. Nothing is read here: the sheet and its position are given.
"""

from datetime import date
from fractions import Fraction
from typing import Annotated, Final, Self

from pydantic import BaseModel, Field, model_validator

from ledger.domain.calendar import PERIOD_CHARACTERS, month_number, period_of_number
from ledger.domain.commands import Day
from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.allocation import Allocation, allocate
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import ASSUMPTIONS, Assumptions
from ledger.planning.basis import Asked, Basis, Words, basis, words
from ledger.planning.catalogue import Catalogue, sample_catalogue
from ledger.planning.explaining import SolveLever
from ledger.planning.markets import MARKETS
from ledger.planning.mortality import life_of
from ledger.planning.paths import Throws, Uncertainty, simulate
from ledger.planning.plan import Plan, Source
from ledger.planning.questions import Question
from ledger.planning.rolling_up import YearRow, yearly
from ledger.planning.savings import SavingsQuestion
from ledger.planning.scenarios import (
    ASSUMED,
    MAX_SCENARIOS,
    REPLACING,
    AssumedName,
    Difference,
    Measures,
    Rate,
    Scenario,
    changed,
    compare,
)
from ledger.planning.sensitivity import Outcome, Tornado, tornado
from ledger.planning.showing import SHOWN
from ledger.planning.solving import Aim, Choice, solve
from ledger.planning.spelling import contradiction
from ledger.planning.summing import Summary, today_fen
from ledger.planning.telling import of_allocation, of_comparison, of_plan, of_solved, of_tornado, of_uncertainty

MAX_TARGET_FEN: Final = 10**8
MONTHLY: Final = ("opening", "contributions", "returns", "fees", "transfers", "payouts", "tax", "closing")
PERSONAL_PENSION: Final = "personal_pension"
SAVED: Final = ("yearly_saving", "saving_rate")


class Personal(Asked):
    """What every question about one person says: her answers, her levers, and rates that replace assumptions."""

    on: Annotated[Day, Field(description="the plan's day: its law is taken to go on", examples=["2026-11-22"])]
    answers: Annotated[Answers, Field(description="what the sheet cannot know")]
    levers: Annotated[Levers, Field(description="what she may change")] = Levers()
    assumed: Annotated[
        dict[AssumedName, Rate],
        Field(max_length=len(ASSUMED), description=REPLACING, json_schema_extra={"additionalProperties": False}),
    ] = {}  # noqa: RUF012 - pydantic copies it


class PlanQuestion(Personal):
    """A plan, with the chances of many possible futures if asked for, and its months if asked for."""

    chances: Annotated[Throws | None, Field(description="seed and number of futures; without it, the one plan")] = None
    months: Annotated[bool, Field(strict=True, description="also every pot month by month")] = False


class Solve(Asked):
    """What has to be reached, and by what."""

    lever: Annotated[SolveLever, Field(description="what may change")]
    aim: Annotated[Aim, Field(description="net a month in the first year of retirement, or what lasts to 100")] = (
        "first_income"
    )
    target_today_fen: Annotated[
        int, Field(strict=True, ge=1, le=MAX_TARGET_FEN, description="a month, in fen of today's money")
    ]

    @model_validator(mode="after")
    def _seen_by_the_aim(self) -> Self:
        if self.aim == "first_income" and self.lever in SAVED:
            raise contradiction("what she saves herself is not income: with this lever aim at lasting")
        return self


class WhatIfQuestion(Personal):
    """Up to four lives side by side; the first is what the others are compared with."""

    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1, max_length=MAX_SCENARIOS)]
    sensitivity: Annotated[Outcome | None, Field(description="every lever and assumption one step up and down")] = None
    solve: Annotated[Solve | None, Field(description="what it takes to reach an income")] = None


class AllocationQuestion(Asked):
    """This year's saving of one person. What the facts show as paid into the personal pension is added by itself."""

    on: Annotated[Day, Field(description="the day whose rules and products hold", examples=["2026-11-22"])]
    area: Annotated[str, Field(pattern=r"^CN(-[0-9]{2}([0-9]{2})?)?$", description="where she is insured")] = "CN"
    saving: Annotated[SavingsQuestion, Field(description="how much, and what she needs and bears")]


class PersonBasis(Basis):
    """And whose facts, up to which position."""

    one_id: str
    known_at: int


class Months(BaseModel):
    """Every pot month by month: lists as long as `month`, in fen."""

    month: list[str]
    pots: dict[str, dict[str, list[int]]]
    income_fen: list[int]
    income_today_fen: list[int]
    wage_tax_fen: list[int]
    payout_tax_fen: list[int]
    shortfall_fen: list[int]


class PlanAnswer(BaseModel):
    """What she will live on. `notes` are codes of what was taken for granted."""

    question: PlanQuestion
    basis: PersonBasis
    assumptions: Assumptions
    notes: list[str]
    sources: Annotated[list[Source], SHOWN]
    summary: Annotated[Summary, SHOWN]
    years: Annotated[list[YearRow], SHOWN]
    months: Months | None
    chances: Annotated[Uncertainty | None, SHOWN]
    words: Words
    words_of_chances: Words | None


class LifeAnswer(BaseModel):
    """One of the lives. `empty_age_months`: her age when each pot is empty."""

    label: str
    summary: Annotated[Summary, SHOWN]
    measures: Annotated[Measures, SHOWN]
    at_retirement_by_pot_fen: dict[str, int]
    empty_age_months: dict[str, int]


class SolveAnswer(BaseModel):
    """`choice` reaches it and nothing less does; where it is null, `most` is the most that can be had."""

    already: bool
    choice: Annotated[Choice | None, SHOWN]
    most: Annotated[Choice, SHOWN]
    plans: int
    refused: dict[str, int]
    words: Words


class WhatIfAnswer(BaseModel):
    """The lives side by side, and each but the first against the first: what is taxes, returns and the rest."""

    question: WhatIfQuestion
    basis: PersonBasis
    assumptions: Assumptions
    lives: list[LifeAnswer]
    differences: Annotated[list[Difference], SHOWN]
    words: list[Words]
    sensitivity: Annotated[Tornado | None, SHOWN]
    words_of_sensitivity: Words | None
    solve: SolveAnswer | None


class AllocationAnswer(BaseModel):
    """Where this year's saving goes, what binds, the next best, and doing nothing."""

    question: AllocationQuestion
    basis: PersonBasis
    saving: SavingsQuestion
    allocation: Annotated[Allocation, SHOWN]
    words: Words


def plan_answer(sheet: BalanceSheet, known_at: int, question: PlanQuestion) -> PlanAnswer:
    """Raises RuleRefused and AnswerRefused."""
    asked = _question(sheet, known_at, question)
    found = asked.plan()
    chances = None
    if question.chances is not None:
        throws = question.chances
        life = life_of(MARKETS, question.answers.category)
        chances = simulate(found.outlook, MARKETS, throws.seed, throws.paths, life=life)
    return PlanAnswer(
        question=question,
        basis=_basis(asked),
        assumptions=found.assumptions,
        notes=list(found.notes),
        sources=list(found.sources),
        summary=found.summary,
        years=yearly(found.outlook, found.flows),
        months=_months(found) if question.months else None,
        chances=chances,
        words=words(of_plan(found)),
        words_of_chances=None if chances is None else words(of_uncertainty(chances, found)),
    )


def what_if_answer(sheet: BalanceSheet, known_at: int, question: WhatIfQuestion) -> WhatIfAnswer:
    """Raises ScenariosRefused, RuleRefused and AnswerRefused."""
    asked = _question(sheet, known_at, question)
    comparison = compare(asked, question.scenarios)
    first = question.scenarios[0].of(asked)
    moved = None if question.sensitivity is None else tornado(first, question.sensitivity)
    solved = None if question.solve is None else _solve(first, question.solve)
    return WhatIfAnswer(
        question=question,
        basis=_basis(asked),
        assumptions=asked.assumptions,
        lives=[
            LifeAnswer(
                label=life.label,
                summary=life.plan.summary,
                measures=life.measures,
                at_retirement_by_pot_fen=life.at_retirement_by_pot_fen,
                empty_age_months=life.empty_age_months,
            )
            for life in comparison.lives
        ],
        differences=list(comparison.differences),
        words=[words(each) for each in of_comparison(comparison)],
        sensitivity=moved,
        words_of_sensitivity=None if moved is None else words(of_tornado(moved)),
        solve=solved,
    )


def allocation_answer(
    sheet: BalanceSheet, known_at: int, question: AllocationQuestion, catalogue: Catalogue | None = None
) -> AllocationAnswer:
    """Over the given catalogue, or the sample one. Raises RuleRefused and AnswerRefused."""
    rules = Rules(question.on, question.area)
    paid = max(question.saving.pension_paid_fen, used_fen(sheet, question.on))
    may_pay = question.saving.may_pay_pension and _takes_contributions(sheet)
    saving = question.saving.model_copy(update={"pension_paid_fen": paid, "may_pay_pension": may_pay})
    inflation = Fraction(ASSUMPTIONS.inflation.value)
    found = allocate(saving, catalogue or sample_catalogue(), rules, inflation)
    return AllocationAnswer(
        question=question,
        basis=PersonBasis(**dict(basis(rules)), one_id=sheet.one_id, known_at=known_at),
        saving=saving,
        allocation=found,
        words=words(of_allocation(found, saving.to_save_fen)),
    )


def used_fen(sheet: BalanceSheet, on: date) -> int:
    """What the facts show as paid into the personal pension in the year of that day."""
    return sheet.capped_contributions_fen.get(str(on.year), 0)


def _takes_contributions(sheet: BalanceSheet) -> bool:
    """Whether her personal pension takes contributions; who has none may open one."""
    held = [
        account
        for pillar in sheet.pillars
        for product in pillar.products
        if product.product == PERSONAL_PENSION
        for account in product.accounts
        if account.status != "closed"
    ]
    return not held or any(account.takes_contributions for account in held)


def _question(sheet: BalanceSheet, known_at: int, question: Personal) -> Question:
    return Question(
        sheet=sheet,
        position=known_at,
        answers=question.answers,
        levers=question.levers,
        assumptions=changed(ASSUMPTIONS, question.assumed) if question.assumed else ASSUMPTIONS,
        rules=Rules(question.on, question.answers.area),
        used_this_year_fen=used_fen(sheet, question.on),
    )


def _basis(asked: Question) -> PersonBasis:
    return PersonBasis(**dict(basis(asked.rules)), one_id=asked.sheet.one_id, known_at=asked.position)


def _months(found: Plan) -> Months:
    outlook, flows = found.outlook, found.flows
    purse = flows.household
    first = month_number(found.plan_day[:PERIOD_CHARACTERS]) + 1
    return Months(
        month=[period_of_number(first + index) for index in range(outlook.months)],
        pots={pot.code: {name: getattr(pot, f"{name}_fen").tolist() for name in MONTHLY} for pot in flows.pots},
        income_fen=purse.income_fen.tolist(),
        income_today_fen=[int(fen) for fen in today_fen(purse.income_fen, outlook)],
        wage_tax_fen=purse.wage_tax_fen.tolist(),
        payout_tax_fen=purse.payout_tax_fen.tolist(),
        shortfall_fen=purse.shortfall_fen.tolist(),
    )


def _solve(question: Question, asked: Solve) -> SolveAnswer:
    found = solve(question, asked.lever, asked.aim, asked.target_today_fen)
    return SolveAnswer(
        already=found.already,
        choice=found.choice,
        most=found.most,
        plans=found.plans,
        refused=found.refused,
        words=words(of_solved(found)),
    )
