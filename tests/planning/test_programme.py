"""The mixed-integer programme against exhaustive enumeration: every answer is the best there is, or says by how much not."""

import random
from fractions import Fraction
from itertools import product

import pytest

from ledger.planning import programme as solving
from ledger.planning.programme import Amounts, Apart, Candidate, Ceiling, Programme, Relief, solve, value_of_products
from tests.scale import scaled

CASES = scaled(6_000)
# The solver tells values apart down to this many fen.
TELLS_FEN = Fraction(1, 100)


def options(candidate: Candidate) -> list[int]:
    """Every amount of one product that may be bought."""
    return [0, *range(candidate.minimum_fen, candidate.most_fen + 1, candidate.step_fen)]


def enumerated(programme: Programme) -> list[Amounts]:
    """Every plan inside the ceilings, written without the code under test."""
    return [
        amounts
        for amounts in product(*map(options, programme.candidates))
        if all(sum(amounts[place] for place in each.members) <= each.bound_fen for each in programme.ceilings)
    ]


def worth(programme: Programme, amounts: Amounts) -> Fraction:
    """What a plan gains: each product's gain, and the relief filled from its first stretch on."""
    total = sum((each.gain * amount for each, amount in zip(programme.candidates, amounts, strict=True)), Fraction(0))
    paid = sum(amounts[place] for place in programme.relieved)
    for stretch in programme.reliefs:
        total += stretch.worth * min(paid, stretch.width_fen)
        paid = max(0, paid - stretch.width_fen)
    return total


