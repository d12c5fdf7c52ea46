"""Group commit: concurrent single posts share transactions; the numbers are the invariants of ledger/batching.py."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.application import MAX_COMMANDS, BatchTooLarge, Ledger, LedgerBusy, Receipt, Refused
from ledger.batching import MAX_GROUP, GroupCommit
from ledger.database import Database
from ledger.settings import Settings
from tests.books import assert_whole
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ledger.application import Outcome
    from ledger.domain.commands import Command

THREADS = 64
POSTS = 20
WAIT_S = 30


@pytest.fixture
def ledger(database: Database) -> Ledger:
    made = Ledger(database)
    made.post([register("sys:1"), *(open_account("sys:1", f"A{n}") for n in range(THREADS))])
    return made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def transactions(database: Database) -> int:
    """Transactions that recorded facts: each has a moment of its own."""
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT count(DISTINCT recorded_at) FROM event").fetchone()
    assert row is not None
    return int(row[0])


def test_many_single_posts_share_transactions_and_each_gets_its_own_answer(
    ledger: Ledger, database: Database, threads: ThreadPoolExecutor
) -> None:
    group = GroupCommit(ledger)
    before = transactions(database)
    together = threading.Barrier(THREADS)

    def send(thread: int) -> list[int]:
        """Its own receipts, one after another; every fourth post is refused."""
        together.wait(timeout=30)
        found = []
        for number in range(POSTS):
            account = f"A{thread}" if number % 4 else "nobody"
            command = contribute(account, 1, f"{thread}/{number}")
            outcomes = group.post([command])
            assert [outcome.command_id for outcome in outcomes] == [command.command_id]
            if number % 4:
                assert isinstance(outcomes[0], Receipt)
                assert outcomes[0].first_position is not None
                found.append(outcomes[0].first_position)
            else:
                assert isinstance(outcomes[0], Refused)
        return found

    receipts = [future.result(timeout=60) for future in [threads.submit(send, n) for n in range(THREADS)]]
    assert all(found == sorted(found) for found in receipts)
    assert len({position for found in receipts for position in found}) == THREADS * POSTS * 3 // 4
    assert transactions(database) - before <= THREADS * POSTS // 8
    assert_whole(database)


def test_a_lone_post_leads_itself(ledger: Ledger, database: Database) -> None:
    """Invariant 1: it waits for nobody, and for no timer."""
    group = GroupCommit(ledger)
    before = transactions(database)
    started = time.monotonic()
    for n in range(50):
        assert isinstance(group.post([contribute("A1", 1, f"c/{n}")])[0], Receipt)
    assert time.monotonic() - started < 2
    assert transactions(database) - before == 50


class TestAGroup:
    """Invariants 2 and 3, with a group made to wait behind a head that somebody else holds."""

    def gathered(self, group: GroupCommit, database: Database, threads: ThreadPoolExecutor, sizes: list[int]) -> int:
        """Post calls of these sizes while a first one waits for the head; how many transactions that took."""
        before = transactions(database)
        with psycopg.connect(database.admin_url) as other:
            other.execute("SELECT FROM head FOR UPDATE")
            futures = [threads.submit(group.post, [contribute("A0", 1, "first")])]
            for number, size in enumerate(sizes):
                while len(group._waiting) != number or not group._is_led:
                    time.sleep(0.005)
                batch = [contribute(f"A{number}", 1, f"{number}/{n}") for n in range(size)]
                futures.append(threads.submit(group.post, batch))
            while len(group._waiting) < len(sizes):
                time.sleep(0.005)
        for number, future in enumerate(futures[1:]):
            outcomes = future.result(timeout=60)
            assert [outcome.command_id for outcome in outcomes] == [f"{number}/{n}" for n in range(sizes[number])]
            places = [outcome.first_position or 0 for outcome in outcomes if isinstance(outcome, Receipt)]
            assert places == [places[0] + n for n in range(sizes[number])]
        return transactions(database) - before

    def test_what_waits_goes_in_one_transaction(
        self, ledger: Ledger, database: Database, threads: ThreadPoolExecutor
    ) -> None:
        assert self.gathered(GroupCommit(ledger), database, threads, [1, 5, 0, 2, 1]) == 2
        assert_whole(database)

    def test_a_group_is_bounded_and_a_callers_commands_stay_together(
        self, ledger: Ledger, database: Database, threads: ThreadPoolExecutor
    ) -> None:
        """300 + 600 fit, the next 300 would not; one call above the bound goes alone."""
        sizes = [MAX_GROUP * 3 // 10, MAX_GROUP * 6 // 10, MAX_GROUP * 3 // 10, MAX_GROUP + 1, 1]
        assert self.gathered(GroupCommit(ledger), database, threads, sizes) == 5
        assert_whole(database)

    @pytest.mark.usefixtures("ledger")
    def test_an_error_reaches_every_caller_of_the_group_and_the_queue_goes_on(
        self, database: Database, threads: ThreadPoolExecutor
    ) -> None:
        hasty = Database(
            url=database.url, admin_url=database.admin_url, embedded=False, settings=Settings(lock_timeout_ms=300)
        )
        group = GroupCommit(Ledger(hasty))
        with psycopg.connect(database.admin_url) as other:
            other.execute("SELECT FROM head FOR UPDATE")
            futures = [threads.submit(group.post, [contribute(f"A{n}", 1, f"c/{n}")]) for n in range(THREADS)]
            errors = [future.exception(timeout=30) for future in futures]
        assert {type(error) for error in errors} == {LedgerBusy}
        futures = [threads.submit(group.post, [contribute(f"A{n}", 1, f"c/{n}")]) for n in range(THREADS)]
        outcomes = [future.result(timeout=30)[0] for future in futures]
        assert all(isinstance(outcome, Receipt) and not outcome.repeated for outcome in outcomes)
        hasty.close()
        assert_whole(database)


def test_too_large_a_call_is_refused_alone(ledger: Ledger) -> None:
    group = GroupCommit(ledger)
    with pytest.raises(BatchTooLarge):
        group.post([contribute("A1", 1)] * (MAX_COMMANDS + 1))
    assert isinstance(group.post([contribute("A1", 1)])[0], Receipt)
    assert group.post([]) == []


def test_an_interrupt_is_the_leaders_alone_and_the_others_may_post_again(database: Database) -> None:
    """The leader's KeyboardInterrupt must not surface in another caller's thread."""
    entered, go = threading.Event(), threading.Event()

    class Interrupted(Ledger):
        def post(self, commands: Sequence[Command]) -> list[Outcome]:
            if len(commands) > 1:
                raise KeyboardInterrupt
            entered.set()
            go.wait(WAIT_S)
            return super().post(commands)

    group = GroupCommit(Interrupted(database))
    errors: list[BaseException] = []

    def post(number: int) -> None:
        try:
            group.post([register(f"sys:{number}")])
        except BaseException as error:  # noqa: BLE001 - what is raised is what is tested
            errors.append(error)

    first = threading.Thread(target=post, args=(0,))
    first.start()
    assert entered.wait(WAIT_S)
    others = [threading.Thread(target=post, args=(number,)) for number in (1, 2, 3)]
    for other in others:
        other.start()
    while len(group._waiting) < len(others):
        time.sleep(0.01)
    go.set()
    for thread in (first, *others):
        thread.join(WAIT_S)
    assert sorted(type(error).__name__ for error in errors) == [
        "KeyboardInterrupt",
        "LedgerUnavailable",
        "LedgerUnavailable",
    ]
