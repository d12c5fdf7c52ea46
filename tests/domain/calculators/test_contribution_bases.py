"""Contribution bases of the first pillar by area and date, and what is paid on them."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.calculators.contribution_bases import FirstPillar, base, bounds, first_pillar, on_base
from ledger.domain.rules import RuleRefused, Rules
from tests.domain.calculators.yuan import cited_rules, fen
from tests.scale import scaled

JULY = date(2025, 7, 1)
SHANGHAI, BEIJING = "CN-31", "CN-11"


class TestBase:
    """fp.base: clamp(wage, floor, cap)."""

    @pytest.mark.parametrize(
        ("area", "wage", "expected"),
        [
            (SHANGHAI, "60,000", "37,302"),
            (SHANGHAI, "37,302.01", "37,302"),
            (SHANGHAI, "37,302", "37,302"),
            (SHANGHAI, "37,301.99", "37,301.99"),
            (SHANGHAI, "7,460.01", "7,460.01"),
            (SHANGHAI, "7,460", "7,460"),
            (SHANGHAI, "7,459.99", "7,460"),
            (SHANGHAI, "0", "7,460"),
            (BEIJING, "100,000", "35,811"),
            (BEIJING, "10,000", "10,000"),
            (BEIJING, "2,000", "7,162"),
        ],
    )
    def test_wage_between_the_published_bounds(self, area: str, wage: str, expected: str) -> None:
        assert base(fen(wage), Rules(JULY, area)) == fen(expected)

    def test_bounds_are_published_and_not_sixty_and_three_hundred_percent_of_the_average(self) -> None:
        """60 % of 12,434 would be 7,460.40."""
        assert bounds(Rules(JULY, SHANGHAI)) == (fen("7,460"), fen("37,302"))
        assert bounds(Rules(JULY, BEIJING)) == (fen("7,162"), fen("35,811"))

    @pytest.mark.parametrize("area", [SHANGHAI, BEIJING])
    @pytest.mark.parametrize("on", [date(2025, 6, 30), date(2026, 7, 1)])
    def test_outside_its_period_it_is_refused(self, area: str, on: date) -> None:
        """The bounds from 2026-07 on are not published: no row, no extrapolation."""
        with pytest.raises(RuleRefused) as refused:
            base(fen("10,000"), Rules(on, area))
        assert (refused.value.rule, refused.value.reason) == ("fp.base", "rule_not_in_force")
        assert refused.value.detail == {"on": on.isoformat(), "area": area}

    @pytest.mark.parametrize("area", ["CN", "CN-51", "CN-4403"])
    def test_area_without_a_row_is_refused(self, area: str) -> None:
        with pytest.raises(RuleRefused, match=r"fp\.base"):
            base(fen("10,000"), Rules(JULY, area))

    def test_city_falls_back_to_its_province(self) -> None:
        assert base(fen("60,000"), Rules(JULY, "CN-3101")) == fen("37,302")

    def test_last_day_of_the_period(self) -> None:
        assert base(fen("60,000"), Rules(date(2026, 6, 30), SHANGHAI)) == fen("37,302")

    def test_negative_wage_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="zero or more"):
            base(-1, Rules(JULY, SHANGHAI))
        with pytest.raises(ValueError, match="zero or more"):
            on_base(-1, Rules(JULY, SHANGHAI))

    @given(st.integers(0, 10**8), st.integers(0, 10**8))
    @settings(max_examples=scaled(500), deadline=None)
    def test_base_never_falls_and_stays_inside_its_bounds(self, wage_fen: int, more_fen: int) -> None:
        rules = Rules(JULY, SHANGHAI)
        floor_fen, cap_fen = bounds(rules)
        assert floor_fen <= base(wage_fen, rules) <= base(wage_fen + more_fen, rules) <= cap_fen


class TestContributions:
    """fp.rate.*."""

    def test_published_example(self) -> None:
        """CN-31 2025-07, wage 60,000: base 37,302; employee 2,984.16; employer 5,968.32."""
        found = first_pillar(fen("60,000"), Rules(JULY, SHANGHAI))
        assert found == FirstPillar(
            base_fen=fen("37,302"),
            employee_fen=fen("2,984.16"),
            employer_fen=fen("5,968.32"),
            to_account_fen=fen("2,984.16"),
        )

    def test_flexible_worker_pays_twenty_percent_of_which_eight_go_to_the_account(self) -> None:
        found = first_pillar(fen("10,000"), Rules(JULY, BEIJING), flexible=True)
        assert (found.employee_fen, found.employer_fen, found.to_account_fen) == (fen("2,000"), 0, fen("800"))

    def test_base_that_the_person_gives_needs_no_row_of_the_area(self) -> None:
        found = on_base(fen("8,000"), Rules(JULY, "CN-51"))
        assert (found.employee_fen, found.employer_fen) == (fen("640"), fen("1,280"))

    def test_each_part_is_rounded_half_up_by_itself(self) -> None:
        """8 % of 0.19 is 1.52 fen, 16 % is 3.04 fen, 20 % is 3.8 fen."""
        rules = Rules(JULY)
        assert on_base(19, rules) == FirstPillar(base_fen=19, employee_fen=2, employer_fen=3, to_account_fen=2)
        assert on_base(19, rules, flexible=True).employee_fen == 4

    def test_rules_are_cited_with_their_confidence(self) -> None:
        """The date of the employer's 16 % is not confirmed."""
        rules = Rules(JULY, SHANGHAI)
        first_pillar(fen("10,000"), rules)
        assert cited_rules(rules) == {"fp.base", "fp.rate.employee", "fp.rate.employer"}
        cited = {each.rule: each for each in rules.cited}
        assert (cited["fp.base"].area, cited["fp.base"].confidence) == (SHANGHAI, "A")
        assert (cited["fp.rate.employer"].confidence, bool(cited["fp.rate.employer"].uncertain)) == ("C", True)

    def test_employer_rate_before_2019_05_is_refused(self) -> None:
        on_base(fen("5,000"), Rules(date(2019, 5, 1)))
        with pytest.raises(RuleRefused) as refused:
            on_base(fen("5,000"), Rules(date(2019, 4, 30)))
        assert (refused.value.rule, refused.value.reason) == ("fp.rate.employer", "rule_not_in_force")

    def test_own_rate_before_2006_is_refused(self) -> None:
        on_base(fen("5,000"), Rules(date(2006, 1, 1)), flexible=True)
        with pytest.raises(RuleRefused, match=r"fp\.rate\.employee"):
            on_base(fen("5,000"), Rules(date(2005, 12, 31)), flexible=True)
