"""Group commit: concurrent single posts share transactions; the numbers are the invariants of ledger/batching.py."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ledger.application import MAX_COMMANDS, BatchTooLarge, Ledger, LedgerBusy, Receipt, Refused
from ledger.batching import MAX_GROUP, MAX_LARGE_WAITING, MAX_WAITING, GroupCommit, LoopPosts, PostingEnded
from ledger.database import Database
from ledger.domain.posters import Poster
from ledger.settings import Settings
from tests.books import assert_whole, commands_recorded
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ledger.application import Outcome
    from ledger.domain.commands import Command

CALLERS = 64
POSTS = 20
WAIT_S = 30


@pytest.fixture
def ledger(database: Database) -> Ledger:
    made = Ledger(database)
    made.post([register("sys:1"), *(open_account("sys:1", f"A{n}") for n in range(CALLERS))])
    return made


@pytest.fixture
def group(ledger: Ledger) -> Iterator[GroupCommit]:
    with GroupCommit(ledger) as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS) as pool:
        yield pool


class Gate(Ledger):
    """A ledger that waits to be let through, once, and fails then with `error` if there is one."""

    def __init__(self, database: Database, error: BaseException | None = None) -> None:
        """Closed."""
        super().__init__(database)
        self.entered, self.open = threading.Event(), threading.Event()
        self.error = error

    def post(
        self,
        commands: Sequence[Command],
        posters: Sequence[Poster | None] | None = None,
        **options: Any,
    ) -> list[Outcome]:
        self.entered.set()
        assert self.open.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        return super().post(commands, posters, **options)


def transactions(database: Database) -> int:
    """Transactions that recorded facts: each has a moment of its own."""
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT count(DISTINCT recorded_at) FROM event").fetchone()
    assert row is not None
    return int(row[0])


def position_of(outcome: Outcome) -> int:
    assert isinstance(outcome, Receipt), outcome
    assert outcome.first_position is not None
    return outcome.first_position


class TestManySinglePosts:
    """They share transactions, and each gets its own answer; every fourth is refused."""

    def checked(self, database: Database, before: int, answers: list[list[list[Outcome]]]) -> None:
        receipts = []
        for caller, outcomes in enumerate(answers):
            assert [[outcome.command_id for outcome in each] for each in outcomes] == [
                [f"{caller}/{number}"] for number in range(POSTS)
            ]
            assert all(isinstance(each[0], Refused) for each in outcomes[::4])
            found = [position_of(each[0]) for number, each in enumerate(outcomes) if number % 4]
            assert found == sorted(found)
            receipts += found
        assert len(set(receipts)) == CALLERS * POSTS * 3 // 4
        assert transactions(database) - before <= CALLERS * POSTS // 8
        assert_whole(database)

    def command(self, caller: int, number: int) -> Command:
        return contribute(f"A{caller}" if number % 4 else "nobody", 1, f"{caller}/{number}")

    def test_of_threads(self, group: GroupCommit, database: Database, threads: ThreadPoolExecutor) -> None:
        before = transactions(database)
        together = threading.Barrier(CALLERS)

        def send(caller: int) -> list[list[Outcome]]:
            together.wait(WAIT_S)
            return [group.post([self.command(caller, number)]) for number in range(POSTS)]

        self.checked(database, before, list(threads.map(send, range(CALLERS), timeout=60)))

    def test_of_coroutines(self, group: GroupCommit, database: Database) -> None:
        before = transactions(database)

        async def send(posts: LoopPosts, caller: int) -> list[list[Outcome]]:
            return [await posts.post([self.command(caller, number)]) for number in range(POSTS)]

        async def send_all() -> list[list[list[Outcome]]]:
            posts = LoopPosts(group)
            return await asyncio.gather(*(send(posts, caller) for caller in range(CALLERS)))

        self.checked(database, before, asyncio.run(send_all()))


def test_a_lone_post_waits_for_nobody_and_for_no_timer(group: GroupCommit, database: Database) -> None:
    """Invariant 1."""
    before = transactions(database)
    started = time.monotonic()
    for n in range(50):
        assert isinstance(group.post([contribute("A1", 1, f"c/{n}")])[0], Receipt)
    assert time.monotonic() - started < 2
    assert transactions(database) - before == 50


class TestAGroup:
    """Invariants 2 and 3, with a group made to wait behind a head that somebody else holds."""

    def gathered(self, group: GroupCommit, database: Database, sizes: list[int]) -> int:
        """Post calls of these sizes while a first one waits for the head; how many transactions that took."""
        before = transactions(database)
        with psycopg.connect(database.admin_url) as other:
            other.execute("SELECT FROM head FOR UPDATE")
            first = group.submit([contribute("A0", 1, "first")])
            while not first.running():
                time.sleep(0.005)
            futures = [
                group.submit([contribute(f"A{number}", 1, f"{number}/{n}") for n in range(size)])
                for number, size in enumerate(sizes)
            ]
            assert len(group._small) + len(group._large) == len([size for size in sizes if size])
        for number, future in enumerate(futures):
            outcomes = future.result(timeout=60)
            assert [outcome.command_id for outcome in outcomes] == [f"{number}/{n}" for n in range(sizes[number])]
            places = [position_of(outcome) for outcome in outcomes]
            assert places == [places[0] + n for n in range(sizes[number])]
        return transactions(database) - before

    def test_what_waits_goes_in_one_transaction(self, group: GroupCommit, database: Database) -> None:
        assert self.gathered(group, database, [1, 5, 0, 2, 1]) == 2
        assert_whole(database)

    def test_a_group_is_bounded_and_a_callers_commands_stay_together(
        self, group: GroupCommit, database: Database
    ) -> None:
        """300 + 600 fit, the next 300 would not; one call above the bound goes alone, before the next small ones."""
        sizes = [MAX_GROUP * 3 // 10, MAX_GROUP * 6 // 10, MAX_GROUP * 3 // 10, MAX_GROUP + 1, 1]
        assert self.gathered(group, database, sizes) == 4
        assert_whole(database)

    @pytest.mark.usefixtures("ledger")
    def test_an_error_reaches_every_caller_of_the_group_and_the_queue_goes_on(
        self, database: Database, threads: ThreadPoolExecutor
    ) -> None:
        hasty = Database(
            url=database.url, admin_url=database.admin_url, embedded=False, settings=Settings(lock_timeout_ms=300)
        )
        with GroupCommit(Ledger(hasty)) as group:
            with psycopg.connect(database.admin_url) as other:
                other.execute("SELECT FROM head FOR UPDATE")
                futures = [threads.submit(group.post, [contribute(f"A{n}", 1, f"c/{n}")]) for n in range(CALLERS)]
                errors = [future.exception(timeout=30) for future in futures]
            assert {type(error) for error in errors} == {LedgerBusy}
            futures = [threads.submit(group.post, [contribute(f"A{n}", 1, f"c/{n}")]) for n in range(CALLERS)]
            outcomes = [future.result(timeout=30)[0] for future in futures]
        assert all(isinstance(outcome, Receipt) and not outcome.repeated for outcome in outcomes)
        hasty.close()
        assert_whole(database)

    def test_whatever_is_raised_reaches_the_callers_and_the_thread_lives(self, database: Database) -> None:
        ledger = Gate(database, error=SystemExit())
        ledger.open.set()
        with GroupCommit(ledger) as group:
            with pytest.raises(SystemExit):
                group.post([register("sys:1")])
            ledger.error = None
            assert isinstance(group.post([register("sys:1")])[0], Receipt)

    def test_an_error_reaches_a_coroutine(self, database: Database) -> None:
        ledger = Gate(database, error=LedgerBusy())
        ledger.open.set()

        async def post(group: GroupCommit) -> None:
            await LoopPosts(group).post([register("sys:1")])

        with GroupCommit(ledger) as group, pytest.raises(LedgerBusy):
            asyncio.run(post(group))

    def test_callers_with_and_without_a_poster_share_a_transaction(self, database: Database) -> None:
        """A poster's call answers to what it may post, a trusted one's does not."""
        ledger = Gate(database)
        poster = Poster(subject="system:test", source="sys", products=None, is_steward=False)
        with GroupCommit(ledger) as group:
            group.submit([register("sys:0", "first")])
            assert ledger.entered.wait(WAIT_S)
            own = group.submit([register("sys:1", "sys/1"), register("other:1", "sys/2")], poster)
            trusted = group.submit([register("other:1", "sys/2")])
            ledger.open.set()
            assert [type(outcome) for outcome in own.result(WAIT_S)] == [Receipt, Refused]
            assert isinstance(trusted.result(WAIT_S)[0], Receipt)
        assert transactions(database) == 2
        assert_whole(database)


class TestBounds:
    """Invariant 2: what one call, one transaction and the queue hold."""

    def test_too_large_a_call_is_refused_alone(self, group: GroupCommit) -> None:
        with pytest.raises(BatchTooLarge):
            group.post([contribute("A1", 1)] * (MAX_COMMANDS + 1))
        assert isinstance(group.post([contribute("A1", 1)])[0], Receipt)
        assert group.post([]) == []

    def test_who_comes_to_a_full_queue_is_told_at_once_that_it_is_busy(self, database: Database) -> None:
        """Large calls wait beside the small ones, so that neither keep the others out."""
        ledger = Gate(database)
        with GroupCommit(ledger) as group:
            group.submit([register("sys:0", "first")])
            assert ledger.entered.wait(WAIT_S)
            full = [group.submit([register("sys:1", "c/1")] * MAX_GROUP) for _ in range(MAX_WAITING // MAX_GROUP)]
            with pytest.raises(LedgerBusy):
                group.submit([register("sys:3", "c/3")])
            large = group.submit([register("sys:2", "c/2")] * MAX_COMMANDS)
            ledger.open.set()
            assert all(len(each.result(WAIT_S)) == MAX_GROUP for each in full)
            assert len(large.result(WAIT_S)) == MAX_COMMANDS
            assert isinstance(group.post([register("sys:3", "c/3")])[0], Receipt)


class TestLeaving:
    """Invariant 4."""

    def test_a_call_cancelled_before_it_is_taken_is_not_posted(self, database: Database) -> None:
        ledger = Gate(database)
        with GroupCommit(ledger) as group:
            first = group.submit([register("sys:0", "first")])
            assert ledger.entered.wait(WAIT_S)
            gone, stays = group.submit([register("sys:1", "c/1")]), group.submit([register("sys:2", "c/2")])
            assert gone.cancel()
            assert not first.cancel()
            ledger.open.set()
            assert isinstance(stays.result(WAIT_S)[0], Receipt)
        assert set(commands_recorded(database)) == {"first", "c/2"}

    def test_a_cancelled_coroutine_leaves_the_queue(self, database: Database) -> None:
        ledger = Gate(database)

        async def leave(group: GroupCommit) -> None:
            posts = LoopPosts(group)
            first = asyncio.create_task(posts.post([register("sys:0", "first")]))
            await asyncio.to_thread(ledger.entered.wait, WAIT_S)
            leaves = asyncio.create_task(posts.post([register("sys:1", "c/1")]))
            await asyncio.sleep(0)
            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
            ledger.open.set()
            assert isinstance((await first)[0], Receipt)
            assert isinstance((await posts.post([register("sys:2", "c/2")]))[0], Receipt)

        with GroupCommit(ledger) as group:
            asyncio.run(leave(group))
        assert set(commands_recorded(database)) == {"first", "c/2"}

    def test_closing_posts_what_waits_and_takes_nothing_more(self, database: Database) -> None:
        ledger = Gate(database)
        group = GroupCommit(ledger)
        futures = [group.submit([register(f"sys:{n}", f"c/{n}")]) for n in range(10)]
        closing = threading.Thread(target=group.close)
        closing.start()
        while not group._is_closed:
            time.sleep(0.005)
        for commands in ([register("sys:x")], []):
            with pytest.raises(PostingEnded):
                group.submit(commands)
        ledger.open.set()
        closing.join(WAIT_S)
        assert all(isinstance(future.result(0)[0], Receipt) for future in futures)
        assert not group._thread.is_alive()
        group.close()


class _SlowList(list[Any]):
    """A list to which appending takes long, as when another thread is let run just then."""

    def append(self, item: Any) -> None:
        super().append(item)
        time.sleep(0.001)


def test_no_coroutine_is_forgotten_when_answers_meet(ledger: Ledger) -> None:
    """An empty call is answered on the loop's own thread, others on the posting thread; whoever is last, the loop wakes."""

    async def post_all() -> int:
        with GroupCommit(ledger) as group:
            posts = LoopPosts(group)
            posts._answered = _SlowList()

            async def caller(number: int) -> int:
                for turn in range(20):
                    await posts.post([contribute("A0", 1, f"meet/{number}/{turn}")] if number % 2 else [])
                return 20

            return sum(await asyncio.wait_for(asyncio.gather(*(caller(number) for number in range(16))), timeout=60))

    assert asyncio.run(post_all()) == 16 * 20


