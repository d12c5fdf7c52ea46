"""Facts read from the journal by the auditor: in slices in position order, or all about some entities.

1. Everything is read in one read-only snapshot; several processes may share it (`opened`).
2. What cannot be read is an error with its position, or where it is asked about somebody named with its tags. It is never
   passed over. Events of the plain recorder interface are no facts of this ledger, and are.
3. What the role or the database has set is of no influence: every session sets what its answers depend on.
"""

import gc
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.events import FACTS, Fact, decode_array

Connection = psycopg.Connection[TupleRow]
Positioned = tuple[int, Fact]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

SLICE: Final = 10_000
SWITCH_S: Final = 0.0005
# What the facts about one person, or about those whose sheets are made together, may be at most.
MAX_FACTS_ABOUT: Final = 2_000_000
SETTINGS: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "idle_in_transaction_session_timeout": 0,
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # An error, and not fewer rows, where somebody has hidden some by a policy.
    "row_security": "off",
    "search_path": "public",
    "statement_timeout": 0,
}
OPTIONS: Final = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())

READ_ONLY = b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
EXPORT = b"SELECT pg_export_snapshot()"

HEAD = b"SELECT size FROM head"
COUNT = b"SELECT count(*) FROM event WHERE position BETWEEN 1 AND %s"
FIRST_GAP = b"""
SELECT min(given.position)
FROM generate_series(1, %s) AS given (position)
WHERE NOT EXISTS (SELECT FROM event WHERE event.position = given.position)
"""

# Both aggregates go through the rows in one order, whichever it is; sorting them here would take the server longer than
# all the rest.
JOINED = b"""
SELECT
    type,
    string_agg(position::text, ';'),
    '[' || string_agg(convert_from(data, 'UTF8'), ',') || ']'
FROM event
WHERE {where} AND type = ANY (%(types)s)
GROUP BY type
"""
ONE_BY_ONE = b"""
SELECT position, type, data, tags
FROM event
WHERE {where} AND type = ANY (%(types)s)
ORDER BY position
"""
IN_SLICE = b"position > %(after)s AND position <= %(until)s"
ABOUT = rb"""position = ANY (ARRAY(
    SELECT DISTINCT position
    FROM event_tag
    WHERE tag = ANY (string_to_array(%(tags)s, E'\x1e')) AND position <= %(until)s
    LIMIT %(limit)s
))"""


class HistoryBroken(RuntimeError):
    """The fact at this position cannot be read, or cannot follow from those before it."""

    def __init__(self, position: int | None, why: str) -> None:
        """Name the first such position; None where it cannot be told."""
        # As they were given, so that the error can travel from one process to another.
        super().__init__(position, why)

    def __str__(self) -> str:
        """One sentence."""
        position, why = self.args
        return f"the history breaks{'' if position is None else f' at position {position}'}: {why}"


class TooManyFacts(RuntimeError):
    """More than 2,000,000 facts are about these entities; explain their accounts one by one."""


# How facts that contradict each other, or rows that nobody could have written, break what is folded from them.
DOES_NOT_FOLLOW: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
    psycopg.DataError,
)


@contextmanager
def following(what: str) -> Iterator[None]:
    """Where facts are folded and nothing else is done: whatever breaks that breaks the history. Raises HistoryBroken."""
    try:
        yield
    except DOES_NOT_FOLLOW as error:
        raise HistoryBroken(None, f"{what} does not follow from the facts ({error!r})") from error


class UnreadFact(NamedTuple):
    """A fact that this version cannot read, with the tags that are stored beside it."""

    position: int
    tags: list[str]


class FactsAbout(NamedTuple):
    """Facts in position order, and those that could not be read."""

    facts: list[Positioned]
    unread: list[UnreadFact]


def settle() -> None:
    """For a process that reads much: let the garbage collector run rarely, and threads take turns often.

    All of this makes millions of objects and hardly a cycle; and one thread reads while the other works.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(SWITCH_S)


@contextmanager
def opened(url: str, *, snapshot: str | None = None) -> Iterator[Connection]:
    """A read-only connection on which all is read as of one moment: a new one, or that of an exported snapshot."""
    with psycopg.connect(url, options=OPTIONS, application_name="replay") as connection:
        connection.execute(READ_ONLY)
        if snapshot is not None:
            assert snapshot.replace("-", "").isalnum(), "a snapshot's name comes from the server"
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
        yield connection


def exported(connection: Connection) -> str:
    """The name under which others may share this snapshot, as long as this transaction lasts."""
    return str(one(connection, EXPORT))


def head(connection: Connection) -> int:
    """The journal's size. Raises HistoryBroken."""
    row = connection.execute(HEAD).fetchone()
    if row is None or row[0] is None:
        raise HistoryBroken(None, "the database does not say where the journal ends, the row of its head is gone")
    return int(row[0])


def check_gapless(connection: Connection, until: int) -> None:
    """Whether there is a fact at every position up to this one. Raises HistoryBroken."""
    if one(connection, COUNT, (until,)) != until:
        raise HistoryBroken(one(connection, FIRST_GAP, (until,)), "there is no fact")


