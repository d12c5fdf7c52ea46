"""The outlet against a real broker and a real PostgreSQL: at least once, in order, and it goes on by itself."""

from __future__ import annotations

import gc
import json
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.record.default_records import DefaultRecordBatchBuilder

from ledger import cloudevents, outlet
from ledger.application import Ledger
from ledger.broker import MAX_REFUSALS_MESSAGE_BYTES, TopicMissing
from ledger.cloudevents import HEADER_BYTES, RECORD_BYTES
from ledger.contract.headers import header_schemas
from ledger.journal import Journal
from ledger.outlet import Outlet
from ledger.placing import TopicDecision, TopicNotEmpty, TopicOther
from ledger.publishing import MessageTooLarge, Publisher, partition_of
from ledger.schemas import fact_schema_uri
from ledger.settings import Settings
from tests.commands import contribute, open_account, register
from tests.kafka.reading import first_arrivals, position_of, read_batches, read_records
from tests.programs import PATIENCE_S, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.database import Database
    from tests.brokers import Broker
    from tests.kafka.topics import Topics

# kafka-python leaves a socket that could not be connected to be closed with its last reference.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.*laddr=.'0.0.0.0':ResourceWarning")

ACCOUNTS = 40


@pytest.fixture(autouse=True)
def _close_what_the_client_left() -> Iterator[None]:
    """Before the warnings of these tests end."""
    yield
    gc.collect()


def settings_of(broker: Broker, topics: Topics) -> Settings:
    return Settings(
        kafka_bootstrap_servers=broker.bootstrap,
        commands_topic=topics.commands,
        events_topic=topics.events,
        refusals_topic=topics.refusals,
    )


def make_topic(broker: Broker, name: str, **configs: str) -> None:
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap.split(","))
    try:
        client.create_topics(
            [NewTopic(name, 1, 1, topic_configs={key.replace("_", "."): configs[key] for key in configs})]
        )
    finally:
        client.close()


def fill(database: Database, facts: int, name: str = "a") -> None:
    """So many facts about some accounts, and a little more."""
    ledger = Ledger(database)
    ledger.post([register(f"sys:{name}{number}") for number in range(ACCOUNTS)])
    ledger.post([open_account(f"sys:{name}{number}", f"{name}{number}") for number in range(ACCOUNTS)])
    ledger.post([contribute(f"{name}{number % ACCOUNTS}", 7) for number in range(facts)])


def head_of(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    return int(row[0])


def make_anew(broker: Broker, name: str, partitions: int = 4) -> None:
    """Delete a topic, and make another under its name."""
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap.split(","))
    deadline = time.monotonic() + PATIENCE_S
    try:
        client.delete_topics([name])
        while True:
            try:
                client.create_topics([NewTopic(name, partitions, 1)])
            except TopicAlreadyExistsError:
                assert time.monotonic() < deadline, f"{name} is not deleted"
                time.sleep(0.1)
            else:
                return
    finally:
        client.close()


class Running:
    """An outlet on a thread, and what it has reported."""

    def __init__(
        self, database: Database, settings: Settings, *, new_topic: TopicDecision = TopicDecision.UNDECIDED
    ) -> None:
        self.reports: list[str] = []
        self.outlet = Outlet(database, settings, new_topic=new_topic)
        self.stop = threading.Event()
        self.faults: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.outlet.run(self.stop, report=self.reports.append)
        except AssertionError as fault:
            self.faults.append(fault)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.outlet.state} {self.reports}"
            time.sleep(0.01)

    def wait_until_published(self, position: int) -> None:
        self.wait_until(lambda: self.outlet.state.events.position >= position)


@contextmanager
def running(
    database: Database, settings: Settings, *, new_topic: TopicDecision = TopicDecision.UNDECIDED
) -> Iterator[Running]:
    run = Running(database, settings, new_topic=new_topic)
    run.thread.start()
    try:
        yield run
    finally:
        run.stop.set()
        run.thread.join(PATIENCE_S)
        assert not run.thread.is_alive()


