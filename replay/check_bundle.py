"""Check a bundle of a pension ledger: offline, with nothing but Python 3.9 or later. Read this file before you trust it.

    python check_bundle.py BUNDLE.zip --key VKEY [--sha256 HEX]

VKEY is the notary's verifier key (NAME+ID+BASE64). Take it from the notary itself, not from the bundle. What is proven, in order:

1. The zip is plain: all bytes of it follow from the names and contents of its files, so every program unpacks the same.
2. checkpoints/last.note is signed with Ed25519 (RFC 8032, section 5.1.7) by a VKEY of its origin. A signature of a VKEY that
   does not fit breaks all; signatures of other keys are counted and passed over, as witnesses may sign too.
3. Each leaf in entries/ names its position and the SHA-256 of its fact, and that is the SHA-256 of the fact in data/.
4. The leaves lead to the root in last.note, by the Merkle tree of RFC 6962, section 2.1: a leaf is SHA-256(0x00, text), a
   node SHA-256(0x01, left, right). For what the bundle leaves out, proof/ has the hashes of the whole subtrees over it.
   whole:  nothing is left out. The root follows from the facts alone.
   range:  nothing is left out between the first and the last fact.
   person: each fact is hers, and by these facts the identities and accounts in manifest.json are hers. NOT proven is that
           no fact of hers was left out.
5. The full tiles in a whole bundle are as computed, and none is missing. Each earlier checkpoint is signed as the last one,
   and has the root of the tree of its size. So all were signed over one history.
6. There is no further file, and manifest.json says what was just found, byte for byte.

So anybody can have written the zip, and still every fact in it is what the notary sealed, at its position. Exit codes: 0 all is
proven. 1 something does not hold. 2 wrong usage, or no zip can be read. 3 all holds, but no key was given: NOT proven who signed.
"""

# ruff: noqa: PLR2004, T201, TC003 - sizes stand as in their standards, a program prints, and imports stand in one block
from __future__ import annotations

import argparse
import json
import struct
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import reduce
from hashlib import sha256, sha512
from itertools import zip_longest
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from zlib import crc32

LAST, KEYS, MANIFEST, CHECKER = "checkpoints/last.note", "keys/verifier-keys.txt", "manifest.json", "check_bundle.py"
FIXED = (MANIFEST, KEYS, LAST, CHECKER, "README.txt", "policy.txt")
TEXTS = "ffd2b09aac667df83efb484006592b5f689dde0f2b62a71ed472da45b71b2780"  # SHA-256 of the last two, with a zero byte between.
# How many stand in a file: of entries/ and data/, of checkpoints/earlier/, and of tiles/ and proof/.
FACTS_A_FILE, NOTES_A_FILE, HASHES_A_FILE, ZIP64_LIMIT = 4_096, 4_096, 65_536, 2**31 - 1
LINKING = {"IdentitiesLinked": "after", "IdentitiesMerged": "after", "IdentitiesUnmerged": "target"}

Files = dict[str, memoryview]
Keys = dict[tuple[str, bytes], bytes]
Checkpoint = tuple[str, int, bytes]
Fact = tuple[list[str], bytes, bytes]
Point = tuple[int, int, int, int]
Peaks = list[tuple[int, bytes]]
Runs = list[list[int]]


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


