"""The event store: one append-only log with gapless positions, and the one door to the `eventsourcing` library.

1. Positions run 1..n without a gap, in commit order: every append locks the head row first and raises it.
2. A reader never sees a position before all lower ones are visible; so following by position misses nothing.
3. The journal is a `DCBRecorder` and this module a persistence module of the library: PERSISTENCE_MODULE=ledger.journal.
4. NOTIFY is a hint only. A subscription also polls, and survives the loss of its connections.

Locking: `locked` takes the head row FOR UPDATE in a statement of its own; size and clock are read by the next, so both
are those of the moment after the wait. The lock ends with the transaction.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import psycopg
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.dcb.persistence import DCBInfrastructureFactory, DCBListenNotifySubscription
from eventsourcing.dcb.popo import SimpleDCBReadResponse
from eventsourcing.persistence import IntegrityError, ProgrammingError, TrackingRecorder
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from ledger.database import CONNECTION_WAIT_S, Database, open_database
from ledger.domain.calendar import beijing_date
from ledger.domain.events import FACTS, Fact, encode_lines
from ledger.settings import Settings, variable_name

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]

CHANNEL = "ledger_journal"
# Between the items of a column, and between the tags of one item, on the way to the server.
ITEM = "\x1e"
WITHIN = "\x1f"
POLL_S = 1.0
RECONNECT_S = 0.2
# Control characters, and halves of a character, which no UTF-8 can spell.
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
MAX_TEXT_CHARACTERS = 512
MAX_LEAF_BYTES = 65_535
# Of a leaf's other lines: version, position, number of tags, days, command id, actor and the digest of the data.
LEAF_FRAME_BYTES = 512

# One simple query: the transaction begins and waits for the head in one round trip.
BEGIN_AND_LOCK = b"BEGIN; SELECT FROM head FOR UPDATE"

# Read after the lock, in a statement of its own, so that size and clock are those of the moment after the wait.
READ_HEAD = b"SELECT size, greatest(clock_timestamp(), recorded_at) FROM head"

# What an append writes, as the parts of a WITH list: several can share one statement.
APPEND = rb"""
raised AS (
    UPDATE head
    SET size = %(size)s, recorded_at = %(recorded_at)s
), recorded AS (
    INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor)
    SELECT
        %(after)s + ordinality,
        type,
        {data},
        coalesce(string_to_array(tags, E'\x1f'), '{{}}'),
        effective_on,
        %(recorded_at)s,
        command_id,
        actor
    FROM unnest(
        string_to_array(%(types)s, E'\x1e'),
        string_to_array(%(datas)s, E'\n'),
        string_to_array(%(tags)s, E'\x1e'),
        string_to_array(%(effective_on)s, ';')::date[],
        string_to_array(%(command_ids)s, E'\x1e'),
        string_to_array(%(actors)s, E'\x1e')
    ) WITH ORDINALITY AS fact (type, data, tags, effective_on, command_id, actor, ordinality)
), tagged AS (
    INSERT INTO event_tag (tag, position)
    SELECT tag, position
    FROM unnest(
        string_to_array(%(tag)s, E'\x1e'),
        string_to_array(%(tagged)s, ';')::bigint[]
    ) AS mention (tag, position)
), answered AS (
    INSERT INTO command (command_id, digest, first_position, last_position, refusal, received_at)
    SELECT
        command_id,
        substr(%(digests)s, (ordinality * 32 - 31)::int, 32),
        first_position,
        last_position,
        refusal,
        %(recorded_at)s
    FROM unnest(
        string_to_array(%(received)s, E'\x1e'),
        string_to_array(%(first)s, ';', '')::bigint[],
        string_to_array(%(last)s, ';', '')::bigint[],
        string_to_array(%(refusals)s, E'\x1e', '')::jsonb[]
    ) WITH ORDINALITY AS answer (command_id, first_position, last_position, refusal, ordinality)
)
"""
APPEND_JSON = APPEND.replace(b"{data}", b"convert_to(data, 'UTF8')").replace(b"{{}}", b"{}")
# The only event of an append without any data arrives as an empty list, whose one item is then NULL.
APPEND_BYTES = APPEND.replace(b"{data}", b"coalesce(decode(data, 'hex'), '')").replace(b"{{}}", b"{}")

# NOTIFY as an expression, so that it can stand in the statement that writes.
WAKE = f"pg_notify('{CHANNEL}', '')".encode()
APPEND_PLAIN = b"WITH " + APPEND_BYTES + b"SELECT " + WAKE

READ_AT = b"""
SELECT position, type, data
FROM event
WHERE position = ANY (string_to_array(%s, ';')::bigint[])
"""

READ_ALL = b"""
SELECT position, type, data, tags
FROM event
WHERE position > %(after)s
ORDER BY position
LIMIT %(limit)s
"""

# One item is answered by its tags' index entries, or where it names no tags by a scan in order.
READ_MATCHING = b"""
SELECT position, type, data, tags
FROM event
WHERE position > %(after)s AND {matches}
ORDER BY position
LIMIT %(limit)s
"""

# Several items are answered one by one: were they joined by OR, no index could be used, and all would be scanned.
READ_MATCHING_ANY = b"""
SELECT position, type, data, tags
FROM event
WHERE position = ANY (ARRAY(
    SELECT position
    FROM ({matching}) AS found
    ORDER BY position
    LIMIT %(limit)s
))
ORDER BY position
"""
MATCHING = b"""(
SELECT position
FROM event
WHERE position > %(after)s AND {matches}
ORDER BY position
LIMIT %(limit)s
)"""
NO_LIMIT = 2**62


class Rows:
    """What one append writes: facts with their tags and their commands, and the rows of the commands answered."""

    __slots__ = ("actors", "command_ids", "digests", "facts", "first", "last", "received", "refusals", "tags")

    def __init__(self) -> None:
        """Start empty."""
        self.facts: list[Fact] = []
        self.tags: list[list[str]] = []
        self.command_ids: list[str] = []
        self.actors: list[str] = []
        self.received: list[str] = []
        self.digests: list[bytes] = []
        self.first: list[str] = []
        self.last: list[str] = []
        self.refusals: list[str] = []

    def add_fact(self, fact: Fact, tags: list[str], command_id: str, actor: str) -> None:
        """One fact of a command. No tag may stand twice."""
        self.facts.append(fact)
        self.tags.append(tags)
        self.command_ids.append(command_id)
        self.actors.append(actor)

    def add_answer(
        self, command_id: str, digest: bytes, first: int | None, last: int | None, refusal: str = ""
    ) -> None:
        """The row of a command: its positions, or its refusal as JSON text, or neither where nothing was to record."""
        self.received.append(command_id)
        self.digests.append(digest)
        self.first.append("" if first is None else str(first))
        self.last.append("" if last is None else str(last))
        self.refusals.append(refusal)


class AppendRefused(ValueError):
    """An event cannot be stored as it is."""

    def __init__(self, text: str) -> None:
        """Say what an event must be, and where this one is not."""
        super().__init__(
            "An event cannot be stored as it is: type and tags must be of 1 to 512 characters, no control characters, "
            f"and fit one leaf; a type may not be a fact of the ledger, which only a decision records: {text[:80]!a}"
        )


@contextmanager
def locked(connection: Connection) -> Iterator[None]:
    """A transaction that holds the head row: committed at the end, rolled back on an error."""
    connection.autocommit = True  # BEGIN and COMMIT are ours: the first travels with the lock.
    try:
        connection.execute(BEGIN_AND_LOCK)
        yield
        connection.execute(b"COMMIT")
    finally:
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            connection.close()  # An interrupt cut in while it waited: it takes no rollback, and closing is one.
        if not connection.closed:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.rollback()
            connection.autocommit = False


def arguments(rows: Rows, *, after: int, recorded_at: datetime) -> dict[str, Any]:
    """What APPEND_JSON takes: the facts at positions after+1.., their tags, and the commands' rows.

    One text for each column, its items parted by control characters, is what travels: psycopg takes several times as
    long to dump lists, and no type, tag, id or JSON text contains one.
    """
    return _arguments(
        after=after,
        recorded_at=recorded_at,
        types=[fact.__class__.__name__ for fact in rows.facts],
        datas=encode_lines(rows.facts),
        tags=rows.tags,
        effective_on=[fact.effective_on.isoformat() for fact in rows.facts],
        command_ids=rows.command_ids,
        actors=rows.actors,
    ) | {
        "received": ITEM.join(rows.received),
        "digests": b"".join(rows.digests),
        "first": ";".join(rows.first),
        "last": ";".join(rows.last),
        "refusals": ITEM.join(rows.refusals),
    }


def _arguments(  # noqa: PLR0913 - a row has this many columns
    *,
    after: int,
    recorded_at: datetime,
    types: Sequence[str],
    datas: str,
    tags: Sequence[Sequence[str]],
    effective_on: Sequence[str],
    command_ids: Sequence[str],
    actors: Sequence[str],
) -> dict[str, Any]:
    return {
        "size": after + len(types),
        "recorded_at": recorded_at,
        "after": after,
        "types": ITEM.join(types),
        "datas": datas,
        "tags": ITEM.join([its[0] if len(its) == 1 else WITHIN.join(its) for its in tags]),
        "effective_on": ";".join(effective_on),
        "command_ids": ITEM.join(command_ids),
        "actors": ITEM.join(actors),
        "tag": ITEM.join([tag for its in tags for tag in its]),
        "tagged": ";".join([str(position) for position, its in enumerate(tags, after + 1) for _ in its]),
    }


def _plain_arguments(events: Sequence[DCBEvent], *, after: int, recorded_at: datetime) -> dict[str, Any]:
    """What APPEND_BYTES takes for plain events, which have no command: the further columns get honest defaults."""
    return _arguments(
        after=after,
        recorded_at=recorded_at,
        types=[event.type for event in events],
        datas="\n".join([event.data.hex() for event in events]),
        tags=[list(dict.fromkeys(event.tags)) for event in events],
        effective_on=[beijing_date(recorded_at).isoformat()] * len(events),
        command_ids=[f"recorder/{position}" for position in range(after + 1, after + len(events) + 1)],
        actors=["system:recorder"] * len(events),
    ) | {"received": "", "digests": b"", "first": "", "last": "", "refusals": ""}


def facts_at(connection: Connection, positions: Iterable[int]) -> Cursor:
    """Ask for type and data at these positions; the cursor's rows are (position, type, data)."""
    return connection.execute(READ_AT, (";".join(map(str, positions)),), prepare=True)


