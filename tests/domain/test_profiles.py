"""Who agrees to be counted in the case library, and by what; the numbers are the invariants of ledger/domain/profiles.py."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.profiles import birth_bands, income_bands
from ledger.domain.states import spell
from tests.domain.asking import declare_profile, merge, register, unmerge, withdraw_profile
from tests.domain.scenario import given, such

CODES = {"birth_band": "1980-1984", "city": "CN-4403", "employment": "enterprise", "income_band": "120k_to_200k"}


def test_a_profile_is_four_codes_and_whose_they_are() -> None:
    """Invariant 1: nothing else is in the fact, and the identity remembers it with its date."""
    outcome = given(register("hr:1")).when(declare_profile("hr:1", on="2026-03-02"))
    outcome.then(such(e.ProfileDeclared, sid="hr:1", **CODES))
    outcome.remembered("identity:hr:1", profile={**CODES, "effective_on": "2026-03-02"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("birth_band", "1981-1985"),
        ("birth_band", "1980-1989"),
        ("birth_band", "1920-1924"),
        ("birth_band", "2015-2019"),
        ("city", "CN-99"),
        ("city", "CN-0101"),
        ("employment", "engineer"),
        ("income_band", "123456"),
    ],
)
def test_what_is_no_code_is_refused(field: str, value: str) -> None:
    """Invariant 1, and the detail names the field, but never what was sent."""
    command = declare_profile("hr:1").model_copy(update={field: value})
    outcome = given(register("hr:1")).when(command).refused(r.ProfileCodeUnknown, field=field)
    assert isinstance(outcome.decision, r.ProfileCodeUnknown)
    assert value not in str(outcome.decision.detail)


@pytest.mark.parametrize(
    "fields",
    [{"city": "CN-440305"}, {"city": "Shenzhen"}, {"birth_band": "1980-03-02"}, {"income_band": "about 12,000"}],
)
def test_what_is_finer_than_a_code_never_comes_in(fields: dict[str, Any]) -> None:
    """Invariant 1."""
    with pytest.raises(ValidationError):
        declare_profile("hr:1", **fields)


@pytest.mark.parametrize("city", ["CN-44", "CN-11", "CN-4403", "CN-5101"])
def test_a_place_is_a_province_or_a_city(city: str) -> None:
    given(register("hr:1")).when(declare_profile("hr:1", city)).then(such(e.ProfileDeclared, city=city))


def test_the_youngest_band_is_of_those_of_least_age() -> None:
    """Whose first year turns sixteen."""
    assert birth_bands(date(2026, 11, 22))[-1] == "2010-2014"
    assert birth_bands(date(2025, 12, 31))[-1] == "2005-2009"
    assert income_bands(date(2026, 11, 22))[0] == "under_60k"


def test_a_later_declaration_replaces_the_earlier() -> None:
    """Invariant 2."""
    past = given(register("hr:1"), declare_profile("hr:1"))
    outcome = past.when(declare_profile("hr:1", "CN-31", on="2026-05-01"))
    outcome.remembered("identity:hr:1", profile={**CODES, "city": "CN-31", "effective_on": "2026-05-01"})


def test_a_declaration_is_not_dated_before_the_one_that_stands() -> None:
    """Invariant 2. After a withdrawal none stands."""
    past = (register("hr:1"), declare_profile("hr:1", on="2026-05-01"))
    given(*past).when(declare_profile("hr:1", "CN-31", on="2026-04-30")).refused(r.ProfileDatedLater, last="2026-05-01")
    given(*past, withdraw_profile("hr:1")).when(declare_profile("hr:1", "CN-31", on="2026-04-30")).then(
        such(e.ProfileDeclared, city="CN-31")
    )


def test_withdrawing_is_possible_on_any_date() -> None:
    """Invariant 3: also before the declaration takes effect. The codes are remembered no more."""
    outcome = given(register("hr:1"), declare_profile("hr:1", on="2026-05-01")).when(withdraw_profile("hr:1"))
    outcome.then(such(e.ProfileWithdrawn, sid="hr:1"))
    outcome.remembered("identity:hr:1", profile={"withdrawn_on": "2026-03-02"})


def test_declaring_the_same_again_changes_nothing() -> None:
    """Invariant 4."""
    given(register("hr:1"), declare_profile("hr:1")).when(declare_profile("hr:1", on="2026-05-01")).then()


def test_an_identity_without_a_profile_remembers_none() -> None:
    """What was remembered before there were profiles is spelled as it was, byte for byte."""
    books = given(register("hr:1")).books
    assert spell(books.memories["identity:hr:1"]) == (
        '{"accounts":{},"breaches":{},"distinct":{},"links":{},"members":["hr:1"],"one_id":"PA8D2B8F6E0A5E4A8",'
        '"provider":"hr","registered_position":1,"verification_tier":"unverified"}'
    ).replace("PA8D2B8F6E0A5E4A8", books.memories["identity:hr:1"]["one_id"])


def test_merging_and_parting_leave_profiles_where_they_are() -> None:
    """Invariant 2: it belongs to the identity, whoever the person is."""
    past = given(register("hr:1"), register("life:1"), declare_profile("hr:1"))
    before = past.books.memories["identity:hr:1"]["profile"]
    past.when(merge(("hr:1", "life:1"))).then(such(e.IdentitiesMerged))
    assert "profile" not in past.books.memories["identity:life:1"]
    past.when(unmerge(["hr:1"], ["life:1"]))
    assert past.books.memories["identity:hr:1"]["profile"] == before
