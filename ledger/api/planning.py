"""Questions about the future: taxes and retirement by the rules of a day, and the plan of one person from her sheet.

1. An answer carries the question, its day, position and versions, and the rules it rests on: asked again, it is the same.
2. What a person earns and has stands in the body alone: never in an address, a log or the record of a reading.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ledger import moving, planner
from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON
from ledger.api.commands import Accepted
from ledger.api.documents import described
from ledger.api.parameters import DIGITS_ALONE, Position, takes
from ledger.api.planning_examples import (
    ALLOCATION_QUESTION,
    MOVE_QUESTION,
    PLAN_QUESTION,
    RETIREMENT_QUESTION,
    TAX_QUESTION,
    WHAT_IF_QUESTION,
)
from ledger.api.problems import responses
from ledger.api.questions import asked_of, of_body
from ledger.api.readings import Name
from ledger.api.tokens import Caller, Scope
from ledger.application import Ledger
from ledger.moving import MoveAnswer
from ledger.planner import CaseReading
from ledger.planning import retirements, taxes
from ledger.planning.crossing import MoveQuestion, Sender
from ledger.planning.personal import (
    AllocationAnswer,
    AllocationQuestion,
    PlanAnswer,
    PlanQuestion,
    WhatIfAnswer,
    WhatIfQuestion,
)
from ledger.planning.retirements import RetirementAnswer, RetirementQuestion
from ledger.planning.taxes import TaxAnswer, TaxQuestion
from ledger.projections.cases import CaseQuestionWrong

QUESTION_PROBLEMS = (
    *policy.PROBLEMS,
    problems.MalformedJson,
    problems.QuestionMalformed,
    problems.QuestionContradictory,
    problems.WrongParameter,
    problems.RuleRefused,
    problems.BodyTooLarge,
    problems.BodyTooSlow,
    problems.UnsupportedMediaType,
    problems.LedgerBusy,
)

# What the OpenAPI document has to describe, as these bodies are read by ourselves.
QUESTIONS: tuple[type[BaseModel], ...] = (
    TaxQuestion,
    RetirementQuestion,
    PlanQuestion,
    WhatIfQuestion,
    AllocationQuestion,
)

PERSONAL_PROBLEMS = (
    *QUESTION_PROBLEMS,
    *accesses.PROBLEMS,
    problems.AnswerRefused,
    problems.PersonUnknown,
    problems.PositionNotRecorded,
    problems.ReadingTooLarge,
    problems.LedgerUnavailable,
)

# What the ids of commands begin with that nobody may post: of a simulation by who is no poster.
NAMESPACE = "planner"

router = APIRouter(tags=["planning"])
about_nobody = [
    policy.allow(Scope.PLANNER, Scope.READER),
    accesses.unrecorded("computed from the question and the rules alone, about nobody"),
    takes(),
]

about_people = [policy.allow(Scope.PLANNER), accesses.purposeful()]


class KnownAt(BaseModel):
    """Of which position."""

    model_config = ConfigDict(extra="forbid")

    known_at: Position | None = Field(
        default=None, description="Facts up to this position count; all recorded now, if absent.", examples=[3]
    )


class SimulatedAt(BaseModel):
    """Which simulation."""

    model_config = ConfigDict(extra="forbid")

    known_at: Position = Field(description="The `known_at` of the simulation.", examples=[3])
    rules: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = Field(
        default=None,
        description="The `basis.version.rules` of the simulation: refused where the rules are others now.",
    )


class MovePosted(BaseModel):
    """What was recorded, and the signed receipt over its facts."""

    receipt: str | None
    outcomes: list[Accepted]


class CaseQuestion(BaseModel):
    """Four coarse answers."""

    model_config = ConfigDict(extra="forbid")

    city: str = Field(pattern=r"^CN-[0-9]{2}([0-9]{2})?$", description="CN- and two or four digits", examples=["CN-11"])
    birth_year: Annotated[int, Field(ge=1900, le=2100), DIGITS_ALONE] = Field(
        description="Year of birth.", examples=[1985]
    )
    income: str = Field(
        max_length=32, description="Code of the income band, as in a profile.", examples=["120k_to_200k"]
    )
    employment: str = Field(max_length=32, description="Code of the employment kind.", examples=["enterprise"])


@router.post(
    "/v1/planning/tax",
    summary="Compute taxes",
    dependencies=about_nobody,
    response_class=Response,
    responses={**described(TaxAnswer), **responses(*QUESTION_PROBLEMS)},
    openapi_extra=of_body(TaxQuestion, year=TAX_QUESTION),
)
def tax(question: Annotated[TaxQuestion, Depends(asked_of(TaxQuestion))]) -> Response:
    """What a year's income is taxed, what a payment into the personal pension saves and costs, and what payouts are taxed."""
    return _json(taxes.answer(question))


