"""What people see of the future in a terminal: taxes, retirement, plans and comparisons, as tables and charts."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ledger.planning.basis import Basis
from ledger.planning.taxes import TaxAnswer
from ledger.printing import yuan

MAX_OPEN_POINTS = 8


def figures(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Names with figures."""
    table = Table(box=SIMPLE_HEAD, title=escape(title), title_justify="left", pad_edge=False, show_header=False)
    table.add_column("what", overflow="fold")
    table.add_column("figure", justify="right", no_wrap=True)
    for name, figure in rows:
        table.add_row(Text(name), Text(figure))
    return table


def basis_lines(basis: Basis) -> RenderableType:
    """Which rules it rests on, and what of them is open."""
    rules = ", ".join(dict.fromkeys(each.rule for each in basis.rules))
    lines = [f"Rules of {basis.on} in {basis.area} (version {basis.version.program}/{basis.version.rules}): {rules}"]
    lines += [f"Open: {point}" for point in basis.open_points[:MAX_OPEN_POINTS]]
    if len(basis.open_points) > MAX_OPEN_POINTS:
        lines.append(f"and {len(basis.open_points) - MAX_OPEN_POINTS} more open points; --json lists them")
    return Text("\n".join(lines), style="dim")


def tax_tables(found: TaxAnswer) -> list[RenderableType]:
    """The tax of a year, of the personal pension and of payouts."""
    income = found.income
    rows = [
        ("Income that counts", yuan(income.income_fen)),
        *((f"Special additional deduction {rule}", yuan(fen)) for rule, fen in income.special_additional_fen.items()),
        ("Taxable", yuan(income.taxable_fen)),
        ("Deductions that are lost", yuan(income.lost_fen)),
        ("Tax of the year", yuan(income.tax_fen)),
        ("Rate of the last yuan", income.marginal_rate),
    ]
    tables: list[RenderableType] = []
    if income.income_fen:
        tables.append(figures("个人所得税  Income tax, yuan", rows))
    if (pension := found.pension) is not None:
        rows = [
            ("Paid in", yuan(pension.paid_fen)),
            ("Tax saved now", yuan(pension.saved_fen)),
            ("Deduction that is lost", yuan(pension.lost_deduction_fen)),
            ("Tax when it is paid out, without returns", yuan(pension.exit_tax_fen)),
            ("Gain" if pension.net_fen >= 0 else "Loss", yuan(pension.net_fen)),
        ]
        tables.append(figures("个人养老金  Personal pension, yuan", rows))
    if found.payouts:
        table = Table(box=SIMPLE_HEAD, title="领取  Payouts, yuan", title_justify="left", pad_edge=False)
        for name in ("Product", "Form"):
            table.add_column(name)
        for name in ("Gross", "Tax", "Net"):
            table.add_column(name, justify="right", no_wrap=True)
        for each in found.payouts:
            table.add_row(each.product, each.form, yuan(each.amount_fen), yuan(each.tax_fen), yuan(each.net_fen))
        tables.append(table)
    return [*tables, basis_lines(found.basis)]
