"""Ledger.post: one transaction, in order, all or nothing, at a price that does not grow; numbers are its invariants."""

from __future__ import annotations

import random
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from ledger.application import (
    MAX_COMMANDS,
    SLICE,
    BatchTooLarge,
    Ledger,
    LedgerBusy,
    LedgerUnavailable,
    Outcome,
    Receipt,
    Refused,
    _Posting,
)
from ledger.database import Database, TemporaryServer, open_database
from ledger.domain.commands import COMMANDS, MANY, Command
from ledger.embedded import EmbeddedServer
from ledger.journal import locked
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.settings import Settings
from tests.books import assert_whole, commands_recorded
from tests.commands import (
    CAP_FEN,
    DAY,
    PERSONAL,
    charge,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    reverse,
    transfer,
    unmerge,
    withdraw,
)
from tests.sealing import leaf_hashes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Beside BEGIN with the lock, and COMMIT: one reading, up to five more rounds of recall, the facts named, the last slice.
MOST_STATEMENTS = 8


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def positions(outcome: Outcome) -> tuple[int | None, int | None]:
    assert isinstance(outcome, Receipt), outcome
    return outcome.first_position, outcome.last_position


def codes(outcomes: list[Outcome]) -> list[str]:
    return [outcome.code if isinstance(outcome, Refused) else "" for outcome in outcomes]


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        return connection.execute(statement.encode()).fetchall()


class TestABatch:
    """Invariant 2: a later command sees what the earlier ones of its batch did."""

    def test_register_open_and_contribute(self, ledger: Ledger, database: Database) -> None:
        outcomes = ledger.post([register("sys:1"), open_account("sys:1", "A1"), contribute("A1", 100)])
        assert [positions(outcome) for outcome in outcomes] == [(1, 1), (2, 2), (3, 3)]
        assert_whole(database)

    def test_register_open_and_contribute_to_a_personal_pension(self, ledger: Ledger, database: Database) -> None:
        outcomes = ledger.post(
            [
                register("sys:1"),
                open_account("sys:1", "P1", PERSONAL),
                contribute_own("P1", CAP_FEN),
                contribute_own("P1", 1),
            ]
        )
        assert codes(outcomes) == ["", "", "", "YearlyCapExceeded"]
        assert_whole(database)

    def test_a_refused_opening_refuses_what_builds_on_it(self, ledger: Ledger) -> None:
        outcomes = ledger.post([open_account("sys:1", "A1"), contribute("A1", 100), register("sys:1")])
        assert codes(outcomes) == ["IdentityUnknown", "AccountUnknown", ""]

    @pytest.mark.parametrize("batched", [True, False])
    def test_a_cap_follows_the_person_merged_before(self, ledger: Ledger, database: Database, *, batched: bool) -> None:
        commands = [
            *(register(sid) for sid in ("sys:1", "sys:2")),
            open_account("sys:1", "P1", PERSONAL),
            open_account("sys:2", "P2", PERSONAL),
            contribute_own("P1", CAP_FEN - 10),
            contribute_own("P2", CAP_FEN),
            merge("sys:1", "sys:2"),
            contribute_own("P1", 10),
            unmerge(["sys:1"], ["sys:2"]),
            contribute_own("P1", 10),
            contribute_own("P2", 1),
        ]
        outcomes = ledger.post(commands) if batched else [ledger.post([command])[0] for command in commands]
        assert codes(outcomes) == [""] * 7 + ["YearlyCapExceeded", "", "", "YearlyCapExceeded"]
        assert_whole(database)

    def test_an_entry_of_the_same_batch_can_be_reversed_once(self, ledger: Ledger, database: Database) -> None:
        outcomes = ledger.post(
            [
                register("sys:1"),
                open_account("sys:1", "A1"),
                contribute("A1", 100),
                reverse(3),
                reverse(3),
                reverse(4),
                reverse(9),
                contribute("A1", 50),
            ]
        )
        assert codes(outcomes) == ["", "", "", "", "EntryAlreadyReversed", "EntryNotReversible", "EntryNotFound", ""]
        assert_whole(database)

    def test_an_entry_of_a_personal_pension_of_the_same_batch_can_be_reversed(
        self, ledger: Ledger, database: Database
    ) -> None:
        outcomes = ledger.post(
            [
                register("sys:1"),
                open_account("sys:1", "P1", PERSONAL),
                contribute_own("P1", CAP_FEN),
                reverse(3),
                contribute_own("P1", CAP_FEN),
            ]
        )
        assert codes(outcomes) == [""] * 5
        assert_whole(database)

    def test_a_memory_stored_early_in_the_batch_may_change_again_later(
        self, ledger: Ledger, database: Database
    ) -> None:
        """No later command names these accounts, but merge and unmerge flag them: once known before, once new."""
        people = ["sys:1", "sys:2", "sys:3"]
        between: list[Command] = [contribute("A1", 1, f"c/{n}") for n in range(3 * SLICE)]
        ledger.post([register(person) for person in people])
        ledger.post([open_account("sys:1", "A1"), open_account("sys:1", "P1", PERSONAL)])
        outcomes = ledger.post(
            [
                contribute_own("P1", CAP_FEN),
                open_account("sys:2", "P2", PERSONAL),
                contribute_own("P2", CAP_FEN),
                *between[:SLICE],
                merge(*people[:2]),
                *between[SLICE : 2 * SLICE],
                unmerge(["sys:1"], ["sys:2"]),
                *between[2 * SLICE :],
                merge("sys:2", "sys:3"),
            ]
        )
        assert set(codes(outcomes)) == {""}
        assert query(database, "SELECT count(*) FROM event WHERE type LIKE 'DuplicateAccount%'") == [(2,)]
        assert_whole(database)

    def test_what_is_left_to_remember_is_stored_though_the_last_slices_only_repeat(
        self, ledger: Ledger, database: Database
    ) -> None:
        ledger.post([register("sys:1"), open_account("sys:1", "A1")])
        known: list[Command] = [contribute("A1", 1, f"c/{n}") for n in range(2 * SLICE)]
        ledger.post(known)
        outcomes = ledger.post([contribute("A1", 1_000), *known])
        assert [outcome.repeated for outcome in outcomes] == [False] + [True] * 2 * SLICE
        assert read_balance_sheet(database, "sys:1").sheet.balance_fen == 1_000 + 2 * SLICE
        assert_whole(database)

    def test_the_order_of_the_batch_is_the_order_of_the_journal(self, ledger: Ledger, database: Database) -> None:
        size = 3 * SLICE + 1
        ledger.post([register("sys:1"), open_account("sys:1", "A1")])
        outcomes = ledger.post([contribute("A1", 1, f"c/{n}") for n in range(size)])
        assert [positions(outcome) for outcome in outcomes] == [(n, n) for n in range(3, size + 3)]
        stored = query(database, "SELECT command_id FROM event WHERE position > 2 ORDER BY position")
        assert stored == [(f"c/{n}",) for n in range(size)]

    def test_no_command_is_no_work(self, ledger: Ledger, database: Database) -> None:
        assert ledger.post([]) == []
        assert commands_recorded(database) == {}


