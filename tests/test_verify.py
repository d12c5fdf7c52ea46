"""`replay verify`: what was sealed is proven, and what was changed is found, with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.domain.notes import Checkpoint, SigningKey, VerifierKey
from ledger.domain.tree import Frontier, whole
from ledger.notary import NotaryFolder, seal_now, verifier_key
from replay.chunks import CHUNK
from replay.published import FolderUnreadable, read_outside
from replay.verify import State, StateMismatch, Verified, verify
from tests.attacks import as_superuser, fill
from tests.sealing import auditor_url, leaf_hashes, tiles_of
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.database import Database
    from ledger.settings import Settings

FACTS = 1_000
CHANGE = "UPDATE {table} SET {change} WHERE {place}"
SET_ACTOR = "UPDATE event SET actor = 'system:other' WHERE position = {}"


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose folders are this test's own."""
    return settings.model_copy(update={"data_folder": tmp_path})


@pytest.fixture
def sealed(database: Database, own: Settings) -> Database:
    """1,000 facts, sealed at 300, 600, 900 and 1,000."""
    for facts in (300, 300, 300, 100):
        fill(database, facts)
        seal_now(database, own)
    return database


def _verify(
    database: Database, own: Settings, *, outside: bool = True, processes: int = 1, state: Path | None = None
) -> Verified:
    keys = [VerifierKey.parse(verifier_key(own))]
    copies = read_outside(own.checkpoint_files, keys) if outside else None
    return verify(auditor_url(database), keys, outside=copies, processes=processes, state_file=state)


def _found(verified: Verified) -> set[tuple[str, int, int]]:
    return {(each.code, each.first, each.last) for each in verified.findings}


def _key(own: Settings) -> SigningKey:
    key = NotaryFolder(own.notary_files).key()
    assert key is not None
    return key


def _rewrite_seals(database: Database, own: Settings, *, key: SigningKey | None = None) -> None:
    """Everything inside the database anew over what the facts now are: what a superuser does who has read AUDIT.md.

    Without the notary's key the notes stay as they are.
    """
    leaves = leaf_hashes(database)
    with past_all_guards(database) as connection:
        for level, index, hashes, root in tiles_of(leaves):
            query = b"UPDATE tile SET hashes = %s, root = %s WHERE level = %s AND index = %s"
            connection.execute(query, (hashes, root, level, index))
        for (size,) in connection.execute("SELECT size FROM checkpoint").fetchall():
            frontier = Frontier()
            for leaf in leaves[:size]:
                frontier.add(leaf)
            if key is not None:
                note = key.sign(Checkpoint(own.origin, size, frontier.root).text())
                query = b"UPDATE checkpoint SET root = %s, note = %s WHERE size = %s"
                connection.execute(query, (frontier.root, note, size))


