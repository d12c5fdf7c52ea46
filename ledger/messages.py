"""A message of Kafka becomes commands of one sender, or reasons why it is none.

1. Nothing of a message counts before its signature is verified.
2. A message is one command or a list of them. Of a list, an item that is no command refuses itself alone.
3. A refusal has a stable code, a sentence that says what to do, and the bytes it is about, as they came.
4. Nobody closes the books by a message, as nobody does by a token.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from ledger.application import MAX_COMMANDS
from ledger.domain.commands import Command
from ledger.domain.posters import Poster
from ledger.domain.reading import read_command, reason
from ledger.signing import HEADER, SignatureInvalid, SignerUnknown, SourceKeys

ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
NAMED = msgspec.json.Decoder(dict[str, msgspec.Raw])
MAX_COMMAND_ID_CHARACTERS = 128
WHITE_SPACE = b" \t\r\n"

# Why a message, or an item of its list, is none that could be decided on. The codes never change.
SENTENCES = {
    "MessageEmpty": "The message has no value; send one command or a list of commands as JSON.",
    "MessageUnsigned": f"The message has not one header {HEADER}; sign it with the key of the source system.",
    "SignerUnknown": "The key that the signature names is not known here; have it entered, or sign with one that is.",
    "SignatureInvalid": "The signature does not fit topic, key and value; sign what is sent, and send what was signed.",
    "MessageMalformed": "The value is not JSON that can be read; send one command or a list of commands.",
    "TooManyCommands": f"The list has more than {MAX_COMMANDS:,} commands; send them in several messages.",
    "CommandMalformed": "This is no command; mend it as the detail says, and send it again.",
    "CommandFailed": "The ledger failed at this message, by its own fault; its operator sends it again once that is mended.",
}


class Kept(NamedTuple):
    """What was refused, and why; `item` is its place in a list from 0, None for a message that is no list."""

    item: int | None
    value: bytes | None
    command_id: str | None
    code: str
    sentence: str
    detail: dict[str, Any]


class Message(NamedTuple):
    """A message and what is in it. `items` are the places of the commands in its list, None for a message that is none."""

    partition: int
    offset: int
    produced_at_ms: int
    key: bytes | None
    value: bytes | None
    signature: bytes | None
    poster: Poster | None
    commands: Sequence[Command]
    items: Sequence[tuple[int | None, bytes]]
    refused: Sequence[Kept]


def read_message(record: ConsumerRecord, keys: SourceKeys) -> Message:
    """Whatever bytes come, they are commands or reasons."""
    signatures = [value for name, value in record.headers if name == HEADER]
    signature = signatures[0] if len(signatures) == 1 else None
    poster, code = _sender(record, signature, keys)
    commands: list[Command] = []
    items: list[tuple[int | None, bytes]] = []
    refused: list[Kept] = []
    if code is not None:
        refused.append(_whole(record.value, code))
    else:
        for item, value in _items(record.value, refused):
            try:
                commands.append(read_command(value))
            except ValueError as error:
                refused.append(_malformed(item, value, error))
            else:
                items.append((item, value))
    return Message(
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        signature,
        poster,
        commands,
        items,
        refused,
    )


def failed(message: Message) -> Message:
    """The same, set aside as a whole because the ledger itself failed at it."""
    return message._replace(commands=(), items=(), refused=(_whole(message.value, "CommandFailed"),))


def _sender(record: ConsumerRecord, signature: bytes | None, keys: SourceKeys) -> tuple[Poster | None, str | None]:
    if not record.value:
        return None, "MessageEmpty"
    if signature is None:
        return None, "MessageUnsigned"
    try:
        return keys.poster_of(signature, topic=record.topic, key=record.key, value=record.value), None
    except SignerUnknown:
        return None, "SignerUnknown"
    except SignatureInvalid:
        return None, "SignatureInvalid"


def _items(value: bytes, refused: list[Kept]) -> Iterator[tuple[int | None, bytes]]:
    """A JSON array holds commands, anything else is one or none."""
    if value.lstrip(WHITE_SPACE)[:1] != b"[":
        yield None, value
        return
    try:
        items = ITEMS.decode(value)
    except (ValueError, RecursionError):
        refused.append(_whole(value, "MessageMalformed"))
        return
    if len(items) > MAX_COMMANDS:
        refused.append(_whole(value, "TooManyCommands"))
        return
    if not items:
        refused.append(_whole(value, "MessageEmpty"))
        return
    for number, item in enumerate(items):
        yield number, bytes(item)


def _whole(value: bytes | None, code: str) -> Kept:
    return Kept(None, value, None, code, SENTENCES[code], {})


def _malformed(item: int | None, value: bytes, error: ValueError) -> Kept:
    code = "CommandMalformed"
    return Kept(item, value, _command_id(value), code, SENTENCES[code], {"reason": reason(error, value)})


def _command_id(value: bytes) -> str | None:
    """The id that something which is no command calls itself by, so that its sender finds it."""
    try:
        spelled = NAMED.decode(value).get("command_id")
        named = None if spelled is None else msgspec.json.decode(spelled, type=str)
    except (ValueError, RecursionError):
        return None
    if named is None or len(named) > MAX_COMMAND_ID_CHARACTERS or not named.isprintable():
        return None
    return named