def assert_every_fact_in_order(broker: Broker, topic: str, until: int) -> dict[int, list[Any]]:
    """A reader that drops repeats has each position once, and in each partition in order; what each partition holds."""
    partitions = read_records(broker.bootstrap, topic, at_least=until)
    kept = [position_of(record) for records in partitions.values() for record in first_arrivals(records)]
    assert sorted(kept) == list(range(1, until + 1))
    by_key: dict[bytes | None, set[int]] = {}
    for number, records in partitions.items():
        for record in records:
            by_key.setdefault(record.key, set()).add(number)
    assert all(len(places) == 1 for places in by_key.values())
    return partitions


def test_every_fact_is_published_with_all_that_its_leaf_has(broker: Broker, topics: Topics, database: Database) -> None:
    """The value is the stored bytes; key, subject and headers are those of the row, and as the contract has them."""
    contract = jsonschema_rs.Draft202012Validator(header_schemas()["FactMessage"], validate_formats=True)
    fill(database, 100)
    settings = settings_of(broker, topics)
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
    partitions = assert_every_fact_in_order(broker, topics.events, head_of(database))
    published = {position_of(record): record for records in partitions.values() for record in records}
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT position, type, data, tags, effective_on::text, command_id, actor, recorded_at FROM event"
        ).fetchall()
    assert len(rows) == len(published)
    for position, type_name, data, tags, effective_on, command_id, actor, recorded_at in rows:
        record = published[position]
        headers = dict(record.headers)
        assert record.value == data
        contract.validate({name: text.decode() for name, text in headers.items()})
        assert record.key == headers.pop("ce_subject") == tags[0].encode()
        assert json.loads(headers.pop("ce_tags")) == tags
        assert headers == {
            "ce_specversion": b"1.0",
            "ce_id": str(position).encode(),
            "ce_source": settings.origin.encode(),
            "ce_type": type_name.encode(),
            "ce_time": recorded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode(),
            "ce_dataschema": str(fact_schema_uri(type_name)).encode(),
            "content-type": b"application/json",
            "ce_position": str(position).encode(),
            "ce_effectiveon": effective_on.encode(),
            "ce_commandid": command_id.encode(),
            "ce_actor": actor.encode(),
        }


def test_events_of_the_plain_recorder_say_what_they_are(broker: Broker, topics: Topics, database: Database) -> None:
    """One that is no JSON is bytes; one without tags has no key and no subject."""
    journal = Journal(database)
    journal.append([_event("Plain", b"\xff\x00", []), _event("Plain", b'{"a":1}', ["x:1"])])
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until_published(2)
    records = read_records(broker.bootstrap, topics.events, at_least=2)
    first, second = sorted((each for some in records.values() for each in some), key=position_of)
    assert (first.key, first.value, dict(first.headers)["content-type"]) == (
        None,
        b"\xff\x00",
        b"application/octet-stream",
    )
    assert "ce_subject" not in dict(first.headers)
    assert (second.key, dict(second.headers)["content-type"]) == (b"x:1", b"application/json")


def _event(name: str, data: bytes, tags: list[str]) -> Any:
    from eventsourcing.dcb.api import DCBEvent  # noqa: PLC0415 - for this one test

    return DCBEvent(type=name, data=data, tags=tags)


