"""The API as it is served, over a fresh database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.service import Service, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    with served(database) as running:
        yield running
