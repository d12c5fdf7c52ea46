"""Seals: sealing, verifying and refolding a journal, proofs at two sizes, and what a notary costs the writers."""

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import psycopg
from psycopg.rows import TupleRow

from bench.measure import Contest, settle
from bench.reading import BLOCK, PACE, PACED_S, Sized, running
from bench.report import Report, Scale
from bench.world import post_all
from ledger.application import Ledger
from ledger.database import Database
from ledger.domain.notes import VerifierKey
from ledger.leaves import STRETCH
from ledger.notary import seal_now, verifier_key
from ledger.seals import consistency, inclusion, latest
from ledger.settings import Settings
from replay.comparing import compare
from replay.verify import verify

ROUNDS = 3
PROOFS = 1_000

# The floor of verifying: the server's own hash over every stored byte, no tree, no comparison.
HASH_ALL = b"SELECT count(sha256(data)) FROM event WHERE position > %s AND position <= %s"


def seals(sized: list[Sized], scale: Scale, report: Report) -> None:
    """All sections; the larger journal is sealed, verified and refolded."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [Settings(data_folder=Path(folder) / str(each.size)) for each in sized]
        rates = [
            _rate(each.size, partial(seal_now, each.database, its)) for each, its in zip(sized, settings, strict=True)
        ]
        _verifying(sized[-1], settings[-1], rates[-1], report)
        _proving(sized, report)
    with tempfile.TemporaryDirectory() as folder:
        _following(sized[0], folder, scale, report)


def _rate(facts: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return facts / (time.perf_counter() - start)


def _auditor(database: Database) -> str:
    return database.url.replace("ledger_app", "ledger_auditor")


def _verifying(sized: Sized, settings: Settings, sealing: float, report: Report) -> None:
    keys = [VerifierKey.parse(verifier_key(settings))]
    url = _auditor(sized.database)

    def verified(processes: int) -> None:
        found = verify(url, keys, outside=None, processes=processes, state_file=None)
        assert not found.findings, found.findings[:3]

    def refolded(processes: int) -> None:
        found = compare(url, processes=processes)
        assert not found.differences, found.differences[:3]

    work: dict[str, Callable[[], None]] = {
        "the server's sha256 over the data alone (the floor)": partial(_hash_all, sized),
        "verify, one process": partial(verified, 1),
        "verify, two processes": partial(verified, 2),
        "refold of memory and all projections, one process": partial(refolded, 1),
        "refold of memory and all projections, two processes": partial(refolded, 2),
    }
    rows = [f"| sealing from nothing | {sealing:,.0f} | {sealing:,.0f} |"]
    settle()
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, each in work.items():
            rates[name].append(_rate(sized.size, each))
    rows += [
        f"| {name} | {median(its):,.0f} | {', '.join(f'{rate:,.0f}' for rate in its)} |" for name, its in rates.items()
    ]
    report.table(
        f"Sealing, verifying and refolding {sized.size:,} events", f"| what | events/s | {ROUNDS} rounds |", rows
    )


def _hash_all(sized: Sized) -> None:
    with sized.database.connect(autocommit=True) as connection:
        for after in range(0, sized.size, STRETCH):
            connection.execute(HASH_ALL, (after, min(after + STRETCH, sized.size)), prepare=True).fetchone()


def _proving(sized: list[Sized], report: Report) -> None:
    luck = random.Random(1)  # noqa: S311 - a benchmark, no secret
    rows = []
    for each in sized:
        with each.database.connect() as connection:
            sealed = latest(connection)
            assert sealed is not None
            milliseconds = []
            for _ in range(PROOFS):
                position = luck.randint(1, sealed.size)
                start = time.perf_counter()
                inclusion(connection, position)
                milliseconds.append((time.perf_counter() - start) * 1e3)
            milliseconds.sort()
            first = connection.execute("SELECT min(size) FROM checkpoint").fetchone()
            assert first is not None
            start = time.perf_counter()
            consistency(connection, first[0], sealed.size)
            consistent = (time.perf_counter() - start) * 1e3
        rows.append(
            f"| {sealed.size:,} | {median(milliseconds):.2f} | {milliseconds[int(PROOFS * 0.99)]:.2f} | {consistent:.2f} |"
        )
    report.table(
        "Proofs, with their checkpoint, each verified before it is given",
        "| facts | inclusion, ms: median | p99 | consistency, ms: one |",
        rows,
    )


def _following(sized: Sized, folder: str, scale: Scale, report: Report) -> None:
    """How far the seals lie behind a writer of 20,000 postings a second, and what they cost a writer at full speed."""
    database, world = sized.database, sized.world
    ledger = Ledger(database)
    batches = max(5, int(PACE * PACED_S * scale.rounds_share) // 1_000)
    _forget_seals(database)
    with running(database.notary_url, folder, "notary") as notary:
        _caught_up(database)
        prepared = [world.payroll(1_000) for _ in range(batches)]
        settle()
        lags: list[float] = []
        done = threading.Event()
        watching = threading.Thread(target=_watch, args=(database, lags, done))
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
            for name, number in (("alone", signal.SIGSTOP), ("sealed", signal.SIGCONT)):
                _caught_up(database)
                os.kill(notary.pid, number)
                block = [world.payroll(1_000) for _ in range(BLOCK)]
                settle()
                for batch in block:
                    contest.time(name, 1_000, partial(post_all, ledger, batch, size=1_000))
                os.kill(notary.pid, signal.SIGCONT)
    report.table(
        "A notary that follows, in a process of its own",
        "| what | measured |",
        [
            f"| postings/s of the paced writer (aim {PACE:,}) | {rate:,.0f} |",
            f"| lag, seconds: median, p99, most | {median(lags):.2f}, {lags[int(len(lags) * 0.99)]:.2f}, {lags[-1]:.2f} |",
            f"| postings/s at full speed: alone, sealed | {contest.rate('alone'):,.0f}, {contest.rate('sealed'):,.0f} |",
            f"| share that sealing leaves the writer | {contest.rate('sealed') / contest.rate('alone'):.2f} |",
        ],
    )


LAG = b"""
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - event.recorded_at)), 0)::float8
FROM (SELECT coalesce(max(size), 0) AS size FROM checkpoint) AS sealed
JOIN event ON event.position = sealed.size + 1
"""


def _watch(database: Database, lags: list[float], done: threading.Event) -> None:
    """Ten times a second, the age of the oldest fact that is not sealed."""
    with database.connect(autocommit=True) as connection:
        while not done.wait(0.1):
            lags.append(_lag(connection))


def _lag(connection: psycopg.Connection[TupleRow]) -> float:
    row = connection.execute(LAG, prepare=True).fetchone()
    assert row is not None
    return float(row[0])


def _caught_up(database: Database) -> None:
    deadline = time.monotonic() + 300
    with database.connect(autocommit=True) as connection:
        while time.monotonic() < deadline:
            if _lag(connection) == 0:
                return
            time.sleep(0.05)
    message = "the notary did not catch up"
    raise TimeoutError(message)


def _forget_seals(database: Database) -> None:
    """A notary with a key of its own begins anew."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET event_triggers = off")
        for table in ("tile", "checkpoint"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            connection.execute(f"TRUNCATE {table}".encode())
            for trigger in ("refuse_change", "refuse_truncate"):
                connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}".encode())
