"""`ledger intake` and `ledger outlet` as processes, watched while they work and while what they need is away."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger.broker import make_topics
from ledger.database import open_database
from ledger.embedded import EmbeddedServer
from ledger.settings import Settings
from ledger.signing import development_signing_key
from ledger.status import read_status
from tests.brokers import Broker
from tests.commands import contribute
from tests.kafka.sending import PATIENCE_S, Source, opened, settings_of, until
from tests.kafka.topics import Topics
from tests.programs import Program
from tests.test_watching import get

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.database import Database

CANARY = "canary-3141592653"


class Worker:
    """A process of the ledger that is watched."""

    def __init__(self, command: str, url: str, broker: Broker, topics: Topics, folder: Path) -> None:
        settings = topics.settings(broker) | {"LEDGER_DATABASE_URL": url, "LEDGER_DATA_FOLDER": str(folder)}
        self.program = Program("ledger", command, "--watch-port", "0", settings=settings)
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := re.search(r'"address": ?"(http://[^"]+)"', self.program.errors)) is None:
            assert self.program.process.poll() is None, self.program.errors
            assert time.monotonic() < deadline_s, self.program.errors
            time.sleep(0.05)
        self.address = found[1]

    def ready(self) -> tuple[int, list[str]]:
        status, _, body = get(f"{self.address}/ready")
        return status, json.loads(body).get("reasons", [])

    def wait_until_ready(self) -> None:
        until(lambda: self.ready() == (200, []), what=f"{self.program.errors} {self.ready()}: ready")

    def wait_until_it_says(self, what: str) -> None:
        until(lambda: any(what in each for each in self.ready()[1]), what=f"not ready because of {what}")
        assert get(f"{self.address}/health")[0] == 200

    def samples(self) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels) if name != "topic")): sample.value
            for family in text_string_to_metric_families(get(f"{self.address}/metrics")[2])
            for sample in family.samples
        }

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.program.errors.splitlines()]


def signing_of(folder: Path) -> Any:
    return development_signing_key(Settings(data_folder=folder))


def test_the_numbers_are_those_of_what_was_sent(
    database: Database, broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    intake = Worker("intake", database.url, broker, topics, tmp_path)
    outlet = Worker("outlet", database.outlet_url, broker, topics, tmp_path)
    signing = signing_of(tmp_path)
    with intake.program, outlet.program, Source(broker, topics) as source:
        source.send(*opened("EA-1", "ea-core:1"), signing=signing, partition=0)
        source.send(contribute("EA-1", 100, "ea-core/1"), signing=signing, partition=0)
        source.send(contribute("EA-1", 100, "ea-core/1"), signing=signing, partition=0)
        source.send(contribute("EA-9", 100, "ea-core/2"), signing=signing, partition=1)
        source.send_bytes(CANARY.encode(), signing=signing, partition=1)
        source.flush()
        until(lambda: intake.samples().get(("ledger_intake_next_offset", "0")) == 3, what="all of partition 0")
        until(lambda: intake.samples().get(("ledger_intake_next_offset", "1")) == 2, what="all of partition 1")
        until(lambda: outlet.samples()["ledger_outlet_position", "events"] == 3, what="all facts published")
        until(lambda: outlet.samples()["ledger_outlet_position", "refusals"] == 2, what="all refusals published")
        intake.wait_until_ready()
        outlet.wait_until_ready()
        found, published = intake.samples(), outlet.samples()
        assert found["ledger_intake_commands_total", "accepted"] == 3
        assert found["ledger_intake_commands_total", "repeated"] == 1
        assert found["ledger_intake_commands_total", "AccountUnknown"] == 1
        assert found["ledger_intake_refused_messages_total", "AccountUnknown"] == 1
        assert found["ledger_intake_refused_messages_total", "CommandMalformed"] == 1
        assert found["ledger_intake_batch_messages_sum",] == 5
        assert found["ledger_intake_assigned_partitions",] == 4
        assert {found["ledger_intake_lag_messages", str(number)] for number in range(4)} == {0}
        assert published["ledger_outlet_published_total", "events"] == 3
        assert published["ledger_outlet_lag_messages", "events"] == 0
        assert published["ledger_outlet_last_published_timestamp_seconds", "events"] > 1e9
        assert intake.program.end() == outlet.program.end() == 0
    refused = [line for line in intake.lines() if line["event"] == "refused"]
    assert [(line["code"], line["command_id"]) for line in refused if line["offset"] == 0] == [
        ("AccountUnknown", "ea-core/2")
    ]
    assert {line["event"] for line in outlet.lines()} >= {"ready", "ended"}
    assert CANARY not in intake.program.errors + outlet.program.errors
    status = read_status(database)
    assert [(each.partition, each.next_offset, each.lag) for each in status.intake if each.next_offset] == [
        (0, 3, 0),
        (1, 2, 0),
    ]
    assert [(each.stream, each.position, each.lag, each.lag_s) for each in status.outlet] == [
        ("events", 3, 0, 0),
        ("refusals", 2, 0, 0),
    ]
    assert status.refused_messages == {"AccountUnknown": 1, "CommandMalformed": 1}


def test_while_the_broker_is_away_both_say_so_and_are_ready_again_when_it_is_back(
    database: Database, tmp_path: Path
) -> None:
    broker = Broker()
    if broker.kind == "external":
        pytest.skip("a broker of somebody else's is not started and stopped")
    name = f"test-{uuid.uuid4().hex[:12]}"
    topics = Topics(f"{name}.commands", f"{name}.events", f"{name}.refusals", f"{name}.intake")
    intake = Worker("intake", database.url, broker, topics, tmp_path)
    outlet = Worker("outlet", database.outlet_url, broker, topics, tmp_path)
    workers = (intake, outlet)
    with intake.program, outlet.program:
        for each in workers:
            each.wait_until_it_says("Kafka does not answer")
        with broker:
            for each in workers:
                each.wait_until_it_says("ledger topics")
            make_topics(settings_of(broker, topics), partitions=2, replicas=1)
            for each in workers:
                each.wait_until_ready()
            if broker.keeps_data:
                broker.kill()
                intake.wait_until_it_says("broker")
                broker.start()
                for each in workers:
                    each.wait_until_ready()
        assert intake.samples()["ledger_intake_begun_again_total", "broker"] > 0
        assert intake.program.end() == outlet.program.end() == 0
    assert all({"time", "level", "event", "logger"} <= line.keys() for each in workers for line in each.lines())


def test_while_postgresql_is_away_both_say_so_and_are_ready_again_when_it_is_back(
    broker: Broker, topics: Topics, server_folder: Path, tmp_path: Path
) -> None:
    server = EmbeddedServer(server_folder, shared_buffers_mb=64)
    with server, open_database(Settings(data_folder=server_folder, shared_buffers_mb=64)) as database:
        intake = Worker("intake", database.url, broker, topics, tmp_path)
        outlet = Worker("outlet", database.outlet_url, broker, topics, tmp_path)
        with intake.program, outlet.program:
            for each in (intake, outlet):
                each.wait_until_ready()
            os.kill(server.pid, signal.SIGKILL)
            for each in (intake, outlet):
                each.wait_until_it_says("database")
            server.start()
            for each in (intake, outlet):
                each.wait_until_ready()
            with Source(broker, topics) as source:
                source.send(*opened("EA-1", "ea-core:1"), signing=signing_of(tmp_path), partition=0)
                source.flush()
            until(lambda: outlet.samples()["ledger_outlet_position", "events"] == 2, what="it goes on")
            assert intake.program.end() == outlet.program.end() == 0
