"""Consult the rules: as they hold on a date, in an area, and as they were known on a day; and keep what was consulted.

1. What is answered is a row in force; where none is, the look-up is refused and names the rule. Nothing is extrapolated.
2. The nearest area that has a row in force answers: the city, then its province, then the country.
3. As known on a day, what was learnt later does not count: neither a row, nor that a row ended because of a later one.
4. Every row that was given out is among `cited`, once, in the order of first use.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from ledger.domain.rules.book import BOOK, Rulebook, joins
from ledger.domain.rules.rows import (
    AREA,
    COUNTRY,
    Brackets,
    Choice,
    Condition,
    Confidence,
    Dated,
    Limit,
    Move,
    Provision,
    Rate,
    Table,
    Terms,
)

Kind = TypeVar("Kind", Limit, Rate, Brackets, Table, Terms, Choice, Provision)
Row = TypeVar("Row", bound=Dated)

# What was consulted, by id, case, area, beginning, and whether it was carried forward.
Use = tuple[str, str | None, str, date | None, bool]
Reason = Literal["rule_not_in_force", "condition_not_met"]
PROVINCE: Final = len("CN-11")
_AREA: Final = re.compile(AREA, re.ASCII)


def _case(row: Dated) -> str | None:
    return row.case if isinstance(row, Terms) else None


class Cited(BaseModel):
    """One rule that an answer rests on. `uncertain`: what is open; rows of confidence C need sign-off before money moves.

    `carried_forward`: its period had ended, and it stands in for a value that is not published yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    case: str | None
    area: str
    source: str
    documents: list[str]
    article: str | None
    confidence: Confidence
    valid_from: date | None
    valid_to: date | None
    known_from: date | None
    uncertain: str | None
    carried_forward: bool


class RuleRefused(ValueError):
    """A rule does not allow what was asked, or holds no value for that day and area."""

    def __init__(self, rule: str, reason: Reason, sentence: str, detail: Mapping[str, Any]) -> None:
        """Name the rule and the reason, in a sentence that says what to do."""
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        self.reason: Reason = reason
        self.sentence = sentence
        self.detail = dict(detail)


