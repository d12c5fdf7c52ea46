"""The invariants of IDENTITY.md section 2, against an oracle that replays from zero: a thousand histories, in a soak ten."""

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from random import Random

from ledger.domain import events as e
from ledger.domain.commands import Command, LinkIdentities, MergeIdentities
from ledger.domain.decider import State
from ledger.domain.identifiers import tags_of
from ledger.domain.refusals import CannotLinkActive
from ledger.domain.states import fold_fact
from ledger.domain.timeline import partition_at
from tests.domain import asking
from tests.domain.histories import DAYS, IDENTITY_COMMANDS, History
from tests.domain.oracle import Oracle, records
from tests.domain.scenario import Books

IDENTITY_FACTS = (
    e.IdentitiesLinked,
    e.IdentitiesMerged,
    e.IdentitiesUnmerged,
    e.DistinctDeclared,
    e.DistinctWithdrawn,
    e.LimitBreachRecorded,
    e.LimitBreachRescinded,
    e.DuplicateAccountFlagged,
    e.DuplicateAccountRescinded,
    e.CompensationRequired,
)


def without(state: State, *names: str) -> State:
    return {name: value for name, value in state.items() if name not in names}


def business(memories: Mapping[str, State]) -> Mapping[str, State]:
    """What is remembered of accounts and counters, but for the flags and refunds that follow a person."""
    kinds = ("account:", "quota:", "entry:")
    return {tag: without(state, "duplicate", "refunds") for tag, state in memories.items() if tag.startswith(kinds)}


def sheets(books: Books) -> dict[str, str]:
    """The balance sheet of every identity's person, byte for byte."""
    return {sid: books.sheet(sid).model_dump_json() for sid in books.of("identity")}


def live_partition(books: Books) -> list[list[str]]:
    return sorted(list(person) for person in {tuple(state["members"]) for state in books.of("identity").values()})


def test_identity_commands_touch_no_business_fact(histories: list[History]) -> None:
    """Invariants 1 and 6: only identity facts follow; no account, owner, balance or counter changes."""
    for history in histories:
        afterwards = [*(step.before for step in history.steps[1:]), history.books.memories]
        for step, after in zip(history.steps, afterwards, strict=True):
            if isinstance(step.command, IDENTITY_COMMANDS) and isinstance(step.decision, list):
                assert all(isinstance(fact, IDENTITY_FACTS) for fact in step.decision), history.seed
                assert business(after) == business(step.before), history.seed


