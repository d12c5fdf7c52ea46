"""Identities are registered, linked, merged, unmerged and declared distinct."""

import json

import pytest
from pydantic import ValidationError

from ledger.domain.commands import AskedLink, PostContribution, RegisterSourceIdentity
from ledger.domain.events import (
    CompensationRequired,
    ContributionPosted,
    DistinctDeclared,
    DistinctWithdrawn,
    DuplicateAccountFlagged,
    DuplicateAccountRescinded,
    EntryReversed,
    IdentitiesLinked,
    IdentitiesMerged,
    IdentitiesUnmerged,
    LimitBreachRecorded,
    LimitBreachRescinded,
    SourceIdentityRegistered,
)
from ledger.domain.identifiers import one_id_of
from ledger.domain.refusals import AccountDuplicate, ApproverMissing, CannotLinkActive, ComponentChanged
from tests.domain.asking import (
    EA,
    PP,
    close,
    contribute,
    declare_distinct,
    link,
    merge,
    open_account,
    register,
    reverse,
    unmerge,
    withdraw_distinct,
)
from tests.domain.scenario import given, such

THREE = (register("bank:1"), register("hr:1"), register("life:1"))
TWO_PENSIONS = (
    register("bank:1"),
    open_account("PP-1", "bank:1", PP),
    register("life:1"),
    open_account("PP-2", "life:1", PP),
)
ABOVE_THE_CAP = (*TWO_PENSIONS, contribute("PP-1", own=700_000), contribute("PP-2", own=600_000))


def test_one_id_is_born_with_the_source_identity() -> None:
    given().when(register("hr:1")).then(such(SourceIdentityRegistered, one_id=one_id_of("hr:1"))).remembered(
        "identity:hr:1", members=["hr:1"]
    )


def test_registering_again_changes_nothing() -> None:
    given(register("hr:1")).when(register("hr:1")).then()


def test_resident_id_number_is_no_pseudonym() -> None:
    with pytest.raises(ValidationError, match="resident ID number"):
        register("hr:11010519491231002X")


@pytest.mark.parametrize(
    "key",
    ["id-11010519491231002X", "ID440524188001010014", "810000199408230021", "110105491231002", "x-110105491231002"],
)
def test_resident_id_number_is_found_inside_a_source_key(key: str) -> None:
    """IDENTITY.md section 1: never an ID number; also one of 15 digits, and one behind a prefix."""
    with pytest.raises(ValidationError, match="resident ID number"):
        register(f"hr:{key}")


@pytest.mark.parametrize(
    "key", ["110105491331002", "990105491231002", "N110105491231002", "123456789012345675", "1101054912310020"]
)
def test_long_number_that_is_no_resident_id_number_is_a_pseudonym(key: str) -> None:
    """No such day, no such province, marked by a letter, a serial number with a lucky check digit, another length."""
    assert register(f"hr:{key}").sid == f"hr:{key}"


def test_account_is_not_named_by_a_resident_id_number() -> None:
    with pytest.raises(ValidationError, match="resident ID number"):
        open_account("11010519491231002X", "hr:1", EA)


def test_moment_in_quotes_is_no_number_of_seconds() -> None:
    fields = register("hr:1").model_dump(mode="json") | {"decided_at": "1700000000"}
    with pytest.raises(ValidationError, match="decided_at"):
        RegisterSourceIdentity.model_validate_json(json.dumps(fields))


def test_digits_of_other_scripts_are_no_digits() -> None:
    """Facts are stored in ASCII, and PostgreSQL reads no other digits."""
    fields = contribute("PP-1", own=1).model_dump() | {"period": "20२६-02"}
    with pytest.raises(ValidationError, match="period"):
        PostContribution.model_validate(fields)
    with pytest.raises(ValidationError, match="weight"):
        AskedLink(evidence_ref="e", sid_a="hr:1", sid_b="hr:2", weight="१.5")


@pytest.mark.parametrize("decided_at", ["9999-12-31T23:59:59-08:00", "0001-01-01T00:00:00+14:00"])
def test_moment_at_the_end_of_the_calendar_is_refused_at_the_door(decided_at: str) -> None:
    """A decision there would lead out of the calendar, and one such command would fail its whole batch."""
    fields = register("hr:1").model_dump() | {"decided_at": decided_at}
    with pytest.raises(ValidationError, match="decided_at"):
        RegisterSourceIdentity.model_validate(fields)


def test_matcher_links_two_identities() -> None:
    given(*THREE).when(link(("hr:1", "bank:1"))).then(
        such(IdentitiesLinked, before=[["bank:1"], ["hr:1"]], after=[["bank:1", "hr:1"]])
    ).remembered("identity:bank:1", members=["bank:1", "hr:1"]).remembered("identity:life:1", members=["life:1"])


