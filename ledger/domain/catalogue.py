"""Every command with its matter: how it is decided, what the decision needs, and why it may be refused, in order.

Run as a program, this module prints the table that stands in docs/commands.md.
"""

from typing import NamedTuple

from ledger.domain import (
    accounts,
    benefits,
    closing,
    contributions,
    identities,
    linking,
    parting,
    profiles,
    returns_and_fees,
    reversals,
    transfers,
    vesting,
)
from ledger.domain import commands as c
from ledger.domain import events as e
from ledger.domain.decider import Decider, Decision, Needs, View
from ledger.domain.events import Fact
from ledger.domain.refusals import REFUSALS, Refusal
from ledger.domain.states import fold_fact


class Matter(NamedTuple):
    """One command's decision. `needs` is None where the tags of the command itself are all that it reads."""

    decide: Decider
    needs: Needs | None
    refuses: tuple[type[Refusal], ...]


MATTERS: dict[type[c.Command], Matter] = {
    c.RegisterSourceIdentity: Matter(identities.register_source_identity, None, identities.REFUSES),
    c.OpenAccount: Matter(accounts.open_account, accounts.open_account_needs, accounts.OPEN_REFUSES),
    c.PostContribution: Matter(
        contributions.post_contribution, contributions.post_contribution_needs, contributions.REFUSES
    ),
    c.CreditReturns: Matter(returns_and_fees.credit_returns, None, returns_and_fees.RETURNS_REFUSES),
    c.ChargeFee: Matter(returns_and_fees.charge_fee, None, returns_and_fees.FEE_REFUSES),
    c.VestEmployerPart: Matter(vesting.vest_employer_part, None, vesting.REFUSES),
    c.TransferBalance: Matter(transfers.transfer_balance, transfers.transfer_balance_needs, transfers.REFUSES),
    c.PayBenefit: Matter(benefits.pay_benefit, None, benefits.REFUSES),
    c.FreezeAccount: Matter(accounts.freeze_account, None, accounts.FREEZE_REFUSES),
    c.UnfreezeAccount: Matter(accounts.unfreeze_account, None, accounts.UNFREEZE_REFUSES),
    c.CloseAccount: Matter(accounts.close_account, accounts.close_account_needs, accounts.CLOSE_REFUSES),
    c.ReverseEntry: Matter(reversals.reverse_entry, reversals.reverse_entry_needs, reversals.REFUSES),
    c.LinkIdentities: Matter(linking.link_identities, linking.join_needs, linking.LINK_REFUSES),
    c.MergeIdentities: Matter(linking.merge_identities, linking.join_needs, linking.MERGE_REFUSES),
    c.UnmergeIdentities: Matter(parting.unmerge_identities, parting.unmerge_identities_needs, parting.UNMERGE_REFUSES),
    c.DeclareDistinct: Matter(parting.declare_distinct, parting.distinct_needs, parting.DECLARE_REFUSES),
    c.WithdrawDistinct: Matter(parting.withdraw_distinct, parting.distinct_needs, parting.WITHDRAW_REFUSES),
    c.ClosePeriod: Matter(closing.close_period, None, closing.REFUSES),
    c.DeclareProfile: Matter(profiles.declare_profile, None, profiles.DECLARE_REFUSES),
    c.WithdrawProfile: Matter(profiles.withdraw_profile, None, profiles.WITHDRAW_REFUSES),
}


def decide(command: c.Command, view: View) -> Decision:
    """What follows from the command, given what is remembered; first of all, of whether its period is open.

    Raises NotRecalled.
    """
    books, adjustment = view.books, command.adjustment
    if books is None and adjustment is None:
        return MATTERS[command.__class__].decide(command, view)
    refusal = closing.untimely(command, books)
    if refusal is not None:
        return refusal
    decision = MATTERS[command.__class__].decide(command, view)
    return decision if adjustment is None else closing.adjusting(decision, adjustment)


def apply(view: View, fact: Fact, position: int, touched: dict[str, int]) -> list[str]:
    """Fold a decided fact into the view, so that the next decision sees it; its tags are returned.

    `touched` learns, for each memory that changed, the position folded in last. Raises NotRecalled.
    """
    tags = fold_fact(fact, position, view.memories, touched)
    view.facts[position] = fact
    if view.latest is not None:
        view.latest[fact.effective_on] = position
    view.next_position = position + 1
    return tags


LIMIT_FACTS: tuple[type[Fact], ...] = (
    e.LimitBreachRecorded,
    e.LimitBreachRescinded,
    e.DuplicateAccountFlagged,
    e.DuplicateAccountRescinded,
)

RECORDS: dict[type[c.Command], tuple[type[Fact], ...]] = {
    c.RegisterSourceIdentity: (e.SourceIdentityRegistered,),
    c.OpenAccount: (e.AccountOpened,),
    c.PostContribution: (e.ContributionPosted,),
    c.CreditReturns: (e.ReturnsCredited,),
    c.ChargeFee: (e.FeeCharged,),
    c.VestEmployerPart: (e.EmployerPartVested,),
    c.TransferBalance: (e.BalanceTransferred,),
    c.PayBenefit: (e.BenefitPaid,),
    c.FreezeAccount: (e.AccountFrozen,),
    c.UnfreezeAccount: (e.AccountUnfrozen,),
    c.CloseAccount: (e.AccountClosed, e.DuplicateAccountFlagged, e.DuplicateAccountRescinded),
    c.ReverseEntry: (e.EntryReversed, e.LimitBreachRecorded, e.LimitBreachRescinded),
    c.LinkIdentities: (e.IdentitiesLinked, *LIMIT_FACTS),
    c.MergeIdentities: (e.IdentitiesMerged, *LIMIT_FACTS),
    c.UnmergeIdentities: (e.IdentitiesUnmerged, *LIMIT_FACTS, e.CompensationRequired),
    c.DeclareDistinct: (e.DistinctDeclared,),
    c.WithdrawDistinct: (e.DistinctWithdrawn,),
    c.ClosePeriod: (e.PeriodClosed,),
    c.DeclareProfile: (e.ProfileDeclared,),
    c.WithdrawProfile: (e.ProfileWithdrawn,),
}
"""For each command the fact that it records, and then the facts that may follow from it."""


def markdown_tables() -> str:
    """Render what every command records and refuses (CommandIdReused first, always), and every refusal's sentence."""
    of_all = ", ".join(f"`{refusal.__name__}`" for refusal in closing.REFUSED_OF_ALL)
    lines = [f"Every command but `ClosePeriod` is first of all refused for its period: {of_all}.", ""]
    lines += ["| Command | Fact, and what may follow | Refused when, in this order |", "|---|---|---|"]
    for command, matter in MATTERS.items():
        facts = ", ".join(f"`{fact.__name__}`" for fact in RECORDS[command])
        refusals = ", ".join(f"`{refusal.__name__}`" for refusal in matter.refuses)
        lines.append(f"| `{command.__name__}` | {facts} | {refusals} |")
    lines += ["", "| Code | Sentence |", "|---|---|"]
    lines += [f"| `{code}` | {refusal.sentence} |" for code, refusal in REFUSALS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown_tables(), end="")  # noqa: T201 - printing is what this program is for
