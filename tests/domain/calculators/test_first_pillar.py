"""The basic pension: printed award notices and examples, to the fen."""

from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from ledger.domain.calculators.first_pillar import (
    AccountYear,
    DrawingPlace,
    Record,
    Stay,
    account_fen,
    account_years,
    basic_fen,
    benefit,
    drawing_place,
    grown_account_fen,
    resident_account_fen,
)
from ledger.domain.calculators.retirement import years_of
from ledger.domain.rules import RuleRefused, Rules
from ledger.domain.rules.book import checked, packaged_tables
from tests.domain.calculators.yuan import cited_rules, fen

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("base", "index", "months", "expected"),
    [
        ("4,000", "0.6", 180, "480"),
        ("4,000", "3.0", 480, "3,200"),
        ("12,049", "0.8", 360, "3,253.23"),
    ],
)
def test_the_printed_basic_pensions(base: str, index: str, months: int, expected: str) -> None:
    """RULES.md section 11."""
    assert basic_fen(fen(base), Fraction(index), months, Rules(TODAY)) == fen(expected)


def test_the_award_notice_of_2024() -> None:
    """CN-51 2024-04: 1,288.08 + 467.42 + extra 117.61 = 1,873.11."""
    record = Record(
        birth="1974-04",
        base_fen=fen("8,079"),
        index=Fraction("0.84"),
        months=208,
        account_fen=fen("91,147.87"),
        age_months=600,
    )
    found = benefit(record, Rules(date(2024, 4, 1), "CN-51"))
    assert (found.basic_fen, found.account_fen, found.extra_fen) == (fen("1,288.08"), fen("467.42"), fen("117.61"))
    assert (found.transition_fen, found.total_fen) == (0, fen("1,873.11"))


def test_the_award_notice_of_2025_with_transition() -> None:
    """CN-51 2025-12: 3,412.12 + 806.65 + 1,346.79 + 317.88 = 5,883.44; the notice also prints 317.92 for one part."""
    rules = Rules(date(2025, 12, 1), "CN-51")
    record = Record(
        birth="1965-11",
        base_fen=fen("8,462"),
        index=Fraction("0.872"),
        months=517,
        account_fen=fen("111,640.05"),
        age_months=721,
        pre_account_months=157,
    )
    found = benefit(record, rules)
    assert (found.basic_fen, found.account_fen) == (fen("3,412.12"), fen("806.65"))
    assert (found.transition_fen, found.extra_fen) == (fen("1,346.79"), fen("317.88"))
    assert found.total_fen == fen("5,883.44")
    assert {each.rule for each in rules.cited if each.confidence == "C"} == {"fp.M.month", "fp.transition", "fp.extra"}


def test_the_transition_of_beijing() -> None:
    """CN-11: B 12,049, 3.0 deemed years: 361.47."""
    record = Record(
        birth="1963-01",
        base_fen=None,
        index=Fraction("0.8"),
        months=396,
        deemed_months=36,
        account_fen=0,
        age_months=720,
    )
    assert benefit(record, Rules(date(2025, 3, 1), "CN-11")).transition_fen == fen("361.47")


def test_months_before_the_account_without_a_local_row_are_told_and_not_made_up() -> None:
    """Invariant 3: the transition outside CN-11 and CN-51 is open (RULES.md section 12, point 11)."""
    record = Record(
        birth="1963-01",
        base_fen=fen("9,000"),
        index=Fraction(1),
        months=400,
        deemed_months=12,
        account_fen=0,
        age_months=720,
    )
    found = benefit(record, Rules(TODAY, "CN-31"))
    assert (found.transition_fen, found.open_parts) == (0, ("fp.transition",))


def test_months_that_the_local_rule_cannot_place_are_told() -> None:
    """Invariant 3: Beijing asks for deemed months and those of 1992-10 to 1998-06, and not for those before the account."""
    record = Record(
        birth="1965-01",
        base_fen=fen("8,000"),
        index=Fraction(1),
        months=200,
        account_fen=0,
        age_months=721,
        pre_account_months=100,
    )
    found = benefit(record, Rules(TODAY, "CN-11"))
    assert (found.transition_fen, found.open_parts) == (0, ("fp.transition",))
    assert benefit(record, Rules(TODAY, "CN-5101")).transition_fen > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"months": -12},
        {"index": Fraction(-1)},
        {"base_fen": -1},
        {"account_fen": -1},
        {"deemed_months": -1},
        {"deemed_months": 101, "actual_months_1992_10_to_1998_06": 100},
        {"pre_account_months": 201},
    ],
)
def test_a_record_that_contradicts_itself_is_wrong_usage(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"base_fen": 1, "index": Fraction(1), "months": 200, "account_fen": 0}
    record = Record(birth="1965-01", age_months=721, **right | wrong)
    with pytest.raises(ValueError, match=r"zero or more|give all that count"):
        benefit(record, Rules(TODAY))


