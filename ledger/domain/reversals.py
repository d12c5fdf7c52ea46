"""Matter: an entry is corrected by its exact negation."""

from collections.abc import Iterator

from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.commands import ReverseEntry
from ledger.domain.decider import Decision, View, envelope, lacks_approvers
from ledger.domain.entries import wrong_date
from ledger.domain.identifiers import tags_of
from ledger.domain.limits import active_breaches, breach_changes, person_tags, quota_tags
from ledger.domain.postings import EXTERNAL, postings
from ledger.domain.states import members_of

REFUSES = (
    r.ApproverMissing,
    r.EntryNotFound,
    r.EntryNotReversible,
    r.EntryAlreadyReversed,
    r.AccountIsClosed,
    r.EffectiveDateAbsurd,
    r.EffectiveBeforeOpening,
    r.ReversalWouldOverdraw,
)
APPROVERS_NEEDED = 1


def reverse_entry_needs(command: ReverseEntry, view: View) -> Iterator[str]:
    """The accounts of the entry; for a capped contribution also the whole person and her counters of the year."""
    yield f"entry:{command.position}"
    fact = view.facts.get(command.position)
    if fact is None or not isinstance(fact, e.Entry):
        return
    yield from tags_of(fact)
    if isinstance(fact, e.ContributionPosted) and fact.quota is not None:
        account = view.memories.get("account:" + fact.account)
        if account is not None:
            yield from person_tags(view, [account["sid"]])
            yield from quota_tags(view, [account["sid"]], [fact.effective_on.year])


def reverse_entry(command: ReverseEntry, view: View) -> Decision:
    """Corrections are made only by linked exact reversal, by two persons (财会〔2024〕12号 art. 21(3); 会计法 art. 15)."""
    if lacks_approvers(command, APPROVERS_NEEDED):
        return r.ApproverMissing(needed=APPROVERS_NEEDED)
    fact = view.fact(command.position)
    if fact is None:
        return r.EntryNotFound(position=command.position)
    if not isinstance(fact, e.Entry):
        return r.EntryNotReversible(position=command.position, type=type(fact).__name__)
    remembered = view.entry(command.position)
    if remembered is not None:
        return r.EntryAlreadyReversed(position=command.position, reversed_by=remembered["reversed_by"])
    if (refusal := _not_negatable(command, fact, view)) is not None:
        return refusal
    return _reversal(command, fact, view)


def _not_negatable(command: ReverseEntry, fact: e.Entry, view: View) -> r.Refusal | None:
    change: dict[tuple[str, str], int] = {}
    for leg in postings(fact):
        if leg.account != EXTERNAL:
            key = (leg.account, leg.part)
            change[key] = change.get(key, 0) - leg.amount_fen
    for account_id in dict.fromkeys(account for account, _ in change):
        account = view.account(account_id)
        assert account is not None, f"an entry stands at {account_id}, so it was opened"
        if account["status"] == "closed":
            return r.AccountIsClosed(account=account_id)
    for account_id in dict.fromkeys(account for account, _ in change):
        if (refusal := wrong_date(command, view.account(account_id))) is not None:
            return refusal
    for (account_id, part), fen in sorted(change.items()):
        account = view.account(account_id)
        assert account is not None, f"an entry stands at {account_id}, so it was opened"
        balance = account["balances_fen"][part]
        if balance + fen < 0:
            return r.ReversalWouldOverdraw(account=account_id, part=part, balance_fen=balance, asked_fen=-fen)
    return None


def _reversal(command: ReverseEntry, fact: e.Entry, view: View) -> Decision:
    """The reversal; where it lifts or shrinks a breach of the yearly cap, that too, and the reversal names the breach."""
    changes: list[e.Fact] = []
    breach_id = None
    if isinstance(fact, e.ContributionPosted) and fact.quota is not None:
        account = view.account(fact.account)
        assert account is not None, f"an entry stands at {fact.account}, so it was opened"
        person, year = members_of(view, account["sid"]), fact.effective_on.year
        breaches = active_breaches(view, person)
        breach_id = next(
            (key for key, breach in breaches.items() if command.position in breach["contributing_positions"]), None
        )
        changes = breach_changes(command, view, [person], [year], without=command.position)
    entry = e.ReversedEntry(
        benefit=fact if isinstance(fact, e.BenefitPaid) else None,
        contribution=fact if isinstance(fact, e.ContributionPosted) else None,
        fee=fact if isinstance(fact, e.FeeCharged) else None,
        returns=fact if isinstance(fact, e.ReturnsCredited) else None,
        transfer=fact if isinstance(fact, e.BalanceTransferred) else None,
        vesting=fact if isinstance(fact, e.EmployerPartVested) else None,
    )
    reversal = e.EntryReversed(
        approvers=sorted(set(command.approvers)),
        breach_id=breach_id,
        entry=entry,
        reason=command.reason,
        reverses=command.position,
        **envelope(command),
    )
    return [reversal, *changes]
