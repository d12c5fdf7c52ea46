"""What can go wrong for a caller of the API: RFC 9457 problem documents, each with a stable type.

1. The type never changes. Title and detail are for humans; a program reads the type and the members beside them.
2. A problem never quotes what the caller sent: values, and names that are not ours, may be personal data.
3. Every answer that is not a success is a problem, also for unknown routes, wrong parameters and our own bugs; of those
   the answer tells nothing but the id under which the log has them.
4. 400 is a request that cannot be understood, 409 one that does not fit what is recorded, 422 a command or question
   that was understood, decided and refused.

The title is the docstring's first sentence, and what follows it the detail where none is given.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import uuid4

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ledger import application
from ledger.domain.faults import MAX_ERRORS, OUR_NAMES, listed

MEDIA_TYPE = "application/problem+json"
REALM = "pension-ledger"
# A full queue or a switch of servers is over in seconds; a projection catches up in less.
RETRY_AFTER_S = 1
RETRY_UNAVAILABLE_AFTER_S = 5

# The headers of the problems of a status, as the documentation shows them; of 404 some have it.
HEADERS: dict[int, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {
            "description": "The challenge of RFC 6750.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    **{
        status: {
            "Retry-After": {
                "description": "Come again in so many seconds.",
                "required": status == HTTPStatus.SERVICE_UNAVAILABLE,
                "schema": {"type": "integer"},
            }
        }
        for status in (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)
    },
}

WORDS = re.compile(r"(?<!^)(?=[A-Z])")
SENTENCE_END = re.compile(r"(?<=\.)\s")


class ErrorBody(BaseModel):
    """One of several things wrong with a request: where, and why."""

    place: str
    reason: str


class ProblemBody(BaseModel):
    """A problem document (RFC 9457). Further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What kind of problem this is; stable, and the address of its description.")
    title: str = Field(description="The kind of problem in a sentence; the same for all of a type.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str | None = Field(default=None, description="What to know or do about this one.")
    instance: str | None = Field(default=None, description="The id of this one, under which the log has it.")
    errors: list[ErrorBody] | None = Field(default=None, description=f"At most {MAX_ERRORS}, and how many more.")


class Problem(Exception):
    """The request failed."""

    type = "about:blank"
    title = ""
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    advice: str | None = None
    # Parameters of the challenge of RFC 6750, for problems about tokens.
    challenge: ClassVar[str | None] = None
    example: ClassVar[Mapping[str, object]] = {}

    def __init_subclass__(cls, *, status: HTTPStatus) -> None:
        """The class name is the type, the docstring the title and the detail."""
        sentences = " ".join(inspect.cleandoc(cls.__doc__ or "").split())
        cls.title, *rest = SENTENCE_END.split(sentences, maxsplit=1)
        cls.advice = rest[0] if rest else None
        cls.type = f"/problems/{kebab(cls)}"
        cls.status = status.value

    def __init__(self, detail: str | None = None, /, **members: object) -> None:
        """Say what is known of this one; members are plain JSON values."""
        super().__init__(detail or self.title)
        self.detail = detail or self.advice
        self.members = members

    def as_dict(self) -> dict[str, object]:
        """The problem document."""
        detail = {} if self.detail is None else {"detail": self.detail}
        return {"type": self.type, "title": self.title, "status": self.status, **detail, **self.members}

    def headers(self) -> dict[str, str]:
        """What goes with it: not to be cached, when to come again, how to authenticate, what is allowed."""
        # Set here too, because the answer to a bug of ours is given outside of the doorway.
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if (retry_after_s := self.members.get("retry_after_s")) is not None:
            headers["Retry-After"] = str(retry_after_s)
        if self.challenge is not None:
            headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"{self.challenge}'
        return headers

    def response(self) -> Response:
        """The HTTP answer."""
        return Response(to_json(self.as_dict()), self.status, self.headers(), MEDIA_TYPE)


def kebab(problem: type[Problem]) -> str:
    """The last part of its type."""
    return WORDS.sub("-", problem.__name__).lower()


class MalformedJson(Problem, status=HTTPStatus.BAD_REQUEST):
    """The body is not JSON. It must be one JSON text in UTF-8, or one on each line."""

    example: ClassVar = {"errors": [{"place": "", "reason": "EOF while parsing a value at line 1 column 1"}]}

    def __init__(self, reason: str | None = None) -> None:
        """Take the parser's sentence, which counts lines and columns and quotes nothing."""
        super().__init__(**({} if reason is None else {"errors": [{"place": "", "reason": reason}]}))


class MalformedCommand(Problem, status=HTTPStatus.BAD_REQUEST):
    """The body holds something that is no command. Nothing was posted; correct the places named and post again."""

    example: ClassVar = {"errors": [{"place": "[3].account", "reason": "Field required"}]}

    def __init__(self, errors: Iterable[Mapping[str, Any]]) -> None:
        """Take pydantic's errors, their places beginning at the body."""
        super().__init__(errors=listed(errors, OUR_NAMES))


class QuestionMalformed(Problem, status=HTTPStatus.BAD_REQUEST):
    """The body is not the question that is answered here. Each error names the field and what it may be."""

    example: ClassVar = {
        "errors": [{"place": "answers.monthly_wage_fen", "reason": "Input should be less than or equal to 100000000"}]
    }

    def __init__(self, errors: Iterable[Mapping[str, Any]], names: frozenset[str]) -> None:
        """Take pydantic's errors, their places beginning at the body, and the names that may stand in a place."""
        super().__init__(errors=listed(errors, names))


class QuestionContradictory(Problem, status=HTTPStatus.UNPROCESSABLE_ENTITY):
    """The fields of the question are right each by itself, and do not fit together. Correct the places named."""

    example: ClassVar = {
        "errors": [{"place": "levers", "reason": "Give retirement_month or retirement_age_months, not both"}]
    }

    def __init__(self, errors: Iterable[Mapping[str, Any]], names: frozenset[str]) -> None:
        """Take pydantic's errors, their places beginning at the body, and the names that may stand in a place."""
        super().__init__(errors=listed(errors, names))


class RuleRefused(Problem, status=HTTPStatus.UNPROCESSABLE_ENTITY):
    """A rule does not allow what was asked, or holds no value for that day and area. It is named, and says what to do."""

    example: ClassVar = {
        "rule": "pp.cap.year",
        "reason": "condition_not_met",
        "sentence": "at most 12,000.00 yuan are left of this year",
        "left_fen": 1_200_000,
    }


class AnswerRefused(Problem, status=HTTPStatus.UNPROCESSABLE_ENTITY):
    """An answer or lever is missing, or out of place for this person. The field is named, and says what to give."""

    example: ClassVar = {"field": "benefit_base_fen", "sentence": "fp.B has no row for CN-31: give benefit_base_fen"}


class PositionMoved(Problem, status=HTTPStatus.CONFLICT):
    """Something about the person was recorded since the simulation. Nothing was posted: simulate the move again."""

    example: ClassVar = {"position": 4, "simulated_at": 3}


class RulesChanged(Problem, status=HTTPStatus.CONFLICT):
    """The rules are not those that the move was simulated by. Nothing was posted: simulate it again."""


class MoveNotDrafted(Problem, status=HTTPStatus.CONFLICT):
    """The move is not lawful so, or names no account. Nothing was posted: simulate it to see the lawful way."""


class MoveRefused(Problem, status=HTTPStatus.CONFLICT):
    """The ledger would refuse one of the move's commands now. Nothing was posted, of either command."""

    example: ClassVar = {
        "code": "AccountIsFrozen",
        "sentence": "The account is frozen.",
        "refusal": {"account": "EA-1"},
    }


class WrongParameter(Problem, status=HTTPStatus.BAD_REQUEST):
    """A parameter of the address or a header has no such value. Correct the places named."""

    example: ClassVar = {"errors": [{"place": "as_of", "reason": "Input should be a valid date"}]}

    def __init__(self, errors: Iterable[Mapping[str, Any]]) -> None:
        """Take pydantic's errors, their places beginning at the parameter."""
        super().__init__(errors=listed(errors))


class CursorInvalid(Problem, status=HTTPStatus.BAD_REQUEST):
    """The cursor is none that was given out for this reading. Begin again without one."""


class PurposeMissing(Problem, status=HTTPStatus.BAD_REQUEST):
    """Whoever reads about people must say what for. Name it in the header Access-Purpose, or get a token with a purpose."""


class TokenMissing(Problem, status=HTTPStatus.UNAUTHORIZED):
    """The request has no bearer token. Send one in the Authorization header."""

    challenge: ClassVar = ""


class TokenInvalid(Problem, status=HTTPStatus.UNAUTHORIZED):
    """The token is not valid here. Get one from this service's issuer."""

    challenge: ClassVar = ', error="invalid_token"'


class TokenExpired(Problem, status=HTTPStatus.UNAUTHORIZED):
    """The token has expired. Get a new one and repeat the request."""

    challenge: ClassVar = ', error="invalid_token", error_description="The token has expired"'


class ScopeMissing(Problem, status=HTTPStatus.FORBIDDEN):
    """The token lacks the scope that this call needs. One of those named is enough."""

    example: ClassVar = {"scopes": ["reader", "auditor"]}

    def __init__(self, scopes: Sequence[str]) -> None:
        """Name the scopes of which one is needed."""
        super().__init__(scopes=list(scopes))
        self._scopes = scopes

    def headers(self) -> dict[str, str]:
        """The challenge names the scopes too."""
        challenge = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{" ".join(self._scopes)}"'
        return super().headers() | {"WWW-Authenticate": challenge}


def _refusal_example(code: str, sentence: str, **detail: object) -> dict[str, object]:
    return {"command_id": "ea-core/7", "refusal": {"code": code, "sentence": sentence, "detail": detail}}


class PosterNotPermitted(Problem, status=HTTPStatus.FORBIDDEN):
    """The token does not cover this command. Nothing was recorded, and the command id is still free."""

    example: ClassVar = _refusal_example("PosterNotPermitted", "The token does not cover…", reason="source_not_own")


class PurposeNotPermitted(Problem, status=HTTPStatus.FORBIDDEN):
    """The token is for another purpose than the header names. Leave the header out, or get a token for this purpose."""


class UnknownRoute(Problem, status=HTTPStatus.NOT_FOUND):
    """There is nothing at this address."""


class AccountUnknown(Problem, status=HTTPStatus.NOT_FOUND):
    """No account with this id was opened, as of the position asked for."""


class PersonUnknown(Problem, status=HTTPStatus.NOT_FOUND):
    """No person with this id is known, as of the position asked for."""


# To every client of static tiles what is not there yet is 404, and no conflict.
class NotSealed(Problem, status=HTTPStatus.NOT_FOUND):
    """The notary has not signed that. What is recorded is sealed within a second: ask again then, and after a minute ask why."""

    example: ClassVar = {"sealed": 184_401, "retry_after_s": RETRY_AFTER_S}

    def __init__(self, detail: str | None = None, *, sealed: int, passes: bool) -> None:
        """Name the last position sealed, 0 before the first checkpoint; say when to come again, unless it never will be."""
        super().__init__(detail, sealed=sealed, **({"retry_after_s": RETRY_AFTER_S} if passes else {}))


class MethodNotAllowed(Problem, status=HTTPStatus.METHOD_NOT_ALLOWED):
    """This address does not take this method."""

    example: ClassVar = {"allow": ["GET", "HEAD"]}

    def __init__(self, allow: Sequence[str]) -> None:
        """Name the methods that it takes."""
        super().__init__(allow=list(allow))
        self._allow = allow

    def headers(self) -> dict[str, str]:
        """With the Allow header that RFC 9110 asks for."""
        return super().headers() | {"Allow": ", ".join(self._allow)}


class CommandIdReused(Problem, status=HTTPStatus.CONFLICT):
    """The command id was received before with other content. Send the changed command under a new id."""

    example: ClassVar = _refusal_example("CommandIdReused", "This command id was received before…")


class PositionNotRecorded(Problem, status=HTTPStatus.CONFLICT):
    """The position lies beyond the journal's end. Ask for one up to the head, or ask again when it is recorded."""

    example: ClassVar = {"head": 184_467}

    def __init__(self, *, head: int) -> None:
        """Name the last position recorded."""
        super().__init__(head=head)


class BodyTooLarge(Problem, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
    """The body is larger than a request may be. Send it in several requests."""

    example: ClassVar = {"most_bytes": 16_777_216}


class BodyTooSlow(Problem, status=HTTPStatus.REQUEST_TIMEOUT):
    """The body did not come in time. Nothing was posted; send it again, or in several requests."""


class BatchTooLarge(Problem, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
    """The body holds more commands than a batch may. Nothing was posted; post them in several batches."""

    example: ClassVar = {"most": application.MAX_COMMANDS}

    def __init__(self) -> None:
        """Name the bound."""
        super().__init__(most=application.MAX_COMMANDS)


class UnsupportedMediaType(Problem, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
    """The body's media type is not taken here. Send application/json, or application/x-ndjson for many commands."""


class CommandRefused(Problem, status=HTTPStatus.UNPROCESSABLE_ENTITY):
    """The ledger refused the command. The refusal is recorded; a repeat under the same id gets the same answer."""

    example: ClassVar = _refusal_example("AccountUnknown", "No account with this id was opened.", account="EA-1")


class InternalError(Problem, status=HTTPStatus.INTERNAL_SERVER_ERROR):
    """Something went wrong here. Report it with the id in `instance`; a command may be posted again with the same id."""

    example: ClassVar = {"instance": "urn:uuid:0b4f2d86-9d55-4f43-8f86-6d1c7a1f1a52"}

    def __init__(self) -> None:
        """Give it an id."""
        self.instance = uuid4().urn
        super().__init__(instance=self.instance)


class SealsBroken(Problem, status=HTTPStatus.INTERNAL_SERVER_ERROR):
    """Facts or seals are not what the notary signed. Nothing was given out. `python -m replay verify` names the place."""


class ProjectionBehind(Problem, status=HTTPStatus.SERVICE_UNAVAILABLE):
    """The reading has not seen the position yet. Ask again in a moment."""

    example: ClassVar = {"position": 184_467, "seen": 184_401, "retry_after_s": RETRY_AFTER_S}

    def __init__(self, *, position: int, seen: int) -> None:
        """Name the position asked for, and the last one seen."""
        super().__init__(position=position, seen=seen, retry_after_s=RETRY_AFTER_S)


class LedgerBusy(Problem, status=HTTPStatus.SERVICE_UNAVAILABLE):
    """Too many others are posting. Nothing was recorded; post again with the same ids."""

    example: ClassVar = {"retry_after_s": RETRY_AFTER_S}

    def __init__(self) -> None:
        """Say when to come again."""
        super().__init__(retry_after_s=RETRY_AFTER_S)


class LedgerUnavailable(Problem, status=HTTPStatus.SERVICE_UNAVAILABLE):
    """The database does not answer, or takes no writes. Nothing or all was recorded; post again with the same ids."""

    example: ClassVar = {"retry_after_s": RETRY_UNAVAILABLE_AFTER_S}

    def __init__(self) -> None:
        """Say when to come again."""
        super().__init__(retry_after_s=RETRY_UNAVAILABLE_AFTER_S)


class AccessNotRecorded(Problem, status=HTTPStatus.SERVICE_UNAVAILABLE):
    """Who reads what must be recorded, and it could not be. Nothing was given out; ask again in a moment."""

    example: ClassVar = {"retry_after_s": RETRY_UNAVAILABLE_AFTER_S}

    def __init__(self) -> None:
        """Say when to come again."""
        super().__init__(retry_after_s=RETRY_UNAVAILABLE_AFTER_S)


class ReadingTooLarge(Problem, status=HTTPStatus.CONFLICT):
    """More facts are about this person than are read at once. Read the statements of her accounts."""


class NotReady(Problem, status=HTTPStatus.SERVICE_UNAVAILABLE):
    """The service cannot answer everything now. The reasons say why."""

    example: ClassVar = {"reasons": ["the database does not answer"], "retry_after_s": RETRY_UNAVAILABLE_AFTER_S}

    def __init__(self, reasons: Sequence[str]) -> None:
        """Say why."""
        super().__init__(reasons=list(reasons), retry_after_s=RETRY_UNAVAILABLE_AFTER_S)


PROBLEMS: dict[str, type[Problem]] = {kebab(cls): cls for cls in Problem.__subclasses__()}

OF_REFUSAL: dict[str, type[Problem]] = {"CommandIdReused": CommandIdReused, "PosterNotPermitted": PosterNotPermitted}


def of_refused(refused: application.Refused) -> Problem:
    """The problem of a single command that was refused, with the refusal as the ledger keeps it."""
    refusal = {"code": refused.code, "sentence": refused.sentence, "detail": refused.detail}
    problem = OF_REFUSAL.get(refused.code, CommandRefused)
    return problem(refused.sentence, command_id=refused.command_id, refusal=refusal)


def responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """What FastAPI takes as `responses=`: for each status its problems, with an example of each."""
    found: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        empty = {"schema": {"$ref": "#/components/schemas/ProblemBody"}, "examples": {}}
        headers = HEADERS.get(problem.status, {})
        response = found.setdefault(
            problem.status, {"description": "", "headers": headers, "content": {MEDIA_TYPE: empty}}
        )
        response["description"] = " ".join(filter(None, (response["description"], problem.title)))
        response["content"][MEDIA_TYPE]["examples"][kebab(problem)] = {
            "summary": problem.title,
            "value": example(problem),
        }
    return found


def example(problem: type[Problem]) -> dict[str, object]:
    """A problem document of this type, as the documentation shows it."""
    detail = {} if problem.advice is None else {"detail": problem.advice}
    return {"type": problem.type, "title": problem.title, "status": problem.status, **detail, **problem.example}
