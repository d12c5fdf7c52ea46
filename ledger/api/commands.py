"""Commands in: one, a list, or a line each; every one answered with its receipt or its refusal.

1. A body is posted as a whole or not at all: where one item is no command, nothing is posted.
2. The command id is the idempotency key: the same request sent again gets the same answer and records nothing.
3. A single command that is refused is a problem; in a list each refusal stands at its place.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ledger.api import policy, problems
from ledger.api.documents import COMMAND_EXAMPLES, body_of_commands
from ledger.api.tokens import Caller, Scope
from ledger.application import MAX_COMMANDS, Outcome, Receipt, Refused
from ledger.domain.commands import MANY, ONE, Command

JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_BODY_BYTES = 16 * 2**20
# A larger body is read on a thread, so that others are served meanwhile.
SMALL_BODY_BYTES = 32 * 1024

router = APIRouter(tags=["commands"])


class Accepted(BaseModel):
    """The command stands: its facts have these positions; none where the ledger already stood as asked."""

    command_id: str
    status: Literal["accepted"]
    first_position: int | None
    last_position: int | None
    repeated: bool


class RefusalBody(BaseModel):
    """Why a command was refused: a stable code, a sentence, and what was compared."""

    code: str
    sentence: str
    detail: dict[str, Any]


class NotAccepted(BaseModel):
    """The command was refused, and is kept with the reason."""

    command_id: str
    status: Literal["refused"]
    refusal: RefusalBody
    repeated: bool


class Outcomes(BaseModel):
    """What came of each command of a list, in its order."""

    accepted: int
    refused: int
    outcomes: list[Accepted | NotAccepted]


@router.post(
    "/v1/commands",
    summary="Post commands",
    response_class=Response,
    responses={
        200: {
            "description": "The receipt of the command, or of a list what came of each.",
            "content": {
                JSON: {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Accepted"},
                            {"$ref": "#/components/schemas/Outcomes"},
                        ]
                    },
                    "examples": COMMAND_EXAMPLES,
                },
                NDJSON: {"schema": {"type": "string"}},
            },
        },
        **problems.responses(
            problems.MalformedJson,
            problems.MalformedCommand,
            problems.TokenMissing,
            problems.TokenInvalid,
            problems.TokenExpired,
            problems.ScopeMissing,
            problems.PosterNotPermitted,
            problems.CommandIdReused,
            problems.BodyTooLarge,
            problems.BatchTooLarge,
            problems.UnsupportedMediaType,
            problems.CommandRefused,
            problems.LedgerBusy,
            problems.LedgerUnavailable,
        ),
    },
    openapi_extra={"requestBody": body_of_commands(JSON, NDJSON)},
)
async def post_commands(
    request: Request, caller: Annotated[Caller, policy.allow(Scope.POSTER, Scope.STEWARD)]
) -> Response:
    """Post one command, a list of up to 10,000, or as many lines of NDJSON, in one transaction and in order.

    The answer comes when everything is on disk. Post again with the same ids whenever no answer came.
    """
    media_type = _media_type(request)
    body = await _body(request)
    small = len(body) <= SMALL_BODY_BYTES
    read = _lines if media_type == NDJSON else _json
    commands, is_single = read(body) if small else await run_in_threadpool(read, body)
    outcomes = await request.app.state.posts.post(commands, caller.poster)
    request.app.state.metrics.count(outcomes)
    if is_single:
        return _single(outcomes[0])
    if small:
        return _many(outcomes, media_type)
    return await run_in_threadpool(_many, outcomes, media_type)


def _media_type(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "identity").lower()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (JSON, NDJSON) or encoding != "identity":
        raise problems.UnsupportedMediaType
    return media_type


async def _body(request: Request) -> bytes:
    """The whole body; what is too large is refused as soon as that is known."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise problems.BodyTooLarge(most_bytes=MAX_BODY_BYTES)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise problems.BodyTooLarge(most_bytes=MAX_BODY_BYTES)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _json(body: bytes) -> tuple[list[Command], bool]:
    """A JSON object is one command, an array a list of them."""
    try:
        if body.lstrip(b" \t\r\n")[:1] == b"[":
            return _bounded(MANY.validate_json(body)), False
        return [ONE.validate_json(body)], True
    except ValidationError as error:
        raise _malformed([error]) from None


def _lines(body: bytes) -> tuple[list[Command], bool]:
    """Every line that is not blank is one command."""
    commands: list[Command] = []
    errors: list[ValidationError] = []
    places: list[int] = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line or line.isspace():
            continue
        try:
            commands.append(ONE.validate_json(line))
        except ValidationError as error:
            errors.append(error)
            places.append(number)
        if len(commands) > MAX_COMMANDS or len(errors) > problems.MAX_ERRORS:
            break
    if errors:
        raise _malformed(errors, places)
    return _bounded(commands), False


def _bounded(commands: list[Command]) -> list[Command]:
    if len(commands) > MAX_COMMANDS:
        raise problems.BatchTooLarge
    return commands


def _malformed(errors: Sequence[ValidationError], lines: Sequence[int] | None = None) -> problems.Problem:
    found = []
    for number, error in enumerate(errors):
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            if each["type"] == "json_invalid" and lines is None:
                return problems.MalformedJson()
            place = each["loc"] if lines is None else (lines[number], *each["loc"])
            found.append({**each, "loc": place})
    return problems.MalformedCommand(found)


def _single(outcome: Outcome) -> Response:
    if isinstance(outcome, Refused):
        raise problems.of_refused(outcome)
    return Response(to_json(_answer(outcome)), media_type=JSON)


def _many(outcomes: Sequence[Outcome], media_type: str) -> Response:
    answers = [_answer(outcome) for outcome in outcomes]
    if media_type == NDJSON:
        return Response(b"".join(to_json(answer) + b"\n" for answer in answers), media_type=NDJSON)
    refused = sum(isinstance(outcome, Refused) for outcome in outcomes)
    answered = {"accepted": len(answers) - refused, "refused": refused, "outcomes": answers}
    return Response(to_json(answered), media_type=JSON)


def _answer(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Receipt):
        return {
            "command_id": outcome.command_id,
            "status": "accepted",
            "first_position": outcome.first_position,
            "last_position": outcome.last_position,
            "repeated": outcome.repeated,
        }
    return {
        "command_id": outcome.command_id,
        "status": "refused",
        "refusal": {"code": outcome.code, "sentence": outcome.sentence, "detail": outcome.detail},
        "repeated": outcome.repeated,
    }
