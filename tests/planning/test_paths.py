"""The simulated paths: without chance they are the plan, with it they are reproducible, ordered and honest about error."""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError

from ledger.planning.bands import Band, bands, chance
from ledger.planning.cashflow import run
from ledger.planning.courses import Course, Growth, Year
from ledger.planning.draws import yearly_shocks
from ledger.planning.markets import MARKETS, Markets
from ledger.planning.mortality import life_of, survival
from ledger.planning.outlook import PARTS, Outlook, Payout, PayoutTax
from ledger.planning.paths import FEWEST, MAX_SEED, MOST, Uncertainty, simulate
from ledger.planning.purse import FirstPillar, Purse
from ledger.planning.summing import summary
from ledger.planning.weather import years
from tests.planning.outlooks import ANNUAL, FLAT, MONTHLY, TABLE, YUAN, outlook, with_payout
from tests.planning.persons import answers, assuming, levers, planned
from tests.scale import SOAKS, scaled

LAW: Final = life_of(MARKETS, "F55")
PAIRS: Final = 2
FIRST: Final = 301
NEED_AT_RISK: Final = 8_000
SEEDS: Final = max(8, scaled(40))


def simulated(life: Outlook, seed: int = 7, paths: int = FEWEST, markets: Markets = MARKETS) -> Uncertainty:
    return simulate(life, markets, seed, paths, life=LAW)


def months_of(life: Outlook, markets: Markets, pairs: int = PAIRS) -> Iterator[tuple[Year, list[Course], Purse]]:
    """The years of the paths as they run, with every pot."""
    first_pillar = FirstPillar(life, markets, pairs)
    middle = [Course(life, index, markets, pairs) for index in range(1, len(life.pots) - 1)]
    purse = Purse(life, markets, pairs)
    for year in years(life, markets, 7, pairs):
        first_pillar.run(year)
        for course in middle:
            course.run(year)
        purse.run(year)
        yield year, [first_pillar.account, *middle, purse.savings], purse


LIVES: Final[dict[str, Outlook]] = {
    "monthly": outlook(),
    "in need": outlook(need_yuan=NEED_AT_RISK),
    "starts in January": outlook(start_month=1),
    "near retirement": outlook(age_years=58),
    "low wage": outlook(wage_yuan=4_000),
    "high wage": outlook(wage_yuan=90_000),
    "quarterly": with_payout(
        outlook(),
        "enterprise_annuity",
        Payout("quarterly", FIRST, PayoutTax("table", steps=MONTHLY, spread=3, taxable_bp=8_000), every=3, divisor=139),
    ),
    "fixed amount": with_payout(outlook(), "personal_pension", Payout("fixed_amount", FIRST, FLAT, amount_fen=700_000)),
    "fixed months": with_payout(outlook(), "enterprise_annuity", Payout("fixed_months", FIRST, TABLE, months=120)),
    "lump sum": with_payout(outlook(), "enterprise_annuity", Payout("lump_sum", FIRST, TABLE)),
    "as wages": with_payout(outlook(), "commercial_pension", Payout("monthly", FIRST, PayoutTax("wages"), divisor=10)),
    "yearly annuity": with_payout(
        outlook(),
        "enterprise_annuity",
        Payout("yearly", FIRST, PayoutTax("table", steps=ANNUAL), every=12, divisor=139),
    ),
    "lump need": outlook(lump_today_fen=np.where(np.arange(781) == 130, 60_000_000, 0)),
    "retired": outlook(age_years=65, retire_years=64),
}


@pytest.mark.parametrize("name", LIVES)
def test_without_chance_every_month_of_every_path_is_the_plan(name: str) -> None:
    """Invariant 1 of paths and of courses: within two yuan of incomes every month, five of balances every year."""
    agrees(LIVES[name])


PLANS: Final[dict[str, dict[str, Any]]] = {
    "as it is": {},
    "saves more": {"pp_yearly_fen": 1_200_000, "saving_monthly_fen": 100_000},
    "breaks off": {"break_in_work": {"start": "2030-03", "months": 18, "pays_first_pillar": True}},
    "stops early": {"contribute_until": "2045-06"},
    "takes lumps": {"payouts": {"enterprise_annuity": {"form": "quarterly"}, "personal_pension": {"form": "lump_sum"}}},
}


