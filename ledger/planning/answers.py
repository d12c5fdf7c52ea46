"""What a person answers about her life, and the levers of a plan: the shapes of request bodies and of files.

Money is whole fen. What is said to be in today's money is in prices of the plan's day. Periods are `YYYY-MM`. Ranges keep
the arithmetic exact and typing errors out; they are not the law, which refuses by its own rules when a plan is compiled.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.domain.calendar import Period
from ledger.planning.spelling import INDEX, SHARE, SHIFT, contradiction

MAX_MONTHLY_FEN: Final = 10**8
MAX_HOLDING_FEN: Final = 10**11
MAX_MONTHS: Final = 1200
AREA: Final = r"^CN-[0-9]{2}([0-9]{2})?$"

Months = Annotated[int, Field(strict=True, ge=0, le=MAX_MONTHS)]
MonthlyFen = Annotated[int, Field(strict=True, ge=0, le=MAX_MONTHLY_FEN)]
HoldingFen = Annotated[int, Field(strict=True, ge=0, le=MAX_HOLDING_FEN)]
Share = Annotated[Decimal, SHARE]

Category = Literal["M", "F55", "F50"]
Employment = Literal["enterprise", "public", "flexible", "none"]
Form = Literal["monthly", "fixed_months", "fixed_amount", "quarterly", "yearly", "lump_sum"]


class AnswerRefused(ValueError):
    """An answer or lever is missing, or out of place for this person. `field` is its name in the request."""

    def __init__(self, field: str, sentence: str, **detail: object) -> None:
        """Name the field, in a sentence that says what to give; `detail` may carry the range."""
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence
        self.detail = detail


class Said(BaseModel):
    """Frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=64)


class VestingStep(Said):
    """From so many years of service on, this share of the employer part is vested."""

    service_years: Annotated[int, Field(strict=True, ge=0, le=50, description="full years of service")]
    vested_share: Annotated[Share, Field(description="share that is vested from then on, 0 to 1")]


class Answers(Said):
    """What the balance sheet cannot know."""

    birth: Annotated[Period, Field(description="month of birth, YYYY-MM")]
    category: Annotated[Category, Field(description="M men; F55 and F50 women whose original age was 55 or 50")]
    area: Annotated[str, Field(pattern=AREA, description="where she is insured, such as CN-11 or CN-4403")]
    employment: Annotated[
        Employment,
        Field(description="enterprise or public staff; flexible: insured without employer; none: no work and no wage"),
    ] = "enterprise"
    monthly_wage_fen: Annotated[
        MonthlyFen, Field(description="gross wage a month now, in fen; of a flexible worker the income she declares")
    ] = 0
    paid_months: Annotated[Months, Field(description="months paid into the basic pension so far")] = 0
    deemed_months: Annotated[Months, Field(description="months that count without payment")] = 0
    actual_months_1992_10_to_1998_06: Annotated[
        int, Field(strict=True, ge=0, le=69, description="of the paid months, those from 1992-10 to 1998-06")
    ] = 0
    contribution_index: Annotated[
        Decimal,
        INDEX,
        Field(description="average contribution index of the months so far, as text"),
    ] = Decimal(1)
    first_pillar_account_fen: Annotated[
        HoldingFen, Field(description="personal account of the basic pension, in fen")
    ] = 0
    pension_in_payment_fen: Annotated[
        MonthlyFen | None, Field(description="basic pension a month that is paid already, in fen; only when retired")
    ] = None
    ea_employer_rate: Annotated[Share, Field(description="employer's rate of the enterprise annuity plan, 0 to 1")] = (
        Decimal(0)
    )
    ea_employee_rate: Annotated[Share, Field(description="own rate of the enterprise annuity plan, 0 to 1")] = Decimal(
        0
    )
    ea_service_months: Annotated[Months, Field(description="months of service that the vesting schedule counts")] = 0
    ea_vesting: Annotated[
        tuple[VestingStep, ...],
        Field(
            max_length=20,
            description="the plan's schedule; none: new employer contributions are vested at once, and what the sheet"
            " shows as unvested vests at retirement",
        ),
    ] = ()
    oa_employer_part: Annotated[
        Literal["real", "book"] | None,
        Field(description="how the unit pays its occupational annuity part; none: as the sheet shows"),
    ] = None
    taxed_before_2014_share: Annotated[
        Share, Field(description="share of all annuity contributions that was taxed before 2014")
    ] = Decimal(0)
    special_deductions_fen: Annotated[
        MonthlyFen, Field(description="special additional deductions of the wage tax a month, in fen")
    ] = 0
    other_withheld_fen: Annotated[
        MonthlyFen,
        Field(description="medical and unemployment insurance and housing fund withheld a month, in fen; deductible"),
    ] = 0
    liquid_savings_fen: Annotated[HoldingFen, Field(description="savings that she holds herself, in fen")] = 0
    monthly_need_fen: Annotated[
        MonthlyFen, Field(description="what she needs a month from retirement on, in fen of today's money")
    ] = 0
    benefit_base_fen: Annotated[
        int | None,
        Field(strict=True, ge=1, le=MAX_MONTHLY_FEN, description="local benefit base B; where the rules hold none"),
    ] = None
    base_floor_fen: Annotated[
        int | None, Field(strict=True, ge=1, le=MAX_MONTHLY_FEN, description="lowest contribution base, as B")
    ] = None
    base_cap_fen: Annotated[
        int | None, Field(strict=True, ge=1, le=MAX_MONTHLY_FEN, description="highest contribution base, as B")
    ] = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.base_floor_fen is None) != (self.base_cap_fen is None):
            raise contradiction("base_floor_fen and base_cap_fen are given together or not at all")
        if (
            self.base_floor_fen is not None
            and self.base_cap_fen is not None
            and self.base_cap_fen < self.base_floor_fen
        ):
            raise contradiction("base_cap_fen is at least base_floor_fen")
        if self.actual_months_1992_10_to_1998_06 > self.paid_months:
            raise contradiction("actual_months_1992_10_to_1998_06 is at most paid_months")
        steps = [(step.service_years, step.vested_share) for step in self.ea_vesting]
        years = [year for year, _ in steps]
        shares = [share for _, share in steps]
        if years != sorted(set(years)) or shares != sorted(set(shares)):
            raise contradiction("ea_vesting: service_years and vested_share rise from step to step")
        return self


