"""The reference producer: what it sends is taken, stays in order, and is recorded once, also where it was killed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic_core import to_json

from ledger.contract import story
from ledger.domain.commands import ONE
from ledger.domain.identifiers import tags_of
from ledger.intake import Intake
from ledger.settings import Settings
from ledger.signing import source_keys
from tests.brokers import free_port
from tests.commands import contribute
from tests.kafka.sending import Reading, count, opened, rows, settings_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database
    from ledger.domain.commands import Command
    from tests.brokers import Broker
    from tests.kafka.topics import Topics

PROGRAM = Path(__file__).parent.parent.parent / "examples" / "send.py"
PATIENCE_S = 120
SECRET = bytes(range(32))
ACCOUNTS = [f"EA-{number}" for number in range(1, 7)]
ROUNDS = 40
OF_AN_ACCOUNT = (
    "SELECT command_id FROM event WHERE type = 'ContributionPosted' AND tags[1] = 'account:{}' ORDER BY position"
)

_spec = importlib.util.spec_from_file_location("send", PROGRAM)
assert _spec is not None
assert _spec.loader is not None
send = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(send)


def spelled(secret: bytes) -> str:
    return urlsafe_b64encode(secret).rstrip(b"=").decode()


class Sending:
    """A source system with its key, and the ledger's file of keys."""

    def __init__(self, folder: Path, broker: Broker, topics: Topics, kty: Literal["OKP", "oct"] = "OKP") -> None:
        self.key = folder / "source-key.json"
        self.keys = folder / "keys.json"
        names = {"kid": "ea-core-1", "kty": kty}
        claims = {"sub": "system:ea-core", "source": "ea-core"}
        if kty == "OKP":
            public = Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
            self._write(self.key, {**names, "crv": "Ed25519", "d": spelled(SECRET)})
            self._write(self.keys, {"keys": [{**names, **claims, "crv": "Ed25519", "x": spelled(public)}]})
        else:
            self._write(self.key, {**names, "k": spelled(SECRET)})
            self._write(self.keys, {"keys": [{**names, **claims, "k": spelled(SECRET)}]})
        self._options = ["--topic", topics.commands, "--bootstrap", broker.bootstrap, "--key", str(self.key)]
        self._settings = settings_of(broker, topics)

    @staticmethod
    def _write(path: Path, content: object) -> None:
        path.write_text(json.dumps(content), encoding="utf-8")
        path.chmod(0o600)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROGRAM), *self._options, *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, content: bytes, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as program:
            output, errors = program.communicate(content, timeout=PATIENCE_S)
        return program.returncode, output.decode(), errors.decode()

    def sends(self, content: bytes, *arguments: str) -> str:
        code, output, errors = self.run(content, *arguments)
        assert (code, errors) == (0, "")
        return output

    @contextmanager
    def taken(self, database: Database) -> Iterator[None]:
        """By an intake that has the key."""
        keys = source_keys(Settings(source_keys=self.keys))
        running = Reading(Intake(database, self._settings, keys, member="one"))
        try:
            yield
        finally:
            running.end()
        if running.failed is not None:
            raise running.failed


def as_sent(command: Command) -> dict[str, Any]:
    return command.model_dump(mode="json", exclude_none=True) | {"actor": "system:ea-core"}


def lines(spelled_commands: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in spelled_commands)


def openings() -> bytes:
    """What belongs together under one key, so that it stays in order."""
    together = [
        {"key": f"account:{account}", "command": as_sent(command)}
        for account in ACCOUNTS
        for command in opened(account, f"ea-core:{account.lower()}")
    ]
    return lines(together)


def contributions(rounds: int = ROUNDS) -> bytes:
    """By turns into each account."""
    return lines(
        [
            as_sent(contribute(account, 100, f"ea-core/{account}/{number:04}"))
            for number in range(rounds)
            for account in ACCOUNTS
        ]
    )


def recorded_once_in_order(database: Database, rounds: int, *, last: str | None = None) -> None:
    for account in ACCOUNTS:
        ids = [command_id for (command_id,) in rows(database, OF_AN_ACCOUNT.format(account))]
        expected = [f"ea-core/{account}/{number:04}" for number in range(rounds)]
        assert ids == [*expected, *(["ea-core/last"] if account == last else [])]


@pytest.mark.parametrize("name", story.first_commands())
def test_a_command_alone_has_the_key_that_the_contract_says(name: str) -> None:
    command = story.first_commands()[name]
    if name != "ClosePeriod":
        assert send.key_of(command) == tags_of(ONE.validate_json(to_json(command)))[0]


