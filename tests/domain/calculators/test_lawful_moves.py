"""Wishes to move money: the rows of the legal-moves matrix, each judged, and what stands in place of an unlawful one."""

from datetime import date
from itertools import product

import pytest

from ledger.domain.calculators.lawful_moves import DESTINATIONS, LAWFUL, PERSON, Judged, Step, judge
from ledger.domain.rules import PRODUCTS, RuleRefused, Rules, moves
from tests.domain.calculators.yuan import TODAY, cited_rules, fen, today

EA, OA, RA, GP = "enterprise_annuity", "occupational_annuity", "retained_account", "group_pension"
PP, CP = "personal_pension", "commercial_pension"


def judged(from_product: str, to_product: str, reason: str, on: date = TODAY) -> Judged:
    return judge(from_product, to_product, reason, Rules(on))


def deeds(found: Judged) -> list[tuple[str, str, str, str]]:
    return [(step.do, step.product, step.into, step.rule) for step in found.alternative]


class TestLawful:
    @pytest.mark.parametrize(
        ("from_product", "to_product", "reason", "rule", "tax_events"),
        [
            (EA, EA, "job_change", "mv.ea.ea", ()),
            (EA, OA, "job_change", "mv.ea.oa", ()),
            (EA, RA, "unemployed", "mv.ea.ra", ()),
            (RA, EA, "job_change", "mv.ra.ea", ()),
            (EA, PERSON, "EA_STATUTORY_AGE", "mv.ea.cash", ("an.tax.out",)),
            (EA, "pension_product", "EA_DISABLED", "mv.ea.product", ("open",)),
            (OA, OA, "job_change", "mv.oa.oa", ()),
            (OA, OA, "job_change_same_level_fully_financed", "mv.oa.oa.book", ()),
            (OA, OA, "study", "mv.oa.stay", ()),
            (OA, EA, "job_change", "mv.oa.ea", ()),
            (PP, PP, "bank_change", "mv.pp.pp", ()),
            (PP, "listed_product", "product_purchase", "mv.pp.product", ()),
            (PP, PERSON, "PP_W4_MEDICAL", "mv.pp.cash", ("pp.tax.out",)),
            (CP, CP, "product_rules", "mv.cp.cp", ()),
            ("tax_deferred_policy", PP, "industry_platform", "mv.td.pp", ()),
            ("first_pillar", PERSON, "retirement", "mv.fp.cash", ("exempt",)),
            ("first_pillar", "first_pillar", "province_change", "mv.fp.province", ()),
        ],
    )
    def test_rows_of_the_matrix(
        self, from_product: str, to_product: str, reason: str, rule: str, tax_events: tuple[str, ...]
    ) -> None:
        """RULES.md section 7."""
        found = judged(from_product, to_product, reason)
        assert (found.lawful, found.verdict, found.rule) == (True, "lawful", rule)
        assert (found.tax_events, found.alternative) == (tax_events, ())

    def test_a_condition_is_told(self) -> None:
        """The book part of an occupational annuity is funded before it becomes an enterprise annuity."""
        found = judged(OA, EA, "job_change")
        assert (found.conditional, found.condition) == (True, "the book part is funded first")
        assert not judged(EA, EA, "job_change").conditional


