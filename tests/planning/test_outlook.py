"""Compiling: months and birthdays, retirement inside the window, what each lever changes, and what is refused by whom."""

import random
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ledger.domain.calculators.annuities import employee_deduction, enterprise_contribution, occupational_contribution
from ledger.domain.calculators.contribution_bases import on_base
from ledger.domain.calculators.first_pillar import Record, benefit
from ledger.domain.calculators.retirement import payout_months
from ledger.domain.rules import RuleRefused, Rules
from ledger.planning.answers import AnswerRefused, Answers
from ledger.planning.cashflow import half_up
from ledger.planning.growth import grown, january_index, monthly_parts, price_index
from ledger.planning.outlook import PARTS
from ledger.planning.plan import Plan
from ledger.planning.rolling_up import yearly
from tests.planning.persons import (
    EMPTY,
    FIVE_POTS,
    PLAN_DAY,
    POSITION,
    account,
    answers,
    assuming,
    levers,
    planned,
    sheet,
)
from tests.scale import scaled

NO_PLAN = {"ea_employer_rate": 0, "ea_employee_rate": 0, "ea_vesting": ()}


def row(found: Plan, code: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The contributions of a pot."""
    index = next(i for i, pot in enumerate(found.outlook.pots) if pot.code == code)
    line: np.ndarray[Any, np.dtype[np.int64]] = found.outlook.contributions_fen[index]
    return line


def test_the_months_go_from_the_one_after_the_plan_to_the_one_of_her_hundredth_birthday() -> None:
    """Ages are full at the birthday month."""
    outlook = planned(answers(birth="1991-06")).outlook
    assert outlook.start == "2026-12"
    assert (outlook.year[0], outlook.month[0], outlook.age_months[0]) == (2026, 12, 35 * 12 + 6)
    assert (outlook.year[-1], outlook.month[-1], outlook.age_months[-1]) == (2091, 6, 1200)
    assert outlook.lead == 11


def test_a_plan_made_in_december_begins_with_the_year() -> None:
    """No month of that calendar year lies before it."""
    outlook = planned(on=date(2026, 12, 31)).outlook
    assert (outlook.start, outlook.lead, outlook.lead_once_fen) == ("2027-01", 0, 0)


@pytest.mark.parametrize("birth", ["1926-11", "2011-01", "2030-01"])
def test_an_age_without_months_to_plan_is_refused(birth: str) -> None:
    """The field and the range are named."""
    with pytest.raises(AnswerRefused, match=r"birth: .*1926-12 to 2010-12") as refused:
        planned(answers(birth=birth, paid_months=0))
    assert refused.value.field == "birth"


@pytest.mark.parametrize(
    ("birth", "category", "age_months", "month"),
    [("1976-09", "M", 756, "2039-09"), ("1981-09", "F55", 696, "2039-09"), ("1984-11", "F50", 660, "2039-11")],
)
def test_she_retires_at_the_statutory_month(birth: str, category: str, age_months: int, month: str) -> None:
    """RULES.md section 11; the month of retirement is the last with a wage, and payouts begin with the next."""
    found = planned(answers(birth=birth, category=category, **NO_PLAN))
    outlook = found.outlook
    assert (outlook.retirement_month, outlook.retirement_age_months) == (month, age_months)
    assert outlook.age_months[outlook.retirement] == age_months
    assert outlook.wage_fen[outlook.retirement] > 0
    assert not outlook.wage_fen[outlook.first_retired :].any()
    assert outlook.pension.start == outlook.first_retired


@pytest.mark.parametrize(
    ("asked", "month"),
    [
        ({"retirement_month": "2051-06"}, "2051-06"),
        ({"retirement_age_months": 60 * 12}, "2051-06"),
        ({"retirement_month": "2057-06"}, "2057-06"),
    ],
)
def test_she_may_retire_anywhere_inside_the_window(asked: dict[str, Any], month: str) -> None:
    """ret.flex.early and ret.flex.late: three years around 63, never below 60."""
    assert planned(pulled=levers(**asked)).outlook.retirement_month == month


@pytest.mark.parametrize(("month", "rule"), [("2051-05", "ret.flex.early"), ("2057-07", "ret.flex.late")])
def test_outside_the_window_is_refused_with_the_rule_and_the_window(month: str, rule: str) -> None:
    """The refusal says from when to when."""
    with pytest.raises(RuleRefused, match="2051-06 to 2057-06") as refused:
        planned(pulled=levers(retirement_month=month))
    assert refused.value.rule == rule


def test_early_retirement_without_the_minimum_years_is_refused() -> None:
    """The minimum years of the chosen year have to be reached."""
    with pytest.raises(RuleRefused) as refused:
        planned(answers(birth="1968-01", paid_months=100, **NO_PLAN), levers(retirement_month="2028-02"))
    assert refused.value.rule == "ret.flex.early"


def test_who_reached_the_age_before_the_plan_has_retired() -> None:
    """She has no wage, pays nothing, and draws from the first month."""
    found = planned(answers(birth="1962-03", pension_in_payment_fen=450_000, **NO_PLAN))
    outlook = found.outlook
    assert outlook.retirement == -1
    assert "retired_already" in found.notes
    assert found.flows.household.pension_fen[0] == 450_000
    assert not outlook.wage_fen.any()
    assert not outlook.contributions_fen[:-1].any()
    assert next(flow for flow in found.flows.pots if flow.code == "personal_pension").payouts_fen[0] > 0
    # What was unvested vested with the age.
    assert [pot.code for pot in outlook.pots if "unvested" in pot.code] == []
    assert "EA2" in next(pot for pot in outlook.pots if pot.code == "enterprise_annuity").accounts


def test_a_pension_in_payment_is_only_for_the_retired() -> None:
    """Who works has none yet."""
    with pytest.raises(AnswerRefused, match="pension_in_payment_fen"):
        planned(answers(pension_in_payment_fen=1))


def test_each_opening_balance_names_its_accounts_and_the_position() -> None:
    """What comes from the sheet, and what she said herself."""
    found = planned()
    assert found.position == POSITION
    by_pot = {source.pot: source for source in found.sources}
    assert by_pot["enterprise_annuity"].accounts == ("EA1", "EA2")
    assert by_pot["enterprise_annuity"].opening_fen == 8_500_000
    assert by_pot["enterprise_annuity_unvested"].accounts == ("EA2",)
    assert by_pot["first_pillar"].said == "first_pillar_account_fen"
    assert by_pot["savings"].said == "liquid_savings_fen"
    assert sum(source.opening_fen for source in found.sources if source.said is None) == FIVE_POTS.balance_fen


def test_a_worked_person_agrees_with_the_calculators() -> None:
    """Every figure of a life without growth: bases, contributions, deductions, and the pension."""
    still = assuming(inflation="0", wage_growth="0", benefit_base_growth="0", pension_growth="0", book_rate="0")
    said = answers()
    found = planned(said, assumed=still)
    rules = Rules(PLAN_DAY, "CN-11")
    outlook, purse = found.outlook, found.flows.household
    first_pillar = on_base(2_000_000, rules)
    plan = enterprise_contribution(2_000_000, Fraction("0.05"), Fraction("0.02"), rules)
    deductible = employee_deduction(plan.employee_fen, 2_000_000, 1_193_700, rules).deductible_fen
    assert row(found, "first_pillar")[0] == first_pillar.to_account_fen == 160_000
    # Three years and four months of service: a fifth of the employer's part is vested.
    assert row(found, "enterprise_annuity")[0] == plan.employee_fen + plan.employer_fen // 5 == 60_000
    assert row(found, "enterprise_annuity_unvested")[0] == 80_000
    assert purse.own_contributions_fen[0] == first_pillar.employee_fen + plan.employee_fen == 200_000
    assert outlook.deductions_fen[0] == first_pillar.employee_fen + deductible + 250_000 + 200_000
    months = 144 + outlook.retirement + 1
    index = (
        Fraction("1.2") * 144 + Fraction(round(Fraction(2_000_000, 1_204_900) * PARTS), PARTS) * (months - 144)
    ) / months
    record = Record(
        birth="1991-06",
        base_fen=1_204_900,
        index=index,
        months=months,
        account_fen=12_000_000 + 160_000 * (outlook.retirement + 1),
        age_months=63 * 12,
    )
    whole = benefit(record, rules)
    assert purse.pension_fen[outlook.first_retired] == whole.total_fen
    assert purse.pension_from_account_fen[outlook.first_retired] == whole.account_fen
    assert payout_months(63 * 12, rules) == Fraction(outlook.pension.divisor, outlook.pension.divisor_of) == 117


def test_the_base_follows_the_wage_of_the_year_before_between_floor_and_cap() -> None:
    """fp.base: both bounds, and the growth of each."""
    high = planned(answers(monthly_wage_fen=9_000_000))
    low = planned(answers(monthly_wage_fen=100_000))
    assert row(high, "first_pillar")[0] == 3_581_100 * 8 // 100
    assert row(low, "first_pillar")[0] == 716_200 * 8 // 100
    between = planned(assumed=assuming(wage_growth="0.1"))
    # The wage rises in January 2027, the base follows a year later.
    assert row(between, "first_pillar")[[0, 1, 13]].tolist() == [160_000, 160_000, 176_000]


def test_own_annuity_contributions_are_deducted_up_to_four_percent_of_the_capped_base() -> None:
    """an.tax.in.employee: above three times the average wage nothing more is deducted."""
    rates = {"ea_employer_rate": Decimal("0.04"), "ea_employee_rate": Decimal("0.08"), "ea_vesting": ()}
    found = planned(answers(monthly_wage_fen=5_000_000, **rates))
    own = found.outlook.own_contributions_fen[1:].sum(axis=0)
    assert own[0] == 400_000
    first_pillar = 3_581_100 * 8 // 100
    assert found.outlook.deductions_fen[0] - first_pillar - 450_000 == 3_581_100 * 4 // 100
    assert "an.tax.in.excess" in {each.rule for each in found.cited}


@pytest.mark.parametrize(
    ("own", "employer", "rule"), [("0.02", "0.0801", "ea.cap.employer"), ("0.05", "0.08", "ea.cap.total")]
)
def test_rates_above_the_caps_are_refused(own: str, employer: str, rule: str) -> None:
    """企业年金办法 art. 15."""
    with pytest.raises(RuleRefused) as refused:
        planned(answers(ea_employee_rate=own, ea_employer_rate=employer))
    assert refused.value.rule == rule


def test_the_unvested_part_vests_by_the_schedule() -> None:
    """20 % from year 2, 60 % from year 5, all from year 8; she has served 40 months."""
    found = planned()
    unvested = next(flow for flow in found.flows.pots if flow.code == "enterprise_annuity_unvested")
    at = np.flatnonzero(unvested.transfers_fen)
    assert at.tolist() == [5 * 12 - 40 - 1, 8 * 12 - 40 - 1]
    before = unvested.closing_fen[at[0]] - unvested.transfers_fen[at[0]]
    assert -unvested.transfers_fen[at[0]] == pytest.approx(before / 2, abs=1)
    assert unvested.closing_fen[at[1]] == 0
    assert not unvested.contributions_fen[at[1] + 1 :].any()


def test_without_a_schedule_the_unvested_part_vests_at_retirement() -> None:
    """ea.vest.full_events: statutory age. New contributions are vested at once."""
    found = planned(answers(ea_vesting=()))
    unvested = next(flow for flow in found.flows.pots if flow.code == "enterprise_annuity_unvested")
    assert np.flatnonzero(unvested.transfers_fen).tolist() == [found.outlook.retirement]
    assert not unvested.contributions_fen.any()
    assert unvested.closing_fen[found.outlook.retirement] == 0


def test_what_is_unvested_when_she_leaves_early_is_forfeited() -> None:
    """ea.vest.forfeit: it goes to the enterprise account, and the plan says so."""
    found = planned(pulled=levers(contribute_until="2028-12"))
    unvested = next(flow for flow in found.flows.pots if flow.code == "enterprise_annuity_unvested")
    last = found.outlook.last_wage
    lost = -sum(int(flow.transfers_fen.sum()) for flow in found.flows.pots)
    assert "unvested_part_forfeited" in found.notes
    assert lost > 0
    assert unvested.closing_fen[last] == 0


def test_a_schedule_that_the_law_does_not_allow_is_refused() -> None:
    """ea.vest.employer: everything after at most 8 years."""
    with pytest.raises(RuleRefused) as refused:
        planned(answers(ea_vesting=[{"service_years": 9, "vested_share": 1}]))
    assert refused.value.rule == "ea.vest.employer"


def test_public_staff_pay_four_percent_and_their_unit_eight() -> None:
    """oa.rate; a book part earns the book rate and is funded at retirement (pk.oa)."""
    held = sheet(
        {
            "occupational_annuity": [
                account("OA1", "occupational_annuity", {"employee": 100, "employer_real": 200, "employer_book": 300})
            ]
        }
    )
    found = planned(answers(employment="public", **NO_PLAN), held=held)
    expected = occupational_contribution(2_000_000, Rules(PLAN_DAY))
    assert row(found, "occupational_annuity")[0] == expected.employee_fen == 80_000
    assert row(found, "occupational_annuity_book")[0] == expected.employer_fen == 160_000
    book = next(flow for flow in found.flows.pots if flow.code == "occupational_annuity_book")
    assert book.closing_fen[found.outlook.retirement] == 0
    assert {int(found.outlook.month[t]) for t in np.flatnonzero(book.returns_fen)[:-1]} == {12}
    real = planned(answers(employment="public", oa_employer_part="real", **NO_PLAN), held=held)
    assert row(real, "occupational_annuity")[0] == 240_000


def test_an_enterprise_annuity_goes_with_an_enterprise() -> None:
    """Rates of a plan that nobody pays into are refused by name."""
    with pytest.raises(AnswerRefused, match="ea_employer_rate"):
        planned(answers(employment="flexible"))


def test_a_flexible_worker_pays_the_whole_rate_alone() -> None:
    """fp.rate.flexible: 20 % of the base, of which 8 % to the account."""
    found = planned(answers(employment="flexible", **NO_PLAN))
    assert row(found, "first_pillar")[0] == 160_000
    assert found.outlook.first_pillar_own_fen[0] == 400_000


@pytest.mark.parametrize(("used", "first"), [(0, 1_200_000), (500_000, 700_000), (1_200_000, 0)])
def test_the_first_year_of_personal_pension_is_less_what_was_paid(used: int, first: int) -> None:
    """pp.cap.year: what the facts show of this year counts."""
    found = planned(pulled=levers(pp_yearly_fen=1_200_000), used_this_year_fen=used)
    paid = row(found, "personal_pension")
    assert paid[0] == first
    assert paid[12] == 1_200_000
    assert found.outlook.lead_once_fen == used


def test_the_personal_pension_is_paid_to_the_year_of_retirement_and_never_above_the_cap() -> None:
    """In the year of retirement it is paid by the month of retirement."""
    found = planned(pulled=levers(pp_yearly_fen=1_200_000, pp_month=9))
    paid, outlook = row(found, "personal_pension"), found.outlook
    assert paid[outlook.retirement] == 1_200_000
    assert not paid[outlook.first_retired :].any()
    totals = [int(paid[outlook.year == year].sum()) for year in range(2026, 2055)]
    assert totals == [1_200_000] * 29
    with pytest.raises(RuleRefused, match="pp_yearly_fen") as refused:
        planned(pulled=levers(pp_yearly_fen=1_200_001), used_this_year_fen=200_000)
    assert refused.value.rule == "pp.cap.year"
    assert refused.value.detail["left_fen"] == 1_000_000


def test_an_account_that_takes_no_contributions_refuses_the_saving() -> None:
    """pp.out.resume: after the payout at age it is closed."""
    held = sheet({"personal_pension": [account("PP1", "personal_pension", {"own": 5}, takes_contributions=False)]})
    with pytest.raises(RuleRefused) as refused:
        planned(pulled=levers(pp_yearly_fen=1), held=held)
    assert refused.value.rule == "pp.out.resume"


@pytest.mark.parametrize(
    ("product", "form", "rule"),
    [("occupational_annuity", "lump_sum", "oa.out.method"), ("occupational_annuity", "yearly", "oa.out.method")],
)
def test_a_form_that_the_product_does_not_have_is_refused(product: str, form: str, rule: str) -> None:
    """The forms that it has are named."""
    held = sheet({product: [account("A1", product, {"employee": 100})]})
    with pytest.raises(RuleRefused, match=product) as refused:
        planned(answers(**NO_PLAN), levers(payouts={product: {"form": form}}), held=held)
    assert refused.value.rule == rule
    assert refused.value.detail["forms"] == ["monthly"]


def test_minimum_years_that_are_missing_leave_no_pension_and_are_told() -> None:
    """ret.short: payouts of the pots go on without it."""
    found = planned(answers(birth="1968-01", paid_months=100, **NO_PLAN))
    assert found.summary.pension_from is None
    assert found.summary.missing_months > 0
    assert "minimum_months_missing" in found.notes
    assert not found.flows.household.pension_fen.any()
    assert found.flows.household.payouts_fen.any()


def test_prolonging_fills_the_missing_years_and_then_the_pension_begins() -> None:
    """ret.short: she pays alone on the lowest base, until the months are there and no longer."""
    said = answers(birth="1968-01", paid_months=100, **NO_PLAN)
    missing = planned(said).summary.missing_months
    found = planned(said, levers(contribute_until="2045-12"))
    outlook = found.outlook
    paid = np.flatnonzero(outlook.contributions_fen[0])
    assert paid[-1] == outlook.retirement + missing
    assert outlook.pension.start == paid[-1] + 1
    assert found.summary.missing_months == 0
    assert "prolonged_after_retirement" in found.notes
    account_part, own = row(found, "first_pillar")[paid[-1]], outlook.first_pillar_own_fen[paid[-1]]
    assert abs(int(own) * 8 - int(account_part) * 20) <= 20
    with pytest.raises(RuleRefused) as refused:
        planned(said.model_copy(update={"paid_months": 300}), levers(contribute_until="2045-12"))
    assert refused.value.rule == "ret.short"


def test_a_break_has_no_wage_and_no_contributions_unless_she_pays_herself() -> None:
    """Flexible contributions on the lowest base are for her to choose."""
    pause = {"start": "2030-01", "months": 24, "monthly_need_fen": 300_000}
    without = planned(pulled=levers(break_in_work=pause))
    paying = planned(pulled=levers(break_in_work=pause | {"pays_first_pillar": True}))
    outlook = without.outlook
    there = (outlook.year == 2030) | (outlook.year == 2031)
    assert not outlook.wage_fen[there].any()
    assert not outlook.contributions_fen[:, there].any()
    assert (outlook.need_today_fen[there] == 300_000).all()
    assert (paying.outlook.contributions_fen[0][there] > 0).all()
    assert (paying.outlook.first_pillar_own_fen[there] > paying.outlook.contributions_fen[0][there]).all()
    assert outlook.wage_fen[~there & (np.arange(outlook.months) <= outlook.retirement)].all()
    assert without.outlook.pension.paid_months == paying.outlook.pension.paid_months - 24


def test_who_stops_early_has_neither_wage_nor_contributions_after() -> None:
    """contribute_until before retirement: an employee stops working, a flexible worker only stops paying."""
    employed = planned(answers(**NO_PLAN), levers(contribute_until="2040-06")).outlook
    assert not employed.wage_fen[employed.year > 2040].any()
    flexible = planned(answers(employment="flexible", **NO_PLAN), levers(contribute_until="2040-06")).outlook
    assert flexible.wage_fen[flexible.retirement] > 0
    assert not flexible.contributions_fen[0][flexible.year > 2040].any()


def test_who_has_stopped_already_pays_no_personal_pension_either() -> None:
    """contribute_until in the month of the plan's day: the first year is over for her."""
    stopped = planned(pulled=levers(contribute_until="2026-11", pp_yearly_fen=1_200_000)).outlook
    assert not stopped.own_contributions_fen.any()


def changed(one: Plan, other: Plan) -> set[str]:
    """Which contributions and flows of two plans differ."""
    found = set()
    for before, after in zip(one.flows.pots, other.flows.pots, strict=True):
        for name in ("contributions_fen", "returns_fen", "payouts_fen"):
            if not (getattr(before, name) == getattr(after, name)).all():
                found.add(f"{before.code}.{name.removesuffix('_fen')}")
    for name in one.flows.household.__struct_fields__:
        if not (getattr(one.flows.household, name) == getattr(other.flows.household, name)).all():
            found.add(name.removesuffix("_fen"))
    return found


SAVINGS = {"savings.contributions", "savings.returns", "savings.payouts", "deposits", "draws", "consumption"}


@pytest.mark.parametrize(
    ("pulled", "must", "may"),
    [
        (
            {"pp_yearly_fen": 1_200_000},
            {"personal_pension.contributions", "personal_pension.payouts", "wage_tax", "own_contributions"},
            {"personal_pension.returns", "payouts", "payout_tax", "income"},
        ),
        ({"saving_monthly_fen": 100_000}, {"savings.contributions", "savings.returns", "consumption"}, {"deposits"}),
        (
            {"payouts": {"personal_pension": {"form": "lump_sum"}}},
            {"personal_pension.payouts", "payouts"},
            {"personal_pension.returns", "payout_tax", "income"},
        ),
        (
            {"lump_need": {"month": "2035-01", "amount_fen": 1_000_000}},
            {"lump", "draws", "savings.payouts", "savings.returns"},
            set(),
        ),
        (
            {"return_shift": "0.01"},
            {"enterprise_annuity.returns", "personal_pension.returns", "commercial_pension.returns", "savings.returns"},
            {
                "enterprise_annuity_unvested.returns",
                "enterprise_annuity.payouts",
                "personal_pension.payouts",
                "commercial_pension.payouts",
                "payouts",
                "payout_tax",
                "income",
            },
        ),
    ],
)
def test_each_lever_changes_what_it_must_and_nothing_else(
    pulled: dict[str, Any], must: set[str], may: set[str]
) -> None:
    """Against the plan without levers; the purse and savings follow."""
    found = changed(planned(), planned(pulled=levers(**pulled)))
    assert must <= found
    assert found <= must | may | SAVINGS | {"shortfall"}


def test_a_month_beyond_the_plan_is_refused_by_name() -> None:
    """The range is told."""
    with pytest.raises(AnswerRefused, match=r"lump_need.month: .*2026-12 to 2091-06"):
        planned(pulled=levers(lump_need={"month": "2026-11", "amount_fen": 1}))
    with pytest.raises(AnswerRefused, match=r"break_in_work.start: .*2026-12 .* 2054-06"):
        planned(pulled=levers(break_in_work={"start": "2060-01", "months": 1}))
    with pytest.raises(AnswerRefused, match="contribute_until"):
        planned(pulled=levers(contribute_until="2020-01"))
    with pytest.raises(AnswerRefused, match="monthly_wage_fen"):
        planned(answers(employment="none", **NO_PLAN))


def test_an_area_without_rows_asks_for_its_base_and_bounds() -> None:
    """No value of another area is taken."""
    bare = {"area": "CN-54", "benefit_base_fen": None}
    with pytest.raises(AnswerRefused, match="give benefit_base_fen"):
        planned(answers(**bare))
    bare = {"area": "CN-54", "base_floor_fen": None, "base_cap_fen": None}
    with pytest.raises(AnswerRefused, match="give base_floor_fen and base_cap_fen"):
        planned(answers(**bare))


def test_values_that_were_published_last_are_carried_forward_and_marked() -> None:
    """fp.B and fp.base of Beijing ended before the plan's day."""
    found = planned(answers(benefit_base_fen=None, base_floor_fen=None, base_cap_fen=None))
    carried = {each.rule for each in found.cited if each.carried_forward}
    assert carried == {"fp.B", "fp.base"}
    assert planned().summary.first_pension_fen == found.summary.first_pension_fen


def test_every_rule_that_an_amount_comes_from_is_cited() -> None:
    """Once each."""
    cited = [each.rule for each in planned(pulled=levers(pp_yearly_fen=1_200_000)).cited]
    assert {
        "ret.age",
        "fp.rate.employee",
        "ea.cap.employer",
        "ea.vest.employer",
        "an.tax.in.employee",
        "an.tax.out.monthly",
        "pp.cap.year",
        "pp.tax.in",
        "pp.tax.out",
        "cp.tax",
        "tax.annual",
        "tax.monthly",
        "iit.taxable",
        "iit.withholding",
        "iit.exempt",
    } <= set(cited)


def test_monthly_growth_compounds_to_the_year() -> None:
    """The twelfth root, to a part in 10**9."""
    for rate in ("0.05", "0.02", "-0.03", "0.12", "0"):
        months = grown(PARTS, monthly_parts(Decimal(rate)), 12)[-1]
        assert abs(months - int((1 + Decimal(rate)) * PARTS)) <= 12


def test_a_january_index_rises_in_each_january_after_its_start() -> None:
    """Not in its first month, even if that is a January."""
    chance = random.Random(11)  # noqa: S311 - months to try, no secrets
    for _ in range(scaled(200)):
        start, january = chance.randrange(100), chance.randrange(12)
        index = january_index(10**8, start, january, 130).tolist()
        value = PARTS
        for t in range(130):
            if t > start and t % 12 == january:
                value = (value * 11 + 5) // 10
            assert index[t] == value
    assert price_index(0, 3).tolist() == [PARTS] * 3


def test_years_add_up_to_the_months() -> None:
    """The roll-up loses nothing, and ends where the months end."""
    found = planned(pulled=levers(pp_yearly_fen=1_200_000))
    rows = yearly(found.outlook, found.flows)
    purse = found.flows.household
    assert sum(each.months for each in rows) == found.outlook.months
    assert [each.year for each in rows] == list(range(2026, 2092))
    assert rows[0].months == 1
    for name in ("wage_fen", "income_fen", "wage_tax_fen", "consumption_fen"):
        assert sum(getattr(each, name) for each in rows) == getattr(purse, name).sum()
    assert rows[-1].closing_fen == {flow.code: int(flow.closing_fen[-1]) for flow in found.flows.pots}
    assert rows[0].closing_fen["savings"] == found.flows.pots[-1].closing_fen[0]


def test_the_summary_says_what_the_months_say() -> None:
    """The first twelve months of retirement against the last twelve of work."""
    found = planned()
    outlook, purse, said = found.outlook, found.flows.household, found.summary
    there = slice(outlook.first_retired, outlook.first_retired + 12)
    # The settlement of the last year's wage tax comes back in the December after, and is no income to live on.
    assert purse.wage_tax_fen[there].sum() < 0
    net = purse.pension_fen + purse.payouts_fen - purse.payout_tax_fen
    assert said.first_income_fen == half_up(int(net[there].sum()), 1, 12)
    assert sum(said.first_income_by_pillar_fen.values()) == pytest.approx(said.first_income_fen, abs=3)
    assert said.first_pension_fen == purse.pension_fen[outlook.first_retired]
    assert said.last_net_wage_fen is not None
    assert Decimal(said.replacement or "0") == pytest.approx(
        Decimal(said.first_income_fen or 0) / said.last_net_wage_fen, abs=Decimal("0.0001")
    )
    assert (said.first_income_today_fen or 0) < (said.first_income_fen or 0)
    assert said.wage_tax_fen == purse.wage_tax_fen.sum()


def test_a_plan_of_nothing_is_a_plan() -> None:
    """An empty sheet and the least of answers, where the rules hold the area."""
    found = planned(Answers.model_validate({"birth": "1990-01", "category": "F55", "area": "CN-11"}), held=EMPTY)
    assert [pot.code for pot in found.outlook.pots] == ["first_pillar", "savings"]
    assert found.summary.last_net_wage_fen in {None, *range(-200_000, 1)}
