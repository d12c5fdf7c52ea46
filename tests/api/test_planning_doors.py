"""Planning over HTTP: answers are those of the pure functions on the same sheet, and every mistake is a clear problem."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from ledger.api.planning_examples import ALLOCATION_QUESTION, PLAN_QUESTION, TAX_QUESTION, WHAT_IF_QUESTION
from ledger.api.questions import MAX_QUESTION_BYTES
from ledger.api.tokens import Scope
from ledger.planning import personal, taxes
from ledger.projections.balance_sheet import read_balance_sheet
from tests.api.service import bearer, own, problem
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from tests.api.service import Service

SHE = "ea-core:1"
PEOPLE = f"/v1/people/{SHE}"
RESIDENT_ID = "11010519491231002X"
LEAVES = {"on": "2026-11-22", "from_account": "E1", "to_account": "R1", "reason": "unemployed"}


@pytest.fixture
def world(service: Service) -> Service:
    """One woman with an enterprise annuity and a retained account."""
    commands = [
        register(SHE, "w/1"),
        open_account(SHE, "E1", command_id="w/2"),
        open_account(SHE, "R1", "retained_account", command_id="w/3"),
        contribute("E1", 1_000_000, "w/4", date(2026, 1, 10)),
    ]
    assert service.post([own(command) for command in commands]).json()["refused"] == 0
    return service


def ask(service: Service, path: str, question: Any, **options: Any) -> Any:
    return service.request("POST", path, json=question, **options)


def plain(question: Any) -> Any:
    return question.model_dump(mode="json", exclude_unset=True)


def test_taxes_are_those_of_the_pure_function(service: Service) -> None:
    response = ask(service, "/v1/planning/tax", plain(TAX_QUESTION))
    assert response.json() == taxes.answer(TAX_QUESTION).model_dump(mode="json")


@pytest.mark.parametrize(
    ("path", "question", "answers"),
    [
        ("plan", PLAN_QUESTION, personal.plan_answer),
        ("what-if", WHAT_IF_QUESTION, personal.what_if_answer),
        ("allocation", ALLOCATION_QUESTION, personal.allocation_answer),
    ],
)
def test_a_persons_answers_are_computed_from_her_sheet_and_stay_at_its_position(
    world: Service, path: str, question: Any, answers: Any
) -> None:
    """Asked again at its position, after more facts, it is the same."""
    read = read_balance_sheet(world.database, SHE)
    first = ask(world, f"{PEOPLE}/{path}", plain(question)).json()
    assert first == answers(read.sheet, read.known_at, question).model_dump(mode="json")
    world.post(own(contribute("E1", 7_000_000, "w/5")))
    again = ask(world, f"{PEOPLE}/{path}?known_at={read.known_at}", plain(question)).json()
    assert again == first
    assert ask(world, f"{PEOPLE}/{path}", plain(question)).json() != first


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"monthly_wage_fen": -1}, "answers.monthly_wage_fen"),
        ({"birth": RESIDENT_ID}, "answers.birth"),
        ({RESIDENT_ID: 1}, "answers.?"),
        ({"contribution_index": 1.5}, "answers.contribution_index"),
    ],
)
def test_a_wrong_field_is_named_and_no_value_is_quoted(world: Service, changes: dict[str, Any], place: str) -> None:
    question = plain(PLAN_QUESTION)
    question["answers"] |= changes
    found = problem(ask(world, f"{PEOPLE}/plan", question), 400, "question-malformed")
    assert [error["place"] for error in found["errors"]] == [place]
    assert RESIDENT_ID not in json.dumps(found)


def test_fields_that_do_not_fit_together_are_understood_and_refused(world: Service) -> None:
    question = plain(PLAN_QUESTION) | {"levers": {"retirement_month": "2043-03", "retirement_age_months": 700}}
    problem(ask(world, f"{PEOPLE}/plan", question), 422, "question-contradictory")


def test_a_rule_and_an_answer_refuse_by_name(world: Service) -> None:
    early = plain(PLAN_QUESTION) | {"levers": {"retirement_month": "2030-01"}}
    found = problem(ask(world, f"{PEOPLE}/plan", early), 422, "rule-refused")
    assert (found["rule"], found["reason"]) == ("ret.flex.early", "condition_not_met")
    elsewhere = plain(PLAN_QUESTION)
    elsewhere["answers"] |= {"area": "CN-31"}
    assert problem(ask(world, f"{PEOPLE}/plan", elsewhere), 422, "answer-refused")["field"] == "benefit_base_fen"


def test_nobody_and_no_position_are_problems(world: Service) -> None:
    problem(ask(world, "/v1/people/ea-core:9/plan", plain(PLAN_QUESTION)), 404, "person-unknown")
    problem(ask(world, f"{PEOPLE}/plan?known_at=99", plain(PLAN_QUESTION)), 409, "position-not-recorded")


def test_a_body_is_bounded_and_understood_in_one_way_alone(service: Service) -> None:
    path, headers = "/v1/planning/tax", {"Content-Type": "application/json"}
    large = b'{"on": "2026-11-22"' + b" " * MAX_QUESTION_BYTES + b"}"
    problem(service.request("POST", path, content=large, headers=headers), 413, "body-too-large")
    twice = b'{"on": "2026-11-22", "on": "2026-11-23"}'
    problem(service.request("POST", path, content=twice, headers=headers), 400, "malformed-json")
    problem(service.request("POST", path, content=b"[", headers=headers), 400, "malformed-json")


def test_what_was_asked_about_her_is_recorded_without_her_answers(world: Service) -> None:
    """Invariant 2 of ledger/api/planning.py."""
    ask(world, f"{PEOPLE}/plan?known_at=4", plain(PLAN_QUESTION))
    (record,) = world.get("/v1/access-records?subject=ea-core:1").json()["records"]
    assert (record["action"], record["subject"], record["question"]) == ("plan", SHE, {"known_at": 4})


class TestMoves:
    def test_what_is_simulated_is_posted_once_with_a_receipt(self, world: Service) -> None:
        simulated = ask(world, f"{PEOPLE}/moves/simulation", LEAVES).json()
        assert (simulated["judged"]["rule"], simulated["draft"]["refused"]) == ("mv.ea.ra", [])
        assert world.get(f"{PEOPLE}/balance-sheet").json()["known_at"] == simulated["basis"]["known_at"]
        at = f"known_at={simulated['basis']['known_at']}&rules={simulated['basis']['version']['rules']}"
        posted = ask(world, f"{PEOPLE}/moves?{at}", LEAVES).json()
        assert posted["receipt"]
        assert [each["first_position"] for each in posted["outcomes"]] == [simulated["basis"]["known_at"] + 1]
        again = ask(world, f"{PEOPLE}/moves?{at}", LEAVES).json()
        assert [each["repeated"] for each in again["outcomes"]] == [True]

    def test_after_a_fact_about_her_nothing_is_posted(self, world: Service) -> None:
        world.post(own(contribute("E1", 1, "w/5")))
        found = problem(ask(world, f"{PEOPLE}/moves?known_at=4", LEAVES), 409, "position-moved")
        assert (found["position"], found["simulated_at"]) == (5, 4)
        problem(ask(world, f"{PEOPLE}/moves?known_at=5&rules={'0' * 16}", LEAVES), 409, "rules-changed")

    def test_what_is_not_lawful_has_a_way_and_is_not_posted(self, world: Service) -> None:
        wish = {"on": "2026-11-22", "from_account": "E1", "to_product": "personal_pension", "reason": "job_change"}
        judged = ask(world, f"{PEOPLE}/moves/simulation", wish).json()["judged"]
        assert (judged["lawful"], [step["do"] for step in judged["alternative"]]) == (False, ["pay_out", "contribute"])
        problem(ask(world, f"{PEOPLE}/moves?known_at=4", wish), 409, "move-not-drafted")

    def test_a_poster_of_another_source_moves_nothing(self, world: Service) -> None:
        caller = bearer(Scope.POSTER, source="pp-bank", subject="system:pp-bank")
        response = ask(world, f"{PEOPLE}/moves?known_at=4", LEAVES, caller=caller)
        assert problem(response, 409, "move-refused")["code"] == "PosterNotPermitted"
        assert world.get(f"{PEOPLE}/balance-sheet").json()["known_at"] == 4


def test_others_are_read_by_four_coarse_answers(service: Service) -> None:
    path = "/v1/cases?city=CN-11&birth_year=1985&income=120k_to_200k&employment=enterprise"
    assert service.get(path).json()["missing"] == "no_edition_yet"
