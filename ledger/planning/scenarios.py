"""Up to four lives side by side over one sheet: what each leaves her, and what of the difference is taxes and what returns.

Each measure m of a plan is taken in three worlds, from the same compiled Outlook: m(bare), where nothing is taxed and
nothing earns, pays fees or interest; m(untaxed), where money earns and is not taxed; m(plan), the plan itself. Prices,
wages, contributions and pensions in payment are the same in all three. For a scenario s against the first scenario f:

    of_returns = (m_s(untaxed) - m_s(bare)) - (m_f(untaxed) - m_f(bare))
    of_taxes   = (m_s(plan) - m_s(untaxed)) - (m_f(plan) - m_f(untaxed))
    rest       =  m_s(bare) - m_f(bare)

So returns are those before taxes, a tax on returns is a tax, and the rest is what is paid in, paid out and earned by work.

1. total = of_taxes + of_returns + rest, to the fen.
2. What of lifetime net income is taxes is what she pays less of them, in today's money, but for one fen of rounding a month.
3. The order of the scenarios changes nothing but which is the first.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Final, Self

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from ledger.domain.calendar import month_number
from ledger.domain.rules import RuleRefused
from ledger.planning.answers import AnswerRefused, Levers, Said
from ledger.planning.assumptions import HELD, Assumed, Assumptions
from ledger.planning.cashflow import run
from ledger.planning.flows import Flows
from ledger.planning.lasting import lasting_today_fen
from ledger.planning.outlook import OPEN_END, Outlook, PayoutTax, Pot, Steps, Whole
from ledger.planning.plan import Plan
from ledger.planning.questions import Question
from ledger.planning.spelling import RATE
from ledger.planning.summing import summary, today_fen
from ledger.planning.wording import LABEL

MAX_SCENARIOS: Final = 4
RATES: Final = ("inflation", "wage_growth", "benefit_base_growth", "pension_growth", "book_rate")
RETURN_OF: Final = "return."
FEE_OF: Final = "fee."
ASSUMED: Final = (*RATES, *(f"{of}{product}" for of in (RETURN_OF, FEE_OF) for product in HELD))

REPLACING: Final = f"yearly rates that replace assumptions: {', '.join(ASSUMED)}"
AssumedName = Annotated[str, Field(pattern=f"^({'|'.join(map(re.escape, ASSUMED))})$")]
Rate = Annotated[Decimal, RATE]


class Scenario(Said):
    """One life: what of the levers and assumptions is other than in the question."""

    label: Annotated[
        str, Field(pattern=LABEL, description="its name, 1 to 32 characters without marks that end or quote a sentence")
    ]
    levers: Annotated[
        Levers | None, Field(description="the levers that are given replace those of the question; the others stay")
    ] = None
    assumed: Annotated[
        dict[AssumedName, Rate],
        Field(max_length=len(ASSUMED), description=REPLACING, json_schema_extra={"additionalProperties": False}),
    ] = {}  # noqa: RUF012 - pydantic copies it

    def of(self, question: Question) -> Question:
        """The question as this scenario asks it."""
        asked = question
        if self.levers is not None:
            pulled = {name: getattr(self.levers, name) for name in self.levers.model_fields_set}
            if "retirement_month" in pulled:
                pulled.setdefault("retirement_age_months", None)
            if "retirement_age_months" in pulled:
                pulled.setdefault("retirement_month", None)
            asked = asked.pulling(**pulled)
        return asked.assuming(changed(asked.assumptions, self.assumed)) if self.assumed else asked


def changed(assumptions: Assumptions, rates: dict[str, Decimal]) -> Assumptions:
    """The same with other rates, which are then the asker's. Keys as in `ASSUMED`."""
    plain = {name: _asked_rate(getattr(assumptions, name), rate) for name, rate in rates.items() if name in RATES}
    products = dict(assumptions.products)
    for name, rate in rates.items():
        of, _, product = name.partition(".")
        if product in HELD:
            earning = products[product]
            field = "yearly_return" if f"{of}." == RETURN_OF else "yearly_fee"
            products[product] = earning.model_copy(update={field: _asked_rate(getattr(earning, field), rate)})
    return assumptions.model_copy(update={**plain, "products": products})


def _asked_rate(assumed: Assumed, rate: Decimal) -> Assumed:
    return Assumed(value=rate, kind="assumption", source="", note=f"As asked, instead of {assumed.value}.")


