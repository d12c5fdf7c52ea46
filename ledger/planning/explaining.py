"""What each kind of result means, in two sentences of daily life, in Chinese and in English.

Each class takes plain figures of one kind of result, decides by plain conditions which variant they are, and lists in
`SAYS` the slots that the template of each variant fills. The words stand in sentences.toml; `wording` checks them against
this list when the program starts. Amounts are fen; `*_today_fen` is in today's prices.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from ledger.planning.wording import Result, Texts, packaged

Sign = Literal["more", "less", "same"]
SIGNS: Final = frozenset(("more", "less", "same"))
SolveLever = Literal["yearly_saving", "saving_rate", "personal_pension", "retirement_age"]
SOLVE_LEVERS: Final[tuple[SolveLever, ...]] = ("yearly_saving", "saving_rate", "personal_pension", "retirement_age")
HUNDRED: Final = 100
HALF_YUAN_FEN: Final = 50

CASES: Final[Mapping[str, frozenset[str]]] = {
    "income": SIGNS,
    "lifetime": SIGNS,
    "taxes": SIGNS,
    "returns": SIGNS,
    "spend": SIGNS,
    "choice": frozenset(SOLVE_LEVERS),
    "most": frozenset(SOLVE_LEVERS),
    "aim": frozenset(("first_income", "lasting")),
    "when": frozenset(("retired", "to_come")),
}


def _sign(difference_fen: int) -> Sign:
    """What is said in whole yuan is the same where it rounds to none."""
    if abs(difference_fen) < HALF_YUAN_FEN:
        return "same"
    return "more" if difference_fen > 0 else "less"


class PlanResult(Result, frozen=True, kw_only=True):
    """A plan. `retired`: she is so already; `gap_today_fen`: what lacks on average in the months that lack any.

    `need_today_fen` is 0 where she did not say it; `share_of_wage_bp`: the first income over the last net wage. `otherwise`:
    what falls short is not, or not alone, what she needs a month in retirement, but a sum needed at once, or a break.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "years_missing": "retirement_age_months missing_months income_today_fen",
        "retired_short": "income_today_fen need_today_fen short_age_months gap_today_fen",
        "retired_short_otherwise": "income_today_fen short_age_months gap_today_fen",
        "retired_covered": "income_today_fen need_today_fen",
        "retired_untold": "income_today_fen",
        "short": "retirement_age_months income_today_fen need_today_fen short_age_months gap_today_fen",
        "short_otherwise": "retirement_age_months income_today_fen short_age_months gap_today_fen",
        "covered": "retirement_age_months income_today_fen need_today_fen",
        "compared": "retirement_age_months income_today_fen share_of_wage_bp",
        "untold": "retirement_age_months income_today_fen",
    }

    retirement_age_months: int
    income_today_fen: int
    need_today_fen: int
    retired: bool = False
    missing_months: int = 0
    share_of_wage_bp: int | None = None
    short_age_months: int | None = None
    gap_today_fen: int | None = None

    @property
    def variant(self) -> str:
        if self.missing_months and not self.retired:
            return "years_missing"
        before = "retired_" if self.retired else ""
        if self.short_age_months is not None:
            in_work = not self.retired and self.short_age_months <= self.retirement_age_months
            return f"{before}short" if self.need_today_fen and not in_work else f"{before}short_otherwise"
        if self.need_today_fen:
            return f"{before}covered"
        return "compared" if self.share_of_wage_bp is not None and not self.retired else f"{before}untold"


