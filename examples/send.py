"""Send commands to the ledger over Kafka: a reference for source systems, to be read, copied and run.

It needs `kafka-python` and `cryptography`, and nothing of the ledger. It reads a file, or the standard input, to its end: a
command a line (NDJSON). It signs and sends them; `docs/contract` says what a command looks like.

    python examples/send.py commands.ndjson --key source-key.json --bootstrap kafka-1:9093 --list 500

1. It ends with 0 only when the broker has acknowledged every command. Ended otherwise, or killed, it is run again with the same
   input: commands have ids, and what was recorded is not recorded again.
2. The commands of one key stay in their order, also when something fails: of a round each partition gets its share in one
   batch, whole or not at all, and the next round begins when all of it is acknowledged.
3. A list holds only commands whose keys fall into one partition. So a command sent alone and one in a list keep their order too.

An acknowledged command is not yet recorded: that says the topic of facts, or that of refusals. Where commands need each other
and have different keys, as an opening needs the registration of its identity, send the second file after the facts of the
first were published; or give them one key, so that they are decided in the order of the file: all with `--under ea-core`, or
each with a line such as {"key": "identity:ea-core:1001", "command": {...}}. A key should be the same every time.
"""

# ruff: noqa: INP001, T201 - a program that stands alone, not a part of a package, and prints

import argparse
import hmac
import json
import os
import stat
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kafka import KafkaProducer, errors
from kafka.partitioner.default import murmur2

CONTEXT = b"pension-ledger/command/v1"
HEADER = "ledger-signature"
TOPIC = "pension.commands"
# Below what a broker takes in one batch when nobody has told it otherwise (1,048,588 bytes).
MAX_ROUND_BYTES = 900_000
BATCH_BYTES = 1024 * 1024
# What a message takes beside key and value: its header, and a few numbers.
MESSAGE_BYTES = 256
MAX_COMMAND_BYTES = 256 * 1024
MAX_LIST = 10_000
NEVER_MS = float("inf")
KAFKA_REFUSES = (
    "Check --bootstrap, --topic and --options, whether the brokers run, and whether this login may write there."
)
OPTIONS = ("security_protocol", "ssl_", "sasl_")
# Which members of a command name an account or an identity.
ENTITIES = {
    "account": "account",
    "from_account": "account",
    "position": "entry",
    "sid": "identity",
    "sid_a": "identity",
    "target": "identity",
}

Sign = Callable[[bytes], bytes]


class InputWrong(ValueError):
    """A line or a file is not as it must be."""


class OptionsUnusable(ValueError):
    """The file of --options must hold a JSON object of kafka-python's security_protocol, ssl_* and sasl_*."""


class Line(NamedTuple):
    """A command as it is sent, and its key."""

    key: bytes
    value: bytes


class Sender:
    """A producer that sends rounds to one topic."""

    def __init__(self, topic: str, kid: str, sign: Sign, wait_s: int, options: dict[str, Any]) -> None:
        """Connect. Raises errors.KafkaError."""
        self._topic, self._kid, self._sign, self._wait_s = topic, kid, sign, wait_s
        self._producer = KafkaProducer(
            **options,
            acks="all",
            enable_idempotence=True,
            # A batch goes when the round is flushed, and is tried again until this program gives up.
            linger_ms=NEVER_MS,
            delivery_timeout_ms=NEVER_MS,
            batch_size=BATCH_BYTES,
            max_block_ms=1000 * wait_s,
            bootstrap_timeout_ms=1000 * wait_s,
            allow_auto_create_topics=False,
        )

    def send(self, round_: list[Line], most_in_list: int) -> int:
        """Send a round and wait until all of it is acknowledged; how many messages it took. Raises errors.KafkaError."""
        sent = [
            self._producer.send(self._topic, key=key, value=value, headers=[(HEADER, self._signature(key, value))])
            for key, value in self._messages(round_, most_in_list)
        ]
        self._producer.flush(timeout=self._wait_s)
        for future in sent:
            future.get(timeout=0)
        return len(sent)

    def close(self) -> None:
        """Nothing waits: what was sent is acknowledged."""
        self._producer.close()

    def _messages(self, round_: list[Line], most_in_list: int) -> Iterator[tuple[bytes, bytes]]:
        if most_in_list == 0:
            yield from round_
            return
        partitions = len(self._producer.partitions_for(self._topic))
        lists: dict[int, list[Line]] = {}
        for line in round_:
            place = lists.setdefault((murmur2(line.key) & 0x7FFFFFFF) % partitions, [])
            place.append(line)
            if len(place) == most_in_list:
                yield _list_of(place)
                place.clear()
        yield from (_list_of(place) for place in lists.values() if place)

    def _signature(self, key: bytes, value: bytes) -> bytes:
        signed = b"%b\n%b\n%d\n%b%b" % (CONTEXT, self._topic.encode(), len(key), key, value)
        return f"{self._kid}.".encode() + urlsafe_b64encode(self._sign(signed)).rstrip(b"=")


def _list_of(lines: list[Line]) -> tuple[bytes, bytes]:
    """Under the key of the first, which falls into the same partition as those of the others."""
    return lines[0].key, b"[" + b",".join(line.value for line in lines) + b"]"


