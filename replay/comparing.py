"""Everything that is derived, rebuilt from the facts and compared with what the database holds, in one snapshot.

1. All processes share the snapshot of the first: what writers do meanwhile is not seen, by none of them.
2. What is found does not depend on the number of processes.
3. A projection is compared at its own position. That it is behind is said; that it has halted, has set facts aside or is
   ahead of the journal is a difference.
4. A part that finds the history broken says so, and the other parts go on.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from replay.differences import MAX_DIFFERENCES, Differences
from replay.facts import DOES_NOT_FOLLOW, Connection, HistoryBroken, exported, head, opened, settle
from replay.indexes import compare_indexes
from replay.people import PEOPLE, compare_people
from replay.projections import CONTROL_TOTALS, SPAN, STATEMENTS, Books, Said, Slot, add_up
from replay.refold import compare_memory, missing, refold, unequal

Told = Callable[[int], Any]
Progress = Callable[[int, int], Any]
"""Learns how much more was done, and of how much in all."""

MAX_PROCESSES: Final = 64
# A process takes a second to start; so many facts are worth it.
FACTS_WORTH_A_PROCESS: Final = 100_000
LOOK_S: Final = 0.2

STANDINGS = b"""
SELECT projection.name, projection.live_slot, projection_slot.position, projection_slot.halted
FROM projection
LEFT JOIN projection_slot ON projection_slot.name = projection.name AND projection_slot.slot = projection.live_slot
ORDER BY projection.name
"""
DEAD_LETTERS = b"""
SELECT dead_letter.name, dead_letter.position, dead_letter.reason
FROM dead_letter
JOIN projection ON projection.name = dead_letter.name AND projection.live_slot = dead_letter.slot
ORDER BY dead_letter.name, dead_letter.position
LIMIT %s
"""


@dataclass
class Compared:
    """What was compared, what is worth knowing, and every difference, a line each."""

    until: int
    facts: int = 0
    memories: int = 0
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


class _Task(NamedTuple):
    """A part of the work: the stretch of positions of the books, or people and indexes, of one snapshot."""

    url: str
    snapshot: str | None
    slots: dict[str, Slot]
    after: int
    until: int
    name: str


class _Done(NamedTuple):
    """What a part has found, and of the books what they say."""

    differences: list[str]
    said: Said | None = None


# How many facts the processes have taken; set where a process starts.
_taken: Any = None


def _start(taken: Any) -> None:
    global _taken  # noqa: PLW0603 - what a process shares is handed over when it starts
    _taken = taken
    settle()


def compare(url: str, *, processes: int, progress: Progress = lambda _done, _total: None) -> Compared:
    """Compare everything. Each fact counts twice in the progress: where it is folded, and where its lines are."""
    with opened(url) as connection:
        until = head(connection)
        compared = Compared(until)

        def told(facts: int) -> None:
            progress(facts, 2 * until)

        slots = _standings(connection, compared)
        compared.differences += missing(connection, until=until)
        workers = min(processes, MAX_PROCESSES, 1 + until // FACTS_WORTH_A_PROCESS) - 1
        bounds = _stretches(until, max(1, workers))
        snapshot = exported(connection) if workers else None
        tasks = [_Task(url, snapshot, slots, *stretch, "books") for stretch in bounds]
        tasks += [_Task(url, snapshot, slots, 0, until, name) for name in ("people", "indexes")]
        with _working(tasks, workers, connection, told) as working:
            refolded, found = None, Differences()
            try:
                refolded = refold(connection, until=until, progress=told, found=found)
                compare_memory(connection, refolded, found)
            except (HistoryBroken, *DOES_NOT_FOLLOW) as broken:
                compared.differences.append(_sentence("memory", broken))
            compared.differences += found.lines()
            done = working()
        for part in done:
            compared.differences += part.differences
        said = [part.said for part in done if part.said is not None]
        if refolded is not None:
            compared.facts, compared.memories = refolded.facts, len(refolded.positions)
            if len(said) == len(bounds):
                whole = add_up(said)
                books = Books(connection, statements=slots.get(STATEMENTS), totals=slots.get(CONTROL_TOTALS))
                books.compare_larger(whole.larger)
                books.look_for_strays()
                compared.differences += [*books.found.lines(), *unequal(refolded, whole.sums)]
    compared.differences = list(dict.fromkeys(compared.differences))
    return compared


def _standings(connection: Connection, compared: Compared) -> dict[str, Slot]:
    """Where the projections stand, of those that can be compared."""
    slots: dict[str, Slot] = {}
    until = compared.until
    for name, slot, position, halted in connection.execute(STANDINGS):
        if position is None or position > until:
            compared.differences.append(f"{name}: its live slot stands at {position}, the journal ends at {until}")
        if halted is not None:
            compared.differences.append(f"{name}: it takes no more facts: {halted}")
        if position is not None:
            if position < until:
                compared.notes.append(f"{name} stands at position {position} of {until}, and is compared up to there.")
            slots[name] = Slot(slot, min(position, until))
    for name in {STATEMENTS, CONTROL_TOTALS, PEOPLE} - slots.keys():
        compared.differences.append(f"{name}: there is no such projection to compare")
    for name, position, reason in connection.execute(DEAD_LETTERS, (MAX_DIFFERENCES,)):
        compared.differences.append(f"{name}: position {position} is set aside: {reason}")
    return slots


def _stretches(until: int, count: int) -> list[tuple[int, int]]:
    """About equal stretches that begin with a span; never none."""
    spans = -(-until // SPAN)
    starts = sorted({spans * number // count * SPAN for number in range(count)})
    return list(zip(starts, [*starts[1:], until], strict=True))


@contextmanager
def _working(
    tasks: list[_Task], workers: int, connection: Connection, told: Told
) -> Iterator[Callable[[], list[_Done]]]:
    """Have the tasks done by other processes from now on, or without any by this one when they are asked for."""
    if not workers:
        yield lambda: [_do(connection, task, told) for task in tasks]
        return
    context = multiprocessing.get_context("spawn")
    taken = context.Value("q", 0)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(taken,)) as pool:
        doing = [pool.submit(_do_apart, task) for task in tasks]
        try:
            yield lambda: _awaited(doing, taken, told)
        finally:
            for future in doing:
                future.cancel()


def _awaited(doing: list[Future[_Done]], taken: Any, told: Told) -> list[_Done]:
    before = 0
    while not all(future.done() for future in doing):
        time.sleep(LOOK_S)
        now = taken.value
        told(now - before)
        before = now
    told(taken.value - before)
    return [future.result() for future in doing]


def _do_apart(task: _Task) -> _Done:
    with opened(task.url, snapshot=task.snapshot) as connection:
        return _do(connection, task, _count)


def _count(facts: int) -> None:
    with _taken.get_lock():
        _taken.value += facts


def _do(connection: Connection, task: _Task, told: Told) -> _Done:
    """One part. A broken history is found by the part itself: such an error could not travel."""
    found, said = Differences(), None
    try:
        if task.name == "books":
            books = Books(connection, statements=task.slots.get(STATEMENTS), totals=task.slots.get(CONTROL_TOTALS))
            found = books.found
            said = books.compare(after=task.after, until=task.until, progress=told)
        elif task.name == "people":
            if PEOPLE in task.slots:
                compare_people(connection, task.slots[PEOPLE], found)
        else:
            compare_indexes(connection, found)
    except (HistoryBroken, *DOES_NOT_FOLLOW) as broken:
        return _Done([*found.lines(), _sentence(task.name, broken)])
    return _Done(found.lines(), said)


def _sentence(part: str, broken: Exception) -> str:
    """What stopped the comparison of a part."""
    return str(broken) if isinstance(broken, HistoryBroken) else f"{part} cannot be compared: {broken!r}"