def test_linking_a_linked_pair_adds_evidence() -> None:
    given(*THREE, link(("hr:1", "bank:1"))).when(link(("bank:1", "hr:1"))).then(
        such(IdentitiesLinked, before=[["bank:1", "hr:1"]], after=[["bank:1", "hr:1"]])
    )


def test_stated_members_must_be_those_concerned() -> None:
    believed = merge(("hr:1", "bank:1")).model_copy(update={"members": ["hr:1", "bank:1"]})
    given(*THREE).when(believed).then(such(IdentitiesMerged))
    given(*THREE, link(("bank:1", "life:1"))).when(believed).refused(
        ComponentChanged, members=["bank:1", "hr:1", "life:1"]
    )


def test_steward_needs_one_approver_and_two_where_there_is_money() -> None:
    steward = merge(("hr:1", "bank:1"), basis="steward", approvers=("user:lin",))
    given(*THREE).when(steward).then(such(IdentitiesMerged, approvers=["user:lin"]))
    funded = (*THREE, open_account("EA-1", "hr:1", EA), contribute("EA-1", employee=1))
    given(*funded).when(steward).refused(ApproverMissing, needed=2)
    two = merge(("hr:1", "bank:1"), basis="steward", approvers=("user:lin", "user:wu"))
    given(*funded).when(two).then(such(IdentitiesMerged))
    twice = merge(("hr:1", "bank:1"), basis="steward", approvers=("user:lin", "user:lin"))
    given(*funded).when(twice).refused(ApproverMissing, needed=2)


def test_cannot_link_is_refused_with_the_path_that_proves_it() -> None:
    books = given(*THREE, link(("bank:1", "hr:1"))).books
    known = next(iter(books.memories["identity:bank:1"]["links"]))
    outcome = given(*THREE, declare_distinct("bank:1", "life:1"), link(("bank:1", "hr:1"))).when(
        link(("hr:1", "life:1"))
    )
    outcome.refused(CannotLinkActive, sid_a="bank:1", sid_b="life:1")
    assert not isinstance(outcome.decision, list)
    path = outcome.decision.detail["path"]
    assert isinstance(path, list)
    assert path[::2] == ["bank:1", "hr:1", "life:1"]
    assert path[1].startswith("L")
    assert len(path[1]) == len(known)


def test_merge_above_the_cap_leaves_a_breach_on_the_latest_postings() -> None:
    given(*ABOVE_THE_CAP).when(merge(("bank:1", "life:1"))).then(
        such(IdentitiesMerged),
        such(
            LimitBreachRecorded,
            rule="pp.cap.year",
            year=2026,
            sids=["bank:1", "life:1"],
            total_fen=1_300_000,
            excess_fen=100_000,
            contributing_positions=[6],
        ),
        such(DuplicateAccountFlagged, account_ids=["PP-1", "PP-2"]),
    )


def test_later_account_takes_no_contributions_and_the_oldest_goes_on() -> None:
    merged = (*TWO_PENSIONS, merge(("bank:1", "life:1")))
    given(*merged).when(contribute("PP-2", own=1)).refused(AccountDuplicate, goes_on="PP-1")
    assert isinstance(given(*merged).when(contribute("PP-1", own=1)).decision, list)


def test_unmerge_rescinds_what_the_merge_caused() -> None:
    given(*ABOVE_THE_CAP, merge(("bank:1", "life:1"))).when(unmerge(["bank:1"], ["life:1"])).then(
        such(IdentitiesUnmerged, target=[["bank:1"], ["life:1"]], voids="from_start"),
        such(LimitBreachRescinded),
        such(DuplicateAccountRescinded),
    )


def test_refund_of_an_excess_that_was_none_is_to_be_compensated() -> None:
    given(*ABOVE_THE_CAP, merge(("bank:1", "life:1")), reverse(6)).when(unmerge(["bank:1"], ["life:1"])).then(
        such(IdentitiesUnmerged),
        such(DuplicateAccountRescinded),
        such(CompensationRequired, decision_position=10, quota="life:1/pp.cap.year/2026"),
    )


def test_compensation_is_required_once() -> None:
    compensated = (*ABOVE_THE_CAP, merge(("bank:1", "life:1")), reverse(6), unmerge(["bank:1"], ["life:1"]))
    again = (withdraw_distinct("bank:1", "life:1"), merge(("bank:1", "life:1")))
    given(*compensated, *again).when(unmerge(["bank:1"], ["life:1"])).then(
        such(IdentitiesUnmerged), such(DuplicateAccountRescinded)
    )


