"""Everything that a plan knows before its months run: whole numbers and arrays, in fen, for the exact run and for the paths.

`compiling.compiled` makes an Outlook; nothing in it is looked up again later. Arrays of months have `months` entries; the
first is the month after the plan's day, the last the one in which she turns 100. Whole numbers are `int64`.

The month t, in this order:
1. Wage: gross, through the month of retirement; none in a break or after work has ended.
2. Contributions into the pots, her own and the employer's; they earn from the next month on.
3. Wage tax by cumulative withholding (累计预扣法): the year's table on the year so far, less what was withheld. December
   settles the year, so that a year's months make the year's tax; the law settles in the spring after.
4. Returns on each pot's opening balance, then the fee on opening and return, half up to fen; the exact run carries what a
   return is short of a fen to the pot's next.
5. Transfers between pots: what vests, what book entries are funded.
6. From the month after retirement: payouts by the form of each pot, each taxed by its product's rule, alone.
7. The basic pension: its pooled part, and the account part, which the personal account pays until it is empty and the pool
   for life. Both rise by one index in each January. It is exempt from tax.
8. What she needs, from income, then from `savings`; the rest is shortfall. Surplus goes to `savings`. While she earns, she
   puts `saving_fen` aside and spends the rest of her income; what own contributions cost above it draws `savings`.
"""

from typing import Final, Literal, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ledger.planning.answers import Form

Whole: TypeAlias = NDArray[np.int64]

# Growth, prices and shares are whole parts of these.
PARTS: Final = 10**9
BASIS_POINTS: Final = 10**4
OPEN_END: Final = 2**62
FIRST_PILLAR: Final = "first_pillar"
SAVINGS: Final = "savings"
NOWHERE: Final = -1

Tax = Literal["none", "flat", "table", "wages"]


class Steps(Struct, frozen=True, eq=False):
    """A progressive table as arrays: tax = taxable x rate_bp / 10**4 - quick_fen, half up; the last bound is OPEN_END."""

    up_to_fen: Whole
    rate_bp: Whole
    quick_fen: Whole


class PayoutTax(Struct, frozen=True, eq=False):
    """How a payout is taxed.

    `none`; `flat`: `rate_bp` of all; `table`: `steps` on a `spread`-th of it, times `spread`; `wages`: with the wages of the
    month. `taxable_bp` of BASIS_POINTS are taxed (less than all where contributions were taxed before 2014).
    """

    kind: Tax
    rate_bp: int = 0
    steps: Steps | None = None
    spread: int = 1
    taxable_bp: int = BASIS_POINTS


class Payout(Struct, frozen=True, eq=False):
    """When and how a pot pays out, its returns going on. The first month of payout is `start` (`months` if it never pays).

    - `monthly`, `quarterly`, `yearly`: each `every` months balance-at-start x every x divisor_of / divisor, half up, until
      empty; the last payment is the rest. The balance at the start is after that month's return and fee.
    - `fixed_months`: each month the balance / (start + months - t), half up, so that the last is the rest
    - `fixed_amount`: `amount_fen` each month until empty
    - `lump_sum`: everything in the month `start`
    """

    form: Form
    start: int
    tax: PayoutTax
    every: int = 1
    divisor: int = 1
    divisor_of: int = 1
    months: int = 0
    amount_fen: int = 0


class Pot(Struct, frozen=True, eq=False):
    """Money that earns, is taxed and is paid alike: a product of hers, or a part of one.

    `code` names it, and the markets by which it scatters: a product, or `first_pillar`, `savings`,
    `enterprise_annuity_unvested`, `group_pension_unvested`, `occupational_annuity_book`. `earns` names the assumption.
    `accounts` are those of the sheet that the opening balance comes from.
    Monthly credit: return = opening x monthly_return / PARTS. Yearly credit: in each December, and in the month
    `credit_month`, return = the sum of the openings since the last credit x yearly_return / PARTS / 12; what is not credited
    yet lapses when payouts or a transfer empty the pot, and a loss takes at most what is there. How a book rate counts inside
    a year is open (fp.book_rate.method); a plan counts months. Fee = (opening + return) x monthly_fee / PARTS.
    The order of `Outlook.pots`: `first_pillar` is the first, `savings` the last; what vests comes before what it vests into.
    """

    code: str
    product: str
    pillar: int
    earns: str
    accounts: tuple[str, ...]
    opening_fen: int
    credited: Literal["monthly", "yearly"]
    monthly_return: int
    yearly_return: int
    monthly_fee: int
    credit_month: int
    payout: Payout | None


