"""Income tax: the tables, what is taxable, special additional deductions, the bonus, and withholding through a year."""

from collections.abc import Callable
from datetime import date
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.calculators.income_tax import (
    MonthWages,
    YearIncome,
    annual_tax,
    bonus_tax,
    bonus_ways,
    business_tax,
    marginal_rate,
    monthly_tax,
    spread_tax_fen,
    tax_fen,
    taxable_income,
    withholding,
)
from ledger.domain.calculators.rounding import down, half_up
from ledger.domain.calculators.special_deductions import Claims, special_additional
from ledger.domain.rules import Brackets, RuleRefused, Rules
from tests.domain.calculators.yuan import TODAY, cited_rules, fen, today
from tests.scale import scaled

Tax = Callable[[int, Rules], int]
TABLES: dict[str, Tax] = {"tax.annual": annual_tax, "tax.monthly": monthly_tax, "tax.business": business_tax}
AMOUNTS = st.integers(min_value=0, max_value=2 * 10**9)


def brackets(table: str) -> Brackets:
    return today().brackets(table)


def sum_of_brackets(taxable_fen: int, table: str) -> Fraction:
    """The tax by its meaning: each slice at its own rate, without quick deductions."""
    owed, below = Fraction(0), 0
    for step in brackets(table).steps:
        upper = taxable_fen if step.up_to_fen is None else min(step.up_to_fen, taxable_fen)
        owed += max(0, upper - below) * step.rate
        below = max(below, upper)
    return owed


@pytest.mark.parametrize(
    ("table", "taxable", "tax"),
    [
        # The bounds of RULES.md section 8.1, inclusive, computed by hand; then one fen more.
        ("tax.annual", "0", "0"),
        ("tax.annual", "36,000", "1,080"),
        ("tax.annual", "144,000", "11,880"),
        ("tax.annual", "300,000", "43,080"),
        ("tax.annual", "420,000", "73,080"),
        ("tax.annual", "660,000", "145,080"),
        ("tax.annual", "960,000", "250,080"),
        ("tax.annual", "1,960,000", "700,080"),
        ("tax.monthly", "3,000", "90"),
        ("tax.monthly", "12,000", "990"),
        ("tax.monthly", "25,000", "3,590"),
        ("tax.monthly", "35,000", "6,090"),
        ("tax.monthly", "55,000", "12,090"),
        ("tax.monthly", "80,000", "20,840"),
        ("tax.monthly", "180,000", "65,840"),
        ("tax.business", "30,000", "1,500"),
        ("tax.business", "90,000", "7,500"),
        ("tax.business", "300,000", "49,500"),
        ("tax.business", "500,000", "109,500"),
        ("tax.business", "1,500,000", "459,500"),
    ],
)
def test_table_gives_the_tax_of_each_bound(table: str, taxable: str, tax: str) -> None:
    assert TABLES[table](fen(taxable), today()) == fen(tax)


@pytest.mark.parametrize("table", TABLES)
def test_tax_is_continuous_at_every_bound(table: str) -> None:
    """Both brackets give the same tax at the bound, and one fen more costs less than one fen."""
    for step, following in pairwise(brackets(table).steps):
        bound_fen = step.up_to_fen
        assert bound_fen is not None
        assert bound_fen * step.rate - step.quick_deduction_fen == bound_fen * following.rate - (
            following.quick_deduction_fen
        )
        assert TABLES[table](bound_fen + 1, today()) - TABLES[table](bound_fen, today()) in {0, 1}


@pytest.mark.parametrize("table", TABLES)
def test_bound_is_inclusive(table: str) -> None:
    for step, following in pairwise(brackets(table).steps):
        assert step.up_to_fen is not None
        assert brackets(table).step(step.up_to_fen) == step
        assert brackets(table).step(step.up_to_fen + 1) == following