class TestNearestLawfulWay:
    def test_an_enterprise_annuity_never_moves_into_a_personal_pension(self) -> None:
        """EA36 articles 24, 25: a taxed payout, then a new contribution inside the cap, as two linked facts."""
        rules = today()
        found = judge(EA, PP, "EA_STATUTORY_AGE", rules)
        assert (found.lawful, found.verdict, found.rule) == (False, "pair_not_lawful", "mv.ea.pp")
        assert found.alternative == (
            Step(
                do="pay_out",
                product=EA,
                into=PERSON,
                rule="mv.ea.cash",
                reasons=("EA_DISABLED", "EA_SETTLED_ABROAD", "EA_STATUTORY_AGE"),
                tax_events=("an.tax.out",),
            ),
            Step(
                do="contribute",
                product=PERSON,
                into=PP,
                rule="pp.cap.year",
                tax_events=("pp.tax.in",),
                cap_fen=fen("12,000"),
                not_after=("PP_W1_AGE",),
                linked=True,
            ),
        )
        assert {"mv.ea.pp", "mv.ea.cash", "ea.out", "pp.cap.year", "pp.out.resume"} <= cited_rules(rules)

    @pytest.mark.parametrize("reason", ["PP_W4_MEDICAL", "hardship", "unemployed"])
    def test_an_enterprise_annuity_is_not_drawn_early(self, reason: str) -> None:
        """EA36 article 25: nothing else. It stays, of a leaver in a retained account, until a case of article 24."""
        found = judged(EA, PERSON, reason)
        assert (found.lawful, found.verdict, found.rule) == (False, "reason_not_lawful", "ea.no_early")
        assert deeds(found) == [("keep", EA, RA, "mv.ea.ra"), ("pay_out", RA, PERSON, "mv.ea.cash")]
        assert (found.alternative[0].reasons == ("unemployed",)) == (reason == "unemployed")
        assert deeds(judged(RA, PERSON, reason)) == [
            ("keep", RA, RA, "ea.no_early"),
            ("pay_out", RA, PERSON, "mv.ea.cash"),
        ]

    def test_the_reason_may_be_good_for_another_destination(self) -> None:
        """A plan's end leads into a retained account; study keeps an occupational annuity with the old manager."""
        assert deeds(judged(EA, EA, "plan_end")) == [("transfer", EA, RA, "mv.ea.ra")]
        assert deeds(judged(OA, RA, "study")) == [("transfer", OA, OA, "mv.oa.stay")]
        assert deeds(judged(EA, CP, "EA_STATUTORY_AGE")) == [("transfer", EA, "pension_product", "mv.ea.product")]

    def test_or_the_destination_takes_another_reason(self) -> None:
        found = judged(PP, PP, "better_app")
        assert deeds(found) == [("transfer", PP, PP, "mv.pp.pp")]
        assert found.alternative[0].reasons == found.reasons == ("bank_change",)

    def test_a_personal_pension_leaves_only_by_a_payout_with_its_tax(self) -> None:
        """PT21: W1 to W6, 3 %; what she buys outside then has no cap of the law."""
        found = judged(PP, CP, "product_rules")
        assert found.rule == "mv.pp.outside"
        assert deeds(found) == [("pay_out", PP, PERSON, "mv.pp.cash"), ("contribute", PERSON, CP, "mv.no_cap")]
        paid, anew = found.alternative
        assert [case[:5] for case in paid.reasons] == [f"PP_W{number}" for number in range(1, 7)]
        assert (paid.tax_events, anew.cap_fen, anew.linked) == (("pp.tax.out",), None, True)

    def test_a_group_pension_becomes_a_personal_one_only_as_cash(self) -> None:
        assert deeds(judged(GP, PP, "job_change")) == [
            ("pay_out", GP, PERSON, "mv.gp.out"),
            ("contribute", PERSON, PP, "pp.cap.year"),
        ]

    def test_the_dead_contribute_nothing(self) -> None:
        """A payout to heirs is no first step of a move; as a payout it is lawful."""
        assert not any("DEATH" in case for case in judged(OA, PP, "x").alternative[0].reasons)
        assert judged(OA, PERSON, "OA_DEATH_IN_SERVICE").lawful

    @pytest.mark.parametrize(
        "to_product", [EA, OA, RA, GP, PP, CP, "pension_product", "listed_product", "outside_product"]
    )
    def test_the_first_pillar_moves_nowhere_and_is_not_drawn_early(self, to_product: str) -> None:
        """SIL article 14."""
        found = judged("first_pillar", to_product, "job_change")
        assert (found.lawful, found.rule) == (False, "mv.fp.other")
        assert deeds(found) == [
            ("keep", "first_pillar", "first_pillar", "fp.out"),
            ("pay_out", "first_pillar", PERSON, "mv.fp.cash"),
        ]
        assert judged("first_pillar", PERSON, "hardship").rule == "fp.out"


class TestRefusedByDefault:
    @pytest.mark.parametrize("pair", [(EA, GP), (OA, RA), (GP, GP), (PP, GP), (CP, RA), (PERSON, PP), ("x", "y")])
    def test_a_pair_without_a_row_is_refused(self, pair: tuple[str, str]) -> None:
        """RULES.md section 7: by default."""
        rules = today()
        found = judge(*pair, "job_change", rules)
        assert (found.lawful, found.verdict, found.rule, found.reasons) == (False, "no_row", "mv.default", ())
        assert "mv.default" in cited_rules(rules)

    def test_what_the_matrix_does_not_know_has_no_alternative(self) -> None:
        assert judged("x", "y", "z").alternative == ()


