"""This year's savings over the available products: the plan that leaves most at retirement, and what it rests on.

What is compared is the expected value at retirement, after fees and tax, in today's money; how it is reckoned stands in
`appraisal.py`. No law is here, and no product: they are data.

1. Every fen is placed: what buys nothing stays in the bank account, the catalogue's baseline.
2. The plan is inside every limit, in whole fen and whole steps, checked here and not by the solver.
3. What a plan is worth is computed exactly, with fractions; each amount that is shown is rounded once, half up to fen.
4. Another yuan to save never makes the answer worth less, nor does a wider limit.
5. Into the personal pension goes no yuan that saves less tax now than its payout costs, unless the question says so.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ledger.domain.calculators.personal_pension import exit_tax_fen, saving
from ledger.domain.calculators.rounding import half_up
from ledger.domain.rules import Cited, Rules
from ledger.planning.appraisal import Appraisal, LeftOut, Room
from ledger.planning.catalogue import Catalogue
from ledger.planning.programme import Amounts, Apart, Programme, Solved, solve, value_of_products
from ledger.planning.savings import CONVENTIONS, AdviceCode, Conventions, RiskLevel, SavingsQuestion

FEN_A_YUAN: Final = 100


class Line(Struct, frozen=True):
    """One product of a plan. `at_retirement_fen`: expected, before exit tax; `value_fen`: after it, in today's money."""

    product: str
    name_zh: str
    name_en: str
    amount_fen: int
    at_retirement_fen: int
    value_fen: int


class Placed(Struct, frozen=True, kw_only=True):
    """A plan: what goes where, what stays in the bank, and what all of it is worth in today's money, tax saved included.

    `exit_tax_fen`: on the expected payout of the personal pension, in the money of that day.
    """

    lines: tuple[Line, ...]
    in_bank_fen: int
    pension_fen: int
    tax_saved_fen: int
    exit_tax_fen: int
    value_fen: int


class LimitWorth(Struct, frozen=True, kw_only=True):
    """A limit that binds, and what it is worth to move it.

    `yuan_more`: yuan of value that one more yuan of this limit brings at the margin: amounts free of steps,
    products with a minimum kept as the plan chose them (a linear programme, solved with and without the
    yuan). `worth_fen`: what raising it by `raised_by_fen` brings when all is planned anew in whole steps;
    None where that was not tried. The buffer is moved down. More to save counts with its own worth.
    """

    limit: str
    bound_fen: int
    used_fen: int
    yuan_more: str
    raised_by_fen: int
    worth_fen: int | None


class PensionAdvice(Struct, frozen=True, kw_only=True):
    """What the tax of the personal pension does for her, apart from what its products earn.

    For `payment_fen`, the plan's payment or, where it has none, the most that is left to pay:
    `exit_tax_fen` on the principal alone. `worthwhile_fen`: up to there, each yuan saves more than it costs.
    """

    code: AdviceCode
    payment_fen: int
    saved_fen: int
    exit_tax_fen: int
    net_fen: int
    worthwhile_fen: int
    room_fen: int
    zh: str
    en: str


class Allocation(Struct, frozen=True, kw_only=True):
    """The answer. `at_most_better_fen`: no plan is worth more than this one by more; zero is the best there is.

    `nothing_fen`: what leaving everything in the bank is worth. `level_above_fen`: what the next level of
    risk would add, None above the highest.
    """

    plan: Placed
    runner_up: Placed | None
    nothing_fen: int
    gain_fen: int
    at_most_better_fen: int
    limits: tuple[LimitWorth, ...]
    level_above_fen: int | None
    left_out: tuple[LeftOut, ...]
    pension: PensionAdvice
    catalogue: str
    sample: bool
    notice_zh: str
    notice_en: str
    risk_level: str
    inflation: str
    cited: tuple[Cited, ...]


