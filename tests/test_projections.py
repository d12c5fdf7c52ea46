"""The projections and the projector: nothing skipped, nothing doubled, and the same numbers on every road."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from eventsourcing.dcb.api import DCBEvent
from pydantic import ValidationError

from ledger.application import Ledger
from ledger.domain.events import SourceIdentityRegistered
from ledger.domain.history import sheet_at
from ledger.domain.identifiers import one_id_of
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL, postings
from ledger.journal import Journal
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projections.control_totals import SPANS, Totals
from ledger.projections.people import People, read_person
from ledger.projections.standing import (
    MAX_AHEAD,
    MAX_WAIT_S,
    PersonUnknown,
    PositionNotRecorded,
    ProjectionBehind,
)
from ledger.projections.statements import AccountUnknown, Cursor, Statements
from ledger.projector import Projector
from ledger.rebuilding import Rebuild, RebuildFailed, RebuildRunning, SlotStillRead, rebuild
from ledger.taking import NAMES
from tests.commands import (
    CAP_FEN,
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
from tests.domain import histories
from tests.domain.scenario import Books
from tests.projected import TABLES, assert_rows_and_positions_agree, facts_of, rows_of, statement, totals
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg.rows import TupleRow

    from ledger.database import Database
    from ledger.domain.commands import Command
    from ledger.domain.decider import Decision

DATES = [None, date(2025, 7, 1), date(2025, 12, 31), date(2026, 3, 2)]


class _KeptBooks(Books):
    """Books that keep the commands which were tried on them."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[Command] = []

    def post(self, command: Command) -> Decision:
        self.commands.append(command)
        return super().post(command)


@pytest.fixture
def random_commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """A few hundred commands of everything that can happen, some of which will be refused."""
    monkeypatch.setattr(histories, "Books", _KeptBooks)
    history = histories.History(seed=5)
    history.run(700)
    books = history.books
    assert isinstance(books, _KeptBooks)
    return books.commands


def two_people(ledger: Ledger) -> None:
    """Eleven facts: identities at 1 and 2, accounts at 3 to 5, contributions at 6 to 8, a transfer at 9, returns, a reversal."""
    ledger.post([register("ea:1"), register("pp:7")])
    ledger.post([open_account("ea:1", "A1"), open_account("ea:1", "A2"), open_account("pp:7", "P7", PERSONAL)])
    ledger.post(
        [contribute("A1", 500, effective_on=date(2026, 2, 20)), contribute("A1", 30, effective_on=date(2026, 1, 5))]
    )
    ledger.post([contribute_own("P7", CAP_FEN), transfer("A1", "A2", 100), credit("A2", 7), reverse(7)])


def test_all_roads_lead_to_the_same_numbers(database: Database, random_commands: Sequence[Command]) -> None:
    """Memory, lines, totals and facts agree at every position asked for, and the trial balance is zero."""
    ledger, projector = Ledger(database), Projector(database)
    answered: dict[int, dict[str, str]] = {}
    for start in range(0, len(random_commands), 40):
        ledger.post(random_commands[start : start + 40])
        projector.catch_up()
        sids = [fact.sid for _, fact in facts_of(database) if isinstance(fact, SourceIdentityRegistered)]
        reads = {sid: read_balance_sheet(database, sid) for sid in sids}
        (known_at,) = {read.known_at for read in reads.values()}
        answered[known_at] = {sid: read.sheet.model_dump_json() for sid, read in reads.items()}
    facts = facts_of(database)
    assert len(facts) > 300
    for known_at, sheets in answered.items():
        known = [(position, fact) for position, fact in facts if position <= known_at]
        for sid, then in sheets.items():
            now = read_balance_sheet(database, sid, known_at=known_at)
            assert now.sheet.model_dump_json() == then
            for as_of in DATES[1:]:
                read = read_balance_sheet(database, sid, known_at=known_at, as_of=as_of)
                assert read.sheet == sheet_at(facts, sid, known_at=known_at, as_of=as_of)
        for as_of in DATES:
            held = [(p, fact) for p, fact in known if as_of is None or fact.effective_on <= as_of]
            expected: defaultdict[str, int] = defaultdict(int)
            for _, fact in held:
                for leg in postings(fact):
                    expected[leg.account] += leg.amount_fen
            read_now = totals(database, known_at=known_at, as_of=as_of)
            assert read_now.trial_balance_fen == 0
            external = sum(line.amount_fen for line in read_now.totals if line.product == EXTERNAL)
            assert external == expected.pop(EXTERNAL, 0)
            for account, fen in expected.items():
                page = statement(database, account, known_at=known_at, as_of=as_of)
                assert page.statement.balance_fen == fen == sum(page.statement.balances_fen.values())
                assert [line.balance_fen for line in page.statement.lines][-1] == fen
            by_day = totals(database, known_at=known_at, as_of=as_of, by_day=True)
            assert sum(line.lines for line in by_day.totals) == sum(line.lines for line in read_now.totals)


