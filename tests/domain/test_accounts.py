"""Accounts are opened, frozen, unfrozen and closed."""

from datetime import date

from ledger.domain.events import AccountClosed, AccountFrozen, AccountOpened, AccountUnfrozen, DuplicateAccountRescinded
from ledger.domain.refusals import (
    AccountIsFrozen,
    EffectiveDateAbsurd,
    PersonHoldsProduct,
    ReplacedAccountWrong,
    ReplacementsExhausted,
)
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
    register,
    transfer,
    unfreeze,
)
from tests.domain.scenario import given, such

PERSONAL = (register("bank:1"), open_account("PP-1", "bank:1", PP))


def test_account_opens_with_every_part_empty() -> None:
    given(register("hr:1")).when(open_account("EA-1", "hr:1", EA)).then(
        such(AccountOpened, account="EA-1", sid="hr:1", product=EA, opened_on=date(2024, 6, 3))
    ).remembered(
        "account:EA-1", balances_fen={"employee": 0, "employer_vested": 0, "employer_unvested": 0}, status="open"
    ).remembered("identity:hr:1", accounts={"EA-1": EA})


def test_one_person_holds_many_annuities() -> None:
    given(register("hr:1"), open_account("EA-1", "hr:1", EA)).when(open_account("EA-2", "hr:1", EA)).then(
        such(AccountOpened)
    )


def test_one_personal_pension_over_all_identities() -> None:
    given(*PERSONAL, register("life:1"), merge(("bank:1", "life:1"))).when(open_account("PP-2", "life:1", PP)).refused(
        PersonHoldsProduct, account="PP-1"
    )


def test_closed_personal_pension_makes_room() -> None:
    given(*PERSONAL, close("PP-1")).when(open_account("PP-2", "bank:1", PP)).then(such(AccountOpened))


def test_change_of_bank_leaves_the_old_account_behind() -> None:
    given(*PERSONAL).when(open_account("PP-2", "bank:1", PP, replaces="PP-1")).then(
        such(AccountOpened, replaces="PP-1")
    ).remembered("account:PP-1", replaced_by="PP-2").remembered("account:PP-2", replaces="PP-1")


def test_account_is_replaced_once() -> None:
    given(*PERSONAL, open_account("PP-2", "bank:1", PP, replaces="PP-1")).when(
        open_account("PP-3", "bank:1", PP, replaces="PP-1")
    ).refused(ReplacedAccountWrong)


def test_frozen_account_is_not_replaced() -> None:
    """Its person would contribute again in spite of the freeze, and its money could not follow."""
    given(*PERSONAL, freeze("PP-1")).when(open_account("PP-2", "bank:1", PP, replaces="PP-1")).refused(
        ReplacedAccountWrong
    )


def test_annuity_replaces_nothing() -> None:
    given(register("hr:1"), open_account("EA-1", "hr:1", EA)).when(
        open_account("EA-2", "hr:1", EA, replaces="EA-1")
    ).refused(ReplacedAccountWrong)


def test_account_of_another_person_is_not_replaced() -> None:
    given(*PERSONAL, register("life:1")).when(open_account("PP-2", "life:1", PP, replaces="PP-1")).refused(
        ReplacedAccountWrong
    )


def test_third_change_of_bank_in_one_year_is_refused() -> None:
    """pp.bank.change.max (PP87): two a calendar year."""
    changed_twice = (
        *PERSONAL,
        open_account("PP-2", "bank:1", PP, replaces="PP-1", on="2025-02-03"),
        open_account("PP-3", "bank:1", PP, replaces="PP-2", on="2025-09-01"),
    )
    given(*changed_twice).when(open_account("PP-4", "bank:1", PP, replaces="PP-3", on="2025-12-31")).refused(
        ReplacementsExhausted, max=2
    )
    given(*changed_twice).when(open_account("PP-4", "bank:1", PP, replaces="PP-3", on="2026-01-01")).then(
        such(AccountOpened)
    )


def test_account_is_not_opened_after_it_takes_effect() -> None:
    late = open_account("EA-1", "hr:1", EA).model_copy(update={"opened_on": date(2024, 6, 4)})
    given(register("hr:1")).when(late).refused(EffectiveDateAbsurd, opened_on="2024-06-04")


def test_frozen_account_still_earns_and_pays_fees() -> None:
    frozen = (register("hr:1"), open_account("EA-1", "hr:1", EA), contribute("EA-1", employee=10), freeze("EA-1"))
    given(*frozen, credit("EA-1", gains={"employee": 1}), charge("EA-1", employee=1)).when(
        contribute("EA-1", employee=1)
    ).refused(AccountIsFrozen)


def test_frozen_and_unfrozen() -> None:
    past = (register("hr:1"), open_account("EA-1", "hr:1", EA))
    given(*past).when(freeze("EA-1")).then(such(AccountFrozen)).remembered("account:EA-1", status="frozen")
    given(*past, freeze("EA-1")).when(unfreeze("EA-1")).then(such(AccountUnfrozen)).remembered(
        "account:EA-1", status="open"
    )


def test_emptied_account_closes() -> None:
    given(
        register("hr:1"),
        open_account("EA-1", "hr:1", EA),
        open_account("EA-2", "hr:1", EA),
        contribute("EA-1", employee=10),
        transfer("EA-1", "EA-2", employee=10),
    ).when(close("EA-1")).then(such(AccountClosed, account="EA-1")).remembered("account:EA-1", status="closed")


def test_closing_the_second_account_lifts_the_flag() -> None:
    given(*PERSONAL, register("life:1"), open_account("PP-2", "life:1", PP), merge(("bank:1", "life:1"))).when(
        close("PP-2")
    ).then(such(AccountClosed), such(DuplicateAccountRescinded, account_ids=["PP-1", "PP-2"]))
