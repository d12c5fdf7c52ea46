"""Editions of the case library: cells that grow from edition to edition so that no arithmetic over them opens anybody.

What an attacker has are all figures ever published: each of one measure, over the people of one cell. Any sum of them with
any factors, one from the other or all together, is taken as known to him. Let k be the least number of people.

1. An edition is a partition: its cells are boxes that do not overlap, so everybody is in one at most, and no cell contains
   another. There are no totals. A box in which too few are, or could be published, has no figures, and says only that.
2. A value is *fresh* while no published figure ever held it: the value of one measure, rounded, at one of her identities.
   A figure is published anew only if at least k of its people bring a fresh value each. Otherwise the figure that was
   published of the same box stands as it is, or there is none.
3. So no sum of figures depends on fewer than k people, unless it depends on nobody. Proof: of the figures in it, look at
   those that were published last. By 2 such a figure holds fresh values of k people, which no earlier figure holds; by 1
   no other figure of its edition holds them. So nothing in the sum can cancel them. It does not matter how cells were
   parted or joined in between, nor who came, left, moved, was merged or changed.
4. The number of people is published by 2 and 3 too, as a measure of which everybody's value is to be there: it is said anew
   only of cells where at least k were never counted before, and else "at least k", which the figure says anyway.
5. Who withdraws leaves: a figure that holds her values does not stand in any edition after. It is not replaced but by 2.
6. k never falls from one edition to the next, editions are at least a stated number of days apart, and the same facts and
   moments give the same editions, byte for byte. Who was in a cell is not kept anywhere: it is derived anew from the facts.
7. A cell is parted only where both parts can show all that it shows, each by 2; it is joined again only where one of its
   parts can show nothing, and the whole can by 2.

What this does not promise: that k people differ. Where most of a cell have the same, its quartiles say so; and whoever knows
the values of all others of a cell that was published is not kept from a guess at the last. A fresh value hides others as far as
it cannot be guessed from the one before: that is why it must round to something else.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from ledger.cases.boxes import Answers, Box, Parting, everybody, group_of, partings
from ledger.cases.casebook import Person, Picture
from ledger.cases.figures import MEASURES, VESTED, Figure, Settings, quartiles

ANSWERS = len(Answers._fields)


class Moment(NamedTuple):
    """What an edition is of: everything recorded up to a position, as of a date."""

    number: int
    position: int
    as_of: date


class Cell(NamedTuple):
    """A box and what is published of it: at least so many people, and figures; none of both where there are too few."""

    box: Box
    people_at_least: int | None
    figures: tuple[Figure, ...]


class Edition(NamedTuple):
    """All cells, in one order."""

    moment: Moment
    least: int
    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all that is published."""
        return sha256(msgspec.json.encode(self)).hexdigest()


class LeastFell(ValueError):
    """The least number of people of a figure may only be raised; set `cases.people.least` no lower than before."""


class _Fresh(NamedTuple):
    """A person, and the measures of which she brings a fresh value."""

    person: Person
    measures: frozenset[str]


class _Standing(NamedTuple):
    """What was published of a box, and the identities of whom it holds values."""

    figures: Mapping[str, tuple[Figure, frozenset[str]]]
    band: tuple[int, frozenset[str]] | None


class _Tally:
    """Of a group of people, by measure: how many have a value, how many a fresh one, the sum and the greatest."""

    __slots__ = ("freshes", "greatest", "people", "sums", "valued")

    def __init__(self) -> None:
        self.people = 0
        self.valued = dict.fromkeys(MEASURES, 0)
        self.freshes = dict.fromkeys(MEASURES, 0)
        self.sums = dict.fromkeys(MEASURES, 0)
        self.greatest = dict.fromkeys(MEASURES, 0)

    def count(self, fresh: _Fresh) -> None:
        self.people += 1
        for measure, value in fresh.person.values.items():
            if value is not None:
                self.valued[measure] += 1
                self.sums[measure] += max(0, value)
                self.greatest[measure] = max(self.greatest[measure], value)
        for measure in fresh.measures:
            self.freshes[measure] += 1

    def add(self, other: "_Tally") -> None:
        self.people += other.people
        for measure in MEASURES:
            self.valued[measure] += other.valued[measure]
            self.freshes[measure] += other.freshes[measure]
            self.sums[measure] += other.sums[measure]
            self.greatest[measure] = max(self.greatest[measure], other.greatest[measure])

    def publishable(self, settings: Settings) -> frozenset[str]:
        """The measures that may be published anew of these people (invariant 2), nobody having too much of the sum."""
        if self.people < settings.least:
            return frozenset()
        return frozenset(
            measure
            for measure in MEASURES
            if self.freshes[measure] >= settings.least
            and self.valued[measure] >= settings.least
            and (measure == VESTED or self.greatest[measure] <= settings.most_share * self.sums[measure])
        )


