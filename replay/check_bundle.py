"""Check a bundle of a pension ledger: offline, with nothing but Python 3.9 or later. Read this file before you trust it.

    python check_bundle.py BUNDLE.zip --key VKEY [--sha256 HEX]

VKEY is the notary's verifier key (NAME+ID+BASE64). Take it from the notary itself, not from the bundle. What is proven, in order:

1. The zip is plain: nothing is compressed, hidden, named twice or outside its folder, so every program unpacks it alike.
2. Every file is one that a bundle of its kind has, and has the SHA-256 and size that manifest.json says.
3. Each leaf in entries/ names its position and the SHA-256 of its fact, and that is the SHA-256 of the fact in data/.
4. The leaves lead to the root in checkpoints/last.note, by the Merkle tree of RFC 6962, section 2.1. A leaf is hashed as
   SHA-256(0x00, text), a node as SHA-256(0x01, left, right). How they lead there depends on the kind of bundle:
   whole:  all leaves are there, and the root is computed from them alone. So nothing is missing either.
   range:  all leaves of the range are there; the root is computed from them and the hashes left and right of them. So nothing
           is missing inside the range.
   person: each leaf has a proof of inclusion of its own (c2sp.org/tlog-proof). That no fact of hers was left out is NOT proven;
           that the bundle is of the identities and accounts it names follows from the facts in it.
5. A whole bundle also holds the full tiles of the tree and earlier checkpoints: each tile is as computed, and each
   checkpoint has the root of the tree of its size. So these were signed over one history, and not one after another.
6. Every checkpoint is signed with Ed25519 (RFC 8032, section 5.1.7) by VKEY, and by no key that you did not give.
7. manifest.json says what was just found, byte for byte.

So anybody can have written the zip, and still every fact in it is what the notary sealed, at its position. Exit codes: 0 all is
proven. 1 something does not hold. 2 wrong usage, or no zip can be read. 3 all holds, but no key was given: NOT proven who signed.
"""

# ruff: noqa: PLR2004, T201 - sizes stand as in the standards that define them, and a program for people prints
from __future__ import annotations

import argparse
import json
import re
import struct
import sys
import zipfile
from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import sha256, sha512
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT, LEAF = "pension-ledger/bundle/v1", b"pension-ledger/leaf/v1"
RANGE_PROOF, TLOG_PROOF = "pension-ledger/range-proof/v1", "c2sp.org/tlog-proof@v1"
LAST, KEYS, MANIFEST, CHECKER = "checkpoints/last.note", "keys/verifier-keys.txt", "manifest.json", "check_bundle.py"
# The SHA-256 of the texts that go with every bundle of this format.
TEXTS = {
    "README.txt": "052ced97a1951d802bd39269b3ec987bfcd06de1b2bd303e23b6b96c3633d329",
    "policy.txt": "fb3570b366167716abae03e25ac673f1d80858cb6ab094d32622cc07868a024e",
}
FACTS_A_FILE, NOTES_A_FILE, TILES_A_FILE, TILE_HEIGHT, TILE_BYTES = 4_096, 4_096, 256, 8, 256 * 32
MAX_FILES, MAX_FILE_BYTES, MAX_MANIFEST_BYTES_A_FILE, MAX_SIZE = 1_000_000, 256 << 20, 400, 2**53
NAME = re.compile(r"[A-Za-z_]{1,20}(/[0-9a-z-]{1,20}){0,2}\.(txt|json|py|bin|note|tlog-proof)")
NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
LINKING = {b"IdentitiesLinked": "after", b"IdentitiesMerged": "after", b"IdentitiesUnmerged": "target"}

Keys = dict[tuple[str, bytes], bytes]
Point = tuple[int, int, int, int]


class Broken(Exception):
    """What the bundle says does not hold."""


