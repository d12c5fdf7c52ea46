"""The shapes of rule rows: what each kind of rule says, since when, and on whose word."""

import copy
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY
from datetime import date
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT: Final = ConfigDict(extra="forbid", strict=True, str_min_length=1)
AREA: Final = r"^CN(-[0-9]{2}([0-9]{2})?)?$"
COUNTRY: Final = "CN"
_EXACT: Final = re.compile(r"(0|[1-9][0-9]*)\.[0-9]+|[1-9][0-9]*/[1-9][0-9]*")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_PARTS: Final[Mapping[str, str]] = MappingProxyType({})

Confidence = Literal["A", "B", "C"]
Area = Annotated[str, Field(pattern=AREA)]


class RulebookInvalid(ValueError):
    """The rule data contradicts itself: the release is broken and must not start."""


def _exact_fraction(value: object) -> object:
    """Read an exact decimal ("0.08"), fraction ("1/12") or whole number; a float has already lost the value."""
    if isinstance(value, str) and _EXACT.fullmatch(value):
        return Fraction(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    return None


def _day_or_count(value: object) -> object:
    """Keep a limit that is a date as its day ordinal, so that every limit is one whole number."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value).toordinal()
    return value


def _term(value: object) -> object:
    """A value of `Terms` as it is meant: text that is an exact number or a day becomes one."""
    if isinstance(value, str) and _EXACT.fullmatch(value):
        return Fraction(value)
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, list):
        return tuple(_term(each) for each in value)
    if isinstance(value, int | str):
        return value
    raise ValueError("a term is a whole number, a truth, a day or a text; a decimal is written as text")


def _terms(values: object) -> object:
    return {name: _term(value) for name, value in values.items()} if isinstance(values, dict) else values


Exact = Annotated[Fraction, BeforeValidator(_exact_fraction), Field(strict=False, ge=0)]


@dataclass(frozen=True, config=STRICT)
class Document:
    """A document that rules cite. No number: the number is open."""

    key: str
    title: str
    number: str | None = None
    valid_from: date | None = None
    day_confirmed: bool = True
    note: str | None = None


@dataclass(frozen=True, config=STRICT)
class Dated:
    """What every rule row carries: when and where it holds, since when it was known, and on whose word.

    `valid_from` and `valid_to` are inclusive. No `valid_from`: the start is not confirmed, the row
    holds on every date up to `valid_to`. `day_confirmed` false: only the year or month of
    `valid_from` is known, its earliest day is stored. `source` is one or more document keys,
    separated by a comma and a space. `known_from`: when the rule was learnt, if not with `valid_from`.
    `uncertain`: what is open about it. `gap`: why it does not join the row before it.
    """

    _: KW_ONLY
    id: str
    source: str
    confidence: Confidence
    article: str | None = None
    area: Area = COUNTRY
    valid_from: date | None = None
    valid_to: date | None = None
    known_from: date | None = None
    day_confirmed: bool = True
    uncertain: str | None = None
    gap: str | None = None
    note: str | None = None

    def in_force(self, on: date) -> bool:
        """Whether the row holds on that business date."""
        return (self.valid_from is None or self.valid_from <= on) and (self.valid_to is None or on <= self.valid_to)

    def overlaps(self, other: "Dated") -> bool:
        """Whether some date lies in both rows."""
        last_start = max(self.valid_from or date.min, other.valid_from or date.min)
        return self.in_force(last_start) and other.in_force(last_start)

    def known(self, on: date) -> bool:
        """Whether the row was known on that day: from `known_from`, or else from when it holds."""
        return (self.known_from or self.valid_from or date.min) <= on

    def without_end(self) -> Self:
        """The row as it was before its end was known: a copy, since its values were read from text once and for all."""
        row = copy.copy(self)
        object.__setattr__(row, "valid_to", None)
        return row


@dataclass(frozen=True, config=STRICT)
class Part:
    """A part of a balance. `vested`: it belongs to the person. `payout`: it may be drawn."""

    code: str
    name_zh: str
    name_en: str
    vested: bool
    payout: bool


@dataclass(frozen=True, config=STRICT)
class VestingPair:
    """Where a part goes when it becomes the person's (归属) or is funded with cash (记实)."""

    from_part: str
    to_part: str
    kind: Literal["vesting", "fund_book_entry"]


@dataclass(frozen=True, config=STRICT)
class Product(Dated):
    """A kind of account that can be opened, with the parts of its balance (RULES.md section 3)."""

    code: str
    name_zh: str
    name_en: str
    pillar: Literal[1, 2, 3]
    one_per_person: bool
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    contribution_parts: frozenset[str]
    payout_order: tuple[str, ...]
    vesting: tuple[VestingPair, ...]

    @cached_property
    def part_codes(self) -> frozenset[str]:
        """The codes of all parts."""
        return frozenset(part.code for part in self.parts)


@dataclass(frozen=True, config=STRICT)
class Limit(Dated):
    """A cap, count or amount.

    Money is in fen. A date is its `date.toordinal()`, with `unit` "day_ordinal".
    """

    value: Annotated[int, BeforeValidator(_day_or_count)]
    unit: str


@dataclass(frozen=True, config=STRICT)
class Rate(Dated):
    """An exact share of something that `unit` names."""

    value: Exact
    unit: str


@dataclass(frozen=True, config=STRICT)
class Step:
    """One bracket: amounts up to `up_to_fen`, inclusive, pay `rate` less the quick deduction; the last has no bound."""

    rate: Exact
    quick_deduction_fen: Annotated[int, Field(ge=0)]
    up_to_fen: Annotated[int, Field(gt=0)] | None = None


@dataclass(frozen=True, config=STRICT)
class Brackets(Dated):
    """A progressive table: tax = taxable x rate - quick deduction (速算扣除数)."""

    unit: str
    steps: Annotated[tuple[Step, ...], Field(min_length=2)]

    def step(self, taxable_fen: int) -> Step:
        """The bracket that an amount lies in."""
        return next(step for step in self.steps if step.up_to_fen is None or taxable_fen <= step.up_to_fen)


@dataclass(frozen=True, config=STRICT)
class Table(Dated):
    """Exact values by a whole number: `key` says of what, `unit` what the values are."""

    key: str
    unit: str
    pairs: Annotated[tuple[tuple[int, Exact], ...], Field(min_length=1, alias="entries")]

    @cached_property
    def entries(self) -> Mapping[int, Fraction]:
        """The values by key, in the order of the keys."""
        return MappingProxyType(dict(self.pairs))


Term = int | str | Fraction | date | tuple[int | str | Fraction | date, ...]


@dataclass(frozen=True, config=STRICT)
class Terms(Dated):
    """The named values that a rule's formula takes. `case`: one of several under one id; `method`: which formula."""

    values: Annotated[dict[str, Any], BeforeValidator(_terms), Field(min_length=1)]
    case: str | None = None
    method: str | None = None

    def whole(self, name: str) -> int:
        """A whole number among the values. Raises RulebookInvalid where there is none of that name."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self._is_no(name, "whole number")

    def exact(self, name: str) -> Fraction:
        """An exact number among the values, whole or not."""
        value = self.values.get(name)
        if isinstance(value, int | Fraction) and not isinstance(value, bool):
            return Fraction(value)
        raise self._is_no(name, "exact number")

    def text(self, name: str) -> str:
        """A text among the values."""
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        raise self._is_no(name, "text")

    def day(self, name: str) -> date:
        """A day among the values."""
        value = self.values.get(name)
        if isinstance(value, date):
            return value
        raise self._is_no(name, "day")

    def holds(self, name: str) -> bool:
        """A truth among the values."""
        value = self.values.get(name)
        if isinstance(value, bool):
            return value
        raise self._is_no(name, "truth")

    def wholes(self, name: str) -> tuple[int, ...]:
        """Several whole numbers."""
        values = self.values.get(name)
        if isinstance(values, tuple) and all(isinstance(each, int) for each in values):
            return values
        raise self._is_no(name, "row of whole numbers")

    def texts(self, name: str) -> tuple[str, ...]:
        """Several texts."""
        values = self.values.get(name)
        if isinstance(values, tuple) and all(isinstance(each, str) for each in values):
            return values
        raise self._is_no(name, "row of texts")

    def _is_no(self, name: str, kind: str) -> RulebookInvalid:
        return RulebookInvalid(f"{self.id}: {name} is no {kind}")


@dataclass(frozen=True, config=STRICT)
class Choice(Dated):
    """A dated flag or method, above all where the law leaves a point open; `options` are those that code knows."""

    value: str
    options: Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Provision(Dated):
    """A rule that no number expresses, in words."""

    text: str


@dataclass(frozen=True, config=STRICT)
class PartMap:
    """For one pair of products: which part of the old account arrives in which of the new one."""

    from_product: str
    to_product: str
    map: Annotated[dict[str, str], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Move(Dated):
    """A row of the legal-moves matrix (RULES.md section 7).

    `no_cash`: no move, but a taxed payout and a new contribution inside the target's cap may stand
    in its place, as two facts.
    """

    from_products: Annotated[tuple[str, ...], Field(min_length=1)]
    to_products: Annotated[tuple[str, ...], Field(min_length=1)]
    lawful: Literal["yes", "cond", "no", "no_cash"]
    reasons: frozenset[str]
    condition: str | None = None
    tax_event: str | None = None
    parts: tuple[PartMap, ...] = ()

    @cached_property
    def _part_maps(self) -> Mapping[tuple[str, str], Mapping[str, str]]:
        return {(each.from_product, each.to_product): MappingProxyType(each.map) for each in self.parts}

    def part_map(self, from_product: str, to_product: str) -> Mapping[str, str]:
        """Which part arrives in which. A part that is not a key may not move."""
        return self._part_maps.get((from_product, to_product), _NO_PARTS)


@dataclass(frozen=True, config=STRICT)
class Condition(Dated):
    """When parts of a balance may be drawn (RULES.md section 6).

    `id` is the rule, `code` what a payout names. `closes_contributions`: after such a payout the
    person may not contribute again (pp.out.resume, PP25).
    """

    code: str
    products: Annotated[tuple[str, ...], Field(min_length=1)]
    closes_contributions: bool
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True, config=STRICT)
class Window(Dated):
    """A yearly span of days that a rule counts in.

    `first` and `last` are (month, day), inclusive, and stand in every year, so not 29 February.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    years_later: Literal[0, 1]

    def __post_init__(self) -> None:
        self.bounds(2023)

    def bounds(self, year: int) -> tuple[date, date]:
        """First and last day of the window that serves this calendar year."""
        return date(year + self.years_later, *self.first), date(year + self.years_later, *self.last)


@dataclass(frozen=True, config=STRICT)
class Place:
    """A holding or destination that this ledger cannot open but the matrix speaks of."""

    code: str
    name_zh: str
    name_en: str


@dataclass(frozen=True, config=STRICT)
class Reason:
    """A reason that a transfer may give."""

    code: str
    meaning: str


# The kinds of rows that `Rules` looks up by id; an id is of one of them only.
Ruling = Limit | Rate | Brackets | Table | Terms | Choice | Provision


@dataclass(frozen=True, config=STRICT)
class Tables:
    """All rule rows as the files hold them, before they are checked against each other."""

    document: tuple[Document, ...]
    product: tuple[Product, ...]
    limit: tuple[Limit, ...]
    rate: tuple[Rate, ...]
    place: tuple[Place, ...]
    reason: tuple[Reason, ...]
    move: tuple[Move, ...]
    condition: tuple[Condition, ...]
    window: tuple[Window, ...]
    brackets: tuple[Brackets, ...] = ()
    table: tuple[Table, ...] = ()
    terms: tuple[Terms, ...] = ()
    choice: tuple[Choice, ...] = ()
    provision: tuple[Provision, ...] = ()

    @cached_property
    def rulings(self) -> tuple[Ruling, ...]:
        """Every row that is looked up by its id."""
        return (*self.limit, *self.rate, *self.brackets, *self.table, *self.terms, *self.choice, *self.provision)

    @cached_property
    def dated(self) -> tuple[Dated, ...]:
        """Every row that carries dates and a source."""
        return (*self.product, *self.rulings, *self.move, *self.condition, *self.window)
