"""The command line's readings and tokens: the same numbers as tables and as JSON, and no traceback for a mistake."""

from __future__ import annotations

import json
import re
import time
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ledger.__main__ import app
from ledger.api.tokens import KEY_FILE, DevelopmentKey, Scope, Verifier
from ledger.application import Ledger
from ledger.printing import yuan
from ledger.projector import Projector
from tests.commands import (
    CAP_FEN,
    PERSONAL,
    contribute,
    contribute_own,
    credit,
    open_account,
    register,
    reverse,
    transfer,
)
from tests.test_files import contribution, ndjson

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from ledger.database import Database

NARROW = {"COLUMNS": "60", "TERMINAL_WIDTH": "60", "FORCE_COLOR": "1"}
WIDE = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env or WIDE).invoke(app, list(arguments), catch_exceptions=False)


def read_json(*arguments: str) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def shown(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def ledger(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ledger:
    """Two persons, three accounts, eleven facts and one refusal, none of them projected yet."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path / "data"))
    ledger = Ledger(database)
    ledger.post([register("ea:1"), register("pp:7")])
    ledger.post([open_account("ea:1", "A1"), open_account("ea:1", "A2"), open_account("pp:7", "P7", PERSONAL)])
    ledger.post(
        [
            contribute("A1", 123_456_789, effective_on=date(2026, 2, 20)),
            contribute("A1", 30, effective_on=date(2026, 1, 5)),
        ]
    )
    ledger.post([contribute_own("P7", CAP_FEN), transfer("A1", "A2", 100), credit("A2", 7), reverse(7)])
    ledger.post([contribute("A9", 1)])
    return ledger


class TestHelp:
    @pytest.mark.parametrize(
        ("command", "mentions"),
        [
            ("serve", ["--host", "--port", "127.0.0.1", "8000", "--no-project", "/docs", "LEDGER_TOKEN_KEYS"]),
            ("project", ["--rebuild", "--once", "--json", "all", "status"]),
            ("sheet", ["PERSON", "--as-of", "--known-at", "--json", "one_id"]),
            (
                "statement",
                ["ACCOUNT", "--as-of", "--known-at", "--order", "effective", "position", "--lines", "--json"],
            ),
            ("totals", ["--as-of", "--known-at", "--by-day", "--json", "trial balance"]),
            ("status", ["--json", "lag", "refusals"]),
            ("token", ["--scope", "--subject", "--source", "--product", "--purpose", "--json", *Scope]),
            ("demo", ["--host", "--port", "--once"]),
            ("post", ["--json"]),
            ("migrate", ["--json"]),
        ],
    )
    def test_it_names_every_option_an_example_and_the_exit_codes(self, command: str, mentions: list[str]) -> None:
        output = invoke(command, "--help", env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        assert [word for word in (*mentions, "Exit codes") if word not in output] == []
        assert re.search(rf"Example: .*ledger {command}", output)

    def test_all_commands_are_listed(self) -> None:
        output = invoke("--help").output
        for command in (
            "serve",
            "project",
            "statement",
            "sheet",
            "totals",
            "token",
            "status",
            "post",
            "migrate",
            "demo",
        ):
            assert re.search(rf"^\W*{command} ", output, re.MULTILINE), command


@pytest.mark.usefixtures("ledger")
class TestSheet:
    @pytest.mark.parametrize("asked", [[], ["--as-of", "2026-02-15"], ["--known-at", "7"]])
    def test_table_and_json_agree_on_both_axes(self, asked: list[str]) -> None:
        expected = {"": 123_456_796, "--as-of": 7, "--known-at": 123_456_819}["".join(asked[:1])]
        found = read_json("sheet", "ea:1", *asked)
        assert found["sheet"]["balance_fen"] == expected
        output = shown("sheet", "ea:1", *asked)
        assert re.search(rf"合计 Total .* {re.escape(yuan(expected))} *\n", output)
        assert f"at position {found['known_at']:,}" in output
        assert (found["as_of"] is not None) == ("as of 2026-02-15" in output) == ("--as-of" in asked)

    def test_the_axes_together(self) -> None:
        found = read_json("sheet", "A1", "--as-of", "2026-01-31", "--known-at", "8")
        assert (found["known_at"], found["as_of"], found["sheet"]["balance_fen"]) == (8, "2026-01-31", 30)


@pytest.mark.usefixtures("ledger")
class TestStatement:
    @pytest.mark.parametrize(("order", "positions"), [("effective", [7, 9, 11, 6]), ("position", [6, 7, 9, 11])])
    def test_table_and_json_agree_in_both_orders(self, order: str, positions: list[int]) -> None:
        found = read_json("statement", "A1", "--order", order)
        assert [line["position"] for line in found["lines"]] == positions
        output = shown("statement", "A1", "--order", order)
        rows = re.findall(r"^ ?(\d{4}-\d\d-\d\d) +(\d+) .* (-?[\d,]+\.\d\d) +(-?[\d,]+\.\d\d) *$", output, re.MULTILINE)
        assert rows == [
            (line["effective_on"], str(line["position"]), yuan(line["amount_fen"]), yuan(line["balance_fen"]))
            for line in found["lines"]
        ]
        assert "contribution, reverses 7" in output
        assert re.search(rf"合计 Total .* {re.escape(yuan(found['balance_fen']))} *\n", output)

    def test_what_was_posted_is_in_it_at_once(self, ledger: Ledger) -> None:
        ledger.post([credit("A2", 5)])
        assert read_json("statement", "A2")["balance_fen"] == 112

    @pytest.mark.parametrize("lines", [1, 3, 4, 5])
    def test_as_many_lines_as_asked_for_and_whether_there_are_more(
        self, lines: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ledger.__main__.MAX_LINES", 2)
        whole = read_json("statement", "A1", "--order", "position")
        found = read_json("statement", "A1", "--order", "position", "--lines", str(lines))
        assert found == whole | {"lines": whole["lines"][:lines], "has_more": lines < 4}
        output = shown("statement", "A1", "--order", "position", "--lines", str(lines))
        assert ("There are more lines" in output) == (lines < 4)

    def test_both_axes(self) -> None:
        found = read_json("statement", "A1", "--known-at", "9", "--as-of", "2026-02-15")
        assert [line["position"] for line in found["lines"]] == [7, 9]
        assert "at position 9 as of 2026-02-15" in shown("statement", "A1", "--known-at", "9", "--as-of", "2026-02-15")


@pytest.mark.usefixtures("ledger")
class TestTotals:
    @pytest.mark.parametrize("asked", [[], ["--by-day"], ["--as-of", "2026-02-15"], ["--known-at", "6", "--by-day"]])
    def test_table_and_json_agree_and_the_trial_balance_is_zero(self, asked: list[str]) -> None:
        found = read_json("totals", *asked)
        output = shown("totals", *asked)
        rows = re.findall(r"^ ?((?:\S+ +)+)([\d,]+) +(-?[\d,]+\.\d\d) *$", output, re.MULTILINE)
        keys = ("effective_on", "product", "kind", "part") if "--by-day" in asked else ("product", "kind", "part")
        assert [(tuple(words.split()), lines, fen) for words, lines, fen in rows] == [
            (tuple(line[key] for key in keys), f"{line['lines']:,}", yuan(line["amount_fen"]))
            for line in found["totals"]
        ]
        assert found["trial_balance_fen"] == sum(line["amount_fen"] for line in found["totals"]) == 0
        assert "Trial balance: 0.00 yuan" in output


class TestStatus:
    def test_table_and_json_agree_on_lag_dead_letters_and_refusals(self, ledger: Ledger, database: Database) -> None:
        Projector(database).catch_up()
        ledger.post([credit("A2", 1), credit("A2", 2)])
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("INSERT INTO dead_letter VALUES ('people', 1, 3, '{}', 'unreadable')")
            connection.execute(
                "UPDATE projection_slot SET halted = 'more than it bears' WHERE name = 'people' AND slot = 1"
            )
            connection.execute("UPDATE projection_slot SET position = 4 WHERE name = 'statements' AND slot = 2")
        found, output = read_json("status"), shown("status")
        assert (found["head"], found["database"], found["refusals"]) == (
            13,
            "external",
            {"AccountUnknown": 1},
        )
        states = {
            each["name"]: (each["position"], each["lag"], each["dead_letters"], each["halted"], each["rebuilding"])
            for each in found["projections"]
        }
        assert states == {
            "control_totals": (11, 2, 0, None, None),
            "people": (11, 2, 1, "more than it bears", None),
            "statements": (11, 2, 0, None, 4),
        }
        assert all(each["lag_s"] > 0 for each in found["projections"])
        assert f"external PostgreSQL {found['server_version']}; the journal ends at position 13" in output
        assert (found["sealed"], found["seal_lag"], found["seal_lag_s"] > 0) == (0, 13, True)
        assert re.search(r"Nothing is sealed; 13 facts wait, the first for [\d.,]+ s\.", output)
        assert re.search(r"control_totals +11 +2 +[\d.]+ +0 +behind", output)
        assert re.search(r"people +11 +2 +[\d.]+ +1 +halted: more than it bears", output)
        assert re.search(r"statements +11 +2 +[\d.]+ +0 +rebuilding, at 4", output)
        assert re.search(r"1 +AccountUnknown +No account with this id was opened", output)

    def test_an_empty_ledger_and_one_that_is_followed(
        self, monkeypatch: pytest.MonkeyPatch, database: Database
    ) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
        assert "the journal ends at position 0." in shown("status")
        assert "Nothing is sealed." in shown("status")
        assert shown("status").count("current") == 3
        assert read_json("status")["refusals"] == {}
        assert (read_json("status")["intake"], read_json("status")["outlet"]) == ([], [])
        assert [word for word in ("Intake", "Outlet", "Over Kafka") if word in shown("status")] == []

    @pytest.mark.usefixtures("ledger")
    @pytest.mark.parametrize("width", [80, 160])
    def test_the_ways_over_kafka_are_on_it_where_they_were_used(
        self, monkeypatch: pytest.MonkeyPatch, database: Database, width: int
    ) -> None:
        """Of a topic that was made anew the later one counts, and of many partitions those furthest behind are shown."""
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("ledger.__main__.console", lambda: Console(width=width))
        with psycopg.connect(database.admin_url) as connection:
            for partition, topic_id, lag in ((0, "old", 9), *((number, "new", number) for number in range(20))):
                connection.execute(
                    "INSERT INTO intake_offset VALUES ('pension.commands', %s, %s, 1000, %s, 1, 'host:7', now() + %s)",
                    (topic_id, partition, 1000 + lag, "1 hour" if topic_id == "new" else "0"),
                )
            connection.execute("UPDATE outlet_position SET position = 4 WHERE stream = 'events'")
        with database.connection() as connection:
            for number, code in enumerate(("MessageUnsigned", "AccountUnknown", "MessageUnsigned"), 1):
                connection.execute(
                    """
                    INSERT INTO refused_message
                        (number, topic, topic_id, partition, message_offset, code, sentence, detail)
                    VALUES (%s, 'pension.commands', 'new', 0, %s, %s, 'Why.', '{}')
                    """,
                    (number, number, code),
                )
        found, output = read_json("status"), shown("status")
        assert [(each["partition"], each["lag"]) for each in found["intake"]] == [(each, each) for each in range(20)]
        assert [(each["stream"], each["position"], each["lag"]) for each in found["outlet"]] == [
            ("events", 4, 7),
            ("refusals", 0, 3),
        ]
        assert found["outlet"][1]["published_at"] is None
        assert all(each["lag_s"] > 0 for each in found["outlet"])
        assert found["refused_messages"] == {"MessageUnsigned": 2, "AccountUnknown": 1}
        assert re.search(r"pension\.commands/19 +1,000 +1,019 +19", output)
        assert "pension.commands/7 " not in output
        assert "190 messages wait in 20 partitions, as last seen. 8 more partitions" in " ".join(output.split())
        assert re.search(r"events +4 +7 +[\d.,]+ +[\d-]{10}", output)
        assert re.search(r"2 +MessageUnsigned +The message has not one header", output)
        assert re.search(r"1 +AccountUnknown +No account with this id", output)
        assert ("host:7" in output) == (width == 160)


class TestToken:
    def test_the_default_reads_as_a_developer(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
        found = read_json("token")
        assert found["lifetime_s"] == 300
        for made in (found["token"], shown("token").strip()):
            caller = _verifier(tmp_path).verify(made, time.time())
            assert (caller.subject, caller.scopes, caller.poster) == ("user:developer", frozenset({Scope.READER}), None)
            assert caller.purpose == "development"

    def test_it_may_be_for_another_purpose(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
        made = shown("token", "--purpose", "audit-2026").strip()
        assert _verifier(tmp_path).verify(made, time.time()).purpose == "audit-2026"

    def test_a_poster_speaks_for_its_source(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
        products = ["--product", "personal_pension", "--product", "enterprise_annuity"]
        made = shown("token", "--scope", "poster", "--scope", "reader", "--source", "ea-core", *products).strip()
        caller = _verifier(tmp_path).verify(made, time.time())
        assert caller.subject == "system:ea-core"
        assert caller.scopes == {Scope.POSTER, Scope.READER}
        assert caller.poster is not None
        assert caller.poster.source == "ea-core"
        assert caller.poster.products == frozenset({"personal_pension", "enterprise_annuity"})

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--scope", "poster"],
            ["--source", "ea-core"],
            ["--scope", "owner"],
            ["--product", "personal_pension"],
            ["--subject", "nobody"],
            ["--subject", ""],
            ["--purpose", ""],
            ["--purpose", "Curiosity killed"],
            ["--scope", "poster", "--source", "EA CORE"],
            ["--scope", "poster", "--source", "ea-core", "--product", "Gold savings"],
        ],
    )
    def test_what_the_service_would_not_take_is_2(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
    ) -> None:
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
        result = invoke("token", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr != ""

    def test_where_the_development_key_is_not_trusted_it_is_2(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
        monkeypatch.setenv("LEDGER_TOKEN_KEYS", str(tmp_path / "keys.json"))
        result = invoke("token")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "LEDGER_TOKEN_KEYS is set" in result.stderr
        assert not (tmp_path / KEY_FILE).exists()


def _verifier(folder: Path) -> Verifier:
    keys = DevelopmentKey.load_or_create(folder).public_keys()
    return Verifier(keys, issuer="pension-ledger-development", audience="pension-ledger", max_lifetime_s=300)


@pytest.mark.usefixtures("ledger")
class TestProject:
    def test_once_takes_what_there_is(self) -> None:
        assert read_json("project", "--once") == {"passed": 11}
        assert shown("project", "--once") == "Took 0 positions.\n"
        assert {each["position"] for each in read_json("status")["projections"]} == {11}

    def test_a_rebuild_of_all_or_some(self) -> None:
        names = ["control_totals", "people", "statements"]
        assert read_json("project", "--rebuild", "all") == {"rebuilt": names, "position": 11}
        twice = ("--rebuild", "people", "--rebuild", "people")
        assert read_json("project", *twice) == {"rebuilt": ["people"], "position": 11}
        assert shown("project", "--rebuild", "statements") == "Rebuilt to position 11.\n"
        assert read_json("statement", "A1")["balance_fen"] == 123_456_689

    def test_a_name_that_is_none_is_2(self) -> None:
        result = invoke("project", "--rebuild", "people", "--rebuild", "sheets")
        assert result.exit_code == 2
        assert result.stderr == "No such projection: sheets. There are control_totals, people, statements.\n"


class TestPostAndMigrate:
    def test_post_as_json(self, ledger: Ledger, tmp_path: Path) -> None:
        del ledger
        path = ndjson(tmp_path / "c.ndjson", contribution(1, account="A1"), contribution(2, account="A9"), b"{")
        result = invoke("post", "--json", str(path))
        assert result.exit_code == 3
        (report,) = json.loads(result.stdout)
        figures = {name: report[name] for name in ("accepted", "facts", "repeated", "refused", "malformed")}
        assert figures == {"accepted": 1, "facts": 1, "repeated": 0, "refused": {"AccountUnknown": 1}, "malformed": 1}

    def test_migrate_as_json(self, monkeypatch: pytest.MonkeyPatch, empty_database: Database) -> None:
        monkeypatch.setenv("LEDGER_DATABASE_URL", empty_database.url)
        monkeypatch.setenv("LEDGER_ADMIN_DATABASE_URL", empty_database.admin_url)
        assert read_json("migrate")["applied"][0] == "0001_roles.sql"
        assert read_json("migrate") == {"applied": []}


@pytest.mark.usefixtures("ledger")
class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["sheet", "ea:9"], "Nobody is known as ea:9"),
            (["sheet", "\x00"], "Nobody is known as"),
            (["sheet", "ea:1", "--known-at", "12"], "The journal ends at position 11; 12 is not recorded yet."),
            (["sheet", "ea:1", "--known-at", "0"], "Nobody is known as ea:1"),
            (["statement", "A9"], "No account A9 is open"),
            (["statement", "李"], "No account 李 is open"),
            (["statement", "A1", "--known-at", "2"], "No account A1 is open, or was not at that position."),
            (["statement", "A1", "--known-at", "12"], "The journal ends at position 11"),
            (["totals", "--known-at", "12"], "The journal ends at position 11"),
        ],
    )
    def test_what_is_not_known_is_1_and_one_sentence(self, arguments: list[str], sentence: str) -> None:
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(sentence)
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sheet"],
            ["sheet", "ea:1", "--as-of", "2026-02-30"],
            ["sheet", "ea:1", "--as-of", "yesterday"],
            ["sheet", "ea:1", "--known-at", "-1"],
            ["sheet", "ea:1", "--known-at", str(2**53)],
            ["statement", "A1", "--known-at", "1.5"],
            ["statement", "A1", "--order", "amount"],
            ["statement", "A1", "--lines", "0"],
            ["statement", "A1", "--lines", "10001"],
            ["totals", "--as-of", "2026"],
            ["serve", "--port", "65536"],
            ["serve", "--port", "-1"],
            ["project", "--rebuild"],
            ["unknown"],
        ],
    )
    def test_wrong_usage_is_2(self, arguments: list[str]) -> None:
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize("command", ["serve", "token"])
    @pytest.mark.parametrize("content", ["", "{}", "[" * 100_000])
    def test_a_key_that_is_none_is_2_and_named(self, tmp_path: Path, command: str, content: str) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / KEY_FILE).write_text(content, encoding="utf-8")
        (tmp_path / "data" / KEY_FILE).chmod(0o600)
        result = invoke(command, *(("--port", "0") if command == "serve" else ()))
        assert result.exit_code == 2
        assert KEY_FILE in result.stderr

    @pytest.mark.parametrize("command", ["serve", "token"])
    def test_a_key_that_others_may_read_is_2_and_not_used(self, tmp_path: Path, command: str) -> None:
        DevelopmentKey.load_or_create(tmp_path / "data")
        (tmp_path / "data" / KEY_FILE).chmod(0o644)
        result = invoke(command, *(("--port", "0") if command == "serve" else ()))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Others may read the private key" in result.stderr

    @pytest.mark.parametrize("content", [None, "{}", '{"keys": []}'])
    def test_public_keys_that_are_none_are_2_and_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
    ) -> None:
        path = tmp_path / "keys.json"
        if content is not None:
            path.write_text(content, encoding="utf-8")
        monkeypatch.setenv("LEDGER_TOKEN_KEYS", str(path))
        result = invoke("serve", "--port", "0")
        assert result.exit_code == 2
        assert str(path) in result.stderr

    @pytest.mark.parametrize("arguments", [["token"], ["demo", "--once"], ["serve", "--port", "0"]])
    def test_a_data_folder_that_is_a_file_is_2_and_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"")
        for folder in (path, path / "below"):
            monkeypatch.setenv("LEDGER_DATA_FOLDER", str(folder))
            for external in (True, False):
                if not external:
                    monkeypatch.delenv("LEDGER_DATABASE_URL", raising=False)
                result = invoke(*arguments)
                assert (result.exit_code, result.stdout) == (2, "")
                assert str(path) in result.stderr


@pytest.mark.usefixtures("ledger")
class TestNarrow:
    """A terminal of 60 columns: words may be broken, figures never are."""

    @pytest.mark.parametrize(
        ("arguments", "figures"),
        [
            (["sheet", "ea:1"], ["1,234,567.89", "1,234,567.96"]),
            (["statement", "A1"], ["1,234,567.89", "1,234,566.89", "-0.30", "2026-02-20"]),
            (["totals"], ["1,234,567.89", "-1,246,567.89", "12,000.00"]),
            (["totals", "--by-day"], ["1,234,567.89", "-11,999.70", "2026-02-20"]),
            (["status"], ["11", "control_totals", "behind"]),
        ],
    )
    def test_figures_are_whole(self, arguments: list[str], figures: list[str]) -> None:
        result = invoke(*arguments, env=NARROW)
        assert result.exit_code == 0
        assert "\x1b[" in result.stdout
        plain = STYLES.sub("", result.stdout)
        assert max(map(len, plain.splitlines())) <= 60
        assert [figure for figure in figures if figure not in plain] == []
        assert "…" not in plain

    def test_the_table_of_files_too(self, tmp_path: Path) -> None:
        paths = [ndjson(tmp_path / f"{name}-contributions.ndjson", contribution(1, account="A1")) for name in "ab"]
        plain = STYLES.sub("", invoke("post", *map(str, paths), env=NARROW).stdout)
        assert re.search(r"Total +1 +1 +1 +0 +0", plain)
        assert "…" not in plain
