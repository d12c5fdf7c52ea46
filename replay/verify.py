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
from datetime import datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.notes import VerifierKey
from ledger.domain.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, Hash, joined, whole
from replay.chunks import (
    CHUNK,
    CHUNK_HEIGHT,
    IN_DATABASE,
    MAX_FINDINGS,
    TILES,
    Chunk,
    Finding,
    Sealed,
    Task,
    signed_checkpoints,
    tile_changed,
    verify_chunk,
)
from replay.facts import exported, head, one, opened, settle
from replay.published import Outside

Connection = psycopg.Connection[TupleRow]

STATE_VERSION: Final = "pension-ledger/verified/v1"
NO_BOUND: Final = 2**62

LAST_POSITION = b"SELECT coalesce(max(position), 0) FROM event"
LAST_SEALED = b"SELECT coalesce(max(size), 0) FROM checkpoint WHERE size <= %s"
STRAYS = b"SELECT count(*), min(position), max(position) FROM event WHERE position < 1 OR position > %s"
TILE_COUNTS = b"SELECT level, count(*), min(index), max(index) FROM tile GROUP BY level ORDER BY level"
FIRST_MISSING_TILE = b"""
SELECT min(given)
FROM generate_series(0::bigint, %s - 1) AS given
WHERE NOT EXISTS (SELECT FROM tile WHERE tile.level = %s AND tile.index = given)
"""


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
    notes: list[str] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Keep it, unless there are too many; then only count it."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"findings": [each._asdict() for each in self.findings]}


class StateMismatch(ValueError):
    """The state file is damaged; remove it, and everything is verified from the beginning."""


@dataclass
class State:
    """What an earlier run has verified without a finding: whole chunks from the beginning, and against which evidence."""

    chunk_roots: list[str] = field(default_factory=list)
    recorded_at: str | None = None
    evidence: str = ""

    @classmethod
    def load(cls, path: Path | None) -> "State":
        """Nothing, where there is no file yet. Raises StateMismatch and OSError."""
        if path is None or not path.exists():
            return cls()
        try:
            fields = json.loads(path.read_text())
            state = cls([str(each) for each in fields["chunk_roots"]], fields["recorded_at"], str(fields["evidence"]))
            valid = all(len(bytes.fromhex(each)) == HASH_BYTES for each in state.chunk_roots)
            if state.recorded_at is not None:
                valid = valid and datetime.fromisoformat(state.recorded_at).tzinfo is not None
            valid = valid and fields["version"] == STATE_VERSION
        except (ValueError, KeyError, TypeError, RecursionError):
            valid = False
        if not valid:
            raise StateMismatch(f"{path}: {StateMismatch.__doc__}")
        return state

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        made = path.with_name(path.name + ".new")
        made.write_text(json.dumps({"version": STATE_VERSION, **asdict(self)}))
        made.replace(path)


class _Evidence:
    """What the facts are held against, beside the database: the keys, and what stands outside, chunk by chunk."""

    def __init__(self, keys: Sequence[VerifierKey], outside: Outside | None) -> None:
        self._keys = keys
        self._roots = [] if outside is None else sorted(outside.roots.items())
        self._sizes = [size for size, _ in self._roots]
        self._tiles = {} if outside is None else outside.tile_roots

    def roots(self, start: int, end: int) -> list[tuple[int, Hash]]:
        """The checkpoints outside, of sizes above the one and up to the other."""
        return self._roots[bisect_right(self._sizes, start) : bisect_right(self._sizes, end)]

    def digest(self, chunks: int) -> str:
        """Over the evidence of so many chunks."""
        found = sha256("\n".join(sorted(map(str, self._keys))).encode()).hexdigest()
        for chunk in range(chunks):
            found = self.extended(found, chunk)
        return found

    def extended(self, digest: str, chunk: int) -> str:
        """With that of one chunk more."""
        tiles = range(chunk * TILE_WIDTH, (chunk + 1) * TILE_WIDTH)
        lines = [f"{size} {root.hex()}" for size, root in self.roots(chunk * CHUNK, (chunk + 1) * CHUNK)]
        lines += [f"tile {index} {self._tiles[index].hex()}" for index in tiles if index in self._tiles]
        return sha256("\n".join([digest, *lines]).encode()).hexdigest()


