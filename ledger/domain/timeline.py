"""Who was one person with whom, as it was known at a position and as it held on a date, from the facts alone.

1. The answer depends on the set of facts with their positions, not on their order or on repeats.
2. It is bitemporal: `known_at` chooses the facts, `as_of` the date on which their links must have held.
3. A link holds from its `effective_from`. An unmerge ends the links it revokes: from their start (`from_start`: they
   never held) or from its own effective date (`from_date`). A revoked link never comes back.
4. What an unmerge parted from the start is apart on every date, until its cannot-link is withdrawn: a link that ended
   before, and would join the two on an earlier date, gives way. Of several, the newest is kept.
5. Without `as_of` dates do not matter: what the ledger believed at that position, which is what memory holds of now.
6. Every identity registered by `known_at` is there on every date: accounts older than the registration belong to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date

from ledger.domain.events import (
    CannotLink,
    DistinctWithdrawn,
    Fact,
    IdentitiesLinked,
    IdentitiesMerged,
    IdentitiesUnmerged,
    Link,
    SourceIdentityRegistered,
)

Apart = Mapping[str, set[str]]
"""For each sid those from whom it was parted from the start."""


def partition_at(facts: Iterable[tuple[int, Fact]], *, known_at: int | None, as_of: date | None) -> list[list[str]]:
    """All persons, each as her sids in sid order, from facts with their positions; None stands for no bound."""
    sids: set[str] = set()
    links: dict[str, tuple[int, Link]] = {}
    ended: dict[str, date] = {}
    parted: list[CannotLink] = []
    withdrawn: set[str] = set()
    for position, fact in facts:
        if known_at is not None and position > known_at:
            continue
        match fact:
            case SourceIdentityRegistered():
                sids.add(fact.sid)
            case IdentitiesLinked() | IdentitiesMerged():
                links.update((link.link_id, (position, link)) for link in fact.links)
            case IdentitiesUnmerged():
                from_start = fact.voids == "from_start"
                ended.update(dict.fromkeys(fact.revokes, date.min if from_start else fact.effective_on))
                parted += fact.cannot_links if from_start else ()
            case DistinctWithdrawn():
                withdrawn.update(fact.distinct_ids)
            case _:
                pass
    apart: defaultdict[str, set[str]] = defaultdict(set)
    for pair in parted:
        if pair.distinct_id not in withdrawn:
            apart[pair.sid_a].add(pair.sid_b)
            apart[pair.sid_b].add(pair.sid_a)
    standing_first = sorted(links.items(), key=lambda item: (item[0] in ended, -item[1][0], item[0]))
    held = [link for link_id, (_, link) in standing_first if _holds(link, ended.get(link_id), as_of)]
    return _components(sids, held, apart)


def _holds(link: Link, ended_on: date | None, as_of: date | None) -> bool:
    if as_of is None:
        return ended_on is None
    return link.effective_from <= as_of and (ended_on is None or as_of < ended_on)


def _components(sids: Iterable[str], links: Iterable[Link], apart: Apart) -> list[list[str]]:
    """Join along each link that keeps apart what must be; the smaller side is relabelled."""
    person = {sid: [sid] for sid in sids}
    for link in links:
        large, small = sorted((person[link.sid_a], person[link.sid_b]), key=len, reverse=True)
        if large is not small and all(apart[sid].isdisjoint(large) for sid in small if sid in apart):
            large += small
            for sid in small:
                person[sid] = large
    return sorted(sorted(members) for members in {id(members): members for members in person.values()}.values())
