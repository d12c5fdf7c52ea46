"""The examples of the contract: a short story in which every command is accepted once, and every kind of fact follows.

Nothing of it is made up but the commands: the facts are what the ledger's own deciders answer.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from pydantic_core import to_json

from ledger.api.examples import CONTRIBUTION, ENVELOPE, OPENING, REGISTRATION
from ledger.domain.calendar import BEIJING
from ledger.domain.catalogue import apply, decide
from ledger.domain.commands import ONE, Command
from ledger.domain.decider import State, View
from ledger.domain.events import Fact
from ledger.domain.identifiers import tags_of
from ledger.domain.refusals import Refusal

RECORDED_AT = datetime(2025, 3, 3, 12, tzinfo=BEIJING)
# No tree of such a root was ever sealed; only the closing of the story claims it.
ROOT = bytes(range(32))
BANK = {"actor": "system:pp-bank", "decided_at": "2025-02-10T09:30:00+08:00", "effective_on": "2025-02-10"}
STEWARD = {"actor": "user:wang", "decided_at": "2025-02-20T16:05:00+08:00", "effective_on": "2025-02-20"}
OPERATOR = {"actor": "operator:op-1", "decided_at": "2025-03-03T10:00:00+08:00", "effective_on": "2025-03-03"}
LINK = {"evidence_ref": "case/2025/17", "sid_a": "ea-core:1001", "sid_b": "pp-bank:77"}
MERGE = {"evidence_ref": "case/2025/18", "sid_a": "pp-bank:77", "sid_b": "pp-bank:88"}


class Recorded(NamedTuple):
    """A fact of the story as the journal would hold it."""

    position: int
    fact: Fact
    tags: list[str]
    command: Command


def _annuity() -> Iterator[dict[str, Any]]:
    """One enterprise annuity account from its opening to its closing."""
    yield REGISTRATION
    yield OPENING
    yield {**OPENING, "command_id": "ea-core/opening/2", "account": "EA-2", "institution": "trustee-two"}
    yield CONTRIBUTION
    yield {**CONTRIBUTION, "command_id": "ea-core/V-2", "amounts_fen": {"employer_unvested": 30000}}

    def about(kind: str, command_id: str, account: str = "EA-1", **fields: object) -> dict[str, Any]:
        return {"type": kind, "command_id": f"ea-core/{command_id}", **ENVELOPE, "account": account, **fields}

    yield about("CreditReturns", "R-1", gains_fen={"employee": 120}, losses_fen={}, period="2025-01")
    yield about("ChargeFee", "F-1", amounts_fen={"employee": 20}, fee="account", period="2025-01")
    yield about("VestEmployerPart", "vesting/1", amount_fen=30000, reason="service_years")
    amounts = {"employee": 20120, "employer_vested": 70000}
    moved = {"amounts_fen": amounts, "from_account": "EA-1", "reason": "job_change", "to_account": "EA-2"}
    yield {
        "type": "ReverseEntry",
        "command_id": "ea-core/correction/1",
        **ENVELOPE,
        "approvers": ["user:lin"],
        "position": 7,
        "reason": "booking_error",
    }
    yield {"type": "TransferBalance", "command_id": "ea-core/transfer/1", **ENVELOPE, **moved}
    yield about("CloseAccount", "closing/1", reason="transferred_out")
    yield about("FreezeAccount", "freeze/1", "EA-2", reason="court_order")
    yield about("UnfreezeAccount", "freeze/2", "EA-2", reason="court_order")
    paid = {"condition": "EA_DISABLED", "gross_fen": 50000, "net_fen": 48500, "tax_fen": 1500}
    yield about("PayBenefit", "benefit/1", "EA-2", **paid)


def _two_pensions() -> Iterator[dict[str, Any]]:
    """Two personal pensions found to be one person's, above the yearly cap, and then found to be two persons' after all."""
    for number, account in (("77", "PP-1"), ("88", "PP-2")):
        about = {**BANK, "sid": f"pp-bank:{number}"}
        yield {
            "type": "RegisterSourceIdentity",
            "command_id": f"pp-bank/identity/{number}",
            **about,
            "provider": "bank-one",
        }
        opened = {"account": account, "institution": "bank-one", "opened_on": "2025-02-10"}
        yield {
            "type": "OpenAccount",
            "command_id": f"pp-bank/opening/{number}",
            **about,
            **opened,
            "product": "personal_pension",
        }
        for month, fen in (("2025-01", 1_000_000), ("2025-02", 100_000)):
            paid = {"account": account, "amounts_fen": {"own": fen}, "period": month, "tax_treatment": "pre_tax"}
            yield {"type": "PostContribution", "command_id": f"pp-bank/{account}/{month}", **BANK, **paid}
    said = {**STEWARD, "approvers": ["user:lin", "user:zhao"]}
    yield {"type": "LinkIdentities", "command_id": "wang/link/1", **STEWARD, "basis": "document", "links": [LINK]}
    merged = {"basis": "steward", "links": [MERGE], "reason": "same_person"}
    yield {"type": "MergeIdentities", "command_id": "wang/merge/1", **said, **merged}
    excess = {"approvers": ["user:lin"], "position": 22, "reason": "above_yearly_cap"}
    yield {"type": "ReverseEntry", "command_id": "pp-bank/correction/1", **BANK, **excess}
    parted = {"cause": "false_match", "target": [["ea-core:1001", "pp-bank:77"], ["pp-bank:88"]]}
    yield {"type": "UnmergeIdentities", "command_id": "wang/unmerge/1", **said, **parted}
    pair = {"sid_a": "pp-bank:77", "sid_b": "pp-bank:88"}
    yield {"type": "WithdrawDistinct", "command_id": "wang/distinct/1", **said, **pair, "reason": "new_evidence"}
    yield {"type": "DeclareDistinct", "command_id": "wang/distinct/2", **said, **pair, "reason": "twins"}


def _profile() -> Iterator[dict[str, Any]]:
    """A person agrees to be counted in the case library, and withdraws it."""
    about = {**ENVELOPE, "sid": "ea-core:1001"}
    coarse = {"birth_band": "1980-1984", "city": "CN-4403", "employment": "enterprise", "income_band": "120k_to_200k"}
    yield {"type": "DeclareProfile", "command_id": "ea-core/profile/1", **about, **coarse}
    yield {"type": "WithdrawProfile", "command_id": "ea-core/profile/2", **about}


def _closing(size: int) -> dict[str, Any]:
    return {
        "type": "ClosePeriod",
        "command_id": "op-1/closing/2025-02",
        **OPERATOR,
        "approvers": ["operator:op-2"],
        "period": "2025-02",
        "root": ROOT.hex(),
        "tree_size": size,
        "trial_balance_sha256": ROOT[::-1].hex(),
    }


def commands() -> Iterator[dict[str, Any]]:
    """Every command as a source system spells it, each kind at least once."""
    yield from _annuity()
    yield from _two_pensions()
    yield from _profile()
    yield _closing(len(_told((*_annuity(), *_two_pensions(), *_profile()))))


def first_commands() -> dict[str, dict[str, Any]]:
    """The first command of each type."""
    found: dict[str, dict[str, Any]] = {}
    for command in commands():
        found.setdefault(command["type"], command)
    return found


@cache
def first_facts() -> dict[str, Recorded]:
    """The first fact of each type."""
    found: dict[str, Recorded] = {}
    for recorded in _told(commands()):
        found.setdefault(type(recorded.fact).__name__, recorded)
    return found


class _All(dict[str, State | None]):
    """Memories of a ledger that holds nothing but the story: whatever is not here, nobody knows."""

    def __missing__(self, tag: str) -> None:
        return None


def _told(story: Iterable[dict[str, Any]]) -> list[Recorded]:
    view = View()
    view.memories = _All()
    view.clock = RECORDED_AT
    view.latest = {}
    recorded: list[Recorded] = []
    for spelled in story:
        command = ONE.validate_json(to_json(spelled))
        if spelled["type"] == "ClosePeriod":
            view.roots[command.tree_size] = ROOT
        decision = decide(command, view)
        assert not isinstance(decision, Refusal), f"{command.command_id}: {decision}"
        for fact in decision:
            position = view.next_position
            recorded.append(Recorded(position, fact, apply(view, fact, position, {}), command))
            assert recorded[-1].tags == tags_of(fact)
    return recorded
