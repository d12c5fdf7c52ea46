"""For every command: an acceptable case, and one way to break each rule that its matter lists in `refuses`.

A way to break a rule says what must have happened and what the command must say. Two ways of one command can be
combined, which is how the order of precedence is tested.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from ledger.domain import commands as c
from ledger.domain import events as e
from ledger.domain import refusals as r
from ledger.domain.identifiers import quota_id
from ledger.domain.money import MAX_FEN
from ledger.domain.notes import Checkpoint
from tests.domain.asking import (
    DECIDED_AT,
    EA,
    ON,
    PP,
    asked_links,
    charge,
    close,
    close_period,
    contribute,
    credit,
    declare_distinct,
    declare_profile,
    freeze,
    link,
    merge,
    open_account,
    pay,
    register,
    reverse,
    transfer,
    unfreeze,
    unmerge,
    vest,
    withdraw_distinct,
    withdraw_profile,
)
from tests.domain.scenario import Past

Pair = frozenset[type[r.Refusal]]


class Broken(NamedTuple):
    """One rule broken: by what happened after the case's own past, and by what the command says."""

    refusal: type[r.Refusal]
    fields: Mapping[str, Any] = {}
    past: tuple[Past, ...] = ()


class Case(NamedTuple):
    """An acceptable command after its past, and the ways to break it, in the documented order of precedence.

    `apart` names pairs of refusals that cannot both apply.
    """

    past: tuple[Past, ...]
    command: c.Command
    broken: tuple[Broken, ...]
    apart: tuple[Pair, ...] = ()


def changed(command: c.Command, *changes: Mapping[str, Any]) -> c.Command:
    """The command with these fields, the last word winning; amounts and links are added to what stands."""
    fields: dict[str, Any] = {}
    for name, value in (item for change in changes for item in change.items()):
        before = fields.get(name, getattr(command, name))
        if isinstance(value, dict):
            fields[name] = before | value
        elif name == "links":
            fields[name] = before + value
        else:
            fields[name] = value
    return command.model_copy(update=fields)


def _fact(on: str = ON) -> dict[str, Any]:
    return {"decided_at": DECIDED_AT, "effective_on": date.fromisoformat(on)}


def _closed(*accounts: str) -> tuple[Past, ...]:
    """Closed as a fact, so that a closed account can be wrong in other ways too."""
    return tuple(e.AccountClosed(account=account, reason="paid_out", **_fact()) for account in accounts)


def _opened(account: str, sid: str, product: str, on: str, replaces: str | None = None) -> e.AccountOpened:
    """Opened as a fact, so that it can be older than its rule or replaced more often than allowed."""
    return e.AccountOpened(
        account=account,
        institution="bank-1",
        opened_on=date.fromisoformat(on),
        product=product,
        replaces=replaces,
        sid=sid,
        **_fact(on),
    )


def _contributed(account: str, part: str, fen: int, quota: str | None = None) -> e.ContributionPosted:
    return e.ContributionPosted(
        account=account, amounts_fen={part: fen}, period="2026-03", quota=quota, tax_treatment="pre_tax", **_fact()
    )


NOWHERE = Broken(r.AccountUnknown, {"account": "NOWHERE"})
ABSURD = Broken(r.EffectiveDateAbsurd, {"effective_on": date(1991, 6, 25)})
EARLY = Broken(r.EffectiveBeforeOpening, {"effective_on": date(2024, 6, 2)})
UNAPPROVED = Broken(r.ApproverMissing, {"approvers": []})
CLOSED = Broken(r.AccountIsClosed, past=_closed("EA-1"))
FROZEN = Broken(r.AccountIsFrozen, past=(freeze("EA-1"),))
FULL_OF_RETURNS = e.ReturnsCredited(
    account="EA-1", gains_fen={"employer_unvested": MAX_FEN}, losses_fen={}, period="2026-03", **_fact()
)
FULL_OF_TRANSFERS = e.BalanceTransferred(
    amounts_fen={"employee": MAX_FEN},
    credits_fen={"employer_vested": MAX_FEN},
    from_account="EA-3",
    reason="job_change",
    rule="mv.ea.ea",
    to_account="EA-2",
    **_fact(),
)

ONE_ANNUITY = (register("hr:1"), open_account("EA-1", "hr:1", EA))
TWO_PEOPLE = (register("hr:1"), register("life:1"))
CROWD_LINKED = (
    *(register(f"crowd:{number}") for number in range(9)),
    merge(*(("hr:1", f"crowd:{number}") for number in range(9))),
)
CROWD_MERGED = (
    *(register(f"crowd:{number}") for number in range(49)),
    merge(*(("hr:1", f"crowd:{number}") for number in range(49))),
)

