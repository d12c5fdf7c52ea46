"""How a program that works by itself is watched: is it alive, is it ready and why not, and its numbers for Prometheus.

1. `/health` says whether the work goes on, not whether anything can be reached: restarting helps the first, and not the second.
2. `/ready` tells every reason why it is not.
3. Who asks cannot hold up the work: so many are answered at once, each for so long, and others are turned away.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ledger.listening import base_url, listen

log = structlog.get_logger("ledger.watching")

# Longer than anything that a turn of the work may wait for, of which the database's own time-outs are the longest.
STUCK_AFTER_S = 600.0
MAX_AT_ONCE = 16
ANSWER_WAIT_S = 5.0
POLL_S = 0.1
TEXT_JSON = "application/json"


class Turns:
    """When the work last went round. Whoever works says `turned`; whoever watches asks."""

    def __init__(self) -> None:
        """It has just begun."""
        self._turned_s = time.monotonic()

    def turned(self) -> None:
        self._turned_s = time.monotonic()

    def still_s(self) -> float:
        """For how long it has not."""
        return time.monotonic() - self._turned_s


class Watched(NamedTuple):
    """What is asked of the work, from other threads: for how long it has not gone round, why it is not ready, its numbers."""

    still_s: Callable[[], float]
    problems: Callable[[], list[str]]
    registry: CollectorRegistry


@contextmanager
def watching(host: str, port: int, watched: Watched, *, stuck_after_s: float = STUCK_AFTER_S) -> Iterator[str]:
    """Answer meanwhile, on threads of its own; gives the base URL. Port 0 takes a free one. Raises AddressTaken."""
    with listen(host, port) as listening, _Server(listening, watched, stuck_after_s) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="ledger-watching", daemon=True)
        thread.start()
        try:
            yield base_url(host, listening)
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingTCPServer):
    """Serves at a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, watched: Watched, stuck_after_s: float) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.watched = watched
        self.stuck_after_s = stuck_after_s
        self._room = threading.BoundedSemaphore(MAX_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Whoever asked may ask again; the work goes on."""
        log.warning("a question could not be answered", exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """One question, and its connection ends."""

    server: _Server
    timeout = ANSWER_WAIT_S
    server_version = "ledger"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/health":
                self._answer_json(*self._health())
            case "/ready":
                self._answer_json(*self._ready())
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.server.watched.registry))
            case _:
                self._answer_json(HTTPStatus.NOT_FOUND, {"status": "ask for /health, /ready or /metrics"})

    do_HEAD = do_GET  # noqa: N815 - named by the library

    def _health(self) -> tuple[HTTPStatus, dict[str, Any]]:
        still_s = self.server.watched.still_s()
        if still_s <= self.server.stuck_after_s:
            return HTTPStatus.OK, {"status": "alive"}
        return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", "still_s": round(still_s, 1)}

    def _ready(self) -> tuple[HTTPStatus, dict[str, Any]]:
        if reasons := self.server.watched.problems():
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reasons": reasons}
        return HTTPStatus.OK, {"status": "ready"}

    def _answer_json(self, status: HTTPStatus, payload: dict[str, Any]) -> None:
        self._answer(status, TEXT_JSON, json.dumps(payload, ensure_ascii=False).encode())

    def _answer(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes come every few seconds, and are no news."""
