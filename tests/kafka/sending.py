"""Sends messages as source systems do, and reads what came of them."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaProducer

from ledger.domain.posters import Poster
from ledger.intake import Intake
from ledger.settings import Settings
from ledger.signing import HEADER, Signer, SourceKeys, _hmac, hmac_signing_key, sign
from tests.commands import open_account, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.database import Database
    from ledger.domain.commands import Command
    from tests.brokers import Broker
    from tests.kafka.topics import Topics

PATIENCE_S = 60
SECRET = bytes(range(32))
TRUSTED = hmac_signing_key("trusted", SECRET)
EA_CORE = hmac_signing_key("ea-core", SECRET[::-1])
KEYS = SourceKeys(
    {
        "trusted": Signer(None, _hmac(SECRET)),
        "ea-core": Signer(Poster("system:ea-core", "ea-core", None, is_steward=False), _hmac(SECRET[::-1])),
    }
)


class Source:
    """A source system with a producer of its own."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self._topic = topics.commands
        self._producer = KafkaProducer(bootstrap_servers=broker.bootstrap.split(","), linger_ms=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def send(self, *commands: Command, key: str = "k", signing: Any = TRUSTED, partition: int | None = None) -> None:
        """One command as itself, several as a list."""
        spelled = [command.model_dump(mode="json", exclude_none=True) for command in commands]
        value = json.dumps(spelled[0] if len(spelled) == 1 else spelled).encode()
        self.send_bytes(value, key=key, signing=signing, partition=partition)

    def send_bytes(
        self, value: bytes | None, *, key: str = "k", signing: Any = TRUSTED, partition: int | None = None
    ) -> None:
        signature = sign(signing, topic=self._topic, key=key.encode(), value=value or b"")
        headers = [(HEADER, signature)]
        self._producer.send(self._topic, value, key.encode(), headers=headers, partition=partition)

    def flush(self) -> None:
        self._producer.flush(PATIENCE_S)


def opened(account: str, sid: str) -> tuple[Command, Command]:
    """What an account needs before it takes money."""
    return register(sid, f"ea-core/r-{sid}"), open_account(sid, account, command_id=f"ea-core/o-{account}")


def settings_of(broker: Broker, topics: Topics) -> Settings:
    return Settings(
        kafka_bootstrap_servers=broker.bootstrap,
        commands_topic=topics.commands,
        events_topic=topics.events,
        refusals_topic=topics.refusals,
        intake_group=topics.group,
    )


class Reading:
    """An intake on a thread of the test."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.stop = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.intake.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failed = error

    def join(self, *, timeout_s: float = PATIENCE_S) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive()

    def end(self) -> None:
        self.stop.set()
        self.join()


@contextmanager
def reading(
    database: Database, broker: Broker, topics: Topics, *, member: str = "one", accepts_lost: bool = False
) -> Iterator[Reading]:
    """An intake that reads meanwhile, and is stopped at the end; what it died of is raised."""
    intake = Intake(database, settings_of(broker, topics), KEYS, member=member, accepts_lost=accepts_lost)
    running = Reading(intake)
    try:
        yield running
    finally:
        running.end()
    if running.failed is not None:
        raise running.failed


def until(happens: Callable[[], bool], *, what: str) -> None:
    """Wait for it, with a bound."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline_s, f"{what} does not happen"
        time.sleep(0.02)


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.connection() as connection:
        return connection.execute(query.encode()).fetchall()


def count(database: Database, table: str) -> int:
    return int(rows(database, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - a table of ours
