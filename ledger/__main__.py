"""The command line, and the only place where the parts of the ledger are wired together."""

import gc
import os
import shutil
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from ledger import demo as sample
from ledger.advising import allocate, cases, move, plan, publish_cases, retire, tax, what_if
from ledger.api.problems import TokenInvalid
from ledger.api.tokens import DEVELOPMENT_PURPOSE, DevelopmentKey, Scope, mint, verifier
from ledger.application import Ledger
from ledger.closing import close_period as close_books
from ledger.contract.exporting import bump as bump_versions
from ledger.contract.exporting import export as export_contract
from ledger.database import Database, migrate_database, open_database
from ledger.demo import story
from ledger.files import FileReport, check_files, check_openings, is_report, post_file
from ledger.notary import PUBLIC_KEY, require_sealed, seal_now, sealing, verifier_key
from ledger.notary import run as run_notary
from ledger.printing import (
    FILES_WIDE,
    LINES_WIDE,
    STATUS_WIDE,
    WIDE,
    files_table,
    refusals_table,
    sheet_table,
    statement_table,
    status_tables,
    totals_table,
)
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projections.control_totals import read_totals
from ledger.projections.statements import MAX_LINES, Cursor, Statement, read_statement
from ledger.projector import Projector
from ledger.rebuilding import rebuild as rebuild_aside
from ledger.serving import serve as serve_api
from ledger.settings import Settings
from ledger.status import read_status
from ledger.streaming import intake, outlet, stop_when_told, topics
from ledger.taking import NAMES
from ledger.terminal import (
    EXIT_CODES,
    SOME_MALFORMED,
    SOME_REFUSED,
    WRONG_USAGE,
    console,
    counting,
    leave,
    plainly_explained,
    print_json,
    reading_files,
)

SETTINGS = f"""
**Settings** are environment variables: `LEDGER_DATABASE_URL` names your PostgreSQL; without it one is started in
`LEDGER_DATA_FOLDER` (`{Settings.model_fields["data_folder"].default}`). The README lists all of them.
"""
HOST = "127.0.0.1"
PORT = 8000
MAX_STATEMENT_LINES = 10_000

app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog=SETTINGS + EXIT_CODES,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen, instead of a table.")]
AsOf = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Facts effective up to this date count; default all."),
]
KnownAt = Annotated[
    int | None,
    typer.Option(min=0, max=2**53 - 1, metavar="POSITION", help="Facts up to this position count; default all."),
]
Host = Annotated[str, typer.Option(help="Address to serve at.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to serve at; 0 takes a free one.")]


for command in (intake, outlet, topics, plan, what_if, allocate, move, tax, retire, cases, publish_cases):
    app.command(command.__name__.replace("_", "-"), epilog=EXIT_CODES)(command)


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
    once: Annotated[bool, typer.Option("--once", help="End after printing, and serve nothing.")] = False,
    host: Host = HOST,
    port: Port = PORT,
) -> None:
    """Write a sample of five source systems, post it, join identities, print one person's sheet, and serve the API.

    The sample lies in the folder `demo` of the data folder and is the same every time, so running the demo again
    posts nothing twice. It posts only into a ledger that is empty or holds the sample: facts cannot be removed.

    Example: `ledger demo --people 200 --months 24`
    """
    on = console()
    with plainly_explained():
        settings = Settings()
        written = sample.write_sample(settings.data_folder / "demo", people=people, months=months)
        with open_database(settings) as database:
            require_sealed(database, settings)
            story.require_sample_or_empty(database, written)
            read = story.tell(on, database, written)
            Projector(database).catch_up()
            one_id, program = read.sheet.one_id, _program()
            if database.embedded:
                on.print(f"\n[bold]6. The notary seals all {seal_now(database, settings):,} facts[/]", highlight=False)
            on.print(
                f"\nThe files lie in {written.identities.parent}; beside them stand the refusals and the malformed lines.\n"
                "Try next:\n"
                f"   {program} sheet {one_id} --as-of 2025-06-30\n"
                f"   {program} statement EA-0000000\n"
                f"   {program} post {written.contributions[0]}   (nothing is posted twice)\n"
                f"   {program} --help",
                highlight=False,
            )
            if once:
                return
            with sealing(database, settings) if database.embedded else nullcontext():
                _serve(database, settings, host=host, port=port, projects=True, person=one_id)


@app.command(epilog=EXIT_CODES)
def serve(
    *,
    host: Host = HOST,
    port: Port = PORT,
    project: Annotated[
        bool, typer.Option(help="Keep the projections up to date too; `--no-project` leaves that to `ledger project`.")
    ] = True,
) -> None:
    """Serve the HTTP API until interrupted; its documentation is at `/docs`.

    Tokens are verified with the keys of `LEDGER_TOKEN_KEYS`, or, where that is unset, with the development key of the data
    folder, for which `ledger token` makes tokens.

    Example: `ledger serve --port 8080`
    """
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            require_sealed(database, settings)
            _serve(database, settings, host=host, port=port, projects=project, person="PERSON")


