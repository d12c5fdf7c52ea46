"""Readings out over HTTP: the same bytes for the same question for ever, and a clear problem for every other question.

The numbers are the invariants of ledger/api/answers.py and, where said, of ledger/api/parameters.py.
"""

from __future__ import annotations

import base64
import json
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from eventsourcing.dcb.api import DCBEvent

from ledger.api.answers import NDJSON
from ledger.api.parameters import MAX_POSITION
from ledger.journal import Journal
from tests.api.service import own, problem
from tests.commands import (
    PERSONAL,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    reverse,
    transfer,
    unmerge,
)

if TYPE_CHECKING:
    from httpx import Response

    from ledger.database import Database
    from tests.api.service import Service

ONE, TWO = "ea-core:1", "ea-core:2"
READINGS = [
    "/v1/accounts/E1",
    "/v1/accounts/E1/statement",
    "/v1/people/ea-core:1",
    "/v1/people/ea-core:1/balance-sheet",
    "/v1/control-totals",
    "/v1/events",
]
PINNED = [
    "/v1/accounts/E1",
    "/v1/accounts/E1/statement",
    "/v1/accounts/E1/statement?order=position",
    "/v1/people/ea-core:1/balance-sheet",
    "/v1/people/ea-core:2/balance-sheet",
    "/v1/control-totals",
    "/v1/control-totals?by_day=true",
]
WORLD = [
    register(ONE, "w/1"),
    register(TWO, "w/2"),
    open_account(ONE, "E1", command_id="w/3"),
    open_account(TWO, "E2", command_id="w/4"),
    open_account(TWO, "P2", PERSONAL, command_id="w/5"),
    contribute("E1", 10_000, "w/6", date(2026, 1, 10)),
    contribute("E1", 20_000, "w/7", date(2026, 2, 10)),
    contribute("E2", 30_000, "w/8"),
    contribute_own("P2", 500, "w/9"),
    credit("E1", 77, "w/10"),
    transfer("E1", "E1-other", 1, "w/refused"),
]
AFTERWARDS = [
    contribute("E1", 5, "a/1", date(2026, 1, 1)),
    contribute("E1", 6, "a/2", date(2026, 2, 10)),
    reverse(6, "a/3"),
    merge(ONE, TWO, command_id="a/4"),
    register("ea-core:3", "a/5"),
    contribute("E2", 1, "a/6"),
]


@pytest.fixture
def world(service: Service) -> Service:
    """Two people with three accounts, projected; the head is at position 10."""
    found = service.post([own(command) for command in WORLD]).json()
    assert (found["accepted"], found["refused"]) == (10, 1)
    service.project()
    return service


def with_parameters(path: str, **parameters: object) -> str:
    joined = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"{path}{'&' if '?' in path else '?'}{joined}"


def kept(response: Response) -> tuple[int, bytes, str]:
    return response.status_code, response.content, response.headers["etag"]


def pages(service: Service, path: str) -> list[Response]:
    found = [service.get(path)]
    while cursor := found[-1].json()["next_cursor"]:
        found.append(service.get(path.partition("?")[0], params={"cursor": cursor, "limit": 1}))
    return found