class TestTime:
    @pytest.mark.parametrize(
        ("from_product", "to_product", "reason", "first"),
        [
            (PP, PP, "bank_change", date(2022, 11, 4)),
            (EA, PP, "EA_STATUTORY_AGE", date(2018, 2, 1)),
            (OA, PERSON, "OA_RETIRED", date(2014, 10, 1)),
            ("first_pillar", PERSON, "retirement", date(2011, 7, 1)),
        ],
    )
    def test_before_the_first_row_it_is_refused_by_the_rules_id(
        self, from_product: str, to_product: str, reason: str, first: date
    ) -> None:
        """Invariant 2."""
        rule = moves(from_product, to_product)[0].id
        with pytest.raises(RuleRefused) as refused:
            judged(from_product, to_product, reason, date.fromordinal(first.toordinal() - 1))
        assert (refused.value.rule, refused.value.reason) == (rule, "rule_not_in_force")
        assert str(first) in refused.value.sentence
        assert judged(from_product, to_product, reason, first).rule == rule

    def test_a_hardship_opens_from_its_own_first_day(self) -> None:
        """PP25: announced 2024-12-12, usable 2025-09-01; the matrix row is older."""
        with pytest.raises(RuleRefused) as refused:
            judged(PP, PERSON, "PP_W4_MEDICAL", date(2025, 8, 31))
        assert (refused.value.rule, refused.value.reason) == ("PP_W4_MEDICAL", "rule_not_in_force")
        assert judged(PP, PERSON, "PP_W4_MEDICAL", date(2025, 9, 1)).lawful
        before = judged(PP, CP, "x", date(2025, 8, 31)).alternative[0]
        assert before.reasons == ("PP_W1_AGE", "PP_W2_DISABLED", "PP_W3_EMIGRATED")

    def test_as_known_before_the_announcement_the_refusal_says_so(self) -> None:
        rules = Rules(TODAY, known_on=date(2024, 12, 11))
        with pytest.raises(RuleRefused, match=r"2026-11-22, as known on 2024-12-11"):
            judge(PP, PERSON, "PP_W4_MEDICAL", rules)

    def test_without_personal_pensions_there_was_nothing_to_pay_into(self) -> None:
        """In 2019 the money stayed."""
        found = judged(EA, PP, "x", date(2019, 5, 1))
        assert deeds(found) == [("keep", EA, RA, "mv.ea.ra"), ("pay_out", RA, PERSON, "mv.ea.cash")]


def test_rows_that_need_sign_off_are_visible() -> None:
    """mv.ra.ea and oa.out are of confidence C."""
    rules = today()
    judge(RA, EA, "job_change", rules)
    judge(OA, PERSON, "OA_RETIRED", rules)
    assert {each.rule for each in rules.cited if each.confidence == "C"} == {"mv.ra.ea", "mv.oa.cash", "oa.out"}


def test_every_step_of_every_alternative_is_lawful_itself() -> None:
    """Invariant 3, for all pairs and all reasons that any row gives."""
    sources = (*PRODUCTS, "first_pillar", "tax_deferred_policy", "exclusive_annuity")
    pairs = list(product(sources, (*DESTINATIONS, PERSON)))
    reasons = {reason for pair in pairs for row in moves(*pair) for reason in row.reasons} | {"a_whim"}
    seen = 0
    for (from_product, to_product), reason in product(pairs, sorted(reasons)):
        found = judged(from_product, to_product, reason)
        rows = [row for row in moves(from_product, to_product) if row.lawful in LAWFUL and reason in row.reasons]
        assert found.lawful == bool(rows)
        assert found.lawful or found.alternative
        for step in found.alternative:
            if step.do in {"transfer", "pay_out"}:
                seen += 1
                assert step.reasons
                for good in step.reasons:
                    again = judged(step.product, step.into, good)
                    assert again.lawful
                    assert step.do == "transfer" or again.rule == step.rule
    assert seen > 1_000
