"""The doorway that every request passes, whatever answers it: counted, safe to cache and to show, HEAD as GET.

1. A request is counted by the route that answered it, and never by what the caller put into the address.
2. An answer that does not say otherwise is not kept by anybody, and is taken for nothing but its media type.
3. HEAD is answered as GET would be, without the body (RFC 9110, 9.3.2).
"""

import time
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.problems import InternalError

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "unknown"


class Observer(Protocol):
    """Who counts."""

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        ...


class Doorway:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        """Wrap the app."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and see what is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = InternalError.status
        method = scope["method"]
        asked = {**scope, "method": "GET"} if method == "HEAD" else scope

        async def see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(asked, receive, see)
        finally:
            route = getattr(asked.get("route"), "path", NO_ROUTE)
            label = method if method in METHODS else "other"
            self._observer.observe(method=label, route=route, status=status, seconds=time.perf_counter() - start)
