"""Problems: the numbers are the invariants of ledger/api/problems.py."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import pytest
from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException

from ledger import application, seals
from ledger.api import problems
from ledger.api.handling import install
from ledger.api.problems import MEDIA_TYPE, PROBLEMS, Problem, ProblemBody, of_refused, responses
from ledger.application import Refused
from ledger.domain.commands import MANY
from ledger.domain.refusals import REFUSALS
from tests.api.client import Client
from tests.commands import contribute, merge

if TYPE_CHECKING:
    from httpx import Response

# A type that was ever answered stays here for ever, because callers act on it.
TYPES_EVER_ANSWERED = {
    "access-not-recorded": 503,
    "account-unknown": 404,
    "batch-too-large": 413,
    "body-too-large": 413,
    "body-too-slow": 408,
    "command-id-reused": 409,
    "command-refused": 422,
    "cursor-invalid": 400,
    "internal-error": 500,
    "answer-refused": 422,
    "move-not-drafted": 409,
    "move-refused": 409,
    "position-moved": 409,
    "rules-changed": 409,
    "ledger-busy": 503,
    "ledger-unavailable": 503,
    "malformed-command": 400,
    "question-contradictory": 422,
    "question-malformed": 400,
    "rule-refused": 422,
    "malformed-json": 400,
    "method-not-allowed": 405,
    "not-ready": 503,
    "not-sealed": 404,
    "person-unknown": 404,
    "position-not-recorded": 409,
    "poster-not-permitted": 403,
    "projection-behind": 503,
    "purpose-missing": 400,
    "purpose-not-permitted": 403,
    "reading-too-large": 409,
    "scope-missing": 403,
    "seals-broken": 500,
    "token-expired": 401,
    "token-invalid": 401,
    "token-missing": 401,
    "unknown-route": 404,
    "unsupported-media-type": 415,
    "wrong-parameter": 400,
}
SECRET = "Zhang-San-11010519491231002X"  # noqa: S105 - what must not be quoted, no password


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: str
    period: int


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    as_of: int = 0


def made() -> Client:
    """An app whose routes fail in every way."""
    app = FastAPI()
    router = APIRouter(prefix="/v1")

    @router.get("/things")
    async def read(parameters: Annotated[Parameters, Query()]) -> int:
        return parameters.as_of

    @router.post("/things")
    async def post(body: Body) -> int:
        return body.period

    @app.delete("/v1/things")
    async def delete() -> None:
        """Nothing."""

    @app.get("/raise/{number}", responses=responses(problems.AccountUnknown, problems.PersonUnknown))
    async def fail(number: int) -> None:
        raise ERRORS[number]

    app.include_router(router)
    install(app)
    return Client(app)


ERRORS: list[Exception] = [
    application.BatchTooLarge("x"),
    application.LedgerBusy("x"),
    application.ClockBehind("x"),
    psycopg.OperationalError(SECRET),
    psycopg.errors.QueryCanceled(SECRET),
    RuntimeError(SECRET),
    AssertionError(SECRET),
    HTTPException(418, SECRET),
    problems.ProjectionBehind(position=7, seen=5),
    seals.NotSealed("Position 7.", sealed=5, passes=True),
    seals.NotSealed("No size 7.", sealed=9, passes=False),
    seals.SealsBroken(SECRET),
]


@pytest.fixture
def client() -> Client:
    return made()


def problem(response: Response) -> dict[str, Any]:
    """The problem document of a response, which must be one; nothing of the caller's stands in it."""
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.headers["cache-control"] == "no-store"
    assert SECRET not in response.text
    found: dict[str, Any] = response.json()
    assert ProblemBody.model_validate(found).status == response.status_code
    return found