def test_people_are_who_memory_says_they_are(database: Database, random_commands: Sequence[Command]) -> None:
    """In one hop from every name (people.py 1 to 3), after whatever merged and parted them."""
    ledger, projector = Ledger(database), Projector(database)
    for start in range(0, len(random_commands), 90):
        ledger.post(random_commands[start : start + 90])
        projector.catch_up()
        for _, fact in facts_of(database):
            if isinstance(fact, SourceIdentityRegistered):
                sheet = read_balance_sheet(database, fact.sid).sheet
                person = read_person(database, fact.sid, seen=None)
                assert person == read_person(database, fact.one_id, seen=None)
                assert person.one_id == sheet.one_id
                assert [each.sid for each in person.identities] == [each.sid for each in sheet.identities]
                accounts = {a.account for pillar in sheet.pillars for p in pillar.products for a in p.accounts}
                assert {each.account for each in person.accounts} == accounts
                assert all(read_person(database, account, seen=None) == person for account in accounts)


def test_merge_and_unmerge_restore_every_reading(database: Database) -> None:
    """unmerge(merge(x)) is x, byte for byte, but for the journal's head and what is history."""
    ledger, projector = Ledger(database), Projector(database)
    two_people(ledger)

    def readings() -> str:
        projector.catch_up()
        people = [read_person(database, name, seen=None).model_dump(exclude={"known_at"}) for name in ("ea:1", "P7")]
        sheets = [read_balance_sheet(database, name).sheet.model_dump() for name in ("A1", "pp:7")]
        pages = [
            statement(database, account).statement.model_dump(exclude={"known_at"}) for account in ("A1", "A2", "P7")
        ]
        return json.dumps([people, sheets, pages, totals(database).model_dump(exclude={"known_at"})], default=str)

    before = readings()
    ledger.post([merge("ea:1", "pp:7")])
    merged = readings()
    assert read_person(database, "A1", seen=None).one_id == read_person(database, "P7", seen=None).one_id
    ledger.post([unmerge(["ea:1"], ["pp:7"])])
    assert merged != before
    assert readings() == before


def test_a_statement_in_both_orders_and_on_both_axes(database: Database) -> None:
    ledger = Ledger(database)
    two_people(ledger)
    Projector(database).catch_up()
    by_date = statement(database, "A1").statement
    assert [(line.position, line.kind, line.amount_fen, line.balance_fen) for line in by_date.lines] == [
        (7, "contribution", 30, 30),
        (9, "transfer", -100, -70),
        (11, "contribution", -30, -100),
        (6, "contribution", 500, 400),
    ]
    assert by_date.lines[2].reverses == 7
    assert (by_date.sid, by_date.product, by_date.balances_fen) == ("ea:1", "enterprise_annuity", {"employee": 400})
    by_position = statement(database, "A1", order="position").statement
    assert [line.position for line in by_position.lines] == [6, 7, 9, 11]
    assert [line.balance_fen for line in by_position.lines] == [500, 530, 430, 400]
    assert [
        line.position for line in statement(database, "A1", known_at=9, as_of=date(2026, 2, 15)).statement.lines
    ] == [7, 9]
    assert statement(database, "A1", known_at=9).statement.balance_fen == 430
    assert statement(database, "A2", known_at=4).statement.lines == []
    for name, asked in {"A2": {"known_at": 3}, "A9": {}, "": {}, "\x00": {}}.items():
        with pytest.raises(AccountUnknown):
            statement(database, name, **asked)