@pytest.mark.parametrize("name", PLANS)
def test_without_chance_a_plan_from_a_sheet_is_every_path(name: str) -> None:
    """As the test before, of outlooks that were compiled from a sheet, answers and rules."""
    agrees(planned(answers(), levers(**PLANS[name])).outlook)


def test_without_chance_savings_and_annuities_that_are_credited_yearly_agree_too() -> None:
    agrees(
        planned(answers(), assumed=assuming(savings_credited="yearly", enterprise_annuity_credited="yearly")).outlook
    )


def agrees(life: Outlook) -> None:
    exact = run(life)
    lumps = sum(
        (flows.payouts_fen - flows.tax_fen for flows, pot in zip(exact.pots, life.pots, strict=True)
         if pot.payout is not None and pot.payout.form == "lump_sum"),
        np.zeros(life.months, np.int64),
    )  # fmt: skip
    income = exact.household.income_fen - lumps
    for year, courses, _ in months_of(life, MARKETS.still()):
        span = slice(year.first, year.first + year.count)
        assert np.abs(year.income[: year.count] - income[span, np.newaxis]).max() < 2 * YUAN
        for flows, course in zip(exact.pots, courses, strict=True):
            assert np.abs(course.balance - flows.closing_fen[span][-1]).max() < 5 * YUAN, course.pot.code


@pytest.mark.parametrize("name", ["in need", "lump need", "low wage"])
def test_without_chance_the_money_runs_short_in_the_month_of_the_plan(name: str) -> None:
    life = LIVES[name]
    exact = np.flatnonzero(run(life).household.shortfall_fen > YUAN)
    *_, (_, _, purse) = months_of(life, MARKETS.still())
    assert set(purse.short_from.tolist()) == {int(exact[0]) if len(exact) else life.months}


