"""The files of the sample, in the order in which they are posted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.demo.mistakes import (
    mistaken_merge,
    mistaken_unmerge,
    wrong_accounts,
    wrong_contributions,
    wrong_entries,
    wrong_joins,
)
from ledger.demo.people import (
    EA,
    GP,
    LINKED_ON,
    MISTAKEN,
    MISTAKEN_ONCE_FEN,
    OA,
    OPENED_ON,
    PP,
    SYSTEMS,
    Holder,
    Row,
    System,
    account,
    cells,
    command,
    has_left,
    holders,
    line_of,
    links_of,
    month_parts,
    opening,
    periods,
    row,
    sid,
    systems_of,
)
from ledger.parsing import COLUMNS, DECIDED_AT


@dataclass(frozen=True)
class Sample:
    """The files in the order in which they are posted, and whom and what to look at afterwards."""

    accounts: list[Path]
    contributions: list[Path]
    entries: list[Path]
    identities: Path
    unmerge: Path
    person: str
    mistaken_merge: Row
    mistaken_unmerge: Row


def write_sample(folder: Path, *, people: int, months: int) -> Sample:
    """Write all files of the sample into the folder. At least three people and one month."""
    folder.mkdir(parents=True, exist_ok=True)
    accounts, contributions, entries = [], [], []
    for system in SYSTEMS:
        known = holders(system, people)
        accounts.append(_write(folder / f"{system.source}-accounts.ndjson", _accounts(system, known)))
        contributions.append(
            _write(folder / f"{system.source}-contributions.csv", _contributions(system, known, months))
        )
        entries.append(_write(folder / f"{system.source}-entries.ndjson", _entries(system, known, months)))
    merge, unmerge = mistaken_merge(), mistaken_unmerge()
    return Sample(
        accounts=accounts,
        contributions=contributions,
        entries=entries,
        identities=_write(folder / "identities.ndjson", map(line_of, [*_joins(people), merge, *wrong_joins()])),
        unmerge=_write(folder / "identities-parted.ndjson", [line_of(unmerge)]),
        person=sid(PP, 0),
        mistaken_merge=merge,
        mistaken_unmerge=unmerge,
    )


def _write(path: Path, lines: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
    return path


def _accounts(system: System, known: list[Holder]) -> Iterator[bytes]:
    """Every person is registered and gets an account; a leaver of an enterprise annuity also a retained one."""
    for person, _ in known:
        number, whose = account(system, person), sid(system, person)
        fields = {"provider": system.institution, "sid": whose, "verification_tier": "two_factor"}
        yield line_of(command(f"{system.source}/identity/{number}", "RegisterSourceIdentity", OPENED_ON, **fields))
        yield line_of(opening(system, person, number, system.product))
        if system is EA and has_left(person):
            yield line_of(opening(system, person, f"RA-{person:07d}", "retained_account"))
    yield from wrong_accounts(system)


def _contributions(system: System, known: list[Holder], months: int) -> Iterator[bytes]:
    """One row a member and month; some rows at the end are wrong, as in real files."""
    header = [*COLUMNS, DECIDED_AT, *(f"{part}_{system.unit}" for part in system.rates_permille)]
    yield f"# source={system.source} actor=system:{system.source}".encode()
    yield ",".join(header).encode()
    for period in periods(months):
        for holder in known:
            parts = month_parts(system, holder)
            if system is PP and holder.person in MISTAKEN:
                # All of the year at once; the later payments of the year stay away.
                parts = {"own": MISTAKEN_ONCE_FEN}
                if not period.endswith("-01"):
                    continue
            number = account(system, holder.person)
            yield row(system, number, period, f"{period}-25", f"{period}.{number}", cells(system, parts))
    yield from wrong_contributions(system, periods(months)[-1])


def _entries(system: System, known: list[Holder], months: int) -> Iterator[bytes]:
    """Returns each quarter, a yearly fee, vesting, leavers' transfers and payouts; some lines are wrong."""
    for number, period in enumerate(periods(months), 1):
        for holder in known:
            name = f"{system.source}/{{}}/{period}/{account(system, holder.person)}"
            if number % 3 == 0:
                yield line_of(_returns(system, holder, period, name.format("returns")))
            if number % 12 == 0:
                yield from map(line_of, _yearly(system, holder, period, name))
    yield from wrong_entries(system, periods(months)[-1])


def _returns(system: System, holder: Holder, period: str, command_id: str) -> Row:
    """A quarter's return on three months' contributions, rounded down to a fen; every ninth person lost."""
    parts = {part: fen * 3 * (8 + holder.person % 5) // 1000 for part, fen in month_parts(system, holder).items()}
    kind = "losses_fen" if holder.person % 9 == 8 else "gains_fen"  # noqa: PLR2004 - one in nine
    fields = {"account": account(system, holder.person), kind: parts, "period": period}
    return command(command_id, "CreditReturns", f"{period}-28", **fields)


def _yearly(system: System, holder: Holder, period: str, name: str) -> Iterator[Row]:
    person, on = holder.person, f"{period}-28"
    mine, parts = account(system, person), month_parts(system, holder)
    if system in (EA, GP):
        fields: Row = {"account": mine, "amounts_fen": {"employee": 500}, "fee": "account_fee", "period": period}
        yield command(name.format("fee"), "ChargeFee", on, **fields)
    if system in (EA, OA):
        amount = 6 * parts["employer_unvested" if system is EA else "employer_book"]
        fields = {"account": mine, "amount_fen": amount, "reason": "service_years" if system is EA else "funded"}
        yield command(name.format("vesting"), "VestEmployerPart", on, **fields)
    if system is EA and has_left(person):
        moved = {"employee": 10 * parts["employee"], "employer_vested": 10 * parts["employer_vested"]}
        fields = {"amounts_fen": moved, "from_account": mine, "to_account": f"RA-{person:07d}", "reason": "unemployed"}
        yield command(name.format("transfer"), "TransferBalance", on, **fields)
    if system is PP and person % 50 == 7:  # noqa: PLR2004 - one in fifty
        fields = {"account": mine, "gross_fen": 100_000, "tax_fen": 3_000, "net_fen": 97_000}
        yield command(name.format("benefit"), "PayBenefit", on, condition="PP_W2_DISABLED", **fields)


def _joins(people: int) -> Iterator[Row]:
    """The identities of each person are joined: mostly by documents that match, some by a steward, one by herself."""
    for person in range(people):
        sids = [sid(system, person) for system in systems_of(person)]
        if len(sids) < 2 or person in MISTAKEN:  # noqa: PLR2004 - a pair
            continue
        links = links_of((sids[0], other) for other in sids[1:])
        if person == 0:
            fields: Row = {"basis": "customer", "reason": "same_person"}
            yield command(f"identity/merge/{person}", "MergeIdentities", LINKED_ON, links=links, **fields)
        elif person % 10 == 0:
            fields = {"approvers": ["user:steward-two", "user:steward-three"], "basis": "steward"}
            fields |= {"reason": "same_person", "members": sids}
            yield command(f"identity/merge/{person}", "MergeIdentities", LINKED_ON, links=links, **fields)
        else:
            yield command(f"identity/link/{person}", "LinkIdentities", LINKED_ON, links=links, basis="document")
