"""Takes stretches of facts into slots of projections, and sets aside what cannot be taken.

1. Rows and position of a slot change in one transaction: what is killed goes on where it was, and takes each fact once.
2. A fact that cannot be read or taken gets a dead letter in that projection. The facts before and after it are taken,
   and readings about the entities that it mentions say what is missing.
3. Where too many cannot be taken the fault is not with them: the slot halts, and says why.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.lines import Recorded
from ledger.facts import Read
from ledger.projections.control_totals import Totals
from ledger.projections.people import People
from ledger.projections.standing import Projection  # noqa: TC001 - not for one name
from ledger.projections.statements import Statements

Connection = psycopg.Connection[TupleRow]

KINDS = (Totals, People, Statements)
NAMES = tuple(kind.name for kind in KINDS)
STRETCH = 10_000
MAX_DEAD_LETTERS = 1_000
MAX_REASON_CHARACTERS = 300

# Derived rows need no disk flush of their own: rows and position are lost together, and taken again.
BEGIN = b"SET LOCAL synchronous_commit = off"

ADVANCE = b"UPDATE projection_slot SET position = %s WHERE name = %s AND slot = %s"
HALT = b"UPDATE projection_slot SET halted = %s WHERE name = %s AND slot = %s"
BURY = b"""
INSERT INTO dead_letter (name, slot, position, tags, reason)
SELECT %s, %s, position, tags, %s
FROM event
WHERE position = %s
ON CONFLICT DO NOTHING
"""
BURIED = b"SELECT count(*) FROM dead_letter WHERE name = %s AND slot = %s"


class Slot(NamedTuple):
    """A slot that this transaction holds, the position taken last, and why it takes no more."""

    name: str
    slot: int
    position: int | None
    halted: str | None


class _TooManyDeadLetters(Exception):
    """So many facts cannot be taken that the fault is not with them."""


class Taker:
    """The projections of one process; control totals keep in it what they have learned of accounts."""

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._projections: dict[str, Projection] = {made.name: made for made in (kind() for kind in KINDS)}

    def tables(self, name: str, slot: int) -> list[str]:
        """The tables of a slot."""
        return [f"{table}_{slot}" for table in self._projections[name].tables]

    def take(self, connection: Connection, slot: Slot, read: Read, facts: Sequence[Recorded], until: int) -> str | None:
        """Take a stretch into a slot that stands at its beginning, or nothing of it, halt the slot and return why."""
        try:
            with connection.transaction():
                for unreadable in read.unreadable:
                    _bury(connection, slot, unreadable.position, f"unreadable: {unreadable.reason}")
                self._apply(connection, slot, facts)
                connection.execute(ADVANCE, (until, slot.name, slot.slot))
        except _TooManyDeadLetters:
            reason = f"more than {MAX_DEAD_LETTERS} facts could not be taken, the last before position {until}"
            connection.execute(HALT, (reason, slot.name, slot.slot))
            return reason
        return None

    def _apply(self, connection: Connection, slot: Slot, facts: Sequence[Recorded]) -> None:
        """Take facts; of those that cannot be taken together, each half by itself, down to the one that is at fault."""
        try:
            with connection.transaction():
                self._projections[slot.name].apply(connection, slot.slot, facts)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # The database is at fault, and no fact.
        except Exception as error:  # noqa: BLE001 - whatever a fact does, its letter says what it was, and others go on
            if len(facts) == 1:
                _bury(connection, slot, facts[0].position, f"{type(error).__name__}: {first_line(error)}")
                return
            half = len(facts) // 2
            self._apply(connection, slot, facts[:half])
            self._apply(connection, slot, facts[half:])


@contextmanager
def undone_unless_committed(connection: Connection) -> Iterator[None]:
    """End the transaction in any case. A lost connection has ended it; what was lost is said by the first error."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.OperationalError):
            connection.rollback()
        raise
    connection.rollback()


def one(connection: Connection, query: bytes, asked: tuple[Any, ...] = ()) -> Any:
    """The one value that a query gives."""
    row = connection.execute(query, asked).fetchone()
    assert row is not None
    return row[0]


def _bury(connection: Connection, slot: Slot, position: int, reason: str) -> None:
    connection.execute(BURY, (slot.name, slot.slot, reason[:MAX_REASON_CHARACTERS], position))
    if one(connection, BURIED, (slot.name, slot.slot)) > MAX_DEAD_LETTERS:
        raise _TooManyDeadLetters


def recorded(read: Read) -> list[Recorded]:
    """The facts of a stretch, so that all who take it work out only once what each of them moves."""
    return [Recorded(position, fact) for position, fact in read.facts]


def first_line(error: Exception) -> str:
    """What an error says, without its values."""
    return str(error).strip().partition("\n")[0]