class UncertaintyResult(Result, frozen=True, kw_only=True):
    """Many possible futures: in how many of them money runs short, and between what the income lies in 9 of 10."""

    SAYS: ClassVar[dict[str, str]] = {
        "untold": "futures_count low_today_fen high_today_fen",
        "never": "futures_count low_today_fen high_today_fen",
        "rarely": "futures_count low_today_fen high_today_fen",
        "sometimes": "futures_count short_of_100 low_today_fen high_today_fen",
        "mostly": "futures_count short_of_100 low_today_fen high_today_fen",
    }

    futures_count: int
    short_count: int
    low_today_fen: int
    high_today_fen: int
    need_told: bool = True
    retired: bool = False

    @property
    def short_of_100(self) -> int:
        """Half up; a hundred only where all of them run short."""
        rounded = (2 * HUNDRED * self.short_count + self.futures_count) // (2 * self.futures_count)
        return rounded if self.short_count == self.futures_count else min(rounded, HUNDRED - 1)

    @property
    def variant(self) -> str:
        if not self.need_told:
            return "untold"
        if self.short_count == 0:
            return "never"
        if self.short_of_100 == 0:
            return "rarely"
        return "mostly" if 2 * self.short_count >= self.futures_count else "sometimes"

    @property
    def cases(self) -> Mapping[str, str]:
        return {"when": "retired" if self.retired else "to_come"}


class WhatIfResult(Result, frozen=True, kw_only=True):
    """One scenario against the first: a month after retirement, up to the age of 100, and what is taxes and returns.

    `taxes_part_today_fen` above zero: taxes take less. `lasting_more_today_fen`: what she can spend a month with what she has
    saved; it is told where only her own savings differ, of which nothing is income.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "same": "base_label other_label",
        "put_by": "base_label other_label lasting_more_today_fen",
        **dict.fromkeys(
            ("better", "worse", "mixed"),
            "base_label other_label income_more_today_fen lifetime_more_today_fen taxes_part_today_fen"
            " returns_part_today_fen",
        ),
    }

    base_label: str
    other_label: str
    income_more_today_fen: int
    lifetime_more_today_fen: int
    taxes_part_today_fen: int
    returns_part_today_fen: int
    lasting_more_today_fen: int = 0

    @property
    def variant(self) -> str:
        differ = {group for group, sign in self.cases.items() if sign != "same"}
        if differ <= {"spend"}:
            return "put_by" if differ else "same"
        told = {self.cases["income"], self.cases["lifetime"]}
        if "less" not in told:
            return "better"
        return "mixed" if "more" in told else "worse"

    @property
    def cases(self) -> Mapping[str, str]:
        return {
            "income": _sign(self.income_more_today_fen),
            "lifetime": _sign(self.lifetime_more_today_fen),
            "taxes": _sign(self.taxes_part_today_fen),
            "returns": _sign(self.returns_part_today_fen),
            "spend": _sign(self.lasting_more_today_fen),
        }


class SensitivityResult(Result, frozen=True, kw_only=True):
    """Which of the steps tried brings most a month after retirement, and which costs most; sizes, in today's prices."""

    SAYS: ClassVar[dict[str, str]] = {
        "nothing": "steps_count",
        "both": "best_name best_today_fen worst_name worst_today_fen",
        "gain": "best_name best_today_fen",
        "loss": "worst_name worst_today_fen",
    }

    steps_count: int
    best_name: str | None = None
    best_today_fen: int = 0
    worst_name: str | None = None
    worst_today_fen: int = 0

    @property
    def variant(self) -> str:
        if self.best_name is not None and self.worst_name is not None:
            return "both"
        if self.best_name is not None:
            return "gain"
        return "loss" if self.worst_name is not None else "nothing"


