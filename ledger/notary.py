"""The notary: reads the journal in order, extends the Merkle tree, and signs its root.

1. It never signs a tree that does not extend the last one that it signed. That one stands in its own file, on the disk before
   anybody else sees it; so after a crash it publishes the same checkpoint again, and no other of that size. Where a
   checkpoint outside is newer than that file, the file is an old one, and nothing is signed.
2. It signs nothing where the journal contradicts what was sealed: a gap, an end before the last checkpoint, a falling
   recorded_at, a root that differs. It stops, and says where.
3. Tiles and checkpoint are one transaction. Checkpoints are written outside the database before they are inside.
4. One notary works in a folder: it holds the folder's lock. Before it signs it sees that the database's last checkpoint is its
   own, and until that is followed by the next no other notary can sign.
"""

import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
from psycopg.rows import TupleRow

from ledger.checkpoints import CheckpointFolder
from ledger.database import Database
from ledger.domain.notes import Checkpoint, NoteInvalid, SigningKey, open_checkpoint
from ledger.domain.tree import TILE_WIDTH, Frontier, Hash, whole
from ledger.keys import KeyFileUnusable, make_key, read_key, write_whole
from ledger.seals import (
    MAX_FACTS,
    FactsUnfit,
    SealsBroken,
    frontier_at,
    latest,
    leaves_between,
    partial_tile,
    require_extends,
)
from ledger.settings import Settings

Connection = psycopg.Connection[TupleRow]

PAUSE_S = 0.4
RECONNECT_S = 1.0
MAX_SKEW_S = 1.0
# A fact is sealed after so long at the latest.
MAX_DELAY_S = 60.0
PRIVATE_KEY: Final = "notary.key"
PUBLIC_KEY: Final = "notary.vkey"
LAST: Final = "last-checkpoint"
LOCK: Final = "lock"

# Held until the end of the transaction. The notary may not lock tables.
# Of two notaries that read the same last checkpoint, the second to add one fails. No lock that others could hold.
ALONE = b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
READ_HEAD = b"SELECT size, clock_timestamp() FROM head"
RECORDED_AT = b"SELECT recorded_at FROM event WHERE position = %s"
COPY_TILES = b"COPY tile (level, index, hashes, root) FROM STDIN (FORMAT binary)"
INSERT_CHECKPOINT = b"INSERT INTO checkpoint (size, root, note, signed_at) VALUES (%s, %s, %s, %s)"


class SealRefused(RuntimeError):
    """The journal contradicts what was sealed, or the notary's folder does; nothing was signed."""


class NotaryRunning(RuntimeError):
    """Another notary is at work in this folder."""