class TestRows:
    """Invariant 3: one row a command, accepted or refused."""

    def test_a_refusal_is_kept_with_code_sentence_and_detail(self, ledger: Ledger, database: Database) -> None:
        outcome = ledger.post([contribute("A1", 100, "c/1")])[0]
        assert isinstance(outcome, Refused)
        stored = query(database, "SELECT command_id, first_position, last_position, refusal FROM command")
        refusal = {"code": "AccountUnknown", "sentence": outcome.sentence, "detail": {"account": "A1"}}
        assert stored == [("c/1", None, None, refusal)]
        assert outcome.detail == {"account": "A1"}

    def test_an_acceptance_that_changes_nothing_has_a_row_without_positions(
        self, ledger: Ledger, database: Database
    ) -> None:
        ledger.post([register("sys:1", "c/1"), register("sys:1", "c/2")])
        assert commands_recorded(database) == {"c/1": (1, 1), "c/2": (None, None)}

    def test_a_command_of_several_facts_has_one_row_with_their_range(self, ledger: Ledger, database: Database) -> None:
        people = [register("sys:1"), register("sys:2")]
        pensions = [open_account("sys:1", "P1", PERSONAL), open_account("sys:2", "P2", PERSONAL)]
        paid = [contribute_own("P1", CAP_FEN), contribute_own("P2", CAP_FEN)]
        outcomes = ledger.post([*people, *pensions, *paid, merge("sys:1", "sys:2", command_id="c/m")])
        assert positions(outcomes[-1]) == (7, 9)
        assert commands_recorded(database)["c/m"] == (7, 9)
        assert_whole(database)

    def test_a_batch_of_refusals_only_leaves_the_journal_as_it_was(self, ledger: Ledger, database: Database) -> None:
        outcomes = ledger.post([contribute("A1", 1) for _ in range(2 * SLICE)])
        assert codes(outcomes) == ["AccountUnknown"] * 2 * SLICE
        assert len(commands_recorded(database)) == 2 * SLICE
        assert query(database, "SELECT size FROM head") == [(0,)]


