"""The auditor's command line: `python -m replay`."""

import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import psycopg
import typer
from psycopg.rows import TupleRow
from pydantic_core import to_json
from rich.console import Console

from ledger.domain.identifiers import ONE_ID
from ledger.domain.notes import InclusionProof, VerifierKey, open_checkpoint
from replay import accesses as records
from replay import check_bundle as checker
from replay import explain as explaining
from replay import report as reporting
from replay.bundle import Person, Range, Whole
from replay.bundle import export as write_bundle
from replay.closes import examine_closes
from replay.comparing import compare
from replay.drift import drift as read_drift
from replay.everybody import sheets_of_all
from replay.facts import opened, settle
from replay.hashes import Hashes, Leaf, NotSealed, Sealed, proven_leaves, sealed
from replay.hledger import export_hledger as write_hledger_file
from replay.published import Outside, read_outside
from replay.receipts import check_receipt
from replay.sample import MAX_SAMPLE
from replay.sample import sample as draw
from replay.sheets import sheet_of
from replay.tables import Book, export_tables
from replay.terminal import (
    DOES_NOT_HOLD,
    EXIT_CODES,
    PROCESSES,
    WRONG_KEY,
    AsJson,
    AsOf,
    Copies,
    Keys,
    KnownAt,
    Output,
    Processes,
    Size,
    StateFile,
    Subject,
    Url,
    adding,
    counting,
    leave,
    plainly_explained,
    read_keys,
    say,
)
from replay.verify import Verified
from replay.verify import verify as verify_all

Connection = psycopg.Connection[TupleRow]

app = typer.Typer(
    name="replay",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
)

MOMENT = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]
PersonOrAccount = Annotated[
    str, typer.Argument(metavar="PERSON|ACCOUNT", help="An account, or for a person a source identity or one_id.")
]
OnePerson = Annotated[
    str | None,
    typer.Argument(metavar="PERSON", help="A source identity, one_id or account of hers; without, everybody."),
]


@app.callback()
def main() -> None:
    """Prove the ledger: hash its history again, rebuild every number from it, and answer from the facts alone.

    It needs a database role that reads, `ledger_auditor`, and the notary's verifier key, which must not come from there.
    """
    settle()


@app.command(epilog=EXIT_CODES)
def verify(  # noqa: PLR0913 - the options are the parameters
    url: Url,
    key: Keys,
    *,
    copies: Copies = None,
    processes: Processes = PROCESSES,
    state: StateFile = None,
    as_json: AsJson = False,
) -> None:
    """Hash every stored byte again, and compare with tiles, checkpoints and signatures.

    With `--checkpoints` also with the copies outside the database, which tell what was rewritten together with all seals,
    or cut off at the end.
    """
    with plainly_explained():
        keys = read_keys(key)
        outside = _outside(copies, keys)
        with counting("verifying") as told:
            found = verify_all(url, keys, outside=outside, processes=processes, state_file=state, progress=told)
        if as_json:
            _print(to_json(found.as_dict(), indent=2))
        else:
            _say_verified(found, outside)
        if not found.checkpoints and any(each.code == "checkpoint_invalid" for each in found.findings):
            leave(
                WRONG_KEY, "None of the checkpoints is signed by the keys that were given: ask the notary for its key."
            )
        _end(found.findings)


def _say_verified(found: Verified, outside: Outside | None) -> None:
    for finding in found.findings:
        say(str(finding))
    if found.more_findings:
        say(f"and {found.more_findings} more")
    for note in found.notes:
        say(note)
    earlier = "" if found.read_from == 1 else f" (up to {found.read_from - 1} by an earlier run)"
    say(f"{found.head} facts hashed{earlier}, {found.sealed} of them sealed, root {found.root or 'none'}.")
    copies = "none outside were given" if outside is None else f"{len(outside.roots)} outside"
    say(f"{found.checkpoints} checkpoints verified, {copies}. {len(found.findings)} findings.")


@app.command(epilog=EXIT_CODES)
def refold(url: Url, *, processes: Processes = PROCESSES, as_json: AsJson = False) -> None:
    """Rebuild memory and every projection from the journal, and compare them with what the database holds.

    Then the books: every account and part adds up, all postings add up to zero, and closed periods were closed rightly.
    """
    with plainly_explained():
        with counting("refolding") as told:
            compared = compare(url, processes=processes, progress=adding(told))
        with opened(url) as connection:
            closes = examine_closes(connection, compared.until)
        differences = list(dict.fromkeys([*compared.differences, *closes.findings]))
        if as_json:
            _print(
                to_json(
                    {
                        "until": compared.until,
                        "facts": compared.facts,
                        "memories": compared.memories,
                        "closed_periods": len(closes.closes),
                        "adjustments": [each._asdict() for each in closes.adjustments],
                        "adjustments_in_all": closes.adjusted,
                        "notes": compared.notes,
                        "differences": differences,
                    },
                    indent=2,
                )
            )
        else:
            for line in [*compared.notes, *differences]:
                say(line)
            say(closes.summary)
            say(f"{compared.facts} facts, {compared.memories} memories, {len(differences)} differences.")
        _end(differences)


