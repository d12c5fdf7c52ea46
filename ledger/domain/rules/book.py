"""The rules of pension products as dated data, read once at import from the `*.toml` beside this module, and checked.

A row that breaks an invariant stops the program. Look-ups are dictionary reads.

1. Unknown keys, missing keys and values of another type are refused.
2. Rows of one rule, case and area never overlap in time; a row never ends before it starts.
3. They leave no gap either, unless the later row says why.
4. Every source is a key of `documents.toml`; confidence is A, B or C.
5. Parts, products, places, reasons and conditions that a row names exist.
6. A pair of products without a row has no lawful move. One pair, reason and date has at most one.
7. Money moves only into parts that a move names; a move that is not lawful names none.
8. An id is of one kind of row. Brackets rise, have no bound only at their end, and join without a jump.
"""

import hashlib
import json
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import combinations, pairwise
from itertools import product as pairs
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from ledger.domain.rules.rows import (
    COUNTRY,
    Brackets,
    Condition,
    Dated,
    Document,
    Limit,
    Move,
    Product,
    Rate,
    RulebookInvalid,
    Ruling,
    Tables,
    Terms,
    Window,
)

RulingKey = tuple[type[Ruling], str, str | None, str]

Key = TypeVar("Key")
Row = TypeVar("Row")
DatedRow = TypeVar("DatedRow", bound=Dated)


@dataclass(frozen=True)
class Rulebook:
    """The checked rules, arranged for look-up. `rulings` are keyed by kind, id, case and area, in order of time."""

    documents: Mapping[str, Document]
    products: Mapping[str, Product]
    rulings: Mapping[RulingKey, tuple[Ruling, ...]]
    windows: Mapping[str, tuple[Window, ...]]
    moves: Mapping[tuple[str, str], tuple[Move, ...]]
    conditions: Mapping[tuple[str, str], tuple[Condition, ...]]


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


def joins(earlier: Dated, later: Dated) -> bool:
    """Whether one row begins on the day after the other ends."""
    return earlier.valid_to is not None and later.valid_from == earlier.valid_to + timedelta(days=1)


def _timeline(groups: Mapping[Key, tuple[DatedRow, ...]]) -> Mapping[Key, tuple[DatedRow, ...]]:
    """Put the rows of each rule in order of time; refuse overlaps (invariant 2) and gaps without a reason (3)."""
    ordered: dict[Key, tuple[DatedRow, ...]] = {}
    for key, rows in groups.items():
        for one, other in combinations(rows, 2):
            _require(not one.overlaps(other), f"two rows of {key} overlap in time")
        ordered[key] = tuple(sorted(rows, key=lambda row: row.valid_from or date.min))
        for earlier, later in pairwise(ordered[key]):
            _require(
                joins(earlier, later) or later.gap is not None,
                f"{key} has a gap before {later.valid_from}, and the row says no reason",
            )
    return MappingProxyType(ordered)


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


def _check_brackets(brackets: Brackets) -> None:
    """Bounds rise to an open end, and at each bound both brackets give the same tax (invariant 8)."""
    *bounded, last = brackets.steps
    _require(last.up_to_fen is None, f"{brackets.id}: the last bracket has a bound")
    for step, following in pairwise(brackets.steps):
        up_to = step.up_to_fen
        if up_to is None:
            raise RulebookInvalid(f"{brackets.id}: a bracket before the last has no bound")
        below = up_to * step.rate - step.quick_deduction_fen
        above = up_to * following.rate - following.quick_deduction_fen
        _require(below == above, f"{brackets.id} jumps at {up_to}")
    bounds = [step.up_to_fen or 0 for step in bounded]
    _require(bounds == sorted(set(bounds)), f"{brackets.id}: the bounds do not rise")


def _check_move(move: Move, products: Mapping[str, Product], tables: Tables) -> None:
    """Check what a move names (invariants 5 and 7)."""
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
    """Refuse two answers to one question (invariant 6)."""
    for pair, rows in moves.items():
        for one, other in combinations(rows, 2):
            same_reason = not one.reasons.isdisjoint(other.reasons) or not (one.reasons and other.reasons)
            _require(
                not (same_reason and one.overlaps(other)),
                f"{one.id} and {other.id} both answer for {pair}",
            )


