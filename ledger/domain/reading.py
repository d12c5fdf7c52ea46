"""The bytes of one command become a command, or a reason why they are none; wherever they came from.

1. What is not understood in one way alone is not taken: a member that comes twice (RFC 8259, section 4).
2. A reason never quotes values: they may be personal.
"""

import json

from pydantic import ValidationError

from ledger.domain.commands import ONE, Command
from ledger.domain.faults import OUR_NAMES, listed

# No person has so many identities, and no command so many links, that it would come near.
MAX_COMMAND_BYTES = 256 * 2**10
MAX_REASONS = 3
MAX_REASON_CHARACTERS = 400


class NotTaken(ValueError):
    """Pydantic would take it."""


def read_command(item: bytes) -> Command:
    """Raises pydantic's ValidationError, and NotTaken."""
    if len(item) > MAX_COMMAND_BYTES:
        raise NotTaken(f"A command is at most {MAX_COMMAND_BYTES} bytes long")
    command: Command = ONE.validate_json(item)
    _ONCE.decode(str(item, "utf-8"))
    return command


def reason(error: ValueError, item: bytes) -> str:
    """Why these bytes are no command, in a sentence without their values."""
    try:
        item.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"byte {wrong.start + 1} is not UTF-8{_other_encoding(item)}; write it as UTF-8"
    if not isinstance(error, ValidationError):
        return str(error)
    places = listed(error.errors(include_url=False, include_context=False, include_input=False), OUR_NAMES)
    reasons = [": ".join(filter(None, (each["place"], each["reason"]))) for each in places[:MAX_REASONS]]
    if len(places) > MAX_REASONS:
        reasons.append(f"and {error.error_count() - MAX_REASONS} more")
    return "; ".join(reasons)[:MAX_REASON_CHARACTERS]


def _refuse_twice(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) < len(members):
        raise NotTaken("An object has a member twice")


_ONCE = json.JSONDecoder(object_pairs_hook=_refuse_twice)


def _other_encoding(item: bytes) -> str:
    try:
        item.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return " (it reads as GBK)"