class TestForEver:
    """Invariant 1."""

    @pytest.mark.parametrize("as_of", [None, "2026-01-31"])
    def test_asked_for_by_its_known_at_an_answer_is_the_same_whatever_came_later(
        self, world: Service, as_of: str | None
    ) -> None:
        paths = [path if as_of is None else with_parameters(path, as_of=as_of) for path in PINNED]
        asked = [with_parameters(path, known_at=world.get(path).json()["known_at"]) for path in paths]
        before = [kept(world.get(path)) for path in asked]
        assert {status for status, _, _ in before} == {200}
        assert world.post([own(command) for command in AFTERWARDS]).json()["refused"] == 0
        world.project()
        assert [kept(world.get(path)) for path in asked] == before
        assert [kept(world.get(path))[1] for path in PINNED] != [content for _, content, _ in before]

    @pytest.mark.parametrize("path", PINNED)
    def test_of_now_an_answer_says_the_same_as_by_its_known_at(self, world: Service, path: str) -> None:
        now = world.get(path)
        assert now.content == world.get(with_parameters(path, known_at=now.json()["known_at"])).content

    @pytest.mark.parametrize("order", ["effective", "position"])
    def test_pages_belong_to_the_position_of_the_first(self, world: Service, order: str) -> None:
        path = with_parameters("/v1/accounts/E1/statement", order=order, limit=1)
        before = pages(world, path)
        assert len(before) == 3
        world.post([own(command) for command in AFTERWARDS])
        world.project()
        cursor = before[0].json()["next_cursor"]
        after = [before[0]]
        while cursor:
            after.append(world.get("/v1/accounts/E1/statement", params={"cursor": cursor, "limit": 1}))
            cursor = after[-1].json()["next_cursor"]
        assert [page.content for page in after] == [page.content for page in before]
        whole = world.get(with_parameters(path.replace("limit=1", "limit=500"), known_at=10)).json()
        assert [line for page in before for line in page.json()["lines"]] == whole["lines"]
        assert whole["lines"][-1]["balance_fen"] == whole["balance_fen"] == 30_077

    def test_a_merge_changes_every_reading_at_once_and_undone_it_restores_them_byte_for_byte(
        self, world: Service
    ) -> None:
        sheets = [f"/v1/people/{sid}/balance-sheet" for sid in (ONE, TWO)]
        others = ["/v1/accounts/E1", "/v1/accounts/E2"]
        before = [self._said(world, path) for path in sheets + others]
        people = [self._said(world, f"/v1/people/{sid}") for sid in (ONE, TWO)]
        merged = world.post(own(merge(ONE, TWO, command_id="m"))).json()
        one, two = [world.get(path, params={"seen": merged["last_position"]}).json()["sheet"] for path in sheets]
        assert one == two
        assert one["balance_fen"] == 60_577
        world.project()
        seen = {"seen": merged["last_position"]}
        assert len(world.get("/v1/people/E1", params=seen).json()["identities"]) == 2
        assert world.post(own(unmerge([ONE], [TWO], command_id="u"))).json()["status"] == "accepted"
        assert [self._said(world, path) for path in sheets + others] == before
        world.project()
        restored = [self._said(world, f"/v1/people/{sid}") for sid in (ONE, TWO)]
        assert restored == people

    def _said(self, service: Service, path: str) -> dict[str, Any]:
        found: dict[str, Any] = service.get(path).json()
        del found["known_at"]
        return found


class TestTheETag:
    """Invariant 2."""

    @pytest.mark.parametrize("path", [*READINGS, *PINNED])
    def test_what_the_caller_has_is_not_sent_again(self, world: Service, path: str) -> None:
        etag = world.get(path).headers["etag"]
        assert etag.startswith('W/"')
        for held in (etag, etag.removeprefix("W/"), f'"other", {etag} ,W/"x"', "*"):
            response = world.get(path, headers={"If-None-Match": held})
            assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
        for held in ("", '"other"', etag.strip('W/"'), "W/", ",,,", '"', "\x7f"):
            assert world.get(path, headers={"If-None-Match": held}).status_code == 200

    def test_it_is_weak_without_the_position_and_strong_with_it(self, world: Service) -> None:
        path = "/v1/people/ea-core:2/balance-sheet"
        now, pinned = world.get(path), world.get(with_parameters(path, known_at=10))
        assert not pinned.headers["etag"].startswith("W/")
        world.post(own(contribute("E1", 1, "other")))
        still = world.get(path)
        assert still.json()["known_at"] == 11
        assert still.headers["etag"] == now.headers["etag"]
        world.post(own(contribute("E2", 1, "hers")))
        assert world.get(path).headers["etag"] != now.headers["etag"]

    def test_head_is_answered_with_the_headers_alone(self, world: Service) -> None:
        for path in READINGS:
            get, head = world.get(path), world.request("HEAD", path)
            assert (head.status_code, head.content) == (200, b"")
            assert {name: head.headers[name] for name in ("etag", "content-length")} == {
                name: get.headers[name] for name in ("etag", "content-length")
            }

    def test_answers_about_people_are_kept_by_nobody_else(self, world: Service) -> None:
        for path in READINGS:
            assert world.get(path).headers["cache-control"] == "private, no-cache"


