"""How readings are answered: which moment they are of, in which bytes, and whether the caller has them already.

1. An answer says at which position and date it is; asked for again by these, it is the same, byte for byte.
2. The ETag of such an answer is strong. Of an answer "of now" it is weak, and leaves the position out: as long as nothing
   of the reading itself changed, the caller has it already.
"""

import hashlib
from datetime import date
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import to_json

MAX_POSITION = 2**53 - 1
WRITTEN_DATE_CHARACTERS = len("2026-01-31")


def _written(day: object) -> object:
    """Refuse a number: it would be taken for seconds since 1970."""
    if isinstance(day, str) and len(day) == WRITTEN_DATE_CHARACTERS and day[4] == "-":
        return day
    message = "a date is written YYYY-MM-DD"
    raise ValueError(message)


Day = Annotated[date, BeforeValidator(_written)]
Position = Annotated[int, Field(ge=0, le=MAX_POSITION)]


class Seen(BaseModel):
    """What the caller has seen already."""

    model_config = ConfigDict(extra="forbid")

    seen: Position | None = Field(
        default=None,
        description="A position that the caller has seen, such as that of its receipt: the answer waits for it, within "
        "a bound.",
        examples=[42],
    )


class Moment(Seen):
    """Both time axes: which facts count, by their effective date and by their position."""

    as_of: Day | None = Field(
        default=None,
        description="Facts effective up to this date count; all of them, if absent.",
        examples=["2025-12-31"],
    )
    known_at: Position | None = Field(
        default=None, description="Facts up to this position count; all recorded now, if absent.", examples=[42]
    )


def answer(request: Request, payload: dict[str, Any], *, is_pinned: bool) -> Response:
    """The payload as JSON, or 304 where the caller has it already; `is_pinned` where the caller named the position."""
    body = to_json(payload)
    tagged = body if is_pinned else to_json({name: value for name, value in payload.items() if name != "known_at"})
    etag = f'{"" if is_pinned else "W/"}"{hashlib.sha256(tagged).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if _has(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _has(request: Request, etag: str) -> bool:
    """By weak comparison (RFC 9110, 13.1.2)."""
    held = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    return etag.removeprefix("W/") in held or "*" in held
