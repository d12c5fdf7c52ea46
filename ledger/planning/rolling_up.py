"""A plan by calendar year: rows for tables and charts, each the sum or the end of its months."""

import numpy as np
from msgspec import Struct

from ledger.planning.axis import YEAR
from ledger.planning.flows import Flows
from ledger.planning.outlook import Outlook, Whole
from ledger.planning.summing import by_pillar, today_fen


class YearRow(Struct, frozen=True):
    """One calendar year, as far as the plan covers it (`months`). `age_years`: at the end of it.

    Flows are sums over the year; `closing_fen` by pot is that of its last month. `income_today_fen` is in
    prices of the plan's day. `income_by_pillar_fen` is after the tax of payouts, without lump sums, as in the summary.
    """

    year: int
    months: int
    age_years: int
    wage_fen: int
    wage_tax_fen: int
    payout_tax_fen: int
    own_contributions_fen: int
    pension_fen: int
    payouts_fen: int
    income_fen: int
    income_today_fen: int
    income_by_pillar_fen: dict[str, int]
    need_fen: int
    lump_fen: int
    deposits_fen: int
    draws_fen: int
    consumption_fen: int
    shortfall_fen: int
    returns_fen: dict[str, int]
    closing_fen: dict[str, int]


def yearly(outlook: Outlook, flows: Flows) -> list[YearRow]:
    """The rows of all years, in order."""
    starts = np.flatnonzero((outlook.month == 1) | (np.arange(outlook.months) == 0))
    ends = [*(starts[1:] - 1).tolist(), outlook.months - 1]

    def sums(amounts: Whole) -> list[int]:
        totals: list[int] = np.add.reduceat(amounts, starts).tolist()
        return totals

    purse = flows.household
    pillars = {name: sums(amounts) for name, amounts in by_pillar(outlook, flows).items()}
    returns = {flow.code: sums(flow.returns_fen) for flow in flows.pots}
    closings = {flow.code: flow.closing_fen[ends].tolist() for flow in flows.pots}
    columns = {
        "wage_fen": sums(purse.wage_fen),
        "wage_tax_fen": sums(purse.wage_tax_fen),
        "payout_tax_fen": sums(purse.payout_tax_fen),
        "own_contributions_fen": sums(purse.own_contributions_fen),
        "pension_fen": sums(purse.pension_fen),
        "payouts_fen": sums(purse.payouts_fen),
        "income_fen": sums(purse.income_fen),
        "income_today_fen": sums(np.array(today_fen(purse.income_fen, outlook))),
        "need_fen": sums(purse.need_fen),
        "lump_fen": sums(purse.lump_fen),
        "deposits_fen": sums(purse.deposits_fen),
        "draws_fen": sums(purse.draws_fen),
        "consumption_fen": sums(purse.consumption_fen),
        "shortfall_fen": sums(purse.shortfall_fen),
    }
    return [
        YearRow(
            year=int(outlook.year[start]),
            months=end - start + 1,
            age_years=int(outlook.age_months[end]) // YEAR,
            income_by_pillar_fen={name: amounts[row] for name, amounts in pillars.items()},
            returns_fen={name: amounts[row] for name, amounts in returns.items()},
            closing_fen={name: amounts[row] for name, amounts in closings.items()},
            **{name: amounts[row] for name, amounts in columns.items()},
        )
        for row, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True))
    ]
