"""A move of money between two accounts of one person, or to herself: judged by the matrix, taxed, and drafted as commands.

1. The legal-moves matrix comes first: what it does not allow is not drafted, and the nearest lawful way is told.
2. Where the law wants a payout and a new contribution, both are drafted, in this order; the second is at most what is left
   of its cap, and the rest goes to the person.
3. The same question at the same position drafts the same commands, with the same ids.

The two facts of such a move are linked by their command ids, `...:move/ID/1` and `...:move/ID/2`: an id stands beside each fact
in the journal and in its leaf. `caused_by` would have to hold the position of a fact that is not recorded yet.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Self

from msgspec import Struct
from pydantic import Field, model_validator

from ledger.domain.calculators.annuities import Before2014, Form, OpenForm
from ledger.domain.calculators.income_tax import Class
from ledger.domain.calculators.lawful_moves import PERSON, Judged, judge
from ledger.domain.calculators.personal_pension import (
    PensionSaving,
    contribution_room_fen,
    exit_tax_fen,
    payment_allowed,
    saving,
)
from ledger.domain.calendar import period_of
from ledger.domain.commands import Command, Day, PayBenefit, PostContribution, TransferBalance
from ledger.domain.identifiers import ACCOUNT, derived_id
from ledger.domain.money import MAX_AMOUNT_FEN
from ledger.domain.rules import PRODUCTS, Rules
from ledger.domain.rules.rows import COUNTRY, Area
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.planning.answers import AnswerRefused
from ledger.planning.basis import Asked
from ledger.planning.drawing import (
    COMMERCIAL_PENSION,
    PERSONAL_PENSION,
    Payout,
    amounts_of,
    drawn_of,
    movable_in_order,
    opened_in_order,
    payout_tax,
    staying,
)
from ledger.planning.spelling import contradiction

CONTRIBUTED_PART: Final = {PERSONAL_PENSION: "own", COMMERCIAL_PENSION: "continuing"}
MAX_PARTS: Final = 16

AmountFen = Annotated[int, Field(strict=True, ge=1, le=MAX_AMOUNT_FEN)]
MaybeNoneFen = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT_FEN)]


class MoveQuestion(Asked):
    """From which account, to which account or to whom, how much and why."""

    on: Annotated[Day, Field(description="the day on which it takes effect", examples=["2026-11-22"])]
    area: Annotated[Area, Field(description="the area whose rules hold")] = COUNTRY
    from_account: Annotated[str, Field(pattern=ACCOUNT, description="the account that is drawn on")]
    to_account: Annotated[str | None, Field(pattern=ACCOUNT, description="the account that receives")] = None
    to_product: Annotated[
        str | None,
        Field(pattern=r"^[a-z][a-z_]{0,31}$", description="or a product, judged alone; `person`: pay it out to her"),
    ] = None
    amounts_fen: Annotated[
        dict[str, AmountFen] | None,
        Field(
            max_length=MAX_PARTS, description="by part of the balance; without it, and without a total, all that may"
        ),
    ] = None
    amount_fen: Annotated[
        AmountFen | None, Field(description="or a total, drawn from the parts in the product's order, own money first")
    ] = None
    reason: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$", description="a reason of the matrix, or a case of payout"),
    ]
    form: Annotated[
        Form | OpenForm | None,
        Field(description="how an annuity really pays, which decides on the tax; without it, the lump sum of the case"),
    ] = None
    taxed_before_2014_fen: Annotated[
        MaybeNoneFen, Field(description="of an annuity: contributions that were taxed before 2014")
    ] = 0
    contributions_fen: Annotated[
        MaybeNoneFen, Field(description="all contributions to the annuity; needed with the field before")
    ] = 0
    withheld_fen: Annotated[
        MaybeNoneFen | None, Field(description="tax of a payout that is taxed as wages (group pension)")
    ] = None
    contribute_fen: Annotated[
        AmountFen | None,
        Field(description="what is paid in of a payout; without it, the net amount, at most what is left of the cap"),
    ] = None
    taxable_before_fen: Annotated[
        MaybeNoneFen | None,
        Field(description="her taxable income of the year: then what the contribution saves in tax is told too"),
    ] = None
    income: Annotated[Class, Field(description="which tax table that income has")] = "comprehensive"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.to_account is None) == (self.to_product is None):
            raise contradiction("give to_account or to_product, and not both")
        if self.to_account == self.from_account:
            raise contradiction("to_account is another account than from_account")
        if self.amounts_fen is not None and self.amount_fen is not None:
            raise contradiction("give amounts_fen by part, or amount_fen as a total, and not both")
        if self.taxed_before_2014_fen > self.contributions_fen:
            raise contradiction("taxed_before_2014_fen is at most contributions_fen")
        return self


class Draft(Struct, frozen=True, kw_only=True):
    """What would be posted. `arrives_fen`: in the target account; `to_person_fen`: net to herself; `stays_fen`: by part.

    `adds_fen`: what of the contribution is not of the payout, but her own. `room_fen`, `room_left_fen`: of the target's cap
    before and after; None where it has none. `tax_rule`: None where nothing is taxed. `saving`: what the contribution saves
    in tax this year and costs at the payout, where her taxable income was told.
    """

    commands: tuple[Command, ...]
    gross_fen: int
    tax_fen: int
    tax_rule: str | None
    arrives_fen: int
    to_person_fen: int
    adds_fen: int = 0
    stays_fen: dict[str, int]
    room_fen: int | None = None
    room_left_fen: int | None = None
    saving: PensionSaving | None = None


class Wish(Struct, frozen=True, kw_only=True):
    """The move as the matrix sees it, and what would be posted: the move itself, or the payout and contribution instead.

    `draft` is None where neither is lawful for this reason, or no account was named.
    """

    from_product: str
    to_product: str
    judged: Judged
    draft: Draft | None


class Sender(Struct, frozen=True, kw_only=True):
    """In whose name the commands are drafted; `namespace`: what their ids begin with."""

    actor: str
    namespace: str
    decided_at: datetime


def wish(sheet: BalanceSheet, known_at: int, question: MoveQuestion, sender: Sender, rules: Rules) -> Wish:
    """Judge, and draft if lawful. Raises RuleRefused before a rule's first row, AnswerRefused where a field is out of place."""
    held = accounts_of(sheet)
    from_product, source = _held(held, "from_account", question.from_account)
    target = None
    to_product = question.to_product
    if question.to_account is not None:
        to_product, target = _held(held, "to_account", question.to_account)
    assert to_product is not None, "a question has a target"
    judged = judge(from_product, to_product, question.reason, rules)
    stem = derived_id("", "move/v1", question.model_dump_json(), known_at)
    ids = (f"{sender.namespace}:move/{stem}/1", f"{sender.namespace}:move/{stem}/2")
    drafting = _Drafting(sheet=sheet, question=question, sender=sender, rules=rules, ids=ids)
    draft = None
    if judged.lawful and target is not None:
        draft = drafting.transfer(source, from_product, to_product)
    elif judged.lawful and to_product == PERSON:
        draft = drafting.payout(source, from_product)
    elif target is not None and _may_pay_and_contribute(judged, question.reason):
        draft = drafting.payout_and_contribution(source, from_product, to_product)
    return Wish(from_product=from_product, to_product=to_product, judged=judged, draft=draft)