@pytest.mark.parametrize("order", ["effective", "position"])
def test_pages_go_on_where_the_last_ended_whatever_came_since(database: Database, order: str) -> None:
    """A page belongs to the position of the first one: facts of today change no balance on the next page (statements.py 2)."""
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1")])
    ledger.post([contribute("A1", n, effective_on=date(2026, 1 + n % 2, 1 + n % 7)) for n in range(1, 60)])
    projector.catch_up()
    whole = statement(database, "A1", order=order)
    assert whole.following is None
    lines = []
    after: Cursor | None = None
    for _ in range(30):
        page = statement(database, "A1", order=order, after=after, limit=7)
        lines += page.statement.lines
        assert page.statement.known_at == whole.statement.known_at
        assert page.statement.balance_fen == whole.statement.balance_fen
        after = page.following
        if after is None:
            break
        ledger.post([contribute("A1", 1_000, effective_on=date(2026, 1, 1))])
        projector.catch_up()
    assert lines == whole.statement.lines
    assert all(earlier.balance_fen + later.amount_fen == later.balance_fen for earlier, later in pairwise(lines))


def test_a_rebuild_gives_the_same_rows_as_following_did(database: Database, random_commands: Sequence[Command]) -> None:
    """Whatever the stretches were; and readings never see the slot that is being filled."""
    ledger, projector = Ledger(database), Projector(database)
    for start in range(0, len(random_commands), 17):
        ledger.post(random_commands[start : start + 17])
        projector.catch_up()
    live = rows_of(database)
    assert all(live.values())
    assert rebuild(database, NAMES) == len(facts_of(database))
    assert rows_of(database) == live
    assert rows_of(database, dict.fromkeys(TABLES, 1)) == {table: [] for table in live}
    rebuild(database, ["statements"])
    assert rows_of(database) == live


def test_a_rebuild_that_was_cut_off_goes_on(
    database: Database, random_commands: Sequence[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, projector = Ledger(database), Projector(database)
    ledger.post(random_commands)
    projector.catch_up()
    live = rows_of(database)
    monkeypatch.setattr("ledger.taking.STRETCH", 50)
    passed: list[int] = []

    def cut_off(facts: int) -> None:
        passed.append(facts)
        if len(passed) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(database, ["people", "statements"], progress=cut_off)
    assert rows_of(database) == live
    with psycopg.connect(database.admin_url) as connection:
        reached = connection.execute(
            "SELECT name, position FROM projection_slot WHERE slot = 2 ORDER BY name"
        ).fetchall()
    assert reached == [("control_totals", None), ("people", 150), ("statements", 150)]
    rebuild(database, NAMES)
    assert rows_of(database) == live


def test_readings_stay_whole_while_rebuilds_swap_and_writers_write(database: Database) -> None:
    """The balance of a closed circle of transfers never changes, whichever slot is read."""
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), open_account("ea:1", "A2"), contribute("A1", 1_000)])
    projector.catch_up()
    done = threading.Event()
    stop = threading.Event()

    def read() -> int:
        count = 0
        while not done.is_set():
            read_now = totals(database)
            assert read_now.trial_balance_fen == 0
            held = sum(line.amount_fen for line in read_now.totals if line.product != EXTERNAL)
            assert held == 1_000
            page = statement(database, "A1").statement
            assert page.balance_fen in (0, 1_000)
            assert page.lines[-1].balance_fen == page.balance_fen
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(read)
        follower = pool.submit(Projector(database).run, stop)
        try:
            for number in range(12):
                here, there = ("A1", "A2") if number % 2 == 0 else ("A2", "A1")
                ledger.post([transfer(here, there, 1_000)])
                rebuild(database, ["control_totals", "statements"])
        finally:
            done.set()
            stop.set()
        assert reader.result() > 5
        follower.result()


