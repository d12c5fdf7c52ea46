"""The rules of pension products as dated data: their parts, limits, lawful moves and payouts.

The rows stand in `rules/*.toml`, each with its dates, document, article and confidence. They are
read once, at import, and a row that breaks an invariant stops the program. Look-ups are dictionary
reads.

1. Unknown keys, missing keys and values of another type are refused.
2. Rows of one rule never overlap in time; a row never ends before it starts.
3. Every source is a key of `documents.toml`; confidence is A, B or C.
4. Parts, products, places, reasons and conditions that a row names exist.
5. A pair of products without a row has no lawful move. One pair, reason and date has at most one.
6. Money moves only into parts that a move names; a move that is not lawful names none.
"""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, replace
from datetime import date
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from itertools import combinations
from itertools import product as pairs
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

_STRICT: Final = ConfigDict(extra="forbid", strict=True, str_min_length=1)
_TABLES: Final = ("documents", "products", "limits", "moves", "conditions", "calendar")
_RATE_TEXT: Final = re.compile(r"0\.[0-9]+|[1-9][0-9]*/[1-9][0-9]*")
_NO_PARTS: Final[Mapping[str, str]] = MappingProxyType({})


class RulebookInvalid(ValueError):
    """The rule data contradicts itself: the release is broken and must not start."""


def _exact_fraction(text: object) -> object:
    """Read an exact decimal ("0.08") or fraction ("1/12"); a float has already lost the value."""
    if isinstance(text, str) and _RATE_TEXT.fullmatch(text):
        return Fraction(text)
    return None


def _day_or_count(value: object) -> object:
    """Keep a limit that is a date as its day ordinal, so that every limit is one whole number."""
    if isinstance(value, str) and len(value) == len("1991-06-26"):
        return date.fromisoformat(value).toordinal()
    return value


@dataclass(frozen=True, config=_STRICT)
class Document:
    """A document that rules cite. No number: the number is open."""

    key: str
    title: str
    number: str | None = None
    valid_from: date | None = None
    day_confirmed: bool = True
    note: str | None = None


@dataclass(frozen=True, config=_STRICT)
class Dated:
    """What every rule row carries: when it holds, since when it was known, and on whose word.

    `valid_from` and `valid_to` are inclusive. No `valid_from`: the start is not confirmed, the row
    holds on every date up to `valid_to`. `day_confirmed` false: only the year or month of
    `valid_from` is known, its earliest day is stored. `source` is one or more document keys,
    separated by a comma and a space.
    """

    _: KW_ONLY
    id: str
    source: str
    confidence: Literal["A", "B", "C"]
    article: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    known_from: date | None = None
    day_confirmed: bool = True

    def in_force(self, on: date) -> bool:
        """Whether the row holds on that business date."""
        return (self.valid_from is None or self.valid_from <= on) and (self.valid_to is None or on <= self.valid_to)

    def overlaps(self, other: "Dated") -> bool:
        """Whether some date lies in both rows."""
        last_start = max(self.valid_from or date.min, other.valid_from or date.min)
        return self.in_force(last_start) and other.in_force(last_start)


@dataclass(frozen=True, config=_STRICT)
class Part:
    """A part of a balance. `vested`: it belongs to the person. `payout`: it may be drawn."""

    code: str
    name_zh: str
    name_en: str
    vested: bool
    payout: bool


@dataclass(frozen=True, config=_STRICT)
class VestingPair:
    """Where a part goes when it becomes the person's (归属) or is funded with cash (记实)."""

    from_part: str
    to_part: str
    kind: Literal["vesting", "fund_book_entry"]


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
class Limit(Dated):
    """A cap or count (RULES.md section 4).

    Money is in fen. A date is its `date.toordinal()`, with `unit` "day_ordinal".
    """

    value: Annotated[int, BeforeValidator(_day_or_count)]
    unit: str


@dataclass(frozen=True, config=_STRICT)
class Rate(Dated):
    """An exact share of something that `unit` names (RULES.md section 4)."""

    value: Annotated[Fraction, BeforeValidator(_exact_fraction), Field(strict=False, gt=0, lt=1)]
    unit: str


