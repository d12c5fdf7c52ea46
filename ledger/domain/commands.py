"""The commands: what internal systems ask for, validated where they enter, frozen from then on.

Each names its sender (`actor`), when it was decided, the business date it takes effect, and an id that makes it
idempotent. Amounts may carry any sign here, so that a wrong one is refused with a code and leaves its row.
"""

import hashlib
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from ledger.domain.calendar import Period
from ledger.domain.events import (
    BirthBand,
    CityCode,
    LinkBasis,
    MergeBasis,
    TaxTreatment,
    UnmergeCause,
    VerificationTier,
    Voids,
)
from ledger.domain.identifiers import (
    AccountId,
    Actor,
    BooksId,
    CommandId,
    EntryPosition,
    EvidenceRef,
    NewAccountId,
    Sid,
    Slug,
)
from ledger.domain.money import AskedAmounts, AskedFen

MAX_LINKS = 50
MAX_MEMBERS = 200
DAY_CHARACTERS = len("2026-01-31")
FIRST_MOMENT = datetime(1990, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2200, 1, 1, tzinfo=UTC)


def _written(moment: object) -> object:
    """Refuse a number, also one in quotes: it would be taken for seconds since 1970."""
    if isinstance(moment, datetime) or (isinstance(moment, str) and moment[4:5] == "-"):
        return moment
    message = "a moment is written YYYY-MM-DDThh:mm:ss with its offset"
    raise ValueError(message)


# Bounded, because near the ends of the calendar a time zone or a count of days leads out of it.
DecidedAt = Annotated[AwareDatetime, Field(ge=FIRST_MOMENT, lt=LAST_MOMENT), BeforeValidator(_written)]


def _day(day: object) -> object:
    """Refuse a number, also one in quotes, as of a moment; and a moment."""
    if isinstance(day, str) and len(day) == DAY_CHARACTERS and day[4] == "-":
        return day
    if isinstance(day, date) and not isinstance(day, datetime):
        return day
    message = "a date is written YYYY-MM-DD"
    raise ValueError(message)


Day = Annotated[date, BeforeValidator(_day)]
Approvers = Annotated[list[Actor], Field(max_length=8)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AskedPartition = Annotated[
    list[Annotated[list[Sid], Field(max_length=MAX_MEMBERS)]], Field(min_length=1, max_length=MAX_MEMBERS)
]


class AskedAdjustment(BaseModel):
    """A prior-period adjustment, declared: the closed period that `effective_on` lies in, why, and who approves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approvers: Approvers
    period: Period
    reason: Slug


class Command(BaseModel):
    """What all commands carry. `decided_at` says when the sender decided; a repeat may carry a later one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actor: Actor
    adjustment: AskedAdjustment | None = None
    caused_by: Annotated[int, Field(strict=True, ge=1, lt=2**53)] | None = None
    command_id: CommandId
    decided_at: DecidedAt
    effective_on: Day


class AskedLink(BaseModel):
    """One link as the sender asserts it: two identities and the evidence that they are one person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence_ref: EvidenceRef
    model_version: Slug | None = None
    score_id: Slug | None = None
    sid_a: Sid
    sid_b: Sid
    weight: Annotated[str, Field(pattern=r"^-?[0-9]{1,6}(\.[0-9]{1,12})?$")] | None = None


AskedLinks = Annotated[list[AskedLink], Field(min_length=1, max_length=MAX_LINKS)]


class RegisterSourceIdentity(Command):
    type: Literal["RegisterSourceIdentity"] = "RegisterSourceIdentity"
    provider: Slug
    sid: Sid
    verification_tier: VerificationTier = "unverified"


class OpenAccount(Command):
    """`replaces` names the account that a change of bank leaves behind (personal pension only)."""

    type: Literal["OpenAccount"] = "OpenAccount"
    account: NewAccountId
    employer: Slug | None = None
    institution: Slug
    opened_on: Day
    plan: Slug | None = None
    product: Slug
    replaces: AccountId | None = None
    sid: Sid


class PostContribution(Command):
    type: Literal["PostContribution"] = "PostContribution"
    account: AccountId
    amounts_fen: AskedAmounts
    period: Period
    tax_treatment: TaxTreatment


class CreditReturns(Command):
    type: Literal["CreditReturns"] = "CreditReturns"
    account: AccountId
    gains_fen: AskedAmounts = Field(default_factory=dict)
    losses_fen: AskedAmounts = Field(default_factory=dict)
    period: Period


class ChargeFee(Command):
    type: Literal["ChargeFee"] = "ChargeFee"
    account: AccountId
    amounts_fen: AskedAmounts
    fee: Slug
    period: Period


class VestEmployerPart(Command):
    """Move money from an unvested (or booked) part to its vested (or real) twin inside one account."""

    type: Literal["VestEmployerPart"] = "VestEmployerPart"
    account: AccountId
    amount_fen: AskedFen
    reason: Slug


class TransferBalance(Command):
    type: Literal["TransferBalance"] = "TransferBalance"
    amounts_fen: AskedAmounts
    from_account: AccountId
    reason: Slug
    to_account: AccountId


class PayBenefit(Command):
    """`gross_fen` is drawn from the parts that the condition opens, in the product's payout order."""

    type: Literal["PayBenefit"] = "PayBenefit"
    account: AccountId
    condition: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,47}$")]
    gross_fen: AskedFen
    net_fen: AskedFen
    tax_fen: AskedFen