def _serve(  # noqa: PLR0913 - as `serve`
    database: Database, settings: Settings, *, host: str, port: int, projects: bool, person: str
) -> None:
    on = console()

    def ready(url: str) -> None:
        on.print(f"\n[bold]The API serves at {url}[/]; its documentation is at {url}/docs (Ctrl-C ends it).")
        if settings.token_keys is None:
            token = _development_token(settings, scopes=[Scope.READER], subject="user:developer")
            # Not through the console, which would break the line.
            typer.echo(f'\ncurl -H "Authorization: Bearer {token}" \\\n  {url}/v1/people/{person}/balance-sheet\n')
            typer.echo(
                f"The token is good for {settings.token_lifetime_s} seconds; `{_program()} token` makes another."
            )
        if database.embedded and (settings.notary_files / PUBLIC_KEY).exists():
            typer.echo(
                "\nAn auditor, in another terminal:\n"
                f"export LEDGER_DATABASE_URL='{database.auditor_url}'\n"
                f"export REPLAY_KEY='{verifier_key(settings)}'\n"
                f"export REPLAY_CHECKPOINTS='{settings.checkpoint_files.resolve()}'\n"
                f"{os.path.relpath(sys.executable)} -m replay report"
            )

    serve_api(database, settings, host=host, port=port, projects=projects, ready=ready)


