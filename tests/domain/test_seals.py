"""Leaves, tree and notes against the worked example of AUDIT section 2.5, byte for byte."""

from __future__ import annotations

from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from ledger.domain.leaves import MAX_BYTES, LeafUnfit, leaf_hash, leaf_text
from ledger.domain.notes import Checkpoint, InclusionProof, SigningKey, VerifierKey, open_checkpoint
from ledger.domain.tree import Frontier, Hash, consistency_path, inclusion_path, node, proof, whole

KEY = SigningKey("ledger.example/journal", bytes(range(32)))
VERIFIER = "ledger.example/journal+e2ea5781+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
TEXTS = [
    leaf_text(
        1,
        "AccountOpened",
        ["account:EA-0001", "source:S-0001"],
        date(2027, 1, 4),
        datetime(2027, 1, 4, 1, 30, tzinfo=UTC),
        "ea-core:000001",
        "operator:op-17",
        b'{"account":"EA-0001","product":"enterprise-annuity"}',
    ),
    leaf_text(
        2,
        "ContributionPosted",
        ["account:EA-0001"],
        date(2027, 1, 5),
        datetime(2027, 1, 5, 2, 0, 0, 250_000, tzinfo=UTC),
        "ea-core:000002",
        "system:intake",
        b'{"account":"EA-0001","amount_fen":50000}',
    ),
    leaf_text(
        3,
        "EntryReversed",
        ["account:EA-0001"],
        date(2027, 1, 5),
        datetime(2027, 1, 8, 6, 15, 30, 1, tzinfo=UTC),
        "ea-core:000003",
        "operator:op-18",
        b'{"account":"EA-0001","approver":"operator:op-02","reverses":2}',
    ),
]
LEAVES = [leaf_hash(text) for text in TEXTS]
ROOT = bytes.fromhex("81d5eb2ef6de2f8494eb5e741aa164202c7cd1d133406ff0712ce94ac4e193b3")


def _get(subtree: tuple[int, int]) -> Hash:
    height, place = subtree
    return whole(LEAVES[place << height : (place + 1) << height])


def test_the_leaves_of_the_worked_example() -> None:
    assert [len(text) for text in TEXTS] == [205, 195, 191]
    assert [leaf.hex() for leaf in LEAVES] == [
        "f297d55ca6ceff0f62455daf3a32ccafeff3f720649cb28e57a1856341326ac2",
        "4722d46d3f0cca3fe6def547e7786a6022480bbcccfb370ee656bb5d298ebd13",
        "fcd1af7fd3bac99ae91d8c12d7b12ec5b34eeb37a3cd423f6d1704ae3e064f5e",
    ]


def test_the_root_and_the_proofs_of_the_worked_example() -> None:
    frontier = Frontier()
    for leaf in LEAVES:
        frontier.add(leaf)
    assert frontier.root == ROOT
    assert node(*LEAVES[:2]).hex() == "f5267dc6e317ad2f4566b9305375fc0841e81cc43742ccb46614a0ce39b32c16"
    assert proof(consistency_path(2, 3), _get) == [LEAVES[2]]
    assert proof(consistency_path(1, 3), _get) == [LEAVES[1], LEAVES[2]]


def test_the_proof_file_of_the_worked_example() -> None:
    assert str(KEY.verifier) == VERIFIER
    assert VerifierKey.parse(VERIFIER) == KEY.verifier
    note = KEY.sign(Checkpoint("ledger.example/journal", 3, ROOT).text())
    made = InclusionProof(1, proof(inclusion_path(1, 3), _get), note)
    text = made.text()
    assert len(text.encode()) == 313
    assert sha256(text.encode()).hexdigest() == "1a5246697132e60f4635fcb8306d3e1d476d40eeda90bca072dfe480783a93cd"
    assert InclusionProof.parse(text) == made
    assert made.verify(LEAVES[1], [KEY.verifier]) == open_checkpoint(note, [KEY.verifier])


@pytest.mark.parametrize("control", ["\n", "\x00", "\x1f", "\x7f"])
def test_a_leaf_with_a_control_character_is_refused(control: str) -> None:
    with pytest.raises(LeafUnfit):
        leaf_text(1, "T", [f"a{control}b"], date(2027, 1, 1), datetime(2027, 1, 1, tzinfo=UTC), "c", "a", b"")


def test_a_leaf_is_at_most_65535_bytes_long() -> None:
    with pytest.raises(LeafUnfit):
        leaf_text(1, "T", ["x" * MAX_BYTES], date(2027, 1, 1), datetime(2027, 1, 1, tzinfo=UTC), "c", "a", b"")