class TestOwnWrites:
    def test_what_was_posted_is_in_the_sheet_at_once(self, world: Service) -> None:
        position = world.post(own(contribute("E1", 1, "x"))).json()["last_position"]
        for path in ("/v1/accounts/E1", "/v1/people/E1/balance-sheet"):
            assert world.get(path, params={"seen": position}).json()["known_at"] == position

    def test_what_is_projected_waits_for_what_the_caller_has_seen(self, world: Service) -> None:
        position = world.post(own(contribute("E1", 1, "x"))).json()["last_position"]
        threading.Timer(0.3, world.project).start()
        for path in ("/v1/accounts/E1/statement", "/v1/people/E1", "/v1/control-totals"):
            assert world.get(path, params={"seen": position}).json()["known_at"] == position

    def test_and_no_longer_than_a_bound(self, world: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ledger.projections.standing.MAX_WAIT_S", 0.05)
        position = world.post(own(contribute("E1", 1, "x"))).json()["last_position"]
        for path in ("/v1/accounts/E1/statement", "/v1/people/E1", "/v1/control-totals"):
            found = problem(world.get(path, params={"seen": position}), 503, "projection-behind")
            assert (found["position"], found["seen"]) == (position, position - 1)

    @pytest.mark.parametrize("path", [path for path in READINGS if path != "/v1/events"])
    def test_what_nobody_can_have_seen_is_a_conflict(
        self, world: Service, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        monkeypatch.setattr("ledger.projections.standing.MAX_WAIT_S", 0.05)
        asked = [{"seen": 11}, {"seen": MAX_POSITION}]
        if path != "/v1/people/ea-core:1":
            asked += [{"known_at": 11}, {"known_at": MAX_POSITION}]
        for parameters in asked:
            assert problem(world.get(path, params=parameters), 409, "position-not-recorded")["head"] == 10


# Of ledger/api/parameters.py: invariants 1 to 3.
WRONG = {
    "known_at": [
        *("-1", "1.0", "1e1", "+1", "%201", "1_0", "", "%00", "0x1", "true", "null", "NaN"),
        *("%D9%A1", "9" * 5_000, str(MAX_POSITION + 1)),
    ],
    "seen": ["-1", "1.5", "", str(2**64)],
    "as_of": [
        *("2026-02-30", "20260101", "1700000000", "1e9", "2026-1-1", "", "0000-01-01", "2026-13-01", "today"),
        *("2026-01-01T00:00:00", "%FF%FF%FF%FF-01-01", "2026-01-01%00", "%D9%A2026-01-01", "x" * 50_000),
    ],
    "limit": ["0", "-1", "501", "1.0", "", "all"],
    "order": ["", "EFFECTIVE", "amount"],
    "cursor": ["x" * 513],
}


class TestParameters:
    @pytest.mark.parametrize("name", WRONG)
    def test_another_spelling_is_no_value(self, world: Service, name: str) -> None:
        for value in WRONG[name]:
            response = world.get(f"/v1/accounts/E1/statement?{name}={value}")
            assert problem(response, 400, "wrong-parameter")["errors"][0]["place"] == name, value

    @pytest.mark.parametrize("value", ["yes", "1", "True", "", "on", "t"])
    def test_a_truth_is_true_or_false(self, world: Service, value: str) -> None:
        response = world.get(f"/v1/control-totals?by_day={value}")
        assert problem(response, 400, "wrong-parameter")["errors"][0]["place"] == "by_day"

    @pytest.mark.parametrize("path", READINGS)
    def test_an_unknown_one_is_refused_and_not_repeated(self, world: Service, path: str) -> None:
        for name in ("Known_At", "secret-name", "%00", "%FF", "x" * 50_000):
            response = world.get(f"{path}?{name}=1")
            assert problem(response, 400, "wrong-parameter")["errors"][0]["place"] == "?"
            assert name not in response.text

    @pytest.mark.parametrize("path", READINGS)
    def test_of_two_values_neither_wins(self, world: Service, path: str) -> None:
        name = "after" if path == "/v1/events" else "seen"
        for values in ("1", "2"):
            response = world.get(f"{path}?{name}=1&{name}={values}")
            assert problem(response, 400, "wrong-parameter")["errors"][0]["place"] == name
        response = world.get(f"{path}?{name}=1&{name}=2&unknown=1&unknown=1")
        assert [each["place"] for each in problem(response, 400, "wrong-parameter")["errors"]] == [name, "?"]

    @pytest.mark.parametrize(
        "name",
        [
            "%00",
            "%0A",
            "E1%0A",
            "%FF",
            "%ED%A0%80",
            "..%2e",
            "E1%20",
            "e1",
            "%E4%BC%81",
            "'",
            "%25",
            "x" * 128,
            "x" * 256,
        ],
    )
    def test_an_id_that_nobody_has_is_unknown_whatever_its_characters(self, world: Service, name: str) -> None:
        problem(world.get(f"/v1/accounts/{name}"), 404, "account-unknown")
        problem(world.get(f"/v1/accounts/{name}/statement"), 404, "account-unknown")
        problem(world.get(f"/v1/people/{name}"), 404, "person-unknown")
        problem(world.get(f"/v1/people/{name}/balance-sheet"), 404, "person-unknown")

    def test_an_address_of_any_length_gets_an_answer(self, world: Service) -> None:
        problem(world.get(f"/v1/accounts/{'x' * 60_000}"), 400, "wrong-parameter")
        for path in ("/v1/accounts/", "/v1/accounts/E1/", "//v1/accounts/E1", "/v1/accounts/E1%2Fstatement/x", "/v2"):
            problem(world.get(path), 404, "unknown-route")

    def test_who_is_no_account_is_none(self, world: Service) -> None:
        one_id = world.get("/v1/people/E1").json()["one_id"]
        for name in (ONE, one_id):
            problem(world.get(f"/v1/accounts/{name}"), 404, "account-unknown")
            assert world.get(f"/v1/people/{name}").json()["one_id"] == one_id

    def test_before_it_was_opened_an_account_is_unknown(self, world: Service) -> None:
        for path in ("/v1/accounts/E1", "/v1/accounts/E1/statement"):
            problem(world.get(path, params={"known_at": 2}), 404, "account-unknown")
            assert world.get(path, params={"known_at": 3}).status_code == 200
        problem(world.get("/v1/people/E1/balance-sheet", params={"known_at": 0}), 404, "person-unknown")


def cursor_of(*members: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(members)).decode().rstrip("=")


class TestCursors:
    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "====",
            "%00",
            "%FF",
            "é",
            "W1tbW1tb" * 60,
            cursor_of(),
            cursor_of("E1"),
            cursor_of("E2", "effective", 10, None, "2026-01-10", 6),
            cursor_of("E1", "amount", 10, None, "2026-01-10", 6),
            cursor_of("E1", "effective", -1, None, "2026-01-10", 6),
            cursor_of("E1", "effective", 2**53, None, "2026-01-10", 6),
            cursor_of("E1", "effective", 10, "2026-02-30", "2026-01-10", 6),
            cursor_of("E1", "effective", 10, None, 1_700_000_000, 6),
            cursor_of("E1", "effective", 10, None, "2026-01-10", "6"),
            cursor_of("E1", "effective", 10, None, "2026-01-10", 6, 7),
            cursor_of("E1", "effective", True, None, "2026-01-10", 6),
            cursor_of({"account": "E1"}),
        ],
    )
    def test_one_that_was_not_given_out_is_invalid(self, world: Service, cursor: str) -> None:
        problem(world.get(f"/v1/accounts/E1/statement?cursor={cursor}"), 400, "cursor-invalid")

    def test_one_of_another_account_is_invalid(self, world: Service) -> None:
        cursor = world.get("/v1/accounts/E1/statement?limit=1").json()["next_cursor"]
        problem(world.get("/v1/accounts/E2/statement", params={"cursor": cursor}), 400, "cursor-invalid")

    def test_a_forged_one_reads_nothing_that_could_not_be_asked_for(self, world: Service) -> None:
        early = cursor_of("E1", "effective", 10, None, "0001-01-01", 0)
        found = world.get("/v1/accounts/E1/statement", params={"cursor": early}).json()
        assert found["lines"] == world.get("/v1/accounts/E1/statement").json()["lines"]
        beyond = cursor_of("E1", "position", MAX_POSITION, None, "9999-12-31", MAX_POSITION)
        problem(world.get("/v1/accounts/E1/statement", params={"cursor": beyond}), 409, "position-not-recorded")

    def test_the_last_page_has_none(self, world: Service) -> None:
        assert world.get("/v1/accounts/E1/statement?limit=3").json()["next_cursor"] is None
        assert world.get("/v1/accounts/P2/statement?limit=2").json()["next_cursor"] is None


