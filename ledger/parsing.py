"""The lines of a file become commands: NDJSON of any commands, or a CSV list of contributions.

1. A line is a command or malformed; a malformed line has its number and a reason, and the lines around it do not care.
2. Memory is bounded by the batch: a line holds at most 256 KiB, a batch at most 1,000 lines and about 4 MiB.
3. What a line means depends on the file alone, so a file sent twice gives the same commands with the same ids.
4. Yuan become fen exactly, without a float.
5. A reason never quotes the line's values: they may be personal.
6. A file does not close the books: who writes one cannot know the trial balance that a closing pins, and no writer checks it.
"""

import csv
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic_core import to_json

from ledger.domain.commands import ONE, ClosePeriod, Command
from ledger.domain.reading import read_command, reason
from ledger.domain.rules import PRODUCTS

MAX_LINE_BYTES = 256 * 1024
BATCH_LINES = 1_000
BATCH_BYTES = 4 * 2**20

JSON_SUFFIXES = (".ndjson", ".jsonl")
CSV_SUFFIX = ".csv"
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

COLUMNS = ("account", "period", "effective_on", "voucher", "tax_treatment")
DECIDED_AT = "decided_at"
PARTS = frozenset(part for product in PRODUCTS.values() for part in product.contribution_parts)
UNITS = ("_fen", "_yuan")

HEADING = re.compile(r"#\s*(\S.*)")
SOURCE = re.compile(r"[a-z][a-z0-9-]{0,31}")
VOUCHER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FEN = re.compile(r"-?[0-9]{1,15}")
YUAN = re.compile(r"(-?)([0-9]{1,13})(?:\.([0-9]{1,2}))?")


class FileUnreadable(ValueError):
    """The file as a whole cannot be read; nothing of it was posted."""


class Malformed(NamedTuple):
    """A line that is no command, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The next lines of a file: the commands with their line numbers, and the malformed lines among them."""

    lines: list[int]
    commands: list[Command]
    malformed: list[Malformed]
    size_bytes: int


Numbered = list[tuple[int, bytes]]
Parse = Callable[[bytes], Command]


class _Wrong(ValueError):
    """A line is malformed, for the reason given."""


def read_batches(path: Path) -> Generator[Batch]:
    """Read a file to its end, a batch at a time. Raises FileUnreadable."""
    suffix = path.suffix.lower()
    if suffix not in (*JSON_SUFFIXES, CSV_SUFFIX):
        raise FileUnreadable(
            f"{path}: the name must end in {', '.join(JSON_SUFFIXES)} (commands) or {CSV_SUFFIX} (contributions)"
        )
    try:
        with path.open("rb") as file:
            _skip_byte_order_mark(path, file)
            lines = _Lines(file)
            parse = _command_of_json if suffix in JSON_SUFFIXES else _contribution_list(path, lines).command_of
            while lines.more:
                yield lines.batch(parse)
    except OSError as error:
        raise FileUnreadable(f"{path}: {error.strerror}") from error


def _skip_byte_order_mark(path: Path, file: BinaryIO) -> None:
    start = file.read(len(UTF8_BOM))
    if start.startswith(UTF16_BOMS):
        raise FileUnreadable(f"{path}: the file is UTF-16; save it as UTF-8")
    if start != UTF8_BOM:
        file.seek(0)