def test_only_refunds_beyond_the_persons_own_excess_are_to_be_compensated() -> None:
    """Two of three identities exceed the cap by themselves: the first refund stands, the later one was none."""
    three = (
        *ABOVE_THE_CAP,
        merge(("bank:1", "life:1")),
        register("sec:1"),
        open_account("PP-3", "sec:1", PP),
        contribute("PP-3", own=1_000_000),
        merge(("bank:1", "sec:1")),
    )
    outcome = given(*three)
    assert isinstance(outcome.books.facts[11], ContributionPosted)
    outcome.when(reverse(12)).then(such(EntryReversed), such(LimitBreachRescinded), such(LimitBreachRecorded))
    outcome.when(reverse(6)).then(such(EntryReversed), such(LimitBreachRescinded))
    parted = outcome.when(unmerge(["bank:1", "life:1"], ["sec:1"])).decision
    assert isinstance(parted, list)
    refunds = [fact.quota for fact in parted if isinstance(fact, CompensationRequired)]
    assert refunds == ["sec:1/pp.cap.year/2026"]


def test_unmerge_brings_back_the_very_breach_and_flag_of_before() -> None:
    """IDENTITY invariant 3: a wider merge rescinds the breach and flag of a narrower one, the unmerge restores them."""
    narrow = given(
        *ABOVE_THE_CAP,
        merge(("bank:1", "life:1")),
        register("sec:1"),
        open_account("PP-3", "sec:1", PP),
        contribute("PP-3", own=1),
    )
    before = narrow.books.sheet("bank:1").model_dump_json()
    narrow.when(merge(("bank:1", "sec:1"))).then(
        such(IdentitiesMerged),
        such(LimitBreachRescinded),
        such(LimitBreachRecorded, total_fen=1_300_001),
        such(DuplicateAccountRescinded),
        such(DuplicateAccountFlagged, account_ids=["PP-1", "PP-2", "PP-3"]),
    )
    assert narrow.books.sheet("bank:1").model_dump_json() != before
    narrow.when(unmerge(["bank:1", "life:1"], ["sec:1"]))
    assert narrow.books.sheet("bank:1").model_dump_json() == before


def test_unmerge_revokes_redundant_evidence_and_keeps_the_matcher_from_rejoining() -> None:
    evidence = (link(("bank:1", "hr:1")), link(("hr:1", "bank:1"), ("hr:1", "life:1")), merge(("bank:1", "life:1")))
    apart = given(*THREE, *evidence, unmerge(["bank:1"], ["hr:1", "life:1"]))
    assert apart.books.memories["identity:bank:1"]["members"] == ["bank:1"]
    assert apart.books.memories["identity:bank:1"]["links"] == {}
    apart.when(link(("bank:1", "hr:1"))).refused(CannotLinkActive)
    apart.when(link(("bank:1", "life:1"))).refused(CannotLinkActive)


def test_cause_says_since_when_the_links_did_not_hold() -> None:
    linked = (*THREE, link(("bank:1", "hr:1")))
    given(*linked).when(unmerge(["bank:1"], ["hr:1"], cause="id_correction")).then(
        such(IdentitiesUnmerged, voids="from_date")
    )
    given(*linked).when(unmerge(["bank:1"], ["hr:1"], cause="fraud", voids="from_start")).then(
        such(IdentitiesUnmerged, voids="from_start")
    )


def test_unmerge_to_what_she_is_changes_nothing() -> None:
    given(*THREE, link(("bank:1", "hr:1"))).when(unmerge(["hr:1", "bank:1"])).then()


def test_unmerge_is_never_refused_for_what_came_after() -> None:
    given(*TWO_PENSIONS, merge(("bank:1", "life:1")), contribute("PP-1", own=1_200_000), close("PP-2")).when(
        unmerge(["bank:1"], ["life:1"])
    ).then(such(IdentitiesUnmerged))


def test_declared_distinct_once() -> None:
    given(*THREE).when(declare_distinct("bank:1", "hr:1")).then(such(DistinctDeclared))
    given(*THREE, declare_distinct("bank:1", "hr:1")).when(declare_distinct("hr:1", "bank:1")).then()


def test_withdrawing_opens_the_way_for_a_merge() -> None:
    """Every cannot-link between the two goes, declared or left by an unmerge."""
    apart = (
        *THREE,
        link(("bank:1", "hr:1")),
        unmerge(["bank:1"], ["hr:1"]),
        declare_distinct("hr:1", "bank:1"),
    )
    given(*apart).when(withdraw_distinct("hr:1", "bank:1")).then(such(DistinctWithdrawn))
    given(*apart, withdraw_distinct("hr:1", "bank:1")).when(merge(("hr:1", "bank:1"))).then(such(IdentitiesMerged))
