"""Annuities: caps of contributions, the own part and tax, payouts by every form, vesting, policies of insurers, fees."""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.calculators.annuities import (
    INSTALMENTS,
    OPEN_FORMS,
    Before2014,
    Contribution,
    EmployeeDeduction,
    Form,
    OpenForm,
    Schedule,
    contribution_caps,
    contributions_allowed,
    corporate_deduction_fen,
    credit_allowed,
    employee_deduction,
    employer_excess_fen,
    enterprise_contribution,
    fee_caps,
    flexible_early_opens,
    highest_credit_fen,
    occupational_contribution,
    own_part_fen,
    payout_tax_fen,
    schedule,
    vested,
)
from ledger.domain.calculators.income_tax import annual_tax, monthly_tax
from ledger.domain.calculators.insurance_annuities import (
    drawing_allowed,
    surrender_cap_fen,
    tax_deferred_cap_fen,
    tax_deferred_payout_tax_fen,
)
from ledger.domain.rules import RuleRefused, Rules, moves
from tests.domain.calculators.yuan import cited_rules, fen, today
from tests.scale import scaled

FORMS: tuple[Form, ...] = ("monthly", "quarterly", "yearly", "lump_settled_abroad", "lump_heirs", "lump_other")
FIVE, TWO = Fraction("0.05"), Fraction("0.02")


class TestContributionCaps:
    """ea.cap.employer, ea.cap.total, ea.cap.individual_ratio, oa.rate."""

    def test_published_plan(self) -> None:
        """Wages 10,000, employer 5 %, employee 2 %: 500 + 200 = 700, lawful."""
        paid = enterprise_contribution(fen("10,000"), FIVE, TWO, today())
        assert paid == Contribution(employee_fen=fen("200"), employer_fen=fen("500"))
        contributions_allowed(paid, fen("10,000"), today())

    def test_employer_above_eight_percent_is_refused(self) -> None:
        """Computed: wages 10,000,000, employer 850,000."""
        with pytest.raises(RuleRefused) as refused:
            contributions_allowed(Contribution(employee_fen=0, employer_fen=fen("850,000")), fen("10,000,000"), today())
        assert (refused.value.rule, refused.value.reason) == ("ea.cap.employer", "condition_not_met")
        assert refused.value.detail == {"most_fen": fen("800,000")}

    def test_both_at_the_caps(self) -> None:
        wages_fen = fen("10,000,000")
        caps = contributions_allowed(
            Contribution(employee_fen=fen("400,000"), employer_fen=fen("800,000")), wages_fen, today()
        )
        assert (caps.employer_fen, caps.total_fen) == (fen("800,000"), fen("1,200,000"))
        with pytest.raises(RuleRefused, match=r"ea\.cap\.total"):
            contributions_allowed(
                Contribution(employee_fen=fen("400,000.01"), employer_fen=fen("800,000")), wages_fen, today()
            )
        with pytest.raises(RuleRefused, match=r"ea\.cap\.employer"):
            contributions_allowed(Contribution(employee_fen=0, employer_fen=fen("800,000.01")), wages_fen, today())

    def test_employees_may_pay_more_than_four_percent_while_both_keep_twelve(self) -> None:
        contributions_allowed(Contribution(employee_fen=fen("1,200"), employer_fen=0), fen("10,000"), today())

    def test_cap_is_rounded_down(self) -> None:
        """Invariant 1: 8 % of 0.99 is 0.0792."""
        assert contribution_caps(99, today()).employer_fen == 7

    def test_shares_of_last_years_wages_end_with_january_2018(self) -> None:
        """A trap: 1/12 and 1/6 are the rule before 2018-02-01, of last year's wages, and never apply today."""
        before, after = Rules(date(2018, 1, 31)), Rules(date(2018, 2, 1))
        old = contribution_caps(fen("2,400,000"), before, wages_last_year_fen=fen("1,200,000"))
        new = contribution_caps(fen("2,400,000"), after, wages_last_year_fen=fen("1,200,000"))
        assert (old.employer_fen, old.total_fen) == (fen("100,000"), fen("200,000"))
        assert (new.employer_fen, new.total_fen) == (fen("192,000"), fen("288,000"))
        assert {(cited.rule, cited.confidence) for cited in before.cited} == {
            ("ea.cap.employer", "C"),
            ("ea.cap.total", "C"),
        }
        with pytest.raises(ValueError, match="wages_last_year_fen"):
            contribution_caps(fen("2,400,000"), before)

    def test_rates_of_a_plan_above_the_caps_are_refused(self) -> None:
        wage_fen = fen("10,000")
        with pytest.raises(RuleRefused, match=r"ea\.cap\.employer"):
            enterprise_contribution(wage_fen, Fraction("0.081"), Fraction(0), today())
        with pytest.raises(RuleRefused, match=r"ea\.cap\.total"):
            enterprise_contribution(wage_fen, Fraction("0.08"), Fraction("0.041"), today())
        assert enterprise_contribution(wage_fen, Fraction("0.08"), Fraction("0.04"), today()).employer_fen == fen("800")

    def test_employer_need_not_pay_four_times_the_employee_part(self) -> None:
        """A trap: no rule of 2025 says so; equal parts are as lawful as an employer who pays alone."""
        for employer, employee in ((TWO, TWO), (TWO, Fraction(0)), (Fraction("0.01"), Fraction("0.04"))):
            enterprise_contribution(fen("10,000"), employer, employee, today())

    def test_highest_credit_is_five_times_the_average(self) -> None:
        """10 persons, 100,000 together: at most 50,000 to one."""
        assert highest_credit_fen(fen("100,000"), 10, today()) == fen("50,000")
        credit_allowed(fen("50,000"), fen("100,000"), 10, today())
        with pytest.raises(RuleRefused) as refused:
            credit_allowed(fen("50,000.01"), fen("100,000"), 10, today())
        assert refused.value.rule == "ea.cap.individual_ratio"
        assert refused.value.detail == {"most_fen": fen("50,000")}

    def test_plan_without_persons_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="one or more"):
            highest_credit_fen(1, 0, today())

    def test_occupational_annuity_takes_eight_and_four_percent(self) -> None:
        assert occupational_contribution(fen("10,000"), today()) == Contribution(
            employee_fen=fen("400"), employer_fen=fen("800")
        )

    def test_corporate_deduction_is_five_percent_and_not_confirmed(self) -> None:
        rules = today()
        assert corporate_deduction_fen(fen("800"), fen("10,000"), rules) == fen("500")
        assert corporate_deduction_fen(fen("300"), fen("10,000"), rules) == fen("300")
        assert [(cited.rule, cited.confidence, bool(cited.uncertain)) for cited in rules.cited] == [
            ("ea.cit", "C", True)
        ]


