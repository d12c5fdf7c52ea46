"""The auditor's command line: `python -m replay refold`."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from replay.comparing import MAX_PROCESSES, collect_rarely, compare

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Rebuild the ledger from its journal and compare.")
console = Console()


@app.callback()
def main() -> None:
    """Rebuild the ledger from its journal and compare."""


@app.command()
def refold(
    database_url: Annotated[
        str, typer.Option(envvar="LEDGER_DATABASE_URL", help="The ledger's PostgreSQL; reading suffices.")
    ],
    processes: Annotated[
        int, typer.Option(min=1, max=MAX_PROCESSES, help="How many processes share the work, on one snapshot.")
    ] = min(2, os.cpu_count() or 1),
) -> None:
    """Rebuild memory and every projection from the journal, and compare them with what the database holds.

    Exit code 0: all is equal and the books balance. 1: differences, printed one a line.
    """
    collect_rarely()
    with Progress(console=console) as progress:
        task = progress.add_task("refolding", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, advance=done, total=total)

        compared = compare(database_url, processes=processes, progress=advance)
    counted = f"{compared.facts} facts, {compared.memories} memories, {len(compared.differences)} differences."
    for line in [*compared.notes, *compared.differences, counted]:
        # As it is: a state's brackets are no markup, `:ghost:` is no emoji, and a line is one however long.
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if compared.differences:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
