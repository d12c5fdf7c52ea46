"""Where exact amounts become fen: half up, or down where a limit must not be exceeded."""

from fractions import Fraction


def half_up(amount: Fraction | int) -> int:
    """The nearest whole number; a half goes up (RULES.md section 1)."""
    numerator, denominator = amount.as_integer_ratio()
    return (2 * numerator + denominator) // (2 * denominator)


def down(amount: Fraction | int) -> int:
    """The largest whole number that is not more: what a cap allows."""
    numerator, denominator = amount.as_integer_ratio()
    return numerator // denominator
