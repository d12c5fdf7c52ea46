"""The projector: takes the journal's facts into the projections, follows it live, and rebuilds them aside.

1. Rows and position of a slot change in one transaction: a projector that is killed goes on where it was, and a fact is
   taken exactly once. Nothing is skipped: what is read next begins at the position taken last.
2. A fact that cannot be read or taken gets a dead letter in that projection. The facts before and after it are taken,
   and readings about the entities that it mentions say what is missing.
3. A rebuild fills the slot that is not read, and swaps when it has caught up. A rebuild that was killed goes on.
4. A slot is emptied only when nobody can still be reading it: emptying shows to all at once, older snapshots included.

Locking: whoever projects into a slot holds its row. Others pass it over, so several projectors may run, and one works.
Who rebuilds a projection writes its session beside its name, from the first row to the emptying of the old slot; when the
session has ended, however it did, the claim is void. An open transaction would keep old rows of the writers alive so long.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
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
# How long a projector that takes nothing waits for the one that holds the slots.
OTHERS_WAIT_S = 10.0
# Facts come while a rebuild reads; after so many passes the rest is taken at the swap, while the live slot waits.
MAX_PASSES = 10
# How long readers of the slot that was swapped away are waited for before its rows are left to the next rebuild.
READERS_WAIT_S = 60.0
MAX_REASON_CHARACTERS = 300

# Derived rows need no disk flush of their own: rows and position are lost together, and taken again.
BEGIN = b"SET LOCAL synchronous_commit = off"

# The claim of a killed rebuild stands until the server has noticed.
CLAIM_WAIT_S = 2.0
CLAIM = b"""
WITH session AS (
    SELECT pid, pid || ' ' || backend_start AS name
    FROM pg_stat_activity
    WHERE datname = current_database()
)
UPDATE projection
SET rebuilt_by = (SELECT session.name FROM session WHERE session.pid = pg_backend_pid())
WHERE name = %s AND (rebuilt_by IS NULL OR rebuilt_by NOT IN (SELECT session.name FROM session))
"""
RELEASE = b"UPDATE projection SET rebuilt_by = NULL WHERE name = %s"

LACKING = b"""
SELECT EXISTS (
    SELECT
    FROM projection
    JOIN projection_slot ON projection_slot.name = projection.name AND projection_slot.slot = projection.live_slot
    WHERE projection_slot.halted IS NULL AND projection_slot.position < %s
)
"""
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
# Readers write nothing and so have no transaction id: what their snapshots see is told by their sessions alone.
OLD_READERS = b"""
SELECT EXISTS (
    SELECT
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND age(backend_xmin) >= age(%s::xid8::xid)
)
"""
MY_TRANSACTION = b"SELECT pg_current_xact_id()"


class RebuildRunning(RuntimeError):
    """Another process is rebuilding this projection; wait for it."""


class SlotStillRead(RuntimeError):
    """A long transaction still reads what the last rebuild replaced; wait for its end, or end it, and rebuild again."""


class RebuildFailed(RuntimeError):
    """Too many facts cannot be taken; what is read stays as it is, and the next rebuild begins anew."""


class Slot(NamedTuple):
    """A slot that this transaction holds, the position taken last, and why it takes no more."""

    name: str
    slot: int
    position: int | None
    halted: str | None


class _Swap(NamedTuple):
    """The position to which the live slot has come, the slot that was live before, and the transaction of the swap."""

    position: int
    retired: int
    transaction: str


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
        """Take what the live slots lack at this moment; returns how many positions were passed.

        What another projector is taking is waited for, within a bound.
        """
        total = 0
        with self._database.connect() as connection:
            until = head(connection)
            deadline = time.monotonic() + OTHERS_WAIT_S
            while _lacks(connection, until):
                if passed := self._step(connection):
                    total += passed
                    deadline = time.monotonic() + OTHERS_WAIT_S
                elif time.monotonic() > deadline:
                    break
                else:
                    time.sleep(PAUSE_S)
        return total

    def _step(self, connection: Connection) -> int:
        """One stretch into those live slots that are furthest behind; 0 where there is nothing to do."""
        with _undone_unless_committed(connection):
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
        return until - behind

    def _take(
        self, connection: Connection, slot: Slot, read: Read, facts: Sequence[Recorded], until: int
    ) -> str | None:
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
                _bury(connection, slot, facts[0].position, f"{type(error).__name__}: {_first_line(error)}")
                return
            half = len(facts) // 2
            self._apply(connection, slot, facts[:half])
            self._apply(connection, slot, facts[half:])

    def rebuild(self, names: Iterable[str], *, progress: Progress = lambda _facts: None) -> int:
        """Fill the other slots of these projections from the journal alone, and swap; returns the position reached.

        One pass over the journal serves all, each on a connection of its own.

        Raises RebuildRunning, RebuildFailed and SlotStillRead.
        """
        with ExitStack() as stack:
            reading = stack.enter_context(self._database.connect(autocommit=True))
            connections = {name: stack.enter_context(self._database.connect()) for name in sorted(set(names))}
            for name, connection in connections.items():
                _claim(connection, name)
                self._start(connection, name)
            behind = self._standings(connections)
            while len(set(behind.values())) > 1:
                first, then = sorted(set(behind.values()))[:2]
                together = {name: connections[name] for name, position in behind.items() if position == first}
                self._pass(together, reading, after=first, until=then, progress=progress)
                behind = self._standings(connections)
            reached = min(behind.values())
            for _ in range(MAX_PASSES):
                after, reached = reached, head(reading)
                self._pass(connections, reading, after=after, until=reached, progress=progress)
                if reached - after <= STRETCH:
                    break
            swaps = {name: self._swap(connection, name) for name, connection in connections.items()}
            deadline = time.monotonic() + READERS_WAIT_S
            for name, swap in swaps.items():
                self._clear(connections[name], name, swap.retired, swap.transaction, deadline)
                connections[name].execute(RELEASE, (name,))
                connections[name].commit()
            return min(swap.position for swap in swaps.values())

    def _start(self, connection: Connection, name: str) -> None:
        """Empty the other slot, unless a rebuild left it half filled. Raises RebuildRunning and SlotStillRead."""
        slot = self._held(connection, name)
        if slot.position is None or slot.halted is not None:
            now = _transaction(connection)
            has_rows = self._has_rows(connection, slot)
            connection.rollback()
            deadline = time.monotonic() + READERS_WAIT_S
            if has_rows and not self._clear(connection, name, slot.slot, now, deadline):
                raise SlotStillRead(SlotStillRead.__doc__)
            connection.execute(FORGET, (name, slot.slot))
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
        with _undone_unless_committed(connection):
            connection.execute(BEGIN)
            slot = self._held(connection, name)
            if slot.position != after:
                raise RebuildRunning(RebuildRunning.__doc__)
            halted = self._take(connection, slot, read, facts, until)
            connection.commit()
        if halted is not None:
            raise RebuildFailed(f"{name}: {halted}")

    def _swap(self, connection: Connection, name: str) -> _Swap:
        """Catch up with the live slot while holding both, and let readers use this one. Raises RebuildFailed."""
        with _undone_unless_committed(connection):
            connection.execute(BEGIN)
            slot = self._held(connection, name)
            connection.execute(HOLD_FOR_SWAP, (name, slot.slot))
            position, size = slot.position, head(connection)
            assert position is not None, f"the slot of {name} was started"
            for after in range(position, size, STRETCH):
                end = min(after + STRETCH, size)
                read = read_stretch(connection, after=after, until=end)
                halted = self._take(connection, slot, read, _recorded(read), end)
                if halted is not None:
                    connection.commit()
                    raise RebuildFailed(f"{name}: {halted}")
            retired = 3 - slot.slot
            connection.execute(SWAP, (slot.slot, name))
            connection.execute(RETIRE, (name, retired))
            swap = _Swap(size, retired, _transaction(connection))
            connection.commit()
        return swap

    def _clear(self, connection: Connection, name: str, slot: int, transaction: str, deadline: float) -> bool:
        """Empty a slot that nobody reads since this transaction, or leave it to the next rebuild."""
        while _has_readers(connection, transaction):
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_S)
        with _undone_unless_committed(connection):
            try:
                connection.execute(f"TRUNCATE {self._tables(name, slot)}".encode())
            except psycopg.errors.LockNotAvailable:
                return False
            connection.execute(FORGET, (name, slot))
            connection.commit()
        return True

    def _tables(self, name: str, slot: int) -> str:
        return ", ".join(f"{table}_{slot}" for table in self._projections[name].tables)

    def _has_rows(self, connection: Connection, slot: Slot) -> bool:
        tables = self._tables(slot.name, slot.slot).split(", ")
        query = " OR ".join(f"EXISTS (TABLE {table})" for table in tables)
        return _one(connection, f"SELECT {query}".encode()) is True


@contextmanager
def _undone_unless_committed(connection: Connection) -> Iterator[None]:
    """End the transaction in any case. A lost connection has ended it; what was lost is said by the first error."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.OperationalError):
            connection.rollback()
        raise
    connection.rollback()


