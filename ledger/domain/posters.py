"""Who may post what: a source system posts for its own people and accounts, a steward decides who is one person.

1. A command speaks for who sends it: its actor is the token's subject.
2. Command ids are a namespace for each poster, so that nobody can use up or ask for the ids of another.
3. A poster reaches the identities and accounts of its own source alone, and of its own products where it has a list.
4. Nobody closes the books by a token: the operator does, on the command line.

What reaches an account of another source from one's own stays lawful: to transfer to it, and to replace it after a change
of bank. Whether the two belong to one person is the decider's question.
"""

from typing import NamedTuple

from ledger.domain import commands as c
from ledger.domain.decider import View
from ledger.domain.events import BalanceTransferred, Entry
from ledger.domain.refusals import PosterNotPermitted

ACTOR_NOT_SUBJECT = "actor_not_subject"
COMMAND_ID_NOT_OWN = "command_id_not_own"
STEWARD_NEEDED = "steward_needed"
SOURCE_NEEDED = "source_needed"
SOURCE_NOT_OWN = "source_not_own"
PRODUCT_NOT_OWN = "product_not_own"
OPERATOR_NEEDED = "operator_needed"

IDENTITY_MATTERS = (
    c.LinkIdentities,
    c.MergeIdentities,
    c.UnmergeIdentities,
    c.DeclareDistinct,
    c.WithdrawDistinct,
)

# Who knows the person may say these of her identity: no product is needed, only the source.
OF_AN_IDENTITY = (c.RegisterSourceIdentity, c.OpenAccount, c.DeclareProfile, c.WithdrawProfile)


class Poster(NamedTuple):
    """Who posts. Without a `source` it posts no account matters, as a steward may be; `products` None: all of its source."""

    subject: str
    source: str | None
    products: frozenset[str] | None
    is_steward: bool

    @property
    def namespace(self) -> str:
        """What its command ids begin with, before a slash or a colon: its source, or who it is."""
        return self.subject.partition(":")[2] if self.source is None else self.source


def foreign(poster: Poster, command: c.Command) -> str | None:
    """Why the poster may not post this, as far as the command alone tells; None where nothing speaks against it."""
    if command.actor != poster.subject:
        return ACTOR_NOT_SUBJECT
    if not command.command_id.startswith((poster.namespace + "/", poster.namespace + ":")):
        return COMMAND_ID_NOT_OWN
    if isinstance(command, c.ClosePeriod):
        return OPERATOR_NEEDED
    if isinstance(command, IDENTITY_MATTERS):
        return None if poster.is_steward else STEWARD_NEEDED
    if poster.source is None:
        return SOURCE_NEEDED
    if isinstance(command, OF_AN_IDENTITY) and _source_of(command.sid) != poster.source:
        return SOURCE_NOT_OWN
    if isinstance(command, c.OpenAccount) and not _covers(poster, command.product):
        return PRODUCT_NOT_OWN
    return None


def not_permitted(poster: Poster, command: c.Command, view: View) -> PosterNotPermitted | None:
    """Why the poster may not post this, given what is remembered. What nobody opened is left to the decider.

    The view holds what the command's decision needs.
    """
    reason = foreign(poster, command) or _foreign_account(poster, command, view)
    return None if reason is None else PosterNotPermitted(reason=reason)


def _foreign_account(poster: Poster, command: c.Command, view: View) -> str | None:
    if isinstance(command, c.ReverseEntry) and not isinstance(view.fact(command.position), Entry | None):
        return SOURCE_NOT_OWN  # What else stands in the journal, and for whom, is not told to posters.
    account_id = _debited(command, view)
    account = None if account_id is None else view.account(account_id)
    if account is None:
        return None
    if _source_of(account["sid"]) != poster.source:
        return SOURCE_NOT_OWN
    return None if _covers(poster, account["product"]) else PRODUCT_NOT_OWN


def _debited(command: c.Command, view: View) -> str | None:
    """The account that the poster must be in charge of. Who may post an entry may reverse it."""
    if isinstance(command, c.OpenAccount):
        return None  # Not opened yet: `foreign` has seen its sid and product.
    if isinstance(command, c.TransferBalance):
        return command.from_account
    if isinstance(command, c.ReverseEntry):
        fact = view.fact(command.position)
        if not isinstance(fact, Entry):
            return None
        return fact.from_account if isinstance(fact, BalanceTransferred) else fact.account
    account: str | None = getattr(command, "account", None)
    return account


def _source_of(sid: str) -> str:
    return sid.partition(":")[0]


def _covers(poster: Poster, product: str) -> bool:
    return poster.products is None or product in poster.products
