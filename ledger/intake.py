"""The way in over Kafka: reads commands from a topic, posts them in batches, and keeps its offsets with what came of them.

1. What came of a message and the offset behind it are one transaction. Killed anywhere, the intake goes on where the journal is.
2. Who lost a partition writes nothing more into it: the next owner's claim fences it, whatever either of them believes.
3. Messages of a partition, and so of a key, are decided in their order; the commands of a message stay together.
4. What cannot be read or is refused is kept as it came, with the reason, in that same transaction.
5. Whatever fails is begun again from the stored offsets: nothing is posted from a memory that may be wrong.
6. What is held in memory is bounded. While the database or the broker is away the intake waits and goes on by itself.

Threads: `Intake.run` polls and reads messages, and a second thread posts one batch at a time, so that one works while the
other waits. kafka-python calls the listener on a thread of its own; it only takes notes there.
"""

import gc
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import psycopg
import structlog
from kafka import KafkaConsumer, TopicPartition, errors
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from ledger import offsets
from ledger.application import MAX_COMMANDS, Ledger, LedgerBusy, LedgerUnavailable, Outcome, Refused
from ledger.broker import BrokerUnavailable, Topic, TopicMissing, client_options, required_topic
from ledger.database import Database
from ledger.messages import Kept, Message, failed, read_message
from ledger.metrics import IntakeMetrics
from ledger.offsets import Claim, Fenced, Move
from ledger.settings import Settings
from ledger.signing import SourceKeys
from ledger.watching import Turns

log = structlog.get_logger("ledger.intake")

# A batch ends with the message that fills it; a message is never divided.
FULL_BATCH = 2_000
FULL_BATCH_BYTES = 8 * 2**20
# What was read and waits, in batches; above it nothing is polled.
MAX_WAITING = 3
MAX_RECORDS = 2_000
POLL_MS = 200
SETTLE_S = 0.02
MAX_FETCH_BYTES = 16 * 2**20
MAX_PARTITION_BYTES = 4 * 2**20
SESSION_MS = 15_000
HEARTBEAT_MS = 2_000
# Longer than any back-off, between two of which the intake polls.
MAX_POLL_INTERVAL_MS = 300_000
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LOOK_EVERY_S = 5.0
LOOK_WAIT_MS = 2_000
MAX_UNANSWERED = 1
CLOSE_MS = 5_000
# An intake without a partition is a spare, or was forgotten by the group: after so long it joins again.
FIRST_IDLE_S = 15.0
LONGEST_IDLE_S = 600.0
MAX_LOGGED = 50
# Messages at which the ledger fails for a reason of its own are set aside one by one; so many in a row, and it is not them.
MAX_FAILED_IN_A_ROW = 10

UNAVAILABLE = (LedgerBusy, LedgerUnavailable, psycopg.OperationalError, psycopg.InterfaceError)


class MessagesLost(RuntimeError):
    """Messages were deleted from the topic before the intake read them; start it with --accept-lost if they are gone for good."""


class PartitionCutShort(RuntimeError):
    """A partition ends before what was read of it: the broker lost messages. Make the topic anew; sources send again."""


class IntakeHalted(RuntimeError):
    """The ledger failed at too many messages in a row, so the fault is not with them; nothing of the last was recorded."""


@dataclass(slots=True)
class _Held:
    """A partition under our claim: what is recorded up to, what was read up to, and where it ends as far as is known."""

    claim: int
    next_offset: int
    read_offset: int
    end_offset: int


class _BatchFailed(Fenced):
    """The ledger failed at a batch; its messages are posted one by one."""


