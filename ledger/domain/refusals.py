"""The refusals: why a command was not accepted. Expected, values, each with a stable code and a sentence.

The code is the class name and never changes; the sentence is the docstring; the detail names what was compared.
"""

import inspect
from typing import ClassVar


class Refusal:
    """A command was not accepted."""

    __slots__ = ("detail",)
    sentence: ClassVar[str]

    def __init__(self, **detail: object) -> None:
        """Keep what was compared: plain JSON values, never personal data."""
        self.detail = detail

    def __init_subclass__(cls) -> None:
        """The docstring is the sentence."""
        cls.sentence = " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @property
    def code(self) -> str:
        """The stable code, which is the class name."""
        return type(self).__name__

    def as_dict(self) -> dict[str, object]:
        """The refusal as it is stored and answered."""
        return {"code": self.code, "sentence": self.sentence, "detail": self.detail}

    def __eq__(self, other: object) -> bool:
        """Two refusals are equal when code and detail are."""
        return isinstance(other, Refusal) and self.code == other.code and self.detail == other.detail

    def __hash__(self) -> int:
        """By code alone: details may hold lists."""
        return hash(self.code)

    def __repr__(self) -> str:
        """Readable in a failing test."""
        return f"{self.code}({', '.join(f'{k}={v!r}' for k, v in self.detail.items())})"


class CommandIdReused(Refusal):
    """This command id was received before with other content; send the changed command under a new id."""


class PosterNotPermitted(Refusal):
    """The token does not cover this command; post it with the token of the source system, or the steward, in charge."""


class PeriodIsClosed(Refusal):
    """The books are closed on the effective date; post into an open period, or anew as a declared prior-period adjustment."""


class AdjustmentNotDue(Refusal):
    """The books are still open on the effective date, so there is nothing to adjust; post without an adjustment."""


class AdjustmentPeriodWrong(Refusal):
    """The adjustment must name the period that the effective date lies in."""


class AdjustmentNotApproved(Refusal):
    """A prior-period adjustment needs an approver who is not the actor."""


class EffectiveDateAbsurd(Refusal):
    """The effective date lies before any pension rule or too far after the day of the decision."""


class EffectiveBeforeOpening(Refusal):
    """The effective date lies before the day the account was opened."""


class RuleNotInForce(Refusal):
    """No row of the rule is in force on the effective date, and rules are not extrapolated."""


class IdentityUnknown(Refusal):
    """No source identity with this sid is registered; register it first."""


class IdentityRegisteredDifferently(Refusal):
    """This sid is already registered with other content."""


class ProductUnknown(Refusal):
    """The catalogue holds no product with this code."""


class AccountExists(Refusal):
    """An account with this id is already open."""


class PersonHoldsProduct(Refusal):
    """A person may hold one account of this product, and this person already does."""


class ReplacedAccountWrong(Refusal):
    """Only an open account of the same person and the same one-per-person product can be replaced, and only once."""


class ReplacementsExhausted(Refusal):
    """The account was replaced as often in this calendar year as the rule allows."""


class AccountUnknown(Refusal):
    """No account with this id was opened."""


class AccountIsClosed(Refusal):
    """The account is closed."""


class AccountIsFrozen(Refusal):
    """The account is frozen; unfreeze it first."""


class AccountNotFrozen(Refusal):
    """The account is not frozen."""


class AccountReplaced(Refusal):
    """Another account has replaced this one; it takes no contributions any more."""


class AccountDuplicate(Refusal):
    """The person holds this product twice, and this later account is flagged: it keeps its balance but takes no contributions."""


class ContributionsEnded(Refusal):
    """Benefits are drawn for good under a condition that ends the person's contributions to this product."""


class PartUnknown(Refusal):
    """The product has no such part, or the part does not take this kind of entry."""


class AmountNotPositive(Refusal):
    """Every amount must be at least one fen, and there must be one."""


class AmountTooLarge(Refusal):
    """The account's total to date would pass its bound, above which numbers are no longer exact everywhere."""


class YearlyCapExceeded(Refusal):
    """The person's contributions of the calendar year, over all her identities, would pass the cap; nothing is split."""


class YearlyPaymentsExhausted(Refusal):
    """The account received as many payments in this calendar year as one counter holds."""


class BalanceInsufficient(Refusal):
    """A part holds less than the amount asked for."""


class VestingNotKnown(Refusal):
    """This product has no part that vests."""


class SameAccount(Refusal):
    """A transfer needs two different accounts."""


class PersonsDiffer(Refusal):
    """The two accounts do not belong to one person."""


class MoveNotLawful(Refusal):
    """The legal-moves matrix does not allow this move for this reason."""


class ConditionUnknown(Refusal):
    """The product has no such payout condition."""


class ConditionNotInForce(Refusal):
    """The payout condition is not in force on the effective date."""


class GrossNotTaxPlusNet(Refusal):
    """Gross must be exactly tax plus net, neither of them negative."""


class BalanceNotZero(Refusal):
    """An account can be closed only when every part is empty."""


class EntryNotFound(Refusal):
    """There is no fact at this position."""


class EntryNotReversible(Refusal):
    """The fact at this position is not an entry about money, so it has no negation."""


class EntryAlreadyReversed(Refusal):
    """The entry was reversed before."""


class ReversalWouldOverdraw(Refusal):
    """Negating the entry would leave a part below zero; correct what came after it first."""


class ApproverMissing(Refusal):
    """The command needs more approvers, different from each other and from the actor."""


class LinkToSelf(Refusal):
    """A link or a cannot-link names one identity twice."""


class LinksNotConnected(Refusal):
    """The links do not join all they name into one person; post one command for each person."""


class ComponentChanged(Refusal):
    """The identities concerned are not those the sender believed in; resolve again."""


class CannotLinkActive(Refusal):
    """Two identities were declared distinct, and the links would join them along the path given; withdraw that first."""


class ComponentTooLarge(Refusal):
    """The person would be composed of more identities than the limit allows; have it reviewed."""


class PartitionIncomplete(Refusal):
    """The target must name every identity of exactly one person, each once."""


class PartNotConnected(Refusal):
    """A part of the target would fall apart further; first add a link with evidence between its identities."""


class IdentitiesAreLinked(Refusal):
    """The two identities are one person; unmerge them first."""


class DistinctNotDeclared(Refusal):
    """The two identities are not declared distinct."""


class ProfileCodeUnknown(Refusal):
    """A profile takes only the codes and bands that are in force on the effective date; the detail names the field."""


class ProfileDatedLater(Refusal):
    """The profile that stands takes effect later; date this declaration no earlier, or withdraw that one first."""


class ProfileNotDeclared(Refusal):
    """No declared profile of this identity stands, so there is nothing to withdraw."""


class PeriodAlreadyClosed(Refusal):
    """The books of this period are closed already."""


class PeriodNotOver(Refusal):
    """A period can be closed, and the closing take effect, only after its last day."""


class CheckpointUnknown(Refusal):
    """The notary has not sealed a tree of this size with this root."""


class CheckpointTooEarly(Refusal):
    """Facts of the period, or of one before it, were recorded after the tree of this size; close over a later checkpoint."""


REFUSALS: dict[str, type[Refusal]] = {cls.__name__: cls for cls in Refusal.__subclasses__()}
