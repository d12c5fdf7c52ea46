"""Export facts with their proofs as one zip, which `check_bundle.py` checks offline.

1. The same ledger, question, checkpoint and keys give the same bytes, on any machine: nothing is compressed, as compressors
   differ, every file has the same date, and the order is fixed: texts, keys, checkpoints, facts, tiles, proof, manifest.
2. What is exported has passed `check_bundle.py`: facts or seals that do not fit end the export, and leave no file behind.
3. Facts are read and written a few thousand at a time, whatever the ledger's size.
4. A person is all identities that are one with hers by the last fact that links or parts them, and their accounts. Whoever
   was falsely linked with her and is parted again is not of her.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.resources import files
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.events import (
    AccountOpened,
    Fact,
    FactUnreadable,
    IdentitiesLinked,
    IdentitiesMerged,
    IdentitiesUnmerged,
    SourceIdentityRegistered,
    decode,
)
from ledger.domain.identifiers import ONE_ID
from ledger.domain.notes import VerifierKey, open_checkpoint
from ledger.domain.tree import HASH_BYTES, TILE_WIDTH, full_tiles, subtrees
from replay import check_bundle
from replay.hashes import Hashes, NotSealed, Sealed, SealsBroken, read_chosen, read_leaves, sealed
from replay.sheets import NAME
from replay.unfinished import unfinished_file

Connection = psycopg.Connection[TupleRow]

STORED_ON: Final = (1980, 1, 1, 0, 0, 0)
UNIX: Final = 3
READABLE: Final = 0o100644 << 16
MAX_FILES: Final = 65_535
MAX_FILE_BYTES: Final = 256 << 20
MAX_PERSON_FACTS: Final = 100_000
LINKING: Final = ["IdentitiesLinked", "IdentitiesMerged", "IdentitiesUnmerged"]

READ_TILES = b"SELECT hashes FROM tile WHERE level = %s AND index >= %s AND index < %s ORDER BY index"
READ_EARLIER = b"SELECT size, note FROM checkpoint WHERE size > %s AND size < %s ORDER BY size LIMIT %s"
READ_MENTIONS = b"""
SELECT event.position, event.type, event.data
FROM event_tag
JOIN event USING (position)
WHERE event_tag.tag = %s AND event_tag.position <= %s AND event.type = ANY (%s)
ORDER BY event_tag.position DESC
LIMIT %s
"""
# Quota counters are named after the identity, a slash and the rest; `0` comes right after the slash. Two index scans.
READ_POSITIONS = b"""
SELECT position
FROM event_tag
WHERE tag = ANY (%(tags)s) AND position <= %(size)s
UNION
SELECT event_tag.position
FROM unnest(%(sids)s::text[]) AS hers (sid)
JOIN event_tag ON event_tag.tag >= 'quota:' || hers.sid || '/' AND event_tag.tag < 'quota:' || hers.sid || '0'
WHERE event_tag.position <= %(size)s
ORDER BY position
LIMIT %(limit)s
"""


class Whole(NamedTuple):
    """All facts under the checkpoint."""


class Range(NamedTuple):
    """All facts from one position to another."""

    first: int
    last: int


class Person(NamedTuple):
    """All facts that mention a person, who is named by one of her identities, one_ids or accounts; see `members_of`."""

    name: str


Asked = Whole | Range | Person


class Exported(NamedTuple):
    """What was written: how many facts under which checkpoint, and the SHA-256 of the file, in hexadecimal digits."""

    facts: int
    size: int
    sha256: str


class Members(NamedTuple):
    """The identities that are one person, and the accounts that were opened for them."""

    identities: list[str]
    accounts: list[str]


class ExportImpossible(ValueError):
    """What was asked for cannot be exported."""


def members_of(connection: Connection, name: str, *, size: int) -> Members:
    """Whose identity, one_id or account this is, by the facts up to a size. Raises ExportImpossible and SealsBroken."""
    if not NAME.fullmatch(name):
        raise ExportImpossible(f"{name} is no name of an identity, one_id or account.")
    sid = name
    if ":" not in name:
        kind, fact_type = (
            ("one_id", "SourceIdentityRegistered") if ONE_ID.fullmatch(name) else ("account", "AccountOpened")
        )
        named = [
            fact.sid
            for fact in _mentions(connection, f"{kind}:{name}", size, [fact_type])
            if isinstance(fact, SourceIdentityRegistered) or (isinstance(fact, AccountOpened) and fact.account == name)
        ]
        sid = named[-1] if named else name
    if not _mentions(connection, f"identity:{sid}", size, ["SourceIdentityRegistered"]):
        raise ExportImpossible(f"No sealed fact up to position {size} knows {name} as an identity, one_id or account.")
    identities = [sid]
    for fact in _mentions(connection, f"identity:{sid}", size, LINKING, limit=1):
        assert isinstance(fact, IdentitiesLinked | IdentitiesMerged | IdentitiesUnmerged)
        parts = fact.target if isinstance(fact, IdentitiesUnmerged) else fact.after
        identities = sorted(next((part for part in parts if sid in part), identities))
    opened = [
        fact.account
        for each in identities
        for fact in _mentions(connection, f"identity:{each}", size, ["AccountOpened"])
        if isinstance(fact, AccountOpened)
    ]
    return Members(identities, sorted(opened))


def _mentions(
    connection: Connection, tag: str, size: int, types: list[str], *, limit: int = MAX_PERSON_FACTS
) -> list[Fact]:
    """The facts of these types that mention an entity, the last one first. Raises SealsBroken."""
    rows = connection.execute(READ_MENTIONS, (tag, size, types, limit)).fetchall()
    found = []
    for position, type_name, data in rows:
        try:
            found.append(decode(type_name, data))
        except FactUnreadable as error:
            raise SealsBroken(
                f"The fact at position {position}, about {tag}, cannot be read ({error}). {SealsBroken.__doc__}"
            ) from error
    return found


def export(  # noqa: PLR0913 - what is asked is passed, and nothing is defaulted but the checkpoint
    connection: Connection,
    path: Path,
    asked: Asked,
    *,
    keys: Sequence[VerifierKey],
    size: int | None = None,
    progress: Callable[[int], Any] = lambda _facts: None,
) -> Exported:
    """Write the bundle to a new file, proven under the checkpoint of a size, by default the last.

    `keys` are those that sign the checkpoints, from where the auditor has them. Raises NotSealed, SealsBroken,
    ExportImpossible, NoteInvalid, and FileExistsError.
    """
    checkpoint = sealed(connection, size=size)
    open_checkpoint(checkpoint.note, keys)
    with unfinished_file(path) as unfinished:
        with ZipFile(unfinished, "x", ZIP_STORED) as archive:
            facts = _Writer(connection, archive, checkpoint, progress).write(asked, keys)
        digest = _proven(unfinished, keys)
    return Exported(facts, checkpoint.size, digest)


def _proven(path: Path, keys: Sequence[VerifierKey]) -> str:
    """The SHA-256 of a file that has passed the check. Raises SealsBroken."""
    with path.open("rb") as file:
        zipped = mmap(file.fileno(), 0, access=ACCESS_READ)
    try:
        check_bundle.check(zipped, [str(key) for key in keys])
    except (LookupError, TypeError, ValueError) as error:
        raise SealsBroken(f"The bundle would not hold: {error} {SealsBroken.__doc__}") from error
    return sha256(zipped).hexdigest()


class _Writer:
    def __init__(
        self, connection: Connection, archive: ZipFile, checkpoint: Sealed, progress: Callable[[int], Any]
    ) -> None:
        self._connection = connection
        self._archive = archive
        self._checkpoint = checkpoint
        self._progress = progress
        self._files: dict[str, dict[str, Any]] = {}

    def write(self, asked: Asked, keys: Sequence[VerifierKey]) -> int:
        """Every file of the bundle, the manifest last. Returns the number of facts."""
        texts = files("replay")
        self._add("README.txt", texts.joinpath("bundle_readme.txt").read_bytes())
        self._add("policy.txt", texts.joinpath("bundle_policy.txt").read_bytes())
        self._add(check_bundle.CHECKER, Path(check_bundle.__file__).read_bytes())
        self._add(check_bundle.KEYS, "".join(f"{key}\n" for key in sorted(map(str, keys))).encode())
        self._add(check_bundle.LAST, self._checkpoint.note.encode())
        size, earlier = self._checkpoint.size, 0
        match asked:
            case Whole():
                question: dict[str, Any] = {"kind": "whole"}
                earlier = self._earlier_checkpoints()
                runs = [(1, size)]
                self._stretch(1, size)
                self._tiles()
            case Range(first, last):
                if not 0 < first <= last <= size:
                    raise NotSealed(f"Positions {first} to {last} are not all under size {size}. {NotSealed.__doc__}")
                question = {"kind": "range", "first": first, "last": last}
                runs = [(first, last)]
                self._stretch(first, last)
            case Person(name):
                members = members_of(self._connection, name, size=size)
                question = {"kind": "person"} | members._asdict()
                positions = self._person(members)
                runs = [(position, position) for position in positions]
        self._proof(runs)
        self._add(check_bundle.MANIFEST, check_bundle.manifest_of(question, earlier, self._files))
        return sum(last - first + 1 for first, last in runs)

    def _add(self, name: str, raw: bytes) -> None:
        if len(raw) > MAX_FILE_BYTES or len(self._files) >= MAX_FILES:
            raise ExportImpossible("The bundle would be larger than a bundle may be. Export it in several ranges.")
        info = ZipInfo(name, STORED_ON)
        info.create_system, info.external_attr = UNIX, READABLE
        self._archive.writestr(info, raw, ZIP_STORED)
        self._files[name] = {"sha256": sha256(raw).hexdigest(), "size": len(raw)}

    def _add_facts(self, number: int, texts: Sequence[bytes], datas: Sequence[bytes]) -> None:
        self._add(f"entries/{number:06d}.bin", _framed(texts, 2))
        self._add(f"data/{number:06d}.bin", _framed(datas, 4))
        self._progress(len(texts))

    def _stretch(self, first: int, last: int) -> None:
        for number, start in enumerate(range(first - 1, last, check_bundle.FACTS_A_FILE)):
            until = min(start + check_bundle.FACTS_A_FILE, last)
            leaves = read_leaves(self._connection, after=start, until=until, keep=True)
            self._add_facts(number, leaves.texts, leaves.datas)

    def _proof(self, runs: Sequence[tuple[int, int]]) -> None:
        """The hashes of the whole subtrees over whatever is not in the runs of positions."""
        ends = [0, *(last for _, last in runs)]
        starts = [*(first - 1 for first, _ in runs), self._checkpoint.size]
        hashes, found, number, most = Hashes(self._connection), bytearray(), 0, check_bundle.HASHES_A_FILE * HASH_BYTES
        for start, end in zip(ends, starts, strict=True):
            beside = subtrees(start, end)
            hashes.load(beside)
            found += b"".join(map(hashes, beside))
            while len(found) >= most:
                self._add(f"proof/{number:06d}.bin", bytes(found[:most]))
                del found[:most]
                number += 1
        if found:
            self._add(f"proof/{number:06d}.bin", bytes(found))

    def _tiles(self) -> None:
        tiles_a_file = check_bundle.HASHES_A_FILE // TILE_WIDTH
        for level, count in full_tiles(self._checkpoint.size):
            for number, start in enumerate(range(0, count, tiles_a_file)):
                end = min(start + tiles_a_file, count)
                rows = self._connection.execute(READ_TILES, (level, start, end), prepare=True, binary=True)
                self._add(f"tiles/{level}/{number:06d}.bin", b"".join(hashes for (hashes,) in rows))

    def _earlier_checkpoints(self) -> int:
        """Writes all that the notary signed before, and returns how many."""
        earlier, after, number = 0, 0, 0
        while True:
            asked = (after, self._checkpoint.size, check_bundle.NOTES_A_FILE)
            rows = self._connection.execute(READ_EARLIER, asked, prepare=True).fetchall()
            if not rows:
                return earlier
            self._add(f"checkpoints/earlier/{number:06d}.bin", _framed([note.encode() for _, note in rows], 4))
            earlier, number, after = earlier + len(rows), number + 1, rows[-1][0]

    def _person(self, members: Members) -> list[int]:
        """Her facts; returns their positions."""
        tags = [f"identity:{sid}" for sid in members.identities]
        tags += [f"account:{account}" for account in members.accounts]
        parameters = {
            "limit": MAX_PERSON_FACTS + 1,
            "sids": members.identities,
            "size": self._checkpoint.size,
            "tags": tags,
        }
        positions = [position for (position,) in self._connection.execute(READ_POSITIONS, parameters)]
        if len(positions) > MAX_PERSON_FACTS:
            raise ExportImpossible(f"This person has more than {MAX_PERSON_FACTS} facts. Export them as ranges.")
        for number, start in enumerate(range(0, len(positions), check_bundle.FACTS_A_FILE)):
            found = read_chosen(self._connection, positions[start : start + check_bundle.FACTS_A_FILE])
            self._add_facts(number, [leaf.text for leaf in found], [leaf.data for leaf in found])
        return positions


def _framed(pieces: Sequence[bytes], width: int) -> bytes:
    """Each piece after its length in so many bytes, the highest first."""
    return b"".join(part for piece in pieces for part in (len(piece).to_bytes(width, "big"), piece))
