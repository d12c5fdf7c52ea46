"""Hashes of the sealed tree, read as the auditor: any whole subtree, and the proofs that are made of them.

1. A proof takes at most two queries beside that for its checkpoint, however long the journal is: one for tiles, one for facts.
2. What no tile holds is computed: at level 0 from the facts, above from the roots that stand beside the tiles below.
3. Nothing is handed out that has not been verified against the root of the checkpoint: damaged seals are an error, not a proof.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.leaves import Columns, Leaves, leaf_hash, leaf_text, leaves_of
from ledger.domain.notes import Checkpoint, InclusionProof
from ledger.domain.tree import (
    TILE_WIDTH,
    Hash,
    ProofInvalid,
    Subtree,
    consistency_path,
    in_tile,
    inclusion_path,
    needed,
    proof,
    split,
    subtrees,
    verify_consistency,
    verify_inclusion,
    whole,
)
from ledger.domain.tree import joined as joined_root

Connection = psycopg.Connection[TupleRow]
Place = tuple[int, int]
"""A tile's level and index."""

# 8 KiB each, so about 8 MiB.
KEPT_TILES: Final = 1_000

LATEST = b"SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1"
AT = b"SELECT size, root, note FROM checkpoint WHERE size = %s"
COVERING = b"SELECT size, root, note FROM checkpoint WHERE size >= %s ORDER BY size LIMIT 1"

# A tile as it is stored, or what it will begin with: the roots of the tiles below it, and the first and last of their places.
# The limit keeps the planner at the primary key, whatever it knows of the table.
READ_TILES = b"""
SELECT asked.level, asked.index, stored.hashes, below.hashes, below.first, below.last
FROM unnest(%s::smallint[], %s::bigint[]) AS asked (level, index)
LEFT JOIN LATERAL (
    SELECT tile.hashes
    FROM tile
    WHERE tile.level = asked.level AND tile.index = asked.index
    LIMIT 1
) AS stored ON true
LEFT JOIN LATERAL (
    SELECT
        string_agg(lower.root, ''::bytea ORDER BY lower.index) AS hashes,
        min(lower.index) AS first,
        max(lower.index) AS last
    FROM tile AS lower
    WHERE stored.hashes IS NULL
        AND lower.level = asked.level - 1
        AND lower.index >= asked.index * 256
        AND lower.index < (asked.index + 1) * 256
) AS below ON true
"""

# Within one aggregate the order is that of the primary key, which is how the rows come. UTC, whatever the session speaks.
READ_LEAVES = rb"""
SELECT
    string_agg(position::text, ';' ORDER BY position),
    string_agg(coalesce(type, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(array_to_string(tags, E'\x1f', E'\x1e\x1e'), E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(
        (CASE WHEN coalesce(array_ndims(tags), 1) = 1 THEN coalesce(cardinality(tags), -1) ELSE -1 END)::text,
        ';' ORDER BY position
    ),
    string_agg(coalesce(effective_on::text, 'NULL'), ';' ORDER BY position),
    string_agg(coalesce((recorded_at AT TIME ZONE 'UTC')::text || '+00', 'NULL'), ';' ORDER BY position),
    string_agg(coalesce(command_id, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(actor, E'\x1e\x1e'), E'\x1e' ORDER BY position),
    string_agg(coalesce(octet_length(data), -1)::text, ';' ORDER BY position),
    string_agg(coalesce(data, ''), ''::bytea ORDER BY position)
FROM event
WHERE position > %s AND position <= %s
"""

READ_CHOSEN = b"""
SELECT position, type, tags, effective_on, recorded_at, command_id, actor, data
FROM event
WHERE position = ANY (%s::bigint[])
ORDER BY position
"""


class NotSealed(LookupError):
    """The notary has not signed that; ask for a position or size that a checkpoint covers."""


class SealsBroken(RuntimeError):
    """Facts or seals are not what the notary signed: run `python -m replay verify`, which says where."""


class Sealed(NamedTuple):
    """A checkpoint as it is stored: nobody has checked its signature here."""

    size: int
    root: Hash
    note: str


class Leaf(NamedTuple):
    """A fact as it is sealed."""

    position: int
    text: bytes
    data: bytes

    @property
    def hash(self) -> Hash:
        return leaf_hash(self.text)


