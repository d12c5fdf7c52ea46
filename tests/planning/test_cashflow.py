"""The exact run: money is conserved in every month, and constant returns agree with the closed formulas.

Invariants are those of `ledger.planning.cashflow`.
"""

import random
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest

from ledger.domain.calculators.annuities import payout_tax_fen
from ledger.domain.calculators.income_tax import MonthWages, annual_tax, withholding
from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.cashflow import half_up, run, wage_tax
from ledger.planning.flows import PotFlows
from ledger.planning.outlook import Whole, tax_fen
from ledger.planning.plan import Plan
from tests.planning.persons import EMPTY, PLAN_DAY, account, answers, assuming, levers, planned, sheet
from tests.scale import scaled

FORMS: list[dict[str, Any]] = [
    {"form": "monthly"},
    {"form": "fixed_months", "months": 77},
    {"form": "fixed_amount", "amount_fen": 1_234_567},
    {"form": "quarterly"},
    {"form": "yearly"},
    {"form": "lump_sum"},
]
ZERO = {"enterprise_annuity_fee": "0", "personal_pension_fee": "0", "commercial_pension_fee": "0"}


def flow(found: Plan, code: str) -> PotFlows:
    return next(each for each in found.flows.pots if each.code == code)


def assert_conserved(found: Plan) -> None:
    """Invariants 1, 2 and 3, in every month."""
    forfeited = 0
    moved = np.zeros(found.outlook.months, np.int64)
    for each in found.flows.pots:
        came = each.contributions_fen + each.returns_fen + each.transfers_fen
        assert (each.opening_fen + came - each.fees_fen - each.payouts_fen == each.closing_fen).all(), each.code
        assert (each.opening_fen[1:] == each.closing_fen[:-1]).all(), each.code
        assert min(each.closing_fen.min(), each.payouts_fen.min(), each.fees_fen.min(), each.tax_fen.min()) >= 0
        moved += each.transfers_fen
    assert (moved <= 0).all()
    forfeited = -int(moved.sum())
    assert (forfeited > 0) <= ("unvested_part_forfeited" in found.notes)
    purse = found.flows.household
    came = purse.wage_fen + purse.pension_fen + purse.payouts_fen
    taken = purse.wage_tax_fen + purse.payout_tax_fen + purse.own_contributions_fen + purse.other_withheld_fen
    assert (came - taken == purse.income_fen).all()
    assert (came + purse.draws_fen == taken + purse.consumption_fen + purse.deposits_fen).all()
    retired = np.arange(found.outlook.months) > found.outlook.retirement
    short = purse.need_fen + purse.lump_fen - purse.shortfall_fen
    assert (purse.consumption_fen == short)[retired].all()
    assert (purse.payouts_fen == sum(each.payouts_fen for each in found.flows.pots[1:-1])).all()
    own = found.outlook.own_contributions_fen
    assert (own <= found.outlook.contributions_fen).all()


def any_sheet(chance: random.Random) -> BalanceSheet:
    shapes = {
        "enterprise_annuity": {"employee": 1, "employer_vested": 1, "employer_unvested": 1},
        "occupational_annuity": {"employee": 1, "employer_real": 1, "employer_book": 1},
        "group_pension": {"voluntary": 1, "employer_unvested": 1},
        "retained_account": {"employee": 1},
        "personal_pension": {"own": 1},
        "commercial_pension": {"locked": 1},
    }
    held = [product for product in shapes if chance.random() < 0.6]
    return sheet(
        {
            product: [
                account(f"{product}{n}", product, {part: chance.randrange(10**7) for part in shapes[product]})
                for n in range(chance.randint(1, 2))
            ]
            for product in held
        }
    )


