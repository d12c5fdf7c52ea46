"""No bundle with changed contents is accepted: 1,000 random changes (10,000 in a soak), many by one who mends whatever he can.

The attacker has everything but the notary's key: he mends the digests in the manifest, the digests in the leaves, the tree
and the checkpoint, and signs with a key of his own. What leaves the unpacked contents as they were is not counted.
"""

from __future__ import annotations

import io
import json
import random
import re
import struct
from base64 import b64decode, b64encode
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import psycopg
import pytest

from replay import check_bundle
from replay.bundle import Asked, Person, Range, Whole
from tests.bundles import exported, fill, framed, frames, packed, unpacked
from tests.scale import SOAKS, scaled
from tests.sealing import KEY, ORIGIN, OTHER_KEY, auditor_url, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.database import TemporaryServer

Contents = dict[str, bytes]
Bundles = dict[str, tuple[Contents, Contents]]
VKEY = str(KEY.verifier)
FACTS = 260
KINDS: dict[str, Asked] = {"whole": Whole(), "range": Range(5, 18), "person": Person("sys:1")}
MUTATIONS = {"whole": scaled(1_500), "range": scaled(5_000), "person": scaled(3_500)}
TOLD = {"check_bundle.py"}
THIS_CHECKER = "check_bundle.py in the bundle: as this one"
EVERY_KIND = (
    "A checkpoint of ledger.example/journal is not signed in this name by a key that was given",
    "A signature of ledger.example/journal does not fit",
    "b'check_bundle.py' is damaged",
    "keys/verifier-keys.txt names other keys than those given",
    "manifest.json says something else than what was found",
    "README.txt or policy.txt is not the text of this format",
)
"""Among what must have been said of the mutants of each kind: they come as far as the last guards."""


@pytest.fixture(scope="module")
def bundles(server: TemporaryServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundles]:
    """The files of a good bundle of each kind, and those of one from another history that another key sealed."""
    names = {"test_mutations": KEY, "test_forgeries": OTHER_KEY}
    found: list[dict[str, Contents]] = []
    for name, key in names.items():
        fresh = server.create_database(name)
        fill(fresh, FACTS)
        seal(fresh, 3, 100, FACTS, key=key)
        fresh.close()
        folder = tmp_path_factory.mktemp(name)
        with psycopg.connect(auditor_url(fresh)) as connection:
            found.append(
                {kind: unpacked(exported(connection, folder, asked, key=key)) for kind, asked in KINDS.items()}
            )
    yield {kind: (found[0][kind], found[1][kind]) for kind in KINDS}
    for name in names:
        server.drop_database(name)


def bytes_changed(chance: random.Random, raw: bytes) -> bytes:
    """A bit flipped, or some bytes taken out, put in, repeated, swapped or cut off."""
    if not raw:
        return chance.randbytes(3)
    at, other = sorted((chance.randrange(len(raw)), chance.randrange(len(raw))))
    length = chance.randrange(1, 5)
    match chance.randrange(6):
        case 0 | 1:
            return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
        case 2:
            return raw[:at] + raw[at + length :]
        case 3:
            return raw[:at] + chance.randbytes(length) + raw[at:]
        case 4:
            return raw[:at] + raw[other : other + length] + raw[at + length :]
        case _:
            return raw[:at]


def file_changed(chance: random.Random, contents: Contents) -> None:
    name = chance.choice(list(contents))
    contents[name] = bytes_changed(chance, contents[name])


def files_swapped(chance: random.Random, contents: Contents) -> None:
    one, other = chance.sample(list(contents), 2)
    contents[one], contents[other] = contents[other], contents[one]


def file_gone_or_more(chance: random.Random, contents: Contents) -> None:
    name = chance.choice(list(contents))
    if chance.random() < 0.5 and name != "manifest.json":
        del contents[name]
    else:
        folder = chance.choice(["entries", "data", "proof", "tiles/0", "tiles/1", "keys", "checkpoints/earlier"])
        contents[f"{folder}/{chance.randrange(3):06d}.bin"] = contents[name]


