"""What the facts say, found out the slow and plain way from their JSON alone: the second opinion on the domain.

Nothing of the domain's folding, postings or components is used here, only the facts' field names.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from ledger.domain.events import Fact, encode

CAP_FEN = 1_200_000
ENTRY_TYPES = {
    "benefit": "BenefitPaid",
    "contribution": "ContributionPosted",
    "fee": "FeeCharged",
    "returns": "ReturnsCredited",
    "transfer": "BalanceTransferred",
    "vesting": "EmployerPartVested",
}

Record = tuple[int, str, dict[str, Any]]


def records(facts: Iterable[Fact]) -> list[Record]:
    """The facts as the journal stores them: position, type, JSON."""
    return [(number, type(fact).__name__, json.loads(encode(fact))) for number, fact in enumerate(facts, 1)]


class Oracle:
    """Replays a journal from zero."""

    def __init__(self, journal: Iterable[Record]) -> None:
        """Read every record once."""
        self.registered: dict[str, int] = {}
        self.one_ids: dict[str, str] = {}
        self.links: dict[str, tuple[str, str]] = {}
        self.revoked: set[str] = set()
        self.distinct: dict[str, tuple[str, str]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.balances: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.counted: dict[int, tuple[str, int, int]] = {}
        self.breaches: dict[str, dict[str, Any]] = {}
        self.flags: dict[str, list[str]] = {}
        for position, name, fact in journal:
            self._read(position, name, fact)

    def _read(self, position: int, name: str, fact: dict[str, Any]) -> None:  # noqa: C901, PLR0912 - a plain list
        if name == "SourceIdentityRegistered":
            self.registered[fact["sid"]] = position
            self.one_ids[fact["sid"]] = fact["one_id"]
        elif name == "AccountOpened":
            self.accounts[fact["account"]] = {**fact, "position": position, "held": True}
            if "replaces" in fact:
                self.accounts[fact["replaces"]]["held"] = False
        elif name == "AccountClosed":
            self.accounts[fact["account"]]["held"] = False
        elif name in ("IdentitiesLinked", "IdentitiesMerged"):
            self.links.update({link["link_id"]: (link["sid_a"], link["sid_b"]) for link in fact["links"]})
        elif name == "IdentitiesUnmerged":
            self.revoked.update(fact["revokes"])
            self.distinct.update({d["distinct_id"]: (d["sid_a"], d["sid_b"]) for d in fact["cannot_links"]})
        elif name == "DistinctDeclared":
            self.distinct[fact["distinct_id"]] = (fact["sid_a"], fact["sid_b"])
        elif name == "DistinctWithdrawn":
            for distinct_id in fact["distinct_ids"]:
                del self.distinct[distinct_id]
        elif name == "LimitBreachRecorded":
            self.breaches[fact["breach_id"]] = fact
        elif name == "LimitBreachRescinded":
            del self.breaches[fact["breach_id"]]
        elif name == "DuplicateAccountFlagged":
            self.flags[fact["flag_id"]] = fact["account_ids"]
        elif name == "DuplicateAccountRescinded":
            del self.flags[fact["flag_id"]]
        elif name == "EntryReversed":
            ((kind, entry),) = fact["entry"].items()
            self._move(ENTRY_TYPES[kind], entry, -1)
            self.counted.pop(fact["reverses"], None)
        else:
            self._move(name, fact, 1)
            if "quota" in fact and name == "ContributionPosted":
                sid = self.accounts[fact["account"]]["sid"]
                total = sum(fact["amounts_fen"].values())
                self.counted[position] = (sid, int(fact["effective_on"][:4]), total)

    def _add(self, account: str, amounts: dict[str, int], sign: int) -> None:
        for part, fen in amounts.items():
            self.balances[account, part] += sign * fen

    def _move(self, name: str, fact: dict[str, Any], sign: int) -> None:
        match name:
            case "ContributionPosted":
                self._add(fact["account"], fact["amounts_fen"], sign)
            case "ReturnsCredited":
                self._add(fact["account"], fact["gains_fen"], sign)
                self._add(fact["account"], fact["losses_fen"], -sign)
            case "FeeCharged" | "BenefitPaid":
                self._add(fact["account"], fact["amounts_fen"], -sign)
            case "EmployerPartVested":
                self._add(fact["account"], {fact["from_part"]: -fact["amount_fen"]}, sign)
                self._add(fact["account"], {fact["to_part"]: fact["amount_fen"]}, sign)
            case "BalanceTransferred":
                self._add(fact["from_account"], fact["amounts_fen"], -sign)
                self._add(fact["to_account"], fact["credits_fen"], sign)
            case _:
                pass

    def persons(self) -> list[list[str]]:
        """A naive union-find over the links that stand."""
        parent = {sid: sid for sid in self.registered}

        def root(sid: str) -> str:
            while parent[sid] != sid:
                sid = parent[sid]
            return sid

        for link_id, (sid_a, sid_b) in self.links.items():
            if link_id not in self.revoked:
                parent[root(sid_a)] = root(sid_b)
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for sid in sorted(parent):
            groups[root(sid)].append(sid)
        return sorted(groups.values())

    def standing_breaches(self) -> list[tuple[int, list[str], int, int, list[int]]]:
        """Year, sids, total, excess and bearing positions of every person above the cap."""
        found = []
        for person in self.persons():
            for year in {year for _, year, _ in self.counted.values()}:
                held = [
                    (p, sid, fen) for p, (sid, y, fen) in sorted(self.counted.items()) if sid in person and y == year
                ]
                total = sum(fen for _, _, fen in held)
                if total > CAP_FEN:
                    bearing: list[int] = []
                    while sum(fen for p, _, fen in held if p in bearing) < total - CAP_FEN:
                        bearing = [p for p, _, _ in held][-len(bearing) - 1 :]
                    sids = sorted({sid for _, sid, _ in held})
                    found.append((year, sids, total, total - CAP_FEN, bearing))
        return sorted(found)

    def recorded_breaches(self) -> list[tuple[int, list[str], int, int, list[int]]]:
        """The same of the breaches on record."""
        return sorted(
            (b["year"], b["sids"], b["total_fen"], b["excess_fen"], b["contributing_positions"])
            for b in self.breaches.values()
        )

    def standing_flags(self) -> list[list[str]]:
        """The personal pensions of every person who holds more than one, oldest first."""
        found = []
        for person in self.persons():
            held = [
                (account["position"], name)
                for name, account in self.accounts.items()
                if account["sid"] in person and account["product"] == "personal_pension" and account["held"]
            ]
            if len(held) > 1:
                found.append([name for _, name in sorted(held)])
        return sorted(found)

    def forbidden_pairs(self) -> list[tuple[str, str]]:
        """Pairs inside one person that a cannot-link keeps apart; there must be none."""
        together = {pair for person in self.persons() for pair in combinations(person, 2)}
        return [pair for pair in self.distinct.values() if tuple(sorted(pair)) in together]
