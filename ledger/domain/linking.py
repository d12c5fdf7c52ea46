"""Matter: identities are found to be one person, by the matcher (linked) or by a human (merged).

Both add links and fold alike. Neither is ever refused for a limit of a product; what the joined person then breaches is
recorded by the same decision.
"""

from collections.abc import Iterator

from ledger.domain import refusals as r
from ledger.domain.commands import LinkIdentities, MergeIdentities
from ledger.domain.components import Graph, components_of, graph_of, path, reached
from ledger.domain.decider import Decision, View, envelope, lacks_approvers
from ledger.domain.entries import wrong_date
from ledger.domain.events import Fact, IdentitiesLinked, IdentitiesMerged, Link
from ledger.domain.identifiers import derived_id
from ledger.domain.limits import limit_changes, whole_person_tags
from ledger.domain.rules import limit

LINK_REFUSES = (
    r.EffectiveDateAbsurd,
    r.LinkToSelf,
    r.IdentityUnknown,
    r.ComponentChanged,
    r.LinksNotConnected,
    r.CannotLinkActive,
    r.ComponentTooLarge,
)
MERGE_REFUSES = (*LINK_REFUSES, r.ApproverMissing)
STEWARD_APPROVERS = 1
STEWARD_APPROVERS_FUNDED = 2

Join = LinkIdentities | MergeIdentities


def join_needs(command: Join, view: View) -> Iterator[str]:
    """Every person concerned, whole: identities, all accounts, and the counters of capped ones."""
    sids = sorted({sid for link in command.links for sid in (link.sid_a, link.sid_b)})
    return whole_person_tags(view, sids, capped_only=False)


def link_identities(command: LinkIdentities, view: View) -> Decision:
    """The matcher's decision; it takes no approvers, and its person may not grow past the reviewed size."""
    joined = _joined(command, view, "link.component.max_sids")
    if isinstance(joined, r.Refusal):
        return joined
    before, after, links = joined
    fact = IdentitiesLinked(after=after, basis=command.basis, before=before, links=links, **envelope(command))
    return [fact, *_follows(command, view, before, after)]


def merge_identities(command: MergeIdentities, view: View) -> Decision:
    """A human's decision; a steward needs an approver, and two where an account of the persons holds money."""
    joined = _joined(command, view, "merge.component.max_sids")
    if isinstance(joined, r.Refusal):
        return joined
    before, after, links = joined
    if command.basis == "steward":
        needed = STEWARD_APPROVERS_FUNDED if _funded(view, after[0]) else STEWARD_APPROVERS
        if lacks_approvers(command, needed):
            return r.ApproverMissing(needed=needed)
    fact = IdentitiesMerged(
        after=after,
        approvers=sorted(set(command.approvers)),
        basis=command.basis,
        before=before,
        links=links,
        merge_id=derived_id("M", command.command_id),
        reason=command.reason,
        **envelope(command),
    )
    return [fact, *_follows(command, view, before, after)]


def _follows(command: Join, view: View, before: list[list[str]], after: list[list[str]]) -> list[Fact]:
    """Joining what was one person already adds evidence; nothing else changes."""
    return [] if before == after else limit_changes(command, view, after)


def _funded(view: View, sids: list[str]) -> bool:
    for sid in sids:
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        for account_id in identity["accounts"]:
            account = view.account(account_id)
            if account is not None and any(account["balances_fen"].values()):
                return True
    return False


def _joined(
    command: Join, view: View, size_rule: str
) -> tuple[list[list[str]], list[list[str]], list[Link]] | r.Refusal:
    """The partition before and after, and the links; or the first refusal that applies."""
    if (refusal := wrong_date(command) or _wrong_ends(command, view)) is not None:
        return refusal
    before = components_of(view, [sid for asked in command.links for sid in (asked.sid_a, asked.sid_b)])
    concerned = sorted(sid for person in before for sid in person)
    if command.members is not None and sorted(set(command.members)) != concerned:
        return r.ComponentChanged(members=concerned, believed=sorted(set(command.members)))
    links = _links(command)
    graph = graph_of(view, concerned)
    for link in links:
        graph[link.sid_a].setdefault(link.sid_b, link.link_id)
        graph[link.sid_b].setdefault(link.sid_a, link.link_id)
    apart = sorted(set(concerned) - reached(graph, concerned[0]))
    if apart:
        return r.LinksNotConnected(apart=apart)
    if (refusal := _forbidden(view, graph, concerned)) is not None:
        return refusal
    most = limit(size_rule, command.effective_on)
    if most is not None and len(concerned) > most.value and len(before) > 1:
        return r.ComponentTooLarge(rule=most.id, max=most.value, size=len(concerned))
    return before, [concerned], links


def _wrong_ends(command: Join, view: View) -> r.Refusal | None:
    """LinkToSelf, then IdentityUnknown."""
    for asked in command.links:
        if asked.sid_a == asked.sid_b:
            return r.LinkToSelf(sid=asked.sid_a)
    for asked in command.links:
        for sid in (asked.sid_a, asked.sid_b):
            if view.identity(sid) is None:
                return r.IdentityUnknown(sid=sid)
    return None


def _links(command: Join) -> list[Link]:
    """Each link gets an id of its own from the command, so that a revoked id never comes back."""
    return [
        Link(
            effective_from=command.effective_on,
            evidence_ref=asked.evidence_ref,
            link_id=derived_id("L", command.command_id, index),
            model_version=asked.model_version,
            score_id=asked.score_id,
            sid_a=asked.sid_a,
            sid_b=asked.sid_b,
            weight=asked.weight,
        )
        for index, asked in enumerate(command.links)
    ]


def _forbidden(view: View, graph: Graph, concerned: list[str]) -> r.Refusal | None:
    """A cannot-link inside the joined person refuses it, with the path of links that would prove the two one."""
    together = set(concerned)
    for sid in concerned:
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        for distinct_id, other in identity["distinct"].items():
            if other in together:
                return r.CannotLinkActive(distinct_id=distinct_id, sid_a=sid, sid_b=other, path=path(graph, sid, other))
    return None
