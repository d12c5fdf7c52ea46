"""The projector: takes the journal's facts into the projections, follows it live, and rebuilds them aside.

1. Rows and position of a slot change in one transaction: a projector that is killed goes on where it was, and a fact is
   taken exactly once. Nothing is skipped: what is read next begins at the position taken last.
2. A fact that cannot be read or taken gets a dead letter in that projection. The facts before and after it are taken,
   and readings about the entities that it mentions say what is missing.
3. A rebuild fills the slot that is not read, and swaps when it has caught up. A rebuild that was killed goes on.

Locking: whoever projects into a slot holds its row. Others pass it over, so several projectors may run, and one works.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.database import Database
from ledger.domain.lines import Recorded
from ledger.facts import Read, head, read_stretch
from ledger.journal import CHANNEL
from ledger.projections.control_totals import Totals
from ledger.projections.people import People
from ledger.projections.standing import Projection  # noqa: TC001 - not for one name
from ledger.projections.statements import Statements

Connection = psycopg.Connection[TupleRow]

STRETCH = 10_000
MAX_DEAD_LETTERS = 1_000
POLL_S = 1.0
# Between two batches: at most so many transactions a second, whatever the writers do, and a lag that nobody sees.
PAUSE_S = 0.05
RECONNECT_S = 1.0
# How long readers of the slot that was swapped away are waited for before its rows are left to the next rebuild.
READERS_WAIT_S = 60.0
MAX_REASON_CHARACTERS = 300

# Derived rows need no disk flush of their own: rows and position are lost together, and taken again.
BEGIN = b"SET LOCAL synchronous_commit = off"

HOLD_LIVE = b"""
SELECT projection_slot.name, projection_slot.slot, projection_slot.position, projection_slot.halted
FROM projection_slot
JOIN projection ON projection.name = projection_slot.name AND projection.live_slot = projection_slot.slot
WHERE projection_slot.halted IS NULL
ORDER BY projection_slot.name
FOR UPDATE OF projection_slot SKIP LOCKED
"""
HOLD_ASIDE = b"""
SELECT projection_slot.name, projection_slot.slot, projection_slot.position, projection_slot.halted
FROM projection_slot
JOIN projection ON projection.name = projection_slot.name AND projection.live_slot <> projection_slot.slot
WHERE projection.name = %s
FOR UPDATE OF projection_slot NOWAIT
"""
ADVANCE = b"UPDATE projection_slot SET position = %s WHERE name = %s AND slot = %s"
START = b"UPDATE projection_slot SET position = 0, halted = NULL WHERE name = %s AND slot = %s"
RETIRE = b"UPDATE projection_slot SET position = NULL, halted = NULL WHERE name = %s AND slot = %s"
HALT = b"UPDATE projection_slot SET halted = %s WHERE name = %s AND slot = %s"
SWAP = b"UPDATE projection SET live_slot = %s WHERE name = %s"
HOLD_FOR_SWAP = b"SELECT position FROM projection_slot WHERE name = %s AND slot <> %s FOR UPDATE"
BURY = b"""
INSERT INTO dead_letter (name, slot, position, tags, reason)
SELECT %s, %s, position, tags, %s
FROM event
WHERE position = %s
ON CONFLICT DO NOTHING
"""
BURIED = b"SELECT count(*) FROM dead_letter WHERE name = %s AND slot = %s"
FORGET = b"DELETE FROM dead_letter WHERE name = %s AND slot = %s"
OLD_READERS = b"SELECT pg_snapshot_xmin(pg_current_snapshot()) <= %s::xid8"
MY_TRANSACTION = b"SELECT pg_current_xact_id()"


class RebuildRunning(RuntimeError):
    """Another process is rebuilding this projection; wait for it."""


class RebuildFailed(RuntimeError):
    """Too many facts cannot be taken; what is read stays as it is, and the next rebuild begins anew."""


class Slot(NamedTuple):
    """A slot that this transaction holds, the position taken last, and why it takes no more."""

    name: str
    slot: int
    position: int | None
    halted: str | None


class _TooManyDeadLetters(Exception):
    """So many facts cannot be taken that the fault is not with them."""


Progress = Callable[[int], Any]


class Projector:
    """Projects for one process. Its methods are called from one thread."""

    def __init__(self, database: Database) -> None:
        """Nothing is connected yet."""
        self._database = database
        self._projections: dict[str, Projection] = {p.name: p for p in (Totals(), People(), Statements())}

    @property
    def names(self) -> list[str]:
        """The projections there are."""
        return [*self._projections]

    def run(self, stop: threading.Event, *, report: Callable[[str], Any] = lambda _sentence: None) -> None:
        """Follow the journal until stopped. A lost database is tried again, and said."""
        while not stop.is_set():
            try:
                with self._database.connect(autocommit=True) as listening, self._database.connect() as connection:
                    listening.execute(f"LISTEN {CHANNEL}".encode())
                    while not stop.is_set():
                        if self._step(connection) == 0:
                            for _ in listening.notifies(timeout=POLL_S, stop_after=1):
                                pass
                        stop.wait(PAUSE_S)
            except psycopg.OperationalError as error:
                report(f"The database does not answer ({_first_line(error)}); trying again.")
                stop.wait(RECONNECT_S)

    def catch_up(self) -> int:
        """Take what the live slots lack at this moment; returns how many positions were passed."""
        total = 0
        with self._database.connect() as connection:
            while passed := self._step(connection):
                total += passed
        return total

    def _step(self, connection: Connection) -> int:
        """One stretch into those live slots that are furthest behind; 0 where there is nothing to do."""
        try:
            connection.execute(BEGIN)
            size = head(connection)
            held = [Slot(*row) for row in connection.execute(HOLD_LIVE, prepare=True)]
            positions = sorted(slot.position for slot in held if slot.position is not None)
            if not positions or positions[0] >= size:
                return 0
            behind = positions[0]
            until = min([behind + STRETCH, size, *(position for position in positions if position > behind)])
            read = read_stretch(connection, after=behind, until=until)
            facts = _recorded(read)
            for slot in held:
                if slot.position == behind:
                    self._take(connection, slot, read, facts, until)
            connection.commit()
        finally:
            if not connection.closed:
                connection.rollback()
        return until - behind

    def _take(self, connection: Connection, slot: Slot, read: Read, facts: Sequence[Recorded], until: int) -> None:
        """Take a stretch into a slot that stands at its beginning, or nothing of it, and halt the slot."""
        try:
            with connection.transaction():
                for unreadable in read.unreadable:
                    _bury(connection, slot, unreadable.position, f"unreadable: {unreadable.reason}")
                self._apply(connection, slot, facts)
                connection.execute(ADVANCE, (until, slot.name, slot.slot))
        except _TooManyDeadLetters:
            reason = f"more than {MAX_DEAD_LETTERS} facts could not be taken, the last before position {until}"
            connection.execute(HALT, (reason, slot.name, slot.slot))

    def _apply(self, connection: Connection, slot: Slot, facts: Sequence[Recorded]) -> None:
        """Take facts; of those that cannot be taken together, each half by itself, down to the one that is at fault."""
        try:
            with connection.transaction():
                self._projections[slot.name].apply(connection, slot.slot, facts)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # The database is at fault, and no fact.
        except Exception as error:  # noqa: BLE001 - whatever a fact does, its letter says what it was, and others go on
            if len(facts) == 1:
                _bury(connection, slot, facts[0].position, f"{type(error).__name__}: {_first_line(error)}")
                return
            half = len(facts) // 2
            self._apply(connection, slot, facts[:half])
            self._apply(connection, slot, facts[half:])

    def rebuild(self, names: Iterable[str], *, progress: Progress = lambda _facts: None) -> int:
        """Fill the other slots of these projections from the journal alone, and swap; returns the position reached.

        One pass over the journal serves all, each on a connection of its own. Raises RebuildRunning.
        """
        with ExitStack() as stack:
            reading = stack.enter_context(self._database.connect(autocommit=True))
            connections = {name: stack.enter_context(self._database.connect()) for name in sorted(names)}
            for name, connection in connections.items():
                self._start(connection, name)
            behind = self._standings(connections)
            while len(set(behind.values())) > 1:
                first, then = sorted(set(behind.values()))[:2]
                together = {name: connections[name] for name, position in behind.items() if position == first}
                self._pass(together, reading, after=first, until=then, progress=progress)
                behind = self._standings(connections)
            self._pass(connections, reading, after=min(behind.values()), until=head(reading), progress=progress)
            for name, connection in connections.items():
                self._swap(connection, name)
            return head(reading)

    def _start(self, connection: Connection, name: str) -> None:
        """Empty the other slot, unless a rebuild left it half filled."""
        slot = self._held(connection, name)
        if slot.position is None or slot.halted is not None:
            self._truncate(connection, name, slot.slot)
            connection.execute(START, (name, slot.slot))
        connection.commit()

    def _held(self, connection: Connection, name: str) -> Slot:
        """Hold the slot that is not read. Raises RebuildRunning."""
        try:
            row = connection.execute(HOLD_ASIDE, (name,), prepare=True).fetchone()
        except psycopg.errors.LockNotAvailable as error:
            connection.rollback()
            raise RebuildRunning(RebuildRunning.__doc__) from error
        assert row is not None, f"{name} has two slots"
        return Slot(*row)

    def _standings(self, connections: Mapping[str, Connection]) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, connection in connections.items():
            position = self._held(connection, name).position
            connection.commit()
            assert position is not None, f"the slot of {name} was started"
            found[name] = position
        return found

    def _pass(
        self, connections: Mapping[str, Connection], reading: Connection, *, after: int, until: int, progress: Progress
    ) -> None:
        """Take everything between two positions into the slots that are not read; the next stretch is read meanwhile."""
        with ThreadPoolExecutor(max_workers=len(connections) + 1) as pool:
            asked = pool.submit(read_stretch, reading, after=after, until=min(after + STRETCH, until))
            for start in range(after, until, STRETCH):
                read, end = asked.result(), min(start + STRETCH, until)
                asked = pool.submit(read_stretch, reading, after=end, until=min(end + STRETCH, until))
                facts = _recorded(read)
                taking = [
                    pool.submit(self._take_aside, connection, name, read, facts, start, end)
                    for name, connection in connections.items()
                ]
                for taken in wait(taking).done:
                    taken.result()
                progress(end - start)

    def _take_aside(  # noqa: PLR0913 - what a stretch is, and where it goes
        self, connection: Connection, name: str, read: Read, facts: Sequence[Recorded], after: int, until: int
    ) -> None:
        try:
            connection.execute(BEGIN)
            slot = self._held(connection, name)
            if slot.position != after:
                raise RebuildRunning(RebuildRunning.__doc__)
            self._take(connection, slot, read, facts, until)
            halted = self._held(connection, name).halted
            connection.commit()
        finally:
            connection.rollback()
        if halted is not None:
            raise RebuildFailed(f"{name}: {halted}")

    def _swap(self, connection: Connection, name: str) -> None:
        """Catch up with the live slot while holding both, let readers use this one, and empty the other."""
        connection.execute(BEGIN)
        slot = self._held(connection, name)
        connection.execute(HOLD_FOR_SWAP, (name, slot.slot))
        position, size = slot.position, head(connection)
        assert position is not None, f"the slot of {name} was started"
        for after in range(position, size, STRETCH):
            end = min(after + STRETCH, size)
            read = read_stretch(connection, after=after, until=end)
            self._take(connection, slot, read, _recorded(read), end)
        connection.execute(SWAP, (slot.slot, name))
        connection.execute(RETIRE, (name, 3 - slot.slot))
        row = connection.execute(MY_TRANSACTION).fetchone()
        assert row is not None
        connection.commit()
        self._clear(connection, name, 3 - slot.slot, str(row[0]))

    def _clear(self, connection: Connection, name: str, slot: int, transaction: str) -> None:
        """Empty the slot that was swapped away, once nobody can still be reading it: emptying it shows to all at once."""
        deadline = time.monotonic() + READERS_WAIT_S
        while True:
            row = connection.execute(OLD_READERS, (transaction,)).fetchone()
            connection.rollback()
            if row == (False,):
                break
            if time.monotonic() > deadline:
                return
            time.sleep(PAUSE_S)
        self._truncate(connection, name, slot)
        connection.commit()

    def _truncate(self, connection: Connection, name: str, slot: int) -> None:
        tables = ", ".join(f"{table}_{slot}" for table in self._projections[name].tables)
        connection.execute(f"TRUNCATE {tables}".encode())
        connection.execute(FORGET, (name, slot))


def _bury(connection: Connection, slot: Slot, position: int, reason: str) -> None:
    connection.execute(BURY, (slot.name, slot.slot, reason[:MAX_REASON_CHARACTERS], position))
    row = connection.execute(BURIED, (slot.name, slot.slot)).fetchone()
    assert row is not None
    if row[0] > MAX_DEAD_LETTERS:
        raise _TooManyDeadLetters


def _recorded(read: Read) -> list[Recorded]:
    return [Recorded(position, fact) for position, fact in read.facts]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
