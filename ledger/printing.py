"""What people see in a terminal: balance sheets, statements, totals, the state of things and reports, as tables.

Amounts are written in yuan with two decimals and thousands separators, from whole fen, without a float.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.domain.refusals import REFUSALS
from ledger.domain.rules import PRODUCTS
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.files import FileReport
from ledger.messages import SENTENCES
from ledger.projections.control_totals import ControlTotals
from ledger.projections.statements import Statement
from ledger.status import PartitionState, Status, StreamState

# Narrower terminals are shown fewer columns: figures are never cut.
WIDE = 120
LINES_WIDE = 100
FILES_WIDE = 80
STATUS_WIDE = 100
# Of more partitions those are shown that are furthest behind: it stays one screen.
MAX_PARTITIONS = 12
MOVEMENTS = ("Contributed", "Returns", "Fees", "Paid out", "Moved")
PILLARS = {1: "第一支柱 First pillar", 2: "第二支柱 Second pillar", 3: "第三支柱 Third pillar"}


def yuan(fen: int) -> str:
    """Write an amount in yuan: 123456 fen are 1,234.56."""
    whole, cents = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{cents:02d}"


def sheet_table(sheet: BalanceSheet, known_at: int, *, as_of: date | None = None, wide: bool) -> RenderableType:
    """The unified balance sheet of one person; where it is not wide, contributions and balances only."""
    moment = _moment(known_at, as_of)
    title = f"养老金账户资产总表  Unified pension balance sheet of {sheet.one_id}, {moment}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column("Account", overflow="fold")
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
    for line in sheet.missing:
        kind, _, name = line.about.partition(":")
        match line.code:
            case "pillar_not_connected":
                remarks.append(f"{PILLARS[int(name)]} is not connected: this ledger has no product of it.")
            case "no_account_known":
                remarks.append(f"{PILLARS[int(name)]}: no account of hers is known.")
            case "account_opened_later":
                remarks.append(f"Account {name} was opened later.")
            case "fact_unreadable":
                remarks.append(f"The fact at {line.position} about {kind} {name} cannot be read; no number counts it.")
    return [Text(remark) for remark in remarks]


def _moment(known_at: int, as_of: date | None) -> str:
    return f"at position {known_at:,}" + ("" if as_of is None else f" as of {as_of}")


def statement_table(statement: Statement, *, more: bool, wide: bool) -> RenderableType:
    """The lines of an account's statement, with the balance after each; where it is not wide, without the parts."""
    moment = _moment(statement.known_at, statement.as_of)
    title = f"账户明细  Statement of {statement.account} ({statement.product}), {moment}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("Effective", no_wrap=True)
    table.add_column("Position", justify="right", no_wrap=True)
    for name in ("Kind", "Parts") if wide else ("Kind",):
        table.add_column(name, overflow="fold")
    for name in ("Amount, yuan", "Balance, yuan"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in statement.lines:
        kind = line.kind if line.reverses is None else f"{line.kind}, reverses {line.reverses:,}"
        parts = (_parts(line.amounts_fen),) if wide else ()
        figures = (yuan(line.amount_fen), yuan(line.balance_fen))
        table.add_row(*map(Text, (str(line.effective_on), f"{line.position:,}", kind, *parts, *figures)))
    table.add_section()
    held = (_parts(statement.balances_fen),) if wide else ()
    table.add_row(*map(Text, ("合计 Total", "", "", *held, "", yuan(statement.balance_fen))), style="bold")
    remarks = [Text("There are more lines; ask for them with --lines.")] if more else []
    return Group(table, *remarks, *_without(statement.missing))


def _parts(amounts_fen: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {yuan(fen)}" for part, fen in amounts_fen.items())


def totals_table(totals: ControlTotals) -> RenderableType:
    """The control totals, and the trial balance."""
    table = Table(
        box=SIMPLE_HEAD,
        title=f"总量核对  Control totals, {_moment(totals.known_at, totals.as_of)}",
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    by_day = any(total.effective_on is not None for total in totals.totals)
    if by_day:
        table.add_column("Effective", no_wrap=True)
    for name in ("Product", "Kind", "Part"):
        table.add_column(name, overflow="fold")
    for name in ("Postings", "Sum, yuan"):
        table.add_column(name, justify="right", no_wrap=True)
    for total in totals.totals:
        day = (str(total.effective_on),) if by_day else ()
        cells = (*day, total.product, total.kind, total.part, f"{total.lines:,}", yuan(total.amount_fen))
        table.add_row(*map(Text, cells))
    balance = Text(f"试算平衡 Trial balance: {yuan(totals.trial_balance_fen)} yuan.")
    return Group(table, balance, *_without(totals.missing))


def _without(missing: Sequence[int]) -> list[Text]:
    positions = ", ".join(f"{position:,}" for position in missing)
    return [Text(f"Without the facts at {positions}, which could not be taken.")] if missing else []


def status_tables(status: Status, *, wide: bool) -> list[RenderableType]:
    """The state of the ledger on one screen; where it is not wide, without who reads from Kafka."""
    recorded = f", the last fact of {status.recorded_at:%Y-%m-%d %H:%M:%S} UTC" if status.head else ""
    heading = (
        f"{status.database} PostgreSQL {status.server_version}; the journal ends at position {status.head:,}{recorded}."
    )
    projections = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    projections.add_column("Projection", overflow="fold")
    for name in ("Position", "Behind", "Lag, s", "Dead\nletters"):
        projections.add_column(name, justify="right", no_wrap=True)
    projections.add_column("State", overflow="fold")
    for each in status.projections:
        rebuilding = "" if each.rebuilding is None else f"rebuilding, at {each.rebuilding:,}"
        state = f"halted: {each.halted}" if each.halted else rebuilding or ("current" if each.lag == 0 else "behind")
        numbers = (f"{each.position:,}", f"{each.lag:,}", f"{each.lag_s:,.1f}", f"{each.dead_letters:,}")
        projections.add_row(each.name, *numbers, Text(state))
    shown: list[RenderableType] = [Text(heading), Text(_sealed(status)), projections]
    if status.intake:
        shown += _intake(status.intake, wide=wide)
    if status.outlet:
        shown.append(_outlet(status.outlet))
    if status.refused_messages:
        shown.append(_refusals(status.refused_messages, "Over Kafka"))
    return [*shown, _refusals(status.refusals)]


def _intake(partitions: Sequence[PartitionState], *, wide: bool) -> list[RenderableType]:
    """How far the intake has come in the partitions that are furthest behind."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Intake", overflow="fold")
    for name in ("Recorded", "End", "Behind"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("Seen, UTC", no_wrap=True)
        table.add_column("By", overflow="fold")
    furthest = sorted(partitions, key=lambda each: -each.lag)[:MAX_PARTITIONS]
    for each in sorted(furthest, key=lambda each: (each.topic, each.partition)):
        numbers = (f"{each.next_offset:,}", f"{each.end_offset:,}", f"{each.lag:,}")
        seen = (f"{each.seen_at:%Y-%m-%d %H:%M:%S}", each.member) if wide else ()
        table.add_row(*map(Text, (f"{each.topic}/{each.partition}", *numbers, *seen)))
    behind = sum(each.lag for each in partitions)
    rest = len(partitions) - len(furthest)
    more = f" {rest:,} more partitions are not further behind than these." if rest else ""
    return [table, Text(f"{behind:,} messages wait in {len(partitions):,} partitions, as last seen.{more}")]


def _outlet(streams: Sequence[StreamState]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Outlet", no_wrap=True)
    for name in ("Published", "Behind", "Lag, s", "Last, UTC"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in streams:
        last = "" if each.published_at is None else f"{each.published_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(each.stream, f"{each.position:,}", f"{each.lag:,}", f"{each.lag_s:,.1f}", last)
    return table


def _sealed(status: Status) -> str:
    sealed = f"Sealed up to position {status.sealed:,}" if status.sealed else "Nothing is sealed"
    if not status.seal_lag:
        return f"{sealed}."
    waits = "1 fact waits" if status.seal_lag == 1 else f"{status.seal_lag:,} facts wait"
    return f"{sealed}; {waits}, the first for {status.seal_lag_s:,.1f} s."


def files_table(reports: Sequence[FileReport], *, wide: bool) -> Table:
    """What came of each file; where it is not wide, without how fast it went."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("File", overflow="fold")
    for name in ("Accepted", "Facts", "Repeated", "Refused", "Malformed", *(("Commands/s",) if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, numbers: Iterable[int], timed: Sequence[FileReport], style: str = "") -> None:
        rate = (_rate(timed),) if wide else ()
        table.add_row(Text(name), *(f"{number:,}" for number in numbers), *rate, style=style)

    for report in reports:
        numbers = (report.accepted, report.facts, report.repeated, report.refused.total(), report.malformed)
        add(report.path.name, numbers, [report])
    if len(reports) > 1:
        table.add_section()
        sums = (
            sum(report.accepted for report in reports),
            sum(report.facts for report in reports),
            sum(report.repeated for report in reports),
            sum(report.refused.total() for report in reports),
            sum(report.malformed for report in reports),
        )
        add("Total", sums, reports, style="bold")
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
    return _refusals(refused)


def _refusals(refused: Mapping[str, int], heading: str = "Refused") -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Code", no_wrap=True)
    table.add_column("Meaning")
    for code, count in sorted(refused.items(), key=lambda pair: (-pair[1], pair[0])):
        table.add_row(f"{count:,}", code, Text(SENTENCES[code] if code in SENTENCES else REFUSALS[code].sentence))
    return table