class Journal(DCBRecorder):
    """The journal under the library's interface. Its plain events get honest defaults for our further columns."""

    def __init__(self, database: Database, *, wait_s: float = CONNECTION_WAIT_S) -> None:
        """Read and append through the database's pool, and wait that long at most for a connection."""
        self.database = database
        self._wait_s = wait_s

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        """Events in position order. `head` is the journal's end, or with a limit the last position given."""
        with self.database.connection(wait_s=self._wait_s) as connection, connection.pipeline():
            # The head is read first: an event that comes in between is then given, never skipped.
            size = connection.execute(b"SELECT size FROM head", prepare=True)
            rows = _select(connection, query, after=after or 0, limit=limit).fetchall()
            row = size.fetchone()
        events = [_sequenced(found) for found in rows]
        last = events[-1].position if events else None
        head = last if limit is not None else max(row[0] if row else 0, last or 0) or None
        return SimpleDCBReadResponse(iter(events), head)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Append all events at once and return the last position. Raises the library's IntegrityError."""
        if not events:
            message = "there must be at least one event to append"
            raise ProgrammingError(message)
        for event in events:
            _check_storable(event)
        with self.database.connection(wait_s=self._wait_s) as connection, locked(connection):
            row = connection.execute(READ_HEAD, prepare=True).fetchone()
            assert row is not None
            size, now = row
            if condition is not None:
                query, after = condition.fail_if_events_match, condition.after or 0
                if _select(connection, query, after=after, limit=1).fetchone() is not None:
                    raise IntegrityError(condition)
            connection.execute(APPEND_PLAIN, _plain_arguments(events, after=size, recorded_at=now), prepare=True)
        return int(size) + len(events)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> "JournalSubscription":
        """Follow the journal from a position; blocks at its end and goes on when more is appended."""
        return JournalSubscription(self, query=query, after=after)


