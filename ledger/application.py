"""Ledger.post: a batch of commands becomes facts in one transaction: lock, recall, decide, append, remember.

1. Whoever holds the journal's head row decides. Everything a decision reads is guarded, not only what it writes.
2. Commands are decided in their order, and a later one sees what the earlier ones of its batch did.
3. Every command received gets exactly one row: a receipt or a refusal. The same id with the same content gets the same
   answer again and records nothing; with other content it is refused as reused, and that content leaves its row.
   But what its poster may not post leaves no row and learns no answer, so that nobody uses up or reads another's ids.
4. Facts, tags, command rows and memory are one transaction: all of a batch stands, or nothing of it.
5. The number of round trips does not grow with the batch, and the server works while Python decides: what one slice of
   the batch decided is sent, without waiting, before the next slice is decided.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow
from pydantic_core import to_json

from ledger import journal, memory
from ledger.database import Database
from ledger.domain.catalogue import MATTERS, apply, decide
from ledger.domain.commands import ClosePeriod, Command, OpenAccount, PostContribution, ReverseEntry, digest
from ledger.domain.decider import NotRecalled, State, View
from ledger.domain.events import Fact, FactUnreadable, decode, encode
from ledger.domain.identifiers import BOOKS_TAG, tags_of
from ledger.domain.leaves import leaf_hash, moment, spelled
from ledger.domain.limits import is_capped
from ledger.domain.posters import Poster, not_permitted
from ledger.domain.refusals import CommandIdReused, Refusal
from ledger.domain.states import remembers
from ledger.domain.tree import Hash
from ledger.leaves import leaves_at

Connection = psycopg.Connection[TupleRow]

MAX_COMMANDS = 10_000
MAX_REHEARSED = 100
SLICE = 250
MAX_RECALL_ROUNDS = 6
# The counters of what a batch opens are recalled together for so many years; for more, one by one as they are asked for.
MAX_PREPARED_YEARS = 12
TURN_WAIT_S = 60.0
# A period is closed over a tree that covers all but so many facts at most: they are gone through under the lock.
MAX_AFTER_TREE = 200_000
CLOCK_GUARD = "event_time_not_ahead"

# The journal's end, what the commands' own tags remember, and which of the commands are known: in one round trip.
READ = (
    rb"""
SELECT head.size, greatest(clock_timestamp(), head.recorded_at), recalled.states, recalled.addresses, known.answers
FROM head
CROSS JOIN (
"""
    + memory.RECALL
    + rb""") AS recalled
