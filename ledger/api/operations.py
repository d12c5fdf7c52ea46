"""For those who run the service: is it alive, is it ready, its numbers, and what each problem means."""

import html
from collections.abc import Iterable, Sequence
from typing import Literal

import psycopg
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from pydantic import BaseModel
from pydantic_core import to_json

from ledger.api import accesses, policy, problems
from ledger.api.documents import described
from ledger.api.doorway import Doorway
from ledger.api.parameters import takes
from ledger.api.problems import MEDIA_TYPE, PROBLEMS, ProblemBody, responses
from ledger.api.tokens import Scope
from ledger.application import Outcome, Refused
from ledger.database import Database
from ledger.status import Status, halted_projections, read_status

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

router = APIRouter(tags=["operations"])
probed = [policy.public("probes have no token; says nothing about anybody")]
scraped = [policy.public("scrapers have no token; numbers about the service, nothing about anybody")]
documented = [policy.public("documentation says nothing about anybody")]
for_operators = [
    policy.allow(Scope.ADMINISTRATOR, Scope.AUDITOR),
    accesses.unrecorded("numbers about the service, nothing about anybody"),
    takes(),
]


class Health(BaseModel):
    """The process answers."""

    status: str


class ProjectionReading(BaseModel):
    """Where a projection stands: behind by so many facts, the oldest of them so many seconds old."""

    name: str
    position: int
    lag: int
    lag_s: float
    dead_letters: int
    halted: str | None
    rebuilding: int | None


