"""When one may retire, what that needs, and payout months: the printed examples, the traps, and all birth months."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from ledger.domain.calculators.retirement import (
    flexible_window,
    minimum_at,
    minimum_months,
    missing,
    payout_months,
    statutory,
)
from ledger.domain.calendar import month_number, period_of_number
from ledger.domain.rules import RuleRefused, Rules

if TYPE_CHECKING:
    from ledger.domain.calculators.retirement import Category

TODAY = date(2026, 11, 22)


def months(years: int, further: int = 0) -> int:
    return years * 12 + further


class TestStatutory:
    @pytest.mark.parametrize(
        ("category", "birth", "delay", "age", "month"),
        [
            ("M", "1964-12", 0, months(60), "2024-12"),
            ("M", "1965-01", 1, months(60, 1), "2025-02"),
            ("M", "1965-04", 1, months(60, 1), "2025-05"),
            ("M", "1965-05", 2, months(60, 2), "2025-07"),
            ("M", "1971-07", 20, months(61, 8), "2033-03"),
            ("M", "1976-09", 36, months(63), "2039-09"),
            ("F55", "1970-01", 1, months(55, 1), "2025-02"),
            ("F55", "1981-09", 36, months(58), "2039-09"),
            ("F50", "1975-01", 1, months(50, 1), "2025-02"),
            ("F50", "1975-03", 2, months(50, 2), "2025-05"),
            ("F50", "1984-11", 60, months(55), "2039-11"),
        ],
    )
    def test_printed_examples(self, category: Category, birth: str, delay: int, age: int, month: str) -> None:
        """RULES.md section 11; without the `+ 1` of the formula 1965-01 would have no delay."""
        found = statutory(birth, category, Rules(TODAY))
        assert (found.delay_months, found.age_months, found.month) == (delay, age, month)

    @pytest.mark.parametrize(("category", "original", "last"), [("M", 60, 63), ("F55", 55, 58), ("F50", 50, 55)])
    def test_it_rises_by_at_most_a_month_and_ends_at_the_highest_age(
        self, category: Category, original: int, last: int
    ) -> None:
        """Over all birth months of 1955 to 1995 nobody born later retires earlier."""
        rules = Rules(TODAY)
        births = [period_of_number(number) for number in range(month_number("1955-01"), month_number("1996-01"))]
        ages = [statutory(birth, category, rules).age_months for birth in births]
        assert (ages[0], ages[-1]) == (months(original), months(last))
        assert all(later - earlier in {0, 1} for earlier, later in pairwise(ages))

    @pytest.mark.parametrize(
        ("category", "first_with_delay"), [("M", "1965-01"), ("F55", "1970-01"), ("F50", "1975-01")]
    )
    def test_delays_begin_with_the_reform_and_nowhere_before(self, category: Category, first_with_delay: str) -> None:
        """Who reaches the original age by 2024-12 has none; the month after has the first."""
        rules = Rules(TODAY)
        number = month_number(first_with_delay)
        assert statutory(period_of_number(number - 1), category, rules).delay_months == 0
        assert statutory(period_of_number(number), category, rules).delay_months == 1
        assert statutory(period_of_number(number), category, rules).month == "2025-02"

    @pytest.mark.parametrize(
        ("category", "last", "month"),
        [("M", "1976-09", "2039-09"), ("F55", "1981-09", "2039-09"), ("F50", "1984-11", "2039-11")],
    )
    def test_the_statutory_table_closes(self, category: Category, last: str, month: str) -> None:
        """The last row of each table, at 63, 58 and 55; everybody born later has that age."""
        rules = Rules(TODAY)
        at_end, after = statutory(last, category, rules), statutory("1995-12", category, rules)
        assert (at_end.month, at_end.age_months) == (month, after.age_months)
        before = statutory(period_of_number(month_number(last) - 1), category, rules)
        assert before.age_months == at_end.age_months - 1

    def test_women_of_flexible_work_are_marked(self) -> None:
        """RULES.md section 12, point 15: the category is given for each person."""
        rules = Rules(TODAY)
        statutory("1975-06", "F55", rules)
        assert any(each.uncertain for each in rules.cited if (each.rule, each.case) == ("ret.age", "F55"))

    def test_the_law_of_the_month_counts_not_that_of_the_day_of_asking(self) -> None:
        """Asked in 2024, and knowing the decision, 1965-01 has the delay already; before it was known, none."""
        assert statutory("1965-01", "M", Rules(date(2024, 10, 1))).delay_months == 1
        assert statutory("1965-01", "M", Rules(date(2024, 6, 1), known_on=date(2024, 6, 1))).delay_months == 0

    def test_the_rule_is_cited_with_its_article(self) -> None:
        rules = Rules(TODAY)
        statutory("1971-07", "M", rules)
        assert ("ret.age", "M", "1") in {(each.rule, each.case, each.article) for each in rules.cited}


class TestFlexibleWindow:
    def test_printed_example(self) -> None:
        """M 1971-07: 60 to 64 years and 8 months, and not from 58 years and 8 months on."""
        found = flexible_window("1971-07", "M", Rules(TODAY))
        assert (found.earliest_age_months, found.latest_age_months) == (months(60), months(64, 8))
        assert (found.earliest_month, found.latest_month) == ("2031-07", "2036-03")
        assert (found.earliest_notice_months, found.latest_notice_months) == (3, 1)

    @pytest.mark.parametrize(("category", "original"), [("M", 60), ("F55", 55), ("F50", 50)])
    def test_never_below_the_original_age_and_never_more_than_three_years_off(
        self, category: Category, original: int
    ) -> None:
        rules = Rules(TODAY)
        # From whom the whole window lies after the reform.
        for number in range(month_number(f"{2028 - original}-01"), month_number("1996-01")):
            birth = period_of_number(number)
            found, by_law = flexible_window(birth, category, rules), statutory(birth, category, rules)
            assert found.earliest_age_months == max(months(original), by_law.age_months - 36)
            assert found.latest_age_months == by_law.age_months + 36

    def test_before_2025_nothing_was_flexible(self) -> None:
        found = flexible_window("1964-11", "M", Rules(TODAY))
        assert (found.is_flexible, found.earliest_month, found.latest_month) == (False, "2024-11", "2024-11")

    def test_as_known_before_the_reform_there_is_one_month_and_fifteen_years(self) -> None:
        """known_on: the rows of before, with their ends not yet known; and the minimum of then is marked."""
        rules = Rules(date(2020, 1, 1), known_on=date(2020, 1, 1))
        found = flexible_window("1971-07", "M", rules)
        assert (found.earliest_month, found.latest_month, found.is_flexible) == ("2031-07", "2031-07", False)
        assert found.earliest_minimum_months == months(15)
        assert [(each.confidence, bool(each.uncertain)) for each in rules.cited if each.rule == "ret.min_years"] == [
            ("C", True)
        ]

    def test_nobody_retires_early_before_the_rule_began(self) -> None:
        """Three years before 2025-02 the window did not exist."""
        assert flexible_window("1975-01", "F50", Rules(TODAY)).earliest_month == "2025-01"

    def test_the_year_of_the_minimum_is_chosen_early_and_statutory_late(self) -> None:
        """ret.flex.min_year, confidence C."""
        rules = Rules(TODAY)
        assert minimum_at("2031-07", "2033-03", rules) == months(16)
        assert minimum_at("2036-03", "2033-03", rules) == months(17)
        assert all(each.confidence == "C" for each in rules.cited if each.rule.startswith("ret.flex.min_year"))


class TestMinimum:
    @pytest.mark.parametrize(
        ("year", "years"), [(2025, "15"), (2029, "15"), (2030, "15.5"), (2038, "19.5"), (2039, "20"), (2060, "20")]
    )
    def test_printed_years(self, year: int, years: str) -> None:
        assert minimum_months(year, Rules(TODAY)) == Fraction(years) * 12

    def test_before_the_reform_fifteen(self) -> None:
        assert minimum_months(2024, Rules(TODAY)) == minimum_months(2006, Rules(TODAY)) == months(15)

    def test_from_2030_to_2039_half_a_year_more_each_year(self) -> None:
        """RET/2."""
        found = [minimum_months(year, Rules(TODAY)) for year in range(2029, 2041)]
        assert found == [*range(180, 241, 6), 240]

    def test_before_the_first_year_it_is_refused_by_name(self) -> None:
        with pytest.raises(RuleRefused, match=r"ret\.min_years"):
            minimum_months(2005, Rules(TODAY))

    def test_who_is_short_of_years_is_told_the_rule(self) -> None:
        rules = Rules(TODAY)
        found = missing("2033-03", "2033-03", 200, rules)
        assert (found.minimum_months, found.missing_months) == (204, 4)
        assert (found.missing_years, found.reached_month) == (Fraction("0.33"), "2033-07")
        assert found.ways == ("prolong", "lump_sum")
        assert {each.rule for each in rules.cited if each.uncertain} == {"ret.short", "ret.short.ways"}
        assert "ret.short" in {each.rule for each in rules.cited}
        assert missing("2033-03", "2033-03", 204, Rules(TODAY)).missing_months == 0


class TestPayoutMonths:
    @pytest.mark.parametrize(
        ("years", "further", "expected"),
        [
            (40, 0, "233"),
            (47, 0, "208"),
            (50, 0, "195"),
            (60, 0, "139"),
            (60, 1, "138.4"),
            (60, 6, "135.5"),
            (66, 0, "93"),
            (70, 0, "56"),
        ],
    )
    def test_printed_months(self, years: int, further: int, expected: str) -> None:
        """SC38's annex, and the linear rule between whole ages; not 207 at 47, 94 at 66 or 136.1 at 60.5."""
        assert payout_months(months(years, further), Rules(TODAY)) == Fraction(expected)

    def test_before_2025_the_whole_age_counts(self) -> None:
        assert payout_months(months(60, 6), Rules(date(2024, 12, 31))) == 139

    def test_it_falls_with_every_month(self) -> None:
        rules = Rules(TODAY)
        found = [payout_months(age, rules) for age in range(months(40), months(70) + 1)]
        assert all(earlier > later for earlier, later in pairwise(found))

    @pytest.mark.parametrize("age", [months(39, 11), months(70, 1), months(80)])
    def test_outside_the_annex_it_is_refused_by_name(self, age: int) -> None:
        """Nothing is extrapolated."""
        with pytest.raises(RuleRefused, match=r"fp\.M") as refused:
            payout_months(age, Rules(TODAY))
        assert refused.value.reason == "condition_not_met"

    def test_the_whole_annex(self) -> None:
        """SC38, annex, ages 40 to 70."""
        annex = [
            *(233, 230, 226, 223, 220, 216, 212, 208, 204, 199, 195, 190, 185, 180, 175, 170),
            *(164, 158, 152, 145, 139, 132, 125, 117, 109, 101, 93, 84, 75, 65, 56),
        ]
        assert [payout_months(months(age), Rules(TODAY)) for age in range(40, 71)] == annex

    def test_between_whole_ages_the_rule_is_marked(self) -> None:
        """RULES.md section 12, point 6."""
        rules = Rules(TODAY)
        payout_months(months(60, 1), rules)
        marked = {each.rule: each.confidence for each in rules.cited if each.uncertain}
        assert marked == {"fp.M.month": "C"}
