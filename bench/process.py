"""One posting process of several: made ready first, then let go together with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measure import settle
from bench.world import World, post_all
from ledger.application import Ledger
from ledger.database import Database
from ledger.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event


def posting_process(  # noqa: PLR0913 - a process gets all it needs at once
    number: int, url: str, batches: int, accounts: int, done: Queue[int], go: Event
) -> None:
    """Post batches of 1,000 to the database at the address; say when ready and when done."""
    settings = Settings()
    database = Database(url=url, admin_url=url, embedded=False, settings=settings)
    world = World(accounts, seed=100 + number)
    world.sequence = number * 100_000_000
    work = [world.payroll(1_000) for _ in range(batches)]
    ledger = Ledger(database)
    settle()
    done.put(number)
    go.wait()
    for batch in work:
        post_all(ledger, batch, size=1_000)
    done.put(number)
    database.close()