class SolveResult(Result, frozen=True, kw_only=True):
    """What reaches an income of today's money, or the most that can be had.

    `aim`: the income of the first year of retirement, or what can be spent every month up to the age of 100. The figure of
    the lever is `choice_fen`, `choice_bp` of the wage, or `choice_age_months`: of the answer, or of the most.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "reached": "target_today_fen choice_fen choice_bp choice_age_months",
        "reached_without": "target_today_fen income_today_fen",
        "already": "target_today_fen income_today_fen",
        "out_of_reach": "target_today_fen income_today_fen choice_fen choice_bp choice_age_months",
        "no_help": "target_today_fen income_today_fen",
    }

    lever: SolveLever
    aim: Literal["first_income", "lasting"]
    target_today_fen: int
    reached: bool
    already: bool = False
    income_today_fen: int | None = None
    choice_fen: int | None = None
    choice_bp: int | None = None
    choice_age_months: int | None = None

    @property
    def variant(self) -> str:
        if self.already:
            return "already"
        nothing = 0 in (self.choice_fen, self.choice_bp)
        if not self.reached:
            return "no_help" if nothing else "out_of_reach"
        return "reached_without" if nothing else "reached"

    @property
    def cases(self) -> Mapping[str, str]:
        return {"choice": self.lever, "most": self.lever, "aim": self.aim}


class AllocationResult(Result, frozen=True, kw_only=True):
    """Where this year's saving goes.

    `pension_cost_fen`: what paying `pension_tried_fen` into the personal pension would cost. `best_name`: the product that
    gets most; `kept_fen` stays at hand; `gain_fen`: what the plan brings above leaving all in the bank account.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "worth": "amount_fen pension_fen tax_saved_fen rest_fen gain_fen",
        "worth_all": "pension_fen tax_saved_fen gain_fen",
        "untaxed": "amount_fen pension_fen gain_fen",
        "costs": "amount_fen pension_tried_fen pension_cost_fen best_name",
        "keep": "amount_fen kept_fen",
        "plain": "amount_fen best_name best_fen gain_fen",
    }

    amount_fen: int
    pension_fen: int = 0
    tax_saved_fen: int = 0
    pension_tried_fen: int = 0
    pension_cost_fen: int = 0
    kept_fen: int = 0
    best_name: str | Texts | None = None
    best_fen: int = 0
    gain_fen: int = 0

    @property
    def rest_fen(self) -> int:
        """What does not go into the personal pension."""
        return self.amount_fen - self.pension_fen

    @property
    def variant(self) -> str:
        if self.pension_fen and self.tax_saved_fen < HALF_YUAN_FEN:
            return "untaxed"
        if self.pension_fen:
            return "worth" if self.rest_fen else "worth_all"
        if self.best_name is None:
            return "keep"
        return "costs" if self.pension_cost_fen else "plain"


class TaxResult(Result, frozen=True, kw_only=True):
    """The year's tax, and what a payment into the personal pension saves now and costs when it is paid out."""

    SAYS: ClassVar[dict[str, str]] = {
        "no_payment": "tax_fen",
        "no_tax": "",
        "worth": "paid_fen saved_fen exit_tax_fen net_fen",
        "even": "paid_fen saved_fen exit_tax_fen",
        "costs": "paid_fen saved_fen exit_tax_fen loss_fen",
    }

    tax_fen: int
    paid_fen: int = 0
    saved_fen: int = 0
    exit_tax_fen: int = 0

    @property
    def net_fen(self) -> int:
        return self.saved_fen - self.exit_tax_fen

    @property
    def loss_fen(self) -> int:
        return -self.net_fen

    @property
    def variant(self) -> str:
        if not self.paid_fen:
            return "no_payment" if self.tax_fen else "no_tax"
        if self.net_fen == 0:
            return "even"
        return "worth" if self.net_fen > 0 else "costs"


