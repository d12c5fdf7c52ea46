"""What the projections hold, for tests to compare: every row, and readings with what is not asked left open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.facts import read_stretch
from ledger.projections.control_totals import SPANS, read_totals
from ledger.projections.statements import Page, read_statement

if TYPE_CHECKING:
    from ledger.database import Database
    from ledger.domain.events import Fact

TABLES = {
    "control_totals": ("control_total",),
    "people": ("person_identity", "person_account"),
    "statements": ("statement_line",),
}
LIVE = b"""
SELECT projection.name, projection_slot.slot, projection_slot.position
FROM projection
JOIN projection_slot ON projection_slot.name = projection.name AND projection_slot.slot = projection.live_slot
"""
COUNTED = """
SELECT coalesce(sum(lines), 0)::bigint, coalesce(sum(amount_fen) FILTER (WHERE product = 'external'), 0)::bigint
FROM control_total_{slot}
"""
PEOPLE = (
    ("person_identity", "registered_position", "SourceIdentityRegistered"),
    ("person_account", "opened_position", "AccountOpened"),
)


def rows_of(database: Database, slots: dict[str, int] | None = None) -> dict[str, list[Any]]:
    """Every row of the live slots, or of those named."""
    found: dict[str, list[Any]] = {}
    with psycopg.connect(database.admin_url) as connection:
        live: dict[str, int] = dict(connection.execute("SELECT name, live_slot FROM projection").fetchall())
        for name, tables in TABLES.items():
            for table in tables:
                query = f"SELECT * FROM {table}_{(slots or live)[name]}"  # noqa: S608 - names of our own
                found[table] = sorted(connection.execute(query.encode()).fetchall(), key=str)
    return found


def facts_of(database: Database) -> list[tuple[int, Fact]]:
    with database.connect() as connection:
        return read_stretch(connection, after=0, until=2**40).facts


def statement(database: Database, account: str, **asked: Any) -> Page:
    """A page of a statement, with what is not asked left open."""
    given = {"order": "effective", "as_of": None, "known_at": None, "seen": None, "after": None, "limit": 500}
    return read_statement(database, account, **(given | asked))


def totals(database: Database, **asked: Any) -> Any:
    return read_totals(database, **({"as_of": None, "known_at": None, "seen": None, "by_day": False} | asked))


def assert_rows_and_positions_agree(database: Database) -> dict[str, int]:
    """Each live slot holds the rows of the facts up to its position, once, and of no others; returns the positions.

    In one snapshot, so that nobody need rest.
    """
    with psycopg.connect(database.admin_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        slots = {name: (slot, at) for name, slot, at in connection.execute(LIVE)}
        facts = [Recorded(*fact) for fact in read_stretch(connection, after=0, until=2**40).facts]

        def rows(name: str, query: str) -> list[Any]:
            return connection.execute(query.format(slot=slots[name][0]).encode()).fetchall()

        known = [fact for fact in facts if fact.position <= slots["statements"][1] and fact.kind is not None]
        lines = [(fact.position, account, sum(amounts.values())) for fact in known for account, amounts in fact.lines()]
        held = rows("statements", "SELECT position, account, amount_fen FROM statement_line_{slot} ORDER BY 1, 2")
        assert held == sorted(lines)
        known = [fact for fact in facts if fact.position <= slots["people"][1]]
        for table, column, kind in PEOPLE:
            held = rows("people", f"SELECT {column} FROM {table}_{{slot}} ORDER BY 1")  # noqa: S608 - our own names
            assert held == [(fact.position,) for fact in known if type(fact.fact).__name__ == kind]
        known = [fact for fact in facts if fact.position <= slots["control_totals"][1] and fact.kind is not None]
        legs = [leg for fact in known for leg in fact.legs]
        external = sum(leg.amount_fen for leg in legs if leg.account == EXTERNAL)
        for size in SPANS:
            assert rows("control_totals", f"{COUNTED} WHERE span_size = {size}") == [(len(legs), external)]
    return {name: at for name, (_, at) in slots.items()}
