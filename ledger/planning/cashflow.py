"""The exact run of an Outlook: every month's flows of every pot and of her purse, in whole fen.

1. In every month and pot: opening + contributions + returns + transfers - fees - payouts = closing.
2. In every month: wage + pension + payouts = taxes + own contributions + other withheld + consumption + deposits - draws.
3. What leaves a pot by a transfer arrives in another one, or is forfeited.
4. Rounding is half up to fen: each fee, each transfer, each first instalment, each tax; and of each pot the sum of its
   returns, of which the part of a fen is carried to the next credit, so that long growth does not drift from the formula.

A pot depends on no other but through transfers, so each runs alone, in plain whole numbers: these are quicker one at a time
than arrays of one, and have no bound. Whatever does not depend on the month before is done on whole arrays.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from ledger.planning.flows import Flows, Household, PotFlows
from ledger.planning.outlook import BASIS_POINTS, NOWHERE, OPEN_END, PARTS, Outlook, Payout, Pot, Whole, tax_fen

HALF: Final = PARTS // 2
YEAR: Final = 12
DECEMBER: Final = 12


def half_up(amount: int, of: int, divisor: int) -> int:
    """`amount` x `of` / `divisor`, to the nearest whole; a half goes up."""
    return (2 * amount * of + divisor) // (2 * divisor)


class Course(Struct):
    """A pot on its way: its balance, and the flows so far.

    `accrued`: openings since the last yearly credit. `carry`: the part of a fen, of PARTS (yearly: of 12 PARTS), that the
    returns so far are short of; it begins with a half, so that their sum is rounded half up.
    """

    balance: int
    returns: list[int]
    fees: list[int]
    payouts: list[int]
    accrued: int = 0
    carry: int = HALF


def begun(pot: Pot) -> Course:
    """A pot before its first month."""
    half = HALF if pot.credited == "monthly" else HALF * YEAR
    return Course(pot.opening_fen, [], [], [], carry=half)


def _gather_monthly(course: Course, pot: Pot, inflows: list[int]) -> None:
    """Months of returns and inflows, with returns that compound by the month."""
    balance, rate, fee_rate = course.balance, pot.monthly_return, pot.monthly_fee
    returns, fees, carry = course.returns, course.fees, course.carry
    for inflow in inflows:
        earned, carry = divmod(balance * rate + carry, PARTS)
        balance += earned
        fee = (balance * fee_rate + HALF) // PARTS
        balance += inflow - fee
        returns.append(earned)
        fees.append(fee)
    course.balance, course.carry = balance, carry


def credit(course: Course, pot: Pot, t: int, month: list[int]) -> tuple[int, int]:
    """This month's return and fee of one pot, by either way of crediting; the course takes note of what accrued."""
    balance = course.balance
    if pot.credited == "monthly":
        earned, course.carry = divmod(balance * pot.monthly_return + course.carry, PARTS)
    else:
        course.accrued += balance
        earned = 0
        if month[t] == DECEMBER or t == pot.credit_month:
            earned, course.carry = divmod(course.accrued * pot.yearly_return + course.carry, PARTS * YEAR)
            # A year's loss takes what is there, and no more: draws may have left less than it.
            earned = max(earned, -balance)
            course.accrued = 0
    return earned, ((balance + earned) * pot.monthly_fee + HALF) // PARTS


def _gather(course: Course, pot: Pot, inflows: list[int], t: int, month: list[int]) -> None:
    """Months of returns and inflows from month t on."""
    if pot.credited == "monthly":
        _gather_monthly(course, pot, inflows)
        return
    for inflow in inflows:
        earned, fee = credit(course, pot, t, month)
        course.balance += earned - fee + inflow
        course.returns.append(earned)
        course.fees.append(fee)
        t += 1


def _due(payout: Payout, balance: int, t: int, instalment: int) -> int:
    """What is paid this month of this balance."""
    if payout.form == "fixed_months":
        return half_up(balance, 1, payout.start + payout.months - t) if t < payout.start + payout.months else balance
    if (t - payout.start) % payout.every:
        return 0
    return min(balance, instalment)


def _pay_out(course: Course, pot: Pot, payout: Payout, months: int, month: list[int]) -> None:
    """The months of payout, until the pot is empty or the plan ends."""
    instalment = 0
    for t in range(payout.start, months):
        earned, fee = credit(course, pot, t, month)
        balance = course.balance + earned - fee
        if t == payout.start:
            instalment = _instalment(payout, balance)
        paid = _due(payout, balance, t, instalment)
        course.balance = balance - paid
        course.returns.append(earned)
        course.fees.append(fee)
        course.payouts.append(paid)
        if course.balance == 0:
            return