@app.command(epilog=EXIT_CODES)
def drift(url: Url, *, as_json: AsJson = False) -> None:
    """Compare triggers, grants, roles, functions and settings with those of this version."""
    with plainly_explained(), psycopg.connect(url) as connection:
        found = read_drift(connection)
        if as_json:
            _print(
                to_json({"differences": [each.__dict__ for each in found.differences], "notes": found.notes}, indent=2)
            )
        else:
            for line in [*map(str, found.differences), *found.notes, f"{len(found.differences)} differences."]:
                say(line)
        _end(found.differences)


@app.command(epilog=EXIT_CODES)
def explain(  # noqa: PLR0913 - the options are the parameters
    name: PersonOrAccount,
    url: Url,
    key: Keys,
    *,
    known_at: KnownAt = None,
    after: Annotated[int, typer.Option(min=0, help="Go on after this position.")] = 0,
    lines: Annotated[
        int, typer.Option(min=1, max=explaining.MAX_LINES, help="So many lines at most.")
    ] = explaining.DEFAULT_LINES,
    as_json: AsJson = False,
) -> None:
    """Every line of an account or person: its fact, who posted it, when it was effective and recorded, and its proof."""
    is_person = ":" in name or ONE_ID.fullmatch(name)
    explained = explaining.explain_person if is_person else explaining.explain_account
    with plainly_explained():
        keys = read_keys(key)
        with opened(url) as connection:
            found = explained(
                connection, name, prove=_proving(connection, keys), known_at=known_at, after=after, limit=lines
            )
        if as_json:
            _print(explaining.as_json(found))
        else:
            explaining.show(found, Console())


def _proving(connection: Connection, keys: Sequence[VerifierKey]) -> Callable[[int], InclusionProof | None]:
    """Proofs under the last checkpoint, whose signature is verified once; of what is not sealed, none."""
    try:
        checkpoint: Sealed | None = sealed(connection)
    except NotSealed:
        checkpoint = None
    if checkpoint is not None:
        open_checkpoint(checkpoint.note, keys)
    hashes = Hashes(connection)

    def prove(position: int) -> InclusionProof | None:
        if checkpoint is None or position > checkpoint.size:
            return None
        ((_, proof),) = proven_leaves(connection, hashes, checkpoint, [position])
        return proof

    return prove


@app.command("as-of", epilog=EXIT_CODES)
def as_of_date(
    day: Annotated[datetime, typer.Argument(metavar="DATE", formats=["%Y-%m-%d"], help="The date.")],
    url: Url,
    person: OnePerson = None,
    *,
    known_at: KnownAt = None,
    processes: Processes = PROCESSES,
) -> None:
    """The balance sheet of a person, or of everybody, as of a date; with `--known-at` as it was known at a position.

    The same bytes as the API's. Of everybody it is a line each, and then a line with a digest over them and the totals.
    """
    with plainly_explained():
        _sheets(url, person, as_of=day.date(), known_at=known_at, processes=processes)


@app.command("known-at", epilog=EXIT_CODES)
def known_at_position(
    position: Annotated[int, typer.Argument(metavar="POSITION", min=0, max=2**53 - 1, help="The position.")],
    url: Url,
    person: OnePerson = None,
    *,
    as_of: AsOf = None,
    processes: Processes = PROCESSES,
) -> None:
    """The balance sheet of a person, or of everybody, as it was known at a position; with `--as-of` as of a date."""
    with plainly_explained():
        _sheets(url, person, as_of=as_of.date() if as_of else None, known_at=position, processes=processes)


def _sheets(url: str, person: str | None, *, as_of: date | None, known_at: int | None, processes: int) -> None:
    if person is not None:
        with opened(url) as connection:
            _print(sheet_of(connection, person, as_of=as_of, known_at=known_at))
        return
    with counting("making sheets") as told:
        everybody = sheets_of_all(
            url,
            as_of=as_of,
            known_at=known_at,
            processes=processes,
            write=sys.stdout.buffer.write,
            progress=adding(told),
        )
    _print(everybody.summary())


