"""What a plan assumes about the years to come: each value with its source, and whether it is published or only assumed.

The packaged values are `ASSUMPTIONS`; a caller may pass others in the same shape. No law is here.

1. A published value names who publishes it.
2. Every product that a plan can hold has a return and a fee.
"""

import tomllib
from decimal import Decimal
from importlib.resources import files
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Product = Literal[
    "enterprise_annuity",
    "retained_account",
    "occupational_annuity",
    "group_pension",
    "personal_pension",
    "commercial_pension",
    "savings",
]
HELD: Final[tuple[Product, ...]] = (
    "enterprise_annuity",
    "retained_account",
    "occupational_annuity",
    "group_pension",
    "personal_pension",
    "commercial_pension",
    "savings",
)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=500)


class Assumed(_Row):
    """One yearly rate and where it comes from."""

    value: Annotated[
        Decimal,
        Field(ge=Decimal("-0.1"), le=Decimal("0.12"), decimal_places=6, description="a year; 0.02 is 2 %"),
    ]
    kind: Annotated[Literal["published", "assumption"], Field(description="published, or only assumed")]
    source: Annotated[str, Field(description="who publishes it, or what it leans on")] = ""
    note: Annotated[str, Field(min_length=1, description="why this value")]

    @model_validator(mode="after")
    def _published_by_somebody(self) -> Self:
        """Invariant 1."""
        if self.kind == "published" and not self.source:
            raise ValueError("a published value names its source")
        return self


class Earning(_Row):
    """What a product earns and costs a year.

    `credited`: monthly returns compound; yearly ones are the sum of the months' openings x rate / 12, credited in each
    December and in the month in which payouts begin, as a book rate is.
    """

    yearly_return: Assumed
    yearly_fee: Assumed
    credited: Annotated[Literal["monthly", "yearly"], Field(description="when the return is credited")] = "monthly"


class Assumptions(_Row):
    """Everything that a plan assumes."""

    inflation: Annotated[Assumed, Field(description="growth of prices, and so of needs, month by month")]
    wage_growth: Annotated[
        Assumed, Field(description="growth of her wage, what is withheld from it and what she saves, in each January")
    ]
    benefit_base_growth: Annotated[
        Assumed, Field(description="growth of the benefit base and of the contribution bounds, in each January")
    ]
    pension_growth: Annotated[Assumed, Field(description="growth of basic pensions in payment, in each January")]
    book_rate: Annotated[Assumed, Field(description="of the personal account and of book entries, credited yearly")]
    products: Annotated[dict[Product, Earning], Field(description="returns and fees by product")]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Invariant 2."""
        missing = [product for product in HELD if product not in self.products]
        if missing:
            raise ValueError(f"products lacks {', '.join(missing)}")
        return self


def _packaged() -> Assumptions:
    text = files(__package__).joinpath("assumptions.toml").read_text(encoding="utf-8")
    return Assumptions.model_validate(tomllib.loads(text))


ASSUMPTIONS: Final = _packaged()
