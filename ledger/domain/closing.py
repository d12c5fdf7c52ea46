"""Matter: the books are closed period by period, and what takes effect in a closed one must be declared.

1. Closing a period closes every earlier one, and no period is closed twice or opened again. So none is closed before it is
   over by the database's clock, whatever the command says of its own time.
2. A closing pins the tree and the trial balance that cover every fact effective by the period's end: none was recorded
   between the tree's size and the closing.
3. After it a command that takes effect in a closed period is refused, whatever it is about, unless it declares a
   prior-period adjustment, which takes two persons. The facts that follow from it carry the adjustment.
4. An adjustment is declared only where it is due, so every fact that carries one came after the closing of its period.
"""

from datetime import date

import msgspec

from ledger.domain import refusals as r
from ledger.domain.calendar import beijing_date, last_day, period_of
from ledger.domain.commands import AskedAdjustment, ClosePeriod, Command
from ledger.domain.decider import Decision, State, View, envelope, lacks_approvers, other_persons
from ledger.domain.entries import wrong_date
from ledger.domain.events import Adjustment, Fact, PeriodClosed

REFUSES = (
    r.PeriodAlreadyClosed,
    r.PeriodNotOver,
    r.EffectiveDateAbsurd,
    r.ApproverMissing,
    r.CheckpointUnknown,
    r.CheckpointTooEarly,
)
REFUSED_OF_ALL = (
    r.PeriodIsClosed,
    r.AdjustmentNotDue,
    r.AdjustmentPeriodWrong,
    r.AdjustmentNotApproved,
)
"""Why any command but ClosePeriod may be refused, before its own matter is asked."""
APPROVERS_NEEDED = 1


def untimely(command: Command, books: State | None) -> r.Refusal | None:
    """Why a command may not take effect when it would, as far as the books are closed; None where it may."""
    if command.__class__ is ClosePeriod:
        return None
    period, closed_through = period_of(command.effective_on), None if books is None else books["closed_through"]
    is_closed = closed_through is not None and period <= closed_through
    adjustment = command.adjustment
    if adjustment is None:
        return r.PeriodIsClosed(period=period, closed_through=closed_through) if is_closed else None
    if not is_closed:
        return r.AdjustmentNotDue(period=period, closed_through=closed_through)
    if adjustment.period != period:
        return r.AdjustmentPeriodWrong(period=period, adjustment_period=adjustment.period)
    if len(other_persons(adjustment.approvers, command.actor)) < APPROVERS_NEEDED:
        return r.AdjustmentNotApproved(needed=APPROVERS_NEEDED)
    return None


def adjusting(decision: Decision, adjustment: AskedAdjustment) -> Decision:
    """The decision, its facts carrying the adjustment: set here, so that no matter can forget it."""
    if isinstance(decision, r.Refusal):
        return decision
    declared = Adjustment(
        approvers=sorted(set(adjustment.approvers)), period=adjustment.period, reason=adjustment.reason
    )
    facts: list[Fact] = [msgspec.structs.replace(fact, adjustment=declared) for fact in decision]
    return facts


def not_closable(period: str, books: State | None, day: date) -> r.Refusal | None:
    """PeriodAlreadyClosed, then PeriodNotOver on this day: what can be said before there is a tree to close over."""
    if books is not None and period <= books["closed_through"]:
        return r.PeriodAlreadyClosed(closed_through=books["closed_through"], position=books["position"])
    if day <= last_day(period):
        return r.PeriodNotOver(last_day=last_day(period).isoformat())
    return None


def close_period(command: ClosePeriod, view: View) -> Decision:
    """Two persons close a period that is over, over a sealed tree that covers all of it (会计法; cut-off)."""
    day = min(beijing_date(view.now), beijing_date(command.decided_at), command.effective_on)
    if (refusal := not_closable(command.period, view.books, day) or wrong_date(command)) is not None:
        return refusal
    if lacks_approvers(command, APPROVERS_NEEDED):
        return r.ApproverMissing(needed=APPROVERS_NEEDED)
    if command.tree_size >= view.next_position or view.sealed_root(command.tree_size) != bytes.fromhex(command.root):
        return r.CheckpointUnknown(tree_size=command.tree_size)
    if (latest := view.latest_effective_by(last_day(command.period))) > command.tree_size:
        return r.CheckpointTooEarly(tree_size=command.tree_size, least_size=latest)
    return [
        PeriodClosed(
            approvers=sorted(set(command.approvers)),
            books=command.books,
            period=command.period,
            root=command.root,
            tree_size=command.tree_size,
            trial_balance_sha256=command.trial_balance_sha256,
            **envelope(command),
        )
    ]
