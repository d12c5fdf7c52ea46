"""The catalogue of products is checked data: a wrong file is refused with the place of every fault."""

from copy import deepcopy
from datetime import date
from typing import Any

import pytest

from ledger.planning.catalogue import PENSION_KINDS, CatalogueInvalid, read_catalogue, sample_catalogue

BANK: dict[str, Any] = {
    "id": "bank",
    "name_zh": "活期",
    "name_en": "Bank account",
    "kind": "bank_saving",
    "tax": "none",
    "yearly_return": "0.001",
    "volatility": "0",
    "risk_grade": 1,
    "lock_in_months": 0,
    "minimum_fen": 1,
    "step_fen": 1,
    "entry_fee": "0",
    "yearly_fee": "0",
    "valid_from": date(2026, 1, 1),
    "source": "a test",
    "basis": "assumption",
    "baseline": True,
}
FUND: dict[str, Any] = BANK | {
    "id": "fund",
    "kind": "fund",
    "yearly_return": "0.05",
    "volatility": "0.15",
    "risk_grade": 4,
    "minimum_fen": 10_000,
    "step_fen": 1_000,
    "baseline": False,
}
HEADING = {"name": "test", "sample": False, "notice_zh": "测试", "notice_en": "A test."}


def tables(*products: dict[str, Any]) -> dict[str, Any]:
    return {"catalogue": HEADING, "product": [deepcopy(each) for each in (BANK, *products)]}


def faults(*products: dict[str, Any]) -> str:
    with pytest.raises(CatalogueInvalid) as refused:
        read_catalogue(tables(*products))
    return "\n".join(refused.value.problems)


def test_the_packaged_catalogue_says_that_it_is_a_sample() -> None:
    """It is made up and not an offer, in both languages, and every row says that it is an assumption."""
    catalogue = sample_catalogue()
    assert catalogue.catalogue.sample
    assert "不是要约" in catalogue.catalogue.notice_zh
    assert "not an offer" in catalogue.catalogue.notice_en
    assert {each.basis for each in catalogue.product} == {"assumption"}
    kinds = {each.kind for each in catalogue.product}
    assert kinds >= PENSION_KINDS | {"commercial_pension", "exclusive_annuity", "bank_saving", "government_bond"}


def test_offers_follow_day_and_area() -> None:
    """What is offered depends on the day and the area; a savings bond in the personal pension not before 2026-06."""
    catalogue = sample_catalogue()
    new = {each.id for each in catalogue.offers(date(2026, 6, 1), "CN-11")}
    old = {each.id for each in catalogue.offers(date(2026, 5, 31), "CN-11")}
    assert new - old == {"pp_bond"}
    assert len(new) == 40
    elsewhere = {each.id for each in catalogue.offers(date(2026, 6, 1), "CN-12")}
    assert new - elsewhere == {"commercial_pension_locked", "commercial_pension_continuing"}
    assert "commercial_pension_locked" in {each.id for each in catalogue.offers(date(2026, 6, 1), "CN-4403")}
    assert catalogue.offers(date(2020, 1, 1)) == ()
    assert catalogue.baseline(date(2020, 1, 1)) is None


