"""The histories, ten thousand in a soak, on which the invariants are tested, told once for all of them."""

import pytest

from tests.domain.histories import CHUNKS, History, seeds


@pytest.fixture(scope="session", params=range(CHUNKS))
def histories(request: pytest.FixtureRequest) -> list[History]:
    """One part of the histories; to be continued only in a fork."""
    return [History(seed).run() for seed in seeds(request.param)]
