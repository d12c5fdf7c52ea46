"""Taking turns: every contestant does the same round before the next round begins, and medians are compared."""

import gc
import statistics
import time
from collections.abc import Callable


class Contest:
    """Seconds a posting, by contestant, round by round."""

    def __init__(self) -> None:
        """No rounds yet."""
        self.rounds: dict[str, list[float]] = {}

    def time(self, name: str, items: int, work: Callable[[], object]) -> None:
        """Time one round of one contestant."""
        start = time.perf_counter()
        work()
        self.rounds.setdefault(name, []).append((time.perf_counter() - start) / items)

    def rate(self, name: str) -> float:
        """Median items a second."""
        return 1 / statistics.median(self.rounds[name])

    def best(self, name: str) -> float:
        """Items a second of the best round."""
        return 1 / min(self.rounds[name])

    def share(self, name: str, of: str) -> float:
        """Median, over the rounds, of this contestant's rate as a share of the other's in the same round."""
        return statistics.median(b / a for a, b in zip(self.rounds[name], self.rounds[of], strict=True))


def settle() -> None:
    """As the command line does for a writer: what stands stays, and young objects are looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
