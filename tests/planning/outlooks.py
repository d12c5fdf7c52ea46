"""Outlooks written by hand: a life with five pots and more, without a sheet, rules or answers."""

from typing import Any, Final

import msgspec
import numpy as np

from ledger.planning.outlook import OPEN_END, PARTS, Outlook, Payout, PayoutTax, Pension, Pot, Steps, Transfer

ANNUAL: Final = Steps(
    np.array([3_600_000, 14_400_000, 30_000_000, 42_000_000, 66_000_000, 96_000_000, OPEN_END]),
    np.array([300, 1000, 2000, 2500, 3000, 3500, 4500]),
    np.array([0, 252_000, 1_692_000, 3_192_000, 5_292_000, 8_592_000, 18_192_000]),
)
MONTHLY: Final = Steps(
    np.array([300_000, 1_200_000, 2_500_000, 3_500_000, 5_500_000, 8_000_000, OPEN_END]),
    np.array([300, 1000, 2000, 2500, 3000, 3500, 4500]),
    np.array([0, 21_000, 141_000, 266_000, 441_000, 716_000, 1_516_000]),
)
TABLE: Final = PayoutTax("table", steps=MONTHLY)
FLAT: Final = PayoutTax("flat", rate_bp=300)
YUAN: Final = 100


def pot(code: str, opening_yuan: int, *, pillar: int, percent: float, payout: Payout | None = None, **more: Any) -> Pot:
    monthly = round(((1 + percent / 100) ** (1 / 12) - 1) * PARTS)
    values: dict[str, Any] = {
        "code": code,
        "product": code,
        "pillar": pillar,
        "earns": code,
        "accounts": (),
        "opening_fen": opening_yuan * YUAN,
        "credited": "monthly",
        "monthly_return": monthly,
        "yearly_return": round(percent / 100 * PARTS),
        "monthly_fee": 0,
        "credit_month": -1,
        "payout": payout,
    }
    return Pot(**values | more)


def growing(first: int, percent: float, month: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """An amount that grows in each January."""
    years = np.cumsum(month == 1)
    return np.rint(first * (1 + percent / 100) ** years).astype(np.int64)


def outlook(
    *,
    age_years: int = 35,
    retire_years: int = 60,
    wage_yuan: int = 15_000,
    need_yuan: int = 6_000,
    aside_yuan: int = 1_000,
    start_month: int = 12,
    **changes: Any,
) -> Outlook:
    """She is `age_years` old in December 2026 and turns 100 in the last month."""
    months = (100 - age_years) * 12 + 1
    place = np.arange(months) + start_month - 1
    year, month = 2026 + place // 12, place % 12 + 1
    last = max(-1, (retire_years - age_years) * 12)
    first = last + 1
    working = np.arange(months) <= last
    wage = np.where(working, growing(wage_yuan * YUAN, 3, month), 0)
    prices = np.rint(PARTS * 1.02 ** (np.arange(months) / 12)).astype(np.int64)
    pots = (
        pot("first_pillar", 60_000, pillar=1, percent=1.5, credited="yearly", credit_month=last),
        pot("enterprise_annuity_unvested", 30_000, pillar=2, percent=4, monthly_fee=PARTS // 3000),
        pot("enterprise_annuity", 80_000, pillar=2, percent=4, monthly_fee=PARTS // 3000, payout=_monthly(first, TABLE)),
        pot("personal_pension", 20_000, pillar=3, percent=3, payout=_monthly(first, FLAT)),
        pot("commercial_pension", 10_000, pillar=3, percent=3,
            payout=Payout("fixed_months", first, PayoutTax("none"), months=240)),
        pot("occupational_annuity_book", 15_000, pillar=2, percent=1.5, credited="yearly", credit_month=first,
            payout=Payout("yearly", first, PayoutTax("table", steps=ANNUAL), every=12, divisor=139)),
        pot("savings", 100_000, pillar=0, percent=1.2),
    )  # fmt: skip
    contributions = np.zeros((len(pots), months), np.int64)
    contributions[0] = wage * 8 // 100
    contributions[1] = wage * 3 // 100
    contributions[2] = wage * 6 // 100
    contributions[3] = np.where(working & (month == 12), 12_000 * YUAN, 0)
    contributions[3][max(last, 0) :] = 0
    own = np.zeros_like(contributions)
    own[2] = wage * 2 // 100
    own[3] = contributions[3]
    account = contributions[0]
    withheld = wage * 10 // 100
    values: dict[str, Any] = {
        "start": f"2026-{start_month:02}",
        "months": months,
        "year": year,
        "month": month,
        "age_months": age_years * 12 + np.arange(months),
        "retirement": last,
        "retirement_month": "2051-12",
        "retirement_age_months": retire_years * 12,
        "last_wage": last,
        "pots": pots,
        "transfers": () if last < 24 else (Transfer(24, 1, 2, PARTS // 2), Transfer(last, 1, 2, PARTS)),
        "contributions_fen": contributions,
        "own_contributions_fen": own,
        "first_pillar_own_fen": account,
        "wage_fen": wage,
        "wage_month": working,
        "other_withheld_fen": withheld,
        "deductions_fen": account + own[2] + own[3] + withheld + np.where(working, 200_000, 0),
        "lead": start_month - 1,
        "lead_wage_fen": wage_yuan * YUAN,
        "lead_deductions_fen": wage_yuan * YUAN // 5 + 200_000,
        "lead_once_fen": 0,
        "basic_deduction_fen": 6_000_000,
        "wage_tax": ANNUAL,
        "pension": Pension(first, 350_000, 139, 1, 0, 600),
        "pension_index": growing(PARTS, 2, np.where(np.arange(months) > first, month, 0)),
        "saving_fen": np.where(working, growing(aside_yuan * YUAN, 3, month), 0),
        "need_today_fen": np.where(working, 0, need_yuan * YUAN),
        "lump_today_fen": np.zeros(months, np.int64),
        "prices_parts": round((1.02 ** (1 / 12) - 1) * PARTS),
        "price_index": prices,
        "last_net_wage_month": last,
    }
    return Outlook(**values | changes)


def _monthly(first: int, tax: PayoutTax) -> Payout:
    return Payout("monthly", first, tax, divisor=139)


def with_payout(life: Outlook, code: str, payout: Payout) -> Outlook:
    """The same life with another payout of one pot."""
    pots = tuple(msgspec.structs.replace(each, payout=payout) if each.code == code else each for each in life.pots)
    return msgspec.structs.replace(life, pots=pots)
