"""Who may call which route: nobody, unless the route says so.

1. Every route declares either the scopes of which a caller needs one, or that it is public and why; an app with a route
   that declares neither does not start.
2. A token comes in the one Authorization header of a request, and never in the address, where logs would keep it.
"""

import time
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.params import Depends
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.security.base import SecurityBase

from ledger.api.problems import ScopeMissing, TokenExpired, TokenInvalid, TokenMissing
from ledger.api.tokens import Caller, Scope, Verifier

SCHEME_NAME = "bearer"
# What a route with a policy may answer because of it.
PROBLEMS = (TokenMissing, TokenInvalid, TokenExpired, ScopeMissing)
SCHEME = HTTPBearer(
    bearerFormat="JWT",
    description="A short-lived JWT (RFC 9068) for this service alone. Its scopes:\n\n"
    + "\n".join(f"- `{scope}`: {scope.meaning}" for scope in Scope),
)


class RouteUndeclared(RuntimeError):
    """A route says neither who may call it nor that it is public; give it `policy.allow` or `policy.public`."""


class Allowed(SecurityBase):
    """A dependency that gives the Caller, who must have one of the scopes; `request.state.caller` from then on."""

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        """Take the scopes of which one is needed."""
        self.scopes = scopes
        self.model = SCHEME
        self.scheme_name = SCHEME_NAME

    async def __call__(self, request: Request) -> Caller:
        """Verify the request's token. Raises TokenMissing, TokenInvalid, TokenExpired, ScopeMissing."""
        verifier: Verifier = request.app.state.verifier
        caller = verifier.verify(_token(request), time.time())
        if caller.scopes.isdisjoint(self.scopes):
            raise ScopeMissing(self.scopes)
        request.state.caller = caller
        return caller


class Public:
    """A dependency that asks for nothing, and says why."""

    def __init__(self, reason: str) -> None:
        """Keep the reason for the reader."""
        self.reason = reason

    async def __call__(self) -> None:
        """Let everybody in."""


def allow(*scopes: Scope) -> Depends:
    """For a route that callers with one of these scopes may call, as in `caller: Annotated[Caller, policy.allow(...)]`."""
    assert scopes, "a route that nobody may call is no route"
    return Depends(Allowed(scopes))


def public(reason: str) -> Depends:
    """For a route that everybody may call, as in `dependencies=[policy.public("why")]`."""
    return Depends(Public(reason))


def declare_public(app: FastAPI, path: str, reason: str) -> None:
    """For what takes no dependencies: mounts, and routes that the framework makes itself."""
    _public_paths(app)[path] = reason


def enforce(app: FastAPI, verifier: Verifier) -> None:
    """Verify tokens so from now on. Called when the app has all its routes; raises RouteUndeclared."""
    if routes := undeclared(app):
        raise RouteUndeclared(f"{', '.join(routes)}: {RouteUndeclared.__doc__}")
    app.state.verifier = verifier
    describe = app.openapi
    app.openapi = lambda: _with_scopes(app, describe())  # type: ignore[method-assign]  # FastAPI's own way to extend it


def undeclared(app: FastAPI) -> list[str]:
    """Every route that declares neither scopes nor that it is public, as methods and path."""
    return [
        " ".join([*sorted(getattr(route, "methods", None) or ()), route.path or "/"])
        for route in iter_route_contexts(app.routes)
        if not any(isinstance(call, Allowed) for call in dependencies_of(route)) and not is_public(app, route)
    ]


def is_public(app: FastAPI, route: RouteContext) -> bool:
    """Whether a route declares that everybody may call it."""
    return route.path in _public_paths(app) or any(isinstance(call, Public) for call in dependencies_of(route))


def dependencies_of(route: RouteContext) -> Iterator[object]:
    """What a route's dependencies call, at every depth; mounts and plain routes have none."""
    dependant = getattr(route, "dependant", None)
    waiting = [] if dependant is None else list(dependant.dependencies)
    while waiting:
        each = waiting.pop()
        waiting += each.dependencies
        yield each.call


def _public_paths(app: FastAPI) -> dict[str, str]:
    paths: dict[str, str] | None = getattr(app.state, "public_paths", None)
    if paths is None:
        paths = app.state.public_paths = {}
    return paths


def _token(request: Request) -> str:
    if b"access_token=" in request.scope["query_string"]:
        raise TokenInvalid("A token must not stand in the address; consider it stolen.")
    found = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not found:
        raise TokenMissing
    if len(found) > 1:
        raise TokenInvalid("The request has more than one Authorization header.")
    scheme, _, token = found[0].partition(b" ")
    if scheme.lower() != b"bearer":
        raise TokenMissing
    return str(token.lstrip(b" "), "latin-1")


def _with_scopes(app: FastAPI, document: dict[str, Any]) -> dict[str, Any]:
    """Say with each operation that one of its scopes is enough; FastAPI names the scheme alone."""
    for route in iter_route_contexts(app.routes):
        scopes = [scope for call in dependencies_of(route) if isinstance(call, Allowed) for scope in call.scopes]
        operations = document.get("paths", {}).get(route.path_format, {})
        for method in (route.methods or ()) if scopes else ():
            if method.lower() in operations:
                operations[method.lower()]["security"] = [{SCHEME_NAME: [scope.value]} for scope in scopes]
    return document
