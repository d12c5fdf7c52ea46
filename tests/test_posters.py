"""What a poster may not post leaves no trace and learns nothing: Ledger.post with posters, on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.application import SLICE, Ledger, Outcome, Receipt, Refused
from ledger.domain.posters import Poster
from ledger.domain.refusals import PosterNotPermitted
from tests.books import assert_whole, commands_recorded
from tests.commands import contribute, merge, open_account, register, reverse

if TYPE_CHECKING:
    from ledger.database import Database
    from ledger.domain.commands import Command

EA_CORE = Poster("system:ea-core", "ea-core", None, is_steward=False)
BANK = Poster("system:bank", "bank", None, is_steward=False)
LI = Poster("user:li", None, None, is_steward=True)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """One person and account of each source, and one contribution to each."""
    made = Ledger(database)
    made.post(
        [
            *(register(sid, f"setup/{sid}") for sid in ("ea-core:1", "bank:1")),
            open_account("ea-core:1", "E1", command_id="setup/E1"),
            open_account("bank:1", "B1", command_id="setup/B1"),
            contribute("E1", 100, "setup/5"),
            contribute("B1", 100, "setup/6"),
        ]
    )
    return made


def by(poster: Poster, command: Command, command_id: str) -> Command:
    return command.model_copy(update={"actor": poster.subject, "command_id": f"{poster.namespace}/{command_id}"})


def post(ledger: Ledger, *posted: tuple[Poster | None, Command]) -> list[Outcome]:
    return ledger.post([command for _, command in posted], [poster for poster, _ in posted])


def codes(outcomes: list[Outcome]) -> list[str]:
    return [outcome.code if isinstance(outcome, Refused) else "" for outcome in outcomes]


def test_a_poster_posts_for_its_own_source(ledger: Ledger, database: Database) -> None:
    """People and accounts that the batch itself brings included, and what it reverses of them."""
    outcomes = post(
        ledger,
        (EA_CORE, by(EA_CORE, register("ea-core:2"), "1")),
        (EA_CORE, by(EA_CORE, open_account("ea-core:2", "E2"), "2")),
        (EA_CORE, by(EA_CORE, contribute("E2", 100), "3")),
        (BANK, by(BANK, contribute("B1", 100), "1")),
        (LI, by(LI, merge("ea-core:1", "bank:1"), "1")),
        (EA_CORE, by(EA_CORE, reverse(9), "4")),
    )
    assert codes(outcomes) == [""] * 6
    assert_whole(database)


@pytest.mark.parametrize("command", [contribute("B1", 1), reverse(6), merge("ea-core:1", "bank:1")])
def test_what_a_poster_may_not_post_is_refused_and_nothing_is_recorded(
    ledger: Ledger, database: Database, command: Command
) -> None:
    before = commands_recorded(database)
    outcome = post(ledger, (EA_CORE, by(EA_CORE, command, "1")))[0]
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.sentence) == ("PosterNotPermitted", PosterNotPermitted.sentence)
    assert set(outcome.detail) == {"reason"}
    assert not outcome.repeated
    assert commands_recorded(database) == before
    assert_whole(database)


def test_what_the_same_batch_opened_for_another_is_refused_too(ledger: Ledger, database: Database) -> None:
    outcomes = post(
        ledger,
        (BANK, by(BANK, open_account("bank:1", "B2"), "1")),
        (EA_CORE, by(EA_CORE, contribute("B2", 1), "1")),
        (BANK, by(BANK, contribute("B2", 1), "2")),
        (EA_CORE, by(EA_CORE, reverse(8), "2")),
    )
    assert codes(outcomes) == ["", "PosterNotPermitted", "", "PosterNotPermitted"]
    assert_whole(database)


def test_what_stands_at_a_position_is_not_told_to_posters(ledger: Ledger) -> None:
    """To reverse what is no entry of one's own is not permitted, whatever it is; what is nowhere is not found."""
    outcomes = post(ledger, *((EA_CORE, by(EA_CORE, reverse(at), f"r{at}")) for at in (1, 3, 4_000)))
    assert codes(outcomes) == ["PosterNotPermitted", "PosterNotPermitted", "EntryNotFound"]


