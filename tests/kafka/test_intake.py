"""The intake over a real broker: exactly once, in order, nothing lost. Numbers in names are the module's invariants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger import intake as intake_module
from ledger import offsets
from ledger.application import Ledger
from ledger.broker import TooFewBrokers, TopicMissing, make_topics, required_topic
from ledger.intake import IntakeHalted
from ledger.offsets import Fenced, Move
from tests.commands import contribute
from tests.kafka.sending import EA_CORE, Source, count, opened, reading, rows, settings_of, until

if TYPE_CHECKING:
    from ledger.database import Database
    from tests.brokers import Broker
    from tests.kafka.topics import Topics

OF_AN_ACCOUNT = "SELECT command_id FROM event WHERE 'account:{account}' = ANY (tags) ORDER BY position"
ENDS = "SELECT sum(next_offset) FROM intake_offset"


def read_up_to(database: Database, messages: int) -> None:
    until(lambda: (rows(database, ENDS)[0][0] or 0) >= messages, what=f"{messages} messages are read")


class TestMessages:
    def test_single_commands_and_lists_are_posted_in_the_order_of_their_key_3(
        self, database: Database, broker: Broker, topics: Topics
    ) -> None:
        with Source(broker, topics) as source, reading(database, broker, topics):
            for account in ("EA-1", "EA-2", "EA-3"):
                source.send(*opened(account, f"ea-core:{account.lower()}"), key=account)
                for number in range(20):
                    source.send(contribute(account, 100 + number, f"ea-core/{account}-{number}"), key=account)
                batch = [contribute(account, 200 + number, f"ea-core/{account}-list-{number}") for number in range(50)]
                source.send(*batch, key=account)
            source.flush()
            read_up_to(database, 3 * 22)
        assert count(database, "command") == 3 * 72
        assert count(database, "refused_message") == 0
        for account in ("EA-1", "EA-2", "EA-3"):
            ids = rows(database, OF_AN_ACCOUNT.format(account=account))
            assert [name for (name,) in ids] == [
                f"ea-core/o-{account}",
                *(f"ea-core/{account}-{number}" for number in range(20)),
                *(f"ea-core/{account}-list-{number}" for number in range(50)),
            ]

    def test_a_message_sent_twice_is_recorded_once(self, database: Database, broker: Broker, topics: Topics) -> None:
        with Source(broker, topics) as source, reading(database, broker, topics):
            for _ in range(3):
                source.send(*opened("EA-1", "ea-core:1"), contribute("EA-1", 100, "ea-core/c"))
            source.flush()
            read_up_to(database, 3)
        assert count(database, "event") == 3
        assert count(database, "refused_message") == 0

    def test_what_is_refused_or_cannot_be_read_is_kept_as_it_came_with_the_reason_4(
        self, database: Database, broker: Broker, topics: Topics
    ) -> None:
        with Source(broker, topics) as source, reading(database, broker, topics):
            source.send(*opened("EA-1", "ea-core:1"), partition=0)
            source.send_bytes(b"\x00 not JSON", partition=0)
            source.send(contribute("EA-9", 100, "ea-core/unknown-account"), key="person", partition=0)
            good = contribute("EA-1", 100, "ea-core/good").model_dump(mode="json", exclude_none=True)
            bad = contribute("EA-1", -1, "ea-core/negative").model_dump(mode="json", exclude_none=True)
            value = json.dumps([good, {"command_id": "ea-core/broken"}, bad]).encode()
            source.send_bytes(value, partition=0)
            source.send_bytes(None, partition=0)
            source.flush()
            read_up_to(database, 5)
        kept = rows(
            database,
            "SELECT number, message_offset, item, command_id, code, value, key FROM refused_message ORDER BY number",
        )
        assert [row[:5] for row in kept] == [
            (1, 1, None, None, "CommandMalformed"),
            (2, 2, None, "ea-core/unknown-account", "AccountUnknown"),
            (3, 3, 1, "ea-core/broken", "CommandMalformed"),
            (4, 3, 2, "ea-core/negative", "AmountNotPositive"),
            (5, 4, None, None, "MessageEmpty"),
        ]
        assert [row[5] for row in kept] == [
            b"\x00 not JSON",
            rows(database, "SELECT value FROM refused_message WHERE number = 2")[0][0],
            b'{"command_id": "ea-core/broken"}',
            json.dumps(bad).encode(),
            None,
        ]
        assert kept[1][6] == b"person"
        assert rows(database, "SELECT count(*) FROM event WHERE command_id = 'ea-core/good'") == [(1,)]

    def test_a_source_posts_for_itself_alone(self, database: Database, broker: Broker, topics: Topics) -> None:
        foreign = contribute("EA-1", 100, "pp-bank/1").model_copy(update={"actor": "system:ea-core"})
        own = contribute("EA-1", 100, "ea-core/1").model_copy(update={"actor": "system:ea-core"})
        posing = contribute("EA-1", 100, "ea-core/2").model_copy(update={"actor": "system:pp-bank"})
        with Source(broker, topics) as source, reading(database, broker, topics):
            source.send(*opened("EA-1", "ea-core:1"))
            source.send(foreign, own, posing, signing=EA_CORE)
            source.flush()
            read_up_to(database, 2)
        assert rows(database, "SELECT item, code, detail ->> 'reason' FROM refused_message ORDER BY number") == [
            (0, "PosterNotPermitted", "command_id_not_own"),
            (2, "PosterNotPermitted", "actor_not_subject"),
        ]
        assert rows(database, "SELECT count(*) FROM command WHERE command_id LIKE 'ea-core/%' AND refusal IS NULL") == [
            (3,)
        ]


class TestOffsets:
    def test_an_offset_moves_with_the_facts_or_not_at_all_1(
        self, database: Database, broker: Broker, topics: Topics
    ) -> None:
        """Undone after the offsets were moved, both are gone."""
        topic = required_topic(settings_of(broker, topics), topics.commands)
        with database.connection() as connection:
            claim, _ = offsets.take(connection, topic, 0, "one")

        class Undone(Exception):
            pass

        def alongside(connection: offsets.Connection, _outcomes: object) -> None:
            offsets.move(connection, topic, [Move(0, claim, 0, 5, 5)])
            raise Undone

        with pytest.raises(Undone):
            Ledger(database).post([*opened("EA-1", "ea-core:1")], alongside=alongside)
        assert count(database, "event") == count(database, "command") == 0
        assert rows(database, "SELECT next_offset FROM intake_offset") == [(0,)]

    @pytest.mark.parametrize(
        "wrong", [{"claim": 1}, {"after": 1}, {"partition": 1}], ids=["older claim", "other offset", "not taken"]
    )
    def test_whoever_lost_the_partition_writes_nothing_2(
        self, database: Database, broker: Broker, topics: Topics, wrong: dict[str, int]
    ) -> None:
        topic = required_topic(settings_of(broker, topics), topics.commands)
        with database.connection() as connection:
            offsets.take(connection, topic, 0, "one")
        with database.connection() as connection:
            assert offsets.take(connection, topic, 0, "two") == (2, 0)
        moves = [Move(0, 2, 0, 5, 5)._replace(**wrong)]

        with pytest.raises(Fenced):
            Ledger(database).post(
                [*opened("EA-1", "ea-core:1")],
                alongside=lambda connection, _outcomes: offsets.move(connection, topic, moves),
            )
        assert count(database, "event") == 0

    def test_a_topic_made_anew_is_read_from_its_beginning(
        self, database: Database, broker: Broker, topics: Topics
    ) -> None:
        settings = settings_of(broker, topics)
        topic = required_topic(settings, topics.commands)
        with database.connection() as connection:
            older = topic._replace(topic_id="the id of one that was deleted")
            claim, _ = offsets.take(connection, older, 0, "one")
            offsets.move(connection, older, [Move(0, claim, 0, 999, 999)])
        with database.connection() as connection:
            assert offsets.take(connection, topic, 0, "one") == (1, 0)

    def test_after_a_restart_it_goes_on_where_it_was(self, database: Database, broker: Broker, topics: Topics) -> None:
        with Source(broker, topics) as source:
            with reading(database, broker, topics):
                source.send(*opened("EA-1", "ea-core:1"))
                source.flush()
                read_up_to(database, 1)
            source.send(contribute("EA-1", 100, "ea-core/while-away"))
            source.flush()
            with reading(database, broker, topics, member="two"):
                read_up_to(database, 2)
        assert rows(database, "SELECT command_id FROM event ORDER BY position DESC LIMIT 1") == [
            ("ea-core/while-away",)
        ]


class TestFailures:
    def test_the_database_away_is_waited_out(self, database: Database, broker: Broker, topics: Topics) -> None:
        """Every connection is cut again and again while messages come; each command is there once."""
        with Source(broker, topics) as source, reading(database, broker, topics) as running:
            source.send(*opened("EA-1", "ea-core:1"))
            for number in range(300):
                source.send(contribute("EA-1", 100, f"ea-core/{number}"))
                if number % 50 == 0:
                    source.flush()
                    cut_off(database)
            source.flush()
            read_up_to(database, 301)
            until(lambda: not running.intake.problems(), what="it is well again")
        assert count(database, "event") == count(database, "command") == 302

    def test_a_message_that_the_ledger_fails_at_is_set_aside_and_the_rest_goes_on(
        self, database: Database, broker: Broker, topics: Topics, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The fault is put in where a batch is posted; what surrounds it is real."""
        post = Ledger.post

        def fails_at_the_thirteenth(self: Ledger, commands: object, *arguments: object, **options: object) -> object:
            if any(command.command_id == "ea-core/13" for command in commands):  # type: ignore[attr-defined]
                raise AssertionError("a bug")
            return post(self, commands, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Ledger, "post", fails_at_the_thirteenth)
        with Source(broker, topics) as source, reading(database, broker, topics):
            source.send(*opened("EA-1", "ea-core:1"))
            for number in range(30):
                source.send(contribute("EA-1", 100, f"ea-core/{number}"))
            source.flush()
            read_up_to(database, 31)
        assert rows(database, "SELECT code, message_offset FROM refused_message") == [("CommandFailed", 14)]
        assert count(database, "command") == 31

    def test_when_too_many_fail_it_halts_and_records_nothing_of_the_last(
        self, database: Database, broker: Broker, topics: Topics, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(self: Ledger, commands: object, *_arguments: object, **options: object) -> object:
            if commands:
                raise AssertionError("a bug")
            return post(self, (), **options)  # type: ignore[arg-type]

        post = Ledger.post
        monkeypatch.setattr(Ledger, "post", fails)
        monkeypatch.setattr(intake_module, "MAX_FAILED_IN_A_ROW", 2)
        with Source(broker, topics) as source:
            for number in range(10):
                source.send(contribute("EA-1", 100, f"ea-core/{number}"))
            source.flush()
        with pytest.raises(IntakeHalted), reading(database, broker, topics) as running:
            running.join()
        assert rows(database, ENDS) == [(2,)]

    def test_a_missing_topic_is_named_and_waited_for(self, database: Database, broker: Broker, topics: Topics) -> None:
        later = topics._replace(commands=f"{topics.commands}-later", events=f"{topics.events}-later")
        settings = settings_of(broker, later)
        with pytest.raises(TopicMissing, match="ledger topics"):
            required_topic(settings, later.commands)
        with Source(broker, topics), reading(database, broker, later) as running:
            until(lambda: "missing" in " ".join(running.intake.problems()), what="it says what is missing")
            make_topics(settings, partitions=2, replicas=1)
            with Source(broker, later) as source:
                source.send(*opened("EA-1", "ea-core:1"))
                source.flush()
            read_up_to(database, 1)

    def test_two_intakes_share_the_partitions_and_one_takes_over(
        self, database: Database, broker: Broker, topics: Topics
    ) -> None:
        members = "SELECT count(DISTINCT member) FROM intake_offset"
        with Source(broker, topics) as source, reading(database, broker, topics, member="one"):
            with reading(database, broker, topics, member="two"):
                until(lambda: rows(database, members) == [(2,)], what="the partitions are shared")
                for number in range(200):
                    account = f"EA-{number % 20}"
                    if number < 20:
                        source.send(*opened(account, f"ea-core:{number}"), key=account)
                    source.send(contribute(account, 100, f"ea-core/{number}"), key=account)
                source.flush()
                read_up_to(database, 220)
            until(lambda: rows(database, members) == [(1,)], what="one takes over")
            source.send(contribute("EA-1", 100, "ea-core/last"), key="EA-1")
            source.flush()
            read_up_to(database, 221)
        assert count(database, "event") == 241


def test_more_replicas_than_brokers_are_refused_with_what_to_do(broker: Broker, topics: Topics) -> None:
    if broker.kind == "wheel":
        pytest.skip("the wheel's broker takes any number")
    settings = settings_of(broker, topics._replace(commands=f"{topics.commands}-replicas"))
    with pytest.raises(TooFewBrokers, match="--replicas"):
        make_topics(settings, partitions=1, replicas=30)


def cut_off(database: Database) -> None:
    """Every connection of the application ends."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger_app' AND datname = current_database()"
        )
