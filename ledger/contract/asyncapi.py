"""The AsyncAPI 3 document of the three topics, made from the program's own models, names and bounds.

1. What it says of messages, headers, bounds and codes comes from where the program has it.
2. Its payloads are the exported schemas, by reference and with their versions.
3. Its examples are a story that the deciders themselves answer, and their signatures verify.
"""

from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic_core import from_json, to_json

from ledger.application import MAX_COMMANDS
from ledger.broker import COMMANDS_KEPT_MS, MAX_COMMANDS_MESSAGE_BYTES, MAX_REFUSALS_MESSAGE_BYTES, REFUSALS_KEPT_MS
from ledger.cloudevents import Message, events, refusals
from ledger.contract import story
from ledger.contract.texts import (
    ABOUT,
    COMMANDS_SAID,
    COMMANDS_TOPIC,
    DEFAULTS,
    EVENTS_SAID,
    EVENTS_TOPIC,
    REFUSALS_SAID,
    REFUSALS_TOPIC,
    refusal_codes,
)
from ledger.domain.catalogue import MATTERS, RECORDS
from ledger.domain.commands import COMMANDS, ONE, ClosePeriod
from ledger.domain.events import FACTS, encode
from ledger.domain.identifiers import tags_of
from ledger.domain.refusals import REFUSALS
from ledger.schemas import ROOT, Kind, Schema, command_schemas, current, fact_schema_uri, fact_schemas
from ledger.signing import HEADER, SigningKey, sign

BINDING = "0.5.0"
# The key of the seed 0 to 31, which nobody may use: whoever reads this can verify the examples, and sign as it does.
EXAMPLE_SEED = bytes(range(32))
EXAMPLE_KID = "example"
RECORDED_AT = b"2025-03-03T04:00:01.250000Z"
# Nobody closes the books by a message.
POSTED = [name for name, command in COMMANDS.items() if command is not ClosePeriod]


def document(version: int) -> dict[str, Any]:
    """The whole document, under this version."""
    commands = {name: _command_message(name) for name in POSTED}
    commands["CommandList"] = _list_message()
    facts = {name: _fact_message(name) for name in FACTS}
    refused = {"RefusedMessage": _refused_message()}
    return {
        "asyncapi": "3.0.0",
        "id": f"{ROOT}/documents/asyncapi/{version}",
        "info": {
            "title": "Pension account ledger over Kafka",
            "version": f"{version}.0.0",
            "description": ABOUT.strip(),
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {
            "commands": _channel(COMMANDS_TOPIC, COMMANDS_SAID, commands, COMMANDS_KEPT_MS, MAX_COMMANDS_MESSAGE_BYTES),
            "events": _channel(EVENTS_TOPIC, EVENTS_SAID, facts, -1, MAX_REFUSALS_MESSAGE_BYTES),
            "refusals": _channel(
                REFUSALS_TOPIC, REFUSALS_SAID + refusal_codes(), refused, REFUSALS_KEPT_MS, MAX_REFUSALS_MESSAGE_BYTES
            ),
        },
        "operations": {
            "takeCommands": _operation(
                "receive",
                "commands",
                commands,
                "`ledger intake` reads commands and posts them.",
                bindings={"kafka": {"groupId": _constant(str(DEFAULTS["intake_group"])), "bindingVersion": BINDING}},
            ),
            "publishFacts": _operation("send", "events", facts, "`ledger outlet` publishes every fact."),
            "publishRefusals": _operation("send", "refusals", refused, "`ledger outlet` publishes every refusal."),
        },
        "components": {
            "messages": {**commands, **facts, **refused},
            "correlationIds": {
                "ofCommand": {"description": "The id of the command.", "location": "$message.payload#/command_id"},
                "ofFact": {"description": "The id of its command.", "location": "$message.header#/ce_commandid"},
                "ofRefused": {
                    "description": "The id of the command, where one could be read.",
                    "location": "$message.header#/refusal-command-id",
                },
            },
            "securitySchemes": {
                "login": {
                    "type": "scramSha512",
                    "description": "SASL/SCRAM over TLS: who may read and write which topic (`LEDGER_KAFKA_OPTIONS`).",
                },
                "certificate": {
                    "type": "X509",
                    "description": "Mutual TLS, in place of a login (`LEDGER_KAFKA_OPTIONS`).",
                },
            },
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}:{port}",
        "protocol": "kafka-secure",
        "description": "The brokers of the deployment (`LEDGER_KAFKA_BOOTSTRAP_SERVERS`), Apache Kafka 4 or what speaks as it "
        "does. Who may use which topic is the broker's access control; who may post what is said by the signature.",
        "variables": {
            "host": {"description": "A broker to begin with.", "default": "127.0.0.1"},
            "port": {"description": "Its port.", "default": "9092"},
        },
        "security": [
            {"$ref": "#/components/securitySchemes/login"},
            {"$ref": "#/components/securitySchemes/certificate"},
        ],
    }


def _channel(
    address: str, description: str, messages: dict[str, Any], retention_ms: int, most_bytes: int
) -> dict[str, Any]:
    configuration = {"cleanup.policy": ["delete"], "retention.ms": retention_ms, "max.message.bytes": most_bytes}
    return {
        "address": address,
        "description": description.strip(),
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        # How many partitions there are is the deployment's choice.
        "bindings": {"kafka": {"topic": address, "topicConfiguration": configuration, "bindingVersion": BINDING}},
    }


def _operation(
    action: str, channel: str, messages: dict[str, Any], summary: str, **further: dict[str, Any]
) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
        **further,
    }


def _constant(text: str) -> Schema:
    return {"type": "string", "const": text}


def _of(kind: Kind, name: str) -> dict[str, str]:
    return {"$ref": current(kind, name).path}


