"""Commands as source systems send them, short to write: who and what is given, the rest is the same for all."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ledger.domain import commands as c

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENTERPRISE = "enterprise_annuity"
PERSONAL = "personal_pension"
CAP_FEN = 1_200_000
DAY = date(2026, 2, 15)
PERIOD = "2026-02"

_numbers = itertools.count(1)


def envelope(command_id: str | None = None, effective_on: date = DAY) -> dict[str, Any]:
    """What every command carries; an id of its own where none is given."""
    return {
        "actor": "system:test",
        "command_id": command_id or f"test/{next(_numbers)}",
        "decided_at": datetime(2026, 3, 1, 9, tzinfo=UTC),
        "effective_on": effective_on,
    }


def register(sid: str, command_id: str | None = None) -> c.RegisterSourceIdentity:
    return c.RegisterSourceIdentity(provider="provider-a", sid=sid, **envelope(command_id))


def open_account(sid: str, account: str, product: str = ENTERPRISE, command_id: str | None = None) -> c.OpenAccount:
    return c.OpenAccount(
        account=account,
        institution="bank-a",
        opened_on=date(2024, 1, 1),
        product=product,
        sid=sid,
        **envelope(command_id),
    )


def contribute(account: str, fen: int, command_id: str | None = None, effective_on: date = DAY) -> c.PostContribution:
    """Into the employee's part."""
    return _contribution(account, {"employee": fen}, command_id, effective_on)


def contribute_own(
    account: str, fen: int, command_id: str | None = None, effective_on: date = DAY
) -> c.PostContribution:
    """Into a personal pension, which has one part and a yearly cap."""
    return _contribution(account, {"own": fen}, command_id, effective_on)


def _contribution(
    account: str, amounts_fen: Mapping[str, int], command_id: str | None, effective_on: date
) -> c.PostContribution:
    return c.PostContribution(
        account=account,
        amounts_fen=dict(amounts_fen),
        period=PERIOD,
        tax_treatment="pre_tax",
        **envelope(command_id, effective_on),
    )


def charge(account: str, fen: int, command_id: str | None = None) -> c.ChargeFee:
    return c.ChargeFee(
        account=account, amounts_fen={"employee": fen}, fee="account", period=PERIOD, **envelope(command_id)
    )


def credit(account: str, gain_fen: int, command_id: str | None = None) -> c.CreditReturns:
    return c.CreditReturns(account=account, gains_fen={"employee": gain_fen}, period=PERIOD, **envelope(command_id))


def transfer(from_account: str, to_account: str, fen: int, command_id: str | None = None) -> c.TransferBalance:
    return c.TransferBalance(
        amounts_fen={"employee": fen},
        from_account=from_account,
        reason="job_change",
        to_account=to_account,
        **envelope(command_id),
    )


def reverse(position: int, command_id: str | None = None) -> c.ReverseEntry:
    return c.ReverseEntry(
        approvers=["person:checker"], position=position, reason="entered-twice", **envelope(command_id)
    )


def merge(*sids: str, command_id: str | None = None) -> c.MergeIdentities:
    """The first with each of the others."""
    return c.MergeIdentities(
        approvers=["person:first", "person:second"],
        basis="steward",
        links=[c.AskedLink(evidence_ref="case/1", sid_a=sids[0], sid_b=sid) for sid in sids[1:]],
        reason="same-person",
        **envelope(command_id),
    )


def unmerge(*target: Sequence[str], command_id: str | None = None) -> c.UnmergeIdentities:
    return c.UnmergeIdentities(
        approvers=["person:first"],
        cause="false_match",
        target=[list(part) for part in target],
        **envelope(command_id),
    )


def withdraw(sid_a: str, sid_b: str, command_id: str | None = None) -> c.WithdrawDistinct:
    return c.WithdrawDistinct(
        approvers=["person:first"], reason="new-evidence", sid_a=sid_a, sid_b=sid_b, **envelope(command_id)
    )
