"""How the auditor's command line speaks: its options, and errors as one sentence with an exit code.

0  all that was asked holds, or was done
1  something does not hold; it is printed
2  wrong usage, or a file or folder that cannot be used
3  what was asked for is not recorded, not known or not sealed
4  the database does not answer, refuses, or is not up to date
5  facts or seals are so damaged that the question cannot be answered
6  no key was given that signed anything
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.domain.notes import KeyMalformed, NoteInvalid, VerifierKey
from replay import accesses, explain, sample, sheets
from replay.bundle import ExportImpossible
from replay.comparing import MAX_PROCESSES
from replay.facts import HistoryBroken, TooManyFacts
from replay.hashes import NotSealed, SealsBroken
from replay.published import FolderUnreadable
from replay.table_checks import TablesInvalid
from replay.tables import BookInvalid
from replay.verify import StateMismatch

DOES_NOT_HOLD: Final = 1
WRONG_USAGE: Final = 2
NOT_THERE: Final = 3
DATABASE_UNAVAILABLE: Final = 4
DAMAGED: Final = 5
WRONG_KEY: Final = 6
MAX_KEY_BYTES: Final = 10_000

EXIT_CODES: Final = """
**Exit codes**

- `0` all that was asked holds, or was done
- `1` something does not hold; it is printed
- `2` wrong usage, or a file or folder that cannot be used
- `3` what was asked for is not recorded, not known or not sealed
- `4` the database does not answer, refuses, or is not up to date
- `5` facts or seals are so damaged that the question cannot be answered
- `6` no key was given that signed anything
"""

Url = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="LEDGER_DATABASE_URL",
        metavar="URL",
        help="The ledger's PostgreSQL as `ledger_auditor`.",
    ),
]
Keys = Annotated[
    list[str],
    typer.Option(
        "--key",
        envvar="REPLAY_KEY",
        metavar="KEY",
        help="The notary's verifier key, or a file that holds it; may be given several times. Not from the database.",
    ),
]
Copies = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        envvar="REPLAY_CHECKPOINTS",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="The checkpoints that the notary wrote outside the database.",
    ),
]
Processes = Annotated[
    int, typer.Option(min=1, max=MAX_PROCESSES, help="How many processes share the work, on one snapshot.")
]
PROCESSES: Final = min(2, os.cpu_count() or 1)


def _in_a_folder(path: Path | None) -> Path | None:
    """Said before hours of work, and not after."""
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise typer.BadParameter(f"there is no folder {path.parent} that can be written to.")
    return path


def _new_file(path: Path | None) -> Path | None:
    if path is not None and os.path.lexists(path):
        raise typer.BadParameter(f"{path} is there already; nothing is written over.")
    return _in_a_folder(path)


StateFile = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        dir_okay=False,
        callback=_in_a_folder,
        help="Keep in this file what was verified, and go on from it: what an earlier run read is not read again.",
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], metavar="DATE", help="Facts effective up to this date; default all."),
]
KnownAt = Annotated[
    int | None,
    typer.Option(
        "--known-at", min=0, max=2**53 - 1, metavar="POSITION", help="Facts up to this position; default all."
    ),
]
Size = Annotated[
    int | None,
    typer.Option("--size", min=1, max=2**53 - 1, help="Under the checkpoint of this size; by default the last one."),
]
Output = Annotated[
    Path | None, typer.Option(dir_okay=False, callback=_new_file, help="Write to this file instead; it must not exist.")
]
Subject = Annotated[
    str | None,
    typer.Option(
        help="The name of a person or account exactly as it was asked for; `*` for nobody in particular. A person's other "
        "names are other subjects, and so are the ranges of positions that readers of the feed asked for."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Advance = Callable[[int], None]


def say(line: str) -> None:
    """One line as it is, however long: no markup, no emoji. What is not Unicode, such as a file's name, is escaped."""
    typer.echo(line.encode(errors="backslashreplace"))


def leave(code: int, sentence: str) -> None:
    """Say why, and end with this exit code."""
    # Names that were asked for stand in it: what cannot be printed is escaped.
    printable = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in sentence)
    typer.echo(printable, err=True)
    raise typer.Exit(code)


