"""What the intake and the outlet count while they run, for Prometheus.

1. A label takes few values: partitions that are held, causes and codes of the program. Nothing that came in a message is one.
2. What is no longer this process's own is no longer shown: a partition that went goes with its numbers.
3. Counting never waits: it takes a lock that is held for some additions, and is done once a batch.
"""

import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ledger.application import Outcome, Refused

Cause = Literal["broker", "database", "failed", "fenced"]
CAUSES: tuple[Cause, ...] = ("broker", "database", "failed", "fenced")

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BUCKETS_OF_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000)
# More codes than the program has: further ones, which only a bug could make, are counted together.
MAX_CODES = 200
OTHER_CODE = "other"
# Of stretches that were read and are not recorded yet; of more, the oldest and the newest are remembered.
MAX_STRETCHES = 10_000


class _Codes:
    """Takes codes as labels, up to a bound."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, code: str) -> str:
        if code not in self._known:
            if len(self._known) >= MAX_CODES:
                return OTHER_CODE
            self._known.add(code)
        return code


@dataclass(slots=True)
class _Partition:
    """Where a partition stands, and since when there is something to record: stretches by their end and first timestamp."""

    next_offset: int
    end_offset: int
    stretches: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MAX_STRETCHES))

    def lag_s(self, now_s: float) -> float:
        """Age of the oldest message read and not recorded, by its own timestamp; 0 where there is none."""
        return max(0.0, now_s - self.stretches[0][1] / 1000) if self.stretches else 0.0


class IntakeMetrics(Collector):
    """Told by the intake what it does, on whichever of its threads."""

    def __init__(self, topic: str) -> None:
        """A registry of its own, so that two intakes of one process do not share."""
        self.registry = CollectorRegistry()
        self._topic = topic
        self._partitions: dict[int, _Partition] = {}
        self._guard = threading.Lock()
        self._codes = _Codes()
        self._message_codes = _Codes()
        self._batch_messages = self._histogram("batch_messages", "Messages of a batch recorded.", BUCKETS_OF_SIZES)
        self._batch_commands = self._histogram("batch_commands", "Commands of a batch recorded.", BUCKETS_OF_SIZES)
        self._batch_seconds = self._histogram("batch_seconds", "Time that a batch took, however it ended.", BUCKETS_S)
        self._commands = self._counter("commands", "Commands by what came of them.", "outcome")
        self._refused = self._counter("refused_messages", "Messages, or commands of one, kept as refused.", "code")
        self._begun_again = self._counter("begun_again", "Times that it began again at the stored offsets.", "cause")
        for outcome in ("accepted", "repeated"):
            self._commands.labels(self._codes.label(outcome))
        for cause in CAUSES:
            self._begun_again.labels(cause)
        self.registry.register(self)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"ledger_intake_{name}", documentation, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, documentation: str, label: str) -> Counter:
        return Counter(f"ledger_intake_{name}", documentation, [label], registry=self.registry)

    def taken(self, partition: int, next_offset: int) -> None:
        """A partition was claimed; it reads on at this offset. Claimed anew, it keeps the age of what it has not recorded."""
        with self._guard:
            held = self._partitions.setdefault(partition, _Partition(next_offset, next_offset))
            self._record(held, next_offset)

    def keep(self, partitions: AbstractSet[int]) -> None:
        """Others went to another intake, and their numbers with them."""
        with self._guard:
            for partition in self._partitions.keys() - partitions:
                del self._partitions[partition]

    def read(self, partition: int, *, until: int, end_offset: int, oldest_ms: int) -> None:
        """Messages were read up to before `until`; the first of them has this timestamp."""
        with self._guard:
            held = self._partitions.get(partition)
            if held is None:
                return
            held.end_offset = max(held.end_offset, end_offset, until)
            if not held.stretches or held.stretches[-1][0] < until:
                if len(held.stretches) == MAX_STRETCHES:
                    held.stretches.pop()
                held.stretches.append((until, oldest_ms))

    def ends(self, partition: int, end_offset: int) -> None:
        """The broker was asked where the partition ends."""
        with self._guard:
            if held := self._partitions.get(partition):
                held.end_offset = max(held.end_offset, end_offset)

    def recorded(self, partition: int, next_offset: int) -> None:
        """All before this offset is recorded."""
        with self._guard:
            if held := self._partitions.get(partition):
                self._record(held, next_offset)

    @staticmethod
    def _record(held: _Partition, next_offset: int) -> None:
        held.next_offset = next_offset
        held.end_offset = max(held.end_offset, next_offset)
        while held.stretches and held.stretches[0][0] <= next_offset:
            held.stretches.popleft()

    def posted(self, outcomes: Sequence[Outcome], *, messages: int, refused: Iterable[str]) -> None:
        """A batch was recorded; `refused` are the codes of what was kept of it as refused."""
        self._batch_messages.observe(messages)
        self._batch_commands.observe(len(outcomes))
        for outcome, count in Tally(map(_outcome, outcomes)).items():
            self._commands.labels(self._codes.label(outcome)).inc(count)
        for code, count in Tally(refused).items():
            self._refused.labels(self._message_codes.label(code)).inc(count)

    def took(self, seconds: float) -> None:
        """A batch was posted, or was undone."""
        self._batch_seconds.observe(seconds)

    def began_again(self, cause: Cause) -> None:
        """What was read and not recorded is read again."""
        self._begun_again.labels(cause).inc()

    def describe(self) -> Iterable[Metric]:
        """Nothing is read merely to register."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The partitions as they are at this moment."""
        now_s = time.time()
        with self._guard:
            found = {
                str(partition): (held.next_offset, held.end_offset, held.lag_s(now_s))
                for partition, held in sorted(self._partitions.items())
            }
        yield GaugeMetricFamily("ledger_intake_assigned_partitions", "Partitions that it reads.", value=len(found))
        label = ["topic", "partition"]
        offset = GaugeMetricFamily(
            "ledger_intake_next_offset", "Offset of the first message not recorded.", labels=label
        )
        lag = GaugeMetricFamily(
            "ledger_intake_lag_messages", "Messages that are not recorded, as last seen.", labels=label
        )
        lag_s = GaugeMetricFamily(
            "ledger_intake_lag_seconds", "Age of the oldest message read and not recorded.", labels=label
        )
        for partition, (next_offset, end_offset, seconds) in found.items():
            place = [self._topic, partition]
            offset.add_metric(place, next_offset)
            lag.add_metric(place, max(0, end_offset - next_offset))
            lag_s.add_metric(place, seconds)
        yield from (offset, lag, lag_s)


