"""The personal pension: room, what the tax saves and costs, payout schedules, hardship, paying in again."""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.calculators.annuities import payout_tax_fen
from ledger.domain.calculators.income_tax import Class
from ledger.domain.calculators.personal_pension import (
    MedicalCost,
    contribution_room_fen,
    death_tax_fen,
    exit_tax_fen,
    flexible_early_opens,
    grown_fen,
    may_contribute_again,
    medical_hardship,
    method_may_change,
    months_before,
    payment_allowed,
    payout_lump,
    payouts_by_amount,
    payouts_by_months,
    payouts_by_payout_months,
    payouts_in_parts,
    saving,
    unemployment_hardship,
)
from ledger.domain.rules import PRODUCTS, RuleRefused, Rules
from tests.domain.calculators.yuan import cited_rules, fen, today
from tests.scale import scaled

FULL = fen("12,000")
APPLIED = date(2025, 9, 1)


class TestRoom:
    """pp.cap.year."""

    def test_what_is_left_of_the_year(self) -> None:
        assert contribution_room_fen(0, today()) == FULL
        assert contribution_room_fen(fen("11,999.99"), today()) == 1
        assert contribution_room_fen(FULL, today()) == 0
        assert contribution_room_fen(fen("13,000"), today()) == 0

    def test_payment_that_fills_the_room(self) -> None:
        assert payment_allowed(FULL, 0, today()) == 0
        assert payment_allowed(1, fen("11,999.99"), today()) == 0

    @pytest.mark.parametrize(("payment", "paid", "left"), [("12,000.01", "0", "12,000"), ("5,000", "8,000", "4,000")])
    def test_payment_above_the_room_is_refused_whole_and_the_quota_stays(
        self, payment: str, paid: str, left: str
    ) -> None:
        """Computed: one payment of 12,000.01 is refused, quota left 12,000."""
        with pytest.raises(RuleRefused) as refused:
            payment_allowed(fen(payment), fen(paid), today())
        assert (refused.value.rule, refused.value.reason) == ("pp.cap.year", "condition_not_met")
        assert refused.value.detail == {"left_fen": fen(left)}

    def test_payment_of_nothing_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="more than zero"):
            payment_allowed(0, 0, today())


class TestSaving:
    """pp.tax.in and pp.tax.out: what a payment saves, and costs later."""

    @pytest.mark.parametrize(
        ("taxable", "before", "after", "saved"),
        [("200,000", "23,080", "20,680", "2,400"), ("145,000", "12,080", "10,780", "1,300")],
    )
    def test_published_examples(self, taxable: str, before: str, after: str, saved: str) -> None:
        found = saving(FULL, fen(taxable), "comprehensive", today())
        assert (found.tax_before_fen, found.tax_after_fen, found.saved_fen) == (fen(before), fen(after), fen(saved))
        assert (found.lost_deduction_fen, found.net_fen) == (0, fen(saved) - fen("360"))

    @pytest.mark.parametrize(
        ("kind", "taxable", "saved", "net"),
        [
            ("comprehensive", "36,000", "360", "0"),  # the whole 12,000 at 3 %
            ("comprehensive", "1,000,000", "5,400", "5,040"),  # at 45 %
            ("business", "512,000", "4,200", "3,840"),  # at 35 %
        ],
    )
    def test_whole_payment_in_one_bracket(self, kind: Class, taxable: str, saved: str, net: str) -> None:
        found = saving(FULL, fen(taxable), kind, today())
        assert (found.saved_fen, found.exit_tax_fen, found.net_fen) == (fen(saved), fen("360"), fen(net))

    def test_taxable_income_below_the_payment_loses_the_rest(self) -> None:
        """Computed: taxable 10,000 saves 300, loses 2,000 of deduction, and costs 60 in the end."""
        found = saving(FULL, fen("10,000"), "comprehensive", today())
        assert (found.tax_before_fen, found.tax_after_fen, found.saved_fen) == (fen("300"), 0, fen("300"))
        assert (found.lost_deduction_fen, found.net_fen) == (fen("2,000"), -fen("60"))

    def test_without_taxable_income_it_only_costs(self) -> None:
        """A trap: an annuity payout is taxed apart, so it is no income to deduct a payment from."""
        assert payout_tax_fen("yearly", FULL, today()) == fen("360")
        found = saving(FULL, 0, "comprehensive", today())
        assert (found.saved_fen, found.exit_tax_fen, found.net_fen) == (0, fen("360"), -fen("360"))
        assert found.lost_deduction_fen == FULL

    def test_payment_above_the_cap_is_refused(self) -> None:
        with pytest.raises(RuleRefused, match=r"pp\.cap\.year"):
            saving(FULL + 1, fen("200,000"), "comprehensive", today())

    def test_paying_nothing_saves_nothing(self) -> None:
        found = saving(0, fen("200,000"), "comprehensive", today())
        assert (found.saved_fen, found.exit_tax_fen, found.lost_deduction_fen) == (0, 0, 0)

    @given(paid_fen=st.integers(0, FULL), taxable_fen=st.integers(0, 2 * 10**8), more_fen=st.integers(0, 10**8))
    @settings(max_examples=scaled(1_000), deadline=None)
    def test_higher_income_never_saves_less(self, paid_fen: int, taxable_fen: int, more_fen: int) -> None:
        poorer = saving(paid_fen, taxable_fen, "comprehensive", today())
        richer = saving(paid_fen, taxable_fen + more_fen, "comprehensive", today())
        # Each of the four taxes is rounded by itself.
        assert richer.saved_fen >= poorer.saved_fen - 1
        assert 0 <= poorer.saved_fen <= paid_fen
        assert poorer.lost_deduction_fen == max(0, paid_fen - taxable_fen)

    def test_rules_are_cited_with_what_is_open(self) -> None:
        rules = today()
        saving(FULL, fen("200,000"), "comprehensive", rules)
        assert cited_rules(rules) == {"pp.cap.year", "pp.tax.in", "tax.annual", "pp.tax.out"}
        assert {cited.rule for cited in rules.cited if cited.uncertain} == {"pp.cap.year", "pp.tax.in", "pp.tax.out"}

    def test_pilot_years_say_that_the_city_is_not_checked(self) -> None:
        rules = Rules(date(2023, 12, 31))
        saving(FULL, fen("200,000"), "comprehensive", rules)
        cited = {each.rule: each for each in rules.cited}
        assert cited["pp.tax.in"].source == "PT34"
        assert "pilot" in (cited["pp.tax.in"].uncertain or "")


