"""When a person may retire, what that needs, and what the basic pension would be by the rules of a day."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Final, Self

from msgspec.structs import asdict
from pydantic import BaseModel, Field, model_validator

from ledger.domain.calculators.first_pillar import Record, benefit
from ledger.domain.calculators.retirement import (
    Category,
    FlexibleWindow,
    flexible_window,
    minimum_at,
    missing,
    payout_months,
    statutory,
)
from ledger.domain.calendar import Period, month_number, period_of
from ledger.domain.rules import Limit, Rules
from ledger.planning.basis import Basis, Ruled, Words, basis, words
from ledger.planning.showing import SHOWN
from ledger.planning.spelling import INDEX, contradiction
from ledger.planning.telling import of_retirement

MAX_MONTHS: Final = 1_200
MAX_FEN: Final = 10**12

Months = Annotated[int, Field(strict=True, ge=0, le=MAX_MONTHS)]


class RetirementQuestion(Ruled):
    """Who asks, and for the basic pension what has been paid."""

    birth: Annotated[Period, Field(description="month of birth, YYYY-MM", examples=["1971-07"])]
    category: Annotated[Category, Field(description="M men; F55 and F50 women whose original age was 55 or 50")]
    month: Annotated[
        Period | None,
        Field(description="month of retirement that she thinks of, YYYY-MM; without it, the statutory one"),
    ] = None
    counted_months: Annotated[
        Months | None, Field(description="months that will count at retirement, deemed ones included")
    ] = None
    deemed_months: Annotated[Months, Field(description="of these, months that count without payment")] = 0
    actual_months_1992_10_to_1998_06: Annotated[
        int, Field(strict=True, ge=0, le=69, description="of these, paid months from 1992-10 to 1998-06")
    ] = 0
    contribution_index: Annotated[
        Annotated[Decimal, INDEX] | None, Field(description="average contribution index, as text")
    ] = None
    account_fen: Annotated[
        int | None, Field(strict=True, ge=0, le=MAX_FEN, description="personal account at retirement, in fen")
    ] = None
    benefit_base_fen: Annotated[
        int | None, Field(strict=True, ge=1, le=MAX_FEN, description="benefit base B; without it, the area's last one")
    ] = None

    @model_validator(mode="after")
    def _pension(self) -> Self:
        asked = (self.contribution_index, self.account_fen)
        if (asked[0] is None) != (asked[1] is None) or (asked[0] is not None and self.counted_months is None):
            raise contradiction(
                "for the basic pension give counted_months, contribution_index and account_fen together"
            )
        if self.deemed_months + self.actual_months_1992_10_to_1998_06 > (self.counted_months or 0):
            raise contradiction("deemed and early months are part of counted_months")
        return self


class Retiring(BaseModel):
    """The month asked for, and what it needs. `payout_months` is M of that age, as an exact decimal."""

    month: str
    age_months: int
    minimum_months: int
    missing_months: int | None
    payout_months: str


class Pension(BaseModel):
    """The basic pension of the first month by parts. `open_parts`: rules that the area would need and has no row for."""

    benefit_base_fen: int
    basic_fen: int
    account_fen: int
    transition_fen: int
    extra_fen: int
    total_fen: int
    open_parts: list[str]


class RetirementAnswer(BaseModel):
    """By law, by choice, and the basic pension where it was asked for."""

    question: RetirementQuestion
    basis: Basis
    statutory_month: str
    statutory_age_months: int
    delay_months: int
    window: Annotated[FlexibleWindow, SHOWN]
    retiring: Retiring
    pension: Pension | None
    words: Words


def answer(question: RetirementQuestion) -> RetirementAnswer:
    """Compute it. Raises RuleRefused, where the month lies outside the window or no rule is in force."""
    rules = question.rules()
    by_law = statutory(question.birth, question.category, rules)
    window = flexible_window(question.birth, question.category, rules)
    month = question.month or by_law.month
    if not window.earliest_month <= month <= window.latest_month:
        raise rules.refuse(
            "ret.flex.early" if month < by_law.month else "ret.flex.late",
            f"choose a month from {window.earliest_month} to {window.latest_month}",
            earliest=window.earliest_month,
            latest=window.latest_month,
        )
    age_months = month_number(month) - month_number(question.birth)
    divisor = payout_months(age_months, rules)
    short = None
    if question.counted_months is not None:
        short = missing(month, by_law.month, question.counted_months, rules).missing_months
    said = of_retirement(
        by_law,
        window,
        this_month=period_of(question.on),
        missing_months=short or 0,
        month=month,
        early_allowed=question.counted_months is None or question.counted_months >= window.earliest_minimum_months,
    )
    return RetirementAnswer(
        question=question,
        statutory_month=by_law.month,
        statutory_age_months=by_law.age_months,
        delay_months=by_law.delay_months,
        window=window,
        retiring=Retiring(
            month=month,
            age_months=age_months,
            minimum_months=minimum_at(month, by_law.month, rules),
            missing_months=short,
            payout_months=_decimal(divisor),
        ),
        pension=_pension(question, age_months, rules),
        words=words(said),
        basis=basis(rules),
    )


def _pension(question: RetirementQuestion, age_months: int, rules: Rules) -> Pension | None:
    if question.contribution_index is None or question.account_fen is None or question.counted_months is None:
        return None
    base_fen = question.benefit_base_fen
    if base_fen is None:
        base_fen = rules.latest(Limit, "fp.B").value
    record = Record(
        birth=question.birth,
        base_fen=base_fen,
        index=Fraction(question.contribution_index),
        months=question.counted_months,
        deemed_months=question.deemed_months,
        actual_months_1992_10_to_1998_06=question.actual_months_1992_10_to_1998_06,
        account_fen=question.account_fen,
        age_months=age_months,
    )
    found = benefit(record, rules)
    return Pension(benefit_base_fen=base_fen, **asdict(found) | {"open_parts": list(found.open_parts)})


def _decimal(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.1f}"
