"""Limits that follow the person: the yearly cap and one account per person, and what a merge or unmerge does to them.

1. Standing breaches and flags are a pure function of the person's counters and accounts (`breach_of`, `holding_twice`).
2. A merge is never refused for a limit: the same decision records the breach, and rescinds what no longer stands.
3. The excess of a breach falls on the latest postings; of accounts held twice, the oldest goes on.
Personal pension: 12,000 yuan a calendar year and one account a person (人社部发〔2022〕70号).
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import date
from typing import Any

from ledger.domain.decider import State, View, envelope
from ledger.domain.events import (
    CompensationRequired,
    DuplicateAccountFlagged,
    DuplicateAccountRescinded,
    Fact,
    LimitBreachRecorded,
    LimitBreachRescinded,
)
from ledger.domain.identifiers import QUOTA_RULE, derived_id, quota_id
from ledger.domain.rules import PRODUCTS, limit
from ledger.domain.states import capped_accounts, quota_years


def cap_fen(year: int) -> int | None:
    """The cap of a calendar year, as in force at its end; None before the rule's first row."""
    row = limit(QUOTA_RULE, date(year, 12, 31))
    return None if row is None else row.value


def counters(view: View, members: Iterable[str], year: int) -> Iterator[tuple[str, State]]:
    """The yearly counters of these identities that hold anything, with their sids."""
    for sid in members:
        identity = view.identity(sid)
        if identity is not None and holds_capped(identity):
            quota = view.quota(quota_id(sid, year))
            if quota is not None:
                yield sid, quota


def is_capped(product: str) -> bool:
    """Whether a person may hold one account of this product, with a yearly cap on it."""
    return product in PRODUCTS and PRODUCTS[product].one_per_person


def holds_capped(identity: State) -> bool:
    """Whether the identity owns an account, open or closed, of a product with a yearly cap."""
    return any(map(is_capped, identity["accounts"].values()))


def used_fen(view: View, members: Iterable[str], year: int) -> int:
    """What these identities together have contributed in that year."""
    return sum(fen for _, quota in counters(view, members, year) for _, fen in quota["entries"])


def breach_of(view: View, members: Iterable[str], year: int, without: int | None = None) -> dict[str, Any] | None:
    """The breach that stands for one person and year, were the entry at position `without` not there."""
    cap = cap_fen(year)
    held = [(position, fen, sid) for sid, quota in counters(view, members, year) for position, fen in quota["entries"]]
    held = sorted(entry for entry in held if entry[0] != without)
    total = sum(fen for _, fen, _ in held)
    if cap is None or total <= cap:
        return None
    excess, bearing = total - cap, []
    for position, fen, _ in reversed(held):
        if excess <= 0:
            break
        bearing.append(position)
        excess -= fen
    return {
        "contributing_positions": sorted(bearing),
        "excess_fen": total - cap,
        "rule": QUOTA_RULE,
        "sids": sorted({sid for _, _, sid in held}),
        "total_fen": total,
        "year": year,
    }


def holding_twice(view: View, members: Iterable[str], closing: str | None = None) -> list[list[str]]:
    """For each one-per-person product held more than once: its accounts, oldest first, but for one about to close."""
    held: dict[str, list[str]] = {}
    for account_id, account in capped_accounts(view, list(members)):
        if account["status"] != "closed" and "replaced_by" not in account and account_id != closing:
            held.setdefault(account["product"], []).append(account_id)
    return [accounts for accounts in held.values() if len(accounts) > 1]


