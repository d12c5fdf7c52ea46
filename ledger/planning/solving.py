"""What it takes to reach a monthly income of today's money: how much saving, which saving rate, or which retirement age.

Amounts are whole steps of a ladder. Along saving the income does not fall, so bisection finds the first step that reaches
the goal. It may fall along retirement ages (minimum years, payout months, needs), and what can be spent up to 100 along the
personal pension (a payment that the month's income does not cover draws savings, and 3 % are taken of it): there all lawful
months and all steps are tried in order.

1. The answer reaches the goal, and one step less does not.
2. What no step reaches is an answer too: the most that can be had, and the least that has it.
3. At most MAX_PLANS plans are made; each candidate is planned once.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.calculators.retirement import flexible_window, statutory
from ledger.domain.calendar import month_number, period_of_number
from ledger.domain.rules import RuleRefused
from ledger.planning.answers import MAX_MONTHLY_FEN, AnswerRefused
from ledger.planning.axis import YEAR, axis
from ledger.planning.explaining import SolveLever
from ledger.planning.lasting import lasting_today_fen
from ledger.planning.plan import Plan
from ledger.planning.questions import Question

YUAN: Final = 100
PENSION_STEP_FEN: Final = 100 * YUAN
SAVING_STEP_FEN: Final = 10 * YUAN
RATE_STEP_BP: Final = 10
WHOLE_BP: Final = 10**4
MAX_PLANS: Final = 125

Aim = Literal["first_income", "lasting"]


class Choice(Struct, frozen=True):
    """A value of the lever and the income it brings; the lever's own field is set, the others are None."""

    income_today_fen: int
    yearly_fen: int | None = None
    rate_bp: int | None = None
    age_months: int | None = None
    month: str | None = None


class Solved(Struct, frozen=True, eq=False):
    """`choice` reaches the goal, and nothing less does; where it is None, `most` is the most that can be had.

    `already`: the question as it stands reaches it. `plan` is that of the choice, or else of the most.
    `refused`: how many of the retirement months the rules or the answers do not allow, by rule or field.
    """

    lever: SolveLever
    aim: Aim
    target_today_fen: int
    as_asked_today_fen: int
    already: bool
    choice: Choice | None
    most: Choice
    plan: Plan
    plans: int
    refused: dict[str, int]


def income_today_fen(found: Plan, aim: Aim) -> int:
    """`first_income`: net a month in the first year of retirement; `lasting`: what can be spent a month up to 100."""
    if aim == "lasting":
        return lasting_today_fen(found.outlook, found.flows)
    return found.summary.first_income_today_fen or 0


class _Ladder:
    """The candidates of a lever, each planned once."""

    def __init__(self, size: int, ask: Callable[[int], Question], aim: Aim, *, rises: bool) -> None:
        """`rises`: along it the income never falls."""
        self.size = size
        self.rises = rises
        self.ask = ask
        self.aim = aim
        self.plans: dict[int, Plan] = {}
        self.incomes: dict[int, int] = {}

    def income(self, place: int) -> int:
        if place not in self.plans:
            assert len(self.plans) < MAX_PLANS - 1, "invariant 3"
            self.plans[place] = self.ask(place).plan()
            self.incomes[place] = income_today_fen(self.plans[place], self.aim)
        return self.incomes[place]

    def first(self, target_fen: int) -> int:
        """The first place that reaches it; `size` if none does."""
        if not self.rises:
            return next((place for place in range(self.size) if self.income(place) >= target_fen), self.size)
        return bisect_left(range(self.size), True, key=lambda place: self.income(place) >= target_fen)

    def most(self) -> int:
        """The first place that brings the most."""
        if self.rises:
            return self.first(self.income(self.size - 1))
        return self.first(max(self.income(place) for place in range(self.size)))


