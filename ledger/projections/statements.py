"""Statements: every posting line of every account, by effective date or by position, a page at a time.

1. A line stands here once for every account whose money a fact moves; the sum of an account's lines is its balance.
2. A page belongs to one position of the journal and one date: its cursor carries both, so that later facts change
   neither the pages to come nor their balances.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal, NamedTuple

from psycopg.rows import TupleRow
from pydantic import BaseModel, ConfigDict

from ledger.database import Database
from ledger.domain.lines import Recorded
from ledger.projections.standing import NAME, Connection, incomplete, reading

STATEMENTS = "statements"
MAX_LINES = 500
Order = Literal["effective", "position"]

COPY = b"""
COPY statement_line_{slot} (position, account, effective_on, kind, amount_fen, parts, amounts_fen, reverses)
FROM STDIN
"""

OPENED = b"""
SELECT state::json ->> 'sid', state::json ->> 'product', (state::json ->> 'opened_position')::bigint
FROM memory
WHERE tag = %s
"""

# The part of an account's lines that a reading is about; `line` is an index-only scan wherever no more is asked for.
WITHIN = b"""
FROM statement_line_{slot} AS line
WHERE line.account = %(account)s AND line.position <= %(known_at)s AND line.effective_on <= %(as_of)s
"""
PARTS = (
    b"""
SELECT part, sum(fen)::bigint
"""
    + WITHIN.replace(b"AS line\n", b"AS line\nCROSS JOIN unnest(line.parts, line.amounts_fen) AS leg (part, fen)\n")
    + b"""
GROUP BY part
ORDER BY part
"""
)
BEFORE = (
    b"""
SELECT coalesce(sum(line.amount_fen), 0)::bigint
"""
    + WITHIN
    + b" AND {key} <= {after}"
)
PAGE = (
    b"""
SELECT page.position, page.effective_on, page.kind, page.amount_fen, page.parts, page.amounts_fen, page.reverses,
    event.recorded_at, event.command_id
FROM (
    SELECT *
"""
    + WITHIN
    + b""" AND {key} > {after}
    ORDER BY {key}
    LIMIT %(limit)s
) AS page
JOIN event ON event.position = page.position
ORDER BY {paged}
"""
)
KEYS: dict[str, tuple[bytes, bytes, bytes]] = {
    "effective": (
        b"(line.effective_on, line.position)",
        b"(%(after_date)s::date, %(after)s::bigint)",
        b"page.effective_on, page.position",
    ),
    "position": (b"line.position", b"%(after)s::bigint", b"page.position"),
}


class AccountUnknown(LookupError):
    """No account of this id was opened, or not by the position asked for."""


class Cursor(NamedTuple):
    """Where a page ended, and what it was a page of."""

    order: Order
    known_at: int
    as_of: date | None
    effective_on: date
    position: int


class StatementLine(BaseModel):
    """One line; `balance_fen` is the account's balance after it, in the statement's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position: int
    effective_on: date
    recorded_at: str
    kind: str
    amounts_fen: dict[str, int]
    amount_fen: int
    balance_fen: int
    reverses: int | None
    command_id: str


class Statement(BaseModel):
    """A page of an account's statement, as known at a position and as of a date.

    `balance_fen` and `balances_fen` are of the whole statement, not of the page. `missing` names positions of facts
    about this account that the projection could not take: the numbers are without them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    sid: str
    product: str
    known_at: int
    as_of: date | None
    order: Order
    balance_fen: int
    balances_fen: dict[str, int]
    lines: list[StatementLine]
    missing: list[int]


class Page(NamedTuple):
    """A statement's page, and the cursor of the next one, if there is one."""

    statement: Statement
    following: Cursor | None


class Statements:
    """The projection that keeps the lines."""

    name = STATEMENTS
    tables = ("statement_line",)

    def apply(self, connection: Connection, slot: int, facts: Sequence[Recorded]) -> None:
        """Add the lines of these facts."""
        rows = [row for recorded in facts if recorded.kind is not None for row in _rows(recorded)]
        if rows:
            with connection.cursor().copy(_of(COPY, slot)) as copy:
                copy.write("".join(rows))


