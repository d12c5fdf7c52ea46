"""The notary: seals what is recorded, goes on after any end, and signs nothing that contradicts what it sealed."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger import notary as notary_module
from ledger import seals
from ledger.application import Ledger
from ledger.checkpoints import CheckpointFolder
from ledger.domain.notes import Checkpoint, SigningKey, open_checkpoint
from ledger.domain.tree import Frontier, ProofInvalid, verify_consistency
from ledger.keys import KeyFileUnusable
from ledger.leaves import read_leaves
from ledger.notary import (
    Notary,
    NotaryFolder,
    NotaryRunning,
    SealRefused,
    open_notary,
    require_sealed,
    run,
    seal_now,
)
from ledger.seals import JournalRestored, NotSealed, consistency, frontier_at, inclusion, latest, sealed_at
from tests.attacks import as_superuser, fill
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.database import Database
    from ledger.domain.leaves import Leaves
    from ledger.settings import Settings


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose folders are this test's own."""
    return settings.model_copy(update={"data_folder": tmp_path})


@pytest.fixture
def filled(database: Database) -> Database:
    _post(database, 0, 1)
    return database


def _post(database: Database, first: int, people: int) -> None:
    """Two facts to open each account, and one contribution."""
    for start in range(first, first + people, 2_000):
        numbers = range(start, min(start + 2_000, first + people))
        Ledger(database).post(
            [
                command
                for number in numbers
                for command in (
                    register(f"sys:{number}"),
                    open_account(f"sys:{number}", f"A{number}"),
                    contribute(f"A{number}", 1_000),
                )
            ]
        )


def _key(own: Settings) -> SigningKey:
    key = NotaryFolder(own.notary_files).key()
    assert key is not None
    return key


@pytest.fixture
def notary(filled: Database, own: Settings) -> Iterator[Notary]:
    with filled.connect_as_notary() as connection:
        yield open_notary(connection, own, NotaryFolder(own.notary_files))