def _check_one_kind_per_id(rulings: Iterable[Ruling]) -> None:
    kinds: dict[str, type[Ruling]] = {}
    for row in rulings:
        kind = kinds.setdefault(row.id, type(row))
        _require(kind is type(row), f"{row.id} is a {kind.__name__.lower()} and a {type(row).__name__.lower()}")


def _condition_of_product(condition: Condition, product: Product) -> Condition:
    """The condition for this product: without parts of its own it opens all that may be drawn."""
    parts = condition.parts or frozenset(product.payout_order)
    _require_known(condition.code, parts, product.payout_order)
    return replace(condition, products=(product.code,), parts=parts)


def _rule_files() -> list[Traversable]:
    found = (each for each in files(__package__).iterdir() if each.name.endswith(".toml"))
    return sorted(found, key=lambda each: each.name)


def packaged_tables() -> dict[str, Any]:
    """Read the rows of all rule files, by kind, unchecked: a file may hold rows of any kind."""
    tables: dict[str, Any] = {}
    for each in _rule_files():
        for kind, rows in tomllib.loads(each.read_text(encoding="utf-8")).items():
            tables.setdefault(kind, []).extend(rows)
    return tables


def _key(row: Ruling) -> RulingKey:
    return (type(row), row.id, row.case if isinstance(row, Terms) else None, row.area)


def checked(raw_tables: Mapping[str, Any]) -> Rulebook:
    """Check all rows, alone and against each other.

    Raises ValidationError for a wrong shape, RulebookInvalid for rows that contradict each other.
    """
    # Through JSON: only there does strict mode take an array for a tuple, a table for a dataclass.
    tables = TypeAdapter(Tables).validate_json(json.dumps(raw_tables, default=date.isoformat))
    documents = _unique(tables.document, lambda document: document.key)
    products = _unique(tables.product, lambda product: product.code)
    _require_known("moves.toml", (place.code for place in tables.place if place.code in products), ())
    for row in tables.dated:
        _check_row(row, documents)
    for product in tables.product:
        _check_product(product)
    for brackets in tables.brackets:
        _check_brackets(brackets)
    for move in tables.move:
        _check_move(move, products, tables)
    for condition in tables.condition:
        _require_known(condition.code, condition.products, products)

    _timeline(_grouped((move.id, move) for move in tables.move))
    _check_one_kind_per_id(tables.rulings)
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
        rulings=_timeline(_grouped((_key(row), row) for row in tables.rulings)),
        windows=_timeline(_grouped((row.id, row) for row in tables.window)),
        moves=moves,
        conditions=_timeline(conditions),
    )


BOOK: Final = checked(packaged_tables())
# Says which rules an answer was computed with, to whoever wants to compute it again.
DIGEST: Final = hashlib.sha256(b"\0".join(each.read_bytes() for each in _rule_files())).hexdigest()

PRODUCTS: Final[Mapping[str, Product]] = dict(BOOK.products)


def _on(rows: tuple[DatedRow, ...], on: date) -> DatedRow | None:
    for row in rows:
        if row.in_force(on):
            return row
    return None


def limit(rule_id: str, on: date) -> Limit | None:
    """The nationwide limit in force on that business date; None when no row is: refuse, do not extrapolate."""
    row = _on(BOOK.rulings.get((Limit, rule_id, None, COUNTRY), ()), on)
    assert row is None or isinstance(row, Limit)
    return row


def rate(rule_id: str, on: date) -> Rate | None:
    """The nationwide rate in force on that business date; None when no row is: refuse, do not extrapolate."""
    row = _on(BOOK.rulings.get((Rate, rule_id, None, COUNTRY), ()), on)
    assert row is None or isinstance(row, Rate)
    return row


def window(rule_id: str, on: date) -> Window | None:
    """The yearly window in force on that business date; None when no row is."""
    return _on(BOOK.windows.get(rule_id, ()), on)


def moves(from_product: str, to_product: str) -> tuple[Move, ...]:
    """All rows of the matrix for this pair, of all times; empty means refused."""
    return BOOK.moves.get((from_product, to_product), ())


def condition(product: str, code: str) -> tuple[Condition, ...]:
    """All dated rows of this payout condition for this product; empty when it has none."""
    return BOOK.conditions.get((product, code), ())


def document(key: str) -> Document:
    """The document behind one source key. Raises KeyError when there is none."""
    return BOOK.documents[key]
