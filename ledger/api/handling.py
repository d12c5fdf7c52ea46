"""Every error of the API as a problem: our own, the framework's, and bugs.

1. Whatever a request ends with, it is answered with a problem document.
2. Of a bug the answer tells the id alone under which the log has it; the log names the route, and not the address.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ledger import application, facts, moving, seals
from ledger.api import problems
from ledger.api.problems import ErrorBody, Problem, ProblemBody
from ledger.domain.rules import RuleRefused
from ledger.planning.answers import AnswerRefused
from ledger.planning.scenarios import ScenariosRefused
from ledger.projections import standing

OF_STATUS: dict[int, type[Problem]] = {
    cls.status: cls
    for cls in (problems.MalformedJson, problems.UnknownRoute, problems.BodyTooLarge, problems.UnsupportedMediaType)
}

# What each error of ours is answered with; of most there is nothing to add.
MADE: dict[type[Exception], Callable[[Any], Problem]] = {
    application.BatchTooLarge: lambda _: problems.BatchTooLarge(),
    application.LedgerBusy: lambda _: problems.LedgerBusy(),
    application.LedgerUnavailable: lambda _: problems.LedgerUnavailable(),
    psycopg.OperationalError: lambda _: problems.LedgerUnavailable(),
    facts.TooManyFacts: lambda _: problems.ReadingTooLarge(),
    seals.SealsBroken: lambda _: problems.SealsBroken(),
    seals.NotSealed: lambda error: problems.NotSealed(str(error) or None, sealed=error.sealed, passes=error.passes),
    standing.PersonUnknown: lambda _: problems.PersonUnknown(),
    standing.PositionNotRecorded: lambda error: problems.PositionNotRecorded(head=error.head),
    standing.ProjectionBehind: lambda error: problems.ProjectionBehind(position=error.asked, seen=error.position),
    RuleRefused: lambda error: problems.RuleRefused(
        **{**error.detail, "rule": error.rule, "reason": error.reason, "sentence": error.sentence}
    ),
    AnswerRefused: lambda error: problems.AnswerRefused(
        **{**error.detail, "field": error.field, "sentence": error.sentence}
    ),
    ScenariosRefused: lambda error: problems.AnswerRefused(field="scenarios", sentence=str(error)),
    moving.PositionMoved: lambda error: problems.PositionMoved(
        position=error.position, simulated_at=error.simulated_at
    ),
    moving.RulesChanged: lambda _: problems.RulesChanged(),
    moving.MoveNotDrafted: lambda _: problems.MoveNotDrafted(),
    moving.MoveRefused: lambda error: problems.MoveRefused(
        code=error.refused.code, sentence=error.refused.sentence, refusal=dict(error.refused.detail)
    ),
    TimeoutError: lambda _: problems.BodyTooSlow(),
}

log = logging.getLogger("ledger.api")


def install(app: FastAPI) -> None:
    """Answer every error of this app with a problem, and describe problems in its OpenAPI document."""
    for error in (
        Problem,
        HTTPException,
        RequestValidationError,
        ClientDisconnect,
        *MADE,
        Exception,
    ):
        app.add_exception_handler(error, handle)
    describe = app.openapi
    app.openapi = lambda: _with_problems(describe())  # type: ignore[method-assign]  # FastAPI's own way to extend it


async def handle(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with this error."""
    problem = problem_of(request, error)
    # By the route, and not by the address: that may name somebody.
    route = getattr(request.scope.get("route"), "path", "unknown")
    if isinstance(problem, problems.InternalError):
        log.error("%s %s failed: %s", request.method, route, problem.instance, exc_info=error)
    elif isinstance(problem, problems.SealsBroken):
        log.critical("ALARM: %s %s: %s", request.method, route, problem.title, exc_info=error)
    return problem.response()


def problem_of(request: Request, error: Exception) -> Problem:
    """What a request that ended with this error is answered with."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return _of_status(request, error.status_code)
        case RequestValidationError():
            return _of_validation(error.errors())
        case ClientDisconnect():
            return problems.MalformedJson("The body ended before it was complete")  # Nobody reads this but the metrics.
    made = next((made for kind, made in MADE.items() if isinstance(error, kind)), None)
    return problems.InternalError() if made is None else made(error)


def _of_status(request: Request, status: int) -> Problem:
    """What the framework itself raises, such as for an unknown route; without a type of ours, `about:blank`."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problems.MethodNotAllowed(_methods_at(request))
    if status in OF_STATUS:
        return OF_STATUS[status]()
    blank = Problem()
    blank.status, blank.title = status, HTTPStatus(status).phrase
    return blank


def _methods_at(request: Request) -> list[str]:
    """Of all routes with this path: the framework names those of the first alone."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(request.scope["path"]):
            methods.update(route.methods or ())
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    if any(error["type"] == "json_invalid" for error in errors):
        return problems.MalformedJson()
    is_body = any(error["loc"][0] == "body" for error in errors)
    problem = problems.MalformedCommand if is_body else problems.WrongParameter
    return problem({**error, "loc": error["loc"][1:]} for error in errors if (error["loc"][0] == "body") == is_body)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The schema that `responses` refers to, in place of FastAPI's own shape of errors, which is never given."""
    for path in document.get("paths", {}).values():
        for operation in path.values():
            given = operation.get("responses", {})
            if "HTTPValidationError" in str(given.get("422")):
                del given["422"]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ErrorBody, ProblemBody):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["ProblemBody"].pop("$defs", None)
    return document