class Measures(Struct, frozen=True):
    """One life in figures. `*_today_fen` is in prices of the plan's day.

    `first_income_*`: net a month in the first year of retirement. `lifetime_income_today_fen`: all net income of all months.
    `lasting_today_fen`: what she can spend a month from retirement up to the age of 100. `at_retirement_*`: what all pots
    hold at the end of the month of retirement; `left_today_fen`: at the end. A tax that December gives back is below zero.
    """

    first_income_fen: int
    first_income_today_fen: int
    lifetime_income_today_fen: int
    lasting_today_fen: int
    at_retirement_fen: int
    at_retirement_today_fen: int
    left_today_fen: int
    tax_in_work_fen: int
    tax_in_work_today_fen: int
    tax_in_retirement_fen: int
    tax_in_retirement_today_fen: int


MEASURES: Final = Measures.__struct_fields__
# A tax has no part that is returns alone, so these are shown whole.
PARTED: Final = tuple(name for name in MEASURES if not name.startswith("tax_"))


class Parted(Struct, frozen=True):
    """A difference in fen, and what of it is taxes, returns and the rest (invariant 1)."""

    total: int
    of_taxes: int
    of_returns: int
    rest: int


class Life(Struct, frozen=True, eq=False):
    """One scenario: its plan, its figures, balances by pot, and her age when each pot is empty (never: not listed)."""

    label: str
    plan: Plan
    measures: Measures
    at_retirement_by_pot_fen: dict[str, int]
    empty_age_months: dict[str, int]


class Difference(Struct, frozen=True):
    """A scenario less the first. `empty_later_months`: by pot that runs empty in both."""

    label: str
    parted: dict[str, Parted]
    tax_in_work_fen: int
    tax_in_work_today_fen: int
    tax_in_retirement_fen: int
    tax_in_retirement_today_fen: int
    at_retirement_by_pot_fen: dict[str, int]
    empty_later_months: dict[str, int]


class Comparison(Struct, frozen=True, eq=False):
    """All scenarios, and each but the first against the first."""

    lives: tuple[Life, ...]
    differences: tuple[Difference, ...]


class ScenariosRefused(ValueError):
    """Scenarios are too many, too few, or two have one name."""


class _Worlds(Struct, frozen=True):
    plan: Measures
    untaxed: Measures
    bare: Measures

    def against(self, first: Self, measure: str) -> Parted:
        """By the formulas at the head of the module."""

        def more(of: Callable[[_Worlds], Measures]) -> int:
            here: int = getattr(of(self), measure)
            there: int = getattr(of(first), measure)
            return here - there

        plan, untaxed, bare = more(lambda w: w.plan), more(lambda w: w.untaxed), more(lambda w: w.bare)
        return Parted(total=plan, of_taxes=plan - untaxed, of_returns=untaxed - bare, rest=bare)


_NO_TAX: Final = PayoutTax("none")


def _untaxed_pot(pot: Pot) -> Pot:
    return pot if pot.payout is None else replace(pot, payout=replace(pot.payout, tax=_NO_TAX))


def untaxed(outlook: Outlook) -> Outlook:
    """The same months where no wage and no payout is taxed."""
    nothing = Steps(np.array([OPEN_END]), np.array([0]), np.array([0]))
    return replace(outlook, wage_tax=nothing, pots=tuple(_untaxed_pot(pot) for pot in outlook.pots))


def without_returns(outlook: Outlook) -> Outlook:
    """The same months where no pot earns anything, nor pays a fee for it."""
    still = (replace(pot, monthly_return=0, yearly_return=0, monthly_fee=0) for pot in outlook.pots)
    return replace(outlook, pots=tuple(still))


def _at_retirement(outlook: Outlook, flows: Flows) -> dict[str, int]:
    at = outlook.retirement
    return {
        flow.code: int(flow.closing_fen[at]) if at >= 0 else pot.opening_fen
        for pot, flow in zip(outlook.pots, flows.pots, strict=True)
    }


def _tax(outlook: Outlook, flows: Flows) -> tuple[Whole, Whole]:
    """Of the months up to retirement, and of those after it."""
    tax = flows.household.wage_tax_fen + flows.household.payout_tax_fen
    start = outlook.first_retired
    return tax[:start], tax[start:]