def test_components_depend_on_the_set_of_facts_alone(histories: list[History]) -> None:
    """Invariants 2 and 7: shuffled and repeated facts give the live persons, and each one_id has exactly one person."""
    for history in histories:
        books, seed = history.books, history.seed
        random = Random(seed)  # noqa: S311 - to be made again from its seed
        facts = list(enumerate(books.facts, 1))
        mixed = facts + random.sample(facts, len(facts) // 2)
        random.shuffle(mixed)
        live = live_partition(books)
        assert partition_at(mixed, known_at=None, as_of=None) == live, seed
        oracle = Oracle(records(books.facts))
        assert oracle.persons() == live, seed
        persons_of = {one_id: [p for p in live if sid in p] for sid, one_id in oracle.one_ids.items()}
        assert all(len(persons) == 1 for persons in persons_of.values()), seed
        assert len(persons_of) == len(oracle.registered), seed
        for person in live:
            oldest = min(person, key=oracle.registered.__getitem__)
            assert books.sheet(person[-1]).one_id == oracle.one_ids[oldest], seed


def proves(path: object, memories: Mapping[str, State], command: Command) -> bool:
    """Whether a refusal's path leads along links, active or asked for, from one end to the other."""
    assert isinstance(path, list)
    assert isinstance(command, LinkIdentities | MergeIdentities)
    asked = {frozenset({link.sid_a, link.sid_b}) for link in command.links}
    for index, (sid, other) in enumerate(pairwise(path[::2])):
        known = memories["identity:" + sid]["links"].get(path[2 * index + 1]) == other
        if not known and frozenset({sid, other}) not in asked:
            return False
    return len(path) > 2


def test_no_component_contains_a_cannot_link(histories: list[History]) -> None:
    """Invariant 5: and the merge that would is refused with the path that proves it."""
    for history in histories:
        for command, decision, before, _ in history.steps:
            if isinstance(decision, CannotLinkActive):
                assert proves(decision.detail["path"], before, command), history.seed
        journal = records(history.books.facts)
        for position, name, _ in journal:
            if name in {"IdentitiesLinked", "IdentitiesMerged"}:
                assert not Oracle(journal[:position]).forbidden_pairs(), history.seed


def assert_standing(oracle: Oracle, seed: int) -> None:
    assert oracle.recorded_breaches() == oracle.standing_breaches(), seed
    assert sorted(oracle.flags.values()) == oracle.standing_flags(), seed


def test_breaches_and_flags_on_record_are_those_that_stand(histories: list[History]) -> None:
    """Invariant 10: a pure function of the persons' counters and accounts, after every identity and money command.

    A breach or flag is recorded by a merge, and lives until it no longer stands.
    """
    for history in histories:
        journal = records(history.books.facts)
        for step in history.steps[::4]:
            assert_standing(Oracle(journal[: step.facts_before]), history.seed)
        assert_standing(Oracle(journal), history.seed)


def test_merge_undone_restores_every_sheet(histories: list[History]) -> None:
    """Invariant 3: byte for byte, for every person. Only the cannot-links of the unmerge are new in memory."""
    for told in histories:
        history, seed = told.fork(), told.seed
        books = history.books
        before, persons = sheets(books), live_partition(books)
        remembered = {tag: without(state, "distinct", "refunds") for tag, state in books.memories.items()}
        if not history.join():
            continue
        assert sheets(books) != before, seed
        parts = [person for person in persons if person not in live_partition(books)]
        assert isinstance(books.post(history.named(asking.unmerge(*parts))), list), seed
        after = {tag: without(state, "distinct", "refunds") for tag, state in books.memories.items()}
        assert after == remembered, seed
        assert sheets(books) == before, seed


def test_unmerge_after_later_facts_equals_a_replay_without_the_merge(histories: list[History]) -> None:
    """Invariant 3, with facts between: accounts and counters are as if the merge had never been.

    Breaches and flags are those that stand (invariant 10), so that the whole sheet follows.
    """
    for told in histories:
        history, seed = told.fork(), told.seed
        books, persons = history.books, live_partition(history.books)
        if not history.join():
            continue
        for command in history.commands(8, identity=False):
            books.post(command)
        parts = [person for person in persons if person not in live_partition(books)]
        assert isinstance(books.post(history.named(asking.unmerge(*parts))), list), seed
        assert live_partition(books) == persons, seed
        replayed = Books()
        for position, fact in enumerate(books.facts, 1):
            if not isinstance(fact, IDENTITY_FACTS):
                memories = {tag: replayed.memories.get(tag) for tag in tags_of(fact)}
                fold_fact(fact, position, memories, {})
                replayed.memories.update({tag: state for tag, state in memories.items() if state is not None})
        assert business(replayed.memories) == business(books.memories), seed
        assert_standing(Oracle(records(books.facts)), seed)


def test_unmerge_reaches_its_target_and_stays(histories: list[History]) -> None:
    """Invariants 4, 8, 12: whatever evidence there was; the matcher does not rejoin; apart on every date."""
    for told in histories:
        history, seed = told.fork(), told.seed
        books = history.books
        person = history.person()
        target = sorted([sid] for sid in person)
        if len(person) < 2 or not isinstance(books.post(history.named(asking.unmerge(*target))), list):
            continue
        assert all([sid] in live_partition(books) for sid in person), seed
        for sid, other in pairwise(person):
            again = history.named(asking.link((sid, other)))
            assert isinstance(books.decide(again), CannotLinkActive), seed
        facts = list(enumerate(books.facts, 1))
        known_at = max(number for number, fact in facts if isinstance(fact, e.IdentitiesUnmerged))
        for day in (None, *map(date.fromisoformat, history.random.sample(DAYS, 2))):
            parts = partition_at(facts, known_at=known_at, as_of=day)
            assert all(len(set(person) & set(part)) < 2 for part in parts), (seed, day)
            earlier = partition_at(facts, known_at=known_at - 1, as_of=day)
            assert earlier == partition_at(facts[: known_at - 1], known_at=None, as_of=day), seed
        repeated = {tag: books.memories.get(tag) for tag in tags_of(books.facts[known_at - 1])}
        fold_fact(books.facts[known_at - 1], known_at, repeated, {})
        assert all(books.memories.get(tag) == state for tag, state in repeated.items()), seed


def test_the_same_command_yields_the_same_facts(histories: list[History]) -> None:
    """Invariant 8: deciding is a pure function, and asserting a linked pair again leaves the component as it is."""
    for told in histories:
        for command, decision, before, facts_before in told.steps:
            books = Books()
            books.memories, books.facts = dict(before), told.books.facts[:facts_before]
            assert books.decide(command) == decision, told.seed
        history, seed = told.fork(), told.seed
        books = history.books
        person = history.person()
        if len(person) > 1:
            persons = live_partition(books)
            fact = books.post(history.named(asking.link((person[0], person[1]))))
            assert isinstance(fact, list), seed
            assert [type(each) for each in fact] == [e.IdentitiesLinked], seed
            assert live_partition(books) == persons, seed


def test_what_was_believed_at_a_position_never_changes(histories: list[History]) -> None:
    """Invariant 11: the persons as known at every position, read from the whole journal, are those live at the time."""
    for history in histories:
        facts = list(enumerate(history.books.facts, 1))
        for step in history.steps[:: len(history.steps) // 4]:
            then = Books()
            then.memories = dict(step.before)
            believed = partition_at(facts, known_at=step.facts_before, as_of=None)
            assert believed == live_partition(then), (history.seed, step.facts_before)


def test_histories_are_rich() -> None:
    """Every kind of fact happens in them, but closings of periods: those have histories of their own in test_closing.py."""
    found = {type(fact) for seed in range(1_000) for fact in History(seed).run().books.facts}
    assert found == set(e.FACTS.values()) - {e.PeriodClosed}