def test_each_partition_gets_a_round_in_one_batch(
    broker: Broker, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 2 of the outlet, read back from the broker."""
    each = 50
    monkeypatch.setattr(outlet, "MAX_ROUND_MESSAGES", each)
    fill(database, 500)
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until_published(head_of(database))
    batches = [read_batches(broker.bootstrap, topics.events, partition) for partition in range(4)]
    assert sum(len(batch.records) for some in batches for batch in some) == head_of(database)
    for some in batches:
        rounds: list[int] = []
        for batch in some:
            of_batch = {(position_of(record) - 1) // each for record in batch.records}
            assert len(of_batch) == 1
            rounds += of_batch
        assert rounds == sorted(set(rounds))


def test_a_batch_that_the_topic_does_not_take_is_not_split(broker: Broker, database: Database) -> None:
    """Invariant 2 of publishing: nothing of it arrives. The outlet sends smaller rounds instead, and all arrives."""
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker knows no max.message.bytes")
    topic, refusals = f"small-{uuid.uuid4().hex[:12]}", f"small-refusals-{uuid.uuid4().hex[:12]}"
    make_topic(broker, topic, max_message_bytes="3000")
    make_topic(broker, refusals)
    settings = Settings(kafka_bootstrap_servers=broker.bootstrap, events_topic=topic, refusals_topic=refusals)
    fill(database, 300)
    with database.connect_as_outlet() as connection:
        stream = cloudevents.events(topic=topic, origin="x")
        messages = stream.read(connection, after=0, until=head_of(database), most_bytes=900_000)
    publisher = Publisher(settings, topic)
    with pytest.raises(MessageTooLarge):
        publisher.publish(messages, partitions=1, stop=threading.Event())
    publisher.close()
    assert read_batches(broker.bootstrap, topic, 0) == []
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
    assert_every_fact_in_order(broker, topic, head_of(database))


def test_one_message_that_the_topic_does_not_take_is_a_problem_said_once(broker: Broker, database: Database) -> None:
    """It is never passed over."""
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker knows no max.message.bytes")
    topic, refusals = f"tiny-{uuid.uuid4().hex[:12]}", f"tiny-refusals-{uuid.uuid4().hex[:12]}"
    make_topic(broker, topic, max_message_bytes="100")
    make_topic(broker, refusals)
    fill(database, 5)
    settings = Settings(kafka_bootstrap_servers=broker.bootstrap, events_topic=topic, refusals_topic=refusals)
    with running(database, settings) as run:
        run.wait_until(lambda: run.outlet.state.events.failed_rounds >= 9)
        assert [each for each in run.outlet.state.problems() if "max.message.bytes" in each]
    assert len([each for each in run.reports if "raise its `max.message.bytes`" in each]) == 1
    assert read_batches(broker.bootstrap, topic, 0) == []


def test_what_is_published_again_is_the_same(broker: Broker, topics: Topics, database: Database) -> None:
    """At least once: a checkpoint that was lost brings the same messages again, to the same partitions."""
    fill(database, 100)
    settings = settings_of(broker, topics)
    for _ in range(2):
        with running(database, settings) as run:
            run.wait_until_published(head_of(database))
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("UPDATE outlet_position SET position = 0")
    partitions = assert_every_fact_in_order(broker, topics.events, head_of(database))
    for records in partitions.values():
        half = len(records) // 2
        shapes = [(each.key, each.value, each.headers) for each in records]
        assert shapes[:half] == shapes[half:]


def test_one_outlet_publishes_and_another_stands_by_until_it_is_killed(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """A killed outlet's row is free, and the one that stood by goes on where the checkpoint stands."""
    fill(database, 50)
    variables = topics.settings(broker)
    with (
        Program("tests.kafka.publishing_outlet", database.outlet_url, "10", settings=variables) as first,
        running(database, settings_of(broker, topics)) as second,
    ):
        second.wait_until_published(head_of(database))
        second.wait_until(
            lambda: "stands by" in first.output or second.outlet.state.events.standing_by or _more(database)
        )
        if second.outlet.state.events.standing_by:
            first.kill()
        fill(database, 50, "b")
        second.wait_until(lambda: second.outlet.state.events.position == head_of(database))
    assert_every_fact_in_order(broker, topics.events, head_of(database))


def _more(database: Database) -> bool:
    """One fact more, over which two outlets meet."""
    Ledger(database).post([register(f"sys:{uuid.uuid4().hex}")])
    time.sleep(0.05)
    return False


def test_lost_sessions_are_made_anew_and_said_once(broker: Broker, topics: Topics, database: Database) -> None:
    """It goes on by itself when the database has cut it off."""
    fill(database, 50)
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until_published(head_of(database))
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE usename = 'ledger_outlet' AND datname = current_database()"
            ).fetchone()
            assert ended == (2,)
        run.wait_until(lambda: len(run.reports) >= 2)
        fill(database, 50, "b")
        run.wait_until_published(head_of(database))
        run.wait_until(lambda: not run.outlet.state.problems())
    assert sum("does not answer" in each for each in run.reports) == 2
    assert sum("all is well again" in each for each in run.reports) == 2
    assert_every_fact_in_order(broker, topics.events, head_of(database))


