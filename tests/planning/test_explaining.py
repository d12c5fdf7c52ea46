"""Each kind of result has two sentences in Chinese and English, in the words of daily life; the loader refuses what does not fit.

Invariants are those of `ledger.planning.wording`.
"""

import copy
import random
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import pytest
from pydantic import ValidationError

from ledger.planning import explaining
from ledger.planning.explaining import (
    CASES,
    KINDS,
    SENTENCES,
    SLOTS,
    AllocationResult,
    CasesResult,
    MoveResult,
    PlanResult,
    RetirementResult,
    SensitivityResult,
    SolveResult,
    TaxResult,
    UncertaintyResult,
    WhatIfResult,
    explain,
)
from ledger.planning.scenarios import Scenario
from ledger.planning.sensitivity import LUMP_STEP_FEN, MOVED, PENSION_STEP_FEN, SAVING_STEP_FEN
from ledger.planning.wording import (
    Result,
    Sentences,
    SentencesInvalid,
    Texts,
    age,
    calendar_month,
    duration,
    money,
)
from tests.planning.golden_sentences import GOLDEN
from tests.planning.plain import assert_plain, sentences_of
from tests.scale import scaled

FILE: Final[dict[str, Any]] = tomllib.loads(
    files("ledger.planning").joinpath("sentences.toml").read_text(encoding="utf-8")
)
YUAN: Final = 100
# A person of 70 reads on at a glance; longer sentences lose her.
MOST_CHARACTERS: Final = 90
MOST_WORDS: Final = 48

PLAN: Final[dict[str, Any]] = {"retirement_age_months": 758, "income_today_fen": 823_400, "need_today_fen": 600_000}
SHORT: Final[dict[str, Any]] = {**PLAN, "need_today_fen": 1_000_000, "short_age_months": 900, "gap_today_fen": 123_456}
FUTURES: Final[dict[str, Any]] = {"futures_count": 2000, "low_today_fen": 650_000, "high_today_fen": 1_123_400}
LABELS: Final[dict[str, Any]] = {"base_label": "60岁退休", "other_label": "再干三年"}
WHAT_IF: Final[dict[str, Any]] = {"taxes_part_today_fen": -1_200_000, "returns_part_today_fen": 5_670_000}
FOUND: Final[dict[str, Any]] = {
    "lever": "yearly_saving",
    "aim": "lasting",
    "target_today_fen": 800_000,
    "reached": True,
}
LAW: Final[dict[str, Any]] = {"retirement_age_months": 740, "retirement_month": "2039-11", "latest_age_months": 776}
MOVED_MONEY: Final[dict[str, Any]] = {
    "from_name": "enterprise_annuity",
    "to_name": "person",
    "amount_fen": 12_000_000,
    "lawful": True,
}
OTHERS: Final[dict[str, Any]] = {"people_count": 20, "low_fen": 5_000_000, "high_fen": 18_000_000}