def sealed(connection: Connection, *, size: int | None = None) -> Sealed:
    """The checkpoint of a size, by default the last one. Raises NotSealed and SealsBroken."""
    row = connection.execute(*((LATEST,) if size is None else (AT, (size,)))).fetchone()
    if row is None:
        which = "There is no checkpoint yet" if size is None else f"No checkpoint has size {size}"
        raise NotSealed(f"{which}. {NotSealed.__doc__}")
    return _agreeing(row)


def covering(connection: Connection, position: int) -> Sealed:
    """The first checkpoint that covers a position. Raises NotSealed and SealsBroken."""
    row = connection.execute(COVERING, (position,)).fetchone()
    if row is None:
        raise NotSealed(f"No checkpoint covers position {position}. {NotSealed.__doc__}")
    return _agreeing(row)


def _agreeing(row: TupleRow) -> Sealed:
    """The row, if its columns say what its note says. Raises SealsBroken."""
    found = Sealed(*row)
    try:
        checkpoint = Checkpoint.parse(found.note)
    except ValueError as error:
        raise SealsBroken(f"The checkpoint of size {found.size} is damaged ({error}). {SealsBroken.__doc__}") from error
    if (checkpoint.size, checkpoint.root) != (found.size, found.root):
        raise SealsBroken(f"The checkpoint of size {found.size} signs something else. {SealsBroken.__doc__}")
    return found


