"""Questions that come as a body: one JSON object of a model, understood in one way alone.

1. A question is bounded, UTF-8, and has no member twice; a field that is not known is refused.
2. What is wrong is told by field and range, and never by the value: a question holds what a person earns and has.
3. A question whose fields are each right, and do not fit together, is understood and refused: 422.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ledger.api import problems
from ledger.api.answers import JSON
from ledger.api.bodies import Intake, media_type_of
from ledger.api.documents import REF
from ledger.planning.scenarios import ASSUMED
from ledger.planning.spelling import CONTRADICTORY

MAX_QUESTION_BYTES = 64 * 2**10

Question = TypeVar("Question", bound=BaseModel)


class _Twice(ValueError):
    """An object has a member twice."""


def asked_of(model: type[Question]) -> Callable[[Request], Awaitable[Question]]:
    """A dependency that gives the question. After `policy.allow`, which says who asks.

    Raises UnsupportedMediaType, BodyTooLarge, MalformedJson, QuestionMalformed, QuestionContradictory.
    """

    async def read(request: Request) -> Question:
        media_type_of(request, JSON)
        intake: Intake = request.app.state.intake
        async with intake.body(request, request.state.caller.subject, most_bytes=MAX_QUESTION_BYTES) as body:
            return _read(model, body)

    return read


def of_body(model: type[BaseModel], **examples: BaseModel) -> dict[str, Any]:
    """What FastAPI takes as `openapi_extra` of a route that asks so; `documents.install` has to know the model too."""
    content: dict[str, Any] = {"schema": {"$ref": REF.format(model=model.__name__)}}
    if examples:
        content["examples"] = {
            name: {"summary": name, "value": value.model_dump(mode="json", exclude_unset=True)}
            for name, value in examples.items()
        }
    return {"requestBody": {"required": True, "content": {JSON: content}}}


def _read(model: type[Question], body: bytes) -> Question:
    try:
        json.loads(body, object_pairs_hook=_once)
    except _Twice as error:
        raise problems.MalformedJson(str(error.__doc__)) from None
    except (ValueError, RecursionError):
        raise problems.MalformedJson from None
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        # A list is also told to be too short where its items are wrong.
        own = [each for each in errors if each["type"] != "too_short" or not _items_are_wrong(each, errors)]
        if all(each["type"] == CONTRADICTORY for each in own):
            raise problems.QuestionContradictory(own, _names(model)) from None
        raise problems.QuestionMalformed(own, _names(model)) from None


def _items_are_wrong(too_short: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    place = too_short["loc"]
    return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in errors)


@cache
def _names(model: type[BaseModel]) -> frozenset[str]:
    """The names that may stand in the place of an error; a caller's own may be anything."""
    schema = model.model_json_schema()
    described_here = (schema, *schema.get("$defs", {}).values())
    return frozenset(ASSUMED).union(*(each.get("properties", {}) for each in described_here))


def _once(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) < len(members):
        raise _Twice