CROSS JOIN (
    SELECT json_agg(json_build_array(command_id, encode(digest, 'hex'), first_position, last_position, refusal)) AS answers
    FROM command
    WHERE command_id = ANY (string_to_array(%(command_ids)s, E'\x1e'))
) AS known
"""
)

# A slice: facts, command rows and memories. A memory that lies elsewhere than recalled is a bug, and divides by zero.
APPEND_AND_STORE = (
    b"WITH "
    + journal.APPEND_JSON
    + b", "
    + memory.STORE
    + b"SELECT 1 / ("
    + memory.ALL_STORED
    + b")::int, "
    + journal.WAKE
)

# The newest fact of each effective date, of those that a tree may not cover.
LATEST = b"""
SELECT effective_on, max(position)
FROM event
WHERE position > %s
GROUP BY effective_on
"""
ROOTS = b"""
SELECT size, root
FROM checkpoint
WHERE size = ANY (%s)
"""

KEEP_REUSED = rb"""
INSERT INTO reused_command (command_id, digest, received_at)
SELECT command_id, substr(%(digests)s, (ordinality * 32 - 31)::int, 32), %(received_at)s
FROM unnest(string_to_array(%(command_ids)s, E'\x1e')) WITH ORDINALITY AS reused (command_id, ordinality)
ON CONFLICT DO NOTHING
"""


class BatchTooLarge(ValueError):
    """A batch holds at most 10,000 commands; post the rest in batches of their own."""


class LedgerUnavailable(RuntimeError):
    """The database did not answer, or takes no writes. Nothing or all was recorded: post again with the same ids."""


class ClockBehind(LedgerUnavailable):
    """The database clock lies before the last fact. Nothing was recorded: set it right, and post the batch again."""


class LedgerBusy(RuntimeError):
    """Another writer held the journal for too long. Nothing was recorded: post the batch again with the same ids."""


class Receipt(NamedTuple):
    """The command stands: its facts have these positions, none where the ledger already stood as asked.

    `leaves` are the hashes of these facts as they will be sealed, where they were asked for.
    """

    command_id: str
    first_position: int | None
    last_position: int | None
    repeated: bool = False
    leaves: tuple[Hash, ...] = ()


class Refused(NamedTuple):
    """The command was not accepted, for the reason that its code names."""

    command_id: str
    code: str
    sentence: str
    detail: Mapping[str, Any]
    repeated: bool = False


Outcome = Receipt | Refused


class Rehearsal(NamedTuple):
    """What commands would come to, and what the entities they touch remember before and after, by tag.

    `position` is the journal's end at which they were rehearsed; the receipts' positions follow it.
    """

    position: int
    outcomes: list[Outcome]
    before: Mapping[str, State | None]
    after: Mapping[str, State | None]


class Ledger:
    """Posts commands. Threads may share one: what needs no lock is done side by side, the rest in turn."""

    def __init__(self, database: Database) -> None:
        """Post through the database's pool."""
        self._database = database
        # Waiting here costs a thread, waiting at the head row a connection.
        self._turn = threading.Lock()

    def post(
        self,
        commands: Sequence[Command],
        posters: Sequence[Poster | None] | None = None,
        *,
        with_leaves: bool = False,
        alongside: Callable[[Connection, Sequence[Outcome]], None] | None = None,
    ) -> list[Outcome]:
        """Decide and record the commands, in order, in one transaction; one outcome for each.

        `posters` says who posts each of them; None is a trusted caller, such as the command line. `with_leaves` asks for
        the leaf hashes in the receipts. `alongside` writes, in the same transaction and under the same lock, what must stand
        or fall with the outcomes; what it raises undoes them.
        Raises BatchTooLarge, LedgerBusy, LedgerUnavailable; then none of the outcomes is known.
        """
        if len(commands) > MAX_COMMANDS:
            raise BatchTooLarge(BatchTooLarge.__doc__)
        if not commands and alongside is None:
            return []
        posting = _Posting(commands, posters, with_leaves=with_leaves)
        try:
            with self._in_turn(), self._database.connection() as connection, journal.locked(connection):
                if commands:
                    posting.run(connection)
                if alongside is not None:
                    alongside(connection, posting.outcomes)
        except psycopg.errors.CheckViolation as error:
            if error.diag.constraint_name != CLOCK_GUARD:
                raise
            raise ClockBehind(ClockBehind.__doc__) from error
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise LedgerBusy(LedgerBusy.__doc__) from error
        except (
            psycopg.OperationalError,
            psycopg.errors.IdleInTransactionSessionTimeout,
            psycopg.errors.ReadOnlySqlTransaction,
        ) as error:
            raise LedgerUnavailable(LedgerUnavailable.__doc__) from error
        return posting.outcomes

    def rehearse(self, commands: Sequence[Command], posters: Sequence[Poster | None] | None = None) -> Rehearsal:
        """What posting these commands now would come to, by the same deciders, without a lock and without a trace.

        Nothing is recorded, no row of a command either, and no writer waits: all is read in one snapshot, read-only. What is
        posted meanwhile it does not see. Raises as `post`.
        """
        if not 0 < len(commands) <= MAX_REHEARSED:
            raise BatchTooLarge(f"a rehearsal takes 1 to {MAX_REHEARSED} commands")
        posting = _Posting(commands, posters, with_leaves=False)
        try:
            with self._database.connection() as connection:
                connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return posting.rehearse(connection)
        except psycopg.OperationalError as error:
            raise LedgerUnavailable(LedgerUnavailable.__doc__) from error

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=TURN_WAIT_S):
            raise LedgerBusy(LedgerBusy.__doc__)
        try:
            yield
        finally:
            self._turn.release()