class TestExitTax:
    """pp.tax.out: 3 % of principal and return."""

    def test_published_example(self) -> None:
        assert exit_tax_fen(fen("360,000"), today()) == fen("10,800")

    def test_covers_the_return_too(self) -> None:
        """A trap: 12,000 that became 20,000 pays 600, not 240 and not 360."""
        assert exit_tax_fen(fen("20,000"), today()) == fen("600")

    @pytest.mark.parametrize(("payout_fen", "tax_fen"), [(0, 0), (16, 0), (17, 1), (50, 2)])
    def test_rounds_half_up(self, payout_fen: int, tax_fen: int) -> None:
        assert exit_tax_fen(payout_fen, today()) == tax_fen

    def test_inherited_balance_is_open(self) -> None:
        rules = today()
        assert death_tax_fen(fen("100,000"), "balance", rules) == fen("3,000")
        assert death_tax_fen(fen("100,000"), "insurance_death_benefit", rules) == fen("3,000")
        assert [(cited.case, cited.confidence) for cited in rules.cited] == [
            ("balance", "C"),
            ("insurance_death_benefit", "C"),
        ]
        assert all(cited.uncertain for cited in rules.cited)


def test_thirty_years_at_five_percent() -> None:
    """Computed: 12,000 at each year's start become 837,129.48."""
    assert grown_fen(FULL, 30, Fraction("0.05")) == fen("837,129.48")
    assert grown_fen(FULL, 30, Fraction(0)) == 30 * FULL


