"""Matter: identities are found to be different persons: unmerged, declared distinct, or no longer declared so.

An unmerge reaches a partition; it does not undo the last merge. It is never refused for what came after the merge.
"""

from collections.abc import Iterator
from itertools import combinations

from ledger.domain import commands as c
from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.components import components_of, graph_of, reached, without
from ledger.domain.decider import Decision, View, envelope, lacks_approvers
from ledger.domain.entries import wrong_date
from ledger.domain.identifiers import derived_id
from ledger.domain.limits import compensations, limit_changes, person_tags, whole_person_tags
from ledger.domain.states import members_of

UNMERGE_REFUSES = (
    r.EffectiveDateAbsurd,
    r.IdentityUnknown,
    r.ComponentChanged,
    r.PartitionIncomplete,
    r.PartNotConnected,
    r.ApproverMissing,
)
DECLARE_REFUSES = (r.EffectiveDateAbsurd, r.LinkToSelf, r.IdentityUnknown, r.IdentitiesAreLinked, r.ApproverMissing)
WITHDRAW_REFUSES = (
    r.EffectiveDateAbsurd,
    r.LinkToSelf,
    r.IdentityUnknown,
    r.DistinctNotDeclared,
    r.ApproverMissing,
)
APPROVERS_NEEDED = 1


def unmerge_identities_needs(command: c.UnmergeIdentities, view: View) -> Iterator[str]:
    """The whole person, her accounts of capped products and their counters."""
    return whole_person_tags(view, [sid for part in command.target for sid in part], capped_only=True)


def unmerge_identities(command: c.UnmergeIdentities, view: View) -> Decision:
    """Part one person into `target`. Links between parts are revoked, and cannot-links keep the matcher from rejoining."""
    if (refusal := wrong_date(command)) is not None:
        return refusal
    named = [sid for part in command.target for sid in part]
    for sid in named:
        if view.identity(sid) is None:
            return r.IdentityUnknown(sid=sid)
    before = components_of(view, named)
    target = sorted(sorted(part) for part in command.target)
    if (refusal := _not_this_person(before, target, named)) is not None:
        return refusal
    if target == before:
        return []
    revokes = _links_between(view, target)
    graph = without(graph_of(view, named), set(revokes), view)
    for part in target:
        apart = sorted(set(part) - reached(graph, part[0]))
        if apart:
            return r.PartNotConnected(part=part, apart=apart)
    if lacks_approvers(command, APPROVERS_NEEDED):
        return r.ApproverMissing(needed=APPROVERS_NEEDED)
    voids: e.Voids = command.voids or ("from_start" if command.cause == "false_match" else "from_date")
    fact = e.IdentitiesUnmerged(
        approvers=sorted(set(command.approvers)),
        before=before,
        cannot_links=_cannot_links(command, target),
        cause=command.cause,
        revokes=revokes,
        target=target,
        unmerge_id=derived_id("U", command.command_id),
        voids=voids,
        **envelope(command),
    )
    return [fact, *limit_changes(command, view, target), *compensations(command, view, target)]


def _not_this_person(before: list[list[str]], target: list[list[str]], named: list[str]) -> r.Refusal | None:
    if len(before) == 1 and sorted(named) == before[0] and all(target):
        return None
    if len(before) > 1 and before == target:
        return r.ComponentChanged(members=before)
    return r.PartitionIncomplete(members=before)


def _links_between(view: View, target: list[list[str]]) -> list[str]:
    """Every active link whose ends lie in different parts."""
    part_of = {sid: index for index, part in enumerate(target) for sid in part}
    found: set[str] = set()
    for sid, index in part_of.items():
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        found.update(link for link, other in identity["links"].items() if part_of[other] != index)
    return sorted(found)


def _cannot_links(command: c.UnmergeIdentities, target: list[list[str]]) -> list[e.CannotLink]:
    """One for every pair of sids in different parts."""
    return [
        e.CannotLink(distinct_id=derived_id("D", command.command_id, sid_a, sid_b), sid_a=sid_a, sid_b=sid_b)
        for one, other in combinations(target, 2)
        for sid_a in one
        for sid_b in other
    ]


def distinct_needs(command: c.DeclareDistinct | c.WithdrawDistinct, view: View) -> Iterator[str]:
    """The two persons."""
    return person_tags(view, [command.sid_a, command.sid_b])


def _wrong_pair(command: c.DeclareDistinct | c.WithdrawDistinct, view: View) -> r.Refusal | None:
    if (refusal := wrong_date(command)) is not None:
        return refusal
    if command.sid_a == command.sid_b:
        return r.LinkToSelf(sid=command.sid_a)
    for sid in (command.sid_a, command.sid_b):
        if view.identity(sid) is None:
            return r.IdentityUnknown(sid=sid)
    return None


def _declared(command: c.DeclareDistinct | c.WithdrawDistinct, view: View) -> list[str]:
    identity = view.identity(command.sid_a)
    assert identity is not None, f"{command.sid_a} is not registered"
    return sorted(distinct_id for distinct_id, other in identity["distinct"].items() if other == command.sid_b)


def declare_distinct(command: c.DeclareDistinct, view: View) -> Decision:
    """Two identities that are not linked are kept apart; declaring it again changes nothing."""
    if (refusal := _wrong_pair(command, view)) is not None:
        return refusal
    if command.sid_b in members_of(view, command.sid_a):
        return r.IdentitiesAreLinked(sid_a=command.sid_a, sid_b=command.sid_b)
    if lacks_approvers(command, APPROVERS_NEEDED):
        return r.ApproverMissing(needed=APPROVERS_NEEDED)
    if _declared(command, view):
        return []
    return [
        e.DistinctDeclared(
            approvers=sorted(set(command.approvers)),
            distinct_id=derived_id("D", command.command_id, command.sid_a, command.sid_b),
            reason=command.reason,
            sid_a=command.sid_a,
            sid_b=command.sid_b,
            **envelope(command),
        )
    ]


def withdraw_distinct(command: c.WithdrawDistinct, view: View) -> Decision:
    """Every cannot-link between the two, declared or left by an unmerge, is withdrawn."""
    if (refusal := _wrong_pair(command, view)) is not None:
        return refusal
    declared = _declared(command, view)
    if not declared:
        return r.DistinctNotDeclared(sid_a=command.sid_a, sid_b=command.sid_b)
    if lacks_approvers(command, APPROVERS_NEEDED):
        return r.ApproverMissing(needed=APPROVERS_NEEDED)
    return [
        e.DistinctWithdrawn(
            approvers=sorted(set(command.approvers)),
            distinct_ids=declared,
            reason=command.reason,
            sid_a=command.sid_a,
            sid_b=command.sid_b,
            **envelope(command),
        )
    ]