def _instalment(payout: Payout, balance: int) -> int:
    if payout.form == "lump_sum":
        return balance
    if payout.form == "fixed_amount":
        return payout.amount_fen
    return max(1, half_up(balance, payout.every * payout.divisor_of, payout.divisor))


def _padded(values: list[int], before: int, months: int) -> Whole:
    """An array of all months, zero before `before` and after the values end."""
    padded = np.zeros(months, np.int64)
    padded[before : before + len(values)] = values
    return padded


def _flows(pot: Pot, course: Course, contributions: Whole, transfers: Whole, paid_from: int) -> PotFlows:
    months = len(contributions)
    returns, fees = _padded(course.returns, 0, months), _padded(course.fees, 0, months)
    payouts = _padded(course.payouts, paid_from, months)
    closing = pot.opening_fen + np.cumsum(contributions + returns + transfers - fees - payouts)
    opening = np.empty_like(closing)
    opening[0] = pot.opening_fen
    opening[1:] = closing[:-1]
    return PotFlows(
        code=pot.code,
        product=pot.product,
        pillar=pot.pillar,
        opening_fen=opening,
        contributions_fen=contributions,
        returns_fen=returns,
        fees_fen=fees,
        transfers_fen=transfers,
        payouts_fen=payouts,
        tax_fen=_payout_tax(pot, payouts),
        closing_fen=closing,
    )