class TestEmployeeDeduction:
    """an.tax.in.*: 4 % of a base of at most three times the city's average wage."""

    def test_own_part_within_the_limit(self) -> None:
        found = employee_deduction(fen("200"), fen("10,000"), fen("12,434"), today())
        assert found == EmployeeDeduction(base_fen=fen("10,000"), deductible_fen=fen("200"), excess_fen=0)

    def test_excess_is_wages_of_that_month(self) -> None:
        rules = today()
        found = employee_deduction(fen("500"), fen("10,000"), fen("12,434"), rules)
        assert (found.deductible_fen, found.excess_fen) == (fen("400"), fen("100"))
        assert "an.tax.in.excess" in cited_rules(rules)

    def test_base_is_capped_at_three_times_the_average(self) -> None:
        found = employee_deduction(fen("4,000"), fen("100,000"), fen("10,000"), today())
        assert found == EmployeeDeduction(base_fen=fen("30,000"), deductible_fen=fen("1,200"), excess_fen=fen("2,800"))
        assert employee_deduction(fen("1,200"), fen("30,000"), fen("10,000"), today()).excess_fen == 0
        assert employee_deduction(fen("1,200.01"), fen("30,000.01"), fen("10,000"), today()).excess_fen == 1

    def test_employer_part_above_the_caps_is_wages(self) -> None:
        rules = today()
        assert employer_excess_fen(fen("800"), fen("800"), rules) == 0
        assert "an.tax.in.excess" not in cited_rules(rules)
        assert employer_excess_fen(fen("850"), fen("800"), rules) == fen("50")

    @given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
    @settings(max_examples=scaled(500), deadline=None)
    def test_deductible_and_excess_make_the_own_part(self, own_fen: int, wage_fen: int, average_fen: int) -> None:
        found = employee_deduction(own_fen, wage_fen, average_fen, today())
        assert found.deductible_fen + found.excess_fen == own_fen
        assert 25 * found.deductible_fen <= found.base_fen <= 3 * average_fen


