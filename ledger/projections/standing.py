"""Where the projections stand: which slot of each is read, how far it has come, and what it could not take.

A reading asks for these in the snapshot in which it reads the rows, so that both belong together.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import psycopg
from psycopg.rows import TupleRow

from ledger.database import Database
from ledger.domain.lines import Recorded
from ledger.facts import head

Connection = psycopg.Connection[TupleRow]

# What a source identity, a one_id and an account are spelled with; nothing else can be looked up.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
MAX_WAIT_S = 2.0
# Who has seen a position further beyond the journal's end than this is mistaken, and is not waited for.
MAX_AHEAD = 10_000
# Who waits holds a thread: so few may, and whoever comes then is told at once to come again.
MAX_WAITERS = 8
_waiters = threading.BoundedSemaphore(MAX_WAITERS)
LOOK_AGAIN_S = 0.02

STANDING = b"""
SELECT projection.live_slot, projection_slot.position, projection_slot.halted
FROM projection
JOIN projection_slot ON projection_slot.name = projection.name AND projection_slot.slot = projection.live_slot
WHERE projection.name = %s
"""

INCOMPLETE = rb"""
SELECT position
FROM dead_letter
WHERE name = %(name)s
    AND slot = %(slot)s
    AND position <= %(until)s
    AND (%(tags)s::text IS NULL OR tags && string_to_array(%(tags)s, E'\x1e') COLLATE "C")
ORDER BY position
LIMIT 100
"""


NOT_TAKEN = b"""
SELECT position
FROM dead_letter
WHERE name = %(name)s AND slot = %(slot)s AND position > %(after)s AND position <= %(until)s
"""


class Projection(Protocol):
    """A table set that follows the journal. Projections are strangers to each other."""

    @property
    def name(self) -> str:
        """Its name in the table `projection`."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables, without the number of the slot."""
        ...

    def apply(self, connection: Connection, slot: int, facts: Sequence[Recorded]) -> None:
        """Take these facts, in position order, into the tables of a slot; each fact comes once."""
        ...


class Standing(NamedTuple):
    """The live slot of a projection, and the position of the last fact in it."""

    slot: int
    position: int
    halted: str | None


class ProjectionBehind(RuntimeError):
    """The projection has not come to the position asked for; ask again in a moment."""

    def __init__(self, *, name: str, position: int, asked: int, halted: str | None) -> None:
        """Say how far it has come."""
        self.name, self.position, self.asked, self.halted = name, position, asked, halted
        super().__init__(f"{name} stands at position {position}, asked was {asked}" + (f"; {halted}" if halted else ""))


class PersonUnknown(LookupError):
    """No source identity, one_id or account of this name is registered, or not by the position asked for."""


class PositionNotRecorded(LookupError):
    """The journal has no fact at the position asked for yet; `head` is its end."""

    def __init__(self, *, asked: int, head: int) -> None:
        """Say where the journal ends."""
        self.asked, self.head = asked, head
        super().__init__(f"the journal ends at position {head}, asked was {asked}")


def standing(connection: Connection, name: str) -> Standing:
    """Where a projection stands in this snapshot."""
    row = connection.execute(STANDING, (name,), prepare=True).fetchone()
    assert row is not None, f"there is no projection {name}"
    return Standing(*row)


def incomplete(connection: Connection, name: str, at: Standing, *, tags: Iterable[str] | None, until: int) -> list[int]:
    """Positions, up to one, of facts that the projection could not take; about these entities, or all. The first 100."""
    asked = {"name": name, "slot": at.slot, "until": until, "tags": None if tags is None else "\x1e".join(tags)}
    return [position for (position,) in connection.execute(INCOMPLETE, asked)]


def not_taken(connection: Connection, name: str, at: Standing, *, after: int, until: int) -> list[int]:
    """Positions, within a stretch, of all facts that the projection could not take."""
    asked = {"name": name, "slot": at.slot, "after": after, "until": until}
    return [position for (position,) in connection.execute(NOT_TAKEN, asked)]


@contextmanager
def snapshot(database: Database, *, known_at: int | None, seen: int | None) -> Iterator[tuple[Connection, int]]:
    """A read-only connection on which all is read as of one moment, and the position of the journal's last fact in it.

    Waits, within a bound, for the journal to hold what the caller has seen; what is not recorded yet can only be asked for
    by mistake. Raises PositionNotRecorded.
    """
    deadline = time.monotonic() + MAX_WAIT_S
    while True:
        with database.connection() as connection:
            connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            size = head(connection)
            if known_at is not None and known_at > size:
                raise PositionNotRecorded(asked=known_at, head=size)
            if seen is not None and seen > size + MAX_AHEAD:
                raise PositionNotRecorded(asked=seen, head=size)
            if seen is None or seen <= size:
                yield connection, size
                return
        if time.monotonic() > deadline or not _waited():
            raise PositionNotRecorded(asked=seen, head=size)


@contextmanager
def reading(
    database: Database, name: str, *, known_at: int | None, seen: int | None
) -> Iterator[tuple[Connection, Standing]]:
    """A snapshot in which the projection has come to these positions; waits for it, within a bound.

    Raises PositionNotRecorded and ProjectionBehind.
    """
    asked = max(known_at or 0, seen or 0)
    deadline = time.monotonic() + MAX_WAIT_S
    while True:
        with snapshot(database, known_at=known_at, seen=seen) as (connection, _):
            at = standing(connection, name)
            if at.position >= asked:
                yield connection, at
                return
        if at.halted is not None or time.monotonic() > deadline or not _waited():
            raise ProjectionBehind(name=name, position=at.position, asked=asked, halted=at.halted)


def _waited() -> bool:
    """Wait a moment, unless too many do."""
    if not _waiters.acquire(blocking=False):
        return False
    try:
        time.sleep(LOOK_AGAIN_S)
    finally:
        _waiters.release()
    return True
