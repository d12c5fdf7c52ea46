"""What the notary sealed, read back: checkpoints, tiles, and proofs made of them.

1. A proof takes a bounded number of queries and hashes, however long the journal is.
2. Nothing is proven under a size that the notary did not sign.
3. What is handed out was verified against the root of the checkpoint: damaged seals are an error, and no proof.
4. What no tile holds yet is computed: at level 0 from the facts, above from the roots that stand beside the tiles.

The connection must speak UTC.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.leaves import Leaves
from ledger.domain.notes import Checkpoint, InclusionProof, NoteInvalid
from ledger.domain.tree import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
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
from ledger.leaves import STRETCH, read_leaves

Connection = psycopg.Connection[TupleRow]

# The notary seals no more at once, so a checkpoint outside is never further ahead of the database than this.
MAX_FACTS: Final = 25 * STRETCH

HEAD = b"SELECT size FROM head"
LATEST = b"SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1"
AT = b"SELECT size, root, note FROM checkpoint WHERE size = %s"
TILES = b"""
SELECT level, index, hashes
FROM tile
WHERE (level, index) IN (
    SELECT *
    FROM unnest(string_to_array(%s, ';')::smallint[], string_to_array(%s, ';')::bigint[])
)
"""
ROOTS = b"""
SELECT root
FROM tile
WHERE level = %s AND index >= %s AND index < %s
ORDER BY index
"""


COME_AGAIN = "Ask again in a second; after a minute, ask why."


class NotSealed(LookupError):
    """The notary has not signed that: the last position that it has sealed, and whether time will change it."""

    def __init__(self, sentence: str, *, sealed: int, passes: bool) -> None:
        """Take what is not sealed as a sentence."""
        super().__init__(f"{sentence} {COME_AGAIN}" if passes else sentence)
        self.sealed = sealed
        self.passes = passes


class SealsBroken(RuntimeError):
    """The seals lack what a checkpoint covers, or hold something else: they were changed; run `python -m replay verify`."""


class FactsUnfit(ValueError):
    """Facts that cannot be sealed: one is missing among them, or gives no leaf."""


class JournalRestored(RuntimeError):
    """The database lacks what was sealed: an older backup was restored, or facts were changed. Nothing is written.

    Restore the newest backup, and run `python -m replay verify` with the checkpoints that were published. Or the checkpoint
    folder is another ledger's: set LEDGER_CHECKPOINT_FOLDER to this one's.
    """


class Sealed(NamedTuple):
    """A checkpoint as it was published."""

    size: int
    root: Hash
    note: str


def latest(connection: Connection) -> Sealed | None:
    """The last checkpoint, None before the first."""
    row = connection.execute(LATEST, prepare=True).fetchone()
    return None if row is None else Sealed(*row)


def last_sealed(connection: Connection) -> Sealed:
    """The last checkpoint. Raises NotSealed before the first, and SealsBroken."""
    found = latest(connection)
    if found is None:
        raise NotSealed("The notary has signed no checkpoint.", sealed=0, passes=True)
    return _unchanged(found)


def sealed_at(connection: Connection, size: int) -> Sealed:
    """The checkpoint of a size. Raises NotSealed and SealsBroken."""
    row = connection.execute(AT, (size,), prepare=True).fetchone()
    if row is None:
        sealed = last_sealed(connection).size
        raise NotSealed(f"No checkpoint has size {size}; the last has {sealed}.", sealed=sealed, passes=size > sealed)
    return _unchanged(Sealed(*row))


def _unchanged(sealed: Sealed) -> Sealed:
    """What stands beside the note is what the note says. Raises SealsBroken."""
    try:
        signed = Checkpoint.parse(sealed.note)
    except NoteInvalid as error:
        raise SealsBroken(SealsBroken.__doc__) from error
    if (signed.size, signed.root) != (sealed.size, sealed.root):
        raise SealsBroken(SealsBroken.__doc__)
    return sealed


def inclusion(connection: Connection, position: int, *, size: int | None = None) -> InclusionProof:
    """That the fact at a position stands under the checkpoint of a size, by default the last one.

    Raises NotSealed and SealsBroken.
    """
    sealed = last_sealed(connection) if size is None else sealed_at(connection, size)
    if not 0 < position <= sealed.size:
        raise NotSealed(
            f"Position {position} does not lie under size {sealed.size}.", sealed=sealed.size, passes=size is None
        )
    index = position - 1
    path = inclusion_path(index, sealed.size)
    get = hashes_of(connection, [(0, index), *needed(path)])
    found = proof(path, get)
    try:
        verify_inclusion(get((0, index)), index, sealed.size, found, sealed.root)
    except ProofInvalid as error:
        raise SealsBroken(SealsBroken.__doc__) from error
    return InclusionProof(index, found, sealed.note)


def consistency(connection: Connection, old: int, new: int) -> list[Hash]:
    """That the checkpoint of size `new` extends that of size `old` (RFC 6962, 2.1.2).

    Raises NotSealed, SealsBroken, and ProofInvalid where the old size lies above the new one.
    """
    older, newer = sealed_at(connection, old), sealed_at(connection, new)
    path = consistency_path(old, new)
    found = proof(path, hashes_of(connection, needed(path)))
    try:
        verify_consistency(old, older.root, new, newer.root, found)
    except ProofInvalid as error:
        raise SealsBroken(SealsBroken.__doc__) from error
    return found


def frontier_at(connection: Connection, size: int) -> Frontier:
    """The tree of a size, from tiles and last facts. Raises SealsBroken."""
    peaks = subtrees(0, size)
    get = hashes_of(connection, peaks)
    return Frontier(size, [get(peak) for peak in peaks])


def require_extends(connection: Connection, published: Checkpoint) -> None:
    """The journal must hold what was published outside the database, before anything is written. Raises JournalRestored.

    What is published stands outside before its tiles and its checkpoint are in the database: it may be one step ahead.
    """
    row = connection.execute(HEAD, prepare=True).fetchone()
    assert row is not None
    if row[0] < published.size:
        raise JournalRestored(
            f"The journal ends at position {row[0]}, but {published.size} facts were sealed. {_joined(JournalRestored)}"
        )
    sealed = latest(connection)
    inside = min(sealed.size if sealed else 0, published.size)
    if published.size - inside > MAX_FACTS:
        raise JournalRestored(
            f"{published.size} facts were sealed, but the database holds no checkpoint after {inside}, and the notary never "
            f"is {MAX_FACTS} ahead. {_joined(JournalRestored)}"
        )
    try:
        frontier = frontier_at(connection, inside)
        for leaves in leaves_between(connection, after=inside, until=published.size):
            for leaf in leaves.hashes:
                frontier.add(leaf)
    except (SealsBroken, FactsUnfit) as error:
        raise JournalRestored(f"{error} {_joined(JournalRestored)}") from error
    if frontier.root != published.root:
        raise JournalRestored(
            f"The first {published.size} facts do not give the root that was published. {_joined(JournalRestored)}"
        )


def _joined(error: type[Exception]) -> str:
    return " ".join((error.__doc__ or "").split())


def tile_hashes(connection: Connection, level: int, index: int, width: int) -> list[Hash]:
    """The first hashes of a tile, so many, as they stand under the last checkpoint. Raises NotSealed and SealsBroken."""
    sealed = last_sealed(connection)
    first, below = index * TILE_WIDTH, level * TILE_HEIGHT
    if (first + width) << below > sealed.size:
        raise NotSealed(f"The tile does not lie under size {sealed.size}.", sealed=sealed.size, passes=True)
    parts = subtrees(first, first + width)
    # A whole subtree is proven as its own first leaf is, from its height on.
    paths = [inclusion_path(place << below + up, sealed.size)[below + up :] for up, place in parts]
    widths = _widths(each for path in paths for each in needed(path))
    widths[level, index] = max(width, widths.get((level, index), 0))
    tiles = _tiles(connection, widths)
    found, get = tiles[level, index][:width], _in(tiles)
    for (up, place), path in zip(parts, paths, strict=True):
        start = (place << up) - first
        root, last = whole(found[start : start + (1 << up)]), (sealed.size - 1) >> (below + up)
        try:
            verify_inclusion(root, place, last + 1, proof(path, get), sealed.root)
        except ProofInvalid as error:
            raise SealsBroken(SealsBroken.__doc__) from error
    return found


def entries(connection: Connection, index: int, width: int) -> Leaves:
    """The first leaves of a tile of level 0, so many, with texts and data, as they are sealed.

    Raises NotSealed and SealsBroken.
    """
    hashes = tile_hashes(connection, 0, index, width)
    try:
        leaves = _leaves(connection, after=index * TILE_WIDTH, until=index * TILE_WIDTH + width, keep=True)
    except FactsUnfit as error:
        raise SealsBroken(f"{error} {SealsBroken.__doc__}") from error
    if leaves is None or leaves.hashes != hashes:
        raise SealsBroken(SealsBroken.__doc__)
    return leaves


def hashes_of(connection: Connection, asked: Iterable[Subtree]) -> Callable[[Subtree], Hash]:
    """A way to the hashes of these whole subtrees, all of which lie under some checkpoint."""
    return _in(_tiles(connection, _widths(asked)))


def _widths(asked: Iterable[Subtree]) -> dict[tuple[int, int], int]:
    """How many hashes of each tile these are made of."""
    widths: dict[tuple[int, int], int] = {}
    for subtree in asked:
        level, index, _, end = in_tile(subtree)
        widths[level, index] = max(end, widths.get((level, index), 0))
    return widths


def _in(tiles: dict[tuple[int, int], list[Hash]]) -> Callable[[Subtree], Hash]:
    def get(subtree: Subtree) -> Hash:
        level, index, start, end = in_tile(subtree)
        return whole(tiles[level, index][start:end])

    return get


def _tiles(connection: Connection, widths: dict[tuple[int, int], int]) -> dict[tuple[int, int], list[Hash]]:
    """So many hashes of each tile, stored or not full yet. Raises SealsBroken."""
    levels = ";".join(str(level) for level, _ in widths)
    indexes = ";".join(str(index) for _, index in widths)
    rows = connection.execute(TILES, (levels, indexes), prepare=True, binary=True)
    found = {(level, index): split(hashes) for level, index, hashes in rows}
    for (level, index), width in widths.items():
        if (level, index) not in found:
            found[level, index] = partial_tile(connection, level, index, width)
        if len(found[level, index]) < width:
            raise SealsBroken(SealsBroken.__doc__)
    return found


def partial_tile(connection: Connection, level: int, index: int, width: int) -> list[Hash]:
    """The first hashes of a tile that is not stored, of roots as many as there are. Raises SealsBroken."""
    first = index * TILE_WIDTH
    if level:
        rows = connection.execute(ROOTS, (level - 1, first, first + width), prepare=True, binary=True)
        return [root for (root,) in rows]
    try:
        parts = leaves_between(connection, after=first, until=first + width)
        return [leaf for leaves in parts for leaf in leaves.hashes]
    except FactsUnfit as error:
        raise SealsBroken(f"{error} {SealsBroken.__doc__}") from error


def leaves_between(connection: Connection, *, after: int, until: int) -> Iterator[Leaves]:
    """The leaves after one position and up to another, a stretch at a time, and fewer where their data is large.

    Raises FactsUnfit.
    """
    most = STRETCH
    while after < until:
        # Stretches end where tiles do.
        end = min(until, (after // most + 1) * most)
        try:
            # An error ends no more than this.
            with connection.transaction():
                leaves = _leaves(connection, after=after, until=end)
        except psycopg.errors.ProgramLimitExceeded as error:
            # Together they are more than PostgreSQL puts into one answer, 1 GB.
            if end - after == 1:
                raise FactsUnfit(f"The fact at position {end} is too large to be read.") from error
            most = (end - after) // 2
            continue
        if leaves is None or leaves.first_position != after + 1 or len(leaves.hashes) != end - after:
            raise FactsUnfit(f"A position from {after + 1} to {end} is missing.")
        yield leaves
        after, most = end, min(2 * most, STRETCH)


def _leaves(connection: Connection, *, after: int, until: int, keep: bool = False) -> Leaves | None:
    """As `read_leaves`. Raises FactsUnfit for whatever gives no leaves."""
    try:
        return read_leaves(connection, after=after, until=until, keep=keep)
    except (ValueError, TypeError, AttributeError) as error:
        raise FactsUnfit(f"Between positions {after + 1} and {until}: {error}") from error