def read_keys(given: list[str]) -> list[VerifierKey]:
    """The keys as they were given, or as they stand in files, a line each."""
    found = []
    for each in given:
        path = Path(each)
        try:
            if "+" not in each or path.is_file():
                with path.open(encoding="utf-8") as file:
                    lines = file.read(MAX_KEY_BYTES).splitlines()
            else:
                lines = [each]
            found += [VerifierKey.parse(line) for line in lines if line.strip()]
        except KeyMalformed as error:
            leave(WRONG_USAGE, f"{each}: {error}")
        except UnicodeDecodeError:
            leave(WRONG_USAGE, f"{each}: {KeyMalformed.__doc__}")
    if not found:
        leave(WRONG_USAGE, "There is no key in what was given with --key.")
    return found


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar where there is a terminal; it is told how much is done of how much in all."""
    on_terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=on_terminal, transient=True, disable=not on_terminal.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def adding(told: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """For what tells how much more is done, and not how much."""
    done = 0

    def add(more: int, total: int) -> None:
        nonlocal done
        done += more
        told(done, total)

    return add


@contextmanager
def plainly_explained() -> Iterator[None]:
    """Turn errors into one sentence and an exit code; without one an error would end as what does not hold does."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read has seen enough, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (typer.Abort, typer.BadParameter, typer.Exit):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its kind is named
        code, sentence = next(
            (explained for kind, explained in EXPLAINED.items() if isinstance(error, kind)), (DAMAGED, _unforeseen)
        )
        leave(code, sentence(error))


def _itself(error: Any) -> str:
    return " ".join(str(error).split())


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _unforeseen(error: Exception) -> str:
    return (
        f"This could not be answered, because of an error that was not foreseen: {type(error).__name__}: {_itself(error)}. "
        "If `python -m replay verify` and `refold` hold, it is one of this program."
    )


# What an error means to the auditor; of two that are one kind of the other, the more special one first.
EXPLAINED: Final[dict[type[Exception], tuple[int, Callable[[Any], str]]]] = {
    NotSealed: (NOT_THERE, _itself),
    SealsBroken: (DAMAGED, _itself),
    HistoryBroken: (DAMAGED, _itself),
    NoteInvalid: (WRONG_KEY, _itself),
    **dict.fromkeys(
        (
            sheets.PersonUnknown,
            sheets.PositionNotRecorded,
            explain.AccountUnknown,
            accesses.AccessUnknown,
            sample.SampleImpossible,
            ExportImpossible,
            TooManyFacts,
        ),
        (NOT_THERE, _itself),
    ),
    TablesInvalid: (DOES_NOT_HOLD, _itself),
    **dict.fromkeys((FolderUnreadable, StateMismatch, BookInvalid), (WRONG_USAGE, _itself)),
    psycopg.DataError: (
        DAMAGED,
        lambda error: (
            f"The database holds what nobody could have recorded ({_first_line(error)}): run `python -m replay verify` "
            "and `refold`, which say where."
        ),
    ),
    psycopg.errors.UndefinedTable: (
        DATABASE_UNAVAILABLE,
        lambda error: f"The database is not up to date ({_first_line(error)}): have `ledger migrate` run.",
    ),
    psycopg.errors.InsufficientPrivilege: (
        DATABASE_UNAVAILABLE,
        lambda error: f"The database refuses ({_first_line(error)}): connect as ledger_auditor.",
    ),
    psycopg.OperationalError: (
        DATABASE_UNAVAILABLE,
        lambda error: (
            f"The database does not answer: {_first_line(error)}. Check LEDGER_DATABASE_URL or --database-url."
        ),
    ),
    psycopg.ProgrammingError: (
        WRONG_USAGE,
        lambda error: (
            f"The database could not be asked ({_first_line(error)}); an address is like "
            "postgresql://ledger_auditor@localhost/ledger."
        ),
    ),
    UnicodeError: (WRONG_USAGE, lambda error: f"What was given is not UTF-8: {error}."),
    ValueError: (
        DAMAGED,
        lambda error: (
            f"The database holds a value that cannot be read ({_itself(error)}): run `python -m replay verify` and "
            "`refold`, which say where."
        ),
    ),
    OSError: (WRONG_USAGE, lambda error: f"{error.filename}: {error.strerror}." if error.filename else _itself(error)),
}
