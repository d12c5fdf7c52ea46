"""What is wrong with a compose file, a sentence each: against the specification, and against the ledger that it starts.

1. Every command is one that the command line takes, every LEDGER_ variable and secret of such a name a setting.
2. Each service has the secrets of its own role and no other, and reaches the servers that it needs and no other.
3. Nobody runs as root, gains rights, writes to his root file system, or takes memory, processes or log without bound.
4. Health checks ask for real routes where the program serves; what is waited for comes; what is named is there.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import typer
import yaml  # type: ignore[import-untyped]  # One line uses it.
from typer.core import TyperGroup

from ledger.__main__ import app
from ledger.api.operations import router as operations
from ledger.database import LOGIN_ROLES
from ledger.settings import PREFIX, Settings, variable_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
# Typer's own copy of the class has no public name.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
SECRETS_FOLDER = "/run/secrets/"
WATCHED = {"/health", "/ready", "/metrics"}

# Who is handed what, by where it finds it: a role's address, a user's login, and nobody anything else.
SECRETS = {
    "database": {"postgres_password": "postgres_password"},
    "roles": {
        name: name for name in ("postgres_password", *(f"{role.removeprefix('ledger_')}_url" for role in LOGIN_ROLES))
    },
    "migrate": {"ledger_database_url": "administrator_url"},
    "api": {"ledger_database_url": "app_url"},
    "projector": {"ledger_database_url": "app_url"},
    "notary": {"ledger_database_url": "notary_url"},
    "kafka": {"kafka_broker": "kafka_broker"},
    "access": {
        name: name
        for name in (
            "kafka_broker",
            *(f"kafka_{user}" for user in ("topics", "intake", "outlet", "source", "follower")),
        )
    },
    "topics": {"kafka_topics": "kafka_topics"},
    "intake": {"ledger_database_url": "app_url", "kafka_intake": "kafka_intake"},
    "outlet": {"ledger_database_url": "outlet_url", "kafka_outlet": "kafka_outlet"},
}
# Who reaches which server; the rest reaches neither.
STORE = {"database", "roles", "migrate", "api", "projector", "notary", "intake", "outlet"}
STREAM = {"kafka", "access", "topics", "intake", "outlet"}

Loaded = dict[str, Any]


def read(text: str) -> Loaded:
    """The file as Compose sees it when no variable is set."""
    loaded = yaml.safe_load(re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text))
    assert isinstance(loaded, dict)
    return loaded


def faults(compose: Loaded) -> list[str]:
    """All that is wrong with it, a sentence each."""
    schema_faults = list(against_schema(compose))
    if schema_faults:
        return schema_faults
    found: list[str] = []
    for name, service in compose["services"].items():
        found += [f"{name}: {fault}" for check in CHECKS for fault in check(name, service)]
    return [*found, *references(compose), *order(compose), *walls(compose)]


def against_schema(compose: Loaded) -> Iterator[str]:
    schema = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8")
    for error in jsonschema_rs.validator_for(json.loads(schema)).iter_errors(compose):
        yield f"schema: {error.message} at {'.'.join(map(str, error.instance_path))}"


def is_ours(service: Loaded) -> bool:
    return "build" in service


def command_line(_name: str, service: Loaded) -> Iterator[str]:
    """The program's own parser takes the command, all but carrying it out."""
    if not is_ours(service):
        return
    try:
        parse(service["command"])
    except CommandRefused as error:
        yield f"command {service['command']}: {error}"


class CommandRefused(ValueError):
    """The command line does not take it."""


