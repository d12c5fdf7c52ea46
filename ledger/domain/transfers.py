"""Matter: a balance moves between two accounts of one person, as one fact."""

from collections.abc import Iterator, Mapping

from ledger.domain import refusals as r
from ledger.domain.commands import TransferBalance
from ledger.domain.decider import Decision, State, View, envelope
from ledger.domain.entries import overdrawn, overflowing, wrong_amounts, wrong_date
from ledger.domain.events import BalanceTransferred
from ledger.domain.money import in_order
from ledger.domain.rules import PRODUCTS, Move, moves
from ledger.domain.states import members_of

REFUSES = (
    r.SameAccount,
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountIsFrozen,
    r.PartUnknown,
    r.AmountNotPositive,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.PersonsDiffer,
    r.MoveNotLawful,
    r.BalanceInsufficient,
    r.AmountTooLarge,
)
NOT_OPEN: dict[str, type[r.Refusal]] = {"closed": r.AccountIsClosed, "frozen": r.AccountIsFrozen}


def transfer_balance_needs(command: TransferBalance, view: View) -> Iterator[str]:
    """The identities of both accounts, where they differ."""
    sids = {
        account["sid"]
        for name in (command.from_account, command.to_account)
        if (account := view.memories.get("account:" + name)) is not None
    }
    if len(sids) > 1:
        yield from ("identity:" + sid for sid in sorted(sids))


def transfer_balance(command: TransferBalance, view: View) -> Decision:
    """Only moves of the legal-moves matrix, for a reason it names, between accounts of one person."""
    if command.from_account == command.to_account:
        return r.SameAccount(account=command.from_account)
    source, target = view.account(command.from_account), view.account(command.to_account)
    if (refusal := _not_open({command.from_account: source, command.to_account: target})) is not None:
        return refusal
    assert source is not None
    assert target is not None
    amounts = command.amounts_fen
    refusal = (
        wrong_amounts(amounts, PRODUCTS[source["product"]].part_codes)
        or wrong_date(command, source)
        or wrong_date(command, target)
    )
    if refusal is not None:
        return refusal
    if source["sid"] != target["sid"] and target["sid"] not in members_of(view, source["sid"]):
        return r.PersonsDiffer(from_sid=source["sid"], to_sid=target["sid"])
    move = _lawful(command, source, target)
    if isinstance(move, r.Refusal):
        return move
    credits_fen = _credits(amounts, move.part_map(source["product"], target["product"]))
    if (refusal := overdrawn(source, amounts) or overflowing(target, credits_fen, "transferred_in")) is not None:
        return refusal
    return [
        BalanceTransferred(
            amounts_fen=in_order(amounts),
            credits_fen=in_order(credits_fen),
            from_account=command.from_account,
            reason=command.reason,
            rule=move.id,
            to_account=command.to_account,
            **envelope(command),
        )
    ]


def _not_open(accounts: Mapping[str, State | None]) -> r.Refusal | None:
    for name, account in accounts.items():
        if account is None:
            return r.AccountUnknown(account=name)
    for status, refusal in NOT_OPEN.items():
        for name, account in accounts.items():
            if account is not None and account["status"] == status:
                return refusal(account=name)
    return None


def _lawful(command: TransferBalance, source: State, target: State) -> Move | r.Refusal:
    """The row of the matrix that allows the move. A pair without a row is refused."""
    pair = (source["product"], target["product"])
    rows = [move for move in moves(*pair) if move.in_force(command.effective_on)]
    detail = {"from_product": pair[0], "to_product": pair[1], "reason": command.reason}
    allowed = [move for move in rows if move.lawful in {"yes", "cond"} and command.reason in move.reasons]
    if not allowed:
        reasons = sorted({reason for move in rows if move.lawful in {"yes", "cond"} for reason in move.reasons})
        return r.MoveNotLawful(**detail, rules=[move.id for move in rows], reasons=reasons)
    move = allowed[0]
    kept = sorted(part for part in command.amounts_fen if part not in move.part_map(*pair))
    if kept:
        return r.MoveNotLawful(**detail, rules=[move.id], parts_that_stay=kept)
    if PRODUCTS[pair[0]].one_per_person and source.get("replaced_by") != command.to_account:
        return r.MoveNotLawful(**detail, rules=[move.id], replaced_by=source.get("replaced_by"))
    return move


def _credits(amounts: Mapping[str, int], part_map: Mapping[str, str]) -> dict[str, int]:
    arrived: dict[str, int] = {}
    for part, fen in amounts.items():
        arrived[part_map[part]] = arrived.get(part_map[part], 0) + fen
    return arrived
