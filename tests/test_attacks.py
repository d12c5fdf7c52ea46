"""The attack matrix of AUDIT section 4, row by row: done for real by the named attacker, then found by `replay`.

A9, A17 and A18 attack the vault, which comes with the privacy of the people; A18 has no place before it.
"""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

from ledger import notary as notary_module
from ledger.application import Ledger
from ledger.checkpoints import CheckpointFolder
from ledger.domain.notes import Checkpoint, SigningKey, VerifierKey, receipt_text
from ledger.domain.tree import Frontier
from ledger.notary import NotaryFolder, SealRefused, require_sealed, run, seal_now, verifier_key
from ledger.projector import Projector
from ledger.receipts import Receipts
from ledger.seals import JournalRestored
from replay.comparing import compare
from replay.drift import drift
from replay.facts import opened
from replay.published import read_outside
from replay.receipts import check_receipt
from replay.verify import verify
from tests.attacks import as_superuser, fill
from tests.commands import contribute, open_account, register
from tests.sealing import auditor_url, leaf_hashes, tiles_of
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.database import Database, TemporaryServer
    from ledger.settings import Settings
    from replay.chunks import Finding

WIDEST = 256
TARGET = 301
SET_ACTOR = "UPDATE event SET actor = 'system:other' WHERE position = {}"
SET_SIZE = "UPDATE head SET size = {}"
CUT_OFF = "DELETE FROM {} WHERE {} > {}"
BACK_DATED = (
    "INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor) "
    "VALUES ({}, 'Forged', '{{}}', '{{}}', '2020-01-01', '2020-01-01', 'forged/1', 'system:forger')"
)


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose folders are this test's own."""
    return settings.model_copy(update={"data_folder": tmp_path})


@pytest.fixture
def sealed(database: Database, own: Settings) -> Database:
    """More than two tiles, in three checkpoints, with projections up to date."""
    for first in range(0, 200, 67):
        numbers = range(first, first + 67)
        Ledger(database).post([register(f"sys:{number}") for number in numbers])
        Ledger(database).post([open_account(f"sys:{number}", f"A{number}") for number in numbers])
        Ledger(database).post([contribute(f"A{number}", 1_000 + number) for number in numbers])
        seal_now(database, own)
    Projector(database).catch_up()
    return database


def _findings(database: Database, own: Settings) -> list[Finding]:
    keys = [VerifierKey.parse(verifier_key(own))]
    outside = read_outside(own.checkpoint_files, keys)
    return verify(auditor_url(database), keys, outside=outside, processes=1, state_file=None).findings


def _assert_found(database: Database, own: Settings, position: int, *, widest: int = 1) -> None:
    """Something was found at this position, and its place is no wider than that."""
    findings = [each for each in _findings(database, own) if each.first <= position <= each.last]
    assert findings, "nothing was found there"
    assert min(each.last - each.first + 1 for each in findings) <= widest


def _drifted(database: Database) -> set[tuple[str, str]]:
    with psycopg.connect(auditor_url(database)) as connection:
        return {(each.kind, each.name) for each in drift(connection).differences}


def _as_owner(database: Database, statement: str) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET SESSION AUTHORIZATION ledger_owner")
        connection.execute(statement.encode())


def _rewrite(database: Database, own: Settings, key: SigningKey) -> None:
    """All seals inside the database anew, over what the facts now are."""
    leaves = leaf_hashes(database)
    with past_all_guards(database) as connection:
        for level, index, hashes, root in tiles_of(leaves):
            query = b"UPDATE tile SET hashes = %s, root = %s WHERE level = %s AND index = %s"
            connection.execute(query, (hashes, root, level, index))
        for (size,) in connection.execute("SELECT size FROM checkpoint").fetchall():
            frontier = Frontier()
            for leaf in leaves[:size]:
                frontier.add(leaf)
            note = key.sign(Checkpoint(own.origin, size, frontier.root).text())
            query = b"UPDATE checkpoint SET root = %s, note = %s WHERE size = %s"
            connection.execute(query, (frontier.root, note, size))


def test_nothing_is_found_where_nobody_attacks(sealed: Database, own: Settings) -> None:
    assert not _findings(sealed, own)
    assert not _drifted(sealed)
    assert not compare(auditor_url(sealed), processes=1).differences


