"""What goes wrong in the sample: rows that are refused or malformed, and a merge that should not have been made."""

from collections.abc import Iterator

from ledger.demo.people import (
    CP,
    DECLARED_ON,
    EA,
    FIRST_YEAR,
    GP,
    LINKED_ON,
    MISTAKEN,
    OA,
    OPENED_ON,
    PARTED_ON,
    PP,
    Row,
    System,
    account,
    command,
    line_of,
    links_of,
    opening,
    row,
    sid,
)


def wrong_accounts(system: System) -> Iterator[bytes]:
    """A resident ID number for a pseudonym, nobody's account, no such product, a second personal pension."""
    if system is EA:
        # The resident ID number that the standard itself prints as its example (GB 11643-1999).
        fields = {"provider": EA.institution, "sid": "ea-core:11010519491231002X"}
        yield line_of(command("ea-core/identity/by-resident-id", "RegisterSourceIdentity", OPENED_ON, **fields))
        yield line_of(opening(EA, 0, "EA-stranger", "enterprise_annuity") | {"sid": "ea-core:nobody"})
        yield line_of(opening(EA, 0, "EA-gold", "gold_savings"))
    if system is PP:
        yield line_of(opening(PP, 0, "PP-second", "personal_pension"))


def wrong_contributions(system: System, period: str) -> Iterator[bytes]:
    mine, on, name = account(system, 0), f"{period}-26", f"{period}.wrong"
    if system is EA:
        yield row(EA, "EA-9999999", period, on, f"{name}-1", ["100.00", "100.00", ""])
        # The voucher of January again, with another amount: a correction must be a command of its own.
        yield row(EA, mine, f"{FIRST_YEAR}-01", f"{FIRST_YEAR}-01-25", f"{FIRST_YEAR}-01.{mine}", ["1.00", "", ""])
        yield row(EA, mine, period, on, f"{name}-2", ["-100.00", "", ""])
        yield row(EA, mine, period, on, f"{name}-3", ['"1,200.00"', "", ""])
    elif system is OA:
        yield row(OA, mine, period, on, f"{name}-1", ["100000", "100000"])
        yield row(OA, mine, period, "25.12.2025", f"{name}-2", ["100000", "", ""])
    elif system is GP:
        yield row(GP, mine, f"{FIRST_YEAR - 1}-12", f"{FIRST_YEAR - 1}-12-25", f"{name}-1", ["100000", "", ""])
        yield row(GP, mine, period, on, f"{name}-2", ["", "", ""])
    elif system is PP:
        yield row(PP, mine, period, on, f"{name}-1", ["12000.01"])
        yield row(PP, mine, period, "2062-01-25", f"{name}-2", ["100.00"])
        yield row(PP, mine, period, on, f"{name}-3", ["100.005"])
    else:
        yield row(CP, mine, period, on, f"{name}-1", ["1000.50", ""])


def wrong_entries(system: System, period: str) -> Iterator[bytes]:
    mine, on, name = account(system, 0), f"{period}-28", f"{system.source}/wrong/{period}"
    if system is EA:
        fields: Row = {"account": mine, "fee": "account_fee", "period": period}
        yield line_of(command(f"{name}/1", "ChargeFee", on, amounts_fen={"employee": 10**12}, **fields))
        yield line_of(command(f"{name}/2", "ChargeFee", on, amounts_fen={"voluntary": 500}, **fields))
        yield line_of(command(f"{name}/3", "ChargeFee", on, amounts_fen={"employee": 12.5}, **fields))
        yield line_of(command(f"{name}/4", "CloseAccount", on, account=mine, reason="left"))
    elif system is PP:
        fields = {"account": mine, "condition": "PP_W2_DISABLED", "gross_fen": 100_000}
        yield line_of(command(f"{name}/1", "PayBenefit", on, tax_fen=3_000, net_fen=90_000, **fields))
        yield line_of(command(f"{name}/2", "PayBenefit", on, tax_fen=3_000, net_fen=97_000, **fields))[:-40]
    elif system is CP:
        fields = {"account": mine, "amounts_fen": {"locked": 100}, "period": period, "tax_treatment": "post_tax"}
        yield line_of(command(f"{name}/1", "FreezeAccount", on, account=mine, reason="court_order"))
        yield line_of(command(f"{name}/2", "PostContribution", on, **fields))
        yield line_of(command(f"{name}/3", "UnfreezeAccount", on, account=mine, reason="court_order"))


def mistaken_merge() -> Row:
    fields = {
        "approvers": ["user:steward-two", "user:steward-three"],
        "basis": "steward",
        "links": links_of([(sid(PP, MISTAKEN[0]), sid(PP, MISTAKEN[1]))]),
        "reason": "same_person",
    }
    return command("identity/merge/mistaken", "MergeIdentities", LINKED_ON, **fields)


def mistaken_unmerge() -> Row:
    fields = {
        "approvers": ["user:steward-two"],
        "cause": "false_match",
        "target": [[sid(PP, person)] for person in MISTAKEN],
    }
    return command("identity/unmerge/mistaken", "UnmergeIdentities", PARTED_ON, **fields)


def wrong_joins() -> Iterator[Row]:
    ours, theirs = sid(EA, 0), sid(PP, MISTAKEN[0])
    pair = {"sid_a": ours, "sid_b": theirs}
    links = links_of([(ours, theirs)])
    steward = {"basis": "steward", "reason": "same_person"}
    yield command("identity/wrong/1", "MergeIdentities", LINKED_ON, links=links, **steward)
    fields: Row = {"approvers": ["user:steward-two"], "reason": "different_persons"}
    yield command("identity/distinct/1", "DeclareDistinct", DECLARED_ON, **pair, **fields)
    yield command("identity/wrong/2", "LinkIdentities", DECLARED_ON, links=links, basis="document")
    links = links_of([(ours, "ea-core:nobody")])
    yield command("identity/wrong/3", "LinkIdentities", DECLARED_ON, links=links, basis="document")
    move = {"from_account": account(EA, 0), "amounts_fen": {"employee": 100}, "reason": "job_change"}
    yield command("identity/wrong/4", "TransferBalance", DECLARED_ON, to_account=account(PP, 0), **move)
    yield command("identity/wrong/5", "TransferBalance", DECLARED_ON, to_account=account(PP, 1), **move)