@app.command(epilog=EXIT_CODES)
def project(
    *,
    rebuild: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Rebuild this projection aside and swap, then end; `all` for every one."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Take what there is, then end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep the projections up to date, as a process of its own; several may run, and one of them works.

    It goes on where the last one was. Facts that a projection cannot take are set aside and counted in `ledger status`;
    a rebuild reads everything from the journal again.

    Example: `ledger project --rebuild statements`
    """
    with plainly_explained(), open_database(Settings()) as database:
        projector = Projector(database)
        if rebuild:
            names = NAMES if "all" in rebuild else rebuild
            if unknown := sorted(set(names) - set(NAMES)):
                leave(
                    WRONG_USAGE,
                    f"No such projection: {', '.join(unknown)}. There are {', '.join(NAMES)}.",
                )
            with counting("rebuilding", read_status(database).head) as advance:
                position = rebuild_aside(database, names, progress=advance)
            _say({"rebuilt": sorted(set(names)), "position": position}, f"Rebuilt to position {position:,}.", as_json)
        elif once:
            passed = projector.catch_up()
            _say({"passed": passed}, f"Took {passed:,} positions.", as_json)
        else:
            stop = stop_when_told()
            _say({"projecting": NAMES}, "Projecting (Ctrl-C ends it).", as_json)
            projector.run(stop, report=lambda sentence: typer.echo(sentence, err=True))


def _say(payload: object, sentence: str, as_json: bool) -> None:  # noqa: FBT001 - as the option gives it
    if as_json:
        print_json(payload)
    else:
        typer.echo(sentence)


@app.command(epilog=EXIT_CODES)
def notary(
    *,
    once: Annotated[bool, typer.Option("--once", help="Seal what there is, then end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Seal the journal: extend the Merkle tree over its facts and sign the root, as a process of its own.

    It signs within a second of what is recorded, and goes on where the last one stopped. It stops where the journal
    contradicts what it sealed before. At its first start it makes its key; the verifier key, which it prints, is for the
    auditors. In the database it is `ledger_notary`.

    Example: `ledger notary --once`
    """
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            if once:
                size = seal_now(database, settings)
                key = verifier_key(settings)
                _say({"size": size, "key": key}, f"{size:,} facts are sealed. Verifier key: {key}", as_json)
                return
            run_notary(
                database,
                settings,
                stop_when_told(),
                ready=lambda key: _say({"key": key}, f"Sealing (Ctrl-C ends it). Verifier key: {key}", as_json),
                report=lambda sentence: typer.echo(sentence, err=True),
            )


@app.command(epilog=EXIT_CODES)
def migrate(*, as_json: AsJson = False) -> None:
    """Make the tables of this version in the database, as its administrator.

    Uses `LEDGER_ADMIN_DATABASE_URL`: a superuser, or the owner of the database with CREATEROLE. What was applied is not
    applied again, and a file edited afterwards is refused.

    Example: `LEDGER_ADMIN_DATABASE_URL=postgresql://postgres@localhost/ledger ledger migrate`
    """
    with plainly_explained():
        applied = migrate_database(Settings())
    lines = [*(f"applied {name}" for name in applied), "The database is up to date."]
    _say({"applied": applied}, "\n".join(lines), as_json)


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
    as_json: AsJson = False,
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
    with plainly_explained():
        settings = Settings()
        if strict:
            with reading_files("checking", paths) as advance:
                reports = check_files(paths, advance=advance)
            if any(report.malformed for report in reports):
                _finish(reports, as_json=as_json)
        else:
            check_openings(paths)
        with open_database(settings) as database, reading_files("posting", paths) as advance:
            require_sealed(database, settings)
            reports = [post_file(Ledger(database).post, path, advance=advance) for path in paths]
    _finish(reports, as_json=as_json)


def _finish(reports: list[FileReport], *, as_json: bool) -> None:
    """Print what came of the files and leave with the exit code that says so."""
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        on = console()
        on.print(files_table(reports, wide=on.width >= FILES_WIDE))
        if any(report.refused for report in reports):
            on.print(refusals_table(reports))
        for report in reports:
            for written in report.written():
                on.print(f"Details: {written}", highlight=False)
    if any(report.malformed for report in reports):
        raise typer.Exit(SOME_MALFORMED)
    if any(report.refused for report in reports):
        raise typer.Exit(SOME_REFUSED)


@app.command(epilog=EXIT_CODES)
def sheet(
    person: Annotated[
        str,
        typer.Argument(
            metavar="PERSON",
            help="A number of a source system (`ea-core:ea00001000`), a one_id or an account of the person.",
        ),
    ],
    *,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
) -> None:
    """Print the unified pension balance sheet of one person: of now, as of a date, as known at a position, or both.

    Example: `ledger sheet pp-bank:pp00001000 --as-of 2025-06-30 --json`
    """
    with plainly_explained(), open_database(Settings()) as database:
        read = read_balance_sheet(database, person, as_of=as_of.date() if as_of else None, known_at=known_at)
    if as_json:
        print_json(read._asdict())
    else:
        on = console()
        on.print(sheet_table(read.sheet, read.known_at, as_of=read.as_of, wide=on.width >= WIDE))


@app.command(epilog=EXIT_CODES)
def statement(  # noqa: PLR0913 - the options are the parameters
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")],
    *,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    order: Annotated[
        Literal["effective", "position"], typer.Option(help="By effective date, or by position as recorded.")
    ] = "effective",
    lines: Annotated[int, typer.Option(min=1, max=MAX_STATEMENT_LINES, help="How many lines to print at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Print the statement of one account: every line with the balance after it.

    Example: `ledger statement EA-0000000 --order position`
    """
    with plainly_explained(), open_database(Settings()) as database:
        Projector(database).catch_up()
        found, more = _statement(database, account, as_of=as_of, known_at=known_at, order=order, lines=lines)
    if as_json:
        print_json(found.model_dump() | {"has_more": more})
    else:
        on = console()
        on.print(statement_table(found, more=more, wide=on.width >= LINES_WIDE))


def _statement(  # noqa: PLR0913 - what a statement can be asked for
    database: Database,
    account: str,
    *,
    as_of: datetime | None,
    known_at: int | None,
    order: Literal["effective", "position"],
    lines: int,
) -> tuple[Statement, bool]:
    """So many lines of a statement, read page by page, and whether there are more."""
    after: Cursor | None = None
    found: Statement | None = None
    while True:
        held = 0 if found is None else len(found.lines)
        page = read_statement(
            database,
            account,
            order=order,
            as_of=as_of.date() if as_of else None,
            known_at=known_at,
            seen=None,
            after=after,
            limit=min(MAX_LINES, lines - held),
        )
        earlier = [] if found is None else found.lines
        found = page.statement.model_copy(update={"lines": [*earlier, *page.statement.lines]})
        after = page.following
        if after is None or len(found.lines) >= lines:
            return found, after is not None


@app.command(epilog=EXIT_CODES)
def totals(
    *,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="A line for each effective date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the control totals of the whole ledger, and the trial balance, which is zero.

    Example: `ledger totals --as-of 2025-12-31`
    """
    with plainly_explained(), open_database(Settings()) as database:
        Projector(database).catch_up()
        found = read_totals(
            database, as_of=as_of.date() if as_of else None, known_at=known_at, seen=None, by_day=by_day
        )
    if as_json:
        print_json(found)
    else:
        console().print(totals_table(found))


@app.command("close-period", epilog=EXIT_CODES)
def close_period(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="The period to close, such as 2025-01.")],
    *,
    actor: Annotated[str, typer.Option(help="Who closes it, such as operator:op-1.")],
    approver: Annotated[
        list[str], typer.Option(help="Who approves it, at least one other; may be given several times.")
    ],
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, max=600, metavar="SECONDS", help="How long to wait for a checkpoint.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Close the books of a period, and of all before it, over a checkpoint and the trial balance.

    The notary must have sealed every fact of the period. Afterwards a command that takes effect in a closed period is
    refused, unless it declares a prior-period adjustment.

    Example: `ledger close-period 2025-01 --actor operator:op-1 --approver operator:op-2`
    """
    with plainly_explained():
        settings, now = Settings(), datetime.now(UTC)
        with open_database(settings) as database:
            require_sealed(database, settings)
            ledger = Ledger(database)
            closed = close_books(database, ledger, period, actor=actor, approvers=approver, now=now, wait_s=wait_s)
    _say(closed._asdict(), closed.sentence, as_json)


@app.command(epilog=EXIT_CODES)
def status(*, as_json: AsJson = False) -> None:
    """Print the state of the ledger on one screen: its end, seals, the lag of projections and over Kafka, and refusals by code.

    Example: `ledger status --json`
    """
    with plainly_explained(), open_database(Settings()) as database:
        found = read_status(database)
    if as_json:
        print_json(found.as_json())
    else:
        for table in status_tables(found, wide=console().width >= STATUS_WIDE):
            console().print(table)


@app.command(epilog=EXIT_CODES)
def token(  # noqa: PLR0913 - as `mint`
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it is good for; may be given several times.  [default: reader]")
    ] = None,
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Who it speaks for, which is the actor of its commands; a poster's default is `system:SOURCE`."
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="The source system that a poster posts for.")] = None,
    product: Annotated[
        list[str] | None, typer.Option(help="The products that a poster posts for; default all of its source.")
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="What alone it reads about people for, as every record of a reading says.")
    ] = DEVELOPMENT_PURPOSE,
    as_json: AsJson = False,
) -> None:
    """Make a token for development, signed with the key of the data folder.

    Example: `ledger token --scope poster --source ea-core`
    """
    scopes = scope or [Scope.READER]
    if (Scope.POSTER in scopes) != (source is not None):
        raise typer.BadParameter("a poster, and nobody else, posts for a source: give both --scope poster and --source")
    if product and source is None:
        raise typer.BadParameter("only a poster posts for products: give --scope poster and --source too")
    with plainly_explained():
        settings = Settings()
        if settings.token_keys is not None:
            leave(WRONG_USAGE, "LEDGER_TOKEN_KEYS is set: the development key is not trusted; ask the tokens' issuer.")
        if subject is None:
            subject = "user:developer" if source is None else f"system:{source}"
        made = _development_token(
            settings, scopes=scopes, subject=subject, source=source, products=product, purpose=purpose
        )
        try:
            verifier(settings).verify(made, time.time())
        except TokenInvalid:
            leave(
                WRONG_USAGE,
                "No such token is valid: a subject is like user:developer, a source, product or purpose like ea-core.",
            )
    _say({"token": made, "lifetime_s": settings.token_lifetime_s}, made, as_json)


def _development_token(  # noqa: PLR0913 - as `mint`
    settings: Settings,
    *,
    scopes: list[Scope],
    subject: str,
    source: str | None = None,
    products: list[str] | None = None,
    purpose: str = DEVELOPMENT_PURPOSE,
) -> str:
    return mint(
        DevelopmentKey.load_or_create(settings.data_folder),
        subject=subject,
        scopes=scopes,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime_s=settings.token_lifetime_s,
        now_s=time.time(),
        source=source,
        products=products,
        purpose=purpose,
    )


def _program() -> str:
    """How to call this program: `make run` calls it in its own environment, which is seldom on the path."""
    return "ledger" if shutil.which("ledger") else os.path.relpath(sys.argv[0])


@app.command(epilog=EXIT_CODES)
def contract(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", file_okay=False, help="Where to write it; earlier versions there stay.")
    ] = Path("docs/contract"),
    bump: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="First give this its next version, because it changed; may be given several times."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the contract of the topics: an AsyncAPI document, and a JSON Schema of each command, fact and header.

    What means something else than its version says is not written before it has a new version, with `--bump`, in the
    project's source tree. Files of earlier versions stay, because facts are never rewritten.

    Example: `ledger contract --out contract`
    """
    with plainly_explained():
        given = bump_versions(bump) if bump else []
        written = export_contract(out)
    lines = [*(f"new version: {name.uri}" for name in given), f"{len(written)} files are in {out}."]
    _say({"bumped": [name.uri for name in given], "files": [str(path) for path in written]}, "\n".join(lines), as_json)


if __name__ == "__main__":
    app(prog_name="ledger")
