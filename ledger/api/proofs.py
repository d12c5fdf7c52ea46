"""Proofs for everybody: checkpoints, inclusion and consistency, and the tree as static tiles (C2SP tlog-tiles).

1. What everybody may read is made of hashes and signatures. What lies under the hashes names accounts, and is for auditors.
2. What is asked for by its size never changes, and says so to caches; only the last checkpoint does.
3. A tile's place has one spelling: by another one it is not served.
4. Nothing is handed out that does not fit the checkpoint; what is not sealed yet is not there yet.
"""

from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ledger import seals
from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON
from ledger.api.documents import described
from ledger.api.examples import CHECKPOINT, CONSISTENCY, INCLUSION
from ledger.api.parameters import DIGITS_ALONE, MAX_POSITION, Position, takes
from ledger.api.problems import responses
from ledger.api.tokens import Scope
from ledger.domain.leaves import Leaves
from ledger.domain.notes import KeyMalformed, VerifierKey, base64_lines
from ledger.domain.tree import TILE_WIDTH

PREFIX = "/v1/log"
FOR_EVER = "public, max-age=31536000, immutable"
PRIVATE_FOR_EVER = "private, max-age=31536000, immutable"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
# A tile's place in three digits a step, all but the last with an x before them, none of zeros in front, and how much of the
# tile is asked for, if not all: x001/x234/067.p/17 is the first 17 hashes of the tile 1,234,067.
STEP = 1_000
WIDTH = "([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
PLACE = rf"^(x(00[1-9]|0[1-9][0-9]|[1-9][0-9]{{2}})/(x[0-9]{{3}}/){{0,3}})?[0-9]{{3}}(\.p/{WIDTH})?$"
MAX_PLACE_CHARACTERS = 40
MAX_LEVEL = 7
ENTRY_LENGTH_BYTES = 2
DATA_LENGTH_BYTES = 4
MAX_KEY_CHARACTERS = 1_000
WARNING = "Compare these keys with ones that you got in another way: who can change what is answered here, can change them too."

router = APIRouter(tags=["proofs"])
public = [policy.public("hashes and signatures, nothing about anybody"), takes()]
for_callers = [policy.allow(*Scope), accesses.unrecorded("hashes and signatures, nothing about anybody")]
for_auditors = [policy.allow(Scope.AUDITOR), accesses.purposeful(), takes()]
PROBLEMS = (problems.WrongParameter, problems.NotSealed, problems.SealsBroken, problems.LedgerUnavailable)

At = Annotated[int, Path(ge=1, le=MAX_POSITION, examples=[3]), DIGITS_ALONE]
Level = Annotated[int, Path(ge=0, le=MAX_LEVEL, examples=[0]), DIGITS_ALONE]
Place = Annotated[str, Path(pattern=PLACE, max_length=MAX_PLACE_CHARACTERS, examples=["x001/234.p/17"])]


class ProofQuestion(BaseModel):
    """Under which checkpoint."""

    model_config = ConfigDict(extra="forbid")

    size: Position | None = Field(
        default=None, description="The size of a checkpoint; the last one, if absent.", examples=[3]
    )


class Keys(BaseModel):
    """The verifier keys (C2SP signed-note) of receipts and of checkpoints; the latter is null where this service lacks it."""

    origin: str
    receipts: str
    notary: str | None
    warning: str