class Transfer(Struct, frozen=True):
    """After returns and fees of the month `at`, `parts` of PARTS of a pot's balance go to another, half up to fen.

    `to_pot` NOWHERE: it is forfeited to the plan's enterprise account, as the person leaves before it is vested.
    """

    at: int
    from_pot: int
    to_pot: int
    parts: int


class Pension(Struct, frozen=True):
    """The basic pension. `start`: its first month, `months` if years are missing to the end (`missing_months` of them).

    In the first month: pooled_fen + account part; the account part is the closing balance of the month before x divisor_of /
    divisor, half up. Later months: the same x pension_index / PARTS, half up each; the pot `first_pillar` pays of the
    account part what it holds. `open_parts`: rules that the area would need for a part and has no row of; left out.
    """

    start: int
    pooled_fen: int
    divisor: int
    divisor_of: int
    missing_months: int
    paid_months: int
    open_parts: tuple[str, ...] = ()


class Outlook(Struct, frozen=True, eq=False, kw_only=True):
    """What the two engines run. Arrays without a shape in the comment are `[months]`.

    `retirement`: index of the month of retirement, -1 if it lies before the plan. `last_wage`: index of the last month that
    can have a wage, -1 if none. `contributions_fen`, `own_contributions_fen`: `[pots, months]`, the second what of the first
    she pays herself. `first_pillar_own_fen`: what she pays to the basic pension, including what of it is pooled.
    `deductions_fen`: deductible of the wage tax besides the basic deduction; `lead_*`: each of the `lead` months of the
    first calendar year before the plan, taken to be like its first month (the personal pension of these months, as the
    facts show it, is all in `lead_once_fen`). Needs are in today's money: times `price_index` / PARTS they are nominal.
    `wage_month`: whether she earns. `prices_parts` is the monthly growth of prices that `price_index` is made of.
    """

    start: str
    months: int
    year: Whole
    month: Whole
    age_months: Whole
    retirement: int
    retirement_month: str
    retirement_age_months: int
    last_wage: int
    pots: tuple[Pot, ...]
    transfers: tuple[Transfer, ...]
    contributions_fen: Whole
    own_contributions_fen: Whole
    first_pillar_own_fen: Whole
    wage_fen: Whole
    wage_month: NDArray[np.bool_]
    other_withheld_fen: Whole
    deductions_fen: Whole
    lead: int
    lead_wage_fen: int
    lead_deductions_fen: int
    lead_once_fen: int
    basic_deduction_fen: int
    wage_tax: Steps
    pension: Pension
    pension_index: Whole
    saving_fen: Whole
    need_today_fen: Whole
    lump_today_fen: Whole
    prices_parts: int
    price_index: Whole
    last_net_wage_month: int

    @property
    def first_retired(self) -> int:
        """Index of the first month without wage for age: the month after retirement."""
        return self.retirement + 1


def tax_fen(steps: Steps, taxable_fen: Whole, spread: int = 1) -> Whole:
    """The exact tax of each amount, half up to fen; an amount is taxed in `spread` equal parts. Not below zero."""
    taxable = np.maximum(taxable_fen, 0)
    step = np.searchsorted(steps.up_to_fen, -(-taxable // spread), side="left")
    times_rate = taxable * steps.rate_bp[step] + BASIS_POINTS // 2
    return times_rate // BASIS_POINTS - spread * steps.quick_fen[step]
