"""The outlet: follows the journal and the refused messages, and publishes each to its topic, at least once and in order.

1. A round begins after the position that the database holds. That moves to the round's end only when the broker has
   acknowledged all of it, in the transaction that has held it meanwhile.
2. A partition gets its share of a round in one batch, whole or not at all, and in order.
3. Therefore: whenever a position arrives in a partition, all lower ones that belong there have arrived before. For those up to
   the round's beginning were acknowledged, and the others precede it in its batch. That holds whatever was killed, however
   often a batch arrives or how late, and when two outlets have published at once. So a reader that drops each position not
   above the highest that it has seen in that partition gets every fact once, in order.
4. It holds when partitions are added, whenever that is, for the row says by how many a position goes (`ledger/placing.py`).
5. A topic that is not the one that was published to stops its stream until an operator has decided. Whoever makes it anew does
   so while no outlet runs: what was on its way would arrive in the new one, which is sent to by its name.

Locking: a round holds its stream's row; who finds it held, or moved by another, stands by, and takes over when it moves no
more while there is something to publish. A session that does nothing in a round is ended by the server, so no dead outlet
holds a row for longer.
"""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from psycopg.rows import TupleRow

from ledger.broker import (
    BrokerUnavailable,
    OptionsExposed,
    OptionsUnusable,
    TopicMissing,
    client_options,
    required_topic,
)
from ledger.cloudevents import Stream, events, refusals
from ledger.database import Database
from ledger.journal import CHANNEL
from ledger.placing import PartitionsFewer, Place, TopicDecision, TopicNotEmpty, TopicOther, advance, position_of
from ledger.publishing import (
    MAX_ROUND_BYTES,
    LoginRefused,
    MessageTooLarge,
    NotAcknowledged,
    Publisher,
    RoundAbandoned,
    TopicReplaced,
    WritingRefused,
    is_empty,
)
from ledger.settings import Settings
from ledger.taking import first_line, undone_unless_committed

Connection = psycopg.Connection[TupleRow]
Report = Callable[[str], None]

POLL_S = 1.0
STANDBY_S = 2.0
RETRY_S = 1.0
LONGEST_RETRY_S = 15.0
MAX_ROUND_MESSAGES = 2_000
# After so many rounds it is tried whether the topic takes larger ones again.
GROWS_AFTER_ROUNDS = 1_000
# Longer than a round may wait for the broker.
IDLE_IN_ROUND = b"SET idle_in_transaction_session_timeout = '60s'"
# What ends before this when the program is told to stop is waited for.
STOPPED_WITHIN_S = 8.0

DATABASE_AWAY = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
READ_ONLY = "The database takes no writing at the moment; LEDGER_DATABASE_URL must lead to the primary server."
KAFKA_AWAY = (
    BrokerUnavailable,
    LoginRefused,
    MessageTooLarge,
    NotAcknowledged,
    OptionsExposed,
    OptionsUnusable,
    PartitionsFewer,
    TopicMissing,
    TopicNotEmpty,
    TopicOther,
    TopicReplaced,
    WritingRefused,
)


STARTING = "It has not looked yet."


@dataclass
class Progress:
    """How one stream is doing. Written by its thread alone; read by whoever watches."""

    stream: str
    topic: str
    problem: str | None = STARTING
    standing_by: bool = False
    position: int = 0
    head: int = 0
    published: int = 0
    published_bytes: int = 0
    rounds: int = 0
    failed_rounds: int = 0
    round_seconds: float = 0.0
    last_round_messages: int = 0
    last_round_bytes: int = 0
    last_published_at: datetime | None = None
    # When its thread last went round, by the monotonic clock.
    turned_s: float = field(default_factory=time.monotonic)

    @property
    def lag(self) -> int:
        """How many are recorded and not published."""
        return max(0, self.head - self.position)


@dataclass
class OutletState:
    """What an outlet shows of itself."""

    events: Progress
    refusals: Progress
    streams: list[Progress] = field(init=False)

    def __post_init__(self) -> None:
        """Both, to go through."""
        self.streams = [self.events, self.refusals]

    def problems(self) -> list[str]:
        """Why it is not ready. One that stands by is ready."""
        return [f"{each.stream}: {each.problem}" for each in self.streams if each.problem is not None]

    def still_s(self) -> float:
        """For how long the stream that has stood still longest has."""
        return time.monotonic() - min(each.turned_s for each in self.streams)