class TestWhatHolds:
    def test_everything_that_was_sealed_is_proven(self, sealed: Database, own: Settings) -> None:
        verified = _verify(sealed, own)
        assert not verified.findings
        assert (verified.head, verified.sealed, verified.read_from) == (FACTS, FACTS, 1)
        assert (verified.checkpoints, verified.checkpoints_outside) == (4, 4)

    def test_facts_after_the_last_checkpoint_are_no_finding(self, sealed: Database, own: Settings) -> None:
        fill(sealed, 7)
        verified = _verify(sealed, own)
        assert not verified.findings
        assert (verified.head, verified.sealed) == (FACTS + 7, FACTS)

    def test_an_empty_ledger_has_nothing_sealed(self, database: Database, own: Settings) -> None:
        seal_now(database, own)
        assert _found(_verify(database, own, outside=False)) == {("not_sealed", 1, 1)}

    def test_processes_and_state_file_change_nothing(self, database: Database, own: Settings, tmp_path: Path) -> None:
        """Over two chunks: in one process or two, at once or resumed, the same answer."""
        fill(database, CHUNK // 10_000 * 10_000)
        seal_now(database, own)
        fill(database, 10_000)
        seal_now(database, own)
        fill(database, 5_000)
        seal_now(database, own)
        state = tmp_path / "state.json"
        alone, together = _verify(database, own, state=state), _verify(database, own, processes=2)
        assert not alone.findings
        assert alone == together
        assert alone.checkpoints == 3
        resumed = _verify(database, own, state=state)
        assert (resumed.read_from, resumed.root, resumed.findings) == (CHUNK + 1, alone.root, [])
        fill(database, 1)
        as_superuser(database, SET_ACTOR.format(CHUNK + 5))
        assert ("leaf_differs", CHUNK + 5, CHUNK + 5) in _found(_verify(database, own, state=state))

    def test_a_damaged_state_file_is_refused(self, sealed: Database, own: Settings, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        for content in ("", "{}", '{"version": "x", "chunk_roots": ["00"], "recorded_at": null}'):
            state.write_text(content)
            with pytest.raises(StateMismatch, match="remove it"):
                _verify(sealed, own, state=state)

    def test_a_state_file_that_knows_more_than_the_journal_holds(
        self, sealed: Database, own: Settings, tmp_path: Path
    ) -> None:
        state = tmp_path / "state.json"
        State([(b"\0" * 32).hex()]).save(state)
        assert _found(_verify(sealed, own, state=state)) == {("facts_removed", FACTS + 1, CHUNK)}


class TestWhatWasChanged:
    """By a superuser, with every guard off."""

    @pytest.mark.parametrize("position", [1, 256, 257, 512, 700])
    def test_a_changed_fact_in_a_full_tile_is_named(self, sealed: Database, own: Settings, position: int) -> None:
        as_superuser(sealed, SET_ACTOR.format(position))
        found = _found(_verify(sealed, own, outside=False))
        assert found == {("leaf_differs", position, position)}

    @pytest.mark.parametrize(
        "change",
        [
            "type = 'Other'",
            "data = convert_to('{}', 'UTF8')",
            "tags = '{}'",
            "tags = ARRAY['thing:1', 'thing:2']",
            "effective_on = '2027-02-01'",
            "recorded_at = recorded_at + interval '1 microsecond'",
            "command_id = 'filler/2'",
            "actor = 'system:other'",
        ],
    )
    def test_every_column_is_sealed(self, sealed: Database, own: Settings, change: str) -> None:
        """Of the last fact before another moment, so that time does not fall by it."""
        as_superuser(sealed, CHANGE.format(table="event", change=change, place="position = 300"))
        assert _found(_verify(sealed, own, outside=False)) == {("leaf_differs", 300, 300)}

    def test_a_changed_fact_behind_the_last_full_tile_is_placed_by_its_checkpoints(
        self, sealed: Database, own: Settings
    ) -> None:
        as_superuser(sealed, SET_ACTOR.format(950))
        assert _found(_verify(sealed, own, outside=False)) == {("root_differs", 901, FACTS)}

    def test_facts_and_tiles_changed_together_are_placed_by_the_copies_outside(
        self, sealed: Database, own: Settings
    ) -> None:
        """To within 256 facts, and without the copies between two checkpoints."""
        as_superuser(sealed, SET_ACTOR.format(400))
        _rewrite_seals(sealed, own)
        assert _found(_verify(sealed, own, outside=False)) == {("root_differs", 301, 600)}
        assert _found(_verify(sealed, own)) == {("root_differs", 301, 600), ("tile_differs", 257, 512)}

    def test_the_thief_of_the_key_cannot_change_what_stands_outside(self, sealed: Database, own: Settings) -> None:
        """A11: within the database all is consistent and signed; the copies outside tell."""
        as_superuser(sealed, SET_ACTOR.format(400))
        _rewrite_seals(sealed, own, key=_key(own))
        assert not _verify(sealed, own, outside=False).findings
        codes = {code for code, _, _ in _found(_verify(sealed, own))}
        assert codes == {"fork", "tile_differs"}

    def test_removed_facts_are_missed(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "DELETE FROM event WHERE position > 990", "UPDATE head SET size = 990")
        assert ("facts_removed", 991, FACTS) in _found(_verify(sealed, own, outside=False))

    def test_removed_facts_and_checkpoints_are_missed_outside(self, sealed: Database, own: Settings) -> None:
        as_superuser(
            sealed,
            "DELETE FROM event WHERE position > 600",
            "UPDATE head SET size = 600",
            "DELETE FROM checkpoint WHERE size > 600",
            "DELETE FROM tile WHERE index > 1",
        )
        assert not _verify(sealed, own, outside=False).findings
        assert _found(_verify(sealed, own)) == {("facts_removed", 601, FACTS)}

    def test_a_removed_fact_in_the_middle_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "DELETE FROM event WHERE position = 500")
        found = _found(_verify(sealed, own, outside=False))
        assert found == {("fact_missing", 500, 500), ("leaf_differs", 500, 500)}

    def test_two_swapped_facts_are_both_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(
            sealed,
            "UPDATE event SET position = 9000 WHERE position = 10",
            "UPDATE event SET position = 10 WHERE position = 20",
            "UPDATE event SET position = 20 WHERE position = 9000",
        )
        found = _found(_verify(sealed, own, outside=False))
        assert found == {("leaf_differs", 10, 10), ("leaf_differs", 20, 20)}

    def test_a_fact_beyond_the_head_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "UPDATE event SET position = 2000 WHERE position = 1000", "UPDATE head SET size = 999")
        found = _found(_verify(sealed, own, outside=False))
        assert {("beyond_head", 2000, 2000), ("facts_removed", 1000, 1000)} <= found

    def test_a_changed_tile_is_told_from_a_changed_fact(self, sealed: Database, own: Settings) -> None:
        as_superuser(
            sealed, "UPDATE tile SET hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40)) WHERE index = 1"
        )
        found = _found(_verify(sealed, own, outside=False))
        assert ("tile_changed", 258, 258) in found
        assert {code for code, _, _ in found} == {"tile_changed"}

    def test_a_changed_root_beside_a_tile_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "UPDATE tile SET root = sha256('') WHERE index = 2")
        assert _found(_verify(sealed, own, outside=False)) == {("tile_changed", 513, 768)}

    def test_a_missing_tile_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "DELETE FROM tile WHERE index = 2")
        assert {code for code, _, _ in _found(_verify(sealed, own, outside=False))} == {"tiles_missing"}

    @pytest.mark.parametrize(
        "change",
        ["root = sha256('')", "note = replace(note, '600', '601')", "note = 'nothing'", "size = 601"],
    )
    def test_a_changed_checkpoint_is_named(self, sealed: Database, own: Settings, change: str) -> None:
        as_superuser(sealed, CHANGE.format(table="checkpoint", change=change, place="size = 600"))
        assert {code for code, _, _ in _found(_verify(sealed, own, outside=False))} == {"checkpoint_invalid"}

    def test_a_line_end_in_a_value_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "UPDATE event SET actor = E'system:a\\nb' WHERE position = 5")
        assert ("fact_unfit", 5, 5) in _found(_verify(sealed, own, outside=False))

    def test_values_moved_over_a_line_end_are_not_the_same_leaf(self, sealed: Database, own: Settings) -> None:
        """Two tags joined by a line's end would spell the same lines as two tags."""
        as_superuser(sealed, "UPDATE event SET tags = ARRAY[E'thing:5\\nthing:6'] WHERE position = 5")
        assert ("fact_unfit", 5, 5) in _found(_verify(sealed, own, outside=False))

    def test_falling_time_is_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "UPDATE event SET recorded_at = '2020-01-01' WHERE position = 450")
        assert ("time_falls", 450, 450) in _found(_verify(sealed, own, outside=False))


