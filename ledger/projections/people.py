"""People: who is who, in one hop from a source identity, a one_id or an account.

1. Every source identity has one row, with the person it belongs to and all of her identities.
2. The composition comes from the facts that changed it, each of which names the whole partition of those it touched.
3. A name that led to a person once leads to exactly one person for ever (IDENTITY invariant 7).
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from ledger.database import Database
from ledger.domain import events as e
from ledger.domain.identifiers import ONE_ID
from ledger.domain.lines import Recorded
from ledger.projections.standing import NAME, Connection, PersonUnknown, incomplete, reading

PEOPLE = "people"

COPY_IDENTITIES = b"""
COPY person_identity_{slot} (
    sid, one_id, person, members, provider, verification_tier, registered_position, changed_position
)
FROM STDIN
"""
COPY_ACCOUNTS = b"""
COPY person_account_{slot} (account, sid, product, opened_position)
FROM STDIN
"""

# The person is named by the one_id of her oldest identity.
COMPOSE = rb"""
UPDATE person_identity_{slot} AS identity
SET members = string_to_array(part.members, ' '),
    changed_position = part.position,
    person = (
        SELECT oldest.one_id
        FROM person_identity_{slot} AS oldest
        WHERE oldest.sid = ANY (string_to_array(part.members, ' '))
        ORDER BY oldest.registered_position
        LIMIT 1
    )
FROM unnest(
    string_to_array(%(members)s, E'\x1e'),
    string_to_array(%(positions)s, ';')::bigint[]
) AS part (members, position)
WHERE identity.sid = ANY (string_to_array(part.members, ' '))
"""

PERSON = b"""
SELECT members
FROM person_identity_{slot}
WHERE {named}
"""
# Which of the three a name is shows in how it is spelled: a sid has a colon, a one_id is P and 16 hexadecimal digits.
BY_SID = b"sid = %(name)s"
BY_ONE_ID = b"one_id = %(name)s"
BY_ACCOUNT = b"sid = (SELECT sid FROM person_account_{slot} WHERE account = %(name)s)"

IDENTITIES = rb"""
SELECT sid, one_id, person, provider, verification_tier, registered_position
FROM person_identity_{slot}
WHERE sid = ANY (string_to_array(%s, ' '))
ORDER BY registered_position
"""
ACCOUNTS = rb"""
SELECT account, sid, product, opened_position
FROM person_account_{slot}
WHERE sid = ANY (string_to_array(%s, ' '))
ORDER BY opened_position
"""


class PersonIdentity(BaseModel):
    """One source identity of a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sid: str
    one_id: str
    provider: str
    verification_tier: str
    registered_position: int


class PersonAccount(BaseModel):
    """One account of a person, under the identity that holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    sid: str
    product: str
    opened_position: int


class Person(BaseModel):
    """Who she is: `one_id` is that of her oldest identity.

    `missing` names positions of facts about her that the projection could not take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    one_id: str
    known_at: int
    identities: list[PersonIdentity]
    accounts: list[PersonAccount]
    missing: list[int]


class People:
    """The projection that keeps who is who."""

    name = PEOPLE
    tables = ("person_identity", "person_account")

    def apply(self, connection: Connection, slot: int, facts: Sequence[Recorded]) -> None:
        """Add who and what is new, then compose anew the persons that changed, each as its last fact says."""
        identities: list[str] = []
        accounts: list[str] = []
        composed: dict[str, tuple[str, int]] = {}
        for recorded in facts:
            fact, position = recorded.fact, recorded.position
            match fact:
                case e.ContributionPosted():
                    pass  # Nearly all are, and would be compared with each of the others.
                case e.SourceIdentityRegistered():
                    identities.append(
                        f"{fact.sid}\t{fact.one_id}\t{fact.one_id}\t{{{fact.sid}}}\t{fact.provider}\t"
                        f"{fact.verification_tier}\t{position}\t{position}\n"
                    )
                case e.AccountOpened():
                    accounts.append(f"{fact.account}\t{fact.sid}\t{fact.product}\t{position}\n")
                case e.IdentitiesLinked() | e.IdentitiesMerged():
                    composed.update((sid, (" ".join(part), position)) for part in fact.after for sid in part)
                case e.IdentitiesUnmerged():
                    composed.update((sid, (" ".join(part), position)) for part in fact.target for sid in part)
                case _:
                    pass
        _copy(connection, _of(COPY_IDENTITIES, slot), identities)
        _copy(connection, _of(COPY_ACCOUNTS, slot), accounts)
        if composed:
            parts = dict(composed.values())
            asked = {"members": "\x1e".join(parts), "positions": ";".join(map(str, parts.values()))}
            connection.execute(_of(COMPOSE, slot), asked, prepare=True)


def _copy(connection: Connection, statement: bytes, rows: list[str]) -> None:
    if rows:
        with connection.cursor().copy(statement) as copy:
            copy.write("".join(rows))


def _of(statement: bytes, slot: int) -> bytes:
    return statement.replace(b"{slot}", b"%d" % slot)


def read_person(database: Database, name: str, *, seen: int | None) -> Person:
    """The person that a sid, a one_id ever issued to her, or one of her accounts names.

    Raises PersonUnknown, PositionNotRecorded and ProjectionBehind.
    """
    if not NAME.fullmatch(name):
        raise PersonUnknown(name)
    with reading(database, PEOPLE, known_at=None, seen=seen) as (connection, at):
        asked: dict[str, Any] = {"name": name}
        named = BY_SID if ":" in name else BY_ONE_ID if ONE_ID.fullmatch(name) else BY_ACCOUNT
        found = connection.execute(_of(PERSON.replace(b"{named}", named), at.slot), asked, prepare=True).fetchone()
        if found is None:
            raise PersonUnknown(name)
        members = " ".join(found[0])
        identities = connection.execute(_of(IDENTITIES, at.slot), (members,), prepare=True).fetchall()
        accounts = connection.execute(_of(ACCOUNTS, at.slot), (members,), prepare=True).fetchall()
        tags = [f"identity:{sid}" for sid in found[0]]
        missing = incomplete(connection, PEOPLE, at, tags=tags, until=at.position)
    return Person(
        one_id=identities[0][2],
        known_at=at.position,
        identities=[
            PersonIdentity(sid=sid, one_id=one_id, provider=provider, verification_tier=tier, registered_position=since)
            for sid, one_id, _, provider, tier, since in identities
        ],
        accounts=[
            PersonAccount(account=account, sid=sid, product=product, opened_position=since)
            for account, sid, product, since in accounts
        ],
        missing=missing,
    )
