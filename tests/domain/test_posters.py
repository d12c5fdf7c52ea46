"""Who may post what; the numbers are the invariants of ledger/domain/posters.py."""

import pytest

from ledger.domain import commands as c
from ledger.domain.posters import (
    ACTOR_NOT_SUBJECT,
    COMMAND_ID_NOT_OWN,
    OPERATOR_NEEDED,
    PRODUCT_NOT_OWN,
    SOURCE_NEEDED,
    SOURCE_NOT_OWN,
    STEWARD_NEEDED,
    Poster,
    foreign,
    not_permitted,
)
from ledger.domain.refusals import PosterNotPermitted
from tests.domain.asking import (
    EA,
    OA,
    PP,
    adjusting,
    charge,
    close,
    close_period,
    contribute,
    credit,
    declare_distinct,
    declare_profile,
    freeze,
    link,
    merge,
    open_account,
    pay,
    register,
    reverse,
    transfer,
    unfreeze,
    unmerge,
    vest,
    withdraw_distinct,
    withdraw_profile,
)
from tests.domain.scenario import Books

SUBJECT = "system:hr"
HR = Poster(SUBJECT, "hr", None, is_steward=False)
HR_EA = Poster(SUBJECT, "hr", frozenset({EA}), is_steward=False)
LI = Poster("user:li", None, None, is_steward=True)
BOTH = Poster(SUBJECT, "hr", None, is_steward=True)

ACCOUNT_MATTERS = [
    contribute("EA-1", employee=1),
    credit("EA-1", gains={"employee": 1}),
    charge("EA-1", employee=1),
    vest("EA-1", 1),
    transfer("EA-1", "EA-2", employee=1),
    pay("EA-1", "EA_W1_AGE", 1),
    freeze("EA-1"),
    unfreeze("EA-1"),
    close("EA-1"),
    reverse(6),
]
CLOSING = close_period("2026-02", tree_size=1, root="ab" * 32)
PERSON_MATTERS = [
    link(("hr:1", "life:1")),
    merge(("hr:1", "life:1")),
    unmerge(["hr:1"], ["life:1"]),
    declare_distinct("hr:1", "life:1"),
    withdraw_distinct("hr:1", "life:1"),
]
PROFILE_MATTERS = [declare_profile("hr:1"), withdraw_profile("hr:1")]


def posted(command: c.Command, poster: Poster, command_id: str | None = None) -> c.Command:
    """The command as this poster sends it."""
    own = f"{poster.namespace}/1" if command_id is None else command_id
    return command.model_copy(update={"actor": poster.subject, "command_id": own})


def name_of(command: object) -> str:
    return type(command).__name__


def reason(poster: Poster, command: c.Command) -> str | None:
    """Why it may not post this, in books where `hr` and `life` each have people, accounts and entries."""
    books = Books()
    for past in (
        register("hr:1"),
        register("life:1"),
        open_account("EA-1", "hr:1", EA),
        open_account("EA-2", "life:1", EA),
        open_account("OA-1", "hr:1", OA),
        contribute("EA-1", employee=100),
        contribute("EA-2", employee=100),
        merge(("hr:1", "life:1")),
        transfer("EA-1", "EA-2", employee=10),
        transfer("EA-2", "EA-1", employee=10),
    ):
        assert isinstance(books.post(past), list)
    refusal = not_permitted(poster, command, books.recall(command))
    assert refusal is None or isinstance(refusal, PosterNotPermitted)
    return None if refusal is None else str(refusal.detail["reason"])


