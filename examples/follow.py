"""A reference consumer: follows `pension.events` and applies every fact once, whatever is killed and whatever arrives twice.

    python examples/follow.py --bootstrap 127.0.0.1:9092 --topic pension.events --state facts.sqlite

It stands alone: kafka-python and the standard library are all it needs. Three things make it right, and each is needed:

1. What a fact does, the highest position seen in its partition, and the next offset change in one transaction of its own
   database. Kafka's own offsets are not used: they could not be part of it.
2. A fact whose position is not above the highest one seen in its partition has been applied, and is dropped. The outlet publishes
   at least once, so facts may arrive again; but in a partition no fact arrives for the first time after a later one.
3. It starts where its database says. A topic that was made anew, or that has lost what was not read, stops it: beginning
   again would pass facts over.

All facts about one entity that is first in their tags have one key, so they stand in one partition, in order. Between partitions
there is no order but that of the positions. One process reads all partitions here. Several may share them in a consumer group if
their database is a common one, where a process that loses a partition can write nothing more about it.
"""

# ruff: noqa: INP001 - a program that stands alone, not a part of a package

import argparse
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

POLL_MS = 500
MAX_RECORDS = 1_000

TABLES = """
CREATE TABLE IF NOT EXISTS source (topic TEXT PRIMARY KEY, topic_id TEXT NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS place (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, highest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fact (
    applied INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL UNIQUE,
    partition INTEGER, subject TEXT, type TEXT, data BLOB
);
CREATE TABLE IF NOT EXISTS tally (subject TEXT PRIMARY KEY, facts INTEGER NOT NULL);
"""
ADD_FACT = "INSERT INTO fact (position, partition, subject, type, data) VALUES (?, ?, ?, ?, ?)"
ADD_TO_TALLY = "INSERT INTO tally VALUES (?, 1) ON CONFLICT (subject) DO UPDATE SET facts = facts + 1"
MOVE = "UPDATE place SET next_offset = ?, highest = ? WHERE partition = ?"


class TopicOther(RuntimeError):
    """The topic is not the one that was followed so far, or it has lost what was not read; begin with an empty state file."""


class NoFact(RuntimeError):
    """A message in the topic does not come from the ledger's outlet; only that one may write to it."""


class Follower:
    """The database, and what is done with facts."""

    def __init__(self, state: Path) -> None:
        """Open the database, and make its tables."""
        self.database = sqlite3.connect(state, isolation_level=None)
        self.database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + TABLES)

    def begin(self, topic: str, topic_id: str, partitions: int) -> dict[int, int]:
        """The next offset of each partition. Raises TopicOther."""
        self.database.execute("BEGIN IMMEDIATE")
        known = self.database.execute("SELECT topic, topic_id, partitions FROM source").fetchone()
        if known is None:
            self.database.execute("INSERT INTO source VALUES (?, ?, ?)", (topic, topic_id, partitions))
            for partition in range(partitions):
                self.database.execute("INSERT INTO place VALUES (?, 0, 0)", (partition,))
        self.database.execute("COMMIT")
        if known not in (None, (topic, topic_id, partitions)):
            raise TopicOther(
                f"{topic} ({topic_id}, {partitions} partitions): {TopicOther.__doc__} It followed {known}."
            )
        return dict(self.database.execute("SELECT partition, next_offset FROM place").fetchall())

    def count(self, until: int) -> int:
        """How many of the facts up to a position have been applied."""
        return int(self.database.execute("SELECT count(*) FROM fact WHERE position <= ?", (until,)).fetchone()[0])

    def take(self, partition: int, records: Sequence[Any]) -> list[tuple[int, str, str]]:
        """Apply what is new among these, in one transaction; what that was. Raises NoFact."""
        applied = []
        self.database.execute("BEGIN IMMEDIATE")
        try:
            row = self.database.execute("SELECT highest FROM place WHERE partition = ?", (partition,)).fetchone()
            highest = int(row[0])
            for record in records:
                headers = dict(record.headers)
                position = position_of(headers)
                if position <= highest:
                    continue
                highest = position
                applied.append((position, *self._apply(partition, position, headers, record.value)))
            self.database.execute(MOVE, (records[-1].offset + 1, highest, partition))
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")
        return applied

    def _apply(self, partition: int, position: int, headers: dict[str, bytes], data: bytes) -> tuple[str, str]:
        """What a fact does. Here it is kept and counted; put your own in its place, in the same transaction."""
        subject, type_name = headers.get("ce_subject", b"").decode(), headers["ce_type"].decode()
        self.database.execute(ADD_FACT, (position, partition, subject, type_name, data))
        self.database.execute(ADD_TO_TALLY, (subject,))
        return type_name, subject


def position_of(headers: dict[str, bytes]) -> int:
    """The place of a fact in the one order of the journal. Raises NoFact."""
    try:
        return int(headers["ce_position"])
    except (KeyError, ValueError) as error:
        raise NoFact(NoFact.__doc__) from error


def topic_of(bootstrap: str, topic: str) -> tuple[str, int]:
    """The id that the broker gave the topic, and how many partitions it has. Raises TopicOther, KafkaError."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        described = client.describe_topics([topic])[0]
    finally:
        client.close()
    if described["error_code"] != 0:
        raise TopicOther(f"{topic} is missing. {TopicOther.__doc__}")
    return str(described["topic_id"]), len(described["partitions"])


def follow(bootstrap: str, topic: str, state: Path, until: int | None) -> None:
    """Follow for ever, or until all facts up to a position are applied. Raises TopicOther, NoFact, KafkaError."""
    follower = Follower(state)
    places = follower.begin(topic, *topic_of(bootstrap, topic))
    lacking = None if until is None else until - follower.count(until)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        enable_auto_commit=False,
        # Never skip: an offset that is not there any more is an error.
        auto_offset_reset="none",
    )
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in places])
        for partition, offset in places.items():
            consumer.seek(TopicPartition(topic, partition), offset)
        while lacking is None or lacking > 0:
            for place, records in consumer.poll(timeout_ms=POLL_MS, max_records=MAX_RECORDS).items():
                for position, type_name, subject in follower.take(place.partition, records):
                    sys.stdout.write(f"{position} {type_name} {subject}\n")
                    if until is not None and lacking is not None and position <= until:
                        lacking -= 1
                sys.stdout.flush()
    except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
        raise TopicOther(f"{topic}: {error}. {TopicOther.__doc__}") from error
    finally:
        consumer.close()


def main() -> None:
    """Read the options, and follow."""
    options = argparse.ArgumentParser(description="Follow the facts of the pension account ledger.")
    options.add_argument("--bootstrap", required=True, help="brokers to begin with, host:port and commas between")
    options.add_argument("--topic", default="pension.events")
    options.add_argument("--state", type=Path, required=True, help="SQLite file; it is made where it is missing")
    options.add_argument("--until", type=int, help="end when all facts up to this position are applied")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        follow(given.bootstrap, given.topic, given.state, given.until)
    except (TopicOther, NoFact, KafkaError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(0)


def stop(_number: int, _frame: FrameType | None) -> None:
    """End as at Ctrl-C: a transaction that is open is undone."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