def test_a_missing_topic_is_said_once_and_holds_up_nothing_else(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """Refusals wait until somebody makes it; facts do not wait for them."""
    fill(database, 20)
    missing = f"later-{uuid.uuid4().hex[:12]}"
    settings = settings_of(broker, topics).model_copy(update={"refusals_topic": missing})
    refuse(database, value=b"{}")
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
        run.wait_until(lambda: run.outlet.state.refusals.failed_rounds >= 2)
        assert run.outlet.state.problems() == [f"refusals: {missing}: {TopicMissing.__doc__}"]
        make_topic(broker, missing)
        run.wait_until(lambda: run.outlet.state.refusals.position == 1)
        run.wait_until(lambda: not run.outlet.state.problems())
    assert len([each for each in run.reports if missing in each]) == 1
    assert len(read_records(broker.bootstrap, missing, at_least=1)[0]) == 1


def test_a_broker_that_is_away_is_said_once_and_stopping_does_not_wait_for_it(database: Database) -> None:
    """Nobody listens at port 9 of this machine."""
    with running(database, Settings(kafka_bootstrap_servers="127.0.0.1:9")) as run:
        run.wait_until(lambda: ["does not answer" in each for each in run.outlet.state.problems()] == [True, True])
        run.wait_until(lambda: len(run.reports) == 2)
    assert len(run.reports) == 2


def test_a_broker_that_is_killed_loses_nothing(broker: Broker, topics: Topics, database: Database) -> None:
    """Killed while much is published, and started again: all facts are there, in order."""
    if not broker.keeps_data:
        pytest.skip("this broker cannot be killed, or loses all when it is")
    fill(database, 6_000)
    with running(database, settings_of(broker, topics)) as run:
        run.wait_until(lambda: run.outlet.state.events.rounds >= 1)
        broker.kill()
        broker.start()
        run.wait_until_published(head_of(database))
        run.wait_until(lambda: not run.outlet.state.problems())
    assert_every_fact_in_order(broker, topics.events, head_of(database))


def test_partitions_added_after_a_kill_in_mid_round_cost_no_fact(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """Invariant 4 of the outlet: the round that was tried goes by the earlier number again, and what follows by the new one."""
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker adds no partitions")
    settings = settings_of(broker, topics)
    fill(database, 50)
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
    published = head_of(database)
    fill(database, 300, "b")
    with database.connect_as_outlet() as connection:
        stream = cloudevents.events(topic=topics.events, origin=settings.origin)
        tried = stream.read(connection, after=published, until=head_of(database), most_bytes=900_000)
    # As if killed when one partition's share had arrived.
    publisher = Publisher(settings, topics.events)
    arrived = [message for message in tried if partition_of(message.key, 4) == 1]
    publisher.publish(arrived, partitions=4, stop=threading.Event())
    publisher.close()
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap.split(","))
    client.create_partitions({topics.events: 7})
    client.close()
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
        fill(database, 50, "c")
        run.wait_until_published(head_of(database))
        assert [each for each in run.reports if "with 7 partitions" in each]
    partitions = read_records(broker.bootstrap, topics.events, at_least=head_of(database) + len(arrived))
    kept = [position_of(record) for records in partitions.values() for record in first_arrivals(records)]
    assert sorted(kept) == list(range(1, head_of(database) + 1))
    assert max(number for number, records in partitions.items() if records) > 3


def test_a_topic_made_anew_waits_for_a_decision_and_all_can_be_published_again(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """Invariant 5 of the outlet: said once, a reason not to be ready, and nothing is published; then everything."""
    settings = settings_of(broker, topics)
    fill(database, 50)
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
    make_anew(broker, topics.events, partitions=3)
    fill(database, 50, "b")
    with running(database, settings) as run:
        run.wait_until(lambda: run.outlet.state.events.failed_rounds >= 3)
        (problem,) = run.outlet.state.problems()
        assert problem.endswith(str(TopicOther.__doc__))
        assert run.outlet.state.events.lag > 0
    assert len(run.reports) == 1
    assert not any(read_batches(broker.bootstrap, topics.events, partition) for partition in range(3))
    with running(database, settings, new_topic=TopicDecision.REPUBLISH) as run:
        run.wait_until(lambda: run.outlet.state.events.published == head_of(database))
    assert_every_fact_in_order(broker, topics.events, head_of(database))
    # It was decided for that topic: what is published now is published once.
    with running(database, settings, new_topic=TopicDecision.REPUBLISH) as run:
        run.wait_until(lambda: not run.outlet.state.problems())
        assert run.outlet.state.events.published == 0


def test_a_topic_made_anew_is_noticed_by_the_outlet_that_runs_and_can_be_gone_on_with(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """Also when it never had to connect anew. What followers lack is the operator's to say."""
    settings = settings_of(broker, topics)
    fill(database, 50)
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
        make_anew(broker, topics.events)
        run.wait_until(lambda: any(str(TopicOther.__doc__) in each for each in run.outlet.state.problems()))
    published = head_of(database)
    fill(database, 50, "b")
    with running(database, settings, new_topic=TopicDecision.ACCEPT) as run:
        run.wait_until_published(head_of(database))
        run.wait_until(lambda: not run.outlet.state.problems())
    records = read_records(broker.bootstrap, topics.events, at_least=head_of(database) - published)
    arrived = sorted(position_of(record) for some in records.values() for record in some)
    assert arrived == list(range(published + 1, head_of(database) + 1))


def test_all_is_published_again_only_into_a_topic_that_is_empty(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """What follows first would let followers drop what comes before it."""
    settings = settings_of(broker, topics)
    fill(database, 20)
    with running(database, settings) as run:
        run.wait_until_published(head_of(database))
    make_anew(broker, topics.events)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap.split(","))
    producer.send(topics.events, b"late", b"k").get(PATIENCE_S)
    producer.close()
    with running(database, settings, new_topic=TopicDecision.REPUBLISH) as run:
        run.wait_until(lambda: any(str(TopicNotEmpty.__doc__) in each for each in run.outlet.state.problems()))
        assert run.outlet.state.events.published == 0


REFUSE = """
INSERT INTO refused_message (
    number, topic, topic_id, partition, message_offset, item, key, value, signature, command_id, code, sentence, detail
)
SELECT coalesce(max(number), 0) + %(skip)s, 'pension.commands', 'id', 3, coalesce(max(number), 0), %(item)s,
    %(key)s, %(value)s, %(signature)s, %(command_id)s, 'AccountUnknown', 'Open it – first.', %(detail)s
FROM refused_message
"""


def refuse(database: Database, **values: Any) -> None:
    row = {"skip": 1, "item": None, "key": None, "value": None, "signature": None, "command_id": None, "detail": "{}"}
    with database.connect() as connection:
        connection.execute(REFUSE.encode(), row | values)


def test_refused_messages_are_published_as_they_came(broker: Broker, database: Database) -> None:
    """Key, value and signature byte for byte, the reasons beside them; what there was not is left out."""
    topic, events = f"refusals-{uuid.uuid4().hex[:12]}", f"events-{uuid.uuid4().hex[:12]}"
    make_topic(broker, topic, max_message_bytes=str(MAX_REFUSALS_MESSAGE_BYTES))
    make_topic(broker, events)
    largest = uuid.uuid4().bytes * 65_536
    refuse(database)
    refuse(database, key=b"\xff", value=b"no JSON", signature=b"kid.abc", item=7, command_id="c/1", detail='{"fen": 3}')
    refuse(database, key=b"k", value=largest, detail=json.dumps({"long": "x" * 100_000}))
    refuse(database, key=b"k", value=b"")
    settings = Settings(kafka_bootstrap_servers=broker.bootstrap, events_topic=events, refusals_topic=topic)
    with running(database, settings) as run:
        run.wait_until(lambda: run.outlet.state.refusals.position == 4)
    first, second, third, fourth = read_records(broker.bootstrap, topic, at_least=4)[0]
    # The client sends nothing that has neither key nor value.
    assert (first.key, first.value) == (b"", None)
    assert (second.key, second.value) == (b"\xff", b"no JSON")
    assert (third.key, third.value, fourth.value) == (b"k", largest, b"")
    reasons = dict(second.headers)
    assert reasons.pop("refusal-time").endswith(b"Z")
    assert reasons == {
        "ledger-signature": b"kid.abc",
        "refusal-number": b"2",
        "refusal-code": b"AccountUnknown",
        "refusal-sentence": "Open it – first.".encode(),
        "refusal-detail": b'{"fen": 3}',
        "refusal-command-id": b"c/1",
        "refusal-topic": b"pension.commands",
        "refusal-partition": b"3",
        "refusal-offset": b"1",
        "refusal-item": b"7",
    }
    assert {"ledger-signature", "refusal-item", "refusal-command-id"}.isdisjoint(dict(first.headers))
    assert "refusal-detail" not in dict(third.headers)


def test_a_number_that_is_missing_is_a_fault_that_stops_the_outlet(
    broker: Broker, topics: Topics, database: Database
) -> None:
    """Invariant 3 of what is published: nothing is passed over."""
    refuse(database, value=b"1")
    refuse(database, value=b"3", skip=2)
    run = Running(database, settings_of(broker, topics))
    run.thread.start()
    run.thread.join(PATIENCE_S)
    assert [str(fault) for fault in run.faults] == ["refusals: 3 does not follow the last"]


@given(
    key=st.none() | st.binary(max_size=200),
    value=st.none() | st.binary(max_size=300),
    headers=st.lists(st.tuples(st.text("abcdefghijkl_-", max_size=30), st.binary(max_size=300)), max_size=20),
)
def test_a_record_takes_no_more_than_is_reckoned_with(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    """Invariant 1 of publishing rests on it: a round is never what the client holds to be full."""
    message = cloudevents._message(1, key, value, headers)
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**30)
    before = builder.size()
    builder.append(2_000_000, 2**41, key, value, headers)
    assert builder.size() - before <= message.most_bytes
    assert RECORD_BYTES > DefaultRecordBatchBuilder.MAX_RECORD_OVERHEAD + 3 * 5
    assert HEADER_BYTES == 2 * 5


def test_keys_go_where_other_clients_would_send_them(broker: Broker, topics: Topics) -> None:
    """Compared with what the client works out by itself, with a topic of four partitions."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap.split(","))
    try:
        keys = [f"account:{number}".encode()[: number % 20 + 1] for number in range(100)]
        sent = [producer.send(topics.commands, b"x", key) for key in keys]
        assert [each.get(PATIENCE_S).partition for each in sent] == [partition_of(key, 4) for key in keys]
    finally:
        producer.close()