def any_case(chance: random.Random) -> Plan:
    """A person and levers, all at random but lawful."""
    employment = chance.choice(["enterprise", "public", "flexible", "none"])
    birth = f"{chance.randint(1955, 2005)}-{chance.randint(1, 12):02d}"
    said = answers(
        birth=birth,
        category=chance.choice(["M", "F55", "F50"]),
        employment=employment,
        monthly_wage_fen=0 if employment == "none" else chance.randrange(5_000_000),
        paid_months=chance.randrange(400),
        ea_employer_rate=Decimal("0.08") if employment == "enterprise" else Decimal(0),
        ea_employee_rate=Decimal("0.04") if employment == "enterprise" else Decimal(0),
        ea_vesting=answers().ea_vesting if chance.random() < 0.5 else (),
        oa_employer_part=chance.choice([None, "real", "book"]),
        taxed_before_2014_share=chance.choice([Decimal(0), Decimal("0.125")]),
        first_pillar_account_fen=chance.randrange(10**7),
        liquid_savings_fen=chance.randrange(10**7),
        monthly_need_fen=chance.randrange(10**6),
        pension_in_payment_fen=chance.randrange(10**6) if birth < "1965" else None,
    )
    younger = int(birth[:4]) > 1980
    pulled = levers(
        pp_yearly_fen=chance.choice([0, 700_001, 1_200_000]) if younger else 0,
        pp_month=chance.randint(1, 12),
        saving_monthly_fen=chance.randrange(10**5),
        return_shift=Decimal(chance.randint(-400, 400)) / 10**4,
        payouts={
            "enterprise_annuity": chance.choice(FORMS),
            "personal_pension": chance.choice(FORMS),
            "commercial_pension": chance.choice(FORMS),
            "group_pension": chance.choice(FORMS),
        },
        contribute_until=f"{chance.randint(2027, 2032)}-05" if younger and chance.random() < 0.3 else None,
        break_in_work={"start": "2028-03", "months": 20, "pays_first_pillar": True, "monthly_need_fen": 300_000}
        if younger and chance.random() < 0.5
        else None,
        lump_need={"month": "2035-07", "amount_fen": chance.randrange(1, 10**8)} if chance.random() < 0.5 else None,
    )
    assumed = assuming(
        personal_pension_credited=chance.choice(["monthly", "yearly"]),
        savings_credited=chance.choice(["monthly", "yearly"]),
        inflation=str(Decimal(chance.randint(-100, 500)) / 10**4),
        enterprise_annuity=str(Decimal(chance.randint(-500, 900)) / 10**4),
    )
    return planned(said, pulled, held=any_sheet(chance), assumed=assumed)


@pytest.mark.parametrize("seed", range(scaled(300)))
def test_money_is_conserved_in_every_month_pot_and_purse(seed: int) -> None:
    """Invariants 1 to 3, for lives at random."""
    assert_conserved(any_case(random.Random(seed)))  # noqa: S311 - lives to try, no secrets


def test_the_same_question_gives_the_same_plan() -> None:
    """Nothing is drawn, and nothing is kept from plan to plan."""
    one, other = planned(), planned()
    assert one.summary == other.summary
    assert all((a.closing_fen == b.closing_fen).all() for a, b in zip(one.flows.pots, other.flows.pots, strict=True))


def test_twelve_thousand_at_each_year_start_for_thirty_years_at_five_percent() -> None:
    """RULES.md section 11: 837,129.48. A payment in December earns from the next January on, as one at the year's start."""
    held = sheet({"personal_pension": [account("PP1", "personal_pension", {"own": 1_200_000})]})
    found = planned(
        answers(birth="1995-12", ea_employer_rate=0, ea_employee_rate=0),
        levers(pp_yearly_fen=1_200_000, pp_month=12),
        held=held,
        assumed=assuming(personal_pension="0.05", personal_pension_credited="yearly", personal_pension_fee="0"),
        on=PLAN_DAY.replace(month=12),
    )
    assert found.outlook.start == "2027-01"
    pot = flow(found, "personal_pension")
    # After thirty years, before the payment that opens the thirty-first.
    assert pot.closing_fen[30 * 12 - 1] - pot.contributions_fen[30 * 12 - 1] == 83_712_948


def test_a_level_annuity_empties_as_the_formula_says() -> None:
    """The present value of the payments at the monthly rate is the balance; months of payment follow from it."""
    held = sheet({"personal_pension": [account("PP1", "personal_pension", {"own": 10_000_000})]})
    found = planned(
        answers(birth="1963-01", employment="none", monthly_wage_fen=0, ea_employer_rate=0, ea_employee_rate=0),
        held=held,
        assumed=assuming(personal_pension="0.03", personal_pension_fee="0"),
    )
    pot = flow(found, "personal_pension")
    paid = pot.payouts_fen[pot.payouts_fen > 0]
    rate = found.outlook.pots[1].monthly_return / 10**9
    # Paid at the end of each month: B (1 + i) opens the first payment.
    months = -np.log(1 - 10_000_000 * rate / float(paid[0])) / np.log(1 + rate)
    assert len(paid) == int(np.ceil(months - 1e-9))
    assert (paid[:-1] == paid[0]).all()
    assert 0 < paid[-1] <= paid[0]
    worth = float((paid / (1 + rate) ** np.arange(1, len(paid) + 1)).sum())
    assert worth == pytest.approx(10_000_000, abs=len(paid))