def test_two_projectors_take_each_fact_once(database: Database) -> None:
    """Whoever holds the slot's row works; the other passes it over."""
    ledger = Ledger(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1")])
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(Projector(database).run, stop) for _ in range(2)]
        try:
            for _ in range(40):
                outcome = ledger.post([contribute("A1", 1), contribute("A1", 2)])[1]
            position = outcome.last_position  # type: ignore[union-attr]
            page = statement(database, "A1", seen=position).statement
        finally:
            stop.set()
        for each in running:
            each.result()
    assert (page.balance_fen, len(page.lines)) == (120, 80)


def test_a_reader_waits_for_what_it_has_seen_and_not_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seen` waits for the projector; what is not recorded is an error at once, or after the bound."""
    monkeypatch.setattr("ledger.projections.standing.MAX_WAIT_S", 0.3)
    ledger = Ledger(database)
    two_people(ledger)
    with pytest.raises(ProjectionBehind) as behind:
        statement(database, "A1", seen=11)
    assert (behind.value.position, behind.value.asked) == (0, 11)
    with pytest.raises(PositionNotRecorded) as beyond:
        read_balance_sheet(database, "A1", known_at=12)
    assert (beyond.value.asked, beyond.value.head) == (12, 11)
    with pytest.raises(PositionNotRecorded):
        read_balance_sheet(database, "A1", seen=12)
    late = threading.Timer(0.1, Projector(database).catch_up)
    late.start()
    assert statement(database, "A1", seen=11).statement.known_at == 11
    late.join()
    monkeypatch.setattr("ledger.projections.standing.MAX_WAIT_S", 5)
    later = threading.Timer(0.1, lambda: ledger.post([credit("A2", 1)]))
    later.start()
    assert read_balance_sheet(database, "A1", seen=12).known_at == 12
    later.join()


def _forge(database: Database, position: int) -> None:
    """Put bytes into a fact that no version of this program wrote, past all guards."""
    with past_all_guards(database) as connection:
        connection.execute("UPDATE event SET data = '{\"shape\": 2}' WHERE position = %s", (position,))


def test_an_unreadable_fact_stops_only_what_it_must(database: Database) -> None:
    """It has its dead letters, what it is about says so, everything else goes on; a rebuild that can read it heals all."""
    ledger, projector = Ledger(database), Projector(database)
    two_people(ledger)
    with psycopg.connect(database.admin_url) as connection:
        kept = connection.execute("SELECT data FROM event WHERE position = 7").fetchone()
    _forge(database, 7)
    projector.catch_up()
    assert statement(database, "A1").statement.missing == [7]
    assert [line.position for line in statement(database, "A1", order="position").statement.lines] == [6, 9, 11]
    assert statement(database, "A2").statement.missing == []
    assert statement(database, "A1", known_at=6).statement.missing == []
    read = totals(database)
    assert (read.missing, read.trial_balance_fen) == ([7], 0)
    sheet = read_balance_sheet(database, "A1", known_at=10).sheet
    assert [(each.code, each.position) for each in sheet.missing if each.code == "fact_unreadable"] == [
        ("fact_unreadable", 7)
    ]
    assert kept is not None
    with past_all_guards(database) as connection:
        connection.execute("UPDATE event SET data = %s WHERE position = 7", kept)
    rebuild(database, NAMES)
    assert statement(database, "A1").statement.missing == []
    assert [line.position for line in statement(database, "A1", order="position").statement.lines] == [6, 7, 9, 11]
    assert totals(database).missing == []


@contextmanager
def _failing(monkeypatch: pytest.MonkeyPatch, positions: set[int]) -> Iterator[None]:
    """The statements cannot take the facts at these positions."""
    lines = Recorded.lines

    def broken(self: Recorded) -> Any:
        if self.position in positions:
            message = "cannot be\nspelled"
            raise ValueError(message)
        return lines(self)

    with monkeypatch.context() as patched:
        patched.setattr(Recorded, "lines", broken)
        yield


def test_a_fact_that_one_projection_cannot_take_is_found_among_thousands(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By halves; its letter names the error, the other projections have it, and the facts around it stand."""
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), *(contribute("A1", 1) for _ in range(300))])
    with _failing(monkeypatch, {77, 200}):
        projector.catch_up()
    page = statement(database, "A1").statement
    assert (page.missing, page.balance_fen) == ([77, 200], 298)
    assert totals(database).missing == []
    with psycopg.connect(database.admin_url) as connection:
        letters = connection.execute(
            "SELECT name, position, tags, reason FROM dead_letter ORDER BY position"
        ).fetchall()
    assert letters == [("statements", at, ["account:A1"], "ValueError: cannot be") for at in (77, 200)]


def test_a_projection_that_can_take_nothing_halts_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound the fault is not with the facts: it stops where it stands, and says so to its readers."""
    monkeypatch.setattr("ledger.taking.MAX_DEAD_LETTERS", 5)
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), contribute("A1", 5)])
    projector.catch_up()
    ledger.post([contribute("A1", 1) for _ in range(20)])
    with _failing(monkeypatch, set(range(4, 1_000))):
        projector.catch_up()
        assert totals(database).known_at == 23
        page = statement(database, "A1").statement
        assert (page.known_at, page.balance_fen, page.missing) == (3, 5, [])
        with pytest.raises(ProjectionBehind, match="more than 5 facts"):
            statement(database, "A1", seen=23)
        with pytest.raises(RebuildFailed, match="statements: more than 5"):
            rebuild(database, ["statements"])
    rebuild(database, ["statements"])
    assert statement(database, "A1", seen=23).statement.balance_fen == 25


def test_only_one_rebuild_of_a_projection_runs(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SELECT FROM projection_slot WHERE name = 'people' FOR UPDATE")
        with pytest.raises(RebuildRunning):
            rebuild(database, ["statements", "people"])


def test_plain_events_are_passed_over(database: Database) -> None:
    """They are no facts of this ledger, and may bear any tag."""
    journal, ledger, projector = Journal(database), Ledger(database), Projector(database)
    journal.append([DCBEvent(type="Seen", data=b"\xff", tags=["account:A1", "identity:ea:1"])])
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), contribute("A1", 5)])
    projector.catch_up()
    assert statement(database, "A1").statement.missing == []
    assert totals(database).known_at == 4
    assert read_person(database, "A1", seen=4).one_id == read_balance_sheet(database, "ea:1").sheet.one_id


def test_nobody_is_nobody(database: Database) -> None:
    two_people(Ledger(database))
    Projector(database).catch_up()
    for name in ("ea:9", "A9", "P0123456789ABCDEF", "", "x" * 1_000, "李", "\x00", "\udcff"):
        with pytest.raises(PersonUnknown):
            read_person(database, name, seen=None)


def test_totals_are_whole_at_every_edge_of_a_span(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole spans of every size and the facts after them add up to all facts before, at each position (control_totals 2)."""
    monkeypatch.setattr("ledger.projections.control_totals.SPANS", (4, 16, 64))
    assert len(SPANS) == 4
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), *(contribute("A1", n) for n in range(1, 150))])
    projector.catch_up()
    for known_at in range(1, 151):
        held = [line for line in totals(database, known_at=known_at).totals if line.product != EXTERNAL]
        expected = sum(range(1, max(1, known_at - 1)))
        assert sum(line.amount_fen for line in held) == expected
        assert sum(line.lines for line in held) == max(0, known_at - 2)


def test_the_projector_outlives_its_connections(database: Database) -> None:
    """It says what befell it, and goes on where it was."""
    ledger = Ledger(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1")])
    stop, said = threading.Event(), list[str]()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Projector(database).run, stop, report=said.append)
        try:
            for _ in range(3):
                time.sleep(0.2)
                with psycopg.connect(database.admin_url, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                time.sleep(0.2)
            database.pool.check()
            outcome = ledger.post([contribute("A1", 3)])[0]
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    page = statement(database, "A1", seen=outcome.last_position).statement  # type: ignore[union-attr]
                    break
                except ProjectionBehind:
                    continue
        finally:
            stop.set()
        running.result()
    assert page.balance_fen == 3
    assert any("trying again" in sentence for sentence in said)


@contextmanager
def _reader_of_before(database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    """A reading that took its snapshot, and has not come to the rows yet."""
    with database.connect() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SELECT live_slot FROM projection")
        yield connection


def _aside(database: Database, name: str) -> tuple[int, int | None]:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute(
            "SELECT slot, position FROM projection_slot JOIN projection USING (name) "
            "WHERE name = %s AND slot <> live_slot",
            (name,),
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_a_reader_of_before_the_swap_still_reads_whole_rows(database: Database) -> None:
    """Invariant 2 of rebuilding.py: emptying the old slot waits for a reader that wrote nothing and holds no lock yet."""
    two_people(Ledger(database))
    Projector(database).catch_up()
    rows = rows_of(database)["statement_line"]
    with ThreadPoolExecutor(1) as pool, _reader_of_before(database) as reader:
        rebuilding = pool.submit(rebuild, database, ["statements"])
        deadline = time.monotonic() + 20
        while _aside(database, "statements")[0] != 1:
            assert time.monotonic() < deadline, "it does not swap while somebody reads"
            time.sleep(0.01)
        time.sleep(0.3)
        assert sorted(reader.execute("SELECT * FROM statement_line_1").fetchall(), key=str) == rows
        assert not rebuilding.done()
        assert rows_of(database)["statement_line"] == rows
        reader.rollback()
        assert rebuilding.result(10) == 11
    assert rows_of(database, dict.fromkeys(TABLES, 1))["statement_line"] == []


def test_a_reader_that_never_ends_keeps_its_rows_and_the_next_rebuild_empties_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 2 of rebuilding.py: whoever empties the slot, nobody reads a table that is emptied under them."""
    monkeypatch.setattr("ledger.rebuilding.READERS_WAIT_S", 0.2)
    two_people(Ledger(database))
    projector = Projector(database)
    projector.catch_up()
    rows = rows_of(database)["statement_line"]
    with _reader_of_before(database) as reader:
        assert rebuild(database, ["statements"]) == 11
        assert _aside(database, "statements") == (1, None)
        assert rows_of(database, dict.fromkeys(TABLES, 1))["statement_line"] == rows
        with pytest.raises(SlotStillRead):
            rebuild(database, ["statements"])
        assert sorted(reader.execute("SELECT * FROM statement_line_1").fetchall(), key=str) == rows
    rebuild(database, ["statements"])
    assert _aside(database, "statements") == (2, None)
    assert rows_of(database)["statement_line"] == rows
    assert rows_of(database, dict.fromkeys(TABLES, 2))["statement_line"] == []


def test_a_table_locked_by_a_backup_is_left_to_the_next_rebuild(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump holds every table for long; the rebuild has swapped by then, and is no failure."""
    two_people(Ledger(database))
    projector = Projector(database)
    projector.catch_up()
    rows = rows_of(database)
    lock_at_once = database._settings.model_copy(update={"lock_timeout_ms": 50})
    monkeypatch.setattr(database, "_settings", lock_at_once)
    with psycopg.connect(database.admin_url) as dump:
        dump.execute("LOCK TABLE person_identity_1 IN ACCESS SHARE MODE")
        assert rebuild(database, ["people"]) == 11
        with pytest.raises(SlotStillRead):
            rebuild(database, ["people"])
    rebuild(database, ["people"])
    assert rows_of(database) == rows


def test_a_rebuild_that_can_take_nothing_at_the_swap_does_not_swap(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came during the passes is taken while both slots are held; what cannot be taken there halts the new slot."""
    monkeypatch.setattr("ledger.taking.MAX_DEAD_LETTERS", 5)
    ledger, projector = Ledger(database), Projector(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), contribute("A1", 5)])
    projector.catch_up()
    swap = Rebuild._swap

    def late(*arguments: Any) -> Any:
        ledger.post([contribute("A1", 1) for _ in range(20)])
        return swap(*arguments)

    with monkeypatch.context() as patched, _failing(monkeypatch, set(range(4, 1_000))):
        patched.setattr(Rebuild, "_swap", late)
        with pytest.raises(RebuildFailed, match="statements: more than 5"):
            rebuild(database, ["statements"])
    assert _aside(database, "statements") == (2, 3)
    assert statement(database, "A1").statement.known_at == 3
    assert rebuild(database, ["statements"]) == 23
    assert statement(database, "A1").statement.balance_fen == 25


def test_rebuilds_that_race_leave_whole_rows(database: Database, random_commands: Sequence[Command]) -> None:
    """One works, the others are told so at once or after it; whoever empties a slot empties none that is used."""
    ledger, projector = Ledger(database), Projector(database)
    ledger.post(random_commands)
    projector.catch_up()
    live = rows_of(database)

    def race() -> int:
        try:
            return rebuild(database, TABLES)
        except RebuildRunning:
            return 0

    with ThreadPoolExecutor(4) as pool:
        reached = [each.result() for each in [pool.submit(race) for _ in range(8)]]
    assert set(reached) - {0} == {len(facts_of(database))}
    assert rows_of(database) == live


def test_a_rebuild_beside_one_that_goes_on_is_told_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And does the first one no harm, which was between two stretches and held no row."""
    monkeypatch.setattr("ledger.taking.STRETCH", 4)
    monkeypatch.setattr("ledger.rebuilding.CLAIM_WAIT_S", 0.05)
    two_people(Ledger(database))
    projector = Projector(database)
    projector.catch_up()
    rows = rows_of(database)
    refused = []

    def another(_facts: int) -> None:
        with pytest.raises(RebuildRunning) as running:
            rebuild(database, ["statements"])
        refused.append(running)

    assert rebuild(database, NAMES, progress=another) == 11
    assert len(refused) == 3
    assert rows_of(database) == rows


def test_a_rebuild_beside_a_projector_that_follows_and_a_writer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slots change places again and again, and each fact is taken once."""
    monkeypatch.setattr("ledger.taking.STRETCH", 20)
    ledger = Ledger(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1")])
    stop = threading.Event()

    def write() -> int:
        count = 0
        while not stop.is_set():
            ledger.post([contribute("A1", 1), contribute("A1", 2)])
            count += 2
        return count

    with ThreadPoolExecutor(2) as pool:
        writing, following = pool.submit(write), pool.submit(Projector(database).run, stop)
        try:
            for _ in range(8):
                rebuild(database, TABLES)
                assert_rows_and_positions_agree(database)
        finally:
            stop.set()
        written = writing.result()
        following.result()
    Projector(database).catch_up()
    assert assert_rows_and_positions_agree(database) == dict.fromkeys(TABLES, written + 2)


def test_catching_up_waits_for_who_holds_the_slots_and_not_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has posted and then reads sees it, whoever projects; a projector that hangs is not waited for for ever."""
    two_people(Ledger(database))
    with psycopg.connect(database.admin_url) as holding:
        holding.execute("SELECT FROM projection_slot FOR UPDATE")
        late = threading.Timer(0.3, holding.rollback)
        late.start()
        assert Projector(database).catch_up() == 11
        late.join()
    Ledger(database).post([credit("A2", 1)])
    monkeypatch.setattr("ledger.projector.OTHERS_WAIT_S", 0.2)
    with psycopg.connect(database.admin_url) as holding:
        holding.execute("SELECT FROM projection_slot FOR UPDATE")
        assert Projector(database).catch_up() == 0


@pytest.mark.parametrize("at", range(4))
def test_a_connection_lost_within_a_rebuild_is_what_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The first error, and not that the connection is closed; the rebuild goes on when called again."""
    monkeypatch.setattr("ledger.taking.STRETCH", 3)
    two_people(Ledger(database))
    projector = Projector(database)
    projector.catch_up()
    rows = rows_of(database)
    passed: list[int] = []

    def cut_off(facts: int) -> None:
        passed.append(facts)
        if len(passed) == at:
            _terminate_all(database)

    if at == 0:
        swap = Rebuild._swap

        def cut_off_swap(*arguments: Any) -> Any:
            _terminate_all(database)
            return swap(*arguments)

        monkeypatch.setattr(Rebuild, "_swap", cut_off_swap)
    with pytest.raises(psycopg.OperationalError, match=r"terminating connection|closed the connection") as lost:
        rebuild(database, NAMES, progress=cut_off)
    assert "the connection is closed" not in str(lost.value)
    database.pool.check()
    assert rows_of(database) == rows
    monkeypatch.undo()
    assert rebuild(database, NAMES) == 11
    assert rows_of(database) == rows


def _terminate_all(database: Database) -> None:
    """Every connection to the database but this one."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_an_interrupt_within_a_stretch_leaves_rows_and_position_as_they_were(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1 of taking.py, for Ctrl-C anywhere: in the first, second and last projection of the stretch."""
    two_people(Ledger(database))
    for applied in (Totals, People, Statements):
        apply = applied.apply

        def interrupted(*arguments: Any, apply: Any = apply) -> None:
            apply(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(applied, "apply", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Projector(database).catch_up()
        assert assert_rows_and_positions_agree(database) == dict.fromkeys(TABLES, 0)
    assert Projector(database).catch_up() == 11
    assert assert_rows_and_positions_agree(database) == dict.fromkeys(TABLES, 11)


def test_no_account_takes_the_name_of_a_person(database: Database) -> None:
    """A one_id can be computed by anybody; it names her alone, also where an account of old is spelled so."""
    with pytest.raises(ValidationError, match="cannot be named as one_ids are"):
        open_account("ea:1", one_id_of("pp:7"))
    ledger = Ledger(database)
    ledger.post([register("ea:1"), register("pp:7")])
    of_old = open_account("ea:1", "X").model_copy(update={"account": one_id_of("pp:7")})
    ledger.post([of_old])
    Projector(database).catch_up()
    assert read_balance_sheet(database, one_id_of("pp:7")).sheet.identities[0].sid == "pp:7"
    assert read_person(database, one_id_of("pp:7"), seen=None).identities[0].sid == "pp:7"


def test_more_letters_than_are_shown_are_left_out_of_the_totals(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not taken is in no sum, neither in a whole span nor after it."""
    ledger = Ledger(database)
    ledger.post([register("ea:1"), open_account("ea:1", "A1"), *(contribute("A1", 1) for _ in range(400))])

    def broken(self: Recorded) -> Any:
        if self.position <= 152:
            raise ValueError
        return postings(self.fact)

    with monkeypatch.context() as patched:
        patched.setattr(Recorded, "legs", property(broken))
        Projector(database).catch_up()
    found = totals(database)
    assert (len(found.missing), found.trial_balance_fen) == (100, 0)
    assert sum(line.lines for line in found.totals if line.product != EXTERNAL) == 250


def test_money_of_an_account_whose_opening_is_unreadable_is_counted_all_the_same(database: Database) -> None:
    """Under no product that is known; the opening alone has a letter."""
    ledger = Ledger(database)
    two_people(ledger)
    before = totals_of_parts(Projector(database), database)
    _forge(database, 3)
    rebuild(database, ["control_totals"])
    found = totals(database)
    assert found.missing == [3]
    assert {line.product for line in found.totals} == {"unknown", "enterprise_annuity", "personal_pension", EXTERNAL}
    assert totals_of_parts(Projector(database), database) == before


def totals_of_parts(projector: Projector, database: Database) -> dict[str, int]:
    """The totals by part, whatever the product."""
    projector.catch_up()
    sums: defaultdict[str, int] = defaultdict(int)
    for line in totals(database).totals:
        sums[line.part] += line.amount_fen
    return dict(sums)


def test_the_claim_of_a_dead_rebuild_is_void_whoever_else_is_connected(database: Database) -> None:
    """The start of another role's session cannot be seen, and is no claim."""
    two_people(Ledger(database))
    with psycopg.connect(database.admin_url) as administrator:
        administrator.execute("UPDATE projection SET rebuilt_by = '1 2020-01-01 00:00:00+00'")
        administrator.commit()
        administrator.execute("SELECT 1")
        administrator.commit()
        assert rebuild(database, NAMES) == 11


def test_those_who_wait_are_few(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while as many wait as may is told at once; and nobody waits for what nobody can have seen."""
    two_people(Ledger(database))
    monkeypatch.setattr("ledger.projections.standing._waiters", threading.BoundedSemaphore(1))
    with ThreadPoolExecutor(8) as pool:
        start = time.monotonic()
        asking = [pool.submit(read_balance_sheet, database, "A1", seen=12) for _ in range(8)]
        assert all(isinstance(each.exception(), PositionNotRecorded) for each in asking)
        assert time.monotonic() - start < 8 * MAX_WAIT_S
    with pytest.raises(PositionNotRecorded):
        read_balance_sheet(database, "A1", seen=11 + MAX_AHEAD + 1)