class Proven(NamedTuple):
    """What was proven: under which checkpoint, and of which positions (first and last of each run)."""

    kind: str
    origin: str
    size: int
    root: bytes
    runs: list[list[int]]
    facts: int
    earlier_checkpoints: int
    same_checker: bool


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


# Ed25519, from the equations of RFC 8032, section 5.1. A point is x, y, z, t with x/z and y/z on the curve, and t = xy/z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def point_of(encoded: bytes) -> Point:
    """Section 5.1.3, of one spelling only: y is below P, and there is no sign on x = 0."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number % 2**255
    require(len(encoded) == 32 and y < P, "A point of a key or signature is not in its one spelling.")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    require((x * x - square) % P == 0 and (x or not sign), "A point of a key or signature is not on the curve.")
    x = P - x if x % 2 != sign else x
    return x, y, 1, x * y % P


def added(p: Point, q: Point) -> Point:
    """Section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, p: Point) -> Point:
    total = (0, 1, 1, 0)
    while number:
        if number % 2:
            total = added(total, p)
        p, number = added(p, p), number // 2
    return total


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


@lru_cache(maxsize=4_096)
def is_signed(public: bytes, signature: bytes, text: bytes) -> bool:
    """Section 5.1.7, in the strict form: S is below the order, and [S]B = R + [k]A without the cofactor."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= ORDER:
        return False
    a, r = point_of(public), point_of(signature[:32])
    k = int.from_bytes(sha512(signature[:32] + public + text).digest(), "little") % ORDER
    left, right = times(s, BASE), added(r, times(k, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# Signed notes: checkpoints and keys (C2SP signed-note and tlog-checkpoint).


def unbase64(line: str, *, length: int) -> bytes:
    raw = b64decode(line, validate=True)
    require(len(raw) == length and b64encode(raw).decode() == line, f"{line!r} is not {length} bytes in base64.")
    return raw


def keys_of(lines: list[str]) -> Keys:
    """Verifier keys by name and key id."""
    keys = {}
    for line in lines:
        name, key_id, encoded = line.split("+", 2)
        raw = unbase64(encoded, length=33)
        fits = raw[0] == 1 and sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == key_id
        require(fits, f"{line} is no Ed25519 key, or its id is of another.")
        keys[name, bytes.fromhex(key_id)] = raw[1:]
    require(0 < len(keys) == len(lines), "There is no key, or one twice.")
    return keys


def checkpoint_of(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root. The signature is checked apart."""
    origin, size, root = note.partition("\n\n")[0].split("\n")
    require(NUMBER.fullmatch(size) and 0 < int(size) <= MAX_SIZE, "The size of a checkpoint is none.")
    return origin, int(size), unbase64(root, length=32)


def check_signatures(note: str, keys: Keys) -> None:
    """Every signature is of one of these keys and fits, and one is the origin's own."""
    text, _, signatures = note.partition("\n\n")
    lines, signers = signatures.split("\n"), []
    require(not lines.pop(), "A checkpoint does not end with a line's end.")
    for line in lines:
        dash, name, encoded = line.split(" ")
        raw = unbase64(encoded, length=4 + 64)
        key = keys.get((name, raw[:4]), b"")
        require(dash == "—" and key, f"A checkpoint is signed by {name} with a key that is not among those given.")
        require(is_signed(key, raw[4:], (text + "\n").encode()), f"A signature of {name} does not fit its checkpoint.")
        signers.append(name)
    require(text.split("\n")[0] in signers and len(set(signers)) == len(signers), "The origin did not sign, or twice.")


# The Merkle tree of RFC 6962, section 2.1.


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows: its peaks are the roots of whole subtrees of falling height, from left to right."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[tuple[int, bytes]] = []

    def add(self, found: bytes, height: int = 0) -> None:
        """A leaf, or a whole subtree of 2^height leaves, at a size that is a multiple of its own."""
        self.size += 1 << height
        self.completed(found, height)
        while self.peaks and self.peaks[-1][0] == height:
            found, height = node(self.peaks.pop()[1], found), height + 1
            self.completed(found, height)
        self.peaks.append((height, found))

    def completed(self, found: bytes, height: int) -> None:
        """Called with the root of each whole subtree."""

    def root(self) -> bytes:
        _, found = self.peaks[-1]
        for _, peak in reversed(self.peaks[:-1]):
            found = node(peak, found)
        return found


