"""Who read what about whom: the access records of the API, newest first, for the auditor's command line.

1. Every record is one line, whatever was asked for: nothing in it breaks the line or turns its direction.
2. A list has a bound, and says after which record the next one begins.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

MAX_ACCESSES = 10_000
NOT_PRINTABLE = "\N{REPLACEMENT CHARACTER}"

PLACE = b"SELECT accessed_at FROM access_record WHERE access_id = %s"

LIST = """
SELECT access_id, accessed_at, actor, token_id, action, subject, question, purpose, status
FROM access_record
WHERE {conditions}
ORDER BY accessed_at DESC, access_id DESC
LIMIT %(limit)s
"""

# Only of what is asked for, so that an index serves it.
CONDITIONS = {
    "subject": sql.SQL("subject = %(subject)s"),
    "actor": sql.SQL("actor = %(actor)s"),
    "since": sql.SQL("accessed_at >= %(since)s"),
    "until": sql.SQL("accessed_at < %(until)s"),
    "after": sql.SQL("(accessed_at, access_id) < (%(after_at)s, %(after)s)"),
}


class AccessUnknown(LookupError):
    """There is no access record with this id; list from the beginning, or give the id that a list ended with."""


class Access(NamedTuple):
    """One reading, as the API recorded it before it answered."""

    access_id: UUID
    accessed_at: datetime
    actor: str
    token_id: str
    action: str
    subject: str
    question: dict[str, Any]
    purpose: str
    status: int


class Accesses(NamedTuple):
    """A page of them, and the id after which the next begins; None where this is the last."""

    listed: list[Access]
    next_after: UUID | None


def list_accesses(  # noqa: PLR0913 - each narrows the list by itself
    connection: psycopg.Connection[TupleRow],
    *,
    subject: str | None,
    actor: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: UUID | None,
) -> Accesses:
    """At most so many records from `since` on and before `until`, newest first; after the one with this id.

    Times without an offset are the server's. Raises AccessUnknown.
    """
    limit = max(1, min(limit, MAX_ACCESSES))
    asked: dict[str, Any] = {
        "subject": None if subject is None else _printable(subject),
        "actor": None if actor is None else _printable(actor),
        "since": since,
        "until": until,
        "after": after,
    }
    if after is not None:
        place = connection.execute(PLACE, (after,)).fetchone()
        if place is None:
            raise AccessUnknown(AccessUnknown.__doc__)
        asked["after_at"] = place[0]
    named = [condition for name, condition in CONDITIONS.items() if asked[name] is not None]
    query = sql.SQL(LIST).format(conditions=sql.SQL(" AND ").join(named or [sql.SQL("true")]))
    rows = connection.execute(query, {**asked, "limit": limit + 1}).fetchall()
    listed = [Access._make(row) for row in rows[:limit]]
    return Accesses(listed, listed[-1].access_id if len(rows) > limit else None)


def as_lines(found: Sequence[Access]) -> list[str]:
    """For a reader: when, who, what, about whom, with which further question, what for, and how it ended."""
    return [
        " ".join(
            [
                f"{each.accessed_at.isoformat(timespec='microseconds')}",
                _printable(each.actor),
                each.action,
                _printable(each.subject),
                *(f"{name}={_printable(str(value))}" for name, value in sorted(each.question.items())),
                f"for {each.purpose}:",
                str(each.status),
            ]
        )
        for each in found
    ]


def as_json(found: Accesses) -> str:
    """For a program: all that was recorded; the same bytes for the same records."""
    listed = [
        each._asdict() | {"access_id": str(each.access_id), "accessed_at": each.accessed_at.isoformat()}
        for each in found.listed
    ]
    after = None if found.next_after is None else str(found.next_after)
    return json.dumps({"accesses": listed, "next_after": after}, sort_keys=True, separators=(",", ":"))


def _printable(text: str) -> str:
    """As the API does before it records, and once more for whoever wrote past it."""
    return text if text.isprintable() else "".join(each if each.isprintable() else NOT_PRINTABLE for each in text)