class PartitionReading(BaseModel):
    """How far commands of a partition are recorded, behind by so many messages when an intake last saw its end."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    lag: int
    member: str
    seen_at: str


class StreamReading(BaseModel):
    """How far facts (`events`) or refused messages (`refusals`) are published; the oldest that is not waits `lag_s`."""

    stream: str
    position: int
    lag: int
    lag_s: float
    published_at: str | None


class StatusReading(BaseModel):
    """The ledger's end, how far it is sealed, its projections, how often each refusal was given, and the ways over Kafka.

    `seal_lag` facts are not sealed, the oldest for `seal_lag_s` seconds; where nothing was ever sealed, `sealed` is 0. `intake`
    and `outlet` are empty where Kafka was never used; `refused_messages` counts what came over Kafka and was refused, by code.
    """

    head: int
    recorded_at: str
    sealed: int
    seal_lag: int
    seal_lag_s: float
    database: str
    server_version: str
    projections: list[ProjectionReading]
    refusals: dict[str, int]
    intake: list[PartitionReading]
    outlet: list[StreamReading]
    refused_messages: dict[str, int]


class Metrics:
    """What is counted while the service runs, and what is read when it is asked for."""

    def __init__(self, database: Database) -> None:
        """A registry of its own, so that two apps of one process do not share."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ledger_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "ledger_http_request_seconds",
            "Time to the last byte of an answer.",
            ["route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._commands = Counter("ledger_commands", "Commands answered over HTTP.", ["outcome"], registry=self.registry)
        self._accesses = Counter(
            "ledger_access_records",
            "Access records written, and such as could not be and had their readings refused.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("written", "failed"):
            self._accesses.labels(outcome)
        self.registry.register(_OfTheLedger(database))

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count what came of commands: accepted, repeated, or the code of the refusal."""
        for outcome in outcomes:
            label = outcome.code if isinstance(outcome, Refused) else "accepted"
            self._commands.labels("repeated" if outcome.repeated else label).inc()

    def count_access(self, *, outcome: Literal["written", "failed"]) -> None:
        """Count an access record."""
        self._accesses.labels(outcome).inc()

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class _OfTheLedger(Collector):
    """Read from the database at each scrape; where that does not answer, only this is said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Nothing is read merely to register."""
        return ()

    def collect(self) -> Iterable[Metric]:
        try:
            status = read_status(self._database)
        except psycopg.OperationalError:
            yield GaugeMetricFamily("ledger_up", "Whether the database answers.", value=0)
            return
        yield GaugeMetricFamily("ledger_up", "Whether the database answers.", value=1)
        yield GaugeMetricFamily("ledger_head_position", "Position of the last fact.", value=status.head)
        yield GaugeMetricFamily(
            "ledger_sealed_position", "Position of the last fact sealed, or 0.", value=status.sealed
        )
        yield GaugeMetricFamily(
            "ledger_seal_lag_seconds", "Age of the first fact not sealed, or 0.", value=status.seal_lag_s
        )
        labels = ["projection"]
        position = GaugeMetricFamily("ledger_projection_position", "Position of the last fact taken.", labels=labels)
        lag = GaugeMetricFamily("ledger_projection_lag_seconds", "Age of the first fact not taken.", labels=labels)
        letters = GaugeMetricFamily("ledger_projection_dead_letters", "Facts that could not be taken.", labels=labels)
        halted = GaugeMetricFamily("ledger_projection_halted", "Whether it takes no more facts.", labels=labels)
        for each in status.projections:
            position.add_metric([each.name], each.position)
            lag.add_metric([each.name], each.lag_s)
            letters.add_metric([each.name], each.dead_letters)
            halted.add_metric([each.name], each.halted is not None)
        yield from (position, lag, letters, halted)
        refused = GaugeMetricFamily("ledger_refusals", "Commands refused since ever.", labels=["code"])
        for code, count in status.refusals.items():
            refused.add_metric([code], count)
        yield refused
        yield from _over_kafka(status)


def _over_kafka(status: Status) -> Iterable[Metric]:
    """As the database knows it, also while no intake and no outlet runs."""
    place = ["topic", "partition"]
    behind = GaugeMetricFamily("ledger_intake_offset_lag", "Messages not recorded, as last seen.", labels=place)
    for partition in status.intake:
        behind.add_metric([partition.topic, str(partition.partition)], partition.lag)
    lag = GaugeMetricFamily("ledger_outlet_lag", "Facts or refused messages not published.", labels=["stream"])
    lag_s = GaugeMetricFamily("ledger_outlet_lag_seconds", "Age of the first not published, or 0.", labels=["stream"])
    for stream in status.outlet:
        lag.add_metric([stream.stream], stream.lag)
        lag_s.add_metric([stream.stream], stream.lag_s)
    refused = GaugeMetricFamily("ledger_refused_messages", "Refused over Kafka since ever.", labels=["code"])
    for code, count in status.refused_messages.items():
        refused.add_metric([code], count)
    yield from (behind, lag, lag_s, refused)


@router.get("/health", summary="Is the process alive", responses=described(Health), dependencies=probed)
async def health() -> dict[str, str]:
    """Answers as long as the process does, whatever the database does."""
    return {"status": "alive"}


@router.get(
    "/ready",
    summary="Can it serve",
    responses={**described(Health), **responses(problems.NotReady)},
    dependencies=probed,
)
def ready(request: Request) -> dict[str, str]:
    """Whether the database answers and no projection has halted; where not, the problem says why."""
    try:
        halted = halted_projections(request.app.state.database)
    except psycopg.OperationalError as error:
        raise problems.NotReady(["the database does not answer"]) from error
    if halted:
        raise problems.NotReady(halted)
    return {"status": "ready"}


@router.get(
    "/v1/status",
    summary="Read the state",
    dependencies=for_operators,
    responses={
        **described(StatusReading),
        **responses(*policy.PROBLEMS, problems.WrongParameter, problems.LedgerUnavailable),
    },
)
def status(request: Request) -> Response:
    """Head, seals, projections and their lag, refusals by code, and how far the ways over Kafka have come."""
    return Response(to_json(read_status(request.app.state.database).as_json()), media_type="application/json")


@router.get(
    "/metrics",
    summary="Read the metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "ledger_head_position 3.0\n"}},
        }
    },
    dependencies=scraped,
)
def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get(
    "/problems",
    summary="List the problems",
    response_model=list[ProblemBody],
    responses={
        200: {
            "description": "Every type of problem, with an example.",
            "content": {"application/json": {"example": [problems.example(problems.AccountUnknown)]}},
        }
    },
    dependencies=documented,
)
async def all_problems() -> Response:
    """Every type of problem, with an example."""
    listed = [problems.example(problem) for problem in PROBLEMS.values()]
    return Response(to_json(listed), media_type="application/json")


@router.get(
    "/problems/{name}",
    summary="Explain a problem",
    response_class=HTMLResponse,
    responses={
        200: {
            "description": "A page about the type of problem.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **responses(problems.UnknownRoute),
    },
    dependencies=documented,
)
async def one_problem(name: str) -> Response:
    """What the `type` of a problem document leads to."""
    problem = PROBLEMS.get(name)
    if problem is None:
        raise problems.UnknownRoute
    example = html.escape(to_json(problems.example(problem), indent=2).decode())
    advice = html.escape(problem.advice or "")
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(problem.title)}</title>"
        f"<h1>{html.escape(problem.title)}</h1><p>{advice}</p>"
        f"<p>Status {problem.status}, {MEDIA_TYPE}:</p><pre>{example}</pre></html>"
    )


def install(app: FastAPI, database: Database) -> None:
    """Serve these routes, and measure all."""
    app.include_router(router)
    app.state.metrics = Metrics(database)
    app.add_middleware(Doorway, observer=app.state.metrics)
