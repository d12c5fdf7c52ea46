"""The commands of the command line about the future: taxes, retirement, plans, what-if, allocation, moves and cases."""

import json
import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from rich.console import RenderableType

from ledger import moving, planner
from ledger.application import Ledger
from ledger.cases.building import build_edition, rebuild_editions
from ledger.charts import (
    allocation_tables,
    case_tables,
    move_tables,
    plan_tables,
    retirement_tables,
    tax_tables,
    what_if_tables,
)
from ledger.database import open_database
from ledger.domain.calculators.lawful_moves import PERSON
from ledger.domain.calendar import beijing_date
from ledger.domain.faults import listed
from ledger.domain.rules.rows import COUNTRY
from ledger.notary import require_sealed
from ledger.planning import retirements, taxes
from ledger.planning.catalogue import read_catalogue
from ledger.planning.crossing import MoveQuestion, Sender
from ledger.planning.paths import FEWEST, MAX_SEED, MOST
from ledger.planning.personal import AllocationQuestion, PlanQuestion, WhatIfQuestion
from ledger.planning.retirements import RetirementQuestion
from ledger.planning.taxes import Deductions, PayoutAsked, TaxQuestion
from ledger.settings import Settings
from ledger.terminal import SOME_REFUSED, WRONG_USAGE, console, leave, plainly_explained, print_json

YUAN: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,2}))?")
PAYOUT_PARTS: Final = 3
MAX_FILE_BYTES: Final = 64 * 2**10
# What the ids of the command line's own commands begin with.
OPERATOR: Final = "operator"

Question = TypeVar("Question", bound=BaseModel)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen, instead of tables.")]
On = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The day whose rules hold; default today, in Beijing."),
]

Person = Annotated[
    str,
    typer.Argument(
        metavar="PERSON",
        help="A number of a source system (`ea-core:ea00001000`), a one_id or an account of the person.",
    ),
]
AnswersFile = Annotated[
    Path, typer.Option("--answers", metavar="FILE", exists=True, dir_okay=False, help="Her answers, in JSON.")
]
LeversFile = Annotated[
    Path | None, typer.Option("--levers", metavar="FILE", exists=True, dir_okay=False, help="Levers, in JSON.")
]
KnownAt = Annotated[
    int | None,
    typer.Option(min=0, max=2**53 - 1, metavar="POSITION", help="Facts up to this position count; default all."),
]


def yuan(text: str | int) -> int:
    """Read yuan exactly, as fen: 12000, 12,000 and 12000.50 are taken. A default is fen already."""
    if isinstance(text, int):
        return text
    found = YUAN.fullmatch(text.replace(",", ""))
    if found is None:
        raise typer.BadParameter("an amount in yuan is written like 12000 or 12000.50")
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))


def day_of(on: datetime | None) -> date:
    """The day that was asked for, or today."""
    return beijing_date(datetime.now(UTC)) if on is None else on.date()


def question(model: type[Question], **fields: Any) -> Question:
    """The question, or the field that is wrong and what it may be, as wrong usage."""
    try:
        return model.model_validate_json(to_json(fields))
    except ValidationError as error:
        places = listed(error.errors(include_url=False, include_context=False, include_input=False))
        leave(WRONG_USAGE, "; ".join(": ".join(filter(None, (each["place"], each["reason"]))) for each in places))


def amount(help_text: str) -> Any:
    """An option that takes yuan."""
    return typer.Option(parser=yuan, metavar="YUAN", help=help_text)


