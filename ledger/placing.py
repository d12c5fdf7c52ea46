"""How far a stream was published, to which topic, and by how many partitions its keys are shared out: the outlet's memory.

1. By how many partitions a position's key is shared out is a matter of this row alone, whoever publishes it and however often:
   those up to `earlier_until` go by the earlier number, those after it by the present one. A number is written, and committed,
   before the first round by it.
2. A number changes behind all that may have arrived by the one before. Whatever was tried until then was read by somebody who
   held this row, and so lies up to the head of that moment, which `earlier_until` is; later rounds end there or begin there.
   So no position can arrive in two partitions, and none that is lower than one that has arrived where it does not belong:
   also when whoever tried it was killed, and partitions were added before the next outlet ran. It costs no writing in a round.
3. What was published is never taken to be in a topic with another id. Nothing is published there until somebody has said
   whether all is published again, or what follows.
"""

from enum import StrEnum
from typing import NamedTuple, Self

import psycopg
from psycopg.rows import TupleRow

from ledger.broker import Topic

Connection = psycopg.Connection[TupleRow]

HOLD = b"""
SELECT position, topic_id, partitions, earlier_partitions, earlier_until
FROM outlet_position
WHERE stream = %s
FOR UPDATE SKIP LOCKED
"""
LOOK = b"SELECT position FROM outlet_position WHERE stream = %s"
ADVANCE = (
    b"UPDATE outlet_position SET position = %s, published_at = clock_timestamp() WHERE stream = %s AND position = %s"
)
PUT = b"""
UPDATE outlet_position
SET position = %s, topic_id = %s, partitions = %s, earlier_partitions = %s, earlier_until = %s
WHERE stream = %s
"""


class TopicDecision(StrEnum):
    """What an operator has decided for a topic that is not the one published to so far."""

    UNDECIDED = "undecided"
    REPUBLISH = "republish"
    ACCEPT = "accept"


class TopicOther(RuntimeError):
    """Another topic than before: decide with `ledger outlet --new-topic republish` (all again) or `accept` (what follows)."""


class TopicNotEmpty(RuntimeError):
    """All is published again only into a topic that never held a message; make it anew while no outlet runs."""


class PartitionsFewer(RuntimeError):
    """The topic has fewer partitions than keys were shared out among: make it with as many as before, or more."""


class Place(NamedTuple):
    """A stream's row."""

    position: int
    topic_id: str | None
    partitions: int | None
    earlier_partitions: int | None
    earlier_until: int | None

    @classmethod
    def held(cls, connection: Connection, stream: str) -> Self | None:
        """The row, held until the transaction ends; None where another holds it."""
        row = connection.execute(HOLD, (stream,), prepare=True).fetchone()
        return None if row is None else cls(*row)

    def write(self, connection: Connection, stream: str) -> None:
        """All of it. The row is held."""
        connection.execute(PUT, (*self, stream))

    def next_round(self, head: int) -> tuple[int, int]:
        """By how many partitions the next round goes, and which position it may not pass."""
        assert self.partitions is not None, "a place in no topic"
        if self.earlier_partitions is None or self.earlier_until is None or self.position >= self.earlier_until:
            return self.partitions, head
        return self.earlier_partitions, min(head, self.earlier_until)

    def shared_by(self, partitions: int, *, head: int) -> Self:
        """The place when there are so many partitions now; itself, where none were added or a change is still under way.

        Raises PartitionsFewer.
        """
        assert self.partitions is not None, "a place in no topic"
        if partitions < self.partitions:
            raise PartitionsFewer(f"{self.partitions}, and now {partitions}: {PartitionsFewer.__doc__}")
        changes = self.earlier_until is not None and self.position < self.earlier_until
        if partitions == self.partitions or changes:
            return self
        return self._replace(partitions=partitions, earlier_partitions=self.partitions, earlier_until=head)

    def moved(self, topic: Topic, decided: TopicDecision, *, is_empty: bool, head: int) -> Self:
        """The place in another topic, as was decided. Raises TopicOther, TopicNotEmpty, PartitionsFewer."""
        if self.topic_id is None:
            return self._replace(topic_id=topic.topic_id, partitions=topic.partitions)
        match decided:
            case TopicDecision.REPUBLISH if is_empty:
                return self._replace(
                    position=0,
                    topic_id=topic.topic_id,
                    partitions=topic.partitions,
                    earlier_partitions=None,
                    earlier_until=None,
                )
            case TopicDecision.REPUBLISH:
                raise TopicNotEmpty(f"{topic.name}: {TopicNotEmpty.__doc__}")
            case TopicDecision.ACCEPT:
                # What was tried last may have arrived there, by the number that there was.
                return self._replace(topic_id=topic.topic_id).shared_by(topic.partitions, head=head)
            case TopicDecision.UNDECIDED:
                raise TopicOther(f"{topic.name}, published to up to {self.position}: {TopicOther.__doc__}")


def position_of(connection: Connection, stream: str) -> int:
    """How far it was published, whoever holds the row."""
    row = connection.execute(LOOK, (stream,), prepare=True).fetchone()
    assert row is not None, "outlet_position lacks a row"
    return int(row[0])


def advance(connection: Connection, stream: str, *, after: int, until: int) -> None:
    """A round is acknowledged. The row is held."""
    moved = connection.execute(ADVANCE, (until, stream, after), prepare=True).rowcount
    assert moved == 1, f"{stream}: the row that is held has another position"
