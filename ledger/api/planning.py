"""Questions about the future: taxes and retirement by the rules of a day, and the plan of one person from her sheet.

1. An answer carries the question, its day, position and versions, and the rules it rests on: asked again, it is the same.
2. What a person earns and has stands in the body alone: never in an address, a log or the record of a reading.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON
from ledger.api.documents import described
from ledger.api.planning_examples import TAX_QUESTION
from ledger.api.problems import responses
from ledger.api.questions import asked, of_body
from ledger.api.tokens import Scope
from ledger.planning import taxes
from ledger.planning.taxes import TaxAnswer, TaxQuestion

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
QUESTIONS: tuple[type[BaseModel], ...] = (TaxQuestion,)

router = APIRouter(tags=["planning"])
about_nobody = [
    policy.allow(Scope.PLANNER, Scope.READER),
    accesses.unrecorded("computed from the question and the rules alone, about nobody"),
]


@router.post(
    "/v1/planning/tax",
    summary="Compute taxes",
    dependencies=about_nobody,
    response_class=Response,
    responses={**described(TaxAnswer), **responses(*QUESTION_PROBLEMS)},
    openapi_extra=of_body(TaxQuestion, year=TAX_QUESTION),
)
def tax(question: Annotated[TaxQuestion, Depends(asked(TaxQuestion))]) -> Response:
    """What a year's income is taxed, what a payment into the personal pension saves and costs, and what payouts are taxed."""
    return _json(taxes.answer(question))


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type=JSON)