class _Batch(NamedTuple):
    """Whole messages, in their order, and how they move the partitions."""

    messages: Sequence[Message]
    moves: Sequence[Move]


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Notes which partitions went, on the thread of kafka-python; until the intake claims one, nothing is fetched from it."""

    def __init__(self) -> None:
        """Bound to its consumer before it subscribes."""
        self.consumer: KafkaConsumer | None = None
        self._gone: set[int] = set()
        self._guard = threading.Lock()

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        assert self.consumer is not None
        for partition in assigned:
            self.consumer.seek(partition, 0)
            self.consumer.pause(partition)
        # Noted last: were one claimed in between, it is claimed and sought again.
        self.on_partitions_revoked(assigned)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        with self._guard:
            self._gone.update(partition.partition for partition in revoked)

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)

    def gone(self) -> set[int]:
        """Those that went since this was last asked, come back or not."""
        with self._guard:
            gone, self._gone = self._gone, set()
        return gone


class Intake:
    """Reads for one process; its methods are called from one thread."""

    def __init__(
        self, database: Database, settings: Settings, keys: SourceKeys, *, member: str, accepts_lost: bool = False
    ) -> None:
        """Nothing is connected yet. `member` names this process in intake_offset."""
        self._database = database
        self._settings = settings
        self._keys = keys
        self._member = member
        self._accepts_lost = accepts_lost
        self._ledger = Ledger(database)
        self._held: dict[int, _Held] = {}
        self._waiting: deque[Message] = deque()
        # In batches: by its commands or its bytes, whichever is more.
        self._waiting_batches = 0.0
        self._posting: tuple[_Batch, Future[list[Outcome]]] | None = None
        # So many messages are posted one by one, because a batch with them failed.
        self._careful = 0
        self._failed_in_a_row = 0
        self._pause_s = FIRST_PAUSE_S
        self._at_fault: tuple[int, int] | None = None
        self._looked_at_s = 0.0
        self._unanswered = 0
        self._idle_since_s, self._idle_patience_s = time.monotonic(), FIRST_IDLE_S
        self._problems: dict[str, str] = {"partitions": "none is assigned to this intake yet"}
        self.turns = Turns()
        self.metrics = IntakeMetrics(settings.commands_topic)

    def run(self, stop: threading.Event) -> None:
        """Read until stopped. Raises MessagesLost, PartitionCutShort, IntakeHalted, and what the options are wrong in."""
        while not stop.is_set():
            self.turns.turned()
            try:
                topic = required_topic(self._settings, self._settings.commands_topic)
                self._read(topic, stop)
            except (BrokerUnavailable, TopicMissing, errors.KafkaError) as error:
                self._unanswered = 0
                self.metrics.began_again("broker")
                self._wait_out("broker", error, stop)

    def problems(self) -> list[str]:
        """Why it does not read at this moment; none where all is well."""
        return [f"{what}: {why}" for what, why in self._problems.copy().items()]

    def _read(self, topic: Topic, stop: threading.Event) -> None:
        """Read with one consumer, until stopped or until it fails."""
        listener = _Assignments()
        consumer = self._consumer()
        listener.consumer = consumer
        with ThreadPoolExecutor(1, thread_name_prefix="ledger-posting") as poster:
            try:
                consumer.subscribe([topic.name], listener=listener)
                # Whoever leads the group without knowing the topic's partitions assigns none, to anybody.
                consumer.partitions_for_topic(topic.name)
                while not stop.is_set():
                    try:
                        self._turn(consumer, topic, listener, poster)
                    except Fenced as error:
                        self.metrics.began_again("failed" if isinstance(error, _BatchFailed) else "fenced")
                        self._begin_again(consumer)
                        self._wait_out("partition", error, stop)
                    except UNAVAILABLE as error:
                        self.metrics.began_again("database")
                        self._begin_again(consumer)
                        self._wait_out("database", error, stop)
            finally:
                self._forget()
                # kafka-python leaves sockets that never connected to the collector, which runs rarely here.
                gc.collect()
                # Leaving the group at once lets others take over at once.
                consumer.close(autocommit=False, timeout_ms=CLOSE_MS)

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            **client_options(self._settings),
            group_id=self._settings.intake_group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            isolation_level="read_committed",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            max_poll_records=MAX_RECORDS,
            fetch_max_bytes=MAX_FETCH_BYTES,
            max_partition_fetch_bytes=MAX_PARTITION_BYTES,
        )

    def _turn(self, consumer: KafkaConsumer, topic: Topic, listener: _Assignments, poster: ThreadPoolExecutor) -> None:
        """Settle what was posted, post what waits, read what comes. Raises Fenced, UNAVAILABLE, errors.KafkaError."""
        self._drop(listener.gone())
        self._settle()
        if self._posting is None:
            # One that never comes back keeps the loop turning, and is stuck all the same.
            self.turns.turned()
        for partition in sorted(each.partition for each in consumer.assignment()):
            if partition not in self._held:
                self._claim(consumer, topic, partition)
        self._submit(topic, poster)
        if self._waiting_batches < MAX_WAITING:
            try:
                found = consumer.poll(0 if self._waiting else POLL_MS, MAX_RECORDS)
            except errors.OffsetOutOfRangeError as error:
                self._out_of_range(consumer, topic, error)
                return
            self._take(consumer, found)
            self._look(consumer)
            if found or not self._waiting:
                return
        if self._posting is not None:
            wait([self._posting[1]], timeout=SETTLE_S)

    def _claim(self, consumer: KafkaConsumer, topic: Topic, partition: int) -> None:
        with self._database.connection() as connection:
            claim, next_offset = offsets.take(connection, topic, partition, self._member)
        place = TopicPartition(topic.name, partition)
        try:
            consumer.seek(place, next_offset)
        except ValueError:
            return  # It went again meanwhile.
        self._held[partition] = _Held(claim, next_offset, next_offset, next_offset)
        self.metrics.taken(partition, next_offset)
        consumer.resume(place)
        for what in ("database", "partition", "partitions"):
            self._problems.pop(what, None)
        log.info("partition taken", topic=topic.name, partition=partition, offset=next_offset, claim=claim)

    def _take(self, consumer: KafkaConsumer, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Read the messages that were polled. What was fetched without a claim is fetched again. Raises Fenced."""
        for place, records in found.items():
            held = self._held.get(place.partition)
            if held is None:
                continue
            if records[0].offset < held.read_offset:
                raise Fenced(f"partition {place.partition} went and came back")
            for record in records:
                message = read_message(record, self._keys)
                if (message.partition, message.offset) == self._at_fault:
                    message = failed(message)
                self._waiting.append(message)
                self._waiting_batches += _share(message)
            held.read_offset = records[-1].offset + 1
            held.end_offset = max(held.read_offset, consumer.highwater(place) or 0)
            self.metrics.read(
                place.partition,
                until=held.read_offset,
                end_offset=held.end_offset,
                oldest_ms=records[0].timestamp,
            )

    def _submit(self, topic: Topic, poster: ThreadPoolExecutor) -> None:
        """Let the next batch be posted, if none is being posted."""
        if self._posting is None and self._waiting:
            batch = self._batch()
            self._posting = batch, poster.submit(self._post, topic, batch)

    def _batch(self) -> _Batch:
        """The messages that wait, in their order, until they fill a batch."""
        messages: list[Message] = []
        commands, filled = 0, 0.0
        while (
            self._waiting
            and filled < 1
            and not (self._careful and messages)
            and commands + len(self._waiting[0].commands) <= MAX_COMMANDS
        ):
            messages.append(self._waiting.popleft())
            commands += len(messages[-1].commands)
            filled += _share(messages[-1])
        self._waiting_batches = max(0.0, self._waiting_batches - filled)
        ends = {message.partition: message.offset + 1 for message in messages}
        moves = [
            Move(partition, held.claim, held.next_offset, until, held.end_offset)
            for partition, until in ends.items()
            for held in [self._held[partition]]
        ]
        return _Batch(messages, moves)

    def _post(self, topic: Topic, batch: _Batch) -> list[Outcome]:
        """On the posting thread. What is refused is kept, and the offsets are moved, with the facts."""

        def alongside(connection: offsets.Connection, outcomes: Sequence[Outcome]) -> None:
            offsets.move(connection, topic, batch.moves)
            if refused := _refused(batch.messages, outcomes):
                offsets.keep(connection, topic, refused)

        commands = [command for message in batch.messages for command in message.commands]
        posters = [message.poster for message in batch.messages for _ in message.commands]
        began_s = time.monotonic()
        try:
            return self._ledger.post(commands, posters if any(posters) else None, alongside=alongside)
        finally:
            self.metrics.took(time.monotonic() - began_s)

    def _settle(self) -> None:
        """Take note of what was posted. Raises Fenced, UNAVAILABLE, IntakeHalted."""
        if self._posting is None or not self._posting[1].done():
            return
        (batch, future), self._posting = self._posting, None
        error = future.exception()
        if isinstance(error, (Fenced, *UNAVAILABLE)):
            raise error
        if error is not None:
            self._note_failure(batch, error)
        for move in batch.moves:
            held = self._held.get(move.partition)
            if held is not None and held.claim == move.claim:
                held.next_offset = move.until
                self.metrics.recorded(move.partition, move.until)
        self._careful = max(0, self._careful - len(batch.messages))
        self._pause_s = FIRST_PAUSE_S
        self._problems.pop("database", None)
        if any(message.commands for message in batch.messages):
            self._failed_in_a_row = 0
        self._tell(batch, future.result())

    def _note_failure(self, batch: _Batch, error: BaseException) -> None:
        """The ledger failed for no reason that goes away: find the message, and set it aside. Raises IntakeHalted, Fenced."""
        log.error("the ledger failed at a batch", messages=len(batch.messages), exc_info=error)
        if len(batch.messages) > 1:
            self._careful = len(batch.messages)
        else:
            message = batch.messages[0]
            self._failed_in_a_row += 1
            if self._failed_in_a_row > MAX_FAILED_IN_A_ROW or not message.commands:
                raise IntakeHalted(IntakeHalted.__doc__) from error
            self._at_fault = message.partition, message.offset
        raise _BatchFailed(_BatchFailed.__doc__) from error

    def _tell(self, batch: _Batch, outcomes: Sequence[Outcome]) -> None:
        """Log what was posted, and count it."""
        refused = _refused(batch.messages, outcomes)
        self.metrics.posted(outcomes, messages=len(batch.messages), refused=[kept.code for _, kept in refused])
        for message, kept in islice(refused, MAX_LOGGED):
            log.warning(
                "refused",
                command_id=kept.command_id,
                code=kept.code,
                partition=message.partition,
                offset=message.offset,
                item=kept.item,
            )
        log.debug(
            "posted",
            messages=len(batch.messages),
            commands=len(outcomes),
            refused=len(refused),
            first_command_id=next((outcome.command_id for outcome in outcomes), None),
            last_command_id=outcomes[-1].command_id if outcomes else None,
        )

    def _drop(self, partitions: set[int]) -> None:
        """Forget partitions that went, with what was read of them."""
        if partitions.isdisjoint(self._held):
            return
        for partition in partitions & self._held.keys():
            del self._held[partition]
        self._waiting = deque(each for each in self._waiting if each.partition in self._held)
        self._waiting_batches = sum(map(_share, self._waiting))

    def _begin_again(self, consumer: KafkaConsumer) -> None:
        """Forget all that was read; what is still ours is claimed anew, and read from where it stands."""
        held = set(self._held)
        self._forget()
        for place in consumer.assignment():
            if place.partition in held:
                with suppress(KeyError):  # It went meanwhile.
                    consumer.pause(place)

    def _forget(self) -> None:
        if self._posting is not None:
            wait([self._posting[1]])  # Bounded by the time-outs of the database.
        self._posting = None
        self._drop(set(self._held))

    def _out_of_range(self, consumer: KafkaConsumer, topic: Topic, error: errors.OffsetOutOfRangeError) -> None:
        """Where we go on there is nothing: why, and whether that may be. Raises MessagesLost, PartitionCutShort, Fenced."""
        for place in error.args[0]:
            held = self._held.get(place.partition)
            if held is None:
                continue
            first = consumer.beginning_offsets([place])[place]
            where = f"partition {place.partition} of {topic.name} is read up to {held.next_offset}"
            if first <= held.next_offset:
                raise PartitionCutShort(f"{where} and ends before. {PartitionCutShort.__doc__}") from error
            if not self._accepts_lost:
                raise MessagesLost(f"{where} and begins at {first}. {MessagesLost.__doc__}") from error
            claim = Claim(place.partition, held.claim, held.next_offset)
            with self._database.connection() as connection:
                offsets.skip(connection, topic, claim, to=first)
            log.error("messages lost", partition=place.partition, after=held.next_offset, until=first)
        raise Fenced("the offsets were moved") from error

    def _look(self, consumer: KafkaConsumer) -> None:
        """Now and then: whether the broker answers, and where the partitions end that give nothing to read.

        A consumer whose broker is away spins (kafka-python 3.0), so it is closed. Raises BrokerUnavailable.
        """
        now_s = time.monotonic()
        if now_s < self._looked_at_s + LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        assigned = consumer.assignment()
        self.metrics.keep({place.partition for place in assigned})
        places = [place for place in assigned if place.partition in self._held]
        if not places:
            self._problems["partitions"] = "none is assigned to this intake"
            if now_s > self._idle_since_s + self._idle_patience_s:
                self._idle_since_s = now_s
                self._idle_patience_s = min(2 * self._idle_patience_s, LONGEST_IDLE_S)
                raise BrokerUnavailable("no partition was assigned for long; the group is joined again")
            return
        self._idle_since_s, self._idle_patience_s = now_s, FIRST_IDLE_S
        self._problems.pop("partitions", None)
        try:
            ends = consumer.end_offsets(places, timeout_ms=LOOK_WAIT_MS)
        except errors.KafkaTimeoutError as error:
            self._problem("broker", "it does not answer")
            self._unanswered += 1
            if self._unanswered > MAX_UNANSWERED:
                raise BrokerUnavailable(BrokerUnavailable.__doc__) from error
            return
        self._unanswered = 0
        self._problems.pop("broker", None)
        for place, end in ends.items():
            held = self._held.get(place.partition)
            if held is not None:
                held.end_offset = max(held.end_offset, end)
                self.metrics.ends(place.partition, end)

    def _wait_out(self, what: str, error: Exception, stop: threading.Event) -> None:
        """Pause for longer and longer, up to a bound."""
        self._problem(what, str(error).partition("\n")[0])
        stop.wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _problem(self, what: str, why: str) -> None:
        if self._problems.get(what) != why:
            log.warning("waiting", what=what, why=why)
        self._problems[what] = why


def _share(message: Message) -> float:
    """How much of a batch a message fills, by its commands or by its bytes; one that has no command still takes its place."""
    return max(max(1, len(message.commands)) / FULL_BATCH, len(message.value or b"") / FULL_BATCH_BYTES)


def _refused(messages: Sequence[Message], outcomes: Sequence[Outcome]) -> list[tuple[Message, Kept]]:
    """What was refused of these messages, by themselves or by the decisions, in their order."""
    refused: list[tuple[Message, Kept]] = []
    start = 0
    for message in messages:
        kept = list(message.refused)
        for (item, value), outcome in zip(message.items, outcomes[start : start + len(message.commands)], strict=True):
            if isinstance(outcome, Refused):
                detail = dict(outcome.detail)
                kept.append(Kept(item, value, outcome.command_id, outcome.code, outcome.sentence, detail))
        start += len(message.commands)
        refused += [(message, each) for each in sorted(kept, key=lambda each: each.item or 0)]
    return refused
