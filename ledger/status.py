"""The state of the ledger in numbers, for operators and metrics: head, seals, projections, refusals, and the ways over Kafka."""

from datetime import datetime
from typing import Any, NamedTuple

from ledger.database import Database

# Who asks whether the ledger is well wants to know soon.
CONNECTION_WAIT_S = 2.0

HEAD = b"SELECT size, recorded_at, clock_timestamp() FROM head"

# The last position sealed, and the age of the first fact that is not: of the first fact of all, before any checkpoint.
SEALED = b"""
SELECT
    sealed.size,
    coalesce(
        extract(epoch FROM clock_timestamp() - (SELECT recorded_at FROM event WHERE event.position = sealed.size + 1)), 0
    )::float8
FROM (SELECT coalesce(max(size), 0) AS size FROM checkpoint) AS sealed
"""

# The lag in time is the age of the first fact that the projection has not taken.
PROJECTIONS = b"""
SELECT
    projection.name,
    slot.position,
    slot.halted,
    (SELECT count(*) FROM dead_letter WHERE dead_letter.name = slot.name AND dead_letter.slot = slot.slot),
    coalesce(
        extract(epoch FROM clock_timestamp() - (SELECT recorded_at FROM event WHERE event.position = slot.position + 1)), 0
    )::float8,
    aside.position
FROM projection
JOIN projection_slot AS slot ON slot.name = projection.name AND slot.slot = projection.live_slot
JOIN projection_slot AS aside ON aside.name = projection.name AND aside.slot <> projection.live_slot
ORDER BY projection.name
"""

HALTED = b"""
SELECT projection.name, projection_slot.halted
FROM projection
JOIN projection_slot ON projection_slot.name = projection.name AND projection_slot.slot = projection.live_slot
WHERE projection_slot.halted IS NOT NULL
ORDER BY projection.name
"""

# Served by the index on the refusals alone, however many commands were accepted.
REFUSALS = b"""
SELECT refusal ->> 'code', count(*)
FROM command
WHERE refusal IS NOT NULL
GROUP BY 1
ORDER BY 2 DESC, 1
"""

# Of a topic that was made anew the later one counts. Where lost messages were passed over the end may not have been seen since.
INTAKE = b"""
SELECT topic, partition, next_offset, end_offset, greatest(0, end_offset - next_offset), member, seen_at
FROM intake_offset
WHERE (topic, topic_id) IN (
    SELECT DISTINCT ON (topic) topic, topic_id FROM intake_offset ORDER BY topic, seen_at DESC
)
ORDER BY topic, partition
"""

# Nothing where Kafka was never used: then nothing waits to be published.
OUTLET = b"""
WITH stream AS (
    SELECT
        outlet_position.stream,
        outlet_position.position,
        outlet_position.published_at,
        CASE outlet_position.stream
            WHEN 'events' THEN (SELECT size FROM head)
            ELSE (SELECT coalesce(max(number), 0) FROM refused_message)
        END AS head,
        CASE outlet_position.stream
            WHEN 'events' THEN (SELECT recorded_at FROM event WHERE event.position = outlet_position.position + 1)
            ELSE (SELECT refused_at FROM refused_message WHERE number = outlet_position.position + 1)
        END AS waits_since
    FROM outlet_position
)
SELECT
    stream,
    position,
    head - position,
    coalesce(extract(epoch FROM clock_timestamp() - waits_since), 0)::float8,
    CASE WHEN position > 0 THEN published_at END
FROM stream
WHERE EXISTS (SELECT FROM intake_offset) OR EXISTS (SELECT FROM stream WHERE position > 0)
ORDER BY stream
"""

# Served by the index on the codes alone.
REFUSED_MESSAGES = b"SELECT code, count(*) FROM refused_message GROUP BY code ORDER BY 2 DESC, 1"


class ProjectionState(NamedTuple):
    """Where a projection stands; `rebuilding` is the position of a rebuild that goes on aside."""

    name: str
    position: int
    lag: int
    lag_s: float
    dead_letters: int
    halted: str | None
    rebuilding: int | None


class PartitionState(NamedTuple):
    """How far commands of a partition are recorded, and where it ended when an intake saw that last."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    lag: int
    member: str
    seen_at: datetime


class StreamState(NamedTuple):
    """How far facts or refused messages are published; `published_at` is None before the first."""

    stream: str
    position: int
    lag: int
    lag_s: float
    published_at: datetime | None


class Status(NamedTuple):
    """The ledger at one moment; where nothing was ever sealed, `sealed` is 0 and all facts wait.

    `intake` and `outlet` are empty where Kafka was never used.
    """

    head: int
    recorded_at: datetime
    sealed: int
    seal_lag: int
    seal_lag_s: float
    database: str
    server_version: str
    projections: list[ProjectionState]
    refusals: dict[str, int]
    intake: list[PartitionState]
    outlet: list[StreamState]
    refused_messages: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """As objects and arrays, moments in ISO 8601."""
        rows = {name: [_spelled(each) for each in getattr(self, name)] for name in ("projections", "intake", "outlet")}
        return _spelled(self) | rows


def _spelled(row: Any) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row._asdict().items()}


def halted_projections(database: Database) -> list[str]:
    """A sentence for every projection that has halted; none where all take facts. Asks for nothing that grows."""
    with database.connection(wait_s=CONNECTION_WAIT_S) as connection:
        return [f"{name} has halted: {why}" for name, why in connection.execute(HALTED, prepare=True)]


def read_status(database: Database) -> Status:
    """Read it all in one snapshot."""
    with database.connection(wait_s=CONNECTION_WAIT_S) as connection:
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute(HEAD, prepare=True).fetchone()
        assert row is not None
        sealed = connection.execute(SEALED, prepare=True).fetchone()
        assert sealed is not None
        projections = connection.execute(PROJECTIONS, prepare=True).fetchall()
        refusals = connection.execute(REFUSALS, prepare=True).fetchall()
        intake = connection.execute(INTAKE, prepare=True).fetchall()
        outlet = connection.execute(OUTLET, prepare=True).fetchall()
        refused_messages = connection.execute(REFUSED_MESSAGES, prepare=True).fetchall()
        version = connection.info.parameter_status("server_version")
    return Status(
        head=row[0],
        recorded_at=row[1],
        sealed=sealed[0],
        seal_lag=row[0] - sealed[0],
        seal_lag_s=sealed[1],
        database="embedded" if database.embedded else "external",
        server_version=version or "unknown",
        projections=[
            ProjectionState(name, position, row[0] - position, lag_s, dead_letters, halted, rebuilding)
            for name, position, halted, dead_letters, lag_s, rebuilding in projections
        ],
        refusals=dict(refusals),
        intake=[PartitionState(*each) for each in intake],
        outlet=[StreamState(*each) for each in outlet],
        refused_messages=dict(refused_messages),
    )
