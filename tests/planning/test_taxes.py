"""What income, a payment into the personal pension, and payouts are taxed: the published examples through the one answer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain.rules import RuleRefused
from ledger.planning.taxes import Deductions, PayoutAsked, TaxQuestion, answer, part

DAY = date(2026, 11, 22)
CAP_FEN = 1_200_000


def asked(**fields: Any) -> TaxQuestion:
    return TaxQuestion(on=fields.pop("on", DAY), **fields)


@pytest.mark.parametrize(
    ("taxable_yuan", "before_yuan", "after_yuan"),
    [(200_000, 23_080, 20_680), (145_000, 12_080, 10_780)],
)
def test_the_printed_savings_of_12_000_yuan(taxable_yuan: int, before_yuan: int, after_yuan: int) -> None:
    """RULES.md section 11; wages above the basic 60,000."""
    found = answer(asked(wages_fen=(taxable_yuan + 60_000) * 100, personal_pension_fen=CAP_FEN))
    assert (found.income.taxable_fen, found.income.tax_fen) == (taxable_yuan * 100, before_yuan * 100)
    assert found.pension is not None
    assert found.pension.tax_after_fen == after_yuan * 100
    assert found.pension.net_fen == (before_yuan - after_yuan) * 100 - CAP_FEN * 3 // 100


def test_with_10_000_taxable_it_only_costs() -> None:
    """300 saved, 2,000 of the deduction lost, 360 later: 60 yuan lost (RULES.md section 11)."""
    found = answer(asked(wages_fen=7_000_000, personal_pension_fen=CAP_FEN)).pension
    assert found is not None
    assert (found.saved_fen, found.lost_deduction_fen, found.net_fen) == (30_000, 200_000, -6_000)


def test_business_income_has_its_own_table() -> None:
    """The whole 12,000 at 35 % saves 4,200 (RULES.md section 11)."""
    found = answer(asked(kind="business", business_taxable_fen=60_000_000, personal_pension_fen=CAP_FEN)).pension
    assert found is not None
    assert found.saved_fen == 420_000


@pytest.mark.parametrize(
    ("product", "form", "amount_yuan", "tax_yuan"),
    [
        ("enterprise_annuity", "yearly", 12_000, 360),
        ("occupational_annuity", "yearly", 48_000, 2_280),
        ("first_pillar", "monthly", 4_500, 0),
        ("enterprise_annuity", "monthly", 5_000, 290),
        ("enterprise_annuity", "quarterly", 15_000, 870),
        ("enterprise_annuity", "lump_settled_abroad", 100_000, 7_480),
        ("enterprise_annuity", "lump_other", 100_000, 29_840),
        ("personal_pension", "lump_other", 360_000, 10_800),
        ("commercial_pension", "monthly", 5_000, 0),
    ],
)
def test_payouts_are_taxed_by_product_and_real_form(product: Any, form: Any, amount_yuan: int, tax_yuan: int) -> None:
    """RULES.md section 11, each apart from all others."""
    payout = PayoutAsked(product=product, form=form, amount_fen=amount_yuan * 100)
    (found,) = answer(asked(payouts=(payout,))).payouts
    assert (found.tax_fen, found.net_fen) == (tax_yuan * 100, (amount_yuan - tax_yuan) * 100)


def test_contributions_taxed_before_2014_are_not_taxed_again() -> None:
    """5,000 a month, 20,000 of 100,000 taxed before: taxable 4,000, tax 190 (财税〔2013〕103号 point 3(2))."""
    payout = PayoutAsked(
        product="enterprise_annuity",
        amount_fen=500_000,
        taxed_before_2014_fen=2_000_000,
        contributions_fen=10_000_000,
    )
    assert answer(asked(payouts=(payout,))).payouts[0].tax_fen == 19_000


def test_what_is_withheld_in_the_months_is_the_tax_of_the_year() -> None:
    """累计预扣法: the twelve months add up, and parts that twelve does not divide do too."""
    question = asked(wages_fen=24_000_001, deductions=Deductions(child_months=12, elderly_months=12))
    found = answer(question).income
    assert found.special_additional_fen == {"iit.sad.child": 2_400_000, "iit.sad.elderly": 3_600_000}
    assert found.withheld_fen is not None
    assert sum(found.withheld_fen) == found.tax_fen
    assert sum(part(24_000_001, month) for month in range(12)) == 24_000_001


def test_the_answer_names_every_rule_and_what_is_open() -> None:
    """Values of confidence C are marked where they influence a number."""
    payout = PayoutAsked(product="commercial_pension", amount_fen=100)
    found = answer(asked(wages_fen=10_000_000, payouts=(payout,))).basis
    assert {"tax.annual", "iit.taxable", "cp.tax"} <= {each.rule for each in found.rules}
    assert any("cp.tax" in point for point in found.open_points)


def test_a_rule_that_was_not_in_force_is_named() -> None:
    """Before the first row nothing is extrapolated."""
    with pytest.raises(RuleRefused) as refused:
        answer(asked(on=date(2021, 12, 31), wages_fen=10_000_000, personal_pension_fen=100))
    assert refused.value.reason == "rule_not_in_force"
    assert refused.value.rule.startswith("pp.")


def test_above_the_cap_the_payment_is_refused_whole() -> None:
    with pytest.raises(RuleRefused) as refused:
        answer(asked(wages_fen=10_000_000, personal_pension_fen=CAP_FEN + 1))
    assert (refused.value.rule, refused.value.reason) == ("pp.cap.year", "condition_not_met")


@pytest.mark.parametrize(
    "fields",
    [
        {"wages_fen": -1},
        {"wages_fen": 1.5},
        {"wages_fen": True},
        {"kind": "business", "wages_fen": 1},
        {"business_taxable_fen": 1},
        {"colour": "red"},
        {"area": "Beijing"},
    ],
)
def test_a_question_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**fields)