class TestTheTypes:
    """Invariant 1."""

    def test_types_and_statuses_are_stable(self) -> None:
        assert {name: each.status for name, each in sorted(PROBLEMS.items())} == TYPES_EVER_ANSWERED
        assert [each.type for each in PROBLEMS.values()] == [f"/problems/{name}" for name in PROBLEMS]

    @pytest.mark.parametrize("each", PROBLEMS.values(), ids=PROBLEMS.keys())
    def test_each_has_a_title_and_an_example_that_says_so(self, each: type[Problem]) -> None:
        assert each.title.endswith(".")
        found = ProblemBody.model_validate(problems.example(each))
        assert (found.type, found.title, found.status) == (each.type, each.title, each.status)

    def test_a_detail_of_its_own_goes_before_the_advice(self) -> None:
        assert problems.TokenExpired().as_dict()["detail"] == "Get a new one and repeat the request."
        assert problems.TokenInvalid("Why.").as_dict()["detail"] == "Why."
        assert "detail" not in problems.UnknownRoute().as_dict()

    def test_members_stand_beside_the_standard_ones(self) -> None:
        assert problems.PositionNotRecorded(head=7).as_dict() == {
            "type": "/problems/position-not-recorded",
            "title": "The position lies beyond the journal's end.",
            "status": 409,
            "detail": "Ask for one up to the head, or ask again when it is recorded.",
            "head": 7,
        }


class TestHeaders:
    @pytest.mark.parametrize(
        ("each", "expected"),
        [
            (problems.TokenMissing(), 'Bearer realm="pension-ledger"'),
            (problems.TokenInvalid(), 'Bearer realm="pension-ledger", error="invalid_token"'),
            (
                problems.TokenExpired(),
                'Bearer realm="pension-ledger", error="invalid_token", error_description="The token has expired"',
            ),
            (
                problems.ScopeMissing(["reader", "auditor"]),
                'Bearer realm="pension-ledger", error="insufficient_scope", scope="reader auditor"',
            ),
        ],
    )
    def test_problems_about_tokens_challenge(self, each: Problem, expected: str) -> None:
        """RFC 6750 section 3."""
        assert each.response().headers["www-authenticate"] == expected

    def test_what_passes_says_when_to_come_again(self) -> None:
        for each in (
            problems.LedgerBusy(),
            problems.LedgerUnavailable(),
            problems.ProjectionBehind(position=2, seen=1),
        ):
            assert each.response().headers["retry-after"] == str(each.as_dict()["retry_after_s"])


class TestCommands:
    """Invariant 2, and that a caller finds what is wrong."""

    def errors(self, *commands: object) -> list[dict[str, str]]:
        with pytest.raises(ValidationError) as caught:
            MANY.validate_json(json.dumps(commands))
        found = problems.MalformedCommand(caught.value.errors())
        assert SECRET not in json.dumps(found.as_dict())
        listed: list[dict[str, str]] = found.members["errors"]  # type: ignore[assignment]
        return listed

    def test_the_place_is_the_number_of_the_command_and_its_field(self) -> None:
        good = contribute("A1", 1).model_dump(mode="json")
        found = self.errors(good, good | {"account": SECRET + "!", "amounts_fen": {"employee": SECRET}})
        assert [error["place"] for error in found] == ["[1].account", "[1].amounts_fen.employee"]
        person = merge("sys:1", "sys:2").model_dump(mode="json")
        person["links"][0]["sid_a"] = SECRET
        assert [error["place"] for error in self.errors(person)] == ["[0].links[0].sid_a"]

    def test_names_and_values_that_the_caller_made_up_are_not_repeated(self) -> None:
        good = contribute("A1", 1).model_dump(mode="json")
        for wrong in (
            good | {SECRET: 1},
            good | {"amounts_fen": {SECRET: "x"}},
            good | {"type": SECRET},
            good | {"period": SECRET},
            good | {"decided_at": SECRET},
            good | {"effective_on": SECRET},
            good | {"tax_treatment": SECRET},
            {SECRET: SECRET},
            SECRET,
            [SECRET],
        ):
            assert self.errors(wrong)

    def test_at_most_twenty_are_listed_and_the_rest_is_counted(self) -> None:
        found = self.errors(*[{"type": "FreezeAccount"}] * 10)
        assert len(found) == 21
        assert found[-1] == {"place": "", "reason": "and 40 more"}


class TestRefusals:
    @pytest.mark.parametrize("code", REFUSALS)
    def test_a_refused_command_is_a_problem_with_its_refusal_as_it_is_kept(self, code: str) -> None:
        refusal = REFUSALS[code](account="A1")
        found = of_refused(Refused("ea-core/1", refusal.code, refusal.sentence, refusal.detail)).as_dict()
        assert found["refusal"] == refusal.as_dict()
        assert (found["command_id"], found["detail"]) == ("ea-core/1", refusal.sentence)
        assert found["type"] == {
            "CommandIdReused": "/problems/command-id-reused",
            "PosterNotPermitted": "/problems/poster-not-permitted",
        }.get(code, "/problems/command-refused")


