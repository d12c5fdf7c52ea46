"""The auditor's command line: `python -m replay refold`."""

import gc
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.progress import Progress

from replay import refold as folding

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
) -> None:
    """Rebuild every memory from the journal and compare it with what the database holds.

    Exit code 0: all is equal and the books balance. 1: differences, printed one a line.
    """
    # A refold makes millions of objects and hardly a cycle (as the command line of the ledger, see DECISIONS.md).
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with psycopg.connect(database_url) as connection, Progress(console=console) as progress:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        until = folding.head(connection)
        found = folding.missing(connection, until=until)
        task = progress.add_task("refolding", total=until)
        try:
            refolded = folding.refold(connection, until=until, progress=lambda facts: progress.advance(task, facts))
            different = folding.differences(connection, refolded)
            found += [f"{line.tag}: stored {line.stored}, folded {line.folded}" for line in different]
            found += folding.unbalanced(connection, refolded, until=until)
        except folding.HistoryBroken as broken:
            found.append(str(broken))
            refolded = folding.Refolded()
    for line in [*found, f"{refolded.facts} facts, {len(refolded.states)} memories, {len(found)} differences."]:
        # As it is: a state's brackets are no markup, `:ghost:` is no emoji, and a line is one however long.
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
