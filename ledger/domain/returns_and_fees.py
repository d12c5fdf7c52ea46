"""Matter: returns are credited and fees are charged."""

from ledger.domain import refusals as r
from ledger.domain.commands import ChargeFee, CreditReturns
from ledger.domain.decider import Decision, State, View, envelope
from ledger.domain.entries import overdrawn, overflowing, wrong_amounts, wrong_date
from ledger.domain.events import FeeCharged, ReturnsCredited
from ledger.domain.rules import PRODUCTS

RETURNS_REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.PartUnknown,
    r.AmountNotPositive,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.AmountTooLarge,
    r.BalanceInsufficient,
)
FEE_REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.PartUnknown,
    r.AmountNotPositive,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.BalanceInsufficient,
)


def _running(command: CreditReturns | ChargeFee, view: View) -> State | r.Refusal:
    account = view.account(command.account)
    if account is None:
        return r.AccountUnknown(account=command.account)
    if account["status"] == "closed":
        return r.AccountIsClosed(account=command.account)
    return account


def credit_returns(command: CreditReturns, view: View) -> Decision:
    """Gains and losses of a period by part; a loss never takes more than the part holds. Frozen accounts go on."""
    account = _running(command, view)
    if isinstance(account, r.Refusal):
        return account
    parts = PRODUCTS[account["product"]].part_codes
    gains, losses = command.gains_fen, command.losses_fen
    both = gains.keys() & losses.keys()
    if both:
        return r.PartUnknown(part=min(both), both="a part has a gain or a loss, not both")
    refusal = (
        wrong_amounts(gains | losses, parts)
        or wrong_date(command, account)
        or overflowing(account, gains, "returns")
        or overdrawn(account, losses)
    )
    if refusal is not None:
        return refusal
    return [
        ReturnsCredited(
            account=command.account,
            gains_fen=gains,
            losses_fen=losses,
            period=command.period,
            **envelope(command),
        )
    ]


def charge_fee(command: ChargeFee, view: View) -> Decision:
    """A fee by part, never more than the part holds. Frozen accounts go on."""
    account = _running(command, view)
    if isinstance(account, r.Refusal):
        return account
    amounts = command.amounts_fen
    refusal = (
        wrong_amounts(amounts, PRODUCTS[account["product"]].part_codes)
        or wrong_date(command, account)
        or overdrawn(account, amounts)
    )
    if refusal is not None:
        return refusal
    return [
        FeeCharged(
            account=command.account,
            amounts_fen=amounts,
            fee=command.fee,
            period=command.period,
            **envelope(command),
        )
    ]
