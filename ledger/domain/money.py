"""Money is integer fen (1 yuan = 100 fen), below 2**53 so that every JSON reader keeps it exact."""

from collections.abc import Collection, Mapping
from typing import Annotated

from msgspec import Meta
from pydantic import AfterValidator, Field

MAX_FEN = 2**53 - 1
# A balance is at most what contributions, returns and transfers brought in; so bounding each of them bounds it too.
MAX_TOTAL_FEN = MAX_FEN // 4
MAX_AMOUNT_FEN = 10**13


def in_order(amounts: Mapping[str, int]) -> dict[str, int]:
    """The same amounts with their parts in alphabetical order, the one spelling in which facts are stored."""
    parts = [*amounts]
    ordered = sorted(parts)
    return dict(amounts) if parts == ordered else {part: amounts[part] for part in ordered}


# A command may carry an amount of any sign: the decider refuses it with a code, where a parser would only say "invalid".
AskedFen = Annotated[int, Field(strict=True, ge=-MAX_AMOUNT_FEN, le=MAX_AMOUNT_FEN)]
Fen = Annotated[int, Meta(gt=0, le=MAX_FEN)]
FenOrZero = Annotated[int, Meta(ge=0, le=MAX_FEN)]
PartCode = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")]
AskedAmounts = Annotated[dict[PartCode, AskedFen], Field(max_length=16), AfterValidator(in_order)]
Amounts = dict[str, Fen]


def all_positive(amounts: Collection[int]) -> bool:
    """Whether there is at least one amount and none is zero or less."""
    return bool(amounts) and min(amounts) > 0
