"""What follows the journal in a process of its own: how far behind a paced writer, and what it costs one at full speed."""

import signal
import subprocess
import threading
import time
from functools import partial
from statistics import median
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from bench.measure import Contest, settle
from bench.report import Report, Scale
from bench.world import World, post_all
from ledger.application import Ledger
from ledger.database import Database

PACE = 20_000
PACED_S = 15
BLOCK = 20
CATCHING_UP_S = 300


class Sized(NamedTuple):
    """A database of one size, and the position at which its world was complete."""

    database: Database
    world: World
    size: int


def follow(  # noqa: PLR0913 - what is followed, by whom, and where it is told
    sized: Sized, follower: subprocess.Popen[bytes], lag: bytes, title: str, scale: Scale, report: Report
) -> None:
    """A writer of 20,000 postings a second; then one at full speed, with the follower stopped and going on in turn.

    `lag` is the query for the age of the oldest fact that it has not taken, 0 where there is none.
    """
    database, world = sized.database, sized.world
    ledger = Ledger(database)
    batches = max(5, int(PACE * PACED_S * scale.rounds_share) // 1_000)
    _caught_up(database, lag)
    prepared = [world.payroll(1_000) for _ in range(batches)]
    settle()
    lags: list[float] = []
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(database, lag, lags, done))
    watching.start()
    start = time.perf_counter()
    for number, batch in enumerate(prepared):
        time.sleep(max(0.0, start + number * 1_000 / PACE - time.perf_counter()))
        post_all(ledger, batch, size=1_000)
    rate = batches * 1_000 / (time.perf_counter() - start)
    done.set()
    watching.join()
    lags.sort()
    contest = Contest()
    for _ in range(max(2, int(12 * scale.rounds_share))):
        for name, number in (("alone", signal.SIGSTOP), ("followed", signal.SIGCONT)):
            _caught_up(database, lag)
            follower.send_signal(number)
            block = [world.payroll(1_000) for _ in range(BLOCK)]
            settle()
            for batch in block:
                contest.time(name, 1_000, partial(post_all, ledger, batch, size=1_000))
            follower.send_signal(signal.SIGCONT)
    report.table(
        title,
        "| what | measured |",
        [
            f"| postings/s of the paced writer (aim {PACE:,}) | {rate:,.0f} |",
            f"| lag, seconds: median, p99, most | {median(lags):.2f}, {lags[int(len(lags) * 0.99)]:.2f}, {lags[-1]:.2f} |",
            f"| postings/s at full speed: alone, followed | {contest.rate('alone'):,.0f}, {contest.rate('followed'):,.0f} |",
            f"| share that it leaves the writer | {contest.rate('followed') / contest.rate('alone'):.2f} |",
        ],
    )


def _watch(database: Database, lag: bytes, lags: list[float], done: threading.Event) -> None:
    """Ten times a second."""
    with database.connect(autocommit=True) as connection:
        while not done.wait(0.1):
            lags.append(_lag(connection, lag))


def _lag(connection: psycopg.Connection[TupleRow], lag: bytes) -> float:
    row = connection.execute(lag, prepare=True).fetchone()
    assert row is not None
    return float(row[0])


def _caught_up(database: Database, lag: bytes) -> None:
    deadline = time.monotonic() + CATCHING_UP_S
    with database.connect(autocommit=True) as connection:
        while time.monotonic() < deadline:
            if _lag(connection, lag) == 0:
                return
            time.sleep(0.05)
    message = "it did not catch up"
    raise TimeoutError(message)
