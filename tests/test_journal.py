"""The journal answers as the library's own recorders do, and keeps its positions; the numbers are its invariants."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import psycopg
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem, DCBRecorder
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, ProgrammingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.domain.events import FACTS
from ledger.journal import MAX_LEAF_BYTES, MAX_TEXT_CHARACTERS, AppendRefused, Journal, _select, locked
from tests.books import assert_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.database import Database

TYPES = ["Opened", "Paid", "Closed", "Ümlaut 类型"]
TAGS = ["account:a", "account:b", "identity:x", "标签", "odd \"{,\\}' %s %%"]
NAMES = st.sampled_from(TYPES)
SOME_TAGS = st.lists(st.sampled_from(TAGS), max_size=3, unique=True)
EVENTS = st.builds(DCBEvent, type=NAMES, data=st.binary(max_size=40), tags=SOME_TAGS)
ITEMS = st.builds(DCBQueryItem, types=st.lists(NAMES, max_size=3), tags=st.lists(st.sampled_from(TAGS), max_size=3))
QUERIES = st.none() | st.builds(DCBQuery, items=st.lists(ITEMS, max_size=4))
POSITIONS = st.none() | st.integers(min_value=0, max_value=40)
LIMITS = st.none() | st.integers(min_value=0, max_value=20)
CONDITIONS = st.none() | st.builds(DCBAppendCondition, fail_if_events_match=QUERIES.filter(bool), after=POSITIONS)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture(params=["library", "ours"])
def recorder(request: pytest.FixtureRequest) -> DCBRecorder:
    """Every test that takes this runs on the library's journal in memory and on ours."""
    if request.param == "library":
        return InMemoryDCBRecorder()
    found = request.getfixturevalue("journal")
    assert isinstance(found, Journal)
    return found


class TestTheLibrarysOwnSuite:
    """Invariant 3."""

    def test_append_and_read(self, recorder: DCBRecorder) -> None:
        DCBRecorderTestCase()._test_append_read(recorder)

    def test_append_and_subscribe(self, recorder: DCBRecorder) -> None:
        DCBRecorderTestCase()._test_append_subscribe(recorder)

    def test_append_and_subscribe_after_other_events(self, recorder: DCBRecorder) -> None:
        recorder.append([DCBEvent(type="Before", data=b"")] * 7)
        DCBRecorderTestCase()._test_append_subscribe(recorder, initial_position=7)


def outcome(step: Callable[[], object]) -> object:
    try:
        return step()
    except IntegrityError:
        return IntegrityError


def answer(
    recorder: DCBRecorder, query: DCBQuery | None, after: int | None, limit: int | None
) -> tuple[list[tuple[int, str, bytes, list[str]]], int | None]:
    response = recorder.read(query, after=after, limit=limit)
    events = [(e.position, e.event.type, e.event.data, list(e.event.tags)) for e in response]
    return events, response.head


