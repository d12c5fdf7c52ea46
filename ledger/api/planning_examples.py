"""The examples of questions about the future, and their answers as they are computed."""

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from ledger import moving
from ledger.api.examples import EXAMPLES, SIGNED
from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.moving import Simulated
from ledger.planner import CaseReading
from ledger.planning import personal, retirements, taxes
from ledger.planning.answers import Answers, Levers
from ledger.planning.crossing import MoveQuestion, Sender, wish
from ledger.planning.paths import Throws
from ledger.planning.personal import AllocationQuestion, PlanQuestion, Solve, WhatIfQuestion
from ledger.planning.retirements import RetirementQuestion
from ledger.planning.savings import SavingsQuestion
from ledger.planning.scenarios import Scenario
from ledger.planning.taxes import PayoutAsked, TaxQuestion
from ledger.projections.cases import CaseCell, CaseFigure

DAY = date(2026, 11, 22)
TAX_QUESTION = TaxQuestion(
    on=DAY,
    wages_fen=26_000_000,
    personal_pension_fen=1_200_000,
    payouts=(PayoutAsked(product="enterprise_annuity", form="monthly", amount_fen=500_000),),
)

RETIREMENT_QUESTION = RetirementQuestion(
    on=DAY,
    area="CN-11",
    birth="1971-07",
    category="M",
    counted_months=360,
    contribution_index=Decimal("0.8"),
    account_fen=12_000_000,
)

ANSWERS = Answers(
    birth="1985-03",
    category="F55",
    area="CN-11",
    monthly_wage_fen=1_800_000,
    paid_months=180,
    contribution_index=Decimal("1.1"),
    first_pillar_account_fen=16_000_000,
    ea_employer_rate=Decimal("0.05"),
    ea_employee_rate=Decimal("0.02"),
    special_deductions_fen=300_000,
    other_withheld_fen=250_000,
    liquid_savings_fen=15_000_000,
    monthly_need_fen=700_000,
)
PLAN_QUESTION = PlanQuestion(on=DAY, answers=ANSWERS, chances=Throws(seed=1))
WHAT_IF_QUESTION = WhatIfQuestion(
    on=DAY,
    answers=ANSWERS,
    scenarios=(
        Scenario(label="as now"),
        Scenario(label="three years later", levers=Levers(retirement_age_months=732)),
        Scenario(label="personal pension", levers=Levers(pp_yearly_fen=1_200_000)),
    ),
    sensitivity="first_income",
    solve=Solve(lever="yearly_saving", aim="lasting", target_today_fen=1_200_000),
)
ALLOCATION_QUESTION = AllocationQuestion(
    on=DAY,
    area="CN-11",
    saving=SavingsQuestion(
        to_save_fen=6_000_000,
        liquid_savings_fen=2_000_000,
        liquidity_buffer_fen=3_000_000,
        taxable_before_fen=14_500_000,
        months_to_retirement=240,
        risk_level="balanced",
    ),
)

MOVE_QUESTION = MoveQuestion(on=DAY, from_account="EA-1", to_product="person", reason="EA_STATUTORY_AGE", form="yearly")
SENDER = Sender(actor="system:ea-core", namespace="ea-core", decided_at=datetime(2026, 11, 22, 9, tzinfo=UTC))
MOVE_POSTED = {
    "receipt": SIGNED,
    "outcomes": [
        {
            "command_id": "ea-core:move/4D0CADE4A8069691/1",
            "status": "accepted",
            "first_position": 4,
            "last_position": 4,
            "repeated": False,
        }
    ],
}
CASES = CaseReading(
    edition=1,
    known_at=3,
    as_of=DAY,
    least=20,
    cell=CaseCell(
        area="CN-11",
        without=[],
        birth_from=1980,
        birth_to=1989,
        income_bands=["120k_to_200k"],
        employments=["enterprise"],
        people_at_least=20,
        figures=[
            CaseFigure(
                measure="balance_pillar_2_fen",
                since_edition=1,
                quarter=3_000_000,
                median=6_000_000,
                three_quarters=9_500_000,
            )
        ],
    ),
    missing=None,
    words=[],
)


@cache
def answers() -> dict[str, dict[str, Any]]:
    """By the name of the model."""
    reading = EXAMPLES["SheetReading"]
    sheet, known_at = BalanceSheet.model_validate(reading["sheet"]), reading["known_at"]
    found = (
        taxes.answer(TAX_QUESTION),
        retirements.answer(RETIREMENT_QUESTION),
        personal.plan_answer(sheet, known_at, PLAN_QUESTION),
        personal.what_if_answer(sheet, known_at, WHAT_IF_QUESTION),
        personal.allocation_answer(sheet, known_at, ALLOCATION_QUESTION),
        moving.answer(MOVE_QUESTION, _simulated(sheet, known_at)),
        CASES,
    )
    computed = {type(each).__name__: each.model_dump(mode="json") for each in found}
    return computed | {"MovePosted": MOVE_POSTED}


def _simulated(sheet: BalanceSheet, known_at: int) -> Simulated:
    rules = Rules(MOVE_QUESTION.on, MOVE_QUESTION.area)
    found = wish(sheet, known_at, MOVE_QUESTION, SENDER, rules)
    return Simulated(sheet.one_id, known_at, found, rules, [], {"EA-1": {"employee": (20_000, 0)}})
