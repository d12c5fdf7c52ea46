"""The benchmarks themselves run, on a world small enough for a test; what they measure is not asserted."""

from typing import TYPE_CHECKING

from bench.__main__ import Arena, batches_and_peers, grouped, growth, hot_account, many_processes
from bench.planning import planning
from bench.reading import built, readings
from bench.report import Report, Scale
from bench.sealing import seals

if TYPE_CHECKING:
    from ledger.database import TemporaryServer

TINY = Scale(
    accounts=200,
    rounds_share=0.01,
    growth=(1_000,),
    process_batches=4,
    reading_accounts=(200, 400),
    requests=40,
    readings=4,
    life_months=2,
)


def test_every_section_gives_its_table(server: "TemporaryServer") -> None:
    report = Report()
    arena = Arena(server, TINY)
    batches_and_peers(arena, TINY, report)
    hot_account(arena, TINY, report)
    grouped(arena, report)
    many_processes(arena, TINY, report)
    arena.close()
    growth(server, TINY, report)
    sized = built(server, TINY)
    seals(sized, TINY, report)
    readings(sized, TINY, report)
    for each in sized:
        each.database.close()
    planning(report, rounds=1)
    titles = [line for line in report.lines if line.startswith("## ")]
    assert len(titles) == len(set(titles)) == 15
    for name in ("ours", "floor", "peers", "growth", "readings_200", "readings_400"):
        server.drop_database(name)