def _rows(recorded: Recorded) -> list[str]:
    """The lines of a fact in COPY's text format; ids, parts and kinds hold no character that means something in it."""
    day, reverses = recorded.fact.effective_on.isoformat(), recorded.reverses
    end = "\\N\n" if reverses is None else f"{reverses}\n"
    return [
        f"{recorded.position}\t{account}\t{day}\t{recorded.kind}\t{sum(amounts.values())}\t"
        f"{{{','.join(amounts)}}}\t{{{','.join(map(str, amounts.values()))}}}\t{end}"
        for account, amounts in recorded.lines()
    ]


def _of(statement: bytes, slot: int) -> bytes:
    return statement.replace(b"{slot}", b"%d" % slot)


def read_statement(  # noqa: PLR0913 - what a statement can be asked for
    database: Database,
    account: str,
    *,
    order: Order,
    as_of: date | None,
    known_at: int | None,
    seen: int | None,
    after: Cursor | None,
    limit: int,
) -> Page:
    """A page of the lines of an account; with `after`, the page that follows, whatever else is given.

    Raises AccountUnknown, PositionNotRecorded and ProjectionBehind.
    """
    if after is not None:
        order, as_of, known_at = after.order, after.as_of, after.known_at
    opened = _opened(database, account, known_at)
    # An account that was opened a moment ago is not unknown because the projection has not come to it.
    seen = max(seen or 0, opened.position)
    with reading(database, STATEMENTS, known_at=known_at, seen=seen) as (connection, at):
        known_at = at.position if known_at is None else known_at
        key, bound, paged = KEYS[order]
        asked: dict[str, Any] = {
            "account": account,
            "known_at": known_at,
            "as_of": as_of or date.max,
            "after_date": after.effective_on if after else date.min,
            "after": after.position if after else 0,
            "limit": min(limit, MAX_LINES) + 1,
        }
        parts = dict(connection.execute(_of(PARTS, at.slot), asked, prepare=True).fetchall())
        balance = 0
        if after is not None:
            before = _of(BEFORE, at.slot).replace(b"{key}", key).replace(b"{after}", bound)
            balance = _one(connection, before, asked)
        page = _of(PAGE, at.slot).replace(b"{key}", key).replace(b"{after}", bound).replace(b"{paged}", paged)
        rows = connection.execute(page, asked, prepare=True).fetchall()
        missing = incomplete(connection, STATEMENTS, at, tags=[f"account:{account}"], until=known_at)
    lines = _lines(rows[: min(limit, MAX_LINES)], balance)
    statement = Statement(
        account=account,
        sid=opened.sid,
        product=opened.product,
        known_at=known_at,
        as_of=as_of,
        order=order,
        balance_fen=sum(parts.values()),
        balances_fen=parts,
        lines=lines,
        missing=missing,
    )
    last = lines[-1] if len(rows) > len(lines) else None
    return Page(statement, Cursor(order, known_at, as_of, last.effective_on, last.position) if last else None)


def _lines(rows: Sequence[TupleRow], balance_fen: int) -> list[StatementLine]:
    lines: list[StatementLine] = []
    for position, effective_on, kind, fen, names, fens, reverses, recorded_at, command_id in rows:
        balance_fen += fen
        lines.append(
            StatementLine(
                position=position,
                effective_on=effective_on,
                recorded_at=recorded_at.isoformat(),
                kind=kind,
                amounts_fen=dict(zip(names, fens, strict=True)),
                amount_fen=fen,
                balance_fen=balance_fen,
                reverses=reverses,
                command_id=command_id,
            )
        )
    return lines


class _Opened(NamedTuple):
    """Whose account it is, of which product, and the position of its opening."""

    sid: str
    product: str
    position: int


def _opened(database: Database, account: str, known_at: int | None) -> _Opened:
    """Raises AccountUnknown."""
    if not NAME.fullmatch(account):
        raise AccountUnknown(account)
    with database.connection() as connection:
        row = connection.execute(OPENED, ("account:" + account,), prepare=True).fetchone()
    if row is None or (known_at is not None and row[2] > known_at):
        raise AccountUnknown(account)
    return _Opened(*row)


def _one(connection: Connection, statement: bytes, asked: dict[str, Any]) -> int:
    row = connection.execute(statement, asked, prepare=True).fetchone()
    assert row is not None
    return int(row[0])
