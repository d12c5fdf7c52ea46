"""What must hold when chaos is over and all is drained: from what stands in the topics and tables, and in nobody's memory.

1. Every command that arrived stands once in `command`, accepted or refused as it was meant to be, and its fact once in `event`.
2. The facts of an account stand in the order in which its commands were first sent.
3. Every delivery of what is refused or cannot be read has its one row, as it came, and stands in the topic of refusals.
4. Every fact stands in the topic of events as the journal has it, once and in order for a reader that drops what is not new.
5. Positions and numbers have no holes, the offsets stored are the ends of the partitions, and the books are whole.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg

from ledger.database import Database
from ledger.publishing import partition_of
from ledger.signing import HEADER
from tests.books import assert_whole
from tests.kafka.reading import read_records
from tests.kafka.topics import EVENTS_PARTITIONS, Topics
from tests.kafka.traffic import SOURCE, Expected, Traffic

COMMANDS = b"SELECT command_id, refusal IS NOT NULL, first_position, last_position FROM command"
FACTS = b"SELECT position, type, data, tags, command_id FROM event ORDER BY position"
REFUSED = b"""
SELECT number, partition, message_offset, item, value, command_id, code, key, signature
FROM refused_message
ORDER BY number
"""
OFFSETS = b"SELECT partition, next_offset FROM intake_offset WHERE topic = %s"
REMAINING = b"""
SELECT head.size - min(outlet_position.position) FILTER (WHERE stream = 'events')
    + (SELECT count(*) FROM refused_message) - min(outlet_position.position) FILTER (WHERE stream = 'refusals')
