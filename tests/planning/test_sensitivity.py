"""The tornado: every lever and assumption by its stated step, each a plan of its own, the largest effect first.

Invariants are those of `ledger.planning.sensitivity`.
"""

from typing import Any

import pytest

from ledger.domain.rules import RuleRefused
from ledger.planning.answers import Levers
from ledger.planning.assumptions import Assumptions
from ledger.planning.lasting import lasting_today_fen
from ledger.planning.questions import Question
from ledger.planning.sensitivity import MAX_PLANS, MOVED, Outcome, Row, Step, Tornado, tornado
from tests.planning.asking import question, retired

PULLED: dict[str, Any] = {
    "saving_monthly_fen": 100_000,
    "pp_yearly_fen": 600_000,
    "break_in_work": {"start": "2030-01", "months": 24},
    "lump_need": {"month": "2045-01", "amount_fen": 30_000_000},
}


@pytest.fixture(scope="module")
def found() -> Tornado:
    return tornado(question(**PULLED), "lasting")


def row(of: Tornado, code: str) -> Row:
    return next(each for each in of.rows if each.code == code)


def outcomes(asked: Question) -> tuple[int, int]:
    planned = asked.plan()
    return planned.summary.first_income_today_fen or 0, lasting_today_fen(planned.outlook, planned.flows)


def test_every_lever_and_every_assumption_is_moved() -> None:
    """Invariant 1."""
    codes = {moved.code for moved in MOVED}
    of_levers = {"retirement" if name.startswith("retirement_") else name for name in Levers.model_fields}
    of_assumptions = {"fees" if name == "products" else name for name in Assumptions.model_fields}
    assert codes == of_levers | of_assumptions
    assert len(codes) == len(MOVED)


def test_rows_stand_by_size(found: Tornado) -> None:
    """Invariant 2."""
    keys = [(-each.size_fen("lasting"), each.code) for each in found.rows]
    assert keys == sorted(keys)
    assert {each.code for each in found.rows} == {moved.code for moved in MOVED}
    assert found.rows[0].size_fen("lasting") > 0


def test_the_number_of_plans_is_bounded() -> None:
    """Invariant 3."""
    assert 1 + 2 * len(MOVED) <= MAX_PLANS


@pytest.mark.parametrize(
    ("code", "up", "down"),
    [
        ("retirement", {"retirement_month": "2055-06"}, {"retirement_month": "2053-06"}),
        ("pp_yearly_fen", {"pp_yearly_fen": 720_000}, {"pp_yearly_fen": 480_000}),
        ("saving_monthly_fen", {"saving_monthly_fen": 150_000}, {"saving_monthly_fen": 50_000}),
        ("return_shift", {"return_shift": "0.01"}, {"return_shift": "-0.01"}),
        (
            "break_in_work",
            {"break_in_work": {"start": "2030-01", "months": 36}},
            {"break_in_work": {"start": "2030-01", "months": 12}},
        ),
        (
            "lump_need",
            {"lump_need": {"month": "2045-01", "amount_fen": 40_000_000}},
            {"lump_need": {"month": "2045-01", "amount_fen": 20_000_000}},
        ),
        ("pp_month", {"pp_month": 12}, {"pp_month": 1}),
    ],
)
def test_a_step_is_the_plan_of_the_moved_lever(found: Tornado, code: str, up: Any, down: Any) -> None:
    for step, levers in ((row(found, code).up, up), (row(found, code).down, down)):
        first, lasting = outcomes(question(**(PULLED | levers)))
        assert step.first_income_more_today_fen == first - found.first_income_today_fen
        assert step.lasting_more_today_fen == lasting - found.lasting_today_fen


def test_what_helps_helps_up_and_hurts_down(found: Tornado) -> None:
    for code in ("saving_monthly_fen", "return_shift", "wage_growth", "pension_growth", "retirement"):
        each = row(found, code)
        assert each.up.effect_fen("lasting") > 0 > each.down.effect_fen("lasting"), code
    for code in ("inflation", "fees", "lump_need", "break_in_work"):
        each = row(found, code)
        assert each.up.effect_fen("lasting") < 0 < each.down.effect_fen("lasting"), code


def test_best_and_worst_are_the_ends(found: Tornado) -> None:
    effects = [step.effect_fen("lasting") for step in found.steps]
    assert found.best is not None
    assert found.worst is not None
    assert found.best.effect_fen("lasting") == max(effects)
    assert found.worst.effect_fen("lasting") == min(effects)
    nothing = Step("x", 0, 0)
    still = Tornado("lasting", 0, 0, (Row("x", "lever", nothing, nothing),))
    assert still.best is still.worst is None


@pytest.mark.parametrize("outcome", ["first_income", "lasting"])
def test_either_outcome_sorts(outcome: Outcome) -> None:
    sorted_by = tornado(question(), outcome)
    sizes = [each.size_fen(outcome) for each in sorted_by.rows]
    assert sizes == sorted(sizes, reverse=True)


def test_what_is_not_possible_says_why() -> None:
    bare = tornado(question(pp_yearly_fen=1_200_000), "lasting")
    assert row(bare, "saving_monthly_fen").down.refused == "nothing_is_saved"
    assert row(bare, "break_in_work").down.refused == "no_break"
    assert row(bare, "lump_need").down.refused == "no_lump_need"
    beyond_cap = row(bare, "pp_yearly_fen").up
    assert beyond_cap.refused == "pp.cap.year"
    assert beyond_cap.sentence
    assert beyond_cap.effect_fen("lasting") == 0
    assert row(bare, "contribute_until").up.refused == "ret.short"


@pytest.mark.parametrize(
    ("code", "levers"),
    [("return_shift", {"return_shift": "0.05"}), ("saving_monthly_fen", {"saving_monthly_fen": 10**8})],
)
def test_a_step_out_of_range_is_a_row_that_says_so(code: str, levers: dict[str, Any]) -> None:
    """A lever at the end of its range has no step further; the other direction is planned."""
    row = next(row for row in tornado(question(**levers), "lasting").rows if row.code == code)
    assert row.up.refused == "out_of_range"
    assert row.down.refused is None


def test_of_who_has_retired_neither_age_nor_contributions_move() -> None:
    said = retired(birth="1960-01")
    found = tornado(question(said), "lasting")
    assert row(found, "retirement").up.refused == "retired_already"
    assert row(found, "contribute_until").down.refused == "retired_already"
    assert row(found, "break_in_work").up.refused == "no_work"
    assert found.best is not None


def test_a_question_that_is_refused_is_refused() -> None:
    with pytest.raises(RuleRefused):
        tornado(question(pp_yearly_fen=1_200_001), "lasting")