@dataclass
class _Node:
    """A box of the tree: parted in two, or a leaf with what may be published of it anew, and what stands."""

    box: Box
    people: list[_Fresh] = field(default_factory=list)
    parts: "tuple[_Node, _Node] | None" = None
    anew: frozenset[str] = frozenset()
    stands: frozenset[str] = frozenset()

    @property
    def shows(self) -> bool:
        """Whether everybody in it finds something."""
        if self.parts is not None:
            return all(part.shows for part in self.parts)
        return bool(self.anew | self.stands)

    def leaves(self) -> Iterable["_Node"]:
        if self.parts is None:
            yield self
        else:
            for part in self.parts:
                yield from part.leaves()


class Library:
    """Makes edition after edition, and remembers meanwhile what was ever published. Derived anew each time, and never kept."""

    def __init__(self) -> None:
        """Nothing was published yet."""
        self._published: dict[str, defaultdict[str, set[int]]] = {each: defaultdict(set) for each in MEASURES}
        self._counted: set[str] = set()
        self._standing: dict[Box, _Standing] = {}
        self._root: _Node | None = None
        self._least = 0

    def publish(
        self,
        moment: Moment,
        picture: Picture,
        settings: Settings,
        *,
        income_bands: tuple[str, ...],
        employments: tuple[str, ...],
    ) -> Edition:
        """The next edition. Raises LeastFell."""
        if settings.least < self._least:
            raise LeastFell(f"{settings.least} after {self._least}: {LeastFell.__doc__}")
        self._least = settings.least
        whole = everybody(income_bands, employments)
        people = [self._fresh(each, settings) for each in picture.people if whole.covers(each.answers)]
        self._forget_who_left(picture.agreeing)
        before = self._root if self._root is not None and self._root.box == whole else None
        self._root = self._grown(whole, people, before, settings)
        cells = [self._cell(leaf, moment.number, settings) for leaf in self._root.leaves()]
        boxes = {cell.box for cell in cells}
        self._standing = {box: standing for box, standing in self._standing.items() if box in boxes}
        return Edition(moment, settings.least, tuple(sorted(cells, key=lambda cell: _order(cell.box))))

    def _fresh(self, person: Person, settings: Settings) -> _Fresh:
        """Which of her values no figure ever held: what rounds alike, by the steps of now, is taken for the same."""
        fresh = {
            measure
            for sid, values in person.by_sid.items()
            for measure, value in values.items()
            if value is not None
            and settings.rounded(measure, value)
            not in {settings.rounded(measure, each) for each in self._published[measure].get(sid, ())}
        }
        return _Fresh(person, frozenset(measure for measure in fresh if person.values[measure] is not None))

    def _forget_who_left(self, agreeing: frozenset[str]) -> None:
        """Invariant 5."""
        for box, (figures, band) in self._standing.items():
            stand = {measure: held for measure, held in figures.items() if held[1] <= agreeing}
            self._standing[box] = _Standing(stand, band if band is not None and band[1] <= agreeing else None)

    def _grown(self, box: Box, people: list[_Fresh], before: _Node | None, settings: Settings) -> _Node:
        """The tree over this box: as it was, where that still shows everybody something; else joined, or parted further."""
        if before is not None and before.parts is not None:
            return self._regrown(box, people, before.parts, settings)
        groups = _tallied(box, people)
        anew = groups.total.publishable(settings)
        stands = frozenset(self._stands(box)) - anew if len(people) >= settings.least else frozenset()
        parting = _best(box, groups, anew | stands, settings)
        if parting is None:
            return _Node(box, people, None, anew, stands)
        first = [each for each in people if group_of(box, parting.answer, each.person.answers) in parting.values]
        second = [each for each in people if group_of(box, parting.answer, each.person.answers) not in parting.values]
        halves = self._grown(parting.first, first, None, settings), self._grown(parting.second, second, None, settings)
        return _Node(box, parts=halves)

    def _regrown(self, box: Box, people: list[_Fresh], parts: tuple[_Node, _Node], settings: Settings) -> _Node:
        """Invariant 7. Where joining would show nothing, the parts stay, one of them silent."""
        first, second = parts
        inside = [each for each in people if first.box.covers(each.person.answers)]
        outside = [each for each in people if not first.box.covers(each.person.answers)]
        grown = self._grown(first.box, inside, first, settings), self._grown(second.box, outside, second, settings)
        if not all(part.shows for part in grown):
            joined = _tallied(box, people).total.publishable(settings)
            if joined:
                return _Node(box, people, None, joined)
        return _Node(box, parts=grown)

    def _stands(self, box: Box) -> Iterable[str]:
        standing = self._standing.get(box)
        return () if standing is None else standing.figures

    def _cell(self, leaf: _Node, edition: int, settings: Settings) -> Cell:
        """Publish a leaf: what is anew is remembered as published for ever."""
        if not leaf.shows:
            self._standing.pop(leaf.box, None)
            return Cell(leaf.box, None, ())
        before = self._standing.get(leaf.box)
        figures = {measure: before.figures[measure] for measure in leaf.stands} if before is not None else {}
        for measure in sorted(leaf.anew):
            members = [each.person for each in leaf.people if each.person.values[measure] is not None]
            values = [value for each in members if (value := each.values[measure]) is not None]
            figures[measure] = quartiles(settings, measure, values, edition), _sids(members)
            for person in members:
                for sid, its in person.by_sid.items():
                    if (value := its[measure]) is not None:
                        self._published[measure][sid].add(value)
        band = self._band(leaf, before, settings)
        self._standing[leaf.box] = _Standing(figures, band)
        at_least = settings.least if band is None else max(settings.least, band[0])
        return Cell(leaf.box, at_least, tuple(figures[measure][0] for measure in MEASURES if measure in figures))

    def _band(self, leaf: _Node, before: _Standing | None, settings: Settings) -> tuple[int, frozenset[str]] | None:
        """Invariant 4."""
        sids = _sids(each.person for each in leaf.people)
        never = sum(self._counted.isdisjoint(each.person.sids) for each in leaf.people)
        if never < settings.least:
            return None if before is None else before.band
        self._counted |= sids
        return settings.band(len(leaf.people)), sids


