"""The HTTP API as one application: commands in, readings out, and nothing that does not say who may call it and is recorded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from ledger.api import (
    accesses,
    auditing,
    bodies,
    commands,
    documents,
    handling,
    operations,
    planning,
    policy,
    proofs,
    readings,
)
from ledger.api.shortcut import Shortcut
from ledger.api.tokens import Verifier
from ledger.batching import GroupCommit, LoopPosts
from ledger.database import Database
from ledger.receipts import Receipts

TITLE = "Pension account ledger"


def create_app(  # noqa: PLR0913 - what a service is made of
    database: Database,
    group: GroupCommit,
    verifier: Verifier,
    receipts: Receipts,
    *,
    notary_key: Path | None,
    version: str,
) -> FastAPI:
    """The application over an open database; commands are posted by the group, tokens verified by the verifier.

    What is accepted gets a receipt of `receipts`; `notary_key` is the file with the notary's verifier key, where there is one.
    Raises RouteUndeclared, AccessUndeclared.
    """

    @asynccontextmanager
    async def posts_on_this_loop(app: FastAPI) -> AsyncIterator[None]:
        app.state.posts = LoopPosts(group)
        app.state.intake = bodies.Intake()
        yield

    app = FastAPI(
        title=TITLE,
        version=version,
        description=documents.DESCRIPTION,
        lifespan=posts_on_this_loop,
        # The pages and the document are our own routes, which need no network and declare that they are public.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.database = database
    app.state.receipts = receipts
    app.state.notary_key = notary_key
    for router in (commands.router, readings.router, planning.router, proofs.router, auditing.router):
        app.include_router(router)
    app.add_middleware(
        Shortcut,
        method="POST",
        path=commands.PATH,
        allowed=policy.Allowed(commands.POSTERS),
        endpoint=commands.post_commands,
    )
    operations.install(app, database)
    handling.install(app)
    documents.install(
        app, commands.Accepted, commands.NotAccepted, commands.AcceptedAlone, commands.Outcomes, *planning.QUESTIONS
    )
    policy.enforce(app, verifier)
    accesses.enforce(app)
    return app
