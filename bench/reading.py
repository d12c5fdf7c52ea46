"""Projections and the HTTP API: rebuilding, following a paced writer, posting and reading over HTTP, at two sizes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from pydantic_core import to_json

from bench.client import Measured, measure, request
from bench.following import Sized, follow
from bench.measure import settle
from bench.report import Report, Scale, journal_size, vacuumed
from bench.world import World, post_all, set_up
from ledger.api.tokens import DevelopmentKey, Scope, mint
from ledger.application import Ledger
from ledger.database import Database, TemporaryServer
from ledger.domain.commands import Command, OpenAccount, PostContribution, RegisterSourceIdentity
from ledger.facts import read_stretch
from ledger.projector import Projector
from ledger.rebuilding import rebuild
from ledger.settings import Settings
from ledger.taking import NAMES, STRETCH

LIFETIME_S = 86_400
CLIENTS = (1, 16, 64)
# The oldest fact that some projection has not taken.
PROJECTED = b"""
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - event.recorded_at)), 0)::float8
FROM projection
JOIN projection_slot AS slot ON slot.name = projection.name AND slot.slot = projection.live_slot
LEFT JOIN event ON event.position = slot.position + 1
"""
# A person who paid into five systems every month; at full scale for forty years.
LIFE_SYSTEMS = ("ea", "oa", "gp", "pp", "cp")


def built(server: TemporaryServer, scale: Scale) -> list[Sized]:
    """The worlds of both sizes."""
    return [_built(server, accounts, scale) for accounts in scale.reading_accounts]


def readings(sized: list[Sized], scale: Scale, report: Report) -> None:
    """All sections."""
    rebuilds(sized[-1], report)
    reading_over_http(sized, scale, report)
    posting_over_http(sized[-1], scale, report)
    with tempfile.TemporaryDirectory() as folder, running(sized[-1].database.url, folder, "project") as projector:
        follow(sized[-1], projector, PROJECTED, "Live projections in a process of their own", scale, report)


def _built(server: TemporaryServer, accounts: int, scale: Scale) -> Sized:
    """A world of accounts, each with its identity and one contribution, and in it one person with a whole life."""
    database = server.create_database(f"readings_{accounts}")
    world, ledger = World(accounts), Ledger(database)
    set_up(ledger, world)
    post_all(ledger, list(_life(world, scale.life_months)))
    Projector(database).catch_up()
    vacuumed(database)
    return Sized(database, world, journal_size(database))


def _life(world: World, months: int) -> Iterator[Command]:
    """One identity with five accounts, and a contribution to each of them in each month."""
    products = ("enterprise_annuity", "occupational_annuity", "group_pension", "personal_pension", "commercial_pension")
    parts = ("employee", "employee", "employee", "own", "continuing")
    yield RegisterSourceIdentity(sid="ea-core:life", provider="hr", **world.envelope("ea-core"))
    for name, product in zip(LIFE_SYSTEMS, products, strict=True):
        yield OpenAccount(
            account=f"LIFE-{name}",
            institution="trustee-1",
            opened_on=world.envelope("ea-core")["effective_on"].replace(year=2024, day=1),
            product=product,
            sid="ea-core:life",
            **world.envelope("ea-core"),
        )
    for month in range(months):
        for name, part in zip(LIFE_SYSTEMS, parts, strict=True):
            envelope = world.envelope("ea-core")
            day = envelope["effective_on"].replace(year=2024 + month % 2, month=month % 12 + 1)
            yield PostContribution(
                account=f"LIFE-{name}",
                amounts_fen={part: 1_000},
                period=f"{day:%Y-%m}",
                tax_treatment="pre_tax",
                **(envelope | {"effective_on": day}),
            )


def rebuilds(sized: Sized, report: Report) -> None:
    """Each projection by itself, all of them in one pass, and the floor: reading and decoding alone."""
    rows: list[str] = []
    for names in ((), *((name,) for name in NAMES), NAMES):
        rates = []
        for _ in range(2):
            settle()
            start = time.perf_counter()
            if names:
                rebuild(sized.database, names)
            else:
                _read_all(sized.database, sized.size)
            rates.append(sized.size / (time.perf_counter() - start))
        title = "all three in one pass" if len(names) > 1 else (names or ["reading and decoding alone"])[0]
        rows.append(f"| {title} | {median(rates):,.0f} | {', '.join(f'{rate:,.0f}' for rate in rates)} |")
    report.table(
        f"Rebuild of the projections from {sized.size:,} events",
        "| projection | events/s | two runs |",
        rows,
    )


def _read_all(database: Database, size: int) -> None:
    with database.connect(autocommit=True) as connection:
        for after in range(0, size, STRETCH):
            read_stretch(connection, after=after, until=min(after + STRETCH, size))


@contextlib.contextmanager
def _served(database: Database, *options: str) -> Iterator[tuple[int, DevelopmentKey]]:
    """`ledger serve` as a process of its own; gives the port and the key that signs its tokens."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        key = DevelopmentKey.load_or_create(Path(folder))
        with running(database.url, folder, "serve", "--port", str(port), *options):
            _await_port(port)
            yield port, key


@contextlib.contextmanager
def running(url: str, folder: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "LEDGER_DATABASE_URL": url,
        "LEDGER_DATA_FOLDER": folder,
        "LEDGER_TOKEN_LIFETIME_S": str(LIFETIME_S),
    }
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "ledger", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=60)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    message = "the server did not start"
    raise TimeoutError(message)


def _token(key: DevelopmentKey, *scopes: Scope, source: str | None = None) -> str:
    defaults = Settings()
    return mint(
        key,
        subject=f"system:{source or 'bench'}",
        scopes=scopes,
        issuer=defaults.token_issuer,
        audience=defaults.token_audience,
        lifetime_s=LIFETIME_S,
        now_s=time.time(),
        source=source,
    )


