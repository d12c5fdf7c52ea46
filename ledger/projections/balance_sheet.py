"""Read a person's unified balance sheet: of now from memory, or from the facts as of a date and as known at a position.

1. All of it is read in one snapshot: a sheet never mixes two positions.
2. What was posted before the reading began is in it: memory is written in the transaction of the facts.
3. A sheet read again at its position and date is the same, byte for byte, whatever was recorded since; as long as this
   version can read all facts about her, for memory was folded by the version that wrote them.
"""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from ledger.database import Database
from ledger.domain.decider import State
from ledger.domain.events import AccountOpened, Fact
from ledger.domain.history import Unreadable, sheet_at, sids_linked
from ledger.domain.identifiers import ONE_ID
from ledger.domain.sheet import BalanceSheet, balance_sheet
from ledger.facts import TooManyFacts, facts_about
from ledger.memory import recall
from ledger.projections.standing import NAME, Connection, PersonUnknown, snapshot

# Each round finds whom the last one's links lead to; a person has at most 200 identities.
MAX_ROUNDS = 200

# A one_id was born with the registration of one identity; the tag index finds that fact. Plain events may bear any tag.
IDENTITY_OF = b"""
SELECT convert_from(data, 'UTF8')::jsonb ->> 'sid'
FROM event
WHERE type = 'SourceIdentityRegistered' AND position IN (
    SELECT position
    FROM event_tag
    WHERE tag = %s
)
"""


class SheetRead(NamedTuple):
    """A sheet, the position it is known at and the date it is of; asked for by these, it will always be the same."""

    known_at: int
    as_of: date | None
    sheet: BalanceSheet


def read_balance_sheet(
    database: Database,
    person: str,
    *,
    as_of: date | None = None,
    known_at: int | None = None,
    seen: int | None = None,
) -> SheetRead:
    """The sheet of the person named by a sid, by any one_id ever issued to her, or by one of her accounts.

    Of now from memory, otherwise from the facts up to `known_at` with an effective date up to `as_of`. With `seen`, it
    holds what was recorded at that position, if need be after a bounded wait.

    Raises PersonUnknown, PositionNotRecorded and TooManyFacts.
    """
    if not NAME.fullmatch(person):
        raise PersonUnknown(person)
    with snapshot(database, known_at=known_at, seen=seen) as (connection, size):
        at = size if known_at is None else known_at
        sid = _sid_of(connection, person, at)
        if as_of is None and at == size:
            sheet = _of_now(connection, sid)
        else:
            sheet = _from_facts(connection, sid, known_at=at, as_of=as_of)
        if sheet is None:
            raise PersonUnknown(person)
        return SheetRead(at, as_of, sheet)


def _of_now(connection: Connection, sid: str) -> BalanceSheet | None:
    identity = _recalled(connection, "identity", [sid]).get(sid)
    if identity is None:
        return None
    identities = _recalled(connection, "identity", identity["members"])
    names = sorted(account for member in identities.values() for account in member["accounts"])
    return balance_sheet(identities, _recalled(connection, "account", names))


def _from_facts(connection: Connection, sid: str, *, known_at: int, as_of: date | None) -> BalanceSheet | None:
    """Gather everybody ever linked with her, round by round, then the accounts of all of them."""
    identity = _recalled(connection, "identity", [sid]).get(sid)
    fresh = {sid} if identity is None else {sid, *identity["members"]}
    sids: set[str] = set()
    facts: list[tuple[int, Fact]] = []
    unreadable: list[Unreadable] = []

    def gather(tags: Iterable[str]) -> list[tuple[int, Fact]]:
        read = facts_about(connection, tags, until=known_at)
        facts.extend(read.facts)
        unreadable.extend(Unreadable(each.position, tag) for each in read.unreadable for tag in each.tags)
        return read.facts

    accounts: set[str] = set()
    for _ in range(MAX_ROUNDS):
        if not fresh:
            break
        sids |= fresh
        found = gather(f"identity:{member}" for member in sorted(fresh))
        accounts.update(fact.account for _, fact in found if isinstance(fact, AccountOpened))
        fresh = sids_linked(found) - sids
    else:
        message = f"{len(sids)} identities were linked with her, and there are more"
        raise TooManyFacts(message)
    if accounts:
        gather(f"account:{account}" for account in sorted(accounts))
    return sheet_at(facts, sid, known_at=known_at, as_of=as_of, unreadable=unreadable)


def _sid_of(connection: Connection, person: str, known_at: int) -> str:
    if ":" in person:
        return person
    account = None if ONE_ID.fullmatch(person) else _recalled(connection, "account", [person]).get(person)
    if account is not None and account["opened_position"] <= known_at:
        return str(account["sid"])
    row = connection.execute(IDENTITY_OF, ("one_id:" + person,), prepare=True).fetchone()
    if row is None:
        raise PersonUnknown(person)
    return str(row[0])


def _recalled(connection: Connection, kind: str, names: list[str]) -> dict[str, State]:
    tags = [f"{kind}:{name}" for name in names]
    found = recall(connection, tags, {})
    states = {name: found[tag] for name, tag in zip(names, tags, strict=True)}
    return {name: state for name, state in states.items() if state is not None}
