"""Chaos, for real: `python -m tests.kafka.chaos --commands 100000 --seed 1` kills everything under load, then counts.

It starts a PostgreSQL, a broker, intakes, outlets and the reference consumer as processes, sends signed commands, and meanwhile
kills (SIGKILL), stops (SIGTERM), freezes (SIGSTOP, for longer than a session) and starts them at moments that the seed decides.
Then it waits until all is drained, and reckons (`reckoning.py`). The exit code is 1 where something does not hold.
"""

import argparse
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg

from ledger.database import Database, temporary_server
from ledger.embedded import EmbeddedServer
from ledger.publishing import Publisher
from ledger.settings import Settings
from tests.brokers import Broker
from tests.kafka.members import EndedByItself, Member
from tests.kafka.reckoning import Reckoning, is_drained, reckon
from tests.kafka.topics import COMMANDS_PARTITIONS, Topics, make_topics
from tests.kafka.traffic import Sent, Traffic, write_source_keys

FOLLOWER = Path(__file__).parents[2] / "examples" / "follow.py"
# Strikes, and gives what is done about it later. It is told which process was at work.
Mends = Callable[[], None]
Strikes = Callable[[random.Random, int | None], Mends]

INTAKES = 3
OUTLETS = 2
SHARED_BUFFERS_MB = 256
# Longer than the session of an intake, after which the group goes on without it.
FROZEN_S = (17.0, 20.0)
BRIEFLY_FROZEN_S = (0.5, 4.0)
# Longer than the server lets an outlet hold its row without a word.
LONG_FROZEN_S = (65.0, 70.0)
DOWN_S = (0.0, 3.0)
# How often each is befallen, in seconds of the run; what takes longer than there is time for makes it longer.
EVERY_S = {
    "broker": 20.0,
    "database": 15.0,
    "intake": 9.0,
    "another intake": 12.0,
    "outlet": 9.0,
    "outlet for long": 150.0,
    "consumer": 12.0,
}
# It befalls them at work: for a moment nothing is recorded, so that work piles up, and then it strikes, or a little later.
HOLD = b"SELECT FROM head FOR UPDATE"
AT_WORK = b"SELECT member FROM intake_offset ORDER BY seen_at DESC LIMIT 1"
HELD_S = (0.1, 1.0)
HOLD_WITHIN_MS = 2_000
LATER_S = 1.0
LITTLE_LATER_S = 0.05
PUBLISHED = b"SELECT sum(position) FROM outlet_position"
LOOK_FOR_WORK_EVERY_S = 0.002
CONNECT_WITHIN_S = 2
INTAKE_FATES = ("kill", "freeze", "kill all", "leave")
OUTLET_FATES = ("kill all", "freeze", "leave", "kill")
MAX_ROUND_BYTES = 500_000
MAX_ROUND_MESSAGES = 2_000
RETRY_S = 0.5
SUPERVISE_EVERY_S = 0.2
DRAINED_WITHIN_S = 240
JOINED_WITHIN_S = 240
LOOK_EVERY_S = 1.0
FOLLOWED_WITHIN_S = 240


class Report(NamedTuple):
    """What befell whom how often, and what was found right."""

    befell: Counter[str]
    repeated_rounds: int
    fenced: int
    slowest_leave_s: float
    drained_s: float
    ended: list[EndedByItself]
    sent: dict[str, int]
    reckoning: Reckoning

    def lines(self) -> Iterator[str]:
        yield "befell: " + ", ".join(f"{what} {times}" for what, times in sorted(self.befell.items()))
        yield "sent: " + ", ".join(f"{kind} {times:,}" for kind, times in self.sent.items())
        yield f"rounds sent again: {self.repeated_rounds}"
        yield f"fenced: {self.fenced} times; slowest to leave: {self.slowest_leave_s:.1f} s; drained after {self.drained_s:.1f} s"
        yield ", ".join(f"{name} {figure:,}" for name, figure in self.reckoning._asdict().items())
        last_words = Counter((each.name, each.code, each.said.rpartition("\n")[2][:100]) for each in self.ended)
        for (name, code, said), times in last_words.items():
            yield f"ended by itself {times} times: {name} with {code}: {said}"


class Stage(NamedTuple):
    """All that takes part."""

    broker: Broker
    server: EmbeddedServer
    database: Database
    topics: Topics
    intakes: list[Member]
    outlets: list[Member]
    consumer: Member
    folder: Path

    @property
    def members(self) -> list[Member]:
        return [*self.intakes, *self.outlets, self.consumer]