# One result of every variant.
RESULTS: Final[dict[str, Result]] = {
    "plan.years_missing": PlanResult(**PLAN, missing_months=30),
    "plan.retired_short": PlanResult(**SHORT, retired=True),
    "plan.retired_short_otherwise": PlanResult(**{**SHORT, "need_today_fen": 0}, retired=True),
    "plan.retired_covered": PlanResult(**PLAN, retired=True),
    "plan.retired_untold": PlanResult(**{**PLAN, "need_today_fen": 0}, retired=True, share_of_wage_bp=6_000),
    "plan.short": PlanResult(**SHORT),
    "plan.short_otherwise": PlanResult(**{**SHORT, "short_age_months": 500}),
    "plan.covered": PlanResult(**PLAN),
    "plan.compared": PlanResult(**{**PLAN, "need_today_fen": 0}, share_of_wage_bp=6_420),
    "plan.untold": PlanResult(**{**PLAN, "need_today_fen": 0}),
    "uncertainty.untold": UncertaintyResult(**FUTURES, short_count=0, need_told=False, retired=True),
    "uncertainty.never": UncertaintyResult(**FUTURES, short_count=0),
    "uncertainty.rarely": UncertaintyResult(**FUTURES, short_count=9),
    "uncertainty.sometimes": UncertaintyResult(**FUTURES, short_count=170),
    "uncertainty.mostly": UncertaintyResult(**FUTURES, short_count=1999),
    "what_if.same": WhatIfResult(
        **LABELS, income_more_today_fen=0, lifetime_more_today_fen=0, taxes_part_today_fen=0, returns_part_today_fen=0
    ),
    "what_if.put_by": WhatIfResult(
        **LABELS,
        income_more_today_fen=0,
        lifetime_more_today_fen=0,
        taxes_part_today_fen=0,
        returns_part_today_fen=0,
        lasting_more_today_fen=30_000,
    ),
    "what_if.better": WhatIfResult(
        **LABELS, **WHAT_IF, income_more_today_fen=80_000, lifetime_more_today_fen=12_345_600
    ),
    "what_if.worse": WhatIfResult(
        **LABELS,
        income_more_today_fen=-80_000,
        lifetime_more_today_fen=-12_345_600,
        taxes_part_today_fen=1_200_000,
        returns_part_today_fen=0,
    ),
    "what_if.mixed": WhatIfResult(
        **LABELS, **WHAT_IF, income_more_today_fen=80_000, lifetime_more_today_fen=-12_345_600
    ),
    "sensitivity.nothing": SensitivityResult(steps_count=1),
    "sensitivity.both": SensitivityResult(
        steps_count=24,
        best_name="retirement_later",
        best_today_fen=61_200,
        worst_name="prices_faster",
        worst_today_fen=90_000,
    ),
    "sensitivity.gain": SensitivityResult(steps_count=24, best_name="saving_more", best_today_fen=61_200),
    "sensitivity.loss": SensitivityResult(steps_count=24, worst_name="break_longer", worst_today_fen=90_000),
    "solve.reached": SolveResult(**FOUND, choice_fen=2_400_000),
    "solve.reached_without": SolveResult(
        **{**FOUND, "lever": "personal_pension"}, income_today_fen=810_000, choice_fen=0
    ),
    "solve.already": SolveResult(**FOUND, already=True, income_today_fen=850_000, choice_fen=0),
    "solve.out_of_reach": SolveResult(
        **{**FOUND, "reached": False, "lever": "saving_rate", "aim": "first_income"},
        income_today_fen=700_000,
        choice_bp=1_250,
    ),
    "solve.no_help": SolveResult(
        **{**FOUND, "reached": False, "lever": "personal_pension"}, income_today_fen=700_000, choice_fen=0
    ),
    "allocation.worth": AllocationResult(
        amount_fen=5_000_000, pension_fen=1_200_000, tax_saved_fen=240_000, gain_fen=1_234_500
    ),
    "allocation.worth_all": AllocationResult(
        amount_fen=1_000_000, pension_fen=1_000_000, tax_saved_fen=200_000, gain_fen=300_000
    ),
    "allocation.untaxed": AllocationResult(amount_fen=5_000_000, pension_fen=1_000_000, gain_fen=1_234_500),
    "allocation.costs": AllocationResult(
        amount_fen=2_000_000,
        pension_tried_fen=1_200_000,
        pension_cost_fen=36_000,
        best_name=Texts("三年期储蓄国债", "three-year savings bonds"),
    ),
    "allocation.keep": AllocationResult(amount_fen=2_000_000, kept_fen=2_000_000),
    "allocation.plain": AllocationResult(
        amount_fen=2_000_000, best_name=Texts("债券基金", "Bond fund"), best_fen=1_500_000, gain_fen=40_000
    ),
    "tax.no_payment": TaxResult(tax_fen=1_208_000),
    "tax.no_tax": TaxResult(tax_fen=0),
    "tax.worth": TaxResult(tax_fen=2_308_000, paid_fen=1_200_000, saved_fen=240_000, exit_tax_fen=36_000),
    "tax.even": TaxResult(tax_fen=100_000, paid_fen=1_200_000, saved_fen=36_000, exit_tax_fen=36_000),
    "tax.costs": TaxResult(tax_fen=30_000, paid_fen=1_200_000, saved_fen=30_000, exit_tax_fen=36_000),
    "retirement.reached": RetirementResult(**LAW, reached=True),
    "retirement.years_missing": RetirementResult(**LAW, missing_months=7),
    "retirement.too_early": RetirementResult(**LAW, missing_months=2, early_month="2038-05"),
    "retirement.window": RetirementResult(**LAW, earliest_age_months=720),
    "retirement.later_only": RetirementResult(**LAW),
    "retirement.fixed": RetirementResult(**{**LAW, "latest_age_months": None}),
    "move.free": MoveResult(**{**MOVED_MONEY, "to_name": "retained_account"}),
    "move.taxed": MoveResult(**MOVED_MONEY, tax_fen=108_000),
    "move.two_steps": MoveResult(
        **{**MOVED_MONEY, "to_name": "personal_pension"}, tax_fen=36_000, paid_in_fen=1_200_000
    ),
    "move.tax_open": MoveResult(**{**MOVED_MONEY, "to_name": "pension_product"}, tax_fen=None),
    "move.refused_with_way": MoveResult(**{**MOVED_MONEY, "lawful": False}, way_name="way_keep_and_wait"),
    "move.refused_with_transfer": MoveResult(**{**MOVED_MONEY, "lawful": False}, way_to_name="retained_account"),
    "move.refused": MoveResult(**{**MOVED_MONEY, "lawful": False}),
    "cases.too_few": CasesResult(people_count=0),
    "cases.untold": CasesResult(**OTHERS),
    "cases.below": CasesResult(**OTHERS, own_fen=3_141_500),
    "cases.within": CasesResult(**OTHERS, own_fen=5_000_000),
    "cases.above": CasesResult(**OTHERS, own_fen=31_400_000),
}


