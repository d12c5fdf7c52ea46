"""The working life of an Outlook: in which months she earns, what she earns, and what is paid on it and deducted.

Yearly figures grow in each January after the first month of the plan, rounded half up; months take that of their year.
1. The contribution base is the wage of the year before (that of the first year: the wage now) between floor and cap.
2. A flexible worker pays the basic pension alone, and so does who pays in a break or after retirement; the last two on the
   lowest base. Her income is taxed as wages are.
3. The first pillar takes no contribution after the month in which she asked to end it.
"""

from decimal import Decimal
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ledger.domain.rules import RuleRefused, Rules, Terms
from ledger.planning.answers import AnswerRefused, Answers
from ledger.planning.asked import Asked
from ledger.planning.axis import YEAR
from ledger.planning.growth import grown, parts
from ledger.planning.outlook import PARTS, Whole

EMPLOYED: Final = frozenset({"enterprise", "public"})


class Share(Struct, frozen=True):
    """An exact share as a fraction of whole numbers."""

    numerator: int
    denominator: int

    def half_up(self, amount: int) -> int:
        """The share of an amount, half up."""
        return (2 * amount * self.numerator + self.denominator) // (2 * self.denominator)

    def down(self, amount: int) -> int:
        """The share of an amount, rounded down."""
        return amount * self.numerator // self.denominator


class Months(Struct, frozen=True, eq=False):
    """Which months are what: `earns` a wage; pays the first pillar from the wage, as `flexible`, or on the `lowest` base."""

    earns: NDArray[np.bool_]
    in_break: NDArray[np.bool_]
    from_wage: NDArray[np.bool_]
    flexible: NDArray[np.bool_]
    lowest: NDArray[np.bool_]
    last_wage: int

    @property
    def paid(self) -> NDArray[np.bool_]:
        """Whether the month counts for the basic pension."""
        return self.from_wage | self.flexible | self.lowest


class Pay(Struct, frozen=True, eq=False):
    """Yearly figures, by calendar year of the axis; `year` is the place of each month's year among them.

    `index_parts`: contribution base / benefit base, in parts of PARTS.
    """

    year: Whole
    wage_fen: Whole
    base_fen: Whole
    floor_fen: Whole
    cap_fen: Whole
    benefit_base_fen: Whole
    index_parts: Whole
    lowest_index_parts: Whole
    withheld_fen: Whole
    saving_fen: Whole


def share(value: Decimal) -> Share:
    """A decimal as an exact share."""
    return Share(*value.as_integer_ratio())


def rule_share(rules: Rules, rule_id: str) -> Share:
    """The share that a rule gives."""
    value = rules.rate(rule_id).value
    return Share(value.numerator, value.denominator)


def base_bounds(answers: Answers, rules: Rules) -> tuple[int, int]:
    """Lowest and highest contribution base: as answered, or the last published ones of the area."""
    if answers.base_floor_fen is not None and answers.base_cap_fen is not None:
        return answers.base_floor_fen, answers.base_cap_fen
    try:
        terms = rules.latest(Terms, "fp.base")
    except RuleRefused as refused:
        raise AnswerRefused(
            "base_floor_fen", f"fp.base has no row for {answers.area}: give base_floor_fen and base_cap_fen"
        ) from refused
    return terms.whole("floor_fen"), terms.whole("cap_fen")


def working_months(asked: Asked, retirement: int) -> Months:
    """Which months she earns and pays, before anything is prolonged after retirement."""
    axis, answers, levers = asked.axis, asked.answers, asked.levers
    t = np.arange(axis.months)
    until = retirement if levers.contribute_until is None else min(retirement, axis.index(levers.contribute_until))
    employed = answers.employment in EMPLOYED
    last_wage = until if employed else retirement
    if answers.employment == "none":
        last_wage = -1
    in_break = np.zeros(axis.months, np.bool_)
    pays = False
    if levers.break_in_work is not None:
        first = axis.index(levers.break_in_work.start)
        if not 0 <= first <= retirement:
            raise AnswerRefused(
                "break_in_work.start",
                f"a break begins from {axis.period(0)} to the month of retirement, {axis.period(retirement)}",
            )
        pays = levers.break_in_work.pays_first_pillar
        in_break = (t >= first) & (t < first + levers.break_in_work.months) & (t <= retirement)
    earns = (t <= last_wage) & ~in_break
    none = np.zeros(axis.months, np.bool_)
    return Months(
        earns=earns,
        in_break=in_break,
        from_wage=earns & (t <= until) if employed else none,
        flexible=earns & (t <= until) if answers.employment == "flexible" else none,
        lowest=in_break & (t <= until) if pays else none,
        last_wage=last_wage,
    )


def pay(asked: Asked, benefit_base_fen: int) -> Pay:
    """The wage and everything that follows from it, by calendar year. `benefit_base_fen`: B of the first year."""
    axis, answers, levers, assumptions = asked.axis, asked.answers, asked.levers, asked.assumptions
    steps = axis.years - 1
    wage_growth, base_growth = parts(assumptions.wage_growth.value), parts(assumptions.benefit_base_growth.value)
    floor_fen, cap_fen = base_bounds(answers, asked.rules)
    wages = grown(answers.monthly_wage_fen, wage_growth, steps)
    floors, caps = grown(floor_fen, base_growth, steps), grown(cap_fen, base_growth, steps)
    benefit_bases = grown(benefit_base_fen, base_growth, steps)
    last_years = [wages[0], *wages[:-1]]
    bases = [min(max(wage, low), high) for wage, low, high in zip(last_years, floors, caps, strict=True)]
    return Pay(
        year=(np.arange(axis.months) + axis.lead) // YEAR,
        wage_fen=np.array(wages),
        base_fen=np.array(bases),
        floor_fen=np.array(floors),
        cap_fen=np.array(caps),
        benefit_base_fen=np.array(benefit_bases),
        index_parts=_ratios(bases, benefit_bases),
        lowest_index_parts=_ratios(floors, benefit_bases),
        withheld_fen=np.array(grown(answers.other_withheld_fen, wage_growth, steps)),
        saving_fen=np.array(grown(levers.saving_monthly_fen, wage_growth, steps)),
    )


def _ratios(amounts: list[int], of: list[int]) -> Whole:
    return np.array([(2 * amount * PARTS + whole) // (2 * whole) for amount, whole in zip(amounts, of, strict=True)])