class TestSealing:
    def test_every_fact_is_proven_under_the_last_checkpoint(self, database: Database, own: Settings) -> None:
        """Across several tiles, sealed at several sizes; every pair of checkpoints is consistent."""
        sizes: list[int] = []
        for people in (1, 84, 86, 100, 3):
            _post(database, sum(sizes), people)
            sizes.append(people)
            seal_now(database, own)
        total = 3 * sum(sizes)
        verifier = _key(own).verifier
        with database.connect() as connection:
            leaves = read_leaves(connection, after=0, until=total)
            assert leaves is not None
            for position in range(1, total + 1):
                inclusion(connection, position).verify(leaves.hashes[position - 1], [verifier])
            checkpoints = [sealed_at(connection, 3 * sum(sizes[: each + 1])) for each in range(len(sizes))]
            for number, new in enumerate(checkpoints):
                assert open_checkpoint(new.note, [verifier]).root == new.root == frontier_at(connection, new.size).root
                for old in checkpoints[: number + 1]:
                    hashes = consistency(connection, old.size, new.size)
                    verify_consistency(old.size, old.root, new.size, new.root, hashes)

    def test_a_proof_is_of_one_leaf_alone(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        with filled.connect() as connection:
            leaves = read_leaves(connection, after=0, until=3)
            assert leaves is not None
            made = inclusion(connection, 2)
            with pytest.raises(ProofInvalid):
                made.verify(leaves.hashes[2], [_key(own).verifier])

    def test_what_is_not_sealed_has_no_proof(self, filled: Database, own: Settings) -> None:
        with filled.connect() as connection:
            with pytest.raises(NotSealed):
                inclusion(connection, 1)
            seal_now(filled, own)
            for position in (0, 4):
                with pytest.raises(NotSealed):
                    inclusion(connection, position)
            with pytest.raises(NotSealed):
                inclusion(connection, 1, size=2)

    def test_nothing_new_is_no_new_checkpoint(self, notary: Notary) -> None:
        assert [notary.seal(), notary.seal()] == [3, 0]

    def test_the_checkpoints_stand_outside_the_database_too(self, filled: Database, own: Settings) -> None:
        _post(filled, 1, 200)
        seal_now(filled, own)
        _post(filled, 201, 100)
        seal_now(filled, own)
        outside = CheckpointFolder(own.checkpoint_files).last()
        with filled.connect() as connection:
            last = latest(connection)
            assert last is not None
            assert outside is not None
            assert outside.note == last.note
            roots = [row[0] for row in connection.execute("SELECT root FROM tile WHERE level = 0 ORDER BY index")]
        assert outside.first_tile == 2
        assert outside.tile_roots == roots[2:]


class TestGoingOn:
    """Whatever it was doing when it ended, it publishes what it had signed, and no other."""

    def test_a_checkpoint_that_was_kept_is_published_again(
        self, filled: Database, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed after its own file was written: the same bytes appear, inside and outside."""
        seal_now(filled, own)
        _post(filled, 1, 100)
        with filled.connect_as_notary() as connection:
            notary = open_notary(connection, own, NotaryFolder(own.notary_files))
            monkeypatch.setattr(notary, "_publish", lambda _note: None)
            notary.seal()
        _post(filled, 101, 100)
        with filled.connect_as_notary() as connection:
            open_notary(connection, own, NotaryFolder(own.notary_files))
            published = latest(connection)
            assert published is not None
            assert [published.note] == [NotaryFolder(own.notary_files).last()]
            assert published.size == 303
        assert seal_now(filled, own) == 603

    def test_a_torn_line_outside_is_passed_over(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        (file,) = own.checkpoint_files.glob("*.ndjson")
        whole = file.read_bytes()
        file.write_bytes(whole + whole[:50])
        last = CheckpointFolder(own.checkpoint_files).last()
        assert last is not None
        assert last.checkpoint.size == 3
        _post(filled, 1, 1)
        seal_now(filled, own)
        last = CheckpointFolder(own.checkpoint_files).last()
        assert last is not None
        assert last.checkpoint.size == 6
        assert file.read_bytes().startswith(whole + whole[:50] + b"\n")


class TestTheNewestLineOutside:
    """It is found whatever stands around it."""

    def test_a_clock_that_was_ahead_does_not_hide_what_comes_next(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        (file,) = own.checkpoint_files.glob("*.ndjson")
        ahead = file.rename(file.with_name("2935-01-01.ndjson"))
        _post(filled, 1, 1)
        seal_now(filled, own)
        last = CheckpointFolder(own.checkpoint_files).last()
        assert last is not None
        assert last.checkpoint.size == 6
        assert list(own.checkpoint_files.iterdir()) == [ahead]

    @pytest.mark.parametrize(
        "line",
        [
            "[" * 200_000,
            '{"checkpoint": "x\\n1\\n", "first_tile": 1e999, "tile_roots": []}',
            '{"checkpoint": 5, "first_tile": 0, "tile_roots": []}',
            '{"checkpoint": {note}, "first_tile": 1e999, "tile_roots": []}',
            '{"checkpoint": {half}, "first_tile": 0, "tile_roots": []}',
            "9" * 10_000,
            "x" * 3_000_000,
        ],
    )
    def test_a_line_that_is_none_of_the_notarys_is_passed_over(
        self, filled: Database, own: Settings, line: str
    ) -> None:
        seal_now(filled, own)
        outside = CheckpointFolder(own.checkpoint_files)
        last = outside.last()
        assert last is not None
        half = json.dumps("\ud800" + last.note)
        (file,) = own.checkpoint_files.glob("*.ndjson")
        with file.open("a") as appending:
            appending.write(line.replace("{note}", json.dumps(last.note)).replace("{half}", half) + "\n")
        assert outside.last() == last
        require_sealed(filled, own)
        _post(filled, 1, 1)
        assert seal_now(filled, own) == 6


class TestBeforeTheFirstWrite:
    """A writer compares the journal with what stands outside, and does not take a notary's end for an older backup."""

    @pytest.fixture
    def ahead(self, filled: Database, own: Settings, monkeypatch: pytest.MonkeyPatch) -> Database:
        """Sealed at 3; of 1,003 the checkpoint stands outside alone, and four tiles are not in the database."""
        seal_now(filled, own)
        fill(filled, 1_000)
        with monkeypatch.context() as patched:
            patched.setattr(notary_module, "COPY_TILES", b"SELECT 1 / 0")
            with pytest.raises(psycopg.Error):
                seal_now(filled, own)
        last = CheckpointFolder(own.checkpoint_files).last()
        assert last is not None
        assert last.checkpoint.size == 1_003
        return filled

    def test_a_checkpoint_that_stands_outside_alone_is_compared(self, ahead: Database, own: Settings) -> None:
        require_sealed(ahead, own)
        assert seal_now(ahead, own) == 1_003
        require_sealed(ahead, own)

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("UPDATE event SET actor = 'system:x' WHERE position = 2", "do not give the root that was published"),
            ("UPDATE event SET actor = 'system:x' WHERE position = 700", "do not give the root that was published"),
            ("DELETE FROM event WHERE position = 700", "do not follow one another|is missing"),
        ],
    )
    def test_what_it_covers_was_changed(self, ahead: Database, own: Settings, statement: str, said: str) -> None:
        as_superuser(ahead, statement)
        with pytest.raises(JournalRestored, match=said):
            require_sealed(ahead, own)

    def test_it_is_never_further_ahead_than_a_step(
        self, ahead: Database, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So what a writer and a notary read at their start is bounded."""
        monkeypatch.setattr(seals, "MAX_FACTS", 999)
        monkeypatch.setattr(notary_module, "MAX_FACTS", 999)
        with pytest.raises(JournalRestored, match="holds no checkpoint after 3"):
            require_sealed(ahead, own)
        with pytest.raises(SealRefused, match="checkpoints were removed"):
            seal_now(ahead, own)

    def test_a_folder_without_checkpoints_is_said(self, filled: Database, own: Settings) -> None:
        said: list[str] = []
        require_sealed(filled, own, report=said.append)
        assert not said
        seal_now(filled, own)
        require_sealed(filled, own, report=said.append)
        assert not said
        (file,) = own.checkpoint_files.glob("*.ndjson")
        file.write_bytes(b"")
        require_sealed(filled, own, report=said.append)
        file.unlink()
        own.checkpoint_files.rmdir()
        require_sealed(filled, own, report=said.append)
        assert [each.startswith(f"WARNING: {own.checkpoint_files} holds no checkpoint") for each in said] == [True] * 2

    def test_the_folder_of_another_ledger_may_be_meant(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        as_superuser(filled, "UPDATE event SET actor = 'system:x' WHERE position = 2")
        with pytest.raises(JournalRestored, match="checkpoint folder is another ledger's"):
            require_sealed(filled, own)


class TestLate:
    def test_an_alarm_is_raised_once_and_its_end_told_once(self, filled: Database, own: Settings) -> None:
        """When a fact was not sealed within a minute."""
        as_superuser(filled, "UPDATE event SET recorded_at = recorded_at - interval '61 seconds'")
        stop, said = threading.Event(), []

        def report(sentence: str) -> None:
            said.append(sentence)
            if len(said) == 2:
                stop.set()

        run(filled, own, stop, ready=lambda _key: None, report=report)
        assert [said[0][:35], said[1]] == ["ALARM: a fact was not sealed for 61", "Facts are sealed in time again."]


class TestLargeData:
    @pytest.fixture
    def refused(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """PostgreSQL's own refusal of an answer above 1 GB, already for three facts; returns what was refused."""
        found: list[int] = []

        def read(connection: seals.Connection, *, after: int, until: int, keep: bool = False) -> Leaves | None:
            if until - after >= 3:
                found.append(until - after)
                connection.execute("SELECT repeat('x', 1 << 30)")
            return read_leaves(connection, after=after, until=until, keep=keep)

        monkeypatch.setattr(seals, "read_leaves", read)
        return found

    def test_a_stretch_is_read_in_parts_where_it_is_too_large(
        self, database: Database, own: Settings, refused: list[int]
    ) -> None:
        for facts in (7, 300, 3):
            fill(database, facts)
            size = seal_now(database, own)
        assert {3, 7, 300} <= set(refused)
        with database.connect() as connection:
            last, leaves = latest(connection), read_leaves(connection, after=0, until=size)
            assert last is not None
            assert leaves is not None
            tree = Frontier()
            for leaf in leaves.hashes:
                tree.add(leaf)
            assert (last.size, last.root) == (310, tree.root)

    def test_a_fact_too_large_to_be_read_is_named(
        self, database: Database, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(connection: seals.Connection, **_: object) -> None:
            connection.execute("SELECT repeat('x', 1 << 30)")

        fill(database, 7)
        monkeypatch.setattr(seals, "read_leaves", refuse)
        with pytest.raises(SealRefused, match="The fact at position 1 is too large to be read"):
            seal_now(database, own)


class TestRefusing:
    """It signs nothing that does not extend what it sealed."""

    @pytest.mark.parametrize(
        ("statements", "said"),
        [
            (["DELETE FROM event WHERE position = 3", "UPDATE head SET size = 2"], "ends at position 2"),
            (["UPDATE event SET actor = 'system:x' WHERE position = 2"], "do not give the root that was signed"),
            (["DELETE FROM checkpoint", "UPDATE event SET actor = 'a:x' WHERE position = 2"], "do not give the root"),
            (["UPDATE checkpoint SET root = sha256('')"], "do not give the root that was signed"),
            (["UPDATE checkpoint SET note = replace(note, '3', '4')"], "not one of this notary's key"),
            (["DELETE FROM event WHERE position = 3"], "The seals lack what a checkpoint covers"),
            (["UPDATE event SET recorded_at = 'infinity' WHERE position = 3"], "'infinity' is no moment"),
            (["UPDATE event SET effective_on = '0044-03-15 BC' WHERE position = 2"], "is no date"),
        ],
    )
    def test_what_was_sealed_was_changed(
        self, filled: Database, own: Settings, statements: list[str], said: str
    ) -> None:
        seal_now(filled, own)
        as_superuser(filled, *statements)
        with pytest.raises(SealRefused, match=said):
            seal_now(filled, own)

    @pytest.mark.parametrize(
        ("statements", "said"),
        [
            (["DELETE FROM event WHERE position = 5"], "A position from 4 to 6 is missing|do not follow one another"),
            (["DELETE FROM event WHERE position = 4"], "A position from 4 to 6 is missing"),
            (["UPDATE event SET recorded_at = '2020-01-01' WHERE position = 4"], "recorded_at falls"),
            (["UPDATE event SET recorded_at = '2020-01-01' WHERE position = 6"], "recorded_at falls"),
            (["UPDATE event SET actor = E'a:x\\ny' WHERE position = 5"], "control character"),
            (["UPDATE event SET recorded_at = 'infinity' WHERE position = 6"], "'infinity' is no moment"),
            (["UPDATE head SET size = 2"], "ends at position 2, but 3 facts were sealed"),
        ],
    )
    def test_what_comes_next_does_not_follow(
        self, filled: Database, own: Settings, statements: list[str], said: str
    ) -> None:
        seal_now(filled, own)
        _post(filled, 1, 1)
        with filled.connect_as_notary() as connection:
            notary = open_notary(connection, own, NotaryFolder(own.notary_files))
            as_superuser(filled, *statements)
            with pytest.raises(SealRefused, match=said):
                notary.seal()

    def test_a_folder_that_lost_its_last_checkpoint_says_what_to_restore(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        (own.notary_files / "last-checkpoint").unlink()
        with pytest.raises(SealRefused, match="restore its file last-checkpoint"):
            seal_now(filled, own)

    def test_a_folder_without_a_key_does_not_go_on_with_another(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        (own.notary_files / "notary.key").unlink()
        with pytest.raises(SealRefused, match="has no key"):
            seal_now(filled, own)

    def test_a_key_that_others_may_read_is_not_used(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        (own.notary_files / "notary.key").chmod(0o644)
        with pytest.raises(KeyFileUnusable, match="chmod 600"):
            seal_now(filled, own)

    def test_one_notary_works_in_a_folder(self, filled: Database, own: Settings) -> None:
        with NotaryFolder(own.notary_files).locked(), pytest.raises(NotaryRunning):
            seal_now(filled, own)

    @pytest.mark.parametrize(("size", "said"), [(600, "would fork the history"), (3, "holds another root of size 3")])
    def test_what_stands_outside_is_not_what_it_signed_last(
        self, filled: Database, own: Settings, size: int, said: str
    ) -> None:
        seal_now(filled, own)
        self._append(own, _key(own), size)
        _post(filled, 1, 300)
        with pytest.raises(SealRefused, match=said):
            seal_now(filled, own)

    def test_what_stands_outside_differs_from_before(self, filled: Database, own: Settings) -> None:
        """A fork that was made long ago."""
        seal_now(filled, own)
        _post(filled, 1, 1)
        seal_now(filled, own)
        self._append(own, _key(own), 5)
        with pytest.raises(SealRefused, match="holds another root of size 5 than the journal gives"):
            seal_now(filled, own)

    def test_what_stands_outside_is_another_ledgers(self, filled: Database, own: Settings) -> None:
        seal_now(filled, own)
        self._append(own, SigningKey("another.example/ledger", bytes(32)), 3)
        with pytest.raises(SealRefused, match="LEDGER_CHECKPOINT_FOLDER to this ledger's own"):
            seal_now(filled, own)

    def test_it_makes_no_key_for_a_ledger_that_was_sealed(self, filled: Database, own: Settings) -> None:
        """The database and the notary's folder were lost, and what stands outside was not."""
        self._append(own, SigningKey(own.origin, bytes(32)), 3)
        with pytest.raises(SealRefused, match="has no key: restore that folder"):
            seal_now(filled, own)
        assert NotaryFolder(own.notary_files).key() is None

    def _append(self, own: Settings, key: SigningKey, size: int) -> None:
        note = key.sign(Checkpoint(key.verifier.name, size, bytes(32)).text())
        CheckpointFolder(own.checkpoint_files).append(note, signed_at=datetime.now(UTC), first_tile=0, tile_roots=[])

    @pytest.mark.parametrize("more", [0, 1])
    def test_of_two_notaries_in_two_folders_one_signs(
        self, filled: Database, own: Settings, tmp_path: Path, more: int
    ) -> None:
        """Both begin at an empty tree, with a key each; the second has signed nothing, whether the size is the same or not."""
        other = own.model_copy(update={"data_folder": tmp_path / "other"})
        with filled.connect_as_notary() as one, filled.connect_as_notary() as two:
            first = open_notary(one, own, NotaryFolder(own.notary_files))
            second = open_notary(two, other, NotaryFolder(other.notary_files))
            assert first.seal() == 3
            _post(filled, 1, more)
            with pytest.raises(SealRefused, match="another notary seals this journal"):
                second.seal()
        assert NotaryFolder(other.notary_files).last() is None
        assert seal_now(filled, own) == 3 + 3 * more

    def test_of_two_notaries_at_once_one_fails(
        self, filled: Database, own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first has looked and not published yet; meanwhile the second publishes another size under another key."""
        other = own.model_copy(update={"data_folder": tmp_path / "other"})
        with filled.connect_as_notary() as one, filled.connect_as_notary() as two:
            first = open_notary(one, own, NotaryFolder(own.notary_files))
            second = open_notary(two, other, NotaryFolder(other.notary_files))
            publish = first._publish

            def publish_late(note: str) -> None:
                _post(filled, 1, 1)
                assert second.seal() == 6
                publish(note)

            monkeypatch.setattr(first, "_publish", publish_late)
            with pytest.raises(SealRefused, match="another notary seals this journal"):
                first.seal()
            two.rollback()
        with psycopg.connect(filled.admin_url) as connection:
            assert connection.execute("SELECT size FROM checkpoint").fetchall() == [(6,)]

    def test_seals_whose_checkpoints_were_removed_are_not_written_over(self, filled: Database, own: Settings) -> None:
        _post(filled, 1, 100)
        seal_now(filled, own)
        as_superuser(filled, "DELETE FROM checkpoint")
        with pytest.raises(SealRefused, match="holds seals already that size 303 adds"):
            seal_now(filled, own)
