"""The tree against others: the vectors of Certificate Transparency, an independent implementation, and the RFC's definitions.

pymerkle is an oracle for roots and inclusion only: its consistency proofs are not in the order of RFC 6962. For those the
definition of section 2.1.2 is written down here as it stands there.
"""

from __future__ import annotations

import random
from functools import cache
from hashlib import sha256
from itertools import pairwise

import pytest
from pymerkle import InmemoryTree  # type: ignore[import-untyped] # it has no types, and is an oracle only

from ledger.domain.leaves import leaf_hash
from ledger.domain.tree import (
    EMPTY_ROOT,
    Frontier,
    Hash,
    Subtree,
    consistency_path,
    inclusion_path,
    proof,
    range_root,
    subtrees,
    verify_consistency,
    verify_inclusion,
    whole,
)

# The leaves and roots that implementations of Certificate Transparency test with.
VECTORS = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
]
SIZES = 257
LARGEST = 3_000
ENTRIES = [f"entry {number}".encode() for number in range(LARGEST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
CHANCE = random.Random(6962)  # noqa: S311 - the same trees in every run
ABOVE = sorted(CHANCE.sample(range(SIZES + 1, LARGEST), 12))


@cache
def get(subtree: Subtree) -> Hash:
    height, place = subtree
    return whole(LEAVES[place << height : (place + 1) << height])


@cache
def tree_hash(start: int, end: int) -> Hash:
    """MTH of RFC 6962, section 2.1."""
    if end - start == 1:
        return sha256(b"\x00" + ENTRIES[start]).digest()
    middle = start + half(end - start)
    return sha256(b"\x01" + tree_hash(start, middle) + tree_hash(middle, end)).digest()


def half(size: int) -> int:
    """The largest power of two smaller than a size."""
    found = 1
    while found * 2 < size:
        found *= 2
    return found


def subproof(old: int, start: int, end: int, *, is_root: bool) -> list[Hash]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    size = end - start
    if old == size:
        return [] if is_root else [tree_hash(start, end)]
    middle = start + half(size)
    if old <= middle - start:
        return [*subproof(old, start, middle, is_root=is_root), tree_hash(middle, end)]
    return [*subproof(old - (middle - start), middle, end, is_root=False), tree_hash(start, middle)]


def test_the_vectors_of_certificate_transparency() -> None:
    frontier = Frontier()
    assert frontier.root == EMPTY_ROOT == sha256(b"").digest()
    for entry, root in VECTORS:
        frontier.add(leaf_hash(bytes.fromhex(entry)))
        assert frontier.root.hex() == root


def test_every_root_is_that_of_the_oracle_and_of_the_definition() -> None:
    oracle, frontier = InmemoryTree(algorithm="sha256"), Frontier()
    for size in range(1, LARGEST + 1):
        oracle.append_entry(ENTRIES[size - 1])
        frontier.add(LEAVES[size - 1])
        if size <= SIZES or size in ABOVE:
            assert frontier.root == oracle.get_root(size) == tree_hash(0, size) == range_root(0, size, get)
            assert frontier.copy().peaks == [get(peak) for peak in subtrees(0, size)]


@pytest.mark.parametrize("largest", [1, 2, 3, 130, LARGEST])
def test_every_inclusion_proof_is_that_of_the_oracle(largest: int) -> None:
    """All of the sizes up to 130, and some above."""
    oracle = InmemoryTree(algorithm="sha256")
    for entry in ENTRIES[:largest]:
        oracle.append_entry(entry)
    asked = (
        [(index, size) for size in range(1, largest + 1) for index in range(size)]
        if largest <= 130
        else [(CHANCE.randrange(size), size) for size in CHANCE.choices(ABOVE, k=200)]
    )
    for index, size in asked:
        found = proof(inclusion_path(index, size), get)
        verify_inclusion(LEAVES[index], index, size, found, tree_hash(0, size))
        if size == largest or largest > 130 or index % 7 == size % 7:
            leaf, *path = oracle.prove_inclusion(index + 1, size).path
            assert leaf == LEAVES[index]
            assert found == path


def test_every_consistency_proof_is_that_of_the_definition() -> None:
    """All pairs of sizes up to 257, and some above."""
    pairs = [(old, new) for new in range(1, SIZES + 1) for old in range(1, new + 1)]
    pairs += [(CHANCE.randrange(1, new + 1), new) for new in CHANCE.choices(ABOVE, k=300)]
    pairs += list(pairwise(ABOVE))
    for old, new in pairs:
        found = proof(consistency_path(old, new), get)
        assert found == subproof(old, 0, new, is_root=True)
        verify_consistency(old, tree_hash(0, old), new, tree_hash(0, new), found)


def test_a_range_and_what_stands_beside_it_give_the_root() -> None:
    for _ in range(300):
        size = CHANCE.randrange(1, LARGEST)
        start = CHANCE.randrange(size)
        end = CHANCE.randrange(start, size) + 1
        left = subtrees(0, start)
        frontier = Frontier(start, [get(each) for each in left])
        for leaf in LEAVES[start:end]:
            frontier.add(leaf)
        for height, place in subtrees(end, size):
            frontier.add_whole(get((height, place)), height)
        assert (frontier.size, frontier.root) == (size, tree_hash(0, size))
