"""Signed texts: checkpoints of the notary, receipts of the API, and proofs that travel.

Formats: C2SP signed-note, tlog-checkpoint and tlog-proof; the receipt is ours (AUDIT section 2.3).

1. A note is a text, an empty line, and a line for each signature: an em dash, the key's name, and base64 of key id and
   signature. A key id is the first 4 bytes of SHA-256(name, LF, 0x01, public key).
2. Signatures of keys that are not known are passed over, so that others may sign too: witnesses, or a later algorithm. A
   signature of a known key that does not fit makes the whole note invalid.
3. There is one spelling of everything: what is not spelled so is refused.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.domain.tree import HASH_BYTES, MAX_PROOF_HASHES, MAX_TREE_SIZE, Hash, ProofInvalid, verify_inclusion

ED25519: Final = b"\x01"
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
SIGNATURE_BYTES: Final = 64
PRIVATE: Final = "PRIVATE+KEY"
DASH: Final = "— "
NAME = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,128}")
HALF = re.compile(r"[\ud800-\udfff]")
NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
# A receipt over ten thousand commands has sixty characters for each of their facts.
MAX_NOTE_CHARACTERS: Final = 16_000_000
MAX_SIGNATURES: Final = 16
RECEIPT: Final = "pension-ledger/receipt/v1"
PROOF: Final = "c2sp.org/tlog-proof@v1"
CHECKPOINT_LINES: Final = 3


class NoteInvalid(ValueError):
    """The text is no note of a known key, or its signature does not fit; do not trust what it says."""


class KeyMalformed(ValueError):
    """This is no key: a verifier key is spelled name+id+base64, a signing key PRIVATE+KEY+name+id+base64."""


class VerifierKey(NamedTuple):
    """Who signed: a name, and the public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that a signature line begins with."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """As it is handed over (vkey of C2SP signed-note)."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Raises KeyMalformed."""
        name, key_id, key = _key_parts(text.strip())
        found = cls(name, key)
        if found.key_id.hex() != key_id:
            raise KeyMalformed(KeyMalformed.__doc__)
        return found

    def fits(self, signature: bytes, text: str) -> bool:
        """Whether it is this key's signature of the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Signs notes. Whoever holds it can sign anything: one process, one file, one owner."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the private seed of 32 bytes; the name is that of the origin."""
        if not NAME.fullmatch(name) or len(seed) != KEY_BYTES:
            raise KeyMalformed(KeyMalformed.__doc__)
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Raises KeyMalformed."""
        begin, _, rest = text.strip().partition(PRIVATE + "+")
        if begin:
            raise KeyMalformed(KeyMalformed.__doc__)
        name, key_id, seed = _key_parts(rest)
        found = cls(name, seed)
        if found.verifier.key_id.hex() != key_id:
            raise KeyMalformed(KeyMalformed.__doc__)
        return found

    def secret(self) -> str:
        """As it is kept in a file of its owner's alone."""
        return f"{PRIVATE}+{self.verifier.name}+{self.verifier.key_id.hex()}+{_base64(ED25519 + self._seed)}"

    def sign(self, text: str) -> str:
        """The note of a text, which ends with a line's end."""
        assert text.endswith("\n"), "the text of a note ends with a line's end"
        signature = self.verifier.key_id + self._key.sign(text.encode())
        return f"{text}\n{DASH}{self.verifier.name} {_base64(signature)}\n"


class Checkpoint(NamedTuple):
    """What the notary signs: whose tree, its size and its root."""

    origin: str
    size: int
    root: Hash

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Lines after the third are extensions, and are passed over. Raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) <= CHECKPOINT_LINES or not lines[0] or not NUMBER.fullmatch(lines[1]):
            raise NoteInvalid("This is no checkpoint: it has no line for origin, size and root.")
        root, size = _unbase64(lines[2]), int(lines[1])
        if len(root) != HASH_BYTES or size > MAX_TREE_SIZE:
            raise NoteInvalid("This is no checkpoint: its size or root is none.")
        return cls(lines[0], size, root)