class Rules:
    """The rules on a date, in an area, as known on a day (None: as known now). Not shared between threads."""

    def __init__(self, on: date, area: str = COUNTRY, known_on: date | None = None, *, book: Rulebook = BOOK) -> None:
        """Consult the packaged rules, or a rulebook that was checked. Raises ValueError for what is no area."""
        if not _AREA.fullmatch(area):
            raise ValueError(f"{area!a} is no area; write CN, CN-11 or CN-4403")
        self.on = on
        self.area = area
        self.known_on = known_on
        self._book = book
        self._consulted: dict[Use, Dated] = {}

    def at(self, on: date) -> "Rules":
        """The same rules on another date; what is consulted there is cited here too."""
        other = Rules(on, self.area, self.known_on, book=self._book)
        other._consulted = self._consulted
        return other

    @property
    def cited(self) -> tuple[Cited, ...]:
        """What was consulted so far, each once."""
        return tuple(self._citation(row, carried) for (*_, carried), row in self._consulted.items())

    def limit(self, rule_id: str) -> Limit:
        """A cap, count or amount. Raises RuleRefused, as the other look-ups do."""
        return self.row(Limit, rule_id)

    def rate(self, rule_id: str) -> Rate:
        """An exact share."""
        return self.row(Rate, rule_id)

    def brackets(self, rule_id: str) -> Brackets:
        """A progressive table."""
        return self.row(Brackets, rule_id)

    def table(self, rule_id: str) -> Table:
        """Values by a whole number."""
        return self.row(Table, rule_id)

    def terms(self, rule_id: str, case: str | None = None) -> Terms:
        """The values that a formula takes."""
        return self.row(Terms, rule_id, case)

    def choice(self, rule_id: str) -> Choice:
        """A dated flag or method."""
        return self.row(Choice, rule_id)

    def provision(self, rule_id: str) -> Provision:
        """A rule in words."""
        return self.row(Provision, rule_id)

    def row(self, kind: type[Kind], rule_id: str, case: str | None = None) -> Kind:
        """The row in force, of the nearest area that has one. Raises RuleRefused where none is."""
        found = self.find(kind, rule_id, case)
        if found is None:
            raise self._not_in_force(rule_id)
        return found

    def find(self, kind: type[Kind], rule_id: str, case: str | None = None) -> Kind | None:
        """The row in force, or None: for what may lawfully be absent, such as a local extra."""
        for rows in self._timelines(kind, rule_id, case):
            for row in self._as_known(rows):
                if row.in_force(self.on):
                    return self._cite(row)
        return None

    def latest(self, kind: type[Kind], rule_id: str, case: str | None = None) -> Kind:
        """The row in force, or else the last that began before: an assumption, and cited as carried forward.

        Never for a decision about money that the law knows; for what is published later than it is needed.
        """
        if (found := self.find(kind, rule_id, case)) is not None:
            return found
        for rows in self._timelines(kind, rule_id, case):
            begun = [row for row in self._as_known(rows) if (row.valid_from or date.min) <= self.on]
            if begun:
                return self._cite(begun[-1], carried=True)
        raise self._not_in_force(rule_id)

    def moves(self, from_product: str, to_product: str) -> tuple[Move, ...]:
        """The rows of the legal-moves matrix in force for a pair; none means refused."""
        rows = self._as_known(self._book.moves.get((from_product, to_product), ()))
        return tuple(self._cite(row) for row in rows if row.in_force(self.on))

    def condition(self, product: str, code: str) -> Condition | None:
        """The payout condition in force of a product, or None."""
        rows = self._as_known(self._book.conditions.get((product, code), ()))
        return next((self._cite(row) for row in rows if row.in_force(self.on)), None)

    def refuse(self, rule_id: str, sentence: str, **detail: object) -> RuleRefused:
        """The refusal, to be raised, of what a rule in force does not allow."""
        return RuleRefused(rule_id, "condition_not_met", sentence, detail)

    def _not_in_force(self, rule_id: str) -> RuleRefused:
        detail = {"on": self.on.isoformat(), "area": self.area}
        if self.known_on is not None:
            detail["known_on"] = self.known_on.isoformat()
        known = "" if self.known_on is None else f", as known on {self.known_on}"
        sentence = f"no row of this rule is in force on {self.on} in {self.area}{known}; choose another date or area"
        return RuleRefused(rule_id, "rule_not_in_force", sentence, detail)

    def _timelines(self, kind: type[Kind], rule_id: str, case: str | None) -> Iterator[tuple[Kind, ...]]:
        areas = dict.fromkeys((self.area, self.area[:PROVINCE], COUNTRY))
        for area in areas:
            rows = self._book.rulings.get((kind, rule_id, case, area), ())
            yield tuple(row for row in rows if isinstance(row, kind))

    def _as_known(self, rows: tuple[Row, ...]) -> list[Row]:
        """The rows that were known, with their ends as far as these were known (invariant 3)."""
        if self.known_on is None:
            return list(rows)
        known: list[Row] = []
        for row in rows:
            if not row.known(self.known_on):
                continue
            successor = next((later for later in rows if joins(row, later)), None)
            if successor is not None and not successor.known(self.known_on):
                row = row.without_end()  # noqa: PLW2901 - the row as it was known
            known.append(row)
        return known

    def _cite(self, row: Row, *, carried: bool = False) -> Row:
        self._consulted.setdefault((row.id, _case(row), row.area, row.valid_from, carried), row)
        return row

    def _citation(self, row: Dated, carried: bool) -> Cited:  # noqa: FBT001 - as kept
        documents = [self._book.documents[key] for key in row.source.split(", ")]
        return Cited(
            rule=row.id,
            case=_case(row),
            area=row.area,
            source=row.source,
            documents=[each.title if each.number is None else f"{each.title} ({each.number})" for each in documents],
            article=row.article,
            confidence=row.confidence,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            known_from=row.known_from,
            uncertain=row.uncertain,
            carried_forward=carried,
        )
