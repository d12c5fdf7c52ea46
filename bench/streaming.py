"""Kafka: the intake beside a bare consumer of the same messages, the outlet, and the time from a message to its published fact.

The broker is a real Apache Kafka on the same two cores as PostgreSQL, the intake and the outlet.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.report import Report, Scale
from bench.world import SYSTEMS, World, set_up
from ledger.application import Ledger
from ledger.broker import make_topics
from ledger.database import Database, TemporaryServer
from ledger.domain.commands import Command
from ledger.settings import Settings
from ledger.signing import HEADER, SigningKey, hmac_signing_key, sign
from tests.brokers import Broker

ACCOUNTS = 20_000
SINGLES = 40_000
LISTED = 100_000
LIST = 500
PARTITIONS = 4
ROUNDS = 2
# Of the messages, when the clock starts: processes and the group have started by then.
WARMED_UP = 0.1
PACE = 1_000
PACED_S = 30
LEFT_OUT_S = 5
WAIT_S = 600
LOOK_EVERY_S = 0.02

POSTED = "SELECT coalesce(sum(next_offset), 0) FROM intake_offset WHERE topic = '{topic}'"
TAKEN = "SELECT count(*) FROM intake_offset WHERE topic = '{topic}'"
PUBLISHED = "SELECT position FROM outlet_position WHERE stream = 'events'"


class Scenario(NamedTuple):
    """How commands are sent."""

    name: str
    commands: int
    in_a_list: int
    algorithm: str


class Message(NamedTuple):
    """As the producer takes it."""

    value: bytes
    key: bytes
    headers: list[tuple[str, bytes]]


class Sender:
    """The source systems of the world, with a key of each kind each."""

    def __init__(self, folder: Path) -> None:
        """Their keys are written where the intake reads them."""
        self.keys: dict[tuple[str, str], SigningKey] = {}
        written = []
        for _, system, _, _, _ in SYSTEMS:
            private, secret = Ed25519PrivateKey.generate(), os.urandom(32)
            self.keys["Ed25519", system] = SigningKey(f"{system}-ed25519", private.sign)
            self.keys["HMAC", system] = hmac_signing_key(f"{system}-hmac", secret)
            poster = {"sub": f"system:{system}", "source": system}
            public = _spelled(private.public_key().public_bytes_raw())
            written.append({"kid": f"{system}-ed25519", "kty": "OKP", "crv": "Ed25519", "x": public, **poster})
            written.append({"kid": f"{system}-hmac", "kty": "oct", "k": _spelled(secret), **poster})
        self.path = folder / "source-keys.json"
        self.path.write_text(json.dumps({"keys": written}), encoding="utf-8")
        self.path.chmod(0o600)

    def message(self, topic: str, commands: Sequence[Command], algorithm: str) -> Message:
        """The commands, which are of one system, as one message."""
        spelled = [command.model_dump(mode="json", exclude_none=True) for command in commands]
        value = json.dumps(spelled if len(spelled) > 1 else spelled[0]).encode()
        key = str(spelled[0]["account"]).encode()
        signing = self.keys[algorithm, commands[0].actor.partition(":")[2]]
        return Message(value, key, [(HEADER, sign(signing, topic=topic, key=key, value=value))])


def streaming(server: TemporaryServer, scale: Scale, report: Report) -> None:
    """All of it, on databases and topics of its own."""
    scenarios = [
        Scenario(f"{name}, {algorithm}", int(commands * scale.rounds_share), in_a_list, algorithm)
        for name, commands, in_a_list in (("one command a message", SINGLES, 1), ("500 a message", LISTED, LIST))
        for algorithm in ("HMAC", "Ed25519")
    ]
    with Broker("apache") as broker, tempfile.TemporaryDirectory() as folder:
        sender = Sender(Path(folder))
        world = World(ACCOUNTS)
        database = server.create_database("streaming")
        set_up(Ledger(database), world)
        measured: dict[str, list[tuple[float, float]]] = {}
        for _ in range(ROUNDS if scale.rounds_share >= 1 else 1):
            for scenario in scenarios:
                measured.setdefault(scenario.name, []).append(
                    _intake(scenario, world, sender, database, _settings(database, broker, sender, folder))
                )
        report.table(
            f"The intake over Kafka, {world.sequence:,} commands in all",
            "| messages | commands/s, each round | bare consumer, commands/s, each round |",
            [
                f"| {name} | {_listed(ours for ours, _ in rounds)} | {_listed(bare for _, bare in rounds)} |"
                for name, rounds in measured.items()
            ],
        )
        _outlet(database, _settings(database, broker, sender, folder), report)
        _latency(world, sender, database, _settings(database, broker, sender, folder), report)
        database.close()


def _listed(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:,.0f}" for rate in rates)


def _settings(database: Database, broker: Broker, sender: Sender, folder: str) -> Settings:
    """With topics that are made anew."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    settings = Settings(
        database_url=database.url,
        data_folder=Path(folder) / "data",
        kafka_bootstrap_servers=broker.bootstrap,
        source_keys=sender.path,
        commands_topic=f"{name}.commands",
        events_topic=f"{name}.events",
        refusals_topic=f"{name}.refusals",
        intake_group=f"{name}.intake",
    )
    make_topics(settings, partitions=PARTITIONS, replicas=1)
    return settings


