"""What sources send in a chaos run: in the order of each account, with repeats, delays, refusals and what cannot be read.

1. The same seed makes the same messages, byte for byte.
2. The commands of an account are made in its order, and all its messages go to one partition. So each command that is meant to
   be accepted is accepted whenever that order is kept, and refused where it is not.
3. What must come of a message is known from its bytes alone, however often and when it is delivered.
"""

import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.cloudevents import Message
from ledger.publishing import partition_of
from ledger.signing import HEADER, SigningKey, hmac_signing_key, sign
from tests.commands import contribute, open_account, register

SOURCE = "ea-core"
SUBJECT = f"system:{SOURCE}"
COMMANDS_OF_AN_ACCOUNT = 25
MOST_REMEMBERED = 2_000
LIST_LENGTHS = (2, 10, 50, 200)
RECORD_BYTES = 400
# Shares of the messages; half of the commands come in lists.
KINDS = {"single": 780, "list": 12, "repeat": 90, "delayed": 60, "refused": 60, "reused": 40, "unreadable": 80}


class Expected(NamedTuple):
    """What must come of one command, or of a message that is none: accepted where there is no code."""

    item: int | None
    value: bytes | None
    command_id: str | None
    code: str | None


class Sent(NamedTuple):
    """A message, and what must come of it."""

    key: bytes
    value: bytes | None
    signature: bytes | None
    expected: tuple[Expected, ...]

    @property
    def identity(self) -> tuple[bytes, bytes | None, bytes | None]:
        """By which it is known again in the topic."""
        return self.key, self.value, self.signature

    def outgoing(self, number: int) -> Message:
        headers = [] if self.signature is None else [(HEADER, self.signature)]
        return Message(number, self.key, self.value, headers, len(self.key) + len(self.value or b"") + RECORD_BYTES)


