"""`export --tables`: a year's books as data tables that keep their own rules and agree with the ledger."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ledger.application import Ledger
from replay.facts import opened
from replay.table_checks import SUMMARY, TABLES, VOUCHERS, TablesInvalid, check_tables
from replay.tables import Book, Written, export_tables
from tests.bundles import fill
from tests.commands import charge, contribute
from tests.sealing import auditor_url
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.database import Database, TemporaryServer

Rows = list[dict[str, str]]
BOOK = Book(year=2026, unit="某养老保险公司", unit_code="91110000MA00000000")
DAYS = [date(2024, 12, 31), date(2025, 5, 5), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 28)]


def exported(database: Database, folder: Path, book: Book = BOOK, **options: Any) -> Written:
    with opened(auditor_url(database)) as connection:
        return export_tables(connection, folder, book, **options)


def rows(folder: Path, table: str) -> Rows:
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def filled(server: TemporaryServer) -> Iterator[Database]:
    """A ledger with facts of three years, which no test changes."""
    fresh = server.create_database("test_tables")
    fill(fresh, 60)
    Ledger(fresh).post([contribute("A1", 100 + number, effective_on=day) for number, day in enumerate(DAYS)])
    Ledger(fresh).post([charge("A3", 1)])
    yield fresh
    fresh.close()
    server.drop_database("test_tables")


@pytest.fixture(scope="module")
def good(filled: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tables of 2026."""
    folder = tmp_path_factory.mktemp("good") / "tables"
    exported(filled, folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of the good tables, to be changed."""
    return Path(shutil.copytree(good, tmp_path / "tables"))


def test_every_table_of_the_schema_is_written_and_keeps_it(folder: Path) -> None:
    assert check_tables(folder) == []
    for name, table in TABLES.items():
        found = rows(folder, name)
        assert found
        assert list(found[0]) == [column.name for column in table.columns]


def test_the_closing_balances_are_what_the_ledger_remembers(folder: Path, filled: Database) -> None:
    held: dict[str, int] = defaultdict(int)
    with filled.connect() as connection:
        for (state,) in connection.execute("SELECT state FROM memory WHERE tag LIKE 'account:%'"):
            account = json.loads(state)
            for part, fen in account["balances_fen"].items():
                held[f"{account['product']}.{part}"] += fen
    december = {row["科目编号"]: row for row in rows(folder, SUMMARY) if row["会计期间号"] == "12"}
    for subject, fen in held.items():
        row = december[subject]
        assert row["期末本币余额"] == f"{abs(fen) // 100}.{abs(fen) % 100:02d}"
        assert row["期末余额方向"] == ("借" if fen > 0 else "贷" if fen < 0 else "平")
    own = sum(held.values())
    external = [row for subject, row in december.items() if subject.startswith("external.")]
    sides = {"借": 1, "贷": -1, "平": 0}
    assert sum(sides[row["期末余额方向"]] * int(row["期末本币余额"].replace(".", "")) for row in external) == -own


def test_a_voucher_is_a_fact_with_its_position_actor_and_approvers(folder: Path, filled: Database) -> None:
    with filled.connect() as connection:
        facts = connection.execute(
            "SELECT position, type, effective_on, actor FROM event WHERE extract(year FROM effective_on) = 2026"
        ).fetchall()
    moving = {position: rest for position, *rest in facts}
    found = rows(folder, VOUCHERS)
    for row in found:
        type_name, effective_on, actor = moving[int(row["记账凭证编号"])]
        assert (row["记账凭证类型编号"], row["制单人"]) == (type_name, actor)
        assert row["记账凭证日期"] == effective_on.strftime("%Y%m%d")
    reversal = [row for row in found if row["记账凭证类型编号"] == "EntryReversed"]
    assert {row["审核人"] for row in reversal} == {"person:checker"}
    assert all(" 冲正 " in row["记账凭证摘要"] for row in reversal)


def test_facts_of_earlier_years_are_in_the_opening_balance(folder: Path) -> None:
    january = next(
        row
        for row in rows(folder, SUMMARY)
        if (row["科目编号"], row["会计期间号"]) == ("enterprise_annuity.employee", "01")
    )
    # 1.00 and 1.01 of the years before; 1.02 and 1.03 of January.
    assert (january["期初本币余额"], january["借方本币金额"], january["期末本币余额"]) == ("2.01", "2.05", "4.06")


def test_it_says_whether_all_facts_of_the_ledger_are_in_it(folder: Path, filled: Database) -> None:
    whole = exported(filled, folder.parent / "whole")
    assert whole.compared_with_memory
    assert (whole.accounts, whole.lines) == (len(rows(folder, "自定义档案项值")), len(rows(folder, VOUCHERS)))
    assert not exported(filled, folder.parent / "2025", Book(year=2025, unit="x")).compared_with_memory
    assert not exported(filled, folder.parent / "known", known_at=30).compared_with_memory
    assert exported(filled, folder.parent / "2027", Book(year=2027, unit="x")).vouchers == 0


def test_the_same_question_gives_the_same_files(folder: Path, filled: Database) -> None:
    exported(filled, folder.parent / "again")
    for name in TABLES:
        assert (folder.parent / "again" / f"{name}.csv").read_bytes() == (folder / f"{name}.csv").read_bytes()


def test_an_empty_ledger_has_tables_without_vouchers(database: Database, tmp_path: Path) -> None:
    assert exported(database, tmp_path / "empty") == Written(0, 0, 0, compared_with_memory=True)


def test_no_folder_is_written_over(folder: Path, filled: Database) -> None:
    with pytest.raises(FileExistsError):
        exported(filled, folder)


def test_a_ledger_that_remembers_something_else_is_a_finding(database: Database, tmp_path: Path) -> None:
    fill(database, 30)
    with past_all_guards(database) as superuser:
        superuser.execute(
            """UPDATE memory SET state = replace(state, '"employee":', '"employee":9') WHERE tag = 'account:A1'"""
        )
    with pytest.raises(TablesInvalid, match="memory at"):
        exported(database, tmp_path / "tables")


def _without_february(found: Rows) -> None:
    found[:] = [row for row in found if row["会计期间号"] != "02"]


@pytest.mark.parametrize(
    ("table", "change", "finding"),
    [
        (
            VOUCHERS,
            lambda found: found[0].update(借方本币金额="9.99", 借方原币金额="9.99"),
            "debits and credits differ",
        ),
        (VOUCHERS, lambda found: found[0].update(借方原币金额="9.99"), "amounts in original currency differ"),
        (VOUCHERS, lambda found: found[0].update(科目编号="1001"), "is not in 会计科目.科目编号"),
        (VOUCHERS, lambda found: found[0].update(辅助项1编号="nobody"), "is not in 自定义档案项值.档案值编码"),
        (VOUCHERS, lambda found: found[0].update(记账凭证日期="20260230"), "is no day"),
        (VOUCHERS, lambda found: found[0].update(记账凭证日期="20251231"), "its date is not in its period"),
        (VOUCHERS, lambda found: found[0].update(借方本币金额="1,00"), "is no amount"),
        (VOUCHERS, lambda found: found[0].update(制单人=""), "is empty"),
        (VOUCHERS, lambda found: found[0].update(制单人="x" * 129), "is longer than 128 characters"),
        (VOUCHERS, lambda found: found[0].update(作废标志="2"), "is none of 0, 1"),
        (VOUCHERS, lambda found: found.append(found[0]), "does not rise"),
        (VOUCHERS, lambda found: found.__delitem__(slice(0, 2)), "vouchers move"),
        (SUMMARY, lambda found: found.append(found[0]), "stands twice"),
        (SUMMARY, lambda found: found[-1].update(期初本币余额="1.00"), "only an empty balance is on no side"),
        (SUMMARY, lambda found: found[0].update(期初本币余额="1.00", 期初余额方向="借"), "is not what is there"),
        (SUMMARY, _without_february, "vouchers move"),
        ("会计科目", lambda found: found.pop(), "is not in 会计科目.科目编号"),
        ("币种", lambda found: found.clear(), "is not in 币种.币种编码"),
        ("会计期间", lambda found: found[0].update(会计期间号="13"), "is no period"),
    ],
)
def test_tables_that_do_not_keep_their_rules_are_found(
    folder: Path, table: str, change: Callable[[Rows], object], finding: str
) -> None:
    found = rows(folder, table)
    change(found)
    with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [column.name for column in TABLES[table].columns])
        writer.writeheader()
        writer.writerows(found)
    findings = check_tables(folder)
    assert any(finding in each for each in findings), findings


def test_a_missing_file_or_column_is_found(folder: Path) -> None:
    text = (folder / "币种.csv").read_text(encoding="utf-8")
    (folder / "币种.csv").write_text(text.replace("币种名称", "名称"), encoding="utf-8")
    assert any("does not name the columns" in finding for finding in check_tables(folder))
    (folder / "币种.csv").unlink()
    assert "the folder holds" in check_tables(folder)[0]


def test_random_changes_of_amounts_are_found(folder: Path) -> None:
    chance = random.Random(24589)  # noqa: S311 - the same changes in every run
    for table in (VOUCHERS, SUMMARY):
        text = (folder / f"{table}.csv").read_text(encoding="utf-8")
        good = rows(folder, table)
        amounts = [column.name for column in TABLES[table].columns if column.type == "amount" and "本币" in column.name]
        for _ in range(60):
            changed = [dict(row) for row in good]
            chance.choice(changed)[chance.choice(amounts)] = f"{chance.randrange(10**6)}.{chance.randrange(10, 99)}"
            with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(good[0]))
                writer.writeheader()
                writer.writerows(changed)
            assert check_tables(folder) != []
        (folder / f"{table}.csv").write_text(text, encoding="utf-8", newline="")
    assert check_tables(folder) == []
