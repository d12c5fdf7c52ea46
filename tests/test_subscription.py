"""Invariants 2 and 4 of the journal: who follows it sees every event once, in order, whatever befalls connections."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.persistence import IntegrityError

from ledger.application import Ledger, LedgerUnavailable, Receipt
from ledger.database import Database
from ledger.journal import Journal, JournalSubscription
from ledger.settings import Settings
from tests.books import assert_whole
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 20_000
WRITERS = 8
APPENDED = 40
KILLS_EVERY_S = 0.1
STOP_S = 3.0


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [t.name for t in set(threading.enumerate()) - before if not t.name.startswith(("ledger-", "pool-"))]
    assert left == []


def plain(text: str) -> DCBEvent:
    return DCBEvent(type="Written", data=text.encode(), tags=["writer"])


def connections_killed(database: Database, *, listening: bool) -> int:
    """Cut off the listener's connection, or every other one of the ledger: readers and writers in mid-transaction."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        rows = connection.execute(
            """
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'ledger' AND query LIKE 'LISTEN%%' = %s
            """,
            (listening,),
        ).fetchall()
    return len(rows)


def head_of(database: Database) -> int:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


def kill_until(done: threading.Event, database: Database) -> Counter[str]:
    killed: Counter[str] = Counter()
    for number in itertools.count():
        if done.wait(KILLS_EVERY_S):
            return killed
        listening = number % 3 == 0
        killed["listeners" if listening else "others"] += connections_killed(database, listening=listening)
    return killed


def write(database: Database, writer: int) -> Counter[str]:
    """Append and post in turn until the journal is long enough; some appends are refused, some rolled back halfway."""
    rng = random.Random(writer)  # noqa: S311  a test, not a secret
    journal, ledger = Journal(database), Ledger(database)
    done: Counter[str] = Counter()
    account = f"A{writer}"
    posted = 0
    while True:
        choice = rng.random()
        try:
            if choice < 0.5:
                head = journal.append([plain(f"{writer}")] * rng.randint(1, APPENDED))
                done["appended"] += 1
                if head >= EVENTS:
                    return done
            elif choice < 0.6:
                everything = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=["writer"])]))
                try:
                    journal.append([plain("never")], everything)
                except IntegrityError:
                    done["refused"] += 1
            elif choice < 0.7:
                with database.connect() as connection:
                    connection.execute("SELECT FROM head FOR UPDATE")
                    connection.execute("UPDATE head SET size = size + 3")
                    connection.rollback()
                done["rolled back"] += 1
            else:
                batch = [
                    register(f"sys:{writer}", f"{writer}/r"),
                    open_account(f"sys:{writer}", account, command_id=f"{writer}/o"),
                    *(contribute(account, 1, f"{writer}/{posted}/{n}") for n in range(rng.randint(1, APPENDED))),
                ]
                outcomes = ledger.post(batch)
                assert all(isinstance(outcome, Receipt) for outcome in outcomes)
                posted += 1
                done["posted"] += 1
        except (psycopg.OperationalError, LedgerUnavailable):
            done["cut off"] += 1


def test_under_eight_writers_and_killed_connections_none_is_missed_or_repeated(database: Database) -> None:
    """20,000 events; each follower gets 1..n, one from the middle gets the rest."""
    journal = Journal(database)
    received: dict[str, list[int]] = {"first": [], "second": [], "middle": []}
    middle = EVENTS // 2

    def follow(name: str, subscription: JournalSubscription) -> None:
        for event in subscription:
            received[name].append(event.position)

    done = threading.Event()
    with (
        journal.subscribe() as first,
        journal.subscribe(DCBQuery(items=[DCBQueryItem()])) as second,
        journal.subscribe(after=middle) as from_middle,
        ThreadPoolExecutor(WRITERS + 4) as pool,
    ):
        followers = {"first": first, "second": second, "middle": from_middle}
        following = [pool.submit(follow, name, subscription) for name, subscription in followers.items()]
        killing = pool.submit(kill_until, done, database)
        totals = sum(pool.map(write, [database] * WRITERS, range(WRITERS)), Counter[str]())
        done.set()
        size = head_of(database)
        deadline = time.monotonic() + 30
        while any(not got or got[-1] < size for got in received.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for subscription in followers.values():
            subscription.stop()
        for future in following:
            future.result(timeout=STOP_S)
        killed = killing.result()
    assert size >= EVENTS
    assert received["first"] == list(range(1, size + 1))
    assert received["second"] == list(range(1, size + 1))
    assert received["middle"] == list(range(middle + 1, size + 1))
    for what in ("appended", "refused", "rolled back", "posted", "cut off"):
        assert totals[what] > 0, totals
    assert killed["listeners"] > 3, killed
    assert killed["others"] > 20, killed
    assert_whole(database)


def test_only_what_the_query_names_is_followed(journal: Journal) -> None:
    journal.append([DCBEvent(type="A", data=b"", tags=[f"t:{n % 3}"]) for n in range(2_000)])
    query = DCBQuery(items=[DCBQueryItem(tags=["t:1"])])
    with journal.subscribe(query) as subscription:
        found = [event.position for event in itertools.islice(subscription, 667)]
        journal.append([DCBEvent(type="A", data=b"", tags=["t:0"]), DCBEvent(type="A", data=b"", tags=["t:1"])])
        assert [*found, next(subscription).position] == [*range(2, 2_001, 3), 2_002]


def test_a_post_wakes_a_follower_at_once(database: Database, journal: Journal) -> None:
    """Long before it would poll."""
    ledger = Ledger(database)
    ledger.post([register("sys:1")])
    waits = []
    with journal.subscribe() as subscription:
        assert next(subscription).event.type == "SourceIdentityRegistered"
        time.sleep(0.3)
        for number in range(2, 8):
            ledger.post([register(f"sys:{number}")])
            started = time.monotonic()
            next(subscription)
            waits.append(time.monotonic() - started)
    assert sorted(waits)[len(waits) // 2] < 0.3


def test_without_any_notification_it_polls(database: Database, journal: Journal) -> None:
    """Invariant 4: an event whose hint is lost arrives all the same."""
    with journal.subscribe() as subscription:
        journal.append([plain("1")])
        next(subscription)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("UPDATE head SET size = 2, recorded_at = clock_timestamp()")
            connection.execute(
                "INSERT INTO event SELECT 2, type, data, tags, effective_on, head.recorded_at, 'c', 'system:x' "
                "FROM event, head"
            )
        started = time.monotonic()
        assert next(subscription).position == 2
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("events", [0, 50_000])
def test_it_stops_promptly(journal: Journal, events: int) -> None:
    """Idle, and with far more ahead of it than its consumer took."""
    if events:
        journal.append([plain("1")] * events)
    with journal.subscribe() as subscription:
        if events:
            next(subscription)
        time.sleep(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < STOP_S
    with pytest.raises(StopIteration):
        next(subscription)


def test_a_waiting_consumer_is_released_when_another_thread_stops_it(journal: Journal) -> None:
    with journal.subscribe() as subscription, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, subscription)
        time.sleep(0.2)
        assert not waiting.done()
        subscription.stop()
        assert waiting.result(timeout=STOP_S) == []


def test_it_stops_promptly_while_the_server_is_out_of_reach() -> None:
    nowhere = Database(
        url="postgresql://nobody@/nowhere?host=/nonexistent", admin_url="", embedded=False, settings=Settings()
    )
    with Journal(nowhere).subscribe() as subscription:
        time.sleep(0.3)
        started = time.monotonic()
        subscription.stop()
    assert time.monotonic() - started < STOP_S
    nowhere.close()