def one(connection: Connection, query: bytes, asked: Any = ()) -> Any:
    """The one value that a query gives."""
    row = connection.execute(query, asked).fetchone()
    assert row is not None
    return row[0]


def ahead(asked: Sequence[Asked], read: Callable[[Asked], Answer]) -> Generator[tuple[Asked, Answer], None, None]:
    """The answers in order; the next is read while the last is worked on.

    What `read` uses must not be used by anybody else before all are answered, or this is closed.
    """
    with ThreadPoolExecutor(max_workers=1) as reader:
        reading = [reader.submit(read, each) for each in asked[:1]]
        for number, each in enumerate(asked, 1):
            current = reading.pop()
            wait([current])
            reading = [reader.submit(read, following) for following in asked[number : number + 1]]
            try:
                yield each, current.result()
            except BaseException:
                wait(reading)
                raise


def slices(after: int, until: int) -> list[tuple[int, int]]:
    """Stretches of positions: after the first number, up to the second."""
    return [(start, min(start + SLICE, until)) for start in range(after, until, SLICE)]


def read_facts(
    connection: Connection, *, until: int, after: int = 0, types: Iterable[str] = FACTS
) -> Iterator[list[Positioned]]:
    """The facts of this ledger in position order, a slice at a time. Plain recorder events are passed over.

    The connection must not be used for anything else meanwhile. Raises HistoryBroken.
    """
    for _, facts, _ in read_beside(connection, lambda _start, _end: None, until=until, after=after, types=types):
        yield facts


def read_beside(
    connection: Connection,
    beside: Callable[[int, int], Answer],
    *,
    until: int,
    after: int = 0,
    types: Iterable[str] = FACTS,
) -> Iterator[tuple[tuple[int, int], list[Positioned], Answer]]:
    """As `read_facts`, with the bounds of each slice and what else is read of it, by `beside`, on the same connection."""
    named = list(types)
    stretches = ahead(slices(after, until), lambda asked: (_joined(connection, *asked, named), beside(*asked)))
    for bounds, (rows, more) in stretches:
        found = None if rows is None else decoded(rows)
        if found is None:
            stretches.close()
            raise broken_in(connection, *bounds)
        yield bounds, found, more


def _joined(connection: Connection, after: int, until: int, types: list[str]) -> list[TupleRow] | None:
    """By type the positions and the stored texts; None if a text is none."""
    asked = {"after": after, "until": until, "types": types}
    try:
        with connection.transaction():
            return connection.execute(JOINED.replace(b"{where}", IN_SLICE), asked, prepare=True).fetchall()
    except psycopg.DataError:
        return None


def decoded(rows: Iterable[Sequence[Any]]) -> list[Positioned] | None:
    """The facts of rows of type, positions and texts, in position order; None if one cannot be read."""
    found: list[Positioned] = []
    try:
        for type_name, positions, datas, *_ in rows:
            found += zip(map(int, positions.split(";")), decode_array(type_name, datas), strict=True)
    except ValueError:
        return None
    found.sort(key=itemgetter(0))
    return found


def broken_in(connection: Connection, after: int, until: int) -> HistoryBroken:
    """Which fact of a slice that cannot be read is at fault: the slow way, which can tell the position."""
    asked = {"after": after, "until": until, "types": list(FACTS)}
    for position, type_name, data, _ in connection.execute(ONE_BY_ONE.replace(b"{where}", IN_SLICE), asked):
        try:
            read_fact(position, type_name, data)
        except HistoryBroken as broken:
            return broken
    return HistoryBroken(after + 1, f"the facts up to position {until} cannot be read together")


def read_fact(position: int, type_name: str, data: bytes) -> Fact:
    """One stored fact. Raises HistoryBroken."""
    try:
        (fact,) = decode_array(type_name, f"[{data.decode()}]")
    except (AttributeError, ValueError) as error:
        # Data that is NULL has no bytes either.
        raise HistoryBroken(position, str(error)) from error
    return fact


def facts_about(connection: Connection, tags: Iterable[str], *, until: int) -> FactsAbout:
    """Every fact that mentions one of these entities, up to a position. Raises TooManyFacts."""
    asked = {"tags": "\x1e".join(tags), "until": until, "limit": MAX_FACTS_ABOUT + 1, "types": list(FACTS)}
    try:
        with connection.transaction():
            rows = connection.execute(JOINED.replace(b"{where}", ABOUT), asked, prepare=True).fetchall()
        found = decoded(rows)
    except psycopg.DataError:
        found = None
    read = FactsAbout(found, []) if found is not None else _about_one_by_one(connection, asked)
    if len(read.facts) + len(read.unread) > MAX_FACTS_ABOUT:
        raise TooManyFacts(TooManyFacts.__doc__)
    return read


def _about_one_by_one(connection: Connection, asked: dict[str, Any]) -> FactsAbout:
    read = FactsAbout([], [])
    for position, type_name, data, tags in connection.execute(ONE_BY_ONE.replace(b"{where}", ABOUT), asked):
        try:
            read.facts.append((position, read_fact(position, type_name, data)))
        except HistoryBroken:
            read.unread.append(UnreadFact(position, tags))
    return read