class TestWhatCannotBeALeaf:
    """A superuser takes the constraints away and writes what has no leaf, or seems to have that of something else."""

    @pytest.mark.parametrize(
        "change",
        [
            "effective_on = '2027-01-31 BC'",
            "effective_on = 'infinity'",
            "recorded_at = 'infinity'",
            "recorded_at = '20270-01-01'",
            "tags = ARRAY[tags[1] || E'\\x1f' || 'thing:2', NULL]",
            "tags = ARRAY[tags]",
            "tags = '{\"\"}'",
            "tags = NULL",
            "type = NULL",
            "type = ''",
            "actor = E'a\\x1eb'",
            "command_id = E'a\\x07'",
            "data = NULL",
            "tags = ARRAY[repeat('x', 70000)]",
        ],
    )
    def test_it_is_named(self, sealed: Database, own: Settings, change: str) -> None:
        columns = ("type", "tags", "data", "effective_on", "recorded_at", "command_id", "actor")
        free = [f"ALTER TABLE event ALTER COLUMN {column} DROP NOT NULL" for column in columns]
        statement = CHANGE.format(table="event", change=change, place="position = 300")
        as_superuser(sealed, *free, statement)
        assert ("fact_unfit", 300, 300) in _found(_verify(sealed, own, outside=False))

    def test_two_facts_in_the_texts_of_which_one_is_null(self, sealed: Database, own: Settings) -> None:
        """Joined they would read as before: one holds both types, the other none."""
        as_superuser(
            sealed,
            "ALTER TABLE event ALTER COLUMN type DROP NOT NULL",
            "UPDATE event SET type = type || E'\\x1e' || type WHERE position = 300",
            "UPDATE event SET type = NULL WHERE position = 301",
        )
        found = _found(_verify(sealed, own, outside=False))
        assert {("fact_unfit", 300, 300), ("fact_unfit", 301, 301)} <= found

    def test_positions_before_the_first_are_named(self, sealed: Database, own: Settings) -> None:
        as_superuser(
            sealed,
            "ALTER TABLE event DROP CONSTRAINT event_position_check",
            "INSERT INTO event SELECT -1, type, data, tags, effective_on, recorded_at, command_id, actor FROM event "
            "WHERE position = 1",
        )
        assert _found(_verify(sealed, own, outside=False)) == {("beyond_head", -1, -1)}

    def test_a_head_far_beyond_the_facts_is_one_finding(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "UPDATE head SET size = 9000000000000")
        assert _found(_verify(sealed, own, outside=False)) == {("facts_missing", FACTS + 1, 9_000_000_000_000)}


