"""Returns, fees, vesting, transfers and benefits: what each does to the parts of an account."""

from datetime import date

import pytest

from ledger.domain.events import BalanceTransferred, BenefitPaid, EmployerPartVested, FeeCharged, ReturnsCredited
from ledger.domain.refusals import BalanceInsufficient, ConditionNotInForce, MoveNotLawful, PartUnknown
from tests.domain.asking import (
    CP,
    EA,
    OA,
    PP,
    RA,
    charge,
    contribute,
    credit,
    merge,
    open_account,
    pay,
    register,
    transfer,
    vest,
)
from tests.domain.scenario import given, such

ANNUITY = (register("hr:1"), open_account("EA-1", "hr:1", EA))
PERSONAL = (register("bank:1"), open_account("PP-1", "bank:1", PP))


def test_gains_and_losses_by_part() -> None:
    given(*ANNUITY, contribute("EA-1", employee=100)).when(
        credit("EA-1", gains={"employer_vested": 7}, losses={"employee": 100})
    ).then(such(ReturnsCredited, gains_fen={"employer_vested": 7}, losses_fen={"employee": 100})).remembered(
        "account:EA-1",
        balances_fen={"employee": 0, "employer_vested": 7, "employer_unvested": 0},
        totals_fen={"contributions": 100, "returns": -93},
    )


def test_part_gains_or_loses_in_one_period() -> None:
    given(*ANNUITY, contribute("EA-1", employee=100)).when(
        credit("EA-1", gains={"employee": 1}, losses={"employee": 1})
    ).refused(PartUnknown, part="employee")


def test_loss_never_takes_more_than_the_part_holds() -> None:
    given(*ANNUITY, contribute("EA-1", employee=100)).when(credit("EA-1", losses={"employee": 101})).refused(
        BalanceInsufficient, part="employee", balance_fen=100, asked_fen=101
    )


def test_fee_is_taken_from_its_part() -> None:
    given(*ANNUITY, contribute("EA-1", employee=100)).when(charge("EA-1", employee=30)).then(
        such(FeeCharged, amounts_fen={"employee": 30})
    ).remembered("account:EA-1", totals_fen={"contributions": 100, "fees": 30})


def test_leaver_takes_the_vested_half_along() -> None:
    """RULES 11: resigns in year 4, the plan gives 50%, employer part 80,000: 40,000 moves."""
    half = 4_000_000
    given(
        *ANNUITY,
        open_account("RA-1", "hr:1", RA),
        contribute("EA-1", employer_unvested=2 * half),
        vest("EA-1", half, reason="service_years"),
    ).when(transfer("EA-1", "RA-1", reason="unemployed", employer_vested=half)).then(
        such(BalanceTransferred, amounts_fen={"employer_vested": half}, rule="mv.ea.ra")
    ).remembered(
        "account:EA-1", balances_fen={"employee": 0, "employer_vested": 0, "employer_unvested": half}
    ).remembered("account:RA-1", balances_fen={"employee": 0, "employer_vested": half})


def test_vesting_moves_money_between_parts() -> None:
    given(*ANNUITY, contribute("EA-1", employer_unvested=100)).when(vest("EA-1", 40)).then(
        such(EmployerPartVested, from_part="employer_unvested", to_part="employer_vested", amount_fen=40)
    ).remembered("account:EA-1", balances_fen={"employee": 0, "employer_vested": 40, "employer_unvested": 60})


def test_booked_part_is_funded() -> None:
    """记实 of the occupational annuity."""
    given(register("hr:1"), open_account("OA-1", "hr:1", OA), contribute("OA-1", employer_book=100)).when(
        vest("OA-1", 100, reason="funding")
    ).then(such(EmployerPartVested, from_part="employer_book", to_part="employer_real"))


def test_unvested_money_stays_with_the_employer() -> None:
    given(*ANNUITY, open_account("EA-2", "hr:1", EA), contribute("EA-1", employer_unvested=100)).when(
        transfer("EA-1", "EA-2", employer_unvested=100)
    ).refused(MoveNotLawful, parts_that_stay=["employer_unvested"])


