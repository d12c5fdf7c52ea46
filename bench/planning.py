"""Planning on one core: a plan, 2,000 paths, four lives and an allocation, each beside the floor of its own work."""

import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import settle
from bench.report import Report
from ledger.api.planning_examples import ALLOCATION_QUESTION, ANSWERS, DAY
from ledger.domain.rules import PRODUCTS, Rules
from ledger.domain.sheet import BalanceSheet, balance_sheet
from ledger.planning.allocation import allocate
from ledger.planning.answers import Levers
from ledger.planning.appraisal import Appraisal
from ledger.planning.assumptions import ASSUMPTIONS
from ledger.planning.catalogue import sample_catalogue
from ledger.planning.draws import yearly_shocks
from ledger.planning.markets import MARKETS, MONTHS
from ledger.planning.mortality import life_of
from ledger.planning.outlook import Outlook
from ledger.planning.paths import FEWEST, simulate
from ledger.planning.programme import solve
from ledger.planning.questions import Question
from ledger.planning.savings import CONVENTIONS
from ledger.planning.scenarios import Scenario, compare

if TYPE_CHECKING:
    from ledger.domain.decider import State

ROUNDS = 40
SEED = 7
GROWTH = 1_003_000
PARTS = 1_000_000
HELD = {
    "enterprise_annuity": {"employee": 3_000_000, "employer_vested": 5_000_000, "employer_unvested": 2_000_000},
    "personal_pension": {"own": 3_600_000},
    "commercial_pension": {"locked": 800_000, "continuing": 200_000},
}
# 35 years old on the plan's day.
YOUNG = ANSWERS.model_copy(update={"birth": "1991-06", "category": "M"})


def planning(report: Report, *, rounds: int = ROUNDS) -> None:
    """All sections, in one table."""
    settle()
    question = asked()
    outlook = question.plan().outlook
    life = life_of(MARKETS, YOUNG.category)
    saving = ALLOCATION_QUESTION.saving
    catalogue, inflation = sample_catalogue(), Fraction(ASSUMPTIONS.inflation.value)
    offered = len(catalogue.offers(DAY, ALLOCATION_QUESTION.area))
    ground = Appraisal(saving, catalogue, Rules(DAY, "CN-11"), inflation, CONVENTIONS)
    programme, _ = ground.programme(ground.room(), CONVENTIONS.level(saving.risk_level))
    scenarios = [Scenario(label=str(number), levers=Levers(pp_yearly_fen=300_000 * number)) for number in range(4)]
    pots = len(outlook.pots)
    rows = [
        _row(
            f"a plan, {outlook.months} months, {pots} pots (aim 5)",
            question.plan,
            partial(months_floor, outlook),
            rounds,
        ),
        _row(
            f"{FEWEST:,} paths of it (aim 100)",
            lambda: simulate(outlook, MARKETS, SEED, FEWEST, life=life),
            partial(paths_floor, outlook),
            rounds,
        ),
        _row(
            f"an allocation over {offered} offers, its limits priced, with runner-up (aim 30)",
            lambda: allocate(saving, catalogue, Rules(DAY, "CN-11"), inflation),
            lambda: solve(programme),
            rounds,
        ),
        _row(
            "four lives compared, taxes and returns apart", lambda: compare(asked(), scenarios), question.plan, rounds
        ),
    ]
    report.table(
        f"Planning, one core, milliseconds of {rounds} rounds in turn",
        "| what | best | median | p90 | the floor: best | median | best by best |",
        rows,
    )
    report.say(
        "",
        "The floors: the same months and pots, one exact multiplication each, in plain Python; the same draws and one "
        "multiplication a month and pot in numpy; the solver alone, for the plan alone; one plan.",
    )


def asked() -> Question:
    """A man of 35 with an enterprise annuity, a personal and a commercial pension."""
    return Question(
        sheet=sheet(),
        position=1,
        answers=YOUNG,
        levers=Levers(),
        assumptions=ASSUMPTIONS,
        rules=Rules(DAY, YOUNG.area),
    )


def sheet() -> BalanceSheet:
    """His sheet."""
    identity: State = {"one_id": "P1", "registered_position": 1, "breaches": {}, "verification_tier": "unverified"}
    accounts: dict[str, State] = {
        product.upper(): {
            "balances_fen": {part.code: balances.get(part.code, 0) for part in PRODUCTS[product].parts},
            "institution": "bank",
            "opened_on": "2023-01-01",
            "opened_position": 2,
            "product": product,
            "sid": "hr:1",
            "status": "open",
            "totals_fen": {},
        }
        for product, balances in HELD.items()
    }
    identity["accounts"] = {name: account["product"] for name, account in accounts.items()}
    return balance_sheet({"hr:1": identity}, accounts)


def months_floor(outlook: Outlook) -> None:
    """One exact multiplication a month and pot, in plain Python."""
    for pot in outlook.pots:
        balance = pot.opening_fen
        for _ in range(outlook.months):
            balance = balance * GROWTH // PARTS


def paths_floor(outlook: Outlook) -> None:
    """The same draws, and one multiplication a month and pot."""
    balances = np.full((len(outlook.pots), FEWEST), 1e7)
    factor = np.full(FEWEST, 1.003)
    shocks = yearly_shocks(MARKETS, SEED, FEWEST // 2)
    for first in range(0, outlook.months, MONTHS):
        next(shocks)
        for _ in range(min(MONTHS, outlook.months - first)):
            for balance in balances:
                np.multiply(balance, factor, out=balance)


def _row(name: str, work: Callable[[], object], floor: Callable[[], object], rounds: int) -> str:
    ours, theirs = [], []
    for first in (work, floor):
        first()  # What is read once, such as a table of quantiles.
    for _ in range(rounds):
        ours.append(_milliseconds(work))
        theirs.append(_milliseconds(floor))
    ours.sort()
    p90 = ours[len(ours) * 9 // 10]
    cells = (min(ours), statistics.median(ours), p90, min(theirs), statistics.median(theirs))
    return f"| {name} | {' | '.join(f'{each:.1f}' for each in cells)} | {min(ours) / min(theirs):.1f} |"


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1_000
