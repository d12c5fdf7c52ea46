"""What a year's income is taxed, what a payment into the personal pension saves and costs, and what payouts are taxed."""

from fractions import Fraction
from typing import Annotated, Literal, Self

from msgspec.structs import asdict
from pydantic import BaseModel, Field, model_validator

from ledger.domain.calculators.annuities import Before2014, payout_tax_fen
from ledger.domain.calculators.income_tax import (
    Class,
    MonthWages,
    YearIncome,
    marginal_rate,
    tax_fen,
    taxable_income,
    withholding,
)
from ledger.domain.calculators.personal_pension import exit_tax_fen, saving
from ledger.domain.calculators.special_deductions import Claims, special_additional
from ledger.domain.rules import Rules
from ledger.planning.basis import Asked, Basis, Ruled, Words, basis, words
from ledger.planning.spelling import contradiction
from ledger.planning.telling import of_tax

MAX_YEARLY_FEN = 10**11
MAX_PAYOUTS = 20
MONTHS = 12

YearlyFen = Annotated[int, Field(strict=True, ge=0, le=MAX_YEARLY_FEN)]
MonthsOfYear = Annotated[int, Field(strict=True, ge=0, le=12)]
MonthsOfChildren = Annotated[int, Field(strict=True, ge=0, le=240)]
MonthsBefore = Annotated[int, Field(strict=True, ge=0, le=600)]


class Deductions(Asked):
    """Special additional deductions that are claimed for the year (专项附加扣除); months of children are added up."""

    infant_months: MonthsOfChildren = 0
    half_infant_months: Annotated[MonthsOfChildren, Field(description="of which the other parent takes one half")] = 0
    child_months: MonthsOfChildren = 0
    half_child_months: Annotated[MonthsOfChildren, Field(description="of which the other parent takes one half")] = 0
    study_months: MonthsOfYear = 0
    study_months_before: Annotated[MonthsBefore, Field(description="used up in earlier years")] = 0
    certificate: Annotated[bool, Field(strict=True, description="a vocational certificate of this year")] = False
    illness_cost_fen: Annotated[YearlyFen, Field(description="own cost of serious illness, after reimbursement")] = 0
    loan_months: MonthsOfYear = 0
    loan_months_before: Annotated[MonthsBefore, Field(description="used up in earlier years")] = 0
    rent_months: MonthsOfYear = 0
    rent_city: Literal["large_city", "middle_city", "small_city"] = "small_city"
    elderly_months: MonthsOfYear = 0
    elderly_share_fen: Annotated[
        int | None, Field(strict=True, ge=0, le=MAX_YEARLY_FEN, description="agreed share a month; none: an only child")
    ] = None


class PayoutAsked(Asked):
    """One payout; `form` is the real one, and decides on the tax of an annuity."""

    product: Annotated[
        Literal["enterprise_annuity", "occupational_annuity", "personal_pension", "first_pillar", "commercial_pension"],
        Field(description="what pays"),
    ]
    form: Annotated[
        Literal["monthly", "quarterly", "yearly", "lump_settled_abroad", "lump_heirs", "lump_other"],
        Field(description="how it pays"),
    ] = "monthly"
    amount_fen: Annotated[int, Field(strict=True, ge=1, le=MAX_YEARLY_FEN, description="one payout, gross")]
    taxed_before_2014_fen: Annotated[YearlyFen, Field(description="contributions that were taxed before 2014")] = 0
    contributions_fen: Annotated[YearlyFen, Field(description="all contributions; needed with the field before")] = 0

    @model_validator(mode="after")
    def _share(self) -> Self:
        if self.taxed_before_2014_fen > self.contributions_fen:
            raise contradiction("taxed_before_2014_fen is at most contributions_fen")
        return self


class TaxQuestion(Ruled):
    """A year's income, what may be deducted, what is paid into the personal pension, and payouts."""

    kind: Annotated[Class, Field(description="comprehensive income (wages and the like), or business income")] = (
        "comprehensive"
    )
    wages_fen: Annotated[YearlyFen, Field(description="wages of the year")] = 0
    labour_fen: Annotated[YearlyFen, Field(description="remuneration for labour of the year")] = 0
    royalties_fen: Annotated[YearlyFen, Field(description="royalties of the year")] = 0
    manuscripts_fen: Annotated[YearlyFen, Field(description="remuneration for manuscripts of the year")] = 0
    business_taxable_fen: Annotated[
        YearlyFen, Field(description="taxable business income before the personal pension; of kind business")
    ] = 0
    insurance_and_housing_fund_fen: Annotated[
        YearlyFen, Field(description="own social insurance and housing fund of the year")
    ] = 0
    annuity_fen: Annotated[YearlyFen, Field(description="own deductible annuity contributions of the year")] = 0
    other_fen: Annotated[YearlyFen, Field(description="other legal deductions of the year")] = 0
    deductions: Annotated[Deductions, Field(description="special additional deductions")] = Deductions()
    personal_pension_fen: Annotated[YearlyFen, Field(description="paid into the personal pension in the year")] = 0
    payouts: Annotated[
        tuple[PayoutAsked, ...], Field(max_length=MAX_PAYOUTS, description="payouts, each by itself")
    ] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        comprehensive = self.wages_fen + self.labour_fen + self.royalties_fen + self.manuscripts_fen
        if self.kind == "business" and comprehensive:
            raise contradiction(
                "of kind business give business_taxable_fen; wages and the like are comprehensive income"
            )
        if self.kind == "comprehensive" and self.business_taxable_fen:
            raise contradiction("business_taxable_fen goes with kind business")
        return self