def test_transfer_is_one_fact_about_two_accounts() -> None:
    """The employer's part changes its name with the product."""
    given(*ANNUITY, open_account("OA-1", "hr:1", OA), contribute("EA-1", employee=5, employer_vested=7)).when(
        transfer("EA-1", "OA-1", employee=5, employer_vested=7)
    ).then(
        such(
            BalanceTransferred,
            amounts_fen={"employee": 5, "employer_vested": 7},
            credits_fen={"employee": 5, "employer_real": 7},
            rule="mv.ea.oa",
        )
    ).remembered("account:EA-1", totals_fen={"contributions": 12, "transferred_out": 12}).remembered(
        "account:OA-1", totals_fen={"transferred_in": 12}
    )


def test_merged_person_moves_between_her_identities() -> None:
    given(
        *ANNUITY,
        register("life:1"),
        open_account("EA-2", "life:1", EA),
        contribute("EA-1", employee=5),
        merge(("hr:1", "life:1")),
    ).when(transfer("EA-1", "EA-2", employee=5)).then(such(BalanceTransferred))


@pytest.mark.parametrize("reason", ["job_change", "unemployed", "whim"])
def test_annuity_never_moves_into_the_personal_pension(reason: str) -> None:
    """EA36 articles 24, 25: only as a taxed payout and a new contribution, two facts."""
    given(*ANNUITY, open_account("PP-1", "hr:1", PP), contribute("EA-1", employee=5)).when(
        transfer("EA-1", "PP-1", reason=reason, employee=5)
    ).refused(MoveNotLawful, rules=["mv.ea.pp"], reasons=[])


def test_personal_pension_moves_only_to_the_account_that_replaced_it() -> None:
    two_people = (
        *PERSONAL,
        contribute("PP-1", own=5),
        register("life:1"),
        open_account("PP-2", "life:1", PP),
        merge(("bank:1", "life:1")),
    )
    given(*two_people).when(transfer("PP-1", "PP-2", reason="bank_change", own=5)).refused(
        MoveNotLawful, replaced_by=None
    )


def test_commercial_pension_moves_between_its_parts() -> None:
    given(
        register("life:1"),
        open_account("CP-1", "life:1", CP),
        open_account("CP-2", "life:1", CP),
        contribute("CP-1", tax="post_tax", locked=5),
    ).when(transfer("CP-1", "CP-2", reason="product_rules", locked=5)).then(
        such(BalanceTransferred, credits_fen={"continuing": 5})
    )


def test_age_payout_is_taxed() -> None:
    """RULES 11: age payout 360,000, tax 10,800."""
    given(*PERSONAL, credit("PP-1", gains={"own": 36_000_000})).when(
        pay("PP-1", "PP_W1_AGE", 36_000_000, tax_fen=1_080_000)
    ).then(such(BenefitPaid, gross_fen=36_000_000, net_fen=34_920_000, tax_fen=1_080_000, ends_contributions=True))


@pytest.mark.parametrize("condition", ["PP_W4_MEDICAL", "PP_W5_UNEMPLOYED", "PP_W6_DIBAO"])
def test_hardship_payouts_only_from_september_2025(condition: str) -> None:
    """RULES 6.1, 11: refused the day before, allowed from 2025-09-01, and she may contribute again."""
    past = (*PERSONAL, contribute("PP-1", own=100, on="2025-01-02"))
    given(*past).when(pay("PP-1", condition, 100, on="2025-08-31")).refused(
        ConditionNotInForce, rule=condition, on="2025-08-31", reason="rule_not_in_force"
    )
    given(*past).when(pay("PP-1", condition, 100, on="2025-09-01")).then(
        such(BenefitPaid, effective_on=date(2025, 9, 1), ends_contributions=False)
    )


def test_own_money_is_drawn_first() -> None:
    """The product's payout order; unvested money is never drawn."""
    past = (*ANNUITY, contribute("EA-1", employee=10, employer_vested=10, employer_unvested=10))
    given(*past).when(pay("EA-1", "EA_STATUTORY_AGE", 15)).then(
        such(BenefitPaid, amounts_fen={"employee": 10, "employer_vested": 5})
    )
    given(*past).when(pay("EA-1", "EA_STATUTORY_AGE", 21)).refused(BalanceInsufficient, balance_fen=20, asked_fen=21)


def test_condition_opens_only_its_parts() -> None:
    """Locked money of the commercial pension is not drawn by the rules of the continuing account (CP22)."""
    given(register("life:1"), open_account("CP-1", "life:1", CP), contribute("CP-1", locked=10, continuing=10)).when(
        pay("CP-1", "CP_CONTINUING_PRODUCT_RULES", 11)
    ).refused(BalanceInsufficient, parts=["continuing"])
