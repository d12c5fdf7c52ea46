"""Amounts in tests as the sources print them."""

from datetime import date
from decimal import Decimal

from ledger.domain.rules import Rules

TODAY = date(2026, 11, 22)


def fen(yuan: str) -> int:
    """The fen of an amount in yuan, such as "12,000.01"."""
    exact = Decimal(yuan.replace(",", "")) * 100
    assert exact == int(exact)
    return int(exact)


def today(area: str = "CN") -> Rules:
    """The rules of the day on which the rule tables were written."""
    return Rules(TODAY, area)


def cited_rules(rules: Rules) -> set[str]:
    """The ids of the rules that were consulted."""
    return {cited.rule for cited in rules.cited}
