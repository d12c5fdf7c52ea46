"""Rebuilds projections from the journal alone: aside, in the slots that are not read, and then swaps.

1. A rebuild swaps when it has caught up; until then readers see nothing of it. One that was killed goes on.
2. A slot is emptied only when nobody can still be reading it: emptying shows to all at once, older snapshots included.

Locking: who rebuilds a projection writes its session beside its name, from the first row to the emptying of the old slot.
When the session has ended, however it did, the claim is void. An open transaction would keep the writers' old rows alive.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger import taking
from ledger.database import Database
from ledger.domain.lines import Recorded
from ledger.facts import Read, head, read_stretch
from ledger.taking import BEGIN, BURIED, Slot, Taker, one, recorded, undone_unless_committed

Connection = psycopg.Connection[TupleRow]
Progress = Callable[[int], Any]

# Facts come while a rebuild reads; after so many passes the rest is taken at the swap, while the live slot waits.
MAX_PASSES = 10
# How long readers of the slot that was swapped away are waited for before its rows are left to the next rebuild.
READERS_WAIT_S = 60.0
# The claim of a killed rebuild stands until the server has noticed.
CLAIM_WAIT_S = 2.0
PAUSE_S = 0.05

# The row first, by itself: who had to wait for it then looks at the sessions as they are, and not as they were.
HOLD_CLAIM = b"SELECT FROM projection WHERE name = %s FOR UPDATE"
# The start of another role's session cannot be seen.
CLAIM = b"""
WITH session AS (
    SELECT pid, pid || ' ' || backend_start AS name
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_start IS NOT NULL
)
UPDATE projection
SET rebuilt_by = (SELECT session.name FROM session WHERE session.pid = pg_backend_pid())
WHERE name = %s AND (rebuilt_by IS NULL OR rebuilt_by <> ALL (ARRAY(SELECT session.name FROM session)))
"""
RELEASE = b"UPDATE projection SET rebuilt_by = NULL WHERE name = %s"
HOLD_ASIDE = b"""
SELECT projection_slot.name, projection_slot.slot, projection_slot.position, projection_slot.halted
FROM projection_slot
JOIN projection ON projection.name = projection_slot.name AND projection.live_slot <> projection_slot.slot
WHERE projection.name = %s
FOR UPDATE OF projection_slot NOWAIT
"""
START = b"UPDATE projection_slot SET position = 0, halted = NULL WHERE name = %s AND slot = %s"
RETIRE = b"UPDATE projection_slot SET position = NULL, halted = NULL WHERE name = %s AND slot = %s"
SWAP = b"UPDATE projection SET live_slot = %s WHERE name = %s"
HOLD_FOR_SWAP = b"SELECT position FROM projection_slot WHERE name = %s AND slot <> %s FOR UPDATE"
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


class _Swap(NamedTuple):
    """The position to which the live slot has come, the slot that was live before, and the transaction of the swap."""

    position: int
    retired: int
    transaction: str


def rebuild(database: Database, names: Iterable[str], *, progress: Progress = lambda _facts: None) -> int:
    """Fill the other slots of these projections from the journal alone, and swap; returns the position reached.

    One pass over the journal serves all, each on a connection of its own.

    Raises RebuildRunning, RebuildFailed and SlotStillRead.
    """
    return Rebuild(database).run(names, progress)


class Rebuild:
    """One rebuild of some projections."""

    def __init__(self, database: Database) -> None:
        """Nothing is connected yet."""
        self._database = database
        self._taker = Taker()

    def run(self, names: Iterable[str], progress: Progress) -> int:
        """As `rebuild`."""
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
                if reached - after <= taking.STRETCH:
                    break
            swaps = {name: self._swap(connection, name) for name, connection in connections.items()}
            deadline = time.monotonic() + READERS_WAIT_S
            for name, swap in swaps.items():
                self._clear(connections[name], name, swap.retired, swap.transaction, deadline)
                connections[name].execute(RELEASE, (name,))
                connections[name].commit()
            return min(swap.position for swap in swaps.values())

    def _start(self, connection: Connection, name: str) -> None:
        """Empty the other slot, unless a rebuild left it half filled. Raises RebuildRunning and SlotStillRead.

        A half with dead letters is emptied too: they are why one rebuilds.
        """
        slot = self._held(connection, name)
        letters = one(connection, BURIED, (name, slot.slot))
        if slot.position is None or slot.halted is not None or letters:
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
            asked = pool.submit(read_stretch, reading, after=after, until=min(after + taking.STRETCH, until))
            for start in range(after, until, taking.STRETCH):
                read, end = asked.result(), min(start + taking.STRETCH, until)
                asked = pool.submit(read_stretch, reading, after=end, until=min(end + taking.STRETCH, until))
                facts = recorded(read)
                asides = [
                    pool.submit(self._take_aside, connection, name, read, facts, start, end)
                    for name, connection in connections.items()
                ]
                for taken in wait(asides).done:
                    taken.result()
                progress(end - start)

    def _take_aside(  # noqa: PLR0913 - what a stretch is, and where it goes
        self, connection: Connection, name: str, read: Read, facts: Sequence[Recorded], after: int, until: int
    ) -> None:
        with undone_unless_committed(connection):
            connection.execute(BEGIN)
            slot = self._held(connection, name)
            if slot.position != after:
                raise RebuildRunning(RebuildRunning.__doc__)
            halted = self._taker.take(connection, slot, read, facts, until)
            connection.commit()
        if halted is not None:
            raise RebuildFailed(f"{name}: {halted}")

    def _swap(self, connection: Connection, name: str) -> _Swap:
        """Catch up with the live slot while holding both, and let readers use this one. Raises RebuildFailed."""
        with undone_unless_committed(connection):
            connection.execute(BEGIN)
            slot = self._held(connection, name)
            connection.execute(HOLD_FOR_SWAP, (name, slot.slot))
            position, size = slot.position, head(connection)
            assert position is not None, f"the slot of {name} was started"
            for after in range(position, size, taking.STRETCH):
                end = min(after + taking.STRETCH, size)
                read = read_stretch(connection, after=after, until=end)
                halted = self._taker.take(connection, slot, read, recorded(read), end)
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
        with undone_unless_committed(connection):
            try:
                connection.execute(f"TRUNCATE {', '.join(self._taker.tables(name, slot))}".encode())
            except psycopg.errors.LockNotAvailable:
                return False
            connection.execute(FORGET, (name, slot))
            connection.commit()
        return True

    def _has_rows(self, connection: Connection, slot: Slot) -> bool:
        tables = self._taker.tables(slot.name, slot.slot)
        query = " OR ".join(f"EXISTS (TABLE {table})" for table in tables)
        return one(connection, f"SELECT {query}".encode()) is True


def _claim(connection: Connection, name: str) -> None:
    """Be the only one who rebuilds this projection, until released or the session ends. Raises RebuildRunning."""
    deadline = time.monotonic() + CLAIM_WAIT_S
    while True:
        connection.execute(HOLD_CLAIM, (name,))
        if connection.execute(CLAIM, (name,)).rowcount:
            break
        connection.rollback()
        if time.monotonic() > deadline:
            raise RebuildRunning(RebuildRunning.__doc__)
        time.sleep(PAUSE_S)
    connection.commit()


def _has_readers(connection: Connection, transaction: str) -> bool:
    """Tell whether somebody's snapshot may be older than the end of this transaction."""
    with undone_unless_committed(connection):
        return one(connection, OLD_READERS, (transaction,)) is True


def _transaction(connection: Connection) -> str:
    return str(one(connection, MY_TRANSACTION))
