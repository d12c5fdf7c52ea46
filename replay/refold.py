"""Rebuild every memory from the journal with the domain's own folds, and compare with what the database holds.

1. Nothing but the stored facts is read to rebuild.
2. Facts are folded in position order; the journal is read in slices, so memory holds the states and one slice.
3. Double entry agrees: for every account and part, the postings of its facts add up to the folded balance, and all
   postings of the ledger add up to zero.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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

READ_SLICE = b"""
SELECT
    type,
    string_agg(position::text, ';' ORDER BY position),
    '[' || string_agg(convert_from(data, 'UTF8'), ',' ORDER BY position) || ']'
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
GROUP BY type
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


def read_facts(connection: Connection, *, until: int, after: int = 0) -> Iterator[list[tuple[int, Fact]]]:
    """The facts of this ledger in position order, a slice at a time. Plain recorder events are passed over."""
    types = list(FACTS)
    for start in range(after, until, SLICE):
        rows = connection.execute(READ_SLICE, (start, min(start + SLICE, until), types), prepare=True).fetchall()
        found: list[tuple[int, Fact]] = []
        for type_name, positions, datas in rows:
            found += zip(map(int, positions.split(";")), decode_array(type_name, datas), strict=True)
        if len(rows) > 1:
            found.sort(key=lambda pair: pair[0])
        yield found


def refold(
    connection: Connection, *, until: int | None = None, progress: Callable[[int], Any] = lambda _facts: None
) -> Refolded:
    """Fold all facts up to a position, by default the journal's end."""
    refolded = Refolded()
    states = refolded.states
    positions = refolded.positions
    for facts in read_facts(connection, until=head(connection) if until is None else until):
        for position, fact in facts:
            fold_fact(fact, position, states, positions)
        refolded.facts += len(facts)
        progress(len(facts))
    return refolded


def head(connection: Connection) -> int:
    """The journal's size."""
    row = connection.execute(HEAD).fetchone()
    assert row is not None
    return int(row[0])


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