class TestKeysAndCopies:
    def test_another_key_proves_nothing(self, sealed: Database) -> None:
        other = SigningKey("ledger.example/journal", bytes(range(32))).verifier
        verified = verify(auditor_url(sealed), [other], outside=None, processes=1, state_file=None)
        assert {each.code for each in verified.findings} >= {"checkpoint_invalid", "not_sealed"}

    def test_a_folder_without_checkpoints_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FolderUnreadable):
            read_outside(tmp_path, [])

    def test_a_forged_line_outside_is_a_finding(self, sealed: Database, own: Settings) -> None:
        (file,) = own.checkpoint_files.glob("*.ndjson")
        file.write_text(file.read_text().replace('"checkpoint": "pension', '"checkpoint": "passion', 1))
        assert "outside_contradicts" in {each.code for each in _verify(sealed, own).findings}

    @pytest.mark.usefixtures("sealed")
    def test_a_torn_line_outside_is_counted(self, own: Settings) -> None:
        (file,) = own.checkpoint_files.glob("*.ndjson")
        file.write_text(file.read_text() + '{"checkpoint": "pens')
        outside = read_outside(own.checkpoint_files, [VerifierKey.parse(verifier_key(own))])
        assert (outside.torn, outside.size) == (1, FACTS)

    def test_two_histories_under_one_key_are_found(self, sealed: Database, own: Settings) -> None:
        """A12: the operator shows two auditors two histories; their copies of the checkpoints contradict each other."""
        (file,) = own.checkpoint_files.glob("*.ndjson")
        note = _key(own).sign(Checkpoint(own.origin, 600, whole([b"\0" * 32])).text())
        other = file.with_name("2000-01-01.ndjson")
        other.write_text(json.dumps({"checkpoint": note, "first_tile": 0, "tile_roots": []}) + "\n")
        assert {"fork", "outside_contradicts"} <= {each.code for each in _verify(sealed, own).findings}


