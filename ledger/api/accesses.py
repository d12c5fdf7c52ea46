"""Who reads what about people, and what for: declared by every route, and recorded before an answer leaves.

1. Every route that is not public declares either how it is recorded, or why it is not; an app with a route that declares
   neither does not start.
2. A request that reaches a recorded reading leaves one record of its status, whatever that is. There are two exceptions,
   in which nothing about anybody is given out: the database did not answer, or the reading found that it is about nobody.
3. The record is on disk before the answer leaves. Where it cannot be written, the caller gets AccessNotRecorded instead of
   the answer, and of the reading's own errors too: that somebody is unknown is also an answer.
4. A record stays for ever, so it holds nothing personal that a caller may write into an address: what is not spelled as a
   name, or holds a resident ID number, is recorded as `?`. But a name that was answered for is the journal's own, as is the
   cursor of its page: they are recorded as asked, so that it never lacks whose data were given out.
5. The caller says what for. A header names the purpose, else the token does; a token for one purpose is good for no other.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec

import psycopg
from fastapi import FastAPI, Header, Request, Response
from fastapi.params import Depends
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel

from ledger.access import EVERYBODY, NOT_KEPT, Access, record
from ledger.api import handling, policy, problems
from ledger.api.tokens import PURPOSE, Caller
from ledger.domain.identifiers import is_keepable

HEADER = "Access-Purpose"
# What a recorded route may answer because it is.
PROBLEMS = (problems.PurposeMissing, problems.PurposeNotPermitted, problems.AccessNotRecorded)

Given = ParamSpec("Given")
Reading = Callable[Given, Response]

log = logging.getLogger("ledger.api")


class AccessUndeclared(RuntimeError):
    """A route does not say how it is recorded; give it `purposeful` and `recorded` of `accesses`, or else `unrecorded`."""


class Purposeful:
    """A dependency that asks for the purpose; `request.state.purpose` from then on."""

    async def __call__(
        self,
        request: Request,
        access_purpose: Annotated[
            str | None,
            Header(
                alias=HEADER,
                pattern=PURPOSE,
                description="What the answer is for; needed unless the token has a purpose, and then the same.",
                examples=["customer-service"],
            ),
        ] = None,
    ) -> None:
        """Raises PurposeMissing, PurposeNotPermitted, WrongParameter."""
        if len(request.headers.getlist(HEADER)) > 1:
            raise problems.WrongParameter([{"type": "repeated", "loc": (HEADER,), "msg": "Comes more than once"}])
        caller: Caller = request.state.caller
        purpose = access_purpose or caller.purpose
        if purpose is None:
            raise problems.PurposeMissing
        if caller.purpose not in (None, purpose):
            raise problems.PurposeNotPermitted
        request.state.purpose = purpose


class Unrecorded:
    """A dependency that asks for nothing, and says why there is no record."""

    def __init__(self, reason: str) -> None:
        """Keep the reason for the reader."""
        self.reason = reason

    async def __call__(self) -> None:
        """Ask for nothing."""


def purposeful() -> Depends:
    """For a route that is recorded, after `policy.allow`."""
    return Depends(Purposeful())


def unrecorded(reason: str) -> Depends:
    """For a route that is not public, and about nobody; or recorded in another way."""
    return Depends(Unrecorded(reason))


def recorded(action: str, *, about: str | None = None) -> Callable[[Reading[Given]], Reading[Given]]:
    """For the function of a route that reads about people: record each call under this name before it answers.

    `about` is its parameter that names the person or account; without one the function says it by `name_subject`, or it is
    about everybody. Its parameter `asked`, if it has one, is recorded as the question.
    """

    def decorate(read: Reading[Given]) -> Reading[Given]:
        @wraps(read)
        def read_and_record(*args: Given.args, **given: Given.kwargs) -> Response:
            request, asked = given["request"], given.get("asked")
            assert isinstance(request, Request)
            request.state.subject = EVERYBODY if about is None else _kept(given[about])
            try:
                response = read(*args, **given)
                if about is not None:
                    request.state.subject = given[about]
            except psycopg.OperationalError:
                raise
            except Exception as error:
                _record(request, action, _question(asked), handling.problem_of(request, error).status)
                raise
            if request.state.subject is not None:
                question = _question(asked) if about is None else _as_asked(asked)
                _record(request, action, question, response.status_code)
            return response

        read_and_record.action = action  # type: ignore[attr-defined]  # What the declaration is known by.
        return read_and_record

    return decorate


def name_subject(request: Request, subject: str | None) -> None:
    """Say whom the reading was about, where the address does not; None where it turned out to be about nobody."""
    request.state.subject = subject if subject in (None, EVERYBODY) else _kept(subject)


def action_of(route: RouteContext) -> str | None:
    """Under which name a route is recorded, if it is."""
    action: str | None = getattr(route.endpoint, "action", None)
    return action


def enforce(app: FastAPI) -> None:
    """Called when the app has all its routes; raises AccessUndeclared."""
    if routes := undeclared(app):
        raise AccessUndeclared(f"{', '.join(routes)}: {AccessUndeclared.__doc__}")


def undeclared(app: FastAPI) -> list[str]:
    """Every route that is not public, and declares neither how it is recorded nor why it is not."""
    return [
        " ".join([*sorted(getattr(route, "methods", None) or ()), route.path or "/"])
        for route in iter_route_contexts(app.routes)
        if not policy.is_public(app, route) and not _is_declared(route)
    ]


def _is_declared(route: RouteContext) -> bool:
    """A purpose without a record is as wrong as a record without a purpose."""
    calls = list(policy.dependencies_of(route))
    asks = any(isinstance(call, Purposeful) for call in calls)
    is_unrecorded = any(isinstance(call, Unrecorded) for call in calls)
    is_recorded = action_of(route) is not None
    return (asks, is_recorded, is_unrecorded) in {(True, True, False), (False, False, True)}


def _kept(asked: object) -> str:
    """What the record keeps of a text that the caller chose."""
    return asked if isinstance(asked, str) and is_keepable(asked) else NOT_KEPT


def _as_asked(asked: object) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_unset=True) if isinstance(asked, BaseModel) else {}


def _question(asked: object) -> dict[str, Any]:
    """The parameters, without what may be personal; what is no text by itself, such as a date, has only one spelling."""
    values = _as_asked(asked)
    return {name: _kept(value) if isinstance(getattr(asked, name), str) else value for name, value in values.items()}


def _record(request: Request, action: str, question: dict[str, Any], status: int) -> None:
    caller: Caller = request.state.caller
    subject, purpose = request.state.subject, request.state.purpose
    access = Access(caller.subject, caller.token_id, action, subject, question, purpose, status)
    metrics = request.app.state.metrics
    try:
        record(request.app.state.database, access)
    except psycopg.Error as error:
        metrics.count_access(outcome="failed")
        # What more the database says of it may name the person.
        log.error("%s was refused: no access record: %s", action, error.diag.message_primary or type(error).__name__)  # noqa: TRY400
        raise problems.AccessNotRecorded from error
    metrics.count_access(outcome="written")
