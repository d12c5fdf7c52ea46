"""Boxes: who is in a cell of the case library, by place, birth years, income and employment; and how a box is parted in two.

1. The two boxes of a parting lie in the one that is parted, and everybody in it is in exactly one of them.
2. A box says nothing of who is in it: it is made of codes alone, and covers places and years that nobody named yet.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

COUNTRY = "CN"
PROVINCE_CHARACTERS = len("CN-44")
CITY_CHARACTERS = len("CN-4403")


class Answers(NamedTuple):
    """The four coarse answers of a person. `birth_year` is the first year of her band."""

    city: str
    birth_year: int
    income_band: str
    employment: str


class Box(NamedTuple):
    """`area` but for the areas of `without`, birth years from and to (None: open), and sets of codes in rising order."""

    area: str
    without: tuple[str, ...]
    birth_from: int | None
    birth_to: int | None
    income_bands: tuple[str, ...]
    employments: tuple[str, ...]

    def covers(self, answers: Answers) -> bool:
        """Whether whoever answers so is in this box."""
        return (
            answers.city.startswith(self.area)
            and not answers.city.startswith(self.without or ("-",))
            and (self.birth_from is None or self.birth_from <= answers.birth_year)
            and (self.birth_to is None or answers.birth_year <= self.birth_to)
            and answers.income_band in self.income_bands
            and answers.employment in self.employments
        )


class Parting(NamedTuple):
    """One way to part a box: the values of one answer that go into the first of two boxes; all others go into the second."""

    answer: int
    values: frozenset[object]
    first: Box
    second: Box


def everybody(income_bands: tuple[str, ...], employments: tuple[str, ...]) -> Box:
    """The box of the whole country."""
    return Box(COUNTRY, (), None, None, income_bands, employments)


def group_of(box: Box, answer: int, answers: Answers) -> object:
    """By which value an answer can be told apart within this box; places by the next finer area, None where there is none."""
    if answer:
        return answers[answer]
    finer = PROVINCE_CHARACTERS if box.area == COUNTRY else CITY_CHARACTERS
    return answers.city[:finer] if len(box.area) < finer <= len(answers.city) else None


def partings(box: Box, groups: tuple[Iterable[object], ...]) -> Iterator[Parting]:
    """Every way to part the box by one answer, given the values there are; in one order, whoever asks.

    Birth years and incomes are cut, a place or a kind of employment is told apart from all others.
    """
    places, years, _, employments = groups
    present = sorted(year for year in years if isinstance(year, int))
    for end, start in pairwise(present):
        values = frozenset(year for year in present if year <= end)
        yield Parting(1, values, box._replace(birth_to=start - 1), box._replace(birth_from=start))
    for cut in range(1, len(box.income_bands)):
        lower, upper = box.income_bands[:cut], box.income_bands[cut:]
        yield Parting(2, frozenset(lower), box._replace(income_bands=lower), box._replace(income_bands=upper))
    for place in sorted(place for place in places if isinstance(place, str)):
        rest = box._replace(without=tuple(sorted((*box.without, place))))
        yield Parting(0, frozenset((place,)), box._replace(area=place, without=()), rest)
    if len(box.employments) > 1:
        for kind in sorted(str(kind) for kind in employments):
            others = tuple(each for each in box.employments if each != kind)
            yield Parting(3, frozenset((kind,)), box._replace(employments=(kind,)), box._replace(employments=others))