@pytest.mark.parametrize("table", TABLES)
@given(taxable_fen=AMOUNTS)
@settings(max_examples=scaled(1_000), deadline=None)
def test_quick_deduction_is_the_sum_of_the_brackets(table: str, taxable_fen: int) -> None:
    """Invariant 1 of income_tax.py, checked on the other road."""
    assert TABLES[table](taxable_fen, today()) == half_up(sum_of_brackets(taxable_fen, table))


@pytest.mark.parametrize("table", TABLES)
@given(taxable_fen=AMOUNTS, more_fen=st.integers(0, 10**8))
@settings(max_examples=scaled(500), deadline=None)
def test_more_income_never_pays_less_and_never_keeps_less(table: str, taxable_fen: int, more_fen: int) -> None:
    tax = TABLES[table]
    extra_fen = tax(taxable_fen + more_fen, today()) - tax(taxable_fen, today())
    assert 0 <= extra_fen <= more_fen


def test_monthly_table_is_a_twelfth_of_the_annual_one() -> None:
    for month, year in zip(brackets("tax.monthly").steps, brackets("tax.annual").steps, strict=True):
        assert month.rate == year.rate
        assert month.quick_deduction_fen * 12 == year.quick_deduction_fen
        assert month.up_to_fen is None or month.up_to_fen * 12 == year.up_to_fen


def test_tax_is_rounded_half_up_to_fen() -> None:
    """0.03 x 50 fen = 1.5 fen."""
    assert [annual_tax(amount_fen, today()) for amount_fen in (16, 17, 49, 50)] == [0, 1, 1, 2]
    assert half_up(Fraction(-1, 2)) == 0
    assert down(Fraction(199, 100)) == 1


@given(taxable_fen=AMOUNTS)
@settings(max_examples=scaled(500), deadline=None)
def test_three_equal_months_pay_three_times_the_tax_of_one(taxable_fen: int) -> None:
    assert abs(spread_tax_fen(3 * taxable_fen, brackets("tax.monthly"), 3) - 3 * monthly_tax(taxable_fen, today())) <= 1


def test_marginal_rate_is_that_of_the_last_fen() -> None:
    assert marginal_rate(fen("36,000"), "comprehensive", today()) == Fraction("0.03")
    assert marginal_rate(fen("36,000.01"), "comprehensive", today()) == Fraction("0.1")
    assert marginal_rate(0, "business", today()) == Fraction("0.05")


def test_class_of_income_chooses_the_table() -> None:
    assert tax_fen(fen("500,000"), "business", today()) == business_tax(fen("500,000"), today())
    assert tax_fen(fen("500,000"), "comprehensive", today()) == annual_tax(fen("500,000"), today())


def test_negative_amount_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="give zero or more"):
        annual_tax(-1, today())


@pytest.mark.parametrize(
    ("rule", "last_day_without", "ask"),
    [
        ("tax.annual", date(2018, 12, 31), lambda rules: annual_tax(100, rules)),
        ("tax.monthly", date(2018, 12, 31), lambda rules: monthly_tax(100, rules)),
        ("tax.business", date(2018, 12, 31), lambda rules: business_tax(100, rules)),
        ("iit.income", date(2018, 12, 31), lambda rules: taxable_income(YearIncome(wages_fen=1), rules)),
        ("iit.withholding", date(2018, 12, 31), lambda rules: withholding([MonthWages(1)], rules)),
        ("iit.bonus", date(2018, 12, 31), lambda rules: bonus_tax(100, rules)),
        ("iit.sad.infant", date(2022, 12, 31), lambda rules: special_additional(Claims(infant_months=1), rules)),
        ("iit.sad.child", date(2022, 12, 31), lambda rules: special_additional(Claims(child_months=1), rules)),
        ("iit.sad.study", date(2022, 12, 31), lambda rules: special_additional(Claims(study_months=1), rules)),
        ("iit.sad.illness", date(2022, 12, 31), lambda rules: special_additional(Claims(illness_cost_fen=1), rules)),
        ("iit.sad.loan", date(2022, 12, 31), lambda rules: special_additional(Claims(loan_months=1), rules)),
        ("iit.sad.rent", date(2022, 12, 31), lambda rules: special_additional(Claims(rent_months=1), rules)),
        ("iit.sad.elderly", date(2022, 12, 31), lambda rules: special_additional(Claims(elderly_months=1), rules)),
    ],
)
def test_before_the_first_row_it_is_refused(rule: str, last_day_without: date, ask: Callable[[Rules], object]) -> None:
    with pytest.raises(RuleRefused) as refused:
        ask(Rules(last_day_without))
    assert (refused.value.rule, refused.value.reason) == (rule, "rule_not_in_force")
    ask(Rules(date.fromordinal(last_day_without.toordinal() + 1)))


