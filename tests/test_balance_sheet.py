"""The sheet of now: the reader's own write, a merge and an unmerge show at once; the numbers are its invariants."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from eventsourcing.dcb.api import DCBEvent

from ledger.application import Ledger, Receipt
from ledger.domain.identifiers import one_id_of
from ledger.journal import Journal
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projections.standing import PersonUnknown
from tests.books import assert_whole
from tests.commands import (
    CAP_FEN,
    PERSONAL,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    transfer,
    unmerge,
    withdraw,
)

if TYPE_CHECKING:
    from ledger.database import Database


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def two_people(ledger: Ledger) -> None:
    ledger.post([register("ea:1"), register("pp:7")])
    ledger.post(
        [open_account("ea:1", "A1"), open_account("ea:1", "P1", PERSONAL), open_account("pp:7", "P7", PERSONAL)]
    )
    ledger.post([contribute("A1", 500), contribute_own("P1", CAP_FEN), contribute_own("P7", CAP_FEN - 5)])


def test_what_was_posted_is_read_at_once(ledger: Ledger, database: Database) -> None:
    """Invariant 2."""
    two_people(ledger)
    expected = 500 + CAP_FEN
    for _ in range(50):
        outcome = ledger.post([contribute("A1", 7)])[0]
        expected += 7
        read = read_balance_sheet(database, "ea:1")
        assert isinstance(outcome, Receipt)
        assert (read.known_at, read.sheet.balance_fen) == (outcome.last_position, expected)


def test_a_merge_shows_at_once_by_every_name_and_its_unmerge_restores_every_byte(
    ledger: Ledger, database: Database
) -> None:
    two_people(ledger)
    names = ["ea:1", "A1", "P1", "pp:7", "P7"]
    before = {name: read_balance_sheet(database, name).sheet.model_dump_json() for name in names}
    one_ids = {name: read_balance_sheet(database, name).sheet.one_id for name in names}
    assert len(set(before.values())) == 2
    assert [read_balance_sheet(database, one_ids[n]).sheet.model_dump_json() for n in names] == list(before.values())

    ledger.post([merge("ea:1", "pp:7")])
    sheets = [read_balance_sheet(database, name).sheet for name in (*names, *one_ids.values())]
    assert len({sheet.model_dump_json() for sheet in sheets}) == 1
    assert sheets[0].one_id == one_ids["ea:1"]
    assert sheets[0].balance_fen == 500 + 2 * CAP_FEN - 5
    assert [line.excess_fen for line in sheets[0].breaches] == [CAP_FEN - 5]
    assert [line.account_ids for line in sheets[0].duplicates] == [["P1", "P7"]]

    ledger.post([unmerge(["ea:1"], ["pp:7"])])
    assert {name: read_balance_sheet(database, name).sheet.model_dump_json() for name in names} == before
    assert_whole(database)


def test_an_unmerge_keeps_what_was_posted_to_each_since_the_merge(ledger: Ledger, database: Database) -> None:
    """As if there had been no merge."""
    two_people(ledger)
    ledger.post([merge("ea:1", "pp:7"), contribute("A1", 11), unmerge(["ea:1"], ["pp:7"])])
    assert read_balance_sheet(database, "ea:1").sheet.balance_fen == 511 + CAP_FEN
    assert read_balance_sheet(database, "pp:7").sheet.balance_fen == CAP_FEN - 5


def test_a_sheet_never_mixes_two_positions(ledger: Ledger, database: Database) -> None:
    """Invariant 1: while money moves between her accounts and she is merged and parted, her total stays what it is."""
    ledger.post([register("ea:1"), register("ea:2")])
    ledger.post([open_account("ea:1", "A1"), open_account("ea:1", "A2"), open_account("ea:2", "B1")])
    ledger.post([contribute("A1", 1_000), contribute("B1", 10)])
    done = threading.Event()
    totals: set[tuple[int, int]] = set()

    def read() -> int:
        reads = 0
        while not done.is_set():
            sheet = read_balance_sheet(database, "ea:1").sheet
            totals.add((len(sheet.identities), sheet.balance_fen))
            reads += 1
        return reads

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(150):
                here, there = ("A1", "A2") if number % 2 == 0 else ("A2", "A1")
                ledger.post([transfer(here, there, 1_000)])
                if number % 10 == 0:
                    merged = ledger.post([withdraw("ea:1", "ea:2"), merge("ea:1", "ea:2")])[1]
                    assert isinstance(merged, Receipt)
                elif number % 10 == 5:
                    ledger.post([unmerge(["ea:1"], ["ea:2"])])
        finally:
            done.set()
        assert all(reader.result() > 10 for reader in readers)
    assert totals == {(1, 1_000), (2, 1_010)}
    assert_whole(database)


def test_nobody_has_no_sheet(ledger: Ledger, database: Database) -> None:
    two_people(ledger)
    for name in ("ea:2", "A9", "P0123456789ABCDEF", "", "ea:\x1e1", "A1\n", "\udcff", "\x00", "李", "x" * 5_000):
        with pytest.raises(PersonUnknown):
            read_balance_sheet(database, name)
    ledger.post([credit("A1", 1)])
    assert read_balance_sheet(database, "A1").sheet.returns_fen == 1


def test_a_plain_event_may_bear_the_tag_of_a_one_id(ledger: Ledger, database: Database) -> None:
    """It was there before, and is not even JSON: the name still leads to the identity it was born with."""
    one_id = one_id_of("ea:1")
    Journal(database).append([DCBEvent(type="Seen", data=b"\xff", tags=[f"one_id:{one_id}"])])
    two_people(ledger)
    assert read_balance_sheet(database, one_id) == read_balance_sheet(database, "ea:1")