def allocate(
    question: SavingsQuestion,
    catalogue: Catalogue,
    rules: Rules,
    inflation: Fraction,
    conventions: Conventions = CONVENTIONS,
) -> Allocation:
    """Plan this year's saving on the day and in the area of `rules`; `inflation` turns later money into today's.

    Raises AnswerRefused, with the field and its range, where no plan is possible; RuleRefused where a rule
    is not in force.
    """
    ground = Appraisal(question, catalogue, rules, inflation, conventions)
    level, room = conventions.level(question.risk_level), ground.room()
    programme, left_out = ground.programme(room, level)
    solved = _solved(programme)
    runner_up = _runner_up(programme, solved.amounts, ground)
    gain = programme.gain(solved.amounts)
    above = conventions.above(question.risk_level)
    plan = _placed(ground, programme, solved.amounts, rules)
    nothing = question.to_save_fen * ground.bank_worth
    return Allocation(
        plan=plan,
        runner_up=None if runner_up is None else _placed(ground, programme, runner_up, rules),
        nothing_fen=half_up(nothing),
        gain_fen=plan.value_fen - half_up(nothing),
        at_most_better_fen=max(0, round(solved.best_possible - float(gain))),
        limits=tuple(_limits(ground, level, programme, solved.amounts)),
        level_above_fen=None
        if above is None
        else half_up(_planned_anew(ground, room, above, programme, solved.amounts) - gain),
        left_out=left_out,
        pension=_advice(ground, plan.pension_fen, rules, conventions),
        catalogue=catalogue.catalogue.name,
        sample=catalogue.catalogue.sample,
        notice_zh=catalogue.catalogue.notice_zh,
        notice_en=catalogue.catalogue.notice_en,
        risk_level=level.level,
        inflation=str(inflation),
        cited=rules.cited,
    )


def _solved(programme: Programme) -> Solved:
    """The best amounts, checked (invariant 2)."""
    solved = solve(programme)
    assert solved is not None, "buying nothing is always possible"
    assert programme.allows(solved.amounts)
    return solved


def _runner_up(programme: Programme, amounts: Amounts, ground: Appraisal) -> Amounts | None:
    """The best plan in which something of the plan holds a tenth of the amount less; None when there is no other."""
    amount_fen = ground.question.to_save_fen
    rest_fen = amount_fen - sum(amounts)
    share_fen = max(1, half_up(amount_fen * ground.manner.runner_up_moves_share))
    found = solve(programme, Apart(amounts, rest_fen, min(share_fen, max(*amounts, rest_fen, 1))))
    assert found is None or programme.allows(found.amounts)
    return None if found is None else found.amounts


def _placed(ground: Appraisal, programme: Programme, amounts: Amounts, rules: Rules) -> Placed:
    """Work a plan out in figures (invariant 3)."""
    question, offers = ground.question, ground.offers
    lines: list[Line] = []
    payout = Fraction(0)
    for each, amount_fen in zip(programme.candidates, amounts, strict=True):
        if amount_fen:
            offer = offers[each.id]
            grown = amount_fen * ground.growth(offer)
            payout += grown if offer.has_relief else 0
            value_fen = half_up(amount_fen * ground.worths[each.id])
            lines.append(Line(each.id, offer.name_zh, offer.name_en, amount_fen, half_up(grown), value_fen))
    pension_fen = sum(amounts[place] for place in programme.relieved)
    value = question.to_save_fen * ground.bank_worth + programme.gain(amounts)
    return Placed(
        lines=tuple(sorted(lines, key=lambda line: (-line.amount_fen, line.product))),
        in_bank_fen=question.to_save_fen - sum(amounts),
        pension_fen=pension_fen,
        tax_saved_fen=_saved_fen(question, pension_fen, rules),
        exit_tax_fen=exit_tax_fen(half_up(payout), rules),
        value_fen=half_up(value),
    )


