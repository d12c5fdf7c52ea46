"""Moves are simulated by the real deciders without a trace, and posted as they were simulated, or not at all.

The numbers are the invariants of ledger/moving.py.
"""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import psycopg
import pytest

from ledger.application import MAX_REHEARSED, BatchTooLarge, Ledger, Receipt, Refused, _Posting
from ledger.database import Database
from ledger.domain.calculators.lawful_moves import PERSON
from ledger.domain.posters import Poster
from ledger.domain.rules import RuleRefused
from ledger.memory import recall
from ledger.moving import MoveNotDrafted, MoveRefused, PositionMoved, RulesChanged, confirm, simulate
from ledger.planning.answers import AnswerRefused
from ledger.planning.basis import VERSION
from ledger.planning.crossing import MoveQuestion, Sender
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.settings import Settings
from tests.commands import (
    PERSONAL,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    transfer,
)
from tests.domain import histories
from tests.domain.scenario import Books
from tests.scale import scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.domain.commands import Command

ONE, OTHER = "ea-core:1", "ea-core:2"
DAY = date(2026, 11, 22)
SENDER = Sender(actor="operator:op-1", namespace="operator", decided_at=datetime(2026, 11, 22, 9, tzinfo=UTC))
ROWS = b"SELECT (SELECT size FROM head), (SELECT count(*) FROM command), (SELECT count(*) FROM memory)"


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """A woman with an enterprise annuity, a retained account and a personal pension, and somebody else."""
    ledger = Ledger(database)
    commands = [
        register(ONE),
        register(OTHER),
        open_account(ONE, "E1"),
        open_account(ONE, "R1", "retained_account"),
        open_account(ONE, "P1", PERSONAL),
        open_account(ONE, "G1", "group_pension"),
        open_account(OTHER, "E2"),
        contribute("E1", 1_200_000),
        contribute_own("P1", 200_000),
        contribute("E2", 500),
    ]
    assert all(isinstance(outcome, Receipt) for outcome in ledger.post(commands))
    return ledger


def asked(**fields: Any) -> MoveQuestion:
    return MoveQuestion(**{"on": DAY, "from_account": "E1", "reason": "EA_STATUTORY_AGE", **fields})


RETIRES = asked(to_account="P1", form="yearly")
LEAVES = asked(to_account="R1", reason="unemployed")


def remembered(database: Database, tags: Iterable[str]) -> dict[str, Any]:
    with database.connection() as connection:
        return recall(connection, list(tags), {})


def counts(database: Database) -> tuple[Any, ...]:
    with database.connection() as connection:
        row = connection.execute(ROWS).fetchone()
    assert row is not None
    return row


