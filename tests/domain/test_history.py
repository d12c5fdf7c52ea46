"""The sheet out of facts alone: against memory, against the plain sum of the facts' JSON, and against itself.

The numbers are the invariants of `ledger.domain.history`, and where it says so those of IDENTITY.md section 2.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from random import Random

import pytest

from ledger.domain import sheet as sheet_module
from ledger.domain.commands import Command
from ledger.domain.events import (
    EntryReversed,
    Fact,
    IdentitiesLinked,
    IdentitiesMerged,
    IdentitiesUnmerged,
    SourceIdentityRegistered,
)
from ledger.domain.history import Positioned, Unreadable, sheet_at, sids_linked
from ledger.domain.identifiers import tags_of
from ledger.domain.postings import EXTERNAL, postings
from ledger.domain.rules import PRODUCTS
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.domain.timeline import partition_at
from tests.domain import asking
from tests.domain.asking import EA, PP
from tests.domain.histories import DAYS, History
from tests.domain.oracle import ENTRY_TYPES, Oracle, Record, records
from tests.domain.scenario import Books, given

DATES = [date.fromisoformat(day) for day in ("2024-06-02", asking.OPENED, *DAYS, asking.ON)]


@pytest.fixture(scope="module")
def told() -> list[History]:
    """Four hundred histories; to be continued only in a fork."""
    return [History(seed).run() for seed in range(400)]


def positioned(history: History) -> list[Positioned]:
    return list(enumerate(history.books.facts, 1))


def lines_of(sheet: BalanceSheet) -> list[AccountLine]:
    return [line for pillar in sheet.pillars for product in pillar.products for line in product.accounts]


def spelled(
    facts: Iterable[Positioned], sids: Iterable[str], *, known_at: int | None, as_of: date | None
) -> dict[str, str | None]:
    """The sheet of every identity's person, byte for byte; None for one that is not registered."""
    facts = list(facts)
    sheets = {sid: sheet_at(facts, sid, known_at=known_at, as_of=as_of) for sid in sids}
    return {sid: None if sheet is None else sheet.model_dump_json() for sid, sheet in sheets.items()}


def persons_sheets(facts: list[Positioned], *, known_at: int | None, as_of: date | None) -> Iterator[BalanceSheet]:
    for person in partition_at(facts, known_at=known_at, as_of=as_of):
        sheet = sheet_at(facts, person[-1], known_at=known_at, as_of=as_of)
        assert sheet is not None
        assert sorted(line.sid for line in sheet.identities) == person
        yield sheet


def test_without_a_date_it_is_what_memory_gave(told: list[History]) -> None:
    """Invariants 3, 4 and IDENTITY 11: at any position, also between the facts of one decision, byte for byte."""
    for history in told:
        facts, books = positioned(history), Books()
        chosen = {*Random(history.seed).sample(range(1, len(facts)), 6), len(facts)}  # noqa: S311 - made again
        for position, fact in facts:
            books.record(fact)
            if position in chosen:
                live = {
                    sid: books.sheet(sid).model_dump_json() if "identity:" + sid in books.memories else None
                    for sid in history.sids
                }
                assert spelled(facts, history.sids, known_at=position, as_of=None) == live, (history.seed, position)