FROM head, outlet_position
GROUP BY head.size
"""
SHOWN = 5


class Delivery(NamedTuple):
    """A message as it stands in the topic, and what must come of it."""

    partition: int
    offset: int
    key: bytes
    signature: bytes | None
    expected: tuple[Expected, ...]


class Reckoning(NamedTuple):
    """What was found right, in figures."""

    deliveries: int
    commands: int
    accepted: int
    refused_rows: int
    facts: int
    records_of_events: int
    records_of_refusals: int


def differing(expected: Any, found: Any) -> str:
    """The first of what is missing and what is too much, of two collections."""
    missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return f"missing {list(missing.items())[:SHOWN]}, surplus {list(surplus.items())[:SHOWN]}"


def is_drained(database: Database, bootstrap: str, topics: Topics, *, least_deliveries: int) -> bool:
    """Whether all messages are read and all that came of them is published."""
    with psycopg.connect(database.admin_url) as connection:
        offsets: dict[int, int] = dict(connection.execute(OFFSETS, (topics.commands,)).fetchall())
        row = connection.execute(REMAINING).fetchone()
    if row is None or row[0] != 0 or sum(offsets.values()) < least_deliveries:
        return False
    there = read_records(bootstrap, topics.commands, at_least=sum(offsets.values()))
    return all(offsets.get(partition, 0) == len(records) for partition, records in there.items())


def reckon(database: Database, bootstrap: str, topics: Topics, traffic: Traffic) -> Reckoning:
    """Raises AssertionError at the first that does not hold."""
    with psycopg.connect(database.admin_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        commands = connection.execute(COMMANDS, binary=True).fetchall()
        facts = connection.execute(FACTS, binary=True).fetchall()
        refused = connection.execute(REFUSED, binary=True).fetchall()
        offsets: dict[int, int] = dict(connection.execute(OFFSETS, (topics.commands,)).fetchall())
    deliveries = read_deliveries(bootstrap, topics, traffic, offsets)
    check_commands(deliveries, commands, facts)
    check_order(facts, traffic)
    check_refused(deliveries, refused)
    refusals = check_refusals_topic(read_records(bootstrap, topics.refusals, at_least=len(refused)), refused)
    events = check_events_topic(read_records(bootstrap, topics.events, at_least=len(facts)), facts)
    assert_whole(database)
    accepted = sum(1 for _, is_refused, _, _ in commands if not is_refused)
    return Reckoning(len(deliveries), len(commands), accepted, len(refused), len(facts), events, refusals)


def read_deliveries(bootstrap: str, topics: Topics, traffic: Traffic, offsets: dict[int, int]) -> list[Delivery]:
    """What arrived in the topic of commands; all that was made did."""
    read = read_records(bootstrap, topics.commands, at_least=sum(offsets.values()))
    ends = {partition: len(records) for partition, records in read.items()}
    assert offsets == ends, f"stored are {offsets}, and the partitions end at {ends}"
    deliveries = []
    arrived = set()
    for partition, records in read.items():
        for offset, record in enumerate(records):
            assert record.offset == offset
            signature = dict(record.headers).get(HEADER)
            identity = (record.key, record.value, signature)
            arrived.add(identity)
            deliveries.append(Delivery(partition, offset, record.key, signature, traffic.expected[identity]))
    assert arrived == traffic.expected.keys(), f"{len(traffic.expected.keys() - arrived)} messages never arrived"
    return deliveries


def check_commands(deliveries: Sequence[Delivery], commands: Sequence[Any], facts: Sequence[Any]) -> None:
    accepted, refused = set(), set()
    for delivery in deliveries:
        for one in delivery.expected:
            if one.code is None:
                accepted.add(one.command_id)
            elif one.code == "AccountUnknown":
                refused.add(one.command_id)
    found = {is_refused: [row[0] for row in commands if row[1] == is_refused] for is_refused in (False, True)}
    assert Counter(found[False]) == Counter(accepted), f"accepted: {differing(accepted, found[False])}"
    assert Counter(found[True]) == Counter(refused), f"refused: {differing(refused, found[True])}"
    recorded = [command_id for _, _, _, _, command_id in facts]
    assert Counter(recorded) == Counter(accepted), f"facts: {differing(accepted, recorded)}"
    assert [row[0] for row in facts] == list(range(1, len(facts) + 1)), "positions have holes"
    places = {command_id: position for position, _, _, _, command_id in facts}
    wrong = [row for row in commands if not row[1] and (row[2], row[3]) != (places[row[0]], places[row[0]])]
    assert not wrong, f"commands point to other facts: {wrong[:SHOWN]}"


def check_order(facts: Sequence[Any], traffic: Traffic) -> None:
    following = [0] * traffic.accounts
    for position, _, _, _, command_id in facts:
        source, account, number = command_id.split("/")
        assert (source, int(number)) == (SOURCE, following[int(account)]), (
            f"{command_id} stands at {position} too early"
        )
        following[int(account)] += 1


def check_refused(deliveries: Sequence[Delivery], refused: Sequence[Any]) -> None:
    expected = [
        (each.partition, each.offset, one.item, one.value, one.command_id, one.code, each.key, each.signature)
        for each in deliveries
        for one in each.expected
        if one.code is not None
    ]
    found = [row[1:] for row in refused]
    assert Counter(found) == Counter(expected), differing(expected, found)
    assert [row[0] for row in refused] == list(range(1, len(refused) + 1)), "numbers of refused messages have holes"


def new_ones(records: Sequence[Any], number_of: Callable[[dict[str, bytes]], int]) -> list[tuple[int, Any]]:
    """As the reference consumer does: what is not above the highest that was seen in the partition is dropped."""
    highest, kept = 0, []
    for record in records:
        number = number_of(dict(record.headers))
        if number > highest:
            highest = number
            kept.append((number, record))
    return kept


def check_refusals_topic(read: dict[int, list[Any]], refused: Sequence[Any]) -> int:
    there = [each for records in read.values() for each in new_ones(records, lambda held: int(held["refusal-number"]))]
    found = []
    for number, record in there:
        held = dict(record.headers)
        item = held.get("refusal-item")
        place = int(held["refusal-partition"]), int(held["refusal-offset"]), None if item is None else int(item)
        command_id = held.get("refusal-command-id")
        named = None if command_id is None else command_id.decode()
        code = held["refusal-code"].decode()
        found.append((number, *place, record.value, named, code, record.key, held.get(HEADER)))
    assert sorted(found) == [tuple(row) for row in refused], f"refusals: {differing(map(tuple, refused), found)}"
    return sum(map(len, read.values()))


def check_events_topic(read: dict[int, list[Any]], facts: Sequence[Any]) -> int:
    found = {}
    for partition, records in read.items():
        for position, record in new_ones(records, lambda held: int(held["ce_position"])):
            assert position not in found, f"{position} stands in two partitions"
            held = dict(record.headers)
            assert partition == partition_of(record.key, EVENTS_PARTITIONS)
            found[position] = (held["ce_type"].decode(), record.value, held["ce_commandid"].decode(), held["ce_tags"])
    missing = [row[0] for row in facts if row[0] not in found]
    assert not missing, f"{len(missing)} facts were lost for a reader that drops repeats: {missing[:SHOWN]}"
    assert len(found) == len(facts)
    for position, type_name, data, tags, command_id in facts:
        there_type, value, there_id, there_tags = found[position]
        assert (there_type, value, there_id) == (type_name, data, command_id), f"{position} is published otherwise"
        assert json.loads(there_tags) == tags, f"{position} is published with other tags"
    return sum(map(len, read.values()))
