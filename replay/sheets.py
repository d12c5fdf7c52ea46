"""The balance sheet of a person out of facts alone, as the API answers it: at any date, as known at any position.

1. The bytes are those of the API's answer for the same person, date and position.
2. A sheet at a date and a position is the same for ever, on whatever machine.
3. Nothing but facts is read: who belongs together, what accounts she has and what they hold follow from them. Where the
   facts about somebody stand is told by the tag index, which `refold` compares with the facts.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from pydantic_core import to_json

from ledger.domain import events as e
from ledger.domain.history import Unreadable, sheet_at, sids_linked
from ledger.domain.identifiers import ONE_ID
from ledger.domain.sheet import BalanceSheet
from replay.facts import Connection, Positioned, TooManyFacts, check_gapless, facts_about, following, head

# What a source identity, a one_id and an account are spelled with; nothing else can be looked up.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
# Each round finds whom the last one's links lead to; a person has at most 200 identities.
MAX_ROUNDS: Final = 200


class PersonUnknown(LookupError):
    """No source identity, one_id or account of this name is registered, or not by the position asked for."""


class PositionNotRecorded(LookupError):
    """The journal ends before the position asked for."""

    def __init__(self, *, asked: int, head: int) -> None:
        """Say where the journal ends."""
        super().__init__(f"the journal ends at position {head}, asked was {asked}")


class Gathered(NamedTuple):
    """Everything about a person and everybody ever linked with her."""

    sids: set[str]
    accounts: set[str]
    facts: list[Positioned]
    unread: list[Unreadable]


def sheet_of(connection: Connection, person: str, *, as_of: date | None = None, known_at: int | None = None) -> bytes:
    """What the API answers to `GET /v1/people/{person}/balance-sheet?as_of=&known_at=`, out of facts alone.

    The person is named by a source identity, a one_id or an account. Raises PersonUnknown, PositionNotRecorded,
    TooManyFacts and HistoryBroken.
    """
    at = position_at(connection, known_at)
    check_gapless(connection, at)
    sid = sid_of(connection, person, at)
    found = gather(connection, sid, until=at)
    with following(f"the sheet of {sid} at position {at}"):
        sheet = sheet_at(found.facts, sid, known_at=at, as_of=as_of, unreadable=found.unread)
    if sheet is None:
        raise PersonUnknown(f"{person} is not known at position {at}")
    return spelled(sheet, as_of=as_of, known_at=at)


def spelled(sheet: BalanceSheet, *, as_of: date | None, known_at: int) -> bytes:
    """The one spelling of a sheet."""
    return to_json({"known_at": known_at, "as_of": as_of, "sheet": sheet})


def position_at(connection: Connection, known_at: int | None) -> int:
    """The position asked for, by default the journal's end. Raises PositionNotRecorded."""
    size = head(connection)
    if known_at is not None and not 0 <= known_at <= size:
        raise PositionNotRecorded(asked=known_at, head=size)
    return size if known_at is None else known_at


def sid_of(connection: Connection, person: str, known_at: int) -> str:
    """The source identity that a name leads to: itself, or of the registration or opening that bears it.

    Raises PersonUnknown.
    """
    if NAME.fullmatch(person):
        if ":" in person:
            return person
        kind = "one_id" if ONE_ID.fullmatch(person) else "account"
        for _, fact in facts_about(connection, [f"{kind}:{person}"], until=known_at).facts:
            match fact:
                case e.SourceIdentityRegistered(one_id=named) | e.AccountOpened(account=named) if named == person:
                    return fact.sid
                case _:
                    pass
    raise PersonUnknown(f"{person} is not known at position {known_at}")


def gather(connection: Connection, sid: str, *, until: int) -> Gathered:
    """Everybody ever linked with her, round by round, then the accounts of all of them. Raises TooManyFacts."""
    found = Gathered(set(), set(), [], [])
    fresh = {sid}
    for _ in range(MAX_ROUNDS):
        if not fresh:
            break
        found.sids.update(fresh)
        facts = _taken(connection, found, (f"identity:{each}" for each in sorted(fresh)), until)
        found.accounts.update(fact.account for _, fact in facts if isinstance(fact, e.AccountOpened))
        fresh = sids_linked(facts) - found.sids
    else:
        raise TooManyFacts(f"{len(found.sids)} identities were linked with {sid}, and there are more")
    if found.accounts:
        _taken(connection, found, (f"account:{account}" for account in sorted(found.accounts)), until)
    return found


def _taken(connection: Connection, found: Gathered, tags: Iterable[str], until: int) -> list[Positioned]:
    read = facts_about(connection, tags, until=until)
    found.facts.extend(read.facts)
    found.unread.extend(Unreadable(each.position, tag) for each in read.unread for tag in each.tags)
    return read.facts
