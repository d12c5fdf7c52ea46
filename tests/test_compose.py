"""docker-compose.yml has no fault, and whatever is spoiled in a copy of it is found: so the checks are known to look."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ledger.settings import PREFIX
from tests.composing import COMPOSE, Loaded, faults, read

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def compose() -> Loaded:
    return read(COMPOSE.read_text("utf-8"))


def test_the_file_fits(compose: Loaded) -> None:
    assert faults(compose) == []


def test_no_variable_of_composes_own_is_taken_for_a_setting() -> None:
    """The ledger refuses a LEDGER_ variable that is none of its settings."""
    assert not re.search(rf"\$\{{?{PREFIX}", COMPOSE.read_text("utf-8"))


SPOILED: dict[str, tuple[Callable[[Loaded], object], str]] = {
    "a key that is none": (lambda c: c["services"]["api"].update(comand=["serve"]), "schema: "),
    "a misspelt command": (lambda c: c["services"]["projector"].update(command=["projekt"]), "projector: command"),
    "a misspelt option": (lambda c: c["services"]["api"]["command"].append("--projects"), "api: command"),
    "a value out of bounds": (lambda c: c["services"]["api"]["command"].extend(["--port", "70000"]), "api: command"),
    "a misspelt variable": (
        lambda c: c["services"]["api"]["environment"].update(LEDGER_CHECKPOINTS_FOLDER="x"),
        "api: no such setting: LEDGER_CHECKPOINTS_FOLDER",
    ),
    "a variable of no use": (
        lambda c: c["services"]["intake"]["environment"].update(LEDGER_KAFKA_BOOTSTRAP_SERVERS="kafka"),
        "intake: setting",
    ),
    "a misspelt secret": (
        lambda c: c["services"]["api"]["secrets"][0].update(target="ledger_databse_url"),
        "api: no such setting: LEDGER_DATABSE_URL",
    ),
    "the secret of another": (
        lambda c: c["services"]["outlet"]["secrets"][0].update(source="administrator_url"),
        "outlet: secrets are",
    ),
    "one secret too many": (lambda c: c["services"]["api"]["secrets"].append("kafka_broker"), "api: secrets are"),
    "a secret that it needs": (
        lambda c: c["services"]["intake"]["secrets"].pop(),
        "intake: LEDGER_KAFKA_OPTIONS names",
    ),
    "a password in the environment": (
        lambda c: c["services"]["database"]["environment"].update({"POSTGRES_PASSWORD": "x"}),
        "database: POSTGRES_PASSWORD would be a secret",
    ),
    "root": (lambda c: c["services"]["kafka"].pop("user"), "kafka: runs as root"),
    "a root that is written to": (lambda c: c["services"]["api"].update(read_only=False), "api: can write"),
    "capabilities": (lambda c: c["services"]["api"].update(cap_add=["NET_ADMIN"]), "api: has capabilities"),
    "privileges": (lambda c: c["services"]["api"].pop("security_opt"), "api: can gain privileges"),
    "memory without bound": (lambda c: c["services"]["api"].pop("mem_limit"), "api: has no mem_limit"),
    "logs without bound": (lambda c: c["services"]["api"].pop("logging"), "api: logs without bound"),
    "the latest image": (lambda c: c["services"]["kafka"].update(image="apache/kafka:latest"), "kafka: image"),
    "an open port": (lambda c: c["services"]["kafka"].update(ports=["9095:9095"]), "kafka: port"),
    "the health of another port": (
        lambda c: c["services"]["intake"]["healthcheck"].update(test=["CMD", "http://127.0.0.1:8000/ready"]),
        "intake: its health check asks at port 8000",
    ),
    "the health of no route": (
        lambda c: c["services"]["api"]["healthcheck"].update(test=["CMD", "http://127.0.0.1:8000/healthy"]),
        "api: its health check asks for /healthy",
    ),
    "a volume that is none": (lambda c: c["volumes"].pop("kafka"), "volumes: kafka is not defined"),
    "a volume too many": (lambda c: c["volumes"].update(mine={}), "volumes: mine is not used"),
    "a config without a file": (
        lambda c: c["configs"]["roles"].update(file="deploy/none.sh"),
        "configs: roles has no file",
    ),
    "a network that leads outside": (lambda c: c["networks"].update(store={}), "store: leads outside"),
    "a door between the two": (lambda c: c["services"]["api"]["networks"].append("stream"), "stream: ['api']"),
    "a circle": (
        lambda c: c["services"]["database"].update(
            depends_on={"migrate": {"condition": "service_completed_successfully"}}
        ),
        "these wait for each other",
    ),
    "the health of what has no check": (
        lambda c: c["services"]["api"].update(depends_on={"projector": {"condition": "service_healthy"}}),
        "api waits for the health of projector",
    ),
    "the end of what does not end": (
        lambda c: c["services"]["api"].update(
            depends_on={"projector": {"condition": "service_completed_successfully"}}
        ),
        "api waits for the end of projector",
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_whatever_is_spoiled_is_found(compose: Loaded, what: str) -> None:
    spoil, expected = SPOILED[what]
    spoiled = copy.deepcopy(compose)
    spoil(spoiled)
    found = faults(spoiled)
    assert any(fault.startswith(expected) for fault in found), found


def test_compose_itself_takes_the_file() -> None:
    """Where the command is installed; it needs no engine for that."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no `docker compose` here")
    subprocess.run([docker, "compose", "--file", COMPOSE, "config", "--quiet"], check=True, timeout=60)