class TestPayouts:
    """pp.out.method: every schedule ends exactly empty."""

    def test_by_payout_months(self) -> None:
        """72,000 at 60 with M = 139: 517.99 a month, the figure of the first pillar."""
        found = payouts_by_payout_months(fen("72,000"), Fraction(139), today())
        assert (len(found), found[0], sum(found)) == (139, fen("517.99"), fen("72,000"))

    def test_payout_months_that_are_no_whole_number(self) -> None:
        """M(60, 1) = 138.4: 138 full payments, and the last is 0.4 of one."""
        found = payouts_by_payout_months(fen("13,840"), Fraction("138.4"), today())
        assert found == (fen("100"),) * 138 + (fen("40"),)

    def test_by_months(self) -> None:
        assert payouts_by_months(100, 3, today()) == (33, 34, 33)
        assert payouts_by_months(1, 3, today()) == (0, 1, 0)

    def test_by_amount(self) -> None:
        assert payouts_by_amount(fen("2,500"), fen("1,000"), today()) == (fen("1,000"), fen("1,000"), fen("500"))
        assert payouts_by_amount(fen("2,000"), fen("1,000"), today()) == (fen("1,000"), fen("1,000"))
        assert payouts_by_amount(0, fen("1,000"), today()) == ()

    def test_in_parts(self) -> None:
        assert payouts_in_parts(10, [3, 7], today()) == (3, 7)

    @pytest.mark.parametrize("parts", [[], [3, 6], [3, 8], [10, 0], [11, -1]])
    def test_parts_that_do_not_make_the_balance_are_refused(self, parts: list[int]) -> None:
        with pytest.raises(RuleRefused, match=r"pp\.out\.method"):
            payouts_in_parts(10, parts, today())

    def test_lump_sum(self) -> None:
        assert payout_lump(5, today()) == (5,)
        assert payout_lump(0, today()) == ()

    @given(
        balance_fen=st.integers(0, 10**10),
        months=st.fractions(min_value=Fraction(1, 10), max_value=300, max_denominator=120),
    )
    @settings(max_examples=scaled(500), deadline=None)
    def test_equal_payments_end_exactly_empty(self, balance_fen: int, months: Fraction) -> None:
        """Invariant 3 of personal_pension.py; and each full payment is within a fen of balance / M."""
        found = payouts_by_payout_months(balance_fen, months, today())
        assert sum(found) == balance_fen
        assert len(found) == -(-months // 1)
        assert all(abs(each - balance_fen / months) <= 1 for each in found[:-1])

    @given(balance_fen=st.integers(0, 10**8), amount_fen=st.integers(10**5, 10**7))
    @settings(max_examples=scaled(500), deadline=None)
    def test_fixed_payments_end_exactly_empty(self, balance_fen: int, amount_fen: int) -> None:
        found = payouts_by_amount(balance_fen, amount_fen, today())
        assert sum(found) == balance_fen
        assert all(each == amount_fen for each in found[:-1])
        assert all(0 < each <= amount_fen for each in found)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda rules: payouts_by_amount(fen("1,200.01"), 100, rules),
            lambda rules: payouts_by_amount(100, 0, rules),
            lambda rules: payouts_by_months(100, 0, rules),
            lambda rules: payouts_by_months(100, 1_201, rules),
        ],
    )
    def test_schedule_without_end_is_refused(self, ask: Callable[[Rules], object]) -> None:
        with pytest.raises(RuleRefused, match=r"pp\.out\.method"):
            ask(today())

    def test_longest_schedule(self) -> None:
        assert len(payouts_by_amount(fen("1,200"), 100, today())) == 1_200
        assert len(payouts_by_months(fen("1,200"), 1_200, today())) == 1_200

    def test_method_is_final_and_that_is_open(self) -> None:
        rules = today()
        assert not method_may_change(rules)
        assert [(cited.rule, cited.confidence, bool(cited.uncertain)) for cited in rules.cited] == [
            ("pp.out.change", "C", True)
        ]

    def test_flexible_early_retirement_is_an_open_choice(self) -> None:
        rules = today()
        assert flexible_early_opens(rules)
        assert rules.cited[0].uncertain is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda rules: payment_allowed(FULL + 1, -1, rules),
        lambda rules: contribution_room_fen(-1, rules),
        lambda rules: exit_tax_fen(-1, rules),
        lambda rules: death_tax_fen(-1, "balance", rules),
        lambda rules: payouts_by_amount(-5, 100, rules),
        lambda rules: payouts_by_months(-5, 3, rules),
        lambda rules: payout_lump(-5, rules),
        lambda rules: saving(100, -1, "comprehensive", rules),
        lambda rules: medical_hardship([MedicalCost(date(2026, 11, 1), "own", -1)], 100, rules),
        lambda rules: medical_hardship([], -1, rules),
        lambda _: grown_fen(100, -1, Fraction(0)),
    ],
)
def test_amounts_below_zero_are_wrong_usage(ask: Callable[[Rules], object]) -> None:
    """A year's payments below zero would make room above the cap, and a balance below zero pay out."""
    with pytest.raises(ValueError, match="zero or more"):
        ask(today())


def own(yuan: str, day: date = date(2025, 8, 1)) -> MedicalCost:
    return MedicalCost(day, "own", fen(yuan))