def _intake(
    scenario: Scenario, world: World, sender: Sender, database: Database, settings: Settings
) -> tuple[float, float]:
    """Commands a second end to end, and as a bare consumer reads the same messages."""
    messages = _fill(scenario, world, sender, settings)
    bare = _bare_consumer(settings, messages) * scenario.commands / messages
    with database.connect(autocommit=True) as connection, _running(settings, database.url, "intake"):

        def posted() -> int:
            row = connection.execute(POSTED.format(topic=settings.commands_topic).encode()).fetchone()
            assert row is not None
            return int(row[0])

        rate = _rate(posted, 0, messages)
        row = connection.execute(b"SELECT count(*) FROM refused_message").fetchone()
        assert row == (0,), row
    return rate * scenario.commands / messages, bare


def _fill(scenario: Scenario, world: World, sender: Sender, settings: Settings) -> int:
    """The messages lie in the topic before anything is timed."""
    producer = _producer(settings)
    messages = 0
    if scenario.in_a_list == 1:
        for command in world.payroll(scenario.commands):
            producer.send(
                settings.commands_topic,
                **sender.message(settings.commands_topic, [command], scenario.algorithm)._asdict(),
            )
            messages += 1
    else:
        for _ in range(scenario.commands // scenario.in_a_list):
            accounts = world.accounts[0]
            start = world.random.randrange(len(accounts) - scenario.in_a_list)
            batch = [world.contribution(0, account) for account in accounts[start : start + scenario.in_a_list]]
            producer.send(
                settings.commands_topic, **sender.message(settings.commands_topic, batch, scenario.algorithm)._asdict()
            )
            messages += 1
    producer.flush()
    producer.close()
    return messages


def _producer(settings: Settings) -> KafkaProducer:
    return KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, linger_ms=5, batch_size=256 * 1024)


def _bare_consumer(settings: Settings, messages: int) -> float:
    """Messages a second that the client reads and does nothing with: the floor."""
    consumer = _consumer(settings, settings.commands_topic)
    read = 0
    start = time.perf_counter()
    while read < messages:
        read += sum(len(records) for records in consumer.poll(1_000, 2_000).values())
    rate = read / (time.perf_counter() - start)
    consumer.close()
    return rate


def _consumer(settings: Settings, topic: str) -> KafkaConsumer:
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        enable_auto_commit=False,
        fetch_max_bytes=16 * 2**20,
        max_partition_fetch_bytes=4 * 2**20,
    )
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    return consumer