JOINING = (
    ABSURD,
    Broken(r.LinkToSelf, {"links": asked_links((("life:1", "life:1"),))}),
    Broken(r.IdentityUnknown, {"links": asked_links((("hr:1", "hr:none"),))}),
    Broken(r.ComponentChanged, {"members": ["hr:1"]}),
    Broken(r.LinksNotConnected, {"links": asked_links((("a:1", "b:1"),))}, (register("a:1"), register("b:1"))),
    Broken(r.CannotLinkActive, past=(declare_distinct("hr:1", "life:1"),)),
)

MONEY: tuple[Case, ...] = (
    Case(
        past=(
            register("bank:0"),
            open_account("PP-0", "bank:0", PP),
            register("hr:1"),
            _opened("PP-1", "hr:1", PP, "2022-01-04"),
            contribute("PP-1", own=100),
        ),
        command=contribute("PP-1", own=100_000),
        broken=(
            NOWHERE,
            Broken(r.AccountIsClosed, past=_closed("PP-1")),
            Broken(r.AccountIsFrozen, past=(freeze("PP-1"),)),
            Broken(r.AccountReplaced, past=(_opened("PP-2", "hr:1", PP, "2026-01-05", replaces="PP-1"),)),
            Broken(r.AccountDuplicate, past=(merge(("bank:0", "hr:1")),)),
            Broken(r.ContributionsEnded, past=(pay("PP-1", "PP_W1_AGE", 100),)),
            Broken(r.PartUnknown, {"amounts_fen": {"employee": 1}}),
            Broken(r.AmountNotPositive, {"amounts_fen": {"own": 0}}),
            ABSURD,
            Broken(r.EffectiveBeforeOpening, {"effective_on": date(2022, 1, 3)}),
            Broken(r.RuleNotInForce, {"effective_on": date(2022, 11, 3)}),
            Broken(r.AmountTooLarge, past=(_contributed("PP-1", "own", MAX_FEN),)),
            Broken(r.YearlyCapExceeded, {"amounts_fen": {"own": 1_200_001}}),
            Broken(
                r.YearlyPaymentsExhausted,
                past=tuple(_contributed("PP-1", "own", 1, quota_id("hr:1", 2026)) for _ in range(365)),
            ),
        ),
        # A replaced account is not held any more, so holding it is no duplicate.
        apart=(frozenset({r.AccountReplaced, r.AccountDuplicate}),),
    ),
    Case(
        past=ONE_ANNUITY,
        command=credit("EA-1", gains={"employer_vested": 5}),
        broken=(
            NOWHERE,
            CLOSED,
            Broken(r.PartUnknown, {"gains_fen": {"own": 5}}),
            Broken(r.AmountNotPositive, {"gains_fen": {"employer_vested": 0}}),
            ABSURD,
            EARLY,
            Broken(r.AmountTooLarge, past=(FULL_OF_RETURNS,)),
            Broken(r.BalanceInsufficient, {"losses_fen": {"employee": 1}}),
        ),
    ),
    Case(
        past=(*ONE_ANNUITY, contribute("EA-1", employee=100)),
        command=charge("EA-1", employee=100),
        broken=(
            NOWHERE,
            CLOSED,
            Broken(r.PartUnknown, {"amounts_fen": {"own": 5}}),
            Broken(r.AmountNotPositive, {"amounts_fen": {"employer_vested": -1}}),
            ABSURD,
            EARLY,
            Broken(r.BalanceInsufficient, {"amounts_fen": {"employee": 101}}),
        ),
    ),
    Case(
        past=(*ONE_ANNUITY, contribute("EA-1", employer_unvested=100), open_account("PP-1", "hr:1", PP)),
        command=vest("EA-1", 100),
        broken=(
            NOWHERE,
            Broken(r.AccountIsClosed, past=_closed("EA-1", "PP-1")),
            Broken(r.VestingNotKnown, {"account": "PP-1"}),
            Broken(r.AmountNotPositive, {"amount_fen": 0}),
            ABSURD,
            EARLY,
            Broken(r.BalanceInsufficient, {"amount_fen": 101}),
        ),
    ),
    Case(
        past=(
            *ONE_ANNUITY,
            contribute("EA-1", employee=100),
            open_account("EA-2", "hr:1", EA),
            register("hr:3"),
            open_account("EA-3", "hr:3", EA),
        ),
        command=transfer("EA-1", "EA-2", employee=100),
        broken=(
            Broken(r.SameAccount, {"to_account": "EA-1"}),
            Broken(r.AccountUnknown, {"to_account": "NOWHERE"}),
            Broken(r.AccountIsClosed, past=_closed("EA-2", "EA-3")),
            FROZEN,
            Broken(r.PartUnknown, {"amounts_fen": {"own": 5}}),
            Broken(r.AmountNotPositive, {"amounts_fen": {"employee": 0}}),
            ABSURD,
            EARLY,
            Broken(r.PersonsDiffer, {"to_account": "EA-3"}),
            Broken(r.MoveNotLawful, {"reason": "whim"}),
            Broken(r.BalanceInsufficient, {"amounts_fen": {"employee": 101}}),
            Broken(r.AmountTooLarge, past=(FULL_OF_TRANSFERS,)),
        ),
    ),
    Case(
        past=(register("hr:1"), open_account("PP-1", "hr:1", PP), contribute("PP-1", own=100)),
        command=pay("PP-1", "PP_W4_MEDICAL", 100),
        broken=(
            NOWHERE,
            Broken(r.AccountIsClosed, past=_closed("PP-1")),
            Broken(r.AccountIsFrozen, past=(freeze("PP-1"),)),
            Broken(r.AmountNotPositive, {"gross_fen": 0, "net_fen": 0}),
            Broken(r.GrossNotTaxPlusNet, {"tax_fen": 7}),
            ABSURD,
            EARLY,
            Broken(r.ConditionUnknown, {"condition": "WHIM"}),
            Broken(r.ConditionNotInForce, {"effective_on": date(2025, 8, 31)}),
            Broken(r.BalanceInsufficient, {"gross_fen": 101, "net_fen": 101}),
        ),
    ),
    Case(
        past=(*ONE_ANNUITY, contribute("EA-1", employee=100)),
        command=reverse(3),
        broken=(
            UNAPPROVED,
            Broken(r.EntryNotFound, {"position": 999}),
            Broken(r.EntryNotReversible, {"position": 2}),
            Broken(r.EntryAlreadyReversed, past=(reverse(3),)),
            CLOSED,
            ABSURD,
            EARLY,
            Broken(r.ReversalWouldOverdraw, past=(charge("EA-1", employee=1),)),
        ),
        # What was reversed is gone, so nothing is left for a fee; and after a fee nothing is reversed.
        apart=(frozenset({r.EntryAlreadyReversed, r.ReversalWouldOverdraw}),),
    ),
)

