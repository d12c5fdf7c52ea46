"""What the simulated paths assume of markets, prices and lives: parameters as data, each with its source, and their algebra.

Floats are at home here: nothing in this module is money. A file that breaks an invariant stops the program.

1. Every parameter says whether it is published, and by whom, or an assumption, and why this value.
2. The correlations are symmetric, one on the diagonal, and positive definite.
3. The weights of each mix are not negative and add up to one; no pot has two mixes, and no sex and basis two laws.
4. Only plain sums, products and square roots lead from the file to the loadings, so that every machine has the same.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

MONTHS: Final = 12
FACTORS: Final = ("equities", "bonds", "declared", "inflation", "wages")
# These two are prices that jump; the others are yearly rates that drift back to where the plan sees them.
JUMPING: Final = FACTORS[:2]
PERSISTENT: Final = FACTORS[2:]

Sex = Literal["male", "female"]
Basis = Literal["insured", "population"]
Text = Annotated[str, Field(min_length=1)]


class MarketsInvalid(ValueError):
    """The parameters contradict each other: the release is broken and must not start."""


class PotHasNoMix(LookupError):
    """A plan has a pot of which markets.toml does not say what it holds."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Sourced(_Row):
    kind: Literal["published", "assumption"]
    source: str
    note: Text

    @model_validator(mode="after")
    def _published_by_somebody(self) -> Self:
        """Invariant 1."""
        if self.kind == "published" and not self.source:
            raise ValueError("a published figure names its source")
        return self


class Parameter(_Sourced):
    """One figure and where it comes from."""

    value: float


class Series(_Row):
    """Published yearly figures that parameters are derived from."""

    id: Text
    unit: Text
    source: Text
    first_year: int
    values: Annotated[tuple[float, ...], Field(min_length=2)]


class Persistent(_Row):
    """A yearly rate that strays from the plan: by how much in a year, and which part of it is left a month later."""

    volatility: Parameter
    persistence: Parameter

    @model_validator(mode="after")
    def _drifts_back(self) -> Self:
        if self.volatility.value < 0 or not 0 <= self.persistence.value < 1:
            raise ValueError("a volatility is not negative, a persistence lies from 0 to below 1")
        return self

    @property
    def monthly_shock(self) -> float:
        """The standard deviation of a month's shock that makes yearly averages scatter by `volatility`.

        The average of twelve months scatters less than a month; by how much follows from the persistence alone.
        """
        kept = self.persistence.value
        average = sum(kept ** abs(one - other) for one in range(MONTHS) for other in range(MONTHS)) / MONTHS**2
        return self.volatility.value * math.sqrt((1 - kept * kept) / average)


class Correlation(_Sourced):
    """How the monthly shocks of the factors go together."""

    order: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    @cached_property
    def root(self) -> tuple[tuple[float, ...], ...]:
        """The lower triangle whose product with its own transpose is the matrix (Cholesky)."""
        return lower_root(self.rows)

    @model_validator(mode="after")
    def _is_a_correlation(self) -> Self:
        """Invariant 2."""
        if self.order != FACTORS:
            raise ValueError(f"the order is {', '.join(FACTORS)}")
        if len(self.rows) != len(FACTORS) or any(len(row) != len(FACTORS) for row in self.rows):
            raise ValueError(f"the matrix has {len(FACTORS)} rows of {len(FACTORS)}")
        for one, row in enumerate(self.rows):
            if row[one] != 1 or any(row[other] != self.rows[other][one] for other in range(one)):
                raise ValueError(f"the row of {FACTORS[one]} is not symmetric with one on the diagonal")
        lower_root(self.rows)
        return self