class NotaryFolder:
    """What the notary keeps for itself: its key, and the last checkpoint that it signed."""

    def __init__(self, path: Path) -> None:
        """Make the folder, for its owner alone."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only notary here. Raises NotaryRunning."""
        descriptor = os.open(self._path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise NotaryRunning(f"{self._path}: {NotaryRunning.__doc__}") from error
        finally:
            os.close(descriptor)

    def key(self) -> SigningKey | None:
        """The key, None before the first start. Raises KeyFileUnusable."""
        return read_key(self._path / PRIVATE_KEY)

    def make_key(self, origin: str) -> SigningKey:
        """A new key, and beside it what auditors need: its public half."""
        return make_key(self._path / PRIVATE_KEY, origin)

    def last(self) -> str | None:
        """The note that was signed last, None before the first."""
        path = self._path / LAST
        return path.read_text() if path.exists() else None

    def keep(self, note: str) -> None:
        """On the disk when this returns, whole or not at all."""
        write_whole(self._path / LAST, note)


class Tiler:
    """The tree as it grows, and the tiles that have become full on the way."""

    def __init__(self, frontier: Frontier, open_tiles: list[list[Hash]]) -> None:
        """Go on from a size; `open_tiles` are the hashes of each level's last tile, which is not full."""
        self.frontier = frontier
        self._open = open_tiles
        self.full: list[tuple[int, int, bytes, Hash]] = []

    def add(self, leaves: list[Hash]) -> None:
        """More leaves, in order."""
        place = 0
        while place < len(leaves):
            room = TILE_WIDTH - len(self._opened(0))
            some = leaves[place : place + room]
            place += len(some)
            self._fill(0, some)

    def _fill(self, level: int, hashes: list[Hash]) -> None:
        opened = self._opened(level)
        opened += hashes
        if level == 0 and len(hashes) < TILE_WIDTH:
            for leaf in hashes:
                self.frontier.add(leaf)
        if len(opened) < TILE_WIDTH:
            return
        root = whole(opened)
        if level == 0 and len(hashes) == TILE_WIDTH:
            self.frontier.add_whole(root, 8)
        index = (self.frontier.size >> (8 * (level + 1))) - 1
        self.full.append((level, index, b"".join(opened), root))
        opened.clear()
        self._fill(level + 1, [root])

    def _opened(self, level: int) -> list[Hash]:
        if level == len(self._open):
            self._open.append([])
        return self._open[level]


class Notary:
    """Seals what is recorded, step by step, over one connection."""

    def __init__(
        self, connection: Connection, key: SigningKey, folder: NotaryFolder, outside: CheckpointFolder
    ) -> None:
        """Find out where the last one stopped, and publish what it signed but did not publish. Raises SealRefused."""
        self._connection = connection
        self._key = key
        self._folder = folder
        self._outside = outside
        self.skew_s = self.delay_s = 0.0
        published = latest(connection)
        connection.rollback()
        self._last_recorded_at: datetime | None = None
        self._published = None if published is None else published.note
        self._signed = self._last_signed()
        size = 0 if published is None else published.size
        self._head(at_least=max(size, self._signed.size if self._signed else 0))
        try:
            frontier = frontier_at(connection, size)
            open_tiles = _open_tiles(connection, size)
            copied = self._read_outside()
            root_copied = frontier_at(connection, copied.size).root if copied and copied.size <= size else None
        except SealsBroken as error:
            raise SealRefused(f"Up to position {size}: {error}") from error
        if published is not None and frontier.root != published.root:
            raise SealRefused(f"Tiles and facts up to position {size} do not give the root that was signed.")
        if copied and root_copied not in (None, copied.root):
            raise SealRefused(f"{outside.path} holds another root of size {copied.size} than the journal gives.")
        self._tiler = Tiler(frontier, open_tiles)
        if size:
            self._last_recorded_at = self._recorded_at(size)
        connection.rollback()
        if self._signed is not None and self._signed.size > size:
            self._publish_again(self._signed)

    @property
    def size(self) -> int:
        """How many facts are sealed."""
        return self._tiler.frontier.size

    def seal(self) -> int:
        """Seal what was recorded since, up to a bound; return how many facts. Raises SealRefused."""
        before = self.size
        until = min(self._head(at_least=before), before + MAX_FACTS)
        if until == before:
            self._connection.rollback()
            self.delay_s = 0.0
            return 0
        self._read(until)
        self._require_alone()
        checkpoint = Checkpoint(self._key.verifier.name, until, self._tiler.frontier.root)
        note = self._key.sign(checkpoint.text())
        self._folder.keep(note)
        self._signed = checkpoint
        self._publish(note)
        return until - before

    def _head(self, *, at_least: int) -> int:
        """Where the journal ends; and how far the database clock is off. Raises SealRefused."""
        row = self._connection.execute(READ_HEAD).fetchone()
        assert row is not None
        head, self._clock = int(row[0]), row[1]
        self.skew_s = (self._clock - datetime.now(UTC)).total_seconds()
        if head < at_least:
            raise SealRefused(f"The journal ends at position {head}, but {at_least} facts were sealed.")
        return head

    def _last_signed(self) -> Checkpoint | None:
        """The checkpoint that this notary signed last; what the database holds must not lie beyond it."""
        trusted = [self._key.verifier]
        try:
            kept = self._folder.last()
            signed = None if kept is None else open_checkpoint(kept, trusted)
            known = None if self._published is None else open_checkpoint(self._published, trusted)
        except (NoteInvalid, UnicodeError) as error:
            raise SealRefused(f"The last checkpoint is not one of this notary's key. {error}") from error
        if known is not None and (signed is None or signed.size < known.size):
            raise SealRefused(
                f"The database holds a checkpoint of size {known.size} that this notary's folder does not know: restore "
                f"its file {LAST} from the last checkpoint that was published."
            )
        if known is not None and signed is not None and signed.size == known.size and signed.root != known.root:
            raise SealRefused(f"The database holds another root of size {known.size} than this notary signed.")
        return signed

    def _read_outside(self) -> Checkpoint | None:
        """The last checkpoint outside the database, which must not lie beyond what this notary signed. Raises SealRefused."""
        last = self._outside.last()
        self._size_outside = 0
        if last is None:
            return None
        try:
            outside = open_checkpoint(last.note, [self._key.verifier])
        except (NoteInvalid, UnicodeError) as error:
            raise SealRefused(
                f"The last checkpoint in {self._outside.path} is not one of this notary's key. {error} Restore this notary's "
                "folder, or set LEDGER_CHECKPOINT_FOLDER to this ledger's own."
            ) from error
        signed = self._signed
        if signed is None or outside.size > signed.size:
            raise SealRefused(
                f"{self._outside.path} holds a checkpoint of size {outside.size}, and the last that this notary's folder knows "
                f"has {signed.size if signed else 0}: to go on would fork the history. Restore the newest backup of the "
                f"database and of the notary's folder; where its file {LAST} alone is old, write the newer checkpoint there."
            )
        if outside.size == signed.size and outside.root != signed.root:
            raise SealRefused(
                f"{self._outside.path} holds another root of size {outside.size} than this notary signed."
            )
        self._size_outside = outside.size
        return outside

    def _require_alone(self) -> None:
        """Nobody else signed since; who does so before this transaction ends makes it fail. Raises SealRefused."""
        self._connection.commit()
        self._connection.execute(ALONE)
        last = latest(self._connection)
        if (None if last is None else last.note) != self._published:
            raise SealRefused(
                f"The database's last checkpoint, of size {last.size if last else 0}, is not the one that this notary "
                "published: another notary seals this journal, or checkpoints were removed. Let one notary run."
            )
        self._read_outside()

    def _publish_again(self, signed: Checkpoint) -> None:
        if signed.size - self.size > MAX_FACTS:
            raise SealRefused(
                f"{signed.size} facts were sealed, but the database holds no checkpoint after {self.size}, and no step has more "
                f"than {MAX_FACTS}: checkpoints were removed. Restore the newest backup, and run `python -m replay verify`."
            )
        self._read(signed.size)
        if self._tiler.frontier.root != signed.root:
            raise SealRefused(f"The facts up to position {signed.size} do not give the root that was signed.")
        note = self._folder.last()
        assert note is not None
        self._require_alone()
        self._publish(note)

    def _read(self, until: int) -> None:
        """Extend the tree. Raises SealRefused."""
        first = self.size + 1
        try:
            for leaves in leaves_between(self._connection, after=self.size, until=until):
                if leaves.first_position == first:
                    self.delay_s = (self._clock - leaves.first_recorded_at).total_seconds()
                if self._last_recorded_at is not None and leaves.first_recorded_at < self._last_recorded_at:
                    raise SealRefused(f"recorded_at falls at position {leaves.first_position}.")
                self._last_recorded_at = leaves.last_recorded_at
                self._tiler.add(leaves.hashes)
        except FactsUnfit as error:
            raise SealRefused(str(error)) from error

    def _publish(self, note: str) -> None:
        checkpoint = Checkpoint.parse(note)
        now = datetime.now(UTC)
        full, self._tiler.full = self._tiler.full, []
        if self._size_outside < checkpoint.size:
            leaf_tiles = [(index, root) for level, index, _, root in full if level == 0]
            self._outside.append(
                note,
                signed_at=now,
                first_tile=leaf_tiles[0][0] if leaf_tiles else checkpoint.size // TILE_WIDTH,
                tile_roots=[root for _, root in leaf_tiles],
            )
        try:
            with self._connection.cursor() as cursor:
                with cursor.copy(COPY_TILES) as copying:
                    copying.set_types(["int2", "int8", "bytea", "bytea"])
                    for tile in full:
                        copying.write_row(tile)
                cursor.execute(INSERT_CHECKPOINT, (checkpoint.size, checkpoint.root, note, now))
            self._connection.commit()
        except (psycopg.errors.UniqueViolation, psycopg.errors.SerializationFailure) as error:
            raise SealRefused(
                f"The database holds seals already that size {checkpoint.size} adds: another notary seals this journal, or "
                "checkpoints were removed. Let one notary run; restore the newest backup, and run `python -m replay verify`."
            ) from error
        self._published = note

    def _recorded_at(self, position: int) -> datetime:
        try:
            row = self._connection.execute(RECORDED_AT, (position,)).fetchone()
        except psycopg.DataError as error:
            raise SealRefused(f"recorded_at at position {position} is none: {error}.") from error
        if row is None:
            raise SealRefused(f"The fact at position {position} is missing.")
        found: datetime = row[0]
        return found


def _open_tiles(connection: Connection, size: int) -> list[list[Hash]]:
    """The hashes of each level's last tile, which is not full yet."""
    found: list[list[Hash]] = []
    while size:
        index, width = divmod(size, TILE_WIDTH)
        found.append(partial_tile(connection, len(found), index, width) if width else [])
        size = index
    return found


class Alarm:
    """Told once when it begins, and once when it ends."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """Take where to tell it."""
        self._report = report
        self._is_on = False

    def tell(self, *, is_on: bool, begins: str, ends: str) -> None:
        """Tell whether it is on, where that has changed."""
        if is_on != self._is_on:
            self._is_on = is_on
            self._report(begins if is_on else ends)


def run(
    database: Database,
    settings: Settings,
    stop: threading.Event,
    *,
    ready: Callable[[str], None],
    report: Callable[[str], None],
) -> None:
    """Seal until stopped; `ready` learns the verifier key once. A database that is away is tried again, for ever.

    Raises SealRefused, NotaryRunning, KeyFileUnusable.
    """
    folder = NotaryFolder(settings.notary_files)
    with folder.locked():
        away = told = False
        skewed, late = Alarm(report), Alarm(report)
        while not stop.is_set():
            try:
                with database.connect_as_notary() as connection:
                    notary = open_notary(connection, settings, folder)
                    if not told:
                        told = True
                        ready(verifier_key(settings))
                    if away:
                        report(f"The database answers again; {notary.size} facts are sealed.")
                        away = False
                    while not stop.is_set():
                        sealed = notary.seal()
                        skewed.tell(
                            is_on=abs(notary.skew_s) > MAX_SKEW_S,
                            begins=f"ALARM: the database clock is {notary.skew_s:+.3f} s off from this machine's.",
                            ends="The database clock is right again.",
                        )
                        late.tell(
                            is_on=notary.delay_s > MAX_DELAY_S,
                            begins=f"ALARM: a fact was not sealed for {notary.delay_s:.0f} s.",
                            ends="Facts are sealed in time again.",
                        )
                        if sealed < MAX_FACTS:
                            stop.wait(PAUSE_S)
            except psycopg.OperationalError as error:
                if not away:
                    report(f"The database does not answer ({str(error).strip().splitlines()[0]}); it is tried again.")
                    away = True
                stop.wait(RECONNECT_S)


@contextmanager
def sealing(database: Database, settings: Settings) -> Iterator[None]:
    """Seal on a thread of this process meanwhile, for a demonstration; what stops it is said, and the rest goes on."""
    stop = threading.Event()

    def seal() -> None:
        try:
            run(database, settings, stop, ready=lambda _key: None, report=_tell)
        except (SealRefused, NotaryRunning, KeyFileUnusable, OSError) as error:
            _tell(str(error))

    thread = threading.Thread(target=seal, name="ledger-notary", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - its log


def seal_now(database: Database, settings: Settings) -> int:
    """Seal all that is recorded, once; return how many facts are sealed. Raises as `run`, and OperationalError."""
    folder = NotaryFolder(settings.notary_files)
    with folder.locked(), database.connect_as_notary() as connection:
        notary = open_notary(connection, settings, folder)
        while notary.seal():
            pass
        return notary.size


def verifier_key(settings: Settings) -> str:
    """What auditors need to check signatures; the notary has made it at its first start. Raises OSError."""
    return (settings.notary_files / PUBLIC_KEY).read_text().strip()


def require_sealed(database: Database, settings: Settings, *, report: Callable[[str], None] = _tell) -> None:
    """Before the first write: the journal must hold what was published outside the database. Raises JournalRestored.

    Where nothing is outside, `report` learns that nothing could be compared.
    """
    published = CheckpointFolder(settings.checkpoint_files).last()
    with database.connect() as connection:
        if published is not None:
            require_extends(connection, published.checkpoint)
            return
        sealed = latest(connection)
    if sealed is not None:
        report(
            f"WARNING: {settings.checkpoint_files} holds no checkpoint, but {sealed.size} facts are sealed: whether the database "
            "is the newest one was not checked. Set LEDGER_CHECKPOINT_FOLDER to where the notary writes, or to a copy of it."
        )


def open_notary(connection: Connection, settings: Settings, folder: NotaryFolder) -> Notary:
    """The notary of this folder; at its first start it gets a key. Raises SealRefused and KeyFileUnusable."""
    key, outside = folder.key(), CheckpointFolder(settings.checkpoint_files)
    if key is None:
        if latest(connection) is not None:
            raise SealRefused(
                "The database holds checkpoints, and this folder has no key: restore the notary's folder."
            )
        if outside.last() is not None:
            raise SealRefused(
                f"{outside.path} holds checkpoints, and the notary's folder has no key: restore that folder, or set "
                "LEDGER_CHECKPOINT_FOLDER to this ledger's own."
            )
        key = folder.make_key(settings.origin)
    return Notary(connection, key, folder, outside)
