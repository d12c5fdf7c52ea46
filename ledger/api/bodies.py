"""Bodies of requests: bounded before they are read, by size, by time, and by what all of them hold at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from functools import lru_cache

from anyio import CapacityLimiter
from fastapi import Request

from ledger.api import problems

MAX_BODY_BYTES = 16 * 2**20
# Of all bodies that have come and are not answered; whoever sends more is told to come again.
MAX_HELD_BYTES = 256 * 2**20
MAX_HELD_BYTES_OF_ONE = MAX_HELD_BYTES // 4
MAX_BODY_S = 30.0
MAX_LENGTH_DIGITS = 15
CHARSETS = ("utf-8", "utf8", "us-ascii")


class Intake:
    """The bodies that one process holds at this moment."""

    def __init__(self) -> None:
        """None yet."""
        self._held_bytes = 0
        self._held_by: Counter[str] = Counter()
        # Reading the worst of bodies takes thirty times its size; and more threads would only contend for the interpreter.
        self.readers = CapacityLimiter(1)

    @asynccontextmanager
    async def body(self, request: Request, subject: str, *, most_bytes: int) -> AsyncIterator[bytes]:
        """The whole body; what is too large or too slow is refused as soon as that is known.

        No caller takes all of the room. Raises BodyTooLarge, LedgerBusy, and TimeoutError, which is answered as BodyTooSlow.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > MAX_LENGTH_DIGITS or int(announced) > most_bytes):
            raise problems.BodyTooLarge(most_bytes=most_bytes)
        held = 0
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(MAX_BODY_S):
                async for chunk in request.stream():
                    held += len(chunk)
                    self._hold(subject, len(chunk))
                    self._refuse(subject, held, most_bytes)
                    chunks.append(chunk)
            yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            self._hold(subject, -held)

    def _hold(self, subject: str, size: int) -> None:
        self._held_bytes += size
        self._held_by[subject] += size
        if not self._held_by[subject]:
            del self._held_by[subject]

    def _refuse(self, subject: str, size: int, most_bytes: int) -> None:
        if size > most_bytes:
            raise problems.BodyTooLarge(most_bytes=most_bytes)
        if self._held_bytes > MAX_HELD_BYTES or self._held_by[subject] > MAX_HELD_BYTES_OF_ONE:
            raise problems.LedgerBusy


def media_type_of(request: Request, *taken: str) -> str:
    """Which of the media types that are taken here the body has. Raises UnsupportedMediaType."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    media_type, charset = _content_type(request.headers.get("content-type", ""))
    if media_type not in taken or charset not in CHARSETS or encoding != "identity":
        raise problems.UnsupportedMediaType
    return media_type


@lru_cache(maxsize=64)
def _content_type(header: str) -> tuple[str, str]:
    """Media type and character set, which is UTF-8 where the header names none."""
    message = Message()
    message["Content-Type"] = header
    return message.get_content_type(), message.get_content_charset("utf-8")
