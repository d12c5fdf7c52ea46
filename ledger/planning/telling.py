"""From each result to the plain figures that its two sentences speak of: which of its many numbers a person hears."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from ledger.domain.calendar import month_number
from ledger.planning.explaining import (
    SENTENCES,
    AllocationResult,
    MoveResult,
    PlanResult,
    RetirementResult,
    SensitivityResult,
    SolveResult,
    TaxResult,
    UncertaintyResult,
    WhatIfResult,
    explain,
)
from ledger.planning.wording import Texts

if TYPE_CHECKING:
    from ledger.domain.calculators.lawful_moves import Judged
    from ledger.domain.calculators.retirement import FlexibleWindow, Retirement
    from ledger.planning.allocation import Allocation
    from ledger.planning.paths import Uncertainty
    from ledger.planning.plan import Plan
    from ledger.planning.scenarios import Comparison
    from ledger.planning.sensitivity import Tornado
    from ledger.planning.solving import Solved
    from ledger.planning.taxes import TaxOfIncome, TaxOfPension

WHOLE_PERCENT_BP = 100


def _average(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


def of_plan(plan: Plan) -> Texts:
    """What she lives on, and whether it lasts. The share of the wage is told in whole percent."""
    found = plan.summary
    share = None
    if found.replacement is not None:
        share = _average(int(Decimal(found.replacement) * WHOLE_PERCENT_BP**2), WHOLE_PERCENT_BP) * WHOLE_PERCENT_BP
    short_age = gap = None
    if found.shortfall_from is not None:
        short_age = month_number(found.shortfall_from) - month_number(plan.answers.birth)
        gap = _average(found.shortfall_today_fen, found.shortfall_months)
    return explain(
        PlanResult(
            retirement_age_months=found.retirement_age_months,
            income_today_fen=max(0, found.first_income_today_fen or 0),
            need_today_fen=plan.answers.monthly_need_fen,
            retired=plan.outlook.retirement < 0,
            missing_months=found.missing_months,
            share_of_wage_bp=share,
            short_age_months=short_age,
            gap_today_fen=gap,
        )
    )


def of_uncertainty(found: Uncertainty, plan: Plan) -> Texts:
    """How often money runs short, and the income of the first year of retirement, or of the year to come."""
    band = found.first_income_today_fen
    assert band is not None, "who is in the plan retires in it"
    return explain(
        UncertaintyResult(
            futures_count=found.paths,
            short_count=round(found.short.share * found.paths),
            low_today_fen=max(0, band.p5),
            high_today_fen=max(0, band.p95),
            need_told=plan.answers.monthly_need_fen > 0,
            retired=plan.outlook.retirement < 0,
        )
    )


def of_comparison(found: Comparison) -> tuple[Texts, ...]:
    """Each scenario but the first, against the first."""
    first = found.lives[0].label
    return tuple(
        explain(
            WhatIfResult(
                base_label=first,
                other_label=each.label,
                income_more_today_fen=each.parted["first_income_today_fen"].total,
                lifetime_more_today_fen=each.parted["lifetime_income_today_fen"].total,
                taxes_part_today_fen=each.parted["lifetime_income_today_fen"].of_taxes,
                returns_part_today_fen=each.parted["lifetime_income_today_fen"].of_returns,
                lasting_more_today_fen=each.parted["lasting_today_fen"].total,
            )
        )
        for each in found.differences
    )


def of_tornado(found: Tornado) -> Texts:
    """The step that helps most, and the one that hurts most."""
    best, worst = found.best, found.worst
    return explain(
        SensitivityResult(
            steps_count=len(list(found.steps)),
            best_name=None if best is None else best.name,
            best_today_fen=0 if best is None else best.effect_fen(found.outcome),
            worst_name=None if worst is None else worst.name,
            worst_today_fen=0 if worst is None else -worst.effect_fen(found.outcome),
        )
    )


def of_solved(found: Solved) -> Texts:
    """What reaches the goal, or the most there is."""
    told = found.choice or found.most
    return explain(
        SolveResult(
            lever=found.lever,
            aim=found.aim,
            target_today_fen=found.target_today_fen,
            reached=found.choice is not None,
            already=found.already,
            income_today_fen=max(0, found.as_asked_today_fen if found.already else told.income_today_fen),
            choice_fen=told.yearly_fen,
            choice_bp=told.rate_bp,
            choice_age_months=told.age_months,
        )
    )


def of_allocation(found: Allocation, to_save_fen: int) -> Texts:
    """What goes into the personal pension and why, or into what else."""
    placed, advice = found.plan, found.pension
    best = max(placed.lines, key=lambda line: line.amount_fen, default=None)
    if best is not None and best.amount_fen < placed.in_bank_fen:
        best = None
    return explain(
        AllocationResult(
            amount_fen=to_save_fen,
            pension_fen=placed.pension_fen,
            tax_saved_fen=placed.tax_saved_fen,
            pension_tried_fen=advice.payment_fen,
            pension_cost_fen=max(0, -advice.net_fen) if advice.code == "costs" else 0,
            kept_fen=placed.in_bank_fen,
            best_name=None if best is None else Texts(best.name_zh, best.name_en),
            best_fen=0 if best is None else best.amount_fen,
            gain_fen=max(0, found.gain_fen),
        )
    )


def of_tax(income: TaxOfIncome, pension: TaxOfPension | None) -> Texts:
    """The year's tax, and whether a payment into the personal pension is worth it."""
    return explain(
        TaxResult(
            tax_fen=income.tax_fen,
            paid_fen=0 if pension is None else pension.paid_fen,
            saved_fen=0 if pension is None else pension.saved_fen,
            exit_tax_fen=0 if pension is None else pension.exit_tax_fen,
        )
    )


