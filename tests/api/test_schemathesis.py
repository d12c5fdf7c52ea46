"""Schemathesis over the whole API: whatever is asked, well formed or not, the answer is one that the document describes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pydantic_core import to_json
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.python import asgi

from ledger.api.accesses import HEADER
from ledger.api.tokens import PURPOSE as PURPOSE_PATTERN
from ledger.application import Ledger
from ledger.batching import GroupCommit
from ledger.database import Database
from ledger.notary import seal_now
from ledger.projections import standing
from ledger.projector import Projector
from ledger.settings import Settings
from tests.api.service import EVERYTHING, PURPOSE, SOURCE, SUBJECT, application
from tests.commands import contribute, merge, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from fastapi import FastAPI
    from schemathesis import Case, HookContext, Response, SerializationContext
    from schemathesis.core.failures import Failure
    from schemathesis.schemas import BaseSchema

    from ledger.database import TemporaryServer

EXAMPLES = 15
INTEGER = "should be a valid integer"  # To JSON Schema 1.0 is an integer.
UNSAYABLE = (
    "1990-01-01T00:00:00Z",  # Moments have bounds; a format has none.
    "2200-01-01T00:00:00Z",
    "should be a valid datetime",  # Leap seconds, and offsets of many hours.
    "The old size lies above the new one",
    "ID number",  # Some pseudonyms are none.
    " more",  # Of many errors the rest is counted.
)
KNOWN: dict[str, list[Any]] = {
    "account": ["E1", "E2"],
    "person": ["ea-core:1", "E2", "ea-core:2"],
    "name": ["account-unknown", "not-ready"],
    "position": [1, 7],
    "size": [5, 7],
    "old": [5],
    "new": [5, 7],
    "level": [0],
    "place": ["000.p/5", "000.p/7"],
}
CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {"deterministic": True, "max-examples": EXAMPLES, "no-shrink": True},
        "checks": {
            # Well-formed requests may still be refused for what is recorded; 503 is an answer of its own kind.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "304", "403", "404", "409", "413", "415", "422"],
            },
            # 422: what is wrong twice may be refused for what does not fit together first.
            "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "405", "413", "415", "422"]},
            "missing_required_header": {"expected-statuses": ["401", "415"]},
        },
    }
)


@pytest.fixture(scope="module")
def database(server: TemporaryServer) -> Iterator[Database]:
    """One for all operations: what one of them posts, others read."""
    fresh = server.create_database("schemathesis")
    yield fresh
    fresh.close()
    server.drop_database("schemathesis")


@pytest.fixture(scope="module")
def app(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """An app with two people who were merged; sealed are the facts before that, and all."""
    folder = Settings(data_folder=tmp_path_factory.mktemp("notary"))
    with GroupCommit(Ledger(database)) as group, pytest.MonkeyPatch.context() as patched:
        # Most positions that are asked for will never be recorded.
        patched.setattr(standing, "MAX_WAIT_S", 0.01)
        group.post(
            [
                register("ea-core:1", "ea-core/w/1"),
                register("ea-core:2", "ea-core/w/2"),
                open_account("ea-core:1", "E1", command_id="ea-core/w/3"),
                open_account("ea-core:2", "E2", command_id="ea-core/w/4"),
                contribute("E1", 100, "ea-core/w/5"),
            ]
        )
        seal_now(database, folder)
        group.post(
            [
                contribute("E2", 200, "ea-core/w/6"),
                merge("ea-core:1", "ea-core:2", command_id="ea-core/w/7"),
            ]
        )
        seal_now(database, folder)
        Projector(database).catch_up()
        yield application(database, group)
        asgi.shutdown_lifespans()


@schemathesis.serializer("application/x-ndjson")
def lines(_context: SerializationContext, value: Any) -> bytes:
    """Whatever stands in for lines."""
    return value.encode() if isinstance(value, str) else to_json(value)


def described() -> BaseSchema:
    """What the operations are; they are asked of another app, which has a database."""
    nowhere = Database(url="", admin_url="", embedded=False, settings=Settings())
    with GroupCommit(Ledger(nowhere)) as group:
        unconnected = application(nowhere, group)
        return schemathesis.openapi.from_asgi("/openapi.json", unconnected, config=CONFIG)


def map_case(_context: HookContext, case: Case[Any]) -> Case[Any]:
    """Half of the names that are asked for are known.

    And all purposes that are any are the token's: others are refused before anything else is looked at.
    """
    headers: MutableMapping[str, Any] = case.headers
    if re.fullmatch(PURPOSE_PATTERN, str(headers.get(HEADER, ""))):
        headers[HEADER] = PURPOSE
    for name, value in case.path_parameters.items():
        number = sum(str(value).encode("utf-8", "replace"))
        if number % 2 == 0 and case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE:
            case.path_parameters[name] = KNOWN[name][number // 2 % len(KNOWN[name])]
    return case


def map_body(_context: HookContext, body: Any) -> Any:
    """Commands come in the name of the token's subject, so that they are decided and not only turned away."""
    for command in body if isinstance(body, list) else [body]:
        if isinstance(command, dict) and isinstance(command.get("command_id"), str):
            command["command_id"] = f"{SOURCE}/{command['command_id'][:100]}"
        if isinstance(command, dict) and isinstance(command.get("actor"), str):
            command["actor"] = SUBJECT
        if isinstance(command, dict) and isinstance(command.get("account"), str) and len(command["account"]) % 2:
            command["account"] = "E1"
    return body


def filter_failure(_context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Some requests fit their schemas and are refused all the same, rightly, for what no schema can say."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    found = response.json()
    if found["type"] == "/problems/cursor-invalid":
        return False  # A cursor is one that was given out.
    if case.media_type == "application/x-ndjson":
        return False  # To a schema lines are any text.
    if any(INTEGER in error["reason"] for error in found.get("errors", ())):
        return False  # Where one number is not understood, others that do not fit together are told beside it.
    return not all(any(reason in error["reason"] for reason in UNSAYABLE) for error in found["errors"])


schema = described()
schema.hook(map_case)
schema.hook(map_body)
schema.hook(filter_failure)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_describes(case: Case[Any], app: FastAPI) -> None:
    case.call_and_validate(headers=EVERYTHING, app=app)
