"""A move is judged by the matrix, taxed by its real form, and drafted as commands that the real deciders take.

The numbers are the invariants of ledger/planning/crossing.py; those of ledger/planning/drawing.py are named so.
"""

from collections import Counter
from datetime import UTC, date, datetime
from functools import cache
from itertools import product
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain.calculators.lawful_moves import PERSON
from ledger.domain.calculators.personal_pension import PensionSaving
from ledger.domain.commands import PayBenefit, PostContribution, TransferBalance
from ledger.domain.refusals import MoveNotLawful
from ledger.domain.rules import PRODUCTS, RuleRefused, Rules, packaged_tables
from ledger.planning.answers import AnswerRefused
from ledger.planning.crossing import Draft, MoveQuestion, Sender, Wish, accounts_of, wish
from ledger.planning.drawing import ANNUITIES
from tests.domain import asking
from tests.domain.asking import CP, EA, GP, OA, PP, RA
from tests.domain.scenario import Books, given
from tests.scale import scaled

SHE, POSITION = "core:1", 7
ON = date(2026, 11, 22)
SENDER = Sender(actor="system:core", namespace="core", decided_at=datetime(2026, 11, 22, 9, tzinfo=UTC))
ACCOUNTS = {"E": EA, "E2": EA, "E0": EA, "O": OA, "O2": OA, "G": GP, "R": RA, "P": PP, "C": CP}
FUNDED_FEN: dict[str, dict[str, Any]] = {
    "E": {"employee": 30_000_000, "employer_vested": 10_000_000, "employer_unvested": 5_000_000},
    "E2": {"employee": 100},
    "O2": {"employee": 100},
    "O": {"employee": 20_000_000, "employer_real": 4_000_000, "employer_book": 9_000_000},
    "G": {"voluntary": 300, "employee": 200, "employer_vested": 100, "employer_unvested": 50},
    "P": {"own": 200_000},
    "C": {"locked": 7_000, "continuing": 3_000},
}
# What is funded not by contributions: from another year, so that this year's cap stays as it is.
RETURNS_FEN = {"P": {"own": 36_000_000}}
PAYOUT_AND_CONTRIBUTION = 2
AT_AGE: dict[str, Any] = {"from_account": "E", "reason": "EA_STATUTORY_AGE"}


@cache
def held() -> Books:
    """A woman with an account of each product, and two of those that move into their like."""
    books = given(
        asking.register(SHE),
        *(asking.open_account(account, SHE, product) for account, product in ACCOUNTS.items()),
        *(asking.contribute(account, **amounts) for account, amounts in FUNDED_FEN.items()),
        *(asking.credit(account, gains=amounts) for account, amounts in RETURNS_FEN.items()),
        asking.transfer("E", "R", reason="unemployed", employee=5_000_000),
    ).books
    assert books.sheet(SHE).capped_contributions_fen == {"2026": 200_000}
    return books


def asked(**fields: Any) -> MoveQuestion:
    return MoveQuestion.model_validate({"on": ON} | fields)


def judged(rules: Rules | None = None, **fields: Any) -> Wish:
    question = asked(**fields)
    return wish(held().sheet(SHE), POSITION, question, SENDER, rules or Rules(question.on))


def drafted(**fields: Any) -> Draft:
    draft = judged(**fields).draft
    assert draft is not None
    return draft


def parts_of(account: str) -> dict[str, int]:
    _, line = accounts_of(held().sheet(SHE))[account]
    return {part.part: part.balance_fen for part in line.parts}


def codes(kind: str) -> list[str]:
    return list(dict.fromkeys(row["code"] for row in packaged_tables()[kind]))


FUNDED = ["R", *FUNDED_FEN]
PAIRS = [(source, target) for source in FUNDED for target in ACCOUNTS if source != target]


