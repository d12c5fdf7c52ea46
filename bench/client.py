"""A small HTTP client that costs little beside the server it measures: keep-alive connections on one event loop."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import uvloop

END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = b"content-length: "


class Measured(NamedTuple):
    """Requests a second of all clients, and each request's milliseconds, sorted."""

    rate: float
    milliseconds: list[float]

    def percentile(self, share: float) -> float:
        """The time within which this share of the requests was answered."""
        return self.milliseconds[min(len(self.milliseconds) - 1, int(len(self.milliseconds) * share))]


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{content}\r\n"
    return head.encode() + body


def measure(port: int, requests: list[bytes], *, clients: int, expected: int = 200) -> Measured:
    """Send the requests, as soon as the clients get their answers; every answer must have the expected status."""
    return uvloop.run(_measure(port, requests, clients=clients, expected=b"HTTP/1.1 %d " % expected))


async def _measure(port: int, requests: list[bytes], *, clients: int, expected: bytes) -> Measured:
    waiting = iter(requests)
    times: list[float] = []
    start = time.perf_counter()
    await asyncio.gather(*(_client(port, waiting, expected, times.append) for _ in range(clients)))
    return Measured(len(requests) / (time.perf_counter() - start), sorted(times))


async def _client(port: int, waiting: Iterator[bytes], expected: bytes, done: Callable[[float], object]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for sent in waiting:
        start = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(END_OF_HEAD)
        at = head.lower().index(CONTENT_LENGTH) + len(CONTENT_LENGTH)
        body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
        done((time.perf_counter() - start) * 1_000)
        assert head.startswith(expected), head + body
    writer.close()
    await writer.wait_closed()
