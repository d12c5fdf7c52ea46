"""Invariant 1 of posting, and IDENTITY invariant 9: some serial order explains every outcome of a race."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg

from ledger.application import Ledger, Receipt, Refused
from ledger.database import Database
from ledger.settings import Settings
from tests.books import assert_whole, commands_recorded
from tests.commands import CAP_FEN, PERSONAL, contribute_own, merge, open_account, register, unmerge, withdraw

if TYPE_CHECKING:
    from ledger.domain.commands import Command

SIDS = [f"sys:{n}" for n in range(4)]
PENSIONS = [f"P{n}" for n in range(4)]
ROUNDS = 40
PAYMENT_FEN = 130_000
RACERS = 4

# What each counter held in the year at each position, and who was one person, is all in the journal.
FACTS = "SELECT position, type, convert_from(data, 'UTF8')::json FROM event ORDER BY position"


def commands_of(racer: int) -> list[list[Command]]:
    """Contributions to four pensions, merges and unmerges, in an order of the racer's own."""
    rng = random.Random(racer)  # noqa: S311  a test, not a secret
    batches: list[list[Command]] = []
    for number in range(ROUNDS):
        name = f"{racer}/{number}"
        one, other = rng.sample(SIDS, 2)
        batches.append(
            rng.choice(
                [
                    [contribute_own(rng.choice(PENSIONS), PAYMENT_FEN + n, f"{name}/{n}") for n in range(3)],
                    [merge(one, other, command_id=f"{name}/m"), contribute_own(PENSIONS[0], 1_000, f"{name}/c")],
                    [
                        unmerge([one], [other], command_id=f"{name}/u"),
                        unmerge(*[[sid] for sid in SIDS], command_id=f"{name}/v"),
                        withdraw(one, other, command_id=f"{name}/w"),
                    ],
                ]
            )
        )
    return batches


def race(url: str, racer: int) -> list[tuple[str, int | None, str]]:
    """A process of its own: post all batches, in two threads, and bring the outcomes home."""
    database = Database(url=url, admin_url=url, embedded=False, settings=Settings())
    ledger = Ledger(database)
    with ThreadPoolExecutor(2) as pool:
        outcomes = [outcome for found in pool.map(ledger.post, commands_of(racer)) for outcome in found]
    database.close()
    return [
        (o.command_id, o.first_position, "") if isinstance(o, Receipt) else (o.command_id, None, o.code)
        for o in outcomes
    ]


def test_racing_merges_and_contributions_never_pass_the_cap(database: Database) -> None:
    """Four processes of two threads each; no accepted contribution passes the cap of the person of that moment."""
    ledger = Ledger(database)
    ledger.post([register(sid) for sid in SIDS])
    ledger.post([open_account(sid, account, PERSONAL) for sid, account in zip(SIDS, PENSIONS, strict=True)])
    database.close()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(RACERS, mp_context=context) as pool:
        outcomes = [o for found in pool.map(race, [database.url] * RACERS, range(RACERS)) for o in found]
    asked = [command for racer in range(RACERS) for batch in commands_of(racer) for command in batch]
    assert sorted(command_id for command_id, _, _ in outcomes) == sorted(c.command_id for c in asked)

    with psycopg.connect(database.admin_url) as connection:
        facts = connection.execute(FACTS).fetchall()
    recorded = commands_recorded(database)
    for command_id, first, _ in outcomes:
        assert recorded[command_id][0] == first

    person = {sid: frozenset([sid]) for sid in SIDS}
    paid = dict.fromkeys(SIDS, 0)
    accepted = 0
    for position, kind, data in facts:
        if kind in ("IdentitiesMerged", "IdentitiesUnmerged"):
            for part in data["after" if kind == "IdentitiesMerged" else "target"]:
                person.update(dict.fromkeys(part, frozenset(part)))
        elif kind == "ContributionPosted":
            sid = SIDS[PENSIONS.index(data["account"])]
            paid[sid] += data["amounts_fen"]["own"]
            accepted += 1
            assert sum(paid[member] for member in person[sid]) <= CAP_FEN, position
    refused = {code for _, _, code in outcomes}
    assert accepted > 10
    assert {"YearlyCapExceeded", "CannotLinkActive"} <= refused
    assert_whole(database)


def test_a_contribution_that_a_merge_overtakes_is_refused(database: Database) -> None:
    """Two ledgers, one person to be: whichever comes first, together they never pass the cap unrecorded."""
    ledger, other = Ledger(database), Ledger(database)
    for number in range(30):
        sids, accounts = [f"s{number}:1", f"s{number}:2"], [f"P{number}.1", f"P{number}.2"]
        ledger.post([register(sid) for sid in sids])
        ledger.post([open_account(sid, account, PERSONAL) for sid, account in zip(sids, accounts, strict=True)])
        ledger.post([contribute_own(accounts[0], CAP_FEN)])
        with ThreadPoolExecutor(2) as pool:
            merging = pool.submit(ledger.post, [merge(*sids)])
            paying = pool.submit(other.post, [contribute_own(accounts[1], CAP_FEN)])
            merged, paid = merging.result()[0], paying.result()[0]
        assert isinstance(merged, Receipt)
        assert merged.first_position is not None
        assert merged.last_position is not None
        facts_of_merge = merged.last_position - merged.first_position + 1
        # Merged last, it records breach and flag; merged first, the flag, and the payment is refused.
        if isinstance(paid, Refused):
            assert (paid.code, facts_of_merge) in {("YearlyCapExceeded", 2), ("AccountDuplicate", 2)}
        else:
            assert facts_of_merge == 3
    assert_whole(database)