def _saved_fen(question: SavingsQuestion, payment_fen: int, rules: Rules) -> int:
    """What this payment saves in tax after what was paid before."""
    paid_fen, taxable_fen = question.pension_paid_fen, question.taxable_before_fen
    before = saving(paid_fen, taxable_fen, question.income, rules)
    return saving(paid_fen + payment_fen, taxable_fen, question.income, rules).saved_fen - before.saved_fen


def _widened(ground: Appraisal, room: Room, level: RiskLevel, by_fen: int) -> Iterator[tuple[str, Room]]:
    """The limits, each moved by so much alone. More to save also makes the shares larger."""
    yield (
        "to_save",
        replace(
            room,
            amount_fen=room.amount_fen + by_fen,
            owned_fen=room.owned_fen + by_fen,
            locked_fen=room.locked_fen + by_fen,
        ),
    )
    if ground.question.may_pay_pension:
        yield "pension", _wider_pension(ground, room, by_fen)
    yield "liquidity_buffer", replace(room, locked_fen=min(room.amount_fen, room.locked_fen + by_fen))
    if level.highest_grade >= ground.manner.risky_from_grade:
        yield "risky_share", replace(room, risky_extra_fen=by_fen)


def _pension_limit(ground: Appraisal) -> str:
    """What limits the personal pension: the cap of the law, or that the tax beyond does not pay."""
    whole = ground.question.pension_for_return or ground.worthwhile_fen == ground.pension_room_fen
    return "pp.cap.year" if whole else "pension_worthwhile"


def _wider_pension(ground: Appraisal, room: Room, by_fen: int) -> Room:
    """A higher cap, of which all may be deducted; or payments beyond what the tax pays for."""
    if _pension_limit(ground) == "pension_worthwhile":
        return replace(room, pension_fen=min(ground.pension_room_fen, room.pension_fen + by_fen))
    paying_fen = room.pension_fen + by_fen if ground.question.pension_for_return else ground.paying_fen
    return replace(
        room,
        pension_fen=min(room.pension_fen + by_fen, max(paying_fen, room.pension_fen)),
        deductible_fen=room.deductible_fen + by_fen,
    )


def _limits(ground: Appraisal, level: RiskLevel, programme: Programme, amounts: Amounts) -> Iterator[LimitWorth]:
    """The limits that bind, and what moving each is worth."""
    room, raised_fen = ground.room(), ground.manner.limit_raised_by_fen
    bought = frozenset(each.id for each, amount in zip(programme.candidates, amounts, strict=True) if amount)
    here, gain = _free_value(ground, room, level, bought), programme.gain(amounts)
    ceilings = {ceiling.name: ceiling for ceiling in programme.ceilings}
    one_more = dict(_widened(ground, room, level, FEN_A_YUAN))
    for name, wider in _widened(ground, room, level, raised_fen):
        ceiling = ceilings[name]
        used_fen = sum(amounts[place] for place in ceiling.members)
        least_step_fen = min((programme.candidates[place].step_fen for place in ceiling.members), default=1)
        if wider == room or (name != "to_save" and ceiling.bound_fen - used_fen >= least_step_fen):
            continue
        # A yuan more to save is worth itself too.
        itself = ground.bank_worth if name == "to_save" else Fraction(0)
        margin = _free_value(ground, one_more[name], level, bought) - here + float(itself * FEN_A_YUAN)
        yield LimitWorth(
            limit=_pension_limit(ground) if name == "pension" else name,
            bound_fen=ceiling.bound_fen,
            used_fen=ceiling.bound_fen if name == "to_save" else used_fen,
            yuan_more=_four_places(margin / FEN_A_YUAN),
            raised_by_fen=raised_fen,
            worth_fen=half_up(_planned_anew(ground, wider, level, programme, amounts) - gain + itself * raised_fen),
        )
    yield from _product_limits(ground, level, programme, amounts)


