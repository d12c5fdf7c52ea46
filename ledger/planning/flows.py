"""What the months of a plan bring: the flows of every pot and of her purse, as arrays of whole fen."""

from msgspec import Struct

from ledger.planning.outlook import Whole


class PotFlows(Struct, frozen=True, eq=False):
    """One pot, month by month. `transfers_fen`: into it above zero, out of it below. All others are not negative.

    opening + contributions + returns + transfers - fees - payouts = closing; returns alone may be below zero.
    `tax_fen` is taken from payouts where the payout is taxed apart; what is taxed as wages is in the wage tax.
    """

    code: str
    product: str
    pillar: int
    opening_fen: Whole
    contributions_fen: Whole
    returns_fen: Whole
    fees_fen: Whole
    transfers_fen: Whole
    payouts_fen: Whole
    tax_fen: Whole
    closing_fen: Whole


class Household(Struct, frozen=True, eq=False):
    """Her purse, month by month; draws from and deposits to `savings` are that pot's payouts and contributions.

    wage + pension + payouts = wage tax + payout tax + own contributions + other withheld + consumption + deposits - draws.
    `payouts_fen` are those of pots of the second and third pillar. `own_contributions_fen`: everything she pays into pots and
    pool. `consumption_fen` is what she spends; `shortfall_fen` what of her needs nothing is left for. `income_fen` is net:
    wage + pension + payouts - taxes - own contributions - other withheld.
    """

    wage_fen: Whole
    pension_fen: Whole
    pension_from_account_fen: Whole
    payouts_fen: Whole
    wage_tax_fen: Whole
    payout_tax_fen: Whole
    own_contributions_fen: Whole
    other_withheld_fen: Whole
    income_fen: Whole
    need_fen: Whole
    lump_fen: Whole
    deposits_fen: Whole
    draws_fen: Whole
    consumption_fen: Whole
    shortfall_fen: Whole


class Flows(Struct, frozen=True, eq=False):
    """What the exact run gives."""

    pots: tuple[PotFlows, ...]
    household: Household