class TestTheFeed:
    def follow(self, service: Service, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            page = service.get("/v1/events", params={"after": after, "limit": limit}).json()
            if not page["events"]:
                assert page["next_after"] == after == page["head"]
                return found
            found += page["events"]
            after = page["next_after"]

    @pytest.mark.parametrize("limit", [1, 3, 1_000])
    def test_every_event_comes_once_and_in_order(self, world: Service, limit: int) -> None:
        found = self.follow(world, limit)
        assert [each["position"] for each in found] == [*range(1, 11)]
        assert [each["command_id"] for each in found] == [f"ea-core/w/{number}" for number in range(1, 11)]
        assert found[5]["data"]["amounts_fen"] == {"employee": 10_000}
        assert (
            set(found[5])
            == set(found[0])
            == {*("position", "type", "effective_on", "recorded_at", "command_id", "actor", "tags", "data")}
        )

    def test_as_lines_it_is_the_same(self, world: Service) -> None:
        response = world.get("/v1/events", headers={"Accept": NDJSON})
        assert response.headers["content-type"] == NDJSON
        assert [json.loads(line) for line in response.text.splitlines()] == self.follow(world, 1_000)
        assert world.get("/v1/events?after=10", headers={"Accept": NDJSON}).content == b""

    def test_an_event_of_the_plain_recorder_comes_with_its_bytes(self, world: Service, database: Database) -> None:
        Journal(database).append([DCBEvent(type="Plain", data=b"\x00\xff", tags=["x:1"])])
        (event,) = world.get("/v1/events?after=10").json()["events"]
        assert (event["type"], event["tags"]) == ("Plain", ["x:1"])
        assert base64.b64decode(event["data_base64"]) == b"\x00\xff"
        assert "data" not in event

    def test_beyond_the_head_there_is_nothing_yet(self, world: Service) -> None:
        """At the head nothing; who has seen more than that follows another journal, such as one that was restored."""
        assert world.get("/v1/events?after=10").json() == {"head": 10, "next_after": 10, "events": []}
        for beyond in (11, MAX_POSITION):
            problem(world.get(f"/v1/events?after={beyond}"), 409, "position-not-recorded")

    @pytest.mark.parametrize("asked", ["after=-1", f"after={MAX_POSITION + 1}", "limit=0", "limit=1001", "seen=1"])
    def test_other_questions_are_refused(self, world: Service, asked: str) -> None:
        problem(world.get(f"/v1/events?{asked}"), 400, "wrong-parameter")


def test_of_an_empty_ledger_everything_can_be_asked(service: Service) -> None:
    assert service.get("/v1/events").json() == {"head": 0, "next_after": 0, "events": []}
    assert service.get("/v1/control-totals").json()["totals"] == []
    assert service.get("/v1/status").json()["head"] == 0
    problem(service.get("/v1/people/E1"), 404, "person-unknown")
    problem(service.get("/v1/accounts/E1"), 404, "account-unknown")


def test_a_person_with_too_many_facts_is_no_bad_request(world: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.facts.MAX_FACTS_ABOUT", 2)
    problem(world.get("/v1/people/E1/balance-sheet?as_of=2026-12-31"), 409, "reading-too-large")
    problem(world.get("/v1/accounts/E1?as_of=2026-12-31"), 409, "reading-too-large")
