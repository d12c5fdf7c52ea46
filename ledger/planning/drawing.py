"""What is drawn from an account when money moves or is paid out: from which parts, and what a payout is taxed.

1. A payout draws the parts in the product's order, as its decider does; what was asked for otherwise is refused, not bent.
2. The tax of an annuity follows a form that the case of payout allows (an.out.forms): nobody who retires is taxed as if she
   had settled abroad.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, cast

from msgspec import Struct

from ledger.domain.calculators.annuities import Before2014, Form, OpenForm, payout_tax_fen
from ledger.domain.calculators.personal_pension import death_tax_fen, exit_tax_fen
from ledger.domain.rules import PRODUCTS, Rules
from ledger.domain.sheet import AccountLine
from ledger.planning.answers import AnswerRefused

PERSONAL_PENSION: Final = "personal_pension"
COMMERCIAL_PENSION: Final = "commercial_pension"
ANNUITIES: Final = ("enterprise_annuity", "occupational_annuity", "retained_account")
DEATH: Final = "PP_DEATH"


class Payout(Struct, frozen=True):
    """A payout for a case. `form`: of an annuity; None for the lump sum of the case. `withheld_fen`: where wages' tax holds."""

    product: str
    case: str
    gross_fen: int
    form: Form | OpenForm | None = None
    before_2014: Before2014 | None = None
    withheld_fen: int | None = None


def payout_tax(payout: Payout, rules: Rules) -> tuple[int, str]:
    """The tax, and the rule it follows. Raises AnswerRefused, and RuleRefused where no rule is in force."""
    product, gross_fen = payout.product, payout.gross_fen
    if product in ANNUITIES:
        form = _form(payout, rules)
        return payout_tax_fen(form, gross_fen, rules, before_2014=payout.before_2014), f"an.tax.out.{form}"
    if product == PERSONAL_PENSION and payout.case == DEATH:
        return death_tax_fen(gross_fen, "balance", rules), "pp.death.tax"
    if product == PERSONAL_PENSION:
        return exit_tax_fen(gross_fen, rules), "pp.tax.out"
    if product == COMMERCIAL_PENSION:
        return 0, rules.choice("cp.tax").id
    rule, withheld = rules.choice("gp.tax").id, payout.withheld_fen
    if withheld is None or withheld > gross_fen:
        sentence = "this payout is taxed as wages: give what is withheld of it"
        raise AnswerRefused("withheld_fen", sentence, least_fen=0, most_fen=gross_fen)
    return withheld, rule


def _form(payout: Payout, rules: Rules) -> Form | OpenForm:
    """The form that was named, if the case allows it, or the lump sum of the case (invariant 2)."""
    terms = rules.terms("an.out.forms", payout.case)
    forms = terms.texts("forms")
    form = payout.form or terms.values.get("lump")
    if form not in forms:
        sentence = f"for this case an annuity is paid: {', '.join(forms)}"
        raise AnswerRefused("form", sentence, forms=list(forms))
    return cast("Form | OpenForm", form)


def movable_in_order(product: str, movable: Collection[str]) -> tuple[str, ...]:
    """The parts that may move, own money first, as payouts draw it, and then what is never paid out."""
    all_parts = (*PRODUCTS[product].payout_order, *(part.code for part in PRODUCTS[product].parts))
    return tuple(dict.fromkeys(part for part in all_parts if part in movable))


def opened_in_order(product: str, case: str, rules: Rules) -> tuple[str, ...]:
    """The parts that a case of payout opens, in the order in which they are drawn."""
    row = rules.condition(product, case)
    return () if row is None else tuple(part for part in PRODUCTS[product].payout_order if part in row.parts)


def drawn_of(
    source: AccountLine, order: Sequence[str], asked_fen: Mapping[str, int] | None, total_fen: int | None
) -> dict[str, int]:
    """By part, what a payout of this draws. Raises AnswerRefused (invariant 1)."""
    amounts = amounts_of(source, order, asked_fen, total_fen)
    drawn = _in_turn(source, order, sum(amounts.values()))
    if drawn != amounts:
        sentence = f"a payout draws the parts in this order: {', '.join(order)}; give amount_fen as a total"
        raise AnswerRefused("amounts_fen", sentence, drawn_fen=drawn)
    return drawn


def amounts_of(
    source: AccountLine, order: Sequence[str], asked_fen: Mapping[str, int] | None, total_fen: int | None
) -> dict[str, int]:
    """By part: what was asked for, or of these parts, in this order, a total or all. Raises AnswerRefused."""
    balances = {part.part: part.balance_fen for part in source.parts}
    held = sum(balances[part] for part in order)
    field = "amounts_fen" if total_fen is None else "amount_fen"
    if not held:
        raise AnswerRefused(field, "this account holds nothing that may move for this reason", parts=list(order))
    if asked_fen is None:
        if total_fen is not None and total_fen > held:
            raise AnswerRefused(field, f"at most what may move: {', '.join(order)}", least_fen=1, most_fen=held)
        return _in_turn(source, order, held if total_fen is None else total_fen)
    wrong = sorted(part for part in asked_fen if part not in order)
    if wrong or not asked_fen:
        raise AnswerRefused(field, f"of this account may move: {', '.join(order)}", parts=wrong)
    over = {part: balances[part] for part, fen in asked_fen.items() if fen > balances[part]}
    if over:
        raise AnswerRefused(field, "at most what the parts hold", most_fen=over)
    return {part: asked_fen[part] for part in order if part in asked_fen}


def _in_turn(source: AccountLine, order: Sequence[str], total_fen: int) -> dict[str, int]:
    """So much from the parts, each emptied before the next."""
    balances = {part.part: part.balance_fen for part in source.parts}
    drawn: dict[str, int] = {}
    left_fen = total_fen
    for part in order:
        fen = min(left_fen, balances[part])
        if fen > 0:
            drawn[part] = fen
            left_fen -= fen
    return drawn


def staying(source: AccountLine, amounts_fen: Mapping[str, int]) -> dict[str, int]:
    """What each part holds afterwards."""
    return {part.part: part.balance_fen - amounts_fen.get(part.part, 0) for part in source.parts}
