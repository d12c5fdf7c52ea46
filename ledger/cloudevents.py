"""What is published: facts as CloudEvents 1.0 in Kafka's binary mode, and refused messages as they came.

1. The value of a fact is its stored bytes; its headers hold all else that a leaf of the Merkle tree has, so whoever receives it
   can prove that it is in the journal.
2. A message depends on its row alone, and on the version of its schema: published again it is the same, byte for byte, and goes
   by the same key.
3. Numbers follow one another without a gap. One that is missing is a fault of the journal, and nothing is published.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ledger.domain.events import FACTS
from ledger.schemas import fact_schema_uri

Connection = psycopg.Connection[TupleRow]
Headers = list[tuple[str, bytes]]

# The value already says it, and the row keeps it; a header as long as the message would not fit beside it.
MAX_DETAIL_BYTES = 64 * 1024
# Upper bounds of what a record, and each header of it, takes beside what it holds: a few numbers of at most five bytes.
RECORD_BYTES = 64
HEADER_BYTES = 10

EVENTS_HEAD = b"SELECT size FROM head"
# Headers are made by the server where it costs less: they come as the bytes that are published. They take 400 bytes or more.
READ_EVENTS = b"""
SELECT
    position,
    type,
    data,
    convert_to(tags[1], 'UTF8'),
    convert_to(array_to_json(tags)::text, 'UTF8'),
    convert_to(to_char(effective_on, 'YYYY-MM-DD'), 'UTF8'),
    convert_to(to_char(recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'UTF8'),
    convert_to(command_id, 'UTF8'),
    convert_to(actor, 'UTF8')
FROM (
    SELECT *, sum(400 + octet_length(data)) OVER (ORDER BY position) AS bytes
    FROM event
    WHERE position > %(after)s AND position <= %(until)s
) AS stretch
WHERE bytes <= %(bytes)s OR position = %(after)s + 1
ORDER BY position
"""
REFUSALS_HEAD = b"SELECT coalesce(max(number), 0) FROM refused_message"
READ_REFUSALS = b"""
SELECT
    number,
    key,
    value,
    signature,
    convert_to(code, 'UTF8'),
    convert_to(sentence, 'UTF8'),
    convert_to(detail::text, 'UTF8'),
    convert_to(command_id, 'UTF8'),
    convert_to(topic, 'UTF8'),
    convert_to(partition::text, 'UTF8'),
    convert_to(message_offset::text, 'UTF8'),
    convert_to(item::text, 'UTF8'),
    convert_to(to_char(refused_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'UTF8')
FROM (
    SELECT *, sum(400 + coalesce(octet_length(value), 0)) OVER (ORDER BY number) AS bytes
    FROM refused_message
    WHERE number > %(after)s AND number <= %(until)s
) AS stretch
WHERE bytes <= %(bytes)s OR number = %(after)s + 1
ORDER BY number
"""

_SPECIFICATION = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")
_BYTES = ("content-type", b"application/octet-stream")


class Message(NamedTuple):
    """What goes into a topic. `number` is its place in its stream, from 1."""

    number: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    # It takes no more than this in a batch that is not compressed.
    most_bytes: int


def _message(number: int, key: bytes | None, value: bytes | None, headers: Headers) -> Message:
    most_bytes = RECORD_BYTES + len(key or b"") + len(value or b"") + HEADER_BYTES * len(headers)
    for name, text in headers:
        most_bytes += len(name) + len(text)
    return Message(number, key, value, headers, most_bytes)


class Stream(NamedTuple):
    """What is published to one topic, from where."""

    name: str
    topic: str
    head_query: bytes
    read_query: bytes
    made: Callable[[TupleRow], Message]

    def head(self, connection: Connection) -> int:
        """The number of the last; all up to it can be read."""
        row = connection.execute(self.head_query, prepare=True).fetchone()
        assert row is not None
        return int(row[0])

    def read(self, connection: Connection, *, after: int, until: int, most_bytes: int) -> list[Message]:
        """Those after a number and up to another, as far as they fit, and at least one. `after` is below `until`."""
        asked = {"after": after, "until": until, "bytes": most_bytes}
        messages: list[Message] = []
        taken = 0
        for row in connection.execute(self.read_query, asked, prepare=True, binary=True):
            message = self.made(row)
            assert message.number == after + len(messages) + 1, (
                f"{self.name}: {message.number} does not follow the last"
            )
            taken += message.most_bytes
            if messages and taken > most_bytes:
                break
            messages.append(message)
        assert messages, f"{self.name}: {after + 1} is missing"
        return messages


def events(*, topic: str, origin: str) -> Stream:
    """The facts, and the events of the plain recorder interface, by position."""
    source = ("ce_source", origin.encode())
    of_type: dict[str, Headers] = {
        name: [("ce_type", name.encode()), ("ce_dataschema", str(fact_schema_uri(name)).encode()), _JSON]
        for name in FACTS
    }

    def made(row: TupleRow) -> Message:
        position, type_name, data, first_tag, tags, effective_on, recorded_at, command_id, actor = row
        number = str(position).encode()
        headers = [
            _SPECIFICATION,
            ("ce_id", number),
            source,
            *(of_type.get(type_name) or (("ce_type", type_name.encode()), _JSON if _is_json(data) else _BYTES)),
            ("ce_time", recorded_at),
            ("ce_position", number),
            ("ce_effectiveon", effective_on),
            ("ce_commandid", command_id),
            ("ce_actor", actor),
            ("ce_tags", tags),
        ]
        if first_tag:
            headers.append(("ce_subject", first_tag))
        return _message(position, first_tag, data, headers)

    return Stream("events", topic, EVENTS_HEAD, READ_EVENTS, made)


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def refusals(*, topic: str) -> Stream:
    """The refused messages, by number."""
    return Stream("refusals", topic, REFUSALS_HEAD, READ_REFUSALS, _refusal)


def _refusal(row: TupleRow) -> Message:
    number, key, value, signature, code, sentence, detail, command_id, topic, partition, offset, item, refused_at = row
    possible: list[tuple[str, Any]] = [
        ("ledger-signature", signature),
        ("refusal-number", str(number).encode()),
        ("refusal-code", code),
        ("refusal-sentence", sentence),
        ("refusal-detail", detail if len(detail) <= MAX_DETAIL_BYTES else None),
        ("refusal-command-id", command_id),
        ("refusal-topic", topic),
        ("refusal-partition", partition),
        ("refusal-offset", offset),
        ("refusal-item", item),
        ("refusal-time", refused_at),
    ]
    headers = [(name, text) for name, text in possible if text is not None]
    # The client sends no message that has neither key nor value.
    return _message(number, b"" if key is None and value is None else key, value, headers)
