"""The books are closed period by period; the numbers are the invariants of ledger/domain/closing.py and trial_balance.py."""

from datetime import UTC, date, datetime
from random import Random
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.calendar import last_day, period_of
from ledger.domain.catalogue import MATTERS, decide
from ledger.domain.closing import REFUSED_OF_ALL
from ledger.domain.commands import COMMANDS, ONE, AskedAdjustment, AskedLink, Command, PostContribution, digest
from ledger.domain.decider import NotRecalled, lacks_approvers, other_persons
from ledger.domain.lines import Recorded
from ledger.domain.notes import Checkpoint
from ledger.domain.postings import EXTERNAL
from ledger.domain.trial_balance import Postings, Row, text
from ledger.domain.trial_balance import digest as trial_balance_digest
from tests.domain.asking import EA, adjusting, close_period, contribute, open_account, register
from tests.domain.histories import History
from tests.domain.refusal_cases import CASES, CLOSED_THROUGH_2026, ROOT, Case
from tests.domain.scenario import Past, given, such

ORIGIN = "ledger.example"
LATE = "2026-02-27"
OPENED = (register("hr:1"), open_account("EA-1", "hr:1", EA))
SEALED = Checkpoint(ORIGIN, 2, ROOT)
CLOSING = close_period("2026-02", tree_size=2, root=ROOT.hex())
CLOSED: tuple[Past, ...] = (*OPENED, SEALED, CLOSING)
OTHERS = [case for case in CASES if type(case.command).__name__ != "ClosePeriod"]

each_other_command = pytest.mark.parametrize("case", OTHERS, ids=lambda case: type(case.command).__name__)


def adjusted(command: Command, **fields: Any) -> Command:
    """Declared an adjustment with these fields changed."""
    declared = adjusting(command)
    assert declared.adjustment is not None
    return declared.model_copy(update={"adjustment": declared.adjustment.model_copy(update=fields)})