def _amounts(
    question: Question, lever: SolveLever
) -> tuple[int, Callable[[int], Question], Callable[[int, int], Choice]]:
    """The ladder of a saving lever: how many steps, what each asks, and how it is told."""
    wage_fen = question.answers.monthly_wage_fen
    if lever == "personal_pension":
        cap = question.rules.limit("pp.cap.year").value
        return (
            cap // PENSION_STEP_FEN + 1,
            lambda place: question.pulling(pp_yearly_fen=place * PENSION_STEP_FEN),
            lambda place, income: Choice(income, yearly_fen=place * PENSION_STEP_FEN),
        )
    if not wage_fen:
        raise AnswerRefused("monthly_wage_fen", "saving comes from a wage: give one, or ask for the retirement age")
    if lever == "saving_rate":
        return (
            WHOLE_BP // RATE_STEP_BP + 1,
            lambda place: question.pulling(saving_monthly_fen=wage_fen * place * RATE_STEP_BP // WHOLE_BP),
            lambda place, income: Choice(income, rate_bp=place * RATE_STEP_BP),
        )
    most_fen = min(wage_fen, MAX_MONTHLY_FEN)
    return (
        -(-most_fen // SAVING_STEP_FEN) + 1,
        lambda place: question.pulling(saving_monthly_fen=min(place * SAVING_STEP_FEN, most_fen)),
        lambda place, income: Choice(income, yearly_fen=min(place * SAVING_STEP_FEN, most_fen) * YEAR),
    )


def _by_amount(question: Question, lever: SolveLever, aim: Aim, target_fen: int, asked: Plan) -> Solved:
    size, ask, told = _amounts(question, lever)
    ladder = _Ladder(size, ask, aim, rises=lever != "personal_pension" or aim == "first_income")
    found = ladder.first(target_fen)
    reached = found < size
    # Where more saving brings no more (she cannot save more than she has left), the least that brings the most is told.
    most = ladder.most()
    place = found if reached else most
    as_asked = income_today_fen(asked, aim)
    return Solved(
        lever=lever,
        aim=aim,
        target_today_fen=target_fen,
        as_asked_today_fen=as_asked,
        already=as_asked >= target_fen,
        choice=told(found, ladder.income(found)) if reached else None,
        most=told(most, ladder.income(most)),
        plan=ladder.plans[place],
        plans=len(ladder.plans) + 1,
        refused={},
    )


def _months(question: Question) -> list[str]:
    """The lawful months of retirement from the plan's first month on, in order."""
    answers, rules = question.answers, question.rules
    by_law = statutory(answers.birth, answers.category, rules).month
    # Who draws her pension chooses no more; of old retirements the rules hold no window.
    if answers.pension_in_payment_fen is not None:
        return [by_law]
    window = flexible_window(answers.birth, answers.category, rules)
    first = period_of_number(axis(rules.on, answers.birth).first)
    earliest, latest = max(window.earliest_month, first), window.latest_month
    if latest < earliest:
        return [by_law]
    return [period_of_number(number) for number in range(month_number(earliest), month_number(latest) + 1)][
        : MAX_PLANS - 1
    ]


def _by_age(question: Question, aim: Aim, target_fen: int, asked: Plan) -> Solved:
    birth = month_number(question.answers.birth)
    refused: dict[str, int] = {}
    found: list[tuple[Choice, Plan]] = []
    months = _months(question)
    for month in months:
        try:
            plan = question.retiring_at(month).plan()
        except (RuleRefused, AnswerRefused) as reason:
            name = reason.rule if isinstance(reason, RuleRefused) else reason.field
            refused[name] = refused.get(name, 0) + 1
            continue
        age = month_number(month) - birth
        found.append((Choice(income_today_fen(plan, aim), age_months=age, month=month), plan))
    if not found:
        found = [(_as_asked(asked, aim), asked)]
    # Of several that bring the most, max takes the first, so the earliest.
    most = max(found, key=lambda each: each[0].income_today_fen)
    reaching = next((each for each in found if each[0].income_today_fen >= target_fen), None)
    as_asked = income_today_fen(asked, aim)
    return Solved(
        lever="retirement_age",
        aim=aim,
        target_today_fen=target_fen,
        as_asked_today_fen=as_asked,
        already=as_asked >= target_fen,
        choice=None if reaching is None else reaching[0],
        most=most[0],
        plan=(reaching or most)[1],
        plans=len(months) + 1,
        refused=refused,
    )


def _as_asked(asked: Plan, aim: Aim) -> Choice:
    found = asked.summary
    return Choice(income_today_fen(asked, aim), age_months=found.retirement_age_months, month=found.retirement_month)


def solve(question: Question, lever: SolveLever, aim: Aim, target_today_fen: int) -> Solved:
    """The least of the lever that reaches the goal. Raises RuleRefused or AnswerRefused where the question is refused."""
    asked = question.plan()
    if lever == "retirement_age":
        return _by_age(question, aim, target_today_fen, asked)
    return _by_amount(question, lever, aim, target_today_fen, asked)
