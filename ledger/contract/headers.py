"""The headers of the messages, as JSON Schemas: each header is text in UTF-8, and further ones may come with them.

The names stand where the program reads and writes them; here stands what they hold.
"""

from typing import Any

from ledger.domain.identifiers import ACTOR
from ledger.schemas import PATTERNS, ROOT, Schema
from ledger.signing import HEADER as SIGNATURE

NUMBER = "^(0|[1-9][0-9]{0,18})$"
# Kafka's headers are bytes: where the sender writes UTF-8, and the ledger does, they are this text.
UTC_MICROSECONDS = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"


def _text(description: str, pattern: str | None = None, **further: Any) -> Schema:
    said: Schema = {"type": "string", "description": description}
    return said | ({} if pattern is None else {"pattern": pattern}) | further


COMMAND_MESSAGE: dict[str, Schema] = {
    SIGNATURE: _text(
        "Who sends this: the `kid` of the source system's key, a dot, and the signature over topic, key and value in "
        "base64url without padding.",
        "^[A-Za-z0-9_-]{1,64}\\.[A-Za-z0-9_-]{43,86}$",
    )
}

FACT_MESSAGE: dict[str, Schema] = {
    "ce_specversion": _text("CloudEvents 1.0, Kafka binding, binary mode.", const="1.0"),
    "ce_id": _text("The position, which is unique in its source.", NUMBER),
    "ce_source": _text("The name of this ledger (`LEDGER_ORIGIN`), the same for ever."),
    "ce_type": _text("The type of the fact; the same for ever.", "^[A-Z][A-Za-z]{0,63}$"),
    "ce_time": _text("When it was recorded, by the database's clock, in UTC.", UTC_MICROSECONDS, format="date-time"),
    "ce_subject": _text("The first entity that the fact mentions; also the message's key."),
    "ce_dataschema": _text("The `$id` of the schema that the value is valid under.", f"^{ROOT}/events/"),
    "content-type": _text("What the value is.", const="application/json"),
    "ce_position": _text(
        "The position in the journal, 1, 2, 3 and so on without gaps: the key to drop repeats.", NUMBER
    ),
    "ce_effectiveon": _text("The business date it takes effect.", PATTERNS["date"], format="date"),
    "ce_commandid": _text("The id of the command that it follows from."),
    "ce_actor": _text("Who asked for it.", ACTOR),
    "ce_tags": _text(
        "Every entity that the fact mentions, `kind:id`, as a JSON array.",
        contentMediaType="application/json",
        contentSchema={"type": "array", "items": {"type": "string"}},
    ),
}

REFUSED_MESSAGE: dict[str, Schema] = {
    "refusal-number": _text("1, 2, 3 and so on, in the order of refusal: the key to drop repeats.", NUMBER),
    "refusal-code": _text("Why: a stable code.", "^[A-Z][A-Za-z]{0,63}$"),
    "refusal-sentence": _text("Why, in a sentence that says what to do."),
    "refusal-detail": _text(
        "What was compared, as a JSON object; absent where it is longer than a header may be.",
        contentMediaType="application/json",
        contentSchema={"type": "object"},
    ),
    "refusal-command-id": _text("The id of the command; absent where none could be read."),
    "refusal-topic": _text("The topic that it came by."),
    "refusal-partition": _text("The partition that it came by.", NUMBER),
    "refusal-offset": _text("Its offset there.", NUMBER),
    "refusal-item": _text("Which command of a list, from 0; absent for a message as a whole.", NUMBER),
    "refusal-time": _text("When that was recorded, by the database's clock, in UTC.", UTC_MICROSECONDS),
    SIGNATURE: _text("The signature as it came; absent where the message had not exactly one."),
}

OPTIONAL = {"refusal-command-id", "refusal-item", "refusal-detail", SIGNATURE}


def header_schemas() -> dict[str, Schema]:
    """The schemas of the headers of each topic's messages."""
    return {
        "CommandMessage": _headers("The headers of a message of commands.", COMMAND_MESSAGE, set()),
        "FactMessage": _headers(
            "The headers of a published fact: CloudEvents attributes.", FACT_MESSAGE, {"ce_dataschema"}
        ),
        "RefusedMessage": _headers(
            "The headers of a refused message, the signature as it came among them.",
            REFUSED_MESSAGE,
            OPTIONAL,
        ),
    }


def _headers(description: str, headers: dict[str, Schema], optional: set[str]) -> Schema:
    required = [name for name in headers if name not in optional]
    return {"description": description, "type": "object", "properties": headers, "required": required}