class FreezeAccount(Command):
    type: Literal["FreezeAccount"] = "FreezeAccount"
    account: AccountId
    reason: Slug


class UnfreezeAccount(Command):
    type: Literal["UnfreezeAccount"] = "UnfreezeAccount"
    account: AccountId
    reason: Slug


class CloseAccount(Command):
    type: Literal["CloseAccount"] = "CloseAccount"
    account: AccountId
    reason: Slug


class ReverseEntry(Command):
    """Negate an entry exactly. Correction takes two persons: at least one approver who is not the actor."""

    type: Literal["ReverseEntry"] = "ReverseEntry"
    approvers: Approvers
    position: EntryPosition
    reason: Slug


class LinkIdentities(Command):
    """The matcher's decision. `members` states whom the sender believes to be concerned; if they differ, it is refused."""

    type: Literal["LinkIdentities"] = "LinkIdentities"
    basis: LinkBasis
    links: AskedLinks
    members: Annotated[list[Sid], Field(max_length=MAX_MEMBERS)] | None = None


class MergeIdentities(Command):
    """A human's decision. A steward's merge of funded accounts takes two approvers."""

    type: Literal["MergeIdentities"] = "MergeIdentities"
    approvers: Approvers = Field(default_factory=list)
    basis: MergeBasis
    links: AskedLinks
    members: Annotated[list[Sid], Field(max_length=MAX_MEMBERS)] | None = None
    reason: Slug


class UnmergeIdentities(Command):
    """Reach the partition `target`, which covers the whole person."""

    type: Literal["UnmergeIdentities"] = "UnmergeIdentities"
    approvers: Approvers = Field(default_factory=list)
    cause: UnmergeCause
    target: AskedPartition
    voids: Voids | None = None


class DeclareDistinct(Command):
    type: Literal["DeclareDistinct"] = "DeclareDistinct"
    approvers: Approvers = Field(default_factory=list)
    reason: Slug
    sid_a: Sid
    sid_b: Sid


class WithdrawDistinct(Command):
    type: Literal["WithdrawDistinct"] = "WithdrawDistinct"
    approvers: Approvers = Field(default_factory=list)
    reason: Slug
    sid_a: Sid
    sid_b: Sid


class ClosePeriod(Command):
    """Close a period, and all before it, over a sealed tree and the trial balance of what it holds.

    `trial_balance_sha256` is of the text of `trial_balance.py`. Takes two persons, and is posted after the period's end: by
    `ledger close-period`, which computes the trial balance, never by a token or in a file.
    """

    type: Literal["ClosePeriod"] = "ClosePeriod"
    adjustment: None = None
    approvers: Approvers
    books: BooksId = "ledger"
    period: Period
    root: Sha256
    tree_size: Annotated[int, Field(strict=True, ge=1, lt=2**53)]
    trial_balance_sha256: Sha256


class DeclareProfile(Command):
    """A person agrees to be counted in the case library, by four coarse answers. It replaces what she declared before.

    `city` is CN- and the first two or four digits of the place, `birth_band` five years such as 1980-1984; the codes of
    income and employment are dated rules (`profile.income_band`, `profile.employment`).
    """

    type: Literal["DeclareProfile"] = "DeclareProfile"
    birth_band: BirthBand
    city: CityCode
    employment: Slug
    income_band: Slug
    sid: Sid


class WithdrawProfile(Command):
    """She withdraws it. It counts as soon as it is recorded, whatever its effective date."""

    type: Literal["WithdrawProfile"] = "WithdrawProfile"
    sid: Sid


COMMANDS: dict[str, type[Command]] = {cls.__name__: cls for cls in Command.__subclasses__()}

AnyCommand = Annotated[
    RegisterSourceIdentity
    | OpenAccount
    | PostContribution
    | CreditReturns
    | ChargeFee
    | VestEmployerPart
    | TransferBalance
    | PayBenefit
    | FreezeAccount
    | UnfreezeAccount
    | CloseAccount
    | ReverseEntry
    | LinkIdentities
    | MergeIdentities
    | UnmergeIdentities
    | DeclareDistinct
    | WithdrawDistinct
    | ClosePeriod
    | DeclareProfile
    | WithdrawProfile,
    Field(discriminator="type"),
]
ONE: TypeAdapter[Any] = TypeAdapter(AnyCommand)
MANY: TypeAdapter[Any] = TypeAdapter(list[AnyCommand])

_ENCODER = msgspec.json.Encoder(order="sorted", enc_hook=lambda nested: nested.__dict__)


def digest(command: Command) -> bytes:
    """SHA-256 of the command's content: the same id with another digest is another command, and is refused.

    When a sender repeats a command it may stamp the repeat anew: the moment of deciding is not part of the content. Nor is
    the adjustment where none is declared: commands had digests before there were adjustments.
    """
    content = command.__dict__.copy()
    del content["decided_at"]
    if command.adjustment is None:
        del content["adjustment"]
    return hashlib.sha256(_ENCODER.encode(content)).digest()
