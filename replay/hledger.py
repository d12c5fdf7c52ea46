"""The journal as an hledger journal file (https://hledger.org/hledger.html#journal): another program adds it all up again.

1. One transaction for each fact that moves money: its code is the position, its description the fact's type and command.
2. Every transaction is balanced. A reversal is a transaction of its own, which names what it reverses.
3. The balance of `assets:PRODUCT:ACCOUNT:PART` is that of the ledger; money comes from and goes to `equity:external`.
4. Every account and the currency are declared, so `hledger check --strict` passes.

The file is in position order, not by date, which hledger does not mind.
"""

import re
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from ledger.domain.postings import EXTERNAL
from ledger.domain.rules import PRODUCTS
from replay.facts import Connection, HistoryBroken
from replay.unfinished import unfinished_file
from replay.vouchers import CURRENCY, EXTERNAL_PARTS, Leg, Opened, Voucher, read_vouchers, yuan

# A semicolon would begin a comment, and two spaces would end an account's name.
UNWRITABLE: Final = re.compile(r"[;|\x00-\x1f\x7f]|  ")


class Written(NamedTuple):
    """How much there is in the file."""

    transactions: int
    postings: int


def export_hledger(
    connection: Connection, path: Path, *, known_at: int | None = None, as_of: date | None = None
) -> Written:
    """As `write_hledger`, into a new file, which is there whole or not at all. Raises FileExistsError too."""
    with unfinished_file(path) as unfinished, unfinished.open("x", encoding="utf-8") as file:
        return write_hledger(connection, file, known_at=known_at, as_of=as_of)


def write_hledger(
    connection: Connection, target: TextIO, *, known_at: int | None = None, as_of: date | None = None
) -> Written:
    """Write the facts up to a position that take effect up to a day, by default all.

    Raises PositionNotRecorded and HistoryBroken.
    """
    target.write("; All facts of a pension ledger that move money")
    target.write("" if known_at is None else f", known at position {known_at}")
    target.write("" if as_of is None else f", as of {as_of}")
    target.write(f"\n\ncommodity {CURRENCY} 1000.00\n\n")
    target.writelines(f"account equity:{EXTERNAL}:{part}\n" for part in EXTERNAL_PARTS)
    transactions = postings = 0
    for many in read_vouchers(connection, known_at=known_at, as_of=as_of):
        for each in many:
            if isinstance(each, Opened):
                target.write(_declared(each))
            else:
                target.write(_transaction(each))
                transactions, postings = transactions + 1, postings + len(each.legs)
    return Written(transactions, postings)


def _declared(opened: Opened) -> str:
    parts = PRODUCTS[opened.product].parts
    return "\n" + "".join(f"account assets:{opened.product}:{opened.account}:{part.code}\n" for part in parts)


def _transaction(voucher: Voucher) -> str:
    description = f"{voucher.type_name} {voucher.command_id}"
    if UNWRITABLE.search(description):
        raise HistoryBroken(voucher.position, f"the command id {voucher.command_id!r} cannot stand in a journal file")
    comment = "" if voucher.reverses is None else f"  ; reverses:{voucher.reverses}"
    lines = [f"\n{voucher.effective_on} ({voucher.position}) {description}{comment}\n"]
    lines += [f"    {_account(leg)}  {CURRENCY} {yuan(leg.amount_fen)}\n" for leg in voucher.legs]
    return "".join(lines)


def _account(leg: Leg) -> str:
    if leg.account == EXTERNAL:
        return f"equity:{EXTERNAL}:{leg.part}"
    return f"assets:{leg.product}:{leg.account}:{leg.part}"
