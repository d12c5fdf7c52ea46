"""The commands about the future: words, tables and JSON, and a clear sentence with an exit code for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.application import Ledger
from tests.commands import PERSONAL, contribute, open_account, register
from tests.test_command_line_readings import invoke, read_json, shown

if TYPE_CHECKING:
    from ledger.database import Database

EXAMPLES = Path(__file__).parents[1] / "examples"
ANSWERS = ("--answers", str(EXAMPLES / "answers.json"))
SCENARIOS = ("--scenarios", str(EXAMPLES / "scenarios.json"))
ON = ("--on", "2026-11-22")
MOVE = ("move", "E1", "--from", "E1", "--to", "P1", "--reason", "EA_STATUTORY_AGE", "--form", "yearly", *ON)


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ledger:
    """One woman with an enterprise annuity and a personal pension."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path / "data"))
    ledger = Ledger(database)
    ledger.post([register("ea:1"), open_account("ea:1", "E1"), open_account("ea:1", "P1", PERSONAL)])
    ledger.post([contribute("E1", 1_200_000)])
    return ledger


def test_taxes_and_retirement_need_no_database() -> None:
    said = shown("tax", "--wages", "260,000", "--personal-pension", "12000", *ON)
    assert "20,680.00" not in said
    assert "2,400.00" in said
    assert "Open: pp.tax.out" in said
    found = read_json("retire", "--birth", "1971-07", "--category", "M", *ON)
    assert (found["statutory_month"], found["window"]["earliest_month"]) == ("2033-03", "2031-07")


@pytest.mark.usefixtures("world")
class TestPlanning:
    def test_a_plan_prints_words_figures_chances_and_sources(self) -> None:
        said = shown("plan", "E1", *ANSWERS, "--seed", "1", *ON)
        for part in (
            "您58岁退休后",
            "If you retire at 58",
            "2,000 futures (seed 1)",
            "Where the opening balances",
            "█",
        ):
            assert part in said
        found = read_json("plan", "E1", *ANSWERS, "--months", *ON)
        assert found["basis"]["known_at"] == 4
        assert len(found["months"]["month"]) == len(found["months"]["income_fen"])

    def test_four_lives_every_lever_and_a_goal(self) -> None:
        said = shown("what-if", "E1", *ANSWERS, *SCENARIOS, "--sensitivity", "--reach", "12000", *ON)
        for part in ("three years later less as now", "inflation", "retirement", "1.2万元"):
            assert part in said

    def test_an_allocation_says_that_the_catalogue_is_a_sample(self) -> None:
        asked = ("allocate", "E1", "--save", "60000", "--taxable", "145000", "--months", "240", "--area", "CN-11", *ON)
        assert "A sample" in shown(*asked)
        assert read_json(*asked)["allocation"]["pension"]["saved_fen"] == 130_000

    def test_a_move_is_simulated_then_posted_once(self, world: Ledger) -> None:
        assert "--on 2026-11-22 --confirm 4" in shown(*MOVE)
        (first, second) = read_json(*MOVE, "--confirm", "4")
        assert (first["first_position"], second["first_position"]) == (5, 6)
        assert "(already)" in shown(*MOVE, "--confirm", "4")
        world.post([contribute("E1", 1)])
        moved = invoke(*MOVE, "--total", "5", "--confirm", "4")
        assert (moved.exit_code, "simulate it again" in moved.output) == (1, True)

    def test_an_unlawful_move_ends_with_one_and_names_the_way(self) -> None:
        refused = invoke("move", "E1", "--from", "E1", "--to", "P1", "--reason", "job_change", *ON)
        assert refused.exit_code == 1
        assert "mv.ea.pp" in refused.output
        assert "pp.cap.year" in refused.output

    def test_the_library_is_published_once_a_quarter(self) -> None:
        asked = ("--city", "CN-11", "--birth-year", "1985", "--income", "120k_to_200k", "--employment", "enterprise")
        assert read_json("cases", *asked)["missing"] == "no_edition_yet"
        assert read_json("publish-cases")[0]["edition"] == 1
        assert invoke("publish-cases").exit_code == 1
        assert "too few people" in shown("cases", *asked)
        assert invoke("cases", *asked[:-1], "astronaut").exit_code == 2


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tax", "--wages", "twelve"], 2, "an amount in yuan is written"),
        (["tax", "--wages", "100000", "--personal-pension", "12000.01", *ON], 1, "pp.cap.year"),
        (["tax", "--payout", "enterprise_annuity:monthly"], 2, "PRODUCT:FORM:YUAN"),
        (["retire", "--birth", "1971-13", "--category", "M"], 2, "birth"),
        (["retire", "--birth", "1971-07", "--category", "M", "--month", "2030-01", *ON], 1, "2031-07"),
        (["plan", "E9", *ANSWERS, *ON], 1, "Nobody is known"),
        (["plan", "E1", *ANSWERS, "--retire", "2030-01", *ON], 1, "ret.flex.early"),
        ([*MOVE[:-2], "--confirm", "4"], 2, "give --on"),
        (["allocate", "E1", "--save", "10", "--months", "240", "--risk", "reckless"], 2, "risk_level"),
    ],
)
def test_mistakes_are_a_sentence_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, said in result.output.replace("\n", " ")) == (code, True), result.output


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "no JSON"), ('{"birth": "1985-03"}', "category"), (json.dumps({"x": "y" * 70_000}), "bytes")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(content, encoding="utf-8")
    result = invoke("plan", "E1", "--answers", str(path), *ON)
    assert (result.exit_code, said in result.output) == (2, True), result.output
