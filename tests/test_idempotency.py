"""Invariant 3 of posting: the same command, however often and however it comes, is recorded once and answered alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.application import Ledger, Outcome, Receipt, Refused
from ledger.domain.commands import Command, digest
from tests.books import assert_whole, commands_recorded
from tests.commands import CAP_FEN, PERSONAL, charge, contribute, contribute_own, merge, open_account, register

if TYPE_CHECKING:
    from ledger.database import Database


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def some_commands() -> list[Command]:
    """Accepted with facts, accepted without, and refused with details of every shape."""
    return [
        register("sys:1", "c/1"),
        register("sys:2", "c/2"),
        register("sys:1", "c/3"),
        open_account("sys:1", "A1", command_id="c/4"),
        open_account("sys:1", "P1", PERSONAL, command_id="c/5"),
        open_account("sys:2", "P2", PERSONAL, command_id="c/6"),
        open_account("sys:2", "A1", "no_such_product", command_id="c/7"),
        contribute("A1", 100, "c/8"),
        contribute("A1", -100, "c/9"),
        contribute_own("P1", CAP_FEN, "c/10"),
        contribute_own("P1", 1, "c/11"),
        contribute_own("A1", 1, "c/12"),
        charge("A1", 101, "c/13"),
        merge("sys:1", "sys:2", command_id="c/14"),
        merge("sys:1", "sys:9", command_id="c/15"),
    ]


def first_answers(outcomes: list[Outcome]) -> list[Outcome]:
    assert not any(outcome.repeated for outcome in outcomes)
    return outcomes


def size(database: Database) -> int:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


def test_the_same_command_again_gets_the_same_answer_and_records_nothing(ledger: Ledger, database: Database) -> None:
    """In a later batch, alone, and in another order."""
    commands = some_commands()
    first = first_answers(ledger.post(commands))
    assert {type(outcome) for outcome in first} == {Receipt, Refused}
    before = size(database), commands_recorded(database)
    expected = [outcome._replace(repeated=True) for outcome in first]
    assert ledger.post(commands) == expected
    assert [ledger.post([command])[0] for command in commands] == expected
    assert ledger.post(commands[::-1]) == expected[::-1]
    assert (size(database), commands_recorded(database)) == before
    assert_whole(database)


def test_the_same_command_twice_in_one_batch_is_recorded_once(ledger: Ledger, database: Database) -> None:
    commands = some_commands()
    outcomes = ledger.post([command for command in commands for _ in range(2)])
    first = first_answers(outcomes[::2])
    assert outcomes[1::2] == [outcome._replace(repeated=True) for outcome in first]
    assert len(commands_recorded(database)) == len(commands)
    assert_whole(database)


def test_a_refused_command_stays_refused_though_it_would_be_accepted_now(ledger: Ledger) -> None:
    """A refusal is an answer; a changed mind is a new command."""
    refused = ledger.post([contribute("A1", 100, "c/1")])[0]
    assert isinstance(refused, Refused)
    ledger.post([register("sys:1"), open_account("sys:1", "A1")])
    assert ledger.post([contribute("A1", 100, "c/1")]) == [refused._replace(repeated=True)]
    assert isinstance(ledger.post([contribute("A1", 100, "c/2")])[0], Receipt)


def test_a_repeat_may_be_decided_later(ledger: Ledger) -> None:
    command = register("sys:1", "c/1")
    later = command.model_copy(update={"decided_at": command.decided_at + timedelta(days=400)})
    first = ledger.post([command])[0]
    assert ledger.post([later]) == [first._replace(repeated=True)]


def test_other_content_under_a_known_id_is_refused_and_leaves_its_row(ledger: Ledger, database: Database) -> None:
    """Once for each other content, whether in the same batch or later; the first answer stands."""
    ledger.post([register("sys:1"), open_account("sys:1", "A1")])
    original, changed, third = contribute("A1", 100, "c/1"), contribute("A1", 200, "c/1"), contribute("A1", 300, "c/1")
    outcomes = ledger.post([original, changed, changed, original])
    assert [getattr(outcome, "code", "") for outcome in outcomes] == ["", "CommandIdReused", "CommandIdReused", ""]
    later = ledger.post([third, changed, original])
    assert [getattr(outcome, "code", "") for outcome in later] == ["CommandIdReused", "CommandIdReused", ""]
    assert later[2] == outcomes[0]._replace(repeated=True)
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute("SELECT command_id, digest FROM reused_command ORDER BY received_at").fetchall()
    assert rows == [("c/1", digest(changed)), ("c/1", digest(third))]
    assert commands_recorded(database)["c/1"] == (3, 3)
    assert_whole(database)


def test_a_known_id_under_another_type_of_command_is_reused(ledger: Ledger) -> None:
    ledger.post([register("sys:1", "c/1")])
    outcome = ledger.post([contribute("A1", 100, "c/1")])[0]
    assert isinstance(outcome, Refused)
    assert outcome.code == "CommandIdReused"


def test_racing_repeats_are_recorded_once(ledger: Ledger, database: Database) -> None:
    """Sixteen senders post the same batches at once, through two ledgers, each in another order."""
    ledger.post([register("sys:1"), open_account("sys:1", "A1")])
    ledgers = [ledger, Ledger(database)]
    batches = [[contribute("A1", 1, f"c/{n}/{m}") for m in range(5)] for n in range(20)]

    def send(sender: int) -> dict[str, tuple[int | None, int | None]]:
        seen = {}
        for batch in batches[sender:] + batches[:sender]:
            for outcome in ledgers[sender % 2].post(batch):
                assert isinstance(outcome, Receipt)
                seen[outcome.command_id] = (outcome.first_position, outcome.last_position)
        return seen

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert size(database) == 102
    assert answers[0].items() <= commands_recorded(database).items()
    assert_whole(database)
