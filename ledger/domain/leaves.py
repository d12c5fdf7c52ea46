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
from typing import Final

VERSION: Final = "pension-ledger/leaf/v1"
MAX_BYTES: Final = 65_535
LEAF_PREFIX: Final = b"\x00"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class LeafUnfit(ValueError):
    """A leaf holds no control character and at most 65,535 bytes."""


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
