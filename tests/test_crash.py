"""Whatever is killed, and whenever: what was acknowledged is there exactly once, and the books are whole.

LEDGER_ variables are settings, so the soak has another name: CRASH_ROUNDS=200 pytest tests/test_crash.py
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import psycopg

from ledger.application import Ledger, Receipt
from ledger.database import Database, open_database
from ledger.embedded import EmbeddedServer
from ledger.settings import Settings
from tests.books import assert_whole, commands_recorded
from tests.crashing_writer import batch

if TYPE_CHECKING:
    from pathlib import Path

WRITER_ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))
SERVER_ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
LONGEST_S = 0.8
PATIENCE_S = 60

Acknowledged = dict[str, int | None]


class Writer:
    """A child process in a group of its own, and what it has reported so far."""

    def __init__(self, database: Database, name: str, first: int) -> None:
        self.name = name
        self.batches = first
        self.acknowledged: Acknowledged = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashing_writer", database.url, name, str(first)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # Killed while it spoke.
            name, _, answer = line.rstrip("\n").partition(" ")
            if name == "batch":
                self.batches = int(answer) + 1
            else:
                self.acknowledged[name] = None if answer == "None" else int(answer)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listening.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for_batches(self, most: int) -> None:
        """Until it has posted something, and so is at work when it is killed."""
        deadline = time.monotonic() + PATIENCE_S
        while self.batches < most:
            assert time.monotonic() < deadline, "the writer does not get on"
            assert self._process.poll() is None, "the writer ended by itself"
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def assert_acknowledged(database: Database, acknowledged: Acknowledged) -> None:
    """Every acknowledged command has its one row, at the position that was acknowledged; and the books are whole."""
    recorded = commands_recorded(database)
    missing = {name: first for name, first in acknowledged.items() if recorded.get(name, ("none",))[0] != first}
    assert missing == {}
    assert_whole(database)


def assert_repeatable(database: Database, name: str, batches: int, acknowledged: Acknowledged) -> None:
    """All batches again, the one whose fate the crash hid included: the same receipts, and nothing recorded twice."""
    ledger = Ledger(database)
    for number in range(batches):
        for outcome in ledger.post(batch(name, number)):
            assert outcome.repeated
            first = outcome.first_position if isinstance(outcome, Receipt) else None
            assert acknowledged[outcome.command_id] == first
    left = batch(name, batches)
    assert len({outcome.repeated for outcome in ledger.post(left)}) == 1, "half of a batch was recorded"
    assert all(outcome.repeated for outcome in ledger.post(left))


def sleep_at_random(rng: random.Random) -> None:
    time.sleep(rng.random() ** 2 * LONGEST_S)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(database: Database) -> None:
    rng = random.Random(1)  # noqa: S311  a test, not a secret
    batches = dict.fromkeys("ab", 0)
    acknowledged: Acknowledged = {}
    for _ in range(WRITER_ROUNDS):
        writers = [Writer(database, name, batches[name]) for name in batches]
        try:
            for writer in writers:
                writer.wait_for_batches(batches[writer.name] + 1)
            sleep_at_random(rng)
        finally:
            for writer in writers:
                writer.kill()
        for writer in writers:
            batches[writer.name] = writer.batches
            acknowledged |= writer.acknowledged
        nobody_holds_the_head(database)
        assert_acknowledged(database, acknowledged)
    for name, number in batches.items():
        assert_repeatable(database, name, number, acknowledged)
    assert_whole(database)


def nobody_holds_the_head(database: Database) -> None:
    """What a killed writer held is let go by itself, as soon as the server sees that it is gone."""
    with psycopg.connect(database.admin_url, options="-c lock_timeout=5000") as connection:
        connection.execute("SELECT FROM head FOR UPDATE")


def test_a_killed_server_loses_nothing_that_it_acknowledged(server_folder: Path) -> None:
    """The writers go on by themselves each time it is back."""
    rng = random.Random(2)  # noqa: S311  a test, not a secret
    settings = Settings(data_folder=server_folder, shared_buffers_mb=64)
    server = EmbeddedServer(server_folder, shared_buffers_mb=64)
    with server, open_database(settings) as database:
        writers = [Writer(database, name, 0) for name in "cd"]
        try:
            for _ in range(SERVER_ROUNDS):
                for writer in writers:
                    writer.wait_for_batches(writer.batches + 1)
                sleep_at_random(rng)
                before = {name: first for writer in writers for name, first in list(writer.acknowledged.items())}
                os.kill(server.pid, signal.SIGKILL)
                server.start()
                assert_acknowledged(database, before)
        finally:
            for writer in writers:
                writer.kill()
        acknowledged = {name: first for writer in writers for name, first in writer.acknowledged.items()}
        nobody_holds_the_head(database)
        assert_acknowledged(database, acknowledged)
        for writer in writers:
            assert_repeatable(database, writer.name, writer.batches, acknowledged)
        assert_whole(database)


def test_a_server_and_its_writers_killed_together_lose_nothing(server_folder: Path) -> None:
    """As when the machine's power fails, but for what the kernel still writes."""
    rng = random.Random(3)  # noqa: S311  a test, not a secret
    settings = Settings(data_folder=server_folder, shared_buffers_mb=64)
    server = EmbeddedServer(server_folder, shared_buffers_mb=64)
    batches, acknowledged = 0, Acknowledged()
    for _ in range(3):
        with server, open_database(settings) as database:
            with Writer(database, "e", batches) as writer:
                writer.wait_for_batches(batches + 2)
                sleep_at_random(rng)
                os.kill(server.pid, signal.SIGKILL)
            batches = writer.batches
            acknowledged |= writer.acknowledged
            server.start()
            assert_acknowledged(database, acknowledged)
    with open_database(settings) as database:
        assert_repeatable(database, "e", batches, acknowledged)
        assert_whole(database)