def _text(description: str, example: str) -> dict[int | str, dict[str, object]]:
    content = {"text/plain": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": description, "content": content}}


def _bytes(description: str) -> dict[int | str, dict[str, object]]:
    content = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": description, "content": content}}


@router.get(
    PREFIX + "/checkpoint",
    summary="Read the last checkpoint",
    response_class=Response,
    dependencies=public,
    responses={**_text("The signed note.", CHECKPOINT), **responses(*PROBLEMS)},
)
def checkpoint(request: Request) -> Response:
    """The signed note (C2SP tlog-checkpoint): origin, size and root of the tree."""
    with request.app.state.database.connection() as connection:
        sealed = seals.last_sealed(connection)
    return Response(sealed.note, media_type=TEXT, headers={"Cache-Control": "no-cache"})


@router.get(
    PREFIX + "/checkpoint/{size}",
    summary="Read a checkpoint",
    response_class=Response,
    dependencies=public,
    responses={**_text("The signed note.", CHECKPOINT), **responses(*PROBLEMS)},
)
def checkpoint_at(request: Request, size: At) -> Response:
    """The signed note of a size that the notary signed; it does not sign every size."""
    with request.app.state.database.connection() as connection:
        sealed = seals.sealed_at(connection, size)
    return Response(sealed.note, media_type=TEXT, headers={"Cache-Control": FOR_EVER})


@router.get(
    PREFIX + "/keys",
    summary="Read the verifier keys",
    response_class=Response,
    dependencies=public,
    responses={**described(Keys), **responses(problems.WrongParameter)},
)
def keys(request: Request) -> Response:
    """What checks the signatures of receipts and checkpoints. A key that you have from here alone proves little."""
    found = Keys(
        origin=request.app.state.receipts.origin,
        receipts=request.app.state.receipts.verifier,
        notary=_notary_key(request.app.state.notary_key),
        warning=WARNING,
    )
    return Response(to_json(found), media_type=JSON, headers={"Cache-Control": "no-cache"})


def _notary_key(path: FilePath | None) -> str | None:
    """As its file holds it now: the notary makes it at its first start, which may be later, or on another machine."""
    try:
        if path is None:
            return None
        with path.open(encoding="utf-8") as file:
            return str(VerifierKey.parse(file.read(MAX_KEY_CHARACTERS)))
    except (OSError, UnicodeDecodeError, KeyMalformed):
        return None


@router.get(
    "/v1/proofs/{position}",
    summary="Prove a fact",
    response_class=Response,
    dependencies=[*for_callers, takes(ProofQuestion)],
    responses={**_text("The proof.", INCLUSION), **responses(*policy.PROBLEMS, *PROBLEMS)},
)
def inclusion(request: Request, position: At, asked: Annotated[ProofQuestion, Query()]) -> Response:
    """That the fact at a position stands under a signed checkpoint (C2SP tlog-proof), to be checked without this service.

    Held against the leaf hash of a receipt, it shows that what was promised was kept. A receipt for which there is no proof
    after a minute shows the contrary.
    """
    with request.app.state.database.connection() as connection:
        proof = seals.inclusion(connection, position, size=asked.size)
    kept = "private, no-cache" if asked.size is None else PRIVATE_FOR_EVER
    return Response(proof.text(), media_type=TEXT, headers={"Cache-Control": kept})


@router.get(
    "/v1/consistency/{old}/{new}",
    summary="Prove that history was extended",
    response_class=Response,
    dependencies=[*for_callers, takes()],
    responses={**_text("The proof.", CONSISTENCY), **responses(*policy.PROBLEMS, *PROBLEMS)},
)
def consistency(request: Request, old: At, new: At) -> Response:
    """That the checkpoint of the new size extends that of the old: base64 lines in the order of RFC 6962, section 2.1.2."""
    if old > new:
        raise problems.WrongParameter(
            [{"type": "order", "loc": ("old",), "msg": "The old size lies above the new one"}]
        )
    with request.app.state.database.connection() as connection:
        hashes = seals.consistency(connection, old, new)
    return Response(base64_lines(hashes), media_type=TEXT, headers={"Cache-Control": PRIVATE_FOR_EVER})


@router.get(
    PREFIX + "/tile/entries/{place:path}",
    summary="Read the leaves under a tile",
    response_class=Response,
    dependencies=for_auditors,
    responses={
        **_bytes("The leaf texts, each after its length in two bytes, big-endian."),
        **responses(*policy.PROBLEMS, *accesses.PROBLEMS, *PROBLEMS),
    },
)
@accesses.recorded("entries")
def entries(request: Request, place: Place) -> Response:
    """The leaf texts of up to 256 facts (C2SP tlog-tiles), of which the hashes in the tile are made."""
    return _bundle(_leaves(request, place).texts, ENTRY_LENGTH_BYTES)


@router.get(
    PREFIX + "/tile/data/{place:path}",
    summary="Read the data under a tile",
    response_class=Response,
    dependencies=for_auditors,
    responses={
        **_bytes("The stored data, each after its length in four bytes, big-endian."),
        **responses(*policy.PROBLEMS, *accesses.PROBLEMS, *PROBLEMS),
    },
)
@accesses.recorded("entries_data")
def data(request: Request, place: Place) -> Response:
    """The data of up to 256 facts, byte for byte as it is stored; the SHA-256 of each is the last line of its leaf text."""
    return _bundle(_leaves(request, place).datas, DATA_LENGTH_BYTES)


@router.get(
    PREFIX + "/tile/{level}/{place:path}",
    summary="Read a tile",
    response_class=Response,
    dependencies=public,
    responses={**_bytes("Hashes of 32 bytes, one after the other."), **responses(*PROBLEMS)},
)
def tile(request: Request, level: Level, place: Place) -> Response:
    """256 hashes of a level, or the first of them (C2SP tlog-tiles): `0/x001/234.p/17`."""
    index, width = _index_and_width(place)
    with request.app.state.database.connection() as connection:
        hashes = seals.tile_hashes(connection, level, index, width)
    return Response(b"".join(hashes), media_type=BYTES, headers={"Cache-Control": FOR_EVER})


def _leaves(request: Request, place: str) -> Leaves:
    index, width = _index_and_width(place)
    first = index * TILE_WIDTH
    accesses.name_subject(request, f"{first + 1}-{first + width}")
    with request.app.state.database.connection() as connection:
        return seals.entries(connection, index, width)


def _bundle(items: Iterable[bytes], length_bytes: int) -> Response:
    body = b"".join(len(item).to_bytes(length_bytes, "big") + item for item in items)
    return Response(body, media_type=BYTES, headers={"Cache-Control": PRIVATE_FOR_EVER})


def _index_and_width(place: str) -> tuple[int, int]:
    steps, _, width = place.partition(".p/")
    index = 0
    for step in steps.split("/"):
        index = index * STEP + int(step.removeprefix("x"))
    return index, int(width or TILE_WIDTH)