class TestMedicalHardship:
    """PP_W4_MEDICAL: own cost of 12 months above the province's disposable income of last year."""

    def test_computed_example(self) -> None:
        """2025-09-01: own cost 60,000, income 50,000: allowed, 3 %, and she may pay in again."""
        found = medical_hardship([own("60,000")], fen("50,000"), Rules(APPLIED))
        assert (found.condition, found.counted, found.open_point) == ("PP_W4_MEDICAL", fen("60,000"), False)
        assert found.may_contribute_again
        assert exit_tax_fen(fen("60,000"), Rules(APPLIED)) == fen("1,800")

    def test_cost_equal_to_the_income_is_refused(self) -> None:
        """Computed: the same with own cost 50,000. It must exceed."""
        with pytest.raises(RuleRefused) as refused:
            medical_hardship([own("50,000")], fen("50,000"), Rules(APPLIED))
        assert (refused.value.rule, refused.value.reason) == ("PP_W4_MEDICAL", "condition_not_met")
        assert medical_hardship([own("50,000.01")], fen("50,000"), Rules(APPLIED)).counted == fen("50,000.01")

    def test_counts_the_twelve_months_before_the_application(self) -> None:
        days = {APPLIED: False, date(2025, 8, 31): True, date(2024, 9, 1): True, date(2024, 8, 31): False}
        for day, counts in days.items():
            costs = [own("50,000"), own("1", day)]
            if counts:
                assert medical_hardship(costs, fen("50,000"), Rules(APPLIED)).counted == fen("50,001")
            else:
                with pytest.raises(RuleRefused, match="PP_W4_MEDICAL"):
                    medical_hardship(costs, fen("50,000"), Rules(APPLIED))

    def test_whether_persons_add_up_is_open_and_told(self) -> None:
        costs = [own("30,000"), MedicalCost(date(2025, 8, 1), "minor_child", fen("30,000"), child=1)]
        rules = Rules(APPLIED)
        with pytest.raises(RuleRefused) as refused:
            medical_hardship(costs, fen("50,000"), rules)
        assert refused.value.detail["open_point"] is True
        assert "pp.w4.persons" in {cited.rule for cited in rules.cited if cited.uncertain}

    def test_costs_of_one_child_add_up_and_of_two_do_not(self) -> None:
        one, other = (MedicalCost(date(2025, 8, 1), "minor_child", fen("30,000"), child=child) for child in (1, 2))
        assert medical_hardship([one, one], fen("50,000"), Rules(APPLIED)).counted == fen("60,000")
        with pytest.raises(RuleRefused, match="PP_W4_MEDICAL"):
            medical_hardship([one, other], fen("50,000"), Rules(APPLIED))

    def test_is_not_in_force_before_its_first_day(self) -> None:
        """Announced 2024-12-12, usable 2025-09-01."""
        with pytest.raises(RuleRefused) as refused:
            medical_hardship([own("60,000")], fen("50,000"), Rules(APPLIED - timedelta(days=1)))
        assert (refused.value.rule, refused.value.reason) == ("PP_W4_MEDICAL", "rule_not_in_force")

    def test_as_known_before_the_announcement_there_is_no_such_rule(self) -> None:
        with pytest.raises(RuleRefused) as refused:
            medical_hardship([own("60,000")], fen("50,000"), Rules(APPLIED, known_on=date(2024, 12, 11)))
        assert refused.value.reason == "rule_not_in_force"
        medical_hardship([own("60,000")], fen("50,000"), Rules(APPLIED, known_on=date(2024, 12, 12)))


def months(first: int, count: int) -> list[str]:
    """So many months from a month on, counted from January of the year 0."""
    return [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(first, first + count)]


class TestUnemploymentHardship:
    """PP_W5_UNEMPLOYED: 12 months of benefit within 2 years."""

    FIRST = 2023 * 12 + 8  # 2023-09, the first of the 24 months before 2025-09

    def test_twelve_months_in_total_are_enough(self) -> None:
        apart = [*months(self.FIRST, 6), *months(self.FIRST + 18, 6)]
        found = unemployment_hardship(apart, Rules(APPLIED))
        assert (found.condition, found.counted, found.may_contribute_again) == ("PP_W5_UNEMPLOYED", 12, True)

    @pytest.mark.parametrize(
        "benefit",
        [
            months(FIRST, 11),
            months(FIRST - 1, 12),  # one of them before the two years
            months(FIRST + 13, 12),  # one of them in the month of the application
            months(FIRST, 6) * 2,  # the same months twice
            [],
        ],
    )
    def test_fewer_are_refused(self, benefit: list[str]) -> None:
        with pytest.raises(RuleRefused) as refused:
            unemployment_hardship(benefit, Rules(APPLIED))
        assert (refused.value.rule, refused.value.reason) == ("PP_W5_UNEMPLOYED", "condition_not_met")
        assert refused.value.detail["needed_months"] == 12

    def test_is_not_in_force_before_its_first_day(self) -> None:
        with pytest.raises(RuleRefused) as refused:
            unemployment_hardship(months(self.FIRST, 12), Rules(date(2025, 8, 31)))
        assert refused.value.reason == "rule_not_in_force"


