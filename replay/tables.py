"""One year's books as the data tables of accounting software's data interface (GB/T 24589.1), a CSV file in UTF-8 each.

Tables, columns and their source stand in `tables_schema.toml`, with what could not be confirmed at the publisher.

1. A subject (科目) is a product and a part of its balance; where money comes from and goes to is `external`. The account that a
   line is about stands beside it as an auxiliary item (辅助项), so that subjects are few and accounts may be millions.
2. A voucher (记账凭证) is a fact that moves money; its number is the position. What an account gains is a debit (借), what it
   loses a credit (贷). A reversal is a voucher of its own.
3. The period is the month in which a fact takes effect. Facts of earlier years are in the opening balances.
4. Every export is read again and checked before it is left: each value against the schema, keys and references; debits equal
   credits in every voucher and period; vouchers add up to the balances; and where all facts of the ledger are in it, the
   closing balances are those that the ledger remembers.
"""

import csv
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from ledger.domain.postings import EXTERNAL
from ledger.domain.rules import PRODUCTS
from replay.facts import Connection, head
from replay.sheets import position_at
from replay.table_checks import STANDARD, SUMMARY, TABLES, VOUCHERS, TablesInvalid, check_tables
from replay.unfinished import unfinished_folder
from replay.vouchers import CURRENCY, EXTERNAL_PARTS, Leg, Opened, Voucher, read_vouchers, yuan

MONTHS: Final = range(1, 13)
BOOKS: Final = "电子账簿"
BOOK_COLUMNS: Final = ("电子账簿编号", "电子账簿名称", "会计核算单位", "组织机构代码", "单位性质", "行业", "会计年度")
ACCOUNTS: Final = "个人账户"
SOFTWARE, VERSION = "pension-ledger", "1"
EXTERNAL_ZH: Final = {
    "benefits": "待遇支付",
    "contributions": "缴费",
    "fees": "费用",
    "returns": "投资收益",
    "tax": "代扣税款",
}
VOUCHER_TYPES: Final = {
    "BalanceTransferred": "转移",
    "BenefitPaid": "待遇支付",
    "ContributionPosted": "缴费",
    "EmployerPartVested": "归属",
    "EntryReversed": "冲正",
    "FeeCharged": "费用",
    "ReturnsCredited": "收益",
}
# What accounts hold by the ledger's memory, which is folded, where the tables are added up from postings.
READ_REMEMBERED = b"""
SELECT state::jsonb ->> 'product', part.code, sum(part.fen::bigint)::bigint
FROM memory, jsonb_each_text(state::jsonb -> 'balances_fen') AS part (code, fen)
WHERE starts_with(tag, 'account:')
GROUP BY 1, 2
"""

Subject = tuple[str, str]


class BookInvalid(ValueError):
    """What was given for the head of the tables cannot stand there."""


@dataclass(frozen=True, kw_only=True)
class Book:
    """Whose books these are, for the head of the tables. Raises BookInvalid."""

    year: int
    unit: str
    unit_code: str = ""
    number: str = "1"
    name: str = "养老金账户总账"
    unit_kind: str = "企业单位"
    industry: str = "金融业"

    def __post_init__(self) -> None:
        """Check all that is given against the schema, and that it can be written in UTF-8."""
        columns = {column.name: column for column in TABLES[BOOKS].columns}
        for name, value in zip(BOOK_COLUMNS, self.of_head(), strict=True):
            wrong = columns[name].wrong(value) if value.isprintable() else "is no text that can be printed"
            if wrong is None and value != value.strip():
                wrong = "begins or ends with a space"
            if wrong is not None:
                raise BookInvalid(f"{name} {value!r} {wrong}")

    def of_head(self) -> list[str]:
        """In the order of the columns."""
        return [self.number, self.name, self.unit, self.unit_code, self.unit_kind, self.industry, str(self.year)]


class Written(NamedTuple):
    """What was exported, and whether the closing balances could be compared with the ledger's memory."""

    vouchers: int
    lines: int
    accounts: int
    compared_with_memory: bool


class Sums:
    """Opening balances and each month's debits and credits, by subject, in fen."""

    def __init__(self) -> None:
        self.opening: defaultdict[Subject, int] = defaultdict(int)
        self.debits: defaultdict[tuple[Subject, int], int] = defaultdict(int)
        self.credits: defaultdict[tuple[Subject, int], int] = defaultdict(int)

    def add(self, leg: Leg, month: int) -> None:
        moved = self.debits if leg.amount_fen > 0 else self.credits
        moved[(leg.product, leg.part), month] += abs(leg.amount_fen)


def export_tables(connection: Connection, folder: Path, book: Book, *, known_at: int | None = None) -> Written:
    """Write the tables of a year into a folder that must not exist, and check them; an error leaves no folder behind.

    Raises PositionNotRecorded, HistoryBroken, FileExistsError and TablesInvalid.
    """
    at = position_at(connection, known_at)
    with unfinished_folder(folder) as unfinished:
        return _export(connection, unfinished, book, at)