@router.post(
    "/v1/planning/retirement",
    summary="Compute when one may retire",
    dependencies=about_nobody,
    response_class=Response,
    responses={**described(RetirementAnswer), **responses(*QUESTION_PROBLEMS)},
    openapi_extra=of_body(RetirementQuestion, man=RETIREMENT_QUESTION),
)
def retirement(question: Annotated[RetirementQuestion, Depends(asked_of(RetirementQuestion))]) -> Response:
    """By law and by choice: the month, the minimum years, payout months, and the basic pension where it is asked for."""
    return _json(retirements.answer(question))


@router.post(
    "/v1/people/{person}/plan",
    summary="Plan what a person will live on",
    dependencies=[*about_people, takes(KnownAt)],
    response_class=Response,
    responses={**described(PlanAnswer), **responses(*PERSONAL_PROBLEMS)},
    openapi_extra=of_body(PlanQuestion, life=PLAN_QUESTION),
)
@accesses.recorded("plan", about="person")
def plan(
    request: Request,
    person: Name,
    asked: Annotated[KnownAt, Query()],
    question: Annotated[PlanQuestion, Depends(asked_of(PlanQuestion))],
) -> Response:
    """Month by month to the age of 100, pillar by pillar, before and after tax; with the chances of many futures on request."""
    return _json(planner.plan(request.app.state.database, person, question, known_at=asked.known_at))


@router.post(
    "/v1/people/{person}/what-if",
    summary="Compare lives of a person",
    dependencies=[*about_people, takes(KnownAt)],
    response_class=Response,
    responses={**described(WhatIfAnswer), **responses(*PERSONAL_PROBLEMS)},
    openapi_extra=of_body(WhatIfQuestion, later=WHAT_IF_QUESTION),
)
@accesses.recorded("what_if", about="person")
def what_if(
    request: Request,
    person: Name,
    asked: Annotated[KnownAt, Query()],
    question: Annotated[WhatIfQuestion, Depends(asked_of(WhatIfQuestion))],
) -> Response:
    """Up to four scenarios side by side, what each lever does, and what it takes to reach an income."""
    return _json(planner.what_if(request.app.state.database, person, question, known_at=asked.known_at))


@router.post(
    "/v1/people/{person}/allocation",
    summary="Allocate this year's saving of a person",
    dependencies=[*about_people, takes(KnownAt)],
    response_class=Response,
    responses={**described(AllocationAnswer), **responses(*PERSONAL_PROBLEMS)},
    openapi_extra=of_body(AllocationQuestion, balanced=ALLOCATION_QUESTION),
)
@accesses.recorded("allocation", about="person")
def allocation(
    request: Request,
    person: Name,
    asked: Annotated[KnownAt, Query()],
    question: Annotated[AllocationQuestion, Depends(asked_of(AllocationQuestion))],
) -> Response:
    """The plan over a catalogue of products, what binds and what it is worth, the next best plan, and doing nothing."""
    return _json(planner.allocate(request.app.state.database, person, question, known_at=asked.known_at))


