"""What stands in a topic: its records, and the batches that they arrived in."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.net.compat import KafkaNetClient
from kafka.protocol.consumer import FetchRequest
from kafka.record import MemoryRecords

PATIENCE_S = 60
MOST_BYTES = 50 * 1024 * 1024
# The first that knows batches, and the last that knows topics by name.
FETCH_VERSIONS = {"min_version": 4, "max_version": 11}


class Batch(NamedTuple):
    """Records that were appended at once."""

    base_offset: int
    records: list[Any]


def read_records(bootstrap: str, topic: str, *, at_least: int) -> dict[int, list[Any]]:
    """All records of each partition, when there are at least so many."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), enable_auto_commit=False)
    try:
        places = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        read: dict[int, list[Any]] = {place.partition: [] for place in places}
        deadline = time.monotonic() + PATIENCE_S
        # One more look when there are enough, so that what is too much is seen.
        more = True
        while more or sum(map(len, read.values())) < at_least:
            assert time.monotonic() < deadline, f"{sum(map(len, read.values()))} of {at_least} records are there"
            polled = consumer.poll(timeout_ms=500, max_records=10_000)
            for place, records in polled.items():
                read[place.partition] += records
            more = bool(polled)
        return read
    finally:
        consumer.close()


def read_batches(bootstrap: str, topic: str, partition: int) -> list[Batch]:
    """The batches of a partition, as the broker keeps them. For brokers that are one node."""
    client = KafkaNetClient(bootstrap_servers=bootstrap.split(","))
    try:
        client.check_version()
        node = next(iter(client.cluster.brokers())).node_id
        found: list[Batch] = []
        following = 0
        while True:
            asked = FetchRequest.FetchTopic.FetchPartition(
                partition=partition,
                current_leader_epoch=-1,
                fetch_offset=following,
                last_fetched_epoch=-1,
                log_start_offset=-1,
                partition_max_bytes=MOST_BYTES,
            )
            request = FetchRequest(
                replica_id=-1,
                max_wait_ms=100,
                min_bytes=1,
                max_bytes=MOST_BYTES,
                isolation_level=0,
                session_id=0,
                session_epoch=-1,
                topics=[FetchRequest.FetchTopic(topic=topic, partitions=[asked])],
                forgotten_topics_data=[],
                rack_id="",
                **FETCH_VERSIONS,
            )
            answer = client.send_and_receive(node, request).responses[0].partitions[0]
            batches = [Batch(batch.base_offset, list(batch)) for batch in MemoryRecords(bytes(answer.records or b""))]
            batches = [batch for batch in batches if batch.base_offset >= following]
            if not batches:
                return found
            found += batches
            following = batches[-1].base_offset + len(batches[-1].records)
    finally:
        client.close()


def position_of(record: Any) -> int:
    """The position in its header."""
    return int(dict(record.headers)["ce_position"])


def first_arrivals(records: list[Any]) -> list[Any]:
    """What a reader keeps that drops every position not above the highest that it has seen."""
    kept: list[Any] = []
    for record in records:
        if not kept or position_of(record) > position_of(kept[-1]):
            kept.append(record)
    return kept
