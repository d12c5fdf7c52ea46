"""How the command line speaks: one console, progress bars, and errors as one sentence with an exit code.

0  everything was accepted, now or in an earlier run
1  some commands were refused, or what was asked for is not known
2  wrong usage, a wrong setting, or a file that cannot be read; nothing was posted
3  some lines were malformed (refused commands or not); with --strict nothing was posted
4  the database is not there, not up to date, or busy; what was posted stands, and posting again goes on
5  the journal contradicts what was sealed; nothing was written or signed
6  Kafka is not there, or its messages cannot be gone on with; what was recorded stands
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import psycopg
import typer
from pydantic import ValidationError
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.api.tokens import KeyExposed, KeysUnusable
from ledger.application import LedgerBusy, LedgerUnavailable
from ledger.broker import BrokerUnavailable, NotAuthorized, OptionsExposed, OptionsUnusable, TooFewBrokers, TopicMissing
from ledger.cases.building import EditionBuiltMeanwhile, EditionsDiffer, EditionTooEarly
from ledger.cases.editions import LeastFell
from ledger.cases.figures import SettingsUnsafe
from ledger.closing import CloseRefused, ClosingMisspelt, PeriodNotSealed, PeriodStillPosted, TotalsIncomplete
from ledger.contract.exporting import ContractRefused
from ledger.database import DatabaseBehind
from ledger.domain.rules import RuleRefused
from ledger.embedded import EmbeddedServerFailed
from ledger.facts import TooManyFacts
from ledger.files import Advance, size_bytes
from ledger.intake import IntakeHalted, MessagesLost, PartitionCutShort
from ledger.keys import KeyFileUnusable
from ledger.listening import AddressTaken
from ledger.moving import MoveNotDrafted, MoveRefused, PositionMoved, RulesChanged
from ledger.notary import NotaryRunning, SealRefused
from ledger.parsing import FileUnreadable
from ledger.planning.answers import AnswerRefused
from ledger.planning.catalogue import CatalogueInvalid
from ledger.planning.scenarios import ScenariosRefused
from ledger.printing import WIDE
from ledger.projections.cases import CaseQuestionWrong
from ledger.projections.standing import PersonUnknown, PositionNotRecorded, ProjectionBehind
from ledger.projections.statements import AccountUnknown
from ledger.rebuilding import RebuildFailed, RebuildRunning, SlotStillRead
from ledger.seals import JournalRestored, SealsBroken
from ledger.settings import Settings, variable_name
from ledger.signing import SourceKeysExposed, SourceKeysUnusable
from migrations import MigrationError

SOME_REFUSED: Final = 1
WRONG_USAGE: Final = 2
SOME_MALFORMED: Final = 3
DATABASE_UNAVAILABLE: Final = 4
SEALS_CONTRADICTED: Final = 5
BROKER_UNAVAILABLE: Final = 6

EXIT_CODES = """
**Exit codes**

- `0` everything was accepted, now or in an earlier run
- `1` some commands were refused, or what was asked for is not known
- `2` wrong usage, a wrong setting, or a file that cannot be read
- `3` some lines were malformed
- `4` the database is not there, not up to date, or busy
- `5` the journal contradicts what was sealed
- `6` Kafka is not there, or its messages cannot be gone on with
"""


def console() -> Console:
    """Wide enough for a sheet also where the output is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDE)


def print_json(payload: Any) -> None:
    """Print JSON, amounts in fen."""
    typer.echo(to_json(payload, indent=2).decode())


