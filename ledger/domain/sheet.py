"""The unified balance sheet: one person, one sheet, every account of every identity she is composed of.

1. A sheet is a pure function of the memories of the person's identities and accounts, all read at one position.
2. It names no link or time, and no position but of what is on record about her, so a merge undone restores it byte for
   byte.
3. What is not on it has a coded reason: the lines of `missing`, sorted by what they are about, then by code and position.
Money is integer fen; parts, products and pillars stand in the order of the catalogue.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ledger.domain.decider import State
from ledger.domain.rules import PRODUCTS

PILLARS = (1, 2, 3)


class SheetModel(BaseModel):
    """Frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PartLine(SheetModel):
    """What one part of an account holds."""

    part: str
    vested: bool
    balance_fen: int


class AccountLine(SheetModel):
    """One account with its parts and its totals to date."""

    account: str
    sid: str
    institution: str
    plan: str | None
    employer: str | None
    opened_on: str
    status: str
    takes_contributions: bool
    parts: list[PartLine]
    balance_fen: int
    vested_fen: int
    unvested_fen: int
    contributions_fen: int
    returns_fen: int
    fees_fen: int
    benefits_fen: int
    transferred_in_fen: int
    transferred_out_fen: int


class ProductLine(SheetModel):
    """All accounts of one product."""

    product: str
    name_zh: str
    name_en: str
    balance_fen: int
    vested_fen: int
    unvested_fen: int
    accounts: list[AccountLine]


class PillarLine(SheetModel):
    """All products of one pillar."""

    pillar: int
    balance_fen: int
    products: list[ProductLine]


class IdentityLine(SheetModel):
    """One source identity that the person is composed of."""

    sid: str
    one_id: str
    verification_tier: str


class BreachLine(SheetModel):
    """A yearly cap that the person, as composed now, is above."""

    breach_id: str
    rule: str
    year: int
    total_fen: int
    excess_fen: int
    contributing_positions: list[int]


class DuplicateLine(SheetModel):
    """Accounts of a one-per-person product that the person holds at once; the first goes on."""

    flag_id: str
    account_ids: list[str]


class MissingLine(SheetModel):
    """Why something is not on the sheet.

    - `pillar_not_connected`: the catalogue has no product of this pillar. About `pillar:1`.
    - `no_account_known`: the pillar has products, and no identity of the person holds an account of any. About `pillar:2`.
    - `account_opened_later`: an account of hers that is known, and was not there yet on the date asked for. About
      `account:X`.
    - `fact_unreadable`: this version cannot read the fact at `position`, and every number is without it. About the tag of
      hers that the fact bears, `account:X` or `identity:X`.
    """

    about: str
    code: Literal["pillar_not_connected", "no_account_known", "account_opened_later", "fact_unreadable"]
    position: int | None


class BalanceSheet(SheetModel):
    """The person's whole position. `one_id` is that of her oldest identity, by registration.

    `capped_contributions_fen`: what was paid into products with a yearly cap, by calendar year, over all her accounts.
    """

    one_id: str
    identities: list[IdentityLine]
    pillars: list[PillarLine]
    balance_fen: int
    vested_fen: int
    unvested_fen: int
    contributions_fen: int
    capped_contributions_fen: dict[str, int]
    returns_fen: int
    fees_fen: int
    benefits_fen: int
    breaches: list[BreachLine]
    duplicates: list[DuplicateLine]
    missing: list[MissingLine]


def _account_line(account_id: str, account: State, *, ended: bool) -> AccountLine:
    product = PRODUCTS[account["product"]]
    parts = [
        PartLine(part=part.code, vested=part.vested, balance_fen=account["balances_fen"][part.code])
        for part in product.parts
    ]
    totals: Mapping[str, int] = account["totals_fen"]
    vested = sum(line.balance_fen for line in parts if line.vested)
    balance = sum(line.balance_fen for line in parts)
    duplicate = "duplicate" in account and account["duplicate"]["account_ids"][0] != account_id
    return AccountLine(
        account=account_id,
        sid=account["sid"],
        institution=account["institution"],
        plan=account.get("plan"),
        employer=account.get("employer"),
        opened_on=account["opened_on"],
        status=account["status"],
        takes_contributions=account["status"] == "open"
        and not duplicate
        and "replaced_by" not in account
        and not ended,
        parts=parts,
        balance_fen=balance,
        vested_fen=vested,
        unvested_fen=balance - vested,
        contributions_fen=totals.get("contributions", 0),
        returns_fen=totals.get("returns", 0),
        fees_fen=totals.get("fees", 0),
        benefits_fen=totals.get("benefits", 0),
        transferred_in_fen=totals.get("transferred_in", 0),
        transferred_out_fen=totals.get("transferred_out", 0),
    )


