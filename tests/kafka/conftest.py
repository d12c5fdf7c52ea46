"""One broker a test run, for whatever stands in this folder: xdist gives all of it to one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.kafka.topics import Topics, make_topics

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.xdist_group("kafka"))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The broker of this test run."""
    with Broker() as running:
        yield running


@pytest.fixture
def topics(broker: Broker) -> Topics:
    """Topics of this test alone. They stay: a broker of somebody else's is not cleaned by tests."""
    return make_topics(broker)