class TaxOfIncome(BaseModel):
    """The year's tax before the personal pension. `withheld_fen`: by month from wages alone, the same wage each month."""

    income_fen: int
    deducted_fen: int
    special_additional_fen: dict[str, int]
    taxable_fen: int
    lost_fen: int
    tax_fen: int
    marginal_rate: str
    withheld_fen: list[int] | None


class TaxOfPension(BaseModel):
    """What the payment saves now and costs when it is paid out; `net_fen` below zero: it only costs."""

    paid_fen: int
    tax_after_fen: int
    saved_fen: int
    lost_deduction_fen: int
    exit_tax_fen: int
    net_fen: int


class TaxOfPayout(BaseModel):
    """One payout with its tax, apart from all others."""

    product: str
    form: str
    amount_fen: int
    tax_fen: int
    net_fen: int


class TaxAnswer(BaseModel):
    """What is taxed, and by which rules."""

    question: TaxQuestion
    basis: Basis
    income: TaxOfIncome
    pension: TaxOfPension | None
    payouts: list[TaxOfPayout]
    words: Words


def answer(question: TaxQuestion) -> TaxAnswer:
    """Compute it. Raises RuleRefused, where a rule does not allow it or none is in force on that day."""
    rules = question.rules()
    income = _income(question, rules)
    pension = None
    if question.personal_pension_fen:
        found = saving(question.personal_pension_fen, income.taxable_fen, question.kind, rules)
        of_saving = asdict(found)
        del of_saving["tax_before_fen"]
        pension = TaxOfPension(paid_fen=question.personal_pension_fen, **of_saving)
    payouts = [_payout(payout, rules) for payout in question.payouts]
    return TaxAnswer(
        question=question,
        basis=basis(rules),
        income=income,
        pension=pension,
        payouts=payouts,
        words=words(of_tax(income, pension)),
    )


def _income(question: TaxQuestion, rules: Rules) -> TaxOfIncome:
    if question.kind == "business":
        taxable_fen = question.business_taxable_fen
        return TaxOfIncome(
            income_fen=taxable_fen,
            deducted_fen=0,
            special_additional_fen={},
            taxable_fen=taxable_fen,
            lost_fen=0,
            tax_fen=tax_fen(taxable_fen, "business", rules),
            marginal_rate=_percent(marginal_rate(taxable_fen, "business", rules)),
            withheld_fen=None,
        )
    special = special_additional(Claims(**question.deductions.model_dump()), rules)
    year = YearIncome(
        wages_fen=question.wages_fen,
        labour_fen=question.labour_fen,
        royalties_fen=question.royalties_fen,
        manuscripts_fen=question.manuscripts_fen,
        insurance_and_housing_fund_fen=question.insurance_and_housing_fund_fen,
        special_additional_fen=sum(special.values()),
        annuity_fen=question.annuity_fen,
        other_fen=question.other_fen,
    )
    taxable = taxable_income(year, rules)
    return TaxOfIncome(
        income_fen=taxable.income_fen,
        deducted_fen=taxable.deducted_fen,
        special_additional_fen=special,
        taxable_fen=taxable.taxable_fen,
        lost_fen=taxable.lost_fen,
        tax_fen=tax_fen(taxable.taxable_fen, "comprehensive", rules),
        marginal_rate=_percent(marginal_rate(taxable.taxable_fen, "comprehensive", rules)),
        withheld_fen=_withheld(question, taxable.deducted_fen, rules),
    )


def _withheld(question: TaxQuestion, deducted_fen: int, rules: Rules) -> list[int] | None:
    """What the employer withholds of equal wages; other income is withheld otherwise, and not shown."""
    if not question.wages_fen or question.labour_fen or question.royalties_fen or question.manuscripts_fen:
        return None
    months = [MonthWages(part(question.wages_fen, month), part(deducted_fen, month)) for month in range(MONTHS)]
    return list(withholding(months, rules).months_fen)


def part(year_fen: int, month: int) -> int:
    """A month's part of a year's amount: equal to the fen, and the twelve add up to it."""
    return year_fen * (month + 1) // MONTHS - year_fen * month // MONTHS


def _payout(asked: PayoutAsked, rules: Rules) -> TaxOfPayout:
    if asked.product == "personal_pension":
        tax = exit_tax_fen(asked.amount_fen, rules)
    elif asked.product == "first_pillar":
        rules.provision("iit.exempt")
        tax = 0
    elif asked.product == "commercial_pension":
        rules.choice("cp.tax")
        tax = 0
    else:
        before = (
            Before2014(asked.taxed_before_2014_fen, asked.contributions_fen) if asked.taxed_before_2014_fen else None
        )
        tax = payout_tax_fen(asked.form, asked.amount_fen, rules, before_2014=before)
    return TaxOfPayout(
        product=asked.product,
        form=asked.form,
        amount_fen=asked.amount_fen,
        tax_fen=tax,
        net_fen=asked.amount_fen - tax,
    )


def _percent(rate: Fraction) -> str:
    return f"{rate * 100} %"