class TestTexts:
    def test_every_variant_is_shown_here(self) -> None:
        assert list(RESULTS) == [f"{kind}.{variant}" for kind, variants in SLOTS.items() for variant in variants]

    @pytest.mark.parametrize("name", RESULTS)
    def test_a_result_finds_its_variant(self, name: str) -> None:
        kind, variant = name.split(".")
        assert type(RESULTS[name]) is KINDS[kind]
        assert RESULTS[name].variant == variant

    @pytest.mark.parametrize("name", RESULTS)
    def test_each_text_is_two_plain_sentences(self, name: str) -> None:
        said = explain(RESULTS[name])
        assert_plain(said)
        assert all(len(part) <= MOST_CHARACTERS for part in sentences_of(said.zh, "zh")), said.zh
        assert all(len(part.split()) <= MOST_WORDS for part in sentences_of(said.en, "en")), said.en
        assert said.en[0].isupper() or said.en[0] == "“"

    @pytest.mark.parametrize("name", RESULTS)
    def test_each_text_is_as_golden(self, name: str) -> None:
        said = explain(RESULTS[name])
        assert (said.zh, said.en) == GOLDEN[name]

    def test_no_golden_text_is_left_over(self) -> None:
        assert list(GOLDEN) == list(RESULTS)

    @pytest.mark.parametrize("aim", ["first_income", "lasting"])
    @pytest.mark.parametrize("lever", explaining.SOLVE_LEVERS)
    @pytest.mark.parametrize("reached", [True, False])
    def test_every_lever_and_aim_of_a_goal_has_its_words(self, lever: Any, aim: Any, *, reached: bool) -> None:
        said = explain(
            SolveResult(
                lever=lever,
                aim=aim,
                target_today_fen=800_000,
                reached=reached,
                income_today_fen=700_000,
                choice_fen=1_200_000 if lever in {"yearly_saving", "personal_pension"} else None,
                choice_bp=1_000 if lever == "saving_rate" else None,
                choice_age_months=720 if lever == "retirement_age" else None,
            )
        )
        assert_plain(said)

    def test_every_step_of_the_tornado_has_its_words(self) -> None:
        for name in (name for moved in MOVED for name in (moved.up, moved.down)):
            assert_plain(explain(SensitivityResult(steps_count=2, best_name=name, best_today_fen=1)))

    def test_words_of_a_step_say_its_size(self) -> None:
        sizes = {
            "personal_pension_more": PENSION_STEP_FEN,
            "personal_pension_less": PENSION_STEP_FEN,
            "saving_more": SAVING_STEP_FEN,
            "saving_less": SAVING_STEP_FEN,
            "lump_more": LUMP_STEP_FEN,
            "lump_less": LUMP_STEP_FEN,
        }
        for name, size in sizes.items():
            assert money(size, "zh") in SENTENCES.names[name].zh
            assert money(size, "en") in SENTENCES.names[name].en

    def test_all_futures_short_says_a_hundred_and_almost_all_does_not(self) -> None:
        assert UncertaintyResult(**FUTURES, short_count=2000).short_of_100 == 100
        assert UncertaintyResult(**FUTURES, short_count=1999).short_of_100 == 99

    @pytest.mark.parametrize("differences", [(0, 0, 0, 0), (49, -49, 49, -49)])
    def test_what_rounds_to_no_yuan_is_the_same(self, differences: tuple[int, ...]) -> None:
        assert WhatIfResult(**LABELS, **differing(differences)).variant == "same"

    def test_any_figures_make_plain_sentences(self) -> None:
        chance = random.Random(5)  # noqa: S311 - reproducible, not secret
        for _ in range(scaled(2000)):
            amounts = [chance.choice((-1, 1)) * chance.randrange(10 ** chance.randrange(1, 13)) for _ in range(4)]
            months = chance.randrange(1, 1200)
            assert_plain(explain(WhatIfResult(**LABELS, **differing(amounts))))
            assert_plain(
                explain(
                    PlanResult(
                        retirement_age_months=months,
                        income_today_fen=abs(amounts[0]),
                        need_today_fen=abs(amounts[1]),
                        short_age_months=months if amounts[2] > 0 else None,
                        gap_today_fen=abs(amounts[2]),
                    )
                )
            )


