"""Who read what: the numbers are the invariants of ledger/api/accesses.py and, where said, of ledger/access.py."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import errors

from ledger.access import Access, Recorded, read_records, record
from ledger.api import accesses, documents, policy
from ledger.api.accesses import HEADER, AccessUndeclared
from ledger.api.tokens import Scope
from ledger.application import Ledger
from ledger.batching import GroupCommit
from tests.api.client import Client
from tests.api.service import EVERYTHING, PURPOSE, application, bearer, own, problem
from tests.api.test_operations import samples
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from ledger.database import Database, TemporaryServer
    from tests.api.service import Service

SHEET = "/v1/people/ea-core:1/balance-sheet"
# Every route of which calls are recorded, and under which name; a name that was ever recorded stays for ever.
ACTIONS = {
    "/v1/accounts/{account}": "account",
    "/v1/accounts/{account}/statement": "statement",
    "/v1/people/{person}": "person",
    "/v1/people/{person}/balance-sheet": "balance_sheet",
    "/v1/people/{person}/plan": "plan",
    "/v1/people/{person}/what-if": "what_if",
    "/v1/people/{person}/allocation": "allocation",
    "/v1/people/{person}/moves/simulation": "move_simulation",
    "/v1/people/{person}/moves": "move",
    "/v1/events": "events",
    "/v1/access-records": "access_records",
    "/v1/log/tile/entries/{place:path}": "entries",
    "/v1/log/tile/data/{place:path}": "entries_data",
}
CALLS: list[tuple[str, str, str, dict[str, Any], int]] = [
    ("/v1/accounts/E1", "account", "E1", {}, 200),
    ("/v1/accounts/E1?as_of=2025-12-31&known_at=3", "account", "E1", {"as_of": "2025-12-31", "known_at": 3}, 200),
    ("/v1/accounts/E9", "account", "E9", {}, 404),
    ("/v1/accounts/E1?known_at=9", "account", "E1", {"known_at": 9}, 409),
    ("/v1/accounts/E1/statement?limit=1", "statement", "E1", {"limit": 1}, 200),
    ("/v1/accounts/E1/statement?cursor=x%00", "statement", "E1", {"cursor": "?"}, 400),
    ("/v1/accounts/%00%E2%80%AE/statement", "statement", "?", {}, 404),
    ("/v1/accounts/*", "account", "?", {}, 404),
    ("/v1/people/ea-core:1?seen=2", "person", "ea-core:1", {"seen": 2}, 200),
    ("/v1/people/nobody", "person", "nobody", {}, 404),
    (SHEET, "balance_sheet", "ea-core:1", {}, 200),
    ("/v1/people/E1/balance-sheet?known_at=0", "balance_sheet", "E1", {"known_at": 0}, 404),
    ("/v1/events?after=1&limit=2", "events", "2-3", {"after": 1, "limit": 2}, 200),
    ("/v1/events", "events", "1-4", {}, 200),
    ("/v1/events?after=5", "events", "*", {"after": 5}, 409),
    ("/v1/log/tile/entries/000.p/2", "entries", "1-2", {}, 404),
    ("/v1/log/tile/data/001", "entries_data", "257-512", {}, 404),
    ("/v1/access-records?subject=E1&limit=2", "access_records", "E1", {"subject": "E1", "limit": 2}, 200),
    ("/v1/access-records", "access_records", "*", {}, 200),
    ("/v1/access-records?subject=*&actor=user:l_i", "access_records", "*", {"subject": "?", "actor": "user:l_i"}, 200),
    ("/v1/access-records?since=2026-01-01T00:00:00Z", "access_records", "*", {"since": "2026-01-01T00:00:00Z"}, 200),
]
# Neither number is anybody's; both are spelled as one.
RESIDENT_ID, OLD_RESIDENT_ID = "110101199003070118", "110101900307011"
PERSONAL = [
    *(RESIDENT_ID, RESIDENT_ID[:-1] + "8.x", OLD_RESIDENT_ID, f"ea-core:{RESIDENT_ID}", f"ea-core:x_{OLD_RESIDENT_ID}"),
    *(f"x-{RESIDENT_ID}-1", "\u5f20\u4e09", "zhang san", "ea-core:\u5f20\u4e09", "a@b", "E1 ", "\uff11", "x" * 65),
]


@pytest.fixture
def world(service: Service) -> Service:
    """One person with one account and two contributions, projected; the head is at position 4."""
    commands = [
        register("ea-core:1", "1"),
        open_account("ea-core:1", "E1", command_id="2"),
        contribute("E1", 10_000, "3"),
        contribute("E1", 20_000, "4"),
    ]
    assert service.post([own(command) for command in commands]).json()["accepted"] == 4
    service.project()
    return service


def recorded(database: Database) -> list[Recorded]:
    """All records, the oldest first."""
    page = read_records(database, subject=None, actor=None, since=None, until=None, after=None, limit=500)
    assert page.next_after is None
    return page.records[::-1]


def now(database: Database) -> datetime:
    with database.connection() as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


class TestARecord:
    """Invariant 2."""

    @pytest.mark.parametrize(("path", "action", "subject", "question", "status"), CALLS)
    def test_every_reading_leaves_one_that_says_who_when_what_and_what_for(
        self, world: Service, path: str, action: str, subject: str, question: dict[str, Any], status: int
    ) -> None:
        before = now(world.database)
        assert world.get(path, caller=bearer(*Scope, subject="user:li", purpose="audit")).status_code == status
        (found,) = recorded(world.database)
        assert before < found.accessed_at < now(world.database)
        assert (found.actor, found.action, found.subject) == ("user:li", action, subject)
        assert (found.question, found.purpose, found.status) == (question, "audit", status)

    def test_one_says_by_which_token(self, world: Service) -> None:
        for _ in range(2):
            world.get(SHEET, caller=bearer(Scope.READER))
            world.get(SHEET)
        found = [each.token_id for each in recorded(world.database)]
        assert len(set(found)) == 3
        assert found[1] == found[3]
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in found)

    @pytest.mark.parametrize(
        "path", ["/v1/accounts/E1", "/v1/accounts/E1/statement", "/v1/people/E1", SHEET, "/v1/events"]
    )
    def test_what_the_caller_has_already_was_asked_for_all_the_same(self, world: Service, path: str) -> None:
        etag = world.get(path).headers["etag"]
        assert world.get(path, headers={"If-None-Match": etag}).status_code == 304
        assert world.request("HEAD", path).content == b""
        assert [each.status for each in recorded(world.database)] == [200, 304, 200]

    def test_a_bug_leaves_one_too(self, world: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ledger.api.readings.read_balance_sheet", lambda *_, **__: 1 / 0)
        problem(world.get(SHEET), 500, "internal-error")
        assert [each.status for each in recorded(world.database)] == [500]

    def test_a_page_without_events_is_about_nobody(self, world: Service) -> None:
        assert world.get("/v1/events?after=4").json()["events"] == []
        assert world.get("/v1/control-totals").status_code == 200
        assert world.get("/v1/status").status_code == 200
        assert recorded(world.database) == []

    @pytest.mark.parametrize("path", ["/v1/accounts/E1", "/v1/accounts/E9", SHEET, "/v1/events", "/v1/access-records"])
    def test_who_is_not_let_in_or_asks_nothing_leaves_none(self, world: Service, path: str) -> None:
        refused = [
            world.get(path, caller={"X-Nothing": ""}),
            world.get(path, caller=bearer(*Scope, age_s=7_200)),
            world.get(path, caller=bearer(Scope.ADMINISTRATOR)),
            world.get(path, caller=bearer(*Scope, purpose=None)),
            world.get(path, headers={HEADER: "another"}),
            world.get(f"{path}?unknown=1"),
            world.get(f"{path}?limit=x&known_at=x"),
            world.request("POST", path),
        ]
        assert [each.status_code for each in refused] == [401, 401, 403, 400, 403, 400, 400, 405]
        assert recorded(world.database) == []


class TestPersonalData:
    """Invariant 4: a record stays for ever, and so would what it holds."""

    @pytest.mark.parametrize("text", PERSONAL)
    def test_what_may_be_personal_is_not_kept_wherever_it_is_asked(self, world: Service, text: str) -> None:
        written = quote(text, safe="")
        for path in (
            f"/v1/people/{written}",
            f"/v1/people/{written}/balance-sheet",
            f"/v1/accounts/{written}",
            f"/v1/accounts/{written}?known_at=9",
            f"/v1/accounts/E1/statement?cursor={written}",
            f"/v1/access-records?subject={written}",
            f"/v1/access-records?actor={written}",
        ):
            assert world.get(path).status_code in (200, 404, 409, 400), path
        found = recorded(world.database)
        assert len(found) == 7
        assert [each.subject for each in found] == ["?", "?", "?", "?", "E1", "?", "*"]
        assert [list(each.question.values()) for each in found[4:]] == [["?"]] * 3
        with psycopg.connect(world.database.admin_url) as connection:
            rows = connection.execute("SELECT access_record::text FROM access_record").fetchall()
        assert not any(text in row for (row,) in rows)

    def test_a_name_that_is_answered_for_is_kept_whatever_it_looks_like(self, world: Service) -> None:
        """An account may have 15 digits that could be a person's: the journal has them too."""
        assert world.post(own(open_account("ea-core:1", OLD_RESIDENT_ID, command_id="5"))).status_code == 200
        world.project()
        assert world.get(f"/v1/accounts/{OLD_RESIDENT_ID}").status_code == 200
        assert world.get(f"/v1/accounts/{OLD_RESIDENT_ID}?known_at=3").status_code == 404
        assert [each.subject for each in recorded(world.database)] == [OLD_RESIDENT_ID, "?"]
        found = world.get("/v1/access-records", params={"subject": OLD_RESIDENT_ID}).json()["records"]
        assert [each["subject"] for each in found] == [OLD_RESIDENT_ID]

    def test_the_cursor_of_a_page_that_is_answered_is_kept(self, world: Service) -> None:
        cursor = world.get("/v1/accounts/E1/statement?limit=1").json()["next_cursor"]
        assert world.get("/v1/accounts/E1/statement", params={"cursor": cursor}).status_code == 200
        assert recorded(world.database)[-1].question == {"cursor": cursor}

    def test_what_was_not_kept_is_listed_under_what_stands_for_it(self, world: Service) -> None:
        world.get(f"/v1/people/{RESIDENT_ID}")
        assert len(world.get("/v1/access-records", params={"subject": "?"}).json()["records"]) == 1
        assert world.get("/v1/access-records", params={"subject": RESIDENT_ID}).json()["records"] == []


