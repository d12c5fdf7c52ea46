"""Closing a period, as the operator does it: over a checkpoint that covers it, with the trial balance of what it covers.

1. What is closed is sealed and in the control totals; the command says which tree, and what the totals were.
2. Facts that come in between are no failure: it is tried again over a later checkpoint, a bounded number of times.
3. The command's id derives from what it says, so an attempt never meets the id of another.
"""

import time
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from ledger.application import Ledger, Receipt, Refused
from ledger.database import Database
from ledger.domain.calendar import Period, beijing_date, last_day
from ledger.domain.closing import not_closable
from ledger.domain.commands import Approvers, ClosePeriod
from ledger.domain.identifiers import BOOKS_TAG, Actor, derived_id
from ledger.domain.refusals import CheckpointTooEarly
from ledger.domain.trial_balance import Row, digest
from ledger.memory import recall
from ledger.projections.control_totals import read_totals
from ledger.projector import Projector
from ledger.seals import Sealed, latest

MAX_ATTEMPTS = 5
LOOK_AGAIN_S = 0.1

# Whether a tree lacks a fact that takes effect by a day.
LACKS = b"""
SELECT EXISTS (
    SELECT
    FROM event
    WHERE position > %s AND effective_on <= %s
)
"""


class ClosingMisspelt(ValueError):
    """A period is written YYYY-MM, and actor and approvers like operator:op-1."""


class PeriodNotSealed(RuntimeError):
    """No checkpoint covers the period yet. See that `ledger notary` runs, and close again."""


class PeriodStillPosted(RuntimeError):
    """Facts of the period came in at every attempt to close it. Stop what posts into it, and close again."""


class TotalsIncomplete(RuntimeError):
    """The control totals lack facts. Run `ledger project --rebuild control_totals`, and close again."""


class CloseRefused(RuntimeError):
    """The ledger refuses to close the period."""

    def __init__(self, code: str, sentence: str, detail: object) -> None:
        """Say why, as the refusal does."""
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {sentence}")


class Closed(NamedTuple):
    """A closed period: the position of the fact that says so, and what it pins."""

    period: str
    position: int
    tree_size: int
    root: str
    trial_balance_sha256: str

    @property
    def sentence(self) -> str:
        """What the operator is told."""
        return (
            f"{self.period} and all before it are closed by position {self.position:,}.\n"
            f"Tree of {self.tree_size:,} facts, root {self.root}.\n"
            f"SHA-256 of the trial balance: {self.trial_balance_sha256}."
        )


class _Asked(BaseModel):
    """What the operator says."""

    period: Period
    actor: Actor
    approvers: Approvers


def close_period(  # noqa: PLR0913 - what a closing takes
    database: Database,
    ledger: Ledger,
    period: str,
    *,
    actor: str,
    approvers: Sequence[str],
    now: datetime,
    wait_s: float,
) -> Closed:
    """Close a period, and all before it; a checkpoint that covers it is waited for so long.

    Raises ClosingMisspelt, CloseRefused, PeriodNotSealed, PeriodStillPosted, TotalsIncomplete, and what postings and
    readings of totals raise.
    """
    try:
        asked = _Asked(period=period, actor=actor, approvers=list(approvers))
    except ValidationError as error:
        raise ClosingMisspelt(ClosingMisspelt.__doc__) from error
    _require_closable(database, asked.period, beijing_date(now))
    deadline = time.monotonic() + wait_s
    least_size = 1
    for _ in range(MAX_ATTEMPTS):
        sealed = _covering(database, last_day(asked.period), least_size=least_size, deadline=deadline)
        command = _command(asked, sealed, _rows(database, asked.period, sealed.size), now)
        outcome = ledger.post([command])[0]
        if isinstance(outcome, Receipt):
            assert outcome.first_position is not None, "a closing records its fact"
            return Closed(
                command.period,
                outcome.first_position,
                command.tree_size,
                command.root,
                command.trial_balance_sha256,
            )
        if outcome.code != CheckpointTooEarly.__name__:
            raise _refused(outcome)
        least_size = outcome.detail["least_size"]
    raise PeriodStillPosted(PeriodStillPosted.__doc__)


def _require_closable(database: Database, period: str, today: date) -> None:
    """Refuse at once what no checkpoint could help."""
    with database.connection() as connection:
        books = recall(connection, [BOOKS_TAG], {})[BOOKS_TAG]
    refusal = not_closable(period, books, today)
    if refusal is not None:
        raise CloseRefused(refusal.code, refusal.sentence, refusal.detail)


def _covering(database: Database, day: date, *, least_size: int, deadline: float) -> Sealed:
    """The last checkpoint, once it is of this size and no fact effective by the day came after it. Raises PeriodNotSealed."""
    while True:
        with database.connection() as connection:
            sealed = latest(connection)
            if sealed is not None and sealed.size >= least_size:
                row = connection.execute(LACKS, (sealed.size, day)).fetchone()
                if row == (False,):
                    return sealed
        if time.monotonic() > deadline:
            size = "There is none" if sealed is None else f"The last one has size {sealed.size:,}"
            raise PeriodNotSealed(f"{PeriodNotSealed.__doc__} {size}.")
        time.sleep(LOOK_AGAIN_S)


def _rows(database: Database, period: str, tree_size: int) -> list[Row]:
    """The trial balance under a tree of this size. Raises TotalsIncomplete."""
    Projector(database).catch_up()
    totals = read_totals(database, as_of=last_day(period), known_at=tree_size, seen=None, by_day=False)
    if totals.missing:
        raise TotalsIncomplete(f"{TotalsIncomplete.__doc__} The first is at position {totals.missing[0]}.")
    return [Row(each.product, each.kind, each.part, each.lines, each.amount_fen) for each in totals.totals]


def _command(asked: _Asked, sealed: Sealed, rows: Sequence[Row], now: datetime) -> ClosePeriod:
    root, balance, day = sealed.root.hex(), digest(asked.period, sealed.size, rows), beijing_date(now)
    said = (asked.period, sealed.size, root, balance, asked.actor, *asked.approvers, day)
    return ClosePeriod(
        actor=asked.actor,
        approvers=asked.approvers,
        command_id=f"books/{asked.period}/{derived_id('C', *said)}",
        decided_at=now,
        effective_on=day,
        period=asked.period,
        root=root,
        tree_size=sealed.size,
        trial_balance_sha256=balance,
    )


def _refused(refused: Refused) -> CloseRefused:
    return CloseRefused(refused.code, refused.sentence, refused.detail)
