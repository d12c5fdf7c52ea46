"""The pots of an Outlook: which accounts of the sheet they open with, what they earn, and how they pay out and are taxed.

1. A form of payout that the product's rule does not name is refused, with the forms that it names.
2. Each pot is taxed alone: enterprise and occupational annuity, and a retained account, are never added.
3. A retained account pays in the form of the enterprise annuity that it comes from.
4. A commercial pension pays from retirement on, and not before its locked account opens; a group pension from retirement.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from ledger.domain.rules import Brackets, Rules
from ledger.domain.sheet import AccountLine
from ledger.planning.answers import MAX_HOLDING_FEN, AnswerRefused, PayoutForm
from ledger.planning.asked import Asked
from ledger.planning.assumptions import HELD, Product
from ledger.planning.axis import YEAR
from ledger.planning.growth import monthly_parts, parts
from ledger.planning.outlook import (
    BASIS_POINTS,
    FIRST_PILLAR,
    OPEN_END,
    SAVINGS,
    Payout,
    PayoutTax,
    Pot,
    Steps,
)
from ledger.planning.retiring import Retiring

UNVESTED: Final = "_unvested"
BOOK: Final = "occupational_annuity_book"
EVERY: Final = {"quarterly": 3, "yearly": YEAR}
# What the rules call the forms that a product may pay in; of those that no row names, the contract decides.
METHOD_OF: Final = {
    "enterprise_annuity": {
        "monthly": "monthly",
        "fixed_months": "monthly",
        "fixed_amount": "monthly",
        "quarterly": "in_parts",
        "yearly": "in_parts",
        "lump_sum": "lump_sum",
    },
    "occupational_annuity": {"monthly": "by_payout_months"},
    "personal_pension": {
        "monthly": "by_payout_months",
        "fixed_months": "by_months",
        "fixed_amount": "by_amount",
        "quarterly": "in_parts",
        "yearly": "in_parts",
        "lump_sum": "lump_sum",
    },
}
METHODS_RULE: Final = {
    "enterprise_annuity": "ea.out.method",
    "occupational_annuity": "oa.out.method",
    "personal_pension": "pp.out.method",
}


class Held(Struct, frozen=True):
    """What the sheet shows for one pot."""

    pot: str
    product: Product
    pillar: int
    opening_fen: int
    accounts: tuple[str, ...]


def _pot_of(product: str, part: str, *, vested: bool) -> str:
    if part == "employer_book":
        return BOOK
    return product if vested else product + UNVESTED


def held(asked: Asked) -> dict[str, Held]:
    """The pots that the sheet shows money in, by code, in the order of the catalogue."""
    found: dict[str, Held] = {}
    for pillar in asked.sheet.pillars:
        for line in pillar.products:
            if line.product not in HELD:
                raise AnswerRefused("sheet", f"a plan does not know how {line.product} earns and pays out")
            for account in line.accounts:
                for code, balance_fen in _parts(line.product, account).items():
                    pot = found.get(code) or Held(code, line.product, pillar.pillar, 0, ())
                    accounts = (*pot.accounts, account.account)
                    found[code] = replace(pot, opening_fen=pot.opening_fen + balance_fen, accounts=accounts)
    whole = sum(pot.opening_fen for pot in found.values())
    if whole > MAX_HOLDING_FEN:
        raise AnswerRefused(
            "sheet", "a plan reckons with balances up to a limit", most_fen=MAX_HOLDING_FEN, has_fen=whole
        )
    return found


def _parts(product: str, account: AccountLine) -> dict[str, int]:
    balances: dict[str, int] = {}
    for part in account.parts:
        if part.balance_fen:
            code = _pot_of(product, part.part, vested=part.vested)
            balances[code] = balances.get(code, 0) + part.balance_fen
    return balances


def steps(brackets: Brackets) -> Steps:
    """A table of the rules as arrays."""
    rates = [step.rate * BASIS_POINTS for step in brackets.steps]
    return Steps(
        up_to_fen=np.array([step.up_to_fen or OPEN_END for step in brackets.steps]),
        rate_bp=np.array([_whole(rate, brackets.id) for rate in rates]),
        quick_fen=np.array([step.quick_deduction_fen for step in brackets.steps]),
    )


def _whole(value: Fraction, rule_id: str) -> int:
    if value.denominator != 1:
        raise ValueError(f"{rule_id}: a rate is finer than a basis point")
    return value.numerator


def _annuity_tax(form: PayoutForm, untaxed_share: Decimal, rules: Rules) -> PayoutTax:
    name = {"quarterly": "quarterly", "yearly": "yearly", "lump_sum": "lump_other"}.get(form.form, "monthly")
    terms = rules.terms(f"an.tax.out.{name}")
    rules.choice("an.tax.out.nodeduct")
    taxable_bp = BASIS_POINTS
    # A lump sum is less by an amount and not by a share; without the amounts nothing is taken off.
    if untaxed_share and form.form != "lump_sum":
        rules.terms("an.tax.pre2014", "instalments")
        taxable_bp -= int(untaxed_share * BASIS_POINTS)
    return PayoutTax(
        "table", steps=steps(rules.brackets(terms.text("table"))), spread=terms.whole("months"), taxable_bp=taxable_bp
    )


def _tax(product: str, form: PayoutForm, asked: Asked) -> PayoutTax:
    rules = asked.rules
    if product == "personal_pension":
        rate = rules.rate("pp.tax.out").value * BASIS_POINTS
        return PayoutTax("flat", rate_bp=_whole(rate, "pp.tax.out"))
    if product == "commercial_pension":
        rules.choice("cp.tax")
        return PayoutTax("none")
    if product == "group_pension":
        rules.choice("gp.tax")
        return PayoutTax("wages")
    return _annuity_tax(form, asked.answers.taxed_before_2014_share, rules)


def _form(product: str, asked: Asked) -> PayoutForm:
    """The form asked for, if the product's rule names it (invariant 1)."""
    lever = "enterprise_annuity" if product == "retained_account" else product
    form: PayoutForm = getattr(asked.levers.payouts, lever)
    rule_id = METHODS_RULE.get(lever)
    if rule_id is not None:
        named = asked.rules.terms(rule_id).texts("methods")
        allowed = [name for name, method in METHOD_OF[lever].items() if method in named]
        if form.form not in allowed:
            raise asked.rules.refuse(rule_id, f"payouts.{lever}: choose another form", form=form.form, forms=allowed)
    return form


