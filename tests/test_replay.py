"""`python -m replay refold`: the auditor's program finds what was changed behind the ledger's back, and says where."""

# ruff: noqa: S608 - what is put into statements are tables and names of our own

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from typer.testing import CliRunner

from ledger.application import Ledger
from ledger.projector import Projector
from replay import comparing
from replay.__main__ import app
from replay.comparing import compare
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
    unmerge,
)
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from ledger.database import Database

LONG = "x" * 60
LONG_ACCOUNT, LONG_IDENTITY = f"account:P-{LONG}", f"identity:sys:{LONG}"


@pytest.fixture
def projected(filled: Database) -> Database:
    """The same, all of it in the projections too, where some people were composed and parted again."""
    Ledger(filled).post([register("sys:3"), merge("sys:1", "sys:3"), unmerge(["sys:1", f"sys:{LONG}"], ["sys:3"])])
    Projector(filled).catch_up()
    return filled


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
    result = CliRunner().invoke(app, ["refold", "--database-url", url.replace("ledger_app", "ledger_auditor")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def as_superuser(database: Database, *statements: str) -> None:
    """As one who may switch every guard off."""
    with past_all_guards(database) as connection:
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount == 1


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
    assert b"memory: account:A1: stored nothing, refolded 13" in done.stdout


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
        (f"DELETE FROM memory WHERE tag = '{LONG_ACCOUNT}'", LONG_ACCOUNT),
        (f"UPDATE memory SET state = '[/]' WHERE tag = '{LONG_IDENTITY}'", LONG_IDENTITY),
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
    as_superuser(filled, f"DELETE FROM event WHERE position = {position}")
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
    as_superuser(filled, f"UPDATE event SET data = '{data}' WHERE position = 7")
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


LINE = "statement_line_1"
TOTAL = "control_total_1"
IDENTITY = "person_identity_1"
ACCOUNT = "person_account_1"


@pytest.mark.parametrize(
    ("statement", "places"),
    [
        (f"UPDATE {LINE} SET amounts_fen = '{{1001}}' WHERE position = 7", ["statements: 7 A1"]),
        (f"UPDATE {LINE} SET amount_fen = 1001 WHERE position = 7", ["statements: 7 A1"]),
        (f"UPDATE {LINE} SET parts = '{{own}}' WHERE position = 7", ["statements: 7 A1"]),
        (f"UPDATE {LINE} SET kind = 'fee' WHERE position = 7", ["statements: 7 A1"]),
        (f"UPDATE {LINE} SET effective_on = '2026-02-16' WHERE position = 7", ["statements: 7 A1"]),
        (f"UPDATE {LINE} SET reverses = 7 WHERE position = 13", ["statements: 13 A1"]),
        (f"UPDATE {LINE} SET account = 'A2' WHERE position = 7", ["statements: 7 A1", "statements: 7 A2"]),
        (f"DELETE FROM {LINE} WHERE position = 12 AND account = 'A2'", ["statements: 12 A2"]),
        (f"INSERT INTO {LINE} VALUES (1, 'A1', '2026-01-01', 'fee', 1, '{{}}', '{{}}', NULL)", ["statements: 1 A1"]),
        (
            f"INSERT INTO {LINE} VALUES (99, 'A1', '2026-01-01', 'fee', 1, '{{}}', '{{}}')",
            ["statements: beyond: 99 A1"],
        ),
        (f"INSERT INTO {LINE} VALUES (0, 'A1', '2026-01-01', 'fee', 1, '{{}}', '{{}}')", ["statements: beyond: 0 A1"]),
        (
            f"UPDATE {TOTAL} SET amount_fen = amount_fen + 1 WHERE span_size = 1000 AND kind = 'fee' AND part = 'fees'",
            ["control_totals: span of 1000: 0 2026-02-15 external fee fees"],
        ),
        (
            f"UPDATE {TOTAL} SET lines = lines + 1 WHERE span_size = 10000000 AND kind = 'fee' AND part = 'fees'",
            ["control_totals: span of 10000000: 0 2026-02-15 external fee fees"],
        ),
        (
            f"DELETE FROM {TOTAL} WHERE span_size = 1000000000 AND kind = 'fee' AND part = 'fees'",
            ["control_totals: span of 1000000000: 0 2026-02-15 external fee fees"],
        ),
        (f"INSERT INTO {TOTAL} VALUES (7, 0, '2026-01-01', 'x', 'y', 'z', 1, 1)", ["control_totals: beyond: 7 0"]),
        (
            f"INSERT INTO {TOTAL} VALUES (1000, 5, '2026-01-01', 'x', 'y', 'z', 1, 1)",
            ["control_totals: beyond: 1000 5"],
        ),
        (f"UPDATE {IDENTITY} SET person = 'P0' WHERE sid = 'sys:3'", ["people, identity: sys:3"]),
        (f"UPDATE {IDENTITY} SET members = '{{sys:1}}' WHERE sid = 'sys:1'", ["people, identity: sys:1"]),
        (f"UPDATE {IDENTITY} SET changed_position = 1 WHERE sid = 'sys:3'", ["people, identity: sys:3"]),
        (f"DELETE FROM {IDENTITY} WHERE sid = 'sys:3'", ["people, identity: sys:3"]),
        (f"UPDATE {ACCOUNT} SET sid = 'sys:3' WHERE account = 'A2'", ["people, account: A2"]),
        (f"INSERT INTO {ACCOUNT} VALUES ('ghost', 'sys:3', 'none', 3)", ["people, account: ghost"]),
        ("DELETE FROM event_tag WHERE position = 7", ["event_tag: position 7, account:A1"]),
        ("INSERT INTO event_tag VALUES ('account:A1', 1)", ["event_tag: position 1, account:A1"]),
        ("UPDATE event SET effective_on = '2026-02-16' WHERE position = 7", ["event: effective_on of position 7"]),
        (
            "UPDATE event SET tags = '{account:A2}' WHERE position = 7",
            ["event: tags of position 7", "event_tag: position 7, account:A1", "event_tag: position 7, account:A2"],
        ),
        ("UPDATE event SET command_id = 'another' WHERE position = 7", ["command: another", "command: test/"]),
        ("UPDATE command SET last_position = 8 WHERE first_position = 7", ["command: test/"]),
        ("DELETE FROM command WHERE first_position = 7", ["command: test/"]),
        (
            "UPDATE projection_slot SET halted = 'for a test' WHERE name = 'people' AND slot = 1",
            ["people: it takes no"],
        ),
        (
            "UPDATE projection_slot SET position = 99 WHERE name = 'people' AND slot = 1",
            ["people: its live slot stands at 99"],
        ),
        (
            "INSERT INTO dead_letter VALUES ('statements', 1, 7, '{}', 'for a test')",
            ["statements: position 7 is set aside: for a test"],
        ),
    ],
)
def test_what_is_derived_and_was_changed_is_named_and_nothing_else(
    projected: Database, statement: str, places: list[str]
) -> None:
    before = refold(projected.url)
    assert before[0] == 0, before[1]
    as_superuser(projected, statement)
    code, said = refold(projected.url)
    assert code == 1
    lines = said.splitlines()
    for place in places:
        assert [line for line in lines if line.startswith(place)], said
    assert f" {len(places)} differences." in lines[-1], said


def test_a_projection_that_is_behind_is_compared_up_to_where_it_is(projected: Database) -> None:
    Ledger(projected).post([contribute("A2", 5)])
    code, said = refold(projected.url)
    assert code == 0, said
    assert "statements stands at position 19 of 20, and is compared up to there." in said
    as_superuser(projected, f"UPDATE {LINE} SET amount_fen = 1 WHERE position = 7")
    assert refold(projected.url)[0] == 1


def test_totals_that_do_not_end_with_a_span_are_equal_at_every_position(projected: Database) -> None:
    """One by one, so that the position of the projections passes through spans, and stands within them."""
    ledger, projector = Ledger(projected), Projector(projected)
    for size in (1, 970, 5, 9_100):
        ledger.post([contribute("A1", fen) for fen in range(1, size + 1)])
        projector.catch_up()
        code, said = refold(projected.url)
        assert code == 0, said


def test_what_is_found_does_not_depend_on_the_number_of_processes(
    projected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them on one snapshot, which later changes do not reach."""
    Ledger(projected).post([contribute("A1", fen) for fen in range(1, 4_001)])
    Projector(projected).catch_up()
    as_superuser(
        projected,
        f"UPDATE {LINE} SET amount_fen = 0 WHERE position = 2500",
        f"UPDATE {IDENTITY} SET provider = 'x' WHERE sid = 'sys:3'",
        f"UPDATE {TOTAL} SET lines = 0 WHERE span_size = 100000 AND kind = 'fee' AND part = 'fees'",
        "DELETE FROM event_tag WHERE position = 7",
        "UPDATE event SET command_id = 'another' WHERE position = 9",
    )
    monkeypatch.setattr(comparing, "FACTS_WORTH_A_PROCESS", 1_000)
    url = projected.url.replace("ledger_app", "ledger_auditor")
    passed: list[int] = []
    alone = compare(url, processes=1)
    apart = compare(url, processes=3, progress=lambda done, _: passed.append(done))
    assert len(alone.differences) == 6
    assert sorted(alone.differences) == sorted(apart.differences)
    assert (alone.facts, alone.memories) == (apart.facts, apart.memories)
    assert sum(passed) == 2 * alone.until


def test_more_differences_than_are_listed_are_said(projected: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.differences.MAX_DIFFERENCES", 3)
    with psycopg.connect(projected.admin_url) as connection:
        connection.execute(f"TRUNCATE {LINE}".encode())
    code, said = refold(projected.url)
    assert code == 1
    assert "more than 3 differences; the others are not listed" in said


def test_settings_of_the_role_are_of_no_influence(projected: Database) -> None:
    settings = (
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Shanghai'",
        "search_path = 'nowhere'",
        "bytea_output = 'escape'",
    )
    with psycopg.connect(projected.admin_url) as connection:
        for setting in settings:
            connection.execute(f"ALTER ROLE ledger_auditor SET {setting}".encode())
    try:
        assert refold(projected.url)[0] == 0
    finally:
        with psycopg.connect(projected.admin_url) as connection:
            connection.execute("ALTER ROLE ledger_auditor RESET ALL")


def test_the_auditor_needs_no_more_than_to_read(projected: Database) -> None:
    """The role of the auditor can write nothing; it suffices."""
    with psycopg.connect(projected.url.replace("ledger_app", "ledger_auditor")) as connection:
        found = connection.execute(
            "SELECT count(*) FROM information_schema.role_table_grants "
            "WHERE grantee = 'ledger_auditor' AND privilege_type <> 'SELECT'"
        ).fetchone()
    assert found == (0,)
    assert refold(projected.url)[0] == 0
