"""The reference consumer against a real broker: every fact exactly once in its database, whatever is killed."""

from __future__ import annotations

import gc
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from tests.kafka.reading import read_records
from tests.kafka.test_outlet import fill, head_of, running, settings_of
from tests.kafka.topics import make_topics
from tests.programs import PATIENCE_S, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database
    from tests.brokers import Broker
    from tests.kafka.topics import Topics

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.*laddr=.'0.0.0.0':ResourceWarning")


@pytest.fixture(autouse=True)
def _close_what_the_client_left() -> Iterator[None]:
    """Before the warnings of these tests end."""
    yield
    gc.collect()


FOLLOW = Path(__file__).parents[2] / "examples" / "follow.py"
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))
LONGEST_S = 1.5


def follow(broker: Broker, topic: str, state: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, FOLLOW, "--bootstrap", broker.bootstrap, "--topic", topic, "--state", state, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_each_fact_once_in_order(state: Path, until: int) -> None:
    """In the consumer's database: no fact lacks or is doubled, those of a key came in order, the tally agrees."""
    with closing(sqlite3.connect(state)) as connection:
        facts = connection.execute("SELECT position, subject FROM fact ORDER BY applied").fetchall()
        tally = dict(connection.execute("SELECT subject, facts FROM tally").fetchall())
    assert sorted(position for position, _ in facts) == list(range(1, until + 1))
    by_subject: dict[str, list[int]] = {}
    for position, subject in facts:
        by_subject.setdefault(subject, []).append(position)
    assert all(positions == sorted(positions) for positions in by_subject.values())
    assert tally == {subject: len(positions) for subject, positions in by_subject.items()}


def test_it_applies_every_fact_once_and_says_so(
    broker: Broker, topics: Topics, database: Database, tmp_path: Path
) -> None:
    """One line a fact; repeats on the topic bring none. It goes on where it was."""
    fill(database, 100)
    head = head_of(database)
    for _ in range(2):
        with running(database, settings_of(broker, topics)) as run:
            run.wait_until_published(head)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("UPDATE outlet_position SET position = 0")
    assert sum(map(len, read_records(broker.bootstrap, topics.events, at_least=2 * head).values())) == 2 * head
    state = tmp_path / "facts.sqlite"
    output, errors = follow(broker, topics.events, state, "--until", "30").communicate(timeout=PATIENCE_S)
    again, more_errors = follow(broker, topics.events, state, "--until", str(head)).communicate(timeout=PATIENCE_S)
    positions = [int(line.split()[0]) for line in (output + again).splitlines()]
    assert sorted(positions) == list(range(1, head + 1)), errors + more_errors
    assert_each_fact_once_in_order(state, head)


def test_outlet_and_consumer_killed_at_random_leave_every_fact_once(
    broker: Broker, topics: Topics, database: Database, tmp_path: Path
) -> None:
    """SIGKILL, both, again and again, while facts come in; what a kill left undecided arrives twice on the topic."""
    rng = random.Random(5)  # noqa: S311 - a test, no secret
    state = tmp_path / "facts.sqlite"
    variables = topics.settings(broker)
    for number in range(ROUNDS):
        with ExitStack() as stack:
            stack.enter_context(Program("tests.kafka.publishing_outlet", database.outlet_url, "7", settings=variables))
            follower = follow(broker, topics.events, state)
            stack.callback(follower.communicate)
            stack.callback(follower.kill)
            fill(database, 150, f"n{number}-")
            time.sleep(rng.uniform(0, LONGEST_S))
        with psycopg.connect(database.admin_url) as connection:
            connection.execute(
                "UPDATE outlet_position SET position = greatest(0, position - %s) WHERE stream = 'events'",
                (rng.randrange(100),),
            )
    head = head_of(database)
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until_published(head)
    output, errors = follow(broker, topics.events, state, "--until", str(head)).communicate(timeout=PATIENCE_S)
    assert not errors, output
    assert_each_fact_once_in_order(state, head)


def test_a_topic_made_anew_is_not_followed_from_the_old_place(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    """Its database belongs to one topic, by the id that the broker gave it."""
    state = tmp_path / "facts.sqlite"
    follow(broker, topics.events, state, "--until", "0").communicate(timeout=PATIENCE_S)
    other = make_topics(broker).events
    process = follow(broker, other, state, "--until", "0")
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "not the one that was followed so far" in errors
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("UPDATE source SET topic = ?", (other,))
        connection.commit()
    process = follow(broker, other, state, "--until", "0")
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert "not the one that was followed so far" in errors


def test_partitions_that_were_added_stop_it_until_somebody_has_seen_that(
    broker: Broker, topics: Topics, database: Database, tmp_path: Path
) -> None:
    """While it runs and when it starts; nothing in them is passed over, because they are then read from their start."""
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker adds no partitions")
    state = tmp_path / "facts.sqlite"
    fill(database, 20)
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until_published(head_of(database))
        process = follow(broker, topics.events, state)
        assert process.stdout is not None
        process.stdout.readline()
        client = KafkaAdminClient(bootstrap_servers=broker.bootstrap.split(","))
        client.create_partitions({topics.events: 7})
        client.close()
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, "start again with --new-partitions" in errors) == (1, True), errors
        process = follow(broker, topics.events, state)
        assert "start again with --new-partitions" in process.communicate(timeout=PATIENCE_S)[1]
        run.wait_until(lambda: any("7 partitions" in each for each in run.reports))
        fill(database, 20, "b")
        head = head_of(database)
        run.wait_until_published(head)
    process = follow(broker, topics.events, state, "--until", str(head), "--new-partitions")
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    with closing(sqlite3.connect(state)) as connection:
        facts = connection.execute("SELECT position, partition FROM fact ORDER BY position").fetchall()
    assert [position for position, _ in facts] == list(range(1, head + 1))
    assert max(partition for _, partition in facts) > 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--topic", "none-of-that-name"], "check --bootstrap, --topic and --options"),
        (["--state", "/nowhere/facts.sqlite"], "--state names a SQLite file that may be written"),
        (["--options", __file__], "must hold a JSON object of kafka-python's"),
        (["--options", "/nowhere"], "/nowhere"),
    ],
    ids=["topic", "state", "options", "no options"],
)
def test_what_it_cannot_use_is_said(broker: Broker, topics: Topics, tmp_path: Path, more: list[str], said: str) -> None:
    """In a sentence, and not by a traceback."""
    process = follow(broker, topics.events, tmp_path / "facts.sqlite", *more)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said in errors
    assert "Traceback" not in errors


def test_an_offset_that_is_not_there_stops_it(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    """Beginning again would pass facts over."""
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker does not say that an offset is out of range")
    state = tmp_path / "facts.sqlite"
    follow(broker, topics.events, state, "--until", "0").communicate(timeout=PATIENCE_S)
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("UPDATE place SET next_offset = 1000")
        connection.commit()
    process = follow(broker, topics.events, state)
    try:
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "it has lost what was not read" in errors


def test_what_the_outlet_has_not_sent_stops_it(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    """Nothing of the batch is applied."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap.split(","))
    producer.send(topics.events, b"{}", b"k").get(PATIENCE_S)
    producer.close()
    state = tmp_path / "facts.sqlite"
    process = follow(broker, topics.events, state)
    try:
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "does not come from the ledger's outlet" in errors
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("SELECT max(next_offset) FROM place").fetchone() == (0,)
