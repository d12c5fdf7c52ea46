"""Group commit: concurrent single posts, each waiting for its own answer, share transactions.

1. Nobody waits for a timer. One thread posts: whoever comes while it rests is posted at once, and what comes while it
   posts waits for the next transaction. So a lone post is soon answered, and under load the groups grow by themselves.
2. The commands of a call stay together and in their order. What one transaction takes and what may wait is bounded.
   Calls larger than a group take turns with groups of small ones: neither keeps the other waiting for ever.
3. Receipts come with the leaf hashes of their facts, as they will be sealed.
4. If a shared transaction fails, every caller in it gets the error; none of its outcomes is known.
5. A call cancelled before it is taken is not posted. Closing posts what waits, and takes nothing more.

Callers may be threads, which wait by `GroupCommit.post`, or coroutines, which await `LoopPosts.post`.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, Self

from ledger.application import MAX_COMMANDS, BatchTooLarge, Ledger, LedgerBusy, LedgerUnavailable, Outcome
from ledger.domain.commands import Command
from ledger.domain.posters import Poster

MAX_GROUP = 1_000
# So many commands of small calls, and so many large calls, may wait; whoever comes after them is told to come again.
MAX_WAITING = 10_000
MAX_LARGE_WAITING = 4


class PostingEnded(LedgerUnavailable):
    """This process takes no more commands. Nothing was recorded: post again with the same ids, to another process."""


class _Call(NamedTuple):
    """One caller's commands, and where its outcomes go."""

    commands: Sequence[Command]
    poster: Poster | None
    future: Future[list[Outcome]]


class GroupCommit:
    """Posts for many callers through one ledger, on a thread of its own; used as a context manager, or closed by hand."""

    def __init__(self, ledger: Ledger) -> None:
        """Post through this ledger."""
        self._ledger = ledger
        self._small: deque[_Call] = deque()
        self._large: deque[_Call] = deque()
        self._waiting_commands = 0
        self._is_large_next = False
        self._is_closed = False
        self._changed = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._run, name="ledger-posting", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def submit(self, commands: Sequence[Command], poster: Poster | None = None) -> Future[list[Outcome]]:
        """Let the commands be posted, and return at once.

        Raises BatchTooLarge, LedgerBusy where too many wait, PostingEnded; the future, what `Ledger.post` raises.
        """
        if len(commands) > MAX_COMMANDS:
            raise BatchTooLarge(BatchTooLarge.__doc__)
        future: Future[list[Outcome]] = Future()
        with self._changed:
            if self._is_closed:
                raise PostingEnded(PostingEnded.__doc__)
            is_large = len(commands) > MAX_GROUP
            if len(self._large) >= MAX_LARGE_WAITING if is_large else self._waiting_commands >= MAX_WAITING:
                raise LedgerBusy(LedgerBusy.__doc__)
            if commands:
                (self._large if is_large else self._small).append(_Call(commands, poster, future))
                self._waiting_commands += 0 if is_large else len(commands)
                self._changed.notify()
        if not commands:
            future.set_result([])
        return future

    def post(self, commands: Sequence[Command], poster: Poster | None = None) -> list[Outcome]:
        """As `Ledger.post`, in a transaction that other callers may share."""
        future = self.submit(commands, poster)
        try:
            return future.result()
        finally:
            future.cancel()  # Who is interrupted leaves the queue; of a call that was taken the outcome is not known.

    def close(self) -> None:
        """Post what waits, then end the thread. May be called again."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while taken := self._take():
            group = [call for call in taken if call.future.set_running_or_notify_cancel()]
            if group:
                self._post(group)

    def _take(self) -> list[_Call]:
        """Wait for calls, and take as many as one transaction holds; none when closed and all is posted."""
        group: list[_Call] = []
        size = 0
        with self._changed:
            while not self._small and not self._large and not self._is_closed:
                self._changed.wait()
            if self._large and (self._is_large_next or not self._small):
                self._is_large_next = False
                return [self._large.popleft()]
            while self._small and size + len(self._small[0].commands) <= MAX_GROUP:
                group.append(self._small.popleft())
                size += len(group[-1].commands)
            self._waiting_commands -= size
            self._is_large_next = True
        return group

    def _post(self, group: list[_Call]) -> None:
        commands = [command for call in group for command in call.commands]
        posters = None
        if any(call.poster is not None for call in group):
            posters = [call.poster for call in group for _ in call.commands]
        try:
            outcomes = self._ledger.post(commands, posters, with_leaves=True)
        except BaseException as error:  # noqa: BLE001 - it belongs to every caller of the group, and each raises it
            for call in group:
                call.future.set_exception(error)
            return
        start = 0
        for call in group:
            call.future.set_result(outcomes[start : start + len(call.commands)])
            start += len(call.commands)


class LoopPosts:
    """Posts for the coroutines of one event loop, which is woken once for a group and not for each of its calls.

    Every waking is a system call, after which the loop and the posting thread contend for the interpreter: 64 coroutines
    made 4,700 posts a second with `asyncio.wrap_future` and 5,500 so (median of 15 rounds in turn on two busy cores).
    """

    def __init__(self, group: GroupCommit) -> None:
        """Serve the running loop."""
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._answered: list[tuple[asyncio.Future[list[Outcome]], Future[list[Outcome]]]] = []
        self._guard = threading.Lock()
        self._is_woken = False

    async def post(self, commands: Sequence[Command], poster: Poster | None = None) -> list[Outcome]:
        """As `GroupCommit.post`. A cancelled call leaves the queue; of one that was taken the outcome is not known."""
        waiter: asyncio.Future[list[Outcome]] = self._loop.create_future()
        future = self._group.submit(commands, poster)
        future.add_done_callback(lambda answered: self._answer(waiter, answered))
        try:
            return await waiter
        finally:
            future.cancel()

    def _answer(self, waiter: asyncio.Future[list[Outcome]], answered: Future[list[Outcome]]) -> None:
        """On the posting thread, or on the loop's own. Where others wait to be delivered, the loop is woken already."""
        with self._guard:
            self._answered.append((waiter, answered))
            wakes, self._is_woken = not self._is_woken, True
        if wakes:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._guard:
            delivered, self._answered = self._answered, []
            self._is_woken = False
        for waiter, answered in delivered:
            if waiter.done():
                continue
            error = answered.exception()
            if error is None:
                waiter.set_result(answered.result())
            else:
                waiter.set_exception(error)
