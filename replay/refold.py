"""Rebuild every memory from the journal with the domain's own folds, and compare with what the database holds.

1. Nothing but the stored facts is read to rebuild.
2. Facts are folded in position order; the journal is read in slices, so memory holds the states and one slice.
3. A journal that cannot be refolded is a finding with a position, like any other, and not a crash.
4. Double entry agrees: for every account and part, the postings of its facts add up to the folded balance, and all
   postings of the ledger add up to zero.
5. The tags that stand beside a fact are those that follow from its data.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.domain.decider import State
from ledger.domain.events import FACTS
from ledger.domain.identifiers import tags_of
from ledger.domain.postings import postings
from ledger.domain.states import fold_fact, spell_lines
from replay.differences import MAX_DIFFERENCES, Difference, Differences, Keyed, compare_keyed
from replay.facts import COUNT, Connection, HistoryBroken, head, one, read_beside, read_facts

Sums = dict[str, dict[str, int]]
"""For each account and part, what its postings add up to in fen."""

# What the missing facts were about is still in the tag index, unless that was changed too.
READ_MISSING = b"""
SELECT missing.position, coalesce(string_agg(event_tag.tag, ', ' ORDER BY event_tag.tag), 'nothing')
FROM (
    SELECT position
    FROM generate_series(1, %s) AS given (position)
    WHERE NOT EXISTS (SELECT FROM event WHERE event.position = given.position)
    ORDER BY position
    LIMIT %s
) AS missing
LEFT JOIN event_tag ON event_tag.position = missing.position
GROUP BY missing.position
ORDER BY missing.position
"""

# In the order of the primary key, without a sort. An array's text is unambiguous.
TAGS = rb"""
SELECT coalesce(string_agg(tags::text, E'\x1e'), '')
FROM (
    SELECT tags
    FROM event
    WHERE position > %s AND position <= %s AND type = ANY (%s)
    ORDER BY position
) AS fact
"""
TAG_ROWS = b"""
SELECT position::text, tags::text
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
ORDER BY position
"""

READ_BEYOND = b"""
SELECT position
FROM event
WHERE position < 1 OR position > %s
ORDER BY position
LIMIT %s
"""

MEMORY: Final = Keyed("memory", rows="memory", key="tag", rest="position || E'\\t' || state")


@dataclass
class Refolded:
    """What the journal alone says: for each tag the state and the position folded in last."""

    facts: int = 0
    states: dict[str, State | None] = field(default_factory=lambda: defaultdict(lambda: None))
    positions: dict[str, int] = field(default_factory=dict)


def refold(
    connection: Connection,
    *,
    until: int | None = None,
    progress: Callable[[int], Any] = lambda _facts: None,
    found: Differences | None = None,
) -> Refolded:
    """Fold all facts up to a position, by default the journal's end; with `found`, compare their tags with those stored.

    Raises HistoryBroken.
    """
    refolded = Refolded()
    states = refolded.states
    positions = refolded.positions
    unlike: list[tuple[int, int]] = []

    def stored(after: int, until: int) -> str:
        return "" if found is None else str(one(connection, TAGS, (after, until, list(FACTS))))

    for bounds, facts, stored_tags in read_beside(
        connection, stored, until=head(connection) if until is None else until
    ):
        tags: list[str] = []
        for position, fact in facts:
            try:
                its = fold_fact(fact, position, states, positions)
            except Exception as error:
                # Facts that contradict each other break a fold in many ways, and each is the finding looked for.
                raise HistoryBroken(position, f"{type(fact).__name__} does not follow ({error!r})") from error
            if found is not None:
                # As text at once: ten thousand lists that are kept keep the garbage collector busy.
                tags.append(",".join(its))
        refolded.facts += len(facts)
        progress(len(facts))
        if found is not None and stored_tags != "\x1e".join([f"{{{each}}}" for each in tags]):
            unlike.append(bounds)
    if found is not None:
        for after, end in unlike[:MAX_DIFFERENCES]:
            _compare_tags(connection, after, end, found)
    return refolded


def _compare_tags(connection: Connection, after: int, until: int, found: Differences) -> None:
    """The tags of a slice, fact by fact."""
    rows = connection.execute(TAG_ROWS, (after, until, list(FACTS))).fetchall()
    (facts,) = read_facts(connection, after=after, until=until)
    expected = {str(position): f"{{{','.join(tags_of(fact))}}}" for position, fact in facts}
    found.compare("event", rows, expected, "tags of position ")


def missing(connection: Connection, *, until: int) -> list[str]:
    """Every position up to this one that holds no fact, with what that was about, and every fact beyond; up to a bound."""
    beyond = connection.execute(READ_BEYOND, (until, MAX_DIFFERENCES)).fetchall()
    found = [f"position {position} lies beyond the journal's end, {until}" for (position,) in beyond]
    if one(connection, COUNT, (until,)) == until:
        return found
    rows = connection.execute(READ_MISSING, (until, MAX_DIFFERENCES)).fetchall()
    return [*found, *(f"position {position} is missing; it was about {tags}" for position, tags in rows)]


def differences(connection: Connection, refolded: Refolded) -> list[Difference]:
    """Every memory that differs from the refolded one, byte for byte, up to a bound; both of one snapshot."""
    found = Differences()
    compare_memory(connection, refolded, found)
    return found.found


def compare_memory(connection: Connection, refolded: Refolded, found: Differences) -> None:
    """As `differences`, added to what was found."""

    def spelled(tags: Sequence[str]) -> list[str]:
        states = [state for tag in tags if (state := refolded.states[tag]) is not None]
        spelled = spell_lines(states).split("\n") if states else []
        return [f"{refolded.positions[tag]}\t{state}" for tag, state in zip(tags, spelled, strict=True)]

    compare_keyed(connection, MEMORY, sorted(refolded.positions), spelled, found)


def unbalanced(connection: Connection, refolded: Refolded, *, until: int) -> list[str]:
    """Every account and part whose postings do not add up to its folded balance, and the trial balance if not zero."""
    sums: Sums = {}
    for facts in read_facts(connection, until=until):
        for _, fact in facts:
            for account, part, fen in postings(fact):
                parts = sums.setdefault(account, {})
                parts[part] = parts.get(part, 0) + fen
    return unequal(refolded, sums)


def unequal(refolded: Refolded, sums: Mapping[str, Mapping[str, int]]) -> list[str]:
    """As `unbalanced`, with the sums of all postings at hand."""
    trial = sum(sum(parts.values()) for parts in sums.values())
    found = [f"the trial balance is {trial} fen, not zero"] if trial else []
    nothing: dict[str, int] = {}
    for tag, state in refolded.states.items():
        if state is None or not tag.startswith("account:"):
            continue
        account = tag.removeprefix("account:")
        posted, balances = sums.get(account, nothing), state["balances_fen"]
        if posted != balances:
            found += [
                f"{account} {part}: postings {posted.get(part, 0)}, balance {balances.get(part, 0)}"
                for part in balances | posted
                if posted.get(part, 0) != balances.get(part, 0)
            ]
    return found[:MAX_DIFFERENCES]
