"""What people see of the future in a terminal: taxes, retirement, plans and comparisons, as tables and charts."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ledger.moving import DraftAnswer, MoveAnswer
from ledger.planner import CaseReading
from ledger.planning.basis import Basis, Words
from ledger.planning.paths import Uncertainty
from ledger.planning.personal import AllocationAnswer, PersonBasis, PlanAnswer, WhatIfAnswer
from ledger.planning.retirements import RetirementAnswer
from ledger.planning.taxes import TaxAnswer
from ledger.printing import yuan

MAX_OPEN_POINTS: Final = 8
MONTHS: Final = 12
EVERY_YEARS: Final = 5
CHART_WIDTH: Final = 60
# Told apart by shape too: by colour alone not everybody can.
MARKS: Final = "█▓▒░▚▞▤▥▦▧▨"
COLOURS: Final = ("blue", "green", "yellow", "magenta", "cyan", "red", "white", "bright_blue", "bright_green")


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


def words_lines(words: Words) -> RenderableType:
    """The two sentences, in both languages."""
    return Text(f"{words.zh}\n{words.en}\n", style="bold")


def age(months: int) -> str:
    """An age in years and months."""
    years, further = divmod(months, 12)
    return f"{years} years" if not further else f"{years} years {further} months"


def retirement_tables(found: RetirementAnswer) -> list[RenderableType]:
    """When one may retire, what it needs, and the basic pension."""
    window, retiring = found.window, found.retiring
    rows = [
        ("By law", f"{found.statutory_month}, at {age(found.statutory_age_months)}"),
        ("Delay by the reform", f"{found.delay_months} months"),
        ("Earliest by choice", f"{window.earliest_month}, at {age(window.earliest_age_months)}"),
        ("Latest by choice", f"{window.latest_month}, at {age(window.latest_age_months)}"),
        ("Asked for", f"{retiring.month}, at {age(retiring.age_months)}"),
        ("Needs months paid", f"{retiring.minimum_months}"),
        ("Payout months (计发月数)", retiring.payout_months),
    ]
    if retiring.missing_months is not None:
        rows.insert(6, ("Months that are missing", f"{retiring.missing_months}"))
    tables: list[RenderableType] = [words_lines(found.words), figures("退休  Retirement", rows)]
    if (pension := found.pension) is not None:
        rows = [
            ("Benefit base", yuan(pension.benefit_base_fen)),
            ("Basic part", yuan(pension.basic_fen)),
            ("Personal account", yuan(pension.account_fen)),
            ("Transition", yuan(pension.transition_fen)),
            ("Local extra", yuan(pension.extra_fen)),
            ("A month", yuan(pension.total_fen)),
        ]
        tables.append(figures("基本养老金  Basic pension, yuan", rows))
    return [*tables, basis_lines(found.basis)]


def bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, int]]]], width: int) -> RenderableType:
    """Stacked bars: for each row its name and parts, in fen, each part in the colour of its name."""
    names = list(dict.fromkeys(name for _, parts in rows for name, fen in parts if fen > 0))
    most = max((sum(max(0, fen) for _, fen in parts) for _, parts in rows), default=0)
    table = Table(box=None, title=escape(title), title_justify="left", pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=width)
    table.add_column(justify="right", no_wrap=True)
    for label, parts in rows:
        bar, drawn, total = Text(), 0, 0
        for name, fen in parts:
            if fen <= 0:
                continue
            total += fen
            # Up to the sum so far, so that what is rounded does not add up.
            cells = 0 if most == 0 else total * width // most - drawn
            bar.append(MARKS[names.index(name) % len(MARKS)] * cells, style=COLOURS[names.index(name) % len(COLOURS)])
            drawn += cells
        table.add_row(Text(label), bar, Text(whole_yuan(total)))
    legend = Text()
    for index, name in enumerate(names):
        legend.append(f"{MARKS[index % len(MARKS)]} {name}   ", style=COLOURS[index % len(COLOURS)])
    return Group(table, legend, Text())


def whole_yuan(fen: int) -> str:
    """Yuan without decimals, half up: a plan is no statement."""
    return f"{(fen + 50) // 100:,}"


def columns(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is text and the others figures."""
    table = Table(box=SIMPLE_HEAD, title=escape(title), title_justify="left", pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def plan_tables(found: PlanAnswer) -> list[RenderableType]:
    """What she will live on: the words, the figures, a chart by age, every fifth year, and the chances."""
    summary = found.summary
    rows = [
        ("Retirement", f"{summary.retirement_month}, at {age(summary.retirement_age_months)}"),
        ("Basic pension from", summary.pension_from or "not reached"),
        ("Net a month in the first year, money of then", _optional(summary.first_income_fen)),
        ("The same in money of today", _optional(summary.first_income_today_fen)),
        ("Last net wage a month, money of then", _optional(summary.last_net_wage_fen)),
        ("Replacement rate", summary.replacement or "-"),
        ("Wage tax to come", whole_yuan(summary.wage_tax_fen)),
        ("Tax on payouts to come", whole_yuan(summary.payout_tax_fen)),
        ("Months in which her needs are not met", str(summary.shortfall_months)),
        ("Left at 100, money of today", whole_yuan(summary.left_at_end_today_fen)),
        *((f"{pot} is empty from", month) for pot, month in summary.runs_empty.items()),
    ]
    tables: list[RenderableType] = [words_lines(found.words), figures("养老规划  Plan, yuan", rows)]
    shown = [row for row in found.years if row.months == MONTHS and row.age_years % EVERY_YEARS == 0]
    tables.append(
        bars(
            "Balances at the end of the year, by age, yuan",
            [(f"{row.age_years}", list(row.closing_fen.items())) for row in shown],
            CHART_WIDTH,
        )
    )
    tables.append(
        columns(
            "By age, a year, yuan",
            ("Age", "Wage", "Pension", "Payouts", "Tax", "Net", "Net, today's money", "Needed", "Short"),
            [
                (
                    f"{row.age_years} ({row.year})",
                    *map(
                        whole_yuan,
                        (
                            row.wage_fen,
                            row.pension_fen,
                            row.payouts_fen,
                            row.wage_tax_fen + row.payout_tax_fen,
                            row.income_fen,
                            row.income_today_fen,
                            row.need_fen,
                            row.shortfall_fen,
                        ),
                    ),
                )
                for row in shown
            ],
        )
    )
    if found.chances is not None and found.words_of_chances is not None:
        tables += _chances(found.chances, found.words_of_chances)
    sources = [
        (each.pot, whole_yuan(each.opening_fen), ", ".join(each.accounts) or f"answer {each.said}")
        for each in found.sources
    ]
    tables.append(columns("Where the opening balances come from, yuan", ("Pot", "Opening", "From"), sources))
    tables.append(Text(f"Taken for granted: {', '.join(found.notes)}", style="dim"))
    return [*tables, *_basis(found.basis)]


def _chances(chances: Uncertainty, words: Words) -> list[RenderableType]:
    shown = [row for row in chances.years if row.age % EVERY_YEARS == 0]
    rows = [
        (
            str(row.age),
            f"{row.alive:.0%}",
            *map(
                whole_yuan,
                (
                    row.income_today_fen.p5,
                    row.income_today_fen.p25,
                    row.income_today_fen.p50,
                    row.income_today_fen.p75,
                    row.income_today_fen.p95,
                ),
            ),
        )
        for row in shown
    ]
    short = chances.short
    title = f"{chances.paths:,} futures (seed {chances.seed}): net a month in today's money, yuan"
    return [
        words_lines(words),
        columns(title, ("Age", "Alive", "5 %", "25 %", "50 %", "75 %", "95 %"), rows),
        Text(f"Money runs short while she lives: {short.share:.1%}, give or take {2 * short.standard_error:.1%}\n"),
    ]


def what_if_tables(found: WhatIfAnswer) -> list[RenderableType]:
    """The lives side by side, each against the first, every lever, and what reaches the goal."""
    names = ["", *(life.label for life in found.lives)]
    measures = [
        ("Net a month in the first year, today's money", "first_income_today_fen"),
        ("What lasts a month to 100, today's money", "lasting_today_fen"),
        ("Lifetime net income, today's money", "lifetime_income_today_fen"),
        ("Balances at retirement, today's money", "at_retirement_today_fen"),
        ("Tax in work, today's money", "tax_in_work_today_fen"),
        ("Tax in retirement, today's money", "tax_in_retirement_today_fen"),
    ]
    rows = [(name, *(whole_yuan(getattr(life.measures, field)) for life in found.lives)) for name, field in measures]
    rows.append(("Retirement", *(life.summary.retirement_month for life in found.lives)))
    tables: list[RenderableType] = [words_lines(each) for each in found.words]
    tables.append(columns("几种选择  Side by side, yuan", names, rows))
    for each in found.differences:
        parted = [
            (name, *(whole_yuan(value) for value in (part.total, part.of_taxes, part.of_returns, part.rest)))
            for name, part in each.parted.items()
        ]
        title = f"{each.label} less {found.lives[0].label}, yuan"
        tables.append(columns(title, ("", "In all", "Taxes", "Returns", "The rest"), parted))
    if found.sensitivity is not None and found.words_of_sensitivity is not None:
        outcome = found.sensitivity.outcome
        moved = [
            (
                row.code,
                *(
                    (step.refused or "-") if step.refused else whole_yuan(step.effect_fen(outcome))
                    for step in (row.up, row.down)
                ),
            )
            for row in found.sensitivity.rows
        ]
        tables.append(words_lines(found.words_of_sensitivity))
        tables.append(columns("One step, yuan a month of today's money", ("", "Up", "Down"), moved))
    if found.solve is not None:
        tables.append(words_lines(found.solve.words))
    return [*tables, *_basis(found.basis)]


def allocation_tables(found: AllocationAnswer) -> list[RenderableType]:
    """Where the saving goes, what binds, and the next best."""
    made = found.allocation
    rows = [(f"{line.name_zh} {line.name_en}", yuan(line.amount_fen), yuan(line.value_fen)) for line in made.plan.lines]
    rows.append(("活期存款 Stays at hand in the bank", yuan(made.plan.in_bank_fen), ""))
    tables: list[RenderableType] = [
        words_lines(found.words),
        Text(f"{made.notice_zh}\n{made.notice_en}\n", style="italic"),
        columns(
            "今年的安排  This year's saving, yuan", ("Product", "Amount", "Worth at retirement, today's money"), rows
        ),
    ]
    figures_of = [
        ("Worth in all, today's money", yuan(made.plan.value_fen)),
        ("Tax saved now", yuan(made.plan.tax_saved_fen)),
        ("Doing nothing", yuan(made.nothing_fen)),
        ("Gain", yuan(made.gain_fen)),
    ]
    if made.runner_up is not None:
        lines = ", ".join(f"{line.name_en} {whole_yuan(line.amount_fen)}" for line in made.runner_up.lines)
        figures_of.append((f"Next best: {lines}", yuan(made.runner_up.value_fen)))
    tables.append(figures("", figures_of))
    limits = [
        (each.limit, yuan(each.bound_fen), each.yuan_more, "-" if each.worth_fen is None else yuan(each.worth_fen))
        for each in made.limits
    ]
    names = ("What binds", "Limit", "One more yuan brings", "1,000 yuan more bring")
    tables.append(columns("边界  What binds, yuan", names, limits))
    tables.append(Text(f"{made.pension.zh}\n{made.pension.en}\n"))
    return [*tables, *_basis(found.basis)]


def move_tables(found: MoveAnswer) -> list[RenderableType]:
    """What the law says, the lawful way, and what the move comes to."""
    judged = found.judged
    tables: list[RenderableType] = [words_lines(found.words)]
    rows = [
        ("Rule", judged.rule),
        ("Verdict", judged.verdict),
        ("Lawful for", ", ".join(judged.reasons) or "-"),
    ]
    rows += [
        (
            f"{number}. {step.do} {step.product} -> {step.into}",
            f"{step.rule}: {', '.join(step.reasons) or 'any reason'}",
        )
        for number, step in enumerate(judged.alternative, 1)
    ]
    tables.append(columns("规则  What the law says", ("", ""), rows))
    if (draft := found.draft) is not None:
        tables.append(
            figures(
                "试算  What it comes to, yuan",
                [
                    ("Drawn", yuan(draft.gross_fen)),
                    (f"Tax ({draft.tax_rule})" if draft.tax_rule else "Tax", yuan(draft.tax_fen)),
                    ("Arrives in the account", yuan(draft.arrives_fen)),
                    ("Of it her own money", yuan(draft.adds_fen)),
                    ("Goes to herself", yuan(draft.to_person_fen)),
                    ("Stays in the account", yuan(sum(draft.stays_fen.values()))),
                    *_room(draft),
                ],
            )
        )
        parts = [
            (f"{account} {part}", yuan(before), yuan(after))
            for account, balances in draft.balances_fen.items()
            for part, (before, after) in balances.items()
            if before or after
        ]
        tables.append(columns("Balances, yuan", ("", "Before", "After"), parts))
        tables += [Text(f"Refused: {each['code']}: {each['sentence']}") for each in draft.refused]
        if not draft.refused:
            confirming = f"--on {found.question.on} --confirm {found.basis.known_at}"
            tables.append(Text(f"Nothing is recorded. To post it, add: {confirming}\n"))
    return [*tables, *_basis(found.basis)]


def _room(draft: DraftAnswer) -> list[tuple[str, str]]:
    rows = []
    if draft.room_fen is not None and draft.room_left_fen is not None:
        rows.append(("Left of the year's cap, before", yuan(draft.room_fen)))
        rows.append(("Left of the year's cap, after", yuan(draft.room_left_fen)))
    if draft.saving is not None:
        rows.append(("Tax that the contribution saves", yuan(draft.saving.saved_fen)))
        rows.append(("Tax when it is paid out again", yuan(draft.saving.exit_tax_fen)))
    return rows


def case_tables(found: CaseReading) -> list[RenderableType]:
    """Quartiles of the cell that covers her."""
    tables: list[RenderableType] = [words_lines(each) for each in found.words]
    if (cell := found.cell) is not None:
        rows = [
            (
                figure.measure,
                *(
                    whole_yuan(value) if figure.measure.endswith("_fen") else str(value)
                    for value in (figure.quarter, figure.median, figure.three_quarters)
                ),
                str(figure.since_edition),
            )
            for figure in cell.figures
        ]
        title = f"Others like her: at least {cell.people_at_least} people in {cell.area}, yuan"
        tables.append(columns(title, ("", "25 of 100", "50 of 100", "75 of 100", "Since edition"), rows))
    if found.edition is not None:
        tables.append(Text(f"Edition {found.edition} as of {found.as_of}, at least {found.least} people", style="dim"))
    return tables


def _basis(basis: PersonBasis) -> list[RenderableType]:
    return [Text(f"{basis.one_id} as known at position {basis.known_at:,}", style="dim"), basis_lines(basis)]


def _optional(fen: int | None) -> str:
    return "-" if fen is None else whole_yuan(fen)


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
    tables: list[RenderableType] = [words_lines(found.words)]
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
