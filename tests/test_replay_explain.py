"""An account or a person explained: every line with its fact, who posted it and when, and its proof."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest
from rich.console import Console

from ledger.application import Ledger
from ledger.domain.notes import InclusionProof
from ledger.projector import Projector
from replay import explain, hashes
from replay.explain import AccountUnknown, as_json, explain_account, explain_person, show
from replay.facts import HistoryBroken, opened
from replay.sheets import PersonUnknown
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
from tests.projected import statement
from tests.sealing import KEY, auditor_url, leaf_hashes, seal
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database
    from replay.explain import Explanation, Prove
    from replay.facts import Connection

MOVED = [(7, "A1", 1_000, 1_000), (9, "A1", -300, 700), (9, "A2", 300, 300), (10, "A1", 50, 750), (11, "A1", -50, 700)]


@pytest.fixture
def told(database: Database) -> Database:
    """Positions 1 to 12: one person of two identities with three accounts, and somebody else's account."""
    Ledger(database).post(
        [
            register("ea:1"),
            register("pp:7"),
            register("ea:2"),
            open_account("ea:1", "A1"),
            open_account("ea:1", "A2"),
            open_account("pp:7", "P7", PERSONAL),
            contribute("A1", 1_000, "c/7", date(2026, 1, 5)),
            contribute_own("P7", CAP_FEN),
            transfer("A1", "A2", 300),
            credit("A1", 50),
            reverse(10),
            merge("ea:1", "pp:7"),
        ]
    )
    return database


@contextmanager
def reading(database: Database) -> Iterator[tuple[Connection, Prove]]:
    """A connection, and how its facts are proved."""
    with opened(auditor_url(database)) as connection:

        def prove(position: int) -> InclusionProof | None:
            try:
                return hashes.prove(connection, position)
            except hashes.NotSealed:
                return None

        yield connection, prove


def of_account(database: Database, account: str, **asked: int) -> Explanation:
    with reading(database) as (connection, prove):
        return explain_account(connection, account, prove=prove, **asked)


def of_person(database: Database, person: str, **asked: int) -> Explanation:
    with reading(database) as (connection, prove):
        return explain_person(connection, person, prove=prove, **asked)


def moved(explanation: Explanation) -> list[tuple[int, str, int, int | None]]:
    lines = [line for line, _ in explanation.lines]
    return [(line.position, line.account, line.amount_fen, line.balance_fen) for line in lines if line.account]


