"""What others like her have: the one published cell of the case library that covers four coarse answers.

1. The answer depends on the answers asked with and on what is published, and on nobody's data: it is the same for everybody
   who asks so, whether she is in the library or not.
2. There is one cell at most, and no reading lists who is in it, or how many exactly.
"""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ledger.database import Database
from ledger.domain.profiles import PROVINCE_CHARACTERS, birth_bands, employments, income_bands, provinces
from ledger.projections.standing import snapshot

LAST_EDITION = b"""
SELECT number, position, as_of, least
FROM case_edition
ORDER BY number DESC
LIMIT 1
"""
COVERING = b"""
SELECT number, area, without, birth_from, birth_to, income_bands, employments, people_at_least
FROM case_cell
WHERE edition = %(edition)s
    AND starts_with(%(city)s, area)
    AND NOT EXISTS (
        SELECT
        FROM unnest(without) AS apart (area)
        WHERE starts_with(%(city)s, apart.area)
    )
    AND coalesce(birth_from <= %(birth_year)s, true)
    AND coalesce(birth_to >= %(birth_year)s, true)
    AND %(income)s = ANY (income_bands)
    AND %(employment)s = ANY (employments)
"""
FIGURES = b"""
SELECT measure, since_edition, quarter, median, three_quarters
FROM case_figure
WHERE edition = %s AND cell = %s
ORDER BY measure
"""


class CaseModel(BaseModel):
    """Frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CaseFigure(CaseModel):
    """A quarter, half and three quarters of the people have about so much or less; since which edition it stands."""

    measure: str
    since_edition: int
    quarter: int
    median: int
    three_quarters: int


class CaseCell(CaseModel):
    """Whom the figures are of: `area` but for `without`, birth years from and to (None: open), and codes."""

    area: str
    without: list[str]
    birth_from: int | None
    birth_to: int | None
    income_bands: list[str]
    employments: list[str]
    people_at_least: int
    figures: list[CaseFigure]


class CaseAnswer(CaseModel):
    """The cell that covers her, or why there is none: nothing was published yet, or too few people like her are in it."""

    edition: int | None
    known_at: int | None
    as_of: date | None
    least: int | None
    cell: CaseCell | None
    missing: Literal["no_edition_yet", "too_few_people_yet"] | None


class CaseQuestionWrong(ValueError):
    """An answer asked with is none of those that a profile can have."""

    def __init__(self, field: str, allowed: tuple[str, ...]) -> None:
        """Say which field, and what it may be."""
        super().__init__(f"{field}: one of {', '.join(allowed)}")
        self.field = field
        self.allowed = allowed


def find_cell(database: Database, *, city: str, birth_year: int, income: str, employment: str) -> CaseAnswer:
    """The published cell that covers such a person, in the last edition.

    `city` is CN- and two or four digits; `income` and `employment` are codes as in a profile. Raises CaseQuestionWrong.
    """
    with snapshot(database, known_at=None, seen=None) as (connection, _):
        edition = connection.execute(LAST_EDITION, prepare=True).fetchone()
        if edition is None:
            return CaseAnswer(edition=None, known_at=None, as_of=None, least=None, cell=None, missing="no_edition_yet")
        number, position, as_of, least = edition
        _check(as_of, city=city, birth_year=birth_year, income=income, employment=employment)
        asked = {
            "edition": number, "city": city, "birth_year": birth_year, "income": income, "employment": employment,
        }  # fmt: skip
        rows = connection.execute(COVERING, asked, prepare=True).fetchall()
        assert len(rows) <= 1, "cells overlap"
        cell = None
        if rows and rows[0][-1] is not None:
            names = list(CaseCell.model_fields)[:-1]
            figures = connection.execute(FIGURES, (number, rows[0][0]), prepare=True).fetchall()
            cell = CaseCell(
                **dict(zip(names, rows[0][1:], strict=True)),
                figures=[CaseFigure(**dict(zip(CaseFigure.model_fields, row, strict=True))) for row in figures],
            )
    return CaseAnswer(
        edition=number,
        known_at=position,
        as_of=as_of,
        least=least,
        cell=cell,
        missing="too_few_people_yet" if cell is None else None,
    )


def _check(on: date, *, city: str, birth_year: int, income: str, employment: str) -> None:
    known = provinces(on)
    is_city = city.isascii() and len(city) in {PROVINCE_CHARACTERS, PROVINCE_CHARACTERS + 2} and city[3:].isdigit()
    if not is_city or city[:PROVINCE_CHARACTERS] not in known:
        raise CaseQuestionWrong(
            "city", tuple(f"{province} and, if it is known, two digits of the city" for province in known)
        )
    bands = birth_bands(on)
    first, last = int(bands[0][:4]), int(bands[-1][-4:])
    if not first <= birth_year <= last:
        raise CaseQuestionWrong("birth_year", (f"{first} to {last}",))
    for field, value, codes in (("income", income, income_bands(on)), ("employment", employment, employments(on))):
        if value not in codes:
            raise CaseQuestionWrong(field, codes)
