"""What calculators take: amounts and counts of zero or more."""

from fractions import Fraction


def not_negative(**given: Fraction | int) -> None:
    """Raise ValueError for what is below zero, by its name: there is no such payment, wage, balance or time."""
    for name, value in given.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; give zero or more")