class TestPayoutTax:
    """an.tax.out.*: by the real form of the payout."""

    @pytest.mark.parametrize(
        ("form", "amount", "tax"),
        [
            ("yearly", "12,000", "360"),  # published
            ("yearly", "48,000", "2,280"),  # published
            ("monthly", "5,000", "290"),
            ("quarterly", "15,000", "870"),
            ("lump_settled_abroad", "100,000", "7,480"),
            ("lump_heirs", "100,000", "7,480"),
            ("lump_other", "100,000", "29,840"),
        ],
    )
    def test_examples(self, form: Form, amount: str, tax: str) -> None:
        assert payout_tax_fen(form, fen(amount), today()) == fen(tax)

    def test_enterprise_and_occupational_annuity_are_taxed_apart(self) -> None:
        """A trap: added, 12,000 and 48,000 would give 3,480; the printed example has 360 and 2,280."""
        assert annual_tax(fen("60,000"), today()) == fen("3,480")
        rules = today()
        apart_fen = sum(payout_tax_fen("yearly", fen(each), rules) for each in ("12,000", "48,000"))
        assert apart_fen == fen("2,640")
        apart = next(cited for cited in rules.cited if cited.rule == "an.tax.out.nodeduct")
        assert "printed example" in (apart.uncertain or "")

    def test_other_lump_sum_is_taxed_once_undivided_by_the_monthly_table(self) -> None:
        """A trap: neither a twelfth nor the annual table."""
        for yuan in ("3,000", "80,000", "100,000", "1,000,000"):
            assert payout_tax_fen("lump_other", fen(yuan), today()) == monthly_tax(fen(yuan), today())
            assert payout_tax_fen("lump_other", fen(yuan), today()) >= payout_tax_fen("lump_heirs", fen(yuan), today())

    def test_nothing_is_deducted_first(self) -> None:
        """No 5,000 and no 60,000: the first yuan is taxed."""
        for form in FORMS:
            assert payout_tax_fen(form, fen("100"), today()) == fen("3")

    @pytest.mark.parametrize(
        ("form", "bound"),
        [
            (form, bound)
            for form, bounds in {
                "monthly": ("3,000", "12,000", "25,000", "35,000", "55,000", "80,000"),
                "quarterly": ("9,000", "36,000", "75,000", "105,000", "165,000", "240,000"),
                "yearly": ("36,000", "144,000", "300,000", "420,000", "660,000", "960,000"),
                "lump_heirs": ("36,000", "960,000"),
                "lump_other": ("3,000", "80,000"),
            }.items()
            for bound in bounds
        ],
    )
    def test_tax_is_continuous_at_every_bound(self, form: Form, bound: str) -> None:
        at_bound = payout_tax_fen(form, fen(bound), today())
        assert payout_tax_fen(form, fen(bound) + 1, today()) - at_bound in {0, 1}
        assert at_bound - payout_tax_fen(form, fen(bound) - 1, today()) in {0, 1}

    @pytest.mark.parametrize("form", FORMS)
    @given(amount_fen=st.integers(0, 10**9), more_fen=st.integers(0, 10**7))
    @settings(max_examples=scaled(300), deadline=None)
    def test_more_payout_never_pays_less(self, form: Form, amount_fen: int, more_fen: int) -> None:
        more = payout_tax_fen(form, amount_fen + more_fen, today()) - payout_tax_fen(form, amount_fen, today())
        assert 0 <= more <= more_fen

    @given(amount_fen=st.integers(0, 10**8))
    @settings(max_examples=scaled(300), deadline=None)
    def test_twelve_months_four_quarters_and_a_year_of_the_same_pay_the_same(self, amount_fen: int) -> None:
        month = payout_tax_fen("monthly", amount_fen, today())
        assert abs(payout_tax_fen("quarterly", 3 * amount_fen, today()) - 3 * month) <= 2
        assert abs(payout_tax_fen("yearly", 12 * amount_fen, today()) - 12 * month) <= 6

    def test_negative_payout_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="zero or more"):
            payout_tax_fen("monthly", -1, today())

    @pytest.mark.parametrize(("form", "tax"), [("parts", "29,840"), ("lump_disabled", "29,840"), ("product", "0")])
    def test_form_that_the_law_leaves_open_takes_the_recorded_choice_and_says_so(
        self, form: OpenForm, tax: str
    ) -> None:
        """RULES.md section 12, point 5."""
        rules = today()
        assert payout_tax_fen(form, fen("100,000"), rules) == fen(tax)
        choice = next(cited for cited in rules.cited if cited.rule == f"an.tax.out.{form}")
        assert (choice.confidence, bool(choice.uncertain)) == ("C", True)

    def test_every_option_of_an_open_form_has_a_tax(self) -> None:
        for form in sorted(OPEN_FORMS):
            options = today().choice(f"an.tax.out.{form}").options
            for option in options:
                assert option == "with_each_benefit" or today().terms(f"an.tax.out.{option}")