class _Lines:
    """The lines of a file with their numbers from 1; no more of a line is held than a line may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self.more = True

    def next(self) -> tuple[int, bytes | None, int]:
        """Number, content without its end (None where it is too long) and size, which is 0 at the end of the file."""
        line = self._file.readline(MAX_LINE_BYTES + 1)
        self._number += 1
        size = len(line)
        if size <= MAX_LINE_BYTES:
            self.more = size > 0
            return self._number, line.rstrip(b"\r\n"), size
        while not line.endswith(b"\n") and (line := self._file.readline(MAX_LINE_BYTES)):
            size += len(line)
        return self._number, None, size

    def batch(self, parse: Parse) -> Batch:
        """The next lines that are not blank, parsed; the last batch of a file may be empty."""
        batch_lines: list[int] = []
        commands: list[Command] = []
        malformed: list[Malformed] = []
        total = 0
        while self.more and len(commands) + len(malformed) < BATCH_LINES and total < BATCH_BYTES:
            number, line, size = self.next()
            total += size
            if line is None:
                malformed.append(Malformed(number, f"the line is longer than {MAX_LINE_BYTES} bytes"))
                continue
            if not line or line.isspace():
                continue
            try:
                command = parse(line)
            except ValueError as error:
                malformed.append(Malformed(number, reason(error, line)))
            else:
                commands.append(command)
                batch_lines.append(number)
        return Batch(batch_lines, commands, malformed, total)


def _command_of_json(line: bytes) -> Command:
    command = read_command(line)
    if isinstance(command, ClosePeriod):
        raise _Wrong("a file cannot close the books; use `ledger close-period`, which computes the trial balance")
    return command


def _contribution_list(path: Path, lines: _Lines) -> "_ContributionList":
    """Read the two lines that open a CSV list. Raises FileUnreadable."""
    opening: list[str] = []
    for number in (1, 2):
        _, line, size = lines.next()
        if line is None or size == 0:
            raise FileUnreadable(f"{path}: line {number} is missing or too long; {_ContributionList.OPENING}")
        try:
            opening.append(line.decode("utf-8"))
        except UnicodeDecodeError as wrong:
            raise FileUnreadable(f"{path}: line {number}: {reason(wrong, line)}") from wrong
    try:
        return _ContributionList(*opening)
    except _Wrong as wrong:
        raise FileUnreadable(f"{path}: {wrong}") from wrong


class _ContributionList:
    """How the rows of one CSV list become PostContribution commands."""

    OPENING = "a list opens with `# source=... [actor=...] [decided_at=...]` and then the names of the columns"

    def __init__(self, heading: str, header: str) -> None:
        """Take the first two lines. Raises _Wrong."""
        given = _heading(heading)
        self._source = given["source"]
        self._actor = given.get("actor", f"system:{self._source}")
        self._decided_at = given.get(DECIDED_AT)
        self._columns = [column.strip() for column in _cells(header)]
        known = {*COLUMNS, DECIDED_AT, *(part + unit for part in PARTS for unit in UNITS)}
        unknown = [column for column in self._columns if column not in known]
        if unknown:
            raise _Wrong(f"no such column: {', '.join(unknown)[:80]}; known are {', '.join(sorted(known))}")
        missing = [column for column in COLUMNS if column not in self._columns]
        if DECIDED_AT not in self._columns and self._decided_at is None:
            missing.append(f"{DECIDED_AT} (a column, or once in the first line)")
        if missing:
            raise _Wrong(f"missing column: {', '.join(missing)}")
        self._amounts = [
            (index, *_part_and_reader(column)) for index, column in enumerate(self._columns) if column.endswith(UNITS)
        ]
        parts = [part for _, part, _ in self._amounts]
        if not parts or len(set(parts)) < len(parts) or len(set(self._columns)) < len(self._columns):
            raise _Wrong("the list needs at least one column of amounts, one for each part, and no column twice")
        self._at = {column: self._columns.index(column) for column in (*COLUMNS, DECIDED_AT) if column in self._columns}

    def command_of(self, line: bytes) -> Command:
        """One row. Raises _Wrong or ValidationError."""
        cells = _cells(line.decode("utf-8"))
        if len(cells) != len(self._columns):
            raise _Wrong(f"{len(cells)} cells, and the list has {len(self._columns)} columns")
        at = self._at
        voucher, effective_on = cells[at["voucher"]], cells[at["effective_on"]]
        if not VOUCHER.fullmatch(voucher):
            raise _Wrong("voucher: a voucher number has up to 64 letters, digits, dots, dashes and underscores")
        if not DAY.fullmatch(effective_on):
            raise _Wrong("effective_on: a date is written YYYY-MM-DD")
        decided_at = (cells[at[DECIDED_AT]] if DECIDED_AT in at else "") or self._decided_at
        if not decided_at:
            raise _Wrong("decided_at: the cell is empty, and the first line of the file gives none")
        row = to_json(
            {
                "type": "PostContribution",
                "account": cells[at["account"]],
                "actor": self._actor,
                "amounts_fen": {part: read(cells[index], part) for index, part, read in self._amounts if cells[index]},
                "command_id": f"{self._source}/{voucher}",
                "decided_at": decided_at,
                "effective_on": effective_on,
                "period": cells[at["period"]],
                "tax_treatment": cells[at["tax_treatment"]],
            }
        )
        command: Command = ONE.validate_json(row)
        return command


def _heading(line: str) -> dict[str, str]:
    found = HEADING.fullmatch(line.strip())
    pairs = [pair.partition("=") for pair in found[1].split()] if found else []
    given = {name: value for name, _, value in pairs}
    if not given or given.keys() - {"source", "actor", DECIDED_AT} or not SOURCE.fullmatch(given.get("source", "")):
        raise _Wrong(f"line 1 names no source system: {_ContributionList.OPENING}")
    return given


def _cells(line: str) -> list[str]:
    """The cells of one line; a quoted cell cannot go on in the next line."""
    if '"' not in line:
        return line.split(",")  # Nearly every line, at a fraction of the cost.
    try:
        rows = list(csv.reader([line], strict=True))
    except csv.Error as error:
        raise _Wrong(f"not CSV: {error}") from error
    return rows[0] if rows else []


def _part_and_reader(column: str) -> tuple[str, Callable[[str, str], int]]:
    part, _, unit = column.rpartition("_")
    return part, _fen_of_yuan if unit == "yuan" else _fen


def _fen(cell: str, part: str) -> int:
    if not FEN.fullmatch(cell):
        raise _Wrong(f"{part}_fen: an amount in fen is a whole number without separators, such as 120000")
    return int(cell)


def _fen_of_yuan(cell: str, part: str) -> int:
    found = YUAN.fullmatch(cell)
    if found is None:
        raise _Wrong(f"{part}_yuan: an amount in yuan has up to two decimals and no separators, such as 1200.50")
    sign, yuan, decimals = found.groups()
    fen = int(yuan) * 100 + int((decimals or "").ljust(2, "0"))
    return -fen if sign else fen
