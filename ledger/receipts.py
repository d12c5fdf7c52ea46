"""Receipts: the API's signed promise that a position holds a leaf, given before the notary has sealed it.

Whoever holds a receipt for which there is no proof after a minute can show that something accepted was not kept.

1. The key is the API's own, not the notary's: its name is the origin with `/receipts` behind it.
2. What is signed is the leaf as it was committed, so the receipt can be held against the proof, offline.
"""

from collections.abc import Iterable
from pathlib import Path

from ledger.application import Outcome, Receipt
from ledger.domain.notes import SigningKey, receipt_text
from ledger.keys import make_key, read_key
from ledger.settings import Settings

KEY_FILE = "receipt.key"
KEY_NAME = "/receipts"


class Receipts:
    """Signs for one ledger."""

    def __init__(self, key: SigningKey, *, origin: str) -> None:
        """The origin is that of the notary's checkpoints."""
        self._key = key
        self._origin = origin

    @property
    def origin(self) -> str:
        """Whose receipts these are."""
        return self._origin

    @property
    def verifier(self) -> str:
        """What holders of receipts need to check them."""
        return str(self._key.verifier)

    def sign(self, outcomes: Iterable[Outcome]) -> str | None:
        """One note over all facts of these outcomes; None where they recorded none."""
        leaves = [
            leaf
            for outcome in outcomes
            if isinstance(outcome, Receipt) and outcome.first_position is not None
            for leaf in enumerate(outcome.leaves, outcome.first_position)
        ]
        return self._key.sign(receipt_text(self._origin, leaves)) if leaves else None


def open_receipts(settings: Settings) -> Receipts:
    """With the key that the settings name; that of the data folder is made on first use. Raises KeyFileUnusable, OSError."""
    path = settings.receipt_key or Path(settings.data_folder).expanduser() / KEY_FILE
    key = read_key(path)
    if key is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = make_key(path, settings.origin + KEY_NAME)
    return Receipts(key, origin=settings.origin)
