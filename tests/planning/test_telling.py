"""From results to sentences: each real result is told in two plain ones, with the figures that it holds."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from ledger.cases.figures import MEASURES
from ledger.domain.calculators.lawful_moves import DESTINATIONS, PERSON, judge
from ledger.domain.calculators.retirement import flexible_window, statutory
from ledger.domain.rules import PRODUCTS, RuleRefused, Rules
from ledger.planning import telling
from ledger.planning.allocation import allocate
from ledger.planning.answers import Levers
from ledger.planning.catalogue import sample_catalogue
from ledger.planning.explaining import SENTENCES, SOLVE_LEVERS
from ledger.planning.markets import MARKETS
from ledger.planning.paths import simulate
from ledger.planning.retirements import RetirementQuestion
from ledger.planning.retirements import answer as retirement
from ledger.planning.savings import SavingsQuestion
from ledger.planning.scenarios import Scenario, compare
from ledger.planning.sensitivity import MOVED, tornado
from ledger.planning.solving import solve
from ledger.planning.taxes import TaxQuestion, answer
from ledger.planning.wording import Texts, money
from tests.planning.asking import question, retired
from tests.planning.persons import EMPTY, PLAN_DAY, answers
from tests.planning.plain import assert_plain

RULES = Rules(PLAN_DAY, "CN-11")
PLACES = (
    "employee_first_pillar",
    "resident_first_pillar",
    "public_staff_first_pillar",
    "enterprise_first_pillar",
    "tax_deferred_policy",
    "exclusive_annuity",
    "first_pillar",
    "outside_product",
)


def assert_says(said: Texts, *parts: str) -> None:
    assert_plain(said)
    for part in parts:
        assert part in said.zh, said.zh


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, "够您用到100岁"),
        ({"monthly_need_fen": 2_500_000}, "会有钱不够的月份"),
        ({"monthly_need_fen": 0}, "每月到手工资的"),
        ({"birth": "1968-01", "paid_months": 24, "ea_service_months": 0}, "把年限缴够"),
    ],
)
def test_a_plan(changes: dict[str, Any], part: str) -> None:
    found = question(answers(**changes)).plan()
    assert_says(telling.of_plan(found), part, money(found.summary.first_income_today_fen or 0, "zh"))


def test_the_share_of_the_wage_is_told_in_whole_percent() -> None:
    found = question(answers(monthly_need_fen=0)).plan()
    assert found.summary.replacement is not None
    share = round(Decimal(found.summary.replacement) * 100)
    assert_says(telling.of_plan(found), f"的{share}%。")


@pytest.mark.parametrize("need_fen", [0, 800_000])
def test_what_a_large_expense_in_work_leaves_short_is_not_laid_to_her_monthly_need(need_fen: int) -> None:
    levers: dict[str, Any] = {"lump_need": {"month": "2030-01", "amount_fen": 10**9}}
    found = question(answers(monthly_need_fen=need_fen), **levers).plan()
    said = telling.of_plan(found)
    assert_says(said, "从38岁7个月起会有钱不够的月份")
    assert "每月要花" not in said.zh


def test_a_plan_of_who_has_retired_speaks_of_now() -> None:
    found = question(retired(birth="1960-01")).plan()
    assert_says(telling.of_plan(found), "您现在每月到手")


@pytest.mark.parametrize("said", [answers(), answers(monthly_need_fen=0), retired(birth="1955-01")])
def test_uncertainty(said: Any) -> None:
    found = question(said).plan()
    many = simulate(found.outlook, MARKETS, 1, 2000, life=MARKETS.law("male", "insured"))
    assert_says(telling.of_uncertainty(many, found), "2,000种", "之间")


def test_scenarios() -> None:
    found = compare(
        question(),
        [
            Scenario(label="照旧"),
            Scenario(label="存个人养老金", levers=Levers(pp_yearly_fen=1_200_000)),
            Scenario(label="照旧二"),
        ],
    )
    better, same = telling.of_comparison(found)
    income = found.differences[0].parted["first_income_today_fen"].total
    assert_says(better, "“存个人养老金”", "“照旧”", f"退休后每月多拿{money(income, 'zh')}", "少交税")
    assert_says(same, "一样多")


def test_what_is_put_by_is_no_income_and_told_all_the_same() -> None:
    found = compare(
        question(), [Scenario(label="照旧"), Scenario(label="多存", levers=Levers(saving_monthly_fen=50_000))]
    )
    (more,) = telling.of_comparison(found)
    assert_says(more, "存款", f"能多花{money(found.differences[0].parted['lasting_today_fen'].total, 'zh')}")


def test_a_tornado() -> None:
    found = tornado(question(), "lasting")
    assert found.best is not None
    assert found.worst is not None
    best, worst = SENTENCES.names[found.best.name].zh, SENTENCES.names[found.worst.name].zh
    assert_says(telling.of_tornado(found), best, worst)


@pytest.mark.parametrize("target_fen", [1, 1_700_000, 90_000_000])
@pytest.mark.parametrize("lever", SOLVE_LEVERS[:3])
def test_a_goal(lever: Any, target_fen: int) -> None:
    found = solve(question(), lever, "lasting", target_fen)
    assert_says(telling.of_solved(found), f"{money(target_fen, 'zh')}（按今天的物价算）")


def test_a_goal_by_age() -> None:
    found = solve(question(answers(birth="1969-01", paid_months=300)), "retirement_age", "first_income", 90_000_000)
    assert_says(telling.of_solved(found), "达不到", "退休的话")


@pytest.mark.parametrize(
    ("wages_fen", "part"), [(26_000_000, "划算"), (7_000_000, "一来一去反而亏60元，不划算"), (5_000_000, "不划算")]
)
def test_a_tax(wages_fen: int, part: str) -> None:
    """The example of 10,000 taxable yuan: 300 saved, 360 later (RULES.md section 11)."""
    asked = TaxQuestion(on=PLAN_DAY, wages_fen=wages_fen, personal_pension_fen=1_200_000)
    found = answer(asked)
    assert_says(telling.of_tax(found.income, found.pension), part)
    without = TaxQuestion(on=PLAN_DAY, wages_fen=wages_fen)
    assert_plain(telling.of_tax(answer(without).income, None))


@pytest.mark.parametrize(
    ("birth", "missing", "early", "parts"),
    [
        ("1971-07", 0, True, ("61岁8个月", "2033年3月", "最早60岁", "最晚64岁8个月")),
        ("1971-07", 0, False, ("不能提前退休",)),
        ("1971-07", 30, False, ("还差2年6个月",)),
        ("1965-01", 0, True, ("2025年2月已经到了退休年龄60岁1个月",)),
    ],
)
def test_a_retirement(birth: str, missing: int, parts: tuple[str, ...], *, early: bool) -> None:
    """M 1971-07: 61y8m, flexible from 60y to 64y8m; M 1965-01: 60y1m in 2025-02 (RULES.md section 11)."""
    said = telling.of_retirement(
        statutory(birth, "M", RULES),
        flexible_window(birth, "M", RULES),
        this_month="2026-11",
        missing_months=missing,
        early_allowed=early,
    )
    assert_says(said, *parts)


@pytest.mark.parametrize(("this_month", "part"), [("2032-01", "最早60岁6个月"), ("2033-02", "最早61岁7个月")])
def test_no_age_that_is_over_is_offered(this_month: str, part: str) -> None:
    """M 1971-07 may retire from 2031-07 on."""
    said = telling.of_retirement(
        statutory("1971-07", "M", RULES),
        flexible_window("1971-07", "M", RULES),
        this_month=this_month,
        missing_months=0,
        early_allowed=True,
    )
    assert_says(said, part)


def test_years_that_lack_at_an_early_month_are_not_told_of_the_statutory_one() -> None:
    """M 1971-07 with 190 months in 2031-07, which asks for 192; by 2033-03 she has the 204."""
    early = RetirementQuestion(
        on=PLAN_DAY, area="CN-11", birth="1971-07", category="M", month="2031-07", counted_months=190
    )
    words = retirement(early).words
    assert_says(Texts(words.zh, words.en), "想在2031年7月就退休的话，养老保险还差2个月")


def test_where_nothing_may_be_chosen() -> None:
    """Before 2025 nobody chose."""
    before = Rules(date(2024, 1, 1), "CN-11")
    said = telling.of_retirement(
        statutory("1964-06", "M", before),
        flexible_window("1964-06", "M", before),
        this_month="2024-01",
        missing_months=0,
        early_allowed=True,
    )
    assert_says(said, "不能自己选早或者选晚")


@pytest.mark.parametrize("from_product", [*PRODUCTS, *PLACES])
def test_every_wish_to_move_is_told(from_product: str) -> None:
    for to_product in (*DESTINATIONS, *PLACES, PERSON):
        for reason in ("job_change", "unemployed", "EA_RETIRED", "bank_change", "contract"):
            try:
                judged = judge(from_product, to_product, reason, RULES)
            except RuleRefused:
                continue
            assert_plain(telling.of_move(judged, from_product, to_product, amount_fen=12_000_000))


def test_a_move_in_two_steps_names_both() -> None:
    judged = judge("enterprise_annuity", "personal_pension", "job_change", RULES)
    assert not judged.lawful
    refused = telling.of_move(judged, "enterprise_annuity", "personal_pension", amount_fen=1_200_000)
    assert_says(refused, "领出来", "每年的限额")
    done = telling.of_move(
        judged,
        "enterprise_annuity",
        "personal_pension",
        amount_fen=1_200_000,
        tax_fen=36_000,
        paid_in_fen=1_164_000,
    )
    assert_says(done, "1.2万元", "360元", "11,640元")


@pytest.mark.parametrize(
    ("taxable_fen", "to_save_fen", "part"),
    [
        (20_000_000, 5_000_000, "个人养老金账户"),
        (0, 5_000_000, "反而要亏"),
        (0, 50, "随时能取"),
    ],
)
def test_an_allocation(taxable_fen: int, to_save_fen: int, part: str) -> None:
    asked = SavingsQuestion(to_save_fen=to_save_fen, taxable_before_fen=taxable_fen, months_to_retirement=240)
    found = allocate(asked, sample_catalogue(), RULES, Fraction("0.02"))
    assert_says(telling.of_allocation(found, to_save_fen), part)


def test_every_name_of_the_file_is_somebody_s() -> None:
    places = {*PRODUCTS, *PLACES, *DESTINATIONS, PERSON}
    steps = {name for moved in MOVED for name in (moved.up, moved.down)}
    ways = {"way_keep_and_wait", "way_retain_and_wait", "way_cash_then_pay_in"}
    others = {name for name in SENTENCES.names if name.startswith("other_") and name.removeprefix("other_") in places}
    told = {"balance", "contributions", "monthly_income"}
    # Of each published amount of the case library.
    told |= {measure.removesuffix("_fen") for measure in MEASURES if measure.endswith("_fen")}
    assert set(SENTENCES.names) == places | steps | ways | others | told


def test_who_holds_nothing_is_told_too() -> None:
    assert_plain(telling.of_plan(question(answers(ea_vesting=[]), held=EMPTY).plan()))
