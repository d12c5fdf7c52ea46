"""What the OpenAPI document says beyond the routes: the commands' schemas and examples, and pages that need no network."""

import inspect
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from starlette.staticfiles import StaticFiles

from ledger.api import planning_examples, policy
from ledger.api.answers import JSON, NDJSON
from ledger.api.examples import CONTRIBUTION, EXAMPLES, OPENING, REGISTRATION
from ledger.application import MAX_COMMANDS
from ledger.schemas import command_definitions

REF = "#/components/schemas/{model}"
ASSETS = "/docs/assets"
FILES = StaticFiles(packages=[("fastapi_offline", "static")])
DESCRIPTION = f"""
Internal systems post account changes here, and read accounts, statements, people and unified balance sheets.

- **Amounts** are integer fen (1 yuan = 100 fen).
- **Positions** number the facts of the ledger from 1, without a gap. A receipt names those of its command; a reading asked
  for with `seen` holds what was recorded there.
- **Two time axes**: `as_of` is a business date, `known_at` a position. A reading says its own `known_at`: asked for by it,
  it is the same for ever.
- **Receipts** are signed notes: each promises a leaf hash at a position. Within a minute `/v1/proofs/{{position}}` proves that it
  was kept, under a checkpoint that the notary signed; both are checked offline, with keys that you got in another way. A
  receipt without a proof shows that something accepted was not kept.
- **Command ids** are idempotency keys. They begin with the poster's source system and a slash or colon.
- **Errors** are problem documents (RFC 9457); [/problems](/problems) lists them.
- **Lists** hold up to {MAX_COMMANDS:,} commands.
"""

router = APIRouter(tags=["documentation"])
open_to_all = [policy.public("documentation says nothing about anybody")]

CONDITIONAL: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "ETags that the caller has: where one of them still holds, the answer is 304.",
            "schema": {"type": "string"},
        }
    ]
}
ETAG = {
    "ETag": {
        "description": "Strong where `known_at` or `cursor` fix the answer for ever; weak for an answer of now.",
        "required": True,
        "schema": {"type": "string", "pattern": '^(W/)?"[0-9a-f]{32}"$'},
    }
}


def shown(model: type[BaseModel], *, ndjson: bool = False) -> dict[int | str, dict[str, Any]]:
    """What FastAPI takes as the `responses` of a reading: schema, example and ETag, and that there may be nothing new."""
    found = described(model)
    found[200]["headers"] = ETAG
    if ndjson:
        found[200]["content"][NDJSON] = {
            "schema": {"type": "string", "description": "A line of JSON for each, where the request accepts this."}
        }
    return {**found, 304: {"description": "The caller has it already.", "headers": ETAG}}


def described(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What FastAPI takes as the `responses` of a route that answers with a model: its schema and docstring.

    The example follows later: FastAPI would leave out what is null in it.
    """
    description = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    return {200: {"model": model, "description": description, "content": {JSON: {}}}}


def body_of_commands() -> dict[str, Any]:
    """The request body of the route that takes commands."""
    one = {"$ref": "#/components/schemas/Command"}
    many = {"type": "array", "items": one, "maxItems": MAX_COMMANDS}
    return {
        "required": True,
        "content": {
            JSON: {
                "schema": {"anyOf": [one, many]},
                "examples": {
                    "one": {"summary": "One command", "value": CONTRIBUTION},
                    "list": {"summary": "A list", "value": [REGISTRATION, OPENING, CONTRIBUTION]},
                },
            },
            NDJSON: {
                "schema": {"type": "string", "description": "A command on each line."},
                "example": "\n".join(to_json(command).decode() for command in (REGISTRATION, OPENING, CONTRIBUTION)),
            },
        },
    }


def install(app: FastAPI, *models: type[BaseModel]) -> None:
    """Describe the commands, and these models, in the app's OpenAPI document; serve pages that show it without a network."""
    app.include_router(router)
    describe = app.openapi
    app.openapi = lambda: _with_schemas(describe(), models)  # type: ignore[method-assign]  # FastAPI's way to extend it


def _with_schemas(document: dict[str, Any], models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    if "Command" not in schemas:
        schemas.update(command_definitions(REF))
        _, further = models_json_schema([(model, "serialization") for model in models], ref_template=REF)
        schemas.update(further["$defs"])
        _show_examples(document)
    return document


def _show_examples(document: dict[str, Any]) -> None:
    examples = EXAMPLES | planning_examples.answers()
    for path in document["paths"].values():
        for operation in path.values():
            shown_as_json = operation["responses"]["200"]["content"].get(JSON, {})
            model = shown_as_json.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if model in examples:
                shown_as_json["example"] = examples[model]


@router.get(f"{ASSETS}/{{name}}", include_in_schema=False, dependencies=open_to_all)
async def asset(request: Request, name: str) -> Response:
    """The scripts and styles of the pages, out of an installed package."""
    response = await FILES.get_response(name, request.scope)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@router.get("/openapi.json", include_in_schema=False, dependencies=open_to_all)
def openapi(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return Response(to_json(request.app.openapi()), media_type="application/json")


@router.get("/docs", include_in_schema=False, dependencies=open_to_all)
def swagger() -> HTMLResponse:
    """The document as a page to try things out on."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Pension account ledger",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


@router.get("/redoc", include_in_schema=False, dependencies=open_to_all)
def redoc() -> HTMLResponse:
    """The document as a page to read."""
    return get_redoc_html(
        openapi_url="/openapi.json",
        title="Pension account ledger",
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{ASSETS}/favicon.png",
        with_google_fonts=False,
    )