def _product_limits(
    ground: Appraisal, level: RiskLevel, programme: Programme, amounts: Amounts
) -> Iterator[LimitWorth]:
    """The products of which no more may be held for their share alone; what a yuan more is worth."""
    room = ground.room()
    bought = frozenset(each.id for each, amount in zip(programme.candidates, amounts, strict=True) if amount)
    here, most_of_one_fen = _free_value(ground, room, level, bought), ground.most_of_one_fen(room, level)
    for each, amount_fen in zip(programme.candidates, amounts, strict=True):
        share_fen = ground.share_fen(ground.offers[each.id], room, most_of_one_fen)
        if not amount_fen or share_fen is None or share_fen - amount_fen >= each.step_fen:
            continue
        wider = replace(room, product_extra=(each.id, FEN_A_YUAN))
        margin = _free_value(ground, wider, level, bought) - here
        yield LimitWorth(
            limit=f"product_share.{each.id}",
            bound_fen=share_fen,
            used_fen=amount_fen,
            yuan_more=_four_places(margin / FEN_A_YUAN),
            raised_by_fen=FEN_A_YUAN,
            worth_fen=None,
        )


def _free_value(ground: Appraisal, room: Room, level: RiskLevel, bought: frozenset[str]) -> float:
    """What can be gained inside these limits with amounts free of steps, and minima bought as in the plan."""
    programme, _ = ground.programme(room, level)
    return value_of_products(programme, [each.id in bought for each in programme.candidates])


def _planned_anew(ground: Appraisal, wider: Room, level: RiskLevel, programme: Programme, amounts: Amounts) -> Fraction:
    """The gain of the best plan inside wider limits; at least that of the plan there is, which fits them too."""
    anew, _ = ground.programme(wider, level)
    kept = {each.id: amount for each, amount in zip(programme.candidates, amounts, strict=True)}
    still = tuple(kept.get(each.id, 0) for each in anew.candidates)
    answers = (_solved(anew).amounts, still)
    return max(anew.gain(each) for each in answers if anew.allows(each))


def _four_places(value: float) -> str:
    """Yuan as text; below what the solver can tell it is zero."""
    return f"{max(0.0, value) + 0.0:.4f}"


def _yuan(amount_fen: int) -> str:
    sign = "-" if amount_fen < 0 else ""
    yuan, fen = divmod(abs(amount_fen), FEN_A_YUAN)
    return f"{sign}{yuan:,}" + (f".{fen:02}" if fen else "")


def _advice(ground: Appraisal, planned_fen: int, rules: Rules, conventions: Conventions) -> PensionAdvice:
    """Say what the tax does, in one of six cases, for the plan's payment or the most that could be paid."""
    question, room_fen, worthwhile_fen = ground.question, ground.pension_room_fen, ground.worthwhile_fen
    code: AdviceCode
    if not question.may_pay_pension:
        code = "closed"
    elif room_fen == 0:
        code = "room_used_up"
    elif not ground.stretches:
        code = "costs"
    elif worthwhile_fen == 0:
        code = "no_gain"
    else:
        code = "whole_room" if worthwhile_fen == room_fen else "up_to"
    payment_fen = planned_fen or worthwhile_fen or room_fen
    saved_fen = _saved_fen(question, payment_fen, rules)
    leaving_fen = exit_tax_fen(payment_fen, rules)
    figures = {
        "payment": _yuan(payment_fen),
        "saved": _yuan(saved_fen),
        "exit": _yuan(leaving_fen),
        "net": _yuan(saved_fen - leaving_fen),
        "loss": _yuan(leaving_fen - saved_fen),
        "worthwhile": _yuan(worthwhile_fen),
    }
    sentences = conventions.sentences(code)
    return PensionAdvice(
        code=code,
        payment_fen=payment_fen,
        saved_fen=saved_fen,
        exit_tax_fen=leaving_fen,
        net_fen=saved_fen - leaving_fen,
        worthwhile_fen=worthwhile_fen,
        room_fen=room_fen,
        zh=sentences.zh.format(**figures),
        en=sentences.en.format(**figures),
    )
