"""Persons to plan for: sheets by product and part, and the answers of a woman and a man whose figures can be followed."""

from datetime import date
from decimal import Decimal
from typing import Any, Final

from ledger.domain.rules import PRODUCTS, Rules
from ledger.domain.sheet import AccountLine, BalanceSheet, PartLine, PillarLine, ProductLine
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import ASSUMPTIONS, Assumptions
from ledger.planning.plan import Plan, plan

PLAN_DAY: Final = date(2026, 11, 22)
POSITION: Final = 77


def account(name: str, product: str, balances: dict[str, int], *, takes_contributions: bool = True) -> AccountLine:
    parts = [
        PartLine(part=part.code, vested=part.vested, balance_fen=balances.get(part.code, 0))
        for part in PRODUCTS[product].parts
    ]
    balance = sum(part.balance_fen for part in parts)
    vested = sum(part.balance_fen for part in parts if part.vested)
    return AccountLine(
        account=name,
        sid="S1",
        institution="I1",
        plan=None,
        employer=None,
        opened_on="2023-01-01",
        status="open",
        takes_contributions=takes_contributions,
        parts=parts,
        balance_fen=balance,
        vested_fen=vested,
        unvested_fen=balance - vested,
        contributions_fen=0,
        returns_fen=0,
        fees_fen=0,
        benefits_fen=0,
        transferred_in_fen=0,
        transferred_out_fen=0,
    )


def sheet(accounts: dict[str, list[AccountLine]]) -> BalanceSheet:
    """A sheet of accounts by product, in the order of the catalogue."""
    pillars: dict[int, list[ProductLine]] = {}
    for code, product in PRODUCTS.items():
        if code in accounts:
            lines = accounts[code]
            line = ProductLine(
                product=code,
                name_zh=product.name_zh,
                name_en=product.name_en,
                balance_fen=sum(each.balance_fen for each in lines),
                vested_fen=sum(each.vested_fen for each in lines),
                unvested_fen=sum(each.unvested_fen for each in lines),
                accounts=lines,
            )
            pillars.setdefault(product.pillar, []).append(line)
    products_held = [line for products in pillars.values() for line in products]
    return BalanceSheet(
        one_id="O1",
        identities=[],
        pillars=[
            PillarLine(pillar=pillar, balance_fen=sum(line.balance_fen for line in products), products=products)
            for pillar, products in sorted(pillars.items())
        ],
        balance_fen=sum(line.balance_fen for line in products_held),
        vested_fen=sum(line.vested_fen for line in products_held),
        unvested_fen=sum(line.unvested_fen for line in products_held),
        contributions_fen=0,
        capped_contributions_fen={},
        returns_fen=0,
        fees_fen=0,
        benefits_fen=0,
        breaches=[],
        duplicates=[],
        missing=[],
    )


EMPTY: Final = sheet({})
FIVE_POTS: Final = sheet(
    {
        "enterprise_annuity": [
            account("EA1", "enterprise_annuity", {"employee": 3_000_000, "employer_vested": 5_000_000}),
            account("EA2", "enterprise_annuity", {"employee": 500_000, "employer_unvested": 2_000_000}),
        ],
        "personal_pension": [account("PP1", "personal_pension", {"own": 3_600_000})],
        "commercial_pension": [account("CP1", "commercial_pension", {"locked": 800_000, "continuing": 200_000})],
    }
)


def answers(**changes: Any) -> Answers:
    """A man of 35 in Beijing, with an enterprise annuity that vests by a schedule."""
    said: dict[str, Any] = {
        "birth": "1991-06",
        "category": "M",
        "area": "CN-11",
        "monthly_wage_fen": 2_000_000,
        "paid_months": 144,
        "contribution_index": Decimal("1.2"),
        "first_pillar_account_fen": 12_000_000,
        "ea_employer_rate": Decimal("0.05"),
        "ea_employee_rate": Decimal("0.02"),
        "ea_service_months": 40,
        "ea_vesting": [
            {"service_years": 2, "vested_share": Decimal("0.2")},
            {"service_years": 5, "vested_share": Decimal("0.6")},
            {"service_years": 8, "vested_share": Decimal(1)},
        ],
        "special_deductions_fen": 200_000,
        "other_withheld_fen": 250_000,
        "liquid_savings_fen": 20_000_000,
        "monthly_need_fen": 800_000,
        "benefit_base_fen": 1_204_900,
        "base_floor_fen": 716_200,
        "base_cap_fen": 3_581_100,
    }
    return Answers.model_validate(said | changes)


def levers(**changes: Any) -> Levers:
    return Levers.model_validate(changes)


def assuming(**values: str) -> Assumptions:
    """The packaged assumptions with other values; a product by its name, for its return, and `NAME_fee`."""
    raw = ASSUMPTIONS.model_dump()
    for name, value in values.items():
        if name in raw:
            raw[name]["value"] = Decimal(value)
        elif name.endswith("_fee"):
            raw["products"][name.removesuffix("_fee")]["yearly_fee"]["value"] = Decimal(value)
        elif name.endswith("_credited"):
            raw["products"][name.removesuffix("_credited")]["credited"] = value
        else:
            raw["products"][name]["yearly_return"]["value"] = Decimal(value)
    return Assumptions.model_validate(raw)


def planned(
    asked: Answers | None = None,
    pulled: Levers | None = None,
    *,
    held: BalanceSheet = FIVE_POTS,
    assumed: Assumptions = ASSUMPTIONS,
    on: date = PLAN_DAY,
    used_this_year_fen: int = 0,
) -> Plan:
    said = answers() if asked is None else asked
    return plan(
        held,
        POSITION,
        said,
        Levers() if pulled is None else pulled,
        assumed,
        Rules(on, said.area),
        used_this_year_fen=used_this_year_fen,
    )
