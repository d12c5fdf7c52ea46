"""What a program that works by itself answers to who watches it. Numbers in names are the module's invariants."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from ledger import watching as watching_module
from ledger.application import Outcome, Receipt, Refused
from ledger.listening import AddressTaken
from ledger.metrics import MAX_CODES, IntakeMetrics, OutletMetrics
from ledger.outlet import OutletState, Progress
from ledger.watching import Turns, Watched, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_WAIT_S = 20


def get(url: str, *, method: str = "GET") -> tuple[int, str, str]:
    """Status, media type and body."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_WAIT_S) as response:  # noqa: S310 - as above
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


class Work:
    """Something to watch."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.reasons: list[str] = []
        self.registry = CollectorRegistry()
        self.counter = Counter("ledger_test", "For this test.", registry=self.registry)

    def watched(self) -> Watched:
        return Watched(self.turns.still_s, lambda: self.reasons, self.registry)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def address(work: Work) -> Iterator[str]:
    with watching("127.0.0.1", 0, work.watched()) as found:
        yield found


class TestHealth:
    def test_it_is_alive_while_the_work_goes_round_whatever_cannot_be_reached_1(self, work: Work, address: str) -> None:
        work.reasons = ["database: it does not answer"]
        assert get(f"{address}/health") == (200, "application/json", '{"status": "alive"}')

    def test_it_is_stuck_when_the_work_has_not_gone_round_for_longer_than_the_bound_1(self, work: Work) -> None:
        with watching("127.0.0.1", 0, work.watched(), stuck_after_s=0.0) as address:
            time.sleep(0.01)
            status, _, body = get(f"{address}/health")
        assert status == 503
        assert json.loads(body)["status"] == "stuck"

    def test_a_turn_makes_it_alive_again_1(self) -> None:
        turns = Turns()
        time.sleep(0.02)
        before_s = turns.still_s()
        turns.turned()
        assert turns.still_s() < before_s


def test_every_reason_is_told_why_it_is_not_ready_2(work: Work, address: str) -> None:
    assert get(f"{address}/ready") == (200, "application/json", '{"status": "ready"}')
    work.reasons = ["broker: it does not answer", "partitions: none is assigned"]
    status, _, body = get(f"{address}/ready")
    assert (status, json.loads(body)) == (503, {"status": "not ready", "reasons": work.reasons})


def test_the_numbers_are_of_the_moment(work: Work, address: str) -> None:
    work.counter.inc()
    first = get(f"{address}/metrics")
    work.counter.inc()
    status, media_type, body = get(f"{address}/metrics?name=x")
    assert "ledger_test_total 1.0" in first[2]
    assert "ledger_test_total 2.0" in body
    assert (status, media_type.partition(";")[0]) == (200, "text/plain")


class TestOthers:
    def test_whatever_else_is_asked_for_is_not_there(self, address: str) -> None:
        for path in ("/", "/v1/status", "/health/", "/%00", f"/{'x' * 5_000}"):
            assert get(f"{address}{path}")[0] == 404, path

    def test_head_is_get_without_a_body_and_nothing_can_be_done_here(self, address: str) -> None:
        assert get(f"{address}/ready", method="HEAD") == (200, "application/json", "")
        assert get(f"{address}/ready", method="POST")[0] == 501

    def test_an_address_that_is_taken_is_said_so(self, work: Work) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with (
                pytest.raises(AddressTaken, match=rf"127\.0\.0\.1:{port}: Address already in use.*--watch-port"),
                watching("127.0.0.1", port, work.watched()),
            ):
                pass

    def test_it_serves_by_ipv6_too(self, work: Work) -> None:
        if not socket.has_ipv6:
            pytest.skip("this machine has no IPv6")
        with watching("::1", 0, work.watched()) as address:
            assert address.startswith("http://[::1]:")
            assert get(f"{address}/health")[0] == 200

    def test_afterwards_nobody_listens(self, work: Work) -> None:
        with watching("127.0.0.1", 0, work.watched()) as address:
            pass
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(f"{address}/health")

    def test_who_asks_and_says_nothing_is_turned_away_and_others_are_answered_3(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watching_module._Handler, "timeout", 0.2)
        with watching("127.0.0.1", 0, work.watched()) as address:
            port = int(address.rpartition(":")[2])
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * watching_module.MAX_AT_ONCE)]
            try:
                for each in silent:
                    each.settimeout(ANSWER_WAIT_S)
                    assert each.recv(1) == b""
            finally:
                for each in silent:
                    each.close()
            assert get(f"{address}/health")[0] == 200

    def test_a_question_that_fails_does_not_end_the_answering_3(self, work: Work) -> None:
        def fails() -> list[str]:
            raise AssertionError("a bug")

        with watching("127.0.0.1", 0, work.watched()._replace(problems=fails)) as address:
            with pytest.raises(ConnectionError):
                get(f"{address}/ready")
            assert get(f"{address}/health")[0] == 200


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """What a scraper reads, by name and the labels in the order of their names."""
    with watching("127.0.0.1", 0, Watched(Turns().still_s, list, registry)) as address:
        text = get(f"{address}/metrics")[2]
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def refused(code: str) -> Outcome:
    return Refused("x/1", code, "A sentence.", {})


class TestIntakeMetrics:
    def test_a_partition_is_behind_by_what_was_read_and_what_the_broker_has(self) -> None:
        metrics = IntakeMetrics("pension.commands")
        metrics.taken(0, 5)
        metrics.read(0, until=8, end_offset=8, oldest_ms=0)
        metrics.ends(0, 12)
        metrics.recorded(0, 6)
        found = samples(metrics.registry)
        assert found["ledger_intake_assigned_partitions",] == 1
        assert found["ledger_intake_next_offset", "0", "pension.commands"] == 6
        assert found["ledger_intake_lag_messages", "0", "pension.commands"] == 6
        assert found["ledger_intake_lag_seconds", "0", "pension.commands"] > 1e9
        metrics.recorded(0, 12)
        found = samples(metrics.registry)
        assert found["ledger_intake_lag_messages", "0", "pension.commands"] == 0
        assert found["ledger_intake_lag_seconds", "0", "pension.commands"] == 0

    def test_a_partition_that_went_is_no_longer_shown_2(self) -> None:
        metrics = IntakeMetrics("pension.commands")
        metrics.taken(0, 5)
        metrics.taken(1, 7)
        metrics.keep({1, 2})
        metrics.recorded(0, 6)
        found = samples(metrics.registry)
        assert {labels[1] for labels in found if labels[0] == "ledger_intake_next_offset"} == {"1"}

    def test_batches_are_counted_by_what_came_of_them(self) -> None:
        metrics = IntakeMetrics("pension.commands")
        accepted = Receipt("x/1", 1, 1)
        repeated = accepted._replace(repeated=True)
        metrics.posted([accepted, repeated, refused("AccountUnknown")], messages=2, refused=["AccountUnknown"])
        metrics.posted([], messages=1, refused=["MessageEmpty"])
        metrics.took(0.5)
        metrics.began_again("database")
        found = samples(metrics.registry)
        for outcome in ("accepted", "repeated", "AccountUnknown"):
            assert found["ledger_intake_commands_total", outcome] == 1
        assert found["ledger_intake_refused_messages_total", "MessageEmpty"] == 1
        assert found["ledger_intake_batch_messages_sum",] == 3
        assert found["ledger_intake_batch_commands_count",] == 2
        assert found["ledger_intake_batch_seconds_sum",] == 0.5
        causes = {labels[1]: value for labels, value in found.items() if labels[0] == "ledger_intake_begun_again_total"}
        assert causes == {"broker": 0, "database": 1, "failed": 0, "fenced": 0}

    def test_labels_have_a_bound_1(self) -> None:
        metrics = IntakeMetrics("pension.commands")
        metrics.posted([], messages=1, refused=[f"Code{number}" for number in range(2 * MAX_CODES)])
        found = samples(metrics.registry)
        counts = {
            labels[1]: value for labels, value in found.items() if labels[0] == "ledger_intake_refused_messages_total"
        }
        assert len(counts) == MAX_CODES + 1
        assert counts["other"] == MAX_CODES


def test_the_outlet_shows_where_each_stream_stands() -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    events = Progress(
        "events", "pension.events", position=7, head=9, published=5, rounds=2, failed_rounds=1, last_published_at=at
    )
    state = OutletState(events, Progress("refusals", "pension.refusals", standing_by=True))
    found = samples(OutletMetrics(state.streams).registry)
    assert {
        name: found[f"ledger_outlet_{name}", "events"]
        for name in ("position", "head", "lag_messages", "published_total", "rounds_total", "failed_rounds_total")
    } == {
        "position": 7,
        "head": 9,
        "lag_messages": 2,
        "published_total": 5,
        "rounds_total": 2,
        "failed_rounds_total": 1,
    }
    assert found["ledger_outlet_last_published_timestamp_seconds", "events"] == at.timestamp()
    assert found["ledger_outlet_last_published_timestamp_seconds", "refusals"] == 0
    assert found["ledger_outlet_standing_by", "refusals"] == 1