class TestMatrix:
    """Invariant 1."""

    def test_what_is_drafted_as_a_transfer_is_what_the_decider_does_not_call_unlawful(self) -> None:
        """Every pair of accounts for every reason: both ask the same rows, on two roads."""
        lawful = 0
        for (source, target), reason in product(PAIRS, codes("reason")):
            found = judged(from_account=source, to_account=target, reason=reason)
            part = PRODUCTS[ACCOUNTS[source]].payout_order[0]
            command = asking.transfer(source, target, reason=reason, on=ON.isoformat(), **{part: 1})
            decision = held().decide(command if found.draft is None else found.draft.commands[0])
            assert found.judged.lawful == (found.draft is not None)
            assert found.judged.lawful != isinstance(decision, MoveNotLawful), (source, target, reason)
            lawful += found.judged.lawful
        assert lawful > len(ACCOUNTS)

    def test_a_case_of_payout_is_no_reason_to_transfer(self) -> None:
        for (source, target), case in product(PAIRS, codes("condition")):
            form = "monthly" if case == "OA_RETIRED" else None
            found = judged(from_account=source, to_account=target, reason=case, form=form, withheld_fen=0)
            assert not found.judged.lawful
            assert found.draft is None or len(found.draft.commands) == PAYOUT_AND_CONTRIBUTION

    def test_what_is_paid_out_and_paid_in_the_deciders_take(self) -> None:
        """Every account that pays, to herself and into every other account, for every case."""
        taken: Counter[int] = Counter()
        targets: list[dict[str, Any]] = [{"to_product": PERSON}, *({"to_account": account} for account in ACCOUNTS)]
        for source, target, case in product(FUNDED, targets, codes("condition")):
            if target.get("to_account") != source:
                form = "monthly" if case == "OA_RETIRED" else None
                draft = judged(from_account=source, reason=case, form=form, withheld_fen=0, **target).draft
                commands = () if draft is None else draft.commands
                decisions = [held().decide(command) for command in commands]
                assert all(isinstance(decision, list) for decision in decisions), decisions
                taken[len(commands)] += 1
        assert min(taken[1], taken[PAYOUT_AND_CONTRIBUTION]) > len(FUNDED)

    @pytest.mark.parametrize(
        ("source", "target", "rule", "way"),
        [
            ("E", "P", "mv.ea.pp", ["pay_out", "contribute"]),
            ("O", "P", "mv.oa.pp", ["pay_out", "contribute"]),
            ("G", "E", "mv.gp.annuity", None),
            ("G", "R", "mv.gp.annuity", None),
            ("P", "E", "mv.pp.annuity", None),
            ("R", "G", "mv.default", None),
            ("C", "P", "mv.cp.other", None),
        ],
    )
    def test_an_unlawful_move_is_not_drafted_and_the_nearest_way_is_told(
        self, source: str, target: str, rule: str, way: list[str] | None
    ) -> None:
        found = judged(from_account=source, to_account=target, reason="job_change")
        assert (found.draft, found.judged.lawful, found.judged.rule) == (None, False, rule)
        assert found.judged.alternative
        assert way is None or [step.do for step in found.judged.alternative] == way

    def test_a_product_without_an_account_is_judged_alone(self) -> None:
        """mv.ea.product."""
        found = judged(**AT_AGE, to_product="pension_product")
        assert (found.judged.lawful, found.draft) == (True, None)