class Mix(_Sourced):
    """What a pot holds, by class."""

    pot: Text
    weights: dict[Literal["equities", "bonds", "declared"], Annotated[float, Field(ge=0, le=1)]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Invariant 3."""
        if not math.isclose(sum(self.weights.values()), 1, abs_tol=1e-9):
            raise ValueError(f"the weights of {self.pot} do not add up to one")
        return self


class Life(_Row):
    """A law of mortality: see `ledger.planning.mortality`."""

    sex: Sex
    basis: Basis
    base_year: int
    life_expectancy: Parameter
    dispersion_years: Parameter
    yearly_improvement: Parameter


class Markets(_Row):
    """All parameters of the paths, checked."""

    series: tuple[Series, ...]
    volatility: dict[Literal["equities", "bonds"], Parameter]
    persistent: dict[Literal["declared", "inflation", "wages"], Persistent]
    correlation: Correlation
    pension_indexing: Parameter
    mix: tuple[Mix, ...]
    life: tuple[Life, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.volatility) != set(JUMPING) or set(self.persistent) != set(PERSISTENT):
            raise ValueError("every factor has its volatility")
        if any(each.value < 0 for each in self.volatility.values()):
            raise ValueError("a volatility is not negative")
        _once("mix", [each.pot for each in self.mix])
        _once("life", [(each.sex, each.basis) for each in self.life])
        return self

    def law(self, sex: Sex, basis: Basis) -> Life:
        """The law of mortality of one sex. Raises KeyError where the file has none."""
        return {(each.sex, each.basis): each for each in self.life}[sex, basis]

    def weights(self, pot: str) -> Mapping[str, float]:
        """What the pot holds, by class. Raises PotHasNoMix."""
        for each in self.mix:
            if each.pot == pot:
                return {factor: each.weights.get(factor, 0.0) for factor in FACTORS[:3]}
        raise PotHasNoMix(f"markets.toml says of no mix for {pot}")

    def still(self) -> "Markets":
        """The same with every volatility nought: the paths are then all the plan itself."""
        quiet = {name: each.model_copy(update={"value": 0.0}) for name, each in self.volatility.items()}
        steady = {
            name: each.model_copy(update={"volatility": each.volatility.model_copy(update={"value": 0.0})})
            for name, each in self.persistent.items()
        }
        return self.model_copy(update={"volatility": quiet, "persistent": steady})

    def monthly_scale(self) -> NDArray[np.float64]:
        """The standard deviation of a month's shock, by factor."""
        jumps = [self.volatility[name].value / math.sqrt(MONTHS) for name in ("equities", "bonds")]
        drifts = [self.persistent[name].monthly_shock for name in ("declared", "inflation", "wages")]
        return np.array([*jumps, *drifts])

    def monthly_variance(self, weights: Mapping[str, float]) -> float:
        """The variance of a month's return of a mix, by what jumps in it."""
        scale: list[float] = self.monthly_scale().tolist()
        shares = [weights[name] * scale[place] for place, name in enumerate(JUMPING)]
        rows = self.correlation.rows
        return math.fsum(one * other * rows[i][j] for i, one in enumerate(shares) for j, other in enumerate(shares))

    def persistence(self) -> NDArray[np.float64]:
        """What is left of a deviation a month later, for each of `PERSISTENT`."""
        return np.array([self.persistent[name].persistence.value for name in ("declared", "inflation", "wages")])


def _once(what: str, keys: Sequence[object]) -> None:
    if len(keys) != len(set(keys)):
        raise ValueError(f"a {what} stands twice")


def lower_root(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Cholesky's root of a symmetric matrix. Raises MarketsInvalid where the matrix is not positive definite."""
    size = len(matrix)
    root = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            rest = matrix[row][column] - sum(root[row][k] * root[column][k] for k in range(column))
            if row != column:
                root[row][column] = rest / root[column][column]
            elif rest > 0:
                root[row][row] = math.sqrt(rest)
            else:
                raise MarketsInvalid(f"the correlations are not positive definite at {FACTORS[row]}")
    return tuple(tuple(row) for row in root)


def packaged() -> Markets:
    """Read markets.toml and check it."""
    text = files(__package__).joinpath("markets.toml").read_text(encoding="utf-8")
    return Markets.model_validate(tomllib.loads(text))


MARKETS: Final = packaged()
