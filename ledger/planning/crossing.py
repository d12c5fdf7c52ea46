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
from typing import Annotated, Any, Final, Literal, Self

from msgspec import Struct
from pydantic import Field, model_validator

from ledger.domain.calculators.annuities import payout_tax_fen
from ledger.domain.calculators.lawful_moves import PERSON, Judged, judge
from ledger.domain.calculators.personal_pension import contribution_room_fen, exit_tax_fen
from ledger.domain.calendar import period_of
from ledger.domain.commands import Command, Day, PayBenefit, PostContribution, TransferBalance
from ledger.domain.identifiers import ACCOUNT, derived_id
from ledger.domain.money import MAX_AMOUNT_FEN
from ledger.domain.rules import PRODUCTS, Rules
from ledger.domain.rules.rows import COUNTRY, Area
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.planning.answers import AnswerRefused
from ledger.planning.basis import Asked
from ledger.planning.spelling import contradiction

PERSONAL_PENSION: Final = "personal_pension"
ANNUITIES: Final = ("enterprise_annuity", "occupational_annuity", "retained_account")
CONTRIBUTED_PART: Final = {PERSONAL_PENSION: "own", "commercial_pension": "continuing"}
MAX_PARTS: Final = 16


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
        dict[str, Annotated[int, Field(strict=True, ge=1, le=MAX_AMOUNT_FEN)]] | None,
        Field(max_length=MAX_PARTS, description="by part of the balance; without it, all that may move"),
    ] = None
    reason: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$", description="a reason of the matrix, or a case of payout"),
    ]
    form: Annotated[
        Literal["monthly", "quarterly", "yearly", "lump_settled_abroad", "lump_heirs", "lump_other"],
        Field(description="how an annuity really pays; it decides on the tax"),
    ] = "lump_other"
    withheld_fen: Annotated[
        int | None,
        Field(
            strict=True, ge=0, le=MAX_AMOUNT_FEN, description="tax of a payout that is taxed as wages (group pension)"
        ),
    ] = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.to_account is None) == (self.to_product is None):
            raise contradiction("give to_account or to_product, and not both")
        if self.to_account == self.from_account:
            raise contradiction("to_account is another account than from_account")
        return self


class Draft(Struct, frozen=True, kw_only=True):
    """What would be posted. `arrives_fen`: in the target account; `to_person_fen`: net to herself.

    `room_fen`: what was left of the target's cap before; None where it has none.
    """

    commands: tuple[Command, ...]
    gross_fen: int
    tax_fen: int
    arrives_fen: int
    to_person_fen: int
    room_fen: int | None


class Wish(Struct, frozen=True, kw_only=True):
    """The move as the matrix sees it. `draft` is None where it is not lawful, or no account was named."""

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
        amounts = self._amounts(source, set(row.part_map(from_product, to_product)))
        command = TransferBalance(
            amounts_fen=amounts,
            from_account=source.account,
            to_account=self.question.to_account or "",
            reason=self.question.reason,
            **self._envelope(0),
        )
        gross = sum(amounts.values())
        return Draft(commands=(command,), gross_fen=gross, tax_fen=0, arrives_fen=gross, to_person_fen=0, room_fen=None)

    def payout(self, source: AccountLine, from_product: str) -> Draft:
        """To the person, taxed."""
        gross, tax = self._taxed(source, from_product)
        return Draft(
            commands=(self._benefit(source, gross, tax),),
            gross_fen=gross,
            tax_fen=tax,
            arrives_fen=0,
            to_person_fen=gross - tax,
            room_fen=None,
        )

    def payout_and_contribution(self, source: AccountLine, from_product: str, to_product: str) -> Draft:
        """A taxed payout, and of its net amount a contribution inside the room that is left (invariant 2)."""
        gross, tax = self._taxed(source, from_product)
        net, room = gross - tax, None
        if PRODUCTS[to_product].one_per_person:
            used = self.sheet.capped_contributions_fen.get(str(self.question.on.year), 0)
            room = contribution_room_fen(used, self.rules)
        paid_in = net if room is None else min(net, room)
        if paid_in == 0:
            raise self.rules.refuse("pp.cap.year", "nothing is left of this year's cap: wait for the next", left_fen=0)
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
            arrives_fen=paid_in,
            to_person_fen=net - paid_in,
            room_fen=room,
        )

    def _benefit(self, source: AccountLine, gross_fen: int, tax_fen: int) -> PayBenefit:
        return PayBenefit(
            account=source.account,
            condition=self.question.reason,
            gross_fen=gross_fen,
            tax_fen=tax_fen,
            net_fen=gross_fen - tax_fen,
            **self._envelope(0),
        )

    def _taxed(self, source: AccountLine, product: str) -> tuple[int, int]:
        row = self.rules.condition(product, self.question.reason)
        opened = set() if row is None else set(row.parts)
        gross = sum(self._amounts(source, opened).values())
        if product in ANNUITIES:
            return gross, payout_tax_fen(self.question.form, gross, self.rules)
        if product == PERSONAL_PENSION:
            return gross, exit_tax_fen(gross, self.rules)
        if product == "commercial_pension":
            self.rules.choice("cp.tax")
            return gross, 0
        self.rules.choice("gp.tax")
        if self.question.withheld_fen is None or self.question.withheld_fen > gross:
            raise AnswerRefused(
                "withheld_fen",
                "this payout is taxed as wages: give what is withheld of it",
                least_fen=0,
                most_fen=gross,
            )
        return gross, self.question.withheld_fen

    def _amounts(self, source: AccountLine, movable: set[str]) -> dict[str, int]:
        """By part, in alphabetical order: what was asked for, or all that may move."""
        balances = {part.part: part.balance_fen for part in source.parts}
        asked = self.question.amounts_fen
        if asked is None:
            asked = {part: fen for part, fen in balances.items() if part in movable and fen > 0}
        wrong = sorted(part for part in asked if part not in movable)
        if wrong or not asked:
            raise AnswerRefused(
                "amounts_fen", f"of this account may move: {', '.join(sorted(movable)) or 'nothing'}", parts=wrong
            )
        over = {part: balances.get(part, 0) for part, fen in asked.items() if fen > balances.get(part, 0)}
        if over:
            raise AnswerRefused("amounts_fen", "at most what the parts hold", most_fen=over)
        return dict(sorted(asked.items()))

    def _envelope(self, number: int) -> dict[str, Any]:
        return {
            "actor": self.sender.actor,
            "command_id": self.ids[number],
            "decided_at": self.sender.decided_at,
            "effective_on": self.question.on,
        }
