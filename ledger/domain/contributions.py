"""Matter: a contribution comes in."""

from collections.abc import Iterable

from ledger.domain import refusals as r
from ledger.domain.commands import PostContribution
from ledger.domain.decider import Decision, State, View
from ledger.domain.entries import overflowing, wrong_amounts, wrong_date
from ledger.domain.events import ContributionPosted
from ledger.domain.identifiers import QUOTA_RULE, quota_id
from ledger.domain.limits import other_account_tags, person_tags, quota_tags, used_fen
from ledger.domain.rules import PRODUCTS, limit
from ledger.domain.states import capped_accounts, members_of

REFUSES = (
    r.AccountUnknown,
    r.AccountIsClosed,
    r.AccountIsFrozen,
    r.AccountReplaced,
    r.AccountDuplicate,
    r.ContributionsEnded,
    r.PartUnknown,
    r.AmountNotPositive,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.RuleNotInForce,
    r.AmountTooLarge,
    r.YearlyCapExceeded,
    r.YearlyPaymentsExhausted,
)


def post_contribution_needs(command: PostContribution, view: View) -> Iterable[str]:
    """For a capped product: the whole person, her accounts of such, and her identities' counters of the year."""
    account = view.memories.get("account:" + command.account)
    if account is None or not PRODUCTS[account["product"]].one_per_person:
        return ()
    sids = [account["sid"]]
    return [
        *person_tags(view, sids),
        *other_account_tags(view, sids, but=command.account),
        *quota_tags(view, sids, [command.effective_on.year]),
    ]


def post_contribution(command: PostContribution, view: View) -> Decision:
    """Credit the parts named. A payment above what is left of a yearly cap is refused whole (人社部发〔2022〕70号)."""
    account = view.account(command.account)
    if account is None:
        return r.AccountUnknown(account=command.account)
    if (refusal := _takes_none(command, account) or _ended(command, account, view)) is not None:
        return refusal
    product = PRODUCTS[account["product"]]
    amounts = command.amounts_fen
    refusal = (
        wrong_amounts(amounts, product.contribution_parts)
        or wrong_date(command, account)
        or (
            _over_cap(command, account, view)
            if product.one_per_person
            else overflowing(account, amounts, "contributions")
        )
    )
    if refusal is not None:
        return refusal
    quota = quota_id(account["sid"], command.effective_on.year) if product.one_per_person else None
    return [
        ContributionPosted(
            account=command.account,
            amounts_fen=amounts,
            period=command.period,
            quota=quota,
            tax_treatment=command.tax_treatment,
            caused_by=command.caused_by,
            decided_at=command.decided_at,
            effective_on=command.effective_on,
        )
    ]


def _takes_none(command: PostContribution, account: State) -> r.Refusal | None:
    status = account["status"]
    if status == "closed":
        return r.AccountIsClosed(account=command.account)
    if status == "frozen":
        return r.AccountIsFrozen(account=command.account)
    if "replaced_by" in account:
        return r.AccountReplaced(account=command.account, replaced_by=account["replaced_by"])
    if "duplicate" in account and account["duplicate"]["account_ids"][0] != command.account:
        return r.AccountDuplicate(account=command.account, goes_on=account["duplicate"]["account_ids"][0])
    return None


def _ended(command: PostContribution, account: State, view: View) -> r.Refusal | None:
    """Of a one-per-person product, a payout at age from any account ends the person's contributions (pp.out.resume)."""
    product = account["product"]
    if PRODUCTS[product].one_per_person:
        held = capped_accounts(view, members_of(view, account["sid"]))
    else:
        held = [(command.account, account)]
    for account_id, other in held:
        if "ending_benefits" in other and other["product"] == product:
            return r.ContributionsEnded(account=account_id, payouts=other["ending_benefits"])
    return None


def _over_cap(command: PostContribution, account: State, view: View) -> r.Refusal | None:
    """The cap counts over all identities of the person, by the calendar year in which the money took effect."""
    on = command.effective_on
    cap = limit(QUOTA_RULE, on)
    if cap is None:
        return r.RuleNotInForce(rule=QUOTA_RULE, on=on.isoformat())
    if (refusal := overflowing(account, command.amounts_fen, "contributions")) is not None:
        return refusal
    used = used_fen(view, members_of(view, account["sid"]), on.year)
    asked = sum(command.amounts_fen.values())
    if used + asked > cap.value:
        left = max(cap.value - used, 0)
        return r.YearlyCapExceeded(rule=cap.id, year=on.year, cap_fen=cap.value, left_fen=left, asked_fen=asked)
    counter = view.quota(quota_id(account["sid"], on.year))
    most = limit("ledger.quota.max_payments", on)
    if counter is not None and most is not None and len(counter["entries"]) >= most.value:
        return r.YearlyPaymentsExhausted(rule=most.id, max=most.value)
    return None