ACCOUNTS: tuple[Case, ...] = (
    Case(
        past=(register("hr:1"),),
        command=open_account("PP-1", "hr:1", PP, on=ON),
        broken=(
            Broken(r.ProductUnknown, {"product": "gold_coins"}),
            Broken(r.RuleNotInForce, {"opened_on": date(2022, 11, 3)}),
            ABSURD,
            Broken(r.IdentityUnknown, {"sid": "hr:none"}),
            Broken(r.AccountExists, past=(open_account("PP-1", "hr:1", EA),)),
            Broken(r.ReplacedAccountWrong, {"replaces": "NOWHERE"}),
            Broken(
                r.ReplacementsExhausted,
                {"replaces": "PP-C"},
                (
                    _opened("PP-A", "hr:1", PP, "2026-01-05"),
                    _opened("PP-B", "hr:1", PP, "2026-01-06", replaces="PP-A"),
                    _opened("PP-C", "hr:1", PP, "2026-01-07", replaces="PP-B"),
                ),
            ),
            Broken(
                r.PersonHoldsProduct,
                past=(register("bank:7"), open_account("PP-X", "bank:7", PP), merge(("hr:1", "bank:7"))),
            ),
        ),
    ),
    Case(past=ONE_ANNUITY, command=freeze("EA-1"), broken=(NOWHERE, CLOSED, FROZEN, ABSURD, EARLY)),
    Case(
        past=(*ONE_ANNUITY, freeze("EA-1")),
        command=unfreeze("EA-1"),
        broken=(NOWHERE, CLOSED, Broken(r.AccountNotFrozen, past=(unfreeze("EA-1"),)), ABSURD, EARLY),
    ),
    Case(
        past=ONE_ANNUITY,
        command=close("EA-1"),
        broken=(
            NOWHERE,
            CLOSED,
            FROZEN,
            ABSURD,
            EARLY,
            Broken(r.BalanceNotZero, past=(contribute("EA-1", employee=1),)),
        ),
    ),
)

