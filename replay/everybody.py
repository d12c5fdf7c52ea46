"""Everybody's balance sheet at a date and a position, out of facts alone, with one digest over all of them.

1. A line is a sheet as `sheets` spells it, and LF; lines stand in the order of the one_ids.
2. Lines, digest and totals are the same for ever, on whatever machine and by however many processes.
3. Memory holds a few texts for each identity and account, and the facts that link; sheets are made a chunk at a time.
"""

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from ledger.domain import events as e
from ledger.domain.history import Unreadable, sheet_at, sids_linked
from ledger.domain.identifiers import tags_of
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.domain.timeline import partition_at
from replay.comparing import MAX_PROCESSES
from replay.facts import (
    DOES_NOT_FOLLOW,
    Connection,
    HistoryBroken,
    Positioned,
    check_gapless,
    exported,
    facts_about,
    following,
    opened,
    read_facts,
    settle,
)
from replay.sheets import position_at, spelled

# Sheets that are made together: so many round trips for each person less.
CHUNK: Final = 500
# Chunks in hand for each process, so that none waits and memory stays bounded.
AHEAD: Final = 3

Totals = dict[tuple[str, str, str], list[int]]
"""By product, kind and part the number of postings and their sum in fen."""


class _Person(NamedTuple):
    """Her one_id, one of her identities, and all who were ever linked with her."""

    one_id: str
    sid: str
    closure: tuple[str, ...]


@dataclass
class Everybody:
    """The sheets of all at a date and position: how many they are, the digest over them, and the totals."""

    known_at: int
    as_of: date | None
    people: int = 0
    totals: Totals = field(default_factory=dict)
    _digest: Any = field(default_factory=sha256)

    def take(self, line: bytes) -> None:
        """One more sheet, in the order of the one_ids; its line ends with LF."""
        self.people += 1
        self._digest.update(line)

    def summary(self) -> bytes:
        """One line of JSON: digest and trial balance."""
        totals = [
            {"product": product, "kind": kind, "part": part, "lines": lines, "amount_fen": fen}
            for (product, kind, part), (lines, fen) in sorted(self.totals.items())
        ]
        return to_json(
            {
                "known_at": self.known_at,
                "as_of": self.as_of,
                "people": self.people,
                "sheets_sha256": self._digest.hexdigest(),
                "trial_balance_fen": sum(fen for _, fen in self.totals.values()),
                "totals": totals,
            }
        )


def sheets_of_all(  # noqa: PLR0913 - what is asked for, and where it goes
    url: str,
    *,
    as_of: date | None = None,
    known_at: int | None = None,
    processes: int,
    write: Callable[[bytes], Any] = lambda _line: None,
    progress: Callable[[int, int], Any] = lambda _done, _total: None,
) -> Everybody:
    """Write everybody's sheet, a line each in the order of the one_ids.

    Raises PositionNotRecorded, TooManyFacts and HistoryBroken.
    """
    with opened(url) as connection:
        at = position_at(connection, known_at)
        check_gapless(connection, at)
        everybody = Everybody(at, as_of)
        people = _people(connection, everybody)
        chunks = [people[start : start + CHUNK] for start in range(0, len(people), CHUNK)]
        workers = min(processes, MAX_PROCESSES, len(chunks))
        with _making(url, connection, workers, at, as_of) as make:
            for lines in make(chunks):
                for line in lines:
                    everybody.take(line)
                    write(line)
                progress(len(lines), len(people))
    return everybody


def _people(connection: Connection, everybody: Everybody) -> list[_Person]:
    """Everybody in the order of the one_ids; reads all facts once, and adds up the totals."""
    registered: dict[str, tuple[int, str]] = {}
    linking: list[Positioned] = []
    products = {EXTERNAL: EXTERNAL}
    for facts in read_facts(connection, until=everybody.known_at):
        for position, fact in facts:
            match fact:
                case e.SourceIdentityRegistered():
                    registered[fact.sid] = position, fact.one_id
                    linking.append((position, fact))
                case e.IdentitiesLinked() | e.IdentitiesMerged() | e.IdentitiesUnmerged() | e.DistinctWithdrawn():
                    linking.append((position, fact))
                case e.AccountOpened():
                    products[fact.account] = fact.product
                case _:
                    try:
                        _add(everybody, Recorded(position, fact), products)
                    except DOES_NOT_FOLLOW as error:
                        raise HistoryBroken(position, f"it cannot be added up ({error!r})") from error
    found: list[_Person] = []
    with following(f"who is one person with whom up to position {everybody.known_at}"):
        closures = _closures(linking)
        for members in partition_at(linking, known_at=None, as_of=everybody.as_of):
            _, one_id = min(registered[sid] for sid in members)
            found.append(_Person(one_id, members[0], closures.get(members[0], (members[0],))))
    return sorted(found)


