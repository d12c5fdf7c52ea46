"""`python -m replay refold`: the auditor's program finds what was changed behind the ledger's back, and says where."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from typer.testing import CliRunner

from ledger.application import Ledger
from replay.__main__ import app
from tests.commands import (
    CAP_FEN,
    PERSONAL,
    charge,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    reverse,
    transfer,
)

if TYPE_CHECKING:
    from ledger.database import Database

LONG = "x" * 60
LONG_ACCOUNT, LONG_IDENTITY = f"account:P-{LONG}", f"identity:sys:{LONG}"


@pytest.fixture
def filled(database: Database) -> Database:
    """Facts of most kinds at positions 1 to 16, and names too long for one line of a terminal."""
    Ledger(database).post(
        [
            register("sys:1"),
            register(f"sys:{LONG}"),
            open_account("sys:1", "A1"),
            open_account("sys:1", "A2"),
            open_account("sys:1", "P1", PERSONAL),
            open_account(f"sys:{LONG}", f"P-{LONG}", PERSONAL),
            contribute("A1", 1_000),
            contribute_own("P1", CAP_FEN),
            contribute_own(f"P-{LONG}", CAP_FEN),
            credit("A1", 50),
            charge("A1", 7),
            transfer("A1", "A2", 500),
            reverse(11),
            merge("sys:1", f"sys:{LONG}"),
        ]
    )
    return database


def refold(url: str) -> tuple[int, str]:
    """Exit code and output, without the second that a process of its own takes to start."""
    result = CliRunner().invoke(app, ["refold", "--database-url", url])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def as_superuser(database: Database, *statements: str) -> None:
    """As one who may switch every guard off."""
    with psycopg.connect(database.admin_url) as connection:
        for table in ("event", "event_tag"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount == 1
        for table in ("event", "event_tag"):
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change".encode())


def test_a_good_ledger_is_equal(filled: Database) -> None:
    code, said = refold(filled.url)
    assert code == 0, said
    assert "0 differences" in said


def test_as_a_program_it_answers_with_its_exit_code(filled: Database) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
    command = [sys.executable, "-m", "replay", "refold"]
    environment |= {"LEDGER_DATABASE_URL": filled.url}
    codes = [subprocess.run(command, check=False, capture_output=True, timeout=60, env=environment).returncode]
    as_superuser(filled, "DELETE FROM memory WHERE tag = 'account:A1'")
    done = subprocess.run(command, check=False, capture_output=True, timeout=60, env=environment)
    assert [*codes, done.returncode] == [0, 1]
    assert b"account:A1: stored None, folded {" in done.stdout


def test_an_empty_ledger_is_equal(database: Database) -> None:
    assert refold(database.url)[0] == 0


@pytest.mark.parametrize(
    ("statement", "tag"),
    [
        (
            "UPDATE memory SET state = replace(state, '\"employee\":550', '\"employee\":551') WHERE tag = 'account:A1'",
            "A1",
        ),
        ("UPDATE memory SET position = position - 1 WHERE tag = 'account:A2'", "account:A2"),
        (f"DELETE FROM memory WHERE tag = '{LONG_ACCOUNT}'", LONG_ACCOUNT),  # noqa: S608  our own name
        (f"UPDATE memory SET state = '[/]' WHERE tag = '{LONG_IDENTITY}'", LONG_IDENTITY),  # noqa: S608  our own name
        ("INSERT INTO memory VALUES ('account:a:ghost:', 1, '{}')", "account:a:ghost:"),
    ],
)
def test_a_memory_changed_by_the_superuser_is_named(filled: Database, statement: str, tag: str) -> None:
    """Whole and on one line, however long."""
    before = refold(filled.url)
    as_superuser(filled, statement)
    code, said = refold(filled.url)
    assert (before[0], code) == (0, 1)
    assert [line for line in said.splitlines() if tag in line and "stored" in line], said
    assert "1 differences" in said


@pytest.mark.parametrize(
    ("position", "tag"), [(1, "identity:sys:1"), (3, "account:A1"), (7, "account:A1"), (12, "account:A2"), (16, "P1")]
)
def test_a_missing_fact_is_named_with_what_it_was_about(filled: Database, position: int, tag: str) -> None:
    """The first, one in the middle on which others build, and the last."""
    as_superuser(filled, f"DELETE FROM event WHERE position = {position}")  # noqa: S608  our own number
    code, said = refold(filled.url)
    assert code == 1
    assert f"position {position} is missing" in said
    assert tag in said


def test_two_facts_in_the_place_of_one_are_found(filled: Database) -> None:
    as_superuser(filled, "UPDATE event SET data = data || ','::bytea || data WHERE position = 7")
    code, said = refold(filled.url)
    assert code == 1
    assert "position 7" in said


def test_a_fact_that_was_changed_is_found_by_what_it_changes(filled: Database) -> None:
    as_superuser(
        filled,
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), '1000', '9000'), 'UTF8') "
        "WHERE position = 7",
    )
    code, said = refold(filled.url)
    assert code == 1
    assert "account:A1" in said


@pytest.mark.parametrize("data", ["{}", "not json", '{"unknown":1}', "{},{}", r"\xff"])
def test_a_fact_that_cannot_be_read_is_named(filled: Database, data: str) -> None:
    as_superuser(filled, f"UPDATE event SET data = '{data}' WHERE position = 7")  # noqa: S608  our own data
    code, said = refold(filled.url)
    assert code == 1
    assert "position 7" in said


def test_facts_that_contradict_each_other_are_named(filled: Database) -> None:
    """A contribution to an account that, as the journal now reads, was never opened."""
    as_superuser(
        filled,
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), 'A1', 'A9'), 'UTF8') "
        "WHERE position = 3",
    )
    code, said = refold(filled.url)
    assert code == 1
    assert "position 7" in said


def test_the_auditor_needs_no_more_than_to_read(filled: Database) -> None:
    with psycopg.connect(filled.admin_url) as connection:
        connection.execute("CREATE ROLE auditor LOGIN")
        connection.execute(f"GRANT CONNECT ON DATABASE {connection.info.dbname} TO auditor".encode())
        connection.execute("GRANT USAGE ON SCHEMA public TO auditor")
        connection.execute("GRANT SELECT ON head, event, event_tag, memory TO auditor")
    try:
        assert refold(filled.url.replace("ledger_app", "auditor"))[0] == 0
    finally:
        with psycopg.connect(filled.admin_url) as connection:
            connection.execute("DROP OWNED BY auditor")
            connection.execute("DROP ROLE auditor")
