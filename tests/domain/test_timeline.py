"""Who was one person with whom: as it was known at a position, and as it held on a date."""

from datetime import date

from ledger.domain.commands import Command
from ledger.domain.timeline import partition_at
from tests.domain.asking import link, register, unmerge, withdraw_distinct
from tests.domain.scenario import given

TOGETHER, APART = [["bank:1", "hr:1"]], [["bank:1"], ["hr:1"]]
LINKED = (register("bank:1"), register("hr:1"), link(("bank:1", "hr:1"), on="2025-03-01"))


def persons(*past: Command, known_at: int | None = None, as_of: str | None = None) -> list[list[str]]:
    facts = enumerate(given(*past).books.facts, 1)
    return partition_at(facts, known_at=known_at, as_of=None if as_of is None else date.fromisoformat(as_of))


def test_link_holds_from_its_effective_date() -> None:
    assert persons(*LINKED, as_of="2025-02-28") == APART
    assert persons(*LINKED, as_of="2025-03-01") == TOGETHER


def test_without_a_date_only_the_position_matters() -> None:
    """As the live memory does: a link that takes effect next week joins the person now."""
    assert persons(*LINKED, known_at=2) == APART
    assert persons(*LINKED, known_at=3) == TOGETHER


def test_identity_is_there_from_its_registration_on_for_every_date() -> None:
    """Its accounts may be older than its registration."""
    assert persons(*LINKED, known_at=1) == [["bank:1"]]
    assert persons(*LINKED, known_at=2, as_of="1999-01-01") == APART


def test_false_match_parts_them_on_every_date_but_not_in_what_was_known() -> None:
    """IDENTITY invariant 12."""
    past = (*LINKED, unmerge(["bank:1"], ["hr:1"], on="2026-01-01"))
    for day in ("2025-02-28", "2025-06-01", "2026-06-01"):
        assert persons(*past, as_of=day) == APART
    assert persons(*past, known_at=3, as_of="2025-06-01") == TOGETHER


def test_unmerge_from_a_date_leaves_the_time_before() -> None:
    past = (*LINKED, unmerge(["bank:1"], ["hr:1"], cause="id_correction", on="2026-01-01"))
    assert persons(*past, as_of="2025-12-31") == TOGETHER
    assert persons(*past, as_of="2026-01-01") == APART
    assert persons(*past) == APART


def test_rejoined_after_a_false_match_holds_from_the_new_link() -> None:
    past = (
        *LINKED,
        unmerge(["bank:1"], ["hr:1"], on="2025-06-01"),
        withdraw_distinct("bank:1", "hr:1", on="2025-07-01"),
        link(("bank:1", "hr:1"), on="2025-08-01"),
    )
    assert persons(*past, as_of="2025-07-31") == APART
    assert persons(*past, as_of="2025-08-01") == TOGETHER


def test_false_match_overrides_an_earlier_unmerge_from_a_date() -> None:
    """Else the two would stay one person for the time before that date."""
    past = (
        *LINKED,
        unmerge(["bank:1"], ["hr:1"], cause="fraud", on="2025-06-01"),
        withdraw_distinct("bank:1", "hr:1", on="2025-07-01"),
        link(("bank:1", "hr:1"), on="2025-08-01"),
    )
    assert persons(*past, as_of="2025-05-01") == TOGETHER
    assert persons(*past, unmerge(["bank:1"], ["hr:1"], on="2025-09-01"), as_of="2025-05-01") == APART


def test_ended_links_through_a_third_identity_give_way_too() -> None:
    """The newest of them is kept, whatever the order of the facts."""
    past = (
        *(register(sid) for sid in ("bank:1", "hr:1", "life:1")),
        link(("bank:1", "hr:1"), on="2025-01-01"),
        link(("hr:1", "life:1"), on="2025-01-02"),
        unmerge(["bank:1"], ["hr:1"], ["life:1"], cause="fraud", on="2025-06-01"),
        withdraw_distinct("bank:1", "life:1", on="2025-06-02"),
        link(("bank:1", "life:1"), on="2025-06-03"),
        unmerge(["bank:1"], ["life:1"], on="2025-07-01"),
    )
    assert persons(*past, as_of="2025-05-01") == [["bank:1"], ["hr:1", "life:1"]]