def _add(everybody: Everybody, recorded: Recorded, products: Mapping[str, str]) -> None:
    kind = recorded.kind
    if kind is None or (everybody.as_of is not None and recorded.fact.effective_on > everybody.as_of):
        return
    for account, part, fen in recorded.legs:
        counted = everybody.totals.setdefault((products[account], kind, part), [0, 0])
        counted[0] += 1
        counted[1] += fen


def _closures(linking: Iterable[Positioned]) -> dict[str, tuple[str, ...]]:
    """For each sid that was ever linked, all whom links lead to, in sid order."""
    together: dict[str, set[str]] = {}
    for fact in linking:
        sids = sids_linked([fact])
        whole = set(sids).union(*(together.get(sid, ()) for sid in sids))
        together.update(dict.fromkeys(whole, whole))
    sorted_once = {id(whole): tuple(sorted(whole)) for whole in together.values()}
    return {sid: sorted_once[id(whole)] for sid, whole in together.items()}


class _Chunk:
    """Some people, whose facts are read together and dealt out by their tags."""

    def __init__(self, connection: Connection, people: Sequence[_Person], until: int) -> None:
        """Read everything about them. Raises TooManyFacts."""
        self._connection = connection
        self._until = until
        self._whose: defaultdict[str, list[int]] = defaultdict(list)
        self.people = people
        self.facts: list[list[Positioned]] = [[] for _ in people]
        self.unread: list[list[Unreadable]] = [[] for _ in people]
        for number, person in enumerate(people):
            for sid in person.closure:
                self._whose[f"identity:{sid}"].append(number)
        identities = set(self._whose)
        self._deal(sorted(identities))
        for number, facts in enumerate(self.facts):
            for account in {fact.account for _, fact in facts if isinstance(fact, e.AccountOpened)}:
                self._whose[f"account:{account}"].append(number)
        self._deal(sorted(self._whose.keys() - identities))

    def _deal(self, tags: Iterable[str]) -> None:
        read = facts_about(self._connection, tags, until=self._until)
        for position, fact in read.facts:
            for number in self._named(tags_of(fact)):
                self.facts[number].append((position, fact))
        for each in read.unread:
            for number in self._named(each.tags):
                self.unread[number] += [Unreadable(each.position, tag) for tag in each.tags]

    def _named(self, tags: Iterable[str]) -> set[int]:
        return {number for tag in tags if tag in self._whose for number in self._whose[tag]}


def _sheets(connection: Connection, people: Sequence[_Person], at: int, as_of: date | None) -> list[bytes]:
    """The lines of some people."""
    chunk = _Chunk(connection, people, at)
    lines: list[bytes] = []
    for person, facts, unread in zip(people, chunk.facts, chunk.unread, strict=True):
        with following(f"the sheet of {person.sid} at position {at}"):
            sheet = sheet_at(facts, person.sid, known_at=at, as_of=as_of, unreadable=unread)
            # The tag index leads to the facts of a sheet, and may have been changed.
            assert sheet is not None, f"{person.sid} is registered, and the tag index does not lead there"
            assert sheet.one_id == person.one_id, f"{person.one_id} is named by her oldest identity"
        lines.append(spelled(sheet, as_of=as_of, known_at=at) + b"\n")
    return lines


Make = Callable[[list[list[_Person]]], Iterator[list[bytes]]]

# The connection of a process of its own; set where it starts.
_own: Any = None
_until_it_ends = ExitStack()


def _start(url: str, snapshot: str) -> None:
    global _own  # noqa: PLW0603 - one connection for all chunks that a process makes
    settle()
    _own = _until_it_ends.enter_context(opened(url, snapshot=snapshot))


@contextmanager
def _making(url: str, connection: Connection, workers: int, at: int, as_of: date | None) -> Iterator[Make]:
    """Make the lines of chunks in their order: here, or by several processes on the same snapshot."""
    if workers < 2:  # noqa: PLR2004 - one can as well be this one
        yield lambda chunks: (_sheets(connection, chunk, at, as_of) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(url, exported(connection))
    ) as pool:

        def make(chunks: list[list[_Person]]) -> Iterator[list[bytes]]:
            waiting = iter(chunks)
            doing: list[Future[list[bytes]]] = []
            while True:
                more = islice(waiting, workers * AHEAD - len(doing))
                doing += [pool.submit(_sheets_apart, chunk, at, as_of) for chunk in more]
                if not doing:
                    return
                yield doing.pop(0).result()

        yield make


def _sheets_apart(people: Sequence[_Person], at: int, as_of: date | None) -> list[bytes]:
    return _sheets(_own, people, at, as_of)
