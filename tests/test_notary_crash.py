"""Killed at whatever step, the notary goes on without a gap or a fork.

LEDGER_ variables are settings, so the soak has another name: CRASH_ROUNDS=200 pytest tests/test_notary_crash.py
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.checkpoints import CheckpointFolder
from ledger.domain.notes import VerifierKey
from ledger.notary import NotaryFolder, seal_now, verifier_key
from replay.published import read_outside
from replay.verify import verify
from tests.attacks import fill
from tests.programs import PATIENCE_S, Program
from tests.sealing import auditor_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.database import Database
    from ledger.settings import Settings

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "2"))
POINTS = ("before_keep", "after_keep", "torn_line", "after_outside", "after_tiles", "after_commit")


@contextmanager
def recording(database: Database) -> Iterator[None]:
    """A thread records stretches of all sizes, across tiles."""
    stop = threading.Event()
    luck = random.Random(1)  # noqa: S311 - no secret

    def record() -> None:
        while not stop.wait(0.005):
            fill(database, luck.choice((1, 2, 100, 255, 256, 257, 700)))

    thread = threading.Thread(target=record)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_killed_notary_goes_on_without_a_gap_or_a_fork(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """At each point between its own file, the copy outside and the database; then everything verifies, outside too."""
    own = settings.model_copy(update={"data_folder": tmp_path / "external"})
    luck = random.Random(2)  # noqa: S311 - no secret
    died = []
    with recording(database):
        for point in POINTS * ROUNDS:
            arguments = (database.notary_url, str(tmp_path), point, str(luck.randint(1, 4)))
            with Program("tests.crashing_notary", *arguments) as program:
                died.append(program.process.wait(PATIENCE_S))
    assert died == [-signal.SIGKILL] * len(died)
    sealed = seal_now(database, own)
    keys = [VerifierKey.parse(verifier_key(own))]
    outside = read_outside(own.checkpoint_files, keys)
    verified = verify(auditor_url(database), keys, outside=outside, processes=1, state_file=None)
    assert not verified.findings
    assert verified.sealed == verified.head == sealed == outside.size
    with psycopg.connect(database.admin_url) as connection:
        inside: dict[int, bytes] = dict(connection.execute("SELECT size, root FROM checkpoint").fetchall())
    assert inside.items() <= outside.roots.items()
    assert len(inside) > len(died) // 2
    assert sorted(outside.tile_roots) == list(range(sealed // 256))
    assert outside.torn == ROUNDS


@pytest.mark.parametrize("point", ["before_keep", "after_keep", "after_outside", "after_tiles", "after_commit"])
def test_a_notary_that_is_told_to_end_ends_its_step_first(
    database: Database, settings: Settings, tmp_path: Path, point: str
) -> None:
    """Wherever SIGTERM finds it, what it signed stands in its folder, outside and in the database."""
    own = settings.model_copy(update={"data_folder": tmp_path / "external"})
    fill(database, 600)
    with Program("tests.crashing_notary", database.notary_url, str(tmp_path), point, "1", "SIGTERM") as program:
        assert program.wait() == 0, program.errors
    last, outside = NotaryFolder(own.notary_files).last(), CheckpointFolder(own.checkpoint_files).last()
    assert outside is not None
    assert outside.checkpoint.size == 600
    with psycopg.connect(database.admin_url) as connection:
        assert connection.execute("SELECT note FROM checkpoint").fetchall() == [(last,)] == [(outside.note,)]


def test_it_keeps_up_with_a_writer_and_ends_when_told(database: Database, tmp_path: Path) -> None:
    """Whatever is recorded is sealed soon after, and SIGTERM is a good end."""
    fill(database, 10)
    settings = {"LEDGER_DATABASE_URL": database.notary_url, "LEDGER_DATA_FOLDER": str(tmp_path)}
    with Program("ledger", "notary", settings=settings) as notary:
        key = VerifierKey.parse(notary.wait_for(r"Verifier key: (\S+)")[1])
        for size in (11, 300):
            fill(database, size - _size(database))
            _wait_for_checkpoint(database, size)
        assert notary.end() == 0
    verified = verify(auditor_url(database), [key], outside=None, processes=1, state_file=None)
    assert not verified.findings
    assert verified.sealed == 300


def test_a_second_notary_is_told_so(database: Database, tmp_path: Path) -> None:
    settings = {"LEDGER_DATABASE_URL": database.notary_url, "LEDGER_DATA_FOLDER": str(tmp_path)}
    with Program("ledger", "notary", settings=settings) as first:
        first.wait_for("Verifier key")
        with Program("ledger", "notary", settings=settings) as second:
            assert second.wait() == 4
            assert "Another notary is at work in this folder" in second.errors
        assert first.end() == 0


def test_a_notary_that_lost_its_database_goes_on(database: Database, tmp_path: Path) -> None:
    settings = {"LEDGER_DATABASE_URL": database.notary_url, "LEDGER_DATA_FOLDER": str(tmp_path)}
    with Program("ledger", "notary", settings=settings) as notary:
        notary.wait_for("Verifier key")
        for size in (5, 9):
            with psycopg.connect(database.admin_url) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger_notary'"
                )
            fill(database, size - _size(database))
            _wait_for_checkpoint(database, size)
        assert notary.end() == 0
        assert "it is tried again" in notary.errors


def _size(database: Database) -> int:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_checkpoint(database: Database, size: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for _ in itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count()):
        with psycopg.connect(database.admin_url) as connection:
            if connection.execute("SELECT 1 FROM checkpoint WHERE size = %s", (size,)).fetchone():
                return
        time.sleep(0.02)
    raise AssertionError(f"{size} facts were not sealed")