def test_the_account_at_sixty() -> None:
    """72,000 / 139 = 517.99 (printed)."""
    assert account_fen(fen("72,000"), 720, Rules(TODAY)) == fen("517.99")


def test_the_base_of_a_year_that_is_not_published_is_refused() -> None:
    """fp.B of 2026: no row, no extrapolation."""
    record = Record(birth="1966-01", base_fen=None, index=Fraction(1), months=300, account_fen=0, age_months=722)
    with pytest.raises(RuleRefused) as refused:
        benefit(record, Rules(TODAY, "CN-11"))
    assert (refused.value.rule, refused.value.reason) == ("fp.B", "rule_not_in_force")


def test_years_have_two_decimals() -> None:
    """Invariant 2: 208 months are 17.33 years, 517 are 43.08, 157 are 13.08."""
    assert [years_of(months) for months in (208, 517, 157, 5)] == [
        Fraction(each) for each in ("17.33", "43.08", "13.08", "0.42")
    ]


def test_the_residents_account_is_divided_by_139() -> None:
    assert resident_account_fen(fen("13,900"), Rules(TODAY)) == fen("100")


class TestBookRate:
    def test_each_year_has_its_rate_and_what_is_paid_earns_from_the_next(self) -> None:
        """2023 3.97 % and 2024 2.62 %; a page prints 3.97 % for 2022, which had 6.12 %."""
        grown = grown_account_fen(fen("10,000"), {2023: fen("1,000")}, 2023, 2024, Rules(TODAY))
        assert grown == fen("10,000") + fen("397") + fen("1,000") + fen("298.60")
        assert grown_account_fen(fen("10,000"), {}, 2022, 2022, Rules(TODAY)) == fen("10,612")

    @pytest.mark.parametrize("year", [2015, 2026])
    def test_a_year_without_a_published_rate_is_refused(self, year: int) -> None:
        with pytest.raises(RuleRefused, match=r"fp\.book_rate"):
            grown_account_fen(1, {}, year, year, Rules(TODAY))

    def test_year_by_year_it_adds_up(self) -> None:
        """Ten published years; each opens where the one before closed."""
        rules = Rules(TODAY)
        years = account_years(fen("10,000"), dict.fromkeys(range(2016, 2026), fen("1,000")), 2016, 2025, rules)
        assert years[0] == AccountYear(2016, fen("10,000"), fen("1,000"), fen("831"), fen("11,831"))
        for before, after in pairwise(years):
            assert after.opening_fen == before.closing_fen
        for year in years:
            assert year.closing_fen == year.opening_fen + year.paid_fen + year.interest_fen
        assert [year.year for year in years] == list(range(2016, 2026))

    @pytest.mark.parametrize(
        ("year", "rate"),
        [
            (2016, "8.31"),
            (2017, "7.12"),
            (2018, "8.29"),
            (2019, "7.61"),
            (2020, "6.04"),
            (2021, "6.69"),
            (2022, "6.12"),
            (2023, "3.97"),
            (2024, "2.62"),
            (2025, "1.50"),
        ],
    )
    def test_the_published_rates(self, year: int, rate: str) -> None:
        """RULES.md section 9.3 and its trap: 2.62 % is of 2024, 3.97 % of 2023."""
        assert grown_account_fen(fen("10,000"), {}, year, year, Rules(TODAY)) == fen("10,000") + fen(rate) * 100

    def test_how_a_year_counts_is_a_row_and_marked(self) -> None:
        """RULES.md section 12, point 7: with the other value, what is paid earns 11/24 of the rate in its own year."""
        rules = Rules(TODAY)
        assert grown_account_fen(0, {2024: fen("24,000")}, 2024, 2024, rules) == fen("24,000")
        marked = {each.rule for each in rules.cited if each.confidence == "C" and each.uncertain}
        assert marked == {"fp.book_rate", "fp.book_rate.method", "fp.book_rate.interest"}
        tables = packaged_tables()
        row = next(row for row in tables["choice"] if row["id"] == "fp.book_rate.method")
        row["value"] = "by_months"
        other = Rules(TODAY, book=checked(tables))
        assert grown_account_fen(0, {2024: fen("24,000")}, 2024, 2024, other) == fen("24,000") + fen("288.20")

    def test_amounts_below_zero_and_years_without_number_are_wrong_usage(self) -> None:
        for opening, paid, first, last in [(-1, {}, 2024, 2024), (0, {2024: -1}, 2024, 2024), (0, {}, 2025, 2024)]:
            with pytest.raises(ValueError, match=r"below zero|are no 1 to"):
                account_years(opening, paid, first, last, Rules(TODAY))