class TestAnApp:
    """Invariant 3."""

    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (0, "batch-too-large"),
            (1, "ledger-busy"),
            (2, "ledger-unavailable"),
            (3, "ledger-unavailable"),
            (4, "ledger-unavailable"),
            (5, "internal-error"),
            (6, "internal-error"),
            (7, ""),
            (8, "projection-behind"),
            (9, "not-sealed"),
            (10, "not-sealed"),
            (11, "seals-broken"),
        ],
    )
    def test_every_error_is_a_problem(self, client: Client, number: int, expected: str) -> None:
        found = problem(client.get(f"/raise/{number}"))
        assert found["type"] == (f"/problems/{expected}" if expected else "about:blank")

    def test_of_a_bug_only_the_log_tells_under_the_answers_id(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR, "ledger.api"):
            found = problem(client.get("/raise/5"))
        assert found["instance"].startswith("urn:uuid:")
        assert set(found) == {"type", "title", "status", "detail", "instance"}
        assert found["instance"] in caplog.text
        assert SECRET in caplog.text

    def test_what_is_not_sealed_yet_says_when_to_come_again_and_what_never_will_be_does_not(
        self, client: Client
    ) -> None:
        soon, never = client.get("/raise/9"), client.get("/raise/10")
        assert (soon.headers["retry-after"], problem(soon)["sealed"]) == ("1", 5)
        assert ("retry-after" in never.headers, problem(never)["sealed"]) == (False, 9)

    def test_broken_seals_are_an_alarm_in_the_log(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.CRITICAL, "ledger.api"):
            client.get("/raise/11")
        assert "ALARM: GET /raise/{number}" in caplog.text

    def test_an_unknown_route_is_a_problem(self, client: Client) -> None:
        assert problem(client.get(f"/{SECRET}"))["type"] == "/problems/unknown-route"

    def test_a_method_not_allowed_names_those_of_every_route_with_the_path(self, client: Client) -> None:
        """RFC 9110 section 15.5.6."""
        response = client.request("PUT", "/v1/things")
        assert problem(response)["type"] == "/problems/method-not-allowed"
        assert response.headers["allow"] == "DELETE, GET, HEAD, POST"

    def test_a_body_that_is_no_json(self, client: Client) -> None:
        response = client.request(
            "POST", "/v1/things", content=f'{{"{SECRET}', headers={"Content-Type": "application/json"}
        )
        assert problem(response)["type"] == "/problems/malformed-json"

    def test_a_body_that_is_wrong(self, client: Client) -> None:
        found = problem(client.request("POST", "/v1/things", json={"account": "A1", "period": SECRET, SECRET: 1}))
        assert found["type"] == "/problems/malformed-command"
        assert [error["place"] for error in found["errors"]] == ["period", "?"]

    def test_a_wrong_parameter(self, client: Client) -> None:
        found = problem(client.get("/v1/things", params={"as_of": SECRET, SECRET: 1}))
        assert found["type"] == "/problems/wrong-parameter"
        assert [error["place"] for error in found["errors"]] == ["as_of", "?"]
        assert problem(client.get(f"/raise/{SECRET}"))["errors"][0]["place"] == "number"

    def test_an_answer_that_is_a_success_is_untouched(self, client: Client) -> None:
        assert client.get("/v1/things", params={"as_of": 7}).json() == 7


class TestDocumentation:
    def test_responses_join_problems_of_one_status_each_with_its_example(self) -> None:
        found = responses(problems.TokenMissing, problems.TokenExpired, problems.ScopeMissing)
        assert list(found) == [401, 403]
        content = found[401]["content"][MEDIA_TYPE]
        assert set(content["examples"]) == {"token-missing", "token-expired"}
        assert found[401]["description"] == "The request has no bearer token. The token has expired."

    def test_openapi_describes_problems_and_not_what_is_never_answered(self, client: Client) -> None:
        document = client.get("/openapi.json").json()
        assert "HTTPValidationError" not in json.dumps(document)
        assert {"ProblemBody", "ErrorBody"} <= set(document["components"]["schemas"])
        described = document["paths"]["/raise/{number}"]["get"]["responses"]
        assert set(described) == {"200", "404"}
        schema = described["404"]["content"][MEDIA_TYPE]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemBody"}
        assert "$defs" not in json.dumps(document)
        assert client.get("/openapi.json").json() == document