def _claim(connection: Connection, name: str) -> None:
    """Be the only one who rebuilds this projection, until released or the session ends. Raises RebuildRunning."""
    deadline = time.monotonic() + CLAIM_WAIT_S
    while connection.execute(CLAIM, (name,)).rowcount == 0:
        connection.rollback()
        if time.monotonic() > deadline:
            raise RebuildRunning(RebuildRunning.__doc__)
        time.sleep(PAUSE_S)
    connection.commit()


def _lacks(connection: Connection, until: int) -> bool:
    """Tell whether a live slot that takes facts has not come to this position."""
    with _undone_unless_committed(connection):
        return _one(connection, LACKING, (until,)) is True


def _has_readers(connection: Connection, transaction: str) -> bool:
    """Tell whether somebody's snapshot may be older than the end of this transaction."""
    with _undone_unless_committed(connection):
        return _one(connection, OLD_READERS, (transaction,)) is True


def _transaction(connection: Connection) -> str:
    return str(_one(connection, MY_TRANSACTION))


def _one(connection: Connection, query: bytes, asked: tuple[Any, ...] = ()) -> Any:
    row = connection.execute(query, asked).fetchone()
    assert row is not None
    return row[0]


def _bury(connection: Connection, slot: Slot, position: int, reason: str) -> None:
    connection.execute(BURY, (slot.name, slot.slot, reason[:MAX_REASON_CHARACTERS], position))
    if _one(connection, BURIED, (slot.name, slot.slot)) > MAX_DEAD_LETTERS:
        raise _TooManyDeadLetters


def _recorded(read: Read) -> list[Recorded]:
    return [Recorded(position, fact) for position, fact in read.facts]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
