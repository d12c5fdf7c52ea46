"""A contribution comes in, and the personal pension's yearly cap follows the person."""

import pytest

from ledger.domain.events import ContributionPosted
from ledger.domain.refusals import ContributionsEnded, YearlyCapExceeded
from tests.domain.asking import (
    EA,
    PP,
    close,
    contribute,
    freeze,
    merge,
    open_account,
    pay,
    register,
    reverse,
    transfer,
    unfreeze,
    unmerge,
)
from tests.domain.scenario import given, such

CAP_FEN = 1_200_000
PERSONAL = (register("bank:1"), open_account("PP-1", "bank:1", PP))


def test_employer_and_employee_pay_in() -> None:
    """RULES 11: wages 10,000, employer 5%, employee 2%: 500 + 200 = 700."""
    given(register("hr:1"), open_account("EA-1", "hr:1", EA)).when(
        contribute("EA-1", employer_vested=50_000, employee=20_000)
    ).then(
        such(
            ContributionPosted, account="EA-1", amounts_fen={"employee": 20_000, "employer_vested": 50_000}, quota=None
        )
    ).remembered(
        "account:EA-1",
        balances_fen={"employee": 20_000, "employer_vested": 50_000, "employer_unvested": 0},
        totals_fen={"contributions": 70_000},
    )


def test_whole_cap_may_be_paid_at_once() -> None:
    given(*PERSONAL).when(contribute("PP-1", own=CAP_FEN)).then(
        such(ContributionPosted, quota="bank:1/pp.cap.year/2026")
    ).remembered("quota:bank:1/pp.cap.year/2026", entries=[[3, CAP_FEN]])


def test_one_fen_above_the_cap_is_refused_whole() -> None:
    """RULES 11: one payment of 12,000.01 is refused, and 12,000 of the quota are left."""
    given(*PERSONAL).when(contribute("PP-1", own=CAP_FEN + 1)).refused(
        YearlyCapExceeded, rule="pp.cap.year", cap_fen=CAP_FEN, left_fen=CAP_FEN, asked_fen=CAP_FEN + 1
    )


def test_cap_counts_over_all_identities_of_the_person() -> None:
    given(
        register("life:1"),
        open_account("PP-0", "life:1", PP),
        contribute("PP-0", own=700_000),
        *PERSONAL,
        merge(("life:1", "bank:1")),
    ).when(contribute("PP-0", own=500_001)).refused(YearlyCapExceeded, left_fen=500_000)


def test_each_calendar_year_has_its_own_cap() -> None:
    """The year of the effective date counts, not the year of the decision."""
    given(*PERSONAL, contribute("PP-1", own=CAP_FEN, on="2025-12-31")).when(
        contribute("PP-1", own=CAP_FEN, on="2026-01-01")
    ).then(such(ContributionPosted, quota="bank:1/pp.cap.year/2026"))


def test_reversed_contribution_frees_its_quota() -> None:
    given(*PERSONAL, contribute("PP-1", own=CAP_FEN), reverse(3)).when(contribute("PP-1", own=CAP_FEN)).then(
        such(ContributionPosted)
    )


def test_change_of_bank_does_not_renew_the_quota() -> None:
    given(
        *PERSONAL,
        contribute("PP-1", own=CAP_FEN),
        open_account("PP-2", "bank:1", PP, replaces="PP-1"),
        transfer("PP-1", "PP-2", reason="bank_change", own=CAP_FEN),
        close("PP-1"),
    ).when(contribute("PP-2", own=1)).refused(YearlyCapExceeded, left_fen=0)


def test_annuities_have_no_cap() -> None:
    given(register("hr:1"), open_account("EA-1", "hr:1", EA)).when(contribute("EA-1", employee=10**13)).then(
        such(ContributionPosted)
    )


def test_unfrozen_account_takes_contributions_again() -> None:
    given(*PERSONAL, freeze("PP-1"), unfreeze("PP-1")).when(contribute("PP-1", own=1)).then(such(ContributionPosted))


def test_age_payout_ends_contributions() -> None:
    """pp.out.resume (PP25): not after W1."""
    given(*PERSONAL, contribute("PP-1", own=200), pay("PP-1", "PP_W1_AGE", 100)).when(
        contribute("PP-1", own=1)
    ).refused(ContributionsEnded, payouts=1)


def test_age_payout_ends_contributions_of_the_person() -> None:
    """pp.out.resume (PP25): neither a change of bank, nor a new account, nor another identity reopens them."""
    drawn = (*PERSONAL, contribute("PP-1", own=200), pay("PP-1", "PP_W1_AGE", 200))
    changed_bank = (*drawn, open_account("PP-2", "bank:1", PP, replaces="PP-1"))
    opened_anew = (*drawn, close("PP-1"), open_account("PP-2", "bank:1", PP))
    for past in (changed_bank, opened_anew):
        outcome = given(*past).when(contribute("PP-2", own=1)).refused(ContributionsEnded, account="PP-1", payouts=1)
        (product,) = outcome.books.sheet("bank:1").pillars[0].products
        assert [line.takes_contributions for line in product.accounts] == [False, False]
    older = (register("life:1"), open_account("PP-0", "life:1", PP))
    two = given(*older, *drawn, merge(("life:1", "bank:1")))
    two.when(contribute("PP-0", own=1)).refused(ContributionsEnded, account="PP-1")
    two.when(unmerge(["life:1"], ["bank:1"]))
    two.when(contribute("PP-0", own=1)).then(such(ContributionPosted))


@pytest.mark.parametrize("condition", ["PP_W2_DISABLED", "PP_W3_EMIGRATED", "PP_W4_MEDICAL"])
def test_other_payouts_do_not_end_contributions(condition: str) -> None:
    """pp.out.resume (PP25): after W2 to W6 the person may contribute again."""
    given(*PERSONAL, contribute("PP-1", own=100), pay("PP-1", condition, 100)).when(contribute("PP-1", own=1)).then(
        such(ContributionPosted)
    )


@pytest.mark.parametrize("reversed_payout", [4, 5])
def test_contributions_stay_ended_while_one_age_payout_stands(reversed_payout: int) -> None:
    """Reversing one of two age payouts, the first or the last, does not reopen the account."""
    paid_twice = (
        *PERSONAL,
        contribute("PP-1", own=200),
        pay("PP-1", "PP_W1_AGE", 100),
        pay("PP-1", "PP_W1_AGE", 50),
    )
    given(*paid_twice, reverse(reversed_payout)).when(contribute("PP-1", own=1)).refused(ContributionsEnded)
    given(*paid_twice, reverse(4), reverse(5)).when(contribute("PP-1", own=1)).then(such(ContributionPosted))