def open_note(note: str, keys: Iterable[VerifierKey]) -> str:
    """The text of a note that at least one of the keys signed. Raises NoteInvalid."""
    text, empty, rest = note.rpartition("\n\n")
    lines = rest.split("\n")
    if HALF.search(note):
        raise NoteInvalid("The note holds half a character.")
    if len(note) > MAX_NOTE_CHARACTERS or not empty or lines.pop() or not 0 < len(lines) <= MAX_SIGNATURES:
        raise NoteInvalid("This is no signed note.")
    known = {(key.name, key.key_id): key for key in keys}
    text += "\n"
    signed: list[VerifierKey] = []
    for line in lines:
        name, space, encoded = line.removeprefix(DASH).partition(" ")
        if not line.startswith(DASH) or not space or not NAME.fullmatch(name):
            raise NoteInvalid("A signature line of the note is none.")
        signature = _unbase64(encoded)
        key = known.get((name, signature[:KEY_ID_BYTES]))
        if key is None:
            continue
        if len(signature) != KEY_ID_BYTES + SIGNATURE_BYTES or not key.fits(signature[KEY_ID_BYTES:], text):
            raise NoteInvalid(f"The signature of {name} does not fit the note.")
        if key in signed:
            raise NoteInvalid(f"{name} signed the note twice.")
        signed.append(key)
    if not signed:
        raise NoteInvalid("No key that is known here signed the note.")
    return text


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint of a note that at least one of the keys signed. Raises NoteInvalid."""
    trusted = list(keys)
    checkpoint = Checkpoint.parse(open_note(note, trusted))
    if checkpoint.origin not in {key.name for key in trusted}:
        raise NoteInvalid("The checkpoint is of another origin than its keys.")
    return checkpoint


def receipt_text(origin: str, leaves: Iterable[tuple[int, Hash]]) -> str:
    """What the API promises: that these positions hold these leaves (AUDIT section 2.3; two lines for each fact)."""
    lines = "".join(f"{position}\n{_base64(leaf)}\n" for position, leaf in leaves)
    return f"{RECEIPT}\n{origin}\n{lines}"


def open_receipt(note: str, keys: Iterable[VerifierKey]) -> list[tuple[int, Hash]]:
    """What a receipt promises: positions with their leaf hashes. Raises NoteInvalid."""
    version, _, *lines, _ = open_note(note, keys).split("\n")
    if version != RECEIPT or not lines or len(lines) % 2:
        raise NoteInvalid("The note is no receipt.")
    if not all(map(NUMBER.fullmatch, lines[::2])):
        raise NoteInvalid("A position of the receipt is none.")
    return list(zip(map(int, lines[::2]), map(_unbase64, lines[1::2]), strict=True))


class InclusionProof(NamedTuple):
    """That a leaf stands at an index from 0 under a checkpoint, to be checked without the ledger."""

    leaf_index: int
    hashes: list[Hash]
    checkpoint_note: str

    def text(self) -> str:
        """The file `.tlog-proof`."""
        lines = "".join(f"{_base64(each)}\n" for each in self.hashes)
        return f"{PROOF}\nindex {self.leaf_index}\n{lines}\n{self.checkpoint_note}"

    @classmethod
    def parse(cls, text: str) -> "InclusionProof":
        """Raises NoteInvalid."""
        head, empty, note = text.partition("\n\n")
        version, *lines = head.split("\n")
        index = lines[0].removeprefix("index ") if lines else ""
        if version != PROOF or not empty or not lines or lines[0] == index or not NUMBER.fullmatch(index):
            raise NoteInvalid("This is no proof of inclusion.")
        if len(lines) > MAX_PROOF_HASHES + 1:
            raise NoteInvalid("The proof has more hashes than any tree is high.")
        return cls(int(index), [_unbase64(line) for line in lines[1:]], note)

    def verify(self, leaf: Hash, keys: Sequence[VerifierKey]) -> Checkpoint:
        """The checkpoint under which the leaf stands. Raises NoteInvalid and ProofInvalid."""
        checkpoint = open_checkpoint(self.checkpoint_note, keys)
        if self.leaf_index >= checkpoint.size:
            raise ProofInvalid(f"There is no leaf {self.leaf_index} in a tree of {checkpoint.size}.")
        verify_inclusion(leaf, self.leaf_index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def base64_lines(hashes: Iterable[Hash]) -> str:
    """Hashes as lines of base64, as a consistency proof is handed over."""
    return "".join(f"{_base64(each)}\n" for each in hashes)


def _key_parts(text: str) -> tuple[str, str, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        decoded = _unbase64(encoded)
    except NoteInvalid:
        decoded = b""
    if not NAME.fullmatch(name) or len(decoded) != KEY_BYTES + 1 or decoded[:1] != ED25519:
        raise KeyMalformed(KeyMalformed.__doc__)
    return name, key_id, decoded[1:]


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


def _unbase64(text: str) -> bytes:
    """Bytes of their one spelling. Raises NoteInvalid."""
    try:
        raw = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raw = b""
    if _base64(raw) != text:
        raise NoteInvalid("A line that should be base64 is not, or not in its one spelling.")
    return raw
