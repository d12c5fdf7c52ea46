"""Control totals: the postings of all facts, summed by day, product, kind and part, as known at any position.

1. All postings add up to zero: what products hold stands against where it came from and went to (`external`).
2. Sums are kept of spans of 1,000 positions and of each hundredfold. The totals known at a position are the sum of the
   whole spans before it, at most 99 of each size, and of the facts after the last of them, fewer than 1,000.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict

from ledger.database import Database
from ledger.domain.events import AccountOpened, FactUnreadable, decode
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.facts import read_stretch
from ledger.projections.standing import Connection, incomplete, not_taken, reading

CONTROL_TOTALS = "control_totals"
# Where the opening of an account cannot be read.
UNKNOWN = "unknown"
SPANS = (1_000, 100_000, 10_000_000, 1_000_000_000)
MAX_PRODUCTS_KEPT = 1_000_000

Key = tuple[str, str, str, str]
"""Effective date, product, kind and part."""
Sums = dict[Key, list[int]]
"""For each key the number of postings and their sum in fen."""

# A row that is there already grows; a span is only ever added to.
ADD = rb"""
INSERT INTO control_total_{slot} AS total (span_size, span, effective_on, product, kind, part, lines, amount_fen)
SELECT span_size, span, effective_on, product, kind, part, lines, amount_fen
FROM unnest(
    string_to_array(%(span_sizes)s, ';')::bigint[],
    string_to_array(%(spans)s, ';')::bigint[],
    string_to_array(%(days)s, ';')::date[],
    string_to_array(%(products)s, ';'),
    string_to_array(%(kinds)s, ';'),
    string_to_array(%(parts)s, ';'),
    string_to_array(%(lines)s, ';')::bigint[],
    string_to_array(%(amounts)s, ';')::bigint[]
) AS added (span_size, span, effective_on, product, kind, part, lines, amount_fen)
ON CONFLICT (span_size, span, effective_on, product, kind, part)
DO UPDATE SET lines = total.lines + excluded.lines, amount_fen = total.amount_fen + excluded.amount_fen
"""

WHOLE_SPANS = rb"""
SELECT total.effective_on, total.product, total.kind, total.part, sum(total.lines)::bigint, sum(total.amount_fen)::bigint
FROM unnest(
    string_to_array(%(span_sizes)s, ';')::bigint[],
    string_to_array(%(firsts)s, ';')::bigint[],
    string_to_array(%(lasts)s, ';')::bigint[]
) AS asked (span_size, first, last)
JOIN control_total_{slot} AS total
    ON total.span_size = asked.span_size AND total.span >= asked.first AND total.span < asked.last
WHERE total.effective_on <= %(as_of)s
GROUP BY total.effective_on, total.product, total.kind, total.part
"""

# The first opening that mentions an account is its own; later ones may name it as the account they replace.
OPENINGS = rb"""
SELECT asked.account, (
    SELECT event.data
    FROM event_tag
    JOIN event USING (position)
    WHERE event_tag.tag = 'account:' || asked.account AND event.type = 'AccountOpened'
    ORDER BY event_tag.position
    LIMIT 1
)
FROM unnest(string_to_array(%s, E'\x1e')) AS asked (account)
"""


class ControlTotal(BaseModel):
    """The postings of one key; `effective_on` is there where the totals are by day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective_on: date | None
    product: str
    kind: str
    part: str
    lines: int
    amount_fen: int


class ControlTotals(BaseModel):
    """All postings as known at a position and as of a date. `trial_balance_fen`, the sum of all, is zero.

    `missing` names positions of facts that the projection could not take: the sums are without them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    known_at: int
    as_of: date | None
    trial_balance_fen: int
    totals: list[ControlTotal]
    missing: list[int]


class Totals:
    """The projection that keeps the sums."""

    name = CONTROL_TOTALS
    tables = ("control_total",)

    def __init__(self) -> None:
        """Start with no account's product known."""
        self._products: dict[str, str] = {}

    def apply(self, connection: Connection, slot: int, facts: Sequence[Recorded]) -> None:
        """Add the postings of these facts to the sums of the spans they lie in."""
        learn_products(connection, facts, self._products)
        rows = [
            (size, span, *key, *counted)
            for (size, span), sums in _by_span(facts, self._products)
            for key, counted in sums.items()
        ]
        if rows:
            # In one order everywhere, so that two who add to the same rows would wait and not deadlock.
            columns = zip(*sorted(rows), strict=True)
            names = ("span_sizes", "spans", "days", "products", "kinds", "parts", "lines", "amounts")
            asked = {name: ";".join(map(str, column)) for name, column in zip(names, columns, strict=True)}
            connection.execute(_of(ADD, slot), asked, prepare=True)