def _keyed(key: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": BINDING}}


def _command_message(name: str) -> dict[str, Any]:
    command = COMMANDS[name]
    spelled = story.first_commands()[name]
    key = tags_of(ONE.validate_json(to_json(spelled)))[0]
    reasons = ", ".join(f"`{refusal.__name__}`" for refusal in MATTERS[command].refuses)
    facts = ", ".join(f"`{fact.__name__}`" for fact in RECORDS[command])
    return {
        "name": name,
        "title": name,
        "summary": command_schemas()[name]["description"],
        "description": f"Where it is accepted there follow, as far as they apply: {facts}. Its own reasons to be refused, in "
        f"this order: {reasons}.",
        "contentType": "application/json",
        "headers": _of("headers", "CommandMessage"),
        "payload": _of("commands", name),
        "correlationId": {"$ref": "#/components/correlationIds/ofCommand"},
        "bindings": _keyed("The first entity that the command names, such as `account:EA-1`."),
        "examples": [_signed(spelled, key)],
    }


def _list_message() -> dict[str, Any]:
    spelled = [story.first_commands()[name] for name in ("RegisterSourceIdentity", "OpenAccount", "PostContribution")]
    key = tags_of(ONE.validate_json(to_json(spelled[0])))[0]
    return {
        "name": "CommandList",
        "title": "CommandList",
        "summary": "A list of commands, such as a month's contributions of an employer.",
        "description": "They are decided in the order of the list. One that is refused does not stop the others.",
        "contentType": "application/json",
        "headers": _of("headers", "CommandMessage"),
        "payload": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_COMMANDS,
            "items": {"oneOf": [_of("commands", name) for name in POSTED]},
        },
        "bindings": _keyed("That of the first command."),
        "examples": [_signed(spelled, key)],
    }


def _signed(payload: object, key: str) -> dict[str, Any]:
    """The value that is signed is this payload without spaces, its members in this order."""
    signing = SigningKey(EXAMPLE_KID, Ed25519PrivateKey.from_private_bytes(EXAMPLE_SEED).sign)
    signature = sign(signing, topic=COMMANDS_TOPIC, key=key.encode(), value=to_json(payload))
    return {
        "name": "signed",
        "summary": f"Under the key `{key}`, signed over the value without spaces by the Ed25519 key of the seed 0, 1 to 31.",
        "headers": {HEADER: signature.decode()},
        "payload": payload,
    }


def example_key() -> dict[str, str]:
    """The public key that the examples are signed with, as the ledger is given it."""
    public = Ed25519PrivateKey.from_private_bytes(EXAMPLE_SEED).public_key().public_bytes_raw()
    spelled = urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": EXAMPLE_KID, "x": spelled}


def _fact_message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": fact_schemas()[name]["description"],
        "contentType": "application/json",
        "headers": {
            "allOf": [
                _of("headers", "FactMessage"),
                {
                    "type": "object",
                    "properties": {"ce_type": _constant(name), "ce_dataschema": _constant(str(fact_schema_uri(name)))},
                },
            ]
        },
        "payload": _of("events", name),
        "correlationId": {"$ref": "#/components/correlationIds/ofFact"},
        "bindings": _keyed("The first tag of the fact, as in `ce_subject`."),
        "examples": [_published(story.first_facts()[name])],
    }


def _published(recorded: story.Recorded) -> dict[str, Any]:
    """As the outlet makes it of the row."""
    row = (
        recorded.position,
        type(recorded.fact).__name__,
        encode(recorded.fact),
        recorded.tags[0].encode(),
        to_json(recorded.tags),
        recorded.fact.effective_on.isoformat().encode(),
        RECORDED_AT,
        recorded.command.command_id.encode(),
        recorded.command.actor.encode(),
    )
    message = events(topic=EVENTS_TOPIC, origin=str(DEFAULTS["origin"])).made(row)
    return {
        "name": "published",
        "summary": f"Under the key `{_said(message.key)}`; the value is this payload sorted and without spaces.",
        "headers": _spelled(message),
        "payload": from_json(message.value or b""),
    }


def _spelled(message: Message) -> dict[str, str]:
    return {name: _said(value) for name, value in message.headers}


def _said(text: bytes | None) -> str:
    return "" if text is None else text.decode()


def _refused_message() -> dict[str, Any]:
    spelled = story.first_commands()["PostContribution"] | {"account": "EA-9", "command_id": "ea-core/V-3"}
    signed = _signed(spelled, "account:EA-9")
    refused = REFUSALS["AccountUnknown"](account="EA-9")
    row = (
        1,
        b"account:EA-9",
        to_json(spelled),
        signed["headers"][HEADER].encode(),
        refused.code.encode(),
        refused.sentence.encode(),
        to_json(refused.detail),
        b"ea-core/V-3",
        COMMANDS_TOPIC.encode(),
        b"0",
        b"41",
        None,
        RECORDED_AT,
    )
    message = refusals(topic=REFUSALS_TOPIC).made(row)
    return {
        "name": "RefusedMessage",
        "title": "RefusedMessage",
        "summary": "A message, or one command of a list, that was refused: as it came, and why.",
        "description": "Its value may be anything, because nothing of an unreadable message is held back.",
        "contentType": "application/octet-stream",
        "headers": _of("headers", "RefusedMessage"),
        "payload": {"description": "The value as it came, byte for byte; none where it had none."},
        "correlationId": {"$ref": "#/components/correlationIds/ofRefused"},
        "bindings": _keyed("The key as it came."),
        "examples": [
            {
                "name": "refused",
                "summary": f"Under the key `{_said(message.key)}`, as it came.",
                "headers": _spelled(message),
                "payload": spelled,
            }
        ],
    }