def test_without_chance_the_bands_are_the_plan() -> None:
    life = LIVES["monthly"]
    exact = run(life)
    real = exact.household.income_fen / (life.price_index / PARTS)
    totals = sum((flows.closing_fen for flows in exact.pots), np.zeros(life.months, np.int64))
    found = simulated(life, markets=MARKETS.still())
    assert [each.age for each in found.years] == list(range(35, 100))
    for row in found.years:
        months = np.flatnonzero(life.age_months // 12 == row.age)
        income, balances = (
            msgspec.structs.astuple(row.income_today_fen),
            msgspec.structs.astuple(row.balances_today_fen),
        )
        assert income == pytest.approx([real[months].mean()] * 5, abs=3 * YUAN)
        assert balances == pytest.approx(
            [totals[months[-1]] / (life.price_index[months[-1]] / PARTS)] * 5, abs=3 * YUAN
        )
    assert found.first_income_today_fen is not None
    assert found.first_income_today_fen.p50 == pytest.approx(real[FIRST : FIRST + 12].mean(), abs=3 * YUAN)


def test_the_same_seed_gives_the_same_answer_and_another_seed_another() -> None:
    life = outlook(need_yuan=NEED_AT_RISK)
    first = simulated(life)
    assert msgspec.json.encode(first) == msgspec.json.encode(simulated(life))
    assert first.years != simulated(life, seed=8).years


def test_an_answer_is_the_same_on_every_machine() -> None:
    """These figures are written down: a machine, or a release of numpy, that gives others breaks the promise."""
    found = simulated(outlook(need_yuan=NEED_AT_RISK))
    assert (found.short.share, found.short.standard_error) == WRITTEN_CHANCE
    assert found.years[30].income_today_fen == WRITTEN_INCOME


WRITTEN_CHANCE: Final = (0.248, 0.007909)
WRITTEN_INCOME: Final = Band(910691, 1054354, 1176306, 1310235, 1527895)


def test_another_plan_meets_the_same_markets_and_lives() -> None:
    """Invariant 3: of two plans, one with more savings is richer on every path, and the chances of life are the same."""
    poorer, richer = outlook(need_yuan=NEED_AT_RISK), outlook(need_yuan=NEED_AT_RISK, aside_yuan=1_500)
    one = [purse.short_from.copy() for _, _, purse in months_of(poorer, MARKETS, 500)][-1]
    other = [purse.short_from.copy() for _, _, purse in months_of(richer, MARKETS, 500)][-1]
    assert np.all(one <= other)
    assert np.any(one < other)
    assert simulated(poorer).reaches_end == simulated(richer).reaches_end


def test_bands_rise_and_balances_are_not_negative() -> None:
    """Invariant 1 of bands, 2 of courses."""
    found = simulated(outlook(need_yuan=NEED_AT_RISK))
    every = [
        band for row in found.years for band in (row.income_today_fen, row.balances_today_fen, row.savings_today_fen)
    ]
    for band in every:
        values = list(msgspec.structs.astuple(band))
        assert values == sorted(values)
    assert min(band.p5 for band in every) >= 0
    for row in found.years:
        assert row.balances_today_fen.p50 >= row.savings_today_fen.p50


def test_bands_widen_with_the_years_and_hold_the_plan_in_their_middle() -> None:
    """A return is read as growth over the years: the median path ends within five percent of the plan's."""
    life = outlook()
    totals = sum((flows.closing_fen for flows in run(life).pots), np.zeros(life.months, np.int64))
    found = simulated(life, paths=8_000)
    for row in found.years[:25]:
        t = int(np.flatnonzero(life.age_months // 12 == row.age)[-1])
        plan = totals[t] / (life.price_index[t] / PARTS)
        assert row.balances_today_fen.p50 == pytest.approx(plan, rel=0.05)

    def width(age: int) -> float:
        band = found.years[age - 35].balances_today_fen
        return (band.p95 - band.p5) / band.p50

    assert width(36) < width(45) < width(55)


@pytest.mark.parametrize("seed", range(1, 1 + scaled(10)))
def test_the_chance_of_running_short_rises_with_the_need(seed: int) -> None:
    chances = [
        simulated(outlook(need_yuan=need), seed).short.share for need in (0, 6_000, 7_000, 8_000, 10_000, 20_000)
    ]
    assert chances == sorted(chances)
    assert chances[0] == 0
    assert chances[-1] > 0.9


def test_whoever_needs_nothing_never_runs_short() -> None:
    found = simulated(outlook(need_yuan=0))
    assert (found.short.share, found.short.standard_error, found.short_age_months) == (0, 0, None)


def test_whoever_cannot_live_a_month_runs_short_if_she_lives_to_retire() -> None:
    """The need is far above all she has: the chance is that of living through the first month of retirement."""
    life = outlook(need_yuan=900_000, aside_yuan=0)
    found = simulated(life)
    alive = survival(LAW, 35 * 12, 2026 + 11 / 12, life.months)
    assert found.short.share == pytest.approx(alive[FIRST], abs=4 * found.short.standard_error)
    assert found.short_age_months is not None
    assert found.short_age_months.p5 == 35 * 12 + FIRST


def test_the_chance_to_reach_the_end_is_that_of_the_law_of_mortality() -> None:
    life = outlook()
    found = simulated(life, paths=MOST if SOAKS else 8_000)
    alive = survival(LAW, 35 * 12, 2026 + 11 / 12, life.months)[-1]
    assert found.reaches_end.share == pytest.approx(alive, abs=3 * found.reaches_end.standard_error)
    assert found.years[-1].alive == pytest.approx(alive, abs=0.01)


def test_more_paths_narrow_the_error() -> None:
    """Four times the paths, half the error; and the chances of many seeds scatter as their errors say."""
    life = outlook(need_yuan=NEED_AT_RISK)
    few = [simulated(life, seed).short for seed in range(SEEDS)]
    many = simulated(life, 1, paths=8_000).short
    assert many.standard_error == pytest.approx(few[1].standard_error / 2, rel=0.15)
    scatter = float(np.std([each.share for each in few], ddof=1))
    assert scatter / few[0].standard_error == pytest.approx(1, abs=0.3 if SOAKS else 0.8)


def test_the_error_of_a_chance_is_taken_over_pairs() -> None:
    """Invariant 2 of bands: pairs that always agree count once, pairs that always differ leave no doubt."""
    half = np.arange(100) < 30
    agreeing = chance(np.concatenate([half, half]))
    assert agreeing.share == pytest.approx(0.3)
    assert agreeing.paths == 60
    assert agreeing.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 99), rel=1e-4)
    assert chance(np.concatenate([half, ~half])).standard_error == 0


def test_percentiles_are_those_of_numpy() -> None:
    samples = np.random.Generator(np.random.SFC64(5)).random((3, 2_000)) * 1e9
    expected = np.rint(np.percentile(samples, [5, 25, 50, 75, 95], axis=1)).astype(np.int64).T.tolist()
    assert [list(msgspec.structs.astuple(band)) for band in bands(samples)] == expected


def test_the_paths_of_a_pair_are_opposites() -> None:
    """Invariant 2 of draws: returns lie as far above the middle as below it, and so does the growth of wages."""
    life = outlook()
    growth = Growth(life.pots[2], MARKETS)
    year = next(years(life, MARKETS, 7, 500))
    factors = growth.of(year)
    assert np.allclose(factors[:, :500] + factors[:, 500:], 2 * growth.middle, atol=1e-12)
    _, after = year.wages
    assert np.allclose(after[:500] + after[500:], 2, atol=1e-12)
    assert after.std() > 0


def test_declared_rates_do_not_fall_below_nought() -> None:
    """Invariant 3 of courses."""
    life = outlook()
    growth = Growth(life.pots[-1], MARKETS)
    factors = [growth.of(year).min() for year in years(life, MARKETS, 7, 1_000)]
    assert min(factors) == pytest.approx(1, abs=1e-9)


def test_a_longer_horizon_only_appends_months() -> None:
    """Invariant 1 of draws."""
    shocks = yearly_shocks(MARKETS, 7, 500)
    first = next(shocks).copy()
    again = yearly_shocks(MARKETS, 7, 500)
    assert np.array_equal(next(again), first)
    assert not np.array_equal(next(again), first)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("paths", {"paths": FEWEST - 1}),
        ("paths", {"paths": MOST + 4}),
        ("paths", {"paths": FEWEST + 2}),
        ("paths", {"paths": 2_000.0}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": MAX_SEED + 1}),
        ("seed", {"seed": True}),
        ("seed", {"seed": "7"}),
    ],
)
def test_a_seed_or_number_of_paths_out_of_range_is_refused_by_its_field(field: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=re.escape(field)) as refused:
        simulate(outlook(), MARKETS, **({"seed": 7, "paths": FEWEST} | changed), life=LAW)
    assert [each["loc"] for each in refused.value.errors()] == [(field,)]