def _outlet(database: Database, settings: Settings, report: Report) -> None:
    """Publish the whole journal to a new topic."""
    with database.connect(autocommit=True) as connection:
        row = connection.execute(b"SELECT size FROM head").fetchone()
        assert row is not None

        def published() -> int:
            found = connection.execute(PUBLISHED.encode()).fetchone()
            assert found is not None
            return int(found[0])

        with _running(settings, database.outlet_url, "outlet"):
            rate = _rate(published, published(), int(row[0]))
    report.table(f"The outlet, {int(row[0]):,} facts", "| facts/s |", [f"| {rate:,.0f} |"])


def _latency(world: World, sender: Sender, database: Database, settings: Settings, report: Report) -> None:
    """Single messages at an even pace; until a consumer has the fact."""
    sent: dict[str, float] = {}
    came: dict[str, float] = {}
    done = threading.Event()
    consumer = _consumer(settings, settings.events_topic)
    listening = threading.Thread(target=_listen, args=(consumer, came, done))
    with (
        _running(settings, database.url, "intake"),
        # The topics are others than the ones that were published to before.
        _running(settings, database.outlet_url, "outlet", "--new-topic", "accept"),
    ):
        _taken(database, settings)
        listening.start()
        producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, linger_ms=0)
        prepared = [
            (command.command_id, sender.message(settings.commands_topic, [command], "HMAC"))
            for command in world.payroll(PACE * PACED_S)
        ]
        start = time.perf_counter()
        for number, (name, message) in enumerate(prepared):
            time.sleep(max(0.0, start + number / PACE - time.perf_counter()))
            sent[name] = time.perf_counter()
            producer.send(settings.commands_topic, **message._asdict())
        producer.flush()
        pace = len(prepared) / (time.perf_counter() - start)
        deadline = time.monotonic() + WAIT_S
        while len(came.keys() & sent.keys()) < len(sent):
            assert time.monotonic() < deadline, "not all facts were published"
            time.sleep(LOOK_EVERY_S)
        done.set()
        listening.join()
        producer.close()
    latencies = sorted(came[name] - at for name, at in sent.items() if at > start + LEFT_OUT_S)
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    report.table(
        f"From message to published fact, {pace:,.0f} single messages a second for {PACED_S} s",
        "| median, ms | p99, ms | most, ms |",
        [f"| {p50 * 1_000:,.0f} | {p99 * 1_000:,.0f} | {latencies[-1] * 1_000:,.0f} |"],
    )


def _taken(database: Database, settings: Settings) -> None:
    """Wait until the intake has its partitions."""
    deadline = time.monotonic() + WAIT_S
    with database.connect(autocommit=True) as connection:
        while connection.execute(TAKEN.format(topic=settings.commands_topic).encode()).fetchone() != (PARTITIONS,):
            assert time.monotonic() < deadline, "the intake does not start"
            time.sleep(LOOK_EVERY_S)


def _listen(consumer: KafkaConsumer, came: dict[str, float], done: threading.Event) -> None:
    while not done.is_set():
        for records in consumer.poll(100, 5_000).values():
            now = time.perf_counter()
            for record in records:
                name = next(value for name, value in record.headers if name == "ce_commandid").decode()
                came.setdefault(name, now)
    consumer.close()


def _rate(reached: Callable[[], int], start_at: int, until: int) -> float:
    """A second, between the first tenth and the end."""
    warm = start_at + int((until - start_at) * WARMED_UP)
    deadline = time.monotonic() + WAIT_S
    begun: tuple[float, int] | None = None
    while (now := reached()) < until:
        if begun is None and now >= warm:
            begun = time.perf_counter(), now
        assert time.monotonic() < deadline, "it does not come to the end"
        time.sleep(LOOK_EVERY_S)
    assert begun is not None, "too few messages to measure"
    return (until - begun[1]) / (time.perf_counter() - begun[0])


@contextmanager
def _running(settings: Settings, url: str, *command: str) -> Iterator[None]:
    given = settings.model_dump(exclude_unset=True, exclude={"database_url"}, mode="json")
    environment = {f"LEDGER_{name.upper()}": str(value) for name, value in given.items()}
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "ledger", *command],
        env=os.environ | environment | {"LEDGER_DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert process.poll() is None, f"{command[0]} ended by itself"
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _spelled(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
