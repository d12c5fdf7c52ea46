"""What people see in a terminal: balance sheets and reports on files, as tables.

Amounts are written in yuan with two decimals and thousands separators, from whole fen, without a float.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.domain.refusals import REFUSALS
from ledger.domain.rulebook import PRODUCTS
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.files import FileReport

WIDE = 120
MOVEMENTS = ("Contributed", "Returns", "Fees", "Paid out", "Moved")
PILLARS = {1: "第一支柱 First pillar", 2: "第二支柱 Second pillar", 3: "第三支柱 Third pillar"}


def yuan(fen: int) -> str:
    """Write an amount in yuan: 123456 fen are 1,234.56."""
    whole, cents = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{cents:02d}"


def sheet_table(sheet: BalanceSheet, position: int, *, wide: bool) -> RenderableType:
    """The unified balance sheet of one person; where it is not wide, contributions and balances only."""
    title = f"养老金账户资产总表  Unified pension balance sheet of {sheet.one_id}, at position {position:,}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column("Account")
    for name in MOVEMENTS if wide else MOVEMENTS[:1]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Balance, yuan", justify="right", no_wrap=True)

    def add(name: str, balance_fen: int, *movements_fen: int, style: str = "") -> None:
        shown = [yuan(fen) for fen in movements_fen] or [""] * len(MOVEMENTS)
        cells = [name, *(shown if wide else shown[:1]), yuan(balance_fen)]
        table.add_row(*map(Text, cells), style=style)

    for pillar in sheet.pillars:
        table.add_section()
        add(PILLARS[pillar.pillar], pillar.balance_fen, style="bold")
        for product in pillar.products:
            parts = {part.code: part for part in PRODUCTS[product.product].parts}
            for account in product.accounts:
                state = "" if account.status == "open" else f" ({account.status})"
                name = f"  {product.name_zh} {product.name_en}, {account.account}{state}"
                add(name, account.balance_fen, *_movements(account))
                for line in account.parts:
                    part = parts[line.part]
                    add(f"    {part.name_zh} {part.name_en}", line.balance_fen, style="dim")
    table.add_section()
    moved = sum(_movements(a)[4] for pillar in sheet.pillars for product in pillar.products for a in product.accounts)
    totals = (sheet.contributions_fen, sheet.returns_fen, -sheet.fees_fen, -sheet.benefits_fen, moved)
    add("合计 Total", sheet.balance_fen, *totals, style="bold")
    add("  已归属 her own (vested)", sheet.vested_fen)
    add("  未归属 not yet vested", sheet.unvested_fen)
    return Group(table, *_remarks(sheet))


def _movements(account: AccountLine) -> tuple[int, int, int, int, int]:
    """In the order of MOVEMENTS; what left the account is negative."""
    moved = account.transferred_in_fen - account.transferred_out_fen
    return account.contributions_fen, account.returns_fen, -account.fees_fen, -account.benefits_fen, moved


def _remarks(sheet: BalanceSheet) -> list[Text]:
    remarks = [f"Known as {', '.join(identity.sid for identity in sheet.identities)}."]
    remarks += [
        f"Breach {breach.breach_id} of {breach.rule}: {yuan(breach.total_fen)} yuan in {breach.year}, "
        f"{yuan(breach.excess_fen)} above the cap."
        for breach in sheet.breaches
    ]
    remarks += [
        f"Held twice ({flag.flag_id}): {', '.join(flag.account_ids)}; only the first takes contributions."
        for flag in sheet.duplicates
    ]
    return [Text(remark) for remark in remarks]


def files_table(reports: Sequence[FileReport]) -> Table:
    """What came of each file."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("File", no_wrap=True)
    for name in ("Accepted", "Facts", "Repeated", "Refused", "Malformed", "Commands/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        numbers = (report.accepted, report.facts, report.repeated, report.refused.total(), report.malformed)
        table.add_row(Text(report.path.name), *(f"{number:,}" for number in numbers), _rate([report]))
    if len(reports) > 1:
        table.add_section()
        sums = (
            sum(report.accepted for report in reports),
            sum(report.facts for report in reports),
            sum(report.repeated for report in reports),
            sum(report.refused.total() for report in reports),
            sum(report.malformed for report in reports),
        )
        table.add_row("Total", *(f"{number:,}" for number in sums), _rate(reports), style="bold")
    return table


def _rate(reports: Sequence[FileReport]) -> str:
    commands = sum(report.commands for report in reports)
    seconds = sum(report.seconds for report in reports)
    return f"{int(commands / seconds):,}" if seconds and commands else ""


def refusals_table(reports: Iterable[FileReport]) -> Table:
    """How often each refusal was given, most frequent first."""
    refused: Counter[str] = Counter()
    for report in reports:
        refused += report.refused
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Refused", justify="right")
    table.add_column("Code", no_wrap=True)
    table.add_column("Meaning")
    for code, count in sorted(refused.items(), key=lambda pair: (-pair[1], pair[0])):
        table.add_row(f"{count:,}", code, Text(REFUSALS[code].sentence))
    return table
