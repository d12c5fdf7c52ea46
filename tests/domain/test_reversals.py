"""An entry is corrected by its exact negation, linked to it and approved by a second person."""

from datetime import date

import pytest

from ledger.domain.events import (
    AccountOpened,
    BenefitPaid,
    ContributionPosted,
    EntryReversed,
    FeeCharged,
    LimitBreachRecorded,
    LimitBreachRescinded,
)
from ledger.domain.refusals import AccountIsClosed, ApproverMissing, EntryNotReversible, ReversalWouldOverdraw
from tests.domain.asking import (
    EA,
    PP,
    charge,
    close,
    contribute,
    credit,
    freeze,
    merge,
    open_account,
    pay,
    register,
    reverse,
    transfer,
    vest,
)
from tests.domain.scenario import Past, given, such

ANNUITY = (register("hr:1"), open_account("EA-1", "hr:1", EA), open_account("EA-2", "hr:1", EA))
FUNDED = (*ANNUITY, contribute("EA-1", employee=50, employer_vested=50, employer_unvested=50))


@pytest.mark.parametrize(
    "entry",
    [
        contribute("EA-1", employee=20),
        credit("EA-1", gains={"employee": 3}, losses={"employer_vested": 4}),
        charge("EA-1", employee=5, employer_vested=6),
        vest("EA-1", 30),
        transfer("EA-1", "EA-2", employee=20, employer_vested=10),
        pay("EA-1", "EA_DISABLED", 60, tax_fen=6),
    ],
    ids=lambda command: type(command).__name__,
)
def test_reversal_restores_every_balance(entry: Past) -> None:
    before = given(*FUNDED).books
    after = given(*FUNDED, entry, reverse(5)).books
    for account, state in before.of("account").items():
        assert after.of("account")[account]["balances_fen"] == state["balances_fen"]


def test_reversal_holds_the_entry_it_negates() -> None:
    outcome = given(*FUNDED).when(reverse(4)).then(such(EntryReversed, reverses=4, approvers=["user:lin"]))
    (fact,) = outcome.books.facts[4:]
    assert isinstance(fact, EntryReversed)
    assert isinstance(fact.entry.contribution, ContributionPosted)
    assert fact.entry.contribution == outcome.books.facts[3]
    outcome.remembered("entry:4", reversed_by=5)


def test_actor_does_not_approve_herself() -> None:
    given(*FUNDED).when(reverse(4, approvers=("system:core",))).refused(ApproverMissing, needed=1)


def test_reversal_is_not_reversed() -> None:
    """A wrong correction is corrected by posting the entry anew."""
    given(*FUNDED, reverse(4)).when(reverse(5)).refused(EntryNotReversible, type="EntryReversed")


def test_frozen_account_is_corrected() -> None:
    given(*FUNDED, freeze("EA-1")).when(reverse(4)).then(such(EntryReversed))


def test_reversal_never_overdraws_the_receiver() -> None:
    given(*FUNDED, transfer("EA-1", "EA-2", employee=20), charge("EA-2", employee=1)).when(reverse(5)).refused(
        ReversalWouldOverdraw, account="EA-2", part="employee", balance_fen=19, asked_fen=20
    )


def test_closed_account_answers_before_an_early_date_of_the_other() -> None:
    """The documented order holds across both accounts of a transfer."""
    late = given(*ANNUITY[:2]).when(open_account("EA-9", "hr:1", EA, on="2025-06-02")).books.facts[-1]
    assert isinstance(late, AccountOpened)
    given(
        *ANNUITY[:2],
        late,
        contribute("EA-9", employee=20),
        transfer("EA-9", "EA-1", employee=20),
        charge("EA-1", employee=20),
        close("EA-1"),
    ).when(reverse(5, on="2025-06-01")).refused(AccountIsClosed, account="EA-1")


BREACHED = (
    register("bank:1"),
    open_account("PP-1", "bank:1", PP),
    register("life:1"),
    open_account("PP-2", "life:1", PP),
    contribute("PP-1", own=1_000_000),
    contribute("PP-2", own=700_000),
    contribute("PP-2", own=300_000),
    merge(("bank:1", "life:1")),
)


def test_refund_of_the_excess_lifts_the_breach() -> None:
    given(*BREACHED, reverse(7)).when(reverse(6)).then(such(EntryReversed), such(LimitBreachRescinded))


def test_refund_of_part_of_the_excess_records_what_is_left() -> None:
    outcome = given(*BREACHED).when(reverse(7))
    outcome.then(
        such(EntryReversed),
        such(LimitBreachRescinded, year=2026),
        such(LimitBreachRecorded, total_fen=1_700_000, excess_fen=500_000, contributing_positions=[6]),
    )
    reversal = outcome.books.facts[-3]
    assert isinstance(reversal, EntryReversed)
    assert reversal.breach_id is not None


def test_reversed_entries_of_other_kinds_touch_no_counter() -> None:
    outcome = given(*BREACHED, charge("PP-1", own=5)).when(reverse(11))
    outcome.then(such(EntryReversed, breach_id=None))
    assert isinstance(outcome.books.facts[10], FeeCharged)


def test_payout_under_a_later_rule_stays_as_it_was_decided() -> None:
    """Whether a payout ends contributions is on the fact, not looked up again."""
    books = given(
        register("bank:1"),
        open_account("PP-1", "bank:1", PP),
        contribute("PP-1", own=10, on="2025-01-02"),
        pay("PP-1", "PP_W1_AGE", 5, on="2025-08-31"),
    ).books
    paid = books.facts[-1]
    assert isinstance(paid, BenefitPaid)
    assert (paid.effective_on, paid.ends_contributions) == (date(2025, 8, 31), False)