class TestTaxableIncome:
    """iit.taxable, iit.income, iit.nocarry."""

    def test_wages_less_all_deductions(self) -> None:
        year = YearIncome(
            wages_fen=fen("300,000"),
            insurance_and_housing_fund_fen=fen("50,000"),
            special_additional_fen=fen("36,000"),
            annuity_fen=fen("7,000"),
            personal_pension_fen=fen("12,000"),
            other_fen=fen("1,000"),
        )
        found = taxable_income(year, today())
        assert (found.taxable_fen, found.deducted_fen, found.lost_fen) == (fen("134,000"), fen("106,000"), 0)

    @pytest.mark.parametrize(
        ("kind", "income"),
        [("wages_fen", "10,000"), ("labour_fen", "8,000"), ("royalties_fen", "8,000"), ("manuscripts_fen", "5,600")],
    )
    def test_share_of_each_kind_of_income(self, kind: str, income: str) -> None:
        assert taxable_income(YearIncome(**{kind: fen("10,000")}), today()).income_fen == fen(income)

    def test_deductions_above_the_income_are_lost_and_told(self) -> None:
        """The basic 60,000 is no deduction that could be lost."""
        year = YearIncome(wages_fen=fen("65,000"), personal_pension_fen=fen("12,000"))
        found = taxable_income(year, today())
        assert (found.taxable_fen, found.deducted_fen, found.lost_fen) == (0, fen("5,000"), fen("7,000"))

    def test_below_the_basic_deduction_every_other_one_is_lost(self) -> None:
        found = taxable_income(YearIncome(wages_fen=fen("59,999"), annuity_fen=fen("100")), today())
        assert (found.taxable_fen, found.lost_fen) == (0, fen("100"))

    def test_rules_are_cited(self) -> None:
        rules = today()
        taxable_income(YearIncome(), rules)
        assert cited_rules(rules) == {"iit.income", "iit.taxable", "iit.nocarry"}

    def test_negative_income_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="labour_fen"):
            taxable_income(YearIncome(labour_fen=-1), today())


