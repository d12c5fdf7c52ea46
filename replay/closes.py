"""Whether the books were closed rightly: what each closing pins, and what took effect in a closed period afterwards.

1. The trial balance is added up anew from the facts' postings; nothing of the ledger's own totals is read.
2. Each closing stands over a checkpoint that is stored; whether that is signed, and covers these facts, `verify` tells.
3. Every fact that takes effect in a closed period is there, with who approved it, or it is a finding.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from ledger.domain.calendar import period_of
from ledger.domain.events import AccountOpened, Fact, PeriodClosed
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.domain.trial_balance import Postings, digest
from replay.facts import Connection, HistoryBroken, read_facts

MAX_FINDINGS: Final = 1_000
MAX_ADJUSTMENTS: Final = 100_000

CHECKPOINTS = b"""
SELECT size, root
FROM checkpoint
WHERE size = ANY (%s)
"""
ENVELOPES = b"""
SELECT position, actor, command_id
FROM event
WHERE position = ANY (%s)
"""


class Adjustment(NamedTuple):
    """A fact that took effect in a period whose books were closed, as it was declared."""

    position: int
    type: str
    effective_on: date
    period: str
    reason: str
    approvers: list[str]
    actor: str
    command_id: str


class Closes(NamedTuple):
    """What there is of closings: the facts with their positions, the adjustments, and what is wrong with either."""

    closes: list[tuple[int, PeriodClosed]]
    adjustments: list[Adjustment]
    findings: list[str]


def check_closes(connection: Connection, until: int) -> list[str]:
    """What is wrong with the closings and adjustments up to a position, up to a bound. Raises HistoryBroken."""
    return read_closes(connection, until).findings


def adjustments(connection: Connection, until: int) -> list[Adjustment]:
    """The prior-period adjustments up to a position, up to a bound, by position. Raises HistoryBroken."""
    return read_closes(connection, until).adjustments


def examine_closes(connection: Connection, until: int) -> Closes:
    """As `read_closes`; a history that cannot be read is a finding."""
    try:
        return read_closes(connection, until)
    except HistoryBroken as broken:
        return Closes([], [], [str(broken)])


def read_closes(connection: Connection, until: int) -> Closes:
    """Go through the facts up to a position, once. Raises HistoryBroken."""
    books = _Books()
    for facts in read_facts(connection, until=until):
        for position, fact in facts:
            books.take(position, fact)
    positions = [position for position, _ in (*books.closes, *books.adjusted)]
    envelopes = {position: (actor, command_id) for position, actor, command_id in _at(connection, positions)}
    roots: dict[int, bytes] = dict(
        connection.execute(CHECKPOINTS, ([close.tree_size for _, close in books.closes],)).fetchall()
    )
    for position, close in books.closes:
        books.check_approved(position, close.approvers, envelopes[position][0])
        root = roots.get(close.tree_size)
        if root is None:
            books.find(
                position, f"there is no checkpoint of size {close.tree_size}, over which it closes {close.period}"
            )
        elif root.hex() != close.root:
            books.find(
                position, f"the checkpoint of size {close.tree_size} has not the root that closes {close.period}"
            )
    listed = []
    for position, fact in books.adjusted:
        declared = fact.adjustment
        assert declared is not None, "what is adjusted says so"
        actor, command_id = envelopes[position]
        books.check_approved(position, declared.approvers, actor)
        listed.append(
            Adjustment(
                position=position,
                type=fact.__class__.__name__,
                effective_on=fact.effective_on,
                period=declared.period,
                reason=declared.reason,
                approvers=declared.approvers,
                actor=actor,
                command_id=command_id,
            )
        )
    found = [f"position {position}: {finding}" for position, finding in sorted(books.findings)]
    return Closes(books.closes, listed, found[:MAX_FINDINGS])


def _at(connection: Connection, positions: list[int]) -> Iterable[tuple[int, str, str]]:
    return connection.execute(ENVELOPES, (positions,)).fetchall()


class _Products(dict[str, str]):
    """The product of each account that was opened so far."""

    def __missing__(self, account: str) -> str:
        """An account that posts and was never opened is for `refold` to find."""
        return "unknown"


class _Books:
    """The books as they stand after the facts taken so far."""

    def __init__(self) -> None:
        self.closes: list[tuple[int, PeriodClosed]] = []
        self.adjusted: list[tuple[int, Fact]] = []
        self.findings: list[tuple[int, str]] = []
        self._closed_through = ""
        # By period the newest fact that takes effect in it.
        self._latest: dict[str, int] = {}
        self._postings = Postings()
        self._products = _Products({EXTERNAL: EXTERNAL})

    def find(self, position: int, finding: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append((position, finding))

    def take(self, position: int, fact: Fact) -> None:
        """One fact more; they come in position order."""
        if isinstance(fact, PeriodClosed):
            self._close(position, fact)
        elif isinstance(fact, AccountOpened):
            self._products.setdefault(fact.account, fact.product)
        period = period_of(fact.effective_on)
        if fact.adjustment is not None or period <= self._closed_through:
            self._check_declared(position, fact, period)
        self._latest[period] = position
        self._postings.add(Recorded(position, fact), self._products)

    def check_approved(self, position: int, approvers: Iterable[str], actor: str) -> None:
        if not set(approvers) - {actor}:
            self.find(position, f"nobody but {actor}, who posted it, approved it")

    def _close(self, position: int, close: PeriodClosed) -> None:
        self.closes.append((position, close))
        if close.period <= self._closed_through:
            self.find(position, f"it closes {close.period}, and the books were closed through {self._closed_through}")
            return
        self._closed_through = close.period
        latest = max((at for period, at in self._latest.items() if period <= close.period), default=0)
        if not latest <= close.tree_size < position:
            # Then the facts under the tree are not those that stand here, and their trial balance tells nothing.
            self.find(
                position,
                f"it closes {close.period} over a tree of {close.tree_size}, and the last fact of that is at {latest}",
            )
            return
        found = digest(close.period, close.tree_size, self._postings.rows(close.period))
        if found != close.trial_balance_sha256:
            self.find(position, f"the trial balance of {close.period} is {found}, pinned {close.trial_balance_sha256}")

    def _check_declared(self, position: int, fact: Fact, period: str) -> None:
        name, declared = fact.__class__.__name__, fact.adjustment
        if declared is None:
            self.find(position, f"{name} takes effect in {period}, which was closed, and declares no adjustment")
            return
        if len(self.adjusted) < MAX_ADJUSTMENTS:
            self.adjusted.append((position, fact))
        if period > self._closed_through:
            self.find(position, f"{name} takes effect in {period}, which was open, and declares an adjustment")
        elif declared.period != period:
            self.find(position, f"{name} takes effect in {period}, and declares an adjustment of {declared.period}")