def tax(  # noqa: PLR0913 - the options are the parameters
    *,
    wages: Annotated[int, amount("Wages of the year.")] = 0,
    labour: Annotated[int, amount("Remuneration for labour of the year.")] = 0,
    business: Annotated[int, amount("Taxable business income of the year, instead of wages.")] = 0,
    insurance: Annotated[int, amount("Own social insurance and housing fund of the year.")] = 0,
    children: Annotated[int, typer.Option(min=0, max=20, help="Children at school, twelve months each.")] = 0,
    parents: Annotated[bool, typer.Option("--parents", help="Supports parents as an only child.")] = False,
    rent: Annotated[
        str | None, typer.Option(help="Rents in a large_city, middle_city or small_city, all year.")
    ] = None,
    loan: Annotated[bool, typer.Option("--loan", help="Pays the first housing loan, all year.")] = False,
    personal_pension: Annotated[int, amount("Paid into the personal pension in the year.")] = 0,
    payout: Annotated[
        list[str] | None,
        typer.Option(metavar="PRODUCT:FORM:YUAN", help="A payout, as enterprise_annuity:monthly:5000; several times."),
    ] = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Compute what a year's income is taxed, what the personal pension saves and costs, and what payouts are taxed.

    Example: `ledger tax --wages 260000 --children 1 --personal-pension 12000 --payout enterprise_annuity:monthly:5000`
    """
    deductions: dict[str, Any] = {"child_months": 12 * children, "elderly_months": 12 if parents else 0}
    if rent is not None:
        deductions |= {"rent_months": 12, "rent_city": rent}
    if loan:
        deductions["loan_months"] = 12
    asked = question(
        TaxQuestion,
        on=day_of(on),
        kind="business" if business else "comprehensive",
        wages_fen=wages,
        labour_fen=labour,
        business_taxable_fen=business,
        insurance_and_housing_fund_fen=insurance,
        deductions=question(Deductions, **deductions),
        personal_pension_fen=personal_pension,
        payouts=tuple(_payout(text) for text in payout or ()),
    )
    with plainly_explained():
        found = taxes.answer(asked)
    show(found, tax_tables(found), as_json=as_json)


def retire(  # noqa: PLR0913 - the options are the parameters
    *,
    birth: Annotated[str, typer.Option(metavar="YYYY-MM", help="Month of birth.")],
    category: Annotated[str, typer.Option(help="M men; F55, F50 women whose original age was 55 or 50.")],
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="The month she thinks of; default by law.")
    ] = None,
    area: Annotated[str, typer.Option(help="Where she is insured, as CN-11 or CN-4403.")] = COUNTRY,
    counted_months: Annotated[
        int | None, typer.Option(help="Months that will count at retirement, deemed ones included.")
    ] = None,
    deemed_months: Annotated[int, typer.Option(help="Of these, months that count without payment.")] = 0,
    index: Annotated[str | None, typer.Option(help="Average contribution index, as 0.8.")] = None,
    account: Annotated[int | None, amount("The personal account at retirement.")] = None,
    benefit_base: Annotated[int | None, amount("The benefit base; default the last published one of the area.")] = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Compute when a person may retire, what that needs, and the basic pension.

    Example: `ledger retire --birth 1971-07 --category M --area CN-11 --counted-months 360 --index 0.8 --account 120000`
    """
    asked = question(
        RetirementQuestion,
        on=day_of(on),
        area=area,
        birth=birth,
        category=category,
        month=month,
        counted_months=counted_months,
        deemed_months=deemed_months,
        contribution_index=index,
        account_fen=account,
        benefit_base_fen=benefit_base,
    )
    with plainly_explained():
        found = retirements.answer(asked)
    show(found, retirement_tables(found), as_json=as_json)


def plan(  # noqa: PLR0913 - the options are the parameters
    person: Person,
    *,
    answers: AnswersFile,
    levers: LeversFile = None,
    retire_in: Annotated[
        str | None, typer.Option("--retire", metavar="YYYY-MM", help="The month of retirement; default by law.")
    ] = None,
    personal_pension: Annotated[int, amount("Paid into the personal pension each calendar year.")] = 0,
    saving: Annotated[int, amount("Other saving each month while she earns, in money of today.")] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Also 2,000 possible futures, drawn with this seed.")
    ] = None,
    paths: Annotated[int, typer.Option(min=FEWEST, max=MOST, help="How many futures, in fours.")] = FEWEST,
    months: Annotated[bool, typer.Option("--months", help="With --json, also every pot month by month.")] = False,
    on: On = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
) -> None:
    """Plan what a person will live on, to the age of 100: from her sheet and her answers.

    The answers are a JSON file; the README shows one. Example: `ledger plan EA-0000000 --answers examples/answers.json --seed 1`
    """
    pulled = read_file(levers) if levers is not None else {}
    pulled |= {"retirement_month": retire_in} if retire_in else {}
    pulled |= {"pp_yearly_fen": personal_pension} if personal_pension else {}
    pulled |= {"saving_monthly_fen": saving} if saving else {}
    asked = question(
        PlanQuestion,
        on=day_of(on),
        answers=read_file(answers),
        levers=pulled,
        chances=None if seed is None else {"seed": seed, "paths": paths},
        months=months,
    )
    with plainly_explained(), open_database(Settings()) as database:
        found = planner.plan(database, person, asked, known_at=known_at)
    show(found, plan_tables(found), as_json=as_json)


