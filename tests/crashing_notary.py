"""A notary that seals without a pause and kills itself: `crashing_notary URL FOLDER POINT STEPS [SIGNAL]`.

POINT is before_keep, after_keep, torn_line, after_outside, after_tiles or after_commit: what it has just done, or not yet.
It sends itself SIGNAL, by default SIGKILL, when it is there for the STEPS-th time; at SIGTERM it stops as `ledger notary` does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg

from ledger import notary
from ledger.checkpoints import CheckpointFolder
from ledger.database import Database
from ledger.settings import Settings


def main() -> None:
    url, folder, point, steps, *names = sys.argv[1:]
    number = signal.Signals[names[0]] if names else signal.SIGKILL
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    settings = Settings(database_url=url, data_folder=Path(folder))
    database = Database(url=url, admin_url=url, embedded=False, settings=settings)
    left = int(steps)

    def here(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if not left:
                os.kill(os.getpid(), number)

    keep, append = notary.NotaryFolder.keep, CheckpointFolder.append
    commit = psycopg.Connection.commit

    def dying_keep(self: notary.NotaryFolder, note: str) -> None:
        here("before_keep")
        keep(self, note)
        here("after_keep")

    def dying_append(self: CheckpointFolder, note: str, **arguments: Any) -> None:
        if point == "torn_line" and left == 1:
            self.path.mkdir(exist_ok=True, parents=True)
            with (self.path / f"{arguments['signed_at']:%Y-%m-%d}.ndjson").open("a") as torn:
                torn.write('{"checkpoint": "pens')
        here("torn_line")
        append(self, note, **arguments)
        here("after_outside")

    def dying_commit(self: psycopg.Connection[Any]) -> None:
        here("after_tiles")
        commit(self)
        here("after_commit")

    notary.NotaryFolder.keep = dying_keep  # type: ignore[method-assign]
    CheckpointFolder.append = dying_append  # type: ignore[method-assign]
    psycopg.Connection.commit = dying_commit  # type: ignore[method-assign]
    notary.PAUSE_S = 0.01
    notary.run(database, settings, stop, ready=lambda _key: None, report=print)


if __name__ == "__main__":
    main()
