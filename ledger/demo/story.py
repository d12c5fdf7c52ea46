"""The demo told in a terminal: what came of the files, a mistaken merge and its undoing, and one person's sheet."""

from pathlib import Path

import typer
from pydantic_core import to_json
from rich.console import Console

from ledger.application import Ledger, Receipt
from ledger.database import Database
from ledger.demo.people import Row
from ledger.demo.sample import Sample
from ledger.domain.commands import ONE
from ledger.domain.events import LimitBreachRecorded, decode
from ledger.files import FileReport, post_file
from ledger.journal import Journal
from ledger.printing import FILES_WIDE, WIDE, files_table, refusals_table, sheet_table, yuan
from ledger.projections.balance_sheet import SheetRead, read_balance_sheet
from ledger.projections.standing import PersonUnknown
from ledger.terminal import reading_files


def require_sample_or_empty(database: Database, written: Sample) -> None:
    """Facts cannot be removed, so the sample goes only where nothing else is."""
    if Journal(database).read(limit=1).head is None:
        return
    try:
        read_balance_sheet(database, written.person)
    except PersonUnknown:
        raise typer.BadParameter(
            "this ledger holds facts that are not the sample's, and facts cannot be removed; "
            "name another folder in LEDGER_DATA_FOLDER, or another database"
        ) from None


def tell(console: Console, database: Database, written: Sample) -> SheetRead:
    """Post the sample and say what came of it; returns the sheet that was shown last."""
    ledger = Ledger(database)

    def post(*paths: Path) -> list[FileReport]:
        with reading_files("posting", [*paths]) as advance:
            return [post_file(ledger.post, path, advance=advance) for path in paths]

    console.print("[bold]1. Five source systems send account changes[/]")
    reports = post(*written.accounts, *written.contributions, *written.entries)
    console.print(files_table(reports, wide=console.width >= FILES_WIDE))
    console.print("[bold]2. Their numbers are joined into persons, some of them wrongly[/]")
    joined = post(written.identities)
    console.print(files_table(joined, wide=console.width >= FILES_WIDE))
    _print_facts(console, ledger, database, written.mistaken_merge)
    console.print("\n[bold]3. The mistake is undone, and what followed from it is rescinded[/]")
    parted = post(written.unmerge)
    _print_facts(console, ledger, database, written.mistaken_unmerge)
    console.print("\n[bold]4. What was refused, and why[/]")
    console.print(refusals_table([*reports, *joined, *parted]))
    console.print("[bold]5. One person, five systems, one sheet[/]")
    read = read_balance_sheet(database, written.person)
    console.print(sheet_table(read.sheet, read.known_at, wide=console.width >= WIDE))
    return read


def _print_facts(console: Console, ledger: Ledger, database: Database, row: Row) -> None:
    """Ask the ledger once more: the same command gets the same receipt, and the journal has its facts."""
    outcome = ledger.post([ONE.validate_json(to_json(row))])[0]
    if not isinstance(outcome, Receipt) or outcome.first_position is None or outcome.last_position is None:
        return
    first, last = outcome.first_position, outcome.last_position
    for found in Journal(database).read(after=first - 1, limit=last - first + 1):
        fact = decode(found.event.type, found.event.data)
        of = f": {yuan(fact.excess_fen)} yuan above the cap" if isinstance(fact, LimitBreachRecorded) else ""
        console.print(f"   fact {found.position:,}: {type(fact).__name__}{of}", highlight=False)
