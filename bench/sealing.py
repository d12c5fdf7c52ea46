"""Seals: sealing, verifying and refolding a journal, proofs at two sizes, and what a notary costs the writers."""

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import psycopg

from bench.following import Sized, follow
from bench.measure import settle
from bench.reading import running
from bench.report import Report, Scale
from ledger.database import Database
from ledger.domain.notes import VerifierKey
from ledger.leaves import STRETCH
from ledger.notary import seal_now, verifier_key
from ledger.seals import consistency, inclusion, latest
from ledger.settings import Settings
from replay.comparing import compare
from replay.facts import opened
from replay.projections import Books, Slot
from replay.refold import refold
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
        _refolding(sized[0], report)
        _proving(sized, report)
    _forget_seals(sized[0].database)
    with tempfile.TemporaryDirectory() as folder, running(sized[0].database.notary_url, folder, "notary") as notary:
        follow(sized[0], notary, SEALED, "A notary that follows, in a process of its own", scale, report)


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

    work: dict[str, Callable[[], None]] = {
        "the server's sha256 over the data alone (the floor)": partial(_hash_all, sized),
        "verify, one process": partial(verified, 1),
        "verify, two processes": partial(verified, 2),
    }
    rows = [f"| sealing from nothing | {sealing:,.0f} | {sealing:,.0f} |"]
    rows += _in_turn(sized.size, work)
    report.table(f"Sealing and verifying {sized.size:,} events", f"| what | events/s | {ROUNDS} rounds |", rows)


def _in_turn(facts: int, work: dict[str, Callable[[], None]]) -> list[str]:
    settle()
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, each in work.items():
            rates[name].append(_rate(facts, each))
    return [
        f"| {name} | {median(its):,.0f} | {', '.join(f'{rate:,.0f}' for rate in its)} |" for name, its in rates.items()
    ]


def _refolding(sized: Sized, report: Report) -> None:
    """All of it, and its two large parts alone; what people and indexes take is the rest."""
    url = _auditor(sized.database)

    def everything(processes: int) -> None:
        found = compare(url, processes=processes)
        assert not found.differences, found.differences[:3]

    def memory() -> None:
        with opened(url) as connection:
            refold(connection, until=sized.size)

    def books() -> None:
        with opened(url) as connection:
            slot = Slot(1, sized.size)
            Books(connection, statements=slot, totals=slot).compare(after=0, until=sized.size)

    work: dict[str, Callable[[], None]] = {
        "memory folded": memory,
        "statements, control totals and account sums compared": books,
        "memory and all projections, one process": partial(everything, 1),
        "memory and all projections, two processes": partial(everything, 2),
    }
    report.table(
        f"Refolding {sized.size:,} events", f"| what | events/s | {ROUNDS} rounds |", _in_turn(sized.size, work)
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


# The oldest fact that is not sealed.
SEALED = b"""
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - event.recorded_at)), 0)::float8
FROM (SELECT coalesce(max(size), 0) AS size FROM checkpoint) AS sealed
JOIN event ON event.position = sealed.size + 1
"""


def _forget_seals(database: Database) -> None:
    """A notary with a key of its own begins anew."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET event_triggers = off")
        for table in ("tile", "checkpoint"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            connection.execute(f"TRUNCATE {table}".encode())
            for trigger in ("refuse_change", "refuse_truncate"):
                connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}".encode())
