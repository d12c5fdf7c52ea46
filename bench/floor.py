"""The floor: the very rows that postings wrote, written again by raw COPY and the same memory update, undecided."""

from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]

TABLES = {
    "event": "position, type, data, tags, effective_on, recorded_at, command_id, actor",
    "event_tag": "tag, position",
    "command": "command_id, digest, first_position, last_position, refusal, received_at",
}

UPDATE_MEMORY = rb"""
UPDATE memory
SET position = new.position, state = new.state
FROM unnest(
    string_to_array(%s, E'\x1e'),
    string_to_array(%s, ';')::bigint[],
    string_to_array(%s, E'\x1e')
) AS new (tag, position, state)
WHERE memory.tag = new.tag
"""

INSERT_MEMORY = b"""
INSERT INTO memory (tag, position, state)
SELECT tag, position, state
FROM unnest(string_to_array(%s, E'\\x1e'), string_to_array(%s, ';')::bigint[], string_to_array(%s, E'\\x1e'))
    AS new (tag, position, state)
ON CONFLICT (tag) DO NOTHING
"""


class Written(NamedTuple):
    """What one batch wrote: the rows of each table in COPY's binary form, and the memories."""

    size: int
    facts: int
    copies: dict[str, bytes]
    tags: str
    positions: str
    states: str


def written(connection: Connection, *, after: int, until: int) -> Written:
    """Read back what was written between two positions."""
    where = {
        "event": f"position > {after} AND position <= {until}",
        "event_tag": f"position > {after} AND position <= {until}",
        "command": f"first_position > {after} AND first_position <= {until}",
    }
    copies: dict[str, bytes] = {}
    for table, columns in TABLES.items():
        source = f"SELECT {columns} FROM {table} WHERE {where[table]} ORDER BY {columns.split(',')[0]}"  # noqa: S608 - our own names and numbers only
        with connection.cursor().copy(f"COPY ({source}) TO STDOUT (FORMAT binary)") as copy:
            copies[table] = b"".join(bytes(data) for data in copy)
    rows = connection.execute(
        "SELECT tag, position, state FROM memory WHERE position > %s AND position <= %s", (after, until)
    ).fetchall()
    return Written(
        size=until,
        facts=until - after,
        copies=copies,
        tags="\x1e".join(row[0] for row in rows),
        positions=";".join(str(row[1]) for row in rows),
        states="\x1e".join(row[2] for row in rows),
    )


def write(connection: Connection, batch: Written) -> None:
    """One transaction: the head, the rows, the memories."""
    connection.execute(b"SELECT FROM head FOR UPDATE", prepare=True)
    connection.execute(b"UPDATE head SET size = %s, recorded_at = clock_timestamp()", (batch.size,), prepare=True)
    cursor = connection.cursor()
    for table, columns in TABLES.items():
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.write(batch.copies[table])
    memories = (batch.tags, batch.positions, batch.states)
    connection.execute(UPDATE_MEMORY, memories, prepare=True)
    connection.commit()
