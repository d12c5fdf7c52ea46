"""Scenarios side by side: the parts of a difference add up to it to the fen, and each part is what it is said to be.

Invariants are those of `ledger.planning.scenarios` and of `ledger.planning.lasting`.
"""

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from ledger.domain.rules import RuleRefused
from ledger.planning.answers import AnswerRefused, Levers
from ledger.planning.assumptions import ASSUMPTIONS, HELD
from ledger.planning.cashflow import run
from ledger.planning.lasting import lasting_today_fen
from ledger.planning.scenarios import (
    ASSUMED,
    MAX_SCENARIOS,
    MEASURES,
    PARTED,
    Scenario,
    ScenariosRefused,
    changed,
    compare,
    measures,
    untaxed,
    without_returns,
)
from tests.planning.asking import question, retired
from tests.planning.outlooks import outlook
from tests.planning.persons import EMPTY, answers, assuming
from tests.scale import scaled

NOW = Scenario(label="as now")
PENSION = Scenario(label="personal pension", levers=Levers(pp_yearly_fen=1_200_000))
LATER = Scenario(label="later", levers=Levers(retirement_month="2056-06"))
FOUR = (
    NOW,
    PENSION,
    LATER,
    Scenario(label="high", levers=Levers(return_shift=Decimal("0.01")), assumed={"inflation": Decimal("0.03")}),
)


def any_scenario(chance: random.Random, label: str) -> Scenario:
    """A change that is lawful for the person of `answers()`."""
    forms = [
        {"form": "monthly"},
        {"form": "lump_sum"},
        {"form": "fixed_months", "months": chance.randrange(12, 400)},
        {"form": "fixed_amount", "amount_fen": chance.randrange(10_000, 2_000_000)},
        {"form": "yearly"},
    ]
    pulled: dict[str, Any] = {
        "pp_yearly_fen": chance.randrange(0, 1_200_001),
        "saving_monthly_fen": chance.randrange(0, 500_000),
        "return_shift": Decimal(chance.randrange(-200, 300)) / 10**4,
        "retirement_age_months": chance.randrange(720, 793),
        "payouts": {"enterprise_annuity": chance.choice(forms), "personal_pension": chance.choice(forms)},
        "break_in_work": {"start": "2030-03", "months": chance.randrange(1, 60)},
        "lump_need": {"month": "2040-05", "amount_fen": chance.randrange(1, 30_000_000)},
    }
    taken = {name: value for name, value in pulled.items() if chance.random() < 0.5}
    rates = {name: Decimal(chance.randrange(-50, 500)) / 10**4 for name in ASSUMED if chance.random() < 0.2}
    return Scenario(label=label, levers=Levers.model_validate(taken), assumed=rates)