IDENTITIES: tuple[Case, ...] = (
    Case(
        past=(),
        command=register("hr:1"),
        broken=(ABSURD, Broken(r.IdentityRegisteredDifferently, past=(register("hr:1", provider="payroll"),))),
    ),
    Case(
        past=TWO_PEOPLE,
        command=link(("hr:1", "life:1")),
        broken=(*JOINING, Broken(r.ComponentTooLarge, past=CROWD_LINKED)),
    ),
    Case(
        past=TWO_PEOPLE,
        command=merge(("hr:1", "life:1")),
        broken=(
            *JOINING,
            Broken(r.ComponentTooLarge, past=CROWD_MERGED),
            Broken(r.ApproverMissing, {"basis": "steward"}),
        ),
    ),
    Case(
        past=(*TWO_PEOPLE, register("bank:1"), merge(("hr:1", "life:1"), ("life:1", "bank:1"))),
        command=unmerge(["hr:1"], ["life:1"], ["bank:1"]),
        broken=(
            ABSURD,
            Broken(r.IdentityUnknown, {"target": [["hr:1"], ["life:1"], ["bank:1"], ["hr:none"]]}),
            Broken(r.ComponentChanged, past=(unmerge(["hr:1"], ["life:1"], ["bank:1"]),)),
            Broken(r.PartitionIncomplete, {"target": [["hr:1", "bank:1"]]}),
            Broken(r.PartNotConnected, {"target": [["hr:1", "bank:1"], ["life:1"]]}),
            UNAPPROVED,
        ),
        # ComponentChanged says that she is parted like this already, so the target is complete and connected.
        apart=(
            frozenset({r.ComponentChanged, r.PartitionIncomplete}),
            frozenset({r.ComponentChanged, r.PartNotConnected}),
        ),
    ),
    Case(
        past=TWO_PEOPLE,
        command=declare_distinct("hr:1", "life:1"),
        broken=(
            ABSURD,
            Broken(r.LinkToSelf, {"sid_a": "hr:none", "sid_b": "hr:none"}),
            Broken(r.IdentityUnknown, {"sid_a": "hr:none"}),
            Broken(r.IdentitiesAreLinked, past=(merge(("hr:1", "life:1")),)),
            UNAPPROVED,
        ),
    ),
    Case(
        past=(*TWO_PEOPLE, declare_distinct("hr:1", "life:1")),
        command=withdraw_distinct("hr:1", "life:1"),
        broken=(
            ABSURD,
            Broken(r.LinkToSelf, {"sid_a": "hr:none", "sid_b": "hr:none"}),
            Broken(r.IdentityUnknown, {"sid_a": "hr:none"}),
            Broken(r.DistinctNotDeclared, past=(withdraw_distinct("hr:1", "life:1"),)),
            UNAPPROVED,
        ),
    ),
)

PROFILES: tuple[Case, ...] = (
    Case(
        past=TWO_PEOPLE,
        command=declare_profile("hr:1"),
        broken=(
            ABSURD,
            Broken(r.IdentityUnknown, {"sid": "hr:none"}),
            Broken(r.ProfileCodeUnknown, {"income_band": "plenty"}),
            Broken(r.ProfileDatedLater, past=(declare_profile("hr:1", on="2026-03-03"),)),
        ),
    ),
    Case(
        past=(*TWO_PEOPLE, declare_profile("hr:1")),
        command=withdraw_profile("hr:1"),
        broken=(
            ABSURD,
            Broken(r.IdentityUnknown, {"sid": "hr:none"}),
            Broken(r.ProfileNotDeclared, past=(withdraw_profile("hr:1"),)),
        ),
    ),
)

ROOT = bytes(range(32))
CLOSED_THROUGH_2026 = e.PeriodClosed(
    approvers=["user:lin"],
    books="ledger",
    period="2026-12",
    root=ROOT.hex(),
    tree_size=1,
    trial_balance_sha256="ab" * 32,
    **_fact(),
)

BOOKS: tuple[Case, ...] = (
    Case(
        past=(register("hr:1"), Checkpoint("ledger.example", 1, ROOT)),
        command=close_period("2026-02", tree_size=1, root=ROOT.hex()),
        broken=(
            Broken(r.PeriodAlreadyClosed, past=(CLOSED_THROUGH_2026,)),
            Broken(r.PeriodNotOver, {"period": "2026-11"}),
            Broken(r.EffectiveDateAbsurd, {"effective_on": date(2062, 1, 31)}),
            UNAPPROVED,
            Broken(r.CheckpointUnknown, {"root": ROOT[::-1].hex()}),
            Broken(r.CheckpointTooEarly, past=(register("life:1"),)),
        ),
    ),
)

CASES: tuple[Case, ...] = (*MONEY, *ACCOUNTS, *IDENTITIES, *PROFILES, *BOOKS)
