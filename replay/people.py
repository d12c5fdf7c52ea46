"""Rebuild who is who from the identity facts, and compare it with the projection of people.

1. Who is one person with whom follows from the links and unmerges that stand, by the domain's own timeline, and not from
   the partitions that the facts name beside them.
2. Memory holds a few short texts for every identity and account up to the projection's position.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ledger.domain import events as e
from ledger.domain.timeline import partition_at
from replay.differences import Differences, Keyed, compare_keyed
from replay.facts import Connection, Positioned, following, read_facts
from replay.projections import Slot

PEOPLE: Final = "people"
TYPES: Final = (
    "AccountOpened",
    "DistinctWithdrawn",
    "IdentitiesLinked",
    "IdentitiesMerged",
    "IdentitiesUnmerged",
    "SourceIdentityRegistered",
)


class _Identity(NamedTuple):
    """A registration."""

    one_id: str
    provider: str
    tier: str
    position: int


class _Known:
    """What the identity facts say, noted while they pass."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.identities: dict[str, _Identity] = {}
        self.accounts: dict[str, str] = {}
        self.changed: dict[str, int] = {}

    def noted(self, connection: Connection, until: int) -> Iterator[Positioned]:
        """The facts up to a position, once each."""
        for facts in read_facts(connection, until=until, types=TYPES):
            for position, fact in facts:
                self._note(position, fact)
                yield position, fact

    def _note(self, position: int, fact: e.Fact) -> None:
        match fact:
            case e.SourceIdentityRegistered():
                registered = _Identity(fact.one_id, fact.provider, fact.verification_tier, position)
                self.identities[fact.sid] = registered
                self.changed[fact.sid] = position
            case e.AccountOpened():
                self.accounts[fact.account] = f"{fact.sid}\t{fact.product}\t{position}"
            case e.IdentitiesLinked() | e.IdentitiesMerged():
                self.changed.update((sid, position) for part in fact.after for sid in part)
            case e.IdentitiesUnmerged():
                self.changed.update((sid, position) for part in fact.target for sid in part)
            case _:
                pass


def compare_people(connection: Connection, slot: Slot, found: Differences) -> None:
    """Compare both tables of the slot, row by row where they differ. Raises HistoryBroken."""
    known = _Known()
    identities = known.identities
    composed: dict[str, str] = {}
    with following(f"who is one person with whom up to position {slot.position}"):
        persons = partition_at(known.noted(connection, slot.position), known_at=None, as_of=None)
        for members in persons:
            oldest = min((identities[sid] for sid in members), key=lambda identity: identity.position)
            text = f"{oldest.one_id}\t{{{','.join(members)}}}"
            composed.update(dict.fromkeys(members, text))

    def spelled(sids: Sequence[str]) -> list[str]:
        return [
            f"{identity.one_id}\t{composed[sid]}\t{identity.provider}\t{identity.tier}\t"
            f"{identity.position}\t{known.changed[sid]}"
            for sid in sids
            for identity in (identities[sid],)
        ]

    rows = Keyed(
        "people, identity",
        rows=f"person_identity_{slot.slot}",
        key="sid",
        rest="one_id || E'\\t' || person || E'\\t' || members::text || E'\\t' || provider || E'\\t' || verification_tier"
        " || E'\\t' || registered_position || E'\\t' || changed_position",
    )
    compare_keyed(connection, rows, sorted(identities), spelled, found)
    rows = Keyed(
        "people, account",
        rows=f"person_account_{slot.slot}",
        key="account",
        rest="sid || E'\\t' || product || E'\\t' || opened_position",
    )
    accounts = known.accounts
    compare_keyed(connection, rows, sorted(accounts), lambda names: [accounts[name] for name in names], found)
