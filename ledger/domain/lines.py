"""What one fact moves: its kind, its postings, and the line that it makes on the statement of each account.

1. A line is the sum of the postings of one fact on one account; nothing else changes a balance.
2. A reversal has the kind of the entry that it reverses, with the amounts negated, and names it.
"""

from typing import NamedTuple

from ledger.domain import events as e
from ledger.domain.postings import EXTERNAL, Posting, postings
from ledger.domain.states import entry_of

KINDS: dict[type[e.Fact], str] = {
    e.BalanceTransferred: "transfer",
    e.BenefitPaid: "benefit",
    e.ContributionPosted: "contribution",
    e.EmployerPartVested: "vesting",
    e.FeeCharged: "fee",
    e.ReturnsCredited: "returns",
}
"""The kind of movement that each entry is."""


class Line(NamedTuple):
    """One line of an account's statement; `amounts_fen` by part, positive where the part grew."""

    account: str
    amounts_fen: dict[str, int]


class Recorded:
    """A fact at its position. What it moves is worked out once, when first asked for, however many ask."""

    __slots__ = ("_legs", "fact", "position")

    def __init__(self, position: int, fact: e.Fact) -> None:
        self.position = position
        self.fact = fact
        self._legs: list[Posting] | None = None

    @property
    def kind(self) -> str | None:
        """What kind of movement this is; None for a fact that moves no money."""
        fact = self.fact
        return KINDS.get(entry_of(fact.entry).__class__ if isinstance(fact, e.EntryReversed) else fact.__class__)

    @property
    def legs(self) -> list[Posting]:
        """The postings of the fact."""
        if self._legs is None:
            self._legs = postings(self.fact)
        return self._legs

    @property
    def reverses(self) -> int | None:
        """The position of the entry that this fact reverses, if it does."""
        return self.fact.reverses if isinstance(self.fact, e.EntryReversed) else None

    def lines(self) -> list[Line]:
        """The lines of the fact, one for each account whose money it moves."""
        moved: dict[str, dict[str, int]] = {}
        for account, part, fen in self.legs:
            if account == EXTERNAL:
                continue
            amounts = moved.get(account)
            if amounts is None:
                moved[account] = {part: fen}
            else:
                amounts[part] = amounts.get(part, 0) + fen
        return [Line(account, amounts) for account, amounts in moved.items()]
