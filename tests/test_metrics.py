"""What is counted, told from several threads and over bounds. Numbers in names are the module's invariants."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ledger import offsets
from ledger.application import Outcome, Receipt, Refused
from ledger.broker import Topic
from ledger.metrics import MAX_STRETCHES, IntakeMetrics, OutletMetrics
from ledger.offsets import Claim
from ledger.outlet import OutletState, Progress
from ledger.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from ledger.database import Database

TOPIC = "pension.commands"
HOUR_MS = 3_600_000


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """By name and the labels in the order of their names, without the topic."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels) if name != "topic")): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> IntakeMetrics:
    return IntakeMetrics(TOPIC)


def lag_s(metrics: IntakeMetrics) -> float:
    return samples(metrics.registry)["ledger_intake_lag_seconds", "0"]


class TestAge:
    """The lag in seconds is the age of the oldest message that was read and is not recorded."""

    def test_it_is_of_the_oldest_stretch_and_falls_as_stretches_are_recorded(self, metrics: IntakeMetrics) -> None:
        now_ms = int(time.time() * 1000)
        metrics.taken(0, 0)
        assert lag_s(metrics) == 0
        metrics.read(0, until=10, end_offset=30, oldest_ms=now_ms - 2 * HOUR_MS)
        metrics.read(0, until=20, end_offset=30, oldest_ms=now_ms - HOUR_MS)
        assert 7_200 <= lag_s(metrics) < 7_300
        metrics.recorded(0, 9)
        assert 7_200 <= lag_s(metrics) < 7_300
        metrics.recorded(0, 10)
        assert 3_600 <= lag_s(metrics) < 3_700
        metrics.recorded(0, 20)
        assert lag_s(metrics) == 0

    def test_it_goes_on_while_the_same_partition_is_claimed_again_and_again(self, metrics: IntakeMetrics) -> None:
        """While the database is away what was read is forgotten, and nothing is read: the messages grow older."""
        metrics.taken(0, 5)
        metrics.read(0, until=10, end_offset=10, oldest_ms=int(time.time() * 1000) - HOUR_MS)
        metrics.taken(0, 5)
        metrics.read(0, until=8, end_offset=10, oldest_ms=int(time.time() * 1000))
        assert 3_600 <= lag_s(metrics) < 3_700
        metrics.recorded(0, 10)
        assert lag_s(metrics) == 0

    def test_a_partition_that_went_and_came_back_begins_anew(self, metrics: IntakeMetrics) -> None:
        metrics.taken(0, 5)
        metrics.read(0, until=10, end_offset=10, oldest_ms=0)
        metrics.keep(set())
        assert ("ledger_intake_lag_seconds", "0") not in samples(metrics.registry)
        metrics.read(0, until=12, end_offset=12, oldest_ms=0)
        metrics.ends(0, 12)
        metrics.recorded(0, 12)
        assert samples(metrics.registry)["ledger_intake_assigned_partitions",] == 0
        metrics.taken(0, 12)
        assert lag_s(metrics) == 0

    def test_a_message_from_the_future_is_not_younger_than_now(self, metrics: IntakeMetrics) -> None:
        metrics.taken(0, 0)
        metrics.read(0, until=1, end_offset=1, oldest_ms=int(time.time() * 1000) + HOUR_MS)
        assert lag_s(metrics) == 0

    def test_what_is_remembered_has_a_bound_and_the_oldest_is_kept(self, metrics: IntakeMetrics) -> None:
        metrics.taken(0, 0)
        now_ms = int(time.time() * 1000)
        for number in range(MAX_STRETCHES + 100):
            metrics.read(0, until=number + 1, end_offset=number + 1, oldest_ms=now_ms - (HOUR_MS if number == 0 else 0))
        assert len(metrics._partitions[0].stretches) == MAX_STRETCHES
        assert 3_600 <= lag_s(metrics) < 3_700
        metrics.recorded(0, MAX_STRETCHES + 100)
        assert lag_s(metrics) == 0


def test_a_lag_is_never_negative(metrics: IntakeMetrics) -> None:
    metrics.taken(0, 0)
    metrics.ends(0, 3)
    metrics.recorded(0, 5)
    metrics.ends(0, 4)
    assert samples(metrics.registry)["ledger_intake_lag_messages", "0"] == 0


def test_the_status_shows_no_negative_lag_where_lost_messages_were_passed_over(database: Database) -> None:
    topic = Topic("pension.commands", "id", 1)
    with database.connection() as connection:
        claim, next_offset = offsets.take(connection, topic, 0, "one")
        offsets.skip(connection, topic, Claim(0, claim, next_offset), to=7)
    (found,) = read_status(database).intake
    assert (found.next_offset, found.end_offset, found.lag) == (7, 0, 0)


def test_a_code_of_a_command_is_counted_once_a_command_whatever_the_batch(metrics: IntakeMetrics) -> None:
    outcomes: list[Outcome] = [Receipt("x/1", 1, 1)]
    outcomes += [Refused(f"x/{number}", "AccountUnknown", "A sentence.", {}) for number in range(40)]
    metrics.posted(outcomes, messages=2, refused=["AccountUnknown"] * 40)
    metrics.posted([Refused("x/1", "AccountUnknown", "A sentence.", {}, repeated=True)], messages=1, refused=[])
    found = samples(metrics.registry)
    assert found["ledger_intake_commands_total", "AccountUnknown"] == 40
    assert found["ledger_intake_commands_total", "repeated"] == 1
    assert found["ledger_intake_refused_messages_total", "AccountUnknown"] == 40


def test_threads_that_tell_and_one_that_asks_meet_without_loss_3(metrics: IntakeMetrics) -> None:
    failed: list[BaseException] = []
    done = threading.Event()

    def tells(partition: int) -> None:
        for number in range(500):
            metrics.taken(partition, number)
            metrics.read(partition, until=number + 1, end_offset=number + 1, oldest_ms=0)
            metrics.recorded(partition, number + 1)
            metrics.posted([Receipt("x/1", 1, 1)], messages=1, refused=["MessageEmpty"])
            metrics.keep(set(range(4)))

    def asks() -> None:
        while not done.is_set():
            generate_latest(metrics.registry)

    def kept(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    asking = threading.Thread(target=kept, args=(asks,))
    telling = [threading.Thread(target=kept, args=(lambda each=each: tells(each),)) for each in range(4)]
    for each in (asking, *telling):
        each.start()
    for each in telling:
        each.join()
    done.set()
    asking.join()
    assert failed == []
    found = samples(metrics.registry)
    assert found["ledger_intake_commands_total", "accepted"] == 2_000
    assert found["ledger_intake_refused_messages_total", "MessageEmpty"] == 2_000
    assert {found["ledger_intake_next_offset", str(number)] for number in range(4)} == {500}


def test_two_outlets_of_a_process_do_not_share() -> None:
    for position in (3, 5):
        state = OutletState(Progress("events", "e", position=position, head=9), Progress("refusals", "r"))
        found = samples(OutletMetrics(state.streams).registry)
        assert found["ledger_outlet_lag_messages", "events"] == 9 - position
        state.events.position = 9