class TestParts:
    def test_the_parts_add_up_to_the_difference(self) -> None:
        """Invariant 1, for every measure and for what was asked first."""
        chance = random.Random(3)  # noqa: S311 - reproducible, not secret
        for _ in range(scaled(60)):
            found = compare(question(), [any_scenario(chance, "one"), any_scenario(chance, "two")])
            first, second = (life.measures for life in found.lives)
            for name in PARTED:
                parts = found.differences[0].parted[name]
                assert parts.total == parts.of_taxes + parts.of_returns + parts.rest
                assert parts.total == getattr(second, name) - getattr(first, name)

    def test_taxes_of_a_lifetime_are_those_that_are_not_paid(self) -> None:
        """Invariant 2."""
        found = compare(question(), FOUR)
        for life, difference in zip(found.lives[1:], found.differences, strict=True):
            less = -difference.tax_in_work_today_fen - difference.tax_in_retirement_today_fen
            parts = difference.parted["lifetime_income_today_fen"]
            assert abs(parts.of_taxes - less) <= 2 * life.plan.outlook.months
            assert parts.of_taxes != 0

    def test_the_other_order_has_the_other_sign(self) -> None:
        """Invariant 3."""
        there = compare(question(), [NOW, PENSION]).differences[0]
        back = compare(question(), [PENSION, NOW]).differences[0]
        for name in PARTED:
            one, other = there.parted[name], back.parted[name]
            assert (one.total, one.of_taxes, one.of_returns, one.rest) == (
                -other.total,
                -other.of_taxes,
                -other.of_returns,
                -other.rest,
            )

    def test_a_scenario_against_itself_has_no_difference(self) -> None:
        same = Scenario(label="same", levers=Levers(), assumed={})
        difference = compare(question(), [NOW, same]).differences[0]
        assert all(parts.total == parts.of_taxes == parts.of_returns == 0 for parts in difference.parted.values())
        assert set(difference.at_retirement_by_pot_fen.values()) == {0}
        assert set(difference.empty_later_months.values()) == {0}

    def test_another_return_alone_has_no_rest(self) -> None:
        """Where only returns differ, the bare worlds are the same."""
        more = Scenario(label="more", levers=Levers(return_shift=Decimal("0.01")))
        parted = compare(question(), [NOW, more]).differences[0].parted
        assert all(parts.rest == 0 for parts in parted.values())
        assert parted["at_retirement_fen"].of_returns > 0
        assert parted["first_income_fen"].of_taxes < 0

    def test_without_returns_the_difference_of_a_contribution_is_the_contribution(self) -> None:
        """What is paid in, and nothing else, is the rest of the balance at retirement: 29 years of 12,000 yuan."""
        difference = compare(question(), [NOW, PENSION]).differences[0]
        balance = difference.parted["at_retirement_fen"]
        assert balance.rest == 29 * 1_200_000
        assert balance.of_taxes == 0
        assert balance.of_returns > 0
        assert difference.tax_in_work_fen < 0 < difference.tax_in_retirement_fen

    def test_the_exit_tax_is_the_tax_part_of_the_first_income(self) -> None:
        """3 % of what the personal pension pays more, to the fen of its roundings."""
        parts = compare(question(), [NOW, PENSION]).differences[0].parted["first_income_fen"]
        assert abs(parts.of_taxes + (parts.of_returns + parts.rest) * 3 // 100) <= 1


class TestWorlds:
    def test_nothing_is_taxed_in_the_untaxed_world(self) -> None:
        life = outlook()
        purse = run(untaxed(life)).household
        assert run(life).household.wage_tax_fen.sum() > 0
        assert not purse.wage_tax_fen.any()
        assert not purse.payout_tax_fen.any()

    def test_nothing_earns_or_pays_fees_in_the_bare_world(self) -> None:
        for flow in run(without_returns(outlook())).pots:
            assert not flow.returns_fen.any()
            assert not flow.fees_fen.any()

    def test_contributions_and_pensions_stay(self) -> None:
        life = outlook()
        plain, bare = run(life), run(without_returns(untaxed(life)))
        assert (plain.household.own_contributions_fen == bare.household.own_contributions_fen).all()
        assert (plain.household.wage_fen == bare.household.wage_fen).all()
        assert all(
            (one.contributions_fen == other.contributions_fen).all()
            for one, other in zip(plain.pots[:-1], bare.pots[:-1], strict=True)
        )


class TestMeasures:
    def test_taxes_of_work_and_retirement_are_all_taxes(self) -> None:
        life = outlook()
        flows = run(life)
        found = measures(life, flows)
        purse = flows.household
        everything = int((purse.wage_tax_fen + purse.payout_tax_fen).sum())
        assert found.tax_in_work_fen + found.tax_in_retirement_fen == everything
        assert found.tax_in_work_fen == int(purse.wage_tax_fen[: life.retirement + 1].sum())

    def test_balances_at_retirement_are_the_closings_of_that_month(self) -> None:
        life = compare(question(), [NOW]).lives[0]
        at = life.plan.outlook.retirement
        assert life.at_retirement_by_pot_fen == {flow.code: int(flow.closing_fen[at]) for flow in life.plan.flows.pots}
        assert life.measures.at_retirement_fen == sum(life.at_retirement_by_pot_fen.values())

    def test_an_empty_pot_is_told_by_her_age(self) -> None:
        life = compare(question(), [NOW]).lives[0]
        assert life.plan.summary.runs_empty["commercial_pension"] == "2065-11"
        assert life.empty_age_months["commercial_pension"] == 74 * 12 + 5

    def test_of_who_has_retired_the_opening_balances_count(self) -> None:
        said = retired(birth="1960-01")
        life = compare(question(said), [NOW]).lives[0]
        assert life.plan.outlook.retirement == -1
        assert life.measures.at_retirement_fen == sum(pot.opening_fen for pot in life.plan.outlook.pots)
        assert life.measures.tax_in_work_fen == 0

    def test_without_inflation_today_is_the_day_itself(self) -> None:
        found = compare(question(assumed=assuming(inflation="0")), [NOW]).lives[0].measures
        assert found.first_income_fen == found.first_income_today_fen
        assert found.at_retirement_fen == found.at_retirement_today_fen
        assert found.tax_in_work_fen == found.tax_in_work_today_fen


class TestLasting:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"need_yuan": 0},
            {"retire_years": 60, "age_years": 58},
            {"aside_yuan": 0, "start_month": 3},
            {"wage_yuan": 4_000},
        ],
    )
    def test_she_can_spend_this_and_not_a_fen_more(self, changes: dict[str, Any]) -> None:
        """Invariant 1 of lasting, by the exact run."""
        life = outlook(**changes)
        most = lasting_today_fen(life, run(life))
        for need, short in ((most, False), (most + 1, True)):
            needs = np.where(np.arange(life.months) > life.retirement, need, 0)
            purse = run(replace(life, need_today_fen=needs)).household
            assert bool(purse.shortfall_fen[life.first_retired :].any()) is short

    @pytest.mark.parametrize(("rate", "credited"), [("0.012", "monthly"), ("0.03", "yearly"), ("-0.02", "yearly")])
    def test_it_carries_parts_of_a_fen_and_credits_as_the_exact_run_does(self, rate: str, credited: str) -> None:
        """Invariant 1 of lasting, also where savings are credited yearly, and where a part of a fen decides."""
        lump = {"month": "2045-01", "amount_fen": 5_000_000}
        assumed = assuming(savings=rate, savings_credited=credited)
        found = question(assumed=assumed, lump_need=lump).plan()
        most = lasting_today_fen(found.outlook, found.flows)
        for need, short in ((most, False), (most + 1, True)):
            said = answers(monthly_need_fen=need)
            purse = question(said, assumed=assumed, lump_need=lump).plan().flows.household
            assert bool(purse.shortfall_fen[found.outlook.first_retired :].any()) is short

    def test_a_lump_that_nothing_covers_leaves_nothing(self) -> None:
        life = outlook()
        lump = life.lump_today_fen.copy()
        lump[life.first_retired] = 10**12
        life = replace(life, lump_today_fen=lump)
        assert lasting_today_fen(life, run(life)) == 0

    def test_it_does_not_depend_on_what_she_says_she_needs(self) -> None:
        one = compare(question(answers(monthly_need_fen=0)), [NOW]).lives[0].measures.lasting_today_fen
        other = compare(question(answers(monthly_need_fen=3_000_000)), [NOW]).lives[0].measures.lasting_today_fen
        assert one == other > 0


