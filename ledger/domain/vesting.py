"""Matter: the employer's part becomes the employee's, or a booked part is funded."""

from ledger.domain import refusals as r
from ledger.domain.commands import VestEmployerPart
from ledger.domain.decider import Decision, View, envelope
from ledger.domain.entries import overdrawn, wrong_date
from ledger.domain.events import EmployerPartVested
from ledger.domain.rules import PRODUCTS

REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.VestingNotKnown,
    r.AmountNotPositive,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.BalanceInsufficient,
)


def vest_employer_part(command: VestEmployerPart, view: View) -> Decision:
    """归属 of the employer part (企业年金办法 art. 19, 20), or 记实 of a booked occupational part (国办发〔2015〕18号 art. 6)."""
    account = view.account(command.account)
    if account is None:
        return r.AccountUnknown(account=command.account)
    if account["status"] == "closed":
        return r.AccountIsClosed(account=command.account)
    product = PRODUCTS[account["product"]]
    if not product.vesting:
        return r.VestingNotKnown(product=product.code)
    if command.amount_fen <= 0:
        return r.AmountNotPositive(amount_fen=command.amount_fen)
    pair = product.vesting[0]
    refusal = wrong_date(command, account) or overdrawn(account, {pair.from_part: command.amount_fen})
    if refusal is not None:
        return refusal
    return [
        EmployerPartVested(
            account=command.account,
            amount_fen=command.amount_fen,
            from_part=pair.from_part,
            reason=command.reason,
            to_part=pair.to_part,
            **envelope(command),
        )
    ]