class TestConformance:
    """One suite over two journals: whatever is asked, both give the same answer."""

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        appends=st.lists(st.tuples(st.lists(EVENTS, min_size=1, max_size=8), CONDITIONS), max_size=5),
        reads=st.lists(st.tuples(QUERIES, POSITIONS, LIMITS), min_size=1, max_size=12),
    )
    def test_both_journals_answer_alike(
        self,
        journal: Journal,
        appends: list[tuple[list[DCBEvent], DCBAppendCondition | None]],
        reads: list[tuple[DCBQuery | None, int | None, int | None]],
    ) -> None:
        # Ours keeps what earlier examples appended; theirs is filled with the same first.
        theirs = InMemoryDCBRecorder()
        if held := [found.event for found in journal.read()]:
            theirs.append(held)
        start = len(held)
        for events, condition in appends:
            if condition is not None and condition.after is not None:
                condition.after += max(start - 20, 0)
            assert outcome(lambda e=events, c=condition: journal.append(e, c)) == outcome(  # type: ignore[misc]
                lambda e=events, c=condition: theirs.append(e, c)  # type: ignore[misc]
            )
        for query, after, limit in reads:
            moved = None if after is None else after + max(start - 10, 0)
            assert answer(journal, query, moved, limit) == answer(theirs, query, moved, limit)

    def test_an_append_of_nothing_is_an_error(self, recorder: DCBRecorder) -> None:
        with pytest.raises(ProgrammingError):
            recorder.append([])

    def test_a_failed_condition_appends_nothing(self, recorder: DCBRecorder) -> None:
        event = DCBEvent(type="Opened", data=b"1", tags=["account:a"])
        recorder.append([event])
        with pytest.raises(IntegrityError):
            recorder.append([event] * 3, DCBAppendCondition(DCBQuery([DCBQueryItem(tags=["account:a"])])))
        assert recorder.read().head == 1
        assert recorder.append([event]) == 2

    def test_any_bytes_come_back_as_they_were(self, recorder: DCBRecorder) -> None:
        datas = [b"", bytes(range(256)), b"\x1e\x1f;,", "养老金".encode("utf-16"), b"{}", os.urandom(1_000_000)]
        for data in datas:
            recorder.append([DCBEvent(type="Opened", data=data)])
        recorder.append([DCBEvent(type="Opened", data=data) for data in datas])
        assert [found.event.data for found in recorder.read()] == datas * 2

    def test_a_query_of_many_items_is_answered(self, recorder: DCBRecorder) -> None:
        recorder.append([DCBEvent(type="Opened", data=b"", tags=[f"account:{n}", "all"]) for n in range(500)])
        items = [DCBQueryItem(types=["Opened"], tags=[f"account:{n}", "all"]) for n in range(0, 500, 2)]
        found = list(recorder.read(DCBQuery(items=items)))
        assert [event.position for event in found] == list(range(1, 501, 2))

    def test_a_big_append_is_one(self, recorder: DCBRecorder) -> None:
        data = b"x" * 500
        events = [DCBEvent(type="Paid", data=data, tags=[f"account:{n}", f"batch:{n % 7}"]) for n in range(20_000)]
        assert recorder.append(events) == 20_000
        found = list(recorder.read())
        assert [event.position for event in found] == list(range(1, 20_001))
        assert [event.event for event in found] == events


class TestPositions:
    """Invariant 1."""

    def test_a_rolled_back_append_leaves_no_gap(self, journal: Journal) -> None:
        rng = random.Random(1)  # noqa: S311  a test, not a secret
        event = DCBEvent(type="Paid", data=b"1", tags=["account:a"])
        expected = 0
        for _ in range(60):
            size = rng.randint(1, 5)
            if rng.random() < 0.4 and expected:
                with pytest.raises(IntegrityError):
                    journal.append([event] * size, DCBAppendCondition())
            else:
                expected += size
                assert journal.append([event] * size) == expected
        assert_whole(journal.database)

    def test_an_interrupt_in_the_middle_of_a_statement_is_not_hidden_by_a_failed_rollback(
        self, journal: Journal
    ) -> None:
        """The connection takes no further statement then: it is closed, and with it the transaction."""
        with (  # noqa: PT012 - the interrupt comes after a statement
            pytest.raises(KeyboardInterrupt),
            journal.database.connection() as connection,
            locked(connection),
        ):
            connection.execute("UPDATE head SET size = 7")
            connection.pgconn.send_query(b"SELECT")
            raise KeyboardInterrupt
        assert journal.append([DCBEvent(type="Paid", data=b"1")]) == 1

    def test_a_tag_named_twice_is_kept_once(self, journal: Journal) -> None:
        journal.append([DCBEvent(type="Paid", data=b"", tags=["b", "a", "b"])])
        assert next(iter(journal.read())).event.tags == ["b", "a"]