class TestTheCommandAlone:
    """What `foreign` tells, and `not_permitted` too."""

    @pytest.mark.parametrize(
        ("poster", "command", "expected"),
        [
            (HR, posted(register("hr:2"), HR), None),
            (HR, posted(register("life:2"), HR), SOURCE_NOT_OWN),
            (HR, posted(register("hr-2:2"), HR), SOURCE_NOT_OWN),
            (HR, posted(open_account("X", "hr:1", PP), HR), None),
            (HR, posted(open_account("X", "life:1", PP), HR), SOURCE_NOT_OWN),
            (HR_EA, posted(open_account("X", "hr:1", EA), HR_EA), None),
            (HR_EA, posted(open_account("X", "hr:1", PP), HR_EA), PRODUCT_NOT_OWN),
            (LI, posted(register("hr:2"), LI), SOURCE_NEEDED),
            (BOTH, posted(register("hr:2"), BOTH), None),
        ],
    )
    def test_people_and_accounts_are_of_the_own_source_and_products(
        self, poster: Poster, command: c.Command, expected: str | None
    ) -> None:
        """Invariant 3."""
        assert foreign(poster, command) == reason(poster, command) == expected

    @pytest.mark.parametrize("poster", [HR, LI, BOTH])
    def test_a_command_speaks_for_its_sender(self, poster: Poster) -> None:
        """Invariant 1, also where the other would be permitted."""
        for command in (register("hr:2"), merge(("hr:1", "life:1"))):
            sent = posted(command, poster).model_copy(update={"actor": "system:other"})
            assert foreign(poster, sent) == ACTOR_NOT_SUBJECT

    @pytest.mark.parametrize(
        ("command_id", "expected"),
        [
            ("hr/1", None),
            ("hr:1", None),
            ("hr", COMMAND_ID_NOT_OWN),
            ("hr1/1", COMMAND_ID_NOT_OWN),
            ("HR/1", COMMAND_ID_NOT_OWN),
            ("life/hr/1", COMMAND_ID_NOT_OWN),
            ("li/1", COMMAND_ID_NOT_OWN),
        ],
    )
    def test_ids_are_a_namespace_of_the_source(self, command_id: str, expected: str | None) -> None:
        """Invariant 2."""
        assert foreign(HR, posted(register("hr:2"), HR, command_id)) == expected

    @pytest.mark.parametrize(
        ("command_id", "expected"),
        [("li/1", None), ("li:1", None), ("hr/1", COMMAND_ID_NOT_OWN), ("user:li/1", COMMAND_ID_NOT_OWN)],
    )
    def test_a_stewards_ids_begin_with_who_it_is(self, command_id: str, expected: str | None) -> None:
        """Invariant 2."""
        assert foreign(LI, posted(merge(("hr:1", "life:1")), LI, command_id)) == expected

    @pytest.mark.parametrize("command", PERSON_MATTERS, ids=name_of)
    def test_who_is_one_person_is_for_stewards_to_decide(self, command: c.Command) -> None:
        """Of whatever source the identities are."""
        assert reason(LI, posted(command, LI)) is None
        assert reason(BOTH, posted(command, BOTH)) is None
        assert reason(HR, posted(command, HR)) == STEWARD_NEEDED

    @pytest.mark.parametrize("command", PROFILE_MATTERS, ids=name_of)
    def test_what_a_person_says_of_herself_comes_from_her_own_source(self, command: c.Command) -> None:
        """Invariant 3. It is about no product."""
        assert reason(HR, posted(command, HR)) is None
        assert reason(HR_EA, posted(command, HR_EA)) is None
        assert reason(LI, posted(command, LI)) == SOURCE_NEEDED
        life = Poster("system:life", "life", None, is_steward=True)
        assert reason(life, posted(command, life)) == SOURCE_NOT_OWN

    @pytest.mark.parametrize("poster", [HR, LI, BOTH])
    def test_nobody_closes_the_books_by_a_token(self, poster: Poster) -> None:
        """Invariant 4."""
        assert reason(poster, posted(CLOSING, poster)) == OPERATOR_NEEDED

    def test_an_adjustment_is_for_whom_the_command_is_for(self) -> None:
        assert foreign(HR, posted(adjusting(register("hr:2")), HR)) is None
        assert foreign(HR, posted(adjusting(register("life:2")), HR)) == SOURCE_NOT_OWN


class TestAccounts:
    """What needs the memories."""

    @pytest.mark.parametrize("command", ACCOUNT_MATTERS, ids=name_of)
    def test_the_own_sources_account_takes_every_command(self, command: c.Command) -> None:
        for poster in (HR, HR_EA, BOTH):
            assert reason(poster, posted(command, poster)) is None

    @pytest.mark.parametrize("command", ACCOUNT_MATTERS, ids=name_of)
    def test_another_sources_account_takes_none(self, command: c.Command) -> None:
        """Invariant 3. Nor does it without a source."""
        life = Poster("system:life", "life", None, is_steward=True)
        assert reason(life, posted(command, life)) == SOURCE_NOT_OWN
        assert reason(LI, posted(command, LI)) == SOURCE_NEEDED

    @pytest.mark.parametrize("command", ACCOUNT_MATTERS, ids=name_of)
    def test_another_product_takes_none(self, command: c.Command) -> None:
        """Invariant 3."""
        occupational = Poster(SUBJECT, "hr", frozenset({OA}), is_steward=False)
        assert reason(occupational, posted(command, occupational)) == PRODUCT_NOT_OWN

    def test_a_transfer_is_for_the_account_that_it_leaves(self) -> None:
        assert reason(HR_EA, posted(transfer("EA-1", "OA-1", employee=1), HR_EA)) is None
        assert reason(HR_EA, posted(transfer("EA-2", "EA-1", employee=1), HR_EA)) == SOURCE_NOT_OWN

    def test_who_may_post_an_entry_may_reverse_it(self) -> None:
        assert reason(HR, posted(reverse(9), HR)) is None
        assert reason(HR, posted(reverse(10), HR)) == SOURCE_NOT_OWN
        assert reason(HR, posted(reverse(7), HR)) == SOURCE_NOT_OWN
        assert reason(HR, posted(reverse(1), HR)) == SOURCE_NOT_OWN

    @pytest.mark.parametrize(
        "command",
        [contribute("NOWHERE", employee=1), transfer("NOWHERE", "EA-1", employee=1), reverse(99)],
        ids=name_of,
    )
    def test_what_nobody_opened_is_left_to_the_decider(self, command: c.Command) -> None:
        """So is the reversal of what is no entry."""
        assert reason(HR_EA, posted(command, HR_EA)) is None


def test_every_command_is_of_a_person_or_of_an_account_or_the_operators() -> None:
    """A new one must be placed: by default it needs a source, and an account if it has a field of that name."""
    tried = {type(command) for command in (*ACCOUNT_MATTERS, *PERSON_MATTERS, *PROFILE_MATTERS, CLOSING)}
    assert {cls.__name__ for cls in tried} | {"RegisterSourceIdentity", "OpenAccount"} == set(c.COMMANDS)
