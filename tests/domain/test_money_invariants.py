"""Money is never lost or made, whatever happens: a thousand histories, in a soak ten thousand, against a replay from zero."""

from collections import defaultdict

from ledger.domain.commands import PostContribution
from ledger.domain.decider import State
from ledger.domain.events import decode, encode
from ledger.domain.identifiers import tags_of
from ledger.domain.postings import EXTERNAL, postings
from ledger.domain.states import FOLDS_OF, spell
from tests.domain.asking import PP
from tests.domain.histories import STEPS, History
from tests.domain.oracle import CAP_FEN, Oracle, records
from tests.domain.scenario import Books


def balances(books: Books) -> dict[tuple[str, str], int]:
    return {
        (account, part): fen
        for account, state in books.of("account").items()
        for part, fen in state["balances_fen"].items()
    }


def test_two_roads_lead_to_every_number(histories: list[History]) -> None:
    """Balances folded, summed from postings and by the oracle agree; the trial balance is zero; none is below."""
    for history in histories:
        books, seed = history.books, history.seed
        summed: defaultdict[tuple[str, str], int] = defaultdict(int)
        for fact in books.facts:
            legs = postings(fact)
            assert sum(leg.amount_fen for leg in legs) == 0, seed
            for leg in legs:
                if leg.account != EXTERNAL:
                    summed[leg.account, leg.part] += leg.amount_fen
        folded = balances(books)
        oracle = Oracle(records(books.facts))
        assert {key: fen for key, fen in folded.items() if fen} == {k: fen for k, fen in summed.items() if fen}, seed
        assert {key: fen for key, fen in folded.items() if fen} == {k: f for k, f in oracle.balances.items() if f}, seed
        assert min(folded.values()) >= 0, seed
        sheets = {tuple(state["members"]): sid for sid, state in books.of("identity").items()}
        assert sum(books.sheet(sid).balance_fen for sid in sheets.values()) == sum(folded.values()), seed


def totals_agree(state: State) -> bool:
    """What went in and out to date explains the balance."""
    totals: dict[str, int] = defaultdict(int, state["totals_fen"])
    balances_fen: dict[str, int] = state["balances_fen"]
    into = totals["contributions"] + totals["returns"] + totals["transferred_in"]
    out = totals["fees"] + totals["benefits"] + totals["transferred_out"]
    return into - out == sum(balances_fen.values())


def test_memory_is_the_fold_of_its_own_facts(histories: list[History]) -> None:
    """Each memory, refolded alone from the stored facts tagged with it, equals the live one byte for byte.

    Folding never changes its input, and the totals of an account explain its balance.
    """
    for history in histories:
        books, seed = history.books, history.seed
        alone: dict[str, State] = {}
        for position, fact in enumerate(books.facts, 1):
            stored = decode(type(fact).__name__, encode(fact))
            folds = FOLDS_OF[type(stored)]
            for tag in tags_of(stored):
                kind, _, key = tag.partition(":")
                if kind in folds:
                    before = alone.get(tag)
                    spelled = spell(before or {})
                    alone[tag] = folds[kind](before, stored, position, key)
                    assert spell(before or {}) == spelled, seed
        live = {tag: spell(state) for tag, state in books.memories.items()}
        assert {tag: spell(state) for tag, state in alone.items()} == live, seed
        assert all(totals_agree(state) for state in books.of("account").values()), seed


def test_no_accepted_contribution_passes_the_cap(histories: list[History]) -> None:
    """IDENTITY invariant 9, one writer: over all identities of the person, at the moment of posting."""
    for history in histories:
        journal = records(history.books.facts)
        for command, decision, _, facts_before in history.steps:
            if (
                isinstance(command, PostContribution)
                and isinstance(decision, list)
                and history.product(command.account) == PP
            ):
                oracle = Oracle(journal[: facts_before + 1])
                sid, year = oracle.accounts[command.account]["sid"], command.effective_on.year
                person = next(person for person in oracle.persons() if sid in person)
                used = sum(fen for holder, y, fen in oracle.counted.values() if holder in person and y == year)
                assert used <= CAP_FEN, (history.seed, command.command_id)


def test_memory_stays_small() -> None:
    """A memory's size does not grow with the facts folded into it, but for one number a year and counted payments."""
    for seed in range(100):
        history = History(seed).run()
        short = history.books.of("account")
        long = history.fork().run(6 * STEPS).books.of("account")
        assert all(len(spell(long[account])) < len(spell(state)) + 250 for account, state in short.items()), seed