class Traffic:
    """Makes the messages, and knows what must come of each."""

    def __init__(self, *, seed: int, commands: int, topic: str, partitions: int) -> None:
        """`commands` is how many with ids of their own are made at the least."""
        self.wanted = commands
        self.made = 0
        self.accounts = max(8, commands // COMMANDS_OF_AN_ACCOUNT)
        self.expected: dict[tuple[bytes, bytes | None, bytes | None], tuple[Expected, ...]] = {}
        self.kinds = dict.fromkeys(KINDS, 0)
        self._rng = random.Random(f"traffic/{seed}")  # noqa: S311 - a test, not a secret
        self._topic = topic
        self._keys = signing_keys(seed)
        self._next = [0] * self.accounts
        self._together: dict[int, list[int]] = {}
        for account in range(self.accounts):
            self._together.setdefault(partition_of(_key(account), partitions), []).append(account)
        self._remembered: list[Sent] = []
        self._templates = _templates()

    def messages(self) -> Iterator[Sent]:
        """All of them, in the order in which they are sent first."""
        makers = {
            "single": self._single,
            "list": self._list,
            "repeat": self._repeat,
            "delayed": self._delayed,
            "refused": self._refused,
            "reused": self._reused,
            "unreadable": self._unreadable,
        }
        while self.made < self.wanted:
            (kind,) = self._rng.choices(list(KINDS), list(KINDS.values()))
            sent = makers[kind]()
            if sent is None:
                continue
            self.kinds[kind] += 1
            self.expected[sent.identity] = sent.expected
            if len(self._remembered) < MOST_REMEMBERED:
                self._remembered.append(sent)
            else:
                # The last places are for the newest, the others for what is long ago.
                self._remembered[self._rng.randrange(MOST_REMEMBERED // 2, MOST_REMEMBERED)] = sent
            yield sent

    def _spelled(self, kind: str, **members: Any) -> bytes:
        return json.dumps(self._templates[kind] | members).encode()

    def _following(self, account: int) -> Expected:
        """The account's next command."""
        number = self._next[account]
        self._next[account] += 1
        self.made += 1
        command_id = f"{SOURCE}/{account}/{number}"
        match number:
            case 0:
                value = self._spelled("register", command_id=command_id, sid=f"{SOURCE}:{account}")
            case 1:
                value = self._spelled("open", command_id=command_id, sid=f"{SOURCE}:{account}", account=f"EA-{account}")
            case _:
                value = self._spelled("contribute", command_id=command_id, account=f"EA-{account}")
        return Expected(None, value, command_id, None)

    def _signed(self, key: bytes, value: bytes, expected: tuple[Expected, ...]) -> Sent:
        signing = self._rng.choice(self._keys)
        return Sent(key, value, sign(signing, topic=self._topic, key=key, value=value), expected)

    def _single(self) -> Sent:
        account = self._rng.randrange(self.accounts)
        one = self._following(account)
        assert one.value is not None
        return self._signed(_key(account), one.value, (one,))

    def _list(self) -> Sent:
        """Of accounts that share a partition, now and then with an item that is no command or is refused."""
        first = self._rng.randrange(self.accounts)
        together = next(each for each in self._together.values() if first in each)
        items = [self._following(first)]
        for _ in range(self._rng.choice(LIST_LENGTHS) - 1):
            luck = self._rng.random()
            if luck < 0.01:
                command_id = f"{SOURCE}/broken/{self._rng.getrandbits(64)}"
                broken = json.dumps({"command_id": command_id}).encode()
                items.append(Expected(None, broken, command_id, "CommandMalformed"))
            elif luck < 0.02:
                items.append(self._unknown())
            else:
                items.append(self._following(self._rng.choice(together)))
        expected = tuple(one._replace(item=number) for number, one in enumerate(items))
        value = b"[" + b", ".join(one.value or b"" for one in items) + b"]"
        return self._signed(_key(first), value, expected)

    def _repeat(self) -> Sent | None:
        """Verbatim, soon after."""
        return self._rng.choice(self._remembered[-20:]) if self._remembered else None

    def _delayed(self) -> Sent | None:
        """Verbatim, as when it comes a second time after long."""
        return self._rng.choice(self._remembered) if self._remembered else None

    def _unknown(self) -> Expected:
        self.made += 1
        command_id = f"{SOURCE}/unknown/{self.made}"
        value = self._spelled("contribute", command_id=command_id, account=f"EA-none-{self.made}")
        return Expected(None, value, command_id, "AccountUnknown")

    def _refused(self) -> Sent:
        one = self._unknown()
        assert one.value is not None
        return self._signed(f"account:EA-none-{self.made}".encode(), one.value, (one,))

    def _reused(self) -> Sent | None:
        """The id of an earlier command of the account, with another content."""
        account = self._rng.randrange(self.accounts)
        if self._next[account] < 3:
            return None
        command_id = f"{SOURCE}/{account}/{self._rng.randrange(2, self._next[account])}"
        fen = self._rng.randrange(1_000, 1_000_000)
        value = self._spelled(
            "contribute", command_id=command_id, account=f"EA-{account}", amounts_fen={"employee": fen}
        )
        return self._signed(_key(account), value, (Expected(None, value, command_id, "CommandIdReused"),))

    def _unreadable(self) -> Sent:
        key = _key(self._rng.randrange(self.accounts))
        value = self._spelled("contribute", command_id=f"{SOURCE}/lost/{self._rng.getrandbits(64)}", account="EA-0")
        noise = self._rng.randbytes(self._rng.randrange(1, 300))
        whole = partial(Expected, None, command_id=None)
        match self._rng.randrange(6):
            case 0:
                return self._signed(key, b"{" + noise, (whole(b"{" + noise, code="CommandMalformed"),))
            case 1:
                return self._signed(key, b"[\x00" + noise, (whole(b"[\x00" + noise, code="MessageMalformed"),))
            case 2:
                return self._signed(key, value, ())._replace(
                    signature=None, expected=(whole(value, code="MessageUnsigned"),)
                )
            case 3:
                signature = self._signed(b"another", value, ()).signature
                return Sent(key, value, signature, (whole(value, code="SignatureInvalid"),))
            case 4:
                return Sent(key, value, b"stranger.AAAA", (whole(value, code="SignerUnknown"),))
            case _:
                return Sent(key, None, None, (whole(None, code="MessageEmpty"),))


def _key(account: int) -> bytes:
    return f"account:EA-{account}".encode()


def _templates() -> dict[str, dict[str, Any]]:
    commands = {
        "contribute": contribute("EA-0", 100),
        "open": open_account(f"{SOURCE}:0", "EA-0"),
        "register": register(f"{SOURCE}:0"),
    }
    return {
        kind: command.model_dump(mode="json", exclude_none=True) | {"actor": SUBJECT}
        for kind, command in commands.items()
    }


def signing_keys(seed: int) -> list[SigningKey]:
    """One that signs with Ed25519, and a secret."""
    rng = random.Random(f"keys/{seed}")  # noqa: S311 - as above
    return [
        SigningKey("chaos-ed25519", Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)).sign),
        hmac_signing_key("chaos-secret", rng.randbytes(32)),
    ]


def write_source_keys(seed: int, path: Path) -> None:
    """What the intake knows of them, as a file that only its owner reads."""
    rng = random.Random(f"keys/{seed}")  # noqa: S311 - as above
    public = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)).public_key()
    may = {"sub": SUBJECT, "source": SOURCE}
    keys = [
        may
        | {"kid": "chaos-ed25519", "kty": "OKP", "crv": "Ed25519"}
        | {"x": _spelled(public.public_bytes(Encoding.Raw, PublicFormat.Raw))},
        may | {"kid": "chaos-secret", "kty": "oct", "k": _spelled(rng.randbytes(32))},
    ]
    path.touch(mode=0o600)
    path.write_text(json.dumps({"keys": keys}), encoding="utf-8")


def _spelled(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