def test_order_repeats_and_facts_of_others_change_nothing(told: list[History]) -> None:
    """Invariant 1: what is gathered for one person, round by round, gives the sheet that the whole journal gives."""
    for history in told:
        facts, random = positioned(history), Random(history.seed)  # noqa: S311 - made again
        sid, known_at, as_of = random.choice(history.sids), random.randint(1, len(facts)), random.choice(DATES)
        gathered = closure(facts, sid)
        gathered += random.sample(gathered, len(gathered) // 2)
        random.shuffle(gathered)
        for day in (None, as_of):
            whole = spelled(facts, [sid], known_at=known_at, as_of=day)
            assert spelled(gathered, [sid], known_at=known_at, as_of=day) == whole, (history.seed, known_at, day)


def closure(facts: list[Positioned], sid: str) -> list[Positioned]:
    """As a reader gathers them: by the tags of all who were ever linked, then by the tags of their accounts."""
    sids: set[str] = set()
    named = {sid}
    while named - sids:
        sids |= named
        tags = {f"identity:{each}" for each in sids}
        found = [(position, fact) for position, fact in facts if tags.intersection(tags_of(fact))]
        named = sids_linked(found)
    tags |= {tag for _, fact in found for tag in tags_of(fact) if tag.startswith("account:")}
    return [(position, fact) for position, fact in facts if tags.intersection(tags_of(fact))]


def test_after_the_last_effective_date_the_date_does_not_matter(told: list[History]) -> None:
    """Invariants 2, 6: at the end of any decision the whole sheet is, byte for byte, the one without a date."""
    for history in told:
        facts = positioned(history)
        for known_at in (history.steps[7].facts_before, history.steps[14].facts_before, len(facts)):
            last = max(fact.effective_on for _, fact in facts[:known_at])
            undated = spelled(facts, history.sids, known_at=known_at, as_of=None)
            assert spelled(facts, history.sids, known_at=known_at, as_of=last) == undated, (history.seed, known_at)


def summed(journal: Iterable[Record], day: str) -> dict[tuple[str, str], int]:
    """Account and part, with what the entries and reversals effective by that day leave there."""
    oracle = Oracle(())
    for _, name, fact in journal:
        if fact["effective_on"] > day:
            continue
        if name == "EntryReversed":
            ((kind, entry),) = fact["entry"].items()
            oracle._move(ENTRY_TYPES[kind], entry, -1)
        else:
            oracle._move(name, fact, 1)
    return {key: fen for key, fen in oracle.balances.items() if fen}


def test_balances_are_the_sums_of_what_was_effective(told: list[History]) -> None:
    """Invariants 2, 5: part by part, and an account that is not there yet is on no sheet, only said to be later."""
    for history in told:
        facts, journal = positioned(history), records(history.books.facts)
        random = Random(history.seed)  # noqa: S311 - made again
        for as_of in random.sample(DATES, 4):
            known_at = random.choice([len(facts), random.randint(1, len(facts))])
            sheets = list(persons_sheets(facts, known_at=known_at, as_of=as_of))
            lines = [line for sheet in sheets for line in lines_of(sheet)]
            shown = {(line.account, part.part): part.balance_fen for line in lines for part in line.parts}
            expected = summed(journal[:known_at], as_of.isoformat())
            assert {key: fen for key, fen in shown.items() if fen} == expected, (history.seed, known_at, as_of)
            opened = {
                fact["account"]: fact["opened_on"] for _, name, fact in journal[:known_at] if name == "AccountOpened"
            }
            later = [line.about for sheet in sheets for line in sheet.missing if line.code == "account_opened_later"]
            assert {line.account for line in lines} == {a for a, on in opened.items() if on <= as_of.isoformat()}
            assert sorted(later) == sorted(f"account:{a}" for a, on in opened.items() if on > as_of.isoformat())


def test_all_sheets_together_hold_what_was_posted(told: list[History]) -> None:
    """IDENTITY invariant 6 on both axes: no link, and no date of one, makes or loses money."""
    for history in told:
        facts, random = positioned(history), Random(history.seed)  # noqa: S311 - made again
        for as_of in (None, *random.sample(DATES, 4)):
            known_at = random.randint(1, len(facts))
            held: Counter[str] = Counter()
            for position, fact in facts:
                if position <= known_at and (as_of is None or fact.effective_on <= as_of):
                    held.update({leg.account: 0 for leg in postings(fact)})
                    for leg in postings(fact):
                        held[leg.account] += leg.amount_fen
            sheets = list(persons_sheets(facts, known_at=known_at, as_of=as_of))
            total = sum(fen for account, fen in held.items() if account != EXTERNAL)
            assert sum(sheet.balance_fen for sheet in sheets) == total, (history.seed, known_at, as_of)


def test_false_match_parts_the_sheets_on_every_date(told: list[History]) -> None:
    """Invariant 6, IDENTITY 12 and 16: afterwards neither shows anything of the other; what was known before stays."""
    tried = 0
    for history in told:
        forked = history.fork()
        person, facts_before = forked.person(), len(forked.books.facts)
        target = sorted([sid] for sid in person)
        command = forked.named(asking.unmerge(*target, on=forked.random.choice(DAYS)))
        if len(person) < 2 or not isinstance(forked.books.post(command), list):
            continue
        facts, tried = positioned(forked), tried + 1
        owners = {account: state["sid"] for account, state in forked.books.of("account").items()}
        for as_of in (None, *forked.random.sample(DATES, 4)):
            for sid in person:
                sheet = sheet_at(facts, sid, known_at=None, as_of=as_of)
                assert sheet is not None
                # A third, parted from her from a date on, may still be with her on an earlier one.
                composed = {line.sid for line in sheet.identities}
                assert composed & set(person) == {sid}, (history.seed, as_of)
                assert {owners[account] for account in accounts_named(sheet, facts)} <= composed, (history.seed, as_of)
            earlier = spelled(facts, person, known_at=facts_before, as_of=as_of)
            assert earlier == spelled(facts[:facts_before], person, known_at=None, as_of=as_of), history.seed
    assert tried > 100


def accounts_named(sheet: BalanceSheet, facts: list[Positioned]) -> set[str]:
    """Every account that any line of the sheet leads to, also through the entries that bear a breach."""
    named = {line.account for line in lines_of(sheet)}
    named.update(account for line in sheet.duplicates for account in line.account_ids)
    tags = [line.about for line in sheet.missing]
    for breach in sheet.breaches:
        tags += [tag for position in breach.contributing_positions for tag in tags_of(facts[position - 1][1])]
    return named | {tag.removeprefix("account:") for tag in tags if tag.startswith("account:")}


def test_merge_undone_restores_every_sheet_on_every_date(told: list[History]) -> None:
    """Invariant 6, IDENTITY 3 on both axes: byte for byte, after a false match, on every date.

    But for dates on which the parts had been one person before, until an unmerge from a date: these the false match parts.
    """
    tried: Counter[bool] = Counter()
    for history in told:
        forked = history.fork()
        before = positioned(forked)
        if not forked.join():
            continue
        person = next(f.after[0] for f in reversed(forked.books.facts) if isinstance(f, IdentitiesMerged))
        target = [part for part in partition_at(before, known_at=None, as_of=None) if set(part) <= set(person)]
        command = forked.named(asking.unmerge(*target, on=forked.random.choice(DAYS)))
        assert isinstance(forked.books.post(command), list), history.seed
        facts = positioned(forked)
        part_of = {sid: index for index, part in enumerate(target) for sid in part}
        for as_of in (None, *forked.random.sample(DATES, 4)):
            were = partition_at(before, known_at=None, as_of=as_of)
            mixed = any(len({part_of[sid] for sid in part if sid in part_of}) > 1 for part in were)
            tried[mixed] += 1
            if not mixed:
                restored = spelled(facts, history.sids, known_at=None, as_of=as_of)
                assert restored == spelled(before, history.sids, known_at=None, as_of=as_of), (history.seed, as_of)
        known = spelled(facts, history.sids, known_at=len(before), as_of=DATES[5])
        assert known == spelled(before, history.sids, known_at=None, as_of=DATES[5]), history.seed
    assert tried[False] > 20 * tried[True]


def sheet_of(sid: str, *past: Command | Fact, known_at: int | None = None, as_of: str | None = None) -> BalanceSheet:
    facts = enumerate(given(*past).books.facts, 1)
    found = sheet_at(facts, sid, known_at=known_at, as_of=None if as_of is None else date.fromisoformat(as_of))
    assert found is not None
    return found


def missing(sheet: BalanceSheet) -> list[tuple[str, str]]:
    return [(line.about, line.code) for line in sheet.missing]


ANNUITY = (asking.register("bank:1"), asking.open_account("EA-1", "bank:1", EA))
PERSONAL = (asking.register("hr:1"), asking.open_account("PP-1", "hr:1", PP, on="2025-01-01"))


def test_nobody_before_her_registration() -> None:
    facts = list(enumerate(given(*ANNUITY, *PERSONAL).books.facts, 1))
    assert sheet_at(facts, "hr:1", known_at=2, as_of=None) is None
    assert sheet_at(facts, "hr:1", known_at=3, as_of=date(1999, 1, 1)) is not None
    assert sheet_at([], "hr:1", known_at=None, as_of=None) is None


def test_account_is_there_from_its_opening_day_though_told_later() -> None:
    """Invariant 5: the opening fact's own effective date lies behind contributions that are in order."""
    opening = asking.open_account("EA-1", "bank:1", EA, on="2025-01-01").model_copy(
        update={"effective_on": date(2025, 6, 1)}
    )
    past = (asking.register("bank:1"), opening, asking.contribute("EA-1", on="2025-03-01", employee=500))
    assert lines_of(sheet_of("bank:1", *past, as_of="2024-12-31")) == []
    assert [line.balance_fen for line in lines_of(sheet_of("bank:1", *past, as_of="2025-02-28"))] == [0]
    assert [line.balance_fen for line in lines_of(sheet_of("bank:1", *past, as_of="2025-03-01"))] == [500]


def test_account_left_for_another_bank_takes_contributions_until_then() -> None:
    """Invariant 5: it is replaced from the effective date of the opening, even where the new one is there before."""
    opening = asking.open_account("PP-2", "hr:1", PP, on="2025-05-01", replaces="PP-1").model_copy(
        update={"effective_on": date(2025, 6, 1)}
    )
    found = {
        day: [line.takes_contributions for line in lines_of(sheet_of("hr:1", *PERSONAL, opening, as_of=day))]
        for day in ("2025-04-30", "2025-05-31", "2025-06-01")
    }
    assert found == {"2025-04-30": [True], "2025-05-31": [True, True], "2025-06-01": [False, True]}


def test_reversal_effective_before_its_entry_counts_by_its_own_date() -> None:
    """Invariant 2: the balance is then below zero; the rule is that each fact counts from its own date."""
    past = (*ANNUITY, asking.contribute("EA-1", on="2026-03-02", employee=500), asking.reverse(3, on="2026-02-01"))
    found = [sheet_of("bank:1", *past, as_of=day).balance_fen for day in ("2026-01-31", "2026-02-01", "2026-03-02")]
    assert found == [0, -500, 0]


def test_reversed_benefit_that_is_still_to_come_ends_no_contributions() -> None:
    past = (
        *ANNUITY,
        asking.contribute("EA-1", on="2025-03-01", employee=500),
        asking.pay("EA-1", "EA_DISABLED", 100, on="2026-03-02"),
        asking.reverse(4, on="2026-02-01"),
    )
    found = [line.takes_contributions for line in lines_of(sheet_of("bank:1", *past, as_of="2026-02-15"))]
    assert found == [True]


def merged_with_both_limits() -> tuple[Command, ...]:
    return (
        *PERSONAL,
        asking.register("bank:2"),
        asking.open_account("PP-2", "bank:2", PP, on="2025-01-02"),
        asking.contribute("PP-1", on="2025-02-01", own=1_200_000),
        asking.contribute("PP-2", on="2025-02-02", own=500),
        asking.merge(("hr:1", "bank:2"), on="2025-03-01"),
    )


def test_breach_and_flag_hold_from_the_merge_that_made_them() -> None:
    """Invariant 6: and an unmerge from a date ends them on that date."""
    past = (*merged_with_both_limits(), asking.unmerge(["hr:1"], ["bank:2"], cause="fraud", on="2025-09-01"))
    for day, standing in (("2025-02-28", 0), ("2025-03-01", 1), ("2025-08-31", 1), ("2025-09-01", 0)):
        sheet = sheet_of("hr:1", *past, as_of=day)
        assert (len(sheet.breaches), len(sheet.duplicates)) == (standing, standing), day


def test_breach_and_flag_of_a_false_match_never_held() -> None:
    """Invariant 6: though the facts that rescind them are effective later."""
    past = (*merged_with_both_limits(), asking.unmerge(["hr:1"], ["bank:2"], on="2025-09-01"))
    for sid in ("hr:1", "bank:2"):
        sheet = sheet_of(sid, *past, as_of="2025-06-01")
        assert (sheet.breaches, sheet.duplicates) == ([], [])
        assert [line.takes_contributions for line in lines_of(sheet)] == [True]
        assert len(sheet_of(sid, *past, known_at=7, as_of="2025-06-01").identities) == 2


def test_breach_of_a_part_outlives_a_false_match_with_a_third() -> None:
    """Invariant 6: on dates between merge and unmerge too, where its rescission and new record would leave a gap."""
    third = (
        asking.register("sec:1"),
        asking.open_account("PP-3", "sec:1", PP, on="2025-01-03"),
        asking.contribute("PP-3", on="2025-02-03", own=700),
    )
    past = (*merged_with_both_limits(), *third)
    merged = (*past, asking.merge(("hr:1", "sec:1"), on="2025-05-01"))
    parted = (*merged, asking.unmerge(["bank:2", "hr:1"], ["sec:1"], on="2025-09-01"))
    for day in ("2025-04-01", "2025-06-01", "2025-10-01"):
        assert sheet_of("hr:1", *parted, as_of=day) == sheet_of("hr:1", *past, as_of=day)
    together = sheet_of("hr:1", *merged, as_of="2025-06-01")
    assert together.breaches != sheet_of("hr:1", *past).breaches
    dated = asking.unmerge(["bank:2", "hr:1"], ["sec:1"], cause="fraud", on="2025-09-01")
    assert sheet_of("hr:1", *merged, dated, as_of="2025-06-01") == together


def test_pillars_without_products_and_without_accounts_are_said() -> None:
    """`pillar_not_connected`, `no_account_known`: whoever of the person holds an account fills its pillar."""
    past = (*ANNUITY, *PERSONAL)
    assert missing(sheet_of("bank:1", *past)) == [
        ("pillar:1", "pillar_not_connected"),
        ("pillar:3", "no_account_known"),
    ]
    assert missing(sheet_of("bank:1", *past, asking.merge(("bank:1", "hr:1")))) == [
        ("pillar:1", "pillar_not_connected")
    ]
    pillars = defaultdict(set)
    for product in PRODUCTS.values():
        pillars[product.pillar].add(product.code)
    assert set(sheet_module.PILLARS) - pillars.keys() == {1}


def test_account_that_is_not_there_yet_is_said() -> None:
    """`account_opened_later`: its pillar is known to have an account."""
    assert missing(sheet_of("hr:1", *PERSONAL, as_of="2024-12-31")) == [
        ("account:PP-1", "account_opened_later"),
        ("pillar:1", "pillar_not_connected"),
        ("pillar:2", "no_account_known"),
    ]
    assert "account:PP-1" not in dict(missing(sheet_of("hr:1", *PERSONAL, as_of="2025-01-01")))


def test_fact_that_cannot_be_read_is_said_once_and_no_number_counts_it() -> None:
    """`fact_unreadable`, invariant 7: of her accounts and identities alone, and of what was known by then."""
    facts = list(enumerate(given(*ANNUITY, *PERSONAL).books.facts, 1))
    unreadable = [
        Unreadable(position, about)
        for position, about in [(9, "account:EA-1"), (7, "account:EA-1"), (6, "identity:bank:1"), (7, "account:PP-1")]
    ]
    for known_at, expected in (
        (None, [("account:EA-1", 7), ("account:EA-1", 9), ("identity:bank:1", 6)]),
        (8, [("account:EA-1", 7), ("identity:bank:1", 6)]),
        (5, []),
    ):
        sheet = sheet_at(facts, "bank:1", known_at=known_at, as_of=None, unreadable=unreadable * 2)
        assert sheet is not None
        assert [(e.about, e.position) for e in sheet.missing if e.code == "fact_unreadable"] == expected


def test_unreadable_opening_keeps_the_account_off_the_sheet() -> None:
    """Invariant 7: what can be read of it has nothing to count on."""
    facts = list(enumerate(given(*ANNUITY, asking.contribute("EA-1", employee=500)).books.facts, 1))
    unreadable = [Unreadable(2, "account:EA-1"), Unreadable(2, "identity:bank:1")]
    sheet = sheet_at([facts[0], facts[2]], "bank:1", known_at=None, as_of=None, unreadable=unreadable)
    assert sheet is not None
    assert sheet.pillars == []
    assert ("identity:bank:1", "fact_unreadable") in missing(sheet)


def test_identity_whose_registration_is_unreadable_still_joins_the_others() -> None:
    """Invariant 7: else the sheet would lack all that lies behind it, and not say so."""
    past = (*ANNUITY, asking.register("ea:1"), *PERSONAL, asking.link(("bank:1", "ea:1"), ("ea:1", "hr:1")))
    facts = list(enumerate(given(*past).books.facts, 1))
    assert isinstance(facts[2][1], SourceIdentityRegistered)
    assert isinstance(facts[5][1], IdentitiesLinked)
    del facts[2]
    sheet = sheet_at(facts, "bank:1", known_at=None, as_of=None, unreadable=[Unreadable(3, "identity:ea:1")])
    assert sheet is not None
    assert [line.sid for line in sheet.identities] == ["bank:1", "hr:1"]
    assert ("identity:ea:1", "fact_unreadable") in missing(sheet)
    with pytest.raises(AssertionError, match="neither registered nor unreadable"):
        sheet_at(facts, "bank:1", known_at=None, as_of=None)


def test_histories_reach_what_the_dates_decide(told: list[History]) -> None:
    """Reversals before their entries, and unmerges of both kinds, happen in them."""
    backdated, voids = 0, Counter[str]()
    for history in told:
        facts = history.books.facts
        for fact in facts:
            if isinstance(fact, EntryReversed):
                backdated += fact.effective_on < facts[fact.reverses - 1].effective_on
            elif isinstance(fact, IdentitiesUnmerged):
                voids[fact.voids] += 1
    assert backdated > 20
    assert min(voids["from_start"], voids["from_date"]) > 50