def shown(explanation: Explanation, *, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=250)
    show(explanation, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_account_is_explained_line_by_line(told: Database) -> None:
    """Every fact that mentions it, with its balance after each that moves money; what else they move is not there."""
    found = of_account(told, "A1")
    assert moved(found) == [each for each in MOVED if each[1] == "A1"]
    assert [line.position for line, _ in found.lines] == [4, 7, 9, 10, 11]
    line = found.lines[1].line
    assert (line.type, line.kind, line.actor, line.command_id) == (
        "ContributionPosted",
        "contribution",
        "system:test",
        "c/7",
    )
    assert (line.effective_on, line.amounts_fen) == (date(2026, 1, 5), {"employee": 1_000})
    assert found.lines[-1].line.reverses == 10
    assert (found.balances_fen, found.next_after) == ({"A1": 700}, None)


def test_its_balances_are_those_of_the_statement(told: Database) -> None:
    """The second road: what the projection sums is what the facts say."""
    Projector(told).catch_up()
    for account in ("A1", "A2", "P7"):
        page = statement(told, account, order="position").statement
        kept = [(line.position, account, line.amount_fen, line.balance_fen) for line in page.lines]
        assert moved(of_account(told, account)) == kept


def test_facts_are_shown_as_they_are_stored(told: Database) -> None:
    with psycopg.connect(told.admin_url) as connection:
        stored: dict[int, str] = dict(
            connection.execute("SELECT position, convert_from(data, 'UTF8') FROM event").fetchall()
        )
    for line, _ in of_person(told, "ea:1").lines:
        assert line.fact == stored[line.position]


def test_a_person_is_explained_by_all_her_identities_and_accounts(told: Database) -> None:
    """By each of her names the same; a fact about two of her accounts has a line for each."""
    found = of_person(told, "ea:1")
    assert found.sids == ["ea:1", "pp:7"]
    assert found.accounts == ["A1", "A2", "P7"]
    assert sorted({line.position for line, _ in found.lines}) == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert [each for each in moved(found) if each[1] != "P7"] == MOVED
    assert found.balances_fen == {"A1": 700, "A2": 300, "P7": CAP_FEN}
    assert of_person(told, "P7").lines == found.lines


def test_a_person_is_explained_as_she_was_composed_at_the_position(told: Database) -> None:
    Ledger(told).post([unmerge(["ea:1"], ["pp:7"])])
    assert of_person(told, "pp:7").accounts == ["P7"]
    assert of_person(told, "pp:7", known_at=12).accounts == ["A1", "A2", "P7"]
    assert of_person(told, "pp:7", known_at=11).sids == ["pp:7"]


def test_the_balances_go_on_from_page_to_page(told: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of pages and of what is read at once: all lines, each once."""
    Ledger(told).post([contribute("A1", fen) for fen in range(1, 26)])
    whole = of_person(told, "ea:1")
    for fetch, limit in ((1, 1), (3, 2), (7, 5), (5_000, 4)):
        monkeypatch.setattr(explain, "FETCH", fetch)
        lines = []
        after: int | None = 0
        while after is not None:
            page = of_person(told, "ea:1", after=after, limit=limit)
            assert limit <= len(page.lines) <= limit + 1 or page.next_after is None
            lines += page.lines
            after = page.next_after
        assert lines == whole.lines
        assert page.balances_fen == whole.balances_fen


def test_the_proof_of_a_line_verifies_and_an_unsealed_fact_is_said(told: Database) -> None:
    seal(told, 10)
    found = of_account(told, "A1")
    leaves = leaf_hashes(told)
    assert [proof is None for _, proof in found.lines] == [False, False, False, False, True]
    for line, proof in found.lines[:4]:
        assert proof is not None
        assert proof.verify(leaves[line.position - 1], [KEY.verifier]).size == 10
    said = shown(found)
    assert "leaf 6 under 10" in said
    assert "1 facts are not sealed yet; ask again for their proofs in a minute." in said


def test_as_json_it_holds_facts_and_proofs(told: Database) -> None:
    seal(told, 12)
    document = json.loads(as_json(of_account(told, "A1")))
    line = document["lines"][1]
    assert json.loads(line["fact"])["amounts_fen"] == {"employee": 1_000}
    proof = InclusionProof.parse(line["proof"])
    assert proof.verify(leaf_hashes(told)[6], [KEY.verifier]).size == 12
    assert as_json(of_account(told, "A1")) == as_json(of_account(told, "A1"))


def test_without_a_terminal_the_columns_are_apart_by_tabs(told: Database) -> None:
    """Whole, one line for each, whatever stands in it."""
    lines = shown(of_account(told, "A1")).splitlines()
    assert lines[0].split("\t")[:3] == ["position", "effective", "recorded"]
    row = lines[2].split("\t")
    assert row[0:2] + row[3:9] == ["7", "2026-01-05", "A1", "contribution", "+1000", "1000", "system:test", "c/7"]
    assert json.loads(row[-1])["account"] == "A1"
    assert "A1 holds 700 fen after the last line above." in lines
    assert "There are more lines: go on after position 4." in shown(of_account(told, "A1", limit=1))


def test_on_a_terminal_it_is_a_table(told: Database) -> None:
    said = shown(of_account(told, "A1"), terminal=True)
    assert "┃" in said
    assert "contribution" in said


def test_a_fact_that_cannot_be_read_is_shown_and_moves_nothing(told: Database) -> None:
    with past_all_guards(told) as connection:
        connection.execute(r"UPDATE event SET data = '\xff7b7d' WHERE position = 10")
    found = of_account(told, "A1")
    unread = next(line for line, _ in found.lines if line.position == 10)
    assert (unread.is_readable, unread.fact, unread.account) == (False, r"\xff{}", None)
    assert "ReturnsCredited, cannot be read" in shown(found)


def test_a_fact_that_the_index_names_and_that_is_gone_breaks_the_history(told: Database) -> None:
    with past_all_guards(told) as connection:
        connection.execute("DELETE FROM event WHERE position = 10")
    with pytest.raises(HistoryBroken, match="position 10"):
        of_account(told, "A1")


def test_what_is_not_known_is_said(told: Database) -> None:
    with pytest.raises(AccountUnknown, match="A9 was not opened up to position 12"):
        of_account(told, "A9")
    with pytest.raises(AccountUnknown):
        of_account(told, "A1", known_at=3)
    with pytest.raises(PersonUnknown):
        of_person(told, "ea:9")