class TestStorable:
    """What a leaf could not hold is refused with one stable error, and nothing of its append is kept."""

    def refused(self, journal: Journal, event: DCBEvent) -> None:
        with pytest.raises(AppendRefused, match="control characters"):
            journal.append([DCBEvent(type="Fine", data=b""), event])
        assert journal.read().head is None

    def test_no_control_character_in_a_type_or_tag(self, journal: Journal) -> None:
        for character in map(chr, (*range(32), 127)):
            for text in (character, f"a{character}", f"a{character}b", f"{character}b"):
                self.refused(journal, DCBEvent(type=text, data=b""))
                self.refused(journal, DCBEvent(type="Paid", data=b"", tags=["fine", text]))

    def test_no_text_that_is_empty_too_long_or_not_unicode(self, journal: Journal) -> None:
        for text in ("", "x" * (MAX_TEXT_CHARACTERS + 1), "\ud800"):
            self.refused(journal, DCBEvent(type=text, data=b""))
            self.refused(journal, DCBEvent(type="Paid", data=b"", tags=[text]))

    def test_no_more_tags_than_a_leaf_holds(self, journal: Journal) -> None:
        tags = [f"{n:0512}" for n in range(MAX_LEAF_BYTES // 512)]
        self.refused(journal, DCBEvent(type="Paid", data=b"", tags=tags))
        assert journal.append([DCBEvent(type="Paid", data=b"", tags=tags[:-2])]) == 1

    def test_the_longest_text_of_the_widest_characters_fits_every_index(self, journal: Journal) -> None:
        letters = random.Random(2)  # noqa: S311  a test, not a secret
        text = "".join(chr(letters.randint(0x20000, 0x2A6D0)) for _ in range(MAX_TEXT_CHARACTERS))
        journal.append([DCBEvent(type=text, data=b"", tags=[text])])
        query = DCBQuery(items=[DCBQueryItem(types=[text], tags=[text])])
        assert [found.position for found in journal.read(query)] == [1]

    def test_no_fact_of_the_ledger_comes_in_undecided(self, journal: Journal) -> None:
        for name in FACTS:
            self.refused(journal, DCBEvent(type=name, data=b"{}"))


def test_a_query_may_name_what_no_event_can_hold(recorder: DCBRecorder) -> None:
    """It matches nothing."""
    recorder.append([DCBEvent(type="Paid", data=b"", tags=["account:a"])])
    for text in ("", "\x00", "\x1e", "\ud800", "x" * 100_000):
        for item in (DCBQueryItem(types=[text]), DCBQueryItem(tags=[text]), DCBQueryItem([text], [text])):
            assert list(recorder.read(DCBQuery(items=[item]))) == []


def test_a_query_of_several_items_reads_no_more_than_matches(journal: Journal) -> None:
    """Counted by the server: each item is answered by the index of tags, and the journal is not scanned."""
    journal.append([DCBEvent(type="Paid", data=b"", tags=[f"account:{n % 1_000}", "all"]) for n in range(20_000)])
    items = [
        DCBQueryItem(tags=["account:7"]),
        DCBQueryItem(["Paid"], ["account:8", "all"]),
        DCBQueryItem(tags=["none"]),
    ]
    with journal.database.connection() as connection:
        connection.execute("SELECT FROM event LIMIT 1")
        found = _select(connection, DCBQuery(items=items), after=0, limit=None).fetchall()
        row = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'event'"
        ).fetchone()
    assert len(found) == 40
    assert row is not None
    assert row[0] <= 200


def test_honest_defaults_stand_in_the_columns_that_plain_events_lack(journal: Journal) -> None:
    """A day in China, an id that names the position, and the recorder as the actor."""
    journal.append([DCBEvent(type="Paid", data=b"1"), DCBEvent(type="Paid", data=b"2")])
    with psycopg.connect(journal.database.admin_url) as connection:
        rows = connection.execute(
            """
            SELECT command_id, actor, effective_on = (recorded_at AT TIME ZONE 'Asia/Shanghai')::date
            FROM event
            ORDER BY position
            """
        ).fetchall()
    assert rows == [(f"recorder/{n}", "system:recorder", True) for n in (1, 2)]


def test_recorded_at_never_falls_and_is_one_for_an_append(journal: Journal) -> None:
    for size in (3, 1, 2):
        journal.append([DCBEvent(type="Paid", data=b"1")] * size)
    with psycopg.connect(journal.database.admin_url) as connection:
        rows = connection.execute("SELECT recorded_at FROM event ORDER BY position").fetchall()
    moments = [row[0] for row in rows]
    assert moments == sorted(moments)
    assert [len(list(group)) for _, group in itertools.groupby(moments)] == [3, 1, 2]
