"""The facts: every kind of change that the ledger can record, each one immutable event.

1. A fact's stored type is its bare class name, for ever. What came later is optional, so older facts read and spell as they
   did; the first shape that changes otherwise brings an upcast, which reads the older one, with a golden sample of it.
2. A fact is stored in one spelling: JSON with sorted ASCII keys, no spaces, absent fields left out, money in integer fen.
3. Amounts are positive; the event's name gives the direction.
4. Unknown fields are refused on reading. There is no free-text field: reasons are codes, evidence is a reference.
5. A fact's tags derive from its typed identifiers (`identifiers.tags_of`).
"""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec
from pydantic import StringConstraints

from ledger.domain.calendar import Period
from ledger.domain.identifiers import (
    AccountId,
    BooksId,
    BreachId,
    DistinctId,
    EntryPosition,
    EvidenceRef,
    FlagId,
    LinkId,
    MergeId,
    OneId,
    QuotaId,
    Sid,
    Slug,
    UnmergeId,
)
from ledger.domain.money import Amounts, Fen, FenOrZero

Partition = list[list[Sid]]
VerificationTier = Literal["unverified", "two_factor", "three_factor", "four_factor", "chip_read", "liveness"]
TaxTreatment = Literal["pre_tax", "post_tax"]
LinkBasis = Literal["document", "model"]
MergeBasis = Literal["steward", "customer", "migration"]
UnmergeCause = Literal["false_match", "fraud", "id_correction", "customer_request"]
Voids = Literal["from_start", "from_date"]
# Two digits of the province, or four of the city; no finer place is ever a fact.
CityCode = Annotated[str, StringConstraints(pattern=r"^CN-[0-9]{2}([0-9]{2})?$")]
BirthBand = Annotated[str, StringConstraints(pattern=r"^(19|20)[0-9]{2}-(19|20)[0-9]{2}$")]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An immutable value: made in 0.6 us and spelled in 0.7, where a pydantic model takes 4 and 2."""


class Adjustment(Record, frozen=True, kw_only=True):
    """A declared prior-period adjustment: the fact takes effect in this period, whose books were closed before."""

    approvers: list[str]
    period: Period
    reason: Slug


class Fact(Record, frozen=True, kw_only=True):
    """What all facts carry. The journal adds position, recorded_at, command_id and actor."""

    adjustment: Adjustment | None = None
    caused_by: int | None = None
    decided_at: Annotated[datetime, msgspec.Meta(tz=True)]
    effective_on: date


class Link(Record, frozen=True, kw_only=True):
    """An assertion, with its evidence, that two source identities are one person."""

    effective_from: date
    evidence_ref: EvidenceRef
    link_id: LinkId
    model_version: Slug | None = None
    score_id: Slug | None = None
    sid_a: Sid
    sid_b: Sid
    weight: str | None = None


class CannotLink(Record, frozen=True, kw_only=True):
    """An assertion that two source identities are not one person."""

    distinct_id: DistinctId
    sid_a: Sid
    sid_b: Sid


class SourceIdentityRegistered(Fact, frozen=True, kw_only=True):
    """A source system's person becomes known here, under that system's own pseudonymous number."""

    one_id: OneId
    provider: Slug
    sid: Sid
    verification_tier: VerificationTier


class AccountOpened(Fact, frozen=True, kw_only=True):
    account: AccountId
    employer: Slug | None = None
    institution: Slug
    opened_on: date
    plan: Slug | None = None
    product: Slug
    replaces: AccountId | None = None
    sid: Sid


class ContributionPosted(Fact, frozen=True, kw_only=True):
    """Money came in. `quota` names the counter it uses up, where the product has a yearly cap."""

    account: AccountId
    amounts_fen: Amounts
    period: Period
    quota: QuotaId | None = None
    tax_treatment: TaxTreatment


class ReturnsCredited(Fact, frozen=True, kw_only=True):
    account: AccountId
    gains_fen: Amounts
    losses_fen: Amounts
    period: Period


class FeeCharged(Fact, frozen=True, kw_only=True):
    account: AccountId
    amounts_fen: Amounts
    fee: Slug
    period: Period


class EmployerPartVested(Fact, frozen=True, kw_only=True):
    account: AccountId
    amount_fen: Fen
    from_part: Slug
    reason: Slug
    to_part: Slug


class BalanceTransferred(Fact, frozen=True, kw_only=True):
    """One fact about two accounts: `amounts_fen` leave the parts of one, `credits_fen` reach the parts of the other."""

    amounts_fen: Amounts
    credits_fen: Amounts
    from_account: AccountId
    reason: Slug
    rule: Slug
    to_account: AccountId


class BenefitPaid(Fact, frozen=True, kw_only=True):
    """A taxed payout to the person: `amounts_fen` by part add up to gross, which is tax plus net."""

    account: AccountId
    amounts_fen: Amounts
    condition: str
    ends_contributions: bool
    gross_fen: Fen
    net_fen: FenOrZero
    tax_fen: FenOrZero


class AccountFrozen(Fact, frozen=True, kw_only=True):
    account: AccountId
    reason: Slug


class AccountUnfrozen(Fact, frozen=True, kw_only=True):
    account: AccountId
    reason: Slug


class AccountClosed(Fact, frozen=True, kw_only=True):
    account: AccountId
    reason: Slug


Entry = ContributionPosted | ReturnsCredited | FeeCharged | EmployerPartVested | BalanceTransferred | BenefitPaid
ENTRIES: dict[str, type[Entry]] = {
    cls.__name__: cls
    for cls in (ContributionPosted, ReturnsCredited, FeeCharged, EmployerPartVested, BalanceTransferred, BenefitPaid)
}


class ReversedEntry(Record, frozen=True, kw_only=True):
    """The entry that is negated, whole, so that the negation can be checked against this fact alone."""

    benefit: BenefitPaid | None = None
    contribution: ContributionPosted | None = None
    fee: FeeCharged | None = None
    returns: ReturnsCredited | None = None
    transfer: BalanceTransferred | None = None
    vesting: EmployerPartVested | None = None


class EntryReversed(Fact, frozen=True, kw_only=True):
    """The exact negation of one earlier entry, linked to it."""

    approvers: list[str]
    breach_id: BreachId | None = None
    entry: ReversedEntry
    reason: Slug
    reverses: EntryPosition


class IdentitiesLinked(Fact, frozen=True, kw_only=True):
    """The matcher's decision that identities belong together."""

    after: Partition
    basis: LinkBasis
    before: Partition
    links: list[Link]


