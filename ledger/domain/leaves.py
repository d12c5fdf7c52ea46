"""What is sealed of a stored event: its leaf, format v1 (AUDIT section 2.2), byte for byte as it is hashed.

UTF-8 lines, each ended by LF: the version, position, type, number of tags, each tag, effective_on, recorded_at (UTC, six
decimals, Z), command id, actor, and the SHA-256 of the stored data in lower-case hex.

1. Nothing is spelled anew: the data is hashed as it is stored, so an upcast never changes a leaf.
2. No value holds a control character, so two events never have one leaf text.
3. A leaf text is at most 65,535 bytes long.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import islice, pairwise
from operator import ne
from typing import Final, NamedTuple

VERSION: Final = "pension-ledger/leaf/v1"
MAX_BYTES: Final = 65_535
LEAF_PREFIX: Final = b"\x00"
# Of a leaf without tags.
FIXED_LINES: Final = 9
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
CONTROLS: Final = bytes([*range(0x20), 0x7F])
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00")
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class LeafUnfit(ValueError):
    """A leaf holds no control character and at most 65,535 bytes, and the leaves of a stretch follow one another."""


class Columns(NamedTuple):
    """The columns of many events in position order, each as one text with the items parted by a character.

    Numbers, dates and moments are parted by `;`, other texts by U+001E, and the tags of one event by U+001F. Dates and moments
    are as PostgreSQL writes them in ISO and UTC. What is NULL, inside tags too, is U+001E twice, and the number of tags that
    are no list is -1; so they cannot be passed over. `datas` is all stored bytes, one after the other.
    """

    positions: str
    types: str
    tags: str
    tag_counts: str
    effective_on: str
    recorded_at: str
    command_ids: str
    actors: str
    lengths: str
    datas: bytes


class Leaves(NamedTuple):
    """Leaf hashes of a stretch of positions, in order; their texts too where they were asked for."""

    first_position: int
    hashes: list[bytes]
    texts: list[bytes]
    datas: list[bytes]
    first_recorded_at: datetime
    last_recorded_at: datetime


class TimeFalls(ValueError):
    """recorded_at falls from one position to the next."""


def leaves_of(columns: Columns, *, keep: bool = False) -> Leaves:
    """The leaves of these events; with `keep`, their texts and data too.

    Raises LeafUnfit where positions do not follow one another, or a value cannot stand in a leaf, and TimeFalls.
    """
    positions = columns.positions.split(";")
    count, first = len(positions), _number(positions[0])
    if positions != list(map(str, range(first, first + count))):
        raise LeafUnfit(f"The positions from {first} to {positions[-1]} do not follow one another.")
    moments, days = columns.recorded_at.split(";"), columns.effective_on.split(";")
    spelled_moments, earliest, latest = _moments(moments)
    for day in dict.fromkeys(days):
        read_day(day)
    _check_items(columns)
    tag_counts = columns.tag_counts.split(";")
    lines_with = {each: FIXED_LINES + _number(each) for each in dict.fromkeys(tag_counts)}
    hashes: list[bytes] = []
    texts: list[bytes] = []
    datas: list[bytes] = []
    add, joined, end = hashes.append, columns.datas, 0
    unfit = 0
    try:
        for position, type_name, tags, tag_count, effective_on, recorded_at, command_id, actor, length in zip(
            positions,
            columns.types.split("\x1e"),
            columns.tags.replace("\x1f", "\n").split("\x1e"),
            tag_counts,
            days,
            moments,
            columns.command_ids.split("\x1e"),
            columns.actors.split("\x1e"),
            map(int, columns.lengths.split(";")),
            strict=True,
        ):
            start, end = end, end + length
            data = joined[start:end]
            lines = f"{tags}\n" if tags else ""
            text = (
                f"\0pension-ledger/leaf/v1\n{position}\n{type_name}\n{tag_count}\n{lines}{effective_on}\n"
                f"{spelled_moments[recorded_at]}\n{command_id}\n{actor}\n{sha256(data).hexdigest()}\n"
            )
            leaf = text.encode()
            # There are as many tags as are counted: else two lists could have one leaf.
            if text.count("\n") != lines_with[tag_count] or len(leaf) > MAX_BYTES + 1:
                unfit = unfit or int(position)
            add(sha256(leaf).digest())
            if keep:
                texts.append(leaf[1:])
                datas.append(data)
    except ValueError as error:
        raise LeafUnfit(f"Positions {first} to {positions[-1]}: {error}") from error
    if unfit or end != len(joined):
        raise LeafUnfit(f"A value at position {unfit or first} or after it cannot stand in a leaf.")
    return Leaves(first, hashes, texts, datas, earliest, latest)


def _check_items(columns: Columns) -> None:
    """No control character but those that part the items, nothing that is NULL, no empty type or tag. Raises LeafUnfit."""
    parted = f"\x1e{columns.tags}\x1e"
    tags = parted.encode()
    if (
        "-" in columns.lengths
        or "\x1e\x1e" in f"\x1e{columns.types}\x1e"
        or any(empty in parted for empty in ("\x1f\x1f", "\x1e\x1f", "\x1f\x1e"))
        or len(tags) - len(tags.translate(None, CONTROLS)) != tags.count(b"\x1e") + tags.count(b"\x1f")
        or any(
            len(each) - len(each.translate(None, CONTROLS)) != each.count(b"\x1e")
            for each in (columns.types.encode(), columns.command_ids.encode(), columns.actors.encode())
        )
    ):
        raise LeafUnfit("A value is NULL or empty, or holds a control character.")


def read_day(written: str) -> date:
    """A date as PostgreSQL writes it. Raises LeafUnfit for what none can be, and for one before Christ."""
    if DAY.fullmatch(written):
        try:
            return date.fromisoformat(written)
        except ValueError:
            pass
    raise LeafUnfit(f"{written[:40]!a} is no date that a leaf can hold.")


def read_moment(written: str) -> datetime:
    """A moment as PostgreSQL writes it in UTC. Raises LeafUnfit."""
    if MOMENT.fullmatch(written):
        try:
            return datetime.fromisoformat(written)
        except ValueError:
            pass
    raise LeafUnfit(f"{written[:40]!a} is no moment that a leaf can hold.")


def _number(written: str) -> int:
    if NUMBER.fullmatch(written):
        return int(written)
    raise LeafUnfit(f"{written[:40]!a} is no number that a leaf can hold.")


def _moments(written: Sequence[str]) -> tuple[dict[str, str], datetime, datetime]:
    """How a leaf spells each of them, and the first and last. Many facts share one. Raises LeafUnfit and TimeFalls."""
    parsed = {each: read_moment(each) for each in dict.fromkeys(written)}
    in_order = list(parsed.values())
    changes = 1 + sum(map(ne, written, islice(written, 1, None)))
    if changes != len(in_order) or any(later < earlier for earlier, later in pairwise(in_order)):
        raise TimeFalls(TimeFalls.__doc__)
    return {each: moment(at) for each, at in parsed.items()}, in_order[0], in_order[-1]


def leaf_text(  # noqa: PLR0913 - a leaf has this many lines
    position: int,
    type_name: str,
    tags: Sequence[str],
    effective_on: date,
    recorded_at: datetime,
    command_id: str,
    actor: str,
    data: bytes,
) -> bytes:
    """The leaf of an event at a position from 1; `recorded_at` has a time zone. Raises LeafUnfit."""
    text = spelled(position, type_name, tags, effective_on.isoformat(), moment(recorded_at), command_id, actor, data)
    if any(map(CONTROL.search, (type_name, *tags, command_id, actor))) or len(text) > MAX_BYTES:
        raise LeafUnfit(LeafUnfit.__doc__)
    if not type_name or not all(tags):
        raise LeafUnfit("A type or tag is empty.")
    return text


def spelled(  # noqa: PLR0913 - as `leaf_text`
    position: int | str,
    type_name: str,
    tags: Sequence[str],
    effective_on: str,
    recorded_at: str,
    command_id: str,
    actor: str,
    data: bytes,
) -> bytes:
    """As `leaf_text`, of values that are spelled as they stand in the leaf already and are not checked."""
    joined = "\n".join(tags)
    return (
        f"pension-ledger/leaf/v1\n{position}\n{type_name}\n{len(tags)}\n{joined}{chr(10) if tags else ''}{effective_on}\n"
        f"{recorded_at}\n{command_id}\n{actor}\n{sha256(data).hexdigest()}\n"
    ).encode()


def moment(recorded_at: datetime) -> str:
    """As a leaf spells it. A moment without a time zone would be taken for the machine's own."""
    assert recorded_at.tzinfo is not None, "a moment without a time zone"
    return recorded_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf_hash(text: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf text (RFC 6962, section 2.1)."""
    return sha256(LEAF_PREFIX + text).digest()
