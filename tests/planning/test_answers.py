"""Answers, levers and assumptions: what is refused names the field, and the packaged assumptions say where they come from."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import ASSUMPTIONS, HELD, Assumptions
from tests.planning.persons import answers

BORN = {"birth": "1991-06", "category": "M", "area": "CN-11"}


def test_the_birth_the_category_and_the_area_are_enough() -> None:
    """What she leaves out is zero or none."""
    said = Answers.model_validate(BORN)
    assert said.employment == "enterprise"
    assert said.monthly_wage_fen == 0
    assert said.benefit_base_fen is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"birth": "1991-13"}, "birth"),
        ({"birth": "199106"}, "birth"),
        ({"category": "F"}, "category"),
        ({"area": "Beijing"}, "area"),
        ({"area": "CN"}, "area"),
        ({"monthly_wage_fen": -1}, "monthly_wage_fen"),
        ({"monthly_wage_fen": "100"}, "monthly_wage_fen"),
        ({"monthly_wage_fen": 1.5}, "monthly_wage_fen"),
        ({"monthly_wage_fen": True}, "monthly_wage_fen"),
        ({"monthly_wage_fen": 10**8 + 1}, "monthly_wage_fen"),
        ({"paid_months": 1201}, "paid_months"),
        ({"contribution_index": "5.1"}, "contribution_index"),
        ({"contribution_index": "NaN"}, "contribution_index"),
        ({"ea_employer_rate": "1.1"}, "ea_employer_rate"),
        ({"ea_employer_rate": "0.00001"}, "ea_employer_rate"),
        ({"benefit_base_fen": 0}, "benefit_base_fen"),
        ({"oa_employer_part": "paper"}, "oa_employer_part"),
        ({"salary": 1}, "salary"),
        ({"base_floor_fen": 1}, "base_floor_fen"),
        ({"base_floor_fen": 2, "base_cap_fen": 1}, "base_cap_fen"),
        ({"actual_months_1992_10_to_1998_06": 1}, "actual_months_1992_10_to_1998_06"),
        (
            {"ea_vesting": [{"service_years": 2, "vested_share": "0.5"}, {"service_years": 1, "vested_share": 1}]},
            "ea_vesting",
        ),
    ],
)
def test_an_answer_out_of_range_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    """The problem says which field."""
    with pytest.raises(ValidationError) as refused:
        Answers.model_validate(BORN | changes)
    first = refused.value.errors()[0]
    assert field in str(first["loc"][0] if first["loc"] else first["msg"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retirement_month": "2055-01", "retirement_age_months": 720}, "retirement_month"),
        ({"retirement_age_months": 479}, "retirement_age_months"),
        ({"pp_yearly_fen": -1}, "pp_yearly_fen"),
        ({"pp_month": 13}, "pp_month"),
        ({"return_shift": "0.051"}, "return_shift"),
        ({"payouts": {"personal_pension": {"form": "fixed_months"}}}, "months"),
        ({"payouts": {"personal_pension": {"form": "monthly", "amount_fen": 1}}}, "amount_fen"),
        ({"payouts": {"first_pillar": {}}}, "first_pillar"),
        ({"break_in_work": {"start": "2030-01", "months": 0}}, "months"),
        ({"break_in_work": {"start": "2030-01", "months": 1, "pays_first_pillar": "yes"}}, "pays_first_pillar"),
        ({"lump_need": {"month": "2030-01", "amount_fen": 0}}, "amount_fen"),
    ],
)
def test_a_lever_out_of_range_is_refused_by_its_name(changes: dict[str, Any], said: str) -> None:
    """Forms of payout take the number that they need, and no other."""
    with pytest.raises(ValidationError, match=said):
        Levers.model_validate(changes)


def test_answers_and_levers_come_back_from_json_as_they_were() -> None:
    """They are bodies of requests and files."""
    said = answers()
    assert Answers.model_validate_json(said.model_dump_json()) == said
    assert Answers.model_validate(said.model_dump(mode="json")) == said
    pulled = Levers(return_shift=Decimal("0.01"), pp_yearly_fen=1)
    assert Levers.model_validate(pulled.model_dump(mode="json")) == pulled


@pytest.mark.parametrize("shape", [Answers, Levers])
def test_every_field_says_what_it_is(shape: type[Answers | Levers]) -> None:
    """A form can be made of the schema alone."""
    assert [name for name, field in shape.model_fields.items() if not field.description] == []


def test_each_assumption_says_whether_it_is_published_and_why() -> None:
    """Invariants 1 and 2 of the assumptions."""
    assert set(ASSUMPTIONS.products) == set(HELD)
    single = [
        ASSUMPTIONS.inflation,
        ASSUMPTIONS.wage_growth,
        ASSUMPTIONS.benefit_base_growth,
        ASSUMPTIONS.pension_growth,
        ASSUMPTIONS.book_rate,
    ]
    earning = [
        each for product in ASSUMPTIONS.products.values() for each in (product.yearly_return, product.yearly_fee)
    ]
    for assumed in [*single, *earning]:
        assert assumed.note
        assert assumed.source or assumed.kind == "assumption"


def test_a_published_value_without_a_source_is_refused() -> None:
    """Invariant 1 of the assumptions."""
    raw = ASSUMPTIONS.model_dump()
    raw["book_rate"]["source"] = ""
    with pytest.raises(ValidationError, match="published value names its source"):
        Assumptions.model_validate(raw)


def test_assumptions_without_a_product_are_refused() -> None:
    """Invariant 2 of the assumptions."""
    raw = ASSUMPTIONS.model_dump()
    del raw["products"]["savings"]
    with pytest.raises(ValidationError, match="products lacks savings"):
        Assumptions.model_validate(raw)
