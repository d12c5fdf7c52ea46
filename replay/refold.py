"""Rebuild every memory from the journal with the domain's own folds, and compare with what the database holds.

1. Nothing but the stored facts is read to rebuild.
2. Facts are folded in position order; the journal is read in slices, so memory holds the states and one slice.
3. A journal that cannot be refolded is a finding with a position, like any other, and not a crash.
4. Double entry agrees: for every account and part, the postings of its facts add up to the folded balance, and all
   postings of the ledger add up to zero.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.decider import State
from ledger.domain.events import FACTS, Fact, decode_array
from ledger.domain.postings import postings
from ledger.domain.states import fold_fact, spell

Connection = psycopg.Connection[TupleRow]

SLICE = 10_000
MAX_DIFFERENCES = 1_000

HEAD = b"SELECT size FROM head"

# Both aggregates go through the rows in one order, whichever it is; sorting them here would take the server longer than
# all the rest.
READ_SLICE = b"""
SELECT
    type,
    string_agg(position::text, ';'),
    '[' || string_agg(convert_from(data, 'UTF8'), ',') || ']'
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
GROUP BY type
"""

READ_ONE_BY_ONE = b"""
SELECT position, type, data
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
ORDER BY position
"""

COUNT = b"SELECT count(*) FROM event WHERE position <= %s"

# What the missing facts were about is still in the tag index, unless that was changed too.
READ_MISSING = b"""
SELECT missing.position, coalesce(string_agg(event_tag.tag, ', ' ORDER BY event_tag.tag), 'nothing')
FROM (
    SELECT position
    FROM generate_series(1, %s) AS given (position)
    WHERE NOT EXISTS (SELECT FROM event WHERE event.position = given.position)
    ORDER BY position
    LIMIT %s
) AS missing
LEFT JOIN event_tag ON event_tag.position = missing.position
GROUP BY missing.position
ORDER BY missing.position
"""

READ_MEMORY = b"SELECT tag, position, state FROM memory ORDER BY tag"


@dataclass
class Refolded:
    """What the journal alone says: for each tag the state and the position folded in last."""

    facts: int = 0
    states: dict[str, State | None] = field(default_factory=lambda: defaultdict(lambda: None))
    positions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One memory that is not what the journal says; None on the side where it is missing."""

    tag: str
    folded: str | None
    stored: str | None


class HistoryBroken(RuntimeError):
    """The fact at this position cannot be read, or cannot follow from those before it."""

    def __init__(self, position: int, why: str) -> None:
        """Name the first such position."""
        super().__init__(f"the history breaks at position {position}: {why}")


Asked = tuple[int, int, list[str]]


def read_facts(connection: Connection, *, until: int, after: int = 0) -> Iterator[list[tuple[int, Fact]]]:
    """The facts of this ledger in position order, a slice at a time. Plain recorder events are passed over.

    The next slice is read while the last one is folded; the connection must not be used for anything else meanwhile.
    """
    types = list(FACTS)
    slices: list[Asked] = [(start, min(start + SLICE, until), types) for start in range(after, until, SLICE)]
    with ThreadPoolExecutor(max_workers=1) as reader:
        reading = [reader.submit(_read_slice, connection, asked) for asked in slices[:1]]
        for number, asked in enumerate(slices, 1):
            current = reading.pop()
            wait([current])
            reading = [reader.submit(_read_slice, connection, following) for following in slices[number : number + 1]]
            found: list[tuple[int, Fact]] = []
            try:
                for type_name, positions, datas in current.result():
                    found += zip(map(int, positions.split(";")), decode_array(type_name, datas), strict=True)
            except (ValueError, psycopg.DataError):
                wait(reading)
                found = _read_one_by_one(connection, asked)
            found.sort(key=itemgetter(0))
            yield found


def _read_slice(connection: Connection, asked: Asked) -> list[TupleRow]:
    with connection.transaction():
        return connection.execute(READ_SLICE, asked, prepare=True).fetchall()


def _read_one_by_one(connection: Connection, asked: Asked) -> list[tuple[int, Fact]]:
    """The slow way, which can tell the position. Raises HistoryBroken."""
    found: list[tuple[int, Fact]] = []
    for position, type_name, data in connection.execute(READ_ONE_BY_ONE, asked):
        try:
            (fact,) = decode_array(type_name, b"[" + data + b"]")
        except ValueError as error:
            raise HistoryBroken(position, str(error)) from error
        found.append((position, fact))
    return found


def refold(
    connection: Connection, *, until: int | None = None, progress: Callable[[int], Any] = lambda _facts: None
) -> Refolded:
    """Fold all facts up to a position, by default the journal's end. Raises HistoryBroken."""
    refolded = Refolded()
    states = refolded.states
    positions = refolded.positions
    for facts in read_facts(connection, until=head(connection) if until is None else until):
        for position, fact in facts:
            try:
                fold_fact(fact, position, states, positions)
            except Exception as error:
                # Facts that contradict each other break a fold in many ways, and each is the finding looked for.
                raise HistoryBroken(position, f"{type(fact).__name__} does not follow ({error!r})") from error
        refolded.facts += len(facts)
        progress(len(facts))
    return refolded


def head(connection: Connection) -> int:
    """The journal's size."""
    row = connection.execute(HEAD).fetchone()
    assert row is not None
    return int(row[0])


def missing(connection: Connection, *, until: int) -> list[str]:
    """Every position up to this one that holds no fact, with what that was about, up to a bound."""
    row = connection.execute(COUNT, (until,)).fetchone()
    if row == (until,):
        return []
    rows = connection.execute(READ_MISSING, (until, MAX_DIFFERENCES)).fetchall()
    return [f"position {position} is missing; it was about {tags}" for position, tags in rows]


def differences(connection: Connection, refolded: Refolded) -> list[Difference]:
    """Every memory that differs from the refolded one, byte for byte, up to a bound. Writers must rest meanwhile."""
    found: list[Difference] = []
    missing = set(refolded.states)
    with connection.cursor("memories") as cursor:
        cursor.itersize = SLICE
        cursor.execute(READ_MEMORY)
        for tag, position, stored in cursor:
            missing.discard(tag)
            state = refolded.states.get(tag)
            folded = _spelled(state)
            if folded != stored or refolded.positions.get(tag) != position:
                found.append(Difference(tag, folded, stored))
            if len(found) >= MAX_DIFFERENCES:
                return found
    found += [Difference(tag, _spelled(refolded.states[tag]), None) for tag in sorted(missing)]
    return found[:MAX_DIFFERENCES]


def _spelled(state: State | None) -> str | None:
    return None if state is None else spell(state)


def unbalanced(connection: Connection, refolded: Refolded, *, until: int) -> list[str]:
    """Every account and part whose postings do not add up to its folded balance, and the trial balance if not zero."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for facts in read_facts(connection, until=until):
        for _, fact in facts:
            for leg in postings(fact):
                sums[leg.account, leg.part] += leg.amount_fen
    trial = sum(sums.values())
    found = [f"the trial balance is {trial} fen, not zero"] if trial else []
    for tag, state in refolded.states.items():
        kind, _, account = tag.partition(":")
        if kind == "account" and state is not None:
            for part, balance in state["balances_fen"].items():
                if sums.get((account, part), 0) != balance:
                    found.append(f"{account} {part}: postings {sums.get((account, part), 0)}, balance {balance}")
    return found[:MAX_DIFFERENCES]
