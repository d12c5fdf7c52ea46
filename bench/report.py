"""What is measured at which size, and the report that it goes into."""

from typing import NamedTuple

import psycopg

from ledger.database import Database
from ledger.facts import head


class Scale(NamedTuple):
    """How large the measured world is."""

    accounts: int
    rounds_share: float
    growth: tuple[int, ...]
    process_batches: int
    reading_accounts: tuple[int, ...]
    requests: int
    readings: int
    life_months: int


class Report:
    """Lines of Markdown, printed as they come."""

    def __init__(self) -> None:
        """Empty."""
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        """Add and print."""
        for line in lines:
            print(line, flush=True)
            self.lines.append(line)

    def table(self, title: str, header: str, rows: list[str]) -> None:
        """A titled table."""
        self.say("", f"## {title}", "", header, "|" + "---|" * (header.count("|") - 1), *rows)


def vacuumed(database: Database) -> None:
    """Statistics and a checkpoint, so that every contestant starts from the same calm."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def journal_size(database: Database) -> int:
    """The number of facts."""
    with database.connect() as connection:
        return head(connection)
