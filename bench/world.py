"""The world that is measured in: accounts of five systems, and the batches that a month's night brings."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from ledger.application import Ledger, Receipt
from ledger.domain.commands import (
    ChargeFee,
    Command,
    CreditReturns,
    OpenAccount,
    PostContribution,
    RegisterSourceIdentity,
)

OPENED = date(2024, 1, 1)
DECIDED = datetime(2026, 1, 5, tzinfo=UTC)
EFFECTIVE = date(2026, 1, 5)
SETUP_BATCH = 2_000

# Share of the accounts, source system, product, and the parts a monthly contribution credits.
SYSTEMS = (
    (0.50, "ea-core", "EA", "enterprise_annuity", {"employee": 40_000, "employer_vested": 80_000}),
    (0.20, "oa-core", "OA", "occupational_annuity", {"employee": 36_000, "employer_real": 72_000}),
    (0.10, "gp-core", "GP", "group_pension", {"employee": 20_000, "voluntary": 10_000}),
    (0.15, "pp-bank", "PP", "personal_pension", {"own": 100}),
    (0.05, "cp-core", "CP", "commercial_pension", {"continuing": 50_000}),
)


class World:
    """A number of accounts, each of an identity of its own, and a source of commands about them."""

    def __init__(self, accounts: int, seed: int = 1) -> None:
        """The same seed gives the same commands."""
        self.random = random.Random(seed)  # noqa: S311 - a benchmark, no secret
        self.sequence = 0
        self.accounts: list[list[str]] = []
        for share, _, prefix, _, _ in SYSTEMS:
            self.accounts.append([f"{prefix}-{number:08d}" for number in range(int(accounts * share))])

    def envelope(self, system: str) -> dict[str, Any]:
        """A new command id, and what all commands of a system share."""
        self.sequence += 1
        return {
            "actor": f"system:{system}",
            "command_id": f"{system}:{self.sequence:09d}",
            "decided_at": DECIDED,
            "effective_on": EFFECTIVE,
        }

    def setup(self) -> Iterator[Command]:
        """Register every identity, open every account, and post its first contribution."""
        for number, (accounts, (_, system, _, product, _)) in enumerate(zip(self.accounts, SYSTEMS, strict=True)):
            for account in accounts:
                sid = f"{system}:{account}"
                yield RegisterSourceIdentity(sid=sid, provider="hr", **self.envelope(system))
                yield OpenAccount(
                    account=account,
                    employer="employer-1",
                    institution="trustee-1",
                    opened_on=OPENED,
                    plan="plan-1",
                    product=product,
                    sid=sid,
                    **self.envelope(system),
                )
                yield self.contribution(number, account)

    def contribution(self, system_number: int, account: str) -> Command:
        """One monthly contribution."""
        _, system, _, _, amounts = SYSTEMS[system_number]
        return PostContribution(
            account=account, amounts_fen=amounts, period="2026-01", tax_treatment="pre_tax", **self.envelope(system)
        )

    def payroll(self, size: int) -> list[Command]:
        """Contribution lists of employers, each 20 to 400 members whose accounts were opened one after another."""
        batch: list[Command] = []
        while len(batch) < size:
            number = self.random.choices(range(3), weights=(5, 2, 1))[0]
            accounts = self.accounts[number]
            start, members = self.random.randrange(len(accounts)), self.random.randint(20, 400)
            listed = accounts[start : start + min(members, size - len(batch))]
            batch.extend(self.contribution(number, account) for account in listed)
        return batch

    def mixed(self, size: int) -> list[Command]:
        """What comes in beside payroll: single accounts anywhere, a fifth of them personal pensions, returns and fees."""
        batch: list[Command] = []
        for _ in range(size):
            number = self.random.choices(range(5), weights=(40, 20, 10, 20, 10))[0]
            account = self.random.choice(self.accounts[number])
            system, amounts = SYSTEMS[number][1], SYSTEMS[number][4]
            kind = self.random.random()
            part = next(iter(amounts))
            if kind < 0.75:  # noqa: PLR2004 - the share of contributions
                batch.append(self.contribution(number, account))
            elif kind < 0.95:  # noqa: PLR2004 - and of returns; the rest are fees
                batch.append(
                    CreditReturns(account=account, gains_fen={part: 100}, period="2026-01", **self.envelope(system))
                )
            else:
                batch.append(
                    ChargeFee(
                        account=account,
                        amounts_fen={part: 1},
                        fee="account_management",
                        period="2026-01",
                        **self.envelope(system),
                    )
                )
        return batch


def post_all(ledger: Ledger, commands: Sequence[Command], size: int = SETUP_BATCH) -> None:
    """Post in batches; every command must be accepted."""
    for start in range(0, len(commands), size):
        for outcome in ledger.post(commands[start : start + size]):
            assert isinstance(outcome, Receipt), outcome


def set_up(ledger: Ledger, world: World) -> int:
    """Register, open and fund everything; returns the number of commands."""
    batch: list[Command] = []
    count = 0
    for command in world.setup():
        batch.append(command)
        if len(batch) == SETUP_BATCH:
            post_all(ledger, batch)
            count += len(batch)
            batch = []
    post_all(ledger, batch)
    return count + len(batch)