def reading_over_http(sized: list[Sized], scale: Scale, report: Report) -> None:
    """Every reading by one client, from the journal of each size, and how it grows."""
    found: dict[str, list[Measured]] = {}
    for each in sized:
        with _served(each.database, "--no-project") as (port, key):
            token = _token(key, Scope.READER, Scope.AUDITOR)
            for name, paths in _paths(each, scale.readings).items():
                requests = [request("GET", path, token) for path in paths]
                measure(port, requests[: len(requests) // 4], clients=1)
                found.setdefault(name, []).append(measure(port, requests, clients=1))
    rows = [
        f"| {name} | "
        + " | ".join(f"{each.percentile(0.5):.2f} | {each.percentile(0.99):.2f}" for each in measured)
        + f" | {measured[-1].percentile(0.5) / measured[0].percentile(0.5):.2f}x |"
        for name, measured in found.items()
    ]
    sizes = " | ".join(f"p50 at {each.size:,} | p99" for each in sized)
    report.table(
        "Readings over HTTP, one client, milliseconds, client included",
        f"| reading | {sizes} | growth of p50 |",
        rows,
    )


def _paths(sized: Sized, count: int) -> dict[str, list[str]]:
    """What is asked, of accounts anywhere in the world."""
    chance = sized.world.random
    accounts = [chance.choice(sized.world.accounts[chance.randrange(5)]) for _ in range(count)]
    positions = [chance.randrange(sized.size // 2, sized.size) for _ in range(count)]
    moment = "as_of=2026-01-05&known_at"
    sheets = "/v1/people/{}/balance-sheet"
    return {
        "balance sheet, now": [sheets.format(account) for account in accounts],
        "balance sheet, both time axes": [f"{sheets.format(a)}?{moment}={sized.size}" for a in accounts],
        "balance sheet, now, 2,400 facts": [sheets.format("LIFE-ea")] * count,
        "balance sheet, both time axes, 2,400 facts": [f"{sheets.format('LIFE-ea')}?{moment}={sized.size - 1}"]
        * min(count, 100),
        "account": [f"/v1/accounts/{account}" for account in accounts],
        "statement": [f"/v1/accounts/{account}/statement" for account in accounts],
        "statement, both time axes, 50 of 480 lines": [
            f"/v1/accounts/LIFE-ea/statement?{moment}={sized.size - 1}" for _ in range(count)
        ],
        "person": [f"/v1/people/{account}" for account in accounts],
        "control totals, now": ["/v1/control-totals"] * min(count, 50),
        "control totals, both time axes": [f"/v1/control-totals?{moment}={position}" for position in positions[:100]],
        "event feed, 100 events": [f"/v1/events?after={position - 100}" for position in positions],
    }


def posting_over_http(sized: Sized, scale: Scale, report: Report) -> None:
    """Single posts by 1, 16 and 64 clients, and lists of 1,000, beside a server that does nothing.

    By a process that serves alone, and by one that keeps the projections up to date too.
    """
    rows: list[str] = []
    with _served_floor() as floor_port:
        for shape, options in (("", ("--no-project",)), (", projecting too", ())):
            with _served(sized.database, *options) as (port, key):
                rows += _posting_rows(sized.world, scale, port, key, floor_port, shape)
    report.table(
        f"Posting over HTTP into {sized.size:,} events, client included",
        "| what | commands/s | share of a server that does nothing | p50 ms | p99 ms |",
        rows,
    )


def _posting_rows(  # noqa: PLR0913 - what is posted, and where
    world: World, scale: Scale, port: int, key: DevelopmentKey, floor_port: int, shape: str
) -> Iterator[str]:
    tokens = {system: _token(key, Scope.POSTER, source=system) for system in SYSTEMS}
    settle()
    for clients in CLIENTS:
        count = scale.requests // (10 if clients == 1 else 1)
        requests = [_post(command, tokens) for command in world.mixed(count)]
        floor = measure(floor_port, requests, clients=clients)
        yield _posted(f"single posts, {clients} clients{shape}", measure(port, requests, clients=clients), floor, 1)
    lists = [_list(world, tokens["ea-core"], 1_000) for _ in range(max(5, scale.requests // 500))]
    floor = measure(floor_port, lists, clients=2)
    yield _posted(f"lists of 1,000, 2 clients{shape}", measure(port, lists, clients=2), floor, 1_000)


SYSTEMS = ("ea-core", "oa-core", "gp-core", "pp-bank", "cp-core")


def _post(command: Command, tokens: dict[str, str]) -> bytes:
    return request(
        "POST", "/v1/commands", tokens[command.actor.removeprefix("system:")], command.model_dump_json().encode()
    )


def _list(world: World, token: str, size: int) -> bytes:
    """The list of an employer: accounts of one system that were opened one after another."""
    accounts = world.accounts[0]
    start = world.random.randrange(max(1, len(accounts) - size))
    commands = [world.contribution(0, account) for account in accounts[start : start + size]]
    return request("POST", "/v1/commands", token, to_json([command.model_dump(mode="json") for command in commands]))


def _posted(name: str, ours: Measured, floor: Measured, size: int) -> str:
    return (
        f"| {name} | {ours.rate * size:,.0f} | {ours.rate / floor.rate:.2f} | "
        f"{ours.percentile(0.5):.1f} | {ours.percentile(0.99):.1f} |"
    )


@contextlib.contextmanager
def _served_floor() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "bench.nothing", str(port)], start_new_session=True
    )
    try:
        _await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)