def _check_storable(event: DCBEvent) -> None:
    leaf_bytes = LEAF_FRAME_BYTES
    for text in (event.type, *event.tags):
        if not 0 < len(text) <= MAX_TEXT_CHARACTERS or UNSTORABLE.search(text):
            raise AppendRefused(text)
        leaf_bytes += len(text.encode()) + 1
    if leaf_bytes > MAX_LEAF_BYTES or event.type in FACTS:
        raise AppendRefused(event.type)


def _select(connection: Connection, query: DCBQuery | None, *, after: int, limit: int | None) -> Cursor:
    arguments: dict[str, Any] = {"after": after, "limit": NO_LIMIT if limit is None else limit}
    if query is None or not query.items:
        return connection.execute(READ_ALL, arguments, prepare=True)
    matches = [_match(item, number, arguments) for number, item in enumerate(query.items)]
    if len(matches) == 1:
        statement = READ_MATCHING.replace(b"{matches}", matches[0])
    else:
        matching = b" UNION ".join(MATCHING.replace(b"{matches}", match) for match in matches)
        statement = READ_MATCHING_ANY.replace(b"{matching}", matching)
    return connection.execute(statement, arguments, binary=False)


def _match(item: DCBQueryItem, number: int, arguments: dict[str, Any]) -> bytes:
    """The condition of one query item: one of its types, if any are named, and all of its tags."""
    if any(UNSTORABLE.search(tag) for tag in item.tags):
        return b"false"  # No event has such a tag, and the server could not even be asked for it.
    parts: list[str] = []
    if item.types:
        arguments[f"types{number}"] = [name for name in item.types if not UNSTORABLE.search(name)]
        parts.append(f"type = ANY (%(types{number})s)")
    for tag_number, tag in enumerate(item.tags):
        arguments[f"tag{number}_{tag_number}"] = tag
        parts.append(
            "position IN (SELECT position FROM event_tag "  # noqa: S608 - what is put in are numbers
            f"WHERE tag = %(tag{number}_{tag_number})s AND position > %(after)s)"
        )
    return ("(" + (" AND ".join(parts) or "true") + ")").encode()


