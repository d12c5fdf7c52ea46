"""The commands of the command line about the future: taxes, retirement, plans, what-if, allocation, moves and cases."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from ledger.domain.calendar import beijing_date
from ledger.domain.faults import listed
from ledger.charts import tax_tables
from ledger.planning import taxes
from ledger.planning.taxes import Deductions, PayoutAsked, TaxQuestion
from ledger.terminal import WRONG_USAGE, console, leave, plainly_explained, print_json

YUAN: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,2}))?")
PAYOUT_PARTS: Final = 3

Question = TypeVar("Question", bound=BaseModel)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen, instead of tables.")]
On = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The day whose rules hold; default today, in Beijing."),
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
        return model.model_validate(fields)
    except ValidationError as error:
        places = listed(error.errors(include_url=False, include_context=False, include_input=False))
        leave(WRONG_USAGE, "; ".join(": ".join(filter(None, (each["place"], each["reason"]))) for each in places))
        raise AssertionError("leave() does not return") from error


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
    if as_json:
        print_json(found)
    else:
        for table in tax_tables(found):
            console().print(table)


def _payout(text: str) -> PayoutAsked:
    parts = text.split(":")
    if len(parts) != PAYOUT_PARTS:
        raise typer.BadParameter("a payout is written PRODUCT:FORM:YUAN, as in enterprise_annuity:monthly:5000")
    return question(PayoutAsked, product=parts[0], form=parts[1], amount_fen=yuan(parts[2]))