def random_programme(rnd: random.Random, steps: int = 4, products: int = 4) -> Programme:
    candidates = []
    for place in range(rnd.randint(1, products)):
        step_fen = rnd.choice([1, 100, 300, 1_000, 2_500, 10_000])
        minimum_fen = step_fen * rnd.choice([1, 1, 2, 3, 7])
        most_fen = minimum_fen + step_fen * rnd.randint(0, steps)
        gain = Fraction(rnd.randint(-300, 2_000), 1_000)
        candidates.append(Candidate(f"p{place}", minimum_fen, step_fen, most_fen, gain))
    count = len(candidates)
    largest = sum(each.most_fen for each in candidates)

    def ceiling(name: str, share: float) -> Ceiling:
        members = tuple(place for place in range(count) if rnd.random() < share)
        return Ceiling(name, rnd.randint(0, largest), members)

    relieved = tuple(place for place in range(count) if rnd.random() < 0.5)
    rates = sorted((Fraction(rnd.randint(0, 450), 1_000) for _ in range(rnd.randint(0, 3))), reverse=True)
    reliefs = tuple(Relief(rnd.randint(1, max(1, largest // 2)), rate) for rate in rates) if relieved else ()
    ceilings = (
        Ceiling("to_save", rnd.randint(1, largest), tuple(range(count))),
        Ceiling("pension", rnd.randint(0, largest), relieved),
        ceiling("liquidity_buffer", 0.6),
        ceiling("risky_share", 0.5),
    )
    return Programme(tuple(candidates), ceilings, relieved, reliefs)


@pytest.mark.parametrize("batch", range(4))
def test_no_plan_is_worth_more_than_the_answer(batch: int) -> None:
    """Exhaustive enumeration finds nothing better, and the answer is among what it finds."""
    rnd = random.Random(batch)  # noqa: S311 - draws cases, keeps no secret
    for _ in range(CASES // 4):
        programme = random_programme(rnd)
        solved = solve(programme)
        plans = enumerated(programme)
        assert solved is not None
        assert solved.amounts in plans
        assert programme.allows(solved.amounts)
        best = max(worth(programme, each) for each in plans)
        assert programme.gain(solved.amounts) == worth(programme, solved.amounts)
        assert best - TELLS_FEN <= worth(programme, solved.amounts) <= best
        assert solved.best_possible >= float(best) - float(TELLS_FEN)


def test_many_steps_are_the_best_or_say_by_how_much_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where steps are too many to be whole for the solver, the answer is whole all the same, and the gap to the bound is told."""
    monkeypatch.setattr(solving, "WIDE", 1)
    monkeypatch.setattr(solving, "NEAR", 2)
    rnd = random.Random(11)  # noqa: S311 - draws cases, keeps no secret
    short = 0
    for _ in range(scaled(2_000)):
        programme = random_programme(rnd)
        solved = solve(programme)
        best = max(worth(programme, each) for each in enumerated(programme))
        assert solved is not None
        assert programme.allows(solved.amounts)
        found = worth(programme, solved.amounts)
        assert found <= best <= Fraction(solved.best_possible) + TELLS_FEN
        short += found < best - TELLS_FEN
    assert short <= scaled(2_000) // 10


def test_another_plan_is_the_best_of_those_that_move_enough() -> None:
    """The runner-up is the best of all plans in which some holding of the plan, or the bank, gives up so much."""
    rnd = random.Random(5)  # noqa: S311 - draws cases, keeps no secret
    for _ in range(scaled(2_000)):
        programme = random_programme(rnd, products=3)
        solved = solve(programme)
        assert solved is not None
        amount_fen = programme.ceilings[0].bound_fen
        rest_fen = amount_fen - sum(solved.amounts)
        apart = Apart(solved.amounts, rest_fen, min(max(1, amount_fen // 10), max(*solved.amounts, rest_fen)))
        others = [
            each
            for each in enumerated(programme)
            if any(
                before >= apart.moved_fen and after <= before - apart.moved_fen
                for before, after in zip((*solved.amounts, rest_fen), (*each, amount_fen - sum(each)), strict=True)
            )
        ]
        found = solve(programme, apart)
        if found is None:
            assert not others
            continue
        best = max(worth(programme, each) for each in others)
        assert found.amounts in others
        assert best - TELLS_FEN <= worth(programme, found.amounts) <= best


def test_the_same_programme_has_the_same_answer() -> None:
    """No clock and no chance decides (invariant 2)."""
    programme = random_programme(random.Random(3))  # noqa: S311 - draws cases, keeps no secret
    assert len({solve(programme) for _ in range(5)}) == 1


def test_margin_is_what_a_free_yuan_earns() -> None:
    """Without minima a yuan more of the ceiling goes to the best product that has room; beyond all room it is worth nothing."""
    candidates = (
        Candidate("best", 100, 100, 10_000, Fraction(3, 10)),
        Candidate("next", 100, 100, 50_000, Fraction(1, 10)),
    )
    expected = {5_000: 30, 10_000: 10, 59_900: 10, 60_000: 0}
    for bound_fen, worth_fen in expected.items():
        here, more = (
            value_of_products(Programme(candidates, (Ceiling("to_save", each, (0, 1)),), (), ()), [True, True])
            for each in (bound_fen, bound_fen + 100)
        )
        assert round(more - here, 6) == worth_fen


def test_margin_agrees_with_enumeration() -> None:
    """With steps of one yuan everywhere, a ceiling a yuan wider is worth to the free programme what enumeration finds."""
    rnd = random.Random(8)  # noqa: S311 - draws cases, keeps no secret
    for _ in range(scaled(300)):
        candidates = tuple(
            Candidate(f"p{place}", 100, 100, 100 * rnd.randint(1, 8), Fraction(rnd.randint(1, 999), 1_000))
            for place in range(3)
        )
        bounds = [100 * rnd.randint(0, 16), 100 * rnd.randint(0, 8)]
        worths = []
        for extra_fen in (0, 100):
            ceilings = (Ceiling("to_save", bounds[0] + extra_fen, (0, 1, 2)), Ceiling("risky_share", bounds[1], (1, 2)))
            programme = Programme(
                candidates, ceilings, (0, 1), (Relief(200, Fraction(1, 5)), Relief(400, Fraction(1, 10)))
            )
            exact = max(worth(programme, each) for each in enumerated(programme))
            free = value_of_products(programme, [True] * 3)
            worths.append((exact, free))
        (exact, free), (exact_more, free_more) = worths
        assert float(exact) == pytest.approx(free, abs=0.001)
        assert float(exact_more - exact) == pytest.approx(free_more - free, abs=0.001)


def test_nothing_to_buy_leaves_everything_in_the_bank() -> None:
    """Without candidates, or without room, the answer is to buy nothing."""
    nothing = Programme((), (Ceiling("to_save", 100, ()),), (), ())
    one = (Candidate("p", 100, 100, 100, Fraction(1)),)
    full = Programme(one, (Ceiling("to_save", 100, (0,)), Ceiling("risky_share", 0, (0,))), (), ())
    for programme in (nothing, full):
        solved = solve(programme)
        assert solved is not None
        assert sum(solved.amounts) == 0
        assert solve(programme, Apart(solved.amounts, 100, 100)) is None