def _pillars(lines: Iterable[tuple[str, AccountLine]]) -> list[PillarLine]:
    held: dict[str, list[AccountLine]] = {}
    for held_product, line in lines:
        held.setdefault(held_product, []).append(line)
    products: dict[int, list[ProductLine]] = {}
    for code, product in PRODUCTS.items():
        if code in held:
            accounts = sorted(held[code], key=lambda line: (line.opened_on, line.account))
            products.setdefault(product.pillar, []).append(
                ProductLine(
                    product=code,
                    name_zh=product.name_zh,
                    name_en=product.name_en,
                    balance_fen=sum(line.balance_fen for line in accounts),
                    vested_fen=sum(line.vested_fen for line in accounts),
                    unvested_fen=sum(line.unvested_fen for line in accounts),
                    accounts=accounts,
                )
            )
    return [
        PillarLine(pillar=pillar, balance_fen=sum(line.balance_fen for line in lines), products=lines)
        for pillar, lines in sorted(products.items())
    ]


def _capped(accounts: Iterable[State]) -> dict[str, int]:
    years: dict[str, int] = {}
    for account in accounts:
        for year, fen in account.get("contributed_fen", {}).items():
            years[year] = years.get(year, 0) + fen
    return {year: fen for year, fen in sorted(years.items()) if fen}


def _empty_pillars(identities: Iterable[State], accounts: Iterable[State]) -> Iterable[MissingLine]:
    """A line for each pillar that has no products, or that nothing is known of at these identities."""
    connected = {product.pillar for product in PRODUCTS.values()}
    # An account that is known, though not there on the date of the sheet, is among what its identity remembers.
    products = {account["product"] for account in accounts}.union(*(who["accounts"].values() for who in identities))
    held = {PRODUCTS[product].pillar for product in products}
    for pillar in PILLARS:
        if pillar not in connected:
            yield MissingLine(about=f"pillar:{pillar}", code="pillar_not_connected", position=None)
        elif pillar not in held:
            yield MissingLine(about=f"pillar:{pillar}", code="no_account_known", position=None)


def balance_sheet(
    identities: Mapping[str, State], accounts: Mapping[str, State], *, missing: Iterable[MissingLine] = ()
) -> BalanceSheet:
    """Compose the sheet of one person from what her identities (by sid) and their accounts (by id) remember.

    `missing` says what these memories cannot: accounts that are not there yet, facts that cannot be read.
    """
    by_age = sorted(identities.items(), key=lambda pair: pair[1]["registered_position"])
    # Below nothing where, on a date, the reversal of a benefit holds and the benefit does not yet.
    ended = {account["product"] for account in accounts.values() if account.get("ending_benefits", 0) > 0}
    lines = [
        (account["product"], _account_line(account_id, account, ended=account["product"] in ended))
        for account_id, account in accounts.items()
    ]
    breaches = {key: breach for _, identity in by_age for key, breach in identity["breaches"].items()}
    flags = {a["duplicate"]["flag_id"]: a["duplicate"]["account_ids"] for a in accounts.values() if "duplicate" in a}
    return BalanceSheet(
        one_id=by_age[0][1]["one_id"],
        identities=[
            IdentityLine(sid=sid, one_id=identity["one_id"], verification_tier=identity["verification_tier"])
            for sid, identity in by_age
        ],
        pillars=_pillars(lines),
        balance_fen=sum(line.balance_fen for _, line in lines),
        vested_fen=sum(line.vested_fen for _, line in lines),
        unvested_fen=sum(line.unvested_fen for _, line in lines),
        contributions_fen=sum(line.contributions_fen for _, line in lines),
        capped_contributions_fen=_capped(accounts.values()),
        returns_fen=sum(line.returns_fen for _, line in lines),
        fees_fen=sum(line.fees_fen for _, line in lines),
        benefits_fen=sum(line.benefits_fen for _, line in lines),
        breaches=[
            BreachLine(
                breach_id=key,
                rule=breach["rule"],
                year=breach["year"],
                total_fen=breach["total_fen"],
                excess_fen=breach["excess_fen"],
                contributing_positions=breach["contributing_positions"],
            )
            for key, breach in sorted(breaches.items())
        ],
        duplicates=[DuplicateLine(flag_id=key, account_ids=ids) for key, ids in sorted(flags.items())],
        missing=sorted(
            [*_empty_pillars(identities.values(), accounts.values()), *missing],
            key=lambda line: (line.about, line.code, line.position or 0),
        ),
    )
