"""What entities remember: the fold of every fact tagged with them, in position order.

1. A memory is the fold of the facts that carry its tag, and of nothing else; so any one memory can be refolded alone.
2. Folding never changes its input: it returns a new state, which shares what did not change.
3. A memory's size does not grow with the number of facts folded into it, but for one number a calendar year.
4. Live folding and refolding spell a state alike, byte for byte.

States are plain JSON objects; the TypedDicts write their fields down for the reader, the type checker sees `State`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import msgspec

from ledger.domain import events as e
from ledger.domain.decider import NotRecalled, State, View
from ledger.domain.identifiers import tags_of
from ledger.domain.rules import PRODUCTS


class AccountState(TypedDict):
    """Balances by part and totals to date, in fen; `status` is open, frozen or closed.

    Totals are kept of benefits, contributions, fees, returns, transferred_in and transferred_out; one that nothing was
    ever added to is absent.
    """

    balances_fen: dict[str, int]
    contributed_fen: NotRequired[dict[str, int]]
    duplicate: NotRequired[dict[str, Any]]
    employer: NotRequired[str]
    ending_benefits: NotRequired[int]
    institution: str
    opened_on: str
    opened_position: int
    plan: NotRequired[str]
    product: str
    replaced_by: NotRequired[str]
    replaces: NotRequired[str]
    sid: str
    status: str
    totals_fen: dict[str, int]


class IdentityState(TypedDict):
    """Who she is linked with: the members of the component, and the links and cannot-links at this identity.

    `profile` is what was declared last, with the date from which it holds, or else only the date of its withdrawal; absent
    where nothing was ever declared.
    """

    accounts: dict[str, str]
    breaches: dict[str, Any]
    distinct: dict[str, str]
    links: dict[str, str]
    members: list[str]
    one_id: str
    profile: NotRequired[dict[str, str]]
    provider: str
    registered_position: int
    verification_tier: str


class EntryState(TypedDict):
    """`reversed_by` is the position of the reversal."""

    reversed_by: int


class QuotaState(TypedDict):
    """The year's contributions as [position, fen], in order, and refunds of a breach's excess as [position, fen]."""

    entries: list[list[int]]
    refunds: list[list[int]]


class BooksState(TypedDict):
    """How far the books are closed, and by which fact over which tree; nothing is remembered while all is open."""

    closed_through: str
    position: int
    root: str
    tree_size: int


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()

Fold = Callable[[Any, Any, int, str], State]


def _moved(account: State, amounts: Mapping[str, int], sign: int, total: str, total_fen: int) -> State:
    """Add signed amounts to the parts, and `total_fen` to one of the totals to date."""
    moved = account.copy()
    moved["balances_fen"] = balances = account["balances_fen"].copy()
    for part, fen in amounts.items():
        balances[part] += sign * fen
    moved["totals_fen"] = totals = account["totals_fen"].copy()
    totals[total] = totals.get(total, 0) + total_fen
    return moved


def _account_opened(account: State | None, fact: e.AccountOpened, position: int, key: str) -> State:
    if fact.account != key:  # the account that a change of bank leaves behind
        assert account is not None
        return {**account, "replaced_by": fact.account}
    state: State = {
        "balances_fen": dict.fromkeys((part.code for part in PRODUCTS[fact.product].parts), 0),
        "institution": fact.institution,
        "opened_on": fact.opened_on.isoformat(),
        "opened_position": position,
        "product": fact.product,
        "sid": fact.sid,
        "status": "open",
        "totals_fen": {},
    }
    optional = {"employer": fact.employer, "plan": fact.plan, "replaces": fact.replaces}
    return state | {name: value for name, value in optional.items() if value is not None}


def _contribution(account: State, fact: e.ContributionPosted, sign: int) -> State:
    total = sum(fact.amounts_fen.values())
    moved = _moved(account, fact.amounts_fen, sign, "contributions", sign * total)
    if fact.quota is not None:
        year = str(fact.effective_on.year)
        used = account.get("contributed_fen", {})
        moved["contributed_fen"] = dict(sorted({**used, year: used.get(year, 0) + sign * total}.items()))
    return moved


def _returns(account: State, fact: e.ReturnsCredited, sign: int) -> State:
    gained = sum(fact.gains_fen.values())
    lost = sum(fact.losses_fen.values())
    return _moved(
        _moved(account, fact.gains_fen, sign, "returns", sign * gained), fact.losses_fen, -sign, "returns", -sign * lost
    )


def _fee(account: State, fact: e.FeeCharged, sign: int) -> State:
    return _moved(account, fact.amounts_fen, -sign, "fees", sign * sum(fact.amounts_fen.values()))


def _vesting(account: State, fact: e.EmployerPartVested, sign: int) -> State:
    return _moved(account, {fact.from_part: -fact.amount_fen, fact.to_part: fact.amount_fen}, sign, "contributions", 0)


def _transfer(account: State, fact: e.BalanceTransferred, sign: int, key: str) -> State:
    total = sum(fact.amounts_fen.values())
    if fact.from_account == key:
        return _moved(account, fact.amounts_fen, -sign, "transferred_out", sign * total)
    return _moved(account, fact.credits_fen, sign, "transferred_in", sign * total)


def _benefit(account: State, fact: e.BenefitPaid, sign: int) -> State:
    moved = _moved(account, fact.amounts_fen, -sign, "benefits", sign * fact.gross_fen)
    if fact.ends_contributions:
        standing = moved.pop("ending_benefits", 0) + sign
        if standing:
            moved["ending_benefits"] = standing
    return moved


def entry_of(reversed_entry: e.ReversedEntry) -> e.Entry:
    """The one entry that a reversal holds."""
    held = (
        reversed_entry.contribution
        or reversed_entry.returns
        or reversed_entry.fee
        or reversed_entry.vesting
        or reversed_entry.transfer
        or reversed_entry.benefit
    )
    assert held is not None, "a reversal holds the entry it negates"
    return held


def _entry(account: State, entry: e.Entry, sign: int, key: str) -> State:
    """Apply an entry (sign 1) or its exact negation (sign -1)."""
    match entry:
        case e.ContributionPosted():
            return _contribution(account, entry, sign)
        case e.ReturnsCredited():
            return _returns(account, entry, sign)
        case e.FeeCharged():
            return _fee(account, entry, sign)
        case e.EmployerPartVested():
            return _vesting(account, entry, sign)
        case e.BalanceTransferred():
            return _transfer(account, entry, sign, key)
        case e.BenefitPaid():
            return _benefit(account, entry, sign)


def _account_reversed(account: State, fact: e.EntryReversed, _position: int, key: str) -> State:
    return _entry(account, entry_of(fact.entry), -1, key)


def _account_flagged(account: State, fact: e.DuplicateAccountFlagged, _position: int, _key: str) -> State:
    return {**account, "duplicate": {"account_ids": fact.account_ids, "flag_id": fact.flag_id}}


def _account_unflagged(account: State, fact: e.DuplicateAccountRescinded, _position: int, _key: str) -> State:
    if account.get("duplicate", {}).get("flag_id") != fact.flag_id:
        return account
    return {name: value for name, value in account.items() if name != "duplicate"}


ACCOUNT: dict[type[e.Fact], Fold] = {
    e.AccountOpened: _account_opened,
    e.ContributionPosted: lambda s, f, _p, _k: _contribution(s, f, 1),
    e.ReturnsCredited: lambda s, f, _p, _k: _returns(s, f, 1),
    e.FeeCharged: lambda s, f, _p, _k: _fee(s, f, 1),
    e.EmployerPartVested: lambda s, f, _p, _k: _vesting(s, f, 1),
    e.BalanceTransferred: lambda s, f, _p, k: _transfer(s, f, 1, k),
    e.BenefitPaid: lambda s, f, _p, _k: _benefit(s, f, 1),
    e.EntryReversed: _account_reversed,
    e.AccountFrozen: lambda s, _f, _p, _k: {**s, "status": "frozen"},
    e.AccountUnfrozen: lambda s, _f, _p, _k: {**s, "status": "open"},
    e.AccountClosed: lambda s, _f, _p, _k: {**s, "status": "closed"},
    e.DuplicateAccountFlagged: _account_flagged,
    e.DuplicateAccountRescinded: _account_unflagged,
}


def _registered(_identity: State | None, fact: e.SourceIdentityRegistered, position: int, key: str) -> State:
    return {
        "accounts": {},
        "breaches": {},
        "distinct": {},
        "links": {},
        "members": [key],
        "one_id": fact.one_id,
        "provider": fact.provider,
        "registered_position": position,
        "verification_tier": fact.verification_tier,
    }


def _members(partition: list[list[str]], key: str) -> list[str]:
    return next(part for part in partition if key in part)


def _other(pair: e.Link | e.CannotLink | e.DistinctDeclared, key: str) -> str | None:
    if pair.sid_a == key:
        return pair.sid_b
    return pair.sid_a if pair.sid_b == key else None


def _joined(identity: State, fact: e.IdentitiesLinked | e.IdentitiesMerged, _position: int, key: str) -> State:
    links = {link.link_id: other for link in fact.links if (other := _other(link, key)) is not None}
    return {
        **identity,
        "links": dict(sorted({**identity["links"], **links}.items())),
        "members": _members(fact.after, key),
    }


def _unmerged(identity: State, fact: e.IdentitiesUnmerged, _position: int, key: str) -> State:
    revoked = set(fact.revokes)
    apart = {pair.distinct_id: other for pair in fact.cannot_links if (other := _other(pair, key)) is not None}
    return {
        **identity,
        "distinct": dict(sorted({**identity["distinct"], **apart}.items())),
        "links": {link: other for link, other in identity["links"].items() if link not in revoked},
        "members": _members(fact.target, key),
    }


def _declared(identity: State, fact: e.DistinctDeclared, _position: int, key: str) -> State:
    return {**identity, "distinct": dict(sorted({**identity["distinct"], fact.distinct_id: _other(fact, key)}.items()))}


def _withdrawn(identity: State, fact: e.DistinctWithdrawn, _position: int, _key: str) -> State:
    gone = set(fact.distinct_ids)
    return {**identity, "distinct": {d: other for d, other in identity["distinct"].items() if d not in gone}}


def _breached(identity: State, fact: e.LimitBreachRecorded, _position: int, _key: str) -> State:
    breach = {
        "contributing_positions": fact.contributing_positions,
        "excess_fen": fact.excess_fen,
        "rule": fact.rule,
        "sids": fact.sids,
        "total_fen": fact.total_fen,
        "year": fact.year,
    }
    return {**identity, "breaches": dict(sorted({**identity["breaches"], fact.breach_id: breach}.items()))}


def _rescinded(identity: State, fact: e.LimitBreachRescinded, _position: int, _key: str) -> State:
    return {**identity, "breaches": {b: v for b, v in identity["breaches"].items() if b != fact.breach_id}}


def _profiled(identity: State, fact: e.ProfileDeclared, _position: int, _key: str) -> State:
    profile = {
        "birth_band": fact.birth_band,
        "city": fact.city,
        "effective_on": fact.effective_on.isoformat(),
        "employment": fact.employment,
        "income_band": fact.income_band,
    }
    return {**identity, "profile": profile}


def _unprofiled(identity: State, fact: e.ProfileWithdrawn, _position: int, _key: str) -> State:
    return {**identity, "profile": {"withdrawn_on": fact.effective_on.isoformat()}}


IDENTITY: dict[type[e.Fact], Fold] = {
    e.SourceIdentityRegistered: _registered,
    e.AccountOpened: lambda s, f, _p, _k: {
        **s,
        "accounts": dict(sorted({**s["accounts"], f.account: f.product}.items())),
    },
    e.IdentitiesLinked: _joined,
    e.IdentitiesMerged: _joined,
    e.IdentitiesUnmerged: _unmerged,
    e.DistinctDeclared: _declared,
    e.DistinctWithdrawn: _withdrawn,
    e.LimitBreachRecorded: _breached,
    e.LimitBreachRescinded: _rescinded,
    e.ProfileDeclared: _profiled,
    e.ProfileWithdrawn: _unprofiled,
}


def _counted(quota: State | None, fact: e.ContributionPosted, position: int, _key: str) -> State:
    before = quota or {"entries": [], "refunds": []}
    return {**before, "entries": [*before["entries"], [position, sum(fact.amounts_fen.values())]]}


def _uncounted(quota: State, fact: e.EntryReversed, position: int, _key: str) -> State:
    gone = next(entry for entry in quota["entries"] if entry[0] == fact.reverses)
    refunds = [*quota["refunds"], [position, gone[1]]] if fact.breach_id is not None else quota["refunds"]
    return {"entries": [entry for entry in quota["entries"] if entry is not gone], "refunds": refunds}


def _compensated(quota: State, fact: e.CompensationRequired, _position: int, _key: str) -> State:
    return {**quota, "refunds": [refund for refund in quota["refunds"] if refund[0] != fact.decision_position]}


QUOTA: dict[type[e.Fact], Fold] = {
    e.ContributionPosted: _counted,
    e.EntryReversed: _uncounted,
    e.CompensationRequired: _compensated,
}

ENTRY: dict[type[e.Fact], Fold] = {
    e.EntryReversed: lambda _s, _f, p, _k: {"reversed_by": p},
}

BOOKS: dict[type[e.Fact], Fold] = {
    e.PeriodClosed: lambda _s, f, p, _k: {
        "closed_through": f.period,
        "position": p,
        "root": f.root,
        "tree_size": f.tree_size,
    },
}

FOLDS: dict[str, dict[type[e.Fact], Fold]] = {
    "account": ACCOUNT,
    "books": BOOKS,
    "entry": ENTRY,
    "identity": IDENTITY,
    "quota": QUOTA,
}


FOLDS_OF: dict[type[e.Fact], dict[str, Fold]] = {
    fact_type: {kind: folds[fact_type] for kind, folds in FOLDS.items() if fact_type in folds}
    for fact_type in e.FACTS.values()
}
"""For each type of fact, by kind of tag, how it changes what the tag's entity remembers. A kind not named: not at all."""


