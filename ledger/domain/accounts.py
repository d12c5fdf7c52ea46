"""Matter: accounts are opened, frozen, unfrozen and closed."""

from collections.abc import Iterator

from ledger.domain import commands as c
from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.decider import Decision, State, View, envelope
from ledger.domain.entries import wrong_date
from ledger.domain.limits import flag_changes, whole_person_tags
from ledger.domain.rules import PRODUCTS, Product, limit
from ledger.domain.states import capped_accounts, members_of

OPEN_REFUSES = (
    r.ProductUnknown,
    r.RuleNotInForce,
    r.EffectiveDateAbsurd,
    r.IdentityUnknown,
    r.AccountExists,
    r.ReplacedAccountWrong,
    r.ReplacementsExhausted,
    r.PersonHoldsProduct,
)
FREEZE_REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountIsFrozen,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
)
UNFREEZE_REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountNotFrozen,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
)
CLOSE_REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountIsFrozen,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.BalanceNotZero,
)


def open_account_needs(command: c.OpenAccount, view: View) -> Iterator[str]:
    """For a one-per-person product: the whole person and her accounts of such products."""
    product = PRODUCTS.get(command.product)
    if product is not None and product.one_per_person:
        yield from whole_person_tags(view, [command.sid], capped_only=True)


def open_account(command: c.OpenAccount, view: View) -> Decision:
    """One personal pension account a person (人社部发〔2022〕70号); a change of bank opens one that replaces the other."""
    product = PRODUCTS.get(command.product)
    if product is None:
        return r.ProductUnknown(product=command.product, known=sorted(PRODUCTS))
    if not product.in_force(command.opened_on):
        return r.RuleNotInForce(rule=product.id, on=command.opened_on.isoformat())
    if (refusal := wrong_date(command)) is not None:
        return refusal
    if command.opened_on > command.effective_on:
        return r.EffectiveDateAbsurd(
            effective_on=command.effective_on.isoformat(), opened_on=command.opened_on.isoformat()
        )
    if view.identity(command.sid) is None:
        return r.IdentityUnknown(sid=command.sid)
    if view.account(command.account) is not None:
        return r.AccountExists(account=command.account)
    if (refusal := _holds_already(command, view, product)) is not None:
        return refusal
    return [
        e.AccountOpened(
            account=command.account,
            employer=command.employer,
            institution=command.institution,
            opened_on=command.opened_on,
            plan=command.plan,
            product=command.product,
            replaces=command.replaces,
            sid=command.sid,
            **envelope(command),
        )
    ]


def _holds_already(command: c.OpenAccount, view: View, product: Product) -> r.Refusal | None:
    if not product.one_per_person:
        return r.ReplacedAccountWrong(replaces=command.replaces) if command.replaces is not None else None
    held = [
        (account_id, account)
        for account_id, account in capped_accounts(view, members_of(view, command.sid))
        if account["product"] == command.product
    ]
    live = [
        account_id for account_id, account in held if account["status"] != "closed" and "replaced_by" not in account
    ]
    if command.replaces is not None:
        if command.replaces not in live or dict(held)[command.replaces]["status"] == "frozen":
            return r.ReplacedAccountWrong(replaces=command.replaces)
        live.remove(command.replaces)
        if (refusal := _replaced_too_often(command, [account for _, account in held])) is not None:
            return refusal
    if live:
        return r.PersonHoldsProduct(product=command.product, account=live[0])
    return None


def _replaced_too_often(command: c.OpenAccount, held: list[State]) -> r.Refusal | None:
    """At most two changes of bank a calendar year from 2024-12-15 (人社部发〔2024〕87号)."""
    most = limit("pp.bank.change.max", command.effective_on)
    year = str(command.opened_on.year)
    changes = sum("replaces" in account and account["opened_on"].startswith(year) for account in held)
    if most is not None and changes >= most.value:
        return r.ReplacementsExhausted(rule=most.id, max=most.value)
    return None


def _standing(command: c.FreezeAccount | c.UnfreezeAccount | c.CloseAccount, view: View) -> State | r.Refusal:
    account = view.account(command.account)
    if account is None:
        return r.AccountUnknown(account=command.account)
    if account["status"] == "closed":
        return r.AccountIsClosed(account=command.account)
    return account


def freeze_account(command: c.FreezeAccount, view: View) -> Decision:
    """A frozen account takes no contributions, transfers or benefits; returns, fees and corrections go on."""
    account = _standing(command, view)
    if isinstance(account, r.Refusal):
        return account
    if account["status"] == "frozen":
        return r.AccountIsFrozen(account=command.account)
    if (refusal := wrong_date(command, account)) is not None:
        return refusal
    return [e.AccountFrozen(account=command.account, reason=command.reason, **envelope(command))]


def unfreeze_account(command: c.UnfreezeAccount, view: View) -> Decision:
    """The account takes entries again."""
    account = _standing(command, view)
    if isinstance(account, r.Refusal):
        return account
    if account["status"] != "frozen":
        return r.AccountNotFrozen(account=command.account)
    if (refusal := wrong_date(command, account)) is not None:
        return refusal
    return [e.AccountUnfrozen(account=command.account, reason=command.reason, **envelope(command))]


def close_account_needs(command: c.CloseAccount, view: View) -> Iterator[str]:
    """For a flagged account: the whole person, whose flags change when it closes."""
    account = view.memories.get("account:" + command.account)
    if account is not None and "duplicate" in account:
        yield from whole_person_tags(view, [account["sid"]], capped_only=True)


def close_account(command: c.CloseAccount, view: View) -> Decision:
    """Only an empty account closes; closing a doubly held one rescinds the flag in the same decision."""
    account = _standing(command, view)
    if isinstance(account, r.Refusal):
        return account
    if account["status"] == "frozen":
        return r.AccountIsFrozen(account=command.account)
    if (refusal := wrong_date(command, account)) is not None:
        return refusal
    if any(account["balances_fen"].values()):
        return r.BalanceNotZero(balances_fen=account["balances_fen"])
    closed = e.AccountClosed(account=command.account, reason=command.reason, **envelope(command))
    if "duplicate" not in account:
        return [closed]
    person = members_of(view, account["sid"])
    return [closed, *flag_changes(command, view, [person], closing=command.account)]
