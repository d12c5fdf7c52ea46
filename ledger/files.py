"""Post files of account changes: NDJSON commands and CSV contribution lists.

1. A file may be posted again at any time: its commands keep their ids, so nothing is recorded twice.
2. A malformed line stops nothing but itself, unless posting is strict: then either all lines of all files are
   well-formed, or nothing is posted.
3. What was not accepted stands beside the file: `<file>.refusals.ndjson` and `<file>.malformed.ndjson`, those of an
   earlier run replaced, and absent when there is nothing to say.
4. Memory does not grow with the file.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic_core import to_json

from ledger.application import Outcome, Refused
from ledger.domain.commands import Command
from ledger.parsing import Batch, FileUnreadable, Malformed, read_batches

REFUSALS = ".refusals.ndjson"
MALFORMED = ".malformed.ndjson"
REPORTS = (REFUSALS, MALFORMED)

Post = Callable[[Sequence[Command]], Sequence[Outcome]]
Advance = Callable[[int], object]


@dataclass
class FileReport:
    """What came of one file, in numbers of its commands; `facts` counts what this run recorded."""

    path: Path
    accepted: int = 0
    repeated: int = 0
    facts: int = 0
    malformed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def commands(self) -> int:
        """Every well-formed line."""
        return self.accepted + self.repeated + self.refused.total()

    def as_dict(self) -> dict[str, object]:
        """The same as plain values."""
        return {
            "path": str(self.path),
            "accepted": self.accepted,
            "repeated": self.repeated,
            "facts": self.facts,
            "refused": dict(self.refused),
            "malformed": self.malformed,
            "seconds": round(self.seconds, 3),
            "written": [str(path) for path in self.written()],
        }

    def written(self) -> list[Path]:
        """The reports that stand beside the file now."""
        found = {REFUSALS: self.refused.total(), MALFORMED: self.malformed}
        return [_report_of(self.path, suffix) for suffix, lines in found.items() if lines]


def is_report(path: Path) -> bool:
    """Whether this is what an earlier run wrote beside a file."""
    return path.name.endswith(REPORTS)


def size_bytes(paths: Sequence[Path]) -> int:
    """How much there is to read."""
    return sum(path.stat().st_size for path in paths)


def check_files(paths: Sequence[Path], *, advance: Advance) -> list[FileReport]:
    """Parse all files and post nothing; malformed lines are counted and written beside their files."""
    reports = []
    for path in paths:
        report = FileReport(path)
        with _beside(path, MALFORMED) as malformed:
            for batch in read_batches(path):
                _write_malformed(malformed, batch.malformed)
                report.malformed += len(batch.malformed)
                advance(batch.size_bytes)
        reports.append(report)
    return reports


def check_openings(paths: Sequence[Path]) -> None:
    """Open every file and read its first lines, so that no file is posted where another one cannot be read."""
    for path in paths:
        with closing(read_batches(path)) as batches:
            next(batches, None)


def post_file(post: Post, path: Path, *, advance: Advance) -> FileReport:
    """Post one file in batches. Raises FileUnreadable, and what posting raises; posting the file again then goes on."""
    report = FileReport(path)
    started = time.monotonic()
    with ExitStack() as stack:
        refusals = stack.enter_context(_beside(path, REFUSALS))
        malformed = stack.enter_context(_beside(path, MALFORMED))
        for batch in stack.enter_context(closing(read_batches(path))):
            _count(report, refusals, batch, post(batch.commands))
            _write_malformed(malformed, batch.malformed)
            report.malformed += len(batch.malformed)
            advance(batch.size_bytes)
    report.seconds = time.monotonic() - started
    return report


def _count(report: FileReport, refusals: "_Report", batch: Batch, outcomes: Sequence[Outcome]) -> None:
    for line, outcome in zip(batch.lines, outcomes, strict=True):
        if isinstance(outcome, Refused):
            report.refused[outcome.code] += 1
            refusals.write(
                {
                    "line": line,
                    "command_id": outcome.command_id,
                    "code": outcome.code,
                    "sentence": outcome.sentence,
                    "detail": outcome.detail,
                }
            )
        elif outcome.repeated:
            report.repeated += 1
        else:
            report.accepted += 1
            if outcome.first_position is not None and outcome.last_position is not None:
                report.facts += outcome.last_position - outcome.first_position + 1


def _write_malformed(report: "_Report", found: Sequence[Malformed]) -> None:
    for line, reason in found:
        report.write({"line": line, "reason": reason})


class _Report:
    """A report beside a file, one JSON object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: dict[str, object]) -> None:
        self._file.write(to_json(line) + b"\n")


def _report_of(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _beside(path: Path, suffix: str) -> Iterator[_Report]:
    """Open the report before anything is posted, so that it can be written; an empty one is taken away again."""
    report = _report_of(path, suffix)
    try:
        file = report.open("wb")
    except OSError as error:
        raise FileUnreadable(f"{report}: the report cannot be written: {error.strerror}") from error
    try:
        with file:
            yield _Report(file)
    finally:
        if report.stat().st_size == 0:
            report.unlink()