def _start(product: str, asked: Asked, retiring: Retiring) -> int:
    """The first month of payout."""
    first = retiring.first_retired
    if product == "commercial_pension":
        opens = asked.rules.terms("cp.out.locked").whole("opens_at_age_years") * YEAR
        return max(first, asked.axis.birth + opens - asked.axis.first, 0)
    if retiring.early:
        rule_id = "pp.out.flexible_early" if product == "personal_pension" else "ea.out.flexible_early"
        waits = product != "group_pension" and asked.rules.choice(rule_id).value == "waits_for_statutory_age"
        return retiring.statutory + 1 if waits else first
    return first


def _payout(product: str, asked: Asked, retiring: Retiring) -> Payout:
    form = _form(product, asked)
    start = min(_start(product, asked, retiring), asked.axis.months)
    return Payout(
        form=form.form,
        start=start,
        tax=_tax(product, form, asked),
        every=EVERY.get(form.form, 1),
        divisor=retiring.payout_months.numerator,
        divisor_of=retiring.payout_months.denominator,
        months=form.months or 0,
        amount_fen=form.amount_fen or 0,
    )


def pot(found: Held, asked: Asked, retiring: Retiring) -> Pot:
    """A pot of the second or third pillar. One that vests into another, or is funded, has no payout of its own."""
    passes_on = found.pot != found.product
    payout = None if passes_on else _payout(found.product, asked, retiring)
    ends = retiring.retirement if payout is None else payout.start - 1
    if found.pot == BOOK:
        return _book_rate_pot(found.pot, found, ends, asked)
    earning = asked.assumptions.products[found.product]
    yearly = earning.yearly_return.value + asked.levers.return_shift
    return Pot(
        code=found.pot,
        product=found.product,
        pillar=found.pillar,
        earns=found.product,
        accounts=found.accounts,
        opening_fen=found.opening_fen,
        credited=earning.credited,
        monthly_return=monthly_parts(yearly),
        yearly_return=parts(yearly),
        monthly_fee=monthly_fee(earning.yearly_fee.value),
        credit_month=ends,
        payout=payout,
    )


def monthly_fee(yearly: Decimal) -> int:
    """A twelfth of the yearly fee, in parts."""
    return parts(yearly) // YEAR


def _book_rate_pot(code: str, found: Held | None, credit_month: int, asked: Asked) -> Pot:
    rate = asked.assumptions.book_rate.value
    return Pot(
        code=code,
        product="first_pillar" if found is None else found.product,
        pillar=1 if found is None else found.pillar,
        earns="book_rate",
        accounts=() if found is None else found.accounts,
        opening_fen=asked.answers.first_pillar_account_fen if found is None else found.opening_fen,
        credited="yearly",
        monthly_return=monthly_parts(rate),
        yearly_return=parts(rate),
        monthly_fee=0,
        credit_month=credit_month,
        payout=None,
    )


def first_pillar_pot(asked: Asked, pension_start: int) -> Pot:
    """The personal account of the basic pension, as answered; the pension draws it."""
    return _book_rate_pot(FIRST_PILLAR, None, pension_start - 1, asked)


def savings_pot(asked: Asked) -> Pot:
    """What she holds herself, as answered."""
    earning = asked.assumptions.products["savings"]
    yearly = earning.yearly_return.value + asked.levers.return_shift
    return Pot(
        code=SAVINGS,
        product=SAVINGS,
        pillar=0,
        earns=SAVINGS,
        accounts=(),
        opening_fen=asked.answers.liquid_savings_fen,
        credited=earning.credited,
        monthly_return=monthly_parts(yearly),
        yearly_return=parts(yearly),
        monthly_fee=monthly_fee(earning.yearly_fee.value),
        credit_month=-1,
        payout=None,
    )