def of_retirement(  # noqa: PLR0913 - the law, and what of it holds for her
    by_law: Retirement,
    window: FlexibleWindow,
    *,
    this_month: str,
    missing_months: int,
    early_allowed: bool,
    month: str | None = None,
) -> Texts:
    """When she retires. `missing_months`: at the `month` she thinks of, without one at the statutory month.

    `early_allowed`: she has the years to go earlier.

    Nobody retires in a month that is over: the earliest age told is not below that of this month.
    """
    earliest = max(window.earliest_month, this_month)
    earlier = early_allowed and earliest < by_law.month
    gone = month_number(earliest) - month_number(window.earliest_month)
    return explain(
        RetirementResult(
            retirement_age_months=by_law.age_months,
            retirement_month=by_law.month,
            latest_age_months=window.latest_age_months if window.is_flexible else None,
            earliest_age_months=window.earliest_age_months + gone if earlier else None,
            missing_months=missing_months,
            reached=by_law.month <= this_month,
            early_month=month if month is not None and month < by_law.month else None,
        )
    )


def _ways(judged: Judged, from_product: str) -> tuple[str | None, str | None]:
    """The nearest lawful way: its name, or the product that the money may go to."""
    steps = judged.alternative
    if not steps:
        return None, None
    if steps[0].do == "pay_out":
        return "way_cash_then_pay_in", None
    if steps[0].do == "transfer":
        return None, name_of(steps[0].into, from_product)
    return ("way_keep_and_wait" if steps[0].into == from_product else "way_retain_and_wait"), None


def name_of(product: str, from_product: str | None = None) -> str:
    """The name of a product or place; another of the same kind is said so."""
    other = f"other_{product}"
    return other if product == from_product and other in SENTENCES.names else product


def of_move(  # noqa: PLR0913 - the wish, and what its simulation found
    judged: Judged,
    from_product: str,
    to_product: str,
    *,
    amount_fen: int,
    tax_fen: int | None = 0,
    paid_in_fen: int | None = None,
) -> Texts:
    """Whether money may move, what tax it costs, and else the nearest way.

    `paid_in_fen`: told of a simulated payout with a new contribution, which is lawful in two steps.
    """
    way, way_to = _ways(judged, from_product)
    return explain(
        MoveResult(
            from_name=from_product,
            to_name=name_of(to_product, from_product),
            amount_fen=amount_fen,
            lawful=judged.lawful or paid_in_fen is not None,
            tax_fen=tax_fen,
            paid_in_fen=paid_in_fen,
            way_name=way,
            way_to_name=way_to,
        )
    )
