"""Whether the API kept what its receipts promised: that a position holds a leaf, and that it is sealed.

A receipt that has no proof a minute after it was given shows that something was accepted and not kept: it is signed.
"""

from collections.abc import Sequence

import psycopg
from psycopg.rows import TupleRow

from ledger.domain.notes import NoteInvalid, VerifierKey, open_receipt
from ledger.domain.tree import ProofInvalid
from replay.facts import head
from replay.hashes import NotSealed, SealsBroken, prove

Connection = psycopg.Connection[TupleRow]


def check_receipt(
    connection: Connection, note: str, *, receipt_keys: Sequence[VerifierKey], keys: Sequence[VerifierKey]
) -> list[str]:
    """Every promise that is not kept, a line each. Raises NoteInvalid where the receipt is none of these keys."""
    promised = open_receipt(note, receipt_keys)
    size = head(connection)
    found = []
    for position, leaf in promised:
        if position > size:
            found.append(f"position {position} was promised, and the journal ends at {size}")
            continue
        try:
            proof = prove(connection, position)
            proof.verify(leaf, keys)
        except NotSealed:
            found.append(f"position {position} was promised, and is not sealed: after a minute, that is a breach")
        except ProofInvalid:
            found.append(f"position {position} holds another fact than was promised")
        except (SealsBroken, NoteInvalid) as error:
            found.append(f"position {position} cannot be proven: {error}")
    return found
