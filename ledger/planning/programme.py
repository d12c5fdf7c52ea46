"""The mixed-integer programme behind an allocation, solved by HiGHS: how many steps of which product.

Floats live here and only here: they decide which whole numbers of steps are bought. What a choice is worth is computed
again, exactly, by the caller.

1. An answer is whole steps: nothing, or the minimum and whole steps above it, inside every ceiling.
2. The same programme gives the same answer: one thread, one seed, no clock.
3. Up to `WIDE` steps a product's steps are whole numbers for the solver, and the answer is the best. Beyond, its amount is
   first free, then brought to whole steps near by; `best_possible` says what no answer can exceed.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import gcd, inf
from typing import Final, TypeAlias

import numpy as np
from highspy import Highs, HighsModelStatus, MatrixFormat, ObjSense
from msgspec import Struct

# Whole numbers of a wider range cost the solver the square of it, in bounds that it keeps for each value.
WIDE: Final = 64
ANY: Final = 2**53
# How far whole steps are sought around a free amount.
NEAR: Final = 16
MAX_NODES: Final = 2_000
FEN_A_YUAN: Final = 100
_HALF: Final = 0.5
_WHOLE_WITHIN: Final = 1e-6
OPTIONS: Final[tuple[tuple[str, bool | int | float | str], ...]] = (
    ("output_flag", False),
    ("threads", 1),
    ("parallel", "off"),
    ("random_seed", 0),
    ("mip_heuristic_run_feasibility_jump", False),
    # Small programmes: looking for answers by chance and starting again costs more than the search itself.
    ("mip_heuristic_run_rins", False),
    ("mip_heuristic_run_rens", False),
    ("mip_heuristic_run_root_reduced_cost", False),
    ("mip_heuristic_effort", 0.0),
    ("mip_allow_restart", False),
    ("mip_detect_symmetry", False),
    ("mip_rel_gap", 0.0),
    ("mip_abs_gap", 1e-7),
    ("mip_feasibility_tolerance", 1e-9),
    ("primal_feasibility_tolerance", 1e-9),
    ("dual_feasibility_tolerance", 1e-9),
    ("mip_max_nodes", MAX_NODES),
)

Amounts: TypeAlias = tuple[int, ...]


class Candidate(Struct, frozen=True):
    """A product that may be bought.

    `most_fen`: at least the minimum. `gain`: what a fen in it brings above a fen in the bank account,
    without tax relief. `free_fen`: how much of it the limits allow, were there no steps.
    """

    id: str
    minimum_fen: int
    step_fen: int
    most_fen: int
    gain: Fraction
    free_fen: int = 0

    @property
    def most_steps(self) -> int:
        """Whole steps that fit above the minimum."""
        return (self.most_fen - self.minimum_fen) // self.step_fen

    def allows(self, amount_fen: int) -> bool:
        """Whether one may buy so much."""
        above_fen = amount_fen - self.minimum_fen
        return amount_fen == 0 or (above_fen >= 0 and amount_fen <= self.most_fen and above_fen % self.step_fen == 0)


class Ceiling(Struct, frozen=True):
    """At most so much in these products together; `members` are their places among the candidates."""

    name: str
    bound_fen: int
    members: tuple[int, ...]


class Relief(Struct, frozen=True):
    """The next `width_fen` paid into relieved products bring `worth` a fen in tax; worth falls from one to the next."""

    width_fen: int
    worth: Fraction


class Programme(Struct, frozen=True):
    """What may be bought, and what limits it. The first ceiling is the amount to place; the rest stays in the bank."""

    candidates: tuple[Candidate, ...]
    ceilings: tuple[Ceiling, ...]
    relieved: tuple[int, ...]
    reliefs: tuple[Relief, ...]

    def allows(self, amounts: Amounts) -> bool:
        """Whether the amounts are whole steps inside every ceiling (invariant 1), in whole fen."""
        return all(each.allows(amount) for each, amount in zip(self.candidates, amounts, strict=True)) and all(
            sum(amounts[place] for place in ceiling.members) <= ceiling.bound_fen for ceiling in self.ceilings
        )

    def relief(self, amounts: Amounts) -> Fraction:
        """What the tax relief of these amounts is worth, exactly."""
        left_fen = sum(amounts[place] for place in self.relieved)
        worth = Fraction(0)
        for each in self.reliefs:
            taken_fen = min(left_fen, each.width_fen)
            worth += taken_fen * each.worth
            left_fen -= taken_fen
        return worth

    def gain(self, amounts: Amounts) -> Fraction:
        """What these amounts bring above leaving everything in the bank, exactly."""
        placed = ((each.gain, amount) for each, amount in zip(self.candidates, amounts, strict=True))
        return sum((gain * amount for gain, amount in placed if amount), self.relief(amounts))


class Apart(Struct, frozen=True):
    """Asks for another plan: something that holds at least `moved_fen` now, the bank included, gives up so much."""

    amounts: Amounts
    rest_fen: int
    moved_fen: int

    def satisfied_by(self, amounts: Amounts, rest_fen: int) -> bool:
        """Whether these amounts are another plan."""
        held = zip((*self.amounts, self.rest_fen), (*amounts, rest_fen), strict=True)
        return any(before >= self.moved_fen and after <= before - self.moved_fen for before, after in held)


class Solved(Struct, frozen=True):
    """The amounts in the order of the candidates; no amounts can gain more fen than `best_possible`."""

    amounts: Amounts
    best_possible: float


class _Model:
    """Rows and columns on their way to HiGHS. Money is in yuan."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.lowers: list[float] = []
        self.uppers: list[float] = []
        self.kinds: list[int] = []
        self.row_lowers: list[float] = []
        self.row_uppers: list[float] = []
        self.starts: list[int] = [0]
        self.places: list[int] = []
        self.values: list[float] = []

    def column(self, cost: float, lower: float, upper: float, *, whole: bool) -> int:
        self.costs.append(cost)
        self.lowers.append(lower)
        self.uppers.append(upper)
        self.kinds.append(int(whole))
        return len(self.costs) - 1

    def row(self, entries: Iterable[tuple[int, float]], lower: float = -inf, upper: float = inf) -> None:
        for place, value in entries:
            self.places.append(place)
            self.values.append(value)
        self.starts.append(len(self.places))
        self.row_lowers.append(lower)
        self.row_uppers.append(upper)

    def solve(self, *, presolve: bool) -> tuple[Sequence[float], float] | None:
        """Column values and the bound of the objective; None when nothing fits."""
        solver = Highs()  # type: ignore[no-untyped-call]  # its class is annotated but for this
        for name, value in OPTIONS:
            solver.setOptionValue(name, value)
        solver.setOptionValue("presolve", "on" if presolve else "off")
        solver.passModel(
            len(self.costs), len(self.row_lowers), len(self.places),
            int(MatrixFormat.kRowwise), int(ObjSense.kMaximize), 0.0,
            np.array(self.costs), np.array(self.lowers), np.array(self.uppers),
            np.array(self.row_lowers), np.array(self.row_uppers),
            np.array(self.starts, np.int32), np.array(self.places, np.int32), np.array(self.values),
            np.array(self.kinds, np.int32),
        )  # fmt: skip
        solver.run()
        status = solver.getModelStatus()
        if status == HighsModelStatus.kInfeasible:
            return None
        values = solver.getSolution().col_value
        if status not in {HighsModelStatus.kOptimal, HighsModelStatus.kSolutionLimit} or not values:
            raise RuntimeError(f"the solver ended with {solver.modelStatusToString(status)}")
        bound = solver.getInfo().mip_dual_bound if any(self.kinds) else solver.getObjectiveValue()
        return values, bound