class IdentitiesMerged(Fact, frozen=True, kw_only=True):
    """A human's decision that identities belong together."""

    after: Partition
    approvers: list[str]
    basis: MergeBasis
    before: Partition
    links: list[Link]
    merge_id: MergeId
    reason: Slug


class IdentitiesUnmerged(Fact, frozen=True, kw_only=True):
    """A person is parted into `target`; the links between parts are revoked and cannot-links keep them apart."""

    approvers: list[str]
    before: Partition
    cannot_links: list[CannotLink]
    cause: UnmergeCause
    revokes: list[LinkId]
    target: Partition
    unmerge_id: UnmergeId
    voids: Voids


class DistinctDeclared(Fact, frozen=True, kw_only=True):
    approvers: list[str]
    distinct_id: DistinctId
    reason: Slug
    sid_a: Sid
    sid_b: Sid


class DistinctWithdrawn(Fact, frozen=True, kw_only=True):
    approvers: list[str]
    distinct_ids: list[DistinctId]
    reason: Slug
    sid_a: Sid
    sid_b: Sid


class LimitBreachRecorded(Fact, frozen=True, kw_only=True):
    """A merge put one person above a yearly cap. The excess falls on the latest postings, `contributing_positions`."""

    breach_id: BreachId
    contributing_positions: list[int]
    excess_fen: Fen
    rule: Slug
    sids: list[Sid]
    total_fen: Fen
    year: int


class LimitBreachRescinded(Fact, frozen=True, kw_only=True):
    breach_id: BreachId
    rule: Slug
    sids: list[Sid]
    year: int


class DuplicateAccountFlagged(Fact, frozen=True, kw_only=True):
    """One person holds a product twice. The first of `account_ids` goes on; the later ones take no contributions."""

    account_ids: list[AccountId]
    flag_id: FlagId


class DuplicateAccountRescinded(Fact, frozen=True, kw_only=True):
    account_ids: list[AccountId]
    flag_id: FlagId


class CompensationRequired(Fact, frozen=True, kw_only=True):
    """A decision taken about a merged person does not stand after the unmerge, and money has to be made good."""

    decision_position: EntryPosition
    quota: QuotaId
    reason: Slug


class PeriodClosed(Fact, frozen=True, kw_only=True):
    """The books of a period, and of all before it, are closed over the tree of this size and root.

    No fact that takes effect by the period's end lies between `tree_size` and this one, so the trial balance covers all.
    """

    approvers: list[str]
    books: BooksId
    period: Period
    root: str
    tree_size: int
    trial_balance_sha256: str


class ProfileDeclared(Fact, frozen=True, kw_only=True):
    """What a person agreed to be counted by in the case library, coarse by its codes; no birth date, wage or name."""

    birth_band: BirthBand
    city: CityCode
    employment: Slug
    income_band: Slug
    sid: Sid


class ProfileWithdrawn(Fact, frozen=True, kw_only=True):
    """She withdraws what she had agreed to, and is in no later edition of the case library."""

    sid: Sid


FACTS: dict[str, type[Fact]] = {cls.__name__: cls for cls in Fact.__subclasses__()}
# Sorted at every level, 0.14 us a fact: a struct by itself puts inherited fields first.
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODERS = {name: msgspec.json.Decoder(list[cls]) for name, cls in FACTS.items()}  # type: ignore[valid-type]


class FactUnreadable(ValueError):
    """The journal holds a fact whose type or fields this version does not know; upgrade the program that reads it."""


def encode(fact: Fact) -> bytes:
    """The fact's own fields in the one stored spelling."""
    return _ENCODER.encode(fact)


def encode_lines(facts: list[Fact]) -> str:
    """Many facts in the stored spelling, a line each; no JSON text holds a line's end."""
    return _ENCODER.encode_lines(facts)[:-1].decode()


def decode(type_name: str, data: bytes) -> Fact:
    """Read one stored fact. Raises FactUnreadable."""
    return decode_array(type_name, b"[" + data + b"]")[0]


def decode_array(type_name: str, datas: bytes | str) -> list[Fact]:
    """Read a JSON array of stored facts of one type. Raises FactUnreadable."""
    decoder = _DECODERS.get(type_name)
    if decoder is None:
        raise FactUnreadable(type_name)
    try:
        found: list[Fact] = decoder.decode(datas)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{type_name}: {error}"
        raise FactUnreadable(message) from error
    return found