@pytest.mark.parametrize("batched", [True, False])
def test_the_id_that_a_stranger_asked_for_stays_free_for_its_owner(
    ledger: Ledger, database: Database, *, batched: bool
) -> None:
    """Also within one batch, before the owner and after."""
    owners = by(BANK, contribute("B1", 100), "7")
    strangers = owners.model_copy(update={"actor": EA_CORE.subject})
    posted: list[tuple[Poster | None, Command]] = [
        (EA_CORE, strangers),
        (BANK, owners),
        (EA_CORE, strangers),
        (BANK, owners),
    ]
    outcomes = post(ledger, *posted) if batched else [post(ledger, each)[0] for each in posted]
    assert codes(outcomes) == ["PosterNotPermitted", "", "PosterNotPermitted", ""]
    assert [outcome.repeated for outcome in outcomes] == [False, False, False, True]
    assert commands_recorded(database)["bank/7"] == (7, 7)
    assert_whole(database)


def test_a_stranger_does_not_learn_anothers_answer(ledger: Ledger) -> None:
    """The very command of another, which was accepted, and one that was refused."""
    accepted, refused = by(BANK, contribute("B1", 1), "1"), by(BANK, contribute("nobody", 1), "2")
    first = post(ledger, (BANK, accepted), (BANK, refused))
    assert codes(first) == ["", "AccountUnknown"]
    again = post(ledger, (EA_CORE, accepted), (EA_CORE, refused))
    assert codes(again) == ["PosterNotPermitted"] * 2
    assert not any(outcome.repeated for outcome in again)
    unknown = post(ledger, (EA_CORE, by(BANK, contribute("B1", 1), "3")))
    assert [outcome._replace(command_id="") for outcome in (*again, *unknown)].count(
        unknown[0]._replace(command_id="")
    ) == 3


def test_a_repeat_that_its_poster_may_no_longer_post_is_not_answered(ledger: Ledger) -> None:
    command = by(BANK, contribute("B1", 1), "1")
    assert isinstance(post(ledger, (BANK, command))[0], Receipt)
    narrowed = BANK._replace(products=frozenset({"personal_pension"}))
    assert codes(post(ledger, (narrowed, command))) == ["PosterNotPermitted"]


def test_a_trusted_caller_shares_a_batch_with_posters(ledger: Ledger) -> None:
    outcomes = post(ledger, (None, contribute("B1", 1)), (EA_CORE, by(EA_CORE, contribute("B1", 1), "1")))
    assert codes(outcomes) == ["", "PosterNotPermitted"]


MANY = 3 * SLICE + 1


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(range(1, MANY, 2), id="every second"),
        pytest.param(range(SLICE), id="the first slice"),
        pytest.param(range(2 * SLICE, MANY), id="the last slices"),
        pytest.param(range(SLICE - 1, MANY, SLICE), id="the end of each slice"),
        pytest.param(range(MANY), id="all"),
    ],
)
def test_slices_hold_what_is_permitted_wherever_the_rest_stands(
    ledger: Ledger, database: Database, refused: range
) -> None:
    """Facts, rows and memories are those of the permitted commands, in their order."""
    outcomes = post(
        ledger,
        *((EA_CORE, by(EA_CORE, contribute("B1" if n in refused else "E1", 1), str(n))) for n in range(MANY)),
    )
    assert codes(outcomes) == ["PosterNotPermitted" if n in refused else "" for n in range(MANY)]
    assert [outcome.command_id for outcome in outcomes] == [f"ea-core/{n}" for n in range(MANY)]
    recorded = [f"ea-core/{n}" for n in range(MANY) if n not in refused]
    found = {command_id: first for command_id, (first, _) in commands_recorded(database).items()}
    assert [found[command_id] for command_id in recorded] == list(range(7, 7 + len(recorded)))
    assert len(found) == 6 + len(recorded)
    assert_whole(database)


def test_each_command_needs_its_poster(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="zip"):
        ledger.post([contribute("E1", 1), contribute("E1", 1)], [EA_CORE])
