"""Closing periods on a real database: R36 of AUDIT.md, and the numbered invariants of ledger/closing.py and replay/closes.py."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from ledger import application, closing
from ledger.__main__ import app
from ledger.application import SLICE, Ledger, Outcome, Refused
from ledger.closing import (
    Closed,
    CloseRefused,
    ClosingMisspelt,
    PeriodNotSealed,
    PeriodStillPosted,
    TotalsIncomplete,
    close_period,
)
from ledger.domain.calendar import last_day, period_of
from ledger.domain.commands import AskedAdjustment, ClosePeriod, Command
from ledger.domain.posters import OPERATOR_NEEDED, Poster
from ledger.domain.trial_balance import Row, digest
from ledger.files import post_file
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projector import Projector
from ledger.rebuilding import rebuild
from replay import closes, facts
from replay.closes import Adjustment, Closes, adjustments, check_closes, examine_closes, read_closes
from replay.facts import head
from tests.books import assert_whole
from tests.commands import PERIOD, charge, contribute, envelope, open_account, register, reverse, transfer
from tests.projected import assert_rows_and_positions_agree, facts_of, rows_of, totals
from tests.sealing import auditor_url, seal
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ledger.database import Database

MARCH = date(2026, 3, 1)
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LATER = datetime(2026, 4, 1, 9, tzinfo=UTC)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Two accounts, and money in January and February; nothing sealed and nothing projected."""
    made = Ledger(database)
    post(
        made,
        register("sys:1"),
        open_account("sys:1", "A1"),
        open_account("sys:1", "A2"),
        contribute("A1", 1_000, effective_on=date(2026, 1, 31)),
        contribute("A1", 500),
        contribute("A1", 30, effective_on=MARCH),
        transfer("A1", "A2", 100),
        charge("A1", 7),
        reverse(8),
    )
    return made


def post(ledger: Ledger, *commands: Command) -> list[Outcome]:
    """Post them in one batch; all are accepted."""
    outcomes = ledger.post(commands)
    assert [outcome for outcome in outcomes if isinstance(outcome, Refused)] == []
    return outcomes


def codes(outcomes: list[Outcome]) -> list[str]:
    return [outcome.code if isinstance(outcome, Refused) else "" for outcome in outcomes]


def close(database: Database, ledger: Ledger, period: str = PERIOD, **changes: Any) -> Closed:
    asked: dict[str, Any] = {"actor": "operator:op-1", "approvers": ["operator:op-2"], "now": NOW, "wait_s": 0}
    return close_period(database, ledger, period, **(asked | changes))


