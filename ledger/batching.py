"""Group commit: concurrent single posts, each waiting for its own answer, share transactions.

1. Nobody waits for a timer. Who finds no leader leads: it posts what waits at that moment. Who comes meanwhile waits,
   and one of them leads next. So a lone post is as fast as ever, and under load the groups grow by themselves.
2. A caller's commands stay together and in their order. What one leader posts is bounded.
3. If a shared transaction fails, every caller in it gets the error; none of its outcomes is known.
"""

import threading
from collections import deque
from collections.abc import Sequence

from ledger.application import MAX_COMMANDS, BatchTooLarge, Ledger, LedgerUnavailable, Outcome
from ledger.domain.commands import Command

MAX_GROUP = 1_000


class _Call:
    """One caller's commands; woken either with the outcomes or the error, or to lead the next group."""

    __slots__ = ("commands", "error", "outcomes", "woken")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.woken = threading.Event()
        self.outcomes: list[Outcome] | None = None
        self.error: BaseException | None = None


class GroupCommit:
    """Posts for many threads through one ledger. The queue holds one call a waiting thread, and so is bounded."""

    def __init__(self, ledger: Ledger) -> None:
        """Post through this ledger."""
        self._ledger = ledger
        self._waiting: deque[_Call] = deque()
        self._guard = threading.Lock()
        self._is_led = False

    def post(self, commands: Sequence[Command]) -> list[Outcome]:
        """As `Ledger.post`, in a transaction that other callers may share."""
        if len(commands) > MAX_COMMANDS:
            raise BatchTooLarge(BatchTooLarge.__doc__)
        call = _Call(commands)
        with self._guard:
            self._waiting.append(call)
            leads, self._is_led = not self._is_led, True
        if not leads:
            self._wait(call)
        if call.outcomes is None and call.error is None:
            self._lead()
        if call.error is not None:
            raise call.error
        assert call.outcomes is not None
        return call.outcomes

    def _wait(self, call: _Call) -> None:
        """Until it is answered, or its turn to lead. Who is interrupted meanwhile leaves the queue, and the lead to others."""
        try:
            call.woken.wait()
        except BaseException:
            with self._guard:
                if call in self._waiting:
                    self._waiting.remove(call)
                passes_on = call.woken.is_set() and call.outcomes is None and call.error is None
                successor = self._waiting[0] if passes_on and self._waiting else None
                if passes_on and successor is None:
                    self._is_led = False
            if successor is not None:
                successor.woken.set()
            raise

    def _lead(self) -> None:
        """Post one group, of which the leader is the first; then hand the lead to whoever waits longest."""
        group = self._take()
        try:
            outcomes = self._ledger.post([command for call in group for command in call.commands])
        except BaseException as error:  # noqa: BLE001 - it belongs to every caller of the group, and each raises it
            for call in group:
                call.error = error if isinstance(error, Exception) else LedgerUnavailable(LedgerUnavailable.__doc__)
            group[0].error = error  # An interrupt is the leader's alone.
        else:
            start = 0
            for call in group:
                call.outcomes = outcomes[start : start + len(call.commands)]
                start += len(call.commands)
        with self._guard:
            self._is_led = bool(self._waiting)
            successor = self._waiting[0] if self._waiting else None
        for call in group:
            call.woken.set()
        if successor is not None:
            successor.woken.set()

    def _take(self) -> list[_Call]:
        with self._guard:
            group = [self._waiting.popleft()]
            size = len(group[0].commands)
            while self._waiting and size + len(self._waiting[0].commands) <= MAX_GROUP:
                size += len(self._waiting[0].commands)
                group.append(self._waiting.popleft())
        return group