class TestClosing:
    """Invariants 1 and 2; why it is refused, and in which order, stands in refusal_cases.py."""

    def test_it_pins_tree_and_trial_balance(self) -> None:
        given(*OPENED, SEALED).when(CLOSING).then(
            such(
                e.PeriodClosed,
                period="2026-02",
                tree_size=2,
                root=ROOT.hex(),
                trial_balance_sha256=CLOSING.trial_balance_sha256,
                approvers=["user:lin"],
            )
        ).remembered("books:ledger", closed_through="2026-02", position=3, tree_size=2, root=ROOT.hex())

    def test_it_closes_every_earlier_period(self) -> None:
        for on in ("2026-02-28", "2026-01-31", "2025-12-01", "2024-06-03"):
            given(*CLOSED).when(contribute("EA-1", employee=1, on=on)).refused(
                r.PeriodIsClosed, period=on[:7], closed_through="2026-02"
            )
        given(*CLOSED).when(contribute("EA-1", employee=1, on="2026-03-01")).then(such(e.ContributionPosted))

    @pytest.mark.parametrize("period", ["2026-02", "2026-01", "1999-12"])
    def test_what_is_closed_is_not_closed_again(self, period: str) -> None:
        again = close_period(period, tree_size=2, root=ROOT.hex())
        given(*CLOSED).when(again).refused(r.PeriodAlreadyClosed, closed_through="2026-02", position=3)

    def test_the_next_period_is_closed_over_a_later_tree(self) -> None:
        posted = contribute("EA-1", employee=1, on="2026-03-31")
        past = (*CLOSED, posted, Checkpoint(ORIGIN, 4, ROOT))
        early = close_period("2026-03", tree_size=2, root=ROOT.hex(), on="2026-04-01")
        given(*past).when(early).refused(r.CheckpointTooEarly, tree_size=2, least_size=4)
        given(*past).when(close_period("2026-03", tree_size=4, root=ROOT.hex(), on="2026-04-01")).remembered(
            "books:ledger", closed_through="2026-03", tree_size=4
        )

    def test_a_tree_need_not_cover_what_takes_effect_later(self) -> None:
        given(*OPENED, SEALED, contribute("EA-1", employee=1, on="2026-03-01")).when(CLOSING).then(such(e.PeriodClosed))

    def test_a_late_adjustment_of_an_earlier_period_must_be_covered_too(self) -> None:
        """It changes the trial balance, which is of all up to the period's end."""
        late = adjusting(contribute("EA-1", employee=1, on=LATE))
        closing = close_period("2026-03", tree_size=3, root=ROOT.hex(), on="2026-04-01")
        given(*CLOSED, Checkpoint(ORIGIN, 3, ROOT), late).when(closing).refused(r.CheckpointTooEarly, least_size=4)

    @pytest.mark.parametrize(
        "fields",
        [{"effective_on": date(2026, 2, 28)}, {"decided_at": datetime(2026, 2, 28, 15, 59, 59, tzinfo=UTC)}],
    )
    def test_a_period_is_over_when_its_last_day_is_over_in_china(self, fields: dict[str, Any]) -> None:
        given(*OPENED, SEALED).when(CLOSING.model_copy(update=fields)).refused(r.PeriodNotOver, last_day="2026-02-28")

    def test_it_may_be_decided_in_the_first_moment_after(self) -> None:
        fields = {"effective_on": date(2026, 3, 1), "decided_at": datetime(2026, 2, 28, 16, tzinfo=UTC)}
        given(*OPENED, SEALED).when(CLOSING.model_copy(update=fields)).then(such(e.PeriodClosed))

    @pytest.mark.parametrize("period", ["2026-11", "2099-12"])
    def test_a_period_is_not_over_because_the_command_says_so(self, period: str) -> None:
        """A command of the year 2199 would close the books for good; the database's clock is asked too."""
        on = "2199-12-31"
        misdated = close_period(period, tree_size=2, root=ROOT.hex(), on=on).model_copy(
            update={"decided_at": datetime(2199, 12, 31, 12, tzinfo=UTC)}
        )
        given(*OPENED, SEALED).when(misdated).refused(r.PeriodNotOver, last_day=last_day(period).isoformat())

    @pytest.mark.parametrize(
        ("now", "is_over"),
        [(datetime(2026, 2, 28, 15, 59, 59, tzinfo=UTC), False), (datetime(2026, 2, 28, 16, tzinfo=UTC), True)],
    )
    def test_by_the_clock_too_it_is_over_in_the_first_moment_after_in_china(
        self, now: datetime, *, is_over: bool
    ) -> None:
        scenario = given(*OPENED, SEALED)
        scenario.books.now = now
        assert isinstance(scenario.when(CLOSING).decision, list) == is_over

    def test_without_a_clock_nothing_is_closed(self) -> None:
        view = given(*OPENED, SEALED).books.recall(CLOSING)
        view.clock = None
        with pytest.raises(NotRecalled):
            decide(CLOSING, view)

    def test_a_tree_larger_than_the_journal_is_no_tree_of_it(self) -> None:
        beyond = close_period("2026-02", tree_size=3, root=ROOT.hex())
        given(*OPENED, Checkpoint(ORIGIN, 3, ROOT)).when(beyond).refused(r.CheckpointUnknown, tree_size=3)

    def test_the_actor_is_no_approver(self) -> None:
        alone = CLOSING.model_copy(update={"approvers": [CLOSING.actor]})
        given(*OPENED, SEALED).when(alone).refused(r.ApproverMissing, needed=1)

    @pytest.mark.parametrize(
        "fields",
        [
            {"root": "AB" * 32},
            {"root": "ab" * 31},
            {"trial_balance_sha256": "x" * 64},
            {"tree_size": 0},
            {"period": "2026-13"},
            {"books": "other"},
            {"adjustment": {"approvers": ["user:lin"], "period": "2026-02", "reason": "late"}},
        ],
    )
    def test_what_is_no_closing_is_not_read(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            ONE.validate_python(CLOSING.model_dump() | fields)


class TestClosedPeriod:
    """Invariants 3 and 4, for every command that there is."""

    def test_every_other_command_is_tried(self) -> None:
        assert {type(case.command).__name__ for case in OTHERS} == set(COMMANDS) - {"ClosePeriod"}

    @each_other_command
    def test_a_command_is_refused(self, case: Case) -> None:
        given(*case.past, CLOSED_THROUGH_2026).when(case.command).refused(r.PeriodIsClosed, closed_through="2026-12")

    @each_other_command
    def test_a_declared_adjustment_is_accepted_and_its_facts_carry_it(self, case: Case) -> None:
        outcome = given(*case.past, CLOSED_THROUGH_2026).when(adjusting(case.command))
        assert isinstance(outcome.decision, list)
        expected = e.Adjustment(
            approvers=["user:lin"], period=period_of(case.command.effective_on), reason="late_notice"
        )
        assert [fact.adjustment for fact in outcome.decision] == [expected] * len(outcome.decision)
        assert outcome.decision

    @each_other_command
    def test_without_adjustment_no_fact_carries_one(self, case: Case) -> None:
        decision = given(*case.past).when(case.command).decision
        assert isinstance(decision, list)
        assert not any(fact.adjustment for fact in decision)

    @each_other_command
    def test_an_adjustment_of_an_open_period_is_refused(self, case: Case) -> None:
        given(*case.past).when(adjusting(case.command)).refused(r.AdjustmentNotDue, closed_through=None)

    def test_an_adjustment_of_an_open_period_is_refused_also_after_a_closing(self) -> None:
        given(*CLOSED).when(adjusting(contribute("EA-1", employee=1, on="2026-03-01"))).refused(
            r.AdjustmentNotDue, period="2026-03", closed_through="2026-02"
        )

    def test_it_must_name_the_period_that_it_is_in(self) -> None:
        given(*CLOSED).when(adjusted(contribute("EA-1", employee=1, on=LATE), period="2026-01")).refused(
            r.AdjustmentPeriodWrong, period="2026-02", adjustment_period="2026-01"
        )

    @pytest.mark.parametrize("approvers", [[], ["system:core"], ["system:CORE", "user:core"]])
    def test_it_takes_two_persons(self, approvers: list[str]) -> None:
        given(*CLOSED).when(adjusted(contribute("EA-1", employee=1, on=LATE), approvers=approvers)).refused(
            r.AdjustmentNotApproved, needed=1
        )

    def test_the_earlier_refusal_wins_and_all_come_before_the_matters_own(self) -> None:
        """Each step mends what the one before was refused for; the account is unknown all the while."""
        asked = contribute("NOWHERE", employee=0, on=LATE)
        wrong = adjusted(asked, period="2026-01", approvers=[])
        steps = [
            (asked, r.PeriodIsClosed),
            (wrong.model_copy(update={"effective_on": date(2026, 3, 1)}), r.AdjustmentNotDue),
            (wrong, r.AdjustmentPeriodWrong),
            (adjusted(asked, approvers=[]), r.AdjustmentNotApproved),
            (adjusting(asked), r.AccountUnknown),
        ]
        for command, refusal in steps:
            given(*CLOSED).when(command).refused(refusal)
        assert tuple(refusal for _, refusal in steps[:-1]) == REFUSED_OF_ALL

    def test_a_reversal_in_an_open_period_needs_no_adjustment(self) -> None:
        """The entry of a closed period is negated where the books are open: the closed trial balance stands."""
        past = (*OPENED, contribute("EA-1", employee=9, on=LATE), Checkpoint(ORIGIN, 3, ROOT))
        closing = close_period("2026-02", tree_size=3, root=ROOT.hex())
        reversal = next(case.command for case in CASES if type(case.command).__name__ == "ReverseEntry")
        given(*past, closing).when(reversal).then(such(e.EntryReversed, reverses=3, adjustment=None))

    @pytest.mark.parametrize("seed", range(20))
    def test_after_closings_among_random_commands_every_late_fact_is_declared(self, seed: int) -> None:
        """And a closing is accepted exactly where the tree covers the period."""
        history = History(seed)
        books, random = history.books, Random(seed)  # noqa: S311 - to be made again from its seed
        closed_through = ""
        for command in history.commands(60):
            size = len(books.facts)
            approvers = random.choice([["user:lin"], [command.actor]])
            for tried in (adjusted(command, approvers=approvers), command):
                decision = books.post(tried)
                if isinstance(decision, list):
                    break
            for fact in books.facts[size:]:
                declared = None if fact.adjustment is None else fact.adjustment.period
                period = period_of(fact.effective_on)
                assert declared == (period if period <= closed_through else None)
            if random.random() < 0.2:
                books.sealed[size] = ROOT
                period = random.choice(["2025-02", "2025-07", "2025-12", "2026-01", "2026-03"])
                closing = history.named(close_period(period, tree_size=size, root=ROOT.hex(), on="2026-11-02"))
                covered = all(fact.effective_on > last_day(period) for fact in books.facts[size:])
                is_closed = isinstance(books.post(closing), list)
                assert is_closed == (covered and period > closed_through)
                closed_through = period if is_closed else closed_through
        assert closed_through


class TestDates:
    """Invariant 3 looks at `effective_on` alone, so no other date may say when something takes effect."""

    def test_no_command_has_a_further_date_but_the_day_an_account_was_opened(self) -> None:
        dated = {
            (name, field)
            for name, command in COMMANDS.items()
            for field, hint in get_type_hints(command).items()
            if "datetime" in str(hint).lower() and field not in Command.model_fields
        }
        assert dated == {("OpenAccount", "opened_on")}
        models = (AskedLink, AskedAdjustment)
        assert not any("datetime" in str(get_type_hints(each)).lower() for each in models)

    def test_what_follows_takes_effect_when_the_command_does(self) -> None:
        for case in CASES:
            decision = given(*case.past).when(case.command).decision
            assert isinstance(decision, list)
            for fact in decision:
                days = {fact.effective_on, *(link.effective_from for link in getattr(fact, "links", ()))}
                assert days == {case.command.effective_on}

    def test_the_day_an_account_was_opened_may_lie_in_a_closed_period(self) -> None:
        """It moves no money: an empty account is there from then on."""
        opening = open_account("EA-2", "hr:1", EA)
        late = opening.model_copy(update={"effective_on": date(2026, 3, 1)})
        given(*CLOSED).when(late).then(such(e.AccountOpened, opened_on=date(2024, 6, 3), adjustment=None))


class TestTwoPersons:
    """Invariant 4 of ledger/domain/decider.py."""

    @pytest.mark.parametrize(
        ("approvers", "persons"),
        [
            ([], 0),
            (["operator:op-1"], 0),
            (["operator:OP-1"], 0),
            (["user:op-1"], 0),
            (["user:Op-1", "operator:op-1"], 0),
            (["operator:op-2"], 1),
            (["user:op-2", "operator:OP-2", "user:op-1"], 1),
            (["user:op-2", "user:op-3"], 2),
        ],
    )
    def test_a_person_in_another_spelling_is_no_other_person(self, approvers: list[str], persons: int) -> None:
        assert len(other_persons(approvers, "operator:op-1")) == persons
        command = CLOSING.model_copy(update={"actor": "operator:op-1", "approvers": approvers})
        for needed in (1, 2):
            assert lacks_approvers(command, needed) == (persons < needed)
        outcome = given(*OPENED, SEALED).when(command)
        assert isinstance(outcome.decision, list) == (persons >= 1)

    @pytest.mark.parametrize(
        "case", [case for case in CASES if r.ApproverMissing in MATTERS[type(case.command)].refuses]
    )
    def test_nobody_approves_himself_whatever_it_takes_two_for(self, case: Case) -> None:
        alone = {"actor": "operator:op-1", "approvers": ["user:OP-1"]}
        outcome = given(*case.past).when(case.command.model_copy(update=alone))
        needed = given(*case.past).when(case.command.model_copy(update={"approvers": []}))
        assert (type(outcome.decision) is r.ApproverMissing) == (type(needed.decision) is r.ApproverMissing)


class TestDigest:
    """A command is known again by what it says."""

    CONTRIBUTION = PostContribution(
        account="EA-1",
        actor="system:ea-core",
        amounts_fen={"employee": 20_000},
        command_id="ea-core/V-1",
        decided_at=datetime(2025, 1, 25, 12, tzinfo=UTC),
        effective_on=date(2025, 1, 25),
        period="2025-01",
        tax_treatment="pre_tax",
    )

    def test_without_an_adjustment_it_is_what_it_was_before_there_were_any(self) -> None:
        """So that what was stored then is still known as a repetition."""
        before = "40fc73f8f1a3e391228f07f0752877972e0b5ab8a1ead9e55066070a6997ff09"
        assert digest(self.CONTRIBUTION).hex() == before

    def test_an_adjustment_is_part_of_it(self) -> None:
        declared = [
            adjusted(self.CONTRIBUTION, **fields)
            for fields in ({}, {"approvers": ["user:wu"]}, {"period": "2025-02"}, {"reason": "other"})
        ]
        assert len({digest(command) for command in (self.CONTRIBUTION, *declared)}) == 5

    def test_an_adjustment_has_no_further_fields(self) -> None:
        with pytest.raises(ValidationError):
            AskedAdjustment.model_validate({"approvers": [], "period": "2026-02", "reason": "late", "note": "x"})


class TestTrialBalance:
    """The numbers are those of trial_balance.py."""

    ROWS = (
        Row("external", "contribution", "contributions", 1, -500),
        Row("enterprise_annuity", "contribution", "employee", 1, 300),
        Row("enterprise_annuity", "contribution", "employer_vested", 1, 200),
    )
    TEXT = (
        b"pension-ledger/trial-balance/v1\n2026-02\n3\n3\n"
        b"enterprise_annuity\tcontribution\temployee\t1\t300\n"
        b"enterprise_annuity\tcontribution\temployer_vested\t1\t200\n"
        b"external\tcontribution\tcontributions\t1\t-500\n"
    )

    def test_its_text_is_spelled_so_for_ever(self) -> None:
        assert text("2026-02", 3, self.ROWS) == self.TEXT
        assert trial_balance_digest("2026-02", 3, self.ROWS) == (
            "b70fff3253a7721f6d90f220ea8724899079ff8721239b31713501df1e8fc5ab"
        )

    def test_its_text_does_not_depend_on_the_order_of_its_rows(self) -> None:
        """Invariant 3."""
        assert text("2026-02", 3, self.ROWS[::-1]) == self.TEXT

    def test_it_holds_the_postings_up_to_the_periods_end(self) -> None:
        """Invariant 1."""
        days = ("2026-01-31", "2026-02-28", "2026-03-01")
        books = given(*OPENED, *(contribute("EA-1", employee=20 + number, on=on) for number, on in enumerate(days)))
        postings = Postings()
        for position, fact in enumerate(books.books.facts, 1):
            postings.add(Recorded(position, fact), {"EA-1": EA, EXTERNAL: EXTERNAL})
        assert sorted(postings.rows("2026-02")) == [
            Row(EA, "contribution", "employee", 2, 41),
            Row(EXTERNAL, "contribution", "contributions", 2, -41),
        ]
        assert postings.rows("2025-12") == []

    @pytest.mark.parametrize("seed", range(10))
    def test_its_sums_are_zero(self, seed: int) -> None:
        """Invariant 2, at the end of every period."""
        facts = History(seed).run().books.facts
        products = {fact.account: fact.product for fact in facts if isinstance(fact, e.AccountOpened)}
        postings = Postings()
        for position, fact in enumerate(facts, 1):
            postings.add(Recorded(position, fact), products | {EXTERNAL: EXTERNAL})
        for period in {period_of(fact.effective_on) for fact in facts}:
            assert sum(row.amount_fen for row in postings.rows(period)) == 0


@pytest.mark.parametrize(
    ("period", "day"),
    [("2025-01", "2025-01-31"), ("2024-02", "2024-02-29"), ("2025-02", "2025-02-28"), ("2099-12", "2099-12-31")],
)
def test_a_period_ends_with_the_last_day_of_its_month(period: str, day: str) -> None:
    assert last_day(period) == date.fromisoformat(day)
    assert period_of(last_day(period)) == period
