"""The command line, and the only place where the parts of the ledger are wired together.

Exit codes, of every command:

0  everything was accepted, now or in an earlier run
1  some commands were refused, or the person asked for is not known
2  wrong usage, a wrong setting, or a file that cannot be read; nothing was posted
3  some lines were malformed (refused commands or not); with --strict nothing was posted
4  the database is not there, not up to date, or busy; what was posted stands, and posting again goes on
"""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import psycopg
import typer
from pydantic import ValidationError
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ledger import demo as sample
from ledger.application import Ledger, LedgerBusy, LedgerUnavailable, Receipt
from ledger.database import Database, DatabaseBehind, migrate_database, open_database
from ledger.domain.commands import ONE
from ledger.domain.events import LimitBreachRecorded, decode
from ledger.embedded import EmbeddedServerFailed
from ledger.files import Advance, FileReport, check_files, check_openings, is_report, post_file, size_bytes
from ledger.journal import Journal
from ledger.parsing import FileUnreadable
from ledger.printing import WIDE, files_table, refusals_table, sheet_table, yuan
from ledger.projections.balance_sheet import PersonUnknown, SheetRead, read_balance_sheet
from ledger.settings import Settings, variable_name
from migrations import MigrationError

SOME_REFUSED: Final = 1
WRONG_USAGE: Final = 2
SOME_MALFORMED: Final = 3
DATABASE_UNAVAILABLE: Final = 4

EXIT_CODES = """
**Exit codes**

- `0` everything was accepted, now or in an earlier run
- `1` some commands were refused, or the person is not known
- `2` wrong usage, a wrong setting, or a file that cannot be read
- `3` some lines were malformed
- `4` the database is not there, not up to date, or busy
"""

SETTINGS = f"""
**Settings** are environment variables: `LEDGER_DATABASE_URL` names your PostgreSQL; without it one is started in
`LEDGER_DATA_FOLDER` (`{Settings.model_fields["data_folder"].default}`). The README lists all of them.
"""

app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog=SETTINGS + EXIT_CODES,
)


@app.callback()
def main() -> None:
    """One ledger of facts about every pension account of a person, and one balance sheet over all of them."""
    # A batch writer makes no cycles but many objects: the collector would walk all of them again and again.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@app.command(epilog=EXIT_CODES)
def demo(
    people: Annotated[
        int, typer.Option(min=3, max=sample.MAX_PEOPLE, help="How many persons the five source systems know.")
    ] = 1_000,
    months: Annotated[
        int, typer.Option(min=1, max=sample.MAX_MONTHS, help="How many months of contributions, from January 2025.")
    ] = 12,
    *,
    once: Annotated[  # noqa: ARG001 - accepted already, so that scripts written today end tomorrow too
        bool, typer.Option("--once", help="End after printing. As long as the demo serves nothing, it always does.")
    ] = False,
) -> None:
    """Write a sample of five source systems, post it, join identities and print one person's sheet.

    The sample lies in the folder `demo` of the data folder and is the same every time, so running the demo again
    posts nothing twice. It posts only into a ledger that is empty or holds the sample: facts cannot be removed.

    Example: `ledger demo --people 200 --months 24`
    """
    console = _console()
    with _plainly_explained():
        settings = Settings()
        written = sample.write_sample(settings.data_folder / "demo", people=people, months=months)
        with open_database(settings) as database:
            _require_sample_or_empty(database, written)
            ledger = Ledger(database)
            _tell_the_story(console, ledger, database, written)


def _require_sample_or_empty(database: Database, written: sample.Sample) -> None:
    if Journal(database).read(limit=1).head is None:
        return
    try:
        read_balance_sheet(database, written.person)
    except PersonUnknown:
        raise typer.BadParameter(
            "this ledger holds facts that are not the sample's, and facts cannot be removed; "
            "name another folder in LEDGER_DATA_FOLDER, or another database"
        ) from None


def _tell_the_story(console: Console, ledger: Ledger, database: Database, written: sample.Sample) -> None:
    console.print("[bold]1. Five source systems send account changes[/]")
    reports = _post(ledger, [*written.accounts, *written.contributions, *written.entries])
    console.print(files_table(reports))
    console.print("[bold]2. Their numbers are joined into persons, some of them wrongly[/]")
    joined = _post(ledger, [written.identities])
    console.print(files_table(joined))
    _print_facts(console, ledger, database, written.mistaken_merge)
    console.print("\n[bold]3. The mistake is undone, and what followed from it is rescinded[/]")
    parted = _post(ledger, [written.unmerge])
    _print_facts(console, ledger, database, written.mistaken_unmerge)
    console.print("\n[bold]4. What was refused, and why[/]")
    console.print(refusals_table([*reports, *joined, *parted]))
    console.print("[bold]5. One person, five systems, one sheet[/]")
    read = read_balance_sheet(database, written.person)
    _print_sheet(console, read)
    folder = written.identities.parent
    # `make run` calls the program in its own environment, which is seldom on the path.
    program = "ledger" if shutil.which("ledger") else os.path.relpath(sys.argv[0])
    console.print(
        f"\nThe files lie in {folder}; beside them stand the refusals and the malformed lines.\n"
        "Try next:\n"
        f"   {program} sheet {read.sheet.one_id} --json\n"
        f"   {program} post {written.contributions[0]}   (nothing is posted twice)\n"
        f"   {program} --help",
        highlight=False,
    )