@pytest.mark.parametrize(("kty", "most_in_list"), [("OKP", 0), ("OKP", 50), ("oct", 0), ("oct", 7)])
def test_what_is_sent_is_recorded_once_and_in_order_also_when_it_is_sent_again(
    database: Database,
    broker: Broker,
    topics: Topics,
    tmp_path: Path,
    kty: Literal["OKP", "oct"],
    most_in_list: int,
) -> None:
    sending = Sending(tmp_path, broker, topics, kty)
    listed = ["--list", str(most_in_list)]
    facts = len(ACCOUNTS) * (2 + ROUNDS)
    with sending.taken(database):
        sending.sends(openings(), *listed)
        said = sending.sends(contributions(), *listed)
        assert said.startswith(f"{len(ACCOUNTS) * ROUNDS} commands in ")
        until(lambda: count(database, "event") == facts, what=f"{facts} facts are recorded")
        again = sending.sends(openings() + contributions(), *listed)
        sending.sends(lines([as_sent(contribute("EA-1", 1, "ea-core/last"))]))
        until(lambda: count(database, "event") == facts + 1, what="what is sent last is recorded")
    recorded_once_in_order(database, ROUNDS, last="EA-1")
    assert count(database, "refused_message") == 0
    if most_in_list == 0:
        assert f"commands in {len(ACCOUNTS) * (2 + ROUNDS)} messages" in again


@pytest.mark.parametrize("listed", [[], ["--list", "5"]], ids=["alone", "in lists"])
def test_under_one_key_a_file_is_decided_in_its_order(
    database: Database, broker: Broker, topics: Topics, tmp_path: Path, listed: list[str]
) -> None:
    """An opening needs the registration before it, and both have keys of their own otherwise."""
    sending = Sending(tmp_path, broker, topics)
    commands = [as_sent(command) for account in ACCOUNTS for command in opened(account, f"ea-core:{account.lower()}")]
    with sending.taken(database):
        sending.sends(lines(commands) + contributions(2), "--under", "ea-core", *listed)
        until(lambda: count(database, "command") == 4 * len(ACCOUNTS), what="all is recorded")
    assert count(database, "event") == 4 * len(ACCOUNTS)
    recorded_once_in_order(database, 2)


def test_killed_and_run_again_it_loses_nothing_and_keeps_the_order(
    database: Database, broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    sending = Sending(tmp_path, broker, topics)
    rounds = 1_000
    content = contributions(rounds)
    with sending.taken(database):
        sending.sends(openings())
        until(lambda: count(database, "event") == 2 * len(ACCOUNTS), what="the accounts are opened")
        recorded = count(database, "event")
        for until_byte in (len(content) // 2, len(content) * 5 // 6):
            with sending.start() as program:
                assert program.stdin is not None
                try:
                    # Less than all, so that it waits for more when it is killed.
                    program.stdin.write(content[:until_byte])
                    program.stdin.flush()
                    until(lambda: count(database, "event") > recorded, what="more is recorded")  # noqa: B023 - called at once
                finally:
                    program.kill()
            recorded = count(database, "event")
        sending.sends(content)
        until(lambda: count(database, "command") == len(ACCOUNTS) * (2 + rounds), what="all is recorded")
    recorded_once_in_order(database, rounds)
    assert count(database, "refused_message") == 0


def test_it_says_where_the_input_is_wrong_and_that_it_is_to_be_sent_again(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    sending = Sending(tmp_path, broker, topics)
    code, output, errors = sending.run(contributions(1) + b'{"type": "OpenAccount"}\n')
    assert (code, output) == (1, "")
    assert f"line {len(ACCOUNTS) + 1} is no command: names neither an account nor an identity" in errors
    assert "send the same input again" in errors


def test_it_ends_where_no_broker_answers(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    sending = Sending(tmp_path, broker, topics)
    code, _, errors = sending.run(contributions(1), "--bootstrap", f"127.0.0.1:{free_port()}", "--wait", "1")
    assert code == 1
    assert "0 commands are acknowledged" in errors


@pytest.mark.parametrize("content", ["{", "[1]", '{"acks": 0}'])
def test_options_that_are_none_are_said(broker: Broker, topics: Topics, tmp_path: Path, content: str) -> None:
    """Options of the producer itself are no matter of the login."""
    sending = Sending(tmp_path, broker, topics)
    (tmp_path / "options.json").write_text(content)
    code, _, errors = sending.run(contributions(1), "--options", str(tmp_path / "options.json"))
    assert code == 1
    assert "OptionsUnusable" in errors
    assert "Traceback" not in errors


def test_a_key_that_others_may_read_is_not_used(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    sending = Sending(tmp_path, broker, topics)
    sending.key.chmod(0o644)
    code, _, errors = sending.run(contributions(1))
    assert code == 1
    assert "others may read this key" in errors
