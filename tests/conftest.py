"""One PostgreSQL a test process, and one fresh migrated database a test."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.database import Database, TemporaryServer, temporary_server
from ledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_BUFFERS_MB = 128

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The settings of every test database: the defaults, in less memory."""
    return Settings(shared_buffers_mb=SHARED_BUFFERS_MB)


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[TemporaryServer]:
    """The PostgreSQL server of this test process.

    Not in pytest's own folder: every start of pytest closes that to other users, and as root the server runs as one.
    """
    with temporary_server(settings) as running:
        yield running


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """Where a test runs a server of its own; for the reason above not `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        yield Path(folder)


@pytest.fixture
def database(server: TemporaryServer) -> Iterator[Database]:
    """A fresh migrated database."""
    name = f"test_{next(_numbers)}"
    fresh = server.create_database(name)
    yield fresh
    fresh.close()
    server.drop_database(name)


@pytest.fixture
def empty_database(server: TemporaryServer) -> Iterator[Database]:
    """A database without any table of ours."""
    name = f"test_{next(_numbers)}"
    fresh = server.create_empty_database(name)
    yield fresh
    fresh.close()
    server.drop_database(name)
