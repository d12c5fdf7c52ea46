"""The double-entry reading of every fact: the second road to every number, beside the folded balances.

1. The postings of a fact add up to zero.
2. The postings of a reversal are exactly those of the entry it reverses, negated.
3. Money that belongs to a person stands under her account and its part; where it came from or went to stands under
   an `external` account of that name, so the trial balance of the whole ledger is zero.
"""

from typing import NamedTuple

from ledger.domain import events as e
from ledger.domain.states import entry_of


class Posting(NamedTuple):
    """One leg: a positive amount increases what the account holds."""

    account: str
    part: str
    amount_fen: int


EXTERNAL = "external"


def _legs(account: str, amounts: dict[str, int], sign: int) -> list[Posting]:
    return [Posting(account, part, sign * fen) for part, fen in amounts.items()]


def postings(fact: e.Fact) -> list[Posting]:
    """The balanced legs of a fact; a fact that moves no money has none."""
    match fact:
        case e.ContributionPosted():
            total = sum(fact.amounts_fen.values())
            return [*_legs(fact.account, fact.amounts_fen, 1), Posting(EXTERNAL, "contributions", -total)]
        case e.ReturnsCredited():
            result = sum(fact.gains_fen.values()) - sum(fact.losses_fen.values())
            legs = [*_legs(fact.account, fact.gains_fen, 1), *_legs(fact.account, fact.losses_fen, -1)]
            return [*legs, Posting(EXTERNAL, "returns", -result)]
        case e.FeeCharged():
            total = sum(fact.amounts_fen.values())
            return [*_legs(fact.account, fact.amounts_fen, -1), Posting(EXTERNAL, "fees", total)]
        case e.EmployerPartVested():
            return [
                Posting(fact.account, fact.from_part, -fact.amount_fen),
                Posting(fact.account, fact.to_part, fact.amount_fen),
            ]
        case e.BalanceTransferred():
            return [
                *_legs(fact.from_account, fact.amounts_fen, -1),
                *_legs(fact.to_account, fact.credits_fen, 1),
            ]
        case e.BenefitPaid():
            return [
                *_legs(fact.account, fact.amounts_fen, -1),
                Posting(EXTERNAL, "benefits", fact.net_fen),
                Posting(EXTERNAL, "tax", fact.tax_fen),
            ]
        case e.EntryReversed():
            return [Posting(leg.account, leg.part, -leg.amount_fen) for leg in postings(entry_of(fact.entry))]
        case _:
            return []