@pytest.mark.usefixtures("ledger")
class TestSimulating:
    def test_a_lawful_move_is_one_fact_and_shows_both_accounts(self, database: Database) -> None:
        """EA to RA for who is unemployed (EA36/22, 23): no tax."""
        before = counts(database)
        found = simulate(database, ONE, LEAVES, SENDER)
        assert found.wish.judged.rule == "mv.ea.ra"
        assert found.wish.draft is not None
        assert (found.wish.draft.tax_fen, found.wish.draft.arrives_fen) == (0, 1_200_000)
        assert found.balances_fen["E1"]["employee"] == (1_200_000, 0)
        assert found.balances_fen["R1"]["employee"] == (0, 1_200_000)
        assert [type(outcome) for outcome in found.outcomes] == [Receipt]
        assert counts(database) == before

    def test_cash_and_anew_is_two_linked_commands_inside_the_cap(self, database: Database) -> None:
        """EA yearly payout of 12,000: tax 360 (RULES.md section 11); of the cap 10,000 are left, the rest is hers."""
        found = simulate(database, ONE, RETIRES, SENDER)
        draft = found.wish.draft
        assert draft is not None
        assert not found.wish.judged.lawful
        assert (draft.gross_fen, draft.tax_fen, draft.room_fen) == (1_200_000, 36_000, 1_000_000)
        assert (draft.arrives_fen, draft.to_person_fen) == (1_000_000, 164_000)
        first, second = (command.command_id for command in draft.commands)
        assert (first[:-1], first[-1], second) == (second[:-1], "1", f"{first[:-1]}2")
        assert all(isinstance(outcome, Receipt) for outcome in found.outcomes)

    def test_an_unlawful_move_names_the_rule_and_the_nearest_way(self, database: Database) -> None:
        """EA does not move into PP: a payout at retirement, then a contribution inside the cap (EA36/24, 25)."""
        found = simulate(database, ONE, asked(to_account="P1", reason="job_change"), SENDER)
        judged = found.wish.judged
        assert (found.wish.draft, judged.lawful, judged.rule) == (None, False, "mv.ea.pp")
        assert [(step.do, step.rule) for step in judged.alternative] == [
            ("pay_out", "mv.ea.cash"),
            ("contribute", "pp.cap.year"),
        ]

    @pytest.mark.parametrize(("target", "rule"), [("E1", "mv.gp.annuity"), ("R1", "mv.gp.annuity")])
    def test_a_group_pension_moves_into_no_annuity(self, database: Database, target: str, rule: str) -> None:
        found = simulate(database, ONE, asked(from_account="G1", to_account=target, reason="job_change"), SENDER)
        assert (found.wish.draft, found.wish.judged.rule) == (None, rule)

    def test_a_pair_without_a_row_is_refused_by_default(self, database: Database) -> None:
        found = simulate(database, ONE, asked(from_account="R1", to_account="G1", reason="job_change"), SENDER)
        assert (found.wish.draft, found.wish.judged.verdict, found.wish.judged.rule) == (None, "no_row", "mv.default")

    def test_the_personal_pension_pays_three_percent_of_everything(self, database: Database) -> None:
        """mv.pp.cash, pp.tax.out."""
        question = asked(from_account="P1", to_product=PERSON, reason="PP_W1_AGE")
        draft = simulate(database, ONE, question, SENDER).wish.draft
        assert draft is not None
        assert (draft.tax_fen, draft.to_person_fen) == (6_000, 194_000)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"from_account": "E9", "to_account": "R1"}, "from_account"),
            ({"to_account": "E2"}, "to_account"),
            ({"to_account": "R1", "reason": "unemployed", "amounts_fen": {"employee": 1_200_001}}, "amounts_fen"),
            ({"to_account": "R1", "reason": "unemployed", "amounts_fen": {"employer_unvested": 1}}, "amounts_fen"),
        ],
    )
    def test_a_field_out_of_place_is_named(self, database: Database, fields: dict[str, Any], field: str) -> None:
        """Also an account of somebody else is none of hers."""
        with pytest.raises(AnswerRefused) as refused:
            simulate(database, ONE, asked(**fields), SENDER)
        assert refused.value.field == field

    def test_before_the_rules_first_row_nothing_is_judged(self, database: Database) -> None:
        with pytest.raises(RuleRefused):
            simulate(database, ONE, asked(to_account="R1", reason="unemployed", on=date(2017, 12, 31)), SENDER)

    def test_posters_have_the_rights_that_they_have(self, database: Database) -> None:
        """A poster of another source may not draw on the account."""
        poster = Poster("system:pp-bank", "pp-bank", None, is_steward=False)
        sender = Sender(actor=poster.subject, namespace=poster.namespace, decided_at=SENDER.decided_at)
        (outcome,) = simulate(database, ONE, LEAVES, sender, poster).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.code == "PosterNotPermitted"