def parse(arguments: list[str]) -> dict[str, Any]:
    """The parameters of a command as the real command line reads them."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands.get(arguments[0])
    if command is None:
        raise CommandRefused(f"no such command: {arguments[0]}")
    try:
        return command.make_context(arguments[0], arguments[1:]).params
    except UsageError as error:
        raise CommandRefused(str(error)) from error


def variables(_name: str, service: Loaded) -> Iterator[str]:
    """Every LEDGER_ variable and every secret of such a name is a setting, with a value that it takes."""
    known = {variable_name(field): field for field in Settings.model_fields}
    given = {key: value for key, value in service.get("environment", {}).items() if key.startswith(PREFIX)}
    for target in targets(service):
        if target.upper().startswith(PREFIX):
            given[target.upper()] = "postgresql://u:p@h/d"
    yield from (f"no such setting: {variable}" for variable in sorted(set(given) - set(known)))
    try:
        Settings(**{known[variable]: value for variable, value in given.items() if variable in known})
    except ValueError as error:
        yield f"setting: {error}"
    for key, value in service.get("environment", {}).items():
        if SECRETS_FOLDER in str(value) and str(value).removeprefix(SECRETS_FOLDER) not in targets(service):
            yield f"{key} names {value}, which it is not handed"
        if re.search(r"PASSWORD|SECRET|TOKEN$", key) and not key.endswith("_FILE"):
            yield f"{key} would be a secret in the environment"


def targets(service: Loaded) -> dict[str, str]:
    """Secrets as the service finds them, and which they are."""
    handed: list[dict[str, str]] = [
        each if isinstance(each, dict) else {"source": each} for each in service.get("secrets", [])
    ]
    return {each.get("target", each["source"]): each["source"] for each in handed}


def secrets(name: str, service: Loaded) -> Iterator[str]:
    if targets(service) != SECRETS.get(name, {}):
        yield f"secrets are {targets(service)} and should be {SECRETS.get(name, {})}"


def confinement(_name: str, service: Loaded) -> Iterator[str]:
    user = str(service.get("user", "root")).partition(":")[0]
    if user in {"root", "0"}:
        yield "runs as root"
    if not service.get("read_only"):
        yield "can write to its root file system"
    if service.get("cap_drop") != ["ALL"] or "cap_add" in service or service.get("privileged"):
        yield "has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "can gain privileges"
    yield from (f"has no {bound}" for bound in ("mem_limit", "pids_limit") if bound not in service)
    if "max-size" not in service.get("logging", {}).get("options", {}):
        yield "logs without bound"
    if not is_ours(service) and not re.search(r":\d+\.\d+", service["image"]):
        yield f"image {service['image']} is of no certain version"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is open to the network"


def health(_name: str, service: Loaded) -> Iterator[str]:
    """What is asked for is a route of ours, at the port that the command serves at."""
    if not is_ours(service) or "healthcheck" not in service:
        return
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", service["healthcheck"]["test"][-1])
    if asked is None:
        yield "its health check asks for no address"
        return
    try:
        parameters = parse(service["command"])
    except CommandRefused:
        return  # Which `command_line` says.
    routes = {getattr(route, "path", "") for route in operations.routes} if "port" in parameters else WATCHED
    if int(asked[1]) != parameters.get("port", parameters.get("watch_port")):
        yield f"its health check asks at port {asked[1]}, where it does not serve"
    if asked[2] not in routes:
        yield f"its health check asks for {asked[2]}, which is no route"


CHECKS = (command_line, variables, secrets, confinement, health)


def references(compose: Loaded) -> Iterator[str]:
    """Whatever is named is defined, whatever is defined is used, and every file is there or made by the script."""
    used: dict[str, set[str]] = {"volumes": set(), "networks": set(), "configs": set(), "secrets": set()}
    for service in compose["services"].values():
        used["volumes"] |= {volume.partition(":")[0] for volume in service.get("volumes", [])}
        used["networks"] |= set(service.get("networks", ["default"]))
        used["configs"] |= {each["source"] for each in service.get("configs", [])}
        used["secrets"] |= set(targets(service).values())
    for kind, names in used.items():
        defined = set(compose.get(kind, {}))
        yield from (f"{kind}: {name} is not defined" for name in sorted(names - defined))
        yield from (f"{kind}: {name} is not used" for name in sorted(defined - names))
    for name, config in compose.get("configs", {}).items():
        if not (ROOT / config["file"]).is_file():
            yield f"configs: {name} has no file {config['file']}"
    for name, secret in compose.get("secrets", {}).items():
        if secret != {"file": f"secrets/{name}"}:
            yield f"secrets: {name} is not the file of its name"


def order(compose: Loaded) -> Iterator[str]:
    """What is waited for comes: no circle, no health without a check, no end of what never ends."""
    services = compose["services"]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    for name, others in waits.items():
        for other, wait in others.items():
            if other not in services:
                yield f"{name} waits for {other}, which is none"
            elif wait["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name} waits for the health of {other}, which has no check"
            elif wait["condition"] == "service_completed_successfully" and services[other].get("restart") != "no":
                yield f"{name} waits for the end of {other}, which does not end"
    done: set[str] = set()
    while ready := {name for name, others in waits.items() if name not in done and set(others) <= done}:
        done |= ready
    if done != set(waits):
        yield f"these wait for each other: {sorted(set(waits) - done)}"


def walls(compose: Loaded) -> Iterator[str]:
    for network, expected in (("store", STORE), ("stream", STREAM)):
        members = {name for name, service in compose["services"].items() if network in service.get("networks", [])}
        if members != expected:
            yield f"{network}: {sorted(members ^ expected)} should not be there, or be there"
        if not compose["networks"].get(network, {}).get("internal"):
            yield f"{network}: leads outside"