class TestFailingClosed:
    """Invariant 3."""

    @pytest.fixture(params=["the database is read-only", "the right is revoked", "the table is gone"])
    def broken(self, request: pytest.FixtureRequest, world: Service) -> Service:
        """Readings work as before, and no record can be written."""
        with psycopg.connect(world.database.admin_url, autocommit=True) as connection:
            if request.param == "the database is read-only":
                name = connection.info.dbname
                connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
                world.database.close()
                return world
            triggers = connection.execute("SELECT evtname FROM pg_event_trigger").fetchall()
            for (trigger,) in triggers:
                connection.execute(f"ALTER EVENT TRIGGER {trigger} DISABLE".encode())
            if request.param == "the right is revoked":
                connection.execute("REVOKE ALL ON access_record FROM ledger_app")
            else:
                connection.execute("ALTER TABLE access_record RENAME TO mislaid")
        return world

    def test_without_a_record_nothing_is_given_out(self, broken: Service, caplog: pytest.LogCaptureFixture) -> None:
        """Neither data, nor that somebody is unknown; nor does the log name whom it was about."""
        with caplog.at_level(logging.ERROR, "ledger.api"):
            for path, *_ in CALLS:
                found = problem(broken.get(path), 503, "access-not-recorded")
                assert set(found) == {"type", "title", "status", "detail", "retry_after_s"}, path
                assert "Nothing was given out" in found["detail"]
        assert "balance_sheet was refused: no access record" in caplog.text
        assert "ea-core:1" not in caplog.text
        assert "nobody" not in caplog.text

    def test_what_is_about_nobody_goes_on(self, broken: Service) -> None:
        assert broken.get("/v1/control-totals").status_code == 200
        assert broken.get("/v1/events?after=4").status_code == 200
        assert broken.get("/ready").status_code == 200

    def test_what_the_caller_has_already_is_not_confirmed(self, world: Service) -> None:
        etag = world.get(SHEET).headers["etag"]
        with psycopg.connect(world.database.admin_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        world.database.close()
        problem(world.get(SHEET, headers={"If-None-Match": etag}), 503, "access-not-recorded")

    def test_afterwards_it_goes_on_by_itself(self, world: Service) -> None:
        """A failed record leaves the connection that others borrow as it was."""
        with psycopg.connect(world.database.admin_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            world.database.close()
            assert [world.get(SHEET).status_code for _ in range(3)] == [503] * 3
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        world.database.close()
        assert world.get(SHEET).status_code == 200
        with world.database.connection() as borrowed:
            assert borrowed.autocommit is False
        assert len(recorded(world.database)) == 1

    def test_both_are_counted(self, world: Service) -> None:
        counts = self._counts(world)
        assert counts == {"written": 0, "failed": 0}
        world.get(SHEET)
        world.get("/v1/people/nobody")
        with psycopg.connect(world.database.admin_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        world.database.close()
        world.get(SHEET)
        assert self._counts(world) == {"written": 2, "failed": 1}

    def _counts(self, service: Service) -> dict[str, float]:
        found = samples(service)
        return {labels[1]: value for labels, value in found.items() if labels[0] == "ledger_access_records_total"}


class TestPurposes:
    """Invariant 5."""

    def purposes(self, service: Service) -> list[str]:
        return [each.purpose for each in recorded(service.database)]

    def test_the_token_names_it(self, world: Service) -> None:
        assert world.get(SHEET).status_code == 200
        assert self.purposes(world) == [PURPOSE]

    def test_for_a_token_without_one_the_header_names_it(self, world: Service) -> None:
        nameless = bearer(Scope.READER, purpose=None)
        for purpose in ("audit", "a", "customer-service-2", "x" * 64):
            assert world.get(SHEET, caller=nameless, headers={HEADER: purpose}).status_code == 200
        assert self.purposes(world) == ["audit", "a", "customer-service-2", "x" * 64]

    def test_without_any_the_problem_says_what_to_do(self, world: Service) -> None:
        found = problem(world.get(SHEET, caller=bearer(Scope.READER, purpose=None)), 400, "purpose-missing")
        assert HEADER in found["detail"]

    def test_a_token_for_one_purpose_is_good_for_no_other(self, world: Service) -> None:
        assert world.get(SHEET, headers={HEADER: PURPOSE}).status_code == 200
        problem(world.get(SHEET, headers={HEADER: "audit"}), 403, "purpose-not-permitted")
        assert self.purposes(world) == [PURPOSE]

    @pytest.mark.parametrize(
        "value", ["", " ", "Audit", "1audit", "-audit", "au dit", "audit,audit", "x" * 65, "é", "a_b", "a;b", '"audit"']
    )
    def test_another_spelling_is_none(self, world: Service, value: str) -> None:
        for caller in (EVERYTHING, bearer(Scope.READER, purpose=None)):
            response = world.get(SHEET, caller=caller, headers={HEADER: value.encode("latin-1")})
            found = problem(response, 400, "wrong-parameter")
            assert [each["place"] for each in found["errors"]] == [HEADER]
            assert len(value) < 4 or value not in response.text

    def test_of_two_headers_neither_wins(self, service: Service) -> None:
        asked = [*EVERYTHING.items(), (HEADER, PURPOSE), (HEADER, PURPOSE)]
        assert Client(service.app).get(SHEET, headers=asked).json()["type"] == "/problems/wrong-parameter"

    def test_posting_and_what_is_about_nobody_need_none(self, world: Service) -> None:
        nameless = bearer(*Scope, purpose=None)
        assert world.post(own(contribute("E1", 1, "5")), caller=nameless).status_code == 200
        assert world.get("/v1/control-totals", caller=nameless).status_code == 200
        assert world.get("/v1/status", caller=nameless).status_code == 200

    def test_the_document_describes_the_header_where_it_counts(self, service: Service) -> None:
        document = service.get("/openapi.json").json()
        recorded = {path.replace(":path", "") for path in ACTIONS}
        for path, item in document["paths"].items():
            operation = item.get("get", item.get("post"))
            named = [each for each in operation.get("parameters", []) if each["name"] == HEADER]
            assert (len(named) == 1) == (path in recorded), path
            for each in named:
                assert (each["in"], each["required"]) == ("header", False)
                assert "needed unless the token has a purpose" in each["description"]


class TestDeclarations:
    """Invariant 1."""

    def test_every_route_that_is_not_public_is_recorded_under_its_name_or_says_why_not(self, service: Service) -> None:
        found = {route.path: accesses.action_of(route) for route in iter_route_contexts(service.app.routes)}
        assert {path: action for path, action in found.items() if action is not None} == ACTIONS
        unrecorded = {
            route.path
            for route in iter_route_contexts(service.app.routes)
            if not policy.is_public(service.app, route) and route.path not in ACTIONS
        }
        assert unrecorded == {
            *("/v1/commands", "/v1/control-totals", "/v1/status", "/v1/planning/tax", "/v1/planning/retirement"),
            "/v1/cases",
            *("/v1/proofs/{position}", "/v1/consistency/{old}/{new}"),
        }
        assert accesses.undeclared(service.app) == []

    def test_an_app_with_a_route_that_forgets_it_does_not_start(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install = documents.install

        def install_and_forget(app: Any, *models: Any) -> None:
            install(app, *models)
            app.get("/v1/names/{person}", dependencies=[policy.allow(Scope.READER)])(lambda person: person)

        monkeypatch.setattr(documents, "install", install_and_forget)
        with GroupCommit(Ledger(database)) as group, pytest.raises(AccessUndeclared, match=r"GET /v1/names/\{person\}"):
            application(database, group)

    def test_half_a_declaration_is_none(self) -> None:
        app, router = FastAPI(openapi_url=None), APIRouter(prefix="/v1")
        allowed = policy.allow(Scope.READER)
        unrecorded = accesses.unrecorded("why")

        def read(request: Request) -> Response:
            return Response(str(request.url))

        kept = accesses.recorded("kept")(read)
        router.get("/whole", dependencies=[allowed, accesses.purposeful()])(kept)
        router.get("/nothing", dependencies=[allowed, unrecorded])(read)
        router.get("/public", dependencies=[policy.public("why")])(read)
        router.get("/no-record", dependencies=[allowed, accesses.purposeful()])(read)
        router.get("/no-purpose", dependencies=[allowed])(kept)
        router.get("/both", dependencies=[allowed, accesses.purposeful(), unrecorded])(kept)
        app.include_router(router)
        assert accesses.undeclared(app) == ["GET /v1/no-record", "GET /v1/no-purpose", "GET /v1/both"]


class TestTheList:
    """And invariants 2 and 3 of ledger/access.py."""

    @pytest.fixture
    def read(self, world: Service) -> Service:
        """Three callers read about two names, in this order."""
        for subject, path in (
            ("user:li", SHEET),
            ("user:wu", "/v1/accounts/E1"),
            ("user:li", "/v1/accounts/E1"),
            ("user:li", "/v1/accounts/E9"),
            ("user:wu", "/v1/accounts/E1/statement"),
        ):
            world.get(path, caller=bearer(Scope.READER, subject=subject, purpose="service"))
        return world

    def listed(self, service: Service, **asked: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = service.get("/v1/access-records", params=asked).json()["records"]
        return found

    def test_the_newest_comes_first_with_all_that_was_recorded(self, read: Service) -> None:
        last = recorded(read.database)[-1]
        (found, *others) = self.listed(read)
        assert found == last._asdict() | {
            "access_id": str(last.access_id),
            "accessed_at": last.accessed_at.isoformat(),
        }
        assert [each["action"] for each in others] == ["account", "account", "account", "balance_sheet"]
        times = [each["accessed_at"] for each in [found, *others]]
        assert times == sorted(times, reverse=True)

    @pytest.mark.parametrize(
        ("asked", "count"),
        [
            ({"subject": "E1"}, 3),
            ({"subject": "ea-core:1"}, 1),
            ({"subject": "E1", "actor": "user:wu"}, 2),
            ({"actor": "user:li"}, 3),
            ({"actor": "user:nobody"}, 0),
            ({"subject": "\0"}, 0),
            ({"actor": "\0"}, 0),
            ({"actor": "user:li\u202e"}, 0),
            ({"since": "2026-01-01T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"}, 5),
            ({"until": "2026-01-01T00:00:00Z"}, 0),
            ({"since": "9999-01-01T00:00:00Z"}, 0),
        ],
    )
    def test_it_is_narrowed_by_subject_actor_and_time(self, read: Service, asked: dict[str, str], count: int) -> None:
        assert len(self.listed(read, **asked)) == count

    def test_a_span_of_time_begins_with_its_first_moment_and_ends_before_its_last(self, read: Service) -> None:
        times = [each.accessed_at.astimezone(UTC) for each in recorded(read.database)]
        since, until = (f"{each:%Y-%m-%dT%H:%M:%S.%f}Z" for each in (times[1], times[3]))
        assert [each["accessed_at"] for each in self.listed(read, since=since, until=until)] == [
            times[2].isoformat(),
            times[1].isoformat(),
        ]

    @pytest.mark.parametrize("asked", [{}, {"actor": "user:li"}, {"subject": "E1", "since": "2026-01-01T00:00:00Z"}])
    @pytest.mark.parametrize("limit", ["1", "2", "500"])
    def test_pages_hold_each_record_once_whatever_is_read_meanwhile(
        self, read: Service, asked: dict[str, str], limit: str
    ) -> None:
        whole = self.listed(read, **asked)
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = read.get("/v1/access-records", params={**asked, **after, "limit": limit}).json()
            found += page["records"]
            read.get("/v1/accounts/E1", caller=bearer(Scope.READER))
            if page["next_after"] is None:
                break
            after = {"after": page["next_after"]}
        assert [each for each in found if each["action"] != "access_records"] == whole

    def test_reading_the_list_is_listed(self, read: Service) -> None:
        assert len(self.listed(read)) == 5
        (found, *others) = self.listed(read)
        assert (found["action"], found["subject"], found["status"], len(others)) == ("access_records", "*", 200, 5)

    @pytest.mark.parametrize(
        ("asked", "name"),
        [
            ("since=2026-01-01", "wrong-parameter"),
            ("since=2026-01-01T00:00:00", "wrong-parameter"),
            ("since=2026-01-01T00:00:00%2B08:00", "wrong-parameter"),
            ("since=1700000000", "wrong-parameter"),
            ("until=2026-02-30T00:00:00Z", "wrong-parameter"),
            ("until=0000-01-01T00:00:00Z", "wrong-parameter"),
            ("limit=0", "wrong-parameter"),
            ("limit=501", "wrong-parameter"),
            ("subject=", "wrong-parameter"),
            ("subject=" + "x" * 257, "wrong-parameter"),
            ("after=x", "wrong-parameter"),
            ("after=7D2F0F0E-3C1B-4F0A-9A52-5F1E3C0B7A11", "wrong-parameter"),
            ("after=7d2f0f0e3c1b4f0a9a525f1e3c0b7a11", "wrong-parameter"),
            ("after=7d2f0f0e-3c1b-4f0a-9a52-5f1e3c0b7a11", "cursor-invalid"),
            ("known_at=1", "wrong-parameter"),
        ],
    )
    def test_other_questions_are_refused(self, read: Service, asked: str, name: str) -> None:
        problem(read.get(f"/v1/access-records?{asked}"), 400, name)


@pytest.fixture(scope="module")
def kept(server: TemporaryServer) -> Iterator[Database]:
    """One database for many examples."""
    fresh = server.create_database("kept")
    yield fresh
    fresh.close()
    server.drop_database("kept")


ANY_TEXT = st.text(st.characters(), min_size=1, max_size=400)


@given(subject=ANY_TEXT, token_id=ANY_TEXT, cursor=ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_whatever_was_asked_for_can_be_recorded_and_found(
    kept: Database, subject: str, token_id: str, cursor: str
) -> None:
    """Invariant 2 of ledger/access.py: control characters, half characters and any length included."""
    access = Access("user:li", token_id, "statement", subject, {"cursor": cursor, "limit": 1}, "audit", 404)
    access_id = record(kept, access)
    page = read_records(kept, subject=subject, actor=None, since=None, until=None, after=None, limit=1)
    (found,) = page.records
    assert found.access_id == access_id
    assert found.subject.isprintable()
    assert (len(found.subject), len(found.token_id)) == (min(len(subject), 256), min(len(token_id), 128))
    assert found.question["limit"] == 1
    if subject.isprintable():
        assert found.subject == subject[:256]


@pytest.fixture(scope="module")
def kept_service(kept: Database) -> Iterator[Client]:
    """A service that knows nobody."""
    with GroupCommit(Ledger(kept)) as group:
        yield Client(application(kept, group))


@given(
    text=st.one_of(ANY_TEXT, st.from_regex(re.compile(f"[a-z:._-]?{RESIDENT_ID}.?|.{OLD_RESIDENT_ID}"), fullmatch=True))
)
@settings(max_examples=60, deadline=None)
def test_nothing_but_a_name_is_kept_of_whatever_is_asked(kept: Database, kept_service: Client, text: str) -> None:
    """Invariant 4, by trying; what names look like is written here a second time."""
    written = quote(text.encode(errors="replace")[:250].decode(errors="ignore"), safe="")
    before = len(rows_kept(kept))
    for path in (f"/v1/people/{written}", f"/v1/accounts/{written}", f"/v1/access-records?actor={written}"):
        kept_service.get(path, headers=EVERYTHING)
    for subject, question in rows_kept(kept)[before:]:
        for found in (subject, *question.values()):
            assert re.fullmatch(r"[*?]|([a-z][a-z0-9_-]*:)?[A-Za-z0-9._-]{1,95}", found)
            # Among other digits it is another number, as everywhere (identifiers.RESIDENT_ID).
            assert re.search(rf"(?<![0-9]){RESIDENT_ID}(?![0-9])", found) is None
            assert re.search(rf"(?<![0-9A-Za-z]){OLD_RESIDENT_ID}(?![0-9])", found) is None


def rows_kept(database: Database) -> list[tuple[str, dict[str, str]]]:
    with psycopg.connect(database.admin_url) as connection:
        statement = b"SELECT subject, question FROM access_record WHERE action <> 'statement' ORDER BY accessed_at"
        return connection.execute(statement).fetchall()


def test_a_record_is_on_disk_before_the_answer_is_given(world: Service) -> None:
    """Invariant 1 of ledger/access.py: another session finds it, and nothing lets the commit lag behind."""
    world.get(SHEET)
    with psycopg.connect(world.database.admin_url) as other:
        assert other.execute("SELECT count(*) FROM access_record").fetchone() == (1,)
    with world.database.connection() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


class TestRights:
    """Who may do what with the records, asked for by trying."""

    ROLES = ("ledger_app", "ledger_notary", "ledger_outlet", "ledger_auditor", "ledger_reader")
    CHANGES = (
        "UPDATE access_record SET status = 404",
        "DELETE FROM access_record",
        "TRUNCATE access_record",
        "DROP TABLE access_record",
        "ALTER TABLE access_record DISABLE TRIGGER ALL",
    )
    INSERT = """
        INSERT INTO access_record (access_id, actor, token_id, action, subject, question, purpose, status)
        VALUES (gen_random_uuid(), 'a', 't', 'x', 's', '{}', 'p', 200)
    """

    def connected(self, database: Database, role: str) -> psycopg.Connection[Any]:
        return psycopg.connect(database.url.replace("ledger_app", role), autocommit=True)

    @pytest.mark.parametrize("role", ROLES)
    def test_nobody_who_can_log_in_changes_one(self, world: Service, role: str) -> None:
        world.get(SHEET)
        with self.connected(world.database, role) as connection:
            for statement in self.CHANGES:
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement.encode())

    def test_a_superuser_cannot_either_in_any_replication_role(self, world: Service) -> None:
        world.get(SHEET)
        with psycopg.connect(world.database.admin_url, autocommit=True) as connection:
            for replication_role in ("origin", "replica"):
                connection.execute("SELECT set_config('session_replication_role', %s, false)", (replication_role,))
                for statement in self.CHANGES[:3]:
                    with pytest.raises(errors.InsufficientPrivilege, match="table access_record is refused"):
                        connection.execute(statement.encode())

    def test_the_app_alone_inserts_and_it_and_the_auditor_read(self, database: Database) -> None:
        for statement, allowed in (
            (self.INSERT, {"ledger_app"}),
            ("SELECT FROM access_record", {"ledger_app", "ledger_auditor"}),
        ):
            for role in self.ROLES:
                with self.connected(database, role) as connection:
                    if role in allowed:
                        connection.execute(statement.encode())
                        continue
                    with pytest.raises(errors.InsufficientPrivilege):
                        connection.execute(statement.encode())

    def test_the_app_cannot_choose_the_time(self, database: Database) -> None:
        statement = self.INSERT.replace("access_id,", "accessed_at, access_id,").replace("gen_", "now(), gen_")
        with self.connected(database, "ledger_app") as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_times_are_those_of_the_database_whatever_the_moment_of_its_transaction(world: Service) -> None:
    responses: list[httpx.Response] = [world.get(SHEET) for _ in range(3)]
    assert {each.status_code for each in responses} == {200}
    times = [each.accessed_at for each in recorded(world.database)]
    assert times == sorted(set(times))
    assert now(world.database) - times[0] < timedelta(minutes=1)
