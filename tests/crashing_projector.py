"""A process that rebuilds in small stretches until it is killed, so that a kill meets it anywhere.

Run as `python -m tests.crashing_projector URL STRETCH NAME...`.
"""

from __future__ import annotations

import sys

from ledger import taking
from ledger.database import Database
from ledger.rebuilding import rebuild
from ledger.settings import Settings


def main(url: str, stretch: int, names: list[str]) -> None:
    """Rebuild, and say when it begins and that it ended."""
    taking.STRETCH = stretch
    database = Database(url=url, admin_url=url, embedded=False, settings=Settings(pool_size=2))
    sys.stdout.write("rebuilding\n")
    sys.stdout.flush()
    position = rebuild(database, names)
    sys.stdout.write(f"rebuilt to {position}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
