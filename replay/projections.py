"""Rebuild statements and control totals from the facts of a stretch of positions, and compare them with the tables.

1. A projection is compared at its own position: it holds what the facts up to there say, and nothing else.
2. Every fact balances by itself: its postings add up to zero. What they add up to for each account is handed on.
3. The effective date that stands beside a fact is that of its data.
4. Control totals are sums of the postings of spans of 1,000 positions, and of each hundredfold, by day, product, kind and
   part; a stretch that is compared begins and ends with a span of 1,000, or at the end of the journal.
5. Memory holds one slice, the product of every account, its sums, and the sums of the larger spans.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from psycopg.rows import TupleRow

from ledger.domain.events import FACTS, AccountOpened
from ledger.domain.lines import KINDS, Recorded
from ledger.domain.postings import EXTERNAL, postings
from replay.differences import MAX_DIFFERENCES, Differences
from replay.facts import Connection, Positioned, one, read_beside, read_facts
from replay.refold import Sums

Group = tuple[int, str, str]
"""Number of the span, effective date and kind."""
Key = tuple[int, str, str, str, str]
"""Number of the span, effective date, product, kind and part."""
Totals = dict[Key, list[int]]
"""Number of postings and their sum in fen."""

STATEMENTS: Final = "statements"
CONTROL_TOTALS: Final = "control_totals"
SPAN: Final = 1_000
LARGER: Final = (100_000, 10_000_000, 1_000_000_000)
MAX_SPAN: Final = 2**62
UNKNOWN: Final = "unknown"
NO_ROWS: Final[TupleRow] = (0, "")

# In the order of the primary key, without a sort.
DAYS = b"""
SELECT coalesce(string_agg(effective_on::text, ';'), '')
FROM (
    SELECT effective_on
    FROM event
    WHERE position > %s AND position <= %s AND type = ANY (%s)
    ORDER BY position
) AS fact
"""
DAY_ROWS = b"""
SELECT position::text, effective_on::text
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
ORDER BY position
"""
JOINED_ROWS = rb"""
SELECT count(*), coalesce(string_agg(key || E'\t' || rest, E'\n'), '')
FROM ({rows}) AS row
"""
LINE_ROWS = rb"""
SELECT
    position || ' ' || account AS key,
    effective_on || E'\t' || kind || E'\t' || amount_fen || E'\t' || parts::text || E'\t' || amounts_fen::text
        || E'\t' || coalesce(reverses::text, '') AS rest
FROM statement_line_{slot}
WHERE position > %s AND position <= %s
ORDER BY position, account
"""
TOTAL_ROWS = rb"""
SELECT
    span || ' ' || effective_on || ' ' || product || ' ' || kind || ' ' || part AS key,
    lines || E'\t' || amount_fen AS rest
