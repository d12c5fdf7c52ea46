"""A person is the connected component of the links active now: how components are read, joined and found apart."""

from collections import deque
from collections.abc import Collection, Iterable

from ledger.domain.decider import View
from ledger.domain.states import members_of

Graph = dict[str, dict[str, str]]
"""For each sid its neighbours, each with one link id that joins them."""


def graph_of(view: View, sids: Iterable[str]) -> Graph:
    """The active links among these identities, in a fixed order."""
    graph: Graph = {}
    for sid in sorted(sids):
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        graph[sid] = {other: link for link, other in reversed(identity["links"].items())}
    return graph


def components_of(view: View, sids: Iterable[str]) -> list[list[str]]:
    """The persons that these registered identities belong to, as a partition in a fixed order."""
    return sorted(list(person) for person in {tuple(members_of(view, sid)) for sid in sids})


def reached(graph: Graph, start: str) -> set[str]:
    """Every sid that links lead to from here, itself included."""
    found, queue = {start}, deque([start])
    while queue:
        for other in graph[queue.popleft()]:
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


def path(graph: Graph, start: str, goal: str) -> list[str]:
    """A shortest way from one sid to another along links: sid, link id, sid, ..., empty if there is none."""
    came: dict[str, list[str]] = {start: [start]}
    queue = deque([start])
    while queue:
        sid = queue.popleft()
        if sid == goal:
            return came[sid]
        for other in sorted(graph[sid]):
            if other not in came:
                came[other] = [*came[sid], graph[sid][other], other]
                queue.append(other)
    return []


def without(graph: Graph, links: Collection[str], view: View) -> Graph:
    """The same graph with these links revoked; a pair may be joined by other links still."""
    left: Graph = {}
    for sid in graph:
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        left[sid] = {other: link for link, other in identity["links"].items() if link not in links}
    return left
