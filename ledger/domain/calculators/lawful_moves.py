"""Judge a wish to move money from one product to another: lawful or not, by which rule, and else the nearest lawful way.

1. Lawful is what a row of the matrix allows for that reason on that day; a pair without a row is refused (RULES.md section 7).
2. Before the first row of a pair, or of a case of payout, nothing is judged: the look-up is refused and names the rule.
3. Each step of an alternative is lawful by the rule it names, for one of the reasons it names.
4. Where the law wants a payout and a new contribution, the alternative is both, linked, the second inside its cap.
"""

from datetime import date
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.rules import PRODUCTS, Limit, Move, RuleRefused, Rules, Terms, condition, moves

PERSON: Final = "person"
PERSONAL_PENSION: Final = "personal_pension"
LAWFUL: Final = frozenset({"yes", "cond"})
# Where the reason of a refused wish may be good for: what can be opened, then what can be bought.
DESTINATIONS: Final = (*PRODUCTS, "pension_product", "listed_product")

Verdict = Literal["lawful", "reason_not_lawful", "pair_not_lawful", "no_row"]
Deed = Literal["keep", "transfer", "pay_out", "contribute"]


class Step(Struct, frozen=True, kw_only=True):
    """One step of a lawful way.

    `reasons`: one of them must hold; none named: any. `tax_events`: the tax rules that speak of it. `cap_fen`: the most in a
    calendar year, less what was paid. `not_after`: payouts after which it is closed. `linked`: one intention with the step
    before it, though two facts.
    """

    do: Deed
    product: str
    into: str
    rule: str
    reasons: tuple[str, ...] = ()
    tax_events: tuple[str, ...] = ()
    cap_fen: int | None = None
    not_after: tuple[str, ...] = ()
    linked: bool = False


class Judged(Struct, frozen=True, kw_only=True):
    """What the law says to a wish. `reasons`: those for which the pair is lawful. `alternative`: empty for a lawful wish.

    `conditional`: lawful, but the `condition` must hold. `tax_events`: the tax rules that speak of it; none: not taxed.
    """

    lawful: bool
    verdict: Verdict
    rule: str
    reason: str
    conditional: bool = False
    condition: str | None = None
    tax_events: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    alternative: tuple[Step, ...] = ()


def judge(from_product: str, to_product: str, reason: str, rules: Rules) -> Judged:
    """Whether money may move from one product to another (or to the "person") for this reason, on the rules' date.

    Raises RuleRefused before the pair's first row (invariant 2).
    """
    rows = rules.moves(from_product, to_product)
    if not rows:
        _must_be_without_row(from_product, to_product, rules)
    allowing = [row for row in rows if row.lawful in LAWFUL]
    for row in allowing:
        if reason in row.reasons:
            _must_be_in_force(from_product, reason, rules)
            return Judged(
                lawful=True,
                verdict="lawful",
                rule=row.id,
                reason=reason,
                conditional=row.lawful == "cond",
                condition=row.condition,
                tax_events=_tax_events(row),
                reasons=_reasons(allowing),
            )
    return Judged(
        lawful=False,
        verdict="reason_not_lawful" if allowing else "pair_not_lawful" if rows else "no_row",
        rule=_refusing_rule(from_product, to_product, rows, rules),
        reason=reason,
        condition=rows[0].condition if rows else None,
        reasons=_reasons(allowing),
        alternative=_alternative(from_product, to_product, reason, rows, rules),
    )


def _must_be_without_row(from_product: str, to_product: str, rules: Rules) -> None:
    """Cite the default for a pair without any row; refuse a date on which the rows of a pair do not hold."""
    of_all_times = moves(from_product, to_product)
    if of_all_times:
        first = min(of_all_times, key=lambda row: row.valid_from or date.min)
        sentence = f"no row of this rule is in force on {_as_known(rules)}; choose a date from {first.valid_from} on"
        detail = {"on": rules.on.isoformat(), "from_product": from_product, "to_product": to_product}
        raise RuleRefused(first.id, "rule_not_in_force", sentence, detail)
    rules.provision("mv.default")


def _as_known(rules: Rules) -> str:
    return f"{rules.on}" if rules.known_on is None else f"{rules.on}, as known on {rules.known_on}"


def _must_be_in_force(product: str, case: str, rules: Rules) -> None:
    """Cite a case of payout; refuse it on a date on which it does not hold. Other reasons are the matrix's alone."""
    of_all_times = condition(product, case)
    if of_all_times and rules.condition(product, case) is None:
        first = of_all_times[0]
        sentence = f"this case is not in force on {_as_known(rules)}; choose a date from {first.valid_from} on"
        raise RuleRefused(first.id, "rule_not_in_force", sentence, {"on": rules.on.isoformat(), "product": product})


