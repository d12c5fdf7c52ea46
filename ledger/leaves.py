"""Leaves read from the journal: a stretch of positions at a time, as they are sealed."""

from collections.abc import Iterable

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.leaves import Columns, Leaves, leaf_hash, leaf_text, leaves_of
from ledger.domain.tree import Hash

Connection = psycopg.Connection[TupleRow]

# A multiple of a tile's width, so that a reader that begins at a tile ends at one.
STRETCH = 40 * 256

# Within one aggregate the order is that of the primary key, which is how the rows come.
READ = rb"""
SELECT
    string_agg(position::text, ';' ORDER BY position),
    string_agg(coalesce(type, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(array_to_string(tags, E'\x1f', E'\x1e\x1e'), E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(
        (CASE WHEN coalesce(array_ndims(tags), 1) = 1 THEN coalesce(cardinality(tags), -1) ELSE -1 END)::text,
        ';' ORDER BY position
    ),
    string_agg(coalesce(effective_on::text, 'NULL'), ';' ORDER BY position),
    string_agg(coalesce(recorded_at::text, 'NULL'), ';' ORDER BY position),
    string_agg(coalesce(command_id, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(actor, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(octet_length(data), -1)::text, ';' ORDER BY position),
    string_agg(coalesce(data, ''), ''::bytea ORDER BY position)
FROM event
WHERE position > %s AND position <= %s
"""

READ_AT = b"""
SELECT position, type, tags, effective_on, recorded_at, command_id, actor, data
FROM event
WHERE position = ANY (string_to_array(%s, ';')::bigint[])
"""


def leaves_at(connection: Connection, positions: Iterable[int]) -> dict[int, Hash]:
    """The leaf hashes of these positions, as far as they are recorded. Raises LeafUnfit."""
    rows = connection.execute(READ_AT, (";".join(map(str, positions)),), prepare=True)
    return {row[0]: leaf_hash(leaf_text(*row)) for row in rows}


def read_leaves(connection: Connection, *, after: int, until: int, keep: bool = False) -> Leaves | None:
    """The leaves after one position and up to another, None where there is no fact. Raises LeafUnfit and TimeFalls.

    The connection must speak UTC.
    """
    row = connection.execute(READ, (after, until), prepare=True, binary=True).fetchone()
    assert row is not None
    return None if row[0] is None else leaves_of(Columns._make(row), keep=keep)