class TestBefore2014:
    """an.tax.pre2014: what was taxed before is not taxed again."""

    def test_computed_example(self) -> None:
        """Monthly 5,000; 20,000 of 100,000 contributions taxed before 2014: taxable 4,000, tax 190."""
        before = Before2014(taxed_fen=fen("20,000"), all_fen=fen("100,000"))
        assert payout_tax_fen("monthly", fen("5,000"), today(), before_2014=before) == fen("190")

    def test_nothing_or_all_taxed_before(self) -> None:
        nothing, everything = (
            Before2014(taxed_fen=0, all_fen=fen("1")),
            Before2014(taxed_fen=fen("1"), all_fen=fen("1")),
        )
        assert payout_tax_fen("monthly", fen("5,000"), today(), before_2014=nothing) == fen("290")
        assert payout_tax_fen("monthly", fen("5,000"), today(), before_2014=everything) == 0

    def test_lump_sum_is_less_by_the_amount_and_that_is_not_confirmed(self) -> None:
        rules = today()
        before = Before2014(taxed_fen=fen("20,000"), all_fen=fen("100,000"))
        assert payout_tax_fen("lump_heirs", fen("100,000"), rules, before_2014=before) == annual_tax(
            fen("80,000"), rules
        )
        assert payout_tax_fen("lump_heirs", fen("10,000"), rules, before_2014=before) == 0
        cited = next(each for each in rules.cited if each.rule == "an.tax.pre2014")
        assert (cited.case, cited.confidence, bool(cited.uncertain)) == ("lump", "C", True)

    def test_instalments_are_confirmed(self) -> None:
        for form in FORMS:
            rules = today()
            payout_tax_fen(form, fen("5,000"), rules, before_2014=Before2014(taxed_fen=1, all_fen=2))
            cited = next(each for each in rules.cited if each.rule == "an.tax.pre2014")
            assert (cited.case == "instalments") == (form in INSTALMENTS)

    def test_more_than_all_contributions_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="part of all"):
            payout_tax_fen("monthly", 1, today(), before_2014=Before2014(taxed_fen=2, all_fen=1))


class TestVesting:
    """ea.vest.*: by the plan's schedule, at most 8 years, all at once for an event."""

    PLAN = Schedule({2: Fraction(1, 4), 4: Fraction(1, 2), 8: Fraction(1)})

    def test_computed_example(self) -> None:
        """Resigns in year 4, the plan gives 50 %, employer part 80,000: 40,000 moves, 40,000 is forfeited."""
        rules = today()
        found = vested(fen("80,000"), 4, self.PLAN, rules, event="resigned")
        assert (found.vested_fen, found.to_enterprise_account_fen) == (fen("40,000"), fen("40,000"))
        assert ("ea.vest.forfeit", "C") in {(cited.rule, cited.confidence) for cited in rules.cited}

    @pytest.mark.parametrize(
        ("years", "share"), [(0, "0"), (1, "0"), (2, "1/4"), (3, "1/4"), (4, "1/2"), (7, "1/2"), (8, "1"), (40, "1")]
    )
    def test_share_by_completed_years(self, years: int, share: str) -> None:
        assert vested(100, years, self.PLAN, today()).share == Fraction(share)

    @pytest.mark.parametrize(
        "event",
        [
            "statutory_age",
            "disabled",
            "death",
            "plan_end",
            "dismissed_without_fault",
            "resigned_as_employer_broke_law",
            "contract_not_renewed_by_employer",
        ],
    )
    def test_event_vests_everything(self, event: str) -> None:
        rules = today()
        found = vested(fen("80,000"), 0, self.PLAN, rules, event=event)
        assert (found.vested_fen, found.to_enterprise_account_fen) == (fen("80,000"), 0)
        assert "ea.vest.full_events" in cited_rules(rules)

    def test_event_of_the_plan_vests_everything(self) -> None:
        plan = schedule({8: Fraction(1)}, today(), full_events=frozenset({"moved_inside_the_group"}))
        assert vested(100, 0, plan, today(), event="moved_inside_the_group").share == 1
        assert vested(100, 0, plan, today(), event="resigned").share == 0

    def test_at_once_is_a_schedule(self) -> None:
        assert vested(100, 0, schedule({0: Fraction(1)}, today()), today()).to_enterprise_account_fen == 0

    @pytest.mark.parametrize(
        "shares",
        [
            {9: Fraction(1)},
            {8: Fraction(99, 100)},
            {},
            {1: Fraction(1, 2), 2: Fraction(1, 4), 8: Fraction(1)},
        ],
    )
    def test_unlawful_schedule_is_refused(self, shares: dict[int, Fraction]) -> None:
        """Invariant 4: all within 8 years, and no share falls."""
        with pytest.raises(RuleRefused, match=r"ea\.vest\.employer"):
            schedule(shares, today())

    def test_latest_lawful_schedule(self) -> None:
        assert schedule({8: Fraction(1)}, today()).share(7) == 0

    @pytest.mark.parametrize("shares", [{-1: Fraction(1)}, {0: Fraction(3, 2)}, {0: Fraction(-1), 8: Fraction(1)}])
    def test_impossible_schedule_is_a_mistake(self, shares: dict[int, Fraction]) -> None:
        with pytest.raises(ValueError, match="a schedule has"):
            schedule(shares, today())

    @given(employer_fen=st.integers(0, 10**12), share=st.fractions(0, 1), years=st.integers(0, 9))
    @settings(max_examples=scaled(500), deadline=None)
    def test_vested_and_forfeited_make_the_whole(self, employer_fen: int, share: Fraction, years: int) -> None:
        """Invariant 5."""
        found = vested(employer_fen, years, Schedule({1: share, 8: Fraction(1)}), today())
        assert found.vested_fen + found.to_enterprise_account_fen == employer_fen
        assert min(found.vested_fen, found.to_enterprise_account_fen) >= 0

    def test_own_part_is_always_hers(self) -> None:
        assert own_part_fen(fen("12,345.67"), today()) == fen("12,345.67")