def accounts_of(sheet: BalanceSheet) -> dict[str, tuple[str, AccountLine]]:
    """Every account on the sheet with its product."""
    return {
        line.account: (product.product, line)
        for pillar in sheet.pillars
        for product in pillar.products
        for line in product.accounts
    }


def _held(held: Mapping[str, tuple[str, AccountLine]], field: str, account: str) -> tuple[str, AccountLine]:
    if account not in held:
        raise AnswerRefused(field, "no account of hers has this id: give one that stands on her sheet")
    return held[account]


def _may_pay_and_contribute(judged: Judged, reason: str) -> bool:
    """Whether the nearest lawful way is a payout with a linked contribution, for this very case of payout."""
    steps = judged.alternative
    return len(steps) > 1 and steps[0].do == "pay_out" and steps[1].linked and reason in steps[0].reasons


class _Drafting(Struct, frozen=True, kw_only=True):
    sheet: BalanceSheet
    question: MoveQuestion
    sender: Sender
    rules: Rules
    ids: tuple[str, str]

    def transfer(self, source: AccountLine, from_product: str, to_product: str) -> Draft:
        """One fact about both accounts."""
        rows = self.rules.moves(from_product, to_product)
        row = next(row for row in rows if self.question.reason in row.reasons)
        order = movable_in_order(from_product, row.part_map(from_product, to_product))
        amounts = amounts_of(source, order, self.question.amounts_fen, self.question.amount_fen)
        command = TransferBalance(
            amounts_fen=dict(sorted(amounts.items())),
            from_account=source.account,
            to_account=self.question.to_account or "",
            reason=self.question.reason,
            **self._envelope(0),
        )
        gross = sum(amounts.values())
        return Draft(
            commands=(command,),
            gross_fen=gross,
            tax_fen=0,
            tax_rule=None,
            arrives_fen=gross,
            to_person_fen=0,
            stays_fen=staying(source, amounts),
        )

    def payout(self, source: AccountLine, from_product: str) -> Draft:
        """To the person, taxed."""
        amounts, gross, tax, tax_rule = self._taxed(source, from_product)
        return Draft(
            commands=(self._benefit(source, gross, tax),),
            gross_fen=gross,
            tax_fen=tax,
            tax_rule=tax_rule,
            arrives_fen=0,
            to_person_fen=gross - tax,
            stays_fen=staying(source, amounts),
        )

    def payout_and_contribution(self, source: AccountLine, from_product: str, to_product: str) -> Draft:
        """A taxed payout, and of its net amount a contribution inside the room that is left (invariant 2)."""
        amounts, gross, tax, tax_rule = self._taxed(source, from_product)
        net, room = gross - tax, None
        used = self.sheet.capped_contributions_fen.get(str(self.question.on.year), 0)
        if PRODUCTS[to_product].one_per_person:
            room = contribution_room_fen(used, self.rules)
        paid_in = self._paid_in(net, used, room)
        contribution = PostContribution(
            account=self.question.to_account or "",
            amounts_fen={CONTRIBUTED_PART[to_product]: paid_in},
            period=period_of(self.question.on),
            tax_treatment="pre_tax" if to_product == PERSONAL_PENSION else "post_tax",
            **self._envelope(1),
        )
        return Draft(
            commands=(self._benefit(source, gross, tax), contribution),
            gross_fen=gross,
            tax_fen=tax,
            tax_rule=tax_rule,
            arrives_fen=paid_in,
            to_person_fen=max(0, net - paid_in),
            adds_fen=max(0, paid_in - net),
            stays_fen=staying(source, amounts),
            room_fen=room,
            room_left_fen=None if room is None else room - paid_in,
            saving=self._saving(paid_in, used) if to_product == PERSONAL_PENSION else None,
        )

    def _paid_in(self, net_fen: int, used_fen: int, room_fen: int | None) -> int:
        asked = self.question.contribute_fen
        if asked is not None:
            if room_fen is not None:
                payment_allowed(asked, used_fen, self.rules)
            return asked
        if room_fen == 0:
            raise self.rules.refuse("pp.cap.year", "nothing is left of this year's cap: wait for the next", left_fen=0)
        if net_fen == 0:
            raise AnswerRefused("withheld_fen", "nothing is left of the payout to be paid in", most_fen=0)
        return net_fen if room_fen is None else min(net_fen, room_fen)

    def _saving(self, paid_in_fen: int, used_fen: int) -> PensionSaving | None:
        """What this contribution saves and costs, on top of what was paid in the year before it."""
        taxable = self.question.taxable_before_fen
        if taxable is None:
            return None
        without = saving(used_fen, taxable, self.question.income, self.rules)
        with_it = saving(used_fen + paid_in_fen, taxable, self.question.income, self.rules)
        saved, leaving = with_it.saved_fen - without.saved_fen, exit_tax_fen(paid_in_fen, self.rules)
        return PensionSaving(
            tax_before_fen=without.tax_after_fen,
            tax_after_fen=with_it.tax_after_fen,
            saved_fen=saved,
            lost_deduction_fen=with_it.lost_deduction_fen - without.lost_deduction_fen,
            exit_tax_fen=leaving,
            net_fen=saved - leaving,
        )

    def _taxed(self, source: AccountLine, product: str) -> tuple[dict[str, int], int, int, str]:
        """What is drawn by part, gross, its tax, and the rule of the tax."""
        asked = self.question
        order = opened_in_order(product, asked.reason, self.rules)
        amounts = drawn_of(source, order, asked.amounts_fen, asked.amount_fen)
        gross = sum(amounts.values())
        before = Before2014(asked.taxed_before_2014_fen, asked.contributions_fen)
        payout = Payout(
            product, asked.reason, gross, form=asked.form, before_2014=before, withheld_fen=asked.withheld_fen
        )
        return amounts, gross, *payout_tax(payout, self.rules)

    def _benefit(self, source: AccountLine, gross_fen: int, tax_fen: int) -> PayBenefit:
        return PayBenefit(
            account=source.account,
            condition=self.question.reason,
            gross_fen=gross_fen,
            tax_fen=tax_fen,
            net_fen=gross_fen - tax_fen,
            **self._envelope(0),
        )

    def _envelope(self, number: int) -> dict[str, Any]:
        return {
            "actor": self.sender.actor,
            "command_id": self.ids[number],
            "decided_at": self.sender.decided_at,
            "effective_on": self.question.on,
        }
