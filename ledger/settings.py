"""Every setting of the ledger, typed, read once: from the environment (prefix `LEDGER_`), else from secret files.

1. A misspelt variable, and a misspelt file beside the secrets, is an error: nothing is silently a default.
2. The environment counts before a file; of two folders the service manager's counts before the containers'.

A secret file is named as its variable in small letters (`ledger_database_url`) and holds the value; white space around it does
not count. It lies where containers get their secrets, or where systemd puts credentials.

Run as a program, this module prints the table that stands in the README.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

PREFIX = "LEDGER_"
# Where Docker, Podman and Kubernetes put secrets, and the variable by which systemd names its folder of credentials.
CONTAINER_SECRETS = Path("/run/secrets")
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
# PostgreSQL's own bounds: a timeout is a 32-bit number, and the page cache at most 2^30 pages of 8 KiB.
MOST_TIMEOUT_MS = 2**31 - 1
MOST_SHARED_BUFFERS_MB = 2**23 - 1
TOPIC = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,248}$"


class Settings(BaseSettings):
    """What a deployment may choose. A misspelt `LEDGER_` variable or secret file is an error, not a default."""

    # An empty variable is how compose files and shells spell an unset one.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    database_url: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL 15 to 18, as the role `ledger_app`; for `ledger notary` as `ledger_notary`. "
        "Unset: a PostgreSQL of our own is started in the data folder.",
    )
    admin_database_url: str | None = Field(
        default=None,
        repr=False,
        description="The same database as its owner with CREATEROLE, or as a superuser; "
        "only `ledger migrate` uses it. Unset: `LEDGER_DATABASE_URL`.",
    )
    data_folder: Path = Field(
        default=Path(".ledger"),
        description="Where our own PostgreSQL keeps its data; relative to the current folder.",
    )
    pool_size: int = Field(
        default=8,
        ge=1,
        le=90,
        description="Most database connections that one process holds open.",
    )
    lock_timeout_ms: int = Field(
        default=10_000,
        ge=0,
        le=MOST_TIMEOUT_MS,
        description="Longest wait for a lock, such as the journal's head; 0 waits for ever.",
    )
    statement_timeout_ms: int = Field(
        default=300_000,
        ge=0,
        le=MOST_TIMEOUT_MS,
        description="Longest run of one SQL statement; 0 lets it run for ever.",
    )
    shared_buffers_mb: int | None = Field(
        default=None,
        ge=16,
        le=MOST_SHARED_BUFFERS_MB,
        description="Page cache of our own PostgreSQL. Unset: a quarter of the memory, from 128 to 4096.",
    )

    token_keys: Path | None = Field(
        default=None,
        description="JWKS file with the public keys, Ed25519 or P-256, that sign bearer tokens. "
        "Unset: only the development key that is made in the data folder.",
    )
    token_issuer: str = Field(
        default="pension-ledger-development",
        min_length=1,
        description="Who must have issued a bearer token (`iss`).",
    )
    token_audience: str = Field(
        default="pension-ledger",
        min_length=1,
        description="The one service that a bearer token must be meant for (`aud`).",
    )
    token_lifetime_s: int = Field(
        default=300,
        ge=30,
        le=86_400,
        description="Longest lifetime of a bearer token, from `iat` to `exp`.",
    )

    origin: str = Field(
        default="pension-ledger.example/development",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$",
        description="Name of this ledger in checkpoints and receipts; it never changes.",
    )
    receipt_key: Path | None = Field(
        default=None,
        description="File with the key that signs receipts. Unset: one in the data folder, made on first use.",
    )
    notary_folder: Path | None = Field(
        default=None,
        description="Where the notary keeps its key and its last checkpoint. Unset: `notary` in the data folder, "
        "or with a `LEDGER_DATABASE_URL` `external/notary`.",
    )
    checkpoint_folder: Path | None = Field(
        default=None,
        description="Where the notary writes checkpoints outside the database, and writers look before their first write. "
        "Unset: `checkpoints` beside that `notary`.",
    )

    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^,\s]+:[0-9]+(,[^,\s]+:[0-9]+)*$",
        description="Brokers to begin with, `host:port` and commas between.",
    )
    kafka_options: Path | None = Field(
        default=None,
        description="JSON file that says how to log in to Kafka: `security_protocol`, `ssl_*` and `sasl_*` as in kafka-python. "
        "Unset: no encryption and no login.",
    )
    commands_topic: str = Field(
        default="pension.commands",
        pattern=TOPIC,
        description="Topic that `ledger intake` reads commands from.",
    )
    events_topic: str = Field(
        default="pension.events",
        pattern=TOPIC,
        description="Topic that `ledger outlet` publishes facts to.",
    )
    refusals_topic: str = Field(
        default="pension.refusals",
        pattern=TOPIC,
        description="Topic that `ledger outlet` publishes refused messages to.",
    )
    intake_group: str = Field(
        default="pension-ledger-intake",
        pattern=TOPIC,
        description="Consumer group that the partitions of commands are shared out in.",
    )
    source_keys: Path | None = Field(
        default=None,
        description="JWKS file with the keys that source systems sign their messages with, each with what it may post. "
        "Unset: only the development key that is made in the data folder.",
    )

    @property
    def notary_files(self) -> Path:
        """The notary's own folder."""
        return self.notary_folder or self._own_folder / "notary"

    @property
    def checkpoint_files(self) -> Path:
        """The checkpoints outside the database."""
        return self.checkpoint_folder or self._own_folder / "checkpoints"

    @property
    def _own_folder(self) -> Path:
        """Seals of our own database and of another one do not mix."""
        folder = self.data_folder.expanduser()
        return folder if self.database_url is None else folder / "external"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - part of the signature; there is no such file here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced, because the folders are known only now
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then each folder of secrets that there is."""
        folders = [SecretsSettingsSource(settings_cls, secrets_dir=folder) for folder in secret_folders()]
        return init_settings, env_settings, *folders

    @model_validator(mode="after")
    def _refuse_unknown_variables(self) -> Self:
        known = {variable_name(field) for field in type(self).model_fields}
        unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
        if unknown:
            message = f"no such setting: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            raise ValueError(message)
        misspelt = sorted(
            str(path)
            for folder in secret_folders()
            for path in folder.iterdir()
            if path.name.upper().startswith(PREFIX) and path.name.upper() not in known
        )
        if misspelt:
            message = f"no such setting: {', '.join(misspelt)}; known are {', '.join(sorted(map(str.lower, known)))}"
            raise ValueError(message)
        return self


def secret_folders() -> list[Path]:
    """Folders of secret files that there are here, the first counting most."""
    named = os.environ.get(CREDENTIALS_VARIABLE)
    folders = [CONTAINER_SECRETS] if not named else [Path(named), CONTAINER_SECRETS]
    return [folder for folder in folders if folder.is_dir()]


def is_secret_file(path: Path) -> bool:
    """Whether it lies where secrets are handed over: who hands it over sets its mode, and decides who reads it in other ways."""
    return path.parent in secret_folders()


def variable_name(field: str) -> str:
    """Name of the environment variable of a field."""
    return PREFIX + field.upper()


def readme_table() -> str:
    """Render every setting as a Markdown table."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{variable_name(name)}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(readme_table(), end="")  # noqa: T201  printing is what this program is for