@dataclass(frozen=True, config=_STRICT)
class PartMap:
    """For one pair of products: which part of the old account arrives in which of the new one."""

    from_product: str
    to_product: str
    map: Annotated[dict[str, str], Field(min_length=1)]


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
class Condition(Dated):
    """When parts of a balance may be drawn (RULES.md section 6).

    `id` is the rule, `code` what a payout names. `closes_contributions`: after such a payout the
    person may not contribute again (pp.out.resume, PP25).
    """

    code: str
    products: Annotated[tuple[str, ...], Field(min_length=1)]
    closes_contributions: bool
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
class Place:
    """A holding or destination that this ledger cannot open but the matrix speaks of."""

    code: str
    name_zh: str
    name_en: str


@dataclass(frozen=True, config=_STRICT)
class Reason:
    """A reason that a transfer may give."""

    code: str
    meaning: str


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True)
class Rulebook:
    """The checked rules, arranged for look-up."""

    documents: Mapping[str, Document]
    products: Mapping[str, Product]
    limits: Mapping[str, tuple[Limit, ...]]
    rates: Mapping[str, tuple[Rate, ...]]
    windows: Mapping[str, tuple[Window, ...]]
    moves: Mapping[tuple[str, str], tuple[Move, ...]]
    conditions: Mapping[tuple[str, str], tuple[Condition, ...]]


Key = TypeVar("Key")
Row = TypeVar("Row")
DatedRow = TypeVar("DatedRow", bound=Dated)


def _grouped(entries: Iterable[tuple[Key, Row]]) -> Mapping[Key, tuple[Row, ...]]:
    groups: dict[Key, list[Row]] = defaultdict(list)
    for key, row in entries:
        groups[key].append(row)
    return MappingProxyType({key: tuple(rows) for key, rows in groups.items()})


