"""Explain an account or a person down to the facts: what each fact moved, who posted it, when, and how it is proved.

1. Every fact that mentions the account, or an identity or account of the person, is there once for each account whose
   money it moves, and once if it moves none of hers; in position order.
2. The balance after a line is the sum of the postings up to it: the last one is what the account holds.
3. A page is bounded, and the next begins after its last position; the balances go on through all pages.
4. Facts are shown as they are stored. One that cannot be read is shown too, and moves nothing that could be told.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Final, NamedTuple

from psycopg.rows import TupleRow
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger.domain.events import FACTS, AccountOpened, Fact
from ledger.domain.history import sheet_at
from ledger.domain.lines import Recorded
from ledger.domain.notes import Checkpoint, InclusionProof
from replay.facts import DOES_NOT_FOLLOW, Connection, HistoryBroken, following, read_fact
from replay.sheets import NAME, PersonUnknown, gather, position_at, sid_of

Prove = Callable[[int], InclusionProof | None]

MAX_LINES: Final = 1_000
DEFAULT_LINES: Final = 100
# Facts read at once; lines before the page are summed and not kept.
FETCH: Final = 5_000

NEXT_POSITIONS = rb"""
SELECT DISTINCT position
FROM event_tag
WHERE tag = ANY (string_to_array(%(tags)s, E'\x1e')) AND position > %(after)s AND position <= %(until)s
ORDER BY position
LIMIT %(limit)s
"""
STORED = b"""
SELECT position, type, data, effective_on, recorded_at, command_id, actor
FROM event
WHERE position = ANY (%s)
"""


class Stored(NamedTuple):
    """A fact with what is stored beside it; `fact` is None if this version cannot read it."""

    position: int
    type: str
    data: bytes
    effective_on: date
    recorded_at: datetime
    command_id: str
    actor: str
    fact: Fact | None


class Line(NamedTuple):
    """A fact, and what it moved on one account; `account` is None where it moved no money of those explained."""

    position: int
    type: str
    account: str | None
    kind: str | None
    amounts_fen: dict[str, int]
    amount_fen: int
    balance_fen: int | None
    reverses: int | None
    effective_on: date
    recorded_at: datetime
    actor: str
    command_id: str
    fact: str
    is_readable: bool


class Proved(NamedTuple):
    """A line with the proof of its fact; None while no checkpoint covers it."""

    line: Line
    proof: InclusionProof | None


class Explanation(NamedTuple):
    """A page. `balances_fen` are those of the accounts after its last line; `next_after` asks for the next, if any."""

    asked: str
    known_at: int
    sids: list[str]
    accounts: list[str]
    balances_fen: dict[str, int]
    lines: list[Proved]
    next_after: int | None


class AccountUnknown(LookupError):
    """No account of this id was opened, or not by the position asked for."""


def explain_account(  # noqa: PLR0913 - what an explanation can be asked for
    connection: Connection,
    account: str,
    *,
    prove: Prove,
    known_at: int | None = None,
    after: int = 0,
    limit: int = DEFAULT_LINES,
) -> Explanation:
    """Every line of an account, a page at a time. Raises AccountUnknown, PositionNotRecorded."""
    at = position_at(connection, known_at)
    tags = [f"account:{account}"]
    for stored in _stored(connection, tags, until=at) if NAME.fullmatch(account) else ():
        if isinstance(stored.fact, AccountOpened) and stored.fact.account == account:
            whose = _Whose(account, at, [stored.fact.sid], [account], tags)
            return _page(connection, whose, prove, after, limit)
    raise AccountUnknown(f"{account} was not opened up to position {at}")


def explain_person(  # noqa: PLR0913 - as above
    connection: Connection,
    person: str,
    *,
    prove: Prove,
    known_at: int | None = None,
    after: int = 0,
    limit: int = DEFAULT_LINES,
) -> Explanation:
    """Every fact about the identities and accounts that a person is composed of at the position, a page at a time.

    Raises PersonUnknown, PositionNotRecorded and TooManyFacts.
    """
    at = position_at(connection, known_at)
    sid = sid_of(connection, person, at)
    found = gather(connection, sid, until=at)
    with following(f"the sheet of {sid} at position {at}"):
        sheet = sheet_at(found.facts, sid, known_at=at, as_of=None, unreadable=found.unread)
    if sheet is None:
        raise PersonUnknown(f"{person} is not known at position {at}")
    members = sorted(identity.sid for identity in sheet.identities)
    lines = [line for pillar in sheet.pillars for product in pillar.products for line in product.accounts]
    accounts = sorted(line.account for line in lines)
    tags = [*(f"identity:{member}" for member in members), *(f"account:{account}" for account in accounts)]
    return _page(connection, _Whose(person, at, members, accounts, tags), prove, after, limit)


class _Whose(NamedTuple):
    """What is explained: identities and accounts at a position, and the tags that lead to their facts."""

    asked: str
    known_at: int
    sids: list[str]
    accounts: list[str]
    tags: list[str]


def _stored(connection: Connection, tags: list[str], *, until: int) -> Iterator[Stored]:
    """The facts about these entities, in position order. Raises HistoryBroken where the index names one that is not there."""
    asked = {"tags": "\x1e".join(tags), "after": 0, "until": until, "limit": FETCH}
    while positions := [position for (position,) in connection.execute(NEXT_POSITIONS, asked)]:
        rows = {row[0]: row for row in connection.execute(STORED, (positions,))}
        for position in positions:
            row = rows.get(position)
            if row is None:
                raise HistoryBroken(position, "the tag index names it, and there is no fact")
            if row[1] in FACTS:
                yield Stored._make([*row, _read(row)])
        asked["after"] = positions[-1]


def _read(row: TupleRow) -> Fact | None:
    try:
        return read_fact(row[0], row[1], row[2])
    except HistoryBroken:
        return None


def _page(connection: Connection, whose: _Whose, prove: Prove, after: int, limit: int) -> Explanation:
    """The lines after a position: whole facts, so that a page may have one line more than asked for."""
    limit = min(max(limit, 1), MAX_LINES)
    balances = dict.fromkeys(whose.accounts, 0)
    lines: list[Line] = []
    following = None
    for stored in _stored(connection, whose.tags, until=whose.known_at):
        if len(lines) >= limit:
            following = lines[-1].position
            break
        try:
            made = _lines(stored, balances)
        except DOES_NOT_FOLLOW as error:
            raise HistoryBroken(stored.position, f"{stored.type} does not follow ({error!r})") from error
        if stored.position > after:
            lines += made
    proofs = {position: prove(position) for position in dict.fromkeys(line.position for line in lines)}
    return Explanation(
        asked=whose.asked,
        known_at=whose.known_at,
        sids=whose.sids,
        accounts=whose.accounts,
        balances_fen=balances,
        lines=[Proved(line, proofs[line.position]) for line in lines],
        next_after=following,
    )


def _lines(stored: Stored, balances: dict[str, int]) -> list[Line]:
    """The lines of a fact, for each account of those explained; adds to their balances."""
    recorded = None if stored.fact is None else Recorded(stored.position, stored.fact)
    moved = [] if recorded is None else [line for line in recorded.lines() if line.account in balances]
    lines: list[Line] = []
    for account, amounts in moved:
        balances[account] += sum(amounts.values())
        lines.append(_line(stored, recorded, account, amounts, balances[account]))
    return lines or [_line(stored, recorded, None, {}, None)]


def _line(
    stored: Stored, recorded: Recorded | None, account: str | None, amounts: dict[str, int], balance: int | None
) -> Line:
    return Line(
        position=stored.position,
        type=stored.type,
        account=account,
        kind=None if recorded is None else recorded.kind,
        amounts_fen=amounts,
        amount_fen=sum(amounts.values()),
        balance_fen=balance,
        reverses=None if recorded is None else recorded.reverses,
        effective_on=stored.effective_on,
        recorded_at=stored.recorded_at,
        actor=stored.actor,
        command_id=stored.command_id,
        fact=stored.data.decode(errors="backslashreplace"),
        is_readable=stored.fact is not None,
    )


def as_json(explanation: Explanation) -> bytes:
    """The page as JSON: facts as they are stored, as text, and proofs as the files `.tlog-proof`."""
    lines = [{**line._asdict(), "proof": None if proof is None else proof.text()} for line, proof in explanation.lines]
    return to_json({**explanation._asdict(), "lines": lines})


def show(explanation: Explanation, console: Console) -> None:
    """The page as a table, or without a terminal as lines with tabs between the columns; then what follows."""
    rows = [_shown(each) for each in explanation.lines]
    if console.is_terminal:
        table = Table(*COLUMNS, title=None)
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        console.print(table)
    else:
        for row in (COLUMNS, *rows):
            _say(console, "\t".join(row))
    for account, fen in explanation.balances_fen.items():
        _say(console, f"{account} holds {fen} fen after the last line above.")
    unsealed = len({line.position for line, proof in explanation.lines if proof is None})
    if unsealed:
        _say(console, f"{unsealed} facts are not sealed yet; ask again for their proofs in a minute.")
    if explanation.next_after is not None:
        _say(console, f"There are more lines: go on after position {explanation.next_after}.")


COLUMNS: Final = (
    "position", "effective", "recorded", "account", "what", "fen", "balance", "by", "command", "proof", "fact",
)  # fmt: skip


def _shown(proved: Proved) -> tuple[str, ...]:
    line, proof = proved
    what = line.kind or line.type
    if line.reverses is not None:
        what = f"{what}, reverses {line.reverses}"
    return (
        str(line.position),
        line.effective_on.isoformat(),
        line.recorded_at.isoformat(),
        line.account or "",
        what if line.is_readable else f"{line.type}, cannot be read",
        f"{line.amount_fen:+}" if line.account else "",
        "" if line.balance_fen is None else str(line.balance_fen),
        line.actor,
        line.command_id,
        "not sealed yet" if proof is None else f"leaf {proof.leaf_index} under {Checkpoint.parse(_text(proof)).size}",
        line.fact,
    )


def _text(proof: InclusionProof) -> str:
    """The text of the checkpoint, without its signatures; whoever made the proof has verified them."""
    return proof.checkpoint_note.rpartition("\n\n")[0] + "\n"


def _say(console: Console, sentence: str) -> None:
    # As it is: no markup, no emoji, tabs stay tabs, and a line is one however long.
    console.file.write(sentence + "\n")
