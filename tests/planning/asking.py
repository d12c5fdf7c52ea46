"""Questions about the persons of `tests.planning.persons`."""

from typing import Any

from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import ASSUMPTIONS, Assumptions
from ledger.planning.questions import Question
from tests.planning.persons import FIVE_POTS, PLAN_DAY, POSITION, answers


def question(
    said: Answers | None = None,
    *,
    held: BalanceSheet = FIVE_POTS,
    assumed: Assumptions = ASSUMPTIONS,
    used_this_year_fen: int = 0,
    **levers: Any,
) -> Question:
    """A question with some levers pulled."""
    asked = answers() if said is None else said
    return Question(
        sheet=held,
        position=POSITION,
        answers=asked,
        levers=Levers.model_validate(levers),
        assumptions=assumed,
        rules=Rules(PLAN_DAY, asked.area),
        used_this_year_fen=used_this_year_fen,
    )


def out_of_work(**changes: Any) -> Answers:
    """A person without work, wage and plan."""
    without = {
        "employment": "none",
        "monthly_wage_fen": 0,
        "ea_vesting": (),
        "ea_employer_rate": 0,
        "ea_employee_rate": 0,
    }
    return answers(**(without | {"other_withheld_fen": 0, "special_deductions_fen": 0} | changes))


def retired(**changes: Any) -> Answers:
    """A person with all her years, born so long ago that she has retired."""
    return out_of_work(**({"paid_months": 400} | changes))