@pytest.mark.parametrize("table", ["event", "event_tag", "command", "tile", "checkpoint", "access_record"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_a1_the_application_changes_facts(sealed: Database, table: str, statement: str) -> None:
    """Prevented by grants."""
    columns = {"tile": "level", "checkpoint": "size", "command": "command_id", "access_record": "actor"}
    column = columns.get(table, "position")
    with sealed.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.format(table, column, column).encode())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET actor = 'system:other'",
        "DROP VIEW event_json; ALTER TABLE event ALTER COLUMN data TYPE text USING 'forged'",
    ],
)
def test_a2_the_owner_changes_or_rewrites(sealed: Database, statement: str) -> None:
    """Prevented by triggers, and by the event trigger on rewriting."""
    with pytest.raises(errors.InsufficientPrivilege):
        _as_owner(sealed, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE event DISABLE TRIGGER refuse_change",
        "ALTER TABLE event ENABLE TRIGGER refuse_change",
        "DROP TRIGGER refuse_change ON event",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ],
)
def test_a3_the_owner_switches_off_or_replaces_a_guard(sealed: Database, statement: str) -> None:
    """Prevented: the guards are watched by event triggers, and their functions belong to another role."""
    with pytest.raises(errors.InsufficientPrivilege):
        _as_owner(sealed, statement)


def test_a4_a_superuser_switches_triggers_off_by_replication(sealed: Database) -> None:
    """Prevented: the triggers fire ALWAYS."""
    with psycopg.connect(sealed.admin_url) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("UPDATE event SET actor = 'system:other'")


def test_a5_a_superuser_switches_event_triggers_off(sealed: Database, own: Settings) -> None:
    """Prevented by nothing: what stays off is drift, and the fact is named."""
    with psycopg.connect(sealed.admin_url) as connection:
        connection.execute("SET event_triggers = off")
        connection.execute("ALTER TABLE event DISABLE TRIGGER refuse_change")
        connection.execute("UPDATE event SET actor = 'system:other' WHERE position = %s", (TARGET,))
    assert ("trigger", "public.event.refuse_change") in _drifted(sealed)
    _assert_found(sealed, own, TARGET)


def test_a5_a_superuser_who_cleans_up_leaves_the_fact(sealed: Database, own: Settings) -> None:
    """With every guard back in its place only the leaf tells; the money it moved no longer follows either."""
    as_superuser(
        sealed,
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), '1000', '9000'), 'UTF8') "
        "WHERE type = 'ContributionPosted' AND position = 135",
    )
    assert not _drifted(sealed)
    _assert_found(sealed, own, 135)
    assert compare(auditor_url(sealed), processes=1).differences


def test_a6_somebody_inserts_in_the_middle(sealed: Database, own: Settings) -> None:
    """Prevented by the primary key and the insert guard, also for who may insert; a superuser's row is beyond the head."""
    for position, error in ((TARGET, errors.UniqueViolation), (1_000, errors.CheckViolation)):
        with sealed.connect() as connection, pytest.raises(error):
            connection.execute(BACK_DATED.format(position).encode())
    as_superuser(sealed, BACK_DATED.format(1_000))
    _assert_found(sealed, own, 1_000)


def test_a6_a_superuser_appends_a_back_dated_fact(sealed: Database, own: Settings) -> None:
    """The notary does not seal what does not follow in time, and says where."""
    head = _head(sealed)
    as_superuser(sealed, SET_SIZE.format(head + 1), BACK_DATED.format(head + 1))
    with pytest.raises(SealRefused, match=f"recorded_at falls at position {head + 1}"):
        seal_now(sealed, own)
    _assert_found(sealed, own, head + 1)


def test_a7_a_superuser_deletes_the_last_rows(sealed: Database, own: Settings) -> None:
    """Found by the checkpoints, and where these are deleted too by those outside; the notary does not go on."""
    head = _head(sealed)
    as_superuser(sealed, CUT_OFF.format("event", "position", head - 5), SET_SIZE.format(head - 5))
    _assert_found(sealed, own, head - 4, widest=WIDEST)
    as_superuser(sealed, CUT_OFF.format("checkpoint", "size", head - 5))
    _assert_found(sealed, own, head - 4, widest=WIDEST)
    with pytest.raises(SealRefused, match=f"ends at position {head - 5}"):
        seal_now(sealed, own)


def test_a8_a_superuser_swaps_two_rows(sealed: Database, own: Settings) -> None:
    """The leaf holds the position, so both are named."""
    as_superuser(
        sealed,
        "UPDATE event SET position = 100000 WHERE position = 10",
        "UPDATE event SET position = 10 WHERE position = 20",
        "UPDATE event SET position = 20 WHERE position = 100000",
    )
    for position in (10, 20):
        _assert_found(sealed, own, position)