class Hashes:
    """Hashes of whole subtrees of a sealed tree; called with a subtree, gives its hash. Keeps a bounded number of tiles."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: dict[Place, list[Hash]] = {}

    def load(self, asked: Iterable[Subtree]) -> None:
        """Read at once whatever these take. Raises SealsBroken."""
        widths: dict[Place, int] = {}
        for subtree in asked:
            level, index, _, end = in_tile(subtree)
            if len(self._tiles.get((level, index), ())) < end:
                widths[level, index] = max(end, widths.get((level, index), 0))
        if len(self._tiles) + len(widths) > KEPT_TILES:
            # Whatever else was kept is read again when it is asked for.
            self._tiles.clear()
        if widths:
            self._tiles.update(self._read(widths))

    def __call__(self, subtree: Subtree) -> Hash:
        level, index, start, end = in_tile(subtree)
        if len(self._tiles.get((level, index), ())) < end:
            self.load([subtree])
        return whole(self._tiles[level, index][start:end])

    def _read(self, widths: dict[Place, int]) -> dict[Place, list[Hash]]:
        levels, indexes = [level for level, _ in widths], [index for _, index in widths]
        found: dict[Place, list[Hash]] = {}
        for level, index, tile, below, first, last in self._connection.execute(
            READ_TILES, (levels, indexes), prepare=True, binary=True
        ):
            hashes = split(tile if tile is not None else below or b"")
            if tile is None and not level:
                hashes = self._from_facts(index, widths[level, index])
            elif tile is None and below is not None and (first, last + 1) != _span(index, len(hashes)):
                hashes = []
            if len(hashes) < widths[level, index]:
                raise SealsBroken(f"Tile {index} of level {level} lacks hashes. {SealsBroken.__doc__}")
            found[level, index] = hashes
        return found

    def _from_facts(self, index: int, width: int) -> list[Hash]:
        start = index * TILE_WIDTH
        return read_leaves(self._connection, after=start, until=start + width).hashes


def _span(index: int, width: int) -> tuple[int, int]:
    return index * TILE_WIDTH, index * TILE_WIDTH + width


def prove(connection: Connection, position: int, *, size: int | None = None) -> InclusionProof:
    """That the fact at a position stands under the checkpoint of a size, by default the last. Raises NotSealed, SealsBroken."""
    checkpoint = sealed(connection, size=size)
    if not 0 < position <= checkpoint.size:
        raise NotSealed(
            f"Position {position} is not under the checkpoint of size {checkpoint.size}. {NotSealed.__doc__}"
        )
    return proof_under(Hashes(connection), checkpoint, position)


def proof_under(hashes: Hashes, checkpoint: Sealed, position: int) -> InclusionProof:
    """As `prove`, with tiles that may be there already; the position is under the checkpoint. Raises SealsBroken."""
    index = position - 1
    path = inclusion_path(index, checkpoint.size)
    leaf = (0, index)
    hashes.load([leaf, *needed(path)])
    found = proof(path, hashes)
    try:
        verify_inclusion(hashes(leaf), index, checkpoint.size, found, checkpoint.root)
    except ProofInvalid as error:
        raise SealsBroken(f"Position {position} cannot be proven: {error} {SealsBroken.__doc__}") from error
    return InclusionProof(index, found, checkpoint.note)


def consistency(connection: Connection, old: int, new: int) -> list[Hash]:
    """That the checkpoint of size `new` extends that of size `old`. Raises NotSealed, SealsBroken and ProofInvalid."""
    return consistency_between(Hashes(connection), sealed(connection, size=old), sealed(connection, size=new))


def consistency_between(hashes: Hashes, old: Sealed, new: Sealed) -> list[Hash]:
    """As `consistency`, of checkpoints that are there already. Raises SealsBroken, and ProofInvalid where old is newer."""
    path = consistency_path(old.size, new.size)
    hashes.load(needed(path))
    found = proof(path, hashes)
    try:
        verify_consistency(old.size, old.root, new.size, new.root, found)
    except ProofInvalid as error:
        raise SealsBroken(f"{old.size} to {new.size} cannot be proven: {error} {SealsBroken.__doc__}") from error
    return found


def root_at(connection: Connection, size: int) -> Hash:
    """The root over so many facts, as tiles and last facts give it, whether the notary signed that size or not."""
    peaks = subtrees(0, size)
    hashes = Hashes(connection)
    hashes.load(peaks)
    return joined_root([hashes(peak) for peak in peaks])


def read_leaves(connection: Connection, *, after: int, until: int, keep: bool = False) -> Leaves:
    """All leaves after one position and up to another; with `keep`, their texts and data too. Raises SealsBroken."""
    return leaves_from(read_columns(connection, after, until), after, until, keep=keep)


def read_columns(connection: Connection, after: int, until: int) -> TupleRow | None:
    """What `leaves_from` takes: so that one stretch can be read while another is hashed."""
    return connection.execute(READ_LEAVES, (after, until), prepare=True, binary=True).fetchone()


def leaves_from(row: TupleRow | None, after: int, until: int, *, keep: bool = False) -> Leaves:
    """The leaves of what was read, all of them. Raises SealsBroken."""
    try:
        found = leaves_of(Columns._make(row or ()), keep=keep)
    except (ValueError, TypeError, AttributeError) as error:
        # A stretch without facts is all None; anything may stand in one that was changed.
        raise SealsBroken(f"Positions {after + 1} to {until}: {error}. {SealsBroken.__doc__}") from error
    if (found.first_position, len(found.hashes)) != (after + 1, until - after):
        raise SealsBroken(f"Between positions {after + 1} and {until} facts are missing. {SealsBroken.__doc__}")
    return found


def read_chosen(connection: Connection, positions: list[int]) -> list[Leaf]:
    """The leaves of chosen positions that rise. Raises SealsBroken."""
    found: list[Leaf] = []
    for position, type_name, tags, effective_on, recorded_at, command_id, actor, data in connection.execute(
        READ_CHOSEN, (positions,)
    ):
        try:
            text = leaf_text(position, type_name, tags, effective_on, recorded_at, command_id, actor, data)
        except ValueError as error:
            raise SealsBroken(f"Position {position}: {error} {SealsBroken.__doc__}") from error
        found.append(Leaf(position, text, data))
    if [leaf.position for leaf in found] != positions:
        missing = min(set(positions) - {leaf.position for leaf in found})
        raise SealsBroken(f"Position {missing} holds no fact. {SealsBroken.__doc__}")
    return found


def proven_leaves(
    connection: Connection, hashes: Hashes, checkpoint: Sealed, positions: list[int]
) -> Iterator[tuple[Leaf, InclusionProof]]:
    """The facts at chosen positions that rise, each with the proof that it is what was sealed. Raises SealsBroken."""
    for leaf in read_chosen(connection, positions):
        found = proof_under(hashes, checkpoint, leaf.position)
        if hashes((0, leaf.position - 1)) != leaf.hash:
            raise SealsBroken(f"Position {leaf.position} is not what was sealed. {SealsBroken.__doc__}")
        yield leaf, found