class PayoutForm(Said):
    """How a product pays out from retirement on.

    - `monthly`: the balance at retirement / M (payout months of the retirement age) each month until empty
    - `fixed_months`: over `months` months, each the balance / the months left
    - `fixed_amount`: `amount_fen` each month until empty
    - `quarterly`, `yearly`: as monthly, three or twelve instalments at once
    - `lump_sum`: everything in the month of retirement
    """

    form: Annotated[Form, Field(description="the form of the payout")] = "monthly"
    months: Annotated[int | None, Field(strict=True, ge=1, le=600, description="of fixed_months")] = None
    amount_fen: Annotated[int | None, Field(strict=True, ge=1, le=MAX_MONTHLY_FEN, description="of fixed_amount")] = (
        None
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.months is not None) != (self.form == "fixed_months"):
            raise contradiction("months goes with form fixed_months, and with no other")
        if (self.amount_fen is not None) != (self.form == "fixed_amount"):
            raise contradiction("amount_fen goes with form fixed_amount, and with no other")
        return self


class Payouts(Said):
    """The form of each product; a retained account pays as its enterprise annuity."""

    enterprise_annuity: PayoutForm = PayoutForm()
    occupational_annuity: PayoutForm = PayoutForm()
    group_pension: PayoutForm = PayoutForm()
    personal_pension: PayoutForm = PayoutForm()
    commercial_pension: PayoutForm = PayoutForm()


class BreakInWork(Said):
    """Months without wage and plan contributions, the employment going on: nothing that is unvested is forfeited."""

    start: Annotated[Period, Field(description="first month of the break, YYYY-MM")]
    months: Annotated[int, Field(strict=True, ge=1, le=600, description="how many months it lasts")]
    pays_first_pillar: Annotated[
        bool,
        Field(strict=True, description="whether she pays the basic pension herself meanwhile, as a flexible worker"),
    ] = False
    monthly_need_fen: Annotated[
        MonthlyFen, Field(description="what she draws for living a month meanwhile, in fen of today's money")
    ] = 0


class LumpNeed(Said):
    """Money needed at once: it draws the savings; what they lack is shortfall."""

    month: Annotated[Period, Field(description="the month, YYYY-MM")]
    amount_fen: Annotated[
        int, Field(strict=True, ge=1, le=MAX_HOLDING_FEN, description="how much, in fen of today's money")
    ]


class Levers(Said):
    """What she may change. Without levers: retire at the statutory age, save nothing more, every product pays monthly."""

    retirement_month: Annotated[
        Period | None, Field(description="month of retirement, YYYY-MM, inside the lawful window")
    ] = None
    retirement_age_months: Annotated[
        int | None, Field(strict=True, ge=480, le=960, description="or the age at retirement, in months")
    ] = None
    contribute_until: Annotated[
        Period | None,
        Field(
            description="last month that is paid into the basic pension and the plans, YYYY-MM. Before retirement: an"
            " employee stops working, a flexible worker stops paying. After it: she prolongs the payment of the basic"
            " pension at the lowest base, for as long as years are missing"
        ),
    ] = None
    pp_yearly_fen: Annotated[
        int,
        Field(strict=True, ge=0, le=MAX_HOLDING_FEN, description="paid into the personal pension a calendar year, fen"),
    ] = 0
    pp_month: Annotated[
        int, Field(strict=True, ge=1, le=12, description="calendar month in which the year's personal pension is paid")
    ] = 12
    saving_monthly_fen: Annotated[
        MonthlyFen, Field(description="other saving a month while she earns, in fen of today; grows with the wage")
    ] = 0
    payouts: Annotated[Payouts, Field(description="payout form by product")] = Payouts()
    return_shift: Annotated[
        Decimal,
        SHIFT,
        Field(
            description="added to the yearly return of every product; not to the book rate, which is set by the state",
        ),
    ] = Decimal(0)
    break_in_work: Annotated[BreakInWork | None, Field(description="a break in work")] = None
    lump_need: Annotated[LumpNeed | None, Field(description="a sum needed at once")] = None

    @model_validator(mode="after")
    def _one_retirement(self) -> Self:
        if self.retirement_month is not None and self.retirement_age_months is not None:
            raise contradiction("give retirement_month or retirement_age_months, not both")
        return self