@contextmanager
def reading_files(what: str, paths: list[Path]) -> Iterator[Advance]:
    """A progress bar over the bytes of these files, where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        task = progress.add_task(what, total=size_bytes(paths))
        yield lambda size: progress.advance(task, size)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over so many facts, where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _progress(*columns: Any) -> Progress:
    on_terminal = Console(stderr=True)
    return Progress(*columns, console=on_terminal, transient=True, disable=not on_terminal.is_terminal)


@contextmanager
def plainly_explained() -> Iterator[None]:
    """Turn the errors that a user can do something about into one sentence and an exit code."""
    try:
        yield
    except tuple(EXPLAINED) as error:
        if isinstance(error, psycopg.ProgrammingError) and error.sqlstate not in EXPLAINED_STATES:
            raise  # A statement of ours is wrong, or a table is not as it should be: a bug, and no address.
        if isinstance(error, ValidationError) and error.title != Settings.__name__:
            raise  # Not of the settings, and so a bug.
        code, sentence = next(explained for kind, explained in EXPLAINED.items() if isinstance(error, kind))
        leave(code, sentence(error))


def leave(code: int, sentence: str) -> NoReturn:
    """Say why, and end with this exit code."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _wrong_settings(error: ValidationError) -> str:
    """Which settings are wrong, without their values: addresses hold passwords."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{variable_name(str(each['loc'][0])) if each['loc'] else 'settings'}: {each['msg']}" for each in found
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _refused_by_rule(error: RuleRefused) -> str:
    beside = "; ".join(f"{name} {value}" for name, value in error.detail.items())
    return f"Rule {error.rule} ({error.reason}): {error.sentence}{f' ({beside})' if beside else ''}."


def _itself(error: Any) -> str:
    return str(error)


# What the server says to a role without rights, and what a wrong address lacks because no server was asked.
EXPLAINED_STATES = (psycopg.errors.InsufficientPrivilege.sqlstate, None)

# What an error means to the user; of two that are one kind of the other, the more special one first.
EXPLAINED: dict[type[Exception], tuple[int, Callable[[Any], str]]] = {
    PersonUnknown: (
        SOME_REFUSED,
        lambda error: f"Nobody is known as {error}: give a source identity, a one_id or an account.",
    ),
    RuleRefused: (SOME_REFUSED, _refused_by_rule),
    AnswerRefused: (WRONG_USAGE, lambda error: f"{error.field}: {error.sentence}."),
    ScenariosRefused: (WRONG_USAGE, _itself),
    CatalogueInvalid: (WRONG_USAGE, _itself),
    CaseQuestionWrong: (WRONG_USAGE, _itself),
    EditionTooEarly: (SOME_REFUSED, _itself),
    EditionsDiffer: (SEALS_CONTRADICTED, _itself),
    EditionBuiltMeanwhile: (SOME_REFUSED, _itself),
    LeastFell: (WRONG_USAGE, _itself),
    SettingsUnsafe: (WRONG_USAGE, _itself),
    PositionMoved: (SOME_REFUSED, _itself),
    RulesChanged: (SOME_REFUSED, _itself),
    MoveNotDrafted: (SOME_REFUSED, _itself),
    MoveRefused: (SOME_REFUSED, _itself),
    AccountUnknown: (SOME_REFUSED, lambda error: f"No account {error} is open, or was not at that position."),
    PositionNotRecorded: (
        SOME_REFUSED,
        lambda error: f"The journal ends at position {error.head}; {error.asked} is not recorded yet.",
    ),
    **dict.fromkeys((TooManyFacts, CloseRefused), (SOME_REFUSED, _itself)),
    **dict.fromkeys((JournalRestored, SealRefused, SealsBroken), (SEALS_CONTRADICTED, _itself)),
    **dict.fromkeys(
        (
            AddressTaken,
            ClosingMisspelt,
            ContractRefused,
            FileUnreadable,
            KeyExposed,
            KeyFileUnusable,
            KeysUnusable,
            OptionsExposed,
            OptionsUnusable,
            SourceKeysExposed,
            SourceKeysUnusable,
        ),
        (WRONG_USAGE, _itself),
    ),
    **dict.fromkeys(
        (
            BrokerUnavailable,
            IntakeHalted,
            MessagesLost,
            NotAuthorized,
            PartitionCutShort,
            TooFewBrokers,
            TopicMissing,
        ),
        (BROKER_UNAVAILABLE, _itself),
    ),
    OSError: (WRONG_USAGE, lambda error: f"{error.filename}: {error.strerror}." if error.filename else f"{error}."),
    ValidationError: (WRONG_USAGE, _wrong_settings),
    **dict.fromkeys(
        (
            DatabaseBehind,
            EmbeddedServerFailed,
            LedgerBusy,
            LedgerUnavailable,
            MigrationError,
            NotaryRunning,
            PeriodNotSealed,
            PeriodStillPosted,
            ProjectionBehind,
            RebuildFailed,
            RebuildRunning,
            SlotStillRead,
            TotalsIncomplete,
        ),
        (DATABASE_UNAVAILABLE, _itself),
    ),
    psycopg.errors.InsufficientPrivilege: (
        DATABASE_UNAVAILABLE,
        lambda error: (
            f"The database refuses: {_first_line(error)}. "
            "Migrations need the owner or a superuser in LEDGER_ADMIN_DATABASE_URL."
        ),
    ),
    psycopg.OperationalError: (
        DATABASE_UNAVAILABLE,
        lambda error: (
            f"The database does not answer: {_first_line(error)}. "
            "Check LEDGER_DATABASE_URL, or unset it to use our own."
        ),
    ),
    psycopg.ProgrammingError: (
        WRONG_USAGE,
        lambda _error: (
            "LEDGER_DATABASE_URL or LEDGER_ADMIN_DATABASE_URL is not an address such as "
            "postgresql://ledger_app@localhost/ledger."
        ),
    ),
}
