"""The outlet's memory: whatever is killed, arrives twice or late, and whenever partitions are added, no reader loses a fact.

What is cited as 1 to 3 are the invariants of `ledger/placing.py`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.broker import Topic
from ledger.placing import PartitionsFewer, Place, TopicDecision, TopicNotEmpty, TopicOther

FIRST = Place(0, None, None, None, None)
KEYS = 40
STEPS = 60
EXAMPLES = 200
MOST_PARTITIONS = 12
LONGEST_ROUND = 20


def place_of(number: int, partitions: int) -> int:
    """Of a position: keys come again and again, and go where they go."""
    return hash((number * 7919) % KEYS) % partitions


def share(after: int, until: int, partitions: int) -> dict[int, list[int]]:
    shares: dict[int, list[int]] = {}
    for number in range(after + 1, until + 1):
        shares.setdefault(place_of(number, partitions), []).append(number)
    return shares


class Model:
    """A topic, the row, and outlets that do all that may go wrong."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.head, self.there = 0, 3
        self.row = FIRST.moved(Topic("t", "id", self.there), TopicDecision.UNDECIDED, is_empty=False, head=0)
        self.topic: dict[int, list[int]] = {}
        # Each partition's share of each round that was tried, which may arrive at any time after.
        self.sent: list[tuple[int, list[int]]] = []

    def record(self) -> None:
        self.head += self.draw(st.integers(1, 8))

    def add_partitions(self) -> None:
        self.there = min(MOST_PARTITIONS, self.there + self.draw(st.integers(1, 3)))

    def arrive_late(self) -> None:
        if self.sent:
            partition, numbers = self.draw(st.sampled_from(self.sent))
            self.topic.setdefault(partition, []).extend(numbers)

    def round(self) -> None:
        """An outlet does as it does, and may be killed at any moment: some of the round has arrived, or all of it."""
        self.row = self.row.shared_by(self.there, head=self.head)
        partitions, head = self.row.next_round(self.head)
        until = min(head, self.row.position + self.draw(st.integers(1, LONGEST_ROUND)))
        shares = list(share(self.row.position, until, partitions).items())
        self.sent += shares
        arrived = self.draw(st.lists(st.booleans(), min_size=len(shares), max_size=len(shares)))
        for (partition, numbers), has_arrived in zip(shares, arrived, strict=True):
            if has_arrived:
                self.topic.setdefault(partition, []).extend(numbers)
        if all(arrived) and self.draw(st.booleans()):
            self.row = self.row._replace(position=until)

    def finish(self) -> None:
        while self.row.position < self.head:
            self.row = self.row.shared_by(self.there, head=self.head)
            partitions, until = self.row.next_round(self.head)
            for partition, numbers in share(self.row.position, until, partitions).items():
                self.topic.setdefault(partition, []).extend(numbers)
            self.row = self.row._replace(position=until)

    def read(self) -> list[int]:
        """All partitions, each with every position dropped that is not above the highest seen in it."""
        kept = []
        for numbers in self.topic.values():
            highest = 0
            for number in numbers:
                if number > highest:
                    highest = number
                    kept.append(number)
        return sorted(kept)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_a_reader_gets_every_fact_once_whatever_was_killed_when_partitions_were_added(data: st.DataObject) -> None:
    """Invariants 1 and 2."""
    model = Model(data)
    steps = [model.record, model.round, model.round, model.round, model.add_partitions, model.arrive_late]
    for step in data.draw(st.lists(st.sampled_from(steps), min_size=STEPS // 2, max_size=STEPS)):
        step()
    model.finish()
    assert model.read() == list(range(1, model.head + 1))
    assert model.row.shared_by(model.there, head=model.head).next_round(model.head)[0] == model.there


def test_a_round_ends_where_the_number_of_partitions_changes() -> None:
    """Invariant 2: up to the head of that moment by the earlier number, whatever is recorded or added meanwhile."""
    place = Place(10, "id", 4, None, None).shared_by(6, head=15)
    assert place.next_round(12) == (4, 12)
    assert place.next_round(90) == (4, 15)
    assert place.shared_by(8, head=90) == place
    passed = place._replace(position=15)
    assert passed.next_round(90) == (6, 90)
    assert passed.shared_by(8, head=90).next_round(100) == (6, 90)


def test_partitions_never_become_fewer() -> None:
    """No position could go where it went before."""
    with pytest.raises(PartitionsFewer, match=r"4, and now 3: .* as many as before"):
        Place(10, "id", 4, None, None).shared_by(3, head=10)


def test_another_topic_waits_for_a_decision() -> None:
    """Invariant 3: each of the two is lawful, and neither is made by the program."""
    place, other = Place(10, "id", 4, 2, 5), Topic("t", "other", 6)
    with pytest.raises(TopicOther, match=r"up to 10: .*--new-topic republish"):
        place.moved(other, TopicDecision.UNDECIDED, is_empty=True, head=20)
    with pytest.raises(TopicNotEmpty):
        place.moved(other, TopicDecision.REPUBLISH, is_empty=False, head=20)
    assert place.moved(other, TopicDecision.REPUBLISH, is_empty=True, head=20) == Place(0, "other", 6, None, None)
    assert place.moved(other, TopicDecision.ACCEPT, is_empty=False, head=20) == Place(10, "other", 6, 4, 20)
    with pytest.raises(PartitionsFewer):
        place.moved(Topic("t", "other", 3), TopicDecision.ACCEPT, is_empty=True, head=20)