@app.command(epilog=EXIT_CODES)
def prove(
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1)], url: Url, key: Keys, *, size: Size = None
) -> None:
    """Print the proof that a fact is sealed (C2SP tlog-proof), after comparing the stored fact with its seal."""
    with plainly_explained():
        keys = read_keys(key)
        with opened(url) as connection:
            checkpoint = sealed(connection, size=size)
            open_checkpoint(checkpoint.note, keys)
            if position > checkpoint.size:
                raise NotSealed(f"Position {position} is not under the checkpoint of size {checkpoint.size}.")
            ((_, found),) = proven_leaves(connection, Hashes(connection), checkpoint, [position])
        _print(found.text().encode(), end=b"")


@app.command(epilog=EXIT_CODES)
def sample(  # noqa: PLR0913 - the options are the parameters
    url: Url,
    key: Keys,
    nonce: Annotated[
        str, typer.Option(help="Whatever was named after the checkpoint was signed, such as a dice roll.")
    ],
    *,
    count: Annotated[int, typer.Option(min=1, max=MAX_SAMPLE, help="How many facts.")] = 25,
    size: Size = None,
    as_json: AsJson = False,
) -> None:
    """Draw facts that nobody could have chosen: from the root of a signed checkpoint and a nonce named afterwards."""
    with plainly_explained():
        keys = read_keys(key)
        with opened(url) as connection:
            checkpoint = sealed(connection, size=size)
            open_checkpoint(checkpoint.note, keys)
            positions = draw(checkpoint.root, nonce.encode(), size=checkpoint.size, count=count)
            proven = {leaf.position: leaf for leaf, _ in _each_proven(connection, checkpoint, sorted(positions))}
        drawn = [proven[position] for position in positions]
        if as_json:
            facts = [
                {"position": leaf.position, "leaf": leaf.text, "data": leaf.data.decode("utf-8", "replace")}
                for leaf in drawn
            ]
            _print(to_json({"size": checkpoint.size, "root": checkpoint.root.hex(), "nonce": nonce, "facts": facts}))
            return
        say(
            f"{count} of {checkpoint.size} facts, root {checkpoint.root.hex()}, nonce {nonce}; each is what was sealed."
        )
        for leaf in drawn:
            say(
                "\t".join(
                    [str(leaf.position), *leaf.text.decode().split("\n")[2:3], leaf.data.decode("utf-8", "replace")]
                )
            )


def _each_proven(connection: Connection, checkpoint: Sealed, positions: list[int]) -> list[tuple[Leaf, InclusionProof]]:
    return list(proven_leaves(connection, Hashes(connection), checkpoint, positions))


@app.command(epilog=EXIT_CODES)
def export(  # noqa: PLR0913 - the options are the parameters
    path: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="The zip file to write; it must not exist.")
    ],
    url: Url,
    key: Keys,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="All facts under the checkpoint.")] = False,
    first: Annotated[int | None, typer.Option("--from", min=1, help="From this position on, with --to.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Up to this position.")] = None,
    person: Annotated[str | None, typer.Option(help="A source identity, one_id or account of a person.")] = None,
    size: Size = None,
) -> None:
    """Write facts with their proofs as a bundle that `check-bundle` checks offline.

    A whole bundle or a range proves too that nothing is missing in it; a person's bundle does not.
    """
    asked: list[Whole | Person | Range] = [Whole()] if whole else []
    if person is not None:
        asked.append(Person(person))
    if first is not None and last is not None:
        asked.append(Range(first, last))
    if len(asked) != 1 or (first is None) != (last is None):
        raise typer.BadParameter("give one of --whole, --person, or --from with --to")
    with plainly_explained():
        keys = read_keys(key)
        with opened(url) as connection, counting("exporting") as told:
            add = adding(told)
            total = sealed(connection, size=size).size
            written = write_bundle(
                connection, path, asked[0], keys=keys, size=size, progress=lambda facts: add(facts, total)
            )
        say(f"{written.facts} facts under the checkpoint of size {written.size} in {path}.")
        say(f"SHA-256 of the file, to be told when it is handed over: {written.sha256}")