def key_of(command: dict[str, Any]) -> str:
    """The first account or identity that a command names, members in alphabetical order. Raises InputWrong."""
    for member in sorted(command):
        if member == "links":
            return f"identity:{command['links'][0]['sid_a']}"
        if member in ENTITIES:
            named = command[member][0][0] if member == "target" else command[member]
            return f"{ENTITIES[member]}:{named}"
    raise InputWrong("names neither an account nor an identity")


def lines_of(file: Iterable[bytes], under: str | None = None) -> Iterator[Line]:
    """Each command with its key, or all under one. Raises InputWrong, which names the line."""
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            read = json.loads(text)
            wrapped = "command" in read
            command = read["command"] if wrapped else read
            # As it stands in the file where it stands alone: a number is then spelled as it was.
            value = json.dumps(command, ensure_ascii=False).encode() if wrapped else text.strip()
            line = Line((under or (read["key"] if wrapped else key_of(command))).encode(), value)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputWrong(f"line {number} is no command: {error}") from error
        if len(line.value) > MAX_COMMAND_BYTES:
            raise InputWrong(f"line {number} is longer than the {MAX_COMMAND_BYTES:,} bytes that a command may have")
        yield line


def rounds_of(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """As many lines as are sent at once."""
    round_: list[Line] = []
    size = 0
    for line in lines:
        line_bytes = MESSAGE_BYTES + len(line.key) + len(line.value)
        if round_ and size + line_bytes > MAX_ROUND_BYTES:
            yield round_
            round_, size = [], 0
        round_.append(line)
        size += line_bytes
    if round_:
        yield round_


def signing_key(path: Path) -> tuple[str, Sign]:
    """Name and key of a private JWK: `OKP` with `d` (Ed25519), or `oct` with `k` (HMAC-SHA-256). Raises InputWrong, OSError."""
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputWrong(f"{path}: others may read this key; take their rights away, and make a new one")
    try:
        jwk = json.loads(path.read_bytes())
        kid, kty = jwk["kid"], jwk["kty"]
        secret = urlsafe_b64decode(jwk["k" if kty == "oct" else "d"] + "==")
        if kty == "oct":
            return kid, lambda signed: hmac.digest(secret, signed, "sha256")
        return kid, Ed25519PrivateKey.from_private_bytes(secret).sign
    except (ValueError, KeyError, TypeError) as error:
        raise InputWrong(
            f"{path}: must be a private JWK, OKP with kid and d, or oct with kid and k: {error}"
        ) from error


def options_of(bootstrap: str, path: Path | None) -> dict[str, Any]:
    """Where the brokers are, and how to log in. Raises OptionsUnusable, OSError."""
    try:
        options = {} if path is None else dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise OptionsUnusable(f"{path}: {error}. {OptionsUnusable.__doc__}") from error
    if not all(name.startswith(OPTIONS) for name in options):
        raise OptionsUnusable(f"{path}: {', '.join(options)}. {OptionsUnusable.__doc__}")
    return {**options, "bootstrap_servers": bootstrap.split(",")}


def main() -> None:
    """Send, and say how much was acknowledged."""
    parser = argparse.ArgumentParser(description="Send commands to the ledger over Kafka.")
    parser.add_argument("file", nargs="?", type=Path, help="a command a line; default the standard input")
    parser.add_argument("--key", type=Path, required=True, help="file with the private JWK to sign with")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="brokers to begin with: host:port,host:port")
    parser.add_argument("--topic", default=TOPIC)
    parser.add_argument("--list", type=int, default=0, metavar="N", help="send lists of up to N; default each alone")
    parser.add_argument("--under", metavar="KEY", help="one key for all, which are then decided in the file's order")
    parser.add_argument("--options", type=Path, help="JSON file of kafka-python's security_protocol, ssl_* and sasl_*")
    parser.add_argument(
        "--wait", type=int, default=120, metavar="S", help="seconds to wait for the broker; default 120"
    )
    asked = parser.parse_args()
    if not 0 <= asked.list <= MAX_LIST:
        parser.error(f"--list is at most {MAX_LIST:,}")
    commands = messages = 0
    began_s = time.monotonic()
    try:
        kid, sign = signing_key(asked.key)
        sender = Sender(asked.topic, kid, sign, asked.wait, options_of(asked.bootstrap, asked.options))
        with sys.stdin.buffer if asked.file is None else asked.file.open("rb") as file:
            for round_ in rounds_of(lines_of(file, asked.under)):
                messages += sender.send(round_, asked.list)
                commands += len(round_)
        sender.close()
    except (InputWrong, OptionsUnusable, OSError, errors.KafkaError) as error:
        check = f". {KAFKA_REFUSES}" if isinstance(error, errors.KafkaError) else ""
        print(
            f"{type(error).__name__}: {error}{check}\n"
            f"{commands} commands are acknowledged, others may have come; send the same input again.",
            file=sys.stderr,
            flush=True,
        )
        # At an ordinary end the client would go on trying what was given up.
        os._exit(1)
    took_s = time.monotonic() - began_s
    print(f"{commands} commands in {messages} messages are acknowledged, {commands / took_s:,.0f} a second.")


if __name__ == "__main__":
    main()