def facts_of(contents: Contents) -> tuple[list[bytes], list[bytes]]:
    return frames(contents["entries/000000.bin"], 2), frames(contents["data/000000.bin"], 4)


def keep_facts(contents: Contents, texts: list[bytes], datas: list[bytes]) -> None:
    contents["entries/000000.bin"], contents["data/000000.bin"] = framed(texts, 2), framed(datas, 4)


def facts_swapped(chance: random.Random, contents: Contents) -> None:
    """Two facts change places, with their leaves or without, or the data alone."""
    texts, datas = facts_of(contents)
    one, other = chance.sample(range(len(texts)), 2)
    for column in chance.choice([(texts,), (datas,), (texts, datas)]):
        column[one], column[other] = column[other], column[one]
    keep_facts(contents, texts, datas)


def fact_gone_or_twice(chance: random.Random, contents: Contents) -> None:
    """One that is not at the end of the bundle, for what is left of a range is a smaller range."""
    texts, datas = facts_of(contents)
    at = chance.randrange(1, len(texts) - 1)
    for column in (texts, datas):
        column[at : at + 1] = [column[at]] * chance.choice([0, 2])
    keep_facts(contents, texts, datas)


def fact_forged(chance: random.Random, contents: Contents) -> None:
    """A fact's data or leaf is changed, and the leaf's digest of it mended."""
    texts, datas = facts_of(contents)
    at = chance.randrange(len(texts))
    datas[at] = bytes_changed(chance, datas[at])
    lines = texts[at].split(b"\n")
    lines[-2] = sha256(datas[at]).hexdigest().encode()
    if chance.random() < 0.3:
        line = chance.randrange(len(lines) - 2)
        lines[line] = bytes_changed(chance, lines[line])
    texts[at] = b"\n".join(lines)
    keep_facts(contents, texts, datas)


def proof_changed(chance: random.Random, contents: Contents) -> None:
    """A hash of the proof is gone, stands twice, or in the place of another; or the last ones are in a file of their own."""
    proof = contents["proof/000000.bin"]
    hashes = [proof[at : at + 32] for at in range(0, len(proof), 32)]
    at = chance.randrange(len(hashes))
    if chance.random() < 0.1:
        contents["proof/000001.bin"] = b"".join(hashes[at:])
        del hashes[at:]
    else:
        changes = [[], [hashes[at]] * 2, [chance.choice(hashes)], hashes[at : at + 2][::-1]]
        hashes[at : at + 1] = chance.choice(changes)
    contents["proof/000000.bin"] = b"".join(hashes)


def sealed_by_another(chance: random.Random, forged: Contents) -> Contents:
    """Another history in which all fits, but for the key that signed; this is hidden, or not."""
    contents = dict(forged)
    note = forged["checkpoints/last.note"].decode()
    text, _, line = note.rpartition("\n\n")
    signature = b64decode(line.split(" ")[2])
    match chance.randrange(4):
        case 0:
            return contents
        case 1:
            pass
        case 2:
            # With the id of the true key, which is no secret.
            signature = KEY.verifier.key_id + signature[4:]
        case _:
            # With a signature of the true key, of another text.
            signature = b64decode(KEY.sign("other\n").split(" ")[-1])
    changed = f"{text}\n\n— {ORIGIN} {b64encode(signature).decode()}\n"
    for name, raw in contents.items():
        contents[name] = raw.replace(note.encode(), changed.encode())
    contents["keys/verifier-keys.txt"] = f"{VKEY}\n".encode()
    return contents


def note_changed(chance: random.Random, contents: Contents) -> None:
    """Size, root or origin of the checkpoint, everywhere alike."""
    note = contents["checkpoints/last.note"]
    origin, size, root, *rest = note.split(b"\n")
    match chance.randrange(3):
        case 0:
            size = str(int(size) + chance.choice([-1, 1, 256])).encode()
        case 1:
            root = contents["checkpoints/last.note"].split(b"\n")[2][::-1]
        case _:
            origin = bytes_changed(chance, origin)
    changed = b"\n".join([origin, size, root, *rest])
    for name in contents:
        contents[name] = contents[name].replace(note, changed)