class Outlet:
    """Publishes both streams, each on a thread of its own: what is wrong with one does not hold up the other."""

    def __init__(
        self, database: Database, settings: Settings, *, new_topic: TopicDecision = TopicDecision.UNDECIDED
    ) -> None:
        """Nothing is connected yet. Raises OptionsUnusable and OptionsExposed.

        `new_topic` is what an operator has decided for topics that are not the ones published to so far.
        """
        client_options(settings)
        streams = events(topic=settings.events_topic, origin=settings.origin), refusals(topic=settings.refusals_topic)
        self.state = OutletState(*(Progress(stream.name, stream.topic) for stream in streams))
        self._followers = [
            Follower(database, settings, stream, progress, new_topic)
            for stream, progress in zip(streams, self.state.streams, strict=True)
        ]

    def run(self, stop: threading.Event, *, report: Report = lambda _sentence: None) -> None:
        """Publish until stopped; what cannot be mended by waiting stops it, and is raised."""
        faults: list[BaseException] = []

        def follow(follower: Follower) -> None:
            try:
                follower.run(stop, report)
            except BaseException as fault:  # noqa: BLE001 - raised below, by the thread that waits
                faults.append(fault)
                stop.set()

        threads = [
            threading.Thread(target=follow, args=(each,), name=f"ledger-outlet-{each.stream.name}", daemon=True)
            for each in self._followers
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        # One that waits for a lost server ends by itself a little later, and publishes nothing more.
        deadline = time.monotonic() + STOPPED_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if faults:
            raise faults[0]


class Follower:
    """Publishes one stream. Its methods are called from one thread."""

    def __init__(
        self, database: Database, settings: Settings, stream: Stream, progress: Progress, new_topic: TopicDecision
    ) -> None:
        """Nothing is connected yet."""
        self.stream = stream
        self._database = database
        self._settings = settings
        self._progress = progress
        self._new_topic = new_topic
        self._publisher: Publisher | None = None
        self._round_bytes = MAX_ROUND_BYTES
        self._rounds_until_growth = GROWS_AFTER_ROUNDS
        # Where this outlet, or the one that it stands by for, was seen last.
        self._seen: int | None = None

    def run(self, stop: threading.Event, report: Report) -> None:
        """Follow until stopped. A database or a broker that is away is tried again, and said once."""
        self._report = report
        retry_s = RETRY_S
        while not stop.is_set():
            self._progress.turned_s = time.monotonic()
            try:
                with self._database.connect_as_outlet() as connection:
                    connection.execute(IDLE_IN_ROUND)
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    connection.commit()
                    while not stop.is_set():
                        self._progress.turned_s = time.monotonic()
                        self._step(connection, stop)
                        retry_s = RETRY_S
            except DATABASE_AWAY as error:
                # Whether the last round's commit was done is not known, so where it stands is none of another's doing.
                self._seen = None
                self._say(f"The database does not answer ({first_line(error)}); it is tried again.")
            except psycopg.errors.ReadOnlySqlTransaction:
                self._say(READ_ONLY)
            except RoundAbandoned:
                self._let_go()
            except KAFKA_AWAY as error:
                self._progress.failed_rounds += 1
                self._let_go()
                # The client leaves sockets that could not be connected in a cycle: they would add up to the limit of the process.
                gc.collect()
                if isinstance(error, MessageTooLarge) and self._take_less():
                    continue
                self._say(str(error))
            else:
                continue
            stop.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)
        self._let_go()

    def _step(self, connection: Connection, stop: threading.Event) -> None:
        """A round, or a wait for what there is to publish."""
        if self._publisher is None:
            self._publisher = Publisher(self._settings, self.stream.topic)
        may_go_on = self._round(connection, self._publisher, stop)
        self._say(None)
        if self._progress.standing_by:
            stop.wait(STANDBY_S)
        elif not may_go_on:
            for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                pass

    def _round(self, connection: Connection, publisher: Publisher, stop: threading.Event) -> bool:
        """Publish what there is, up to a bound; whether there may be more."""
        progress, began = self._progress, time.monotonic()
        there = publisher.partitions()
        with undone_unless_committed(connection):
            place = Place.held(connection, self.stream.name)
            after = position_of(connection, self.stream.name) if place is None else place.position
            # Read when the row is held, so that nothing above it was tried before.
            progress.position, progress.head = after, self.stream.head(connection)
            assert after <= progress.head, f"{self.stream.name}: {after} published of {progress.head}"
            self._stand_by(is_held=place is None, position=after)
            if place is None or progress.standing_by:
                return False
            if self._adopt(connection, place, publisher, there):
                return True
            if after == progress.head:
                return False
            partitions, head = place.next_round(progress.head)
            until = min(head, after + MAX_ROUND_MESSAGES)
            messages = self.stream.read(connection, after=after, until=until, most_bytes=self._round_bytes)
            progress.last_round_messages = len(messages)
            progress.last_round_bytes = sum(message.most_bytes for message in messages)
            publisher.publish(messages, partitions=partitions, stop=stop)
            end = messages[-1].number
            advance(connection, self.stream.name, after=after, until=end)
            connection.commit()
        self._seen = progress.position = end
        progress.rounds += 1
        progress.published += len(messages)
        progress.published_bytes += progress.last_round_bytes
        progress.last_published_at = datetime.now(UTC)
        progress.round_seconds += time.monotonic() - began
        self._take_more()
        return True

    def _adopt(self, connection: Connection, place: Place, publisher: Publisher, there: int) -> bool:
        """Write what has changed about the topic, if anything: committed, so the row is held no more, before a round by it."""
        head = self._progress.head
        if place.topic_id == publisher.topic.topic_id:
            adopted = place.shared_by(there, head=head)
        else:
            # Asked anew: what this process knows of the topic may be older than the row.
            topic = required_topic(self._settings, self.stream.topic)
            if topic.topic_id != publisher.topic.topic_id:
                raise TopicReplaced(f"{topic.name}: {TopicReplaced.__doc__}")
            republishes = self._new_topic is TopicDecision.REPUBLISH and place.topic_id is not None
            adopted = place.moved(
                topic, self._new_topic, is_empty=republishes and is_empty(self._settings, topic), head=head
            )
        if adopted == place:
            return False
        adopted.write(connection, self.stream.name)
        connection.commit()
        self._seen = self._progress.position = adopted.position
        if place.topic_id is not None:
            self._report(
                f"{self.stream.name}: {self.stream.topic} is now {adopted.topic_id} with {adopted.partitions} partitions; "
                f"it goes on after {adopted.position}."
            )
        return True

    def _stand_by(self, *, is_held: bool, position: int) -> None:
        """Stand by while another outlet holds the row or moves it; take over when it does neither and there is a lag."""
        progress = self._progress
        moved_by_another = self._seen not in (None, position)
        self._seen = position
        stands_by = is_held or moved_by_another or (progress.standing_by and not progress.lag)
        if stands_by != progress.standing_by:
            progress.standing_by = stands_by
            self._report(
                f"{self.stream.name}: another outlet publishes; this one stands by."
                if stands_by
                else f"{self.stream.name}: this outlet takes over."
            )

    def _take_less(self) -> bool:
        """Halve what a round takes; False where it was one message, which the topic does not take at all."""
        if self._progress.last_round_messages <= 1:
            return False
        self._round_bytes = min(self._round_bytes, self._progress.last_round_bytes) // 2
        self._rounds_until_growth = GROWS_AFTER_ROUNDS
        self._report(
            f"{self.stream.name}: the topic takes no batch of {self._progress.last_round_bytes} bytes; smaller ones are sent."
        )
        return True

    def _take_more(self) -> None:
        """After many rounds, try larger ones again."""
        self._rounds_until_growth -= 1
        if self._rounds_until_growth == 0:
            self._round_bytes = min(2 * self._round_bytes, MAX_ROUND_BYTES)
            self._rounds_until_growth = GROWS_AFTER_ROUNDS

    def _let_go(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def _say(self, problem: str | None) -> None:
        """Tell what is wrong, once when it changes."""
        if problem != self._progress.problem:
            if problem is not None:
                self._report(f"{self.stream.name}: {problem}")
            elif self._progress.problem != STARTING:
                self._report(f"{self.stream.name}: all is well again.")
            self._progress.problem = problem
