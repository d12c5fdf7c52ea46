"""The commands of the command line that have to do with Kafka, wired together."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import psycopg
import structlog
import typer

from ledger import logs
from ledger.broker import make_topics
from ledger.database import Database, open_database
from ledger.intake import Intake
from ledger.metrics import OutletMetrics
from ledger.notary import require_sealed
from ledger.outlet import Outlet
from ledger.placing import TopicDecision
from ledger.settings import Settings
from ledger.signing import source_keys
from ledger.terminal import plainly_explained, print_json
from ledger.watching import STUCK_AFTER_S, Watched, watching

log = structlog.get_logger("ledger.streaming")

SWITCH_S = 0.0005
PARTITIONS = 12
MAX_PARTITIONS = 1_000
MAX_REPLICAS = 15
WATCH_HOST = "127.0.0.1"
# Who asks whether it is ready wants to know soon.
CONNECTION_WAIT_S = 2.0

WatchHost = Annotated[str, typer.Option(help="Address to serve `/health`, `/ready` and `/metrics` at.")]
WatchPort = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Port to serve them at; 0 takes a free one. Unset: they are not served."),
]


def topics(
    *,
    partitions: Annotated[
        int,
        typer.Option(min=1, max=MAX_PARTITIONS, help="Of each topic that is made: so many intakes can share the work."),
    ] = PARTITIONS,
    replicas: Annotated[int, typer.Option(min=1, max=MAX_REPLICAS, help="Brokers that keep each partition.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the topics of commands, events and refusals in Kafka; those that are there stay as they are.

    Example: `ledger topics --partitions 12 --replicas 3`
    """
    with plainly_explained():
        made = make_topics(Settings(), partitions=partitions, replicas=replicas)
    if as_json:
        print_json({"made": made})
    else:
        typer.echo("\n".join([*(f"made {name}" for name in made), "The topics are there."]))


def intake(
    *,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Go on where messages were deleted before they were read.")
    ] = False,
    watch_host: WatchHost = WATCH_HOST,
    watch_port: WatchPort = None,
) -> None:
    """Read commands from Kafka and post them, as a process of its own; several share the partitions.

    What came of a message and how far was read are one transaction, so each command is decided once, whatever is killed.
    Messages are signed by their source systems (`LEDGER_SOURCE_KEYS`). What cannot be read or is refused is kept with the reason
    and published to the topic of refusals by `ledger outlet`.

    Example: `ledger intake --watch-port 9101`
    """
    logs.configure()
    # The posting thread wants the interpreter back after each answer of the server; the reading one would keep it for 5 ms.
    sys.setswitchinterval(SWITCH_S)
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            require_sealed(database, settings)
            member = f"{socket.gethostname()[:96]}:{os.getpid()}"
            reads = Intake(database, settings, source_keys(settings), member=member, accepts_lost=accept_lost)
            watched = Watched(
                reads.turns.still_s, lambda: _with_database(reads.problems(), database), reads.metrics.registry
            )
            stop = stop_when_told()
            with _watched(settings, watched, program="intake", host=watch_host, port=watch_port):
                reads.run(stop)


def outlet(
    *,
    new_topic: Annotated[
        TopicDecision,
        typer.Option(
            "--new-topic",
            help="For a topic that is not the one published to so far: all again (`republish`), or what follows (`accept`).",
        ),
    ] = TopicDecision.UNDECIDED,
    watch_host: WatchHost = WATCH_HOST,
    watch_port: WatchPort = None,
) -> None:
    """Publish facts and refused messages to Kafka, as a process of its own; a second one stands by.

    Each fact is published at least once and in order, as a CloudEvent with its position: a reader that drops every position not
    above the highest it has seen in a partition gets each fact once. In the database it is `ledger_outlet`.

    Example: `ledger outlet --watch-port 9102`
    """
    logs.configure()
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            publishes = Outlet(database, settings, new_topic=new_topic)
            state = publishes.state
            watched = Watched(state.still_s, state.problems, OutletMetrics(state.streams).registry)
            stop = stop_when_told()
            with _watched(settings, watched, program="outlet", host=watch_host, port=watch_port):
                publishes.run(stop, report=log.warning)


@contextmanager
def _watched(settings: Settings, watched: Watched, *, program: str, host: str, port: int | None) -> Iterator[None]:
    """Say that it begins and when it has ended; where a port is given, let it be watched meanwhile."""
    if port is None:
        log.info("ready", program=program)
        yield
    else:
        # Twice, for whoever waits for a posting may have to wait for one more statement.
        stuck_after_s = max(STUCK_AFTER_S, 2 * settings.statement_timeout_ms / 1000)
        with watching(host, port, watched, stuck_after_s=stuck_after_s) as address:
            log.info("ready", program=program, address=address)
            yield
    log.info("ended", program=program)


def _with_database(problems: list[str], database: Database) -> list[str]:
    """What keeps the intake from reading, and whether the database answers: it would know only when it posts."""
    try:
        with database.connection(wait_s=CONNECTION_WAIT_S) as connection:
            connection.execute(b"SELECT 1")
    except psycopg.OperationalError:
        if not any(problem.startswith("database") for problem in problems):
            return [*problems, "database: it does not answer"]
    return problems


def stop_when_told() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