class _Columns(Struct):
    """Where a candidate's whole steps stand, and the choice to buy it at all, where it needs one."""

    steps: int
    choice: int | None
    entries: list[tuple[int, float]]


def _yuan(amount_fen: int) -> float:
    return amount_fen / FEN_A_YUAN


def _whole_bound(ceiling: Ceiling, candidates: Sequence[Candidate]) -> int:
    """The bound that whole steps can reach: closer for the solver, the same for every answer."""
    unit_fen = gcd(*(candidates[place].step_fen for place in ceiling.members))
    return ceiling.bound_fen // unit_fen * unit_fen if unit_fen else ceiling.bound_fen


def _bought(model: _Model, each: Candidate, near_yuan: float | None, wide: int) -> _Columns:
    """The columns of one product: minimum x choice + step x steps. A minimum of one step needs no choice.

    With `near_yuan`, many steps are whole numbers around that amount.
    """
    gain, step = float(each.gain), _yuan(each.step_fen)
    if each.minimum_fen == each.step_fen:
        lower, upper, whole = _range(each.most_fen // each.step_fen, near_yuan, step, wide)
        steps = model.column(gain * step, lower, upper, whole=whole)
        return _Columns(steps, None, [(steps, step)])
    minimum = _yuan(each.minimum_fen)
    above = None if near_yuan is None else max(0.0, near_yuan - minimum)
    lower, upper, whole = _range(each.most_steps, above, step, wide)
    choice = model.column(gain * minimum, 0.0, 1.0, whole=True)
    steps = model.column(gain * step, lower, upper, whole=whole)
    model.row([(steps, 1.0), (choice, -float(each.most_steps))], upper=0.0)
    return _Columns(steps, choice, [(steps, step), (choice, minimum)])


def _range(most: int, near_yuan: float | None, step_yuan: float, wide: int) -> tuple[float, float, bool]:
    """The bounds of a number of steps, and whether it is whole for the solver (invariant 3)."""
    if most <= wide or near_yuan is None:
        return 0.0, most, most <= wide
    centre = min(most, int(near_yuan / step_yuan))
    return max(0, centre - NEAR), min(most, centre + NEAR), True


def _assembled(programme: Programme, near: Sequence[float] | None, wide: int) -> tuple[_Model, list[_Columns]]:
    model = _Model()
    columns = [
        _bought(model, each, None if near is None else near[place], wide)
        for place, each in enumerate(programme.candidates)
    ]
    for ceiling in programme.ceilings:
        members = [entry for place in ceiling.members for entry in columns[place].entries]
        model.row(members, upper=_yuan(_whole_bound(ceiling, programme.candidates)))
    _relieve(model, programme, [entry for place in programme.relieved for entry in columns[place].entries])
    return model, columns


def _relieve(model: _Model, programme: Programme, paid: list[tuple[int, float]]) -> None:
    """One column for each stretch of the relief; as their worth falls, the solver fills them in order by itself."""
    parts = [model.column(float(each.worth), 0.0, _yuan(each.width_fen), whole=False) for each in programme.reliefs]
    if parts:
        model.row([*paid, *((part, -1.0) for part in parts)], lower=0.0)


def _keep_apart(
    model: _Model, columns: list[_Columns], programme: Programme, apart: Apart, near: Sequence[float] | None
) -> None:
    """The no-good cut: at least one of the holdings of the other plan shrinks by `moved_fen`.

    With `near`, one of those that shrank there: which of them is settled.
    """
    moved, cuts = _yuan(apart.moved_fen), []
    amount_fen = programme.ceilings[0].bound_fen
    for place, before_fen in enumerate(apart.amounts):
        left = _yuan(before_fen) - moved
        if before_fen >= apart.moved_fen and (near is None or near[place] <= left + _WHOLE_WITHIN):
            most = _yuan(programme.candidates[place].most_fen)
            cut = model.column(0.0, 0.0, 1.0, whole=True)
            model.row([*columns[place].entries, (cut, most - left)], upper=most)
            cuts.append(cut)
    least = _yuan(amount_fen - apart.rest_fen) + moved
    if apart.rest_fen >= apart.moved_fen and (near is None or sum(near) >= least - _WHOLE_WITHIN):
        cut = model.column(0.0, 0.0, 1.0, whole=True)
        placed = [entry for column in columns for entry in column.entries]
        model.row([*placed, (cut, -least)], lower=0.0)
        cuts.append(cut)
    model.row([(cut, 1.0) for cut in cuts], lower=1.0)


def _attempt(
    programme: Programme, apart: Apart | None, near: Sequence[float] | None, wide: int
) -> tuple[list[float], Amounts, float] | None:
    """Free amounts in yuan, the nearest whole steps below or at them in fen, and the bound in fen."""
    model, columns = _assembled(programme, near, wide)
    if apart is not None:
        _keep_apart(model, columns, programme, apart, near)
    # It costs more than it saves, but where many steps stand in narrow ranges.
    found = model.solve(presolve=near is not None)
    if found is None:
        return None
    values, bound = found
    free = [sum(values[place] * factor for place, factor in column.entries) for column in columns]
    amounts = []
    for each, column in zip(programme.candidates, columns, strict=True):
        chosen = column.choice is not None and values[column.choice] > _HALF
        steps = int(values[column.steps] + _WHOLE_WITHIN) if chosen or column.choice is None else 0
        amounts.append((each.minimum_fen if chosen else 0) + steps * each.step_fen)
    return free, tuple(amounts), bound * FEN_A_YUAN


def _valid(programme: Programme, apart: Apart | None, amounts: Amounts) -> bool:
    rest_fen = programme.ceilings[0].bound_fen - sum(amounts)
    return programme.allows(amounts) and (apart is None or apart.satisfied_by(amounts, rest_fen))


def _without_loss_makers(programme: Programme, amounts: Amounts) -> Amounts:
    """Leave in the bank what brings no more than the bank: no ceiling minds, and the money stays at hand."""
    relieved = set(programme.relieved)
    return tuple(
        amount if place in relieved or programme.candidates[place].gain > 0 else 0
        for place, amount in enumerate(amounts)
    )


def solve(programme: Programme, apart: Apart | None = None) -> Solved | None:
    """The best amounts; with `apart` the best of another plan. None when nothing fits, which only `apart` can cause."""
    if not programme.candidates:
        return Solved((), 0.0) if apart is None else None
    first = _attempt(programme, apart, None, WIDE)
    if first is None:
        return None
    free, amounts, bound = first
    nothing = (0,) * len(programme.candidates)
    answers = [amounts, nothing]
    if any(abs(_yuan(amount) - value) > _WHOLE_WITHIN for amount, value in zip(amounts, free, strict=True)):
        answers += [again[1] for again in [_attempt(programme, apart, free, WIDE)] if again is not None]
    answers = [each for each in answers if _valid(programme, apart, each)]
    if apart is not None and not answers:
        # Only where minima and whole steps leave next to no room: slower, but whole from the start.
        answers += [again[1] for again in [_attempt(programme, apart, None, ANY)] if again is not None]
        answers = [each for each in answers if _valid(programme, apart, each)]
    if not answers:
        return None
    if apart is None:
        answers = [_without_loss_makers(programme, each) for each in answers]
    best = max(answers, key=programme.gain)
    return Solved(best, bound)


def value_of_products(programme: Programme, bought: Sequence[bool]) -> float:
    """The most fen that can be gained with amounts free of steps, where what is bought keeps its minimum.

    What needs a choice and was not bought stays out. A linear programme: the difference of two that differ
    in one limit is what that limit is worth at the margin. -inf when the minima no longer fit.
    """
    if not programme.candidates:
        return 0.0
    model = _Model()
    columns = []
    for each, kept in zip(programme.candidates, bought, strict=True):
        free = each.minimum_fen == each.step_fen
        least_fen = each.minimum_fen if kept and not free else 0
        most_fen = max(each.most_fen, each.free_fen) if kept or free else 0
        columns.append(model.column(float(each.gain), _yuan(least_fen), _yuan(most_fen), whole=False))
    for ceiling in programme.ceilings:
        model.row([(columns[place], 1.0) for place in ceiling.members], upper=_yuan(ceiling.bound_fen))
    _relieve(model, programme, [(columns[place], 1.0) for place in programme.relieved])
    found = model.solve(presolve=False)
    return -inf if found is None else found[1] * FEN_A_YUAN