def test_a10_an_older_backup_is_restored(server: TemporaryServer, sealed: Database, own: Settings) -> None:
    """Found before the first write: the journal lacks what was published, also when it has grown again meanwhile."""
    name = psycopg.conninfo.conninfo_to_dict(sealed.admin_url)["dbname"]
    sealed.close()
    restored = server.create_copy(f"{name}_restored", of=str(name))
    try:
        fill(sealed, 20)
        seal_now(sealed, own)
        with pytest.raises(JournalRestored, match="facts were sealed"):
            require_sealed(restored, own)
        assert {each.code for each in _findings(restored, own)} == {"facts_removed"}
        fill(restored, 40)
        with pytest.raises(JournalRestored, match="do not give the root that was published"):
            require_sealed(restored, own)
        with pytest.raises(SealRefused):
            seal_now(restored, own)
        assert "root_differs" in {each.code for each in _findings(restored, own)}
    finally:
        restored.close()
        server.drop_database(f"{name}_restored")


def test_a10_an_older_backup_of_everything_but_the_copies_outside(
    server: TemporaryServer, sealed: Database, own: Settings, tmp_path: Path
) -> None:
    """The notary's folder is restored with the database, and agrees with it; it does not sign a second history."""
    name = psycopg.conninfo.conninfo_to_dict(sealed.admin_url)["dbname"]
    sealed.close()
    restored = server.create_copy(f"{name}_restored", of=str(name))
    shutil.copytree(own.notary_files, tmp_path / "backup")
    try:
        fill(sealed, 20)
        seal_now(sealed, own)
        shutil.rmtree(own.notary_files)
        shutil.copytree(tmp_path / "backup", own.notary_files)
        kept = NotaryFolder(own.notary_files).last()
        for facts in (1, 20, 20):
            fill(restored, facts)
            with pytest.raises(SealRefused, match="would fork the history"):
                seal_now(restored, own)
            with pytest.raises(JournalRestored):
                require_sealed(restored, own)
        assert NotaryFolder(own.notary_files).last() == kept
    finally:
        restored.close()
        server.drop_database(f"{name}_restored")


def test_a11_the_thief_of_the_notarys_key_rewrites_all(sealed: Database, own: Settings) -> None:
    """Inside the database all is signed and consistent; the copies outside tell, to within a tile."""
    key = NotaryFolder(own.notary_files).key()
    assert key is not None
    as_superuser(sealed, SET_ACTOR.format(TARGET))
    _rewrite(sealed, own, key)
    inside = verify(auditor_url(sealed), [key.verifier], outside=None, processes=1, state_file=None)
    assert not inside.findings
    _assert_found(sealed, own, TARGET, widest=WIDEST)
    assert "fork" in {each.code for each in _findings(sealed, own)}


def test_a12_the_operator_shows_two_histories(sealed: Database, own: Settings) -> None:
    """Two auditors exchange what they were shown: two roots of one size under one key."""
    key = NotaryFolder(own.notary_files).key()
    assert key is not None
    outside = CheckpointFolder(own.checkpoint_files)
    last = outside.last()
    assert last is not None
    other = key.sign(Checkpoint(own.origin, last.checkpoint.size, bytes(32)).text())
    outside.append(other, signed_at=datetime(2027, 1, 1, tzinfo=UTC), first_tile=0, tile_roots=[])
    assert "outside_contradicts" in {each.code for each in _findings(sealed, own)}


