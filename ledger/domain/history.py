"""The balance sheet of one person out of facts alone, on both time axes: as it was known at a position, and on a date.

1. The sheet depends on the set of facts with their positions, not on their order, on repeats or on facts of others.
2. `known_at` P takes the facts with position <= P, `as_of` V those with effective_on <= V, folded in position order. None
   is no bound. A fact counts by its own date alone: the reversal of an entry that V leaves out may bring a balance below 0.
3. Without `as_of` it is, byte for byte, the sheet that memory gave when the journal's head was P.
4. She is composed as `timeline.partition_at` says; every identity registered by P is there on every date.
5. An account is there from its `opened_on` or its opening's effective_on, the earlier. Before, it is not on the sheet, and
   none of its facts counts. The account that a change of bank leaves is replaced from the opening's effective_on.
6. With `as_of`, a breach or flag is on the sheet as recorded, if all it names is hers and there on V: parts that are apart
   see nothing of each other. What a false match rescinded of a part's own, and its unmerge recorded anew, never ceased.
7. A fact that this version cannot read is left out, and the sheet says so.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from ledger.domain.decider import State
from ledger.domain.events import (
    AccountOpened,
    DuplicateAccountFlagged,
    DuplicateAccountRescinded,
    Fact,
    IdentitiesLinked,
    IdentitiesMerged,
    IdentitiesUnmerged,
    LimitBreachRecorded,
    LimitBreachRescinded,
    SourceIdentityRegistered,
)
from ledger.domain.identifiers import one_id_of, tags_of
from ledger.domain.sheet import BalanceSheet, MissingLine, balance_sheet
from ledger.domain.states import FOLDS_OF
from ledger.domain.timeline import partition_at

Positioned = tuple[int, Fact]


class Unreadable(NamedTuple):
    """A fact whose stored bytes this version cannot read: its position, and one of the tags it bears."""

    position: int
    about: str


def sids_linked(facts: Iterable[Positioned]) -> set[str]:
    """Every sid that these facts ever joined to another or parted from one.

    Gather the facts of these too, and ask again until nothing new is named: that closure is what `sheet_at` needs.
    """
    return {
        tag.removeprefix("identity:")
        for _, fact in facts
        if isinstance(fact, IdentitiesLinked | IdentitiesMerged | IdentitiesUnmerged)
        for tag in tags_of(fact)
        if tag.startswith("identity:")
    }


def sheet_at(
    facts: Iterable[Positioned],
    sid: str,
    *,
    known_at: int | None,
    as_of: date | None,
    unreadable: Sequence[Unreadable] = (),
) -> BalanceSheet | None:
    """The sheet of the person to whom `sid` belongs, from all facts tagged with an identity of the closure or its accounts.

    None if the sid is not registered by `known_at`, or if no registration of the person's identities can be read.
    """
    known = sorted({at: fact for at, fact in facts if known_at is None or at <= known_at}.items())
    unread = [each for each in unreadable if known_at is None or each.position <= known_at]
    members = _members(known, sid, as_of)
    openings = [fact for _, fact in known if isinstance(fact, AccountOpened) and fact.sid in members]
    there = [fact.account for fact in openings if as_of is None or min(fact.opened_on, fact.effective_on) <= as_of]
    tags = {f"identity:{member}": member for member in members}
    states = _folded(known, {*tags, *(f"account:{account}" for account in there)}, as_of)
    identities = {member: states[tag] for tag, member in tags.items() if tag in states}
    if not identities:
        return None
    silent = tags.keys() - states.keys() - {each.about for each in unread}
    assert not silent, f"linked, but neither registered nor unreadable: {silent}"
    later = {f"account:{fact.account}" for fact in openings} - states.keys()
    gaps = {each for each in unread if each.about in tags or each.about in states or each.about in later}
    return balance_sheet(
        identities,
        {account: states[f"account:{account}"] for account in there},
        missing=[
            *(MissingLine(about=about, code="account_opened_later", position=None) for about in later),
            *(MissingLine(about=gap.about, code="fact_unreadable", position=gap.position) for gap in gaps),
        ],
    )


def _members(known: Sequence[Positioned], sid: str, as_of: date | None) -> list[str]:
    """The sids of the person; an identity whose registration cannot be read still joins those that are linked to it."""
    registered = {fact.sid for _, fact in known if isinstance(fact, SourceIdentityRegistered)}
    unregistered = [(0, _nameless(linked, known[0][1])) for linked in sids_linked(known) - registered]
    persons = partition_at([*known, *unregistered], known_at=None, as_of=as_of)
    return next((members for members in persons if sid in members), [])


def _nameless(sid: str, like: Fact) -> Fact:
    """Stands for a registration where only its sid matters."""
    return SourceIdentityRegistered(
        decided_at=like.decided_at,
        effective_on=like.effective_on,
        one_id=one_id_of(sid),
        provider="unread",
        sid=sid,
        verification_tier="unverified",
    )


def _folded(known: Sequence[Positioned], hers: set[str], as_of: date | None) -> dict[str, State]:
    """What these tags remember on the date. A memory begins with its registration or opening; nothing folds without."""
    undone = set() if as_of is None else _undone(known)
    states: dict[str, State] = {}
    for position, fact in known:
        if position in undone or (as_of is not None and _names_others(fact, hers)):
            continue
        folds, timeless = FOLDS_OF[fact.__class__], _timeless(fact)
        effective = as_of is None or fact.effective_on <= as_of
        for tag in tags_of(fact):
            if tag not in hers or not (effective or tag in timeless):
                continue
            kind, _, key = tag.partition(":")
            state, fold = states.get(tag), folds.get(kind)
            if fold is not None and (state is not None or tag in timeless[:1]):
                states[tag] = fold(state, fact, position, key)
    return states


def _timeless(fact: Fact) -> tuple[str, ...]:
    """The tags for which a fact counts on every date: first the one whose memory it begins."""
    match fact:
        case SourceIdentityRegistered():
            return (f"identity:{fact.sid}",)
        case AccountOpened():
            return (f"account:{fact.account}", f"identity:{fact.sid}")
        case _:
            return ()


def _names_others(fact: Fact, hers: set[str]) -> bool:
    """Whether a breach or flag names what is not hers, or not there."""
    match fact:
        case LimitBreachRecorded():
            return not hers.issuperset(f"identity:{sid}" for sid in fact.sids)
        case DuplicateAccountFlagged():
            return not hers.issuperset(f"account:{account}" for account in fact.account_ids)
        case _:
            return False


def _undone(known: Sequence[Positioned]) -> set[int]:
    """The positions of the rescissions that an unmerge from the start took back, and of the records by which it did.

    A decision's breaches and flags follow its first fact; what says the same bears the same id.
    """
    undone: set[int] = set()
    rescinded: dict[str, int] = {}
    voiding = False
    for position, fact in known:
        match fact:
            case LimitBreachRescinded(breach_id=key) | DuplicateAccountRescinded(flag_id=key):
                rescinded[key] = position
            case LimitBreachRecorded(breach_id=key) | DuplicateAccountFlagged(flag_id=key):
                before = rescinded.pop(key, None)
                if voiding and before is not None:
                    undone |= {before, position}
            case _:
                voiding = isinstance(fact, IdentitiesUnmerged) and fact.voids == "from_start"
    return undone