def active_breaches(view: View, sids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The breaches on record at these identities, by breach id."""
    found: dict[str, dict[str, Any]] = {}
    for sid in sids:
        identity = view.identity(sid)
        assert identity is not None, f"{sid} is not registered"
        found.update(identity["breaches"])
    return dict(sorted(found.items()))


def breach_changes(
    command: Any, view: View, persons: Iterable[Collection[str]], years: Iterable[int], without: int | None = None
) -> list[Fact]:
    """What must be recorded and rescinded so that the breaches of these persons and years are those that stand."""
    persons, years = list(persons), list(years)
    active = active_breaches(view, [sid for person in persons for sid in person])
    active = {breach_id: breach for breach_id, breach in active.items() if breach["year"] in years}
    found = (breach_of(view, person, year, without) for person in persons for year in years)
    standing = [breach for breach in found if breach is not None]
    fields = envelope(command)
    facts: list[Fact] = [
        LimitBreachRescinded(breach_id=breach_id, rule=b["rule"], sids=b["sids"], year=b["year"], **fields)
        for breach_id, b in active.items()
        if b not in standing
    ]
    for breach in standing:
        if breach not in active.values():
            # Named by what it says, so that an unmerge brings back the very breach that the merge rescinded.
            said = (breach["rule"], breach["year"], breach["total_fen"])
            breach_id = derived_id("B", *said, *breach["sids"], *breach["contributing_positions"])
            facts.append(LimitBreachRecorded(breach_id=breach_id, **breach, **fields))
    return facts


def flag_changes(
    command: Any, view: View, persons: Iterable[Collection[str]], closing: str | None = None
) -> list[Fact]:
    """What must be flagged and rescinded so that the duplicate-account flags of these persons are those that stand."""
    persons = list(persons)
    active: dict[str, list[str]] = {}
    for person in persons:
        for _, account in capped_accounts(view, list(person)):
            if "duplicate" in account:
                active[account["duplicate"]["flag_id"]] = account["duplicate"]["account_ids"]
    standing = [accounts for person in persons for accounts in holding_twice(view, person, closing)]
    fields = envelope(command)
    facts: list[Fact] = [
        DuplicateAccountRescinded(account_ids=accounts, flag_id=flag_id, **fields)
        for flag_id, accounts in sorted(active.items())
        if accounts not in standing
    ]
    for accounts in standing:
        if accounts not in active.values():
            # Named by what it says, as a breach is.
            flag_id = derived_id("F", *accounts)
            facts.append(DuplicateAccountFlagged(account_ids=accounts, flag_id=flag_id, **fields))
    return facts


def limit_changes(command: Any, view: View, persons: Iterable[Collection[str]]) -> list[Fact]:
    """Breaches and flags as they must stand once the identities are composed into these persons."""
    persons = [sorted(person) for person in persons]
    years = quota_years(view, [sid for person in persons for sid in person])
    return [*breach_changes(command, view, persons, years), *flag_changes(command, view, persons)]


def compensations(command: Any, view: View, persons: Iterable[Collection[str]]) -> list[Fact]:
    """Refunds of an excess that, with the persons apart, was none: the decision has to be made good."""
    facts: list[Fact] = []
    for person in (sorted(person) for person in persons):
        for year in quota_years(view, person):
            cap = cap_fen(year)
            if cap is None:
                continue
            left = cap - used_fen(view, person, year)
            refunds = [
                (position, fen, quota_id(sid, year))
                for sid, quota in counters(view, person, year)
                for position, fen in quota["refunds"]
            ]
            # The latest first: what was refunded first was, if anything, what this person alone had too much.
            for position, fen, quota in sorted(refunds, reverse=True):
                if fen > left:
                    continue
                left -= fen
                facts.append(
                    CompensationRequired(
                        decision_position=position,
                        quota=quota,
                        reason="excess_refund_without_excess",
                        **envelope(command),
                    )
                )
    return facts


def person_tags(view: View, sids: Iterable[str]) -> Iterator[str]:
    """The memories of the whole persons that these identities belong to, as far as the view knows them."""
    for sid in sids:
        yield "identity:" + sid
        identity = view.memories.get("identity:" + sid)
        if identity is not None:
            for member in identity["members"]:
                yield "identity:" + member


def other_account_tags(view: View, sids: Iterable[str], but: str) -> Iterator[str]:
    """The capped accounts, but for one, of the persons that these identities belong to, as far as the view knows them."""
    for sid in sids:
        identity = view.memories.get("identity:" + sid)
        for member in identity["members"] if identity is not None else ():
            holder = view.memories.get("identity:" + member)
            for account_id, product in holder["accounts"].items() if holder is not None else ():
                if account_id != but and is_capped(product):
                    yield "account:" + account_id


def quota_tags(view: View, sids: Iterable[str], years: Collection[int]) -> Iterator[str]:
    """The yearly counters of the persons that these identities belong to, as far as the view knows them."""
    for sid in sids:
        identity = view.memories.get("identity:" + sid)
        for member in identity["members"] if identity is not None else (sid,):
            holder = view.memories.get("identity:" + member)
            if member in view.opening or (holder is not None and holds_capped(holder)):
                for year in years:
                    yield "quota:" + quota_id(member, year)


def holding_tags(view: View, sids: Collection[str], *, capped_only: bool) -> Iterator[str]:
    """The memories of the persons' accounts and their yearly counters, as far as the view knows them."""
    years = set(view.years)
    for sid in sids:
        identity = view.memories.get("identity:" + sid)
        for member in identity["members"] if identity is not None else ():
            holder = view.memories.get("identity:" + member)
            for account_id, product in holder["accounts"].items() if holder is not None else ():
                if capped_only and not PRODUCTS[product].one_per_person:
                    continue
                yield "account:" + account_id
                account = view.memories.get("account:" + account_id)
                years.update(map(int, account.get("contributed_fen", ()) if account is not None else ()))
    yield from quota_tags(view, sids, years)


def whole_person_tags(view: View, sids: Iterable[str], *, capped_only: bool) -> Iterator[str]:
    """Identities, accounts and counters of the persons concerned."""
    sids = list(sids)
    yield from person_tags(view, sids)
    yield from holding_tags(view, sids, capped_only=capped_only)
