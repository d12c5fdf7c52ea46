"""Vouchers: every fact that moves money as an accountant would book it, in position order, for exports.

1. The number of a voucher is the position of its fact; a fact that moves no money has none.
2. The legs of a voucher add up to zero, or it is an error.
3. Of all facts no more is kept than the product of each account.
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from ledger.domain.events import AccountOpened, EntryReversed, Fact
from ledger.domain.lines import KINDS, Recorded
from ledger.domain.postings import EXTERNAL
from ledger.domain.rules import PRODUCTS
from replay.facts import DOES_NOT_FOLLOW, Connection, HistoryBroken, check_gapless, read_beside
from replay.sheets import NAME, position_at

TYPES = [AccountOpened.__name__, EntryReversed.__name__, *(entry.__name__ for entry in KINDS)]
CURRENCY = "CNY"
EXTERNAL_PARTS = ("benefits", "contributions", "fees", "returns", "tax")
FEN = 100

READ_ENVELOPES = b"""
SELECT position, command_id, actor
FROM event
WHERE position > %s AND position <= %s AND type = ANY (%s)
"""


class Leg(NamedTuple):
    """One posting; positive where the account grows. The product of an external account is `external`."""

    product: str
    account: str
    part: str
    amount_fen: int


class Voucher(NamedTuple):
    """A fact that moves money. `reverses` is the position of the fact that it negates, if it does."""

    position: int
    type_name: str
    effective_on: date
    command_id: str
    actor: str
    approvers: list[str]
    reverses: int | None
    legs: list[Leg]


class Opened(NamedTuple):
    """An account that the next vouchers may post to."""

    account: str
    product: str


def read_vouchers(
    connection: Connection, *, known_at: int | None = None, as_of: date | None = None
) -> Iterator[list[Opened | Voucher]]:
    """A slice at a time: facts up to a position that take effect up to a day. Accounts opened stand before their vouchers.

    Raises PositionNotRecorded and HistoryBroken.
    """
    products = {EXTERNAL: EXTERNAL}
    until = position_at(connection, known_at)
    check_gapless(connection, until)

    def envelopes(after: int, end: int) -> dict[int, tuple[str, str]]:
        rows = connection.execute(READ_ENVELOPES, (after, end, TYPES), prepare=True)
        return {position: (command_id, actor) for position, command_id, actor in rows}

    for _, facts, envelope_of in read_beside(connection, envelopes, until=until, types=TYPES):
        found: list[Opened | Voucher] = []
        for position, fact in facts:
            if isinstance(fact, AccountOpened):
                if fact.product not in PRODUCTS or not NAME.fullmatch(fact.account):
                    raise HistoryBroken(position, f"{fact.account!r} of {fact.product!r} is no account of any product")
                products[fact.account] = fact.product
                found.append(Opened(fact.account, fact.product))
            elif as_of is None or fact.effective_on <= as_of:
                found.append(_voucher(Recorded(position, fact), products, *envelope_of[position]))
        yield found


def _voucher(recorded: Recorded, products: dict[str, str], command_id: str, actor: str) -> Voucher:
    fact = recorded.fact
    try:
        legs = [Leg(products[leg.account], *leg) for leg in recorded.legs]
    except KeyError as error:
        raise HistoryBroken(recorded.position, f"it posts to {error}, which was never opened") from error
    except DOES_NOT_FOLLOW as error:
        raise HistoryBroken(recorded.position, f"its postings do not follow ({error!r})") from error
    if sum(leg.amount_fen for leg in legs):
        raise HistoryBroken(recorded.position, "its postings do not add up to zero")
    return Voucher(
        position=recorded.position,
        type_name=type(fact).__name__,
        effective_on=fact.effective_on,
        command_id=command_id,
        actor=actor,
        approvers=_approvers(fact),
        reverses=recorded.reverses,
        legs=legs,
    )


def _approvers(fact: Fact) -> list[str]:
    """Who approved it, where that was needed: of a reversal, and of an adjustment of a closed period."""
    approvers = list(fact.approvers) if isinstance(fact, EntryReversed) else []
    if fact.adjustment is not None:
        approvers += [each for each in fact.adjustment.approvers if each not in approvers]
    return approvers


def yuan(fen: int) -> str:
    """As it is written with two decimals, exactly."""
    whole, rest = divmod(abs(fen), FEN)
    return f"{'-' if fen < 0 else ''}{whole}.{rest:02d}"