class TestSpecialAdditionalDeductions:
    """iit.sad.*: what counts, and the limit of each kind."""

    @pytest.mark.parametrize(
        ("claims", "deducted"),
        [
            (Claims(infant_months=12), {"iit.sad.infant": "24,000"}),
            (Claims(half_infant_months=12), {"iit.sad.infant": "12,000"}),
            (Claims(child_months=24), {"iit.sad.child": "48,000"}),
            (Claims(child_months=12, half_child_months=7), {"iit.sad.child": "31,000"}),
            (Claims(study_months=12), {"iit.sad.study": "4,800"}),
            (Claims(study_months=12, study_months_before=47), {"iit.sad.study": "400"}),
            (Claims(study_months=12, study_months_before=48), {"iit.sad.study": "0"}),
            (Claims(certificate=True), {"iit.sad.study": "3,600"}),
            (Claims(illness_cost_fen=fen("15,000")), {"iit.sad.illness": "0"}),
            (Claims(illness_cost_fen=fen("15,000.01")), {"iit.sad.illness": "0.01"}),
            (Claims(illness_cost_fen=fen("95,000")), {"iit.sad.illness": "80,000"}),
            (Claims(illness_cost_fen=fen("95,000.01")), {"iit.sad.illness": "80,000"}),
            (Claims(loan_months=12), {"iit.sad.loan": "12,000"}),
            (Claims(loan_months=12, loan_months_before=239), {"iit.sad.loan": "1,000"}),
            (Claims(loan_months=12, loan_months_before=300), {"iit.sad.loan": "0"}),
            (Claims(rent_months=12, rent_city="large_city"), {"iit.sad.rent": "18,000"}),
            (Claims(rent_months=12, rent_city="middle_city"), {"iit.sad.rent": "13,200"}),
            (Claims(rent_months=12), {"iit.sad.rent": "9,600"}),
            (Claims(elderly_months=12), {"iit.sad.elderly": "36,000"}),
            (Claims(elderly_months=12, elderly_share_fen=fen("1,500")), {"iit.sad.elderly": "18,000"}),
            (Claims(elderly_months=12, elderly_share_fen=fen("1,000")), {"iit.sad.elderly": "12,000"}),
            (Claims(), {}),
        ],
    )
    def test_kind_within_its_limit(self, claims: Claims, deducted: dict[str, str]) -> None:
        assert special_additional(claims, today()) == {rule: fen(yuan) for rule, yuan in deducted.items()}

    def test_share_of_the_elderly_above_its_limit_is_refused(self) -> None:
        with pytest.raises(RuleRefused) as refused:
            special_additional(Claims(elderly_months=1, elderly_share_fen=fen("1,500.01")), today())
        assert refused.value.rule == "iit.sad.elderly"
        assert refused.value.detail == {"most_fen": fen("1,500")}

    def test_loan_and_rent_of_one_year_are_refused(self) -> None:
        with pytest.raises(RuleRefused, match=r"iit\.sad\.loan_or_rent"):
            special_additional(Claims(loan_months=6, rent_months=6), today())

    @pytest.mark.parametrize(
        "claims",
        [Claims(loan_months=13), Claims(rent_months=-1), Claims(infant_months=-1), Claims(illness_cost_fen=-1)],
    )
    def test_impossible_claim_is_a_mistake(self, claims: Claims) -> None:
        with pytest.raises(ValueError, match=r"give zero or more|a year has"):
            special_additional(claims, today())

    def test_what_is_open_about_study_is_cited(self) -> None:
        rules = today()
        special_additional(Claims(study_months=12, certificate=True), rules)
        assert [cited.rule for cited in rules.cited if cited.uncertain] == ["iit.sad.study"]


class TestBonus:
    """iit.bonus: taxed apart until the end of 2027."""

    @pytest.mark.parametrize(
        ("bonus", "tax"),
        [
            ("0", "0"),
            ("36,000", "1,080"),
            ("36,000.01", "3,390"),  # the cliff: 10 % of all of it less 210
            ("144,000", "14,190"),
            ("144,000.12", "27,390.02"),
            ("960,000", "328,840"),
            ("960,001", "416,840.45"),
        ],
    )
    def test_a_twelfth_finds_the_rate(self, bonus: str, tax: str) -> None:
        assert bonus_tax(fen(bonus), today()) == fen(tax)

    @pytest.mark.parametrize(
        ("wages", "apart", "together"),
        [
            ("50,000", "1,080", "780"),  # what is left of the basic deduction helps only together
            ("60,000", "1,080", "1,080"),
            ("260,000", "24,160", "30,280"),
        ],
    )
    def test_person_may_choose_the_cheaper_way(self, wages: str, apart: str, together: str) -> None:
        found = bonus_ways(YearIncome(wages_fen=fen(wages)), fen("36,000"), today())
        assert (found.apart_fen, found.together_fen) == (fen(apart), fen(together))

    def test_how_it_is_computed_is_marked(self) -> None:
        """RULES.md says that it may be taxed apart, and not how."""
        rules = today()
        bonus_tax(fen("36,000"), rules)
        cited = {each.rule: (each.confidence, bool(each.uncertain)) for each in rules.cited}
        assert (cited["iit.bonus"], cited["iit.bonus.method"]) == (("B", False), ("C", True))

    def test_ends_with_2027(self) -> None:
        bonus_tax(fen("36,000"), Rules(date(2027, 12, 31)))
        with pytest.raises(RuleRefused) as refused:
            bonus_tax(fen("36,000"), Rules(date(2028, 1, 1)))
        assert (refused.value.rule, refused.value.reason) == ("iit.bonus", "rule_not_in_force")


