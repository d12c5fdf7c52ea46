"""How readings are answered: which moment they are of, in which bytes, and whether the caller has them already.

1. An answer says at which position and date it is; asked for again by these, it is the same, byte for byte.
2. The ETag of such an answer is strong. Of an answer "of now" it is weak, and leaves the position out: as long as nothing
   of the reading itself changed, the caller has it already.
"""

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic_core import to_json

JSON = "application/json"
NDJSON = "application/x-ndjson"


def answer(request: Request, payload: dict[str, Any], *, is_pinned: bool) -> Response:
    """The payload as JSON, or 304 where the caller has it already; `is_pinned` where the caller named the position."""
    body = to_json(payload)
    tagged = body if is_pinned else to_json({name: value for name, value in payload.items() if name != "known_at"})
    return tag(request, body, tagged=tagged, is_pinned=is_pinned, media_type=JSON)


def tag(request: Request, body: bytes, *, tagged: bytes, is_pinned: bool, media_type: str) -> Response:
    """The body with an ETag made of what it says, or 304 where the caller has it already."""
    etag = f'{"" if is_pinned else "W/"}"{hashlib.sha256(tagged).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    if _has(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def _has(request: Request, etag: str) -> bool:
    """By weak comparison (RFC 9110, 13.1.2)."""
    named = ",".join(request.headers.getlist("if-none-match"))
    held = {each.strip().removeprefix("W/") for each in named.split(",")}
    return etag.removeprefix("W/") in held or "*" in held
