"""The checkpoints that the notary wrote outside the database, read as the auditor.

A folder with files named by days, `2027-01-31.ndjson`; the notary names none before the newest that is there, so after its clock
was ahead a file holds several days. A line is JSON with `checkpoint` (the signed note), `signed_at`, and the
roots of the tiles that became full since the line before: `first_tile`, `tile_roots` in hex.

A line that is no JSON was torn by a crash; what it should have said stands in the next. It is counted and passed over.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.domain.notes import Checkpoint, NoteInvalid, VerifierKey, open_checkpoint
from ledger.domain.tree import HASH_BYTES, Hash

PATTERN: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].ndjson"
MAX_LINE_BYTES: Final = 1 << 20
MAX_TORN: Final = 1_000


class FolderUnreadable(ValueError):
    """The folder holds no checkpoints, or a line too long to be one; copy it anew from where the notary writes."""


@dataclass
class Outside:
    """What stands outside the database: roots by size, the notes that are no checkpoints of the keys, roots of tiles."""

    roots: dict[int, Hash] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    tile_roots: dict[int, Hash] = field(default_factory=dict)
    torn: int = 0

    @property
    def size(self) -> int:
        """That of the last checkpoint."""
        return max(self.roots, default=0)


def read_outside(folder: Path, keys: Iterable[VerifierKey]) -> Outside:
    """All checkpoints of a folder, their signatures verified. Raises FolderUnreadable and OSError."""
    trusted = list(keys)
    found = Outside()
    files = sorted(folder.glob(PATTERN))
    if not files:
        raise FolderUnreadable(f"{folder}: {FolderUnreadable.__doc__}")
    for file in files:
        with file.open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise FolderUnreadable(f"{file}: {FolderUnreadable.__doc__}")
                _take(found, line, trusted, file.name)
    return found


def _take(found: Outside, line: bytes, trusted: list[VerifierKey], name: str) -> None:
    try:
        fields = json.loads(line)
        note, first, hexes = str(fields["checkpoint"]), int(fields["first_tile"]), list(fields["tile_roots"])
        roots = [bytes.fromhex(each) for each in hexes]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        found.torn += 1
        if found.torn > MAX_TORN:
            raise FolderUnreadable(f"{name}: more than {MAX_TORN} lines are torn. {FolderUnreadable.__doc__}") from None
        return
    try:
        checkpoint: Checkpoint = open_checkpoint(note, trusted)
    except NoteInvalid as error:
        found.contradictions.append(f"{name}: a checkpoint outside the database is not signed by these keys: {error}")
        return
    if found.roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
        found.contradictions.append(f"{name}: two signed checkpoints of size {checkpoint.size} have different roots")
    for index, root in enumerate(roots, first):
        # What was said first stays: a later line cannot take it back.
        if len(root) != HASH_BYTES or found.tile_roots.setdefault(index, root) != root:
            found.contradictions.append(f"{name}: two lines have different roots of tile {index}")
