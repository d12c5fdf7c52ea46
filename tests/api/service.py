"""The API as it is served, in this process: the whole app over a real database, with its tokens and its projector.

One event loop serves all requests of a service, as it does in production: what the app makes on starting belongs to it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from ledger.api.app import create_app
from ledger.api.tokens import DevelopmentKey, Scope, Verifier, mint
from ledger.application import Ledger
from ledger.batching import GroupCommit
from ledger.domain.notes import SigningKey
from ledger.projector import Projector
from ledger.receipts import KEY_NAME, Receipts
from ledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from ledger.database import Database
    from ledger.domain.commands import Command

    Run = Callable[[Awaitable[httpx.Response]], httpx.Response]

KEY = DevelopmentKey.generate()
ORIGIN = Settings().origin
RECEIPT_KEY = SigningKey(ORIGIN + KEY_NAME, bytes(range(2, 34)))
ISSUER = "issuer"
AUDIENCE = "pension-ledger"
SOURCE = "ea-core"
SUBJECT = f"system:{SOURCE}"
PURPOSE = "tests"
CHALLENGES = ("token-missing", "token-invalid", "token-expired", "scope-missing")


def verifier() -> Verifier:
    return Verifier(KEY.public_keys(), issuer=ISSUER, audience=AUDIENCE, max_lifetime_s=3600)


def bearer(
    *scopes: Scope,
    source: str | None = SOURCE,
    subject: str = SUBJECT,
    age_s: int = 0,
    purpose: str | None = PURPOSE,
) -> dict[str, str]:
    """The header of a caller with these scopes, whose token was issued so long ago for an hour."""
    token = mint(
        KEY,
        subject=subject,
        scopes=scopes,
        issuer=ISSUER,
        audience=AUDIENCE,
        lifetime_s=3600,
        now_s=time.time() - age_s,
        source=source if Scope.POSTER in scopes else None,
        purpose=purpose,
    )
    return {"Authorization": f"Bearer {token}"}


EVERYTHING = bearer(*Scope)


def own(command: Command) -> dict[str, Any]:
    """The command as the callers of these tests may post it: in the name of their token's subject."""
    written = command.model_dump(mode="json", exclude_none=True)
    return {**written, "actor": SUBJECT, "command_id": f"{SOURCE}/{command.command_id}"}


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The problem document of a response, which must be this one, in every way that all must be."""
    found: dict[str, Any] = response.json()
    assert (response.status_code, found["type"]) == (status, f"/problems/{name}"), found
    assert found["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert ("retry-after" in response.headers) == ("retry_after_s" in found)
    assert "retry_after_s" in found or status != HTTPStatus.SERVICE_UNAVAILABLE
    assert ("www-authenticate" in response.headers) == (name in CHALLENGES)
    return found


class Service:
    """Asks the app, as a caller with every scope unless other headers are given."""

    def __init__(self, app: FastAPI, database: Database, run: Run) -> None:
        """Ask this app, on the loop that `run` runs."""
        self.app = app
        self.database = database
        self._run = run

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        caller: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        given = {**(EVERYTHING if caller is None else caller), **(headers or {})}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
                return await client.request(method, path, headers=given, **options)

        return self._run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, body: object, **options: Any) -> httpx.Response:
        """A command or a list of them, as JSON."""
        return self.request("POST", "/v1/commands", json=body, **options)

    def post_bytes(self, body: Any, content_type: str = "application/json", **options: Any) -> httpx.Response:
        headers = {"Content-Type": content_type, **options.pop("headers", {})}
        return self.request("POST", "/v1/commands", content=body, headers=headers, **options)

    def project(self) -> None:
        """Let the projections take what was posted."""
        Projector(self.database).catch_up()


def application(database: Database, group: GroupCommit, *, notary_key: Path | None = None) -> FastAPI:
    """The app, with the keys of these tests."""
    receipts = Receipts(RECEIPT_KEY, origin=ORIGIN)
    return create_app(database, group, verifier(), receipts, notary_key=notary_key, version="test")


@contextmanager
def served(database: Database, *, notary_key: Path | None = None) -> Iterator[Service]:
    """The app, started and in the end stopped."""
    with GroupCommit(Ledger(database)) as group, asyncio.Runner() as runner:
        app = application(database, group, notary_key=notary_key)
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            yield Service(app, database, runner.run)  # type: ignore[arg-type]
        finally:
            runner.run(lifespan.__aexit__(None, None, None))