def _outcome(outcome: Outcome) -> str:
    if outcome.repeated:
        return "repeated"
    return outcome.code if isinstance(outcome, Refused) else "accepted"


class PublishedStream(Protocol):
    """What an outlet shows of a stream; its thread writes it, and here it is only read."""

    stream: str
    standing_by: bool
    position: int
    head: int
    published: int
    published_bytes: int
    rounds: int
    failed_rounds: int
    round_seconds: float
    last_round_messages: int
    last_published_at: datetime | None


class OutletMetrics(Collector):
    """Read from what the outlet shows of its streams, at each scrape."""

    def __init__(self, streams: Sequence[PublishedStream]) -> None:
        """A registry of its own, as above."""
        self._streams = streams
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing is read merely to register."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The streams as they are at this moment."""
        yield self._gauge("position", "Last that the broker has acknowledged.", lambda each: each.position)
        yield self._gauge("head", "Last that is recorded, as last seen.", lambda each: each.head)
        yield self._gauge(
            "lag_messages", "What is recorded and not published.", lambda each: max(0, each.head - each.position)
        )
        yield self._gauge("standing_by", "Whether another outlet publishes it.", lambda each: each.standing_by)
        yield self._gauge("last_round_messages", "Messages of the last round.", lambda each: each.last_round_messages)
        yield self._gauge(
            "last_published_timestamp_seconds", "When this outlet last published something, or 0.", _published_at_s
        )
        yield self._counter("published", "Messages acknowledged.", lambda each: each.published)
        yield self._counter("published_bytes", "Upper bound of their bytes.", lambda each: each.published_bytes)
        yield self._counter("rounds", "Rounds acknowledged.", lambda each: each.rounds)
        yield self._counter("round_seconds", "Time of rounds acknowledged.", lambda each: each.round_seconds)
        yield self._counter("failed_rounds", "Rounds that Kafka did not acknowledge.", lambda each: each.failed_rounds)

    def _gauge(self, name: str, documentation: str, of: Callable[[PublishedStream], float]) -> Metric:
        return self._filled(GaugeMetricFamily(f"ledger_outlet_{name}", documentation, labels=["stream"]), of)

    def _counter(self, name: str, documentation: str, of: Callable[[PublishedStream], float]) -> Metric:
        return self._filled(CounterMetricFamily(f"ledger_outlet_{name}", documentation, labels=["stream"]), of)

    def _filled(
        self, family: GaugeMetricFamily | CounterMetricFamily, of: Callable[[PublishedStream], float]
    ) -> Metric:
        for each in self._streams:
            family.add_metric([each.stream], of(each))
        return family


def _published_at_s(stream: PublishedStream) -> float:
    return 0.0 if stream.last_published_at is None else stream.last_published_at.timestamp()
