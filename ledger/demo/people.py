"""Who the sample is about: five source systems, the persons they know, and the rows they send about them."""

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic_core import to_json

Row = dict[str, Any]

FIRST_YEAR = 2025
SEED = "pension-ledger-sample/1"
OPENED_ON = "2025-01-02"


class System(NamedTuple):
    """A source system: its product, how many in a hundred persons it knows, and where its accounts lie."""

    source: str
    product: str
    percent: int
    prefix: str
    institution: str
    tax_treatment: str
    unit: str
    rates_permille: dict[str, int]


SYSTEMS = (
    System(
        "ea-core",
        "enterprise_annuity",
        60,
        "EA",
        "trustee-one",
        "pre_tax",
        "yuan",
        {"employee": 20, "employer_vested": 20, "employer_unvested": 30},
    ),
    System(
        "oa-core",
        "occupational_annuity",
        30,
        "OA",
        "trustee-two",
        "pre_tax",
        "fen",
        {"employee": 40, "employer_real": 40, "employer_book": 40},
    ),
    System(
        "gp-core",
        "group_pension",
        25,
        "GP",
        "pension-company-one",
        "post_tax",
        "fen",
        {"employee": 10, "employer_vested": 15, "voluntary": 5},
    ),
    System("pp-bank", "personal_pension", 50, "PP", "bank-one", "pre_tax", "yuan", {"own": 45}),
    System(
        "cp-core",
        "commercial_pension",
        20,
        "CP",
        "pension-company-two",
        "post_tax",
        "fen",
        {"locked": 20, "continuing": 10},
    ),
)
EA, OA, GP, PP, CP = SYSTEMS
PP_MONTH_MOST_FEN = 100_000

MISTAKEN = (1, 2)
MISTAKEN_ONCE_FEN = 1_200_000
LINKED_ON = "2025-02-10"
DECLARED_ON = "2025-02-12"
PARTED_ON = "2025-02-20"


class Holder(NamedTuple):
    """A person whom a source system knows, and her wage there."""

    person: int
    wage_fen: int


def sid(system: System, person: int) -> str:
    """The number of a person in one source system."""
    return f"{system.source}:{system.prefix.lower()}{person * 7 + 1000:08d}"


def account(system: System, person: int) -> str:
    """The account of a person in one source system."""
    return f"{system.prefix}-{person:07d}"


def systems_of(person: int) -> list[System]:
    """The source systems that know a person."""
    chance = random.Random(f"{SEED}/{person}")  # noqa: S311 - a sample, not a secret
    held = [s for s in SYSTEMS if chance.randrange(100) < s.percent or person == 0 or (s is PP and person in MISTAKEN)]
    return held or [EA]


def holders(system: System, people: int) -> list[Holder]:
    """The persons of one source system."""
    wages = (5_000 + random.Random(f"{SEED}/wage/{person}").randrange(25_000) for person in range(people))  # noqa: S311
    return [Holder(person, yuan * 100) for person, yuan in enumerate(wages) if system in systems_of(person)]


def periods(months: int) -> list[str]:
    """The months of the sample, written YYYY-MM."""
    return [f"{FIRST_YEAR + month // 12}-{month % 12 + 1:02d}" for month in range(months)]


def line_of(row: Row) -> bytes:
    return to_json(row)


def command(command_id: str, type_: str, on: str, **fields: object) -> Row:
    actor = f"system:{command_id.partition('/')[0]}"
    envelope = {"actor": actor, "decided_at": f"{on}T20:00:00+08:00", "effective_on": on}
    return {"type": type_, "command_id": command_id, **envelope, **fields}


def opening(system: System, person: int, number: str, product: str) -> Row:
    fields: Row = {"institution": system.institution, "opened_on": OPENED_ON, "product": product}
    if "employee" in system.rates_permille:
        fields |= {"employer": f"employer-{person % 20:02d}", "plan": f"plan-{person % 5}"}
    return command(
        f"{system.source}/opening/{number}",
        "OpenAccount",
        OPENED_ON,
        account=number,
        sid=sid(system, person),
        **fields,
    )


def has_left(person: int) -> bool:
    return person % 40 == 3  # noqa: PLR2004 - one in forty, and not person 0


def month_parts(system: System, holder: Holder) -> dict[str, int]:
    """What one month brings to each part, rounded down to a fen."""
    parts = {part: holder.wage_fen * rate // 1000 for part, rate in system.rates_permille.items()}
    return {"own": min(parts["own"], PP_MONTH_MOST_FEN)} if system is PP else parts


def row(  # noqa: PLR0913 - the columns of the list, in their order
    system: System, number: str, period: str, on: str, voucher: str, amounts: list[str]
) -> bytes:
    decided_at = f"{period}-25T20:00:00+08:00"
    return ",".join([number, period, on, voucher, system.tax_treatment, decided_at, *amounts]).encode()


def cells(system: System, parts: dict[str, int]) -> list[str]:
    if system.unit == "fen":
        return [str(fen) for fen in parts.values()]
    return [f"{fen // 100}.{fen % 100:02d}" for fen in parts.values()]


def links_of(pairs: Iterable[tuple[str, str]]) -> list[Row]:
    return [{"evidence_ref": f"demo/evidence/{one}/{other}", "sid_a": one, "sid_b": other} for one, other in pairs]
