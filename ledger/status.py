"""The state of the ledger in numbers: head, seals, projections and their lag, refusals by code; for operators and metrics."""

from datetime import datetime
from typing import NamedTuple

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


class ProjectionState(NamedTuple):
    """Where a projection stands; `rebuilding` is the position of a rebuild that goes on aside."""

    name: str
    position: int
    lag: int
    lag_s: float
    dead_letters: int
    halted: str | None
    rebuilding: int | None


class Status(NamedTuple):
    """The ledger at one moment; where nothing was ever sealed, `sealed` is 0 and all facts wait."""

    head: int
    recorded_at: datetime
    sealed: int
    seal_lag: int
    seal_lag_s: float
    database: str
    server_version: str
    projections: list[ProjectionState]
    refusals: dict[str, int]


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
    )