def test_the_baseline_has_dates_too() -> None:
    """The bank account of the day is the baseline, at the rate of the day, and no product to choose."""
    catalogue = sample_catalogue()
    before, after = catalogue.baseline(date(2025, 5, 19)), catalogue.baseline(date(2025, 5, 20))
    assert before is not None
    assert after is not None
    assert before.id == after.id
    assert before.yearly_return == 2 * after.yearly_return
    assert before.id not in {each.id for each in catalogue.offers(date(2025, 5, 20))}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"yearly_return": 0.05}, "product.1.yearly_return: Value error, write an exact decimal"),
        ({"yearly_return": "5%"}, "product.1.yearly_return"),
        ({"yearly_fee": "1.0"}, "product.1.yearly_fee: Input should be less than 1"),
        ({"risk_grade": 6}, "product.1.risk_grade: Input should be less than or equal to 5"),
        ({"risk_grade": True}, "product.1.risk_grade"),
        ({"lock_in_months": -1}, "product.1.lock_in_months"),
        ({"lock_in_months": "for ever"}, "product.1.lock_in_months"),
        ({"minimum_fen": 0}, "product.1.minimum_fen"),
        ({"surprise": 1}, "product.1.surprise: Unexpected keyword argument"),
        ({"kind": "lottery"}, "product.1.kind"),
        ({"areas": ["US"]}, "product.1.areas.0"),
        ({"valid_to": date(2025, 12, 31)}, "valid_to is before valid_from"),
        ({"minimum_fen": 1_500}, "minimum_fen is not a whole number of step_fen"),
        ({"maximum_fen": 20_500}, "maximum_fen is not a whole number of step_fen"),
        ({"maximum_fen": 9_000}, "maximum_fen is below minimum_fen"),
        ({"tax": "personal_pension"}, "tax personal_pension does not fit kind fund"),
        ({"kind": "personal_pension_fund"}, "tax none does not fit kind personal_pension_fund"),
        (
            {"kind": "personal_pension_fund", "tax": "personal_pension"},
            'lock_in_months of a personal-pension product is "until_retirement"',
        ),
        ({"baseline": True}, "a baseline is a bank account open to any fen"),
        ({"areas": ["CN-11", "CN-11"]}, "areas names one twice"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(change: dict[str, Any], fault: str) -> None:
    """Unknown keys, floats, ranges and rows that contradict themselves are refused (invariants 1, 3, 4 and 5)."""
    assert fault in faults(FUND | change)


def test_a_missing_key_is_refused_with_its_place() -> None:
    """Every row carries its source (invariant 1)."""
    assert "product.1.source" in faults({key: value for key, value in FUND.items() if key != "source"})


def test_all_faults_are_told_at_once() -> None:
    """Whoever mends the file sees everything that is wrong."""
    told = faults(FUND | {"minimum_fen": 1_500}, FUND | {"id": "other", "maximum_fen": 20_500})
    assert "product fund" in told
    assert "product other" in told


def test_rows_of_one_product_do_not_overlap() -> None:
    """Two terms of one product on one day are refused (invariant 2); one after the other they are its history."""
    first = FUND | {"valid_to": date(2026, 6, 30)}
    assert "product fund: rows from 2026-01-01 and 2026-06-30 overlap" in faults(
        first, FUND | {"valid_from": date(2026, 6, 30)}
    )
    later = FUND | {"valid_from": date(2026, 7, 1), "yearly_return": "0.04"}
    catalogue = read_catalogue(tables(first, later))
    returns = [catalogue.offers(day)[0].yearly_return for day in (date(2026, 6, 30), date(2026, 7, 1))]
    assert returns[0] > returns[1]


def test_there_is_one_baseline_on_every_day() -> None:
    """Without a bank account the rest of the money has no place; with two it has no one place (invariant 4)."""
    assert "no baseline on 2025-12-31, when fund is offered" in faults(FUND | {"valid_from": date(2025, 12, 31)})
    assert "bank and second are both the baseline" in faults(BANK | {"id": "second"})
    ended = {"catalogue": HEADING, "product": [BANK | {"valid_to": date(2026, 3, 31)}, FUND]}
    with pytest.raises(CatalogueInvalid, match="no baseline on 2026-04-01"):
        read_catalogue(ended)


def test_something_else_than_a_catalogue_is_refused() -> None:
    """A file of another kind gets an answer, too."""
    for other in ({}, {"product": 3}, {"catalogue": HEADING, "product": []}):
        with pytest.raises(CatalogueInvalid):
            read_catalogue(other)
    with pytest.raises(CatalogueInvalid, match="neither text"):
        read_catalogue({"catalogue": HEADING, "product": [BANK | {"source": object()}]})