class RetirementResult(Result, frozen=True, kw_only=True):
    """When she retires by law. Ages are None where she may not choose an earlier or a later one.

    `missing_months`: of the minimum years at the statutory month, or at `early_month`, an earlier one that she thinks of.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "reached": "retirement_age_months retirement_month",
        "years_missing": "retirement_age_months retirement_month missing_months",
        "too_early": "retirement_age_months retirement_month early_month missing_months",
        "window": "retirement_age_months retirement_month earliest_age_months latest_age_months",
        "later_only": "retirement_age_months retirement_month latest_age_months",
        "fixed": "retirement_age_months retirement_month",
    }

    retirement_age_months: int
    retirement_month: str
    latest_age_months: int | None
    earliest_age_months: int | None = None
    missing_months: int = 0
    reached: bool = False
    early_month: str | None = None

    @property
    def variant(self) -> str:
        if self.missing_months:
            return "years_missing" if self.early_month is None else "too_early"
        if self.reached:
            return "reached"
        if self.latest_age_months is None:
            return "fixed"
        return "later_only" if self.earliest_age_months is None else "window"


class MoveResult(Result, frozen=True, kw_only=True):
    """Money from one account to another. `tax_fen` is None where the law leaves it open.

    `paid_in_fen`: what arrives where the law wants a payout and a contribution; `way_name`: the nearest lawful way, or
    `way_to_name`: where the money may go instead.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "free": "from_name to_name amount_fen",
        "taxed": "from_name to_name amount_fen tax_fen arrives_fen",
        "two_steps": "from_name to_name amount_fen tax_fen paid_in_fen",
        "tax_open": "from_name to_name amount_fen",
        "refused_with_way": "from_name to_name way_name",
        "refused_with_transfer": "from_name to_name way_to_name",
        "refused": "from_name to_name",
    }

    from_name: str
    to_name: str
    amount_fen: int
    lawful: bool
    tax_fen: int | None = 0
    paid_in_fen: int | None = None
    way_name: str | Texts | None = None
    way_to_name: str | None = None

    @property
    def arrives_fen(self) -> int:
        """What is left after the tax."""
        return self.amount_fen - (self.tax_fen or 0)

    @property
    def variant(self) -> str:
        if not self.lawful:
            if self.way_to_name is not None:
                return "refused_with_transfer"
            return "refused" if self.way_name is None else "refused_with_way"
        if self.tax_fen is None:
            return "tax_open"
        if self.paid_in_fen is not None:
            return "two_steps"
        return "taxed" if self.tax_fen else "free"


class CasesResult(Result, frozen=True, kw_only=True):
    """What others like her have. `people_count`: at least so many; `middle_of_100` of each 100 lie between low and high.

    `people_count` is 0 where the group is too small to be shown.
    """

    SAYS: ClassVar[dict[str, str]] = {
        "too_few": "",
        "untold": "people_count what_name middle_of_100 low_fen high_fen",
        "below": "people_count what_name middle_of_100 low_fen high_fen own_fen",
        "within": "people_count what_name middle_of_100 low_fen high_fen own_fen",
        "above": "people_count what_name middle_of_100 low_fen high_fen own_fen",
    }

    people_count: int
    what_name: str = "balance"
    middle_of_100: int = 50
    low_fen: int = 0
    high_fen: int = 0
    own_fen: int | None = None

    @property
    def variant(self) -> str:
        if not self.people_count:
            return "too_few"
        if self.own_fen is None:
            return "untold"
        if self.own_fen < self.low_fen:
            return "below"
        return "above" if self.own_fen > self.high_fen else "within"


KINDS: Final[dict[str, type[Any]]] = {
    "plan": PlanResult,
    "uncertainty": UncertaintyResult,
    "what_if": WhatIfResult,
    "sensitivity": SensitivityResult,
    "solve": SolveResult,
    "allocation": AllocationResult,
    "tax": TaxResult,
    "retirement": RetirementResult,
    "move": MoveResult,
    "cases": CasesResult,
}
_KIND_OF: Final = {each: kind for kind, each in KINDS.items()}
SLOTS: Final = {
    kind: {variant: frozenset(slots.split()) for variant, slots in each.SAYS.items()} for kind, each in KINDS.items()
}
SENTENCES: Final = packaged(SLOTS, CASES)


def explain(result: Result) -> Texts:
    """Two sentences in Chinese (`zh`) and in English (`en`)."""
    return SENTENCES.say(_KIND_OF[type(result)], result)