def what_if(  # noqa: PLR0913 - the options are the parameters
    person: Person,
    *,
    answers: AnswersFile,
    scenarios: Annotated[
        Path,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A JSON list of up to four scenarios."),
    ],
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="Move every lever and assumption a step.")] = False,
    reach: Annotated[int | None, amount("A monthly income of today's money that is to be reached.")] = None,
    by: Annotated[
        str, typer.Option(help="By which lever: yearly_saving, saving_rate, personal_pension or retirement_age.")
    ] = "retirement_age",
    lasting: Annotated[
        bool, typer.Option("--lasting", help="Aim at what lasts to 100, not at the first year's income.")
    ] = False,
    on: On = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
) -> None:
    """Compare up to four lives of a person, with what of the difference is taxes and what returns.

    Example: `ledger what-if EA-0000000 --answers examples/answers.json --scenarios examples/scenarios.json --reach 12000`
    """
    aim = "lasting" if lasting else "first_income"
    asked = question(
        WhatIfQuestion,
        on=day_of(on),
        answers=read_file(answers),
        scenarios=read_file(scenarios),
        sensitivity=aim if sensitivity else None,
        solve=None if reach is None else {"lever": by, "aim": aim, "target_today_fen": reach},
    )
    with plainly_explained(), open_database(Settings()) as database:
        found = planner.what_if(database, person, asked, known_at=known_at)
    show(found, what_if_tables(found), as_json=as_json)


def allocate(  # noqa: PLR0913 - the options are the parameters
    person: Person,
    *,
    save: Annotated[int, amount("To be saved this year.")],
    taxable: Annotated[int, amount("This year's taxable income, before the personal pension.")] = 0,
    savings: Annotated[int, amount("What she can spend at once already.")] = 0,
    buffer: Annotated[int, amount("What must stay at hand.")] = 0,
    months: Annotated[int, typer.Option(min=0, max=720, help="Months until she retires.")],
    risk: Annotated[str, typer.Option(help="cautious, steady, balanced, growth or active.")] = "steady",
    area: Annotated[str, typer.Option(help="Where she is insured, as CN-11 or CN-4403.")] = COUNTRY,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A catalogue in TOML; default the sample."),
    ] = None,
    on: On = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
) -> None:
    """Allocate this year's saving of a person over a catalogue of products.

    Example: `ledger allocate EA-0000000 --save 60000 --taxable 145000 --savings 20000 --buffer 30000 --months 240`
    """
    asked = question(
        AllocationQuestion,
        on=day_of(on),
        area=area,
        saving={
            "to_save_fen": save,
            "taxable_before_fen": taxable,
            "liquid_savings_fen": savings,
            "liquidity_buffer_fen": buffer,
            "months_to_retirement": months,
            "risk_level": risk,
        },
    )
    with plainly_explained():
        offered = None if catalogue is None else read_catalogue(tomllib.loads(catalogue.read_text(encoding="utf-8")))
        with open_database(Settings()) as database:
            found = planner.allocate(database, person, asked, known_at=known_at, catalogue=offered)
    show(found, allocation_tables(found), as_json=as_json)