@router.post(
    "/v1/people/{person}/moves/simulation",
    summary="Simulate a move of money",
    dependencies=[*about_people, takes()],
    response_class=Response,
    responses={**described(MoveAnswer), **responses(*PERSONAL_PROBLEMS, problems.PositionMoved)},
    openapi_extra=of_body(MoveQuestion, leaver=MOVE_QUESTION),
)
@accesses.recorded("move_simulation", about="person")
def simulate_move(
    request: Request,
    person: Name,
    question: Annotated[MoveQuestion, Depends(asked_of(MoveQuestion))],
) -> Response:
    """The legal matrix first, then the tax, the commands as they would be posted, and what the deciders say to them.

    Nothing is recorded. To post it, confirm the same question with the `known_at` of the answer.
    """
    caller: Caller = request.state.caller
    found = moving.simulate(request.app.state.database, person, question, _sender(caller), caller.poster)
    return _json(moving.answer(question, found))


@router.post(
    "/v1/people/{person}/moves",
    summary="Post a simulated move of money",
    dependencies=[policy.allow(Scope.POSTER), accesses.purposeful(), takes(SimulatedAt)],
    response_class=Response,
    responses={
        **described(MovePosted),
        **responses(
            *PERSONAL_PROBLEMS,
            problems.PositionMoved,
            problems.RulesChanged,
            problems.MoveNotDrafted,
            problems.MoveRefused,
        ),
    },
    openapi_extra=of_body(MoveQuestion, leaver=MOVE_QUESTION),
)
@accesses.recorded("move", about="person")
def post_move(
    request: Request,
    person: Name,
    asked: Annotated[SimulatedAt, Query()],
    question: Annotated[MoveQuestion, Depends(asked_of(MoveQuestion))],
) -> Response:
    """The commands of the simulation at `known_at`, all or none; refused if anything about her was recorded since.

    Posted again, the same move gets the same receipts.
    """
    database, caller = request.app.state.database, request.state.caller
    _, receipts = moving.confirm(
        Ledger(database),
        database,
        person,
        question,
        _sender(caller),
        known_at=asked.known_at,
        rules_version=asked.rules,
        poster=caller.poster,
        with_leaves=True,
    )
    signed = request.app.state.receipts
    posted = [
        Accepted(
            command_id=each.command_id,
            status="accepted",
            first_position=each.first_position,
            last_position=each.last_position,
            repeated=each.repeated,
        )
        for each in receipts
    ]
    return _json(MovePosted(receipt=signed.sign(receipts), outcomes=posted))


def _sender(caller: Caller) -> Sender:
    """Commands are drafted in the caller's name; their ids begin as a poster's must."""
    namespace = NAMESPACE if caller.poster is None else caller.poster.namespace
    return Sender(actor=caller.subject, namespace=namespace, decided_at=datetime.now(UTC))


@router.get(
    "/v1/cases",
    summary="Read what others have",
    dependencies=[
        policy.allow(Scope.PLANNER),
        accesses.unrecorded("published figures of at least twenty people each, about nobody"),
        takes(CaseQuestion),
    ],
    response_class=Response,
    responses={
        **described(CaseReading),
        **responses(*policy.PROBLEMS, problems.WrongParameter, problems.LedgerUnavailable),
    },
)
def cases(request: Request, asked: Annotated[CaseQuestion, Query()]) -> Response:
    """Quartiles of balances, contributions and outcomes of the cell that covers four coarse answers, if there is one."""
    try:
        return _json(planner.others(request.app.state.database, **asked.model_dump()))
    except CaseQuestionWrong as error:
        reason = f"One of {', '.join(error.allowed)}"
        raise problems.WrongParameter([{"type": "case_question", "loc": (error.field,), "msg": reason}]) from None


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type=JSON)
