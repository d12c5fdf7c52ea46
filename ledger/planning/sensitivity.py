"""What matters most: every lever and main assumption moved by one stated step up and down, the largest effect first.

Each step is a whole plan of its own, and all else stays as asked: prices move without wages and pensions. What the law or
the person's life does not allow is a row with the reason, and not an error.

1. Every field of `Levers` is moved by a row, and every rate of `Assumptions`; products together, as `return_shift` and fees.
2. The larger of a row's two effects decides on its place; rows of one size stand in the order of their codes.
3. At most MAX_PLANS plans are made.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct
from pydantic import ValidationError

from ledger.domain.calendar import month_number, period_of_number
from ledger.domain.rules import RuleRefused
from ledger.planning.answers import AnswerRefused, BreakInWork, LumpNeed, Payouts
from ledger.planning.assumptions import HELD
from ledger.planning.axis import YEAR
from ledger.planning.lasting import lasting_today_fen
from ledger.planning.plan import Plan
from ledger.planning.questions import Question
from ledger.planning.scenarios import FEE_OF, RATES, changed

YUAN: Final = 100
PENSION_STEP_FEN: Final = 1_200 * YUAN
SAVING_STEP_FEN: Final = 500 * YUAN
LUMP_STEP_FEN: Final = 100_000 * YUAN
RATE_STEP: Final = Decimal("0.01")
FEE_STEP: Final = Decimal("0.002")
SLOW_MONTHS: Final = 240
FAST_MONTHS: Final = 120
MAX_PLANS: Final = 40

Outcome = Literal["first_income", "lasting"]
Kind = Literal["lever", "assumption"]


# A step further, and the lever or assumption would leave the range that a question may have.
OUT_OF_RANGE: Final = "out_of_range"


class NotPossible(ValueError):
    """This life has nothing to move in this direction. `code` says why."""

    def __init__(self, code: str) -> None:
        """Name the reason."""
        super().__init__(code)
        self.code = code


class Step(Struct, frozen=True):
    """One move. `name`: its words in sentences.toml. Effects are in fen a month of today's money; None: `refused` says why.

    `refused`: the rule or the field that does not allow it, or a code of `NotPossible`; `sentence` is the refusal's own.
    """

    name: str
    first_income_more_today_fen: int | None
    lasting_more_today_fen: int | None
    refused: str | None = None
    sentence: str | None = None

    def effect_fen(self, outcome: Outcome) -> int:
        """The effect on one outcome; nought where the step is not possible."""
        effect = self.first_income_more_today_fen if outcome == "first_income" else self.lasting_more_today_fen
        return effect or 0


class Row(Struct, frozen=True):
    """One lever or assumption, `up` being later, longer, more or higher."""

    code: str
    kind: Kind
    up: Step
    down: Step

    def size_fen(self, outcome: Outcome) -> int:
        """The larger of the two effects."""
        return max(abs(self.up.effect_fen(outcome)), abs(self.down.effect_fen(outcome)))


class Tornado(Struct, frozen=True):
    """All rows, the largest first, and the outcome by which they are sorted, with its value before any step."""

    outcome: Outcome
    first_income_today_fen: int
    lasting_today_fen: int
    rows: tuple[Row, ...]

    @property
    def steps(self) -> Iterator[Step]:
        """All steps that were possible."""
        return (step for row in self.rows for step in (row.up, row.down) if step.refused is None)

    @property
    def best(self) -> Step | None:
        """The step that brings most, if any brings something."""
        best = max(self.steps, key=lambda step: step.effect_fen(self.outcome), default=None)
        return best if best is not None and best.effect_fen(self.outcome) > 0 else None

    @property
    def worst(self) -> Step | None:
        """The step that costs most, if any costs something."""
        worst = min(self.steps, key=lambda step: step.effect_fen(self.outcome), default=None)
        return worst if worst is not None and worst.effect_fen(self.outcome) < 0 else None


# How a question is asked one step further: direction is 1 or -1.
Move = Callable[[Question, Plan, int], Question]


class _Moved(Struct, frozen=True):
    code: str
    kind: Kind
    up: str
    down: str
    move: Move


def _retirement(question: Question, before: Plan, direction: int) -> Question:
    if before.outlook.retirement < 0:
        raise NotPossible("retired_already")
    return question.retiring_at(period_of_number(month_number(before.summary.retirement_month) + direction * YEAR))


def _contributions(question: Question, before: Plan, direction: int) -> Question:
    if before.outlook.retirement < 0:
        raise NotPossible("retired_already")
    until = question.levers.contribute_until or before.summary.retirement_month
    return question.pulling(contribute_until=period_of_number(month_number(until) + direction * YEAR))


def _personal_pension(question: Question, _before: Plan, direction: int) -> Question:
    moved = question.levers.pp_yearly_fen + direction * PENSION_STEP_FEN
    if moved < 0:
        raise NotPossible("nothing_is_paid")
    return question.pulling(pp_yearly_fen=moved)


def _pension_month(question: Question, _before: Plan, direction: int) -> Question:
    if not question.levers.pp_yearly_fen:
        raise NotPossible("nothing_is_paid")
    return question.pulling(pp_month=12 if direction > 0 else 1)


def _saving(question: Question, _before: Plan, direction: int) -> Question:
    moved = question.levers.saving_monthly_fen + direction * SAVING_STEP_FEN
    if moved < 0:
        raise NotPossible("nothing_is_saved")
    return question.pulling(saving_monthly_fen=moved)


def _payouts(question: Question, _before: Plan, direction: int) -> Question:
    form = {"form": "fixed_months", "months": SLOW_MONTHS if direction > 0 else FAST_MONTHS}
    return question.pulling(payouts=dict.fromkeys(Payouts.model_fields, form))


def _returns(question: Question, _before: Plan, direction: int) -> Question:
    return question.pulling(return_shift=question.levers.return_shift + direction * RATE_STEP)


def _break(question: Question, before: Plan, direction: int) -> Question:
    if before.outlook.last_wage < 0:
        raise NotPossible("no_work")
    now = question.levers.break_in_work
    if now is None:
        if direction < 0:
            raise NotPossible("no_break")
        return question.pulling(break_in_work=BreakInWork(start=before.outlook.start, months=YEAR))
    months = now.months + direction * YEAR
    longer = now.model_copy(update={"months": months}) if months > 0 else None
    return question.pulling(break_in_work=longer)


def _lump(question: Question, before: Plan, direction: int) -> Question:
    now = question.levers.lump_need
    if now is None:
        if direction < 0:
            raise NotPossible("no_lump_need")
        month = max(before.summary.retirement_month, before.outlook.start)
        return question.pulling(lump_need=LumpNeed(month=month, amount_fen=LUMP_STEP_FEN))
    amount = now.amount_fen + direction * LUMP_STEP_FEN
    return question.pulling(lump_need=now.model_copy(update={"amount_fen": amount}) if amount > 0 else None)


def _rate(name: str) -> Move:
    def move(question: Question, _before: Plan, direction: int) -> Question:
        now: Decimal = getattr(question.assumptions, name).value
        return question.assuming(changed(question.assumptions, {name: now + direction * RATE_STEP}))

    return move


def _fees(question: Question, _before: Plan, direction: int) -> Question:
    products = question.assumptions.products
    rates = {
        f"{FEE_OF}{product}": max(Decimal(0), products[product].yearly_fee.value + direction * FEE_STEP)
        for product in HELD
        if products[product].yearly_fee.value
    }
    return question.assuming(changed(question.assumptions, rates))


LEVERS: Final = (
    _Moved("retirement", "lever", "retirement_later", "retirement_earlier", _retirement),
    _Moved("contribute_until", "lever", "contributions_longer", "contributions_shorter", _contributions),
    _Moved("pp_yearly_fen", "lever", "personal_pension_more", "personal_pension_less", _personal_pension),
    _Moved("pp_month", "lever", "pension_month_later", "pension_month_earlier", _pension_month),
    _Moved("saving_monthly_fen", "lever", "saving_more", "saving_less", _saving),
    _Moved("payouts", "lever", "payouts_slower", "payouts_faster", _payouts),
    _Moved("return_shift", "lever", "returns_higher", "returns_lower", _returns),
    _Moved("break_in_work", "lever", "break_longer", "break_shorter", _break),
    _Moved("lump_need", "lever", "lump_more", "lump_less", _lump),
)
_RATE_NAMES: Final = {
    "inflation": ("prices_faster", "prices_slower"),
    "wage_growth": ("wages_faster", "wages_slower"),
    "benefit_base_growth": ("benefit_base_faster", "benefit_base_slower"),
    "pension_growth": ("pensions_faster", "pensions_slower"),
    "book_rate": ("book_rate_higher", "book_rate_lower"),
}
MOVED: Final = (
    *LEVERS,
    *(_Moved(name, "assumption", *_RATE_NAMES[name], _rate(name)) for name in RATES),
    _Moved("fees", "assumption", "fees_higher", "fees_lower", _fees),
)
assert 2 * len(MOVED) + 1 <= MAX_PLANS, "invariant 3"


def _step(question: Question, before: Plan, moved: _Moved, direction: int, values: tuple[int, int]) -> Step:
    name = moved.up if direction > 0 else moved.down
    try:
        asked = moved.move(question, before, direction)
    except NotPossible as reason:
        return Step(name, None, None, reason.code)
    except ValidationError:
        return Step(name, None, None, OUT_OF_RANGE)
    try:
        after = asked.plan()
    except RuleRefused as refused:
        return Step(name, None, None, refused.rule, refused.sentence)
    except AnswerRefused as refused:
        return Step(name, None, None, refused.field, refused.sentence)
    first, lasting = _outcomes(after)
    return Step(name, first - values[0], lasting - values[1])


def _outcomes(found: Plan) -> tuple[int, int]:
    return found.summary.first_income_today_fen or 0, lasting_today_fen(found.outlook, found.flows)


def tornado(question: Question, outcome: Outcome) -> Tornado:
    """Move everything once up and once down. Raises RuleRefused or AnswerRefused where the question itself is refused."""
    before = question.plan()
    values = _outcomes(before)
    rows = [
        Row(
            code=moved.code,
            kind=moved.kind,
            up=_step(question, before, moved, 1, values),
            down=_step(question, before, moved, -1, values),
        )
        for moved in MOVED
    ]
    rows.sort(key=lambda row: (-row.size_fen(outcome), row.code))
    return Tornado(outcome, *values, tuple(rows))
