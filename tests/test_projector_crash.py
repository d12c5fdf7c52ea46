"""Whatever is killed, and whenever: rows and positions of the projections agree, and nothing is skipped or doubled.

LEDGER_ variables are settings, so the soak has another name: CRASH_ROUNDS=200 pytest tests/test_projector_crash.py
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from ledger.application import Ledger, LedgerUnavailable
from ledger.database import Database, open_database
from ledger.embedded import EmbeddedServer
from ledger.projector import Projector
from ledger.rebuilding import rebuild
from ledger.settings import Settings
from tests.crashing_writer import batch
from tests.programs import PATIENCE_S, Program
from tests.projected import TABLES, assert_rows_and_positions_agree, facts_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECTOR_ROUNDS = int(os.environ.get("CRASH_ROUNDS", "16"))
REBUILD_ROUNDS = int(os.environ.get("CRASH_ROUNDS", "10"))
SERVER_ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))
LONGEST_S = 0.4
SMALL_STRETCH = "40"
BATCH = 12


@contextmanager
def posting(database: Database, name: str) -> Iterator[None]:
    """A thread posts one small batch after another, and goes on when a lost database is back."""
    ledger, stop = Ledger(database), threading.Event()

    def post() -> None:
        number = 0
        while not stop.wait(0.02):
            try:
                ledger.post(batch(name, number)[:BATCH])
            except LedgerUnavailable:
                continue
            number += 1

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def asides(database: Database) -> dict[str, tuple[int, int | None]]:
    """The slot of each projection that is not read, and how far its rebuild has come."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT name, slot, position FROM projection_slot JOIN projection USING (name) WHERE slot <> live_slot"
        ).fetchall()
    return {name: (slot, position) for name, slot, position in rows}


def reached(database: Database) -> dict[str, int]:
    """The positions of the live slots."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT name, position FROM projection_slot JOIN projection USING (name) WHERE slot = live_slot"
        ).fetchall()
    return dict(rows)


def wait_until_beyond(database: Database, before: dict[str, int]) -> None:
    """Until every projection has got on, so that it is at work when it is killed."""
    deadline = time.monotonic() + PATIENCE_S
    while any(position <= before[name] for name, position in reached(database).items()):
        assert time.monotonic() < deadline, "the projector does not get on"
        time.sleep(0.01)


def assert_as_a_rebuild_from_nothing(database: Database) -> None:
    """One catch-up, then the rows are those that a rebuild makes; and the positions are the journal's end."""
    Projector(database).catch_up()
    size = len(facts_of(database))
    assert assert_rows_and_positions_agree(database) == dict.fromkeys(TABLES, size)
    followed = rows_of(database)
    assert all(followed.values())
    # Twice: the first one may go on with what a killed one left.
    for _ in range(2):
        assert rebuild(database, TABLES) == size
        assert rows_of(database) == followed


def test_a_killed_projector_skips_nothing_and_doubles_nothing(database: Database) -> None:
    """Invariant 1 of taking.py: the real program, killed at random moments while a writer posts."""
    rng = random.Random(1)  # noqa: S311  a test, not a secret
    settings = {"LEDGER_DATABASE_URL": database.url}
    with posting(database, "a"):
        for _ in range(PROJECTOR_ROUNDS):
            before = reached(database)
            with Program("ledger", "project", settings=settings) as program:
                program.wait_for("Projecting")
                wait_until_beyond(database, before)
                time.sleep(rng.random() ** 2 * LONGEST_S)
                program.kill()
            assert_rows_and_positions_agree(database)
    assert_as_a_rebuild_from_nothing(database)


def test_a_killed_rebuild_goes_on_and_ends_with_the_same_rows(database: Database) -> None:
    """Invariant 1 of rebuilding.py: killed at random moments, before, within and after the swaps."""
    rng = random.Random(2)  # noqa: S311  a test, not a secret
    ledger = Ledger(database)
    for number in range(12):
        ledger.post(batch("b", number))
    Projector(database).catch_up()
    live = rows_of(database)
    went_on = 0
    for _ in range(REBUILD_ROUNDS):
        before = asides(database)
        with Program("tests.crashing_projector", database.url, SMALL_STRETCH, *TABLES) as program:
            program.wait_for("rebuilding")
            time.sleep(rng.random() * LONGEST_S)
            program.kill()
            assert "Error" not in program.errors
        assert rows_of(database) == live
        assert_rows_and_positions_agree(database)
        went_on += any(position for _, position in before.values())
    assert went_on > 0, "no rebuild found what a killed one had left"
    with Program("tests.crashing_projector", database.url, SMALL_STRETCH, *TABLES) as program:
        assert program.wait() == 0, program.errors
    assert rows_of(database) == live
    slots = asides(database)
    assert {position for _, position in slots.values()} == {None}
    emptied = rows_of(database, {name: slot for name, (slot, _) in slots.items()})
    assert emptied == {table: [] for table in live}
    assert_as_a_rebuild_from_nothing(database)


def test_a_killed_server_loses_rows_and_position_together(server_folder: Path) -> None:
    """Projecting transactions are not flushed to disk: what a crash takes of them is whole transactions, the last ones."""
    rng = random.Random(3)  # noqa: S311  a test, not a secret
    settings = Settings(data_folder=server_folder, shared_buffers_mb=64)
    server = EmbeddedServer(server_folder, shared_buffers_mb=64)
    with server, open_database(settings) as database:
        environment = {"LEDGER_DATABASE_URL": database.url}
        with posting(database, "c"), Program("ledger", "project", settings=environment) as program:
            program.wait_for("Projecting")
            for _ in range(SERVER_ROUNDS):
                wait_until_beyond(database, reached(database))
                time.sleep(rng.random() ** 2 * LONGEST_S)
                os.kill(server.pid, signal.SIGKILL)
                server.start()
                assert_rows_and_positions_agree(database)
            assert program.end() == 0, program.errors
            assert "trying again" in program.errors
        lost = 0
        for number in range(SERVER_ROUNDS):
            database.pool.check()
            Ledger(database).post(batch("d", number)[:BATCH])
            Projector(database).catch_up()
            before = reached(database)
            os.kill(server.pid, signal.SIGKILL)
            server.start()
            lost += assert_rows_and_positions_agree(database) != before
        assert lost > 0, "no crash lost anything, so nothing was proved"
        database.pool.check()
        assert_as_a_rebuild_from_nothing(database)
