"""`python -m replay` as an auditor uses it: what each command prints, and the exit code with a sentence for each bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from typer.testing import CliRunner

from ledger.application import Ledger
from ledger.domain.notes import InclusionProof, SigningKey, VerifierKey
from ledger.leaves import leaves_at
from ledger.notary import seal_now, verifier_key
from ledger.projector import Projector
from ledger.receipts import Receipts
from replay import check_bundle, terminal
from replay.__main__ import app
from tests.attacks import as_superuser
from tests.commands import contribute, open_account, register
from tests.sealing import auditor_url

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from ledger.database import Database
    from ledger.settings import Settings

OTHER_KEY = str(SigningKey("ledger.example/journal", bytes(range(32))).verifier)


class Auditor:
    """Calls the command line with the address and the key, as the environment gives them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.environment = {
            "LEDGER_DATABASE_URL": auditor_url(database),
            "REPLAY_KEY": verifier_key(settings),
            "REPLAY_CHECKPOINTS": "",
        }

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=self.environment)

    def says(self, *arguments: str, code: int = 0) -> str:
        """What it prints, of an invocation that ends with this code."""
        result = self(*arguments)
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture
def auditor(database: Database, settings: Settings, tmp_path: Path) -> Auditor:
    """Of a ledger with two persons and some facts, sealed twice."""
    own = settings.model_copy(update={"data_folder": tmp_path / "own"})
    Ledger(database).post([register("sys:1"), open_account("sys:1", "A1"), contribute("A1", 1_000)])
    seal_now(database, own)
    Ledger(database).post([register("sys:2"), open_account("sys:2", "A2"), contribute("A2", 70)])
    seal_now(database, own)
    Projector(database).catch_up()
    return Auditor(database, own)


class TestVerify:
    def test_it_says_what_it_verified(self, auditor: Auditor) -> None:
        said = auditor.says("verify", "--checkpoints", str(auditor.settings.checkpoint_files))
        assert "6 facts hashed, 6 of them sealed" in said
        assert "2 checkpoints verified, 2 outside. 0 findings." in said

    def test_a_finding_is_exit_code_1(self, auditor: Auditor) -> None:
        as_superuser(auditor.database, "UPDATE event SET actor = 'system:x' WHERE position = 5")
        said = auditor.says("verify", code=1)
        assert "root_differs, positions 4 to 6" in said
        found = json.loads(auditor.says("verify", "--json", code=1))
        assert [each["code"] for each in found["findings"]] == ["root_differs"]

    def test_a_wrong_key_is_exit_code_6(self, auditor: Auditor) -> None:
        assert "ask the notary for its key" in auditor.says("verify", "--key", OTHER_KEY, code=terminal.WRONG_KEY)

    def test_a_key_may_stand_in_a_file(self, auditor: Auditor) -> None:
        auditor.says("verify", "--key", str(auditor.settings.notary_files / "notary.vkey"))

    @pytest.mark.parametrize("key", ["nonsense", "a+b+c", OTHER_KEY[:-4]])
    def test_what_is_no_key_is_exit_code_2(self, auditor: Auditor, key: str) -> None:
        auditor.says("verify", "--key", key, code=terminal.WRONG_USAGE)

    def test_a_folder_without_checkpoints_is_exit_code_2(self, auditor: Auditor, tmp_path: Path) -> None:
        said = auditor.says("verify", "--checkpoints", str(tmp_path), code=terminal.WRONG_USAGE)
        assert "holds no checkpoints" in said

    def test_a_damaged_state_file_is_exit_code_2(self, auditor: Auditor, tmp_path: Path) -> None:
        state = tmp_path / "state"
        state.write_text("{}")
        assert "remove it" in auditor.says("verify", "--state", str(state), code=terminal.WRONG_USAGE)