def move(  # noqa: PLR0913 - the options are the parameters
    person: Person,
    *,
    from_account: Annotated[str, typer.Option("--from", metavar="ACCOUNT", help="The account that is drawn on.")],
    to_account: Annotated[
        str | None, typer.Option("--to", metavar="ACCOUNT", help="The account that receives; without it, herself.")
    ] = None,
    to_product: Annotated[str | None, typer.Option("--to-product", help="Or a product, which is judged alone.")] = None,
    reason: Annotated[str, typer.Option(help="A reason of the matrix, as unemployed, or a case as EA_STATUTORY_AGE.")],
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART:YUAN", help="How much of which part; several times. Default: all that may move."),
    ] = None,
    total: Annotated[int | None, amount("Or a total, drawn from the parts in the product's order.")] = None,
    form: Annotated[
        str | None, typer.Option(help="How an annuity really pays, which decides on the tax; default a lump sum.")
    ] = None,
    contribute: Annotated[
        int | None, amount("Of a payout: what is paid in again; default all that the cap leaves room for.")
    ] = None,
    taxable: Annotated[int | None, amount("Her taxable income of the year: then the tax saved is told too.")] = None,
    withheld: Annotated[int | None, amount("Of a group pension: what is withheld as wage tax.")] = None,
    area: Annotated[str, typer.Option(help="The area whose rules hold.")] = COUNTRY,
    actor: Annotated[str, typer.Option(help="In whose name, such as operator:op-1.")] = "operator:ledger",
    confirm: Annotated[
        int | None,
        typer.Option(min=0, metavar="POSITION", help="Post the move as it was simulated at this position."),
    ] = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a move of money between a person's accounts, or to herself; post it with `--confirm POSITION`.

    What the legal matrix does not allow is refused with the rule and the nearest lawful way.
    Example: `ledger move EA-0000000 --from EA-0000000 --to PP-0000000 --reason EA_STATUTORY_AGE --form yearly`
    """
    if confirm is not None and on is None:
        raise typer.BadParameter("what was simulated has a day: give --on, as the simulation printed it")
    parts = None if part is None else dict(_amount_of_part(text) for text in part)
    if to_account is None and to_product is None:
        to_product = PERSON
    asked = question(
        MoveQuestion,
        on=day_of(on),
        area=area,
        from_account=from_account,
        to_account=to_account,
        to_product=to_product,
        amounts_fen=parts,
        reason=reason,
        amount_fen=total,
        form=form,
        contribute_fen=contribute,
        taxable_before_fen=taxable,
        withheld_fen=withheld,
    )
    sender = Sender(actor=actor, namespace=OPERATOR, decided_at=datetime.now(UTC))
    with plainly_explained():
        settings = Settings()
        with open_database(settings) as database:
            if confirm is None:
                found = moving.simulate(database, person, asked, sender)
                answer = moving.answer(asked, found)
                show(answer, move_tables(answer), as_json=as_json)
                if not found.wish.judged.lawful and found.wish.draft is None:
                    raise typer.Exit(SOME_REFUSED)
                return
            require_sealed(database, settings)
            _, receipts = moving.confirm(Ledger(database), database, person, asked, sender, known_at=confirm)
    posted = [each._asdict() for each in receipts]
    if as_json:
        print_json(posted)
    else:
        for each in receipts:
            typer.echo(f"{each.command_id} stands at {each.first_position}{' (already)' if each.repeated else ''}.")


def cases(
    *,
    city: Annotated[str, typer.Option(help="CN- and two or four digits.")],
    birth_year: Annotated[int, typer.Option(help="Year of birth.")],
    income: Annotated[str, typer.Option(help="Code of the income band, as 120k_to_200k.")],
    employment: Annotated[str, typer.Option(help="Code of the employment kind, as enterprise.")],
    as_json: AsJson = False,
) -> None:
    """Print what others like her have: quartiles over at least twenty people, in the last edition of the case library.

    Example: `ledger cases --city CN-11 --birth-year 1985 --income 120k_to_200k --employment enterprise`
    """
    with plainly_explained(), open_database(Settings()) as database:
        found = planner.others(database, city=city, birth_year=birth_year, income=income, employment=employment)
    show(found, case_tables(found), as_json=as_json)


def publish_cases(
    *,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The date the edition is of; default today."),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Publish nothing: write all editions anew from the journal.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish the next edition of the case library; editions lie about a quarter apart.

    Example: `ledger publish-cases`
    """
    with plainly_explained(), open_database(Settings()) as database:
        if rebuild:
            editions = rebuild_editions(database)
        else:
            editions = [build_edition(database, as_of=None if as_of is None else as_of.date())]
    said = [
        {
            "edition": each.moment.number,
            "known_at": each.moment.position,
            "as_of": each.moment.as_of,
            "cells": len(each.cells),
            "digest": each.digest,
        }
        for each in editions
    ]
    if as_json:
        print_json(said)
    else:
        for each in said:
            typer.echo(
                f"Edition {each['edition']} as of {each['as_of']}: {each['cells']} cells, digest {each['digest']}."
            )


def _amount_of_part(text: str) -> tuple[str, int]:
    name, _, written = text.partition(":")
    return name, yuan(written)


def read_file(path: Path) -> Any:
    """The JSON of a file, or wrong usage."""
    if path.stat().st_size > MAX_FILE_BYTES:
        leave(WRONG_USAGE, f"{path} has more than {MAX_FILE_BYTES:,} bytes.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        leave(WRONG_USAGE, f"{path} is no JSON in UTF-8: {error}.")


def show(found: BaseModel, tables: Iterable[RenderableType], *, as_json: bool) -> None:
    """Print an answer, as JSON or as tables."""
    if as_json:
        print_json(found)
    else:
        on = console()
        for table in tables:
            on.print(table)


def _payout(text: str) -> PayoutAsked:
    parts = text.split(":")
    if len(parts) != PAYOUT_PARTS:
        raise typer.BadParameter("a payout is written PRODUCT:FORM:YUAN, as in enterprise_annuity:monthly:5000")
    return question(PayoutAsked, product=parts[0], form=parts[1], amount_fen=yuan(parts[2]))