def verify(  # noqa: PLR0913 - each is a choice of the auditor's
    url: str,
    keys: Sequence[VerifierKey],
    *,
    outside: Outside | None,
    processes: int,
    state_file: Path | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verified:
    """Verify all that is recorded, as of one moment. Raises StateMismatch, HistoryBroken, and OperationalError."""
    evidence = _Evidence(keys, outside)
    state = State.load(state_file)
    with opened(url) as connection:
        result = Verified(head=head(connection), checkpoints_outside=None if outside is None else len(outside.roots))
        last = min(result.head, int(one(connection, LAST_POSITION)))
        state = _usable(state, evidence, result, last)
        chain = _Chain(result, state, outside)
        result.read_from = chain.frontier.size + 1
        _begin_sealed(connection, result, keys)
        for chunk in _verified(_tasks(connection, url, keys, evidence, result, last), processes):
            chain.take(chunk)
            progress(chunk.start + chunk.facts, last)
            if state_file is not None and chunk.facts == CHUNK and not result.findings:
                state.evidence = evidence.extended(state.evidence, len(state.chunk_roots))
                state.chunk_roots.append(whole(chunk.tile_roots).hex())
                state.recorded_at = None if chain.recorded_at is None else chain.recorded_at.isoformat()
                state.save(state_file)
        _check_end(connection, result, chain, keys, outside, last)
        chain.check_tiles(connection)
        chain.tell_facts_from_tiles()
    result.findings.sort(key=lambda each: (each.first, each.last, each.code))
    return result


def _usable(state: State, evidence: _Evidence, result: Verified, last: int) -> State:
    """What of an earlier run still counts: nothing, if the journal is shorter, or held against other evidence."""
    verified = len(state.chunk_roots) * CHUNK
    if verified > last:
        what = f"an earlier run verified {verified} facts, and the journal ends at {last}"
        result.add(Finding("facts_removed", last + 1, verified, what))
    elif state.evidence == evidence.digest(len(state.chunk_roots)):
        return state
    return State(evidence=evidence.digest(0))


def _begin_sealed(connection: Connection, result: Verified, keys: Sequence[VerifierKey]) -> None:
    """The last checkpoint of what an earlier run has verified."""
    size = int(one(connection, LAST_SEALED, (result.read_from - 1,)))
    signed, wrong = signed_checkpoints(connection, keys, size - 1, size)
    for finding in wrong:
        result.add(finding)
    for checkpoint in signed:
        result.sealed, result.root = checkpoint.size, checkpoint.root.hex()


def _tasks(  # noqa: PLR0913 - all that tasks are made of
    connection: Connection,
    url: str,
    keys: Sequence[VerifierKey],
    evidence: _Evidence,
    result: Verified,
    last: int,
) -> list[Task]:
    snapshot = exported(connection)
    last_sealed = int(one(connection, LAST_SEALED, (last,)))
    return [
        Task(
            url,
            snapshot,
            list(keys),
            evidence.roots(start, min(start + CHUNK, last)),
            last_sealed,
            start,
            min(start + CHUNK, last),
        )
        for start in range(result.read_from - 1, last, CHUNK)
    ]


def _check_end(  # noqa: PLR0913 - all that may differ at the end
    connection: Connection,
    result: Verified,
    chain: "_Chain",
    keys: Sequence[VerifierKey],
    outside: Outside | None,
    last: int,
) -> None:
    """What lies beyond the journal's end, and what is missing there."""
    if last < result.head:
        what = f"the head says {result.head}, and the last fact has position {last}"
        result.add(Finding("facts_missing", last + 1, result.head, what))
    strays, first, final = connection.execute(STRAYS, (result.head,)).fetchone() or (0, 0, 0)
    if strays:
        result.add(Finding("beyond_head", first, final, f"{strays} facts lie outside of positions 1 to {result.head}"))
    signed, wrong = signed_checkpoints(connection, keys, last, NO_BOUND)
    for finding in wrong:
        result.add(finding)
    if signed:
        result.sealed = signed[-1].size
    size = result.sealed if outside is None else max(result.sealed, outside.size)
    if size > result.head:
        what = f"the journal ends at {result.head}, but a checkpoint of size {size} was signed"
        result.add(Finding("facts_removed", result.head + 1, size, what))
    elif outside is not None and size > result.sealed:
        later = [each for each in outside.roots if each > result.sealed]
        if len(later) == 1 and chain.facts_hold_to == size:
            result.notes.append(f"The checkpoint of size {size} was published, and is not in the database yet.")
        else:
            what = f"the database holds no checkpoint after {result.sealed}, but one of size {size} was published"
            result.add(Finding("checkpoints_removed", result.sealed + 1, size, what))
    if not size:
        result.add(Finding("not_sealed", 1, max(1, result.head), "there is no checkpoint: does the notary run?"))
    for sentence in [] if outside is None else outside.contradictions:
        result.add(Finding("outside_contradicts", 1, max(1, size), sentence))


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
        self._holds_to = self.facts_hold_to = 0
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
            self.facts_hold_to = max(self.facts_hold_to, size)
        if signed in (root, sealed_root):
            # Where only the stored tiles lead there, the facts that differ from them are named already.
            self._holds_to = max(self._holds_to, size)
            self._is_broken = False
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
        for level in sorted({*counts, *range(sealed.bit_length() // TILE_HEIGHT + 1)}):
            full = sealed >> TILE_HEIGHT * (level + 1) if level >= 0 else 0
            if counts.get(level, (0, 0, -1)) == (full, 0, full - 1):
                continue
            missing = one(connection, FIRST_MISSING_TILE, (full, level))
            width = TILE_WIDTH << (TILE_HEIGHT * max(level, 0))
            first, last = (1, max(1, sealed)) if missing is None else (missing * width + 1, (missing + 1) * width)
            what = f"level {level} holds {counts.get(level, (0,))[0]} tiles, and {full} were sealed"
            self.result.add(Finding("tiles_missing", first, last, what))
        level, below = 2, self._chunk_roots
        while len(below) >= TILE_WIDTH:
            full = sealed >> TILE_HEIGHT * (level + 1)
            stored = {index: (hashes, root) for index, hashes, root in connection.execute(TILES, (level, 0, full))}
            roots = []
            for index in range(len(below) // TILE_WIDTH):
                hashes = below[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
                roots.append(whole(hashes))
                if stored.get(index, (b"".join(hashes), roots[-1])) != (b"".join(hashes), roots[-1]):
                    self.result.add(tile_changed(level, index))
            level, below = level + 1, roots

    def tell_facts_from_tiles(self) -> None:
        """A fact that differs from its tile, and yet leads to a root that was signed, is right; the tile is not."""
        self.result.findings = [
            each._replace(code="tile_changed", sentence="the stored tile is not what the fact and the signed root give")
            if each.code == "leaf_differs" and each.last <= self.facts_hold_to
            else each
            for each in self.result.findings
        ]
