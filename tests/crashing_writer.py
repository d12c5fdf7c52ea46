"""A process that posts numbered batches until it is killed, and reports on its output what was acknowledged.

Run as `python -m tests.crashing_writer URL NAME FIRST`. Its batches are the same whenever it runs, so that what a crash
left undecided can be posted again.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from ledger.application import Ledger, LedgerUnavailable, Receipt
from ledger.database import Database
from ledger.settings import Settings
from tests.commands import PERSONAL, contribute, contribute_own, open_account, register, reverse

if TYPE_CHECKING:
    from ledger.domain.commands import Command


def batch(name: str, number: int) -> list[Command]:
    """A new person with two accounts, contributions to hers and to those before, refusals, a reversal, in any mix."""
    rng = random.Random(f"{name}/{number}")  # noqa: S311  a test, not a secret
    sid, account, pension = f"sys:{name}.{number}", f"{name}.A{number}", f"{name}.P{number}"
    key = f"{name}/{number}"
    made: list[Command] = [
        register(sid, f"{key}/r"),
        open_account(sid, account, command_id=f"{key}/o"),
        open_account(sid, pension, PERSONAL, f"{key}/p"),
        contribute_own(pension, 1_000, f"{key}/q"),
        reverse(rng.randint(1, 10 * number + 1), f"{key}/x"),
    ]
    made += [contribute(f"{name}.A{rng.randint(0, number)}", 7, f"{key}/{n}") for n in range(rng.choice([1, 40, 600]))]
    return made


def main(url: str, name: str, first: int) -> None:
    """Post for ever; a batch whose fate is unknown is posted again."""
    ledger = Ledger(Database(url=url, admin_url=url, embedded=False, settings=Settings(pool_size=2)))
    number = first
    while True:
        try:
            outcomes = ledger.post(batch(name, number))
        except LedgerUnavailable:
            time.sleep(0.05)
            continue
        for outcome in outcomes:
            first_position = outcome.first_position if isinstance(outcome, Receipt) else None
            sys.stdout.write(f"{outcome.command_id} {first_position}\n")
        sys.stdout.write(f"batch {number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