class TestPoliciesOfInsurers:
    """ecp.*, td.*."""

    @pytest.mark.parametrize(
        ("policy_year", "paid"),
        [(1, "10,000"), (5, "10,000"), (6, "10,750"), (10, "10,750"), (11, "10,900"), (30, "10,900")],
    )
    def test_surrender_of_an_exclusive_annuity(self, policy_year: int, paid: str) -> None:
        """Premiums 10,000 and a return of 1,000."""
        assert surrender_cap_fen(policy_year, fen("10,000"), fen("1,000"), today()) == fen(paid)

    def test_impossible_policy_is_a_mistake(self) -> None:
        for policy_year, return_fen in ((0, 1), (1, -1)):
            with pytest.raises(ValueError, match="begin with 1"):
                surrender_cap_fen(policy_year, 1, return_fen, today())

    def test_drawing_lasts_ten_years_and_that_is_open(self) -> None:
        rules = today()
        drawing_allowed(10, rules)
        with pytest.raises(RuleRefused, match=r"ecp\.out"):
            drawing_allowed(9, rules)
        assert rules.cited[0].uncertain is not None

    @pytest.mark.parametrize(
        ("income", "cap"), [("10,000", "600"), ("16,666.66", "999.99"), ("16,666.67", "1,000"), ("50,000", "1,000")]
    )
    def test_tax_deferred_cap_of_a_month(self, income: str, cap: str) -> None:
        assert tax_deferred_cap_fen(fen(income), "month", today()) == fen(cap)

    def test_tax_deferred_cap_of_a_business_year(self) -> None:
        assert tax_deferred_cap_fen(fen("100,000"), "business_year", today()) == fen("6,000")
        assert tax_deferred_cap_fen(fen("300,000"), "business_year", today()) == fen("12,000")

    def test_tax_deferred_payout_falls_to_three_percent_in_2022(self) -> None:
        old, new = Rules(date(2021, 12, 31)), Rules(date(2022, 1, 1))
        assert tax_deferred_payout_tax_fen(fen("10,000"), old) == fen("750")
        assert tax_deferred_payout_tax_fen(fen("10,000"), new) == fen("300")
        assert [cited.confidence for cited in (*old.cited, *new.cited)] == ["C", "B"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: contribution_caps(-1, r),
        lambda r: contributions_allowed(Contribution(employee_fen=-500, employer_fen=8), 100, r),
        lambda r: enterprise_contribution(100, Fraction(-1, 20), Fraction(1, 10), r),
        lambda r: occupational_contribution(-1, r),
        lambda r: credit_allowed(-1, 1, 1, r),
        lambda r: highest_credit_fen(-1, 1, r),
        lambda r: employee_deduction(-1, 1, 1, r),
        lambda r: employer_excess_fen(-5, -10, r),
        lambda r: vested(-1, 0, TestVesting.PLAN, r),
        lambda r: vested(1, -1, TestVesting.PLAN, r),
        lambda r: own_part_fen(-1, r),
        lambda r: fee_caps(-1, r),
        lambda r: corporate_deduction_fen(-1, 1, r),
        lambda r: surrender_cap_fen(1, -1, 0, r),
        lambda r: tax_deferred_cap_fen(-1, "month", r),
        lambda r: tax_deferred_payout_tax_fen(-1, r),
    ],
)
def test_amounts_below_zero_are_wrong_usage(ask: Callable[[Rules], object]) -> None:
    """An employee's part below zero would hide an employer's part above both caps."""
    with pytest.raises(ValueError, match="zero or more"):
        ask(today())


