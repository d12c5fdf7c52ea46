"""Guards that several money matters share, each answering with the refusal that applies, or None."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from ledger.domain.calendar import beijing_date
from ledger.domain.commands import Command
from ledger.domain.decider import State
from ledger.domain.money import MAX_TOTAL_FEN, all_positive
from ledger.domain.refusals import (
    AmountNotPositive,
    AmountTooLarge,
    BalanceInsufficient,
    EffectiveBeforeOpening,
    EffectiveDateAbsurd,
    PartUnknown,
    Refusal,
)
from ledger.domain.rules import limit

SETTLED_SINCE = 2000
"""From this year on no effective date is too early; the exact bound lies before it."""


def _absurd(effective_on: date, decided_at: datetime) -> EffectiveDateAbsurd | None:
    earliest = limit("ledger.effective.earliest", effective_on)
    ahead = limit("ledger.effective.max_days_ahead", effective_on)
    if earliest is None or ahead is None or effective_on.toordinal() < earliest.value:
        return EffectiveDateAbsurd(effective_on=effective_on.isoformat())
    if effective_on > beijing_date(decided_at) + timedelta(days=ahead.value):
        return EffectiveDateAbsurd(effective_on=effective_on.isoformat(), max_days_ahead=ahead.value)
    return None


def wrong_date(command: Command, account: State | None = None) -> Refusal | None:
    """EffectiveDateAbsurd, then EffectiveBeforeOpening. The bounds are house rules, dated rows of the rulebook."""
    effective_on = command.effective_on
    # What is neither before this century nor after the sender's own day needs no exact look.
    if effective_on.year < SETTLED_SINCE or effective_on > command.decided_at.date():
        absurd = _absurd(effective_on, command.decided_at)
        if absurd is not None:
            return absurd
    if account is not None and effective_on.isoformat() < account["opened_on"]:
        return EffectiveBeforeOpening(effective_on=effective_on.isoformat(), opened_on=account["opened_on"])
    return None


def wrong_amounts(amounts: Mapping[str, int], parts: frozenset[str]) -> Refusal | None:
    """PartUnknown, then AmountNotPositive."""
    if not amounts.keys() <= parts:
        return PartUnknown(part=min(amounts.keys() - parts), parts=sorted(parts))
    if not all_positive(amounts.values()):
        return AmountNotPositive(amounts_fen=dict(amounts))
    return None


def overdrawn(account: State, amounts: Mapping[str, int]) -> Refusal | None:
    """BalanceInsufficient, naming the first part that holds too little."""
    balances = account["balances_fen"]
    for part, fen in amounts.items():
        if balances[part] < fen:
            return BalanceInsufficient(part=part, balance_fen=balances[part], asked_fen=fen)
    return None


def overflowing(account: State, amounts: Mapping[str, int], total: str) -> Refusal | None:
    """AmountTooLarge, where the total to date that the amounts add to would pass its bound."""
    if account["totals_fen"].get(total, 0) + sum(amounts.values()) > MAX_TOTAL_FEN:
        return AmountTooLarge(max_fen=MAX_TOTAL_FEN)
    return None