class TiledTree(Tree):
    """Compares the full tiles with what is computed: those of level L hold the roots of whole subtrees of height 8 L."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.bundle = bundle
        self.rows: dict[int, bytearray] = {}
        self.numbers: dict[int, int] = {}

    def completed(self, found: bytes, height: int) -> None:
        if height % TILE_HEIGHT == 0:
            row = self.rows.setdefault(height // TILE_HEIGHT, bytearray())
            row += found
            if len(row) == TILES_A_FILE * TILE_BYTES:
                self.compare(height // TILE_HEIGHT)

    def compare(self, level: int) -> None:
        number, row = self.numbers.get(level, 0), self.rows[level]
        full = len(row) // TILE_BYTES * TILE_BYTES
        if full:
            stored = self.bundle.read(f"tiles/{level}/{number:06d}.bin")
            require(stored == row[:full], f"The tiles of level {level} are not as computed.")
        self.numbers[level] = number + 1
        del row[:full]


def heights(start: int, end: int) -> Iterator[int]:
    """The heights of the fewest whole subtrees that cover the leaves from `start` to before `end`."""
    while start < end:
        height = (end - start).bit_length() - 1
        height = min(height, (start & -start).bit_length() - 1) if start else height
        yield height
        start += 1 << height


def root_by_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root of a tree of that size with the leaf at the index, by the definition of its path (section 2.1.1)."""
    require(bool(path) == (size > 1), "A proof of inclusion is too long or too short.")
    if size == 1:
        return leaf
    left = 1 << ((size - 1).bit_length() - 1)
    if index < left:
        return node(root_by_inclusion(leaf, index, left, path[:-1]), path[-1])
    return node(path[-1], root_by_inclusion(leaf, index - left, size - left, path[:-1]))


class Bundle:
    """The files of a bundle, each of which is read once and compared with the manifest."""

    def __init__(self, file: BinaryIO) -> None:
        self.zip = zipfile.ZipFile(file)
        self.unread: dict[str, int] = {}
        self.files: dict[str, Any] = {}
        self._check_layout(file)
        most = MAX_MANIFEST_BYTES_A_FILE * (len(self.unread) + 100)
        require(self.unread.pop(MANIFEST, most) < most, f"{MANIFEST} is missing or too long.")
        self.manifest_bytes = self.zip.read(MANIFEST)
        self.manifest = json.loads(self.manifest_bytes)

    def _check_layout(self, file: BinaryIO) -> None:
        """Files stand one after the other from the first byte, each with the one header that it can have."""
        infos, at = self.zip.infolist(), 0
        require(len(infos) <= MAX_FILES, "The zip has too many files.")
        for info in infos:
            name, size = info.filename, info.file_size
            require(NAME.fullmatch(name) and name not in self.unread, f"{name!r} is no name here, or stands twice.")
            sizes = (info.CRC, size, size, len(name), 0)
            header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, zipfile.ZIP_STORED, 0, 33, *sizes) + name.encode()
            file.seek(at)
            plain = info.header_offset == at and file.read(len(header)) == header and info.flag_bits == 0
            require(plain and info.compress_type == zipfile.ZIP_STORED, f"{name} is not stored plainly.")
            require(size == info.compress_size <= MAX_FILE_BYTES, f"{name} is too long.")
            at += len(header) + size
            self.unread[name] = size
        require(at == self.zip.start_dir and not self.zip.comment, "The zip holds bytes outside its files.")

    def read(self, name: str) -> bytes:
        require(self.unread.pop(name, None) is not None, f"{name} is missing.")
        raw = self.zip.read(name)
        self.files[name] = {"sha256": sha256(raw).hexdigest(), "size": len(raw)}
        require(self.manifest["files"].get(name) == self.files[name], f"{name} is not what the manifest says.")
        return raw

    def lines(self, name: str) -> list[str]:
        *lines, rest = self.read(name).decode().split("\n")
        require(not rest, f"{name} does not end with a line's end.")
        return lines

    def pieces(self, folder: str, most: int, width: int) -> Iterator[list[bytes]]:
        """What stands in the numbered files of a folder, a file at a time: length in `width` bytes, then so many bytes."""
        number, pieces = 0, [b""] * most
        while f"{folder}/{number:06d}.bin" in self.unread:
            require(len(pieces) == most, f"Only the last file of {folder} may hold fewer than {most}.")
            raw, pieces, at = self.read(f"{folder}/{number:06d}.bin"), [], 0
            while at < len(raw):
                start = at + width
                at = start + int.from_bytes(raw[at:start], "big")
                pieces.append(raw[start:at])
            require(at == len(raw) and 0 < len(pieces) <= most, f"{folder} is not divided as it must be.")
            number += 1
            yield pieces