# Ed25519, from the equations of RFC 8032, section 5.1. A point is x, y, z, t with x/z and y/z on the curve, and t = xy/z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def point_of(encoded: bytes) -> Point:
    """Section 5.1.3, of one spelling only: y is below P, and there is no sign on x = 0."""
    sign, y = divmod(int.from_bytes(encoded, "little"), 2**255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    fits = len(encoded) == 32 and y < P and (x * x - square) % P == 0 and (x or not sign)
    require(fits, "A point of a key or signature is not on the curve, or not in its one spelling.")
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


def added(p: Point, q: Point) -> Point:
    """Section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, p: Point) -> Point:
    if number == 0:
        return 0, 1, 1, 0
    even = times(number // 2, added(p, p))
    return added(even, p) if number % 2 else even


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(public: bytes, signature: bytes, text: bytes) -> bool:
    """Section 5.1.7, in the strict form: S is below the order, and [S]B = R + [k]A without the cofactor."""
    s = int.from_bytes(signature[32:64], "little")
    a, r = point_of(public), point_of(signature[:32])
    k = int.from_bytes(sha512(signature[:32] + public + text).digest(), "little") % ORDER
    left, right = times(s, BASE), added(r, times(k, a))
    same = all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))
    return same and s < ORDER and len(signature) == 64


# The Merkle tree grows from left to right. What is there is kept as its peaks: heights and roots of the fewest whole subtrees
# over it, of falling height. A whole subtree has 2^height leaves, and begins at a multiple of that.
def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def add(peaks: Peaks, height: int, found: bytes) -> Peaks:
    """One whole subtree more, such as a leaf. Returns it, and those that it completes."""
    completed = [(height, found)]
    while peaks and peaks[-1][0] == height:
        height, found = height + 1, node(peaks.pop()[1], found)
        completed.append((height, found))
    peaks.append((height, found))
    return completed


def skip(peaks: Peaks, start: int, end: int, proof: Iterator[bytes]) -> None:
    """The fewest whole subtrees over the leaves from index `start` to before `end`, which the bundle leaves out."""
    while start < end:
        height = min((end - start).bit_length(), (start & -start or end).bit_length()) - 1
        add(peaks, height, next(proof, b""))
        start += 1 << height


def root_of(peaks: Peaks) -> bytes:
    return reduce(lambda right, left: node(left, right), [found for _, found in reversed(peaks)])


# 1. The zip has a header and the bytes of each file, one after the other, and then the directory (APPNOTE.TXT, section 4.3).
def unzipped(zipped: bytes | mmap) -> Files:
    files, directory, at = Files(), bytearray(), 0
    while (header := zipped[at : at + 30])[:4] == b"PK\3\4":
        crc, _, size, length = struct.unpack("<14x3LH2x", header)
        name, start = zipped[at + 30 : at + 30 + length], at + 30 + length
        # No flags, not compressed, midnight of 1 January 1980. In the directory: made on Unix, a plain file that all may read.
        fields = struct.pack("<4H3LH", 0, 0, 0, 33, crc, size, size, length)
        plain = header[4:] == b"\x14\0" + fields + b"\0\0" and name.decode("ascii") not in files
        require(plain, f"{name!r} is not stored plainly, or stands twice.")
        files[name.decode()] = memoryview(zipped)[start : start + size]
        require(crc32(files[name.decode()]) == crc, f"{name!r} is damaged.")
        far = at > ZIP64_LIMIT
        version, offset, extra = (45, 2**32 - 1, struct.pack("<2HQ", 1, 8, at)) if far else (20, at, b"")
        directory += b"PK\1\2" + struct.pack("<2BH", version, 3, version) + fields
        directory += struct.pack("<4H2L", len(extra), 0, 0, 0, 0o100644 << 16, offset) + name + extra
        at = start + size
    count, size = len(files), len(directory)
    if at > ZIP64_LIMIT:
        directory += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, at)
        directory += struct.pack("<4sLQL", b"PK\6\7", 0, at + size, 1)
    directory += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, min(at, 2**32 - 1), 0)
    require(memoryview(zipped)[at:] == directory, "The zip is damaged, or holds more than its files.")
    return files


def pieces(files: Files, folder: str, most: int, width: int) -> Iterator[bytes]:
    """What stands in the numbered files of a folder: length in `width` bytes, then so many bytes. With width 0, hashes."""
    found, number = list[bytes](), 0
    while f"{folder}/{number:06d}.bin" in files:
        require(not number or len(found) == most, f"Only the last file of {folder} may hold fewer than {most}.")
        raw, found, at = bytes(files.pop(f"{folder}/{number:06d}.bin")), [], 0
        while at < len(raw):
            start = at + width
            at = start + (int.from_bytes(raw[at:start], "big") if width else 32)
            found.append(raw[start:at])
        require(at == len(raw) and 0 < len(found) <= most, f"{folder} is not divided as it must be.")
        number += 1
        yield from found


# 2. Signed notes (C2SP signed-note and tlog-checkpoint).
def unbase64(text: str) -> bytes:
    raw = b64decode(text, validate=True)
    require(b64encode(raw).decode() == text, f"{text!r} is not base64 in its one spelling.")
    return raw


def key_of(vkey: str) -> tuple[tuple[str, bytes], bytes]:
    """Name and key id, and the public key."""
    name, key_id, encoded = [*vkey.split("+", 2), "", ""][:3]
    raw = unbase64(encoded)
    fits = len(raw) == 33 and raw[0] == 1 and sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == key_id
    require(fits, f"{vkey} is no Ed25519 key, or its id is of another.")
    return (name, bytes.fromhex(key_id)), raw[1:]


def open_checkpoint(note: bytes, keys: Keys) -> tuple[Checkpoint, int]:
    """Origin, size and root that were signed, and how many signatures are not of these keys."""
    text, _, signatures = note.decode().partition("\n\n")
    (origin, size, root), (*lines, rest), signers = text.split("\n"), signatures.split("\n"), []
    for line in lines:
        dash, name, encoded = line.split(" ")
        raw = unbase64(encoded)
        require(dash == "—" and name and len(raw) > 4 and not rest, "A signature line of a checkpoint is none.")
        if (name, raw[:4]) in keys:
            fits = is_signed(keys[name, raw[:4]], raw[4:], f"{text}\n".encode())
            require(fits, f"A signature of {name} does not fit its checkpoint.")
            signers.append((name, raw[:4]))
    once = origin in dict(signers) and len(set(signers)) == len(signers)
    require(once, f"A checkpoint of {origin} is not signed in this name by a key that was given, or twice.")
    return (origin, int(size), unbase64(root)), len(lines) - len(signers)


# 3. The facts.
def facts_of(files: Files) -> Iterator[Fact]:
    """The lines of each leaf, the bytes of the fact, and the hash of the leaf."""
    texts, datas = pieces(files, "entries", FACTS_A_FILE, 2), pieces(files, "data", FACTS_A_FILE, 4)
    for text, data in zip_longest(texts, datas, fillvalue=b""):
        lines = text.decode().split("\n")
        require(lines[0] == "pension-ledger/leaf/v1", "A leaf is not of this format, or is missing.")
        require(lines[-2] == sha256(data).hexdigest(), f"The fact at {lines[1]} is not its leaf's.")
        yield lines, data, sha256(b"\x00" + text).digest()


def facts_of_person(files: Files, identities: list[str], accounts: list[str]) -> Iterator[Fact]:
    """The same. These are one person by the last fact that links or parts them, with every account opened for them."""
    hers = {f"identity:{sid}" for sid in identities} | {f"account:{account}" for account in accounts}
    quotas, parts, owners, mentioned = tuple(f"quota:{sid}/" for sid in identities), {}, {}, set()
    for lines, data, leaf in facts_of(files):
        tags = lines[4 : 4 + int(lines[3])]
        require(any(tag in hers or tag.startswith(quotas) for tag in tags), f"The fact at {lines[1]} is not hers.")
        mentioned.update(tags)
        if lines[2] in LINKING:
            parts.update({sid: sorted(part) for part in json.loads(data)[LINKING[lines[2]]] for sid in part})
        elif lines[2] == "AccountOpened":
            owners[json.loads(data)["account"]] = json.loads(data)["sid"]
        yield lines, data, leaf
    one = hers <= mentioned and all(parts.get(sid, [sid]) == identities for sid in identities)
    owned = sorted(account for account, sid in owners.items() if sid in identities)
    require(one and owned == accounts, "Identities and accounts in the manifest are not one person's by these facts.")


# 4 and 5. The tree over them.
def check_tree(files: Files, facts: Iterator[Fact], kind: str, last: Checkpoint, keys: Keys) -> tuple[Runs, int, int]:
    """First and last of each run of positions; the number of earlier checkpoints, and of signatures of other keys on them."""
    origin, size, root = last
    peaks, runs, position, count, others = Peaks(), Runs(), 0, 0, 0
    proof = pieces(files, "proof", HASHES_A_FILE, 0)
    tiles = [pieces(files, f"tiles/{level}", HASHES_A_FILE, 0) for level in range(7)]
    earlier = (open_checkpoint(note, keys) for note in pieces(files, "checkpoints/earlier", NOTES_A_FILE, 4))
    due = next(earlier, None)
    for lines, _, leaf in facts:
        before, position = position, int(lines[1])
        require(before < position <= size, f"Position {position} comes after {before}, or is not under the checkpoint.")
        if not runs or before + 1 < position:
            skip(peaks, before, position - 1, proof)
            runs.append([position, position])
        runs[-1][1] = position
        for height, found in add(peaks, 0, leaf):
            full = kind == "whole" and (position - 1) >> height + 8 < size >> height + 8
            fits = height % 8 or next(tiles[height // 8], None) == (found if full else None)
            require(fits, f"The tiles of level {height // 8} are not as computed.")
        if due and due[0][1] == position < size:
            require(due[0] == (origin, position, root_of(peaks)), "An earlier checkpoint is of another history.")
            count, others, due = count + 1, others + due[1], next(earlier, None)
    skip(peaks, position, size, proof)
    require(runs and root_of(peaks) == root, "The facts do not lead to the root of the checkpoint.")
    require(due is None, "There is an earlier checkpoint of a size that the facts do not lead to.")
    require(not any(next(each, None) for each in (proof, *tiles)), "There are more hashes than the tree has there.")
    return runs, count, others


# 6. All together.
def manifest_of(asked: dict[str, Any], earlier: int, files: dict[str, Any]) -> bytes:
    manifest = {"asked": asked, "earlier_checkpoints": earlier, "files": files, "format": "pension-ledger/bundle/v1"}
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def check(zipped: bytes | mmap, trusted: list[str]) -> list[str]:
    """What is proven, in lines, with these verifier keys, or with those in the bundle. If it raises anything, nothing is."""
    files = unzipped(zipped)
    require(files.keys() >= set(FIXED), f"Of these files at least one is missing: {', '.join(FIXED)}.")
    described = {name: {"sha256": sha256(raw).hexdigest(), "size": len(raw)} for name, raw in files.items()}
    del described[MANIFEST]
    manifest, key_file, note, checker, *texts = (bytes(files.pop(name)) for name in FIXED)
    vkeys = sorted(trusted or key_file.decode().splitlines())
    require(key_file == "".join(f"{vkey}\n" for vkey in vkeys).encode(), f"{KEYS} names other keys than those given.")
    keys, asked, facts = dict(map(key_of, vkeys)), json.loads(manifest)["asked"], facts_of(files)
    last, others = open_checkpoint(note, keys)
    found: dict[str, Any] = {"kind": asked["kind"]}
    if found["kind"] == "person":
        found |= {"identities": sorted(asked["identities"]), "accounts": sorted(asked["accounts"])}
        facts = facts_of_person(files, found["identities"], found["accounts"])
    runs, earlier, more = check_tree(files, facts, found["kind"], last, keys)
    if found["kind"] == "range":
        found |= {"first": runs[0][0], "last": runs[-1][1]}
    complete = {"person": True, "range": len(runs) == 1, "whole": runs == [[1, last[1]]]}
    require(complete[found["kind"]], "A fact is missing.")
    require(not files, f"The bundle holds more than its kind has: {sorted(files)[:3]}.")
    require(sha256(b"\0".join(texts)).hexdigest() == TEXTS, "README.txt or policy.txt is not the text of this format.")
    require(manifest == manifest_of(found, earlier, described), f"{MANIFEST} says something else than what was found.")
    same_checker = checker == Path(__file__).read_bytes()
    return [
        f"kind: {found['kind']}, {sum(end - start + 1 for start, end in runs)} facts",
        f"positions: {', '.join(f'{start} to {end}' for start, end in runs[:20])}{' and more' if runs[20:] else ''}",
        f"under the checkpoint: {last[0]}, size {last[1]}, root {b64encode(last[2]).decode()}",
        f"earlier checkpoints of the same history: {earlier}",
        f"signatures of keys that were not given, passed over: {others + more}",
        f"{CHECKER} in the bundle: {'as this one' if same_checker else 'ANOTHER one, which is not proven, and was not run'}",
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=CHECKER, description="Check a bundle of a pension ledger, offline.")
    parser.add_argument("bundle", type=Path, help="the zip file")
    parser.add_argument("--key", action="append", default=[], help="verifier key of the notary, from the notary itself")
    parser.add_argument("--sha256", help="SHA-256 of the whole file, as it was told when the bundle was handed over")
    given = parser.parse_args(arguments)
    try:
        list(map(key_of, given.key))
        with given.bundle.open("rb") as file:
            zipped = mmap(file.fileno(), 0, access=ACCESS_READ)
        require(zipped[:4] == b"PK\3\4", f"{given.bundle} is no zip.")
    except (OSError, ValueError) as error:
        parser.error(f"No key or no bundle can be read. {error}")
    try:
        digest = sha256(zipped).hexdigest()
        require((given.sha256 or digest).lower() == digest, f"The file has another SHA-256: {digest}.")
        lines = check(zipped, given.key)
    except Exception as error:  # noqa: BLE001 - what has not the form of a bundle breaks the reading of it somewhere
        print(f"DOES NOT HOLD: {error if isinstance(error, ValueError) else repr(error)}")
        return 1
    print(*lines, f"SHA-256 of the file: {digest}", sep="\n")
    print("ALL PROVEN" if given.key else "All holds, but it is NOT proven who signed: give the notary's key as --key.")
    return 0 if given.key else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