class TestDatabase:
    @pytest.mark.parametrize("command", [("verify",), ("refold",), ("drift",), ("report",), ("accesses",)])
    def test_no_answer_is_exit_code_4(self, auditor: Auditor, command: tuple[str, ...]) -> None:
        address = "postgresql://nobody@127.0.0.1:9/nowhere"
        said = auditor.says(*command, "--database-url", address, code=terminal.DATABASE_UNAVAILABLE)
        assert "does not answer" in said

    def test_a_role_that_may_not_read_is_exit_code_4(self, auditor: Auditor) -> None:
        url = auditor.database.url.replace("ledger_app", "ledger_reader")
        said = auditor.says("verify", "--database-url", url, code=terminal.DATABASE_UNAVAILABLE)
        assert "connect as ledger_auditor" in said

    def test_a_database_that_is_behind_is_exit_code_4(self, auditor: Auditor, empty_database: Database) -> None:
        said = auditor.says("verify", "--database-url", empty_database.admin_url, code=terminal.DATABASE_UNAVAILABLE)
        assert "have `ledger migrate` run" in said

    def test_no_address_is_exit_code_2(self, auditor: Auditor) -> None:
        assert auditor("verify", "--database-url", "nonsense").exit_code == terminal.WRONG_USAGE


class TestAnswers:
    def test_refold_compares_everything(self, auditor: Auditor) -> None:
        assert "6 facts, 4 memories, 0 differences." in auditor.says("refold")
        with auditor.database.connect() as connection:
            connection.execute("UPDATE control_total_1 SET amount_fen = 1 WHERE product <> 'external'")
        assert "control_totals" in auditor.says("refold", code=1)

    def test_drift_is_empty_or_named(self, auditor: Auditor) -> None:
        assert "0 differences." in auditor.says("drift")
        with psycopg.connect(auditor.database.admin_url) as connection:
            connection.execute("GRANT UPDATE ON memory TO ledger_reader")
        assert "ledger_reader" in auditor.says("drift", code=1)

    def test_explain_an_account_and_a_person(self, auditor: Auditor) -> None:
        for name in ("A1", "sys:1"):
            assert "leaf 2 under 6" in auditor.says("explain", name)
        (opening, contribution) = json.loads(auditor.says("explain", "A1", "--json"))["lines"]
        assert (opening["position"], contribution["balance_fen"]) == (2, 1_000)

    def test_explain_does_not_prove_a_changed_fact(self, auditor: Auditor) -> None:
        as_superuser(auditor.database, "UPDATE event SET actor = 'system:x' WHERE position = 3")
        assert "replay verify" in auditor.says("explain", "A1", code=terminal.DAMAGED)

    def test_sheets_on_both_axes(self, auditor: Auditor) -> None:
        alone = json.loads(auditor.says("as-of", "2100-01-01", "sys:1", "--known-at", "2"))
        assert (alone["known_at"], alone["sheet"]["balance_fen"]) == (2, 0)
        assert auditor.says("known-at", "6", "A1") == auditor.says("known-at", "6", "sys:1")
        *sheets, summary = auditor.says("known-at", "6").splitlines()
        assert len(sheets) == 2
        assert json.loads(summary)["trial_balance_fen"] == 0

    @pytest.mark.parametrize(
        "command",
        [
            ("known-at", "7", "A1"),
            ("explain", "A9"),
            ("explain", "sys:9"),
            ("explain", "A1", "--known-at", "7"),
            ("as-of", "2025-01-01", "nobody"),
            ("prove", "7"),
            ("prove", "1", "--size", "5"),
            ("sample", "--nonce", "x", "--count", "7"),
        ],
    )
    def test_what_is_not_there_is_exit_code_3(self, auditor: Auditor, command: tuple[str, ...]) -> None:
        assert auditor.says(*command, code=terminal.NOT_THERE).strip()

    def test_a_proof_holds_offline(self, auditor: Auditor) -> None:
        proof = InclusionProof.parse(auditor.says("prove", "3"))
        with auditor.database.connect() as connection:
            leaf = leaves_at(connection, [3])[3]
        assert proof.verify(leaf, [VerifierKey.parse(verifier_key(auditor.settings))]).size == 6

    def test_a_sample_is_the_same_for_everybody(self, auditor: Auditor) -> None:
        first = json.loads(auditor.says("sample", "--nonce", "dice 4 2 6", "--count", "3", "--json"))
        assert first == json.loads(auditor.says("sample", "--nonce", "dice 4 2 6", "--count", "3", "--json"))
        assert len({each["position"] for each in first["facts"]}) == 3

    def test_accesses_are_listed(self, auditor: Auditor) -> None:
        assert not auditor.says("accesses")
        with auditor.database.connect() as connection:
            connection.execute(
                "INSERT INTO access_record (access_id, actor, token_id, action, subject, question, purpose, status) "
                "VALUES (gen_random_uuid(), 'user:x', 't', 'balance_sheet', 'A1', '{}', 'service', 200)"
            )
        assert "user:x balance_sheet A1 for service: 200" in auditor.says("accesses", "--subject", "A1")
        assert not auditor.says("accesses", "--subject", "A2")


