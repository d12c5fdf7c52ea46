"""Every command with its matter: how it is decided, what the decision needs, and why it may be refused, in order."""

from typing import NamedTuple

from ledger.domain import accounts, benefits, contributions, identities, linking, parting, returns_and_fees, reversals
from ledger.domain import commands as c
from ledger.domain import transfers, vesting
from ledger.domain.decider import Decider, Decision, Needs, NotRecalled, View
from ledger.domain.events import Fact
from ledger.domain.refusals import Refusal
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
    c.CreditReturns: Matter(returns_and_fees.credit_returns, None, returns_and_fees.REFUSES),
    c.ChargeFee: Matter(returns_and_fees.charge_fee, None, returns_and_fees.REFUSES),
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
}


def decide(command: c.Command, view: View) -> Decision:
    """What follows from the command, given what is remembered."""
    return MATTERS[type(command)].decide(command, view)


def apply(view: View, fact: Fact, position: int, touched: dict[str, int]) -> list[str]:
    """Fold a decided fact into the view, so that the next decision sees it; its tags are returned.

    `touched` learns, for each memory that changed, the position folded in last. Raises NotRecalled.
    """
    try:
        tags = fold_fact(fact, position, view.memories, touched)
    except KeyError as error:
        raise NotRecalled(*error.args) from error
    view.facts[position] = fact
    view.next_position = position + 1
    return tags