class TestTransfers:
    def test_the_unvested_part_stays(self) -> None:
        """mv.ea.ea: the vested part moves."""
        draft = drafted(from_account="E", to_account="E2", reason="job_change")
        assert (draft.gross_fen, draft.tax_fen, draft.tax_rule) == (35_000_000, 0, None)
        assert draft.stays_fen == {"employee": 0, "employer_vested": 0, "employer_unvested": 5_000_000}

    def test_the_book_part_moves_only_between_units_of_one_level(self) -> None:
        """mv.oa.oa and mv.oa.oa.book."""
        move = {"from_account": "O", "to_account": "O2"}
        assert drafted(**move, reason="job_change").stays_fen["employer_book"] == 9_000_000
        assert drafted(**move, reason="job_change_same_level_fully_financed").stays_fen["employer_book"] == 0

    def test_a_total_is_taken_from_own_money_first(self) -> None:
        draft = drafted(from_account="E", to_account="R", reason="study", amount_fen=25_000_001)
        (command,) = draft.commands
        assert isinstance(command, TransferBalance)
        assert command.amounts_fen == {"employee": 25_000_000, "employer_vested": 1}

    def test_parts_move_as_they_are_asked_for(self) -> None:
        asked_fen = {"employer_vested": 5, "employee": 7}
        (command,) = drafted(from_account="E", to_account="R", reason="study", amounts_fen=asked_fen).commands
        assert isinstance(command, TransferBalance)
        assert command.amounts_fen == asked_fen

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"amount_fen": 35_000_001}, "amount_fen"),
            ({"amounts_fen": {"employer_vested": 10_000_001}}, "amounts_fen"),
            ({"amounts_fen": {"employer_unvested": 1}}, "amounts_fen"),
            ({"amounts_fen": {}}, "amounts_fen"),
            ({"from_account": "E0"}, "amounts_fen"),
            ({"from_account": "X"}, "from_account"),
            ({"to_account": "X"}, "to_account"),
        ],
    )
    def test_a_field_out_of_place_is_named(self, fields: dict[str, Any], field: str) -> None:
        with pytest.raises(AnswerRefused) as refused:
            drafted(**{"from_account": "E", "to_account": "R", "reason": "study"} | fields)
        assert refused.value.field == field

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"to_account": "R", "to_product": PERSON},
            {"to_account": "E"},
            {"to_account": "R", "amount_fen": 1, "amounts_fen": {"employee": 1}},
            {"to_account": "R", "taxed_before_2014_fen": 1},
        ],
    )
    def test_a_question_that_contradicts_itself_is_none(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            asked(**AT_AGE, **fields)


class TestPayouts:
    """RULES.md section 11: annuity tax, and the personal pension's payout at age."""

    @pytest.mark.parametrize(
        ("account", "reason", "form", "gross_fen", "tax_fen", "rule"),
        [
            ("E", "EA_STATUTORY_AGE", "yearly", 1_200_000, 36_000, "an.tax.out.yearly"),
            ("O", "OA_RETIRED", "yearly", 4_800_000, 228_000, "an.tax.out.yearly"),
            ("E", "EA_STATUTORY_AGE", "monthly", 500_000, 29_000, "an.tax.out.monthly"),
            ("E", "EA_STATUTORY_AGE", "quarterly", 1_500_000, 87_000, "an.tax.out.quarterly"),
            ("E", "EA_SETTLED_ABROAD", None, 10_000_000, 748_000, "an.tax.out.lump_settled_abroad"),
            ("E", "EA_STATUTORY_AGE", None, 10_000_000, 2_984_000, "an.tax.out.lump_other"),
            ("E", "EA_DEATH", None, 10_000_000, 748_000, "an.tax.out.lump_heirs"),
            ("E", "EA_DISABLED", None, 10_000_000, 2_984_000, "an.tax.out.lump_disabled"),
            ("P", "PP_W1_AGE", None, 36_000_000, 1_080_000, "pp.tax.out"),
            ("P", "PP_DEATH", None, 36_000_000, 1_080_000, "pp.death.tax"),
            ("C", "CP_LOCKED_AGE_60", None, 10_000, 0, "cp.tax"),
        ],
    )
    def test_tax_by_the_real_form(
        self, account: str, reason: str, form: str | None, gross_fen: int, tax_fen: int, rule: str
    ) -> None:
        rules = Rules(ON)
        fields = {"from_account": account, "reason": reason, "to_product": PERSON}
        draft = judged(rules, **fields, amount_fen=gross_fen, form=form).draft
        assert draft is not None
        (command,) = draft.commands
        assert isinstance(command, PayBenefit)
        assert (draft.tax_fen, draft.tax_rule, command.tax_fen) == (tax_fen, rule, tax_fen)
        assert draft.to_person_fen == command.net_fen == gross_fen - tax_fen
        assert rule in {cited.rule for cited in rules.cited}

    def test_what_was_taxed_before_2014_is_not_taxed_again(self) -> None:
        """Monthly 5,000, and 20,000 of 100,000 contributions were taxed before 2014: tax 190."""
        shares = {"taxed_before_2014_fen": 2_000_000, "contributions_fen": 10_000_000}
        draft = drafted(**AT_AGE, to_product=PERSON, form="monthly", amount_fen=500_000, **shares)
        assert draft.tax_fen == 19_000

    @pytest.mark.parametrize(
        ("account", "reason", "form"),
        [
            ("E", "EA_STATUTORY_AGE", "lump_settled_abroad"),
            ("E", "EA_STATUTORY_AGE", "lump_heirs"),
            ("E", "EA_SETTLED_ABROAD", "lump_other"),
            ("E", "EA_SETTLED_ABROAD", "monthly"),
            ("R", "EA_DEATH", "yearly"),
            ("O", "OA_RETIRED", None),
            ("O", "OA_RETIRED", "lump_other"),
        ],
    )
    def test_a_form_that_the_case_does_not_allow_is_refused(self, account: str, reason: str, form: str | None) -> None:
        """Invariant 2 of drawing.py: an.out.forms."""
        with pytest.raises(AnswerRefused) as refused:
            judged(from_account=account, reason=reason, to_product=PERSON, form=form)
        assert refused.value.field == "form"

    def test_every_case_of_an_annuity_has_its_forms(self) -> None:
        rules = Rules(ON)
        cases = {row["code"] for row in packaged_tables()["condition"] if set(row["products"]) & set(ANNUITIES)}
        assert all(rules.terms("an.out.forms", case).texts("forms") for case in cases)

    def test_parts_are_drawn_in_the_products_order_or_not_at_all(self) -> None:
        """Invariant 1 of drawing.py."""
        with pytest.raises(AnswerRefused) as refused:
            drafted(**AT_AGE, to_product=PERSON, amounts_fen={"employer_vested": 100})
        assert refused.value.detail == {"drawn_fen": {"employee": 100}}
        draft = drafted(**AT_AGE, to_product=PERSON, amount_fen=25_000_100)
        assert draft.stays_fen == {"employee": 0, "employer_vested": 9_999_900, "employer_unvested": 5_000_000}

    def test_a_group_pension_is_taxed_as_wages_so_what_is_withheld_is_told(self) -> None:
        """gp.tax."""
        payout = {"from_account": "G", "to_product": PERSON, "reason": "GP_PLAN_TERMS"}
        for wrong in ({}, {"withheld_fen": 601}):
            with pytest.raises(AnswerRefused, match="withheld_fen"):
                drafted(**payout, **wrong)
        draft = drafted(**payout, withheld_fen=60)
        assert (draft.gross_fen, draft.tax_fen, draft.stays_fen["employer_unvested"]) == (600, 60, 50)


class TestPayoutAndContribution:
    """Invariant 2."""

    def test_who_has_no_other_income_only_loses(self) -> None:
        """EA yearly payout 12,000, then 12,000 into PP: EA tax 360, saved 0, later 360: loss 360 (RULES.md section 11)."""
        books = given(
            asking.register(SHE),
            asking.open_account("E", SHE, EA),
            asking.open_account("P", SHE, PP),
            asking.contribute("E", employee=1_200_000),
        ).books
        question = asked(**AT_AGE, to_account="P", form="yearly", contribute_fen=1_200_000, taxable_before_fen=0)
        draft = wish(books.sheet(SHE), POSITION, question, SENDER, Rules(ON)).draft
        assert draft is not None
        assert (draft.gross_fen, draft.tax_fen, draft.arrives_fen) == (1_200_000, 36_000, 1_200_000)
        assert (draft.to_person_fen, draft.adds_fen) == (0, 36_000)
        assert (draft.room_fen, draft.room_left_fen) == (1_200_000, 0)
        assert draft.saving == PensionSaving(0, 0, 0, 1_200_000, 36_000, -36_000)

    def test_the_contribution_is_at_most_what_is_left_of_the_cap_and_the_rest_is_hers(self) -> None:
        draft = drafted(**AT_AGE, to_account="P", form="yearly", amount_fen=1_200_000)
        payout, contribution = draft.commands
        assert isinstance(payout, PayBenefit)
        assert isinstance(contribution, PostContribution)
        assert contribution.amounts_fen == {"own": 1_000_000}
        assert (draft.room_fen, draft.room_left_fen, draft.to_person_fen) == (1_000_000, 0, 164_000)

    def test_the_saving_is_that_of_this_contribution_alone(self) -> None:
        """200,000 taxable and 2,000 paid before: 20 % of the other 10,000."""
        draft = drafted(**AT_AGE, to_account="P", form="yearly", amount_fen=1_200_000, taxable_before_fen=20_000_000)
        assert draft.saving is not None
        assert (draft.saving.saved_fen, draft.saving.exit_tax_fen, draft.saving.net_fen) == (200_000, 30_000, 170_000)

    def test_more_than_what_is_left_is_refused_with_what_is_left(self) -> None:
        """pp.cap.year: refused whole."""
        with pytest.raises(RuleRefused) as refused:
            drafted(**AT_AGE, to_account="P", contribute_fen=1_000_001)
        assert (refused.value.rule, refused.value.detail) == ("pp.cap.year", {"left_fen": 1_000_000})

    def test_with_nothing_left_there_is_nothing_to_draft(self) -> None:
        books = given(
            asking.register(SHE),
            asking.open_account("E", SHE, EA),
            asking.open_account("P", SHE, PP),
            asking.contribute("E", employee=1_200_000),
            asking.contribute("P", own=1_200_000),
        ).books
        with pytest.raises(RuleRefused) as refused:
            wish(books.sheet(SHE), POSITION, asked(**AT_AGE, to_account="P"), SENDER, Rules(ON))
        assert (refused.value.rule, refused.value.detail) == ("pp.cap.year", {"left_fen": 0})

    def test_a_payout_that_is_all_tax_leaves_nothing_to_pay_in(self) -> None:
        with pytest.raises(AnswerRefused, match="withheld_fen"):
            drafted(from_account="G", to_account="P", reason="GP_PLAN_TERMS", withheld_fen=600)

    def test_out_of_the_personal_pension_it_costs_three_percent_and_has_no_cap(self) -> None:
        """mv.pp.outside: for hardship, into a commercial pension."""
        draft = drafted(from_account="P", to_account="C", reason="PP_W4_MEDICAL")
        assert (draft.gross_fen, draft.tax_fen, draft.room_fen) == (36_200_000, 1_086_000, None)
        assert draft.arrives_fen == 36_200_000 - 1_086_000

    def test_who_died_pays_nothing_in(self) -> None:
        """mv.cash.final."""
        assert judged(from_account="E", to_account="P", reason="EA_DEATH").draft is None

    def test_both_commands_name_one_move(self) -> None:
        ids = [command.command_id for command in drafted(**AT_AGE, to_account="P").commands]
        assert [each.rpartition("/")[2] for each in ids] == ["1", "2"]
        assert len({each.rpartition("/")[0] for each in ids}) == 1
        assert all(each.startswith("core:move/") for each in ids)


def test_the_same_question_at_the_same_position_drafts_the_same() -> None:
    """Invariant 3; when it was decided is no part of it."""
    question = asked(**AT_AGE, to_account="P")
    sheet = held().sheet(SHE)
    later = Sender(actor=SENDER.actor, namespace=SENDER.namespace, decided_at=datetime(2026, 11, 23, tzinfo=UTC))

    def ids(position: int, sender: Sender, question: MoveQuestion = question) -> list[str]:
        draft = wish(sheet, position, question, sender, Rules(ON)).draft
        assert draft is not None
        return [command.command_id for command in draft.commands]

    assert ids(POSITION, SENDER) == ids(POSITION, later)
    assert ids(POSITION, SENDER) != ids(POSITION + 1, SENDER)
    assert ids(POSITION, SENDER) != ids(POSITION, SENDER, asked(**AT_AGE, to_account="P", amount_fen=100))


def test_no_fen_comes_or_goes() -> None:
    """What is drawn is taxed, arrives, or is hers; and what is not drawn stays. For random totals of every way."""
    random = Random(6)  # noqa: S311 - to be made again from its seed
    ways = [
        {**AT_AGE, "to_account": "P"},
        {**AT_AGE, "to_product": PERSON, "form": "monthly"},
        {"from_account": "E", "to_account": "R", "reason": "study"},
        {"from_account": "O", "to_account": "E2", "reason": "job_change"},
        {"from_account": "P", "to_account": "C", "reason": "PP_W2_DISABLED"},
    ]
    movable = {"E": 35_000_000, "O": 24_000_000, "P": 36_200_000}
    for _ in range(scaled(3_000)):
        way = random.choice(ways)
        source = str(way["from_account"])
        total = random.randint(2, movable[source])
        draft = drafted(**way, amount_fen=total)
        assert draft.gross_fen == total
        assert draft.tax_fen + draft.arrives_fen + draft.to_person_fen - draft.adds_fen == total
        assert sum(draft.stays_fen.values()) == sum(parts_of(source).values()) - total
        assert min(draft.tax_fen, draft.arrives_fen, draft.to_person_fen, *draft.stays_fen.values()) >= 0
