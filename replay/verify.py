"""Prove that the journal is what was sealed: hash every stored byte again, and compare with tiles, roots and signatures.

1. Every fact is read and hashed. Positions follow one another, recorded_at never falls.
2. Every tile holds what the facts give; every checkpoint, in the database and outside, has a signature of a trusted key, and the
   root that the facts give for its size. So all checkpoints are consistent with each other: one tree leads to all of them.
3. A finding names its place: the position, where the seals tell; the tile of 256 facts, where only the copies outside the
   database do; otherwise the stretch between the last checkpoint that holds and the first that does not.
4. What was changed is set aside where the seals say what it was, so that all else is still verified.
5. Chunks of 65,536 facts are verified by themselves, in several processes. What a state file says was verified is not read again:
   its roots still have to lead to the checkpoints.
"""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.leaves import LeafUnfit, leaf_hash, leaf_text
from ledger.domain.notes import NoteInvalid, VerifierKey, open_checkpoint
from ledger.domain.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, Hash, joined, split, whole
from replay.facts import ahead, exported, head, opened, settle
from replay.hashes import SealsBroken, leaves_from, read_columns
from replay.published import Outside

Connection = psycopg.Connection[TupleRow]

CHUNK_HEIGHT: Final = 2 * TILE_HEIGHT
CHUNK: Final = 1 << CHUNK_HEIGHT
STRETCH: Final = 32 * TILE_WIDTH
MAX_FINDINGS: Final = 1_000
STATE_VERSION: Final = "pension-ledger/verified/v1"
# Stands for a fact that is gone.
IN_DATABASE: Final = "the database"
NO_HASH: Final = b"\xff" * HASH_BYTES

NO_BOUND: Final = 2**62

CHECKPOINTS = b"SELECT size, root, note FROM checkpoint WHERE size > %s AND size <= %s ORDER BY size LIMIT %s"
TILES = b"SELECT index, hashes, root FROM tile WHERE level = %s AND index >= %s AND index < %s ORDER BY index"
TILE_COUNTS = b"SELECT level, count(*), min(index), max(index) FROM tile GROUP BY level ORDER BY level"
BEYOND = b"SELECT count(*), min(position) FROM event WHERE position > %s"
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


@dataclass
class Verified:
    """What was checked, and what does not hold."""

    head: int = 0
    sealed: int = 0
    root: str = ""
    read_from: int = 1
    checkpoints: int = 0
    checkpoints_outside: int | None = None
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    def add(self, finding: Finding) -> None:
        """Keep it, unless there are too many; then only count it."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"findings": [each._asdict() for each in self.findings]}


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
    start: int
    until: int


class StateMismatch(ValueError):
    """The state file is damaged; remove it, and everything is verified from the beginning."""


@dataclass
class State:
    """What an earlier run has verified without a finding: whole chunks from the beginning."""

    chunk_roots: list[str] = field(default_factory=list)
    recorded_at: str | None = None

    @classmethod
    def load(cls, path: Path | None) -> "State":
        """Nothing, where there is no file yet. Raises StateMismatch and OSError."""
        if path is None or not path.exists():
            return cls()
        try:
            fields = json.loads(path.read_text())
            state = cls([str(each) for each in fields["chunk_roots"]], fields["recorded_at"])
            valid = all(len(bytes.fromhex(each)) == HASH_BYTES for each in state.chunk_roots)
            if state.recorded_at is not None:
                datetime.fromisoformat(state.recorded_at)
            valid = valid and fields["version"] == STATE_VERSION
        except (ValueError, KeyError, TypeError):
            valid = False
        if not valid:
            raise StateMismatch(f"{path}: {StateMismatch.__doc__}")
        return state

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        made = path.with_name(path.name + ".new")
        made.write_text(json.dumps({"version": STATE_VERSION, **asdict(self)}))
        made.replace(path)


def verify(  # noqa: PLR0913 - each is a choice of the auditor's
    url: str,
    keys: Sequence[VerifierKey],
    *,
    outside: Outside | None,
    processes: int,
    state_file: Path | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verified:
    """Verify all that is recorded, as of one moment. Raises StateMismatch, and OperationalError."""
    state = State.load(state_file)
    with opened(url) as connection:
        result = Verified(head=head(connection), checkpoints_outside=None if outside is None else len(outside.roots))
        verified = len(state.chunk_roots) * CHUNK
        if verified > result.head:
            what = f"an earlier run verified {verified} facts, and the journal ends at {result.head}"
            result.add(Finding("facts_removed", result.head + 1, verified, what))
            state = State()
        chain = _Chain(result, state, outside)
        result.read_from = chain.frontier.size + 1
        for chunk in _verified(_tasks(connection, url, keys, outside, result), processes):
            chain.take(chunk)
            progress(chunk.start + chunk.facts, result.head)
            if state_file is not None and chunk.facts == CHUNK and not result.findings:
                state.chunk_roots.append(whole(chunk.tile_roots).hex())
                state.recorded_at = None if chain.recorded_at is None else chain.recorded_at.isoformat()
                state.save(state_file)
        _check_end(connection, result, keys, outside)
        chain.check_tiles(connection)
        chain.tell_facts_from_tiles()
    result.findings.sort(key=lambda each: (each.first, each.last, each.code))
    return result


def _tasks(
    connection: Connection, url: str, keys: Sequence[VerifierKey], outside: Outside | None, result: Verified
) -> list[Task]:
    snapshot = exported(connection)
    published = sorted({} if outside is None else outside.roots.items())
    sizes = [size for size, _ in published]
    return [
        Task(
            url,
            snapshot,
            list(keys),
            published[bisect_right(sizes, start) : bisect_right(sizes, min(start + CHUNK, result.head))],
            start,
            min(start + CHUNK, result.head),
        )
        for start in range(result.read_from - 1, result.head, CHUNK)
    ]


def _check_end(connection: Connection, result: Verified, keys: Sequence[VerifierKey], outside: Outside | None) -> None:
    """What lies beyond the journal's end, and what is missing there."""
    beyond, first = connection.execute(BEYOND, (result.head,)).fetchone() or (0, None)
    if beyond:
        result.add(Finding("beyond_head", first, first, f"{beyond} facts lie beyond the journal's end, {result.head}"))
    signed, wrong = _signed(connection, keys, result.head, NO_BOUND)
    for finding in wrong:
        result.add(finding)
    if signed:
        result.sealed = signed[-1].size
    size = result.sealed if outside is None else max(result.sealed, outside.size)
    if size > result.head:
        what = f"the journal ends at {result.head}, but a checkpoint of size {size} was signed"
        result.add(Finding("facts_removed", result.head + 1, size, what))
    elif size > result.sealed:
        what = f"the database holds no checkpoint after {result.sealed}, but one of size {size} was published"
        result.add(Finding("checkpoints_removed", result.sealed + 1, size, what))
    if not size:
        result.add(Finding("not_sealed", 1, max(1, result.head), "there is no checkpoint: does the notary run?"))
    for sentence in [] if outside is None else outside.contradictions:
        result.add(Finding("outside_contradicts", 1, max(1, size), sentence))


