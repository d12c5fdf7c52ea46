"""The trial balance of the closed books: its numbers, and the one text by which a closing pins them.

The text, format v1, is UTF-8 lines, each ended by LF: the version; the period; the tree size; the number of rows; then the
rows, sorted by product, kind and part: product, kind, part, number of postings and their sum in fen, parted by tabs.

1. It holds the postings of the facts that are under the tree and take effect by the period's end, each once.
2. Its sums add up to zero, because each fact's postings do.
3. The same facts give the same bytes, whoever adds them up: the ledger from its control totals, the auditor from postings.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from ledger.domain.calendar import period_of
from ledger.domain.lines import Recorded

VERSION: Final = "pension-ledger/trial-balance/v1"


class Row(NamedTuple):
    """The postings of one product, kind and part."""

    product: str
    kind: str
    part: str
    lines: int
    amount_fen: int


def text(period: str, tree_size: int, rows: Iterable[Row]) -> bytes:
    """The trial balance as it is hashed."""
    lines = ["\t".join(map(str, row)) for row in sorted(rows)]
    return "".join(f"{line}\n" for line in (VERSION, period, tree_size, len(lines), *lines)).encode()


def digest(period: str, tree_size: int, rows: Iterable[Row]) -> str:
    """SHA-256 of the text, in lower-case hex: what a closing pins."""
    return sha256(text(period, tree_size, rows)).hexdigest()


class Postings:
    """Postings added up by the period they take effect in, so that those up to any period's end can be told."""

    def __init__(self) -> None:
        """Start with none."""
        self._sums: defaultdict[str, dict[tuple[str, str, str], list[int]]] = defaultdict(dict)

    def add(self, recorded: Recorded, products: Mapping[str, str]) -> None:
        """Add the postings of one fact; `products` names the product of each account, and `external`."""
        kind = recorded.kind
        if kind is None:
            return
        sums = self._sums[period_of(recorded.fact.effective_on)]
        for account, part, fen in recorded.legs:
            key = (products[account], kind, part)
            counted = sums.get(key)
            if counted is None:
                sums[key] = [1, fen]
            else:
                counted[0] += 1
                counted[1] += fen

    def rows(self, through: str) -> list[Row]:
        """The rows up to the end of a period."""
        whole: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for period, sums in self._sums.items():
            if period <= through:
                for key, (lines, fen) in sums.items():
                    whole[key][0] += lines
                    whole[key][1] += fen
        return [Row(*key, lines, fen) for key, (lines, fen) in whole.items()]
