"""The way of a command past the framework: the one route that is called thousands of times a second.

The route stands in the application like every other, with its documentation, policy and problems, and this calls the very
same functions; it leaves out only the framework's own way to them, which was more than half of a request's time.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ledger.api import handling
from ledger.api.policy import Allowed
from ledger.api.tokens import Caller

Endpoint = Callable[[Request, Caller], Awaitable[Response]]


class Shortcut:
    """Answers one method of one path itself, and passes everything else on."""

    def __init__(self, app: ASGIApp, *, method: str, path: str, allowed: Allowed, endpoint: Endpoint) -> None:
        """Wrap the app; the endpoint is called with the request and its caller."""
        self._app = app
        self._method = method
        self._path = path
        self._allowed = allowed
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Verify, call and answer; every error is a problem."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != self._method:
            await self._app(scope, receive, send)
            return
        scope["route"] = self
        request = Request(scope, receive)
        try:
            response = await self._endpoint(request, await self._allowed(request))
        except Exception as error:  # noqa: BLE001 - as the framework does: whatever it is, it is answered and logged
            response = await handling.handle(request, error)
        await response(scope, receive, send)

    @property
    def path(self) -> str:
        """The path of the route that this stands for, by which it is counted."""
        return self._path
