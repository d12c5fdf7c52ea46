"""No changed proof is accepted: 10,000 random changes of proofs, and of the files and notes in which they travel.

Sizes and roots are not changed apart from each other: they come signed, together. Everything else comes from anybody.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from ledger.domain.leaves import leaf_hash
from ledger.domain.notes import Checkpoint, InclusionProof, NoteInvalid, SigningKey, open_receipt, receipt_text
from ledger.domain.tree import (
    Hash,
    ProofInvalid,
    Subtree,
    consistency_path,
    inclusion_path,
    proof,
    range_root,
    verify_consistency,
    verify_inclusion,
    whole,
)

KEY = SigningKey("ledger.example/journal", bytes(range(32)))
OTHER_KEY = SigningKey("ledger.example/journal", bytes(range(1, 33)))
LARGEST = 600
LEAVES = [leaf_hash(f"entry {number}".encode()) for number in range(LARGEST)]
INCLUSIONS, CONSISTENCIES, FILES, RECEIPTS = 3_500, 3_000, 3_000, 500


class Inclusion(NamedTuple):
    leaf: Hash
    leaf_index: int
    hashes: list[Hash]


class Tree:
    """A tree of some size."""

    def __init__(self, chance: random.Random) -> None:
        self.size = chance.randrange(1, LARGEST)
        self.root = root_of(self.size)

    def inclusion(self, chance: random.Random) -> Inclusion:
        index = chance.randrange(self.size)
        return Inclusion(LEAVES[index], index, proof(inclusion_path(index, self.size), get))


def get(subtree: Subtree) -> Hash:
    height, place = subtree
    return whole(LEAVES[place << height : (place + 1) << height])


def root_of(size: int) -> Hash:
    return range_root(0, size, get)


def hash_changed(chance: random.Random, found: Hash) -> Hash:
    """A bit flipped, another hash of the tree, or one that is too short, too long or nothing but zeros."""
    match chance.randrange(8):
        case 0:
            return chance.choice(LEAVES)
        case 1:
            return found[:-1]
        case 2:
            return found + b"\0"
        case 3:
            return bytes(32)
        case _:
            at = chance.randrange(32)
            return found[:at] + bytes([found[at] ^ 1 << chance.randrange(8)]) + found[at + 1 :]


def hashes_changed(chance: random.Random, hashes: list[Hash]) -> list[Hash]:
    """One changed, left out, put in, doubled or moved."""
    changed = list(hashes)
    at = chance.randrange(len(changed) + 1)
    match chance.randrange(5) if changed else 0:
        case 0:
            changed.insert(at, chance.choice(LEAVES))
        case 1:
            del changed[at - 1]
        case 2:
            changed.insert(at, changed[at - 1])
        case 3:
            changed.insert(at, changed.pop())
        case _:
            changed[at - 1] = hash_changed(chance, changed[at - 1])
    return changed


def test_no_changed_inclusion_proof_is_accepted() -> None:
    chance = random.Random("inclusion")  # noqa: S311 - the same mutants in every run
    counted = 0
    while counted < INCLUSIONS:
        tree = Tree(chance)
        good = tree.inclusion(chance)
        verify_inclusion(*good[:2], tree.size, good.hashes, tree.root)
        match chance.randrange(5):
            case 0:
                changed = good._replace(leaf=hash_changed(chance, good.leaf))
            case 1:
                changed = good._replace(
                    leaf_index=chance.choice([chance.randrange(-2, tree.size + 2), good.leaf_index ^ 1])
                )
            case 2:
                changed = tree.inclusion(chance)._replace(hashes=good.hashes)
            case 3:
                changed = tree.inclusion(chance)._replace(leaf=good.leaf)
            case _:
                changed = good._replace(hashes=hashes_changed(chance, good.hashes))
        if 0 <= changed.leaf_index < tree.size and changed == Inclusion(
            LEAVES[changed.leaf_index], changed.leaf_index, proof(inclusion_path(changed.leaf_index, tree.size), get)
        ):
            continue
        counted += 1
        with pytest.raises(ProofInvalid):
            verify_inclusion(changed.leaf, changed.leaf_index, tree.size, changed.hashes, tree.root)


def test_no_changed_consistency_proof_is_accepted() -> None:
    chance = random.Random("consistency")  # noqa: S311 - the same mutants in every run
    counted = 0
    while counted < CONSISTENCIES:
        new = chance.randrange(2, LARGEST)
        old = chance.randrange(1, new)
        hashes = proof(consistency_path(old, new), get)
        old_root, new_root = root_of(old), root_of(new)
        verify_consistency(old, old_root, new, new_root, hashes)
        changed, changed_old, changed_new = hashes, old_root, new_root
        match chance.randrange(4):
            case 0:
                changed_old = chance.choice([hash_changed(chance, old_root), root_of(chance.randrange(1, LARGEST))])
            case 1:
                changed_new = chance.choice([hash_changed(chance, new_root), root_of(chance.randrange(1, LARGEST))])
            case 2:
                changed_old, changed_new = new_root, old_root
            case _:
                changed = hashes_changed(chance, hashes)
        if (changed, changed_old, changed_new) == (hashes, old_root, new_root):
            continue
        counted += 1
        with pytest.raises(ProofInvalid):
            verify_consistency(old, changed_old, new, changed_new, changed)


def text_changed(chance: random.Random, text: str) -> str:
    """A character changed, left out or put in, a line moved, doubled or left out, or the end cut off."""
    at = chance.randrange(len(text))
    lines = text.split("\n")
    line = chance.randrange(len(lines))
    match chance.randrange(7):
        case 0:
            return text[:at] + chance.choice("\n\r\t 0+/=A—é\x00") + text[at:]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return text[:at]
        case 3:
            return "\n".join([*lines[:line], *lines[line + 1 :]])
        case 4:
            return "\n".join([*lines[:line], lines[line], *lines[line:]])
        case 5:
            lines.insert(line, lines.pop(chance.randrange(len(lines))))
            return "\n".join(lines)
        case _:
            return text[:at] + chr(ord(text[at]) ^ 1 << chance.randrange(7)) + text[at + 1 :]


def test_no_changed_proof_file_is_accepted() -> None:
    chance = random.Random("files")  # noqa: S311 - the same mutants in every run
    counted = 0
    while counted < FILES:
        tree = Tree(chance)
        good = tree.inclusion(chance)
        note = KEY.sign(Checkpoint("ledger.example/journal", tree.size, tree.root).text())
        text = InclusionProof(good.leaf_index, good.hashes, note).text()
        if chance.random() < 0.1:
            other = OTHER_KEY.sign(Checkpoint("ledger.example/journal", tree.size, tree.root).text())
            changed = InclusionProof(good.leaf_index, good.hashes, other).text()
        elif chance.random() < 0.1:
            other = KEY.sign(Checkpoint("ledger.example/another", tree.size, tree.root).text())
            changed = InclusionProof(good.leaf_index, good.hashes, other).text()
        else:
            changed = text_changed(chance, text)
        if changed == text:
            continue
        counted += 1
        with pytest.raises((NoteInvalid, ProofInvalid)):
            InclusionProof.parse(changed).verify(good.leaf, [KEY.verifier])


def test_no_changed_receipt_is_accepted() -> None:
    chance = random.Random("receipts")  # noqa: S311 - the same mutants in every run
    note = KEY.sign(receipt_text("ledger.example/journal", [(7, LEAVES[6]), (8, LEAVES[7])]))
    assert open_receipt(note, [KEY.verifier]) == [(7, LEAVES[6]), (8, LEAVES[7])]
    counted = 0
    while counted < RECEIPTS:
        changed = text_changed(chance, note)
        if changed == note:
            continue
        counted += 1
        with pytest.raises(NoteInvalid):
            open_receipt(changed, [KEY.verifier])