class TestRehearsing:
    """Invariant 1."""

    @pytest.mark.parametrize("seed", range(scaled(40)))
    def test_a_rehearsal_says_what_posting_then_does_and_leaves_no_trace(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """Over random histories of everything that can happen, in batches; with refused, repeated and reused commands."""
        commands: list[Command] = []
        post = Books.post

        def keep(books: Books, command: Command) -> Any:
            commands.append(command)
            return post(books, command)

        monkeypatch.setattr(Books, "post", keep)
        histories.History(seed=seed).run(60)
        random, ledger = Random(seed), Ledger(database)  # noqa: S311 - to be made again from its seed
        kinds: set[type] = set()
        while commands:
            batch = [commands.pop(0) for _ in range(min(len(commands), random.randint(1, 12)))]
            batch += [batch[0], batch[-1].model_copy(update={"effective_on": DAY})]
            before = counts(database)
            rehearsed = ledger.rehearse(batch)
            assert counts(database) == before
            assert rehearsed.position == before[0]
            assert remembered(database, rehearsed.before) == rehearsed.before
            assert rehearsed.outcomes == ledger.post(batch)
            assert remembered(database, rehearsed.after) == rehearsed.after
            kinds |= {type(outcome) for outcome in rehearsed.outcomes}
        assert kinds == {Receipt, Refused}

    def test_a_rehearsal_asks_for_no_lock(self, ledger: Ledger, database: Database) -> None:
        """While a writer holds the head row, it is answered at once; and while it is open itself, others post."""
        hasty = Database(
            url=database.url, admin_url=database.admin_url, embedded=False, settings=Settings(lock_timeout_ms=200)
        )
        with psycopg.connect(database.admin_url) as writer:
            writer.execute("SELECT FROM head FOR UPDATE")
            rehearsed = Ledger(hasty).rehearse([contribute("E2", 1)])
        assert isinstance(rehearsed.outcomes[0], Receipt)
        posting = _Posting([contribute("E2", 1)], None, with_leaves=False)
        with hasty.connection() as connection:
            connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            position = posting.rehearse(connection).position
            assert ledger.post([contribute("E2", 1)])[0] == Receipt(ANY, position + 1, position + 1)
            assert connection.execute(b"SELECT size FROM head").fetchone() == (position,)
        hasty.close()

    def test_what_is_recalled_only_while_deciding_is_before_as_it_was(self, ledger: Ledger, database: Database) -> None:
        """The other person's identity is asked for only once the account is opened by an earlier command."""
        rehearsed = ledger.rehearse([open_account(ONE, "E9"), transfer("E2", "E9", 1)])
        assert isinstance(rehearsed.outcomes[1], Refused)
        assert rehearsed.outcomes[1].code == "PersonsDiffer"
        assert rehearsed.before["identity:" + OTHER] == rehearsed.after["identity:" + OTHER] != {}
        assert remembered(database, rehearsed.before) == rehearsed.before

    def test_only_so_many_commands_are_rehearsed(self, ledger: Ledger) -> None:
        for batch in ([], [contribute("E2", 1)] * (MAX_REHEARSED + 1)):
            with pytest.raises(BatchTooLarge):
                ledger.rehearse(batch)


class TestConfirming:
    def test_what_was_simulated_is_posted_and_again_the_same(self, ledger: Ledger, database: Database) -> None:
        """Invariant 4; the sheet afterwards is the one that was shown."""
        found = simulate(database, ONE, RETIRES, SENDER)
        _, receipts = confirm(ledger, database, ONE, RETIRES, SENDER, known_at=found.known_at)
        assert [receipt.first_position for receipt in receipts] == [found.known_at + 1, found.known_at + 2]
        sheet = read_balance_sheet(database, ONE).sheet
        assert sheet.capped_contributions_fen == {"2026": 1_200_000}
        _, again = confirm(ledger, database, ONE, RETIRES, SENDER, known_at=found.known_at)
        assert again == [receipt._replace(repeated=True) for receipt in receipts]

    @pytest.mark.parametrize(
        "between",
        [credit("E1", 1), contribute_own("P1", 1), merge(ONE, OTHER), open_account(ONE, "C1", "commercial_pension")],
        ids=["returns", "contribution", "merge", "opening"],
    )
    def test_after_any_fact_about_her_it_has_to_be_simulated_again(
        self, ledger: Ledger, database: Database, between: Any
    ) -> None:
        """Invariant 2."""
        found = simulate(database, ONE, RETIRES, SENDER)
        ledger.post([between])
        before = counts(database)
        with pytest.raises(PositionMoved) as moved:
            confirm(ledger, database, ONE, RETIRES, SENDER, known_at=found.known_at)
        assert moved.value.position == found.known_at + 1
        assert counts(database) == before

    def test_what_came_between_is_seen_though_one_of_the_commands_was_posted_before(
        self, ledger: Ledger, database: Database
    ) -> None:
        """The payout is on record already, by another door: its position hides nothing that came after it."""
        found = simulate(database, ONE, RETIRES, SENDER)
        assert found.wish.draft is not None
        ledger.post([found.wish.draft.commands[0]])
        ledger.post([credit("E1", 7)])
        before = counts(database)
        with pytest.raises(PositionMoved):
            confirm(ledger, database, ONE, RETIRES, SENDER, known_at=found.known_at)
        assert counts(database) == before

    def test_where_one_command_is_refused_nothing_would_change(self, ledger: Ledger, database: Database) -> None:
        """Invariant 3: she draws her personal pension at age already, and may not pay in again (pp.out.resume)."""
        drawn = asked(from_account="P1", to_product=PERSON, reason="PP_W1_AGE", amount_fen=100)
        known_at = simulate(database, ONE, drawn, SENDER).known_at
        confirm(ledger, database, ONE, drawn, SENDER, known_at=known_at)
        found = simulate(database, ONE, RETIRES, SENDER)
        assert [type(outcome) for outcome in found.outcomes] == [Receipt, Refused]
        assert all(before == after for parts in found.balances_fen.values() for before, after in parts.values())
        with pytest.raises(MoveRefused, match="ContributionsEnded"):
            confirm(ledger, database, ONE, RETIRES, SENDER, known_at=found.known_at)
        assert read_balance_sheet(database, ONE).known_at == found.known_at

    def test_under_other_rules_it_has_to_be_simulated_again(self, ledger: Ledger, database: Database) -> None:
        """Who gives the version of the simulation is not posted a tax of another one."""
        found = simulate(database, ONE, LEAVES, SENDER)
        with pytest.raises(RulesChanged):
            confirm(ledger, database, ONE, LEAVES, SENDER, known_at=found.known_at, rules_version="0" * 16)
        confirm(ledger, database, ONE, LEAVES, SENDER, known_at=found.known_at, rules_version=VERSION.rules)

    def test_facts_about_others_do_not_matter(self, ledger: Ledger, database: Database) -> None:
        found = simulate(database, ONE, LEAVES, SENDER)
        ledger.post([credit("E2", 1)])
        confirm(ledger, database, ONE, LEAVES, SENDER, known_at=found.known_at)

    def test_both_stand_or_neither_does(self, ledger: Ledger, database: Database) -> None:
        """Invariant 3: the payout would stand, the contribution is refused for its poster; nothing is recorded."""
        poster = Poster("system:ea-core", "ea-core", frozenset({"enterprise_annuity"}), is_steward=False)
        sender = Sender(actor=poster.subject, namespace=poster.namespace, decided_at=SENDER.decided_at)
        found = simulate(database, ONE, RETIRES, sender, poster)
        assert [type(outcome) for outcome in found.outcomes] == [Receipt, Refused]
        before = counts(database)
        with pytest.raises(MoveRefused, match="PosterNotPermitted"):
            confirm(ledger, database, ONE, RETIRES, sender, known_at=found.known_at, poster=poster)
        assert counts(database) == before

    def test_what_is_not_lawful_cannot_be_confirmed(self, ledger: Ledger, database: Database) -> None:
        question = asked(to_account="P1", reason="job_change")
        known_at = simulate(database, ONE, question, SENDER).known_at
        with pytest.raises(MoveNotDrafted):
            confirm(ledger, database, ONE, question, SENDER, known_at=known_at)

    @pytest.mark.usefixtures("ledger")
    def test_of_two_that_race_one_wins(self, database: Database) -> None:
        """Two different moves simulated at one position cannot both stand."""
        first = asked(to_account="R1", reason="unemployed", amounts_fen={"employee": 700_000})
        second = asked(to_account="R1", reason="unemployed", amounts_fen={"employee": 600_000})
        known_at = simulate(database, ONE, first, SENDER).known_at
        ended: list[str] = []

        def run(question: MoveQuestion) -> None:
            try:
                confirm(Ledger(database), database, ONE, question, SENDER, known_at=known_at)
                ended.append("posted")
            except PositionMoved:
                ended.append("moved")

        threads = [threading.Thread(target=run, args=(question,)) for question in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert sorted(ended) == ["moved", "posted"]


def test_the_same_question_at_the_same_position_drafts_the_same(ledger: Ledger, database: Database) -> None:
    """Invariant 3 of ledger/planning/crossing.py."""
    first, second = (simulate(database, ONE, RETIRES, SENDER).wish.draft for _ in range(2))
    assert first == second
    ledger.post([credit("E2", 1)])
    third = simulate(database, ONE, RETIRES, SENDER).wish.draft
    assert first is not None
    assert third is not None
    assert first.commands[0].command_id != third.commands[0].command_id
