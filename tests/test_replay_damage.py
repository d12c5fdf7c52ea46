"""`python -m replay` on a damaged ledger, or asked something impossible: a finding or a sentence, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from ledger.application import Ledger
from ledger.notary import seal_now, verifier_key
from ledger.projector import Projector
from replay import terminal
from replay.__main__ import app
from replay.differences import Differences, Keyed, compare_keyed
from replay.facts import HistoryBroken, opened
from replay.hledger import export_hledger
from replay.tables import Book, BookInvalid, export_tables
from replay.unfinished import unfinished_file, unfinished_folder
from tests.commands import contribute, merge, open_account, register
from tests.sealing import auditor_url
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.database import Database, TemporaryServer
    from ledger.settings import Settings

DAMAGE = {
    "a registration that is gone": "DELETE FROM event WHERE position = 1",
    "an opening that is gone": "DELETE FROM event WHERE position = 2",
    "a fact in the middle that is gone": "DELETE FROM event WHERE position = 4",
    "a product that does not exist": (
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), 'enterprise_annuity', 'moon_annuity'), "
        "'UTF8') WHERE position = 2"
    ),
    "an unreadable opening": r"UPDATE event SET data = '\x7b7d'::bytea WHERE position = 2",
    "an unreadable link": r"UPDATE event SET data = '\x7b7d'::bytea WHERE type = 'IdentitiesMerged'",
    "an empty tag index": "DELETE FROM event_tag",
    "no head": "DELETE FROM head",
    "a memory that is no JSON": "UPDATE memory SET state = 'nonsense' WHERE tag = 'account:A1'",
    "an account opened twice": (
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), 'A2', 'A1'), 'UTF8') "
        "WHERE type = 'AccountOpened' AND convert_from(data, 'UTF8') LIKE '%A2%'"
    ),
}
FIND = ("refold", "report")
ANSWER = ("as-of", "known-at", "explain", "export-hledger", "export-tables")
# Where the damage does not matter to what is asked, or is said on the sheet.
STILL_ANSWERED = {
    "a memory that is no JSON": {"as-of", "known-at", "explain", "export-hledger"},
    "an empty tag index": {"export-hledger", "export-tables"},
    "an unreadable link": {"known-at", "export-hledger", "export-tables"},
    "an unreadable opening": {"known-at"},
    "an account opened twice": {"known-at"},
}


def asked(command: str, folder: Path) -> tuple[str, ...]:
    return {
        "as-of": ("as-of", "2026-12-31"),
        "known-at": ("known-at", "9", "sys:1"),
        "explain": ("explain", "sys:1"),
        "export-hledger": ("export-hledger", str(folder / "journal")),
        "export-tables": ("export-tables", str(folder / "tables"), "--year", "2026", "--unit", "X"),
    }.get(command, (command, "--processes", "1"))


@pytest.fixture(scope="module", params=DAMAGE)
def damaged(
    request: pytest.FixtureRequest,
    server: TemporaryServer,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, dict[str, str]]]:
    """The kind of damage, and the environment of an auditor of a ledger with it."""
    own = settings.model_copy(update={"data_folder": tmp_path_factory.mktemp("own")})
    database = server.create_database("test_damage")
    try:
        Ledger(database).post(
            [
                register("sys:1"),
                open_account("sys:1", "A1"),
                contribute("A1", 1_000, effective_on=date(2026, 1, 31)),
                contribute("A1", 500),
                register("sys:2"),
                open_account("sys:2", "A2"),
                contribute("A2", 9),
                register("sys:3"),
                merge("sys:1", "sys:3"),
            ]
        )
        Projector(database).catch_up()
        seal_now(database, own)
        with past_all_guards(database) as superuser:
            superuser.execute(DAMAGE[request.param].encode())
        yield request.param, {"LEDGER_DATABASE_URL": auditor_url(database), "REPLAY_KEY": verifier_key(own)}
    finally:
        database.close()
        server.drop_database("test_damage")


@pytest.mark.parametrize("command", FIND)
def test_damage_is_a_finding_and_the_other_parts_are_compared(
    damaged: tuple[str, dict[str, str]], command: str, tmp_path: Path
) -> None:
    kind, environment = damaged
    result = CliRunner().invoke(app, asked(command, tmp_path), env=environment)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == (terminal.DAMAGED if kind == "no head" else terminal.DOES_NOT_HOLD), result.output
    if kind == "a registration that is gone" and command == "refold":
        assert "position 1 is missing" in result.output
        assert "who is one person with whom up to position 9 does not follow from the facts" in result.output
        assert "event_tag: position 1, " in result.output


@pytest.mark.parametrize("command", ANSWER)
def test_what_damage_keeps_from_being_answered_is_said_and_leaves_no_file(
    damaged: tuple[str, dict[str, str]], command: str, tmp_path: Path
) -> None:
    kind, environment = damaged
    result = CliRunner().invoke(app, asked(command, tmp_path), env=environment)
    assert isinstance(result.exception, SystemExit) or result.exit_code == 0, result.exception
    if command in STILL_ANSWERED.get(kind, ()):
        assert result.exit_code == 0, result.output
        return
    expected = {terminal.DAMAGED}
    if kind == "an empty tag index":
        # Nothing leads to her facts.
        expected.add(terminal.NOT_THERE)
    assert result.exit_code in expected, result.output
    assert "not foreseen" not in result.output
    if command == "export-tables":
        assert list(tmp_path.iterdir()) == []


def test_a_bundle_of_a_person_whose_facts_cannot_be_read_is_refused(
    damaged: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    kind, environment = damaged
    if kind not in {"an unreadable opening", "an unreadable link"}:
        return
    result = CliRunner().invoke(app, ("export", str(tmp_path / "her.zip"), "--person", "sys:1"), env=environment)
    assert result.exit_code == terminal.DAMAGED, result.output
    assert "cannot be read" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyError("x"), terminal.DAMAGED, "KeyError"),
        (psycopg.DataError("date too large (after year 10K)"), terminal.DAMAGED, "date too large"),
        (ValueError("year 10000 is out of range"), terminal.DAMAGED, "year 10000"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates"), terminal.WRONG_USAGE, "not UTF-8"),
        (HistoryBroken(None, "a \x1b[2J b"), terminal.DAMAGED, "the history breaks: a \\x1b[2J b"),
    ],
)
def test_no_error_ends_with_the_exit_code_of_a_finding(
    error: Exception, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, terminal.plainly_explained():
        raise error
    assert ended.value.exit_code == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("ending", [typer.Exit(1), typer.BadParameter("x"), typer.Abort()])
def test_what_ends_a_command_on_purpose_is_let_through(ending: Exception) -> None:
    with pytest.raises(type(ending)) as ended, terminal.plainly_explained():
        raise ending
    assert ended.value is ending


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ((b"explain", b"\xff"), terminal.NOT_THERE),
        ((b"explain", b"a b"), terminal.NOT_THERE),
        ((b"explain", b"sys:\xff"), terminal.NOT_THERE),
        ((b"as-of", b"2026-01-01", b"\xff"), terminal.NOT_THERE),
        ((b"sample", b"--nonce", b"\xff"), terminal.WRONG_USAGE),
        ((b"export", b"x.zip", b"--person", b"\xff"), terminal.NOT_THERE),
        ((b"export-tables", b"t", b"--year", b"2026", b"--unit", b"\xff"), terminal.WRONG_USAGE),
        ((b"export-tables", b"t", b"--year", b"2026", b"--unit", b""), terminal.WRONG_USAGE),
        ((b"export-tables", b"t", b"--year", b"2026", b"--unit", b"X", b"--known-at", b"4"), terminal.NOT_THERE),
        ((b"verify", b"--state", b"nowhere/state"), terminal.WRONG_USAGE),
    ],
)
def test_names_and_texts_that_cannot_be_are_refused_before_anything_is_written(
    database: Database, settings: Settings, tmp_path: Path, command: tuple[bytes, ...], code: int
) -> None:
    own = settings.model_copy(update={"data_folder": tmp_path / "own"})
    Ledger(database).post([register("sys:1"), open_account("sys:1", "A1"), contribute("A1", 1_000)])
    seal_now(database, own)
    work = tmp_path / "work"
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
    environment |= {"LEDGER_DATABASE_URL": auditor_url(database), "REPLAY_KEY": verifier_key(own)}
    arguments = [os.fsencode(sys.executable), b"-m", b"replay", *command]
    done = subprocess.run(arguments, check=False, capture_output=True, timeout=60, env=environment, cwd=work)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip()
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("unit", ["", " ", "X\n", "X\x00", "\udcff", "X" * 201])
def test_a_unit_that_cannot_stand_in_the_tables_is_refused(unit: str) -> None:
    with pytest.raises(BookInvalid, match="会计核算单位"):
        Book(year=2026, unit=unit)


def test_an_export_that_fails_can_be_asked_for_again(database: Database, tmp_path: Path) -> None:
    Ledger(database).post([register("sys:1"), open_account("sys:1", "A1"), contribute("A1", 1_000)])
    with past_all_guards(database) as superuser:
        superuser.execute("UPDATE event SET command_id = 'a ; b', actor = ' ' || chr(10) WHERE position = 3")
    book = Book(year=2026, unit="X")
    for _ in range(2):
        with opened(auditor_url(database)) as connection:
            with pytest.raises(HistoryBroken):
                export_hledger(connection, tmp_path / "journal")
            with pytest.raises(ValueError, match="findings in the exported tables"):
                export_tables(connection, tmp_path / "tables", book)
        assert list(tmp_path.iterdir()) == []
    with past_all_guards(database) as superuser:
        superuser.execute("UPDATE event SET command_id = 'a', actor = 'system:x' WHERE position = 3")
    with opened(auditor_url(database)) as connection:
        export_hledger(connection, tmp_path / "journal")
        export_tables(connection, tmp_path / "tables", book)
        with pytest.raises(FileExistsError):
            export_hledger(connection, tmp_path / "journal")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "tables"]


def test_nothing_is_written_over_or_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    for making in (unfinished_file, unfinished_folder):
        with pytest.raises(FileExistsError), making(tmp_path / "there"):
            pass
        with pytest.raises(FileNotFoundError) as missing, making(tmp_path / "nowhere" / "x"):
            pass
        assert missing.value.filename == str(tmp_path / "nowhere")
    assert (tmp_path / "there").read_text() == "kept"


def test_a_row_that_is_null_or_has_no_key_differs_from_none(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE held AS VALUES ('a', '1'), ('b', NULL), (NULL, '3')")
        found = Differences()
        compare_keyed(
            connection, Keyed("held", "held", "column1", "column2"), ["a"], lambda keys: ["1"] * len(keys), found
        )
    assert found.lines() == [
        "held: NULL: stored rows without a key: 1, refolded nothing",
        "held: b: stored NULL, refolded nothing",
    ]
