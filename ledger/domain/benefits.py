"""Matter: a benefit is paid out, taxed, under a condition of the product."""

from collections.abc import Sequence

from ledger.domain import refusals as r
from ledger.domain.commands import PayBenefit
from ledger.domain.decider import Decision, State, View, envelope
from ledger.domain.entries import wrong_date
from ledger.domain.events import BenefitPaid
from ledger.domain.money import in_order
from ledger.domain.rules import PRODUCTS, condition

REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountIsFrozen,
    r.AmountNotPositive,
    r.GrossNotTaxPlusNet,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.ConditionUnknown,
    r.ConditionNotInForce,
    r.BalanceInsufficient,
)


def pay_benefit(command: PayBenefit, view: View) -> Decision:
    """Draw the gross amount from the parts that the condition opens, in the product's payout order."""
    account = view.account(command.account)
    if (refusal := _wrong_payout(command, account)) is not None:
        return refusal
    assert account is not None
    if (refusal := wrong_date(command, account)) is not None:
        return refusal
    product = PRODUCTS[account["product"]]
    rows = condition(product.code, command.condition)
    if not rows:
        return r.ConditionUnknown(product=product.code, condition=command.condition)
    row = next((row for row in rows if row.in_force(command.effective_on)), None)
    if row is None:
        return r.ConditionNotInForce(
            rule=command.condition, on=command.effective_on.isoformat(), reason="rule_not_in_force"
        )
    order = [part for part in product.payout_order if part in row.parts]
    amounts = _drawn(account, order, command.gross_fen)
    if amounts is None:
        held = sum(account["balances_fen"][part] for part in order)
        return r.BalanceInsufficient(parts=order, balance_fen=held, asked_fen=command.gross_fen)
    return [
        BenefitPaid(
            account=command.account,
            amounts_fen=in_order(amounts),
            condition=command.condition,
            ends_contributions=row.closes_contributions,
            gross_fen=command.gross_fen,
            net_fen=command.net_fen,
            tax_fen=command.tax_fen,
            **envelope(command),
        )
    ]


def _wrong_payout(command: PayBenefit, account: State | None) -> r.Refusal | None:
    if account is None:
        return r.AccountUnknown(account=command.account)
    if account["status"] == "closed":
        return r.AccountIsClosed(account=command.account)
    if account["status"] == "frozen":
        return r.AccountIsFrozen(account=command.account)
    if command.gross_fen <= 0:
        return r.AmountNotPositive(gross_fen=command.gross_fen)
    if command.tax_fen < 0 or command.net_fen < 0 or command.gross_fen != command.tax_fen + command.net_fen:
        return r.GrossNotTaxPlusNet(gross_fen=command.gross_fen, tax_fen=command.tax_fen, net_fen=command.net_fen)
    return None


def _drawn(account: State, order: Sequence[str], gross_fen: int) -> dict[str, int] | None:
    drawn: dict[str, int] = {}
    left = gross_fen
    for part in order:
        fen = min(left, account["balances_fen"][part])
        if fen > 0:
            drawn[part] = fen
            left -= fen
    return drawn if left == 0 else None
