"""The contribution base (缴费基数) of the first pillar by area and date, and what is paid on it.

1. The base is the own average monthly wage of last year between the published floor and cap; these are never recomputed.
2. Each part is rounded half up to fen by itself (RULES.md section 1).
"""

from msgspec import Struct

from ledger.domain.calculators.amounts import not_negative
from ledger.domain.calculators.rounding import half_up
from ledger.domain.rules import Rules


class FirstPillar(Struct, frozen=True, kw_only=True):
    """A month's contributions. `to_account_fen`: what of them goes to the personal account; the rest is pooled."""

    base_fen: int
    employee_fen: int
    employer_fen: int
    to_account_fen: int


def bounds(rules: Rules) -> tuple[int, int]:
    """The published floor and cap of the area in force (fp.base), in fen."""
    terms = rules.terms("fp.base")
    return terms.whole("floor_fen"), terms.whole("cap_fen")


def base(wage_fen: int, rules: Rules) -> int:
    """The base of a wage (own average of last year, or what a flexible worker declares): clamp(wage, floor, cap)."""
    not_negative(wage_fen=wage_fen)
    floor_fen, cap_fen = bounds(rules)
    return min(max(wage_fen, floor_fen), cap_fen)


def on_base(base_fen: int, rules: Rules, *, flexible: bool = False) -> FirstPillar:
    """What is paid on a base that is already known, such as one that the person gives for an area without a row.

    A flexible worker (灵活就业人员) pays alone: the whole rate, of which a part goes to the account.
    """
    not_negative(base_fen=base_fen)
    own_fen = half_up(base_fen * rules.rate("fp.rate.employee").value)
    if flexible:
        whole_fen = half_up(base_fen * rules.rate("fp.rate.flexible").value)
        return FirstPillar(base_fen=base_fen, employee_fen=whole_fen, employer_fen=0, to_account_fen=own_fen)
    employer_fen = half_up(base_fen * rules.rate("fp.rate.employer").value)
    return FirstPillar(base_fen=base_fen, employee_fen=own_fen, employer_fen=employer_fen, to_account_fen=own_fen)


def first_pillar(wage_fen: int, rules: Rules, *, flexible: bool = False) -> FirstPillar:
    """A month's contributions of employee and employer, or of a flexible worker, on the clamped base."""
    return on_base(base(wage_fen, rules), rules, flexible=flexible)