class _Groups(NamedTuple):
    """The people of a box together, and by each value of each answer."""

    total: _Tally
    by_value: tuple[dict[object, _Tally], ...]


def _tallied(box: Box, people: Iterable[_Fresh]) -> _Groups:
    groups = _Groups(_Tally(), tuple({} for _ in range(ANSWERS)))
    for each in people:
        groups.total.count(each)
        for answer, by_value in enumerate(groups.by_value):
            by_value.setdefault(group_of(box, answer, each.person.answers), _Tally()).count(each)
    return groups


def _best(box: Box, groups: _Groups, shown: frozenset[str], settings: Settings) -> Parting | None:
    """The parting whose smaller part has most people, of those whose parts both show all that is shown; the first of equals."""
    if not shown or groups.total.people < 2 * settings.least:
        return None
    best, most = None, 0
    for parting in partings(box, groups.by_value):
        first, second = _Tally(), _Tally()
        for value, tally in groups.by_value[parting.answer].items():
            (first if value in parting.values else second).add(tally)
        least = min(first.people, second.people)
        if least > most and all(shown <= part.publishable(settings) for part in (first, second)):
            best, most = parting, least
    return best


def _sids(people: Iterable[Person]) -> frozenset[str]:
    return frozenset(sid for person in people for sid in person.sids)


def _order(box: Box) -> tuple[Any, ...]:
    return (box.area, box.without, box.birth_from or 0, box.birth_to or 0, box.income_bands, box.employments)