def differing(amounts: Sequence[int]) -> dict[str, Any]:
    names = ("income_more_today_fen", "lifetime_more_today_fen", "taxes_part_today_fen", "returns_part_today_fen")
    return dict(zip(names, amounts, strict=True))


class TestFigures:
    @pytest.mark.parametrize(
        ("fen", "zh", "en"),
        [
            (0, "0元", "0 yuan"),
            (1, "不到1元", "less than 1 yuan"),
            (50, "1元", "1 yuan"),
            (823_449, "8,234元", "8,234 yuan"),
            (823_450, "8,235元", "8,235 yuan"),
            (1_000_000, "1万元", "10,000 yuan"),
            (1_200_000, "1.2万元", "12,000 yuan"),
            (1_234_500, "12,345元", "12,345 yuan"),
            (1_234_560, "12,346元", "12,346 yuan"),
            (11_892_000, "118,920元", "118,920 yuan"),
            (12_340_000, "12.34万元", "123,400 yuan"),
            (100_000_000, "100万元", "1,000,000 yuan"),
            (1_234_567_800, "1,234.57万元", "12,345,678 yuan"),
            (12_000_000_000, "1.2亿元", "120,000,000 yuan"),
        ],
    )
    def test_money_is_said_as_people_say_it(self, fen: int, zh: str, en: str) -> None:
        assert (money(fen, "zh"), money(fen, "en")) == (zh, en)

    def test_a_loss_is_not_said_as_an_amount(self) -> None:
        with pytest.raises(AssertionError, match="in words"):
            money(-1, "zh")

    @pytest.mark.parametrize(
        ("months", "zh", "en"),
        [
            (720, "60岁", "60"),
            (758, "63岁2个月", "63 years and 2 months"),
            (721, "60岁1个月", "60 years and 1 month"),
            (13, "1岁1个月", "1 year and 1 month"),
        ],
    )
    def test_an_age(self, months: int, zh: str, en: str) -> None:
        assert (age(months, "zh"), age(months, "en")) == (zh, en)

    @pytest.mark.parametrize(
        ("months", "zh", "en"),
        [
            (0, "0个月", "0 months"),
            (1, "1个月", "1 month"),
            (12, "1年", "1 year"),
            (30, "2年6个月", "2 years and 6 months"),
        ],
    )
    def test_a_length_of_time(self, months: int, zh: str, en: str) -> None:
        assert (duration(months, "zh"), duration(months, "en")) == (zh, en)

    def test_a_month_of_the_calendar(self) -> None:
        assert (calendar_month("2039-01", "zh"), calendar_month("2039-12", "en")) == ("2039年1月", "December 2039")

    @pytest.mark.parametrize("label", ["", "a.b", "好。", "“x”", "{slot}", "a\nb", "x" * 33])
    def test_a_label_that_would_break_a_sentence_is_none(self, label: str) -> None:
        with pytest.raises(ValidationError):
            Scenario(label=label)


