"""A reference consumer: follows `pension.events` and applies every fact once, whatever is killed and whatever arrives twice.

    python examples/follow.py --bootstrap 127.0.0.1:9092 --topic pension.events --state facts.sqlite

It stands alone: kafka-python and the standard library are all it needs. Three things make it right, and each is needed:

1. What a fact does, the highest position seen in its partition, and the next offset change in one transaction of its own
   database. Kafka's own offsets are not used: they could not be part of it.
2. A fact whose position is not above the highest one seen in its partition has been applied, and is dropped. The outlet publishes
   at least once, so facts may arrive again; but in a partition no fact arrives for the first time after a later one.
3. It starts where its database says. A topic that was made anew, or that has lost what was not read, stops it: beginning
   again would pass facts over. So does one that was given more partitions, until somebody starts it with `--new-partitions`.

All facts about one entity that is first in their tags have one key, so they stand in one partition, in order. Between partitions
there is no order but that of the positions; so where partitions are added, and keys move, a later fact of a key may be applied
before an earlier one, and who minds that waits for the positions between them. One process reads all partitions here. Several
may share them in a consumer group if their database is a common one, where a process that loses a partition can write nothing
more about it.
"""

# ruff: noqa: INP001 - a program that stands alone, not a part of a package

import argparse
import json
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
# So soon after partitions were added it is seen; until then nothing is lost, because they are read from their start.
LOOKS_EVERY_MS = 30_000
OPTIONS = ("security_protocol", "ssl_", "sasl_")

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
ADD_PLACE = "INSERT INTO place VALUES (?, 0, 0)"
SHARE = "UPDATE source SET partitions = ?"
MOVE = "UPDATE place SET next_offset = ?, highest = ? WHERE partition = ?"


class TopicOther(RuntimeError):
    """The topic is not the one that was followed so far, or it has lost what was not read; begin with an empty state file."""


class TopicMissing(RuntimeError):
    """There is no such topic, or this login may not describe it; check --bootstrap, --topic and --options."""


class PartitionsOther(RuntimeError):
    """The topic has another number of partitions than before; where some were added, start again with --new-partitions."""


class OptionsUnusable(ValueError):
    """The file of --options must hold a JSON object of kafka-python's security_protocol, ssl_* and sasl_*."""


class NoFact(RuntimeError):
    """A message in the topic does not come from the ledger's outlet; only that one may write to it."""


class Follower:
    """The database, and what is done with facts."""

    def __init__(self, state: Path) -> None:
        """Open the database, and make its tables."""
        self.database = sqlite3.connect(state, isolation_level=None)
        self.database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + TABLES)

    def begin(self, topic: str, topic_id: str, partitions: int, *, may_grow: bool) -> dict[int, int]:
        """The next offset of each partition. Raises TopicOther, PartitionsOther."""
        self.database.execute("BEGIN IMMEDIATE")
        known = self.database.execute("SELECT topic, topic_id, partitions FROM source").fetchone()
        if known is None:
            self.database.execute("INSERT INTO source VALUES (?, ?, ?)", (topic, topic_id, partitions))
            known = topic, topic_id, 0
            may_grow = True
        grows = known[:2] == (topic, topic_id) and known[2] < partitions and may_grow
        if grows:
            self.database.executemany(ADD_PLACE, [(partition,) for partition in range(known[2], partitions)])
            self.database.execute(SHARE, (partitions,))
        self.database.execute("COMMIT")
        if known[:2] != (topic, topic_id):
            raise TopicOther(f"{topic} ({topic_id}): {TopicOther.__doc__} It followed {known[0]} ({known[1]}).")
        if known[2] != partitions and not grows:
            raise PartitionsOther(f"{topic} has {partitions}, and had {known[2]}: {PartitionsOther.__doc__}")
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


def options_of(bootstrap: str, path: Path | None) -> dict[str, Any]:
    """Where the brokers are, and how to log in. Raises OptionsUnusable, OSError."""
    try:
        options = {} if path is None else dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise OptionsUnusable(f"{path}: {error}. {OptionsUnusable.__doc__}") from error
    if not all(name.startswith(OPTIONS) for name in options):
        raise OptionsUnusable(f"{path}: {', '.join(options)}. {OptionsUnusable.__doc__}")
    return {**options, "bootstrap_servers": bootstrap.split(",")}


def topic_of(options: dict[str, Any], topic: str) -> tuple[str, int]:
    """The id that the broker gave the topic, and how many partitions it has. Raises TopicMissing, KafkaError."""
    client = KafkaAdminClient(**options)
    try:
        described = client.describe_topics([topic])[0]
    finally:
        client.close()
    if described["error_code"] != 0:
        raise TopicMissing(f"{topic}: {TopicMissing.__doc__}")
    return str(described["topic_id"]), len(described["partitions"])


def partitions_known(consumer: KafkaConsumer, topic: str) -> int:
    """As the client last heard; 0 while no broker tells it."""
    try:
        return len(consumer.partitions_for_topic(topic))
    except KafkaError:
        return 0


def follow(options: dict[str, Any], topic: str, state: Path, until: int | None, *, may_grow: bool) -> None:
    """Follow for ever, or until all facts up to a position are applied. Raises the errors above, KafkaError."""
    follower = Follower(state)
    places = follower.begin(topic, *topic_of(options, topic), may_grow=may_grow)
    lacking = None if until is None else until - follower.count(until)
    consumer = KafkaConsumer(
        **options,
        enable_auto_commit=False,
        metadata_max_age_ms=LOOKS_EVERY_MS,
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
            if (there := partitions_known(consumer, topic)) > len(places):
                raise PartitionsOther(f"{topic} has {there}, and had {len(places)}: {PartitionsOther.__doc__}")
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
    options.add_argument("--options", type=Path, help="JSON file of kafka-python's security_protocol, ssl_* and sasl_*")
    options.add_argument("--new-partitions", action="store_true", help="partitions were added: read them too")
    options.add_argument("--until", type=int, help="end when all facts up to this position are applied")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        login = options_of(given.bootstrap, given.options)
        follow(login, given.topic, given.state, given.until, may_grow=given.new_partitions)
    except (TopicOther, TopicMissing, PartitionsOther, OptionsUnusable, NoFact, OSError) as error:
        sys.exit(str(error))
    except sqlite3.Error as error:
        sys.exit(f"{given.state}: {error}. --state names a SQLite file that may be written, of one follower alone.")
    except KafkaError as error:
        sys.exit(f"{error}. Kafka does not answer; check --bootstrap and --options, and whether the brokers run.")
    except KeyboardInterrupt:
        sys.exit(0)


def stop(_number: int, _frame: FrameType | None) -> None:
    """End as at Ctrl-C: a transaction that is open is undone."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
