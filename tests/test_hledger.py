"""`export --hledger`: read again by the documented syntax, the file balances and says what the ledger says."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ledger.application import Ledger
from replay.facts import HistoryBroken, opened
from replay.hledger import write_hledger
from tests.bundles import fill
from tests.commands import contribute
from tests.sealing import auditor_url
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from ledger.database import Database

# A simple subset of https://hledger.org/hledger.html#transactions, #postings and #directives.
TRANSACTION = re.compile(r"(\d{4}-\d{2}-\d{2}) \((\d+)\) ([^;]*?)(?:  ; (.*))?")
POSTING = re.compile(r"    (\S(?:[^ ]| (?! ))*)  CNY (-?\d+\.\d{2})")
EARLY, LATE = date(2026, 2, 10), date(2026, 3, 10)


class Transaction(NamedTuple):
    day: date
    code: int
    description: str
    comment: str
    postings: list[tuple[str, Decimal]]


def read(text: str) -> tuple[list[Transaction], set[str]]:
    """The transactions and declared accounts of a journal file; any other line but a comment is an error."""
    transactions: list[Transaction] = []
    declared: set[str] = set()
    for line in text.splitlines():
        if not line or line.startswith(";") or line == "commodity CNY 1000.00":
            continue
        if line.startswith("account "):
            declared.add(line.removeprefix("account "))
        elif line.startswith("    "):
            posting = POSTING.fullmatch(line)
            assert posting is not None, line
            transactions[-1].postings.append((posting[1], Decimal(posting[2])))
        else:
            head = TRANSACTION.fullmatch(line)
            assert head is not None, line
            transactions.append(Transaction(date.fromisoformat(head[1]), int(head[2]), head[3], head[4] or "", []))
    return transactions, declared


def written(database: Database, **options: Any) -> str:
    file = io.StringIO()
    with opened(auditor_url(database)) as connection:
        counted = write_hledger(connection, file, **options)
    transactions, _ = read(file.getvalue())
    assert counted == (len(transactions), sum(len(each.postings) for each in transactions))
    return file.getvalue()


def balances(transactions: list[Transaction]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for transaction in transactions:
        for account, amount in transaction.postings:
            found[account] += amount
    return dict(found)


def remembered(database: Database) -> dict[str, Decimal]:
    """What memory holds of every account, by the name that it has in the file."""
    with database.connect() as connection:
        rows = connection.execute("SELECT tag, state FROM memory WHERE tag LIKE 'account:%'").fetchall()
    return {
        f"assets:{state['product']}:{tag.removeprefix('account:')}:{part}": Decimal(fen) / 100
        for tag, state in ((tag, json.loads(state)) for tag, state in rows)
        for part, fen in state["balances_fen"].items()
    }


def test_every_transaction_is_balanced_and_every_account_declared(database: Database) -> None:
    fill(database, 100)
    transactions, declared = read(written(database))
    for transaction in transactions:
        assert sum(amount for _, amount in transaction.postings) == 0
        assert {account for account, _ in transaction.postings} <= declared
    assert len({transaction.code for transaction in transactions}) == len(transactions)


def test_the_balances_are_those_of_memory(database: Database) -> None:
    fill(database, 100)
    found = balances(read(written(database))[0])
    held = remembered(database)
    assert {account: found.get(account, Decimal(0)) for account in held} == held
    assert sum(found.values()) == 0
    assert {account for account in found if not account.startswith("equity:external:")} <= held.keys()


def test_a_transaction_names_position_type_command_and_what_it_reverses(database: Database) -> None:
    fill(database, 30)
    transactions, _ = read(written(database))
    with database.connect() as connection:
        rows = connection.execute("SELECT position, type, command_id, effective_on FROM event").fetchall()
    facts = {position: (f"{type_name} {command_id}", day) for position, type_name, command_id, day in rows}
    assert all((each.description, each.day) == facts[each.code] for each in transactions)
    reversal = next(each for each in transactions if each.comment)
    reversed_one = next(
        each for each in transactions if each.comment == "" and f"reverses:{each.code}" == reversal.comment
    )
    assert reversal.description.startswith("EntryReversed ")
    assert [(account, -amount) for account, amount in reversal.postings] == reversed_one.postings


def test_as_of_a_day_and_as_known_at_a_position(database: Database) -> None:
    fill(database, 30)
    Ledger(database).post([contribute("A1", 5, effective_on=LATE), contribute("A1", 7, effective_on=EARLY)])
    everything, _ = read(written(database))
    assert [each.code for each in read(written(database, known_at=20))[0]] == [
        each.code for each in everything if each.code <= 20
    ]
    assert read(written(database, as_of=EARLY))[0] == [each for each in everything if each.day <= EARLY]
    both, _ = read(written(database, as_of=LATE, known_at=31))
    assert [each.code for each in both] == [each.code for each in everything if each.code <= 31]


def test_the_same_question_gives_the_same_file(database: Database) -> None:
    fill(database, 40)
    assert written(database) == written(database)


def test_an_empty_ledger_gives_a_file_without_transactions(database: Database) -> None:
    assert read(written(database))[0] == []


def test_a_command_that_cannot_be_written_ends_the_export(database: Database) -> None:
    fill(database, 20)
    with past_all_guards(database) as superuser:
        superuser.execute("UPDATE event SET command_id = 'a ; b' WHERE position = 20")
    with pytest.raises(HistoryBroken, match="position 20"):
        written(database)
