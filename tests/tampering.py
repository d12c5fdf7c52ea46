"""A superuser at work: what nothing in the database can prevent."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from ledger.database import Database

SWITCH = """
SELECT format('ALTER TABLE %s {} TRIGGER %I', tgrelid::regclass, tgname)
FROM pg_trigger
WHERE NOT tgisinternal
"""


@contextmanager
def past_all_guards(database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    """One transaction in which no guard stands; at its end all stand again as if nothing had been."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET LOCAL event_triggers = off")
        _switch(connection, "DISABLE")
        yield connection
        _switch(connection, "ENABLE ALWAYS")


def _switch(connection: psycopg.Connection[TupleRow], to: str) -> None:
    for (statement,) in connection.execute(SWITCH.format(to).encode()).fetchall():
        connection.execute(statement)