def _unique(rows: Iterable[Row], name: Callable[[Row], str]) -> Mapping[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        _require(name(row) not in found, f"{name(row)} stands twice")
        found[name(row)] = row
    return MappingProxyType(found)


def _timeline(groups: Mapping[Key, tuple[DatedRow, ...]]) -> Mapping[Key, tuple[DatedRow, ...]]:
    """Refuse rows of one rule that overlap in time (invariant 2)."""
    for key, rows in groups.items():
        for one, other in combinations(rows, 2):
            _require(not one.overlaps(other), f"two rows of {key} overlap in time")
    return groups


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not holds:
        raise RulebookInvalid(otherwise)


def _require_known(row_id: str, named: Iterable[str], known: Iterable[str]) -> None:
    unknown = set(named).difference(known)
    _require(not unknown, f"{row_id} names unknown {', '.join(sorted(unknown))}")


def _check_row(row: Dated, documents: Mapping[str, Document]) -> None:
    _require_known(row.id, row.source.split(", "), documents)
    ordered = row.valid_from is None or row.valid_to is None or row.valid_from <= row.valid_to
    _require(ordered, f"{row.id} ends before it starts")


def _check_product(product: Product) -> None:
    _unique(product.parts, lambda part: part.code)
    named = [*product.contribution_parts, *product.payout_order]
    named += [part for pair in product.vesting for part in (pair.from_part, pair.to_part)]
    _require_known(product.id, named, product.part_codes)
    payable = sorted(part.code for part in product.parts if part.payout)
    _require(
        sorted(product.payout_order) == payable,
        f"{product.id}: payout_order is not the parts that may be drawn",
    )


def _check_move(move: Move, products: Mapping[str, Product], tables: Tables) -> None:
    """Check what a move names (invariants 4 and 6)."""
    places = {place.code for place in tables.place}
    _require_known(move.id, [*move.from_products, *move.to_products], places.union(products))
    conditions = {each.code for each in tables.condition if not set(each.products).isdisjoint(move.from_products)}
    _require_known(move.id, move.reasons, conditions.union(reason.code for reason in tables.reason))

    lawful = move.lawful in {"yes", "cond"}
    _require(lawful == bool(move.reasons), f"{move.id}: exactly the lawful moves have reasons")
    openable = {pair for pair in pairs(move.from_products, move.to_products) if products.keys() >= set(pair)}
    mapped = [(each.from_product, each.to_product) for each in move.parts]
    _require(
        sorted(mapped) == sorted(openable if lawful else ()),
        f"{move.id}: parts do not fit the pairs of products",
    )
    for each in move.parts:
        _require_known(move.id, each.map, products[each.from_product].part_codes)
        _require_known(move.id, each.map.values(), products[each.to_product].part_codes)


def _check_one_move_per_reason(moves: Mapping[tuple[str, str], tuple[Move, ...]]) -> None:
    """Refuse two answers to one question (invariant 5)."""
    for pair, rows in moves.items():
        for one, other in combinations(rows, 2):
            same_reason = not one.reasons.isdisjoint(other.reasons) or not (one.reasons and other.reasons)
            _require(
                not (same_reason and one.overlaps(other)),
                f"{one.id} and {other.id} both answer for {pair}",
            )


def _condition_of_product(condition: Condition, product: Product) -> Condition:
    """The condition for this product: without parts of its own it opens all that may be drawn."""
    parts = condition.parts or frozenset(product.payout_order)
    _require_known(condition.code, parts, product.payout_order)
    return replace(condition, products=(product.code,), parts=parts)


def packaged_tables() -> dict[str, Any]:
    """Read the rows of all rule files, by table name, unchecked."""
    folder = files("ledger.domain") / "rules"
    tables: dict[str, Any] = {}
    for name in _TABLES:
        found = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
        _require(tables.keys().isdisjoint(found), f"{name}.toml repeats a table of another file")
        tables |= found
    return tables


def checked(raw_tables: Mapping[str, Any]) -> Rulebook:
    """Check all rows, alone and against each other.

    Raises ValidationError for a wrong shape, RulebookInvalid for rows that contradict each other.
    """
    # Through JSON: only there does strict mode take an array for a tuple, a table for a dataclass.
    tables = TypeAdapter(Tables).validate_json(json.dumps(raw_tables, default=date.isoformat))
    documents = _unique(tables.document, lambda document: document.key)
    products = _unique(tables.product, lambda product: product.code)
    _require_known("moves.toml", (place.code for place in tables.place if place.code in products), ())
    for row in (
        *tables.product,
        *tables.limit,
        *tables.rate,
        *tables.move,
        *tables.condition,
        *tables.window,
    ):
        _check_row(row, documents)
    for product in tables.product:
        _check_product(product)
    for move in tables.move:
        _check_move(move, products, tables)
    for condition in tables.condition:
        _require_known(condition.code, condition.products, products)

    _timeline(_grouped((move.id, move) for move in tables.move))
    both = {row.id for row in tables.limit}.intersection(row.id for row in tables.rate)
    _require(not both, f"{', '.join(sorted(both))} is a limit and a rate")
    moves = _grouped((pair, move) for move in tables.move for pair in pairs(move.from_products, move.to_products))
    _check_one_move_per_reason(moves)
    conditions = _grouped(
        ((code, condition.code), _condition_of_product(condition, products[code]))
        for condition in tables.condition
        for code in condition.products
    )
    return Rulebook(
        documents=documents,
        products=products,
        limits=_timeline(_grouped((row.id, row) for row in tables.limit)),
        rates=_timeline(_grouped((row.id, row) for row in tables.rate)),
        windows=_timeline(_grouped((row.id, row) for row in tables.window)),
        moves=moves,
        conditions=_timeline(conditions),
    )


_BOOK: Final = checked(packaged_tables())

PRODUCTS: Final[Mapping[str, Product]] = dict(_BOOK.products)


def _on(rows: tuple[DatedRow, ...], on: date) -> DatedRow | None:
    for row in rows:
        if row.in_force(on):
            return row
    return None


def limit(rule_id: str, on: date) -> Limit | None:
    """The limit in force on that business date; None when no row is: refuse, do not extrapolate."""
    return _on(_BOOK.limits.get(rule_id, ()), on)


def rate(rule_id: str, on: date) -> Rate | None:
    """The rate in force on that business date; None when no row is: refuse, do not extrapolate."""
    return _on(_BOOK.rates.get(rule_id, ()), on)


def window(rule_id: str, on: date) -> Window | None:
    """The yearly window in force on that business date; None when no row is."""
    return _on(_BOOK.windows.get(rule_id, ()), on)


def moves(from_product: str, to_product: str) -> tuple[Move, ...]:
    """All rows of the matrix for this pair, of all times; empty means refused."""
    return _BOOK.moves.get((from_product, to_product), ())


def condition(product: str, code: str) -> tuple[Condition, ...]:
    """All dated rows of this payout condition for this product; empty when it has none."""
    return _BOOK.conditions.get((product, code), ())


def document(key: str) -> Document:
    """The document behind one source key. Raises KeyError when there is none."""
    return _BOOK.documents[key]
