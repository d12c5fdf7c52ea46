"""A round of messages to one topic: each partition gets its share in one batch, whole or not at all.

1. The client sends a batch when it is told to, never by itself: it waits without end, a round stays below what it holds to be
   full, and it has no deadline of its own that would drop one batch and go on with the next.
2. A batch that the broker finds too large is not split: its second half could arrive where its first does not.
3. The partition of a key is worked out here, by a number of partitions that is the same for the whole round.
4. A publisher whose round has failed takes no other.
5. A round counts as acknowledged only while the topic has the id that it had when the publisher began, as the client last heard
   (the client sends to names): within seconds, whoever made the topic anew is found out.

Four of the client's inner parts are used, for what it offers no option for; tests find out if one comes to nothing.
"""

import threading
import time
from collections.abc import Sequence
from functools import lru_cache

from kafka import KafkaProducer, errors
from kafka.admin import OffsetSpec
from kafka.partitioner.default import murmur2
from kafka.structs import TopicPartition

from ledger.broker import (
    ANSWER_WAIT_MS,
    MAX_REFUSALS_MESSAGE_BYTES,
    BrokerUnavailable,
    Topic,
    administration,
    client_options,
    required_topic,
)
from ledger.cloudevents import Message
from ledger.settings import Settings

# Below what brokers take in one batch when nobody has told them otherwise (1,048,588 bytes).
MAX_ROUND_BYTES = 900_000
BATCH_BYTES = 1024 * 1024
NEVER_MS = float("inf")
# The client goes on by itself when a broker restarts or another takes over; after so long the round is begun anew.
ACKNOWLEDGED_WITHIN_S = 20.0
LOOK_S = 0.5
LONGEST_RECONNECT_MS = 2_000
# By itself it asks every five minutes whether the topic is as it was.
ASKS_EVERY_MS = 2_000
# Working out where a key goes takes longer than to remember it.
MAX_KEYS_KNOWN = 65_536
STOPPED_WITHIN_S = 3.0
CLOSED_WITHIN_S = 2.0


class NotAcknowledged(RuntimeError):
    """Kafka has not acknowledged in time. Check whether enough replicas of the topic are in sync (`min.insync.replicas`)."""


class MessageTooLarge(RuntimeError):
    """The topic takes no message of this size: raise its `max.message.bytes`; `ledger topics` makes it with 2 MiB."""


class WritingRefused(RuntimeError):
    """This login may not write to the topic: it needs the rights to describe it and to write to it."""


class LoginRefused(RuntimeError):
    """Kafka refuses the login; check LEDGER_KAFKA_OPTIONS."""


class TopicReplaced(RuntimeError):
    """The topic was made anew under its name a moment ago; it is looked at again."""


class RoundAbandoned(Exception):
    """The program is told to stop, and the round is not acknowledged yet."""


