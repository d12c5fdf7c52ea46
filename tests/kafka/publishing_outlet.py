"""An outlet in small rounds that runs until it is killed: `publishing_outlet URL MESSAGES`, with topics from the settings."""

from __future__ import annotations

import sys
import threading

from ledger import outlet
from ledger.database import Database
from ledger.settings import Settings


def main(url: str, messages: int) -> None:
    """Say what it reports."""
    outlet.MAX_ROUND_MESSAGES = messages
    settings = Settings()
    database = Database(url=url, admin_url=url, embedded=False, settings=settings)

    def report(sentence: str) -> None:
        sys.stdout.write(f"{sentence}\n")
        sys.stdout.flush()

    outlet.Outlet(database, settings).run(threading.Event(), report=report)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
