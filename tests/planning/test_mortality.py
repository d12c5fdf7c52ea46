"""The law of mortality: it has the published life expectancy, and deaths are drawn from it."""

import math

import numpy as np
import pytest

from ledger.planning.draws import life_numbers
from ledger.planning.markets import MARKETS, Life
from ledger.planning.mortality import months_lived, survival

AT_BIRTH = 130 * 12


def without_improvement(law: Life) -> Life:
    return law.model_copy(update={"yearly_improvement": law.yearly_improvement.model_copy(update={"value": 0.0})})


@pytest.mark.parametrize("law", MARKETS.life, ids=lambda law: f"{law.basis}-{law.sex}")
def test_the_law_has_the_published_life_expectancy(law: Life) -> None:
    """Invariant 2: the area under the survival curve from birth, without improvement."""
    alive = survival(without_improvement(law), 0, law.base_year, AT_BIRTH)
    years = (0.5 + alive.sum() - alive[-1] / 2) / 12
    assert years == pytest.approx(law.life_expectancy.value, abs=0.01)


@pytest.mark.parametrize("law", MARKETS.life, ids=lambda law: f"{law.basis}-{law.sex}")
def test_survival_starts_at_one_and_never_rises(law: Life) -> None:
    """Invariant 1."""
    alive = survival(law, 35 * 12, 2026.9, 65 * 12)
    assert 1 > alive[0] > 0.999
    assert np.all(np.diff(alive) < 0)
    assert 0 < alive[-1] < 0.3


def test_mortality_doubles_with_the_stated_years_of_age() -> None:
    law = without_improvement(MARKETS.law("male", "population"))
    doubling = round(law.dispersion_years.value * math.log(2) * 12)

    def force(age_months: int) -> float:
        return -math.log(survival(law, age_months, law.base_year, 1)[0])

    assert force(60 * 12 + doubling) / force(60 * 12) == pytest.approx(2, rel=0.01)


def test_women_outlive_men_and_the_insured_the_population() -> None:
    def at_ninety(sex: str, basis: str) -> float:
        law = next(each for each in MARKETS.life if (each.sex, each.basis) == (sex, basis))
        return float(survival(law, 60 * 12, 2026.9, 30 * 12)[-1])

    assert at_ninety("female", "population") > at_ninety("male", "population")
    assert at_ninety("female", "insured") > at_ninety("male", "insured") > at_ninety("male", "population")


def test_lives_get_longer_with_the_years() -> None:
    law = MARKETS.law("female", "insured")
    assert survival(law, 720, 2050, 360)[-1] > survival(law, 720, 2026, 360)[-1]


def test_a_smaller_number_dies_earlier_and_the_smallest_outlives_the_horizon() -> None:
    """Invariant 3, at the borders: she lives the months at whose end she is still alive."""
    alive = np.array([0.9, 0.5, 0.2])
    numbers = np.array([0.95, 0.9, 0.6, 0.5, 0.3, 0.2, 0.1])
    assert months_lived(alive, numbers).tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_drawn_lives_have_the_chances_of_the_law() -> None:
    """20,000 lives: at every month the share alive is within 0.01 of the law."""
    law = MARKETS.law("male", "insured")
    alive = survival(law, 35 * 12, 2026.9, 780)
    lived = months_lived(alive, life_numbers(3, 10_000))
    share = 1 - np.cumsum(np.bincount(lived, minlength=781))[:780] / 20_000
    assert np.abs(share - alive).max() < 0.01


def test_lives_come_in_opposite_pairs() -> None:
    numbers = life_numbers(3, 1_000)
    assert np.allclose(numbers[:1_000] + numbers[1_000:], 1)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.tolist() != life_numbers(4, 1_000).tolist()
