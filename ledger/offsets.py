"""How far the intake has come in each partition, and the messages that it refused: written with what came of the rest.

1. An offset moves in the transaction of the facts, or not at all.
2. It moves only from where the writer believes it, under the writer's own claim: whoever lost the partition writes nothing.
3. Refused messages are numbered without gaps: whoever numbers holds the journal's head.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.broker import Topic
from ledger.messages import Kept, Message

Connection = psycopg.Connection[TupleRow]

MAX_MOMENT_MS = 4_102_444_800_000  # The year 2100: later timestamps of messages, and those before 1970, are not kept.

CLAIM = b"""
INSERT INTO intake_offset AS taken (topic, topic_id, partition, next_offset, end_offset, claim, member, seen_at)
VALUES (%s, %s, %s, 0, 0, 1, %s, clock_timestamp())
ON CONFLICT (topic, topic_id, partition) DO UPDATE
SET claim = taken.claim + 1, member = EXCLUDED.member, seen_at = clock_timestamp()
RETURNING claim, next_offset
"""

MOVE = b"""
UPDATE intake_offset
SET next_offset = moved.until, end_offset = greatest(moved.ends, moved.until), seen_at = clock_timestamp()
FROM unnest(
    string_to_array(%(partitions)s, ';')::int[],
    string_to_array(%(claims)s, ';')::bigint[],
    string_to_array(%(after)s, ';')::bigint[],
    string_to_array(%(until)s, ';')::bigint[],
    string_to_array(%(ends)s, ';')::bigint[]
) AS moved (partition, claim, after, until, ends)
WHERE
    intake_offset.topic = %(topic)s
    AND intake_offset.topic_id = %(topic_id)s
    AND intake_offset.partition = moved.partition
    AND intake_offset.claim = moved.claim
    AND intake_offset.next_offset = moved.after
"""

SKIP = b"""
UPDATE intake_offset
SET next_offset = %s, seen_at = clock_timestamp()
WHERE topic = %s AND topic_id = %s AND partition = %s AND claim = %s AND next_offset = %s
"""

LAST_NUMBER = b"SELECT coalesce(max(number), 0) FROM refused_message"

KEEP = b"""
COPY refused_message (
    number, topic, topic_id, partition, message_offset, item, produced_at, key, value, signature, command_id, code, sentence,
    detail
)
FROM STDIN
"""


class Fenced(RuntimeError):
    """Another intake has taken the partition: nothing was recorded."""


class Claim(NamedTuple):
    """A partition that an intake took, and the offset it reads next."""

    partition: int
    claim: int
    next_offset: int


class Move(NamedTuple):
    """From where to where a batch moves one partition, whose end was last seen at `ends`."""

    partition: int
    claim: int
    after: int
    until: int
    ends: int


def take(connection: Connection, topic: Topic, partition: int, member: str) -> tuple[int, int]:
    """Claim a partition, in a transaction of its own: whoever read it before writes nothing more. Claim and next offset."""
    row = connection.execute(CLAIM, (topic.name, topic.topic_id, partition, member)).fetchone()
    assert row is not None
    claim, next_offset = row
    return claim, next_offset


def move(connection: Connection, topic: Topic, moves: Sequence[Move]) -> None:
    """Move all partitions of a batch. Raises Fenced."""
    asked = {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "partitions": ";".join(str(each.partition) for each in moves),
        "claims": ";".join(str(each.claim) for each in moves),
        "after": ";".join(str(each.after) for each in moves),
        "until": ";".join(str(each.until) for each in moves),
        "ends": ";".join(str(each.ends) for each in moves),
    }
    if connection.execute(MOVE, asked, prepare=True).rowcount != len(moves):
        raise Fenced(Fenced.__doc__)


def skip(connection: Connection, topic: Topic, claim: Claim, *, to: int) -> None:
    """Go on at a later offset, because what lay before it is lost. Raises Fenced."""
    where = (topic.name, topic.topic_id, claim.partition, claim.claim, claim.next_offset)
    if connection.execute(SKIP, (to, *where)).rowcount != 1:
        raise Fenced(Fenced.__doc__)


def keep(connection: Connection, topic: Topic, refused: Sequence[tuple[Message, Kept]]) -> None:
    """Keep what was refused, in this order, numbered on. Under the lock of the journal's head."""
    row = connection.execute(LAST_NUMBER).fetchone()
    assert row is not None
    with connection.cursor().copy(KEEP) as copy:
        for number, (message, kept) in enumerate(refused, row[0] + 1):
            copy.write_row(
                (
                    number,
                    topic.name,
                    topic.topic_id,
                    message.partition,
                    message.offset,
                    kept.item,
                    _moment(message.produced_at_ms),
                    message.key,
                    kept.value,
                    message.signature,
                    kept.command_id,
                    kept.code,
                    kept.sentence,
                    Jsonb(kept.detail),
                )
            )


def _moment(moment_ms: int) -> datetime | None:
    if not 0 <= moment_ms < MAX_MOMENT_MS:
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment_ms)