class TestA13TheOperatorAcceptsAndRecordsNothing:
    """Found by whoever holds the receipt: it is signed, and there is no proof."""

    @pytest.fixture
    def receipts(self, own: Settings) -> Receipts:
        return Receipts(SigningKey("ledger.example/journal/receipts", bytes(32)), origin=own.origin)

    def _check(self, database: Database, own: Settings, receipts: Receipts, note: str | None) -> list[str]:
        assert note is not None
        keys = [VerifierKey.parse(verifier_key(own))]
        with opened(auditor_url(database)) as connection:
            trusted = [VerifierKey.parse(receipts.verifier)]
            return check_receipt(connection, note, receipt_keys=trusted, keys=keys)

    def test_what_was_recorded_keeps_the_promise(self, sealed: Database, own: Settings, receipts: Receipts) -> None:
        note = receipts.sign(Ledger(sealed).post([register("sys:x"), register("sys:y")], with_leaves=True))
        found = self._check(sealed, own, receipts, note)
        assert len(found) == 2
        assert "is not sealed" in found[0]
        seal_now(sealed, own)
        assert not self._check(sealed, own, receipts, note)

    def test_what_was_not_recorded_breaks_it(self, sealed: Database, own: Settings, receipts: Receipts) -> None:
        note = receipts.sign(Ledger(sealed).post([register("sys:x")], with_leaves=True))
        head = _head(sealed)
        as_superuser(sealed, CUT_OFF.format("event", "position", head - 1), SET_SIZE.format(head - 1))
        (found,) = self._check(sealed, own, receipts, note)
        assert found == f"position {head} was promised, and the journal ends at {head - 1}"
        Ledger(sealed).post([register("sys:z")])
        seal_now(sealed, own)
        (found,) = self._check(sealed, own, receipts, note)
        assert found == f"position {head} holds another fact than was promised"

    def test_a_promise_without_any_fact_is_none(self, receipts: Receipts) -> None:
        assert receipts.sign([]) is None
        assert receipt_text("origin", []).count("\n") == 2


class TestA14TheOperatorChangesTheClock:
    def test_a_clock_that_was_set_back_records_nothing_earlier(self, sealed: Database) -> None:
        """Prevented by the insert guard: what is recorded next lies not before the last fact."""
        with past_all_guards(sealed) as connection:
            connection.execute("UPDATE head SET recorded_at = clock_timestamp() + interval '1 hour'")
        insert = (
            "INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor) "
            "SELECT size, 'X', '{}', '{}', '2027-01-01', recorded_at, 'x/1', 'system:x' FROM head"
        )
        with psycopg.connect(sealed.url) as connection:
            connection.execute("UPDATE head SET size = size + 1, recorded_at = recorded_at")
            with pytest.raises(errors.CheckViolation, match="lies after the database clock"):
                connection.execute(insert)
            connection.rollback()

    def test_the_notary_alarms_when_clocks_disagree(
        self, sealed: Database, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database's clock is an hour behind that of the notary's machine."""

        class LaterClock:
            @staticmethod
            def now(tz: Any = None) -> datetime:
                return datetime.now(tz) + timedelta(hours=1)

        monkeypatch.setattr(notary_module, "datetime", LaterClock)
        stop, said = threading.Event(), []

        def report(sentence: str) -> None:
            said.append(sentence)
            stop.set()

        run(sealed, own, stop, ready=lambda _key: None, report=report)
        assert said[0].startswith("ALARM: the database clock is -3600.")


class TestA15SomebodyEditsAProjection:
    """Prevented by grants for all but the application, which writes them; refolding names the row."""

    @pytest.mark.parametrize("role", ["ledger_auditor", "ledger_reader", "ledger_notary"])
    def test_readers_cannot(self, sealed: Database, role: str) -> None:
        url = sealed.url.replace("ledger_app", role)
        with psycopg.connect(url) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("UPDATE memory SET position = 0")

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("UPDATE control_total_1 SET amount_fen = amount_fen + 1 WHERE part = 'employee'", "control_total"),
            ("UPDATE memory SET state = replace(state, '1000', '9000') WHERE tag = 'account:A0'", "A0"),
            ("UPDATE person_identity_1 SET person = 'P0000000000000000' WHERE sid = 'sys:5'", "sys:5"),
            ("INSERT INTO statement_line_1 VALUES (1, 'A0', '2027-01-01', 'x', 1, '{employee}', '{1}', NULL)", "A0"),
        ],
    )
    def test_refolding_names_what_the_application_changed(self, sealed: Database, statement: str, said: str) -> None:
        with sealed.connect() as connection:
            connection.execute(statement.encode())
        differences = compare(auditor_url(sealed), processes=1).differences
        assert differences
        assert any(said in each for each in differences)


@pytest.mark.parametrize("setting", ["session_replication_role = replica", "\"pgaudit.log\" = 'none'"])
def test_a16_a_superuser_loosens_settings(sealed: Database, setting: str) -> None:
    """Found as drift, by the setting's name."""
    name = psycopg.conninfo.conninfo_to_dict(sealed.admin_url)["dbname"]
    with psycopg.connect(sealed.admin_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    assert any(kind == "setting" for kind, _ in _drifted(sealed))


def _head(database: Database) -> int:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(autouse=True)
def _unstrained(database: Database) -> Iterator[None]:
    """Pools are closed before the database is copied or dropped."""
    yield
    database.close()