def test_fee_caps_and_that_they_are_not_confirmed() -> None:
    rules = today()
    caps = fee_caps(fen("1,000,000"), rules)
    assert (caps.trustee_fen, caps.custodian_fen, caps.investment_fen) == (fen("2,000"), fen("2,000"), fen("12,000"))
    assert caps.account_month_fen == fen("5")
    assert all(cited.confidence == "C" and cited.uncertain for cited in rules.cited)


def test_annuity_never_moves_into_a_personal_pension() -> None:
    """A trap: pages that let it move, or be drawn for hardship."""
    for product in ("enterprise_annuity", "occupational_annuity", "retained_account"):
        assert {move.lawful for move in moves(product, "personal_pension")} == {"no_cash"}
        for hardship in ("PP_W4_MEDICAL", "PP_W5_UNEMPLOYED", "PP_W6_DIBAO"):
            assert today().condition(product, hardship) is None
    assert "hardship" in today().provision("ea.no_early").text


def test_flexible_early_retirement_is_an_open_choice() -> None:
    rules = today()
    assert flexible_early_opens(rules)
    assert rules.cited[0].uncertain is not None


@pytest.mark.parametrize(
    ("rule", "last_day_without", "ask"),
    [
        ("ea.cap.employer", date(2004, 4, 30), lambda r: contribution_caps(1, r, wages_last_year_fen=1)),
        ("ea.cap.individual_ratio", date(2018, 1, 31), lambda r: highest_credit_fen(1, 1, r)),
        ("oa.rate.employee", date(2014, 9, 30), lambda r: occupational_contribution(1, r)),
        ("an.tax.base", date(2013, 12, 31), lambda r: employee_deduction(1, 1, 1, r)),
        ("an.tax.in.employer", date(2013, 12, 31), lambda r: employer_excess_fen(1, 0, r)),
        *((f"an.tax.out.{f}", date(2018, 12, 31), lambda r, f=f: payout_tax_fen(f, 1, r)) for f in FORMS),
        ("an.tax.out.parts", date(2018, 12, 31), lambda r: payout_tax_fen("parts", 1, r)),
        ("ea.vest.employer", date(2018, 1, 31), lambda r: schedule({0: Fraction(1)}, r)),
        ("ea.vest.own", date(2018, 1, 31), lambda r: own_part_fen(1, r)),
        ("ea.fee.trustee", date(2011, 4, 30), lambda r: fee_caps(1, r)),
        ("ea.cit", date(2007, 12, 31), lambda r: corporate_deduction_fen(1, 1, r)),
        ("ecp.surrender", date(2023, 10, 19), lambda r: surrender_cap_fen(1, 1, 0, r)),
        ("ecp.out", date(2023, 10, 19), lambda r: drawing_allowed(10, r)),
        ("td.cap.income_share", date(2018, 4, 30), lambda r: tax_deferred_cap_fen(1, "month", r)),
        ("td.tax.out", date(2018, 4, 30), lambda r: tax_deferred_payout_tax_fen(1, r)),
    ],
)
def test_before_the_first_row_it_is_refused(rule: str, last_day_without: date, ask: Callable[[Rules], object]) -> None:
    with pytest.raises(RuleRefused) as refused:
        ask(Rules(last_day_without))
    assert (refused.value.rule, refused.value.reason) == (rule, "rule_not_in_force")
    ask(Rules(last_day_without + timedelta(days=1)))