def test_without_returns_monthly_payments_last_as_long_as_the_payout_months() -> None:
    """Balance / M each month: with nothing earned, M months, rounded up."""
    found = planned(assumed=assuming(enterprise_annuity="0", personal_pension="0", commercial_pension="0", **ZERO))
    divisor = Fraction(found.outlook.pots[2].payout.divisor, found.outlook.pots[2].payout.divisor_of)  # type: ignore[union-attr]
    for code in ("enterprise_annuity", "personal_pension"):
        assert np.count_nonzero(flow(found, code).payouts_fen) in {ceil(divisor), ceil(divisor) + 1}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["form"])
def test_each_form_pays_everything_out_and_taxes_each_payment(form: dict[str, Any]) -> None:
    """EA by its form, each payment by itself (an.tax.out.*); what is paid is all that came."""
    found = planned(pulled=levers(payouts={"enterprise_annuity": form}))
    pot = flow(found, "enterprise_annuity")
    first = found.outlook.first_retired
    paid = pot.payouts_fen
    assert not paid[:first].any()
    assert pot.closing_fen[-1] == 0
    assert paid.sum() == pot.opening_fen[first] + (pot.returns_fen - pot.fees_fen)[first:].sum()
    name = {"quarterly": "quarterly", "yearly": "yearly", "lump_sum": "lump_other"}.get(form["form"], "monthly")
    rules = Rules(PLAN_DAY, "CN-11")
    for t in np.flatnonzero(paid)[[0, -1]]:
        assert pot.tax_fen[t] == payout_tax_fen(name, int(paid[t]), rules)  # type: ignore[arg-type]
    count = {"lump_sum": 1, "fixed_months": 77}.get(form["form"])
    if count is not None:
        assert np.count_nonzero(paid) == count
    gaps = set(np.diff(np.flatnonzero(paid)).tolist())
    assert gaps <= {{"quarterly": 3, "yearly": 12}.get(form["form"], 1)}


def test_the_year_of_wage_tax_is_what_the_calculator_withholds_and_settles() -> None:
    """Each month by the calculator of withholding; December settles the year."""
    found = planned(pulled=levers(pp_yearly_fen=1_200_000, pp_month=3))
    rules = Rules(PLAN_DAY, "CN-11")
    outlook, tax = found.outlook, found.flows.household.wage_tax_fen
    for year in (2027, 2040, 2054):
        there = np.flatnonzero(outlook.year == year)
        months = [MonthWages(int(outlook.wage_fen[t]), int(outlook.deductions_fen[t])) for t in there]
        expected = withholding(months, rules)
        *before, december = expected.months_fen
        assert tax[there].tolist() == [*before, december + expected.settlement_fen]
        assert tax[there].sum() == expected.tax_fen


def test_the_months_before_the_plan_are_taken_to_be_like_its_first() -> None:
    """December alone pays what eleven like months and the payments known from the facts leave of the year's tax."""
    said = answers(ea_employer_rate=0, ea_employee_rate=0)
    found = planned(said, used_this_year_fen=500_000, held=EMPTY)
    outlook = found.outlook
    year = 12 * (outlook.wage_fen[0] - outlook.deductions_fen[0]) - 500_000 - 6_000_000
    eleven = 11 * (outlook.wage_fen[0] - outlook.deductions_fen[0]) - 500_000 - 11 * 500_000
    rules = Rules(PLAN_DAY, "CN-11")
    whole = annual_tax(int(year), rules) - annual_tax(int(eleven), rules)
    assert found.flows.household.wage_tax_fen[0] == whole