def fold_fact(fact: e.Fact, position: int, memories: dict[str, State | None], touched: dict[str, int]) -> list[str]:
    """Fold a fact into every memory it changes, and return its tags.

    `memories` must hold each of these, as None where nothing is known yet; otherwise NotRecalled is raised. `touched`
    learns the position folded in last.
    """
    tags = tags_of(fact)
    folds = FOLDS_OF[fact.__class__]
    for tag in tags:
        kind, _, key = tag.partition(":")
        fold = folds.get(kind)
        if fold is not None:
            try:
                state = memories[tag]
            except KeyError:
                raise NotRecalled(tag) from None
            memories[tag] = fold(state, fact, position, key)
            touched[tag] = position
    return tags


def remembers(tag: str) -> bool:
    """Whether an entity of this kind has a memory at all."""
    return tag.partition(":")[0] in FOLDS


def spell(state: State) -> str:
    """The one stored spelling of a state."""
    return _ENCODER.encode(state).decode()


def spell_lines(states: list[State]) -> str:
    """Many states in the stored spelling, a line each; no JSON text holds a line's end."""
    return _ENCODER.encode_lines(states)[:-1].decode()


def unspell(joined: str) -> list[State | None]:
    """Read many stored states at once, joined by commas, `null` where nothing is known."""
    found: list[State | None] = _DECODER.decode(f"[{joined}]")
    return found


def members_of(view: View, sid: str) -> list[str]:
    """The sids of the person to whom this registered sid belongs, in sid order."""
    identity = view.identity(sid)
    assert identity is not None, f"{sid} is not registered"
    members: list[str] = identity["members"]
    return members


def quota_years(view: View, members: list[str]) -> list[int]:
    """The calendar years in which any capped account of these identities received contributions."""
    years: set[str] = set()
    for account in capped_accounts(view, members):
        years.update(account[1].get("contributed_fen", ()))
    return sorted(map(int, years))


def capped_accounts(view: View, members: list[str]) -> list[tuple[str, State]]:
    """The accounts of one-per-person products held by these identities, closed ones included, oldest first."""
    found: list[tuple[str, State]] = []
    for sid in members:
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        for account_id, product in identity["accounts"].items():
            if PRODUCTS[product].one_per_person:
                account = view.account(account_id)
                assert account is not None, f"{account_id} is not open"
                found.append((account_id, account))
    return sorted(found, key=lambda pair: pair[1]["opened_position"])