class TestSize:
    """Invariant 5: the statements do not grow with the batch, but for one a slice."""

    def test_a_batch_of_a_thousand_takes_a_handful_of_statements(
        self, ledger: Ledger, database: Database, server: TemporaryServer
    ) -> None:
        """Counted by the server: it logs every statement that it executes."""
        with psycopg.connect(database.admin_url) as connection:
            name = connection.info.dbname
            for setting in ("log_min_duration_statement = 0", "log_parameter_max_length = 0"):
                connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
        log = server.server.log
        people = [register(f"sys:{n}") for n in range(1_000)]
        opened = [open_account(f"sys:{n}", f"A{n}") for n in range(1_000)]
        pensions = [open_account(f"sys:{n}", f"P{n}", PERSONAL) for n in range(1_000)]
        contributions = [contribute(f"A{n}", 100) for n in range(1_000)]
        capped = [contribute_own(f"P{n}", 100) for n in range(1_000)]
        reversed_all = [reverse(n) for n in range(3_001, 4_001)]
        for batch in (people, opened, pensions, contributions, capped, reversed_all, capped):
            offset = log.stat().st_size
            ledger.post(batch)
            executed = log.read_bytes()[offset:].count(b" ms  execute ")
            assert 1 <= executed <= MOST_STATEMENTS + 1_000 // SLICE, batch[0]
        assert_whole(database)

    def test_what_is_recalled_does_not_grow_with_openings_times_years(self, ledger: Ledger, database: Database) -> None:
        """Contributions of many years, though most are absurd, to accounts that the same batch opens."""
        people = range(300)
        ledger.post([register(f"sys:{n}") for n in people])
        batch: list[Command] = [open_account(f"sys:{n}", f"P{n}", PERSONAL) for n in people]
        batch += [contribute_own(f"P{n}", 100, effective_on=DAY.replace(year=DAY.year - n)) for n in people]
        posting = _Posting(batch, None, with_leaves=False)
        with database.connection() as connection, locked(connection):
            posting.run(connection)
        assert codes(posting.outcomes[300:302]) == ["", ""]
        assert "EffectiveDateAbsurd" in codes(posting.outcomes)
        assert len(posting._view.memories) < 3 * len(batch)
        assert_whole(database)

    def test_ten_thousand_commands_are_one_batch_and_one_more_is_too_many(
        self, ledger: Ledger, database: Database
    ) -> None:
        ledger.post([register("sys:1"), open_account("sys:1", "A1")])
        batch: list[Command] = [contribute("A1", 1) for _ in range(MAX_COMMANDS)]
        with pytest.raises(BatchTooLarge):
            ledger.post([*batch, contribute("A1", 1)])
        assert query(database, "SELECT size FROM head") == [(2,)]
        with ThreadPoolExecutor(1) as pool:
            outcomes = pool.submit(ledger.post, batch).result(timeout=60)
        assert positions(outcomes[-1]) == (MAX_COMMANDS + 2, MAX_COMMANDS + 2)
        assert len(set(query(database, "SELECT recorded_at FROM event WHERE position > 2"))) == 1
        assert_whole(database)

    def test_a_batch_far_larger_than_any_socket_buffer_does_not_hang(self, ledger: Ledger, database: Database) -> None:
        """Long ids, many tags, and as many memories as commands, all refused or new."""
        long = "x" * 50
        batch: list[Command] = []
        for n in range(MAX_COMMANDS // 4):
            batch += [
                register(f"sys:{long}{n}", f"{long}{long}/r{n}"),
                open_account(f"sys:{long}{n}", f"{long}{n}", command_id=f"{long}{long}/o{n}"),
                contribute(f"{long}{n}", 100, f"{long}{long}/c{n}"),
                contribute("unknown", 100, f"{long}{long}/u{n}"),
            ]
        with ThreadPoolExecutor(1) as pool:
            outcomes = pool.submit(ledger.post, batch).result(timeout=60)
            again = pool.submit(ledger.post, batch).result(timeout=60)
        assert codes(outcomes) == ["", "", "", "AccountUnknown"] * (MAX_COMMANDS // 4)
        assert all(outcome.repeated for outcome in again)
        assert_whole(database)


class TestTrouble:
    """Invariant 4: all of a batch stands, or nothing of it."""

    def test_a_head_held_elsewhere_is_busy_and_nothing_is_recorded(self, database: Database) -> None:
        hasty = Database(
            url=database.url, admin_url=database.admin_url, embedded=False, settings=Settings(lock_timeout_ms=200)
        )
        with psycopg.connect(database.admin_url) as other:
            other.execute("SELECT FROM head FOR UPDATE")
            with pytest.raises(LedgerBusy):
                Ledger(hasty).post([register("sys:1", "c/1")])
        assert commands_recorded(database) == {}
        assert positions(Ledger(hasty).post([register("sys:1", "c/1")])[0]) == (1, 1)
        hasty.close()

    def test_an_interrupt_while_it_waits_stays_an_interrupt_and_the_ledger_goes_on(
        self, ledger: Ledger, database: Database
    ) -> None:
        ledger.post([register("sys:1", "c/1")])
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            for number in range(3):
                with psycopg.connect(database.admin_url) as other:
                    other.execute("SELECT FROM head FOR UPDATE")
                    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the alarm belongs to the post
                        signal.setitimer(signal.ITIMER_REAL, 0.05)
                        ledger.post([register(f"sys:{number}", f"c/{number}/2")])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert set(commands_recorded(database)) == {"c/1"}
        assert positions(ledger.post([register("sys:2")])[0]) == (2, 2)
        assert_whole(database)

    def test_an_error_in_the_middle_records_nothing_and_the_ledger_goes_on(
        self, ledger: Ledger, database: Database
    ) -> None:
        """Here the database refuses the rows of the second slice, when those of the first are written."""
        ledger.post([register("sys:1"), open_account("sys:1", "A1")])
        before = commands_recorded(database)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("SET LOCAL event_triggers = off")
            connection.execute("ALTER TABLE event ADD CONSTRAINT broken CHECK (position < 300)")
        batch = [contribute("A1", 1, f"c/{n}") for n in range(2 * SLICE)]
        with pytest.raises(psycopg.errors.CheckViolation):
            ledger.post(batch)
        assert commands_recorded(database) == before
        assert_whole(database)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("ALTER TABLE event DROP CONSTRAINT broken")
        assert codes(ledger.post(batch)) == [""] * 2 * SLICE
        assert_whole(database)

    def test_connections_cut_off_while_idle_cost_one_error(self, ledger: Ledger, database: Database) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: ledger.post([register(f"sys:{n}")]), range(8)))
        with psycopg.connect(database.admin_url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'ledger'"
            )
        with pytest.raises(LedgerUnavailable):
            ledger.post([register("sys:x", "c/x")])
        assert positions(ledger.post([register("sys:x", "c/x")])[0]) == (9, 9)

    def test_a_server_that_takes_no_writes_is_unavailable(self, ledger: Ledger, database: Database) -> None:
        """As a standby is, to which a failover may leave a connection."""
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        with pytest.raises(LedgerUnavailable):
            ledger.post([register("sys:1")])
        assert commands_recorded(database) == {}

    def test_without_its_server_it_is_unavailable_and_goes_on_when_it_is_back(self, server_folder: Path) -> None:
        with open_database(Settings(data_folder=server_folder, shared_buffers_mb=16)) as database:
            ledger = Ledger(database)
            ledger.post([register("sys:1")])
            server = EmbeddedServer(server_folder, shared_buffers_mb=16)
            server._pg_ctl("stop", "-m", "immediate")
            with pytest.raises(LedgerUnavailable):
                ledger.post([register("sys:2", "c/2")])
            server._start()
            outcome = ledger.post([register("sys:2", "c/2")])[0]
            assert positions(outcome) == (2, 2)
            assert_whole(database)


