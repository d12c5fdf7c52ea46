"""Facts read back from the journal: a stretch of positions at a time, or all about some entities.

1. What this version cannot read is named with its position and tags, never passed over in silence.
2. Events of the plain recorder interface are no facts of this ledger and are passed over.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.events import FACTS, Fact, FactUnreadable, decode, decode_array

Connection = psycopg.Connection[TupleRow]

NO_BOUND = 2**62
MAX_FACTS_ABOUT = 200_000

# Both aggregates go through the rows in one order, whichever it is; joining the stored JSON on the server and reading it
# at once takes a third of what reading row by row does.
JOINED = b"""
SELECT
    type,
    string_agg(position::text, ';'),
    '[' || string_agg(convert_from(data, 'UTF8'), ',') || ']'
FROM event
WHERE {where} AND type = ANY (string_to_array(%(types)s, ';'))
GROUP BY type
"""
ROWS = b"""
SELECT position, type, data, tags
FROM event
WHERE {where} AND type = ANY (string_to_array(%(types)s, ';'))
ORDER BY position
"""
IN_STRETCH = b"position > %(after)s AND position <= %(until)s"
ABOUT_TAGS = rb"""position = ANY (ARRAY(
    SELECT DISTINCT position
    FROM event_tag
    WHERE tag = ANY (string_to_array(%(tags)s, E'\x1e')) AND position <= %(until)s
    LIMIT %(limit)s
))"""
ALL_TYPES = ";".join(FACTS)


class TooManyFacts(RuntimeError):
    """More facts mention these entities than are read at once; ask for an earlier position, or read the statement."""


class Unreadable(NamedTuple):
    """A fact that this version cannot read; a newer one can."""

    position: int
    tags: list[str]
    reason: str


class Read(NamedTuple):
    """Facts in position order, and those that could not be read."""

    facts: list[tuple[int, Fact]]
    unreadable: list[Unreadable]


def head(connection: Connection) -> int:
    """The position of the last fact; all up to it can be read."""
    row = connection.execute(b"SELECT size FROM head", prepare=True).fetchone()
    assert row is not None
    return int(row[0])


def read_stretch(connection: Connection, *, after: int, until: int) -> Read:
    """The facts after one position and up to another."""
    return _read(connection, IN_STRETCH, {"after": after, "until": until, "types": ALL_TYPES})


def facts_about(connection: Connection, tags: Iterable[str], *, until: int | None = None) -> Read:
    """Every fact that mentions one of these entities, up to a position. Raises TooManyFacts."""
    asked = {
        "tags": "\x1e".join(tags),
        "until": NO_BOUND if until is None else until,
        "limit": MAX_FACTS_ABOUT + 1,
        "types": ALL_TYPES,
    }
    read = _read(connection, ABOUT_TAGS, asked)
    if len(read.facts) + len(read.unreadable) > MAX_FACTS_ABOUT:
        raise TooManyFacts(TooManyFacts.__doc__)
    return read


def _read(connection: Connection, where: bytes, asked: dict[str, object]) -> Read:
    facts: list[tuple[int, Fact]] = []
    try:
        with connection.transaction():
            rows = connection.execute(JOINED.replace(b"{where}", where), asked, prepare=True).fetchall()
        for type_name, positions, datas in rows:
            facts += zip(map(int, positions.split(";")), decode_array(type_name, datas), strict=True)
    except (FactUnreadable, psycopg.DataError):
        return _one_by_one(connection, where, asked)
    facts.sort(key=itemgetter(0))
    return Read(facts, [])


def _one_by_one(connection: Connection, where: bytes, asked: dict[str, object]) -> Read:
    """The slow way, which can tell which fact is unreadable."""
    read = Read([], [])
    for position, type_name, data, tags in connection.execute(ROWS.replace(b"{where}", where), asked):
        try:
            read.facts.append((position, decode(type_name, bytes(data))))
        except FactUnreadable as error:
            read.unreadable.append(Unreadable(position, tags, str(error)[:200]))
    return read
