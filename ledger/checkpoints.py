"""The checkpoints outside the database: a folder of append-only files, a line for each checkpoint.

A file holds a day in UTC by the notary's clock, `2027-01-31.ndjson`. A line is JSON: `checkpoint` (the signed note), `signed_at`,
and the roots of the tiles that became full since the line before, `first_tile` and `tile_roots` in hex: so that whoever
rewrites everything inside the database can be told not only that, but where.

1. A line is written whole and flushed to the disk, or is no line: what a crash tore is passed over, and never changed.
2. The newest line stands in the file with the latest name: a clock that was once ahead keeps its file in use until then.
3. Nothing is ever overwritten. Let the operating system see to it (`chattr +a`), or copy the folder to where nobody can.
"""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ledger.domain.notes import Checkpoint, NoteInvalid
from ledger.domain.tree import Hash
from ledger.keys import flush_folder

PATTERN = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].ndjson"
# A thousand roots of tiles, 68 characters each, and a note have room; what is longer is no line.
MAX_LINE_BYTES = 1 << 20


class Published(NamedTuple):
    """A checkpoint as the folder holds it."""

    checkpoint: Checkpoint
    note: str
    first_tile: int
    tile_roots: list[Hash]


class CheckpointFolder:
    """Appends and reads. One notary writes; many may read."""

    def __init__(self, path: Path) -> None:
        """Nothing is made or read yet."""
        self.path = path

    def append(self, note: str, *, signed_at: datetime, first_tile: int, tile_roots: Sequence[Hash]) -> None:
        """Write one line, and return when it is on the disk."""
        line = json.dumps(
            {
                "checkpoint": note,
                "signed_at": signed_at.isoformat(),
                "first_tile": first_tile,
                "tile_roots": [root.hex() for root in tile_roots],
            },
            ensure_ascii=False,
        )
        self.path.mkdir(parents=True, exist_ok=True)
        day = f"{signed_at:%Y-%m-%d}.ndjson"
        file = self.path / max((each.name for each in self.path.glob(PATTERN)), default=day)
        if file.name < day:
            file = self.path / day
        is_new = not file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            content = ("\n" if torn else "") + line + "\n"
            with os.fdopen(descriptor, "ab", closefd=False) as appending:
                appending.write(content.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            flush_folder(self.path)

    def last(self) -> Published | None:
        """The checkpoint written last, None where there is none."""
        for file in sorted(self.path.glob(PATTERN), reverse=True):
            for line in _lines_from_end(file):
                found = _published(line)
                if found is not None:
                    return found
        return None


def _lines_from_end(file: Path) -> Iterator[bytes]:
    """The lines of a file, the last first, of which it reads no more than is asked for."""
    with file.open("rb") as reading:
        end = reading.seek(0, os.SEEK_END)
        rest = b""
        while end:
            start = max(0, end - MAX_LINE_BYTES)
            reading.seek(start)
            rest = reading.read(end - start) + rest
            end = start
            first, *lines = rest.split(b"\n")
            yield from reversed(lines)
            # Cut off, it is no JSON: what is too long to be a line is not gathered.
            rest = first[:MAX_LINE_BYTES]
        yield rest


def _published(line: bytes) -> Published | None:
    """What a line says, None where it was torn or is none of the notary's."""
    try:
        fields = json.loads(line)
        note = str(fields["checkpoint"])
        note.encode()  # JSON can spell what is no text.
        roots = [bytes.fromhex(root) for root in fields["tile_roots"]]
        return Published(Checkpoint.parse(note), note, int(fields["first_tile"]), roots)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, NoteInvalid):
        return None