@app.command(
    "check-bundle",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def check_bundle(context: typer.Context) -> None:
    """Check a bundle offline; the same as `python check_bundle.py`, whose exit codes it has (`check-bundle --help`)."""
    raise typer.Exit(checker.main(context.args))


@app.command("export-hledger", epilog=EXIT_CODES)
def export_hledger(
    path: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The file to write.")],
    url: Url,
    *,
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> None:
    """Write every fact that moves money as a journal file of hledger."""
    with plainly_explained(), opened(url) as connection:
        written = write_hledger_file(connection, path, as_of=as_of.date() if as_of else None, known_at=known_at)
        say(f"{written.transactions} transactions with {written.postings} postings in {path}.")


@app.command("export-tables", epilog=EXIT_CODES)
def export_data_tables(  # noqa: PLR0913 - the options are the parameters
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write; it must not exist.")],
    url: Url,
    year: Annotated[int, typer.Option(min=1990, max=2199, help="The fiscal year.")],
    unit: Annotated[str, typer.Option(help="Whose books these are (会计核算单位).")],
    *,
    unit_code: Annotated[str, typer.Option(help="Its organisation code (组织机构代码).")] = "",
    known_at: KnownAt = None,
) -> None:
    """Write a year's books as the data tables of GB/T 24589.1, in CSV, and check them against their schema and the ledger."""
    with plainly_explained(), opened(url) as connection:
        written = export_tables(connection, folder, Book(year=year, unit=unit, unit_code=unit_code), known_at=known_at)
        say(
            f"{written.vouchers} vouchers with {written.lines} lines of {written.accounts} accounts in {folder}; checked."
        )
        if not written.compared_with_memory:
            say("The closing balances were not compared with the ledger's memory: other facts came after them.")


@app.command(epilog=EXIT_CODES)
def receipt(
    path: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The receipt.")],
    url: Url,
    key: Keys,
    receipt_key: Annotated[
        list[str], typer.Option(metavar="KEY", help="The verifier key of the API's receipts, or a file that holds it.")
    ],
) -> None:
    """Whether the ledger kept what a receipt of the API promised: each fact is there, as promised, and sealed."""
    with plainly_explained(), opened(url) as connection:
        note = path.read_text(encoding="utf-8")
        found = check_receipt(connection, note, receipt_keys=read_keys(receipt_key), keys=read_keys(key))
        for line in found:
            say(line)
        if not found:
            say("Every promise is kept.")
        _end(found)


@app.command(epilog=EXIT_CODES)
def accesses(  # noqa: PLR0913 - the options are the parameters
    url: Url,
    *,
    subject: Subject = None,
    actor: Annotated[str | None, typer.Option(help="Who read: the subject of the token.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=MOMENT, help="From this time on.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=MOMENT, help="Before this time.")] = None,
    after: Annotated[UUID | None, typer.Option(help="Go on after this record.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=records.MAX_ACCESSES, help="So many at most, newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Who read what about people over the API, when, and what for."""
    with plainly_explained(), opened(url) as connection:
        found = records.list_accesses(
            connection, subject=subject, actor=actor, since=since, until=until, limit=limit, after=after
        )
        if as_json:
            _print(records.as_json(found).encode())
            return
        for line in records.as_lines(found.listed):
            say(line)
        if found.next_after is not None:
            say(f"There are more: --after {found.next_after}")


@app.command(epilog=EXIT_CODES)
def report(  # noqa: PLR0913 - the options are the parameters
    url: Url,
    key: Keys,
    *,
    copies: Copies = None,
    processes: Processes = PROCESSES,
    state: StateFile = None,
    shape: Annotated[Literal["text", "json", "html"], typer.Option("--format", help="In which form.")] = "text",
    output: Output = None,
) -> None:
    """One page: what was checked, up to which position, and with which result; the same bytes when run again."""
    with plainly_explained():
        keys = read_keys(key)
        with counting("verifying") as verifying, counting("refolding") as refolding:
            found = reporting.examine(
                url,
                keys,
                outside=_outside(copies, keys),
                processes=processes,
                state_file=state,
                verifying=verifying,
                refolding=adding(refolding),
            )
        shapes = {"text": reporting.as_text, "json": reporting.as_json, "html": reporting.as_html}
        page = shapes[shape](found)
        if output is None:
            _print(page.encode(), end=b"")
        else:
            with output.open("x", encoding="utf-8") as file:
                file.write(page)
            say(f"{found.result} {output}")
        _end([] if found.holds else [found.result])


def _outside(folder: Path | None, keys: Sequence[VerifierKey]) -> Outside | None:
    return None if folder is None else read_outside(folder, keys)


def _print(content: bytes, *, end: bytes = b"\n") -> None:
    """Bytes as they are."""
    sys.stdout.buffer.write(content + end)
    sys.stdout.buffer.flush()


def _end(findings: Sequence[object]) -> None:
    if findings:
        raise typer.Exit(DOES_NOT_HOLD)


if __name__ == "__main__":
    app(prog_name="python -m replay")