def test_the_notary_seals_what_hashing_one_by_one_gives(sealed: Database) -> None:
    """The same tiles and roots as an independent computation over all leaves."""
    leaves = leaf_hashes(sealed)
    with psycopg.connect(sealed.notary_url) as connection:
        tiles = connection.execute("SELECT level, index, hashes, root FROM tile ORDER BY level, index").fetchall()
        checkpoints = connection.execute("SELECT size, root FROM checkpoint ORDER BY size").fetchall()
    assert tiles == tiles_of(leaves)
    for size, root in checkpoints:
        frontier = Frontier()
        for leaf in leaves[:size]:
            frontier.add(leaf)
        assert frontier.root == root


class TestWhatStandsOutside:
    def test_a_checkpoint_removed_in_the_middle_is_missed(self, sealed: Database, own: Settings) -> None:
        as_superuser(sealed, "DELETE FROM checkpoint WHERE size = 600")
        assert not _verify(sealed, own, outside=False).findings
        assert _found(_verify(sealed, own)) == {("checkpoints_removed", 600, 600)}

    def test_a_checkpoint_on_its_way_into_the_database_is_a_note(self, sealed: Database, own: Settings) -> None:
        """The notary writes outside first."""
        as_superuser(sealed, "DELETE FROM checkpoint WHERE size = 1000")
        verified = _verify(sealed, own)
        assert not verified.findings
        assert verified.notes == ["The checkpoint of size 1000 was published, and is not in the database yet."]

    def test_a_later_line_takes_nothing_back(self, sealed: Database, own: Settings) -> None:
        """An old signed note with new tile roots, appended by whoever rewrote the rest."""
        as_superuser(sealed, SET_ACTOR.format(100))
        _rewrite_seals(sealed, own)
        (file,) = own.checkpoint_files.glob("*.ndjson")
        line = json.loads(file.read_text().splitlines()[0])
        with psycopg.connect(sealed.admin_url) as connection:
            roots = [row[0].hex() for row in connection.execute("SELECT root FROM tile WHERE level = 0 ORDER BY index")]
        with file.open("a") as appending:
            appending.write(json.dumps(line | {"first_tile": 0, "tile_roots": roots}) + "\n")
        found = _found(_verify(sealed, own))
        assert ("tile_differs", 1, 256) in found
        assert "outside_contradicts" in {code for code, _, _ in found}

    @pytest.mark.parametrize(
        "line", ["[" * 100_000, '{"checkpoint": 1e999, "first_tile": 1e999, "tile_roots": []}', '"\\ud800"']
    )
    def test_a_line_that_is_none_is_passed_over(self, sealed: Database, own: Settings, line: str) -> None:
        (file,) = own.checkpoint_files.glob("*.ndjson")
        with file.open("a") as appending:
            appending.write(line + "\n")
        assert not _verify(sealed, own).findings


def test_a_state_counts_for_the_evidence_it_was_made_with_alone(
    database: Database, own: Settings, tmp_path: Path
) -> None:
    """A chunk to the last fact: again it holds; held against other copies or keys, it is read again."""
    fill(database, 60_000)
    fill(database, CHUNK - 60_000)
    seal_now(database, own)
    state = tmp_path / "state.json"
    assert not _verify(database, own, state=state).findings
    again = _verify(database, own, state=state)
    assert (again.findings, again.read_from, again.sealed) == ([], CHUNK + 1, CHUNK)
    assert _verify(database, own, outside=False, state=state).read_from == 1
    assert not _verify(database, own, state=state).findings
    note = _key(own).sign(Checkpoint(own.origin, 300, bytes(32)).text())
    line = json.dumps({"checkpoint": note, "first_tile": 1, "tile_roots": []})
    (own.checkpoint_files / "2000-01-01.ndjson").write_text(line + "\n")
    assert "root_differs" in {each.code for each in _verify(database, own, state=state).findings}
