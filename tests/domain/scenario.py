"""Given a past, when a command comes, then facts follow or it is refused: the language of the decider tests.

1. The past is filtered by the boundary: a decision sees what the command's own tags and its matter's `needs` name, and
   nothing else. A `needs` that forgets a memory fails here as NotRecalled.
2. The clock stands still, at `NOW`, where the books are not given another.
3. Nothing is mocked: the domain's own functions fold the past and apply the decision.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

from ledger.domain.calendar import BEIJING
from ledger.domain.catalogue import MATTERS, apply, decide
from ledger.domain.closing import REFUSED_OF_ALL
from ledger.domain.commands import ClosePeriod, Command, ReverseEntry
from ledger.domain.decider import Decision, State, View
from ledger.domain.events import Fact
from ledger.domain.identifiers import BOOKS_TAG, tags_of
from ledger.domain.notes import Checkpoint
from ledger.domain.refusals import Refusal
from ledger.domain.sheet import BalanceSheet, balance_sheet
from ledger.domain.states import fold_fact, remembers

MAX_RECALL_ROUNDS = 6
NOW = datetime(2026, 11, 22, 10, 1, tzinfo=BEIJING)

Past = Command | Fact | Checkpoint


class Books:
    """A small ledger in memory: its journal, and what each entity remembers."""

    def __init__(self) -> None:
        """Start with nothing recorded."""
        self.memories: dict[str, State] = {}
        self.facts: list[Fact] = []
        self.sealed: dict[int, bytes] = {}
        self.now = NOW

    def recall(self, command: Command) -> View:
        """The view that the boundary of this command allows, recalled in rounds as `Ledger.post` does."""
        view = View()
        view.next_position = len(self.facts) + 1
        view.clock = self.now
        self._load(view, (BOOKS_TAG, *(tag for tag in tags_of(command) if remembers(tag))))
        if isinstance(command, ClosePeriod):
            view.roots[command.tree_size] = self.sealed.get(command.tree_size)
            view.latest = {fact.effective_on: position for position, fact in enumerate(self.facts, 1)}
        if isinstance(command, ReverseEntry):
            known = command.position <= len(self.facts)
            view.facts[command.position] = self.facts[command.position - 1] if known else None
        needs = MATTERS[type(command)].needs
        for _ in range(MAX_RECALL_ROUNDS):
            missing = [] if needs is None else [tag for tag in needs(command, view) if tag not in view.memories]
            if not missing:
                return view
            self._load(view, missing)
        raise AssertionError(f"needs are not settled after {MAX_RECALL_ROUNDS} rounds")

    def _load(self, view: View, tags: Iterable[str]) -> None:
        view.memories.update({tag: self.memories.get(tag) for tag in tags})

    def decide(self, command: Command) -> Decision:
        """What would follow; nothing is recorded."""
        return decide(command, self.recall(command))

    def post(self, command: Command) -> Decision:
        """Decide, and record what follows."""
        view = self.recall(command)
        decision = decide(command, view)
        if isinstance(decision, list):
            touched: dict[str, int] = {}
            for fact in decision:
                apply(view, fact, view.next_position, touched)
            self.facts += decision
            self._remember(view.memories, touched)
        return decision

    def record(self, fact: Fact) -> None:
        """Fold a fact as it is, decided or not."""
        self.facts.append(fact)
        memories = {tag: self.memories.get(tag) for tag in tags_of(fact)}
        touched: dict[str, int] = {}
        fold_fact(fact, len(self.facts), memories, touched)
        self._remember(memories, touched)

    def _remember(self, memories: Mapping[str, State | None], touched: Iterable[str]) -> None:
        for tag in touched:
            state = memories[tag]
            assert state is not None
            self.memories[tag] = state

    def of(self, kind: str) -> dict[str, State]:
        """What all entities of one kind remember, by their ids."""
        prefix = kind + ":"
        return {tag.removeprefix(prefix): state for tag, state in self.memories.items() if tag.startswith(prefix)}

    def sheet(self, sid: str) -> BalanceSheet:
        """The balance sheet of the person whom this source identity belongs to."""
        members = self.memories["identity:" + sid]["members"]
        identities = {member: self.memories["identity:" + member] for member in members}
        accounts = {
            account: self.memories["account:" + account]
            for identity in identities.values()
            for account in identity["accounts"]
        }
        return balance_sheet(identities, accounts)


class Expected(NamedTuple):
    """A fact of this type, with at least these fields."""

    fact_type: type[Fact]
    fields: Mapping[str, Any]


def such(fact_type: type[Fact], /, **fields: object) -> Expected:
    return Expected(fact_type, fields)


class Outcome:
    """What a command led to, and the statements a test can make about it."""

    def __init__(self, books: Books, command: Command, decision: Decision) -> None:
        """Keep the books as they stand after the decision."""
        self.books = books
        self.command = command
        self.decision = decision

    def then(self, *expected: Expected) -> Self:
        """Exactly these facts follow, in this order; none where the ledger already stands as asked."""
        assert isinstance(self.decision, list), f"refused: {self.decision}"
        assert [type(fact) for fact in self.decision] == [each.fact_type for each in expected]
        for fact, each in zip(self.decision, expected, strict=True):
            assert {name: getattr(fact, name) for name in each.fields} == dict(each.fields)
        return self

    def refused(self, refusal: type[Refusal], **detail: object) -> Self:
        """The command is refused so, with at least this detail, and the refusal is documented: of its matter, or of all."""
        assert isinstance(self.decision, Refusal), f"accepted: {self.decision}"
        assert type(self.decision) is refusal, f"{self.decision}, not {refusal.__name__}"
        assert {name: self.decision.detail.get(name) for name in detail} == detail
        assert refusal in (*REFUSED_OF_ALL, *MATTERS[type(self.command)].refuses)
        return self

    def remembered(self, tag: str, **fields: object) -> Self:
        """Afterwards the entity remembers at least these fields so."""
        state = self.books.memories[tag]
        assert {name: state.get(name) for name in fields} == fields
        return self


class Scenario:
    """A past, on which commands are tried."""

    def __init__(self, books: Books) -> None:
        """Begin with these books."""
        self.books = books

    def when(self, command: Command) -> Outcome:
        """Decide the command and record what follows."""
        return Outcome(self.books, command, self.books.post(command))


def given(*past: Past) -> Scenario:
    """A past of commands, which must have been accepted, of facts, folded as they are, and of trees that were sealed."""
    books = Books()
    for step in past:
        if isinstance(step, Fact):
            books.record(step)
        elif isinstance(step, Checkpoint):
            books.sealed[step.size] = step.root
        else:
            decision = books.post(step)
            assert isinstance(decision, list), f"the past does not hold: {step!r} is refused: {decision}"
    return Scenario(books)