def _reasons(rows: list[Move]) -> tuple[str, ...]:
    return tuple(sorted({reason for row in rows for reason in row.reasons}))


def _tax_events(row: Move) -> tuple[str, ...]:
    return () if row.tax_event in {None, "none"} else tuple((row.tax_event or "").split(", "))


def _refusing_rule(from_product: str, to_product: str, rows: tuple[Move, ...], rules: Rules) -> str:
    """The rule that says no: that nothing is drawn early, the pair's own row, or the default."""
    if to_product == PERSON and (early := rules.find(Terms, "mv.early", from_product)) is not None:
        return rules.provision(early.text("refused_by")).id
    return rows[0].id if rows else "mv.default"


def _alternative(
    from_product: str, to_product: str, reason: str, rows: tuple[Move, ...], rules: Rules
) -> tuple[Step, ...]:
    """The nearest lawful way: cash and anew, the same reason elsewhere, another reason here, or to wait for a payout."""
    if any(row.lawful == "no_cash" for row in rows) and (steps := _cash_and_anew(from_product, to_product, rules)):
        return steps
    if to_product != PERSON:
        allowing = [row for row in rows if row.lawful in LAWFUL]
        if (step := _elsewhere(from_product, reason, rules)) is not None:
            return (step,)
        if allowing:
            return (_transfer(from_product, to_product, allowing[0], _reasons(allowing)),)
    return _kept_until_payout(from_product, reason, rules)


def _transfer(from_product: str, to_product: str, row: Move, reasons: tuple[str, ...]) -> Step:
    return Step(
        do="transfer",
        product=from_product,
        into=to_product,
        rule=row.id,
        reasons=reasons,
        tax_events=_tax_events(row),
    )


def _elsewhere(from_product: str, reason: str, rules: Rules) -> Step | None:
    """The first destination for which the reason is good."""
    for destination in DESTINATIONS:
        # Looked for without citing; what is found is then consulted, and cited.
        if not any(reason in row.reasons for row in moves(from_product, destination)):
            continue
        for row in rules.moves(from_product, destination):
            if row.lawful in LAWFUL and reason in row.reasons:
                return _transfer(from_product, destination, row, (reason,))
    return None


def _pay_out(product: str, rules: Rules, *, before_new_contribution: bool) -> Step | None:
    """The payout of a product to the person, for the cases of its row that are in force on the day."""
    rows = [row for row in rules.moves(product, PERSON) if row.lawful in LAWFUL]
    if not rows:
        return None
    reasons = _reasons(rows)
    if product in PRODUCTS:
        reasons = tuple(each for each in reasons if rules.condition(product, each) is not None)
    if before_new_contribution:
        final = rules.terms("mv.cash.final").texts("cases")
        reasons = tuple(each for each in reasons if each not in final)
    return Step(
        do="pay_out",
        product=product,
        into=PERSON,
        rule=rows[0].id,
        reasons=reasons,
        tax_events=_tax_events(rows[0]),
    )


def _cash_and_anew(from_product: str, to_product: str, rules: Rules) -> tuple[Step, ...]:
    """A taxed payout, then a new contribution inside the target's cap (invariant 4); empty where the target has not begun."""
    paid = _pay_out(from_product, rules, before_new_contribution=True)
    if paid is None:
        return ()
    if to_product != PERSONAL_PENSION:
        free = rules.provision("mv.no_cap")
        anew = Step(do="contribute", product=PERSON, into=to_product, rule=free.id, linked=True)
        return (paid, anew)
    cap = rules.find(Limit, "pp.cap.year")
    if cap is None:
        return ()
    resume = rules.find(Terms, "pp.out.resume")
    anew = Step(
        do="contribute",
        product=PERSON,
        into=to_product,
        rule=cap.id,
        tax_events=("pp.tax.in",),
        cap_fen=cap.value,
        not_after=() if resume is None else resume.texts("ends_after"),
        linked=True,
    )
    return (paid, anew)


def _kept_until_payout(from_product: str, reason: str, rules: Rules) -> tuple[Step, ...]:
    """The money stays, of a leaver in a retained account, until a case of payout; empty where it is never drawn."""
    early = rules.find(Terms, "mv.early", from_product)
    stays_in = from_product if early is None else early.text("stays_in")
    paid = _pay_out(stays_in, rules, before_new_contribution=False)
    if paid is None:
        return ()
    rule = paid.rule if early is None else early.text("refused_by")
    reasons: tuple[str, ...] = ()
    if stays_in != from_product:
        rows = [row for row in rules.moves(from_product, stays_in) if row.lawful in LAWFUL]
        rule, reasons = rows[0].id, _reasons(rows)
        reasons = (reason,) if reason in reasons else reasons
    return (Step(do="keep", product=from_product, into=stays_in, rule=rule, reasons=reasons), paid)