def _export(connection: Connection, folder: Path, book: Book, at: int) -> Written:
    sums = Sums()
    vouchers = lines = accounts = left_out = 0
    with ExitStack() as stack:
        writers = {name: _writer(stack, folder, name) for name in TABLES}
        _write_heads(writers, book)
        for many in read_vouchers(connection, known_at=at):
            for each in many:
                if isinstance(each, Opened):
                    writers["自定义档案项值"].writerow([ACCOUNTS, each.account, each.account, each.product, "", ""])
                    accounts += 1
                elif each.effective_on.year == book.year:
                    for number, leg in enumerate(each.legs, 1):
                        sums.add(leg, each.effective_on.month)
                        writers[VOUCHERS].writerow(_voucher_row(each, number, leg))
                    vouchers, lines = vouchers + 1, lines + len(each.legs)
                elif each.effective_on.year < book.year:
                    for leg in each.legs:
                        sums.opening[leg.product, leg.part] += leg.amount_fen
                else:
                    left_out += 1
        closing = _write_balances(writers[SUMMARY], book, sums)
    found = check_tables(folder)
    is_all = not left_out and at == head(connection)
    if is_all:
        found += _differences(connection, closing)
    if found:
        raise TablesInvalid(found)
    return Written(vouchers, lines, accounts, is_all)


def _writer(stack: ExitStack, folder: Path, name: str) -> Any:
    file = stack.enter_context((folder / f"{name}.csv").open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(column.name for column in TABLES[name].columns)
    return writer


def subjects() -> dict[Subject, tuple[str, str]]:
    """Every subject that is posted to, with its number and name."""
    found = {
        (product.code, part.code): (f"{product.code}.{part.code}", f"{product.name_zh}-{part.name_zh}")
        for product in PRODUCTS.values()
        for part in product.parts
    }
    found |= {(EXTERNAL, part): (f"{EXTERNAL}.{part}", f"外部往来-{EXTERNAL_ZH[part]}") for part in EXTERNAL_PARTS}
    return found


def _write_heads(writers: dict[str, Any], book: Book) -> None:
    """All that does not depend on facts."""
    *head_of_book, year = book.of_head()
    writers[BOOKS].writerow([*head_of_book, SOFTWARE, VERSION, CURRENCY, year, STANDARD])
    for month in MONTHS:
        last = monthrange(book.year, month)[1]
        days = [_day(date(book.year, month, 1)), _day(date(book.year, month, last))]
        writers["会计期间"].writerow([book.year, f"{month:02d}", *days])
    for type_name, name in VOUCHER_TYPES.items():
        writers["记账凭证类型"].writerow([type_name, name, name])
    writers["币种"].writerow([CURRENCY, "人民币"])
    writers["自定义档案项"].writerow([ACCOUNTS, ACCOUNTS, "养老金个人账户", 0, ""])
    first_level = {product.code: (product.name_zh, "资产", "借") for product in PRODUCTS.values()}
    first_level[EXTERNAL] = ("外部往来", "权益", "贷")
    for number, (name, kind, side) in first_level.items():
        writers["会计科目"].writerow([number, name, 1, kind, side])
    for (product, _), (number, name) in subjects().items():
        writers["会计科目"].writerow([number, name, 2, *first_level[product][1:]])
        if product != EXTERNAL:
            writers["科目辅助核算"].writerow([number, ACCOUNTS, ACCOUNTS, ACCOUNTS, ""])


def _voucher_row(voucher: Voucher, number: int, leg: Leg) -> list[Any]:
    debit, credit = yuan(max(leg.amount_fen, 0)), yuan(max(-leg.amount_fen, 0))
    reverses = "" if voucher.reverses is None else f" 冲正 {voucher.reverses}"
    return [
        _day(voucher.effective_on),
        voucher.effective_on.year,
        f"{voucher.effective_on.month:02d}",
        voucher.type_name,
        voucher.position,
        number,
        f"{VOUCHER_TYPES[voucher.type_name]} {voucher.command_id}{reverses}",
        f"{leg.product}.{leg.part}",
        "" if leg.account == EXTERNAL else leg.account,
        CURRENCY,
        *(debit, debit, credit, credit),
        0,
        voucher.actor,
        " ".join(voucher.approvers),
        f"system:{SOFTWARE}",
        *(1, 0),
        SOFTWARE,
    ]


def _write_balances(writer: Any, book: Book, sums: Sums) -> dict[Subject, int]:
    """A row for each subject and month; returns what is there at the year's end."""
    closing: dict[Subject, int] = {}
    for subject, (number, _) in subjects().items():
        balance = sums.opening[subject]
        for month in MONTHS:
            opening, debit, credit = balance, sums.debits[subject, month], sums.credits[subject, month]
            balance = opening + debit - credit
            amounts = [yuan(abs(each)) for each in (opening, debit, credit, balance) for _ in ("原币", "本币")]
            period = [CURRENCY, book.year, f"{month:02d}"]
            writer.writerow([number, _side(opening), _side(balance), *period, *amounts])
        closing[subject] = balance
    return closing


def _side(fen: int) -> str:
    if fen == 0:
        return "平"
    return "借" if fen > 0 else "贷"


def _day(day: date) -> str:
    return day.strftime("%Y%m%d")


def _differences(connection: Connection, closing: dict[Subject, int]) -> Iterator[str]:
    """Where the closing balances are not what the ledger remembers."""
    remembered = {(product, part): int(fen) for product, part, fen in connection.execute(READ_REMEMBERED)}
    for subject in sorted(closing.keys() | remembered.keys()):
        if subject[0] != EXTERNAL and closing.get(subject, 0) != remembered.get(subject, 0):
            yield f"{subject}: the tables end at {closing.get(subject, 0)} fen, memory at {remembered.get(subject, 0)}"
