"""The projector: follows the journal live, and takes its facts into the slots that are read.

Nothing is skipped: what is read next begins at the position taken last.

Locking: whoever projects into a slot holds its row. Others pass it over, so several projectors may run, and one works.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ledger import taking
from ledger.database import Database
from ledger.facts import head, read_stretch
from ledger.journal import CHANNEL
from ledger.taking import BEGIN, Slot, Taker, first_line, one, recorded, undone_unless_committed

Connection = psycopg.Connection[TupleRow]

POLL_S = 1.0
# Between two transactions, each of which takes a few milliseconds from the writers: a longer pause while little comes, and
# a short one behind payroll lists, where a long one made the lag reach 1.3 seconds.
PAUSE_S = 0.2
SHORT_PAUSE_S = 0.05
MUCH = 1_000
RECONNECT_S = 1.0
# How long a projector that takes nothing waits for the one that holds the slots.
OTHERS_WAIT_S = 10.0

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


class Projector:
    """Projects for one process. Its methods are called from one thread."""

    def __init__(self, database: Database) -> None:
        """Nothing is connected yet."""
        self._database = database
        self._taker = Taker()

    def run(self, stop: threading.Event, *, report: Callable[[str], Any] = lambda _sentence: None) -> None:
        """Follow the journal until stopped. A lost database is tried again, and said."""
        while not stop.is_set():
            try:
                with self._database.connect(autocommit=True) as listening, self._database.connect() as connection:
                    listening.execute(f"LISTEN {CHANNEL}".encode())
                    while not stop.is_set():
                        passed = self._step(connection)
                        if passed == 0:
                            for _ in listening.notifies(timeout=POLL_S, stop_after=1):
                                pass
                        stop.wait(SHORT_PAUSE_S if passed >= MUCH else PAUSE_S)
            except psycopg.OperationalError as error:
                report(f"The database does not answer ({first_line(error)}); trying again.")
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
        with undone_unless_committed(connection):
            connection.execute(BEGIN)
            size = head(connection)
            held = [Slot(*row) for row in connection.execute(HOLD_LIVE, prepare=True)]
            positions = sorted(slot.position for slot in held if slot.position is not None)
            if not positions or positions[0] >= size:
                return 0
            behind = positions[0]
            until = min([behind + taking.STRETCH, size, *(position for position in positions if position > behind)])
            read = read_stretch(connection, after=behind, until=until)
            facts = recorded(read)
            for slot in held:
                if slot.position == behind:
                    self._taker.take(connection, slot, read, facts, until)
            connection.commit()
        return until - behind


def _lacks(connection: Connection, until: int) -> bool:
    """Tell whether a live slot that takes facts has not come to this position."""
    with undone_unless_committed(connection):
        return one(connection, LACKING, (until,)) is True
