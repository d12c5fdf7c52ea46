"""The few figures of a plan: what she first lives on, against what she last earned; what runs empty; what falls short."""

from typing import Final

import numpy as np
from msgspec import Struct

from ledger.domain.calendar import month_number, period_of_number
from ledger.planning.axis import YEAR
from ledger.planning.flows import Flows
from ledger.planning.outlook import PARTS, SAVINGS, Outlook, Whole

FOUR_DECIMALS: Final = 10**4


class Summary(Struct, frozen=True):
    """The plan in a few figures. `*_today_fen` is in prices of the plan's day; None where there is no such month.

    `first_income_fen`: net income a month, the average of the first twelve months after retirement: pension and payouts less
    their taxes and what she still pays in. A lump sum is no income and left out with its tax,
    and so is the settlement of the last year's wage tax.
    `first_income_by_pillar_fen`: the same by pillar 1, 2 and 3, before what she still pays in; taxes of payouts that count as
    wages are in pillar 2. `last_net_wage_fen`: the wage a month less tax, own contributions but those to the personal
    pension, and what else is withheld, the average of the last twelve months with a wage. Averages are rounded half up.
    `replacement`: the first over the second, each in money of its months, four decimals. `runs_empty`: the month in which a pot
    pays its last; of savings, the first month in which they lack. `missing_months`: of the minimum years.
    """

    retirement_month: str
    retirement_age_months: int
    pension_from: str | None
    missing_months: int
    first_pension_fen: int | None
    first_income_fen: int | None
    first_income_today_fen: int | None
    first_income_by_pillar_fen: dict[str, int]
    last_net_wage_fen: int | None
    replacement: str | None
    runs_empty: dict[str, str]
    shortfall_from: str | None
    shortfall_months: int
    shortfall_today_fen: int
    left_at_end_fen: int
    left_at_end_today_fen: int
    wage_tax_fen: int
    payout_tax_fen: int


def _average(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


def today_fen(amounts_fen: Whole, outlook: Outlook, first: int = 0) -> list[int]:
    """Amounts of the months from `first` on in prices of the plan's day, each half up."""
    indices = outlook.price_index[first : first + len(amounts_fen)].tolist()
    pairs = zip(amounts_fen.tolist(), indices, strict=True)
    return [(2 * amount * PARTS + index) // (2 * index) for amount, index in pairs]


def by_pillar(outlook: Outlook, flows: Flows) -> dict[str, Whole]:
    """Net income by pillar and month, without lump sums."""
    purse = flows.household
    pillars = {"1": purse.pension_fen, "2": np.zeros(outlook.months, np.int64), "3": np.zeros(outlook.months, np.int64)}
    for pot, flow in zip(outlook.pots[1:-1], flows.pots[1:-1], strict=True):
        if pot.payout is not None and pot.payout.form != "lump_sum":
            pillars[str(pot.pillar)] = pillars[str(pot.pillar)] + flow.payouts_fen - flow.tax_fen
            if pot.payout.tax.kind == "wages":
                taxed = np.where(flow.payouts_fen > 0, purse.wage_tax_fen, 0)
                pillars["2"] = pillars["2"] - taxed
    return pillars


def _last_net_wage(outlook: Outlook, flows: Flows) -> int | None:
    earned = np.flatnonzero(outlook.wage_month)[-YEAR:]
    if not len(earned):
        return None
    purse = flows.household
    personal = [
        own
        for pot, own in zip(outlook.pots, outlook.own_contributions_fen, strict=True)
        if pot.product == "personal_pension"
    ]
    kept = purse.own_contributions_fen - sum(personal, np.zeros(outlook.months, np.int64))
    net = purse.wage_fen - purse.wage_tax_fen - kept - purse.other_withheld_fen
    return _average(int(net[earned].sum()), len(earned))


def _runs_empty(outlook: Outlook, flows: Flows) -> dict[str, str]:
    first = month_number(outlook.start)
    found: dict[str, str] = {}
    for flow in flows.pots[:-1]:
        paid = np.flatnonzero(flow.payouts_fen)
        if len(paid) and flow.closing_fen[-1] == 0:
            found[flow.code] = period_of_number(first + int(paid[-1]))
    short = np.flatnonzero(flows.household.shortfall_fen)
    if len(short):
        found[SAVINGS] = period_of_number(first + int(short[0]))
    return found


def summary(outlook: Outlook, flows: Flows) -> Summary:
    """The figures of a run."""
    first, start = month_number(outlook.start), outlook.first_retired
    there = slice(start, min(start + YEAR, outlook.months))
    months = there.stop - there.start
    purse = flows.household
    pillars = by_pillar(outlook, flows)
    still_paid = purse.own_contributions_fen[there]
    net = sum((income[there] for income in pillars.values()), -still_paid)
    income = _average(int(net.sum()), months)
    wage = _last_net_wage(outlook, flows)
    short = purse.shortfall_fen
    short_months = np.flatnonzero(short)
    left = sum(int(flow.closing_fen[-1]) for flow in flows.pots)
    pays = outlook.pension.start < outlook.months
    return Summary(
        retirement_month=outlook.retirement_month,
        retirement_age_months=outlook.retirement_age_months,
        pension_from=period_of_number(first + outlook.pension.start) if pays else None,
        missing_months=outlook.pension.missing_months,
        first_pension_fen=int(purse.pension_fen[outlook.pension.start]) if pays else None,
        first_income_fen=income,
        first_income_today_fen=_average(sum(today_fen(net, outlook, start)), months),
        first_income_by_pillar_fen={
            name: _average(int(amounts[there].sum()), months) for name, amounts in pillars.items()
        },
        last_net_wage_fen=wage,
        replacement=None if not wage or wage < 0 else _four_decimals(income, wage),
        runs_empty=_runs_empty(outlook, flows),
        shortfall_from=period_of_number(first + int(short_months[0])) if len(short_months) else None,
        shortfall_months=len(short_months),
        shortfall_today_fen=sum(today_fen(short, outlook)) if len(short_months) else 0,
        left_at_end_fen=left,
        left_at_end_today_fen=today_fen(np.array([left]), outlook, outlook.months - 1)[0],
        wage_tax_fen=int(purse.wage_tax_fen.sum()),
        payout_tax_fen=int(purse.payout_tax_fen.sum()),
    )


def _four_decimals(amount: int, of: int) -> str:
    whole, part = divmod(_average(amount * FOUR_DECIMALS, of), FOUR_DECIMALS)
    return f"{whole}.{part:04d}"
