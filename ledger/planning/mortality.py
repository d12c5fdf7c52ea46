"""How long a person may live: a Gompertz law for each sex, calibrated to a published life expectancy.

The force of mortality at age x in year y is exp((x - mode) / dispersion) / dispersion, less `yearly_improvement` for each
year after the base year. The mode follows from the life expectancy at birth of the base year. As the law knows no deaths
of infants it lies a little too high in middle age; from 60 on, where it matters here, it is close to tables.

1. Survival starts at one and never rises.
2. Without improvement the law has the published life expectancy, within a hundredth of a year.
3. A month of death is drawn by inversion: the same number gives the same month, and a smaller number an earlier one.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.planning.answers import Category
from ledger.planning.markets import MONTHS, Basis, Life, Markets

OLDEST_YEARS: Final = 130
STEPS_A_YEAR: Final = 4
HALVINGS: Final = 50


def life_of(markets: Markets, category: Category, basis: Basis = "insured") -> Life:
    """The law of a person of this category of retirement: its first letter is her sex."""
    return markets.law("male" if category == "M" else "female", basis)


def expectancy_at_birth(mode_years: float, dispersion_years: float) -> float:
    """The life expectancy of the law without improvement: the area under its survival curve, by trapezoids."""
    step = 1 / STEPS_A_YEAR
    alive = [
        math.exp(-math.exp(-mode_years / dispersion_years) * math.expm1(index * step / dispersion_years))
        for index in range(OLDEST_YEARS * STEPS_A_YEAR + 1)
    ]
    return step * (math.fsum(alive) - (alive[0] + alive[-1]) / 2)


@lru_cache(maxsize=16)
def mode_years(life_expectancy: float, dispersion_years: float) -> float:
    """The age at which most die, such that the law has this life expectancy at birth; by bisection."""
    low, high = 0.0, float(OLDEST_YEARS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if expectancy_at_birth(middle, dispersion_years) < life_expectancy:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def survival(law: Life, age_months: int, start_year: float, months: int) -> NDArray[np.float64]:
    """The chance of being alive at the end of each month, given that she is at the start.

    `age_months` is her age when the first month begins, `start_year` the date then, as in 2026.9.
    """
    dispersion = law.dispersion_years.value
    improvement = law.yearly_improvement.value
    mode = mode_years(law.life_expectancy.value, dispersion)
    now = math.exp((age_months / MONTHS - mode) / dispersion - improvement * (start_year - law.base_year)) / dispersion
    slope = 1 / dispersion - improvement
    return np.array([math.exp(-now * math.expm1(slope * month / MONTHS) / slope) for month in range(1, months + 1)])


def months_lived(alive: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each number from 0 to below 1: how many whole months she lives; all of them where she outlives the horizon."""
    return np.searchsorted(-alive, -numbers, side="right").astype(np.int64)