FROM control_total_{slot}
WHERE span_size = %s AND span >= %s AND span < %s
ORDER BY span, effective_on, product, kind, part
"""
STRAY_LINES = b"""
SELECT position || ' ' || account, effective_on || ' ' || kind || ' ' || amount_fen
FROM statement_line_{slot}
WHERE position < 1 OR position > %s
LIMIT %s
"""
STRAY_TOTALS = b"""
SELECT span_size || ' ' || span || ' ' || effective_on || ' ' || product || ' ' || kind || ' ' || part, amount_fen::text
FROM control_total_{slot}
WHERE span_size <> ALL (%s) OR span < 0 OR span::numeric * span_size >= %s
LIMIT %s
"""


class Products(dict[str, str]):
    """The product of every account that was opened."""

    def __missing__(self, account: str) -> str:
        """One that never was; memory, which then cannot be refolded, says so."""
        return UNKNOWN


class Slot(NamedTuple):
    """The slot of a projection that is read, and the position of the last fact in it."""

    slot: int
    position: int


class Said(NamedTuple):
    """What the facts of a stretch say beyond it: the sums of its accounts, and those of the larger spans."""

    facts: int
    sums: Sums
    larger: dict[int, Totals]


class _Beside(NamedTuple):
    """What is stored of a slice, as the server joins it: the days of its facts, and number and text of the rows."""

    days: str
    lines: TupleRow
    totals: TupleRow


class Books:
    """The comparison of one stretch of positions."""

    def __init__(self, connection: Connection, *, statements: Slot | None, totals: Slot | None) -> None:
        """Compare with these slots; None where a projection is not there to be compared."""
        self._connection = connection
        self._statements = statements
        self._totals = totals
        self._products = Products({EXTERNAL: EXTERNAL})
        self._days: dict[date, str] = {}
        self._types = list(FACTS)
        self._unlike: list[tuple[int, int]] = []
        self.found = Differences()

    def compare(self, *, after: int, until: int, progress: Callable[[int], Any] = lambda _facts: None) -> Said:
        """Compare all of a stretch. Raises HistoryBroken."""
        assert after % SPAN == 0, "a stretch begins with a span"
        for opened in read_facts(self._connection, until=after, types=["AccountOpened"]):
            self._products.update((fact.account, fact.product) for _, fact in opened if isinstance(fact, AccountOpened))
        said = Said(0, {}, {size: {} for size in LARGER})
        count = 0
        for bounds, facts, stored in read_beside(self._connection, self._read, after=after, until=until):
            lines, totals = self._said(facts, said.sums)
            days = ";".join([self._day(fact.effective_on) for _, fact in facts])
            if (days, _joined(lines), _joined(_spelled(totals))) != stored:
                self._unlike.append(bounds)
            _enlarge(totals, said.larger)
            count += len(facts)
            progress(len(facts))
        for start, end in self._unlike[:MAX_DIFFERENCES]:
            if not self.found.is_full:
                self._look(start, end)
        return said._replace(facts=count)

    def _read(self, after: int, until: int) -> _Beside:
        days = one(self._connection, DAYS, (after, until, self._types))
        (lines,) = self._rows(_of(JOINED_ROWS, LINE_ROWS), self._statements, (after, until)) or [NO_ROWS]
        (totals,) = self._rows(_of(JOINED_ROWS, TOTAL_ROWS), self._totals, _spans(after, until)) or [NO_ROWS]
        return _Beside(days, lines, totals)

    def _rows(self, query: bytes, slot: Slot | None, asked: tuple[Any, ...]) -> list[TupleRow]:
        if slot is None:
            return []
        return self._connection.execute(query.replace(b"{slot}", b"%d" % slot.slot), asked, prepare=True).fetchall()

    def _day(self, day: date) -> str:
        spelled = self._days.get(day)
        if spelled is None:
            spelled = self._days[day] = day.isoformat()
        return spelled

    def _said(  # noqa: C901 - one pass over the legs, because nothing else here takes as long
        self, facts: Sequence[Positioned], sums: Sums
    ) -> tuple[list[str], Totals]:
        """The lines of these facts in their order, and their totals by the smallest spans; adds to the sums."""
        lines: list[str] = []
        amounts_of: defaultdict[Group, defaultdict[tuple[str, str], list[int]]]
        amounts_of = defaultdict(lambda: defaultdict(list))
        products = self._products
        lines_until = self._statements.position if self._statements else 0
        totals_until = self._totals.position if self._totals else 0
        for position, fact in facts:
            kind, reverses = KINDS.get(fact.__class__), ""
            if kind is None:
                recorded = Recorded(position, fact)
                kind, reverses = recorded.kind, str(recorded.reverses)
            if kind is None:
                if isinstance(fact, AccountOpened):
                    products[fact.account] = fact.product
                continue
            day = self._day(fact.effective_on)
            # Facts that the projection has not come to are counted aside.
            amounts = amounts_of[(position - 1) // SPAN if position <= totals_until else -1, day, kind]
            moved: dict[str, dict[str, int]] = {}
            balance = 0
            for account, part, fen in postings(fact):
                balance += fen
                amounts[products[account], part].append(fen)
                if account in moved:
                    parts = moved[account]
                    parts[part] = parts.get(part, 0) + fen
                elif account != EXTERNAL:
                    moved[account] = {part: fen}
            if balance:
                self.found.add("facts", f"position {position}", stored=f"postings of {balance} fen", refolded="zero")
            for account in moved if len(moved) == 1 else sorted(moved):
                parts = moved[account]
                if position <= lines_until:
                    lines.append(
                        f"{position} {account}\t{day}\t{kind}\t{sum(parts.values())}\t{{{','.join(parts)}}}\t"
                        f"{{{','.join(map(str, parts.values()))}}}\t{reverses}"
                    )
                _post(sums, account, parts)
        totals = {
            (span, day, product, kind, part): [len(fens), sum(fens)]
            for (span, day, kind), amounts in amounts_of.items()
            for (product, part), fens in amounts.items()
            if span >= 0
        }
        for group in amounts_of.values():
            _post(sums, EXTERNAL, {part: sum(fens) for (product, part), fens in group.items() if product == EXTERNAL})
        return lines, totals

    def _look(self, after: int, until: int) -> None:
        """Compare a slice row by row."""
        (facts,) = read_facts(self._connection, after=after, until=until)
        days = self._connection.execute(DAY_ROWS, (after, until, self._types)).fetchall()
        expected = {str(position): fact.effective_on.isoformat() for position, fact in facts}
        self.found.compare("event", days, expected, "effective_on of position ")
        lines, totals = self._said(facts, {})
        self._compare(self._rows(LINE_ROWS, self._statements, (after, until)), lines, STATEMENTS, "")
        rows = self._rows(TOTAL_ROWS, self._totals, _spans(after, until))
        self._compare(rows, _spelled(totals), CONTROL_TOTALS, f"span of {SPAN}: ")

    def _compare(self, rows: list[TupleRow], lines: list[str], table: str, where: str) -> None:
        self.found.compare(table, rows, dict(_split(line) for line in lines), where)

    def compare_larger(self, larger: Mapping[int, Totals]) -> None:
        """Compare the larger spans of the whole journal, once those of all stretches are added up."""
        for size, totals in larger.items():
            rows = self._rows(TOTAL_ROWS, self._totals, (size, 0, MAX_SPAN))
            self._compare(rows, _spelled(totals), CONTROL_TOTALS, f"span of {size}: ")

    def look_for_strays(self) -> None:
        """Rows that belong to no fact up to the position of their projection."""
        if self._statements is not None:
            rows = self._rows(STRAY_LINES, self._statements, (self._statements.position, MAX_DIFFERENCES))
            self.found.compare(STATEMENTS, rows, {}, "beyond: ")
        if self._totals is not None:
            asked = ([SPAN, *LARGER], self._totals.position, MAX_DIFFERENCES)
            self.found.compare(CONTROL_TOTALS, self._rows(STRAY_TOTALS, self._totals, asked), {}, "beyond: ")


def _post(sums: Sums, account: str, amounts: dict[str, int]) -> None:
    """Add the amounts of one fact, whose dictionary it may keep."""
    parts = sums.get(account)
    if parts is None:
        sums[account] = amounts
    else:
        for part, fen in amounts.items():
            parts[part] = parts.get(part, 0) + fen


def add_up(all_said: Iterable[Said]) -> Said:
    """What all stretches say together."""
    facts = 0
    sums: Sums = {}
    larger: dict[int, Totals] = {size: {} for size in LARGER}
    for said in all_said:
        facts += said.facts
        for account, parts in said.sums.items():
            whole = sums.setdefault(account, {})
            for part, fen in parts.items():
                whole[part] = whole.get(part, 0) + fen
        for size, totals in said.larger.items():
            for key, (lines, fen) in totals.items():
                _count(larger[size], key, lines, fen)
    return Said(facts, sums, larger)


def _enlarge(totals: Totals, larger: Mapping[int, Totals]) -> None:
    for (span, *rest), (lines, fen) in totals.items():
        day, product, kind, part = rest
        for size, above in larger.items():
            _count(above, (span * SPAN // size, day, product, kind, part), lines, fen)


def _count(totals: Totals, key: Key, lines: int, fen: int) -> None:
    counted = totals.setdefault(key, [0, 0])
    counted[0] += lines
    counted[1] += fen


def _spelled(totals: Totals) -> list[str]:
    return [
        f"{span} {day} {product} {kind} {part}\t{lines}\t{fen}"
        for (span, day, product, kind, part), (lines, fen) in sorted(totals.items())
    ]


def _joined(lines: list[str]) -> tuple[int, str]:
    """Number and text of lines, as the server gives those of its rows."""
    return len(lines), "\n".join(lines)


def _split(line: str) -> tuple[str, str]:
    key, _, rest = line.partition("\t")
    return key, rest


def _spans(after: int, until: int) -> tuple[int, int, int]:
    """The smallest spans in a slice: their size, the first, and that after the last."""
    return SPAN, after // SPAN, -(-until // SPAN)


def _of(query: bytes, rows: bytes) -> bytes:
    return query.replace(b"{rows}", rows)
