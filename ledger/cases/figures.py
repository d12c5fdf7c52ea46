"""Figures: what is published of the values of many people, so coarse that it is about none of them.

1. A figure is of at least k people. It is three quartiles, rounded: never the least or the greatest value, and no sum.
2. Where one person has more than a stated share of the sum, there is no figure.
3. How many people there are is said by the greatest bound of a list that they reach.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from ledger.domain.rules import PRODUCTS, Rules

PILLARS = tuple(sorted({product.pillar for product in PRODUCTS.values()}))
CONTRIBUTIONS, BENEFITS, VESTED = "contributions_year_fen", "benefits_year_fen", "vested_percent"
MEASURES = (*(f"balance_pillar_{pillar}_fen" for pillar in PILLARS), CONTRIBUTIONS, BENEFITS, VESTED)
# Fewer than these nobody may ever publish about, whatever the setting says.
LEAST_PEOPLE = 20


class SettingsUnsafe(ValueError):
    """The rules of the case library would publish figures of too few people; raise `cases.people.least`."""


class Settings(NamedTuple):
    """The house rules of publishing, as they hold on an edition's date."""

    least: int
    least_days: int
    most_share: Fraction
    bands: tuple[int, ...]
    from_fen: tuple[int, ...]
    step_fen: tuple[int, ...]
    step_percent: int

    def rounded(self, measure: str, value: int) -> int:
        """Half up to the step of its size."""
        value = max(0, value)
        step = self.step_percent if measure == VESTED else self.step_fen[bisect_right(self.from_fen, value) - 1]
        return (2 * value + step) // (2 * step) * step

    def band(self, people: int) -> int:
        """The greatest bound that so many people reach; the least of all says no more than that there is a figure."""
        return max((bound for bound in self.bands if bound <= people), default=0)


class Figure(NamedTuple):
    """Quartiles of one measure over a cell, rounded, and the number of the edition that they were first published in."""

    measure: str
    since_edition: int
    quarter: int
    median: int
    three_quarters: int


def settings(on: date) -> Settings:
    """The settings in force on a date. Raises SettingsUnsafe, RuleRefused."""
    rules = Rules(on)
    steps = rules.terms("cases.money.steps")
    found = Settings(
        least=rules.limit("cases.people.least").value,
        least_days=rules.limit("cases.edition.least_days").value,
        most_share=rules.rate("cases.dominance.most").value,
        bands=rules.terms("cases.people.bands").wholes("at_least"),
        from_fen=steps.wholes("from_fen"),
        step_fen=steps.wholes("step_fen"),
        step_percent=rules.terms("cases.share.step").whole("percent"),
    )
    if found.least < LEAST_PEOPLE:
        raise SettingsUnsafe(f"{found.least}: {SettingsUnsafe.__doc__}")
    return found


def quartiles(settings: Settings, measure: str, values: Sequence[int], edition: int) -> Figure:
    """By the nearest rank: of 20 people the 5th, the 10th and the 15th, rounded."""
    ordered = sorted(values)
    ranks = [(quarter * len(ordered) + 3) // 4 - 1 for quarter in (1, 2, 3)]
    return Figure(measure, edition, *(settings.rounded(measure, ordered[rank]) for rank in ranks))