def measures(outlook: Outlook, flows: Flows) -> Measures:
    """The figures of a run."""
    found = summary(outlook, flows)
    in_work, in_retirement = _tax(outlook, flows)
    held = sum(_at_retirement(outlook, flows).values())
    held_today = held if outlook.retirement < 0 else today_fen(np.array([held]), outlook, outlook.retirement)[0]
    return Measures(
        first_income_fen=found.first_income_fen or 0,
        first_income_today_fen=found.first_income_today_fen or 0,
        lifetime_income_today_fen=sum(today_fen(flows.household.income_fen, outlook)),
        lasting_today_fen=lasting_today_fen(outlook, flows),
        at_retirement_fen=held,
        at_retirement_today_fen=held_today,
        left_today_fen=found.left_at_end_today_fen,
        tax_in_work_fen=int(in_work.sum()),
        tax_in_work_today_fen=sum(today_fen(in_work, outlook)),
        tax_in_retirement_fen=int(in_retirement.sum()),
        tax_in_retirement_today_fen=sum(today_fen(in_retirement, outlook, outlook.first_retired)),
    )


def worlds(outlook: Outlook, flows: Flows) -> _Worlds:
    """The measures of the plan and of its two other worlds."""
    no_tax = untaxed(outlook)
    bare = without_returns(no_tax)
    return _Worlds(measures(outlook, flows), measures(no_tax, run(no_tax)), measures(bare, run(bare)))


def _life(label: str, found: Plan, figures: Measures) -> Life:
    birth = month_number(found.answers.birth)
    return Life(
        label=label,
        plan=found,
        measures=figures,
        at_retirement_by_pot_fen=_at_retirement(found.outlook, found.flows),
        empty_age_months={pot: month_number(month) - birth for pot, month in found.summary.runs_empty.items()},
    )


def _difference(life: Life, first: Life, parted: dict[str, Parted]) -> Difference:
    pots = {**first.at_retirement_by_pot_fen, **life.at_retirement_by_pot_fen}
    both = [pot for pot in life.empty_age_months if pot in first.empty_age_months]
    here, there = life.measures, first.measures
    return Difference(
        label=life.label,
        parted=parted,
        tax_in_work_fen=here.tax_in_work_fen - there.tax_in_work_fen,
        tax_in_work_today_fen=here.tax_in_work_today_fen - there.tax_in_work_today_fen,
        tax_in_retirement_fen=here.tax_in_retirement_fen - there.tax_in_retirement_fen,
        tax_in_retirement_today_fen=here.tax_in_retirement_today_fen - there.tax_in_retirement_today_fen,
        at_retirement_by_pot_fen={
            pot: life.at_retirement_by_pot_fen.get(pot, 0) - first.at_retirement_by_pot_fen.get(pot, 0) for pot in pots
        },
        empty_later_months={pot: life.empty_age_months[pot] - first.empty_age_months[pot] for pot in both},
    )


def _planned(question: Question, index: int, scenario: Scenario) -> Plan:
    """One scenario's plan; a refusal says of which scenario it is."""
    try:
        return scenario.of(question).plan()
    except AnswerRefused as refused:
        field = f"scenarios.{index}.levers.{refused.field}"
        raise AnswerRefused(field, refused.sentence, scenario=scenario.label, **refused.detail) from refused
    except RuleRefused as refused:
        detail = {**refused.detail, "scenario": scenario.label}
        raise RuleRefused(refused.rule, refused.reason, refused.sentence, detail) from refused


def compare(question: Question, scenarios: Sequence[Scenario]) -> Comparison:
    """Plan each scenario and compare it with the first. Raises ScenariosRefused, RuleRefused, AnswerRefused."""
    labels = [each.label for each in scenarios]
    if not 1 <= len(labels) <= MAX_SCENARIOS or len(set(labels)) != len(labels):
        raise ScenariosRefused(f"give 1 to {MAX_SCENARIOS} scenarios, each with a name of its own")
    plans = [_planned(question, index, each) for index, each in enumerate(scenarios)]
    found = [worlds(each.outlook, each.flows) for each in plans]
    lives = tuple(_life(label, each, figures.plan) for label, each, figures in zip(labels, plans, found, strict=True))
    differences = tuple(
        _difference(life, lives[0], {name: figures.against(found[0], name) for name in PARTED})
        for life, figures in zip(lives[1:], found[1:], strict=True)
    )
    return Comparison(lives, differences)
