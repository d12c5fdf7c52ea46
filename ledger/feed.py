"""The event feed: stored events from a position on, for systems that follow the ledger.

Positions have no gaps: who asks again after the last position given misses nothing and gets nothing twice.
"""

from datetime import date, datetime
from typing import NamedTuple

from ledger.database import Database
from ledger.facts import head
from ledger.projections.standing import PositionNotRecorded

MAX_EVENTS = 1_000

READ = b"""
SELECT position, type, effective_on, recorded_at, command_id, actor, tags, data
FROM event
WHERE position > %(after)s AND position <= %(until)s
ORDER BY position
"""


class Stored(NamedTuple):
    """An event as the journal holds it; `data` is JSON for every fact, and any bytes for events of the plain recorder."""

    position: int
    type: str
    effective_on: date
    recorded_at: datetime
    command_id: str
    actor: str
    tags: list[str]
    data: bytes


class Feed(NamedTuple):
    """The next events, and where the journal ended when they were read."""

    head: int
    events: list[Stored]


def read_feed(database: Database, *, after: int, limit: int) -> Feed:
    """At most so many events after a position, in order; none at the journal's end.

    Raises PositionNotRecorded for a position beyond that: who follows has seen what this journal does not hold.
    """
    with database.connection() as connection:
        size = head(connection)
        if after > size:
            raise PositionNotRecorded(asked=after, head=size)
        until = min(size, after + min(limit, MAX_EVENTS))
        rows = connection.execute(READ, {"after": after, "until": until}, prepare=True)
        return Feed(size, [Stored._make(row)._replace(data=bytes(row[7])) for row in rows])
