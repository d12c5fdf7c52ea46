"""The brokers that tests run with are real, and Apache Kafka is what was locked."""

import re
import shutil
import uuid
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.brokers import Broker, BrokerFailed, choose
from tests.kafka import fetch
from tests.kafka.topics import Topics, make_topics

WAIT_MS = 30_000
MESSAGES = [b"%d" % number for number in range(100)]

needs_apache = pytest.mark.skipif(not fetch.JARS.exists(), reason="Apache Kafka is not there; `make kafka` fetches it")


def produce(broker: Broker, topic: str) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        sent = [producer.send(topic, value, b"key", partition=0) for value in MESSAGES]
        for each in sent:
            each.get(WAIT_MS / 1000)


def consume(broker: Broker, topic: str) -> list[bytes]:
    """As many as were produced, or fewer when no more come."""
    with KafkaConsumer(
        bootstrap_servers=broker.bootstrap, enable_auto_commit=False, consumer_timeout_ms=WAIT_MS
    ) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        return [record.value for _, record in zip(MESSAGES, consumer, strict=False)]


def test_what_is_produced_is_read(broker: Broker, topics: Topics) -> None:
    produce(broker, topics.commands)
    assert consume(broker, topics.commands) == MESSAGES


@needs_apache
def test_a_killed_broker_comes_back_with_what_it_acknowledged() -> None:
    with Broker("apache") as broker:
        topics = make_topics(broker)
        produce(broker, topics.commands)
        bootstrap = broker.bootstrap
        broker.kill()
        broker.start()
        assert broker.bootstrap == bootstrap
        assert consume(broker, topics.commands) == MESSAGES
        broker.restart()
        assert consume(broker, topics.commands) == MESSAGES


def test_a_broker_that_is_named_is_the_one_and_is_left_running(
    broker: Broker, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap)
    monkeypatch.setenv("KAFKA_TEST_BROKER", "wheel")
    with Broker() as named:
        assert (named.kind, named.bootstrap) == ("external", broker.bootstrap)
        produce(named, topics.commands)
        named.stop()
    assert consume(broker, topics.commands) == MESSAGES


def test_a_broker_that_is_forced_is_taken_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("KAFKA_TEST_BROKER", "apache")
    monkeypatch.setattr("tests.brokers.JARS", Path("/nonexistent") / uuid.uuid4().hex)
    broker = Broker()
    with pytest.raises(BrokerFailed, match="make kafka"), broker:
        pass
    assert not broker.folder.exists()
    monkeypatch.setenv("KAFKA_TEST_BROKER", "apachee")
    with pytest.raises(BrokerFailed, match="is apache or wheel, not apachee"):
        choose()


def locked_jars(folder: Path) -> tuple[Path, Path]:
    """Three jars, and their lock."""
    jars, lock = folder / "jars", folder / "jars.sha256"
    jars.mkdir()
    for name in ("a-1.jar", "b-2.0.jar", "c_2.13-4.1.1.jar"):
        (jars / name).write_bytes(name.encode())
    fetch.renew(jars, lock)
    fetch.check(jars, lock)
    return jars, lock


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a-1.jar", b"something else", "a-1.jar has the SHA-256 sum [0-9a-f]{64}, and [0-9a-f]{64} is locked"),
        ("b-2.0.jar", None, "b-2.0.jar is missing"),
        ("d-1.jar", b"one more", "d-1.jar is not locked"),
    ],
)
def test_a_changed_a_missing_and_a_surplus_jar_are_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    jars, lock = locked_jars(tmp_path)
    if content is None:
        (jars / name).unlink()
    else:
        (jars / name).write_bytes(content)
    with pytest.raises(fetch.FetchRefused, match=reason):
        fetch.check(jars, lock)
    assert len(fetch.differences(jars, lock)) == 1


def test_a_lock_that_is_missing_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    jars, lock = locked_jars(tmp_path)
    with pytest.raises(fetch.FetchRefused, match="is missing; write it with"):
        fetch.check(jars, lock.with_name("none.sha256"))
    lock.write_text(lock.read_text().replace("a-1.jar", "../a-1.jar"))
    with pytest.raises(fetch.FetchRefused, match="this is no sum and jar"):
        fetch.check(jars, lock)


def test_what_the_broker_runs_is_locked_in_the_version_that_the_project_names() -> None:
    pom = fetch.POM.read_text(encoding="utf-8")
    named = re.search(r"<artifactId>(kafka_[\d.]+)</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert named is not None
    assert f"{named[1]}-{named[2]}.jar" in fetch.locked(fetch.LOCK)


def test_without_maven_or_java_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(fetch.FetchRefused, match="install Maven"):
        fetch.copy_jars(tmp_path)
    for name, said in (("mvn", ""), ("java", 'openjdk version \\"11.0.2\\"')):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{said}" >&2\n')
        program.chmod(0o700)
    with pytest.raises(fetch.FetchRefused, match="Java 17 or newer is missing"):
        fetch.copy_jars(tmp_path)


def test_jars_that_are_not_as_locked_are_never_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that are in place already are left alone, without asking Maven."""
    jars, lock = locked_jars(tmp_path)

    def bring(folder: Path) -> None:
        shutil.copytree(jars, folder, dirs_exist_ok=True)
        (folder / "a-1.jar").write_bytes(b"something else")

    place = tmp_path / ".kafka" / "jars"
    monkeypatch.setattr(fetch, "JARS", place)
    monkeypatch.setattr(fetch, "LOCK", lock)
    monkeypatch.setattr(fetch, "copy_jars", bring)
    with pytest.raises(fetch.FetchRefused, match=r"a-1\.jar has the SHA-256 sum"):
        fetch.fetch(renews=False)
    assert not place.exists()
    shutil.copytree(jars, place)
    assert "as it was locked" in fetch.fetch(renews=False)