class TestWithholding:
    """累计预扣法: the annual table on the year to date."""

    def test_months_rise_through_the_brackets(self) -> None:
        """30,000 a month, 4,500 of insurance, 2,000 of special deductions: 18,500 a month are taxed."""
        months = [MonthWages(fen("30,000"), fen("6,500"))] * 12
        found = withholding(months, today())
        assert found.months_fen[:3] == (fen("555"), fen("625"), fen("1,850"))
        assert found.tax_fen == annual_tax(fen("222,000"), today()) == fen("27,480")
        assert found.settlement_fen == 0

    def test_month_with_less_than_its_deductions_waits(self) -> None:
        """What was withheld too much comes back in later months, and the rest with the settlement."""
        months = [MonthWages(fen("20,000")), *[MonthWages(fen("4,000"))] * 11]
        found = withholding(months, today())
        assert found.months_fen == (fen("450"), *[0] * 11)
        assert (found.tax_fen, found.settlement_fen) == (fen("120"), -fen("330"))

    def test_part_of_a_year_gets_the_whole_basic_deduction_with_the_settlement(self) -> None:
        found = withholding([MonthWages(fen("15,000"))] * 5, today())
        assert sum(found.months_fen) == annual_tax(fen("50,000"), today())
        assert (found.tax_fen, found.settlement_fen) == (fen("450"), fen("450") - fen("2,480"))

    @given(st.lists(st.builds(MonthWages, st.integers(0, 2 * 10**7), st.integers(0, 10**6)), max_size=12))
    @settings(max_examples=scaled(1_000), deadline=None)
    def test_months_and_settlement_make_the_tax_of_the_year(self, months: list[MonthWages]) -> None:
        """Invariant 3 of income_tax.py: by the way of the year, and never below zero in a month."""
        found = withholding(months, today())
        year = YearIncome(
            wages_fen=sum(month.wages_fen for month in months),
            other_fen=sum(month.deductions_fen for month in months),
        )
        assert min(found.months_fen, default=0) >= 0
        tax = annual_tax(taxable_income(year, today()).taxable_fen, today())
        assert sum(found.months_fen) + found.settlement_fen == found.tax_fen == tax

    @given(st.lists(st.integers(500_000, 2 * 10**7), min_size=12, max_size=12))
    @settings(max_examples=scaled(500), deadline=None)
    def test_twelve_months_of_at_least_5_000_leave_nothing_to_settle(self, wages_fen: list[int]) -> None:
        assert withholding([MonthWages(each) for each in wages_fen], today()).settlement_fen == 0

    def test_thirteenth_month_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="more than a year"):
            withholding([MonthWages(1)] * 13, today())

    def test_its_confidence_is_visible(self) -> None:
        rules = today()
        withholding([MonthWages(fen("10,000"))], rules)
        cited = {each.rule: each for each in rules.cited}
        assert cited["iit.withholding"].confidence == "C"
        assert cited["iit.withholding"].uncertain is not None
        assert (cited["tax.annual"].confidence, cited["tax.annual"].source) == ("B", "IIT, T164")


def test_business_table_is_of_confidence_c_and_says_so() -> None:
    rules = Rules(TODAY)
    business_tax(fen("1"), rules)
    assert [(cited.rule, cited.confidence) for cited in rules.cited] == [("tax.business", "C")]
