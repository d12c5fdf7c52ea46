"""What each product is worth to one saver, and what limits her: an allocation as a programme to be solved.

Each product grows by its yearly return less its yearly fee: whole years compound, the months left earn their share of a
year, and what comes free before retirement is taken to go on at the same terms. Out of the personal pension the whole payout
is taxed. The tax saved now counts as money: it lies in the bank account and earns what the bank pays, or is taken now, at
its face. Everything is exact, in fractions of a fen.

1. Shares of risk and of one product are taken of all she will own: holdings, liquid savings and this year's saving.
2. What she holds already counts; where it is above a limit, nothing is sold and nothing is added.
3. A product that cannot be bought is left out with the reason, and the limit that its minimum does not fit.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from msgspec import Struct

from ledger.domain.calculators.income_tax import TABLE_OF
from ledger.domain.calculators.personal_pension import contribution_room_fen
from ledger.domain.calculators.rounding import down
from ledger.domain.rules import Rules
from ledger.planning.answers import AnswerRefused
from ledger.planning.catalogue import Catalogue, Offer
from ledger.planning.programme import Candidate, Ceiling, Programme, Relief
from ledger.planning.savings import Conventions, RiskLevel, SavingsQuestion

MONTHS_A_YEAR: Final = 12


class LeftOut(Struct, frozen=True):
    """A product that could not be bought, and why. `least_fen`: how much `field` would have to be for it."""

    product: str
    reason: str
    field: str
    least_fen: int | None = None


def grown(yearly: Fraction, months: int) -> Fraction:
    """Whole years compound; the months left earn their share of a year."""
    years, rest = divmod(months, MONTHS_A_YEAR)
    return yearly**years * (1 + (yearly - 1) * Fraction(rest, MONTHS_A_YEAR))


class Room(Struct, frozen=True):
    """The limits as amounts of new money. `owned_fen`: all she will own, of which shares are taken."""

    amount_fen: int
    owned_fen: int
    pension_fen: int
    deductible_fen: int
    locked_fen: int
    risky_extra_fen: int = 0
    product_extra: tuple[str, int] = ("", 0)


class Appraisal:
    """Everything about one question that stays when a limit is moved."""

    def __init__(
        self,
        question: SavingsQuestion,
        catalogue: Catalogue,
        rules: Rules,
        inflation: Fraction,
        conventions: Conventions,
    ) -> None:
        baseline = catalogue.baseline(rules.on)
        if baseline is None:
            raise AnswerRefused("catalogue", f"it offers nothing on {rules.on}; choose another day or catalogue")
        self.question = question
        self.manner = conventions.manner
        self.offers = {offer.id: offer for offer in catalogue.offers(rules.on, rules.area)}
        self.baseline = baseline
        self.months = question.months_to_retirement
        self.prices = grown(1 + inflation, self.months)
        self.exit_rate = rules.rate("pp.tax.out").value
        self.bank_worth = self.worth(baseline)
        self.held = self._held()
        self.stretches = self._stretches(rules)
        self.pension_room_fen = self._pension_room(rules)
        self.deductible_fen = max(0, rules.limit("pp.tax.in").value - question.pension_paid_fen)
        # What the tax pays for, were there no cap: the stretches that save more than the payout costs.
        self.paying_fen = sum(width for width, rate in self.stretches if rate > self.exit_rate)
        self.worthwhile_fen = min(self.pension_room_fen, self.deductible_fen, self.paying_fen)
        self.worths = {offer.id: self.worth(offer) for offer in self.offers.values()}
        self.gains = {product: worth - self.bank_worth for product, worth in self.worths.items()}

    def growth(self, offer: Offer) -> Fraction:
        """What a fen paid in becomes by retirement, in the money of that day, before exit tax."""
        yearly = (1 + offer.yearly_return) * (1 - offer.yearly_fee)
        return (1 - offer.entry_fee) * grown(yearly, self.months)

    def worth(self, offer: Offer) -> Fraction:
        """What a fen paid in is worth at retirement, after exit tax, in today's money."""
        kept = 1 - self.exit_rate if offer.has_relief else Fraction(1)
        return self.growth(offer) * kept / self.prices

    def _held(self) -> dict[str, tuple[int, int]]:
        """What she owns by product: value and grade of risk."""
        known = {offer.id: offer.risk_grade for offer in (*self.offers.values(), self.baseline)}
        held: dict[str, tuple[int, int]] = {}
        for place, each in enumerate(self.question.holdings):
            if each.product in held:
                raise AnswerRefused(f"holdings.{place}.product", f"{each.product} stands twice; give its sum once")
            grade = known.get(each.product, each.risk_grade)
            if grade is None:
                raise AnswerRefused(
                    f"holdings.{place}.risk_grade",
                    f"the catalogue does not know {each.product}; give its grade of risk, 1 to 5",
                    least=1,
                    most=5,
                )
            held[each.product] = (each.value_fen, grade)
        return held

    def _pension_room(self, rules: Rules) -> int:
        cap_fen = rules.limit("pp.cap.year").value
        if self.question.pension_paid_fen > cap_fen:
            raise AnswerRefused(
                "pension_paid_fen", f"give what was paid this year, 0 to {cap_fen}", least_fen=0, most_fen=cap_fen
            )
        return contribution_room_fen(self.question.pension_paid_fen, rules) if self.question.may_pay_pension else 0

    def _stretches(self, rules: Rules) -> tuple[tuple[int, Fraction], ...]:
        """What deductions save, from the highest bracket down: so many fen at this rate, then at the next lower one."""
        left_fen = max(0, self.question.taxable_before_fen - self.question.pension_paid_fen)
        steps = rules.brackets(TABLE_OF[self.question.income]).steps
        floors = [0, *(step.up_to_fen for step in steps if step.up_to_fen is not None)]
        found: list[tuple[int, Fraction]] = []
        for floor_fen, step in zip(reversed(floors), reversed(steps), strict=True):
            if left_fen > floor_fen:
                found.append((left_fen - floor_fen, step.rate))
                left_fen = floor_fen
        return tuple(found)

    def reliefs(self, deductible_fen: int) -> Iterator[Relief]:
        """The stretches as far as they may be deducted, and what a fen of each is worth in today's money."""
        money = Fraction(1) if self.question.tax_saved == "taken_now" else self.bank_worth
        for width_fen, rate in self.stretches:
            taken_fen = min(width_fen, deductible_fen)
            if taken_fen:
                yield Relief(taken_fen, rate * money)
                deductible_fen -= taken_fen

    def room(self) -> Room:
        """The limits of the question. Refuses a buffer that all the money there is cannot fill."""
        question = self.question
        missing_fen = max(0, question.liquidity_buffer_fen - question.liquid_savings_fen)
        if missing_fen > question.to_save_fen:
            most_fen = question.liquid_savings_fen + question.to_save_fen
            raise AnswerRefused(
                "liquidity_buffer_fen",
                f"it is larger than liquid savings and this year's saving together; give 0 to {most_fen}",
                least_fen=0,
                most_fen=most_fen,
            )
        return Room(
            amount_fen=question.to_save_fen,
            owned_fen=question.to_save_fen
            + question.liquid_savings_fen
            + sum(value for value, _ in self.held.values()),
            pension_fen=self.pension_room_fen if question.pension_for_return else self.worthwhile_fen,
            deductible_fen=self.deductible_fen,
            locked_fen=question.to_save_fen - missing_fen,
        )

    def programme(self, room: Room, level: RiskLevel) -> tuple[Programme, tuple[LeftOut, ...]]:
        """What may be bought inside these limits, and what may not and why."""
        risky_fen = sum(value for value, grade in self.held.values() if grade >= self.manner.risky_from_grade)
        risky_fen = max(0, down(level.risky_share * room.owned_fen) - risky_fen) + room.risky_extra_fen
        most_fen = self.most_of_one_fen(room, level)
        candidates: list[Candidate] = []
        bought: list[Offer] = []
        left_out: list[LeftOut] = []
        for offer in self.offers.values():
            found = self._candidate(offer, room, level.highest_grade, risky_fen, most_fen)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                candidates.append(found)
                bought.append(offer)
        relieved = tuple(place for place, offer in enumerate(bought) if offer.has_relief)
        locked = tuple(place for place, offer in enumerate(bought) if not self.is_liquid(offer))
        risky = tuple(place for place, offer in enumerate(bought) if self.is_risky(offer))
        ceilings = (
            Ceiling("to_save", room.amount_fen, tuple(range(len(bought)))),
            Ceiling("pension", room.pension_fen, relieved),
            Ceiling("liquidity_buffer", room.locked_fen, locked),
            Ceiling("risky_share", risky_fen, risky),
        )
        reliefs = tuple(self.reliefs(room.deductible_fen)) if relieved else ()
        return Programme(tuple(candidates), ceilings, relieved, reliefs), tuple(left_out)

    def is_liquid(self, offer: Offer) -> bool:
        """Whether it counts towards the buffer."""
        return offer.lock_in_months == 0 and offer.risk_grade <= self.manner.liquid_up_to_grade

    def is_risky(self, offer: Offer) -> bool:
        """Whether it counts towards the share of risky holdings."""
        return offer.risk_grade >= self.manner.risky_from_grade

    def _candidate(
        self, offer: Offer, room: Room, highest_grade: int, risky_fen: int, share_of_product_fen: int
    ) -> Candidate | LeftOut:
        if isinstance(offer.lock_in_months, int) and offer.lock_in_months > self.months:
            return LeftOut(offer.id, "locked_beyond_retirement", "months_to_retirement", offer.lock_in_months)
        if offer.risk_grade > highest_grade:
            return LeftOut(offer.id, "risk_grade_above_level", "risk_level")
        if offer.has_relief and room.pension_fen == 0:
            return LeftOut(offer.id, *self._pension_reason())
        limits = self._limits_of(offer, room, risky_fen, share_of_product_fen)
        for limit_fen, field in limits:
            if limit_fen < offer.minimum_fen:
                return LeftOut(offer.id, "minimum_above_limit", field, offer.minimum_fen)
        least, _ = min(limits)
        most_fen = offer.minimum_fen + (least - offer.minimum_fen) // offer.step_fen * offer.step_fen
        return Candidate(offer.id, offer.minimum_fen, offer.step_fen, most_fen, self.gains[offer.id], least)

    def _limits_of(self, offer: Offer, room: Room, risky_fen: int, share_of_product_fen: int) -> list[tuple[int, str]]:
        """What limits the purchase of this product alone, each with the field or limit that sets it."""
        limits = [(room.amount_fen, "to_save_fen")]
        if offer.maximum_fen is not None:
            limits.append((offer.maximum_fen, "catalogue"))
        if offer.has_relief:
            limits.append((room.pension_fen, "pension"))
        if not self.is_liquid(offer):
            limits.append((room.locked_fen, "liquidity_buffer_fen"))
        if self.is_risky(offer):
            limits.append((risky_fen, "risky_share"))
        if (share_fen := self.share_fen(offer, room, share_of_product_fen)) is not None:
            limits.append((share_fen, "product_share"))
        return limits

    def most_of_one_fen(self, room: Room, level: RiskLevel) -> int:
        """How much of one product she may own, where its share is limited."""
        return down(level.product_share * room.owned_fen)

    def share_fen(self, offer: Offer, room: Room, most_of_one_fen: int) -> int | None:
        """How much more of one product may be held; None where no share limits it."""
        if offer.risk_grade < self.manner.concentrated_from_grade:
            return None
        held_fen, _ = self.held.get(offer.id, (0, 0))
        product, extra_fen = room.product_extra
        return max(0, most_of_one_fen - held_fen) + (extra_fen if product == offer.id else 0)

    def _pension_reason(self) -> tuple[str, str]:
        if not self.question.may_pay_pension:
            return "pension_closed", "may_pay_pension"
        if self.pension_room_fen == 0:
            return "pension_room_used_up", "pension_paid_fen"
        return "pension_tax_costs", "pension_for_return"
