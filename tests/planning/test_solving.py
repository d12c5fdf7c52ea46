"""Solve-for: the answer reaches the goal and one step less does not; what is out of reach says the most there is.

Invariants are those of `ledger.planning.solving`.
"""

import random
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.rules import RuleRefused
from ledger.planning.answers import AnswerRefused
from ledger.planning.explaining import SOLVE_LEVERS, SolveLever
from ledger.planning.questions import Question
from ledger.planning.solving import (
    MAX_PLANS,
    PENSION_STEP_FEN,
    RATE_STEP_BP,
    SAVING_STEP_FEN,
    Aim,
    Choice,
    income_today_fen,
    solve,
)
from tests.planning.asking import out_of_work, question, retired
from tests.planning.persons import answers, assuming
from tests.scale import scaled

OUT_OF_REACH = 90_000_000
WAGE = 2_000_000


def income(asked: Question, aim: Aim) -> int:
    return income_today_fen(asked.plan(), aim)


def with_choice(lever: SolveLever, choice: Choice, *, steps: int = 0) -> Question:
    """The question with the choice, so many steps off."""
    if lever == "personal_pension":
        assert choice.yearly_fen is not None
        return question(pp_yearly_fen=choice.yearly_fen + steps * PENSION_STEP_FEN)
    if lever == "yearly_saving":
        assert choice.yearly_fen is not None
        return question(saving_monthly_fen=choice.yearly_fen // 12 + steps * SAVING_STEP_FEN)
    if lever == "saving_rate":
        assert choice.rate_bp is not None
        return question(saving_monthly_fen=WAGE * (choice.rate_bp + steps * RATE_STEP_BP) // 10**4)
    assert choice.age_months is not None
    return question(retirement_age_months=choice.age_months + steps)


@pytest.mark.parametrize(
    ("lever", "aim", "target_fen"),
    [
        ("yearly_saving", "lasting", 1_700_000),
        ("saving_rate", "lasting", 1_700_000),
        ("personal_pension", "lasting", 1_450_000),
        ("personal_pension", "first_income", 2_000_000),
        ("retirement_age", "first_income", 2_000_000),
        ("retirement_age", "lasting", 1_500_000),
    ],
)
def test_the_answer_reaches_and_one_step_less_misses(lever: SolveLever, aim: Aim, target_fen: int) -> None:
    """Invariant 1."""
    solved = solve(question(), lever, aim, target_fen)
    assert solved.choice is not None
    assert not solved.already
    reached = income(with_choice(lever, solved.choice), aim)
    assert reached == solved.choice.income_today_fen == income_today_fen(solved.plan, aim)
    assert reached >= target_fen
    assert income(with_choice(lever, solved.choice, steps=-1), aim) < target_fen
    assert solved.plans <= MAX_PLANS


@pytest.mark.parametrize("aim", ["first_income", "lasting"])
@pytest.mark.parametrize("lever", SOLVE_LEVERS)
def test_out_of_reach_is_an_answer_that_says_the_most(lever: SolveLever, aim: Aim) -> None:
    """Invariants 2 and 3."""
    solved = solve(question(), lever, aim, OUT_OF_REACH)
    assert solved.choice is None
    assert not solved.already
    assert income_today_fen(solved.plan, aim) == solved.most.income_today_fen < OUT_OF_REACH
    assert income(with_choice(lever, solved.most), aim) == solved.most.income_today_fen
    assert solved.plans <= MAX_PLANS
    if lever == "retirement_age":
        return
    # The most is itself within reach, and by no less.
    again = solve(question(), lever, aim, solved.most.income_today_fen)
    assert again.choice == solved.most


def test_saving_brings_no_less_the_more_she_saves() -> None:
    """What bisection relies on, for any life: along the ladder the income never falls."""
    chance = random.Random(11)  # noqa: S311 - reproducible, not secret
    for _ in range(scaled(30)):
        said = answers(
            monthly_wage_fen=chance.randrange(300_000, 5_000_000),
            liquid_savings_fen=chance.randrange(0, 50_000_000),
            special_deductions_fen=chance.randrange(0, 500_000),
            other_withheld_fen=chance.randrange(0, 50_000),
        )
        assumed = assuming(savings=str(Decimal(chance.randrange(0, 400)) / 10**4))
        asked = question(said, assumed=assumed)
        saved = sorted(chance.randrange(0, said.monthly_wage_fen) for _ in range(4))
        by_saving = [income(asked.pulling(saving_monthly_fen=amount), "lasting") for amount in saved]
        assert by_saving == sorted(by_saving)
        paid = sorted(chance.randrange(0, 1_200_001) for _ in range(4))
        by_pension = [income(asked.pulling(pp_yearly_fen=amount), "first_income") for amount in paid]
        assert by_pension == sorted(by_pension)


def test_the_answer_is_the_first_of_a_whole_scan() -> None:
    """By brute force over every step of a coarse piece of the ladder around the answer."""
    target = 1_460_000
    solved = solve(question(), "personal_pension", "lasting", target)
    assert solved.choice is not None
    assert solved.choice.yearly_fen is not None
    steps = range(
        max(0, solved.choice.yearly_fen - 20 * PENSION_STEP_FEN), solved.choice.yearly_fen + 1, PENSION_STEP_FEN
    )
    reaching = [fen for fen in steps if income(question(pp_yearly_fen=fen), "lasting") >= target]
    assert reaching == [solved.choice.yearly_fen]


def _low_wage() -> Question:
    """Payments of her personal pension beyond a month's wage draw savings that earn more: the middle brings the most."""
    said = answers(
        birth="1968-06",
        paid_months=300,
        ea_vesting=[],
        monthly_wage_fen=700_000,
        special_deductions_fen=0,
        other_withheld_fen=0,
    )
    return question(said, assumed=assuming(savings="0.04", personal_pension="0.02"))


def test_the_most_may_lie_in_the_middle_of_the_personal_pension() -> None:
    """Invariants 1 and 2 where more brings less: what can be spent up to 100 falls where payments draw savings."""
    asked = _low_wage()
    by_step = [income(asked.pulling(pp_yearly_fen=fen), "lasting") for fen in range(0, 1_200_001, 5 * PENSION_STEP_FEN)]
    assert by_step != sorted(by_step)
    most = solve(asked, "personal_pension", "lasting", OUT_OF_REACH)
    assert most.plans <= MAX_PLANS
    assert most.most.income_today_fen >= max(by_step)
    reached = solve(asked, "personal_pension", "lasting", max(by_step))
    assert reached.choice is not None
    assert reached.choice.yearly_fen is not None
    steps = range(0, reached.choice.yearly_fen, PENSION_STEP_FEN)
    assert all(income(asked.pulling(pp_yearly_fen=fen), "lasting") < max(by_step) for fen in steps)


def test_the_first_age_of_all_lawful_ones() -> None:
    """By planning every month of the window: 60 years to 64 years and 8 months for M 1971-07 (RULES.md section 11)."""
    asked = question(answers(birth="1971-07", paid_months=300))
    ages = range(60 * 12, 64 * 12 + 8 + 1)
    by_age = [income(asked.pulling(retirement_age_months=each), "first_income") for each in ages]
    target = sorted(by_age)[len(ages) // 2]
    solved = solve(asked, "retirement_age", "first_income", target)
    assert solved.choice is not None
    assert solved.choice.age_months == next(each for each, value in zip(ages, by_age, strict=True) if value >= target)
    assert solved.most.income_today_fen == max(by_age)
    assert solved.plans == len(ages) + 1


def test_a_goal_that_is_reached_already_needs_nothing() -> None:
    solved = solve(question(), "yearly_saving", "lasting", 1)
    assert solved.already
    assert solved.choice is not None
    assert solved.choice.yearly_fen == 0


def test_early_months_without_the_minimum_years_are_left_out_and_counted() -> None:
    said = answers(birth="1968-01", paid_months=100, ea_vesting=[])
    solved = solve(question(said), "retirement_age", "first_income", 100_000)
    assert sum(solved.refused.values()) > 0
    assert set(solved.refused) <= {"ret.flex.early", "ret.min_years"}
    assert solved.most.age_months is not None


def test_of_who_has_retired_the_one_age_is_that_of_the_law() -> None:
    for said in (retired(birth="1955-01"), retired(birth="1935-01", pension_in_payment_fen=300_000)):
        solved = solve(question(said), "retirement_age", "first_income", OUT_OF_REACH)
        assert solved.most.age_months == 60 * 12
        assert solved.choice is None


@pytest.mark.parametrize("lever", ["yearly_saving", "saving_rate"])
def test_who_has_no_wage_is_told_to_give_one(lever: Any) -> None:
    said = out_of_work()
    with pytest.raises(AnswerRefused, match="monthly_wage_fen"):
        solve(question(said), lever, "lasting", 100_000)


def test_a_question_that_is_refused_is_refused() -> None:
    with pytest.raises(RuleRefused, match=r"pp\.cap\.year"):
        solve(question(pp_yearly_fen=1_200_001), "retirement_age", "lasting", 1)