def changed(**parts: Any) -> Mapping[str, Any]:
    tables: dict[str, Any] = copy.deepcopy(FILE)
    tables.update(parts)
    return tables


def with_text(kind: str, variant: str, **texts: str) -> Mapping[str, Any]:
    tables: dict[str, Any] = copy.deepcopy(FILE)
    for each in tables["sentences"]:
        if (each["kind"], each["variant"]) == (kind, variant):
            each.update(texts)
    return tables


FREE_ZH: Final = "{from_name}里的{amount_fen}可以转到{to_name}。不用交税。"


class TestLoader:
    def test_the_packaged_file_loads(self) -> None:
        Sentences(FILE, SLOTS, CASES)

    @pytest.mark.parametrize(
        ("tables", "says"),
        [
            (changed(sentences=FILE["sentences"][1:]), "missing"),
            (
                changed(sentences=[*FILE["sentences"], {**FILE["sentences"][0], "variant": "stray"}]),
                "unknown .*stray",
            ),
            (changed(sentences=[*FILE["sentences"], FILE["sentences"][0]]), "two templates"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "")), "missing .*to_name"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "{stray_name}")), "unknown .*stray_name"),
            (with_text("move", "free", zh=FREE_ZH + "好。"), "not 2 sentences"),
            (with_text("move", "free", zh=FREE_ZH.replace("不用", "！")), "not 2 sentences"),
            (with_text("move", "free", zh=FREE_ZH + "好"), "goes on"),
            (with_text("move", "free", zh=FREE_ZH.replace("不用", "概率")), "jargon: 概率"),
            (with_text("tax", "no_tax", en="The Percentile is fine. It is."), "jargon: percentile"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "{}")), "without a name"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "{to_name!r}")), "conversion"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "{to_name:a|b}")), "plural"),
            (with_text("move", "free", zh=FREE_ZH.replace("{to_name}", "{@stray}")), "no phrase stray"),
            (changed(phrases={**FILE["phrases"], "stray": {"more": {"zh": "", "en": ""}}}), "unknown .*stray"),
            (changed(names={**FILE["names"], "x": {"zh": "好。", "en": "good"}}), "not 0 sentences"),
            (changed(names={**FILE["names"], "x": {"zh": "好"}}), "missing required field"),
            (changed(stray=1), "unknown field"),
        ],
    )  # fmt: skip
    def test_a_file_that_does_not_fit_the_results_is_refused(self, tables: Mapping[str, Any], says: str) -> None:
        """Invariants 1 to 5."""
        with pytest.raises(SentencesInvalid, match=says):
            Sentences(tables, SLOTS, CASES)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind_gives_every_slot_that_it_lists(self, kind: str) -> None:
        for slots in SLOTS[kind].values():
            assert all(hasattr(KINDS[kind], slot) for slot in slots)
