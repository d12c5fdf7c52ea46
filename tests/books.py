"""Whether the books of a database are whole: what must hold after whatever befell their writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from replay.facts import head
from replay.refold import differences, refold, unbalanced

if TYPE_CHECKING:
    from ledger.database import Database

GAPLESS = """
SELECT head.size, count(position), coalesce(min(position), 1), coalesce(max(position), 0)
FROM head LEFT JOIN event ON true
GROUP BY head.size
"""
TAGS_DIFFER = """
(SELECT tag, position FROM event, unnest(tags) AS mention (tag) EXCEPT ALL SELECT tag, position FROM event_tag)
UNION ALL
(SELECT tag, position FROM event_tag EXCEPT ALL SELECT tag, position FROM event, unnest(tags) AS mention (tag))
"""
# Facts of the plain recorder interface have no command of their own.
COMMANDS_DIFFER = """
SELECT event.position, command.command_id
FROM (SELECT position, command_id FROM event WHERE actor <> 'system:recorder') AS event
FULL JOIN (
    SELECT command_id, generate_series(first_position, last_position) AS position
    FROM command
    WHERE first_position IS NOT NULL
) AS command USING (position)
WHERE event.command_id IS DISTINCT FROM command.command_id
"""


def assert_whole(database: Database) -> None:
    """Positions are 1..n, tags and commands agree with the facts, and memory equals what the facts fold to.

    In one snapshot, so that writers need not rest.
    """
    with psycopg.connect(database.admin_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        row = connection.execute(GAPLESS).fetchone()
        assert row is not None
        size = row[0]
        assert row == (size, size, 1, size)
        assert connection.execute(TAGS_DIFFER).fetchall() == []
        assert connection.execute(COMMANDS_DIFFER).fetchall() == []
        until = head(connection)
        refolded = refold(connection, until=until)
        assert differences(connection, refolded) == []
        assert unbalanced(connection, refolded, until=until) == []


def commands_recorded(database: Database) -> dict[str, tuple[int | None, int | None]]:
    """First and last position of every command, by its id."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute("SELECT command_id, first_position, last_position FROM command").fetchall()
    return {command_id: (first, last) for command_id, first, last in rows}
