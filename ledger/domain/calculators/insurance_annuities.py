"""Annuity policies of insurers: what a surrender may pay, how long drawing lasts, and the tax-deferred policy."""

from typing import Literal

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.rounding import down, half_up
from ledger.domain.rules import Rules

Income = Literal["month", "business_year"]


def surrender_cap_fen(policy_year: int, premiums_fen: int, return_fen: int, rules: Rules) -> int:
    """The most that a surrender of an exclusive annuity pays (ecp.surrender; 金规〔2023〕7号), rounded down.

    Premiums, and of the return above them nothing, 75 % or 90 % by policy year, the first being 1.
    """
    if policy_year < 1 or return_fen < 0:
        raise ValueError("policy years begin with 1, and a return is zero or more")
    not_negative(premiums_fen=premiums_fen)
    shares = rules.table("ecp.surrender").entries
    share = shares[max(year for year in shares if year <= policy_year)]
    return premiums_fen + down(return_fen * share)


def drawing_allowed(years: int, rules: Rules) -> None:
    """Refuse to draw an exclusive annuity over fewer years than ruled (ecp.out)."""
    least = rules.terms("ecp.out").whole("min_drawing_years")
    if years < least:
        raise rules.refuse("ecp.out", "draw over more years", least_years=least)


def tax_deferred_cap_fen(income_fen: int, period: Income, rules: Rules) -> int:
    """What may be paid into a tax-deferred policy: a share of the period's income and at most its cap (td.cap)."""
    not_negative(income_fen=income_fen)
    share_fen = down(income_fen * rules.rate("td.cap.income_share").value)
    return min(share_fen, rules.limit(f"td.cap.{period}").value)


def tax_deferred_payout_tax_fen(payout_fen: int, rules: Rules) -> int:
    """Tax on a payout of a tax-deferred policy (td.tax.out), half up to fen."""
    not_negative(payout_fen=payout_fen)
    return half_up(payout_fen * rules.rate("td.tax.out").value)
