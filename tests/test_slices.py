"""A batch travels in slices, and each slice stores the memories that no later command names (application.py 4, 5)."""

from typing import TYPE_CHECKING

import pytest

from ledger.application import SLICE, Ledger, Receipt
from ledger.database import Database
from tests.books import assert_whole
from tests.commands import PERSONAL, contribute, contribute_own, credit, merge, open_account, register, unmerge

if TYPE_CHECKING:
    from ledger.domain.commands import Command


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def test_a_memory_held_back_for_a_command_that_turns_out_repeated_is_stored(ledger: Ledger, database: Database) -> None:
    """The last slices hold only repeats of known commands, and they name the accounts of the first."""
    names = [f"A{n}" for n in range(SLICE)]
    ledger.post([register("sys:1"), *(open_account("sys:1", name) for name in names)])
    known: list[Command] = [contribute(name, 100, command_id=f"known/{name}") for name in names]
    ledger.post(known)
    fresh: list[Command] = [contribute(name, 7) for name in names]
    outcomes = ledger.post([*fresh, *known, *known])
    assert [isinstance(outcome, Receipt) and outcome.repeated for outcome in outcomes] == [False] * SLICE + [True] * (
        2 * SLICE
    )
    assert_whole(database)


def test_a_memory_stored_by_an_early_slice_and_changed_by_a_late_one_is_stored_again(
    ledger: Ledger, database: Database
) -> None:
    """The late commands are a merge, which flags the accounts, and an unmerge: they name identities, not accounts."""
    ledger.post([register("sys:1"), register("sys:2"), register("sys:3"), open_account("sys:3", "A1")])
    batch: list[Command] = [
        open_account("sys:1", "P1", PERSONAL),
        open_account("sys:2", "P2", PERSONAL),
        contribute_own("P1", 700_000),
        contribute_own("P2", 700_000),
        *(credit("A1", 1) for _ in range(2 * SLICE)),
        merge("sys:1", "sys:2"),
        *(credit("A1", 1) for _ in range(2 * SLICE)),
        unmerge(["sys:1"], ["sys:2"]),
        *(credit("A1", 1) for _ in range(2 * SLICE)),
    ]
    assert all(isinstance(outcome, Receipt) for outcome in ledger.post(batch))
    assert_whole(database)


def test_a_batch_that_ends_with_refusals_and_repeats_is_whole(ledger: Ledger, database: Database) -> None:
    opening: list[Command] = [register("sys:1"), open_account("sys:1", "A1")]
    ledger.post(opening)
    batch: list[Command] = [contribute("A1", 5) for _ in range(SLICE + 1)]
    batch += [contribute("NOWHERE", 5) for _ in range(SLICE)]
    batch += opening
    outcomes = ledger.post(batch)
    assert sum(isinstance(outcome, Receipt) for outcome in outcomes) == SLICE + 3
    assert_whole(database)
