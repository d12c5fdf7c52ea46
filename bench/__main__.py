"""`make bench`: measures posting beside the floor and the peers, prints tables, and writes bench/RESULTS.md.

`--quick` shrinks the world for a first look; its figures are not kept.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
from eventsourcing.dcb.api import DCBEvent

from bench import floor
from bench.measure import Contest, settle
from bench.peer import Peers
from bench.planning import planning
from bench.process import posting_process
from bench.reading import built, readings
from bench.report import Report, Scale, journal_size, vacuumed
from bench.sealing import seals
from bench.streaming import streaming
from bench.world import World, post_all, set_up
from ledger.application import Ledger
from ledger.batching import GroupCommit
from ledger.database import Database, TemporaryServer, temporary_server
from ledger.domain.commands import Command
from ledger.settings import Settings
from replay.refold import refold

RESULTS = Path(__file__).parent / "RESULTS.md"
ROUNDS = {1: 300, 100: 100, 1_000: 40, 5_000: 10}
PROCESSES = 4
THREADS = 64
GROWTH_CAVEAT = (
    "Taking turns costs the small journal the warm caches it has alone; "
    "DECISIONS.md gives the figures of one journal as it grew."
)


FULL = Scale(
    accounts=200_000,
    rounds_share=1.0,
    growth=(100_000, 1_000_000, 3_000_000),
    process_batches=40,
    reading_accounts=(33_340, 1_000_000),
    requests=20_000,
    readings=400,
    life_months=480,
)
QUICK = Scale(
    accounts=4_000,
    rounds_share=0.1,
    growth=(10_000, 20_000, 30_000),
    process_batches=4,
    reading_accounts=(1_000, 4_000),
    requests=1_000,
    readings=100,
    life_months=48,
)


class Arena:
    """Ours, the floor and the peers, each on its own database of one server, with the same world in each."""

    def __init__(self, server: TemporaryServer, scale: Scale) -> None:
        """Build the world once, through Ledger.post, and copy it for the floor."""
        self.world = World(scale.accounts)
        self.ours = server.create_database("ours")
        self.ledger = Ledger(self.ours)
        start = time.perf_counter()
        commands = set_up(self.ledger, self.world)
        self.setup_rate = commands / (time.perf_counter() - start)
        self.ours.close()
        vacuumed(self.ours)
        self.floor = server.create_copy("floor", of="ours")
        self.floor_connection = self.floor.connect()
        self.peers = Peers(server.create_empty_database("peers").admin_url)
        self.size = journal_size(self.ours)
        self.reading = self.ours.connect()

    def round(self, contest: Contest, batch: list[Command], *, peers: bool) -> None:
        """One batch through every contestant."""
        contest.time("ours", len(batch), lambda: post_all(self.ledger, batch, size=len(batch)))
        end = self.size + len(batch)
        rows = floor.written(self.reading, after=self.size, until=end)
        events = [
            DCBEvent(type=row[0], data=bytes(row[1]), tags=row[2])
            for row in self.reading.execute(
                "SELECT type, data, tags FROM event WHERE position > %s ORDER BY position", (self.size,)
            )
        ]
        self.reading.rollback()
        self.size = end
        contest.time("floor", len(batch), lambda: floor.write(self.floor_connection, rows))
        # Memories that are new in this batch are given to the floor for nothing.
        self.floor_connection.execute(floor.INSERT_MEMORY, (rows.tags, rows.positions, rows.states))
        self.floor_connection.commit()
        if peers:
            contest.time("dcb", len(batch), lambda: self.peers.dcb.append(events))
            stored = self.peers.stored(events)
            contest.time("streams", len(batch), lambda: self.peers.streams.insert_events(stored))

    def close(self) -> None:
        """Close every connection."""
        self.reading.close()
        self.floor_connection.close()
        self.peers.close()
        self.ours.close()


def batches_and_peers(arena: Arena, scale: Scale, report: Report) -> None:
    """Section 1: batch sizes, beside the floor and the peers."""
    rows: list[str] = []
    for name, make in (("payroll", arena.world.payroll), ("mixed", arena.world.mixed)):
        for size, rounds in ROUNDS.items():
            contest = Contest()
            batches = [make(size) for _ in range(max(3, int(rounds * scale.rounds_share)))]
            settle()
            for batch in batches:
                arena.round(contest, batch, peers=name == "payroll")
            peers = (
                f"{contest.rate('ours') / contest.rate('dcb'):.1f}x | {contest.rate('ours') / contest.rate('streams'):.1f}x"
                if name == "payroll"
                else " | "
            )
            rows.append(
                f"| {name} | {size:,} | {contest.share('ours', 'floor'):.2f} | {peers} | {contest.rate('ours'):,.0f} | "
                f"{contest.best('ours'):,.0f} | {contest.rate('floor'):,.0f} |"
            )
    report.table(
        "Posting, beside the floor and the library's recorders",
        "| mix | batch | share of the floor | of its DCB recorder | of its stream recorder | postings/s | best round | floor/s |",
        rows,
    )


def hot_account(arena: Arena, scale: Scale, report: Report) -> None:
    """Section 2a: all postings on one account."""
    rows: list[str] = []
    account = arena.world.accounts[0][0]
    for size in (1, 1_000):
        contest = Contest()
        for _ in range(max(3, int(ROUNDS[size] * scale.rounds_share))):
            arena.round(contest, [arena.world.contribution(0, account) for _ in range(size)], peers=False)
        rows.append(f"| {size:,} | {contest.share('ours', 'floor'):.2f} | {contest.rate('ours'):,.0f} |")
    report.table("One hot account", "| batch | share of the floor | postings/s |", rows)


def grouped(arena: Arena, report: Report) -> None:
    """Section 2b: single posts of many threads share transactions."""
    rows: list[str] = []
    with GroupCommit(arena.ledger) as group:
        for threads in (1, 16, THREADS):
            each = 2_000 // threads
            work = [[arena.world.mixed(1) for _ in range(each)] for _ in range(threads)]

            def run(own: list[list[Command]]) -> None:
                for single in own:
                    group.post(single)

            workers = [threading.Thread(target=run, args=(own,)) for own in work]
            start = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            rows.append(f"| {threads} | {each * threads / (time.perf_counter() - start):,.0f} |")
    arena.size = journal_size(arena.ours)
    report.table("Single posts, group commit", "| threads | postings/s |", rows)


def many_processes(arena: Arena, scale: Scale, report: Report) -> None:
    """Section 2c: several posting processes at once, against one."""
    rows: list[str] = []
    context = multiprocessing.get_context("spawn")
    for number, processes in enumerate((1, PROCESSES)):
        done, go = context.Queue(), context.Event()
        each = scale.process_batches // processes
        workers = [
            context.Process(
                target=posting_process,
                args=(1 + number * 10 + i, arena.ours.url, each, scale.accounts, done, go),
            )
            for i in range(processes)
        ]
        for worker in workers:
            worker.start()
        for _ in workers:
            done.get(timeout=300)
        start = time.perf_counter()
        go.set()
        for _ in workers:
            done.get(timeout=300)
        seconds = time.perf_counter() - start
        for worker in workers:
            worker.join(timeout=60)
        rows.append(f"| {processes} | {each * processes * 1_000 / seconds:,.0f} |")
    report.table("Posting processes at once, batches of 1,000", "| processes | postings/s |", rows)


def growth(server: TemporaryServer, scale: Scale, report: Report) -> None:
    """Sections 3 and 4: cost as the journal grows, bytes on disk, memory, and the refold of it all.

    One journal grows, and a copy of it stays behind at each size; then the same batches go to all sizes in turn.
    """
    world = World(scale.accounts // 10)
    growing = server.create_database("growth")
    set_up(Ledger(growing), world)
    sized: list[Database] = []
    for target in scale.growth:
        while (size := journal_size(growing)) < target:
            batches = [world.payroll(1_000) for _ in range(min(10, 1 + (target - size) // 1_000))]
            for batch in batches:
                post_all(Ledger(growing), batch, size=1_000)
        growing.close()
        vacuumed(growing)
        at_size = target != scale.growth[-1]
        sized.append(server.create_copy(f"growth_{target}", of="growth") if at_size else growing)
    contest = Contest()
    ledgers = {f"{target:,}": Ledger(database) for target, database in zip(scale.growth, sized, strict=True)}
    batches = [world.payroll(1_000) for _ in range(40)]
    settle()
    for batch in batches:
        for name, ledger in ledgers.items():
            contest.time(name, 1_000, partial(post_all, ledger, batch, size=1_000))
    smallest = next(iter(ledgers))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.table(
        f"Growth, batches of 1,000 to each size in turn (peak memory of the writer {peak_mb:,.0f} MB)",
        "| events in the journal | cost against the smallest | us/posting | bytes on disk/event |",
        [
            f"| {name} | {1 / contest.share(name, smallest):.2f}x | {1e6 / contest.rate(name):.1f} | "
            f"{bytes_per_fact(database, journal_size(database)):,.0f} |"
            for name, database in zip(ledgers, sized, strict=True)
        ],
    )
    report.say("", GROWTH_CAVEAT)
    for database in sized:
        database.close()
    database = growing
    vacuumed(database)
    rates: list[str] = []
    settle()
    for _ in range(3):
        with database.connect() as connection:
            start = time.perf_counter()
            refolded = refold(connection)
            rates.append(f"{refolded.facts / (time.perf_counter() - start):,.0f}")
    report.table(
        "Refold of all memory, one process",
        "| events | memories | events/s, three runs |",
        [f"| {refolded.facts:,} | {len(refolded.states):,} | {', '.join(rates)} |"],
    )
    database.close()


def bytes_per_fact(database: Database, size: int) -> float:
    """All tables and indexes of the journal and memory, over the number of facts."""
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(name)) FROM unnest(ARRAY['event', 'event_tag', 'command', 'memory']) name"
        ).fetchone()
    assert row is not None
    return float(row[0]) / size


def machine() -> Iterator[str]:
    """What was measured on."""
    yield f"Measured {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} cores, Python {platform.python_version()}, "
    yield f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__}), PostgreSQL 18 from the wheel, durable settings "
    yield "(fsync, synchronous_commit, full_page_writes on). The machine is shared: compare within a run, not between runs."


def with_a_server(only: str | None, scale: Scale, report: Report) -> None:
    """The sections that need a database."""
    with tempfile.TemporaryDirectory() as folder, temporary_server(Settings(), folder=Path(folder) / "pg") as server:
        if only in (None, "readings", "seals"):
            sized = built(server, scale)
            if only != "readings":
                seals(sized, scale, report)
            if only != "seals":
                readings(sized, scale, report)
            for each in sized:
                each.database.close()
        sections: dict[str, Callable[[Arena], None]] = {
            "post": lambda arena: batches_and_peers(arena, scale, report),
            "hot": lambda arena: hot_account(arena, scale, report),
            "group": lambda arena: grouped(arena, report),
            "processes": lambda arena: many_processes(arena, scale, report),
        }
        chosen = [name for name in sections if only in (None, name)]
        if chosen:
            arena = Arena(server, scale)
            report.say("", f"The world: {scale.accounts:,} accounts, set up at {arena.setup_rate:,.0f} commands/s.")
            for name in chosen:
                sections[name](arena)
            arena.close()
        if only in (None, "growth"):
            growth(server, scale, report)
        if only in (None, "kafka"):
            streaming(server, scale, report)


def main() -> None:
    """Run all sections."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small world; nothing is kept")
    parser.add_argument(
        "--only",
        choices=["post", "hot", "group", "processes", "growth", "readings", "seals", "kafka", "planning"],
        help="one section",
    )
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    report = Report()
    report.say("# Results of `make bench`", "", "".join(machine()))
    sys.setswitchinterval(0.0005)
    if arguments.only in (None, "planning"):
        planning(report)
    if arguments.only != "planning":
        with_a_server(arguments.only, scale, report)
    if arguments.quick or arguments.only:
        return
    RESULTS.write_text("\n".join(report.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