def _by_span(facts: Sequence[Recorded], products: Mapping[str, str]) -> Iterable[tuple[tuple[int, int], Sums]]:
    """The sums of the smallest spans, and of each larger size from those of the size below."""
    smallest = SPANS[0]
    parts: dict[int, list[Recorded]] = defaultdict(list)
    for recorded in facts:
        parts[(recorded.position - 1) // smallest].append(recorded)
    level: dict[int, Sums] = {span: sums_of(held, products) for span, held in parts.items()}
    for size, larger in zip(SPANS, (*SPANS[1:], 0), strict=True):
        yield from (((size, span), sums) for span, sums in level.items())
        if larger:
            above: dict[int, Sums] = {}
            for span, sums in level.items():
                add(above.setdefault(span * size // larger, {}), sums)
            level = above


def add(sums: Sums, more: Sums) -> None:
    """Add sums to sums."""
    for key, (lines, fen) in more.items():
        counted = sums.setdefault(key, [0, 0])
        counted[0] += lines
        counted[1] += fen


def sums_of(facts: Iterable[Recorded], products: Mapping[str, str]) -> Sums:
    """The postings of these facts, summed by key."""
    sums: Sums = {}
    for recorded in facts:
        kind = recorded.kind
        if kind is None:
            continue
        day = recorded.fact.effective_on.isoformat()
        for account, part, fen in recorded.legs:
            key = (day, products[account], kind, part)
            counted = sums.get(key)
            if counted is None:
                sums[key] = [1, fen]
            else:
                counted[0] += 1
                counted[1] += fen
    return sums


def learn_products(connection: Connection, facts: Sequence[Recorded], products: dict[str, str]) -> None:
    """Let `products` know the product of every account that these facts post to."""
    for account in list(islice(products, max(0, len(products) - MAX_PRODUCTS_KEPT))):
        del products[account]
    products[EXTERNAL] = EXTERNAL
    unknown: dict[str, None] = {}
    for recorded in facts:
        fact = recorded.fact
        if isinstance(fact, AccountOpened):
            products[fact.account] = fact.product
        elif recorded.kind is not None:
            unknown.update((account, None) for account, _, _ in recorded.legs if account not in products)
    if unknown:
        for account, data in connection.execute(OPENINGS, ("\x1e".join(unknown),), prepare=True):
            products[account] = _product(data)


def _product(opening: bytes | None) -> str:
    """The product that an opening names; one that cannot be read keeps nobody's money out of the totals."""
    try:
        fact = None if opening is None else decode("AccountOpened", bytes(opening))
    except FactUnreadable:
        fact = None
    return fact.product if isinstance(fact, AccountOpened) else UNKNOWN


def _of(statement: bytes, slot: int) -> bytes:
    return statement.replace(b"{slot}", b"%d" % slot)


def read_totals(
    database: Database, *, as_of: date | None, known_at: int | None, seen: int | None, by_day: bool
) -> ControlTotals:
    """The totals as known at a position, by default the projection's, and as of a date.

    Raises PositionNotRecorded and ProjectionBehind.
    """
    until = as_of or date.max
    with reading(database, CONTROL_TOTALS, known_at=known_at, seen=seen) as (connection, at):
        known_at = at.position if known_at is None else known_at
        spans, rest = _decomposed(known_at)
        asked: dict[str, Any] = {
            "span_sizes": ";".join(str(size) for size, _, _ in spans),
            "firsts": ";".join(str(first) for _, first, _ in spans),
            "lasts": ";".join(str(last) for _, _, last in spans),
            "as_of": until,
        }
        sums: Sums = {
            (day.isoformat(), product, kind, part): [lines, fen]
            for day, product, kind, part, lines, fen in connection.execute(
                _of(WHOLE_SPANS, at.slot), asked, prepare=True
            )
        }
        missing = incomplete(connection, CONTROL_TOTALS, at, tags=None, until=known_at)
        gone = set(not_taken(connection, CONTROL_TOTALS, at, after=rest, until=known_at))
        read = read_stretch(connection, after=rest, until=known_at)
        tail = [Recorded(p, fact) for p, fact in read.facts if p not in gone and fact.effective_on <= until]
        products: dict[str, str] = {}
        learn_products(connection, tail, products)
        add(sums, sums_of(tail, products))
    if not by_day:
        whole: Sums = {}
        for (_, product, kind, part), counted in sums.items():
            add(whole, {("", product, kind, part): counted})
        sums = whole
    return ControlTotals(
        known_at=known_at,
        as_of=as_of,
        trial_balance_fen=sum(fen for _, fen in sums.values()),
        totals=[
            ControlTotal(
                effective_on=date.fromisoformat(day) if day else None,
                product=product,
                kind=kind,
                part=part,
                lines=lines,
                amount_fen=fen,
            )
            for (day, product, kind, part), (lines, fen) in sorted(sums.items())
        ],
        missing=missing,
    )


def _decomposed(known_at: int) -> tuple[list[tuple[int, int, int]], int]:
    """The whole spans that make up positions 1 to `known_at`: size, first number, number after the last; and the rest."""
    spans: list[tuple[int, int, int]] = []
    covered = 0
    for size in reversed(SPANS):
        last = known_at // size
        spans.append((size, covered // size, last))
        covered = last * size
    return spans, covered