class Publisher:
    """An idempotent producer for one topic. Its methods are called from one thread."""

    def __init__(self, settings: Settings, topic_name: str) -> None:
        """Connect. Raises BrokerUnavailable, TopicMissing, LoginRefused, OptionsUnusable and OptionsExposed."""
        self.topic = required_topic(settings, topic_name)
        try:
            self._producer = KafkaProducer(
                **client_options(settings),
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=NEVER_MS,
                delivery_timeout_ms=NEVER_MS,
                batch_size=BATCH_BYTES,
                max_request_size=MAX_REFUSALS_MESSAGE_BYTES,
                max_block_ms=ANSWER_WAIT_MS,
                bootstrap_timeout_ms=ANSWER_WAIT_MS,
                reconnect_backoff_max_ms=LONGEST_RECONNECT_MS,
                allow_auto_create_topics=False,
                metadata_max_age_ms=ASKS_EVERY_MS,
                metrics_enabled=False,
            )
        except (errors.KafkaError, OSError) as error:
            raise _said(error) from error
        # What it would have split fails with MessageTooLarge instead.
        self._producer._sender._can_split = _never  # noqa: SLF001 - there is no option for it
        try:
            self.partitions()
        except RuntimeError:
            self.close()
            raise

    def partitions(self) -> int:
        """How many partitions the topic has, as the client last heard. Raises as `publish`."""
        try:
            found = len(self._producer.partitions_for(self.topic.name))
        except errors.KafkaError as error:
            raise _said(error) from error
        topic_id = self._producer._metadata.topic_id(self.topic.name)  # noqa: SLF001 - the client gives it to nobody
        if topic_id is not None and str(topic_id) != self.topic.topic_id:
            raise TopicReplaced(f"{self.topic.name}: {TopicReplaced.__doc__}")
        return found

    def publish(self, messages: Sequence[Message], *, partitions: int, stop: threading.Event) -> None:
        """Return when all are acknowledged. Raises one of the errors above, after which the publisher is to be closed."""
        name, now_ms = self.topic.name, int(time.time() * 1000)
        places = [TopicPartition(name, partition) for partition in range(partitions)]
        # As the client's `send` does, without working out once more, in half of the time, how large a message is.
        append = self._producer._accumulator.append  # noqa: SLF001 - the reason stands above
        sent = []
        try:
            for message in messages:
                if message.most_bytes > MAX_REFUSALS_MESSAGE_BYTES:
                    raise MessageTooLarge(MessageTooLarge.__doc__)
                place = places[partition_of(message.key, partitions)]
                sent.append(append(place, now_ms, message.key, message.value, message.headers)[0])
            self._flush(stop)
        except errors.KafkaError as error:
            raise _said(error) from error
        for future in sent:
            if not future.succeeded():
                raise _said(future.exception)
        self.partitions()

    def _flush(self, stop: threading.Event) -> None:
        """Send, and wait until every batch has come to an end, or for so long."""
        deadline = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        while True:
            try:
                self._producer.flush(timeout=LOOK_S)
            except errors.KafkaTimeoutError as error:
                if stop.is_set():
                    deadline = min(deadline, time.monotonic() + STOPPED_WITHIN_S)
                if time.monotonic() < deadline:
                    continue
                if stop.is_set():
                    raise RoundAbandoned from error
                raise NotAcknowledged(f"{self.topic.name}: {NotAcknowledged.__doc__}") from error
            return

    def close(self) -> None:
        """Let go of what is not sent, and of the connections; within a bound.

        What the broker was sent may still arrive, which is no harm: a round may arrive twice.
        """
        sender = self._producer._sender  # noqa: SLF001 - its own `close` sends what is left, and waits for it
        sender.force_close()
        sender.join(CLOSED_WITHIN_S)
        if not sender.is_alive():
            self._producer.close(timeout=0)


@lru_cache(maxsize=MAX_KEYS_KNOWN)
def partition_of(key: bytes | None, partitions: int) -> int:
    """Where a key goes, as Kafka's own clients have it. What has no key goes where the empty one does."""
    return int((murmur2(key or b"") & 0x7FFFFFFF) % partitions)


def is_empty(settings: Settings, topic: Topic) -> bool:
    """Whether the topic never held a message. Raises BrokerUnavailable, OptionsUnusable and OptionsExposed."""
    client = administration(settings)
    try:
        asked = {TopicPartition(topic.name, partition): OffsetSpec.LATEST for partition in range(topic.partitions)}
        return all(found.offset == 0 for found in client.list_partition_offsets(asked).values())
    except (errors.KafkaError, OSError) as error:
        raise _said(error) from error
    finally:
        client.close()


def _never(_batch: object, _error: object) -> bool:
    return False


def _said(error: BaseException | None) -> RuntimeError:
    """The error of the client, as a sentence that says what to do."""
    match error:
        case errors.MessageSizeTooLargeError() | errors.RecordListTooLargeError():
            return MessageTooLarge(MessageTooLarge.__doc__)
        case errors.TopicAuthorizationFailedError() | errors.ClusterAuthorizationFailedError():
            return WritingRefused(WritingRefused.__doc__)
        case errors.SaslAuthenticationFailedError():
            return LoginRefused(LoginRefused.__doc__)
        case None:
            return NotAcknowledged(NotAcknowledged.__doc__)
        case _:
            return BrokerUnavailable(f"{type(error).__name__}. {BrokerUnavailable.__doc__}")