@pytest.mark.parametrize("seed", [0, MAX_SEED])
def test_the_borders_of_the_seed_are_taken(seed: int) -> None:
    assert simulated(outlook(age_years=58), seed).seed == seed


def test_of_who_has_retired_the_first_income_is_that_of_the_year_to_come() -> None:
    life = LIVES["retired"]
    found = simulated(life, markets=MARKETS.still())
    assert found.first_income_today_fen is not None
    told = summary(life, run(life)).first_income_today_fen
    assert found.first_income_today_fen.p50 == pytest.approx(told, abs=3 * YUAN)
    assert found.years[0].age == 65


@pytest.mark.parametrize("birth", ["1926-12", "1927-03", "1966-01", "1971-09", "1976-10"])
@pytest.mark.parametrize("form", ["monthly", "lump_sum"])
def test_without_chance_the_first_income_is_that_of_the_summary(birth: str, form: str) -> None:
    """Aged 99 and 11 months, retired, and retiring in the middle of a year, whose tax on wages is settled in December."""
    years = {"paid_months": 400, "pension_in_payment_fen": 400_000 if birth < "1930" else None}
    said = answers(birth=birth, category="F50" if birth == "1976-10" else "M", ea_vesting=[], **years)
    found = planned(said, levers(payouts={"enterprise_annuity": {"form": form}}))
    band = simulated(found.outlook, markets=MARKETS.still()).first_income_today_fen
    assert band is not None
    assert band.p5 == band.p95 == pytest.approx(found.summary.first_income_today_fen, abs=3 * YUAN)
