"""Check exported tables against their schema and against each other, by reading the files anew and nothing else.

1. A file has exactly the columns of its table, and each value the type, length and choices of its column.
2. A key names one row. References lead to a row.
3. Debits equal credits in every voucher, and in every period of the balances; a balance is what was there and what moved; the
   next period begins with it; vouchers add up to what the balances say has moved.
4. Findings are sentences with file and line, up to a bound. Rows of vouchers are not kept.
"""

import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Final

MAX_FINDINGS: Final = 1_000
SUMMARY: Final = "科目余额及发生额"
VOUCHERS: Final = "记账凭证"
SIGNS: Final = {"借": 1, "贷": -1, "平": 0}

Row = dict[str, str]


class TablesInvalid(ValueError):
    """The exported tables do not keep their own rules; `findings` says where."""

    def __init__(self, findings: list[str]) -> None:
        """Name the first."""
        self.findings = findings
        super().__init__(f"{len(findings)} findings in the exported tables, first: {findings[0]}")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).strftime("%Y%m%d") == text
    except ValueError:
        return False


TYPES: Final[dict[str, Callable[[str], object]]] = {
    "amount": re.compile(r"(0|[1-9][0-9]{0,17})\.[0-9]{2}").fullmatch,
    "day": _is_day,
    "integer": re.compile(r"0|[1-9][0-9]{0,17}").fullmatch,
    "period": re.compile(r"0[1-9]|1[0-2]").fullmatch,
    "text": re.compile(r"[^\x00-\x1f\x7f]*").fullmatch,
    "year": re.compile(r"[12][0-9]{3}").fullmatch,
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """What may stand in a column; `length` in characters, `references` as TABLE.COLUMN."""

    name: str
    type: str
    length: int | None = None
    optional: bool = False
    choices: tuple[str, ...] = ()
    references: str | None = None

    def wrong(self, value: str) -> str | None:
        """Why a value cannot stand here."""
        if not value:
            return None if self.optional else "is empty"
        if not TYPES[self.type](value):
            return f"is no {self.type}"
        if self.length is not None and len(value) > self.length:
            return f"is longer than {self.length} characters"
        if self.choices and value not in self.choices:
            return f"is none of {', '.join(self.choices)}"
        return None


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    rising: bool = False


def _read_schema() -> tuple[str, dict[str, Table]]:
    schema = tomllib.loads(files("replay").joinpath("tables_schema.toml").read_text(encoding="utf-8"))
    tables = {}
    for row in schema["table"]:
        columns = [Column(**{**column, "choices": tuple(column.get("choices", ()))}) for column in row["columns"]]
        tables[row["name"]] = Table(
            name=row["name"], key=tuple(row["key"]), columns=tuple(columns), rising=row.get("rising", False)
        )
    referenced = [column.references for table in tables.values() for column in table.columns if column.references]
    assert all(
        column in {each.name for each in tables[table].columns}
        for table, column in (reference.split(".") for reference in referenced)
    ), "a reference leads to no column"
    return schema["standard"], tables


STANDARD, TABLES = _read_schema()


def check_tables(folder: Path) -> list[str]:
    """What is wrong with the tables in a folder, up to a bound."""
    return _Check(folder).run()


class _Check:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._findings: list[str] = []
        wanted = {column.references for table in TABLES.values() for column in table.columns if column.references}
        self._referenced: dict[str, set[str]] = {reference: set() for reference in wanted}
        # By subject and period: debits and credits of vouchers, and rows of balances, in fen.
        self._moved: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self._balances: dict[tuple[str, str], tuple[int, int, int, int]] = {}

    def run(self) -> list[str]:
        found = sorted(path.name for path in self._folder.iterdir())
        expected = sorted(f"{name}.csv" for name in TABLES)
        if found != expected:
            return [f"the folder holds {found}, not {expected}"]
        for name in self._in_order():
            self._table(TABLES[name])
        if not self._findings:
            self._totals()
        return self._findings

    def _in_order(self) -> Iterator[str]:
        """Every table after those that it refers to."""
        left = dict(TABLES)
        while left:
            ready = [
                name
                for name, table in left.items()
                if not any(
                    c.references and c.references.partition(".")[0] in left.keys() - {name} for c in table.columns
                )
            ]
            assert ready, "tables refer to each other in a circle"
            for name in ready:
                del left[name]
                yield name

    def _find(self, finding: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(finding)

    def _table(self, table: Table) -> None:
        keys: set[tuple[str, ...]] = set()
        before: tuple[int, ...] = ()
        voucher, balance = "", 0
        with (self._folder / f"{table.name}.csv").open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [column.name for column in table.columns]
            if next(reader, None) != names:
                self._find(f"{table.name}: the first line does not name the columns of the schema")
                return
            for values in reader:
                where = f"{table.name} line {reader.line_num}"
                if len(values) != len(names) or not self._row(table, values, where):
                    self._find(f"{where}: not all values can be read")
                    continue
                row = dict(zip(names, values, strict=True))
                key = tuple(row[name] for name in table.key)
                if table.rising:
                    rising = tuple(map(int, key))
                    if rising <= before:
                        self._find(f"{where}: the key {key} does not rise")
                    before = rising
                elif key in keys:
                    self._find(f"{where}: the key {key} stands twice")
                else:
                    keys.add(key)
                if table.name == SUMMARY:
                    self._balance(row, where)
                elif table.name == VOUCHERS:
                    if row["记账凭证编号"] != voucher:
                        self._balanced(voucher, balance)
                        voucher, balance = row["记账凭证编号"], 0
                    balance += self._line(row, where)
        self._balanced(voucher, balance)

    def _row(self, table: Table, values: list[str], where: str) -> bool:
        good = True
        for column, value in zip(table.columns, values, strict=True):
            wrong = column.wrong(value)
            if wrong is None and value and column.references and value not in self._referenced[column.references]:
                wrong = f"is not in {column.references}"
            if wrong is not None:
                self._find(f"{where}: {column.name} {value!r} {wrong}")
                good = False
            known = self._referenced.get(f"{table.name}.{column.name}")
            if known is not None:
                known.add(value)
        return good

    def _balanced(self, voucher: str, balance: int) -> None:
        if balance:
            self._find(f"{VOUCHERS} {voucher}: debits and credits differ by {balance} fen")

    def _line(self, row: Row, where: str) -> int:
        """Counts a line of a voucher, and returns its debit less its credit."""
        debit, credit = _fen(row["借方本币金额"]), _fen(row["贷方本币金额"])
        if debit and credit:
            self._find(f"{where}: it has a debit and a credit")
        if row["记账凭证日期"][:6] != row["会计年度"] + row["会计期间号"]:
            self._find(f"{where}: its date is not in its period")
        if (row["借方原币金额"], row["贷方原币金额"]) != (row["借方本币金额"], row["贷方本币金额"]):
            self._find(f"{where}: its amounts in original currency differ, though there is one currency")
        moved = self._moved[row["科目编号"], row["会计期间号"]]
        moved[0] += debit
        moved[1] += credit
        return debit - credit

    def _balance(self, row: Row, where: str) -> None:
        opening, closing = _fen(row["期初本币余额"]), _fen(row["期末本币余额"])
        sides = SIGNS[row["期初余额方向"]], SIGNS[row["期末余额方向"]]
        if bool(opening) != bool(sides[0]) or bool(closing) != bool(sides[1]):
            self._find(f"{where}: only an empty balance is on no side")
        opening, closing = opening * sides[0], closing * sides[1]
        debit, credit = _fen(row["借方本币金额"]), _fen(row["贷方本币金额"])
        if opening + debit - credit != closing:
            self._find(f"{where}: what was there and what moved is not what is there")
        self._balances[row["科目编号"], row["会计期间号"]] = (opening, debit, credit, closing)

    def _totals(self) -> None:
        for key in sorted(self._balances.keys() | self._moved.keys()):
            balance, moved = self._balances.get(key, (0, 0, 0, 0)), self._moved.get(key, [0, 0])
            if [balance[1], balance[2]] != moved:
                self._find(f"{key}: vouchers move {moved} fen, the balances say {[balance[1], balance[2]]}")
        for (subject, period), (other, following) in pairwise(sorted(self._balances)):
            if subject == other and self._balances[subject, period][3] != self._balances[other, following][0]:
                self._find(f"{subject}: {following} does not begin with what {period} ended with")
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for (_, period), (opening, debit, credit, closing) in self._balances.items():
            for number, fen in enumerate((opening, debit - credit, closing)):
                sums[period][number] += fen
        for period, found in sorted(sums.items()):
            if any(found):
                self._find(f"period {period}: debits and credits differ by {found} fen (opening, moved, closing)")


def _fen(amount: str) -> int:
    return int(amount.replace(".", ""))