class TestScenarios:
    def test_four_lives_stand_side_by_side(self) -> None:
        found = compare(question(), FOUR)
        assert [life.label for life in found.lives] == [each.label for each in FOUR]
        assert [each.label for each in found.differences] == [each.label for each in FOUR[1:]]
        assert all(life.plan.position == 77 for life in found.lives)

    def test_a_life_is_the_plan_that_is_asked_for_alone(self) -> None:
        life = compare(question(), [NOW, PENSION]).lives[1]
        assert life.plan.summary == question(pp_yearly_fen=1_200_000).plan().summary

    def test_levers_that_are_not_given_stay_as_in_the_question(self) -> None:
        asked = question(saving_monthly_fen=300_000, retirement_age_months=730)
        levers = LATER.of(asked).levers
        assert levers.saving_monthly_fen == 300_000
        assert (levers.retirement_month, levers.retirement_age_months) == ("2056-06", None)
        back = Scenario(label="age", levers=Levers(retirement_age_months=740)).of(LATER.of(asked)).levers
        assert (back.retirement_month, back.retirement_age_months) == (None, 740)

    @pytest.mark.parametrize("name", ASSUMED)
    def test_every_rate_can_be_another_and_says_so(self, name: str) -> None:
        other = changed(ASSUMPTIONS, {name: Decimal("0.0123")})
        of, _, product = name.partition(".")
        if product in HELD:
            earning = other.products[product]
            found = earning.yearly_return if of == "return" else earning.yearly_fee
        else:
            found = getattr(other, name)
        assert found.value == Decimal("0.0123")
        assert found.kind == "assumption"
        kept = ASSUMPTIONS.model_dump()
        differing = [key for key, value in other.model_dump().items() if value != kept[key]]
        assert differing == (["products"] if product in HELD else [name])

    @pytest.mark.parametrize("labels", [[], ["a"] * 2, ["a", "b", "c", "d", "e"]])
    def test_one_to_four_each_with_a_name_of_its_own(self, labels: list[str]) -> None:
        assert MAX_SCENARIOS == 4
        with pytest.raises(ScenariosRefused, match="1 to 4"):
            compare(question(), [Scenario(label=label) for label in labels])

    @pytest.mark.parametrize("said", [{"label": ""}, {"label": "a."}, {"label": "a", "assumed": {"luck": "0.1"}}])
    def test_what_cannot_be_said_or_is_not_known_is_refused(self, said: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Scenario.model_validate(said)

    def test_a_refusal_says_of_which_scenario_it_is(self) -> None:
        beyond = Scenario(label="beyond", levers=Levers(retirement_age_months=900))
        with pytest.raises(RuleRefused) as refused:
            compare(question(), [NOW, beyond])
        assert refused.value.rule == "ret.flex.late"
        assert refused.value.detail["scenario"] == "beyond"
        past = Scenario(
            label="past", levers=Levers.model_validate({"lump_need": {"month": "2020-01", "amount_fen": 1}})
        )
        with pytest.raises(AnswerRefused) as refused_answer:
            compare(question(), [NOW, past])
        assert refused_answer.value.field == "scenarios.1.levers.lump_need.month"

    def test_who_holds_nothing_can_compare_too(self) -> None:
        found = compare(question(answers(ea_vesting=[]), held=EMPTY), [NOW, PENSION])
        assert found.differences[0].at_retirement_by_pot_fen["personal_pension"] > 0

    def test_every_measure_that_is_no_tax_has_its_parts(self) -> None:
        found = compare(question(), [NOW, PENSION]).differences[0]
        assert tuple(found.parted) == PARTED
        assert set(MEASURES) - set(PARTED) == {name for name in MEASURES if name.startswith("tax_")}
