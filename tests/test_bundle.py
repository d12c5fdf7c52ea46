"""`export` and `check-bundle`: what leaves the ledger as one file can be proven without it, and nothing else can."""

from __future__ import annotations

import ast
import io
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.application import Ledger
from ledger.domain.notes import NoteInvalid
from ledger.domain.tree import Frontier, subtrees, whole
from replay import check_bundle
from replay.bundle import ExportImpossible, Person, Range, Whole, export
from replay.hashes import (
    Hashes,
    NotSealed,
    SealsBroken,
    consistency,
    covering,
    prove,
    proven_leaves,
    read_chosen,
    read_leaves,
    root_at,
    sealed,
)
from tests.bundles import exported, fill, framed, frames, packed, unpacked
from tests.commands import CAP_FEN, PERSONAL, contribute_own, merge, open_account, register, reverse, unmerge
from tests.sealing import KEY, ORIGIN, OTHER_KEY, auditor_url, leaf_hashes, seal
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ledger.database import Database, TemporaryServer

VKEY = str(KEY.verifier)
FACTS = 700
EARLIER = (1, 17, 255, 256, 257, 512)
PROVEN, BROKEN, UNREADABLE, UNSIGNED = 0, 1, 2, 3


@pytest.fixture(scope="module")
def sealed_ledger(server: TemporaryServer) -> Iterator[str]:
    """A sealed ledger with two full tiles, which no test changes: where the auditor finds it."""
    fresh = server.create_database("test_bundle")
    fill(fresh, FACTS)
    seal(fresh, *EARLIER, FACTS)
    fresh.close()
    yield auditor_url(fresh)
    server.drop_database("test_bundle")


@pytest.fixture
def journal(sealed_ledger: str) -> Iterator[psycopg.Connection[Any]]:
    """The sealed ledger as the auditor sees it."""
    with psycopg.connect(sealed_ledger) as connection:
        yield connection


def check(path: Path, *arguments: str) -> tuple[int, str]:
    """The program as the auditor runs it: without this project, and without any package."""
    found = subprocess.run(
        [sys.executable, "-I", "-S", check_bundle.__file__, str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return found.returncode, found.stdout + found.stderr


def positions_of(path: Path) -> list[int]:
    contents = unpacked(path)
    files = sorted(name for name in contents if name.startswith("entries/"))
    return [int(text.split(b"\n")[1]) for name in files for text in frames(contents[name], 2)]


def test_a_whole_bundle_is_proven_with_its_tiles_and_earlier_checkpoints(
    journal: psycopg.Connection[Any], tmp_path: Path
) -> None:
    path = exported(journal, tmp_path, Whole())
    code, output = check(path, "--key", VKEY)
    assert (code, output.splitlines()[-1]) == (PROVEN, "ALL PROVEN")
    assert "kind: whole, 700 facts\npositions: 1 to 700\n" in output
    assert f"earlier checkpoints of the same history: {len(EARLIER)}\n" in output
    assert "signatures of keys that were not given, passed over: 0\n" in output
    with ZipFile(path) as archive:
        assert archive.getinfo("tiles/0/000000.bin").file_size == 2 * 8_192
        assert archive.read("data/000000.bin")[4:].startswith(b'{"decided_at"')


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 700), (3, 14), (255, 258), (512, 513), (700, 700)])
def test_a_range_is_proven_with_what_stands_beside_it(
    journal: psycopg.Connection[Any], tmp_path: Path, first: int, last: int
) -> None:
    path = exported(journal, tmp_path, Range(first, last))
    assert check(path, "--key", VKEY)[0] == PROVEN
    assert positions_of(path) == list(range(first, last + 1))