def closing_of(database: Database, period: str = PERIOD, **fields: Any) -> ClosePeriod:
    """A ClosePeriod over the last checkpoint; its trial balance is nobody's."""
    with database.connect() as connection:
        row = connection.execute("SELECT size, root FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    size, root = row or (1, bytes(32))
    return ClosePeriod(
        **(
            {"approvers": ["operator:op-2"], "period": period, "root": root.hex(), "tree_size": size}
            | {"trial_balance_sha256": "ab" * 32}
            | envelope(effective_on=MARCH)
            | fields
        )
    )


def adjusting(command: Command, **changes: Any) -> Command:
    """Declared a prior-period adjustment, under an id of its own."""
    fields = {"approvers": ["operator:op-2"], "period": period_of(command.effective_on), "reason": "late-notice"}
    return command.model_copy(
        update={
            "adjustment": AskedAdjustment.model_validate(fields | changes),
            "command_id": f"{command.command_id}/adjusted",
        }
    )


def as_auditor(database: Database, ask: Callable[[psycopg.Connection[Any], int], Any]) -> Any:
    with psycopg.connect(auditor_url(database)) as connection:
        return ask(connection, head(connection))


def findings(database: Database) -> list[str]:
    found: list[str] = as_auditor(database, check_closes)
    return found


def as_superuser(database: Database, statement: str) -> None:
    """As one who may switch every guard off."""
    with past_all_guards(database) as connection:
        connection.execute(statement.encode())


class TestClosing:
    def test_it_pins_the_last_checkpoint_and_its_trial_balance(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        closed = close(database, ledger)
        assert (closed.period, closed.position, closed.tree_size) == (PERIOD, 10, 9)
        rows = totals(database, known_at=9, as_of=date(2026, 2, 28)).totals
        assert closed.trial_balance_sha256 == digest(
            PERIOD, 9, [Row(each.product, each.kind, each.part, each.lines, each.amount_fen) for each in rows]
        )
        with database.connect() as connection:
            assert connection.execute("SELECT encode(root, 'hex') FROM checkpoint").fetchone() == (closed.root,)
        fact = facts_of(database)[-1][1]
        assert (fact.effective_on, fact.decided_at) == (date(2026, 3, 2), NOW)
        assert findings(database) == []
        assert_whole(database)

    def test_a_checkpoint_that_covers_the_period_may_be_behind(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        post(ledger, *(contribute("A1", 1, effective_on=MARCH) for _ in range(3)))
        assert close(database, ledger).tree_size == 9
        assert findings(database) == []

    def test_it_takes_a_checkpoint(self, database: Database, ledger: Ledger) -> None:
        with pytest.raises(PeriodNotSealed, match=r"ledger notary.*There is none"):
            close(database, ledger)

    def test_it_takes_a_checkpoint_that_covers_the_period(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        post(ledger, contribute("A1", 1))
        with pytest.raises(PeriodNotSealed, match="size 9"):
            close(database, ledger)

    def test_it_waits_for_the_notary(self, database: Database, ledger: Ledger) -> None:
        with ThreadPoolExecutor(1) as pool:
            closed = pool.submit(close, database, ledger, wait_s=60)
            seal(database)
            assert closed.result().tree_size == 9

    @pytest.mark.parametrize(
        ("period", "changes", "code"),
        [
            ("2026-03", {}, "PeriodNotOver"),
            ("2026-02", {"now": datetime(2026, 2, 28, 15, 59, tzinfo=UTC)}, "PeriodNotOver"),
            ("2026-02", {"approvers": ["operator:op-1"]}, "ApproverMissing"),
        ],
    )
    def test_what_the_ledger_refuses_is_said(
        self, database: Database, ledger: Ledger, period: str, changes: dict[str, Any], code: str
    ) -> None:
        seal(database)
        with pytest.raises(CloseRefused, match=code):
            close(database, ledger, period, **changes)
        assert len(facts_of(database)) == 9

    def test_a_second_closing_says_where_the_first_is(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        close(database, ledger)
        with pytest.raises(CloseRefused, match="PeriodAlreadyClosed") as refused:
            close(database, ledger, "2026-01")
        assert refused.value.detail == {"closed_through": "2026-02", "position": 10}

    @pytest.mark.parametrize(
        ("period", "changes"),
        [("2026-2", {}), ("2026-13", {}), ("", {}), ("2026-02", {"actor": "me"}), ("2026-02", {"approvers": ["you"]})],
    )
    def test_what_is_misspelt_is_said(
        self, database: Database, ledger: Ledger, period: str, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(ClosingMisspelt, match="YYYY-MM"):
            close(database, ledger, period, **changes)

    def test_totals_that_lack_a_fact_are_not_pinned(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        Projector(database).catch_up()
        as_superuser(
            database,
            "INSERT INTO dead_letter SELECT name, live_slot, 5, '{account:A1}', 'x' FROM projection "
            "WHERE name = 'control_totals'",
        )
        with pytest.raises(TotalsIncomplete, match=r"position 5"):
            close(database, ledger)

    def test_facts_in_between_are_tried_again_over_a_later_checkpoint(
        self, database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Invariant 2: twice a fact of the period comes after its trial balance was taken."""
        seal(database)
        late = [[contribute("A1", 1)], [contribute("A1", 2)]]

        def post_closing(commands: list[Command], posting: Any = ledger.post) -> list[Outcome]:
            if late:
                posting(late.pop())
                outcomes: list[Outcome] = posting(commands)
                seal(database)
                return outcomes
            return list(posting(commands))

        monkeypatch.setattr(ledger, "post", post_closing)
        closed = close(database, ledger)
        assert (closed.tree_size, closed.position) == (11, 12)
        assert findings(database) == []

    def test_facts_in_between_every_time_are_said(
        self, database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seal(database)
        posting = ledger.post

        def post_closing(commands: list[Command]) -> list[Outcome]:
            posting([contribute("A1", 1)])
            outcomes = posting(commands)
            seal(database)
            return outcomes

        monkeypatch.setattr(ledger, "post", post_closing)
        with pytest.raises(PeriodStillPosted):
            close(database, ledger)
        assert len(facts_of(database)) == 9 + closing.MAX_ATTEMPTS

    def test_the_next_period_is_closed_after_it(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        close(database, ledger)
        post(ledger, adjusting(contribute("A1", 5)))
        seal(database)
        closed = close(database, ledger, "2026-03", now=LATER)
        assert (closed.tree_size, closed.position) == (11, 12)
        assert findings(database) == []
        assert_whole(database)


class TestPosting:
    """What Ledger.post makes of closed periods and of closings."""

    def test_a_closed_period_refuses_and_an_adjustment_is_accepted(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        close(database, ledger)
        late = contribute("A1", 5)
        assert codes(ledger.post([late, contribute("A1", 6, effective_on=MARCH), adjusting(late)])) == [
            "PeriodIsClosed",
            "",
            "",
        ]
        assert as_auditor(database, adjustments) == [
            Adjustment(
                position=12,
                type="ContributionPosted",
                effective_on=late.effective_on,
                period=PERIOD,
                reason="late-notice",
                approvers=["operator:op-2"],
                actor="system:test",
                command_id=f"{late.command_id}/adjusted",
            )
        ]
        assert findings(database) == []

    def test_a_repeat_is_answered_as_before_the_closing(self, database: Database, ledger: Ledger) -> None:
        """Also the closing itself; and who then declares an adjustment under the same id has reused it."""
        before = contribute("A1", 5)
        first = post(ledger, before)
        seal(database)
        command = closing_of(database)
        closed = post(ledger, command)
        late = contribute("A1", 5)
        assert codes(ledger.post([late])) == ["PeriodIsClosed"]
        again = ledger.post([before, command, late])
        assert again[:2] == [outcome._replace(repeated=True) for outcome in (*first, *closed)]
        assert (codes(again[2:]), again[2].repeated) == (["PeriodIsClosed"], True)
        reused = adjusting(late).model_copy(update={"command_id": late.command_id})
        assert codes(ledger.post([reused])) == ["CommandIdReused"]
        assert_whole(database)

    @pytest.mark.parametrize("between", [0, 3, 2 * SLICE])
    def test_after_a_closing_its_own_batch_is_refused_too(
        self, database: Database, ledger: Ledger, between: int
    ) -> None:
        """Whether or not it lies in a slice of its own."""
        seal(database)
        march = [contribute("A1", 1, effective_on=MARCH) for _ in range(between)]
        late = contribute("A1", 1)
        outcomes = ledger.post([*march, closing_of(database), *march, late, adjusting(late)])
        assert codes(outcomes[-2:]) == ["PeriodIsClosed", ""]
        assert set(codes(outcomes[:-2])) == {""}
        assert_whole(database)

    @pytest.mark.parametrize("between", [0, 3, 2 * SLICE])
    def test_after_a_fact_of_the_period_its_own_batch_does_not_close(
        self, database: Database, ledger: Ledger, between: int
    ) -> None:
        seal(database)
        march = [contribute("A1", 1, effective_on=MARCH) for _ in range(between)]
        outcomes = ledger.post([contribute("A1", 1), *march, closing_of(database), contribute("A1", 1)])
        assert codes(outcomes[-2:]) == ["CheckpointTooEarly", ""]
        refused = outcomes[-2]
        assert isinstance(refused, Refused)
        assert refused.detail == {"tree_size": 9, "least_size": 10}
        assert_whole(database)

    def test_a_batch_may_close_one_period_after_the_other(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        january, february = closing_of(database, "2026-01"), closing_of(database)
        assert codes(ledger.post([january, february, closing_of(database, "2026-01")])) == [
            "",
            "",
            "PeriodAlreadyClosed",
        ]
        with psycopg.connect(database.admin_url) as connection:
            rows = connection.execute("SELECT position, state FROM memory WHERE tag = 'books:ledger'").fetchall()
        assert [(position, json.loads(state)["closed_through"]) for position, state in rows] == [(11, "2026-02")]
        assert_whole(database)

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"tree_size": 8}, "CheckpointUnknown"),
            ({"tree_size": 10}, "CheckpointUnknown"),
            ({"root": "00" * 32}, "CheckpointUnknown"),
            ({"approvers": []}, "ApproverMissing"),
            ({"actor": "operator:op-1", "approvers": ["operator:OP-1", "user:op-1"]}, "ApproverMissing"),
            ({"period": "2099-12"}, "PeriodNotOver"),
            (
                {
                    "period": "2099-12",
                    "decided_at": datetime(2199, 12, 31, 12, tzinfo=UTC),
                    "effective_on": date(2199, 12, 31),
                    "trial_balance_sha256": "00" * 32,
                },
                "PeriodNotOver",
            ),
        ],
    )
    def test_a_closing_over_what_is_not_sealed_is_refused(
        self, database: Database, ledger: Ledger, fields: dict[str, Any], code: str
    ) -> None:
        seal(database)
        assert codes(ledger.post([closing_of(database, **fields)])) == [code]
        assert_whole(database)

    def test_a_tree_too_far_behind_is_refused_without_a_look(
        self, database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However old the tree, what is gone through under the lock is bounded."""
        monkeypatch.setattr(application, "MAX_AFTER_TREE", 5)
        seal(database)
        post(ledger, *(contribute("A1", 1, effective_on=MARCH) for _ in range(6)))
        outcome = ledger.post([closing_of(database)])[0]
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.detail) == ("CheckpointTooEarly", {"tree_size": 9, "least_size": 10})
        seal(database)
        assert close(database, ledger).tree_size == 15

    def test_nobody_closes_by_a_file(self, database: Database, ledger: Ledger, tmp_path: Path) -> None:
        """Not even with all that can be known from outside; the digest of the trial balance is checked by no writer."""
        seal(database)
        path = tmp_path / "closing.ndjson"
        path.write_bytes(closing_of(database).model_dump_json(exclude={"adjustment"}).encode() + b"\n")
        report = post_file(ledger.post, path, advance=lambda _size: None)
        assert (report.commands, report.malformed) == (0, 1)
        assert "ledger close-period" in (tmp_path / "closing.ndjson.malformed.ndjson").read_text(encoding="utf-8")
        assert len(facts_of(database)) == 9

    def test_nobody_closes_by_a_token(self, database: Database, ledger: Ledger) -> None:
        seal(database)
        for steward in (False, True):
            poster = Poster("system:test", "test", None, is_steward=steward)
            command = closing_of(database)
            outcome = ledger.post([command], [poster])[0]
            assert isinstance(outcome, Refused)
            assert (outcome.code, outcome.detail) == ("PosterNotPermitted", {"reason": OPERATOR_NEEDED})
            assert codes(ledger.post([contribute("A1", 1), command], [None, poster])) == ["", "PosterNotPermitted"]
        assert_whole(database)


def test_closings_change_no_projection_and_no_sheet(database: Database, ledger: Ledger) -> None:
    sheet = read_balance_sheet(database, "sys:1", as_of=date(2026, 2, 28), known_at=9)
    Projector(database).catch_up()
    before = rows_of(database)
    seal(database)
    close(database, ledger)
    Projector(database).catch_up()
    assert rows_of(database) == before
    assert_rows_and_positions_agree(database)
    rebuild(database, ["statements", "people", "control_totals"])
    assert rows_of(database) == before
    assert read_balance_sheet(database, "sys:1").sheet == read_balance_sheet(database, "sys:1", known_at=9).sheet
    post(ledger, adjusting(contribute("A1", 5)))
    # As it was known when the books were closed, it stays; as it is known now, it has the adjustment.
    assert read_balance_sheet(database, "sys:1", as_of=date(2026, 2, 28), known_at=9) == sheet
    now = read_balance_sheet(database, "sys:1", as_of=date(2026, 2, 28)).sheet
    assert now.balance_fen == sheet.sheet.balance_fen + 5
    assert_whole(database)


class TestAuditor:
    """What `check_closes` finds of a history that a superuser, or a faulty writer, made."""

    @pytest.fixture
    def closed(self, database: Database, ledger: Ledger) -> Database:
        seal(database)
        close(database, ledger)
        post(ledger, adjusting(contribute("A1", 5)), contribute("A1", 5, effective_on=MARCH))
        assert findings(database) == []
        return database

    @pytest.mark.parametrize(
        ("position", "was", "becomes", "finding"),
        [
            (
                10,
                '"period":"2026-02"',
                '"period":"2026-01"',
                "ContributionPosted takes effect in 2026-02, which was open",
            ),
            (10, '"trial_balance_sha256":"', '"trial_balance_sha256":"00', "pinned 00"),
            (10, '"root":"', '"root":"00', "has not the root that closes 2026-02"),
            (10, '"tree_size":9', '"tree_size":8', "over a tree of 8, and the last fact of that is at 9"),
            (10, '"tree_size":9', '"tree_size":10', "over a tree of 10"),
            (10, '["operator:op-2"]', '["operator:op-1"]', "nobody but operator:op-1, who posted it, approved it"),
            (10, '"effective_on":"2026-03-02"', '"effective_on":"2026-02-28"', "PeriodClosed takes effect in 2026-02"),
            (5, '"employee":500', '"employee":501', "the trial balance of 2026-02 is"),
            (5, '"effective_on":"2026-02-15"', '"effective_on":"2026-03-15"', "the trial balance of 2026-02 is"),
            (
                12,
                '"effective_on":"2026-03-01"',
                '"effective_on":"2026-02-28"',
                "2026-02, which was closed, and declares no",
            ),
            (11, '"period":"2026-02","reason"', '"period":"2026-01","reason"', "declares an adjustment of 2026-01"),
            (11, '"effective_on":"2026-02-15"', '"effective_on":"2026-03-15"', "2026-03, which was open, and declares"),
            (11, '["operator:op-2"]', '["system:test"]', "nobody but system:test, who posted it, approved it"),
            (11, '["operator:op-2"]', '["user:TEST"]', "nobody but system:test, who posted it, approved it"),
            (11, '"adjustment":', '"adjustment" :', "it cannot be told who posted it"),
        ],
    )
    def test_a_changed_fact_is_found(
        self, closed: Database, position: int, was: str, becomes: str, finding: str
    ) -> None:
        as_superuser(
            closed,
            f"UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), '{was}', '{becomes}'), 'UTF8') "  # noqa: S608 - our own
            f"WHERE position = {position}",
        )
        assert any(finding in each for each in findings(closed)), findings(closed)

    def test_a_checkpoint_that_is_gone_is_found(self, closed: Database) -> None:
        as_superuser(closed, "DELETE FROM checkpoint")
        assert findings(closed) == ["position 10: there is no checkpoint of size 9, over which it closes 2026-02"]

    def test_a_period_closed_twice_is_found(self, closed: Database) -> None:
        as_superuser(
            closed,
            "INSERT INTO event SELECT 13, type, data, tags, effective_on, recorded_at, command_id, actor FROM event "
            "WHERE position = 10; UPDATE head SET size = 13",
        )
        assert findings(closed) == [
            "position 13: it closes 2026-02, and the books were closed through 2026-02",
        ]

    def test_adjustments_beyond_the_list_are_checked_and_counted(
        self, closed: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post(ledger, adjusting(contribute("A1", 6)))
        as_superuser(closed, "UPDATE event SET actor = 'operator:OP-2' WHERE position = 13")
        monkeypatch.setattr(closes, "MAX_ADJUSTMENTS", 1)
        found = as_auditor(closed, read_closes)
        assert found.findings == ["position 13: nobody but operator:OP-2, who posted it, approved it"]
        assert [each.position for each in found.adjustments] == [11]
        assert found.summary == "1 periods closed, 2 prior-period adjustments, of which the first 1 are listed."

    def test_what_was_found_before_the_history_breaks_is_kept(
        self, closed: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_superuser(closed, "UPDATE event SET actor = 'operator:op-2' WHERE position = 11")
        as_superuser(closed, r"UPDATE event SET data = '\x7b7d'::bytea WHERE position = 12")
        monkeypatch.setattr(facts, "SLICE", 11)
        found = as_auditor(closed, examine_closes)
        assert found.findings[0] == "position 11: nobody but operator:op-2, who posted it, approved it"
        assert "the history breaks at position 12" in found.findings[1]
        assert (len(found.closes), found.adjusted) == (1, 1)

    def test_it_says_what_there_was_up_to_a_position(self, closed: Database) -> None:
        with psycopg.connect(auditor_url(closed)) as connection:
            assert read_closes(connection, 9) == Closes([], [], [], 0)
            assert [position for position, _ in read_closes(connection, 10).closes] == [10]
            assert adjustments(connection, 10) == []
            assert [each.position for each in adjustments(connection, 12)] == [11]


class Race:
    """Writers that post into January, February and March, plainly and declared, until some time after all is closed."""

    WRITERS = 2
    MAX_ROUNDS = 150

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ended = threading.Event()
        self._sealing = threading.Lock()

    def write(self, racer: int) -> set[str]:
        """Returns the codes of what was refused."""
        ledger, rng, seen = Ledger(self.database), random.Random(racer), {""}  # noqa: S311 - a test, not a secret
        rounds_after = 10
        for _ in range(self.MAX_ROUNDS):
            batch: list[Command] = [
                contribute("A1", 1, effective_on=rng.choice([date(2026, 1, 15), date(2026, 2, 15), MARCH]))
                for _ in range(3)
            ]
            seen.update(codes(ledger.post([*batch, adjusting(batch[0])])))
            # Now and then long enough for a closing to come first.
            rounds_after -= self.ended.wait(rng.choice([0, 0, 0.3]))
            if rounds_after == 0:
                break
        return seen

    def close(self, period: str) -> str:
        """Try until it is closed; the code if it was refused. Sooner or later the writers end."""
        while True:
            try:
                close(self.database, Ledger(self.database), period)
            except (PeriodNotSealed, PeriodStillPosted):
                self.seal()
            except CloseRefused as refused:
                return refused.code
            else:
                return ""

    def seal(self) -> None:
        with self._sealing, self.database.connect() as connection:
            size = facts_of(self.database)[-1][0]
            row = connection.execute("SELECT coalesce(max(size), 0) FROM checkpoint").fetchone()
            if row is not None and row[0] < size:
                seal(self.database, size)

    def run(self) -> tuple[list[str], set[str]]:
        """What became of the closings of January and February, and what the writers were refused."""
        with ThreadPoolExecutor(self.WRITERS + 2) as pool:
            writing = [pool.submit(self.write, racer) for racer in range(self.WRITERS)]
            closings = [pool.submit(self.close, period) for period in ("2026-01", "2026-02")]
            closed = [closing.result() for closing in closings]
            self.ended.set()
            return closed, set().union(*(each.result() for each in writing))


def test_racing_postings_and_closings_leave_no_undeclared_fact(database: Database, ledger: Ledger) -> None:
    """R36, by the operator's way: what a closing pins covers all before it, and all after it is declared."""
    closed, refused = Race(database).run()
    assert closed[1] == ""
    assert closed[0] in ("", "PeriodAlreadyClosed")
    assert refused <= {"", "PeriodIsClosed", "AdjustmentNotDue"}
    assert codes(ledger.post([contribute("A1", 1)])) == ["PeriodIsClosed"]

    found = as_auditor(database, read_closes)
    assert found.findings == []
    facts, closes = facts_of(database), dict(found.closes)
    closed_through = ""
    for position, fact in facts:
        if position in closes:
            closed_through = closes[position].period
            covered = [at for at, each in facts if at < position and each.effective_on <= last_day(closed_through)]
            assert max(covered) <= closes[position].tree_size
        assert (fact.adjustment is not None) == (period_of(fact.effective_on) <= closed_through)
    assert_whole(database)


def test_of_a_posting_and_a_closing_at_once_one_is_refused(database: Database, ledger: Ledger) -> None:
    """R36, at the head lock: two writers and a closing that all believe the period open, month after month."""
    writers = [Ledger(database), Ledger(database)]
    for month in [date(year, number, 15) for year in (2024, 2025) for number in range(1, 13)]:
        seal(database)
        closing = closing_of(database, period_of(month))
        with ThreadPoolExecutor(3) as pool:
            posting = [pool.submit(each.post, [contribute("A1", 1, effective_on=month)]) for each in writers]
            closed = codes(pool.submit(ledger.post, [closing]).result())[0]
            posted = [codes(each.result())[0] for each in posting]
        if closed:
            # Then at least one writer was first; and both were accepted.
            assert (closed, posted) == ("CheckpointTooEarly", ["", ""])
            seal(database)
            assert codes(ledger.post([closing_of(database, period_of(month))])) == [""]
        else:
            assert posted == ["PeriodIsClosed"] * 2
    # Which took nobody's trial balance.
    assert [finding for finding in findings(database) if "the trial balance of" not in finding] == []
    assert_whole(database)


class TestCommandLine:
    @pytest.fixture
    def on_database(self, database: Database, monkeypatch: pytest.MonkeyPatch, server_folder: Any) -> Database:
        """A month that was over when this was written; the notary's key and checkpoints lie in a folder of the test."""
        monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
        monkeypatch.setenv("LEDGER_DATA_FOLDER", str(server_folder / "data"))
        opening = [register("sys:1"), open_account("sys:1", "A1"), contribute("A1", 5)]
        post(Ledger(database), *(each.model_copy(update={"effective_on": date(2024, 2, 15)}) for each in opening))
        return database

    def test_it_closes_over_what_the_notary_sealed(
        self, on_database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run("close-period", "2024-02", "--wait", "0").exit_code == 4
        with monkeypatch.context() as as_notary:
            as_notary.setenv("LEDGER_DATABASE_URL", on_database.notary_url)
            assert CliRunner().invoke(app, ["notary", "--once"]).exit_code == 0
        result = run("close-period", "2024-02", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["period"], found["position"], found["tree_size"]) == ("2024-02", 4, 3)
        assert findings(on_database) == []

    def test_it_says_in_sentences_what_it_did(self, on_database: Database) -> None:
        seal(on_database)
        result = run("close-period", "2024-02")
        assert "2024-02 and all before it are closed by position 4." in result.output
        assert "Tree of 3 facts" in result.output

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("close-period", "2024-02", "--wait", "0"), 4, "ledger notary"),
            (("close-period", "2099-12"), 1, "PeriodNotOver"),
            (("close-period", "last month"), 2, "YYYY-MM"),
        ],
    )
    def test_what_hinders_it_is_a_sentence_and_an_exit_code(
        self, on_database: Database, arguments: tuple[str, ...], code: int, said: str
    ) -> None:
        result = run(*arguments)
        assert (result.exit_code, said in result.output) == (code, True), result.output
        assert len(facts_of(on_database)) == 3

    def test_its_help_names_every_option_an_example_and_the_exit_codes(self) -> None:
        output = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["close-period", "--help"]).output
        wanted = ["PERIOD", "--actor", "--approver", "--wait", "--json", "Exit codes", "Example: ledger close-period"]
        assert [word for word in wanted if word not in output] == []


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--actor", "operator:op-1", "--approver", "operator:op-2"])
