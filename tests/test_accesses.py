"""The auditor's list of who read what; the numbers are the invariants of replay/accesses.py."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.access import Access, read_records, record
from replay.accesses import Accesses, AccessUnknown, as_json, as_lines, list_accesses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database, TemporaryServer

RECORDED = [
    Access("user:li", "t1", "balance_sheet", "ea-core:1", {"as_of": "2025-12-31", "known_at": 3}, "audit", 200),
    Access("user:wu", "t2", "account", "E1", {}, "customer-service", 200),
    Access("user:li", "t1", "account", "E1\n\u202eE2", {"cursor": "a\nb"}, "audit", 404),
    Access("user:li", "t1", "events", "1-100", {"after": 0}, "audit", 304),
    Access("user:wu", "t2", "account", "E1", {"seen": 4}, "customer-service", 200),
]


@pytest.fixture(scope="module")
def database(server: TemporaryServer) -> Iterator[Database]:
    """Five readings by two people."""
    fresh = server.create_database("accesses")
    for each in RECORDED:
        record(fresh, each)
    yield fresh
    fresh.close()
    server.drop_database("accesses")


def listed(database: Database, **asked: Any) -> Accesses:
    """What the auditor's own role finds."""
    nothing: dict[str, Any] = dict.fromkeys(("subject", "actor", "since", "until", "after")) | {"limit": 100}
    with psycopg.connect(database.url.replace("ledger_app", "ledger_auditor")) as connection:
        return list_accesses(connection, **(nothing | asked))


def test_the_newest_come_first_as_the_api_lists_them(database: Database) -> None:
    found = listed(database)
    assert [(each.actor, each.action, each.status) for each in found.listed] == [
        (each.actor, each.action, each.status) for each in RECORDED[::-1]
    ]
    ours = read_records(database, subject=None, actor=None, since=None, until=None, after=None, limit=100)
    assert [tuple(each) for each in found.listed] == [tuple(each) for each in ours.records]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"subject": "E1"}, 2),
        ({"actor": "user:li"}, 3),
        ({"actor": "user:wu", "subject": "E1"}, 2),
        ({"subject": "E1\n\u202eE2"}, 1),
        ({"subject": "E1\x00"}, 0),
        ({"since": datetime.fromisoformat("2200-01-01T00:00:00Z")}, 0),
        ({"until": datetime.fromisoformat("2200-01-01T00:00:00Z")}, 5),
    ],
)
def test_it_is_narrowed_by_subject_actor_and_time(database: Database, asked: dict[str, Any], count: int) -> None:
    assert len(listed(database, **asked).listed) == count


def test_a_span_of_time_begins_with_its_first_moment_and_ends_before_its_last(database: Database) -> None:
    times = [each.accessed_at for each in listed(database).listed][::-1]
    assert len(listed(database, since=times[1], until=times[3]).listed) == 2
    assert len(listed(database, since=times[1], until=times[3] + timedelta(microseconds=1)).listed) == 3


@pytest.mark.parametrize("limit", [1, 2, 5, 100, 10**9])
def test_pages_hold_each_record_once(database: Database, limit: int) -> None:
    """Invariant 2."""
    found = []
    after: UUID | None = None
    for _ in RECORDED:
        page = listed(database, limit=limit, after=after)
        assert len(page.listed) <= limit
        found += page.listed
        after = page.next_after
        if after is None:
            break
    assert after is None
    assert found == listed(database).listed


def test_after_an_unknown_record_nothing_is_guessed(database: Database) -> None:
    with pytest.raises(AccessUnknown, match="no access record with this id"):
        listed(database, after=uuid4())


def test_each_is_one_line_that_says_who_what_about_whom_and_what_for(database: Database) -> None:
    """Invariant 1."""
    lines = as_lines(listed(database).listed)
    assert [line.partition(" ")[2] for line in lines] == [
        "user:wu account E1 seen=4 for customer-service: 200",
        "user:li events 1-100 after=0 for audit: 304",
        "user:li account E1\ufffd\ufffdE2 cursor=a\ufffdb for audit: 404",
        "user:wu account E1 for customer-service: 200",
        "user:li balance_sheet ea-core:1 as_of=2025-12-31 known_at=3 for audit: 200",
    ]
    assert all(datetime.fromisoformat(line.partition(" ")[0]).tzinfo is not None for line in lines)


def test_as_json_all_of_it_is_told_in_the_same_bytes(database: Database) -> None:
    text = as_json(listed(database, limit=2))
    assert text == as_json(listed(database, limit=2))
    found = json.loads(text)
    assert [each["token_id"] for each in found["accesses"]] == ["t2", "t1"]
    assert found["accesses"][1]["access_id"] == found["next_after"]
    assert found["accesses"][0]["question"] == {"seen": 4}
    assert json.loads(as_json(listed(database)))["next_after"] is None
