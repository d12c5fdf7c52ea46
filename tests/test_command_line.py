"""The command line: what it prints, writes and exits with. Each exit code of `ledger/terminal.py` has a test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from ledger import terminal
from ledger.__main__ import app
from ledger.terminal import EXIT_CODES
from tests.test_files import ENVELOPE, contribution, contributions, ndjson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    from ledger.database import Database

    Run = Callable[..., Result]


OPENING: list[dict[str, Any]] = [
    {"type": "RegisterSourceIdentity", "command_id": "i/1", "provider": "p", "sid": "ea-core:1", **ENVELOPE},
    {
        "type": "OpenAccount",
        "command_id": "o/1",
        "account": "EA-1",
        "institution": "trustee",
        "opened_on": "2025-01-02",
        "product": "enterprise_annuity",
        "sid": "ea-core:1",
        **ENVELOPE,
    },
]
ROW = "EA-1,2025-01,2025-01-25,V1,pre_tax,1234.5,"


def invoke(*arguments: str) -> Result:
    # Wide, so that no path in a message is broken over two lines.
    return CliRunner(env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).invoke(
        app, list(arguments), catch_exceptions=False
    )


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line on a fresh database in which the account EA-1 is open."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path / "data"))
    assert invoke("post", str(ndjson(tmp_path / "opening.ndjson", *OPENING))).exit_code == 0
    return invoke


def positions(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


class TestHelp:
    @pytest.mark.parametrize(
        ("command", "mentions"),
        [
            ((), ["demo", "migrate", "post", "sheet", "LEDGER_DATABASE_URL", "LEDGER_DATA_FOLDER"]),
            (("demo",), ["--people", "--months", "--once", "Example", "empty"]),
            (("migrate",), ["LEDGER_ADMIN_DATABASE_URL", "Example"]),
            (("post",), ["FILE", "--strict", ".refusals.ndjson", ".malformed.ndjson", ".csv", "Example"]),
            (("sheet",), ["person", "--json", "one_id", "Example"]),
        ],
    )
    def test_the_help_of_every_command_is_complete(self, command: tuple[str, ...], mentions: list[str]) -> None:
        result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert result.exit_code == 0
        assert [word for word in (*mentions, "Exit codes") if word not in result.output] == []

    def test_every_exit_code_stands_in_the_help_and_in_the_docstring(self) -> None:
        in_docstring = re.findall(r"^(\d)  ", terminal.__doc__ or "", re.MULTILINE)
        assert re.findall(r"^- `(\d)`", EXIT_CODES, re.MULTILINE) == in_docstring == ["0", "1", "2", "3", "4", "5", "6"]

    def test_the_program_runs_as_a_module(self) -> None:
        found = subprocess.run([sys.executable, "-m", "ledger", "--help"], check=True, capture_output=True, text=True)
        assert "Usage: ledger" in found.stdout


class TestPost:
    def test_all_accepted_is_0_and_again_too(self, run: Run, database: Database, tmp_path: Path) -> None:
        path = str(contributions(tmp_path / "l.csv", ROW))
        assert run("post", path).exit_code == 0
        before = positions(database)
        again = run("post", path)
        assert again.exit_code == 0
        assert re.search(r"l\.csv +0 +0 +1 +0 +0", again.output)
        assert positions(database) == before

    def test_some_refused_is_1_and_says_why(self, run: Run, tmp_path: Path) -> None:
        result = run("post", str(contributions(tmp_path / "l.csv", ROW.replace("EA-1", "EA-9"))))
        assert result.exit_code == 1
        assert "AccountUnknown" in result.output
        assert "No account with this id was opened." in result.output
        assert "l.csv.refusals.ndjson" in result.output

    @pytest.mark.parametrize("name", ["missing.csv", "table.xlsx", "bad.csv", "utf16.ndjson"])
    def test_a_file_that_cannot_be_read_is_2_and_nothing_is_posted(
        self, run: Run, database: Database, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "table.xlsx").write_bytes(b"PK")
        (tmp_path / "bad.csv").write_text("account,amount\n", encoding="utf-8")
        (tmp_path / "utf16.ndjson").write_text("{}", encoding="utf-16")
        before = positions(database)
        result = run("post", str(contributions(tmp_path / "l.csv", ROW)), str(tmp_path / name))
        assert result.exit_code == 2
        assert name in result.output
        assert positions(database) == before

    def test_malformed_lines_are_3_and_the_rest_is_posted(self, run: Run, database: Database, tmp_path: Path) -> None:
        before = positions(database)
        assert run("post", str(ndjson(tmp_path / "c.ndjson", b"{", contribution(1)))).exit_code == 3
        assert positions(database) == before + 1

    def test_strict_posts_nothing_unless_all_lines_of_all_files_are_well_formed(
        self, run: Run, database: Database, tmp_path: Path
    ) -> None:
        good, bad = contributions(tmp_path / "l.csv", ROW), ndjson(tmp_path / "c.ndjson", contribution(2), b"{")
        before = positions(database)
        assert run("post", "--strict", str(good), str(bad)).exit_code == 3
        assert positions(database) == before
        assert (tmp_path / "c.ndjson.malformed.ndjson").exists()
        ndjson(bad, contribution(2))
        assert run("post", "--strict", str(good), str(bad)).exit_code == 0
        assert positions(database) == before + 2
        assert not (tmp_path / "c.ndjson.malformed.ndjson").exists()

    def test_reports_of_an_earlier_run_are_passed_over(self, run: Run, tmp_path: Path) -> None:
        path = ndjson(tmp_path / "c.ndjson", contribution(1, account="EA-9"))
        run("post", str(path))
        result = run("post", str(path), str(tmp_path / "c.ndjson.refusals.ndjson"))
        assert result.exit_code == 1
        assert "passed over" in result.output

    def test_no_file_is_a_wrong_usage(self) -> None:
        assert invoke("post").exit_code == 2


class TestDatabase:
    def test_a_database_that_does_not_answer_is_4(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", f"postgresql://ledger_app:secret@/ledger?host={tmp_path}")
        result = invoke("post", str(ndjson(tmp_path / "c.ndjson", contribution(1))))
        assert result.exit_code == 4
        assert "does not answer" in result.output
        assert "secret" not in result.output

    def test_a_database_without_tables_is_4_and_says_what_to_run(
        self, monkeypatch: pytest.MonkeyPatch, empty_database: Database
    ) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", empty_database.url)
        result = invoke("sheet", "ea-core:1")
        assert result.exit_code == 4
        assert "run `ledger migrate`" in result.output

    def test_a_journal_held_by_another_for_too_long_is_4(
        self, run: Run, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("LEDGER_LOCK_TIMEOUT_MS", "50")
        path = str(contributions(tmp_path / "l.csv", ROW))
        with database.connect() as other:
            other.execute("SELECT FROM head FOR UPDATE")
            result = run("post", path)
        assert result.exit_code == 4
        assert "post the batch again" in result.output
        assert run("post", path).exit_code == 0

    def test_migrate_makes_the_tables_and_may_run_again(
        self, monkeypatch: pytest.MonkeyPatch, empty_database: Database
    ) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", empty_database.url)
        monkeypatch.setenv("LEDGER_ADMIN_DATABASE_URL", empty_database.admin_url)
        first, second = invoke("migrate"), invoke("migrate")
        assert (first.exit_code, second.exit_code) == (0, 0)
        assert "applied 0001_roles.sql" in first.output
        assert second.output == "The database is up to date.\n"

    def test_migrate_without_the_rights_is_4_and_names_the_setting(
        self, monkeypatch: pytest.MonkeyPatch, empty_database: Database
    ) -> None:
        with psycopg.connect(empty_database.admin_url, autocommit=True) as connection:
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        monkeypatch.setenv("LEDGER_DATABASE_URL", empty_database.url)
        result = invoke("migrate")
        assert result.exit_code == 4
        assert "LEDGER_ADMIN_DATABASE_URL" in result.output

    def test_an_address_that_is_none_is_2_and_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://u:secret@h/x?colour=red")
        result = invoke("sheet", "ea-core:1")
        assert result.exit_code == 2
        assert "secret" not in result.output

    def test_a_wrong_setting_is_2_and_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGER_POOL_SIZE", "many")
        result = invoke("sheet", "ea-core:1")
        assert result.exit_code == 2
        assert "LEDGER_POOL_SIZE" in result.output

    def test_a_misspelt_setting_is_2_and_the_known_ones_are_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGER_DATABSE_URL", "x")
        result = invoke("sheet", "ea-core:1")
        assert result.exit_code == 2
        assert "LEDGER_DATABASE_URL" in result.output


class TestSheet:
    def test_a_person_unknown_is_1(self, run: Run) -> None:
        result = run("sheet", "ea-core:9")
        assert result.exit_code == 1
        assert result.output == "Nobody is known as ea-core:9: give a source identity, a one_id or an account.\n"

    @pytest.mark.parametrize("name", ["ea-core:1", "EA-1"])
    def test_the_table_is_in_yuan_and_names_products_in_both_languages(
        self, run: Run, tmp_path: Path, name: str
    ) -> None:
        run("post", str(contributions(tmp_path / "l.csv", ROW)))
        output = run("sheet", name).output
        for words in ("企业年金 Enterprise annuity, EA-1", "个人缴费 Employee part", "1,234.50"):
            assert words in output

    def test_the_json_is_in_fen_and_a_one_id_names_the_person(self, run: Run, tmp_path: Path) -> None:
        run("post", str(contributions(tmp_path / "l.csv", ROW)))
        found = json.loads(run("sheet", "EA-1", "--json").output)
        assert (found["known_at"], found["sheet"]["balance_fen"]) == (3, 123_450)
        assert json.loads(run("sheet", found["sheet"]["one_id"], "--json").output) == found
