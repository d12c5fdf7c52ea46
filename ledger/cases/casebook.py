"""The casebook: who is counted in an edition of the case library, and with what, from the facts alone.

1. A person is composed as at the edition's position, and counts once: by the latest declaration of any of her identities that
   holds on the edition's date. A withdrawal of any of them, by the edition's position, voids all declarations before it.
2. Whoever holds no account is not counted.
3. Money counts by its effective date: balances to the edition's date; contributions and benefits of the twelve calendar
   months up to that of the date, in the month of the entry. A reversal takes an entry out of its own month.

Memory holds some numbers for each identity of those who ever declared, and of those ever linked with them.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from ledger.cases.boxes import Answers
from ledger.cases.figures import BENEFITS, CONTRIBUTIONS, PILLARS, VESTED
from ledger.domain import events as e
from ledger.domain.lines import Recorded
from ledger.domain.postings import EXTERNAL
from ledger.domain.rules import PRODUCTS
from ledger.domain.states import entry_of

MONTHS = 12
VESTED_PARTS = {
    code: frozenset(part.code for part in product.parts if part.vested) for code, product in PRODUCTS.items()
}

Values = dict[str, int | None]
"""By measure; None where there is nothing that it could be of."""


class Person(NamedTuple):
    """Somebody who is counted: her answers, her values, and the values of each of her identities that holds an account."""

    sids: tuple[str, ...]
    answers: Answers
    values: Values
    by_sid: dict[str, Values]


class Picture(NamedTuple):
    """Who is counted at one moment, and the identities of all whose agreement stands."""

    people: list[Person]
    agreeing: frozenset[str]


class _Declared(NamedTuple):
    effective_on: date
    position: int
    answers: Answers


class _Held:
    """What the accounts of one identity hold and took: by pillar, vested, and by month contributions and benefits."""

    __slots__ = ("balances_fen", "months", "vested_fen")

    def __init__(self) -> None:
        self.balances_fen = dict.fromkeys(PILLARS, 0)
        self.vested_fen = 0
        self.months: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])

    def values(self, last_month: int) -> Values:
        """The values of this identity alone."""
        taken = [sums for month, sums in self.months.items() if last_month - MONTHS < month <= last_month]
        found: Values = {f"balance_pillar_{pillar}_fen": fen for pillar, fen in self.balances_fen.items()}
        found[CONTRIBUTIONS] = sum(sums[0] for sums in taken)
        found[BENEFITS] = sum(sums[1] for sums in taken)
        found[VESTED] = _percent(self.vested_fen, sum(self.balances_fen.values()))
        return found


class Casebook:
    """Takes facts in position order; `hers` are the identities worth remembering. Dates of pictures never fall."""

    def __init__(self, hers: frozenset[str]) -> None:
        """Nothing is noted yet."""
        self._hers = hers
        self._until = date.min
        self._later: list[Recorded] = []
        self._members: dict[str, tuple[str, ...]] = {}
        self._declared: defaultdict[str, list[_Declared]] = defaultdict(list)
        self._withdrawn: dict[str, int] = {}
        self._accounts: dict[str, tuple[str, str]] = {}
        self._held: dict[str, _Held] = {}

    def look_until(self, day: date) -> None:
        """The date of the next picture; what takes effect after it waits for a later one."""
        assert day >= self._until, "dates of pictures fell"
        self._until = day
        waiting, self._later = self._later, []
        for recorded in waiting:
            self._move(recorded)

    def note(self, position: int, fact: e.Fact) -> None:
        """Take the next fact."""
        match fact:
            case e.ProfileDeclared():
                answers = Answers(fact.city, int(fact.birth_band[:4]), fact.income_band, fact.employment)
                self._declared[fact.sid].append(_Declared(fact.effective_on, position, answers))
            case e.ProfileWithdrawn():
                self._withdrawn[fact.sid] = position
            case e.AccountOpened():
                if fact.sid in self._hers:
                    self._accounts[fact.account] = fact.sid, fact.product
                    self._held.setdefault(fact.sid, _Held())
            case e.IdentitiesLinked() | e.IdentitiesMerged():
                self._compose(fact.after)
            case e.IdentitiesUnmerged():
                self._compose(fact.target)
            case _:
                self._move(Recorded(position, fact))

    def picture(self) -> Picture:
        """Everybody who is counted on the date looked at."""
        last_month = _month(self._until)
        people: list[Person] = []
        agreeing: set[str] = set()
        for sids in sorted({self._members.get(sid, (sid,)) for sid in self._declared}):
            answers = self._answers(sids)
            if answers is None:
                continue
            agreeing.update(sids)
            held = {sid: self._held[sid] for sid in sids if sid in self._held}
            if held:
                by_sid = {sid: each.values(last_month) for sid, each in held.items()}
                people.append(Person(sids, answers, _together(by_sid.values(), held.values()), by_sid))
        return Picture(people, frozenset(agreeing))

    def _answers(self, sids: tuple[str, ...]) -> Answers | None:
        voided = max((self._withdrawn.get(sid, 0) for sid in sids), default=0)
        standing = [
            declared
            for sid in sids
            for declared in self._declared.get(sid, ())
            if declared.position > voided and declared.effective_on <= self._until
        ]
        return max(standing).answers if standing else None

    def _compose(self, partition: Iterable[Iterable[str]]) -> None:
        for part in partition:
            sids = tuple(sorted(part))
            self._members.update(dict.fromkeys(sids, sids))

    def _move(self, recorded: Recorded) -> None:
        kind, fact = recorded.kind, recorded.fact
        if kind is None:
            return
        if fact.effective_on > self._until:
            self._later.append(recorded)
            return
        month = _month((entry_of(fact.entry) if isinstance(fact, e.EntryReversed) else fact).effective_on)
        for account, part, fen in recorded.legs:
            if account == EXTERNAL or account not in self._accounts:
                continue
            sid, product = self._accounts[account]
            held = self._held[sid]
            held.balances_fen[PRODUCTS[product].pillar] += fen
            if part in VESTED_PARTS[product]:
                held.vested_fen += fen
            if kind == "contribution":
                held.months[month][0] += fen
            elif kind == "benefit":
                held.months[month][1] -= fen


def _together(values: Iterable[Values], held: Iterable[_Held]) -> Values:
    summed: Values = {}
    for each in values:
        for measure, value in each.items():
            summed[measure] = (summed.get(measure) or 0) + (value or 0)
    balances = [(each.vested_fen, sum(each.balances_fen.values())) for each in held]
    summed[VESTED] = _percent(sum(vested for vested, _ in balances), sum(fen for _, fen in balances))
    return summed


def _percent(part: int, whole: int) -> int | None:
    """Rounded down to whole percent; None of nothing."""
    return 100 * max(0, part) // whole if whole > 0 else None


def _month(day: date) -> int:
    return 12 * day.year + day.month
