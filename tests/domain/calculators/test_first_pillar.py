"""The basic pension: printed award notices and examples, to the fen."""

from datetime import date
from fractions import Fraction

import pytest

from ledger.domain.calculators.first_pillar import (
    Record,
    account_fen,
    basic_fen,
    benefit,
    grown_account_fen,
    resident_account_fen,
    years_of,
)
from ledger.domain.rules import RuleRefused, Rules
from tests.domain.calculators.yuan import fen

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