class TestExports:
    def test_a_bundle_is_written_and_checked(self, auditor: Auditor, tmp_path: Path) -> None:
        path = tmp_path / "her.zip"
        assert "SHA-256" in auditor.says("export", str(path), "--person", "A1")
        assert check_bundle.main([str(path), "--key", verifier_key(auditor.settings)]) == 0
        assert "ALL PROVEN" in auditor.says("check-bundle", str(path), "--key", verifier_key(auditor.settings))
        auditor.says("export", str(path), "--whole", code=terminal.WRONG_USAGE)

    def test_a_bundle_of_another_key_is_not_proven(self, auditor: Auditor, tmp_path: Path) -> None:
        path = tmp_path / "all.zip"
        auditor.says("export", str(path), "--whole", "--key", OTHER_KEY, code=terminal.WRONG_KEY)
        auditor.says("export", str(path), "--whole")
        assert "DOES NOT HOLD" in auditor.says("check-bundle", str(path), "--key", OTHER_KEY, code=1)

    @pytest.mark.parametrize(
        "asked", [(), ("--whole", "--person", "A1"), ("--from", "1"), ("--whole", "--from", "1", "--to", "2")]
    )
    def test_one_thing_is_exported_at_a_time(self, auditor: Auditor, tmp_path: Path, asked: tuple[str, ...]) -> None:
        auditor.says("export", str(tmp_path / "x.zip"), *asked, code=terminal.WRONG_USAGE)

    def test_the_journal_and_the_tables(self, auditor: Auditor, tmp_path: Path) -> None:
        assert "2 transactions" in auditor.says("export-hledger", str(tmp_path / "all.journal"))
        said = auditor.says("export-tables", str(tmp_path / "tables"), "--year", "2025", "--unit", "X")
        assert "checked" in said


class TestReport:
    def test_it_is_the_same_bytes_when_run_again(self, auditor: Auditor, tmp_path: Path) -> None:
        for shape in ("text", "json", "html"):
            pages = []
            for processes in ("1", "2"):
                output = tmp_path / f"report-{processes}.{shape}"
                auditor.says("report", "--format", shape, "--output", str(output), "--processes", processes)
                pages.append(output.read_bytes())
            assert pages[0] == pages[1]
            assert auditor.says("report", "--format", shape).encode() == pages[0]

    def test_it_says_what_does_not_hold_and_what_was_not_checked(self, auditor: Auditor) -> None:
        as_superuser(auditor.database, "UPDATE event SET actor = 'system:<x>' WHERE position = 5")
        Ledger(auditor.database).post([register("sys:3")])
        said = auditor.says("report", code=1)
        assert "1 findings: the ledger does not hold." in said
        assert "root_differs" in said
        assert "Positions 7 to 7 are not sealed yet." in said
        assert "copies of the checkpoints outside the database were not given" in said
        page = auditor.says("report", "--format", "html", code=1)
        assert "does not hold" in page
        assert "<x>" not in page


class TestReceipt:
    def test_a_promise_is_kept_or_not(self, auditor: Auditor, tmp_path: Path) -> None:
        receipts = Receipts(SigningKey("own/receipts", bytes(range(32))), origin=auditor.settings.origin)
        path = tmp_path / "receipt"
        note = receipts.sign(Ledger(auditor.database).post([register("sys:3")], with_leaves=True))
        assert note is not None
        path.write_text(note, encoding="utf-8")
        arguments = ("receipt", str(path), "--receipt-key", receipts.verifier)
        assert "is not sealed" in auditor.says(*arguments, code=1)
        seal_now(auditor.database, auditor.settings)
        assert "Every promise is kept." in auditor.says(*arguments)
        said = auditor.says("receipt", str(path), "--receipt-key", OTHER_KEY, code=terminal.WRONG_KEY)
        assert "No key that is known here" in said