def _sequenced(row: TupleRow) -> DCBSequencedEvent:
    position, type_name, data, tags = row
    return DCBSequencedEvent(event=DCBEvent(type=type_name, data=bytes(data), tags=tags), position=position)


class JournalSubscription(DCBListenNotifySubscription[Journal]):
    """Follows by position. Listening only shortens the wait: whatever befalls its connections, it polls and goes on."""

    def __init__(self, recorder: Journal, query: DCBQuery | None = None, after: int | None = None) -> None:
        """Start to pull and to listen."""
        # Reading is tried again anyway; waiting long for a connection would only keep `stop` waiting too.
        impatient = Journal(recorder.database, wait_s=POLL_S)
        super().__init__(recorder=impatient, query=query, after=after)
        self._listening = threading.Thread(target=self._listen, name="journal-listen", daemon=True)
        self._listening.start()

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        """Stop both threads and wait for them."""
        super().__exit__(*args, **kwargs)
        self._listening.join()

    def _pull(self) -> None:
        """Read on from the last position; a lost connection is tried again, until the subscription is stopped."""
        while not self._has_been_stopped:
            try:
                super()._pull()
            except psycopg.OperationalError:
                threading.Event().wait(RECONNECT_S)
            else:
                return

    def _listen(self) -> None:
        while not self._has_been_stopped:
            try:
                with self._recorder.database.connect(autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    self._has_been_notified.set()
                    while not self._has_been_stopped:
                        for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                            pass
                        self._has_been_notified.set()
            except psycopg.OperationalError:
                self._has_been_notified.set()
                threading.Event().wait(RECONNECT_S)


class Factory(DCBInfrastructureFactory[TrackingRecorder]):
    """What the library looks for in a persistence module. Settings come from the application's environment."""

    def dcb_recorder(self) -> DCBRecorder:
        """The journal of the database that the `LEDGER_` settings name, opened on first use."""
        if not hasattr(self, "_journal"):
            names = {variable_name(field): field for field in Settings.model_fields}
            given = {field: value for name, field in names.items() if (value := self.env.get(name))}
            self._opened = ExitStack()
            self._journal = Journal(self._opened.enter_context(open_database(Settings.model_validate(given))))
        return self._journal

    def close(self) -> None:
        """Close the database, and stop our own server if nobody else uses it."""
        if hasattr(self, "_journal"):
            self._opened.close()
            del self._journal
        super().close()