def test_no_text_of_a_command_may_hold_a_control_character() -> None:
    """So that none can reach a tag, a leaf, or the texts in which batches travel."""
    samples = [
        register("sys:1"),
        open_account("sys:1", "A1"),
        contribute("A1", 1),
        credit("A1", 1),
        charge("A1", 1),
        transfer("A1", "A2", 1),
        reverse(1),
        merge("sys:1", "sys:2"),
        unmerge(["sys:1"], ["sys:2"]),
        withdraw("sys:1", "sys:2"),
    ]
    checked = 0
    for sample in samples:
        given = sample.model_dump(mode="json")
        for name, value in given.items():
            if not isinstance(value, str) or name == "type":
                continue
            for character in ("\x00", "\n", "\x1e", "\x1f", "\x7f"):
                for text in (value + character, character + value, value[:1] + character + value[1:]):
                    with pytest.raises(ValidationError):
                        COMMANDS[given["type"]].model_validate(given | {name: text})
                    checked += 1
    assert checked > 600
    with pytest.raises(ValidationError):
        MANY.validate_python([contribute("A1", 1).model_dump() | {"amounts_fen": {"own\x1e": 1}}])


def parted(database: Database, sid: str) -> Command:
    """The person of this identity, as she is now, parted into it and the others."""
    others = [line.sid for line in read_balance_sheet(database, sid).sheet.identities if line.sid != sid]
    return unmerge([sid], *([others] if others else []))


