"""Proofs for everybody: checkpoints, inclusion and consistency, and the tree as static tiles (C2SP tlog-tiles).

1. What is served here is made of hashes and signatures; the entries behind them, which name accounts, are for auditors.
2. What is asked for by its size never changes, and says so to caches; only the last checkpoint does.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ledger import seals
from ledger.api import accesses, policy, problems
from ledger.api.parameters import MAX_POSITION, Position, takes
from ledger.api.problems import responses
from ledger.api.tokens import Scope
from ledger.database import Database
from ledger.domain.notes import base64_lines
from ledger.domain.tree import TILE_WIDTH, ProofInvalid
from ledger.leaves import read_leaves

PREFIX = "/v1/log"
FOR_EVER = "public, max-age=31536000, immutable"
PRIVATE_FOR_EVER = "private, max-age=31536000, immutable"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
# A tile's place in three digits a step, all but the last with an x before them: 1234067 is x001/x234/067.
INDEX = r"(x[0-9]{3}/){0,4}[0-9]{3}"
STEP = 1_000
MAX_LEVEL = 7

router = APIRouter(tags=["proofs"])
public = [
    policy.public("hashes and signatures, nothing about anybody"),
    accesses.unrecorded("nothing about anybody"),
    takes(),
]
for_callers = [policy.allow(*Scope), accesses.unrecorded("hashes and signatures, nothing about anybody")]
PROOF_PROBLEMS = (problems.NotSealed, problems.SealsBroken, problems.LedgerUnavailable)

At = Annotated[int, Path(ge=1, le=MAX_POSITION)]


class ProofQuestion(BaseModel):
    """Under which checkpoint."""

    model_config = ConfigDict(extra="forbid")

    size: Position | None = Field(
        default=None, description="The size of a checkpoint; the last one, if absent.", examples=[3]
    )


def _text(example: str) -> dict[int | str, dict[str, object]]:
    return {
        200: {"description": "As text.", "content": {"text/plain": {"schema": {"type": "string"}, "example": example}}}
    }


NOTE = (
    "pension-ledger.example/development\n3\ngdXrLvbeL4SU6150GqFkICx80dEzQG/wcSzpSsThk7M=\n\n"
    "— pension-ledger.example/development 4upXgeYf9JEs1Kmn+WnrZDmaoh1D8ov5ljR8pFzzSil5HV2RTuUGWo6doTDG9ENeBUDm+OcShH9tDewd+hoxrk9fdAM=\n"
)


@router.get(
    PREFIX + "/checkpoint",
    summary="Read the last checkpoint",
    response_class=Response,
    dependencies=public,
    responses={**_text(NOTE), **responses(*PROOF_PROBLEMS, problems.WrongParameter)},
)
def checkpoint(request: Request) -> Response:
    """The signed note (C2SP tlog-checkpoint): origin, size and root of the tree."""
    database: Database = request.app.state.database
    with database.connection() as connection:
        sealed = seals.latest(connection)
    if sealed is None:
        raise problems.NotSealed
    return Response(sealed.note, media_type=TEXT, headers={"Cache-Control": "no-cache"})


@router.get(
    PREFIX + "/checkpoint/{size}",
    summary="Read a checkpoint",
    response_class=Response,
    dependencies=public,
    responses={**_text(NOTE), **responses(*PROOF_PROBLEMS, problems.WrongParameter)},
)
def checkpoint_at(request: Request, size: At) -> Response:
    """The signed note of a size that the notary signed."""
    database: Database = request.app.state.database
    with database.connection() as connection:
        sealed = seals.sealed_at(connection, size)
    return Response(sealed.note, media_type=TEXT, headers={"Cache-Control": FOR_EVER})


@router.get(
    "/v1/proofs/{position}",
    summary="Prove a fact",
    response_class=Response,
    dependencies=[*for_callers, takes(ProofQuestion)],
    responses={
        **_text(f"c2sp.org/tlog-proof@v1\nindex 1\n8pfVXKbO/w9iRV2vOjLMr+/z9yBknLKOV6GFY0EyasI=\n\n{NOTE}"),
        **responses(*PROOF_PROBLEMS, *policy.PROBLEMS, problems.WrongParameter),
    },
)
def inclusion(request: Request, position: At, asked: Annotated[ProofQuestion, Query()]) -> Response:
    """That the fact at a position stands under a signed checkpoint (C2SP tlog-proof), to be checked without this service.

    Held against the leaf of a receipt, it shows that what was promised is kept.
    """
    database: Database = request.app.state.database
    with database.connection() as connection:
        proof = seals.inclusion(connection, position, size=asked.size)
    kept = "private, no-cache" if asked.size is None else PRIVATE_FOR_EVER
    return Response(proof.text(), media_type=TEXT, headers={"Cache-Control": kept})


@router.get(
    "/v1/consistency/{old}/{new}",
    summary="Prove that history was extended",
    response_class=Response,
    dependencies=[*for_callers, takes()],
    responses={
        **_text("/NGvf9O6yZrpHYwS17EuxbNO6zejzUI/bRcErj4GT14=\n"),
        **responses(*PROOF_PROBLEMS, *policy.PROBLEMS, problems.WrongParameter),
    },
)
def consistency(request: Request, old: At, new: At) -> Response:
    """That the checkpoint of the new size extends that of the old: base64 lines in the order of RFC 6962, section 2.1.2."""
    if old > new:
        raise problems.WrongParameter(
            [{"type": "order", "loc": ("old",), "msg": "The old size lies above the new one"}]
        )
    database: Database = request.app.state.database
    with database.connection() as connection:
        hashes = seals.consistency(connection, old, new)
    return Response(base64_lines(hashes), media_type=TEXT, headers={"Cache-Control": PRIVATE_FOR_EVER})


Level = Annotated[int, Path(ge=0, le=MAX_LEVEL)]
Index = Annotated[str, Path(pattern=f"^{INDEX}$", max_length=32)]
IndexAndWidth = Annotated[str, Path(pattern=rf"^{INDEX}(\.p/[1-9][0-9]{{0,2}})?$", max_length=40)]
BINARY: dict[int | str, dict[str, object]] = {
    200: {"description": "As bytes.", "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    PREFIX + "/tile/entries/{place:path}",
    summary="Read the entries of a tile",
    response_class=Response,
    dependencies=[policy.allow(Scope.AUDITOR), accesses.purposeful(), takes()],
    responses={**BINARY, **responses(*PROOF_PROBLEMS, *policy.PROBLEMS, *accesses.PROBLEMS, problems.WrongParameter)},
)
@accesses.recorded("entries")
def entries(request: Request, place: IndexAndWidth) -> Response:
    """The leaf texts, each with its length in two bytes before it (C2SP tlog-tiles). They name accounts, not people."""
    index, width = _place(place)
    accesses.name_subject(request, f"{index * TILE_WIDTH + 1}-{index * TILE_WIDTH + width}")
    database: Database = request.app.state.database
    with database.connection() as connection:
        seals.tile_hashes(connection, 0, index, width)
        leaves = read_leaves(connection, after=index * TILE_WIDTH, until=index * TILE_WIDTH + width, keep=True)
    assert leaves is not None, "what is sealed is there"
    body = b"".join(len(text).to_bytes(2, "big") + text for text in leaves.texts)
    return Response(body, media_type=BYTES, headers={"Cache-Control": PRIVATE_FOR_EVER})


@router.get(
    PREFIX + "/tile/{level}/{place:path}",
    summary="Read a tile",
    response_class=Response,
    dependencies=public,
    responses={**BINARY, **responses(*PROOF_PROBLEMS, problems.WrongParameter)},
)
def tile(request: Request, level: Level, place: IndexAndWidth) -> Response:
    """256 hashes of a level, or the first of them (C2SP tlog-tiles): `/tile/0/x001/234.p/17`."""
    index, width = _place(place)
    database: Database = request.app.state.database
    with database.connection() as connection:
        hashes = seals.tile_hashes(connection, level, index, width)
    return Response(b"".join(hashes), media_type=BYTES, headers={"Cache-Control": FOR_EVER})


def _place(place: str) -> tuple[int, int]:
    """Index and width of a tile. Raises NotSealed for a width that no tile has."""
    steps, partial, width = place.partition(".p/")
    index = 0
    for step in steps.split("/"):
        index = index * STEP + int(step.removeprefix("x"))
    found = int(width) if partial else TILE_WIDTH
    if partial and found >= TILE_WIDTH:
        raise problems.NotSealed
    return index, found