def _payout_tax(pot: Pot, payouts: Whole) -> Whole:
    """The tax of payouts that are taxed apart."""
    if pot.payout is None or pot.payout.tax.kind in {"none", "wages"}:
        return np.zeros_like(payouts)
    tax = pot.payout.tax
    taxable = payouts
    if tax.taxable_bp != BASIS_POINTS:
        taxable = (payouts * tax.taxable_bp + BASIS_POINTS // 2) // BASIS_POINTS
    if tax.kind == "flat" or tax.steps is None:
        return (taxable * tax.rate_bp + BASIS_POINTS // 2) // BASIS_POINTS
    return tax_fen(tax.steps, taxable, tax.spread)


def _run_pot(outlook: Outlook, index: int, transfers: Whole, month: list[int]) -> PotFlows:
    """One pot of the second or third pillar; its row of `transfers` has what came, and what it gives is entered there."""
    pot, months = outlook.pots[index], outlook.months
    course = begun(pot)
    contributions = outlook.contributions_fen[index]
    inflows: list[int] = (contributions + transfers[index]).tolist()
    t = 0
    for transfer in outlook.transfers:
        if transfer.from_pot != index:
            continue
        _gather(course, pot, inflows[t : transfer.at + 1], t, month)
        moved = half_up(course.balance, transfer.parts, PARTS)
        course.balance -= moved
        if transfer.parts == PARTS:
            course.accrued = 0
        transfers[index, transfer.at] -= moved
        if transfer.to_pot != NOWHERE:
            transfers[transfer.to_pot, transfer.at] += moved
        t = transfer.at + 1
    payout = pot.payout
    until = months if payout is None else min(payout.start, months)
    if course.balance or any(inflows[t:until]):
        _gather(course, pot, inflows[t:until], t, month)
        if payout is not None and course.balance:
            _pay_out(course, pot, payout, months, month)
    return _flows(pot, course, contributions, transfers[index], until)


def _run_first_pillar(outlook: Outlook, month: list[int]) -> tuple[PotFlows, Whole]:
    """The personal account, and the pension: what the account pays of it is its payouts."""
    pot, pension, months = outlook.pots[0], outlook.pension, outlook.months
    contributions = outlook.contributions_fen[0]
    course = begun(pot)
    _gather(course, pot, contributions[: pension.start].tolist(), 0, month)
    from_account = half_up(course.balance, pension.divisor_of, pension.divisor)
    indices = outlook.pension_index.tolist()
    whole = pension.pooled_fen + from_account
    monthly = [(whole * index + HALF) // PARTS for index in indices[pension.start :]]
    for t in range(pension.start, months):
        if course.balance == 0:
            break
        earned, fee = credit(course, pot, t, month)
        paid = min(course.balance + earned - fee, (from_account * indices[t] + HALF) // PARTS)
        course.balance += earned - fee - paid
        course.returns.append(earned)
        course.fees.append(fee)
        course.payouts.append(paid)
    nothing = np.zeros(months, np.int64)
    return _flows(pot, course, contributions, nothing, pension.start), _padded(monthly, pension.start, months)


def wage_tax(outlook: Outlook, paid_as_wages_fen: Whole) -> Whole:
    """The tax withheld each month on wages and on payouts that count as wages, December settling the year."""
    years = -(-(outlook.lead + outlook.months) // YEAR)
    taxable = np.zeros(years * YEAR, np.int64)
    here = slice(outlook.lead, outlook.lead + outlook.months)
    taxable[: outlook.lead] = outlook.lead_wage_fen - outlook.lead_deductions_fen
    taxable[0] -= outlook.lead_once_fen
    taxable[here] += outlook.wage_fen + paid_as_wages_fen - outlook.deductions_fen
    basic = outlook.basic_deduction_fen * np.arange(1, YEAR + 1) // YEAR
    so_far = tax_fen(outlook.wage_tax, taxable.reshape(years, YEAR).cumsum(axis=1) - basic)
    so_far[:, :-1] = np.maximum.accumulate(so_far[:, :-1], axis=1)
    monthly = np.diff(so_far, axis=1, prepend=0).reshape(-1)
    return monthly[here]


def _run_savings(outlook: Outlook, purse: Household, month: list[int]) -> PotFlows:
    """Step 8 of the month; fills deposits, draws, consumption and shortfall of the purse."""
    pot, months = outlook.pots[-1], outlook.months
    course = begun(pot)
    # From retirement on the whole surplus is put aside.
    aside = outlook.saving_fen.copy()
    aside[outlook.first_retired :] = OPEN_END
    surpluses = (purse.income_fen - purse.need_fen).tolist()
    asked = zip(surpluses, aside.tolist(), purse.lump_fen.tolist(), strict=True)
    balance, rate, fee_rate, carry = course.balance, pot.monthly_return, pot.monthly_fee, course.carry
    monthly = pot.credited == "monthly"
    puts, shorts = [], []
    for t, (surplus, most, lump) in enumerate(asked):
        if surplus > 0:
            put, take = (surplus if surplus < most else most), lump  # noqa: FURB136 - as below
        else:
            put, take = 0, lump - surplus
        if monthly:
            earned, carry = divmod(balance * rate + carry, PARTS)
            fee = ((balance + earned) * fee_rate + HALF) // PARTS
        else:
            course.balance = balance
            earned, fee = credit(course, pot, t, month)
        balance += earned - fee + put
        drawn = take if take < balance else balance  # noqa: FURB136 - `min` is a call, seven hundred times
        balance -= drawn
        course.returns.append(earned)
        course.fees.append(fee)
        course.payouts.append(drawn)
        puts.append(put)
        shorts.append(take - drawn)
    purse.deposits_fen[:] = puts
    purse.draws_fen[:] = course.payouts
    purse.shortfall_fen[:] = shorts
    purse.consumption_fen[:] = purse.income_fen - purse.deposits_fen + purse.draws_fen
    return _flows(pot, course, purse.deposits_fen, np.zeros(months, np.int64), 0)


def _nominal(today_fen: Whole, outlook: Outlook) -> Whole:
    """Today's money in money of each month. In plain whole numbers: the product may pass what an array holds."""
    if not today_fen.any():
        return today_fen
    indices = outlook.price_index.tolist()
    pairs = zip(today_fen.tolist(), indices, strict=True)
    return np.array([(amount * index + HALF) // PARTS for amount, index in pairs], np.int64)


def run(outlook: Outlook) -> Flows:
    """Run the months. Everything is in the Outlook; the same one gives the same flows."""
    month: list[int] = outlook.month.tolist()
    transfers = np.zeros_like(outlook.contributions_fen)
    account, pension = _run_first_pillar(outlook, month)
    middle = [_run_pot(outlook, index, transfers, month) for index in range(1, len(outlook.pots) - 1)]
    nothing = np.zeros(outlook.months, np.int64)
    as_wages = [
        flows.payouts_fen
        for flows, pot in zip(middle, outlook.pots[1:-1], strict=True)
        if pot.payout is not None and pot.payout.tax.kind == "wages"
    ]
    payouts = sum((flows.payouts_fen for flows in middle), nothing)
    payout_tax = sum((flows.tax_fen for flows in middle), nothing)
    withheld = wage_tax(outlook, sum(as_wages, nothing))
    own = outlook.first_pillar_own_fen + outlook.own_contributions_fen[1:].sum(axis=0)
    purse = Household(
        wage_fen=outlook.wage_fen,
        pension_fen=pension,
        pension_from_account_fen=account.payouts_fen,
        payouts_fen=payouts,
        wage_tax_fen=withheld,
        payout_tax_fen=payout_tax,
        own_contributions_fen=own,
        other_withheld_fen=outlook.other_withheld_fen,
        income_fen=outlook.wage_fen + pension + payouts - withheld - payout_tax - own - outlook.other_withheld_fen,
        need_fen=_nominal(outlook.need_today_fen, outlook),
        lump_fen=_nominal(outlook.lump_today_fen, outlook),
        deposits_fen=nothing.copy(),
        draws_fen=nothing.copy(),
        consumption_fen=nothing.copy(),
        shortfall_fen=nothing.copy(),
    )
    savings = _run_savings(outlook, purse, month)
    return Flows((account, *middle, savings), purse)