class _Posting:
    """One batch on its way through the house."""

    def __init__(
        self, commands: Sequence[Command], posters: Sequence[Poster | None] | None, *, with_leaves: bool
    ) -> None:
        self.commands = commands
        self._with_leaves = with_leaves
        self._posters = posters
        self.outcomes: list[Outcome] = []
        self._view = View()
        self._addresses: dict[str, str] = {}
        self._touched: dict[str, int] = {}
        # Every tag that the commands name and that has a memory, with the number of the last command that names it.
        self._last_named = {
            tag: number for number, command in enumerate(commands) for tag in tags_of(command) if remembers(tag)
        }
        # How far the books are closed matters to every command, named or not.
        self._closes_books = self._last_named.setdefault(BOOKS_TAG, -1) >= 0
        self._digests: list[bytes] = []
        self._now = datetime.min.replace(tzinfo=UTC)
        self._rows = journal.Rows()
        self._reused: list[tuple[str, bytes]] = []
        self._settled: dict[str, tuple[bytes, Outcome]] = {}

    def run(self, connection: Connection) -> None:
        """What happens under the lock. A batch of one slice has nothing to overlap, and a pipeline costs more than it."""
        with connection.pipeline() if len(self.commands) > SLICE else nullcontext():
            self._recall(connection)
            self._decide_all(connection)
        if self._with_leaves:
            self._add_leaves_of_repeated(connection)
        if self._reused:
            reused = {
                "command_ids": "\x1e".join([command_id for command_id, _ in self._reused]),
                "digests": b"".join([its_digest for _, its_digest in self._reused]),
                "received_at": self._now,
            }
            connection.execute(KEEP_REUSED, reused)

    def rehearse(self, connection: Connection) -> Rehearsal:
        """Recall and decide as `run` does, and send nothing."""
        self._recall(connection)
        position, before = self._view.next_position - 1, dict(self._view.memories)
        self._decide_all(connection, sends=False)
        after = dict(self._view.memories)
        # What was recalled only while deciding may have changed since: in the same snapshot it is read once more.
        lacking = [tag for tag in after if tag not in before]
        if lacking:
            before |= memory.recall(connection, lacking, {})
        return Rehearsal(position, self.outcomes, before, after)

    def _add_leaves_of_repeated(self, connection: Connection) -> None:
        """Their facts were recorded by an earlier batch, and are read."""
        lacking: dict[int, tuple[Receipt, range]] = {}
        for number, outcome in enumerate(self.outcomes):
            if isinstance(outcome, Receipt) and outcome.first_position is not None and not outcome.leaves:
                assert outcome.last_position is not None, "what has a first position has a last"
                lacking[number] = outcome, range(outcome.first_position, outcome.last_position + 1)
        if not lacking:
            return
        found = leaves_at(connection, [position for _, positions in lacking.values() for position in positions])
        for number, (receipt, positions) in lacking.items():
            self.outcomes[number] = receipt._replace(leaves=tuple(found[position] for position in positions))

    def _recall(self, connection: Connection) -> None:
        ids = {"command_ids": "\x1e".join([command.command_id for command in self.commands])}
        reading = connection.execute(READ, memory.asked(self._last_named) | ids, prepare=True)
        self._digests = [digest(command) for command in self.commands]
        row = reading.fetchone()
        assert row is not None
        size, self._now, states, places, known = row
        self._view.clock = self._now
        self._view.next_position = size + 1
        self._view.memories.update(memory.recalled(self._last_named, states, places, self._addresses))
        for command_id, known_digest, first, last, refusal in known or ():
            self._settled[command_id] = (bytes.fromhex(known_digest), _known(command_id, first, last, refusal))
        self._recall_facts(connection)
        if self._closes_books:
            self._recall_trees(connection, size)
        opened = (command for command in self.commands if isinstance(command, OpenAccount))
        self._view.opening.update(command.sid for command in opened if is_capped(command.product))
        if self._view.opening:
            years = {command.effective_on.year for command in self.commands if isinstance(command, PostContribution)}
            if len(years) <= MAX_PREPARED_YEARS:
                self._view.years.update(years)
        self._recall_needs(connection, self.commands)

    def _recall_facts(self, connection: Connection) -> None:
        facts: dict[int, Fact | None] = {c.position: None for c in self.commands if isinstance(c, ReverseEntry)}
        for position, type_name, data in journal.facts_at(connection, facts) if facts else ():
            try:
                facts[position] = decode(type_name, bytes(data))
            except FactUnreadable:
                facts[position] = None  # An event of the plain recorder interface is no fact of this ledger.
        self._view.facts.update(facts)

    def _recall_trees(self, connection: Connection, head: int) -> None:
        """What the closings of periods need, in two queries for all of them; not for those that are not decided."""
        sizes = [
            command.tree_size
            for number, command in enumerate(self.commands)
            if isinstance(command, ClosePeriod)
            and command.command_id not in self._settled
            and (self._posters is None or self._posters[number] is None)
        ]
        if not sizes:
            return
        after = max(min(sizes), head - MAX_AFTER_TREE)
        # Below this size no tree is asked any further: facts of any date may have come after it.
        self._view.latest = {date.min: after} | dict(connection.execute(LATEST, (after,)).fetchall())
        found: dict[int, bytes] = dict(connection.execute(ROOTS, (sizes,)).fetchall())
        self._view.roots.update({size: found.get(size) for size in sizes})

    def _recall_needs(self, connection: Connection, commands: Iterable[Command]) -> None:
        """Recall what the commands need beyond their own tags: in rounds for all of them, until nothing new is named."""
        memories = self._view.memories
        view = self._view
        asking = [(needs, command) for command in commands if (needs := MATTERS[command.__class__].needs) is not None]
        for _ in range(MAX_RECALL_ROUNDS):
            wanted: dict[str, None] = {}
            still_asking = []
            for needs, command in asking:
                tags = needs(command, view)
                if tags:
                    wanted.update(dict.fromkeys(tags))
                    still_asking.append((needs, command))
            asking = still_asking
            missing = [tag for tag in wanted if tag not in memories]
            if not missing:
                return
            memories.update(memory.recall(connection, missing, self._addresses))
        message = f"needs are not settled after {MAX_RECALL_ROUNDS} rounds"
        raise AssertionError(message)

    def _decide_all(self, connection: Connection, *, sends: bool = True) -> None:
        """Decide command after command, and send slice after slice.

        To wait for the last by fetching matters in pipeline mode: psycopg's `sync` (3.3) does not send what the socket
        did not take yet, and hangs.
        """
        due = (
            zip(self.commands, self._digests, strict=True) if self._posters is None else self._permitted(self._posters)
        )
        answer = None
        for number, (command, its_digest) in enumerate(due, 1):
            settled = self._settled.get(command.command_id)
            if settled is None:
                outcome = self._decide(connection, command, its_digest)
                self._settled[command.command_id] = (its_digest, outcome)
            else:
                outcome = self._settled_before(command, its_digest, settled)
            self.outcomes.append(outcome)
            if sends and number % SLICE == 0:
                answer = self._send(connection) or answer
        if sends:
            answer = self._send(connection) or answer
        if answer is not None:
            answer.fetchone()

    def _permitted(self, posters: Sequence[Poster | None]) -> Iterator[tuple[Command, bytes]]:
        """The commands that their posters may post, each asked for when those before it are decided.

        The others get their outcome here, and leave nothing by which a later command of the same id could be answered.
        """
        for command, its_digest, poster in zip(self.commands, self._digests, posters, strict=True):
            refusal = None if poster is None else not_permitted(poster, command, self._view)
            if refusal is None:
                yield command, its_digest
            else:
                self.outcomes.append(_refused(command.command_id, refusal))

    def _send(self, connection: Connection) -> journal.Cursor | None:
        """Send what was decided since the last slice, with the memories that no later command names."""
        decided = len(self.outcomes)
        rows, self._rows = self._rows, journal.Rows()
        ends = decided == len(self.commands)
        done = {tag: at for tag, at in self._touched.items() if ends or self._last_named.get(tag, decided) < decided}
        if not rows.received and not done:
            return None
        for tag in done:
            del self._touched[tag]
        after = self._view.next_position - 1 - len(rows.facts)
        appended = journal.arguments(rows, after=after, recorded_at=self._now)
        memories = memory.stored(self._view.memories, done, self._addresses)
        return connection.execute(APPEND_AND_STORE, appended | memories, prepare=True)

    def _settled_before(self, command: Command, its_digest: bytes, settled: tuple[bytes, Outcome]) -> Outcome:
        known_digest, outcome = settled
        if known_digest == its_digest:
            return outcome._replace(repeated=True)
        self._reused.append((command.command_id, its_digest))
        return _refused(command.command_id, CommandIdReused())

    def _decide(self, connection: Connection, command: Command, its_digest: bytes) -> Outcome:
        view, rows, command_id = self._view, self._rows, command.command_id
        try:
            decision = decide(command, view)
        except NotRecalled:
            # An earlier command of the batch opened or joined what this one asks about.
            self._recall_needs(connection, [command])
            decision = decide(command, view)
        if isinstance(decision, Refusal):
            rows.add_answer(command_id, its_digest, None, None, to_json(decision.as_dict()).decode())
            return _refused(command_id, decision)
        if not decision:
            rows.add_answer(command_id, its_digest, None, None)
            return Receipt(command_id, None, None)
        first = view.next_position
        for fact in decision:
            position = view.next_position
            tags = apply(view, fact, position, self._touched)
            rows.add_fact(fact, tags, command_id, command.actor)
        rows.add_answer(command_id, its_digest, first, position)
        return Receipt(command_id, first, position, leaves=self._leaves(len(decision)) if self._with_leaves else ())

    def _leaves(self, count: int) -> tuple[Hash, ...]:
        """Of the facts decided last, so many."""
        rows, after = self._rows, self._view.next_position - count
        recorded_at = moment(self._now)
        return tuple(
            leaf_hash(
                spelled(
                    position,
                    fact.__class__.__name__,
                    tags,
                    fact.effective_on.isoformat(),
                    recorded_at,
                    rows.command_ids[-1],
                    rows.actors[-1],
                    encode(fact),
                )
            )
            for position, (fact, tags) in enumerate(zip(rows.facts[-count:], rows.tags[-count:], strict=True), after)
        )


def _refused(command_id: str, refusal: Refusal) -> Refused:
    return Refused(command_id, refusal.code, refusal.sentence, refusal.detail)


def _known(command_id: str, first: int | None, last: int | None, refusal: Mapping[str, Any] | None) -> Outcome:
    if refusal is not None:
        return Refused(command_id, refusal["code"], refusal["sentence"], refusal["detail"])
    return Receipt(command_id, first, last)
