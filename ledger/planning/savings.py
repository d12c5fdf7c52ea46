"""What a person asks about this year's savings, and what an allocation assumes about levels of risk.

Money is whole fen. Ranges keep the arithmetic exact and typing errors out; they are not the law.

1. Levels of risk rise: a higher level allows every grade and every share that a lower one does.
2. Each kind of advice has its sentence in Chinese and English.
"""

import tomllib
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ledger.planning.answers import MAX_HOLDING_FEN, HoldingFen, Said
from ledger.planning.catalogue import MAX_LOCK_MONTHS

MAX_HOLDINGS: Final = 200
BORNE: Final = ("highest_grade", "risky_share", "product_share")

Level = Literal["cautious", "steady", "balanced", "growth", "active"]
AdviceCode = Literal["room_used_up", "closed", "costs", "no_gain", "up_to", "whole_room"]
Grade = Annotated[int, Field(strict=True, ge=1, le=5)]


class Holding(Said):
    """Something she owns already, by the catalogue's id, or any name of hers with its grade of risk."""

    product: Annotated[str, Field(min_length=1, description="id in the catalogue, or another name")]
    value_fen: Annotated[HoldingFen, Field(description="what it is worth now, in fen")]
    risk_grade: Annotated[Grade | None, Field(description="1 to 5; needed when the catalogue does not know it")] = None


class SavingsQuestion(Said):
    """How much is to be saved this year, and what the saver needs and bears."""

    to_save_fen: Annotated[
        int, Field(strict=True, ge=1, le=MAX_HOLDING_FEN, description="to be saved this year, in fen")
    ]
    liquid_savings_fen: Annotated[HoldingFen, Field(description="what can be spent at once already, in fen")] = 0
    liquidity_buffer_fen: Annotated[HoldingFen, Field(description="what must stay at hand, in fen")] = 0
    taxable_before_fen: Annotated[
        HoldingFen, Field(description="this year's taxable income before any personal-pension deduction, in fen")
    ] = 0
    income: Annotated[Literal["comprehensive", "business"], Field(description="which tax table")] = "comprehensive"
    pension_paid_fen: Annotated[HoldingFen, Field(description="paid into the personal pension this year, in fen")] = 0
    may_pay_pension: Annotated[
        bool, Field(strict=True, description="insured in the basic pension, and not drawing the personal pension")
    ] = True
    months_to_retirement: Annotated[
        int, Field(strict=True, ge=0, le=MAX_LOCK_MONTHS, description="months until the money is needed")
    ]
    risk_level: Annotated[Level, Field(description="how much risk she bears")] = "steady"
    holdings: Annotated[
        tuple[Holding, ...], Field(max_length=MAX_HOLDINGS, description="what she owns besides liquid savings")
    ] = ()
    tax_saved: Annotated[
        Literal["kept_in_bank", "taken_now"],
        Field(description="kept_in_bank: it earns what the bank pays until retirement; taken_now: it is spent now"),
    ] = "kept_in_bank"
    pension_for_return: Annotated[
        bool, Field(strict=True, description="use the personal pension also where its tax does not pay")
    ] = False


def _exact(value: object) -> object:
    if isinstance(value, str):
        return Fraction(value)
    raise ValueError("write an exact decimal as text")


Share = Annotated[Fraction, BeforeValidator(_exact), Field(ge=0, le=1)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class RiskLevel(_Row):
    """What one level bears; all of it is assumption. `product_share`: of all she owns, in one product at most."""

    level: Level
    name_zh: str
    highest_grade: Grade
    risky_share: Share
    product_share: Share
    kind: Literal["assumption"]
    note: str


class Manner(_Row):
    """From which grade on things count, and how far limits and plans are moved to see what they are worth."""

    risky_from_grade: Grade
    concentrated_from_grade: Grade
    liquid_up_to_grade: Grade
    limit_raised_by_fen: Annotated[int, Field(ge=100)]
    runner_up_moves_share: Annotated[Share, Field(gt=0)]
    kind: Literal["assumption"]
    note: str


class Advice(_Row):
    """One sentence of advice in both languages, with places for amounts in yuan."""

    code: AdviceCode
    zh: str
    en: str


class Conventions(_Row):
    """All that an allocation assumes besides catalogue and inflation."""

    risk_level: tuple[RiskLevel, ...]
    manner: Manner
    advice: tuple[Advice, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Invariants 1 and 2."""
        if tuple(each.level for each in self.risk_level) != get_args(Level):
            raise ValueError("risk_level does not hold each level once, from cautious to active")
        for lower, higher in pairwise(self.risk_level):
            if any(getattr(higher, name) < getattr(lower, name) for name in BORNE):
                raise ValueError(f"{higher.level} bears less than {lower.level}")
        if sorted(each.code for each in self.advice) != sorted(get_args(AdviceCode)):
            raise ValueError("advice does not hold each code once")
        return self

    def level(self, level: Level) -> RiskLevel:
        """What that level bears."""
        return next(each for each in self.risk_level if each.level == level)

    def above(self, level: Level) -> RiskLevel | None:
        """The next level; None above the highest."""
        levels = [each.level for each in self.risk_level]
        place = levels.index(level) + 1
        return self.risk_level[place] if place < len(levels) else None

    def sentences(self, code: AdviceCode) -> Advice:
        """The sentences of that advice."""
        return next(each for each in self.advice if each.code == code)


def _packaged() -> Conventions:
    text = files(__package__).joinpath("allocation.toml").read_text(encoding="utf-8")
    return Conventions.model_validate(tomllib.loads(text))


CONVENTIONS: Final = _packaged()
