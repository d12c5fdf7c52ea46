"""The notary: seals what is recorded, goes on after any end, and signs nothing that contradicts what it sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.application import Ledger
from ledger.checkpoints import CheckpointFolder
from ledger.domain.notes import SigningKey, open_checkpoint
from ledger.domain.tree import ProofInvalid, verify_consistency
from ledger.keys import KeyFileUnusable
from ledger.leaves import read_leaves
from ledger.notary import Notary, NotaryFolder, NotaryRunning, SealRefused, open_notary, seal_now
from ledger.seals import NotSealed, consistency, frontier_at, inclusion, latest, sealed_at
from tests.attacks import as_superuser
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.database import Database
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
