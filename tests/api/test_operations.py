"""What the API says of itself: who may call what, its problems, its numbers, its readiness and its documentation."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis
from fastapi.routing import iter_route_contexts
from prometheus_client.parser import text_string_to_metric_families

from ledger.api import documents, policy
from ledger.api.policy import RouteUndeclared
from ledger.api.problems import PROBLEMS
from ledger.api.tokens import DevelopmentKey, Scope, mint
from ledger.application import Ledger
from ledger.batching import GroupCommit
from ledger.database import Database
from tests.api.service import AUDIENCE, EVERYTHING, ISSUER, KEY, application, bearer, own, problem, served
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from psycopg import Connection
    from psycopg.rows import TupleRow

    from ledger.settings import Settings
    from tests.api.service import Service

READ = {Scope.READER, Scope.AUDITOR}
ALLOWED: dict[tuple[str, str], set[Scope]] = {
    ("POST", "/v1/commands"): {Scope.POSTER, Scope.STEWARD},
    ("GET", "/v1/accounts/{account}"): READ,
    ("GET", "/v1/accounts/{account}/statement"): READ,
    ("GET", "/v1/people/{person}"): READ,
    ("GET", "/v1/people/{person}/balance-sheet"): READ,
    ("GET", "/v1/control-totals"): {Scope.AUDITOR},
    ("GET", "/v1/events"): {Scope.FOLLOWER, Scope.AUDITOR},
    ("GET", "/v1/access-records"): {Scope.AUDITOR},
    ("GET", "/v1/proofs/{position}"): set(Scope),
    ("GET", "/v1/consistency/{old}/{new}"): set(Scope),
    ("GET", "/v1/log/tile/entries/{place:path}"): {Scope.AUDITOR},
    ("GET", "/v1/log/tile/data/{place:path}"): {Scope.AUDITOR},
    ("POST", "/v1/planning/retirement"): {Scope.PLANNER, Scope.READER},
    ("POST", "/v1/people/{person}/plan"): {Scope.PLANNER},
    ("POST", "/v1/people/{person}/what-if"): {Scope.PLANNER},
    ("POST", "/v1/people/{person}/allocation"): {Scope.PLANNER},
    ("POST", "/v1/people/{person}/moves/simulation"): {Scope.PLANNER},
    ("POST", "/v1/people/{person}/moves"): {Scope.POSTER},
    ("GET", "/v1/cases"): {Scope.PLANNER},
    ("POST", "/v1/planning/tax"): {Scope.PLANNER, Scope.READER},
    ("GET", "/v1/status"): {Scope.ADMINISTRATOR, Scope.AUDITOR},
}
PUBLIC = {
    *(("GET", path) for path in ("/health", "/ready", "/metrics", "/problems", "/problems/{name}")),
    *(("GET", f"/v1/log/{path}") for path in ("checkpoint", "checkpoint/{size}", "keys", "tile/{level}/{place:path}")),
    *(("GET", path) for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/{name}")),
}


VALUES = {"position": "1", "size": "1", "old": "1", "new": "2", "level": "0", "place:path": "000"}


def ask(service: Service, method: str, path: str, caller: dict[str, str]) -> httpx.Response:
    filled = re.sub(r"\{([\w:]+)\}", lambda found: VALUES.get(found[1], "x"), path)
    return service.request(method, filled, caller=caller, json=[] if method == "POST" else None)


class TestWhoMayCall:
    def test_every_route_is_in_the_tables_of_this_test(self, service: Service) -> None:
        found = {
            (method, route.path) for route in iter_route_contexts(service.app.routes) for method in route.methods or ()
        }
        assert found == {*ALLOWED, *PUBLIC}
        assert policy.undeclared(service.app) == []

    def test_an_app_with_a_route_that_declares_nothing_does_not_start(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install = documents.install

        def install_and_forget(app: Any, *models: Any) -> None:
            install(app, *models)
            app.get("/v1/forgotten")(lambda: None)

        monkeypatch.setattr(documents, "install", install_and_forget)
        with GroupCommit(Ledger(database)) as group, pytest.raises(RouteUndeclared, match="GET /v1/forgotten"):
            application(database, group)

    @pytest.mark.parametrize(("method", "path"), ALLOWED)
    def test_one_scope_lets_in_and_any_other_does_not(self, service: Service, method: str, path: str) -> None:
        for scope in Scope:
            response = ask(service, method, path, bearer(scope))
            if scope in ALLOWED[method, path]:
                assert response.status_code not in (401, 403), scope
            else:
                found = problem(response, 403, "scope-missing")
                assert set(found["scopes"]) == ALLOWED[method, path], scope

    @pytest.mark.parametrize(("method", "path"), ALLOWED)
    def test_without_a_good_token_nobody_comes_in(self, service: Service, method: str, path: str) -> None:
        problem(ask(service, method, path, {"X-Nothing": ""}), 401, "token-missing")
        problem(ask(service, method, path, bearer(*Scope, age_s=7_200)), 401, "token-expired")
        forged = mint(
            DevelopmentKey(KEY.kid, DevelopmentKey.generate().key),
            subject="system:ea-core",
            scopes=list(Scope),
            issuer=ISSUER,
            audience=AUDIENCE,
            lifetime_s=60,
            now_s=time.time(),
            source="ea-core",
        )
        header, _, signature = EVERYTHING["Authorization"].removeprefix("Bearer ").split(".")
        for token in (forged, f"{header}.e30.{signature}", "x.y.z", "..", "x"):
            caller = {"Authorization": f"Bearer {token}"}
            problem(ask(service, method, path, caller), 401, "token-invalid")

    @pytest.mark.parametrize(("method", "path"), sorted(PUBLIC))
    def test_public_routes_ask_for_nothing(self, service: Service, method: str, path: str) -> None:
        assert ask(service, method, path, {"X-Nothing": ""}).status_code in (200, 404)

    @pytest.mark.parametrize(("method", "path"), [*ALLOWED, *sorted(PUBLIC)])
    def test_other_methods_are_not_allowed_and_those_that_are_are_named(
        self, service: Service, method: str, path: str
    ) -> None:
        allowed = {"POST"} if method == "POST" else {"GET", "HEAD"}
        for other in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} - allowed:
            response = ask(service, other, path, EVERYTHING)
            assert set(response.headers["allow"].split(", ")) == allowed, other
            if other != "HEAD":
                assert set(problem(response, 405, "method-not-allowed")["allow"]) == allowed

    def test_beside_a_missing_token_nothing_else_is_told(self, service: Service) -> None:
        nobody = {"X-Nothing": ""}
        problem(service.get("/v1/accounts/x?seen=1&seen=2&y=", caller=nobody), 401, "token-missing")
        problem(service.post_bytes(b"{", "text/plain", caller=nobody), 401, "token-missing")


class TestProblems:
    def test_every_type_leads_to_its_page_and_is_listed(self, service: Service) -> None:
        listed = service.get("/problems").json()
        assert [each["type"] for each in listed] == [each.type for each in PROBLEMS.values()]
        for each in listed:
            page = service.get(each["type"])
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert f"<h1>{each['title'].split(chr(39))[0]}" in page.text

    @pytest.mark.parametrize("name", ["x", "%00", "%3Cscript%3E", "x" * 5_000, "Account-Unknown"])
    def test_there_are_no_others(self, service: Service, name: str) -> None:
        problem(service.get(f"/problems/{name}"), 404, "unknown-route")

    def test_a_bug_tells_its_id_and_is_counted(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ledger.api.readings.read_totals", lambda *_, **__: 1 / 0)
        response = service.get("/v1/control-totals")
        assert problem(response, 500, "internal-error")["instance"].startswith("urn:uuid:")
        assert samples(service)["ledger_http_requests_total", "GET", "/v1/control-totals", "500"] == 1


def samples(service: Service) -> dict[tuple[str, ...], float]:
    text = service.get("/metrics", caller={"X-Nothing": ""}).text
    return {
        (
            sample.name,
            *(sample.labels[name] for name in ("method", "route", "status", "outcome") if name in sample.labels),
        ): (sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class TestMetrics:
    def test_requests_are_counted_by_route_and_never_by_what_callers_made_up(self, service: Service) -> None:
        secret = "secret-1001"  # noqa: S105 - what must not be counted by, no password
        for path in ("/v1/accounts/{}", "/v1/people/{}", "/problems/{}", "/{}", "/docs/assets/{}", "/health?{}"):
            for method in ("GET", "DELETE", secret.upper()):
                service.request(method, path.format(secret))
        found = samples(service)
        assert secret not in str(found).lower()
        routes = {labels[2] for labels in found if labels[0] == "ledger_http_requests_total"}
        assert routes == {
            *("/v1/accounts/{account}", "/v1/people/{person}", "/problems/{name}", "/docs/assets/{name}", "/health"),
            "unknown",
        }
        assert found["ledger_http_requests_total", "GET", "/v1/accounts/{account}", "404"] == 1
        assert found["ledger_http_requests_total", "other", "/health", "405"] == 1

    def test_commands_are_counted_by_what_came_of_them(self, service: Service) -> None:
        opened = [own(register("ea-core:1", "1")), own(open_account("ea-core:1", "E1", command_id="2"))]
        service.post([*opened, own(contribute("E9", 1, "3"))])
        service.post(opened)
        found = samples(service)
        counts = {labels[1]: value for labels, value in found.items() if labels[0] == "ledger_commands_total"}
        assert counts == {"accepted": 2, "AccountUnknown": 1, "repeated": 2}
        assert found["ledger_head_position",] == 2
        assert found["ledger_up",] == 1
        assert found["ledger_http_requests_total", "POST", "/v1/commands", "200"] == 2

    def test_the_state_names_lag_and_refusals(self, service: Service) -> None:
        service.post([own(register("ea-core:1", "1")), own(contribute("E9", 1, "3"))])
        found = service.get("/v1/status").json()
        assert (found["head"], found["refusals"]) == (1, {"AccountUnknown": 1})
        assert {each["lag"] for each in found["projections"]} == {1}
        assert (found["sealed"], found["seal_lag"], found["seal_lag_s"] > 0) == (0, 1, True)
        service.project()
        assert {each["lag"] for each in service.get("/v1/status").json()["projections"]} == {0}

    def test_the_ways_over_kafka_are_told_where_they_were_used(self, service: Service, database: Database) -> None:
        names = {
            "ledger_intake_offset_lag",
            "ledger_outlet_lag",
            "ledger_outlet_lag_seconds",
            "ledger_refused_messages",
        }
        assert names.isdisjoint(labels[0] for labels in samples(service))
        service.post([own(register("ea-core:1", "1"))])
        with database.connection() as connection:
            connection.execute("INSERT INTO intake_offset VALUES ('pension.commands', 'id', 3, 5, 7, 1, 'one', now())")
        text = service.get("/metrics", caller={"X-Nothing": ""}).text
        assert 'ledger_intake_offset_lag{partition="3",topic="pension.commands"} 2.0' in text
        assert 'ledger_outlet_lag{stream="events"} 1.0' in text
        assert 'ledger_outlet_lag{stream="refusals"} 0.0' in text
        found = service.get("/v1/status").json()
        assert [(each["partition"], each["lag"], each["member"]) for each in found["intake"]] == [(3, 2, "one")]
        assert [(each["stream"], each["lag"]) for each in found["outlet"]] == [("events", 1), ("refusals", 0)]


class Unreachable(Database):
    """A database at a port where nobody listens, which is not waited for as long as usual."""

    def connection(self, *, wait_s: float = 0.2) -> Any:
        return super().connection(wait_s=wait_s)


class TestWithoutADatabase:
    @pytest.fixture
    def service(self, settings: Settings) -> Iterator[Service]:
        url = "postgresql://ledger_app@127.0.0.1:9/ledger"
        gone = Unreachable(url=url, admin_url=url, embedded=False, settings=settings)
        with served(gone) as running:
            yield running
        gone.close()

    def test_it_is_alive_and_not_ready(self, service: Service) -> None:
        assert service.get("/health").json() == {"status": "alive"}
        found = problem(service.get("/ready"), 503, "not-ready")
        assert found["reasons"] == ["the database does not answer"]

    def test_its_metrics_say_so(self, service: Service) -> None:
        assert samples(service)["ledger_up",] == 0

    def test_whatever_needs_it_is_unavailable(self, service: Service) -> None:
        log = [
            f"/v1/log/{each}"
            for each in ("checkpoint", "checkpoint/1", "tile/0/000", "tile/entries/000", "tile/data/000")
        ]
        readings = ("/v1/accounts/E1", "/v1/people/E1", "/v1/control-totals", "/v1/events", "/v1/status")
        for path in (*readings, *log, "/v1/proofs/1", "/v1/consistency/1/2"):
            problem(service.get(path), 503, "ledger-unavailable")
        problem(service.post(own(register("ea-core:1", "1"))), 503, "ledger-unavailable")

    def test_bad_requests_are_bad_all_the_same(self, service: Service) -> None:
        problem(service.get("/v1/accounts/E1?known_at=x"), 400, "wrong-parameter")
        problem(service.post_bytes(b"{"), 400, "malformed-json")
        assert service.post([]).status_code == 200


def test_a_halted_projection_makes_it_not_ready(service: Service, database: Database) -> None:
    assert service.get("/ready").json() == {"status": "ready"}
    with database.connection() as connection:
        halt(connection)
    assert problem(service.get("/ready"), 503, "not-ready")["reasons"] == ["people has halted: why"]


def halt(connection: Connection[TupleRow]) -> None:
    connection.execute("UPDATE projection_slot SET halted = 'why' WHERE name = 'people'")


class TestTheDocument:
    @pytest.fixture
    def document(self, service: Service) -> dict[str, Any]:
        found: dict[str, Any] = service.get("/openapi.json", caller={"X-Nothing": ""}).json()
        return found

    @pytest.fixture
    def operations(self, document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (method.upper(), path): operation
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }

    def test_it_is_openapi_3_1_and_the_same_whenever_it_is_asked_for(
        self, service: Service, document: dict[str, Any]
    ) -> None:
        assert document["openapi"].startswith("3.1")
        schemathesis.openapi.from_dict(document).validate()
        assert service.get("/openapi.json").json() == document

    def test_every_route_is_described(self, operations: dict[tuple[str, str], dict[str, Any]]) -> None:
        hidden = {"/docs", "/redoc", "/openapi.json", "/docs/assets/{name}"}
        documented = {(method, path.replace(":path", "")): (method, path) for method, path in {*ALLOWED, *PUBLIC}}
        assert set(operations) == {shown for shown, (_, path) in documented.items() if path not in hidden}
        for route, operation in operations.items():
            assert all(operation[name] for name in ("summary", "description", "tags", "operationId")), route
            scopes = {scope for each in operation.get("security", []) for scope in each["bearer"]}
            assert scopes == ALLOWED.get(documented[route], set()), route
            assert {"401", "403"} <= set(operation["responses"]) or documented[route] in PUBLIC

    def test_every_response_has_a_schema_and_an_example(
        self, operations: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        for route, operation in operations.items():
            for status, response in operation["responses"].items():
                assert response["description"] != "Successful Response", route
                assert ("content" in response) == (status != "304"), route
                for media_type, content in response.get("content", {}).items():
                    assert content["schema"], (route, status, media_type)
                    if media_type in ("application/json", "application/problem+json"):
                        assert "example" in content or content["examples"], (route, status)

    def test_every_example_fits_its_schema(self, document: dict[str, Any]) -> None:
        checked = 0
        for media in contents(document):
            schema = {**media["schema"], "components": document["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            examples = [each["value"] for each in media.get("examples", {}).values()]
            for example in [*examples, *([media["example"]] if "example" in media else [])]:
                assert [error.message for error in validator.iter_errors(example)] == []
                checked += 1
        assert checked > 40

    def test_its_examples_are_taken_by_the_api(self, service: Service, document: dict[str, Any]) -> None:
        body = document["paths"]["/v1/commands"]["post"]["requestBody"]["content"]
        listed = service.post(body["application/json"]["examples"]["list"]["value"])
        assert [each["status"] for each in listed.json()["outcomes"]] == ["accepted"] * 3
        assert service.post(body["application/json"]["examples"]["one"]["value"]).json()["repeated"] is True
        lines = service.post_bytes(body["application/x-ndjson"]["example"].encode(), "application/x-ndjson")
        assert lines.text.count('"repeated":true') == 3

    @pytest.mark.parametrize("page", ["/docs", "/redoc"])
    def test_its_pages_need_no_network(self, service: Service, page: str) -> None:
        text = service.get(page).text
        assert re.findall(r"(?:https?:)?//[a-z][^\"' ]*", text) == []
        assets = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", text))
        assert assets
        for asset in assets:
            response = service.get(asset)
            assert response.status_code == 200, asset
            assert len(response.content) > 100
            assert "cdn" not in asset

    @pytest.mark.parametrize("name", ["", "x", "%00", "..%2f__init__.py", "%2e%2e", "x" * 5_000, "a%0Ab", "%FF"])
    def test_nothing_else_is_among_the_assets(self, service: Service, name: str) -> None:
        problem(service.get(f"/docs/assets/{name}"), 404, "unknown-route")


def contents(node: Any) -> Iterator[dict[str, Any]]:
    """Everything in the document that has a schema and examples beside it."""
    if isinstance(node, dict):
        if "schema" in node and {"example", "examples"} & set(node):
            yield node
        for each in node.values():
            yield from contents(each)
    elif isinstance(node, list):
        for each in node:
            yield from contents(each)