def field_changed(chance: random.Random, contents: Contents) -> None:
    """A field of the manifest, which is spelled as it should be."""
    manifest = json.loads(contents["manifest.json"])
    holder: Any = manifest
    key: Any = chance.choice(list(manifest))
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.8:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    value = holder[key]
    match value:
        case int():
            holder[key] = value + chance.choice([-1, 1, 1000])
        case str():
            holder[key] = chance.choice([value + "x", value[1:], "", None, 7])
        case _:
            del holder[key]
    contents["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


MUTATORS: list[Callable[[random.Random, Contents], None]] = [
    fact_forged,
    fact_gone_or_twice,
    facts_swapped,
    field_changed,
    file_changed,
    file_changed,
    file_gone_or_more,
    files_swapped,
    note_changed,
    proof_changed,
]


def mended(contents: Contents) -> dict[str, Any] | None:
    """The manifest, so far as one can read it, with the first and last position of the files."""
    try:
        manifest = json.loads(contents["manifest.json"])
        assert isinstance(manifest["files"], dict)
        if manifest["asked"]["kind"] == "range":
            positions = [int(text.split(b"\n")[1]) for text in facts_of(contents)[0]]
            manifest["asked"] |= {"first": positions[0], "last": positions[-1]}
    except (ValueError, KeyError, IndexError, AssertionError, TypeError):
        return None
    else:
        return dict(manifest)


def mutant(chance: random.Random, good: Contents, forged: Contents) -> bytes:
    """A zip that was changed as bytes, or file by file with or without mending the manifest."""
    kind = chance.random()
    if kind < 0.2:
        raw = packed(good)
        for _ in range(chance.randrange(1, 4)):
            raw = bytes_changed(chance, raw)
        return raw
    if kind < 0.25:
        contents = sealed_by_another(chance, forged)
        return packed(contents, json.loads(contents["manifest.json"]))
    contents = dict(good)
    chosen = chance.choices(MUTATORS, k=chance.choice([1, 1, 1, 2]))
    for mutate in chosen:
        # What one has broken, the next may find no place in.
        with suppress(ValueError, LookupError):
            mutate(chance, contents)
    manifest = mended(contents) if kind < 0.9 and field_changed not in chosen else None
    if manifest is None and kind < 0.9 and field_changed in chosen:
        manifest = json.loads(contents["manifest.json"]) if chosen == [field_changed] else None
        if manifest is not None and not isinstance(manifest.get("files"), dict):
            manifest = None
    return packed(contents, manifest)


def contents_of(raw: bytes) -> Contents | None:
    """What any program would unpack; None where none can."""
    try:
        with ZipFile(io.BytesIO(raw)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001 - a damaged zip breaks the library in many ways
        return None


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_bundle_is_accepted(bundles: Bundles, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good, forged = bundles[kind]
    assert THIS_CHECKER in check_bundle.check(packed(good), [VKEY])
    # Most mutants carry a signature that was seen before.
    monkeypatch.setattr(check_bundle, "is_signed", lru_cache(maxsize=4_096)(check_bundle.is_signed))
    chance = random.Random(f"bundle {kind}")  # noqa: S311 - the same mutants in every run
    counted = 0
    reasons: set[str] = set()
    while counted < MUTATIONS[kind]:
        raw = mutant(chance, good, forged)
        try:
            lines = check_bundle.check(raw, [VKEY])
        except (LookupError, RecursionError, TypeError, ValueError, struct.error) as broken:
            counted += contents_of(raw) != good
            reasons.add(re.sub("[0-9]+", "N", str(broken))[:100])
            continue
        found = contents_of(raw)
        assert found is not None
        changed = {name for name in found | good if name != "manifest.json" and found.get(name) != good.get(name)}
        assert changed <= TOLD, changed
        assert bool(changed) != (THIS_CHECKER in lines)
        if not changed:
            assert found == good
    # The mutants come as far as they can, each to another guard.
    assert {reason for reason in EVERY_KIND if not any(found.startswith(reason) for found in reasons)} == set()
    # A tenth of the mutants meets a few guards less.
    assert len(reasons) > (30 if SOAKS else 25), reasons