def test_same_day_of_an_earlier_month() -> None:
    assert months_before(date(2025, 9, 1), 12) == date(2024, 9, 1)
    assert months_before(date(2024, 2, 29), 12) == date(2023, 2, 28)
    assert months_before(date(2025, 1, 31), 2) == date(2024, 11, 30)


class TestPayingInAgain:
    """pp.out.resume: after W2 to W6, not after W1."""

    def test_after_each_condition(self) -> None:
        again = {
            code: may_contribute_again(code, today())
            for code in (
                "PP_W1_AGE",
                "PP_W2_DISABLED",
                "PP_W3_EMIGRATED",
                "PP_W4_MEDICAL",
                "PP_W5_UNEMPLOYED",
                "PP_W6_DIBAO",
            )
        }
        assert [code for code, may in again.items() if not may] == ["PP_W1_AGE"]

    def test_agrees_with_the_conditions_that_payouts_name(self) -> None:
        resume = today().terms("pp.out.resume")
        for code in (*resume.texts("resumes_after"), *resume.texts("ends_after")):
            condition = today().condition("personal_pension", code)
            assert condition is not None
            assert condition.closes_contributions is not may_contribute_again(code, today())

    def test_condition_that_the_rule_does_not_name_is_refused(self) -> None:
        with pytest.raises(RuleRefused, match=r"pp\.out\.resume"):
            may_contribute_again("PP_W0_OTHER", today())

    def test_before_2025_09_no_rule_is_known(self) -> None:
        with pytest.raises(RuleRefused) as refused:
            may_contribute_again("PP_W2_DISABLED", Rules(date(2025, 8, 31)))
        assert (refused.value.rule, refused.value.reason) == ("pp.out.resume", "rule_not_in_force")


def test_payout_has_more_cases_than_three() -> None:
    """A trap: lists with only three cases, or with a loss of nationality; the case is settled abroad."""
    codes = [f"PP_W{number}" for number in range(7)]
    names = ("OTHER", "AGE", "DISABLED", "EMIGRATED", "MEDICAL", "UNEMPLOYED", "DIBAO")
    assert PRODUCTS["personal_pension"].one_per_person
    for code, name in zip(codes, names, strict=True):
        assert today().condition("personal_pension", f"{code}_{name}") is not None


@pytest.mark.parametrize(
    ("rule", "last_day_without", "ask"),
    [
        ("pp.cap.year", date(2022, 11, 3), lambda rules: contribution_room_fen(0, rules)),
        ("pp.tax.in", date(2021, 12, 31), lambda rules: saving(0, 100, "comprehensive", rules)),
        ("pp.tax.out", date(2021, 12, 31), lambda rules: exit_tax_fen(100, rules)),
        ("pp.death.tax", date(2021, 12, 31), lambda rules: death_tax_fen(100, "balance", rules)),
        ("pp.out.method", date(2022, 11, 3), lambda rules: payout_lump(100, rules)),
        ("pp.out.change", date(2022, 11, 3), method_may_change),
        ("pp.out.flexible_early", date(2024, 12, 31), flexible_early_opens),
    ],
)
def test_before_the_first_row_it_is_refused(rule: str, last_day_without: date, ask: Callable[[Rules], object]) -> None:
    with pytest.raises(RuleRefused) as refused:
        ask(Rules(last_day_without))
    assert (refused.value.rule, refused.value.reason) == (rule, "rule_not_in_force")
    ask(Rules(last_day_without + timedelta(days=1)))


def test_first_tax_rule_was_announced_after_it_began() -> None:
    """Valid from 2022-01-01, announced 2022-11-03."""
    with pytest.raises(RuleRefused, match=r"pp\.tax\.out"):
        exit_tax_fen(100, Rules(date(2022, 6, 1), known_on=date(2022, 11, 2)))
    assert exit_tax_fen(100, Rules(date(2022, 6, 1), known_on=date(2022, 11, 3))) == 3