class Facts:
    """The facts in the order of the bundle: their positions, and what they say of the person whom they are about."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.count = 0
        self.runs: list[list[int]] = []
        self.mentions: list[set[str]] = []
        self.parts: dict[str, list[str]] = {}
        self.owners: dict[str, str] = {}

    def leaves(self, *, of_person: bool) -> Iterator[tuple[int, bytes]]:
        """Position and leaf hash of each fact."""
        datas = self.bundle.pieces("data", FACTS_A_FILE, 4)
        for texts in self.bundle.pieces("entries", FACTS_A_FILE, 2):
            facts = next(datas, [])
            require(len(facts) == len(texts), "There are not as many facts as leaves.")
            for number, text in enumerate(texts):
                lines = text.decode().split("\n")
                require(lines[0].encode() == LEAF and NUMBER.fullmatch(lines[1]), "A leaf is not of this format.")
                position = int(lines[1])
                require(lines[-2] == sha256(facts[number]).hexdigest(), f"The fact at {position} is not its leaf's.")
                self._count(position)
                if of_person:
                    self._learn(lines, facts[number])
                yield position, sha256(b"\x00" + text).digest()
        require(next(datas, None) is None and self.count, "There are not as many leaves as facts, or none.")

    def _count(self, position: int) -> None:
        before = self.runs[-1][1] if self.runs else 0
        require(position > before, f"Position {position} comes after position {before}.")
        if self.runs and position == before + 1:
            self.runs[-1][1] = position
        else:
            self.runs.append([position, position])
        self.count += 1

    def _learn(self, lines: list[str], data: bytes) -> None:
        self.mentions.append(set(lines[4 : 4 + int(lines[3])]))
        linking = LINKING.get(lines[2].encode())
        if linking:
            for part in json.loads(data)[linking]:
                self.parts.update(dict.fromkeys(part, sorted(part)))
        elif lines[2] == "AccountOpened":
            fact = json.loads(data)
            self.owners[fact["account"]] = fact["sid"]

    def check_person(self, identities: list[str], accounts: list[str]) -> None:
        """These are one person by the last fact that links or parts them, with every account that was opened for them."""
        one = all(self.parts.get(sid, [sid]) == identities for sid in identities)
        require(identities and one, "The identities in the manifest are not one person by these facts.")
        owned = sorted(account for account, sid in self.owners.items() if sid in identities)
        require(owned == accounts, "The accounts in the manifest are not those opened for her by these facts.")
        hers = {f"identity:{sid}" for sid in identities} | {f"account:{account}" for account in accounts}
        quotas = tuple(f"quota:{sid}/" for sid in identities)
        for tags in self.mentions:
            require(tags & hers or any(tag.startswith(quotas) for tag in tags), "A fact does not mention her.")
        require(hers <= set().union(*self.mentions), "The manifest names an identity that no fact mentions.")


def check_whole(bundle: Bundle, facts: Facts, size: int, keys: Keys) -> tuple[bytes, int]:
    """The root of all leaves; every tile and earlier checkpoint is found to be of that tree, and these are counted."""
    tree, count = TiledTree(bundle), 0
    notes = (note.decode() for many in bundle.pieces("checkpoints/earlier", NOTES_A_FILE, 4) for note in many)
    note = next(notes, None)
    for position, leaf in facts.leaves(of_person=False):
        require(position == tree.size + 1, f"Position {tree.size + 1} is missing.")
        tree.add(leaf)
        while note is not None and checkpoint_of(note)[1] <= tree.size < size:
            same = checkpoint_of(note)[1:] == (tree.size, tree.root())
            require(same, f"The checkpoint of size {checkpoint_of(note)[1]} is of another history.")
            check_signatures(note, keys)
            note, count = next(notes, None), count + 1
    require(note is None and tree.size == size, "There are not as many leaves as the checkpoints say.")
    for level in tree.rows:
        tree.compare(level)
    return tree.root(), count


def check_range(bundle: Bundle, facts: Facts, size: int) -> bytes:
    """The root of the leaves of a range and of the whole subtrees left and right of them."""
    version, *lines = bundle.lines("proofs/range.txt")
    beside, tree = iter([unbase64(line, length=32) for line in lines]), Tree()
    for position, leaf in facts.leaves(of_person=False):
        if not tree.size:
            for height in heights(0, position - 1):
                tree.add(next(beside, b""), height)
        require(position == tree.size + 1, f"Position {tree.size + 1} is missing.")
        tree.add(leaf)
    for height in heights(tree.size, size):
        tree.add(next(beside, b""), height)
    fits = version == RANGE_PROOF and tree.size == size and next(beside, None) is None
    require(fits, "The proof of the range is not for this range.")
    return tree.root()


def check_person(bundle: Bundle, facts: Facts, size: int, root: bytes, note: str) -> None:
    """Each leaf has its own proof of inclusion under the checkpoint."""
    for position, leaf in facts.leaves(of_person=True):
        head, _, under = bundle.read(f"proofs/{position:016d}.tlog-proof").decode().partition("\n\n")
        version, index, *lines = head.split("\n")
        same = (version, index, under) == (TLOG_PROOF, f"index {position - 1}", note) and position <= size
        require(same, f"The proof of position {position} is of another position or checkpoint.")
        path = [unbase64(line, length=32) for line in lines]
        require(
            root_by_inclusion(leaf, position - 1, size, path) == root, f"Position {position} is not under the root."
        )


def check(file: BinaryIO, trusted: list[str]) -> Proven:
    """What is proven of a bundle with these verifier keys; with none, those in the bundle are taken. Raises Broken."""
    try:
        return _check(Bundle(file), trusted)
    except (ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Whatever has not the form of a bundle breaks the reading of it, somewhere.
        raise Broken(f"This has not the form of a bundle ({type(error).__name__}: {error}).") from error
    except (NotImplementedError, struct.error, zipfile.BadZipFile) as error:
        raise Broken(f"The zip is damaged ({error}).") from error


def _check(bundle: Bundle, trusted: list[str]) -> Proven:
    asked, note, key_lines = bundle.manifest["asked"], bundle.read(LAST).decode(), bundle.lines(KEYS)
    require(key_lines == sorted(trusted or key_lines), f"{KEYS} names other keys than those given.")
    keys, (origin, size, root), facts, earlier = keys_of(key_lines), checkpoint_of(note), Facts(bundle), 0
    expected: dict[str, Any] = {"kind": asked["kind"]}
    if asked["kind"] == "whole":
        computed, earlier = check_whole(bundle, facts, size, keys)
        require(computed == root, "The facts do not lead to the root of the checkpoint.")
    elif asked["kind"] == "range":
        require(check_range(bundle, facts, size) == root, "The facts do not lead to the root of the checkpoint.")
        expected.update(first=facts.runs[0][0], last=facts.runs[-1][1])
    else:
        check_person(bundle, facts, size, root, note)
        expected = {"kind": "person", "identities": sorted(asked["identities"]), "accounts": sorted(asked["accounts"])}
        facts.check_person(expected["identities"], expected["accounts"])
    for name, digest in TEXTS.items():
        require(sha256(bundle.read(name)).hexdigest() == digest, f"{name} is not the text of this format.")
    same_checker = bundle.read(CHECKER) == Path(__file__).read_bytes()
    require(not bundle.unread, f"The bundle holds more than its kind has: {sorted(bundle.unread)[:3]}.")
    check_signatures(note, keys)
    found = manifest_of(expected, bundle.files, (origin, size, root), facts.runs, earlier)
    require(bundle.manifest_bytes == found, f"{MANIFEST} says something else than what was found.")
    return Proven(expected["kind"], origin, size, root, facts.runs, facts.count, earlier, same_checker)


def manifest_of(
    asked: dict[str, Any],
    files: dict[str, Any],
    checkpoint: tuple[str, int, bytes],
    runs: list[list[int]],
    earlier_checkpoints: int,
) -> bytes:
    """The one manifest of a bundle with these contents."""
    origin, size, root = checkpoint
    manifest = {
        "asked": asked,
        "checkpoint": LAST,
        "earlier_checkpoints": earlier_checkpoints,
        "facts": sum(last - first + 1 for first, last in runs),
        "files": files,
        "format": FORMAT,
        "origin": origin,
        "positions": runs,
        "tree": {"root": b64encode(root).decode(), "size": size},
    }
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=CHECKER, description="Check a bundle of a pension ledger, offline.")
    parser.add_argument("bundle", type=Path, help="the zip file")
    parser.add_argument("--key", action="append", default=[], help="verifier key of the notary, from the notary itself")
    parser.add_argument("--sha256", help="SHA-256 of the whole file, as it was told when the bundle was handed over")
    given = parser.parse_args(arguments)
    try:
        keys_of(given.key) if given.key else None
    except (Broken, ValueError):
        parser.error("--key is no verifier key, NAME+ID+BASE64")
    try:
        with given.bundle.open("rb") as file:
            digest = sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
            zipfile.ZipFile(file).close()
            same = (given.sha256 or digest.hexdigest()).lower() == digest.hexdigest()
            require(same, f"The file has another SHA-256: {digest.hexdigest()}.")
            proven = check(file, given.key)
    except Broken as broken:
        print(f"DOES NOT HOLD: {broken}")
        return 1
    except Exception as error:  # noqa: BLE001 - what is no zip breaks the reading of it in many ways
        print(f"No bundle can be read from {given.bundle}: {error}", file=sys.stderr)
        return 2
    runs = [str(first) if first == last else f"{first} to {last}" for first, last in proven.runs]
    print(f"kind: {proven.kind}, {proven.facts} facts")
    print(f"positions: {', '.join(runs[:20])}{' and more' if runs[20:] else ''}")
    print(f"under the checkpoint: {proven.origin}, size {proven.size}, root {b64encode(proven.root).decode()}")
    print(f"earlier checkpoints of the same history: {proven.earlier_checkpoints}")
    print(f"SHA-256 of the file: {digest.hexdigest()}")
    if not proven.same_checker:
        print(f"The bundle carries another {CHECKER} than this one; that one is not proven, and was not run.")
    if not given.key:
        print("All holds, but it is NOT proven who signed: give the notary's key with --key.")
        return 3
    print("ALL PROVEN")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
