"""Who may call which route: the numbers are the invariants of ledger/api/policy.py."""

from __future__ import annotations

import time
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.staticfiles import StaticFiles

from ledger.api import handling
from ledger.api.policy import RouteUndeclared, allow, declare_public, enforce, public, undeclared
from ledger.api.tokens import Caller, DevelopmentKey, Scope, Verifier, mint
from tests.api.client import Client

KEY = DevelopmentKey.generate()
VERIFIER = Verifier(KEY.public_keys(), issuer="issuer", audience="pension-ledger", max_lifetime_s=300)
READ = allow(Scope.READER, Scope.AUDITOR)


async def page_of(caller: Annotated[Caller, READ]) -> str:
    return caller.subject


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI(openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    handling.install(made)
    declare_public(made, "/openapi.json", "what the API is")

    @made.get("/accounts")
    async def accounts(caller: Annotated[Caller, READ]) -> str:
        return caller.subject

    @made.get("/health", dependencies=[public("a probe has no token")])
    async def health() -> str:
        return "well"

    enforce(made, VERIFIER)
    return made


@pytest.fixture
def client(app: FastAPI) -> Client:
    return Client(app)


def token(*scopes: Scope, issued_before_s: int = 0) -> str:
    return mint(
        KEY,
        subject="user:li",
        scopes=scopes,
        issuer="issuer",
        audience="pension-ledger",
        lifetime_s=60,
        now_s=time.time() - issued_before_s,
    )


def bearer(*scopes: Scope, issued_before_s: int = 0) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*scopes, issued_before_s=issued_before_s)}"}


class TestARoute:
    @pytest.mark.parametrize("scopes", [[Scope.READER], [Scope.AUDITOR], [Scope.STEWARD, Scope.READER]])
    def test_one_of_the_scopes_is_enough(self, client: Client, scopes: list[Scope]) -> None:
        response = client.get("/accounts", headers=bearer(*scopes))
        assert (response.status_code, response.json()) == (200, "user:li")

    def test_another_scope_is_not(self, client: Client) -> None:
        response = client.get("/accounts", headers=bearer(Scope.ADMINISTRATOR))
        assert response.status_code == 403
        assert response.json()["type"] == "/problems/scope-missing"
        assert response.json()["scopes"] == ["reader", "auditor"]
        assert 'scope="reader auditor"' in response.headers["www-authenticate"]

    def test_without_a_token_nothing_is_told(self, client: Client) -> None:
        response = client.get("/accounts")
        assert response.json()["type"] == "/problems/token-missing"
        assert response.headers["www-authenticate"] == 'Bearer realm="pension-ledger"'

    def test_an_expired_token_says_so(self, client: Client) -> None:
        response = client.get("/accounts", headers=bearer(Scope.READER, issued_before_s=300))
        assert response.json()["type"] == "/problems/token-expired"

    def test_a_public_route_asks_for_nothing(self, client: Client) -> None:
        assert client.get("/health").json() == "well"
        assert client.get("/openapi.json").status_code == 200


class TestTheToken:
    """Invariant 2."""

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
    def test_the_scheme_may_be_spelled_in_any_case(self, client: Client, scheme: str) -> None:
        headers = {"Authorization": f"{scheme} {token(Scope.READER)}"}
        assert client.get("/accounts", headers=headers).status_code == 200

    @pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic dTpw", "Token x", "Bearer é", "x" * 5_000])
    def test_another_header_is_no_token(self, client: Client, value: str) -> None:
        response = client.get("/accounts", headers=[("Authorization", value.encode("latin-1"))])
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")

    def test_two_headers_are_refused_though_both_are_valid(self, client: Client) -> None:
        header = ("Authorization", f"Bearer {token(Scope.READER)}")
        response = client.get("/accounts", headers=[header, header])
        assert response.json()["type"] == "/problems/token-invalid"

    @pytest.mark.parametrize("headers", [{}, None])
    def test_a_token_in_the_address_is_refused_also_beside_a_header(
        self, client: Client, headers: dict[str, str] | None
    ) -> None:
        given = bearer(Scope.READER) if headers is None else headers
        response = client.get("/accounts", params={"access_token": token(Scope.READER)}, headers=given)
        assert response.json()["type"] == "/problems/token-invalid"


class TestDefaultDeny:
    """Invariant 1."""

    def test_what_declares_nothing_is_listed_and_the_app_does_not_start(self, app: FastAPI) -> None:
        @app.post("/open")
        async def post() -> None:
            """Forgotten."""

        @app.websocket("/socket")
        async def listen(socket: WebSocket) -> None:
            await socket.close()

        router = APIRouter(prefix="/v1")

        @router.get("/nested/{number}")
        async def nested(number: int) -> int:
            return number

        app.include_router(router)
        app.mount("/files", StaticFiles(directory="."))
        app.add_route("/plain", lambda _: None)  # type: ignore[arg-type, return-value]
        found = ["POST /open", "/socket", "GET /v1/nested/{number}", "/files", "GET HEAD /plain"]
        assert sorted(undeclared(app)) == sorted(found)
        with pytest.raises(RouteUndeclared, match=r"GET /v1/nested"):
            enforce(app, VERIFIER)

    def test_a_router_declares_for_its_routes(self, app: FastAPI) -> None:
        router = APIRouter(prefix="/v1", dependencies=[allow(Scope.ADMINISTRATOR)])

        @router.get("/things")
        async def things() -> None:
            """Nothing."""

        app.include_router(router)
        app.mount("/files", StaticFiles(directory="."))
        declare_public(app, "/files", "pictures")
        assert undeclared(app) == []

    def test_a_dependency_of_a_dependency_counts(self, app: FastAPI) -> None:
        @app.get("/pages")
        async def pages(subject: Annotated[str, Depends(page_of)]) -> str:
            return subject

        assert undeclared(app) == []

    def test_the_frameworks_own_pages_are_not_forgotten(self) -> None:
        assert {"GET HEAD /docs", "GET HEAD /openapi.json"} <= set(undeclared(FastAPI()))


def test_openapi_has_the_scheme_with_the_meaning_of_every_scope(client: Client) -> None:
    document = client.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    assert all(scope.meaning in scheme["description"] for scope in Scope)
    assert document["paths"]["/accounts"]["get"]["security"] == [{"bearer": ["reader"]}, {"bearer": ["auditor"]}]
    assert client.get("/openapi.json").json() == document
    assert "security" not in document["paths"]["/health"]["get"]
