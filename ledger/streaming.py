"""The commands of the command line that have to do with Kafka, wired together."""

import os
import signal
import socket
import threading
from typing import Annotated

import structlog
import typer

from ledger.broker import make_topics
from ledger.database import open_database
from ledger.intake import Intake
from ledger.notary import require_sealed
from ledger.outlet import Outlet
from ledger.settings import Settings
from ledger.signing import source_keys
from ledger.terminal import plainly_explained, print_json

log = structlog.get_logger("ledger.streaming")

PARTITIONS = 12
MAX_PARTITIONS = 1_000
MAX_REPLICAS = 15


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
) -> None:
    """Read commands from Kafka and post them, as a process of its own; several share the partitions.

    What came of a message and how far was read are one transaction, so each command is decided once, whatever is killed.
    Messages are signed by their source systems (`LEDGER_SOURCE_KEYS`). What cannot be read or is refused is kept with the reason
    and published to the topic of refusals by `ledger outlet`.

    Example: `ledger intake`
    """
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            require_sealed(database, settings)
            member = f"{socket.gethostname()[:96]}:{os.getpid()}"
            reads = Intake(database, settings, source_keys(settings), member=member, accepts_lost=accept_lost)
            reads.run(stop_when_told())


def outlet() -> None:
    """Publish facts and refused messages to Kafka, as a process of its own; a second one stands by.

    Each fact is published at least once and in order, as a CloudEvent with its position: a reader that drops every position not
    above the highest it has seen in a partition gets each fact once. In the database it is `ledger_outlet`.

    Example: `ledger outlet`
    """
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            Outlet(database, settings).run(stop_when_told(), report=log.warning)


def stop_when_told() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
