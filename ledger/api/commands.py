"""Commands in: one, a list, or a line each; every one answered with its receipt or its refusal.

1. A body is posted as a whole or not at all: where one item is no command, nothing is posted.
2. The command id is the idempotency key: the same request sent again gets the same answer and records nothing.
3. A single command that is refused is a problem; in a list each refusal stands at its place.
4. What is not understood in one way alone is refused: a member that comes twice, and a character set other than UTF-8.
5. What is accepted has a signed receipt; repeated, it gets one again.
6. What a body costs is bounded before it is read (`bodies.py`), and so are the bytes of a command.
"""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Annotated, Any, Literal

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON, NDJSON
from ledger.api.bodies import MAX_BODY_BYTES, Intake, media_type_of
from ledger.api.documents import body_of_commands
from ledger.api.examples import COMMAND_EXAMPLES, OUTCOME_LINES
from ledger.api.parameters import NO_PARAMETERS
from ledger.api.tokens import Caller, Scope
from ledger.application import MAX_COMMANDS, Outcome, Receipt, Refused
from ledger.domain.commands import Command
from ledger.domain.faults import MAX_ERRORS
from ledger.domain.reading import NotTaken, read_command
from ledger.receipts import Receipts

MAX_ERRORS_LISTED = 1_000
# A larger body is read on a thread, so that others are served meanwhile.
SMALL_BODY_BYTES = 32 * 1024
PATH = "/v1/commands"
POSTERS = (Scope.POSTER, Scope.STEWARD)

router = APIRouter(tags=["commands"])


class Accepted(BaseModel):
    """The command stands: its facts have these positions; none where the ledger already stood as asked."""

    command_id: str
    status: Literal["accepted"]
    first_position: int | None
    last_position: int | None
    repeated: bool


class AcceptedAlone(Accepted):
    """As the answer to a single command: with the receipt over its facts, null where it has none."""

    receipt: str | None


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
    """What came of each command of a list, in its order; one receipt over the facts of them all, null where there are none."""

    accepted: int
    refused: int
    receipt: str | None
    outcomes: list[Accepted | NotAccepted]


@router.post(
    PATH,
    summary="Post commands",
    dependencies=[accesses.unrecorded("each command is recorded itself, with its actor and what was answered")],
    response_class=Response,
    responses={
        200: {
            "description": "What came of the command, or of each of a list, and the signed receipt over their facts; "
            "after lines a line that holds the receipt alone.",
            "content": {
                JSON: {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/AcceptedAlone"},
                            {"$ref": "#/components/schemas/Outcomes"},
                        ]
                    },
                    "examples": COMMAND_EXAMPLES,
                },
                NDJSON: {"schema": {"type": "string"}, "example": OUTCOME_LINES},
            },
        },
        **problems.responses(
            problems.MalformedJson,
            problems.MalformedCommand,
            problems.WrongParameter,
            *policy.PROBLEMS,
            problems.PosterNotPermitted,
            problems.CommandIdReused,
            problems.BodyTooLarge,
            problems.BodyTooSlow,
            problems.BatchTooLarge,
            problems.UnsupportedMediaType,
            problems.CommandRefused,
            problems.LedgerBusy,
            problems.LedgerUnavailable,
        ),
    },
    openapi_extra={"requestBody": body_of_commands()},
)
async def post_commands(
    request: Request, caller: Annotated[Caller, policy.allow(Scope.POSTER, Scope.STEWARD)]
) -> Response:
    """Post one command, a list of up to 10,000, or as many lines of NDJSON, in one transaction and in order.

    The answer comes when everything is on disk. Post again with the same ids whenever no answer came. Keep the receipt: it
    is signed, and says which leaf hash stands at which position (see `/v1/proofs/{position}`).
    """
    await NO_PARAMETERS(request)
    media_type = media_type_of(request, JSON, NDJSON)
    intake: Intake = request.app.state.intake
    receipts: Receipts = request.app.state.receipts
    async with intake.body(request, caller.subject, most_bytes=MAX_BODY_BYTES) as body:
        small = len(body) <= SMALL_BODY_BYTES
        read = _lines if media_type == NDJSON else _json
        commands, is_single = read(body) if small else await run_sync(read, body, limiter=intake.readers)
        outcomes = await request.app.state.posts.post(commands, caller.poster)
        request.app.state.metrics.count(outcomes)
        if is_single:
            return _single(outcomes[0], receipts)
        if small:
            return _many(outcomes, receipts, media_type)
        return await run_sync(_many, outcomes, receipts, media_type, limiter=intake.readers)


def _json(body: bytes) -> tuple[list[Command], bool]:
    """A JSON object is one command, an array a list of them."""
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return _read([((), body)]), True
    try:
        items = ITEMS.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise problems.MalformedJson(str(error)) from None
    if len(items) > MAX_COMMANDS:
        raise problems.BatchTooLarge
    return _read(((number,), bytes(item)) for number, item in enumerate(items)), False


def _lines(body: bytes) -> tuple[list[Command], bool]:
    """Every line that is not blank is one command."""
    lines = (((number,), line) for number, line in enumerate(BytesIO(body), 1) if not line.isspace())
    return _read(lines), False


def _read(items: Iterable[tuple[tuple[int, ...], bytes]]) -> list[Command]:
    """Each item as a command. Raises BatchTooLarge, MalformedJson, and MalformedCommand with the first that are none."""
    commands: list[Command] = []
    errors: list[Mapping[str, Any]] = []
    for place, item in items:
        try:
            commands.append(read_command(item))
        except ValidationError as error:
            errors += _errors(error, place)
        except NotTaken as error:
            errors.append({"type": "not_taken", "loc": place, "msg": str(error)})
        if len(errors) > MAX_ERRORS:
            break
        if len(commands) > MAX_COMMANDS:
            raise problems.BatchTooLarge
    if errors and errors[0]["type"] == "json_invalid" and not errors[0]["loc"]:
        raise problems.MalformedJson(errors[0]["msg"])
    if errors:
        raise problems.MalformedCommand(errors)
    return commands


ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def _errors(error: ValidationError, place: tuple[int, ...]) -> list[Mapping[str, Any]]:
    """Pydantic's errors with their places; so many that nobody would read them are only counted."""
    if error.error_count() > MAX_ERRORS_LISTED:
        return [{"type": "too_many", "loc": place, "msg": f"{error.error_count()} errors"}]
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{**each, "loc": (*place, *each["loc"])} for each in found]


def _single(outcome: Outcome, receipts: Receipts) -> Response:
    if isinstance(outcome, Refused):
        raise problems.of_refused(outcome)
    return Response(to_json(_answer(outcome) | {"receipt": receipts.sign([outcome])}), media_type=JSON)


def _many(outcomes: Sequence[Outcome], receipts: Receipts, media_type: str) -> Response:
    answers = [_answer(outcome) for outcome in outcomes]
    receipt = {"receipt": receipts.sign(outcomes)}
    if media_type == NDJSON:
        return Response(b"".join(to_json(answer) + b"\n" for answer in (*answers, receipt)), media_type=NDJSON)
    refused = sum(isinstance(outcome, Refused) for outcome in outcomes)
    answered = {"accepted": len(answers) - refused, "refused": refused, **receipt, "outcomes": answers}
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