def _print_facts(console: Console, ledger: Ledger, database: Database, row: sample.Row) -> None:
    """Ask the ledger once more: the same command gets the same receipt, and the journal has its facts."""
    outcome = ledger.post([ONE.validate_json(to_json(row))])[0]
    if not isinstance(outcome, Receipt) or outcome.first_position is None or outcome.last_position is None:
        return
    first, last = outcome.first_position, outcome.last_position
    for found in Journal(database).read(after=first - 1, limit=last - first + 1):
        fact = decode(found.event.type, found.event.data)
        of = f": {yuan(fact.excess_fen)} yuan above the cap" if isinstance(fact, LimitBreachRecorded) else ""
        console.print(f"   fact {found.position:,}: {type(fact).__name__}{of}", highlight=False)


@app.command(epilog=EXIT_CODES)
def migrate() -> None:
    """Make the tables of this version in the database, as its administrator.

    Uses `LEDGER_ADMIN_DATABASE_URL`: a superuser, or the owner of the database with CREATEROLE. What was applied is not
    applied again, and a file edited afterwards is refused.

    Example: `LEDGER_ADMIN_DATABASE_URL=postgresql://postgres@localhost/ledger ledger migrate`
    """
    with _plainly_explained():
        applied = migrate_database(Settings())
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("The database is up to date.")


@app.command(epilog=EXIT_CODES)
def post(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Commands (.ndjson, .jsonl) or contribution lists (.csv), posted in this order.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ],
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Post nothing unless every line of every file is well-formed.")
    ] = False,
) -> None:
    """Post files of account changes; a file sent twice is recorded once.

    Refused commands are written to `FILE.refusals.ndjson`, malformed lines to `FILE.malformed.ndjson`, each with its
    line number and the reason. The rest is posted. The README shows both formats.

    Example: `ledger post --strict accounts.ndjson contributions.csv`
    """
    paths = [path for path in files if not is_report(path)]
    for path in files:
        if is_report(path):
            typer.echo(f"{path} is a report of an earlier run and is passed over.", err=True)
    with _plainly_explained():
        settings = Settings()
        if strict:
            with _progress("checking", paths) as advance:
                reports = check_files(paths, advance=advance)
            if any(report.malformed for report in reports):
                _finish(reports)
        else:
            check_openings(paths)
        with open_database(settings) as database:
            reports = _post(Ledger(database), paths)
    _finish(reports)


def _post(ledger: Ledger, paths: list[Path]) -> list[FileReport]:
    with _progress("posting", paths) as advance:
        return [post_file(ledger.post, path, advance=advance) for path in paths]


def _finish(reports: list[FileReport]) -> None:
    """Print what came of the files and leave with the exit code that says so."""
    console = _console()
    console.print(files_table(reports))
    if any(report.refused for report in reports):
        console.print(refusals_table(reports))
    for report in reports:
        for written in report.written():
            console.print(f"Details: {written}", highlight=False)
    if any(report.malformed for report in reports):
        raise typer.Exit(SOME_MALFORMED)
    if any(report.refused for report in reports):
        raise typer.Exit(SOME_REFUSED)


@app.command(epilog=EXIT_CODES)
def sheet(
    person: Annotated[
        str,
        typer.Argument(
            help="A number of a source system (`ea-core:ea00001000`), a one_id or an account of the person."
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen, instead of a table.")] = False,
) -> None:
    """Print the unified pension balance sheet of one person, as of now.

    Example: `ledger sheet pp-bank:pp00001000 --json`
    """
    with _plainly_explained(), open_database(Settings()) as database:
        read = read_balance_sheet(database, person)
    if as_json:
        typer.echo(to_json({"position": read.position, "sheet": read.sheet}, indent=2).decode())
    else:
        _print_sheet(_console(), read)


def _print_sheet(console: Console, read: SheetRead) -> None:
    console.print(sheet_table(read.sheet, read.position, wide=console.width >= WIDE))


def _console() -> Console:
    """Wide enough for a sheet also where the output is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


@contextmanager
def _progress(what: str, paths: list[Path]) -> Iterator[Advance]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=size_bytes(paths))
        yield lambda size: progress.advance(task, size)


@contextmanager
def _plainly_explained() -> Iterator[None]:
    """Turn the errors that a user can do something about into one sentence and an exit code."""
    try:
        yield
    except PersonUnknown as error:
        _leave(SOME_REFUSED, f"Nobody is known as {error}: give a source identity, a one_id or an account.")
    except FileUnreadable as error:
        _leave(WRONG_USAGE, str(error))
    except OSError as error:
        _leave(WRONG_USAGE, f"{error.filename}: {error.strerror}.")
    except ValidationError as error:
        _leave(WRONG_USAGE, _wrong_settings(error))
    except (DatabaseBehind, EmbeddedServerFailed, LedgerBusy, LedgerUnavailable, MigrationError) as error:
        _leave(DATABASE_UNAVAILABLE, str(error))
    except psycopg.errors.InsufficientPrivilege as error:
        _leave(
            DATABASE_UNAVAILABLE,
            f"The database refuses: {_first_line(error)}. "
            "Migrations need the owner or a superuser in LEDGER_ADMIN_DATABASE_URL.",
        )
    except psycopg.OperationalError as error:
        _leave(
            DATABASE_UNAVAILABLE,
            f"The database does not answer: {_first_line(error)}. "
            "Check LEDGER_DATABASE_URL, or unset it to use our own.",
        )
    except psycopg.ProgrammingError:
        _leave(
            WRONG_USAGE,
            "LEDGER_DATABASE_URL or LEDGER_ADMIN_DATABASE_URL is not an address such as "
            "postgresql://ledger_app@localhost/ledger.",
        )


def _leave(code: int, sentence: str) -> None:
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


if __name__ == "__main__":
    app(prog_name="ledger")