def test_large_calls_and_small_ones_take_turns(database: Database) -> None:
    """Who posts lists without end does not keep single posts out, nor they him; too many lists are turned away."""
    taken: list[int] = []

    class Noting(Ledger):
        def post(
            self,
            commands: Sequence[Command],
            posters: Sequence[Poster | None] | None = None,
            **options: Any,
        ) -> list[Outcome]:
            taken.append(len(commands))
            return super().post(commands, posters, **options)

    ledger = Noting(database)
    ledger.post([register("turn:1"), open_account("turn:1", "T1")])
    large = [contribute("T1", 1, f"large/{n}") for n in range(MAX_GROUP + 1)]
    with GroupCommit(ledger) as group:
        with psycopg.connect(database.admin_url) as other:
            other.execute("SELECT FROM head FOR UPDATE")
            first = group.submit([contribute("T1", 1, "first")])
            while not first.running():
                time.sleep(0.005)
            futures = [group.submit(large) for _ in range(MAX_LARGE_WAITING)]
            with pytest.raises(LedgerBusy):
                group.submit(large)
            futures += [group.submit([contribute("T1", 1, f"small/{n}")]) for n in range(3)]
        for future in futures:
            future.result(timeout=60)
    assert taken == [2, 1, MAX_GROUP + 1, 3, *[MAX_GROUP + 1] * 3]
