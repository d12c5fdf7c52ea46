"""Whether the books were closed rightly: what each closing pins, and what took effect in a closed period afterwards.

1. The trial balance is added up anew from the facts' postings; nothing of the ledger's own totals is read.
2. Each closing stands over a checkpoint that is stored; whether that is signed, and covers these facts, `verify` tells.
3. Every fact that takes effect in a closed period is there, with who approved it, or it is a finding. All are checked and
   counted; only their list has a bound.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from ledger.domain.calendar import period_of
from ledger.domain.decider import other_persons
from ledger.domain.events import AccountOpened, Fact, PeriodClosed
from ledger.domain.events import Adjustment as Declared
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.domain.trial_balance import Postings, digest
from replay.facts import DOES_NOT_FOLLOW, Connection, HistoryBroken, read_beside

MAX_FINDINGS: Final = 1_000
MAX_ADJUSTMENTS: Final = 100_000

CHECKPOINTS = b"""
SELECT size, root
FROM checkpoint
WHERE size = ANY (%s)
"""
# Of those facts that need approvers: the name of the field stands in the one stored spelling of their data.
ENVELOPES = b"""
SELECT position, actor, command_id
FROM event
WHERE position > %s AND position <= %s AND (type = 'PeriodClosed' OR position('"adjustment":'::bytea IN data) > 0)
"""
Envelopes = dict[int, tuple[str, str]]
"""By position the actor and the command id."""


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
    """What there is of closings: the facts with their positions, the adjustments, and what is wrong with either.

    The first adjustments are listed, up to a bound; `adjusted` tells how many there are in all.
    """

    closes: list[tuple[int, PeriodClosed]]
    adjustments: list[Adjustment]
    findings: list[str]
    adjusted: int

    @property
    def summary(self) -> str:
        """One sentence."""
        listed = len(self.adjustments)
        more = f", of which the first {listed} are listed" if self.adjusted > listed else ""
        return f"{len(self.closes)} periods closed, {self.adjusted} prior-period adjustments{more}."


def check_closes(connection: Connection, until: int) -> list[str]:
    """What is wrong with the closings and adjustments up to a position, up to a bound. Raises HistoryBroken."""
    return read_closes(connection, until).findings


def adjustments(connection: Connection, until: int) -> list[Adjustment]:
    """The prior-period adjustments up to a position, up to a bound, by position. Raises HistoryBroken."""
    return read_closes(connection, until).adjustments


def examine_closes(connection: Connection, until: int) -> Closes:
    """As `read_closes`; a history that cannot be read is a finding, beside those made before it broke."""
    books = _Books()
    try:
        books.read(connection, until)
    except HistoryBroken as broken:
        return books.found(str(broken))
    return books.found()


def read_closes(connection: Connection, until: int) -> Closes:
    """Go through the facts up to a position, once. Raises HistoryBroken."""
    books = _Books()
    books.read(connection, until)
    return books.found()


class _Products(dict[str, str]):
    """The product of each account that was opened so far."""

    def __missing__(self, account: str) -> str:
        """An account that posts and was never opened is for `refold` to find."""
        return "unknown"


class _Books:
    """The books as they stand after the facts taken so far."""

    def __init__(self) -> None:
        self._closes: list[tuple[int, PeriodClosed]] = []
        self._adjustments: list[Adjustment] = []
        self._adjusted = 0
        self._findings: list[tuple[int, str]] = []
        self._has_more = False
        self._closed_through = ""
        # By period the newest fact that takes effect in it.
        self._latest: dict[str, int] = {}
        self._postings = Postings()
        self._products = _Products({EXTERNAL: EXTERNAL})

    def read(self, connection: Connection, until: int) -> None:
        """Take all facts up to a position. Raises HistoryBroken."""

        def envelopes(after: int, end: int) -> Envelopes:
            rows = connection.execute(ENVELOPES, (after, end), prepare=True)
            return {position: (actor, command_id) for position, actor, command_id in rows}

        for _, facts, beside in read_beside(connection, envelopes, until=until):
            for position, fact in facts:
                try:
                    self._take(position, fact, beside)
                except DOES_NOT_FOLLOW as error:
                    raise HistoryBroken(position, f"{type(fact).__name__} does not follow ({error!r})") from error
        self._check_roots(connection)

    def found(self, broken: str | None = None) -> Closes:
        """What was found so far, by position; last what broke the history, if that did."""
        findings = [f"position {position}: {finding}" for position, finding in sorted(self._findings)]
        if self._has_more:
            findings.append(f"more than {MAX_FINDINGS} findings about closings; the others are not listed")
        if broken is not None:
            findings.append(broken)
        return Closes(self._closes, self._adjustments, findings, self._adjusted)

    def _find(self, position: int, finding: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append((position, finding))
        else:
            self._has_more = True

    def _check_roots(self, connection: Connection) -> None:
        sizes = [close.tree_size for _, close in self._closes]
        roots: dict[int, bytes] = dict(connection.execute(CHECKPOINTS, (sizes,)).fetchall())
        for position, close in self._closes:
            root = roots.get(close.tree_size)
            if root is None:
                self._find(
                    position, f"there is no checkpoint of size {close.tree_size}, over which it closes {close.period}"
                )
            elif root.hex() != close.root:
                self._find(
                    position, f"the checkpoint of size {close.tree_size} has not the root that closes {close.period}"
                )

    def _take(self, position: int, fact: Fact, envelopes: Envelopes) -> None:
        """One fact more; they come in position order."""
        if isinstance(fact, PeriodClosed):
            self._check_approved(position, fact.approvers, envelopes)
            self._close(position, fact)
        elif isinstance(fact, AccountOpened):
            self._products.setdefault(fact.account, fact.product)
        period = period_of(fact.effective_on)
        if fact.adjustment is not None:
            self._adjust(position, fact, fact.adjustment, envelopes)
        if fact.adjustment is not None or period <= self._closed_through:
            self._check_declared(position, fact, period)
        self._latest[period] = position
        self._postings.add(Recorded(position, fact), self._products)

    def _adjust(self, position: int, fact: Fact, declared: Declared, envelopes: Envelopes) -> None:
        self._adjusted += 1
        self._check_approved(position, declared.approvers, envelopes)
        if len(self._adjustments) < MAX_ADJUSTMENTS and position in envelopes:
            actor, command_id = envelopes[position]
            self._adjustments.append(
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

    def _check_approved(self, position: int, approvers: Iterable[str], envelopes: Envelopes) -> None:
        if position not in envelopes:
            self._find(position, "its data is not in the stored spelling, so that it cannot be told who posted it")
            return
        actor, _ = envelopes[position]
        if not other_persons(approvers, actor):
            self._find(position, f"nobody but {actor}, who posted it, approved it")

    def _close(self, position: int, close: PeriodClosed) -> None:
        self._closes.append((position, close))
        if close.period <= self._closed_through:
            self._find(position, f"it closes {close.period}, and the books were closed through {self._closed_through}")
            return
        self._closed_through = close.period
        latest = max((at for period, at in self._latest.items() if period <= close.period), default=0)
        if not latest <= close.tree_size < position:
            # Then the facts under the tree are not those that stand here, and their trial balance tells nothing.
            self._find(
                position,
                f"it closes {close.period} over a tree of {close.tree_size}, and the last fact of that is at {latest}",
            )
            return
        found = digest(close.period, close.tree_size, self._postings.rows(close.period))
        if found != close.trial_balance_sha256:
            self._find(position, f"the trial balance of {close.period} is {found}, pinned {close.trial_balance_sha256}")

    def _check_declared(self, position: int, fact: Fact, period: str) -> None:
        name, declared = fact.__class__.__name__, fact.adjustment
        if declared is None:
            self._find(position, f"{name} takes effect in {period}, which was closed, and declares no adjustment")
            return
        if period > self._closed_through:
            self._find(position, f"{name} takes effect in {period}, which was open, and declares an adjustment")
        elif declared.period != period:
            self._find(position, f"{name} takes effect in {period}, and declares an adjustment of {declared.period}")
