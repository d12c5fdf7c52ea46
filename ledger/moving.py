"""Moves of money between a person's accounts: simulated on her sheet, and posted as they were simulated, or not at all.

1. A simulation runs the drafted commands through the real deciders and records nothing.
2. What is confirmed is what was simulated: nothing about the person was recorded since. That is looked at under the lock of
   the head row, in the transaction that posts, so nothing can slip between.
3. Both facts of a move stand, or neither does: where one would be refused, nothing is recorded, no refusal either.
4. Confirmed again, the same move gets the same receipts.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow
from pydantic import BaseModel

from ledger.application import Ledger, Outcome, Receipt, Refused, Rehearsal
from ledger.database import Database
from ledger.domain.calculators.lawful_moves import Judged
from ledger.domain.calculators.personal_pension import PensionSaving
from ledger.domain.posters import Poster
from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.basis import VERSION, Words, basis, words
from ledger.planning.crossing import Draft, MoveQuestion, Sender, Wish, accounts_of, wish
from ledger.planning.personal import PersonBasis
from ledger.planning.showing import SHOWN
from ledger.planning.telling import of_move
from ledger.projections.balance_sheet import read_balance_sheet

Connection = psycopg.Connection[TupleRow]

# So often a simulation begins anew when a fact about the person comes between reading her sheet and rehearsing.
MAX_TRIES = 3

# The first fact about any of these after a position. Her identities are tagged by every link, so a merge is among them; and
# her counters change only together with one of her accounts or identities.
FIRST_SINCE = rb"""
SELECT min(position)
FROM event_tag
WHERE tag = ANY (string_to_array(%(tags)s, E'\x1e') COLLATE "C")
    AND position > %(after)s
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
"""


class PositionMoved(RuntimeError):
    """Something about the person was recorded since the move was simulated. Nothing was posted: simulate it again."""

    def __init__(self, position: int, simulated_at: int) -> None:
        """Name the fact."""
        super().__init__(self.__doc__)
        self.position = position
        self.simulated_at = simulated_at


class RulesChanged(RuntimeError):
    """The rules are not those that the move was simulated by. Nothing was posted: simulate it again."""


class MoveNotDrafted(ValueError):
    """The move is not lawful so, or names no account: there is nothing to post. Simulate it to see the lawful way."""


class MoveRefused(ValueError):
    """The ledger would refuse one of the commands now. Nothing was posted."""

    def __init__(self, refused: Refused) -> None:
        """Name the refusal."""
        super().__init__(f"{refused.code}: {refused.sentence}")
        self.refused = refused


class Simulated(NamedTuple):
    """A wish judged at a position, and if it was drafted, what the deciders say and the balances before and after."""

    one_id: str
    known_at: int
    wish: Wish
    rules: Rules
    outcomes: list[Outcome]
    balances_fen: dict[str, dict[str, tuple[int, int]]]


class DraftAnswer(BaseModel):
    """What would be posted, and what the deciders say to it: nothing refused, or why, and then nothing would change.

    `stays_fen`: by part, in the account that is drawn on. `room_fen`, `room_left_fen`: of the yearly cap, before and after.
    `adds_fen`: what of the contribution is not of the payout. `saving`: what the contribution saves in tax, and costs later.
    """

    commands: list[dict[str, Any]]
    gross_fen: int
    tax_fen: int
    tax_rule: str | None
    arrives_fen: int
    to_person_fen: int
    adds_fen: int
    stays_fen: dict[str, int]
    room_fen: int | None
    room_left_fen: int | None
    saving: Annotated[PensionSaving | None, SHOWN]
    refused: list[dict[str, Any]]
    balances_fen: dict[str, dict[str, tuple[int, int]]]


class MoveAnswer(BaseModel):
    """What the law says to the wish, and what it comes to. Confirm it with its `basis.known_at`.

    `balances_fen`: of the accounts, by part, before and after.
    """

    question: MoveQuestion
    basis: PersonBasis
    from_product: str
    to_product: str
    judged: Annotated[Judged, SHOWN]
    draft: DraftAnswer | None
    words: Words


def answer(question: MoveQuestion, found: Simulated) -> MoveAnswer:
    """A simulation as it is shown."""
    made, draft = found.wish, found.wish.draft
    is_two = draft is not None and len(draft.commands) > 1
    said = of_move(
        made.judged,
        made.from_product,
        made.to_product,
        amount_fen=0 if draft is None else draft.gross_fen,
        tax_fen=None if draft is None else draft.tax_fen,
        paid_in_fen=draft.arrives_fen if draft is not None and is_two else None,
    )
    return MoveAnswer(
        question=question,
        basis=PersonBasis(**dict(basis(found.rules)), one_id=found.one_id, known_at=found.known_at),
        from_product=made.from_product,
        to_product=made.to_product,
        judged=made.judged,
        draft=None if draft is None else _drafted(draft, found),
        words=words(said),
    )


def _drafted(draft: Draft, found: Simulated) -> DraftAnswer:
    return DraftAnswer(
        commands=[command.model_dump(mode="json", exclude_none=True) for command in draft.commands],
        gross_fen=draft.gross_fen,
        tax_fen=draft.tax_fen,
        tax_rule=draft.tax_rule,
        arrives_fen=draft.arrives_fen,
        to_person_fen=draft.to_person_fen,
        adds_fen=draft.adds_fen,
        stays_fen=draft.stays_fen,
        room_fen=draft.room_fen,
        room_left_fen=draft.room_left_fen,
        saving=draft.saving,
        refused=[
            {"command_id": each.command_id, "code": each.code, "sentence": each.sentence, "detail": dict(each.detail)}
            for each in found.outcomes
            if isinstance(each, Refused)
        ],
        balances_fen=found.balances_fen,
    )


def simulate(
    database: Database, person: str, question: MoveQuestion, sender: Sender, poster: Poster | None = None
) -> Simulated:
    """Judge, draft and rehearse a move of now.

    Raises what reading the sheet raises, RuleRefused, AnswerRefused, and PositionMoved where again and again a fact about
    her came between reading and rehearsing.
    """
    for _ in range(MAX_TRIES - 1):
        with suppress(PositionMoved):
            return _simulated(database, person, question, sender, poster)
    return _simulated(database, person, question, sender, poster)


def _simulated(
    database: Database, person: str, question: MoveQuestion, sender: Sender, poster: Poster | None
) -> Simulated:
    read = read_balance_sheet(database, person)
    rules = Rules(question.on, question.area)
    found = wish(read.sheet, read.known_at, question, sender, rules)
    if found.draft is None:
        return Simulated(read.sheet.one_id, read.known_at, found, rules, [], {})
    commands = found.draft.commands
    rehearsed = Ledger(database).rehearse(commands, [poster] * len(commands))
    with database.connection() as connection:
        _require_unmoved(connection, read.sheet, after=read.known_at, before=rehearsed.position + 1)
    balances = _balances(rehearsed, question)
    return Simulated(read.sheet.one_id, read.known_at, found, rules, rehearsed.outcomes, balances)


def confirm(  # noqa: PLR0913 - what was simulated, where and in whose name
    ledger: Ledger,
    database: Database,
    person: str,
    question: MoveQuestion,
    sender: Sender,
    *,
    known_at: int,
    rules_version: str | None = None,
    poster: Poster | None = None,
    with_leaves: bool = False,
) -> tuple[Draft, list[Receipt]]:
    """Post the move that was simulated at this position, and if it is given by this version of the rules (invariants 2 to 4).

    Raises RulesChanged, and as `simulate`, MoveNotDrafted, MoveRefused and PositionMoved; what raises records nothing.
    """
    if rules_version not in (None, VERSION.rules):
        raise RulesChanged(RulesChanged.__doc__)
    read = read_balance_sheet(database, person, known_at=known_at)
    draft = wish(read.sheet, known_at, question, sender, Rules(question.on, question.area)).draft
    if draft is None:
        raise MoveNotDrafted(MoveNotDrafted.__doc__)

    def require(connection: Connection, outcomes: Sequence[Outcome]) -> None:
        receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        if refused:
            # A fact in between may be why: then to simulate again is what helps.
            _require_unmoved(connection, read.sheet, after=known_at, before=_first(receipts))
            raise MoveRefused(refused[0])
        if not all(receipt.repeated for receipt in receipts):
            _require_unmoved(connection, read.sheet, after=known_at, before=_first(receipts))

    outcomes = ledger.post(draft.commands, [poster] * len(draft.commands), with_leaves=with_leaves, alongside=require)
    return draft, [outcome for outcome in outcomes if isinstance(outcome, Receipt)]


def _first(receipts: Sequence[Receipt]) -> int | None:
    """The first position recorded now; what an earlier batch recorded lies before what may have come in between."""
    fresh = (each.first_position for each in receipts if not each.repeated and each.first_position is not None)
    return min(fresh, default=None)


def _require_unmoved(connection: Connection, sheet: BalanceSheet, *, after: int, before: int | None) -> None:
    tags = [f"identity:{identity.sid}" for identity in sheet.identities]
    tags += [f"account:{account}" for account in accounts_of(sheet)]
    row = connection.execute(FIRST_SINCE, {"tags": "\x1e".join(tags), "after": after, "before": before}).fetchone()
    if row is not None and row[0] is not None:
        raise PositionMoved(row[0], after)


def _balances(rehearsed: Rehearsal, question: MoveQuestion) -> dict[str, dict[str, tuple[int, int]]]:
    """Of the accounts concerned, each part before and after. Where one command is refused, nothing would change."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    stands = not any(isinstance(outcome, Refused) for outcome in rehearsed.outcomes)
    then = rehearsed.after if stands else rehearsed.before
    for account in filter(None, (question.from_account, question.to_account)):
        tag = f"account:{account}"
        before, after = _parts(rehearsed.before.get(tag)), _parts(then.get(tag))
        found[account] = {part: (before[part], after[part]) for part in before}
    return found


def _parts(state: dict[str, Any] | None) -> dict[str, int]:
    return {} if state is None else dict(state["balances_fen"])