def _signed(
    connection: Connection, keys: Sequence[VerifierKey], after: int, until: int
) -> tuple[list[Sealed], list[Finding]]:
    """The checkpoints of these sizes whose signature holds, and what is wrong with the others."""
    signed: list[Sealed] = []
    wrong: list[Finding] = []
    limit = MAX_FINDINGS if until == NO_BOUND else CHUNK
    for size, root, note in connection.execute(CHECKPOINTS, (after, until, limit)):
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


def _verified(tasks: list[Task], processes: int) -> Iterator[Chunk]:
    """The chunks in order; a bounded number is worked on ahead."""
    if processes == 1 or len(tasks) < 2:  # noqa: PLR2004 - one task needs no company
        for task in tasks:
            yield verify_chunk(task)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=settle) as pool:
        waiting: deque[Future[Chunk]] = deque()
        for task in tasks:
            waiting.append(pool.submit(verify_chunk, task))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Chain:
    """The tree over the chunks, as the facts give it and as the stored tiles do, held against every checkpoint."""

    def __init__(self, result: Verified, state: State, outside: Outside | None) -> None:
        self.result = result
        self._outside = outside
        self.frontier, self._sealed = Frontier(), Frontier()
        self.recorded_at = None if state.recorded_at is None else datetime.fromisoformat(state.recorded_at)
        self._chunk_roots: list[Hash] = []
        self._holds_to = self._facts_hold_to = 0
        # Up to here the tiles are as they were published outside.
        self._agreed_to = 0
        self._is_broken = False
        for root in map(bytes.fromhex, state.chunk_roots):
            self.frontier.add_whole(root, CHUNK_HEIGHT)
            self._sealed.add_whole(root, CHUNK_HEIGHT)
            self._chunk_roots.append(root)
        self._agreed_to = self.frontier.size

    def take(self, chunk: Chunk) -> None:
        for finding in chunk.findings:
            self.result.add(finding)
        if self.recorded_at and chunk.first_recorded_at and chunk.first_recorded_at < self.recorded_at:
            at = chunk.start + 1
            self.result.add(Finding("time_falls", at, at, "recorded_at lies before that of the fact before"))
        self.recorded_at = chunk.last_recorded_at or self.recorded_at
        self._compare_outside_tiles(chunk)
        is_whole = chunk.facts == CHUNK
        before, sealed_before = self.frontier.peaks, self._sealed.peaks
        if is_whole:
            self.frontier.add_whole(whole(chunk.tile_roots), CHUNK_HEIGHT)
            self._sealed.add_whole(whole(chunk.sealed_roots), CHUNK_HEIGHT)
            self._chunk_roots.append(whole(chunk.sealed_roots))
        for checkpoint in chunk.checkpoints:
            if checkpoint.size == chunk.start + CHUNK:
                root, sealed_root = self.frontier.root, self._sealed.root
            else:
                peaks, sealed_peaks = chunk.peaks[checkpoint.size]
                root, sealed_root = joined([*before, *peaks]), joined([*sealed_before, *sealed_peaks])
            self._hold(checkpoint, root, sealed_root)

    def _hold(self, checkpoint: Sealed, root: Hash, sealed_root: Hash) -> None:
        size, signed, where = checkpoint
        if self._outside is not None and self._outside.roots.get(size, signed) != signed:
            what = f"the checkpoint of size {size} in {where} and the one outside have different roots: two histories"
            self.result.add(Finding("fork", self._holds_to + 1, size, what))
        if where == IN_DATABASE:
            self.result.checkpoints += 1
            self.result.sealed, self.result.root = size, signed.hex()
        if root == signed:
            self._facts_hold_to = max(self._facts_hold_to, size)
        if signed in (root, sealed_root):
            # Where only the stored tiles lead there, the facts that differ from them are named already.
            self._holds_to = max(self._holds_to, size)
        elif not self._is_broken:
            self._is_broken = True
            # Whole tiles that are as they were published cannot be it.
            first = max(self._holds_to, min(self._agreed_to, size // TILE_WIDTH * TILE_WIDTH)) + 1
            what = f"the facts do not give the root that was signed for size {size}"
            self.result.add(Finding("root_differs", min(first, size), size, what))

    def _compare_outside_tiles(self, chunk: Chunk) -> None:
        """The one thing that tells the place when everything inside the database was written anew."""
        if self._outside is None:
            return
        first = chunk.start // TILE_WIDTH
        for index, root in enumerate(chunk.tile_roots, first):
            published = self._outside.tile_roots.get(index)
            end = (index + 1) * TILE_WIDTH
            if published is not None and published != root:
                what = "these facts do not give the root of their tile that was published outside the database"
                self.result.add(Finding("tile_differs", index * TILE_WIDTH + 1, end, what))
            elif published is not None and self._agreed_to == index * TILE_WIDTH:
                self._agreed_to = end

    def check_tiles(self, connection: Connection) -> None:
        """That there are as many tiles of each level as were sealed, and that those above the chunks' own fit."""
        sealed = self.result.sealed
        counts = {row[0]: tuple(row[1:]) for row in connection.execute(TILE_COUNTS)}
        for level in range(max(counts, default=0) + 2):
            full = sealed >> TILE_HEIGHT * (level + 1)
            if counts.get(level, (0, 0, -1)) != (full, 0, full - 1):
                what = f"level {level} holds {counts.get(level, (0,))[0]} tiles, and {full} were sealed"
                self.result.add(Finding("tiles_missing", 1, max(1, sealed), what))
        level, below = 2, self._chunk_roots
        while len(below) >= TILE_WIDTH:
            full = sealed >> TILE_HEIGHT * (level + 1)
            stored = {index: (hashes, root) for index, hashes, root in connection.execute(TILES, (level, 0, full))}
            roots = []
            for index in range(len(below) // TILE_WIDTH):
                hashes = below[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
                roots.append(whole(hashes))
                if stored.get(index, (b"".join(hashes), roots[-1])) != (b"".join(hashes), roots[-1]):
                    self.result.add(_tile_changed(level, index))
            level, below = level + 1, roots

    def tell_facts_from_tiles(self) -> None:
        """A fact that differs from its tile, and yet leads to a root that was signed, is right; the tile is not."""
        self.result.findings = [
            each._replace(code="tile_changed", sentence="the stored tile is not what the fact and the signed root give")
            if each.code == "leaf_differs" and each.last <= self._facts_hold_to
            else each
            for each in self.result.findings
        ]


def _tile_changed(level: int, index: int) -> Finding:
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
        signed, wrong = _signed(self._connection, self._task.keys, self._task.start, self._task.until)
        self._findings += wrong
        known = {each.size for each in signed}
        lacking = [Sealed(size, root, "outside") for size, root in self._task.outside if size not in known]
        return sorted([*signed, *lacking])

    def _tiles(self, level: int, first: int, last: int) -> Iterator[TupleRow]:
        return iter(self._connection.execute(TILES, (level, first, last), binary=True).fetchall())

    def _columns(self, stretch: tuple[int, int]) -> TupleRow | None:
        """Read while the stretch before is hashed; None where the server cannot give it as text."""
        try:
            with self._connection.transaction():
                return read_columns(self._connection, *stretch)
        except psycopg.DataError:
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
        with opened(self._task.url, snapshot=self._task.snapshot) as connection:
            rows = connection.execute(ROWS, (after, until)).fetchall()
        for position, type_name, tags, day, moment, command_id, actor, data in rows:
            try:
                recorded_at = datetime.fromisoformat(moment)
                text = leaf_text(
                    position, type_name, tags, date.fromisoformat(day), recorded_at, command_id, actor, data
                )
            except (LeafUnfit, ValueError) as error:
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

    def _as_sealed(self, index: int, leaves: list[Hash], stored: Sequence[bytes] | None) -> list[Hash]:
        """The leaves as their tile has them; every fact that differs is named."""
        if stored is None or len(leaves) < TILE_WIDTH or b"".join(leaves) == stored[0]:
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
                self._findings.append(_tile_changed(1, index))

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