def test_tables_as_arrays_give_the_tax_of_the_calculator() -> None:
    """Invariant 4: each tax half up, at and around every bound."""
    rules = Rules(PLAN_DAY)
    table = planned().outlook.wage_tax
    chance = random.Random(5)  # noqa: S311 - amounts to try, no secrets
    amounts = [bound + step for bound in table.up_to_fen[:-1].tolist() for step in (-1, 0, 1)]
    amounts += [chance.randrange(10**9) for _ in range(scaled(1000))]
    assert tax_fen(table, np.array(amounts)).tolist() == [annual_tax(amount, rules) for amount in amounts]
    assert tax_fen(table, np.array([-5, 0])).tolist() == [0, 0]


def test_a_group_pension_is_taxed_with_wages() -> None:
    """gp.tax: its payouts are income of the year; nothing is taxed apart."""
    held = sheet({"group_pension": [account("GP1", "group_pension", {"voluntary": 300_000_000})]})
    found = planned(answers(ea_employer_rate=0, ea_employee_rate=0), held=held)
    pot, outlook = flow(found, "group_pension"), found.outlook
    assert not pot.tax_fen.any()
    there = outlook.year == int(outlook.year[outlook.first_retired]) + 1
    expected = annual_tax(int(pot.payouts_fen[there].sum()) - 6_000_000, Rules(PLAN_DAY))
    assert found.flows.household.wage_tax_fen[there].sum() == expected > 0


def test_a_commercial_pension_is_not_taxed_and_opens_at_sixty() -> None:
    """cp.tax and cp.out.locked: a woman who retires at 55 waits for it."""
    found = planned(answers(category="F50"))
    pot = flow(found, "commercial_pension")
    first = int(np.flatnonzero(pot.payouts_fen)[0])
    assert found.outlook.age_months[first] == 60 * 12
    assert found.outlook.age_months[found.outlook.retirement] < 60 * 12
    assert not pot.tax_fen.any()


def test_the_personal_pension_pays_three_percent_of_each_payout() -> None:
    """pp.tax.out, half up to fen."""
    pot = flow(planned(), "personal_pension")
    assert pot.tax_fen.tolist() == [half_up(paid, 3, 100) for paid in pot.payouts_fen.tolist()]


def test_the_account_part_is_paid_by_the_account_until_it_is_empty_and_then_by_the_pool() -> None:
    """The pension does not fall when the personal account is empty."""
    found = planned()
    purse = found.flows.household
    from_account, pension = purse.pension_from_account_fen, purse.pension_fen
    last = int(np.flatnonzero(from_account)[-1])
    assert last < found.outlook.months - 1
    assert flow(found, "first_pillar").closing_fen[last] == 0
    assert pension[last + 1] >= pension[last] > 0


def test_pensions_in_payment_rise_in_each_january() -> None:
    """By the assumption, half up, and in no other month."""
    found = planned()
    pension, outlook = found.flows.household.pension_fen, found.outlook
    start = outlook.pension.start
    for t in range(start + 1, outlook.months):
        assert (pension[t] > pension[t - 1]) == (outlook.month[t] == 1)
    january = start + int(np.flatnonzero(outlook.month[start:] == 1)[0])
    assert pension[january] == half_up(int(pension[start]), 102, 100)


def test_needs_are_met_from_income_then_savings_and_the_rest_is_short() -> None:
    """Step 8 of the month, with savings that end."""
    found = planned(answers(monthly_need_fen=6_000_000, liquid_savings_fen=5_000_000))
    purse, savings = found.flows.household, flow(found, "savings")
    short = np.flatnonzero(purse.shortfall_fen)
    assert len(short)
    assert (savings.closing_fen[short] == 0).all()
    assert found.summary.shortfall_from is not None
    assert found.summary.runs_empty["savings"] == found.summary.shortfall_from
    retired = np.arange(found.outlook.months) >= found.outlook.first_retired
    assert (purse.income_fen + purse.draws_fen + purse.shortfall_fen >= purse.need_fen)[retired].all()


def test_wage_tax_of_no_wage_is_nothing() -> None:
    """Neither before nor after retirement."""
    found = planned(answers(employment="none", monthly_wage_fen=0, ea_employer_rate=0, ea_employee_rate=0))
    nothing: Whole = np.zeros(found.outlook.months, np.int64)
    assert not wage_tax(found.outlook, nothing).any()
    assert run(found.outlook).household.wage_fen.sum() == 0