class TestDrawingPlace:
    """国办发〔2009〕66号: household place; current place with ten years; last place with ten; household place."""

    @pytest.mark.parametrize(
        ("stays", "expected"),
        [
            ([("CN-31", 300), ("CN-51", 1)], DrawingPlace("CN-51", "household")),
            ([("CN-51", 100), ("CN-31", 120)], DrawingPlace("CN-31", "current")),
            ([("CN-51", 100), ("CN-11", 130), ("CN-31", 119)], DrawingPlace("CN-11", "last_with_years")),
            ([("CN-11", 130), ("CN-44", 120), ("CN-31", 119)], DrawingPlace("CN-44", "last_with_years")),
            ([("CN-11", 119), ("CN-31", 119)], DrawingPlace("CN-51", "household")),
            ([("CN-31", 60), ("CN-11", 10), ("CN-3101", 60)], DrawingPlace("CN-31", "current")),
            ([("CN-51", 200), ("CN-31", 60)], DrawingPlace("CN-51", "last_with_years")),
            ([], DrawingPlace("CN-51", "household")),
        ],
    )
    def test_the_order(self, stays: list[tuple[str, int]], expected: DrawingPlace) -> None:
        rules = Rules(TODAY)
        assert drawing_place("CN-5101", [Stay(*stay) for stay in stays], rules) == expected
        assert cited_rules(rules) == {"fp.place"}

    def test_before_the_rule_it_is_refused(self) -> None:
        with pytest.raises(RuleRefused, match=r"fp\.place"):
            drawing_place("CN-51", [], Rules(date(2009, 12, 31)))


@pytest.mark.parametrize("on", [date(2005, 12, 31), date(1999, 1, 1)])
def test_before_the_decision_of_2005_no_benefit_is_computed(on: date) -> None:
    """SC38 is in force from 2006-01-01; the refusal names the rule."""
    with pytest.raises(RuleRefused) as refused:
        basic_fen(fen("1,000"), Fraction(1), 180, Rules(on))
    assert (refused.value.rule, refused.value.reason) == ("fp.basic", "rule_not_in_force")
    with pytest.raises(RuleRefused) as refused:
        account_fen(1, 720, Rules(on))
    assert refused.value.rule == "fp.M"


def test_each_part_is_rounded_by_itself_and_the_total_is_their_sum() -> None:
    """Invariant 1, over records of all kinds."""
    for area in ("CN-11", "CN-51", "CN-31", "CN"):
        rules = Rules(TODAY, area)
        for number in range(120):
            record = Record(
                birth="1965-01",
                base_fen=700_000 + 1_237 * number,
                index=Fraction(60 + 2 * number, 100),
                months=180 + number,
                deemed_months=number // 3,
                actual_months_1992_10_to_1998_06=number // 2,
                account_fen=9_999_999 + 31 * number,
                age_months=600 + number,
            )
            found = benefit(record, rules)
            parts = (found.basic_fen, found.account_fen, found.transition_fen, found.extra_fen)
            assert found.total_fen == sum(parts)
            assert all(isinstance(part, int) and part >= 0 for part in parts)
            assert (found.transition_fen > 0) == (area in {"CN-11", "CN-51"} and number >= 2)


def test_a_higher_index_more_months_and_a_larger_account_never_lower_the_pension() -> None:
    rules = Rules(TODAY, "CN-51")

    def total(index: int, months: int, account: int) -> int:
        record = Record(
            birth="1965-01",
            base_fen=846_200,
            index=Fraction(index, 100),
            months=months,
            account_fen=account,
            age_months=721,
        )
        return benefit(record, rules).total_fen

    for step in range(0, 240, 7):
        assert total(60 + step, 200, 10**7) <= total(67 + step, 200, 10**7)
        assert total(80, 180 + step, 10**7) <= total(80, 187 + step, 10**7)
        assert total(80, 200, 10**6 * step) <= total(80, 200, 10**6 * (step + 7))


def test_what_needs_sign_off_is_visible() -> None:
    """The residents' scheme and Shenzhen's base are of confidence C."""
    rules = Rules(date(2025, 6, 1), "CN-4403")
    assert rules.limit("fp.B").value == fen("11,293")
    resident_account_fen(1, rules)
    assert [(each.rule, each.confidence, each.uncertain is not None) for each in rules.cited] == [
        ("fp.B", "C", True),
        ("fp.resident", "C", True),
    ]
