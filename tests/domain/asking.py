"""What the source systems ask for, in an accountant's words: each call makes one command, its envelope filled in."""

from datetime import date, datetime
from itertools import count
from typing import Any

from ledger.domain import commands as c
from ledger.domain.calendar import BEIJING
from ledger.domain.events import LinkBasis, MergeBasis, TaxTreatment, UnmergeCause, Voids

EA, OA, GP = "enterprise_annuity", "occupational_annuity", "group_pension"
RA, PP, CP = "retained_account", "personal_pension", "commercial_pension"

DECIDED_AT = datetime(2026, 11, 22, 10, tzinfo=BEIJING)
OPENED = "2024-06-03"
ON = "2026-03-02"

_numbers = count(1)


def envelope(on: str = ON, actor: str = "system:core") -> dict[str, Any]:
    return {
        "actor": actor,
        "command_id": f"c:{next(_numbers)}",
        "decided_at": DECIDED_AT,
        "effective_on": date.fromisoformat(on),
    }


def register(sid: str, provider: str = "hr", on: str = OPENED) -> c.RegisterSourceIdentity:
    return c.RegisterSourceIdentity(sid=sid, provider=provider, **envelope(on))


def open_account(
    account: str, sid: str, product: str, *, on: str = OPENED, replaces: str | None = None
) -> c.OpenAccount:
    return c.OpenAccount(
        account=account,
        sid=sid,
        product=product,
        institution="bank-1",
        opened_on=date.fromisoformat(on),
        replaces=replaces,
        **envelope(on),
    )


def contribute(account: str, *, on: str = ON, tax: TaxTreatment = "pre_tax", **amounts_fen: int) -> c.PostContribution:
    return c.PostContribution(
        account=account, amounts_fen=amounts_fen, period=on[:7], tax_treatment=tax, **envelope(on)
    )


def credit(
    account: str, *, gains: dict[str, int] | None = None, losses: dict[str, int] | None = None, on: str = ON
) -> c.CreditReturns:
    return c.CreditReturns(
        account=account, gains_fen=gains or {}, losses_fen=losses or {}, period=on[:7], **envelope(on)
    )


def charge(account: str, *, on: str = ON, **amounts_fen: int) -> c.ChargeFee:
    return c.ChargeFee(account=account, amounts_fen=amounts_fen, fee="management", period=on[:7], **envelope(on))


def vest(account: str, amount_fen: int, *, reason: str = "service_years", on: str = ON) -> c.VestEmployerPart:
    return c.VestEmployerPart(account=account, amount_fen=amount_fen, reason=reason, **envelope(on))


def transfer(
    from_account: str, to_account: str, *, reason: str = "job_change", on: str = ON, **amounts_fen: int
) -> c.TransferBalance:
    return c.TransferBalance(
        from_account=from_account, to_account=to_account, amounts_fen=amounts_fen, reason=reason, **envelope(on)
    )


def pay(account: str, condition: str, gross_fen: int, *, tax_fen: int = 0, on: str = ON) -> c.PayBenefit:
    return c.PayBenefit(
        account=account,
        condition=condition,
        gross_fen=gross_fen,
        tax_fen=tax_fen,
        net_fen=gross_fen - tax_fen,
        **envelope(on),
    )


def freeze(account: str, on: str = ON) -> c.FreezeAccount:
    return c.FreezeAccount(account=account, reason="court_order", **envelope(on))


def unfreeze(account: str, on: str = ON) -> c.UnfreezeAccount:
    return c.UnfreezeAccount(account=account, reason="court_order", **envelope(on))


def close(account: str, on: str = ON) -> c.CloseAccount:
    return c.CloseAccount(account=account, reason="paid_out", **envelope(on))


def reverse(position: int, *, approvers: tuple[str, ...] = ("user:lin",), on: str = ON) -> c.ReverseEntry:
    return c.ReverseEntry(position=position, approvers=list(approvers), reason="booking_error", **envelope(on))


def asked_links(pairs: tuple[tuple[str, str], ...]) -> list[c.AskedLink]:
    return [c.AskedLink(sid_a=a, sid_b=b, evidence_ref=f"case:{number}") for number, (a, b) in enumerate(pairs)]


def link(*pairs: tuple[str, str], basis: LinkBasis = "document", on: str = ON) -> c.LinkIdentities:
    return c.LinkIdentities(basis=basis, links=asked_links(pairs), **envelope(on))


def merge(
    *pairs: tuple[str, str], basis: MergeBasis = "customer", approvers: tuple[str, ...] = (), on: str = ON
) -> c.MergeIdentities:
    return c.MergeIdentities(
        basis=basis, approvers=list(approvers), links=asked_links(pairs), reason="same_person", **envelope(on)
    )


def unmerge(
    *target: list[str],
    cause: UnmergeCause = "false_match",
    voids: Voids | None = None,
    approvers: tuple[str, ...] = ("user:lin",),
    on: str = ON,
) -> c.UnmergeIdentities:
    return c.UnmergeIdentities(target=list(target), cause=cause, voids=voids, approvers=list(approvers), **envelope(on))


def declare_distinct(
    sid_a: str, sid_b: str, *, approvers: tuple[str, ...] = ("user:lin",), on: str = ON
) -> c.DeclareDistinct:
    return c.DeclareDistinct(sid_a=sid_a, sid_b=sid_b, approvers=list(approvers), reason="twins", **envelope(on))


def close_period(
    period: str, *, tree_size: int, root: str, approvers: tuple[str, ...] = ("user:lin",), on: str = ON
) -> c.ClosePeriod:
    return c.ClosePeriod(
        approvers=list(approvers),
        period=period,
        root=root,
        tree_size=tree_size,
        trial_balance_sha256="ab" * 32,
        **envelope(on),
    )


def adjusting(command: c.Command, *, approvers: tuple[str, ...] = ("user:lin",)) -> c.Command:
    """The command, declared a prior-period adjustment."""
    period = command.effective_on.isoformat()[:7]
    asked = c.AskedAdjustment(approvers=list(approvers), period=period, reason="late_notice")
    return command.model_copy(update={"adjustment": asked})


def declare_profile(
    sid: str,
    city: str = "CN-4403",
    birth_band: str = "1980-1984",
    income_band: str = "120k_to_200k",
    employment: str = "enterprise",
    *,
    on: str = ON,
) -> c.DeclareProfile:
    return c.DeclareProfile(
        sid=sid, city=city, birth_band=birth_band, income_band=income_band, employment=employment, **envelope(on)
    )


def withdraw_profile(sid: str, *, on: str = ON) -> c.WithdrawProfile:
    return c.WithdrawProfile(sid=sid, **envelope(on))


def withdraw_distinct(
    sid_a: str, sid_b: str, *, approvers: tuple[str, ...] = ("user:lin",), on: str = ON
) -> c.WithdrawDistinct:
    return c.WithdrawDistinct(sid_a=sid_a, sid_b=sid_b, approvers=list(approvers), reason="proof", **envelope(on))
