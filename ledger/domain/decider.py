"""What a decision is: a pure function of a command and of what the entities it touches remember.

1. A decider reads nothing but its command and the view; it has no clock, no database and no randomness. What time it is
   stands in the view, as the rest of what was recalled does.
2. The view is complete: asking it for a memory that was not recalled raises NotRecalled, never gives an empty answer.
3. An empty list of facts is an acceptance: the ledger already stands as asked, and nothing new is recorded.
4. Who approves is as the poster states it. A person who is spelled in two ways is still one person, and no second pair of
   eyes.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, Protocol

from ledger.domain.commands import Command
from ledger.domain.events import Fact
from ledger.domain.identifiers import BOOKS_TAG
from ledger.domain.refusals import Refusal

State = dict[str, Any]
Decision = list[Fact] | Refusal


class NotRecalled(LookupError):
    """A decision asked for a memory that was not recalled; the matter's `needs` must name it."""


class View:
    """The memories recalled under the head lock, by tag; None stands for an entity that nothing is known of."""

    __slots__ = ("clock", "facts", "latest", "memories", "next_position", "opening", "roots", "years")

    def __init__(self) -> None:
        """Start empty; the application fills in what it recalls and what it decides."""
        self.memories: dict[str, State | None] = {}
        self.facts: dict[int, Fact | None] = {}
        self.next_position = 1
        # When the batch is recorded, by the database's clock.
        self.clock: datetime | None = None
        # What the batch itself opens, by source identity, and the years it contributes to: so that what its later
        # commands need can be recalled together, before its first command is decided.
        self.opening: set[str] = set()
        self.years: set[int] = set()
        # For what closes a period: by effective date the newest position of the facts that a tree may not cover, and the
        # roots of the sealed trees. None where nothing closes one, which is nearly always.
        self.latest: dict[date, int] | None = None
        self.roots: dict[int, bytes | None] = {}

    @property
    def now(self) -> datetime:
        """When the facts that are decided will be recorded. What the sender says of time is not to be relied on."""
        if self.clock is None:
            raise NotRecalled("now")
        return self.clock

    def account(self, account: str) -> State | None:
        """What the account remembers (`states.AccountState`)."""
        try:
            return self.memories["account:" + account]
        except KeyError:
            raise NotRecalled(account) from None

    def _recalled(self, tag: str) -> State | None:
        try:
            return self.memories[tag]
        except KeyError:
            raise NotRecalled(tag) from None

    def identity(self, sid: str) -> State | None:
        """What the source identity remembers (`states.IdentityState`)."""
        return self._recalled("identity:" + sid)

    def quota(self, quota: str) -> State | None:
        """What the yearly counter remembers (`states.QuotaState`)."""
        return self._recalled("quota:" + quota)

    @property
    def books(self) -> State | None:
        """What the books remember (`states.BooksState`): how far they are closed. Recalled for every command."""
        try:
            return self.memories[BOOKS_TAG]
        except KeyError:
            raise NotRecalled(BOOKS_TAG) from None

    def latest_effective_by(self, day: date) -> int:
        """The least size of a tree that covers every fact effective by this day, as far as that is looked for."""
        if self.latest is None:
            raise NotRecalled(day.isoformat())
        return max((position for effective_on, position in self.latest.items() if effective_on <= day), default=0)

    def sealed_root(self, size: int) -> bytes | None:
        """The root that the notary sealed of the tree of this size; None where it sealed none."""
        try:
            return self.roots[size]
        except KeyError:
            raise NotRecalled(size) from None

    def entry(self, position: int) -> State | None:
        """What is remembered of the entry at a position (`states.EntryState`): whether it was reversed."""
        return self._recalled(f"entry:{position}")

    def fact(self, position: int) -> Fact | None:
        """The fact at a position, recalled because a command names it."""
        try:
            return self.facts[position]
        except KeyError:
            raise NotRecalled(position) from None


class Decider(Protocol):
    """One command's decision. Its refusals come in the order in which the matter's `refuses` lists them."""

    def __call__(self, command: Any, view: View, /) -> Decision:
        """Return the facts that follow, or the first refusal that applies."""
        ...


Needs = Callable[[Any, View], Iterable[str]]
"""Which further tags a decision needs, given what is recalled so far. Asked again until nothing new is named."""


def envelope(command: Command) -> dict[str, Any]:
    """The fields every fact takes over from its command."""
    return {
        "caused_by": command.caused_by,
        "decided_at": command.decided_at,
        "effective_on": command.effective_on,
    }


def other_persons(approvers: Iterable[str], actor: str) -> set[str]:
    """Who of the approvers is not the actor, each person once.

    A person is what stands after the colon, in capitals or not: operator:op-1, operator:OP-1 and user:op-1 are one, because
    an actor's kind says in which role somebody acts, not who.
    """
    return {_person(approver) for approver in approvers} - {_person(actor)}


def _person(actor: str) -> str:
    return actor.partition(":")[2].casefold()


def lacks_approvers(command: Any, needed: int) -> bool:
    """Whether fewer than `needed` persons other than the actor approve."""
    return len(other_persons(command.approvers, command.actor)) < needed