@pytest.mark.parametrize("name", ["sys:1", "sys:2", "A2", "P1", "one_id"])
def test_a_person_is_all_facts_of_her_identities_and_accounts_however_she_is_named(
    journal: psycopg.Connection[Any], tmp_path: Path, name: str
) -> None:
    if name == "one_id":
        row = journal.execute(
            "SELECT substr(tag, 8) FROM event_tag WHERE position = 2 AND tag LIKE 'one_id:%'"
        ).fetchone()
        assert row is not None
        name = row[0]
    path = exported(journal, tmp_path, Person(name))
    code, output = check(path, "--key", VKEY)
    assert code == PROVEN, output
    hers = {"identity:sys:1", "identity:sys:2", "account:A1", "account:A2", "account:P1"}
    rows = journal.execute("SELECT DISTINCT position FROM event_tag WHERE tag = ANY (%s) ORDER BY 1", (list(hers),))
    assert positions_of(path) == [position for (position,) in rows]
    with ZipFile(path) as archive:
        assert json.loads(archive.read("manifest.json"))["asked"] == {
            "accounts": ["A1", "A2", "P1"],
            "identities": ["sys:1", "sys:2"],
            "kind": "person",
        }


def test_who_is_parted_again_is_another_person(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    path = exported(journal, tmp_path, Person("sys:3"))
    assert check(path, "--key", VKEY)[0] == PROVEN
    with ZipFile(path) as archive:
        asked = json.loads(archive.read("manifest.json"))["asked"]
    assert asked == {"accounts": ["A3"], "identities": ["sys:3"], "kind": "person"}


def test_facts_that_mention_her_by_a_counter_of_hers_alone_are_hers(database: Database, tmp_path: Path) -> None:
    """A refund of what turned out to be no excess is to be compensated: that fact names the counter and nothing else."""
    Ledger(database).post(
        [
            register("sys:1"),
            register("sys:2"),
            open_account("sys:1", "P1", PERSONAL),
            open_account("sys:2", "P2", PERSONAL),
            contribute_own("P1", CAP_FEN),
            contribute_own("P2", CAP_FEN),
            merge("sys:1", "sys:2"),
            reverse(6),
            unmerge(["sys:1"], ["sys:2"]),
        ]
    )
    seal(database)
    with psycopg.connect(auditor_url(database)) as connection:
        rows = connection.execute("SELECT position FROM event WHERE type = 'CompensationRequired'").fetchall()
        found = {sid: exported(connection, tmp_path, Person(sid)) for sid in ("sys:1", "sys:2")}
    assert len(rows) == 1
    assert rows[0][0] in positions_of(found["sys:2"])
    assert rows[0][0] not in positions_of(found["sys:1"])
    assert all(check(path, "--key", VKEY)[0] == PROVEN for path in found.values())


def test_a_bundle_of_many_files_is_proven(
    journal: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With files that hold less, so that a small ledger has several of each kind."""
    for name, each in {"FACTS_A_FILE": 7, "NOTES_A_FILE": 2, "HASHES_A_FILE": 256}.items():
        monkeypatch.setattr(check_bundle, name, each)
    for asked in (Whole(), Range(5, 200), Person("A1")):
        path = exported(journal, tmp_path, asked)
        assert f", {len(positions_of(path))} facts" in check_bundle.check(path.read_bytes(), [VKEY])[0]
    contents = unpacked(exported(journal, tmp_path, Whole()))
    assert {"entries/000099.bin", "tiles/0/000001.bin", "checkpoints/earlier/000002.bin"} <= contents.keys()
    for folder, width in (("entries", 2), ("data", 4)):
        first, second = (frames(contents[f"{folder}/00000{number}.bin"], width) for number in (0, 1))
        contents[f"{folder}/000000.bin"] = framed(first[:-1], width)
        contents[f"{folder}/000001.bin"] = framed([first[-1], *second[:-1]], width)
        contents[f"{folder}/000002.bin"] = framed([second[-1]], width) + contents[f"{folder}/000002.bin"]
    assert "Only the last file" in refused(packed(contents, json.loads(contents["manifest.json"])))


def test_a_bundle_can_be_proven_under_an_earlier_checkpoint(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    for asked in (Whole(), Range(5, 200), Person("A1")):
        path = exported(journal, tmp_path, asked, size=257)
        code, output = check(path, "--key", VKEY)
        assert code == PROVEN
        assert "size 257" in output
        assert positions_of(path)[-1] <= 257


def test_the_same_question_gives_the_same_bytes(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    journal.execute("SET TIME ZONE 'Asia/Shanghai'")
    for asked in (Whole(), Range(5, 200), Person("A1")):
        first = exported(journal, tmp_path, asked)
        journal.execute("SET TIME ZONE 'America/New_York'")
        assert exported(journal, tmp_path, asked).read_bytes() == first.read_bytes()


def test_the_exit_codes_are_distinct(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    path = exported(journal, tmp_path, Range(3, 9))
    code, output = check(path)
    assert (code, "NOT proven who signed" in output) == (UNSIGNED, True)
    assert check(path, "--key", str(OTHER_KEY.verifier))[0] == BROKEN
    assert check(path, "--key", "nonsense")[0] == UNREADABLE
    assert check(path, "--key", VKEY, "--sha256", "0" * 64)[0] == BROKEN
    digest = output.split("SHA-256 of the file: ")[1].split("\n")[0]
    assert check(path, "--key", VKEY, "--sha256", digest)[0] == PROVEN
    assert check(tmp_path / "none.zip", "--key", VKEY)[0] == UNREADABLE
    (tmp_path / "text.zip").write_text("no zip")
    assert check(tmp_path / "text.zip", "--key", VKEY)[0] == UNREADABLE


def test_a_fact_left_out_of_a_person_shows_in_the_digest_of_the_file_alone(
    journal: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """As policy.txt says."""
    path = exported(journal, tmp_path, Person("sys:3"))
    contents = unpacked(path)
    for folder, width in (("entries", 2), ("data", 4)):
        pieces = frames(contents[f"{folder}/000000.bin"], width)
        contents[f"{folder}/000000.bin"] = framed(pieces[:-1], width)
    # Everybody can make the proof for what is left, with what the ledger says of the tree.
    with psycopg.connect(journal.info.dsn, password=journal.info.password) as connection:
        hashes = Hashes(connection)
        rest = positions_of(path)[:-1]
        gaps = zip([0, *rest], [*(position - 1 for position in rest), FACTS], strict=True)
        contents["proof/000000.bin"] = b"".join(hashes(each) for start, end in gaps for each in subtrees(start, end))
    manifest = json.loads(contents["manifest.json"])
    other = tmp_path / "other.zip"
    other.write_bytes(packed(contents, manifest))
    assert check(other, "--key", VKEY)[0] == PROVEN
    _, output = check(path)
    digest = output.split("SHA-256 of the file: ")[1].split("\n")[0]
    assert check(other, "--key", VKEY, "--sha256", digest)[0] == BROKEN


def refused(raw: bytes) -> str:
    with pytest.raises(ValueError, match=r".") as broken:
        check_bundle.check(raw, [VKEY])
    return str(broken.value)


@pytest.fixture
def contents(journal: psycopg.Connection[Any], tmp_path: Path) -> dict[str, bytes]:
    """The files of a good bundle."""
    found = unpacked(exported(journal, tmp_path, Range(3, 9)))
    check_bundle.check(packed(found), [VKEY])
    return found


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\\b.txt", "c:x.txt", "data/../x.bin", "x", "A.TXT", "e/é.txt", ""]
)
def test_a_name_that_leads_out_of_its_folder_is_refused(contents: dict[str, bytes], name: str) -> None:
    assert re.search("holds more|ascii|not stored plainly", refused(packed(contents | {name: b"x"})))


def test_what_a_bundle_does_not_hold_is_refused_though_the_manifest_lists_it(contents: dict[str, bytes]) -> None:
    manifest = json.loads(contents["manifest.json"])
    assert "holds more" in refused(packed(contents | {"extra.txt": b"x"}, manifest))
    assert "holds more" in refused(packed(contents | {"entries/000002.bin": b"x"}, manifest))
    assert "holds more" in refused(packed(contents | {"time-tokens/000000.bin": b"x"}, manifest))
    assert "tiles of level 0" in refused(packed(contents | {"tiles/0/000000.bin": bytes(8_192)}, manifest))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(contents: dict[str, bytes]) -> None:
    file = io.BytesIO(packed(contents))
    with ZipFile(file, "a") as archive:
        archive.writestr(ZipInfo("policy.txt", (1980, 1, 1, 0, 0, 0)), b"other")
    assert "stands twice" in refused(file.getvalue())


def test_what_is_compressed_is_refused_so_that_there_is_no_bomb(contents: dict[str, bytes]) -> None:
    assert "not stored plainly" in refused(packed(contents | {"bomb.txt": bytes(10_000_000)}, compression=ZIP_DEFLATED))


def test_bytes_outside_the_files_are_refused(contents: dict[str, bytes]) -> None:
    raw = packed(contents)
    assert "holds more than its files" in refused(b"#!/bin/sh\n" + raw)
    assert "holds more than its files" in refused(raw + b"x")
    file = io.BytesIO(raw)
    with ZipFile(file, "a") as archive:
        archive.comment = b"hidden"
    assert "holds more than its files" in refused(file.getvalue())
    # A central directory that knows nothing of the last file.
    shorter = packed({name: value for name, value in contents.items() if name != "proof/000000.bin"})
    start, other = raw.index(b"PK\x01\x02"), shorter.index(b"PK\x01\x02")
    hidden = bytearray(raw[:start] + shorter[other:])
    hidden[-6:-2] = start.to_bytes(4, "little")
    refused(bytes(hidden))


def test_every_byte_of_the_zip_but_the_contents_is_fixed(contents: dict[str, bytes]) -> None:
    """Flags, dates, attributes, extra fields, comments: nothing by which another program would unpack something else."""
    raw = packed(contents)
    inside = {raw.index(value) + at for value in contents.values() for at in range(len(value))}
    assert len(inside) == sum(map(len, contents.values()))
    for at in sorted(set(range(len(raw))) - inside):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        for mutant in (bytes(changed), raw[:at], raw[:at] + raw[at + 1 :], raw[:at] + b"\0" + raw[at:]):
            with pytest.raises((LookupError, ValueError, struct.error)):
                check_bundle.check(mutant, [VKEY])


@pytest.mark.parametrize(
    "change",
    [
        # A link instead of a file; another name for Info-ZIP (0x7075) in the directory; a comment of a file.
        {"external_attr": 0o120777 << 16},
        {"extra": b"\x75\x70\x09\x00\x01\0\0\0\0evil"},
        {"comment": b"hidden"},
        {"flag_bits": 0x800},
        {"create_system": 0},
        {"date_time": (2024, 1, 1, 0, 0, 0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_the_directory_says_beside_names_is_refused(contents: dict[str, bytes], change: dict[str, Any]) -> None:
    file = io.BytesIO(packed(contents))
    with ZipFile(file, "a") as archive:
        for name, value in change.items():
            setattr(archive.getinfo("policy.txt"), name, value)
        archive._didModify = True  # type: ignore[attr-defined]
    assert file.getvalue() != packed(contents)
    assert "holds more than its files" in refused(file.getvalue())


def test_a_bundle_too_long_for_a_short_zip_is_proven(
    journal: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound of 40 KB instead of 2 GiB, after which places in the zip are written as longer numbers."""
    monkeypatch.setattr(check_bundle, "FACTS_A_FILE", 7)
    short = exported(journal, tmp_path, Whole())
    for module in (check_bundle, zipfile):
        monkeypatch.setattr(module, "ZIP64_LIMIT", 40_000)
    long = exported(journal, tmp_path, Whole())
    assert unpacked(short) == unpacked(long)
    assert "facts" in check_bundle.check(long.read_bytes(), [VKEY])[0]
    assert long.stat().st_size > short.stat().st_size
    assert "holds more" in refused(short.read_bytes())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="another program that unpacks")
def test_another_program_unpacks_the_same(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    path = exported(journal, tmp_path, Range(5, 9))
    subprocess.run(["unzip", "-q", str(path), "-d", str(tmp_path / "there")], check=True, timeout=60)  # noqa: S607 - any
    found = {
        str(each.relative_to(tmp_path / "there")): each.read_bytes()
        for each in (tmp_path / "there").rglob("*")
        if each.is_file()
    }
    assert found == unpacked(path)


def test_signatures_of_others_are_passed_over_and_counted(contents: dict[str, bytes]) -> None:
    """A witness has a name of its own, and signs something longer; the notary may have a further key."""
    note = contents["checkpoints/last.note"]
    text = note.decode().partition("\n\n")[0] + "\n"
    witness = f"— witness.example {b64encode(bytes(4 + 8 + 64)).decode()}\n".encode()
    other = OTHER_KEY.sign(text).rpartition("\n\n")[2].encode()
    mine = note.partition(b"\n\n")[2]

    def checked(signatures: bytes, *keys: str) -> str:
        files = contents | {"checkpoints/last.note": f"{text}\n".encode() + signatures}
        files["keys/verifier-keys.txt"] = "".join(f"{key}\n" for key in sorted(keys)).encode()
        return "\n".join(check_bundle.check(packed(files, json.loads(files["manifest.json"])), list(keys)))

    assert "not given, passed over: 0\n" in checked(mine, VKEY)
    assert "not given, passed over: 2\n" in checked(witness + mine + other, VKEY)
    assert "not given, passed over: 1\n" in checked(witness + mine + other, VKEY, str(OTHER_KEY.verifier))
    raw = b64decode(mine.split(b" ")[2])
    wrong = f"— {ORIGIN} {b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()}\n".encode()
    for refused_signatures, reason in (
        (wrong, "does not fit"),
        (mine + wrong, "does not fit"),
        (mine + mine, "or twice"),
        (witness + other, "is not signed"),
        (b"", "is not signed"),
        (mine + b"\n", "unpack|none"),
        (mine + b"- witness.example AAAAAAAA\n", "none"),
        (mine + witness[:-1], "none"),
    ):
        with pytest.raises(ValueError, match=reason):
            checked(refused_signatures, VKEY)


def facts_at(positions: Iterable[int]) -> Iterator[tuple[list[str], bytes, bytes]]:
    """Facts of which only position and leaf hash matter."""
    return ((["", str(position)], b"", sha256(b"%d" % position).digest()) for position in positions)


def test_the_tree_is_that_of_the_ledger_whatever_is_left_out() -> None:
    chance = random.Random(6962)  # noqa: S311 - the same trees in every run
    for size in [*range(1, 40), 255, 256, 257, 300]:
        leaves = [leaf for _, _, leaf in facts_at(range(1, size + 1))]
        root = whole_root(leaves)
        for share in (0.05, 0.5, 0.95, 1):
            positions = [each for each in range(1, size + 1) if chance.random() < share] or [size]
            gaps = zip([0, *positions], [*(each - 1 for each in positions), size], strict=True)
            beside = [whole(leaves[place << h : place + 1 << h]) for gap in gaps for h, place in subtrees(*gap)]
            last = (ORIGIN, size, root)
            runs, _, _ = check_bundle.check_tree(proof_file(beside), facts_at(positions), "person", last, {})
            assert [each for start, end in runs for each in range(start, end + 1)] == positions
            for changed in (beside[:-1], [*beside, root], [*beside[1:], *beside[:1]]):
                if changed != beside:
                    with pytest.raises(ValueError, match=r"lead to the root|more hashes"):
                        check_bundle.check_tree(proof_file(changed), facts_at(positions), "person", last, {})


def proof_file(hashes: list[bytes]) -> dict[str, memoryview]:
    return {"proof/000000.bin": memoryview(b"".join(hashes))} if hashes else {}


def test_tiles_of_every_level_are_compared() -> None:
    size = 65_536 + 700
    facts = list(facts_at(range(1, size + 1)))
    leaves = [leaf for _, _, leaf in facts]
    last, levels, level = (ORIGIN, size, whole_root(leaves)), [], leaves
    while level := [b"".join(level[at : at + 256]) for at in range(0, len(level) - 255, 256)]:
        levels.append(b"".join(level))
        level = [whole([tile[at : at + 32] for at in range(0, 8_192, 32)]) for tile in level]
    good = {
        "tiles/0/000000.bin": levels[0][: 65_536 * 32],
        "tiles/0/000001.bin": levels[0][65_536 * 32 :],
        "tiles/1/000000.bin": levels[1],
    }
    assert [len(tiles) for tiles in levels] == [258 * 8_192, 8_192]

    def checked(changes: dict[str, bytes]) -> None:
        files = {name: memoryview(raw) for name, raw in (good | changes).items() if raw}
        check_bundle.check_tree(files, iter(facts), "whole", last, {})
        assert not files

    checked({})
    for name, changed in [
        ("tiles/0/000000.bin", levels[0][: 65_535 * 32]),
        ("tiles/0/000001.bin", b""),
        ("tiles/0/000001.bin", levels[0][65_536 * 32 :] + bytes(32)),
        ("tiles/1/000000.bin", b""),
        ("tiles/1/000000.bin", levels[1][:-1] + bytes([levels[1][-1] ^ 1])),
        ("tiles/2/000000.bin", bytes(8_192)),
    ]:
        with pytest.raises(ValueError, match=r"tiles|more hashes"):
            checked({name: changed})


def whole_root(leaves: list[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root


def test_another_checker_in_the_bundle_is_not_run_and_is_said(contents: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    path.write_bytes(
        packed(contents | {"check_bundle.py": b"print('ALL PROVEN')"}, json.loads(contents["manifest.json"]))
    )
    code, output = check(path, "--key", VKEY)
    assert code == PROVEN
    assert "check_bundle.py in the bundle: ANOTHER one" in output


def test_facts_that_are_not_what_was_sealed_are_not_exported(database: Database, tmp_path: Path) -> None:
    fill(database, FACTS)
    seal(database)
    with past_all_guards(database) as superuser:
        superuser.execute("UPDATE event SET data = replace(data::text, '3130', '3930')::bytea WHERE position = 8")
        superuser.execute("UPDATE event SET actor = 'person:thief' WHERE position = 8")
    with psycopg.connect(auditor_url(database)) as connection:
        for asked in (Whole(), Range(5, 9), Person("A1")):
            with pytest.raises(SealsBroken):
                exported(connection, tmp_path, asked)
        assert list(tmp_path.iterdir()) == []
        exported(connection, tmp_path, Range(9, 100))


def test_missing_tiles_and_facts_and_damaged_checkpoints_end_an_export(database: Database, tmp_path: Path) -> None:
    fill(database, FACTS)
    seal(database, 600, FACTS)
    with past_all_guards(database) as superuser:
        superuser.execute("DELETE FROM tile WHERE level = 0 AND index = 1")
        superuser.execute("DELETE FROM event WHERE position = 20")
        superuser.execute("UPDATE checkpoint SET root = sha256('x') WHERE size = 600")
    with psycopg.connect(auditor_url(database)) as connection:
        for asked in (Whole(), Range(1, 100), Range(600, 700), Person("A3")):
            with pytest.raises(SealsBroken):
                exported(connection, tmp_path, asked)
        with pytest.raises(SealsBroken):
            exported(connection, tmp_path, Range(1, 10), size=600)


def test_what_cannot_be_exported_is_refused_with_a_sentence(journal: psycopg.Connection[Any], tmp_path: Path) -> None:
    for asked in (Range(0, 3), Range(5, 4), Range(690, 701)):
        with pytest.raises(NotSealed, match="are not all under size 700"):
            exported(journal, tmp_path, asked)
    with pytest.raises(NotSealed, match="No checkpoint has size 300"):
        exported(journal, tmp_path, Whole(), size=300)
    for name in ("sys:unknown", "unknown", "P0000000000000000"):
        with pytest.raises(ExportImpossible, match=f"knows {name} as"):
            exported(journal, tmp_path, Person(name))
    with pytest.raises(NoteInvalid):
        export(journal, tmp_path / "x.zip", Whole(), keys=[OTHER_KEY.verifier])
    (tmp_path / "there.zip").write_text("kept")
    with pytest.raises(FileExistsError):
        export(journal, tmp_path / "there.zip", Whole(), keys=[KEY.verifier])
    assert (tmp_path / "there.zip").read_text() == "kept"


def test_nothing_can_be_exported_before_the_first_checkpoint(database: Database, tmp_path: Path) -> None:
    with psycopg.connect(auditor_url(database)) as connection, pytest.raises(NotSealed, match="no checkpoint yet"):
        exported(connection, tmp_path, Whole())


def test_the_checker_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(check_bundle.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for statement in ast.walk(tree)
        for name in (
            [alias.name for alias in statement.names]
            if isinstance(statement, ast.Import)
            else [statement.module or ""]
            if isinstance(statement, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert not imported & {"http", "os", "socket", "ssl", "subprocess", "urllib"}, "it is offline and starts nothing"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the second way needs openssl")
def test_the_second_way_of_the_readme_verifies_the_signature(contents: dict[str, bytes], tmp_path: Path) -> None:
    for name, raw in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    readme = contents["README.txt"].decode()
    commands = re.findall(r"^    ((?:sed|tail|\(printf|openssl) .*)$", readme, re.MULTILINE)
    assert len(commands) == 4
    script = "\n".join(["set -e", *commands])
    found = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Signature Verified Successfully" in found.stdout, found.stderr
    note = tmp_path / "checkpoints/last.note"
    note.write_text(note.read_text(encoding="utf-8").replace("\n700\n", "\n701\n"), encoding="utf-8")
    found = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode != 0


# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.public_key().public_bytes_raw().hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    parts = bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message)
    assert check_bundle.is_signed(*parts)
    assert not check_bundle.is_signed(*parts[:2], parts[2] + b"x")


def test_signatures_are_taken_and_refused_as_by_another_implementation() -> None:
    chance = random.Random(8032)  # noqa: S311 - the same keys in every run
    for _ in range(100):
        key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), chance.randbytes(chance.randrange(200))
        signature = key.sign(message)
        assert check_bundle.is_signed(public, signature, message)
        altered = [bytearray(public), bytearray(signature), bytearray(message or b"x")]
        chosen = chance.choice(altered)
        chosen[chance.randrange(len(chosen))] ^= 1 << chance.randrange(8)
        assert taken(*map(bytes, altered)) == taken_elsewhere(*map(bytes, altered))


def test_a_signature_has_one_spelling() -> None:
    _, public, message, signature = (bytes.fromhex(each) for each in RFC_8032[1])
    s = int.from_bytes(signature[32:], "little") + check_bundle.ORDER
    assert not taken(public, signature[:32] + s.to_bytes(32, "little"), message)
    assert not taken(public, signature + b"\0", message)
    # y = 1 spelled as P + 1, and x = 0 with a sign: the neutral element, which every verifier must know in one spelling.
    for spelling in ((check_bundle.P + 1).to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little")):
        with pytest.raises(ValueError, match="in its one spelling"):
            check_bundle.point_of(spelling)


def taken(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        return check_bundle.is_signed(public, signature, message)
    except ValueError:
        return False


def taken_elsewhere(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_proofs_read_from_seals_are_those_of_all_leaves(database: Database) -> None:
    fill(database, FACTS)
    sizes = (1, 255, 256, 257, 600, FACTS)
    seal(database, *sizes)
    leaves = leaf_hashes(database)
    with psycopg.connect(auditor_url(database)) as connection:
        for position in (1, 2, 255, 256, 257, 512, 513, 600, 601, 700):
            checkpoint = prove(connection, position).verify(leaves[position - 1], [KEY.verifier])
            assert checkpoint.size == FACTS
            first = covering(connection, position)
            assert prove(connection, position, size=first.size).verify(leaves[position - 1], [KEY.verifier])
            assert first.size == min(size for size in sizes if size >= position)
        for old in sizes:
            assert root_at(connection, old) == sealed(connection, size=old).root
            for new in sizes:
                if old <= new:
                    consistency(connection, old, new)
        assert read_leaves(connection, after=0, until=FACTS).hashes == leaves
        assert [leaf.hash for leaf in read_chosen(connection, [3, 300])] == [leaves[2], leaves[299]]
        found = proven_leaves(connection, Hashes(connection), sealed(connection), [1, 700])
        assert [(leaf.position, proof.leaf_index) for leaf, proof in found] == [(1, 0), (700, 699)]
        with pytest.raises(NotSealed):
            prove(connection, FACTS + 1)
        with pytest.raises(NotSealed):
            covering(connection, FACTS + 1)
