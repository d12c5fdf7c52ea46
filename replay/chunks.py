"""One chunk of the journal: its facts hashed again, and held against the tiles and checkpoints that cover them.

1. Every fact is read and hashed. What cannot be a leaf is named with its position, and the rest is hashed.
2. What differs from its tile is named; where the tiles are right, what was changed does not hide anything after it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.leaves import LeafUnfit, leaf_hash, leaf_text, read_day, read_moment
from ledger.domain.notes import NoteInvalid, VerifierKey, open_checkpoint
from ledger.domain.tree import HASH_BYTES, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, Hash, split, whole
from replay.facts import ahead, opened
from replay.hashes import SealsBroken, leaves_from, read_columns

Connection = psycopg.Connection[TupleRow]

CHUNK_HEIGHT: Final = 2 * TILE_HEIGHT
CHUNK: Final = 1 << CHUNK_HEIGHT
STRETCH: Final = 32 * TILE_WIDTH
MAX_FINDINGS: Final = 1_000
IN_DATABASE: Final = "the database"
OUTSIDE: Final = "outside"
# Stands for a fact that is gone.
NO_HASH: Final = b"\xff" * HASH_BYTES

CHECKPOINTS = b"SELECT size, root, note FROM checkpoint WHERE size > %s AND size <= %s ORDER BY size LIMIT %s"
TILES = b"SELECT index, hashes, root FROM tile WHERE level = %s AND index >= %s AND index < %s ORDER BY index"
# As text, because a value that was changed may be none that a date can be.
ROWS = b"""
SELECT position, type, tags, effective_on::text, recorded_at::text, command_id, actor, data
FROM event
WHERE position > %s AND position <= %s
ORDER BY position
"""


class Finding(NamedTuple):
    """Something that does not hold: a stable code, the positions concerned, and what it is."""

    code: str
    first: int
    last: int
    sentence: str

    def __str__(self) -> str:
        """One line."""
        where = f"position {self.first}" if self.first == self.last else f"positions {self.first} to {self.last}"
        return f"{self.code}, {where}: {self.sentence}"


class Sealed(NamedTuple):
    """A checkpoint to be reached: its size, the root that was signed, and where it stands."""

    size: int
    root: Hash
    where: str


class Chunk(NamedTuple):
    """What a process found in the facts after `start`, up to CHUNK of them."""

    start: int
    facts: int
    tile_roots: list[Hash]
    sealed_roots: list[Hash]
    peaks: dict[int, tuple[list[Hash], list[Hash]]]
    checkpoints: list[Sealed]
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None
    findings: list[Finding]


class Task(NamedTuple):
    """What a process is to verify."""

    url: str
    snapshot: str
    keys: list[VerifierKey]
    outside: list[tuple[int, Hash]]
    last_sealed: int
    start: int
    until: int


def signed_checkpoints(
    connection: Connection, keys: Sequence[VerifierKey], after: int, until: int
) -> tuple[list[Sealed], list[Finding]]:
    """The checkpoints of these sizes whose signature holds, and what is wrong with the others."""
    signed: list[Sealed] = []
    wrong: list[Finding] = []
    for size, root, note in connection.execute(CHECKPOINTS, (after, until, CHUNK)):
        try:
            checkpoint = open_checkpoint(note, keys)
        except NoteInvalid as error:
            wrong.append(Finding("checkpoint_invalid", size, size, f"the checkpoint of size {size}: {error}"))
            continue
        if (checkpoint.size, checkpoint.root) == (size, root):
            signed.append(Sealed(size, root, IN_DATABASE))
        else:
            wrong.append(
                Finding("checkpoint_invalid", size, size, f"the checkpoint of size {size} signs something else")
            )
    return signed, wrong


def tile_changed(level: int, index: int) -> Finding:
    facts = TILE_WIDTH << (TILE_HEIGHT * level)
    what = f"tile {index} of level {level} is not what the tiles below it give"
    return Finding("tile_changed", index * facts + 1, (index + 1) * facts, what)


def verify_chunk(task: Task) -> Chunk:
    """One chunk by itself."""
    with opened(task.url, snapshot=task.snapshot) as connection:
        return _Reader(connection, task).read()


class _Reader:
    """Reads one chunk."""

    def __init__(self, connection: Connection, task: Task) -> None:
        self._connection = connection
        self._task = task
        self._findings: list[Finding] = []
        self._times: list[datetime] = []
        self._tile_roots: list[Hash] = []
        self._sealed_roots: list[Hash] = []
        self._peaks: dict[int, tuple[list[Hash], list[Hash]]] = {}

    def read(self) -> Chunk:
        task = self._task
        checkpoints = self._checkpoints()
        stored = {row[0]: row[1:] for row in self._tiles(0, task.start // TILE_WIDTH, -(-task.until // TILE_WIDTH))}
        stretches = [(start, min(start + STRETCH, task.until)) for start in range(task.start, task.until, STRETCH)]
        facts, sealed = Frontier(), Frontier()
        sizes = sorted({each.size - task.start for each in checkpoints})
        for (after, until), row in ahead(stretches, self._columns):
            hashes = self._leaves(after, until, row)
            for start in range(0, until - after, TILE_WIDTH):
                leaves = hashes[start : start + TILE_WIDTH]
                index = (after + start) // TILE_WIDTH
                as_sealed = self._as_sealed(index, leaves, stored.get(index))
                end = facts.size + len(leaves)
                while sizes and sizes[0] <= end:
                    width = sizes.pop(0) - facts.size
                    self._peaks[task.start + facts.size + width] = (
                        _extended(facts, leaves[:width]),
                        _extended(sealed, as_sealed[:width]),
                    )
                if len(leaves) < TILE_WIDTH:
                    break
                root = whole(leaves)
                sealed_root = root if as_sealed is leaves else whole(as_sealed)
                self._check_root(index, sealed_root, stored.get(index))
                facts.add_whole(root, TILE_HEIGHT)
                sealed.add_whole(sealed_root, TILE_HEIGHT)
                self._tile_roots.append(root)
                self._sealed_roots.append(sealed_root)
        self._check_level_one()
        return Chunk(
            task.start,
            task.until - task.start,
            self._tile_roots,
            self._sealed_roots,
            self._peaks,
            checkpoints,
            self._times[0] if self._times else None,
            self._times[-1] if self._times else None,
            self._findings,
        )

    def _checkpoints(self) -> list[Sealed]:
        """Those of the database whose signature holds, and those outside that it lacks."""
        signed, wrong = signed_checkpoints(self._connection, self._task.keys, self._task.start, self._task.until)
        self._findings += wrong
        known = {each.size for each in signed}
        lacking = [Sealed(size, root, OUTSIDE) for size, root in self._task.outside if size not in known]
        for size, _, _ in lacking:
            if size < self._task.last_sealed:
                self._add("checkpoints_removed", size, size, "the database lacks a checkpoint that was published")
        return sorted([*signed, *lacking])

    def _tiles(self, level: int, first: int, last: int) -> Iterator[TupleRow]:
        return iter(self._connection.execute(TILES, (level, first, last), binary=True).fetchall())

    def _columns(self, stretch: tuple[int, int]) -> TupleRow | None:
        """Read while the stretch before is hashed; None where the server cannot give it as one text."""
        try:
            with self._connection.transaction():
                return read_columns(self._connection, *stretch)
        except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded):
            return None

    def _leaves(self, after: int, until: int, row: TupleRow | None) -> list[Hash]:
        try:
            leaves = leaves_from(row, after, until)
        except SealsBroken:
            return self._one_by_one(after, until)
        if self._times and leaves.first_recorded_at < self._times[-1]:
            self._add("time_falls", after + 1, after + 1, "recorded_at lies before that of the fact before")
        self._times += (leaves.first_recorded_at, leaves.last_recorded_at)
        return leaves.hashes

    def _one_by_one(self, after: int, until: int) -> list[Hash]:
        """The slow way, which can tell the position; over a connection of its own, because the other one reads ahead."""
        found: dict[int, Hash] = {}
        for row in self._rows(after, until):
            position, type_name, tags, day, moment, command_id, actor, data = row
            try:
                recorded_at = read_moment(moment)
                text = leaf_text(position, type_name, tags, read_day(day), recorded_at, command_id, actor, data)
            except (LeafUnfit, TypeError, AttributeError) as error:
                # What is NULL breaks the spelling of a leaf in many ways.
                self._add("fact_unfit", position, position, str(error))
                continue
            found[position] = leaf_hash(text)
            if self._times and recorded_at < self._times[-1]:
                self._add("time_falls", position, position, "recorded_at lies before that of the fact before")
            self._times.append(recorded_at)
        for position in range(after + 1, until + 1):
            if position not in found:
                self._add("fact_missing", position, position, "there is no fact, or none that fits a leaf")
        return [found.get(position, NO_HASH) for position in range(after + 1, until + 1)]

    def _rows(self, after: int, until: int) -> Iterator[TupleRow]:
        with opened(self._task.url, snapshot=self._task.snapshot) as connection:
            for start in range(after, until, TILE_WIDTH):
                yield from connection.execute(ROWS, (start, min(start + TILE_WIDTH, until))).fetchall()

    def _as_sealed(self, index: int, leaves: list[Hash], stored: Sequence[bytes] | None) -> list[Hash]:
        """The leaves as their tile has them; every fact that differs is named."""
        if stored is None or len(leaves) < TILE_WIDTH or b"".join(leaves) == stored[0]:
            return leaves
        if len(stored[0]) != TILE_BYTES:
            self._findings.append(tile_changed(0, index))
            return leaves
        as_sealed = split(stored[0])
        for position, (leaf, sealed) in enumerate(zip(leaves, as_sealed, strict=True), index * TILE_WIDTH + 1):
            if leaf != sealed:
                self._add("leaf_differs", position, position, "the fact is not what was sealed")
        return as_sealed

    def _check_root(self, index: int, root: Hash, stored: Sequence[bytes] | None) -> None:
        if stored is not None and stored[1] != root:
            first, last = index * TILE_WIDTH + 1, (index + 1) * TILE_WIDTH
            self._add("tile_changed", first, last, f"the root beside tile {index} of level 0 is not that of its hashes")

    def _check_level_one(self) -> None:
        index = self._task.start // CHUNK
        for _, hashes, root in self._tiles(1, index, index + 1):
            if len(self._sealed_roots) < TILE_WIDTH or (hashes, root) != (
                b"".join(self._sealed_roots),
                whole(self._sealed_roots),
            ):
                self._findings.append(tile_changed(1, index))

    def _add(self, code: str, first: int, last: int, sentence: str) -> None:
        self._findings.append(Finding(code, first, last, sentence))


def _extended(frontier: Frontier, leaves: Sequence[Hash]) -> list[Hash]:
    """The peaks with some leaves more."""
    if not leaves:
        return frontier.peaks
    extended = frontier.copy()
    if len(leaves) == TILE_WIDTH:
        extended.add_whole(whole(leaves), TILE_HEIGHT)
    else:
        for leaf in leaves:
            extended.add(leaf)
    return extended.peaks