@contextmanager
def staged(*, seed: int) -> Iterator[Stage]:
    """Everything started; killed and deleted at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-chaos-")))
        server = stack.enter_context(temporary_server(Settings(shared_buffers_mb=SHARED_BUFFERS_MB)))
        broker = stack.enter_context(Broker())
        database = server.create_database("chaos")
        stack.callback(database.close)
        topics = make_topics(broker)
        keys = folder / "source-keys.json"
        write_source_keys(seed, keys)
        settings = {
            **topics.settings(broker),
            "LEDGER_DATA_FOLDER": str(folder / "data"),
            "LEDGER_SOURCE_KEYS": str(keys),
        }
        to_write = settings | {"LEDGER_DATABASE_URL": database.url}
        to_publish = settings | {"LEDGER_DATABASE_URL": database.outlet_url}
        follow = [str(FOLLOWER), *following(broker, topics, folder)]
        stage = Stage(
            broker,
            server.server,
            database,
            topics,
            [Member(f"intake-{number}", ["-m", "ledger", "intake"], to_write, folder) for number in range(INTAKES)],
            [Member(f"outlet-{number}", ["-m", "ledger", "outlet"], to_publish, folder) for number in range(OUTLETS)],
            Member("consumer", follow, {}, folder),
            folder,
        )
        for member in stage.members:
            stack.callback(member.kill)
            member.start()
        yield stage


def following(broker: Broker, topics: Topics, folder: Path) -> list[str]:
    """How the reference consumer is called."""
    return ["--bootstrap", broker.bootstrap, "--topic", topics.events, "--state", str(folder / "facts.sqlite")]


class Chaos:
    """One run. Each kind of victim has a thread that befalls it, and there is one that starts again what ended by itself."""

    def __init__(self, stage: Stage, *, seed: int, lasts_s: float) -> None:
        """Nothing happens before `run`."""
        self._stage = stage
        self._seed = seed
        self._lasts_s = lasts_s
        self._befell: Counter[str] = Counter()
        self._over = threading.Event()
        self._faults: list[BaseException] = []
        self._repeated_rounds = 0

    def run(self, traffic: Traffic) -> Report:
        """Raises AssertionError where something does not hold, and whatever failed meanwhile."""
        stage = self._stage
        plans: dict[str, Strikes] = {
            "database": self._strike_database,
            "intake": self._strikes("intake", stage.intakes, INTAKE_FATES, FROZEN_S),
            "another intake": self._strikes("intake", stage.intakes, INTAKE_FATES[::-1], FROZEN_S),
            "outlet": self._strikes("outlet", stage.outlets, OUTLET_FATES, BRIEFLY_FROZEN_S),
            "outlet for long": self._strikes("outlet", stage.outlets, ("freeze",), LONG_FROZEN_S),
            "consumer": self._strikes("consumer", [stage.consumer], ("kill",), BRIEFLY_FROZEN_S),
        }
        if self._stage.broker.keeps_data:
            plans["broker"] = self._strikes_broker()
        threads = [
            threading.Thread(target=self._noting_faults, args=(self._befall, name, strikes), name=f"chaos-{name}")
            for name, strikes in plans.items()
        ]
        supervising = threading.Thread(target=self._noting_faults, args=(self._supervise,), name="chaos-supervisor")
        for thread in (*threads, supervising):
            thread.start()
        try:
            messages = self._send(traffic)
            for thread in threads:
                thread.join(JOINED_WITHIN_S)
                assert not thread.is_alive(), f"{thread.name} does not come to its end"
            self._raise_faults()
            drained_s = self._drain(messages)
        finally:
            self._over.set()
            supervising.join()
        members = self._stage.members
        ended = [each for member in members for each in member.ended]
        for each in ended:
            assert each.is_allowed, (
                f"{each.name} ended by itself with {each.code} after {each.ran_s:.1f} s: {each.said}"
            )
        reckoning = reckon(self._stage.database, self._stage.broker.bootstrap, self._stage.topics, traffic)
        self._reckon_consumer(reckoning.facts)
        return Report(
            self._befell,
            self._repeated_rounds,
            sum(each.log.read_bytes().count(b"has taken the partition") for each in self._stage.intakes),
            max(each.slowest_leave_s for each in members),
            drained_s,
            ended,
            traffic.kinds,
            reckoning,
        )

    def _noting_faults(self, runs: Callable[..., None], *given: object) -> None:
        try:
            runs(*given)
        except BaseException as fault:  # noqa: BLE001 - raised by the thread that waits
            self._faults.append(fault)

    def _raise_faults(self) -> None:
        if self._faults:
            raise self._faults[0]

    def _befall(self, name: str, strikes: Strikes) -> None:
        """At moments that the seed decides."""
        rng = random.Random(f"{name}/{self._seed}")  # noqa: S311 - a test, not a secret
        times = round(self._lasts_s / EVERY_S[name])
        began_s = time.monotonic()
        for moment_s in sorted(rng.uniform(0.1, 0.9) * self._lasts_s for _ in range(times)):
            if self._over.wait(max(0.0, began_s + moment_s - time.monotonic())):
                return
            mends = None
            with self._held(rng.uniform(*HELD_S)) as at_work:
                if rng.random() < 0.5:
                    mends = strikes(rng, at_work)
            if mends is None:
                self._wait_for_work()
                time.sleep(rng.uniform(0.0, LITTLE_LATER_S))
                mends = strikes(rng, at_work)
            mends()

    @contextmanager
    def _held(self, held_s: float) -> Iterator[int | None]:
        """Nothing can be recorded meanwhile. The process id of the intake that was at work last, where that can be seen."""
        connection = at_work = None
        try:
            connection = psycopg.connect(self._stage.database.admin_url, connect_timeout=CONNECT_WITHIN_S)
            connection.execute(f"SET lock_timeout = {HOLD_WITHIN_MS}".encode())
            row = connection.execute(AT_WORK).fetchone()
            at_work = None if row is None else int(row[0].rpartition(":")[2])
            connection.execute(HOLD)
            time.sleep(held_s)
        except psycopg.OperationalError:
            pass  # Down itself, or held by another: as good a moment.
        try:
            yield at_work
        finally:
            if connection is not None:
                connection.close()

    def _wait_for_work(self) -> None:
        """Until something more is published, or for so long."""
        deadline_s = time.monotonic() + LATER_S
        try:
            with psycopg.connect(
                self._stage.database.admin_url, autocommit=True, connect_timeout=CONNECT_WITHIN_S
            ) as connection:
                before = connection.execute(PUBLISHED).fetchone()
                while connection.execute(PUBLISHED).fetchone() == before and time.monotonic() < deadline_s:
                    time.sleep(LOOK_FOR_WORK_EVERY_S)
        except psycopg.OperationalError:
            return  # As above.

    def _strikes_broker(self) -> Strikes:
        """In turn it is killed, freezes, and is killed, and in the last two cases the outlets are killed while it is away."""
        in_turn = itertools.cycle((("killed", False), ("frozen", True), ("killed", True)))
        broker, outlets = self._stage.broker, self._stage.outlets

        def strikes(rng: random.Random, _at_work: int | None) -> Mends:
            fate, with_outlets = next(in_turn)
            self._befell[f"broker {fate}"] += 1
            if fate == "killed":
                broker.kill()
            else:
                broker.send(signal.SIGSTOP)
            if with_outlets:
                time.sleep(rng.uniform(0.0, LITTLE_LATER_S))
                for each in outlets:
                    each.kill()
                    self._befell["outlet killed"] += 1
            comes_back = broker.start if fate == "killed" else partial(broker.send, signal.SIGCONT)
            return self._after(rng.uniform(*DOWN_S), comes_back, *(each.start for each in outlets))

        return strikes

    def _strike_database(self, rng: random.Random, _at_work: int | None) -> Mends:
        os.kill(self._stage.server.pid, signal.SIGKILL)
        self._befell["database killed"] += 1
        return self._after(rng.uniform(*DOWN_S), self._stage.server.start)

    def _strikes(
        self, name: str, members: list[Member], fates: tuple[str, ...], frozen_s: tuple[float, float]
    ) -> Strikes:
        """Fates come in turn, so that a short run has them too. They befall the one that is at work, or any."""
        in_turn = itertools.cycle(fates)

        def strikes(rng: random.Random, at_work: int | None) -> Mends:
            chosen = next((each for each in members if each.pid == at_work is not None), rng.choice(members))
            fate = next(in_turn)
            if fate == "freeze":
                chosen.send(signal.SIGSTOP)
                self._befell[f"{name} frozen"] += 1
                return self._after(rng.uniform(*frozen_s), lambda: chosen.send(signal.SIGCONT))
            if fate == "leave":
                self._befell[f"{name} stopped"] += 1
                return self._after(0.0, chosen.leave, self._after(rng.uniform(*DOWN_S), chosen.start))
            struck = members if fate == "kill all" else [chosen]
            for each in struck:
                each.kill()
                self._befell[f"{name} killed"] += 1
            return self._after(rng.uniform(*DOWN_S), *(each.start for each in struck))

        return strikes

    @staticmethod
    def _after(pause_s: float, *does: Mends) -> Mends:
        def mends() -> None:
            time.sleep(pause_s)
            for each in does:
                each()

        return mends

    def _supervise(self) -> None:
        while not self._over.wait(SUPERVISE_EVERY_S):
            for member in self._stage.members:
                member.supervise()

    def _send(self, traffic: Traffic) -> int:
        """All messages, in bursts over the whole time; how many that were."""
        rng = random.Random(f"send/{self._seed}")  # noqa: S311 - as above
        began_s = time.monotonic()
        sent, round_, burst_until = 0, list[Sent](), 0
        for message in traffic.messages():
            round_.append(message)
            if not _is_full(round_):
                continue
            self._send_round(round_)
            sent, round_ = sent + len(round_), []
            if traffic.made >= burst_until:
                due_s = self._lasts_s * min(1.0, traffic.made / traffic.wanted)
                time.sleep(max(0.0, began_s + due_s - time.monotonic()))
                burst_until = traffic.made + rng.randrange(max(1, traffic.wanted // 60))
            self._raise_faults()
        if round_:
            self._send_round(round_)
        self._close_publisher()
        return sent + len(round_)

    _publisher: Publisher | None = None

    def _send_round(self, round_: list[Sent]) -> None:
        """Until all of it is acknowledged: what failed is sent again as a whole, so each partition has it in order."""
        settings = Settings(kafka_bootstrap_servers=self._stage.broker.bootstrap)
        deadline_s = time.monotonic() + JOINED_WITHIN_S
        while True:
            try:
                if self._publisher is None:
                    self._publisher = Publisher(settings, self._stage.topics.commands)
                outgoing = [message.outgoing(number) for number, message in enumerate(round_, 1)]
                self._publisher.publish(outgoing, partitions=COMMANDS_PARTITIONS, stop=threading.Event())
            except RuntimeError as error:
                self._close_publisher()
                self._repeated_rounds += 1
                if time.monotonic() > deadline_s:
                    raise AssertionError("nothing can be sent") from error
                time.sleep(RETRY_S)
            else:
                return

    def _close_publisher(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def _drain(self, messages: int) -> float:
        """How long it took after the last was sent and killed."""
        stage, began_s = self._stage, time.monotonic()
        while not is_drained(stage.database, stage.broker.bootstrap, stage.topics, least_deliveries=messages):
            if time.monotonic() > began_s + DRAINED_WITHIN_S:
                logs = "\n".join(f"{each.name}:\n{each.said()}" for each in stage.members)
                raise AssertionError(f"it is not drained after {DRAINED_WITHIN_S} s; what they said last:\n{logs}")
            time.sleep(LOOK_EVERY_S)
        return time.monotonic() - began_s

    def _reckon_consumer(self, facts: int) -> None:
        """The reference consumer, which was killed as well, has applied each fact once, in the order of its partition."""
        stage = self._stage
        stage.consumer.kill()
        command = [sys.executable, str(FOLLOWER), *following(stage.broker, stage.topics, stage.folder)]
        with (stage.folder / "followed").open("wb") as said:
            subprocess.run([*command, "--until", str(facts)], check=True, stdout=said, timeout=FOLLOWED_WITHIN_S)
        database = sqlite3.connect(stage.folder / "facts.sqlite")
        try:
            rows = database.execute("SELECT position, partition FROM fact ORDER BY applied").fetchall()
        finally:
            database.close()
        assert sorted(position for position, _ in rows) == list(range(1, facts + 1)), "the consumer lacks facts"
        for partition in {partition for _, partition in rows}:
            applied = [position for position, place in rows if place == partition]
            assert applied == sorted(applied), f"the consumer applied facts of partition {partition} out of order"


def _is_full(round_: list[Sent]) -> bool:
    return len(round_) >= MAX_ROUND_MESSAGES or sum(len(each.value or b"") for each in round_) > MAX_ROUND_BYTES


def run(*, commands: int, seed: int, lasts_s: float) -> Report:
    """Everything from start to end. Raises AssertionError where something does not hold."""
    with staged(seed=seed) as stage:
        traffic = Traffic(seed=seed, commands=commands, topic=stage.topics.commands, partitions=COMMANDS_PARTITIONS)
        return Chaos(stage, seed=seed, lasts_s=lasts_s).run(traffic)


def main() -> None:
    """Print what happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka.chaos", description="Kill everything, then count.")
    parser.add_argument("--commands", type=int, default=100_000, help="commands with ids of their own, at the least")
    parser.add_argument("--seed", type=int, default=1, help="decides what is sent, who is killed, and when")
    parser.add_argument("--lasts", type=float, default=240.0, metavar="S", help="for how long it is sent and killed")
    asked = parser.parse_args()
    # Told to end, it ends what it started as well.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    began_s = time.monotonic()
    report = run(commands=asked.commands, seed=asked.seed, lasts_s=asked.lasts)
    for line in report.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"seed {asked.seed}: all of it holds, after {time.monotonic() - began_s:.0f} s.\n")


if __name__ == "__main__":
    main()