def test_memory_equals_a_refold_after_mixed_traffic(ledger: Ledger, database: Database) -> None:
    """Random commands of every matter, in batches of every size; many of them refused."""
    rng = random.Random(7)  # noqa: S311  a test, not a secret
    people = [f"sys:{n}" for n in range(12)]
    accounts = [f"A{n}" for n in range(12)]
    pensions = [f"P{n}" for n in range(12)]

    def one() -> Command:
        person, other = rng.sample(people, 2)
        account, target = rng.sample(accounts, 2)
        fen = rng.choice([1, 700, 400_000, CAP_FEN])
        year = rng.choice([2025, 2026])
        made: list[Callable[[], Command]] = [
            lambda: contribute(account, fen),
            lambda: contribute_own(rng.choice(pensions), fen, effective_on=DAY.replace(year=year)),
            lambda: contribute_own(rng.choice(pensions), fen),
            lambda: credit(account, fen),
            lambda: charge(account, fen),
            lambda: transfer(account, target, fen),
            lambda: reverse(rng.randint(1, 400)),
            lambda: merge(person, other),
            lambda: parted(database, person),
            lambda: withdraw(person, other),
            lambda: open_account(person, rng.choice(pensions), PERSONAL),
        ]
        return rng.choice(made)()

    ledger.post([register(person) for person in people])
    ledger.post([open_account(person, account) for person, account in zip(people, accounts, strict=True)])
    ledger.post([open_account(person, account, PERSONAL) for person, account in zip(people, pensions, strict=True)])
    seen: set[str] = set()
    for _ in range(80):
        outcomes = ledger.post([one() for _ in range(rng.choice([1, 2, 10, 60]))])
        seen.update(codes(outcomes))
    assert {"", "YearlyCapExceeded", "CannotLinkActive", "EntryAlreadyReversed", "PersonsDiffer"} <= seen
    assert_whole(database)


def test_a_thread_that_waits_too_long_for_its_turn_hears_that_the_ledger_is_busy(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.application.TURN_WAIT_S", 0.05)
    with ledger._in_turn(), pytest.raises(LedgerBusy):
        ledger.post([register("sys:1")])


class TestLeaves:
    """Receipts come with the leaves of their facts, as they are sealed."""

    def test_the_leaves_of_a_receipt_are_those_of_the_stored_facts(self, database: Database) -> None:
        """In a batch of several slices, of commands with several facts, and again when it is repeated."""
        commands = [register("sys:1"), register("sys:2"), open_account("sys:1", "P1", PERSONAL)]
        commands += [open_account("sys:2", "P2", PERSONAL), *(open_account("sys:1", f"A{n}") for n in range(300))]
        commands.append(merge("sys:1", "sys:2"))
        ledger = Ledger(database)
        first = ledger.post(commands, with_leaves=True)
        again = ledger.post(commands, with_leaves=True)
        stored = leaf_hashes(database)
        for outcomes in (first, again):
            found = [leaf for outcome in outcomes if isinstance(outcome, Receipt) for leaf in outcome.leaves]
            assert found == stored
        assert len(stored) > len(commands)
        assert not any(outcome.leaves for outcome in ledger.post(commands) if isinstance(outcome, Receipt))
