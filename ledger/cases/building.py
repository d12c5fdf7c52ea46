"""Builds an edition of the case library from the journal, at one position, and writes down what is published and nothing else.

1. All editions are derived anew from the facts; those that were published must come out as they were, or nothing is written.
2. Which editions there were, each with its position, date and digest, is never forgotten and never changed. The cells are
   derived, and can be written anew at any time.
3. An edition is written whole, in one transaction; of two who build at once, one is refused.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.cases.casebook import Casebook
from ledger.cases.editions import Edition, Library, Moment
from ledger.cases.figures import settings
from ledger.database import Database
from ledger.domain.calendar import beijing_date
from ledger.domain.events import Fact, FactUnreadable, IdentitiesLinked, IdentitiesMerged, ProfileDeclared, decode
from ledger.domain.profiles import employments, income_bands
from ledger.facts import head, read_stretch

Connection = psycopg.Connection[TupleRow]

STRETCH = 10_000
WHO = ("ProfileDeclared", "IdentitiesLinked", "IdentitiesMerged")

EDITIONS = b"SELECT number, position, as_of, digest FROM case_edition ORDER BY number"
NOW = b"SELECT clock_timestamp()"
# In stretches, as the journal is: a transaction over all of it would keep the rows that writers replace meanwhile.
OF_TYPES = b"""
SELECT type, data
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
ORDER BY position
"""
INSERT_EDITION = b"""
INSERT INTO case_edition (number, position, as_of, least, digest)
VALUES (%s, %s, %s, %s, %s)
"""
INSERT_CELL = b"""
INSERT INTO case_cell (
    edition, number, area, without, birth_from, birth_to, income_bands, employments, people_at_least
)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
INSERT_FIGURE = b"""
INSERT INTO case_figure (edition, cell, measure, since_edition, quarter, median, three_quarters)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
FORGET_FIGURES = b"DELETE FROM case_figure"
FORGET_CELLS = b"DELETE FROM case_cell"


class EditionTooEarly(ValueError):
    """Editions lie a stated number of days apart, so that they cannot be compared from day to day; build it later."""


class EditionsDiffer(RuntimeError):
    """The facts and rules of now do not give an edition that was published; find out which of them changed."""


class EditionBuiltMeanwhile(RuntimeError):
    """Somebody else has published this edition; look at it before you build another."""


class _Published(NamedTuple):
    moment: Moment
    digest: str


def build_edition(
    database: Database, *, as_of: date | None = None, progress: Callable[[int], Any] = lambda _facts: None
) -> Edition:
    """Publish the next edition: of the journal as it is now, as of today in China or an earlier date.

    Raises EditionTooEarly, EditionsDiffer, EditionBuiltMeanwhile, FactUnreadable, LeastFell and SettingsUnsafe.
    """
    with database.connect(autocommit=True) as connection:
        before = _published(connection)
        today = beijing_date(_one(connection, NOW))
        moment = Moment(len(before) + 1, head(connection), as_of or today)
        if moment.as_of > today:
            raise EditionTooEarly(f"{moment.as_of} is to come: {EditionTooEarly.__doc__}")
        _require_apart(before, moment)
        edition = _derived(connection, before, [moment], progress)[-1]
    with database.connect() as connection:
        try:
            row = edition.moment.number, edition.moment.position, edition.moment.as_of, edition.least, edition.digest
            connection.execute(INSERT_EDITION, row)
        except psycopg.errors.UniqueViolation as error:
            raise EditionBuiltMeanwhile(EditionBuiltMeanwhile.__doc__) from error
        _write(connection, [edition])
        connection.commit()
    return edition


def rebuild_editions(database: Database, *, progress: Callable[[int], Any] = lambda _facts: None) -> list[Edition]:
    """Write the cells of every published edition anew from the journal. Raises EditionsDiffer, FactUnreadable."""
    with database.connect(autocommit=True) as connection:
        editions = _derived(connection, _published(connection), [], progress)
    with database.connect() as connection:
        connection.execute(FORGET_FIGURES)
        connection.execute(FORGET_CELLS)
        _write(connection, editions)
        connection.commit()
    return editions


def derived_editions(facts: Iterable[tuple[int, Fact]], hers: frozenset[str], moments: list[Moment]) -> list[Edition]:
    """Every edition, from the facts up to the last one's position: a pure function of both and of the rules.

    Raises LeastFell and SettingsUnsafe.
    """
    book, library, editions = Casebook(hers), Library(), []
    following = iter(facts)
    waiting = next(following, None)
    for moment in moments:
        book.look_until(moment.as_of)
        while waiting is not None and waiting[0] <= moment.position:
            book.note(*waiting)
            waiting = next(following, None)
        codes = {"income_bands": income_bands(moment.as_of), "employments": employments(moment.as_of)}
        editions.append(library.publish(moment, book.picture(), settings(moment.as_of), **codes))
    return editions


def identities_of(facts: Iterable[Fact]) -> frozenset[str]:
    """All identities that ever declared a profile, and all that were ever linked with one of them, however far."""
    declared: set[str] = set()
    parent: dict[str, str] = {}

    def root(sid: str) -> str:
        path = []
        while (above := parent.get(sid, sid)) != sid:
            path.append(sid)
            sid = above
        parent.update(dict.fromkeys(path, sid))
        return sid

    for fact in facts:
        if isinstance(fact, ProfileDeclared):
            declared.add(fact.sid)
        elif isinstance(fact, IdentitiesLinked | IdentitiesMerged):
            for part in fact.after:
                for sid in part:
                    parent[root(sid)] = root(part[0])
    roots = {root(sid) for sid in declared}
    return frozenset(declared | {sid for sid in list(parent) if root(sid) in roots} | roots)


def _published(connection: Connection) -> list[_Published]:
    rows = connection.execute(EDITIONS).fetchall()
    return [_Published(Moment(number, position, as_of), digest) for number, position, as_of, digest in rows]


def _require_apart(before: list[_Published], moment: Moment) -> None:
    days = settings(moment.as_of).least_days
    if before and moment.as_of < before[-1].moment.as_of + timedelta(days=days):
        raise EditionTooEarly(
            f"the last is of {before[-1].moment.as_of}, and the next may be of {days} days later: {EditionTooEarly.__doc__}"
        )


def _derived(
    connection: Connection, before: list[_Published], new: list[Moment], progress: Callable[[int], Any]
) -> list[Edition]:
    moments = [*(each.moment for each in before), *new]
    if not moments:
        return []
    until = moments[-1].position
    hers = identities_of(_who(connection, until))
    editions = derived_editions(_facts(connection, until, progress), hers, moments)
    for published, edition in zip(before, editions, strict=False):
        if edition.digest != published.digest:
            raise EditionsDiffer(f"edition {published.moment.number}: {EditionsDiffer.__doc__}")
    return editions


def _who(connection: Connection, until: int) -> Iterator[Fact]:
    for after in range(0, until, STRETCH):
        for type_name, data in connection.execute(OF_TYPES, (after, min(after + STRETCH, until), list(WHO))):
            yield decode(type_name, bytes(data))


def _facts(connection: Connection, until: int, progress: Callable[[int], Any]) -> Iterator[tuple[int, Fact]]:
    for after in range(0, until, STRETCH):
        end = min(after + STRETCH, until)
        read = read_stretch(connection, after=after, until=end)
        if read.unreadable:
            first = read.unreadable[0]
            raise FactUnreadable(f"the fact at position {first.position} cannot be read: {first.reason}")
        yield from read.facts
        progress(end - after)


def _write(connection: Connection, editions: list[Edition]) -> None:
    cells, figures = [], []
    for edition in editions:
        for number, cell in enumerate(edition.cells, 1):
            arrays = [list(each) if isinstance(each, tuple) else each for each in cell.box]
            cells.append((edition.moment.number, number, *arrays, cell.people_at_least))
            figures += [(edition.moment.number, number, *figure) for figure in cell.figures]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_CELL, cells)
        cursor.executemany(INSERT_FIGURE, figures)


def _one(connection: Connection, query: bytes) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
