"""Read a person's unified balance sheet of now, from memory, at one position.

1. All of it is read in one snapshot: a sheet never mixes two positions.
2. What was posted before the reading began is in it: memory is written in the transaction of the facts.
"""

import re
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ledger.database import Database
from ledger.domain.decider import State
from ledger.domain.sheet import BalanceSheet, balance_sheet
from ledger.memory import recall

Connection = psycopg.Connection[TupleRow]

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
# What a source identity, a one_id and an account are spelled with; nothing else can be looked up by its tag.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")


class PersonUnknown(LookupError):
    """No source identity, one_id or account of this name is registered."""


class SheetRead(NamedTuple):
    """A sheet and the journal position at which it was read."""

    position: int
    sheet: BalanceSheet


def read_balance_sheet(database: Database, person: str) -> SheetRead:
    """The sheet of the person named by a sid, by any one_id ever issued to her, or by one of her accounts.

    Raises PersonUnknown.
    """
    if not NAME.fullmatch(person):
        raise PersonUnknown(person)
    with database.connection() as connection:
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute(b"SELECT size FROM head", prepare=True).fetchone()
        assert row is not None
        sid = _sid_of(connection, person)
        identity = _recalled(connection, "identity", [sid]).get(sid)
        if identity is None:
            raise PersonUnknown(person)
        identities = _recalled(connection, "identity", identity["members"])
        names = sorted(account for member in identities.values() for account in member["accounts"])
        accounts = _recalled(connection, "account", names)
    return SheetRead(int(row[0]), balance_sheet(identities, accounts))


def _sid_of(connection: Connection, person: str) -> str:
    if ":" in person:
        return person
    account = _recalled(connection, "account", [person]).get(person)
    if account is not None:
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
