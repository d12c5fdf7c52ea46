"""Seals for tests: the rows that a notary writes, made at once and anew from all leaves, with a key of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from ledger.domain.leaves import leaf_hash, leaf_text
from ledger.domain.notes import Checkpoint, SigningKey
from ledger.domain.tree import TILE_WIDTH, Frontier, Hash, whole

if TYPE_CHECKING:
    from ledger.database import Database

ORIGIN = "ledger.example/journal"
KEY = SigningKey(ORIGIN, bytes(range(32)))
OTHER_KEY = SigningKey(ORIGIN, bytes(range(1, 33)))

READ = """
SELECT position, type, tags, effective_on, recorded_at, command_id, actor, data
FROM event
ORDER BY position
"""
INSERT_TILE = "INSERT INTO tile (level, index, hashes, root) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
INSERT_CHECKPOINT = "INSERT INTO checkpoint (size, root, note, signed_at) VALUES (%s, %s, %s, clock_timestamp())"


def auditor_url(database: Database) -> str:
    """Where the auditor connects."""
    return database.url.replace("ledger_app", "ledger_auditor")


def leaf_hashes(database: Database) -> list[Hash]:
    """Those of the whole journal, one by one."""
    with psycopg.connect(database.notary_url) as connection:
        return [leaf_hash(leaf_text(*row)) for row in connection.execute(READ.encode())]


def seal(database: Database, *sizes: int, key: SigningKey = KEY) -> list[str]:
    """Seal the journal at these sizes, by default at its end; returns the notes."""
    leaves = leaf_hashes(database)
    notes = []
    with psycopg.connect(database.notary_url) as connection:
        for size in sizes or (len(leaves),):
            connection.cursor().executemany(INSERT_TILE, tiles_of(leaves[:size]))
            frontier = Frontier()
            for leaf in leaves[:size]:
                frontier.add(leaf)
            notes.append(key.sign(Checkpoint(key.verifier.name, size, frontier.root).text()))
            connection.execute(INSERT_CHECKPOINT.encode(), (size, frontier.root, notes[-1]))
    return notes


def tiles_of(leaves: list[Hash]) -> list[tuple[int, int, bytes, Hash]]:
    """Every full tile over these leaves, as rows."""
    rows = []
    level, hashes = 0, leaves
    while len(hashes) >= TILE_WIDTH:
        full = [hashes[at : at + TILE_WIDTH] for at in range(0, len(hashes) - TILE_WIDTH + 1, TILE_WIDTH)]
        roots = [whole(tile) for tile in full]
        rows += [(level, index, b"".join(full[index]), roots[index]) for index in range(len(full))]
        level, hashes = level + 1, roots
    return rows
