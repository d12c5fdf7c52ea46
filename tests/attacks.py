"""Journals to attack, and a superuser who attacks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from ledger.database import Database

# As an application could: under the head lock, in order, at the database's clock.
FILL = """
DO $body$
DECLARE
    after bigint;
    stretch CONSTANT integer := least(10000, {facts});
BEGIN
    FOR number IN 1..ceil({facts}::numeric / stretch) LOOP
        SELECT size INTO after FROM head FOR UPDATE;
        UPDATE head SET size = after + stretch, recorded_at = greatest(recorded_at, clock_timestamp());
        INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor)
        SELECT
            after + step, 'Recorded', convert_to('{{"step":' || step || '}}', 'UTF8'), ARRAY['thing:' || step],
            '2027-01-31', head.recorded_at, 'filler/' || after + step, 'system:filler'
        FROM head, generate_series(1, stretch) AS step;
    END LOOP;
END
$body$
"""


def fill(database: Database, facts: int) -> None:
    """So many plain events in the journal; above 10,000 in tens of thousands."""
    with database.connect() as connection:
        connection.execute(FILL.format(facts=facts).encode())


def as_superuser(database: Database, *statements: str) -> None:
    """With every guard switched off meanwhile, which no guard can prevent."""
    with past_all_guards(database) as connection:
        for statement in statements:
            connection.execute(statement.encode())
