"""Readings out: accounts, statements, people, balance sheets, control totals and the event feed."""

import base64
import binascii
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON, NDJSON, answer, tag
from ledger.api.documents import CONDITIONAL, shown
from ledger.api.parameters import DIGITS_ALONE, MAX_POSITION, Moment, Position, Seen, Truth, takes
from ledger.api.problems import responses
from ledger.api.tokens import Scope
from ledger.database import Database
from ledger.domain.events import FACTS
from ledger.domain.sheet import AccountLine, BalanceSheet
from ledger.feed import MAX_EVENTS, Stored, read_feed
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projections.control_totals import ControlTotals, read_totals
from ledger.projections.people import Person, read_person
from ledger.projections.standing import PersonUnknown
from ledger.projections.statements import MAX_LINES, AccountUnknown, Cursor, Order, Statement, read_statement

MAX_CURSOR_CHARACTERS = 512
DEFAULT_LINES = 50
DEFAULT_EVENTS = 100

READING_PROBLEMS = (*policy.PROBLEMS, problems.WrongParameter, problems.PositionNotRecorded, problems.LedgerUnavailable)
PERSONAL_PROBLEMS = (*READING_PROBLEMS, *accesses.PROBLEMS)

router = APIRouter(tags=["readings"])
about_people = [policy.allow(Scope.READER, Scope.AUDITOR), accesses.purposeful()]
about_all = [policy.allow(Scope.AUDITOR), accesses.unrecorded("sums over the whole ledger name nobody")]
for_followers = [policy.allow(Scope.FOLLOWER, Scope.AUDITOR), accesses.purposeful()]

# Longer than any name there is, so that whatever is asked for is answered with "unknown".
Name = Annotated[str, Path(min_length=1, max_length=256)]


class AccountReading(BaseModel):
    """An account at a position and date, with its product and the person who holds it."""

    known_at: int
    as_of: date | None
    one_id: str
    product: str
    account: AccountLine


class SheetReading(BaseModel):
    """A person's unified balance sheet at a position and date."""

    known_at: int
    as_of: date | None
    sheet: BalanceSheet


class StatementPage(Statement):
    """A page of a statement, and the cursor of the next, if there is one."""

    next_cursor: str | None


class Event(BaseModel):
    """An event; `data` are its fields, or for an event of the plain recorder interface `data_base64` its bytes."""

    position: int
    type: str
    effective_on: date
    recorded_at: str
    command_id: str
    actor: str
    tags: list[str]
    data: dict[str, Any] | None = None
    data_base64: str | None = None


class Events(BaseModel):
    """The next events in order; ask again with `after` set to `next_after`."""

    head: int
    next_after: int
    events: list[Event]


class StatementQuestion(Moment):
    """Which lines, in which order."""

    order: Order = Field(default="effective", description="By effective date, or by position as they were recorded.")
    limit: Annotated[int, Field(ge=1, le=MAX_LINES), DIGITS_ALONE] = Field(
        default=DEFAULT_LINES, description="Lines on a page."
    )
    cursor: Annotated[str, Field(max_length=MAX_CURSOR_CHARACTERS)] | None = Field(
        default=None,
        description="The `next_cursor` of the page before. It carries order, date and position: other values of these "
        "are not looked at.",
    )


class TotalsQuestion(Moment):
    """Whether by day."""

    by_day: Truth = Field(
        default=False, description="One line for each effective date, instead of sums over all of them."
    )


class FeedQuestion(BaseModel):
    """From where on."""

    model_config = ConfigDict(extra="forbid")

    after: Position = Field(default=0, description="The last position that the caller has.", examples=[0])
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS), DIGITS_ALONE] = Field(
        default=DEFAULT_EVENTS, description="Events at most."
    )


@router.get(
    "/v1/accounts/{account}",
    summary="Read an account",
    dependencies=[*about_people, takes(Moment)],
    openapi_extra=CONDITIONAL,
    responses={
        **shown(AccountReading),
        **responses(*PERSONAL_PROBLEMS, problems.AccountUnknown, problems.ReadingTooLarge),
    },
)
@accesses.recorded("account", about="account")
def account(request: Request, account: Name, asked: Annotated[Moment, Query()]) -> Response:
    """The balances by part, totals to date and status of an account."""
    try:
        read = read_balance_sheet(
            _database(request), account, as_of=asked.as_of, known_at=asked.known_at, seen=asked.seen
        )
    except PersonUnknown:
        raise problems.AccountUnknown from None
    for pillar in read.sheet.pillars:
        for product in pillar.products:
            for line in product.accounts:
                if line.account == account:
                    payload = {
                        "known_at": read.known_at,
                        "as_of": read.as_of,
                        "one_id": read.sheet.one_id,
                        "product": product.product,
                        "account": line,
                    }
                    return answer(request, payload, is_pinned=asked.known_at is not None)
    raise problems.AccountUnknown


@router.get(
    "/v1/accounts/{account}/statement",
    summary="Read an account's statement",
    dependencies=[*about_people, takes(StatementQuestion)],
    openapi_extra=CONDITIONAL,
    responses={
        **shown(StatementPage),
        **responses(*PERSONAL_PROBLEMS, problems.AccountUnknown, problems.CursorInvalid, problems.ProjectionBehind),
    },
)
@accesses.recorded("statement", about="account")
def statement(request: Request, account: Name, asked: Annotated[StatementQuestion, Query()]) -> Response:
    """Every posting line of an account, a page at a time, with the balance after each line.

    The pages that follow by `cursor` belong to the position of the first, whatever is recorded meanwhile.
    """
    after = None if asked.cursor is None else _cursor(asked.cursor, account)
    try:
        page = read_statement(
            _database(request),
            account,
            order=asked.order,
            as_of=asked.as_of,
            known_at=asked.known_at,
            seen=asked.seen,
            after=after,
            limit=asked.limit,
        )
    except AccountUnknown:
        raise problems.AccountUnknown from None
    following = None if page.following is None else _spelled(page.following, account)
    payload = {**dict(page.statement), "next_cursor": following}
    return answer(request, payload, is_pinned=asked.known_at is not None or after is not None)


@router.get(
    "/v1/people/{person}",
    summary="Read who a person is",
    dependencies=[*about_people, takes(Seen)],
    openapi_extra=CONDITIONAL,
    responses={**shown(Person), **responses(*PERSONAL_PROBLEMS, problems.PersonUnknown, problems.ProjectionBehind)},
)
@accesses.recorded("person", about="person")
def person(request: Request, person: Name, asked: Annotated[Seen, Query()]) -> Response:
    """All identities and accounts of the person known by a source identity, a one_id or an account."""
    try:
        found = read_person(_database(request), person, seen=asked.seen)
    except PersonUnknown:
        raise problems.PersonUnknown from None
    return answer(request, dict(found), is_pinned=False)


@router.get(
    "/v1/people/{person}/balance-sheet",
    summary="Read a person's unified balance sheet",
    dependencies=[*about_people, takes(Moment)],
    openapi_extra=CONDITIONAL,
    responses={
        **shown(SheetReading),
        **responses(*PERSONAL_PROBLEMS, problems.PersonUnknown, problems.ReadingTooLarge),
    },
)
@accesses.recorded("balance_sheet", about="person")
def balance_sheet(request: Request, person: Name, asked: Annotated[Moment, Query()]) -> Response:
    """One sheet over all her pension accounts, of now or as of any date and as known at any position.

    Without `known_at` it is of now and says its position as `known_at`: asked for by that, it will always be the same.
    """
    try:
        read = read_balance_sheet(
            _database(request), person, as_of=asked.as_of, known_at=asked.known_at, seen=asked.seen
        )
    except PersonUnknown:
        raise problems.PersonUnknown from None
    return answer(request, read._asdict(), is_pinned=asked.known_at is not None)


@router.get(
    "/v1/control-totals",
    summary="Read the control totals",
    dependencies=[*about_all, takes(TotalsQuestion)],
    openapi_extra=CONDITIONAL,
    responses={**shown(ControlTotals), **responses(*READING_PROBLEMS, problems.ProjectionBehind)},
)
def control_totals(request: Request, asked: Annotated[TotalsQuestion, Query()]) -> Response:
    """The postings of the whole ledger by product, kind and part, and the trial balance, which is zero."""
    totals = read_totals(
        _database(request), as_of=asked.as_of, known_at=asked.known_at, seen=asked.seen, by_day=asked.by_day
    )
    return answer(request, dict(totals), is_pinned=asked.known_at is not None)


@router.get(
    "/v1/events",
    summary="Follow the events",
    dependencies=[*for_followers, takes(FeedQuestion)],
    openapi_extra=CONDITIONAL,
    responses={
        **shown(Events, ndjson=True),
        **responses(*PERSONAL_PROBLEMS),
    },
)
@accesses.recorded("events")
def events(request: Request, asked: Annotated[FeedQuestion, Query()]) -> Response:
    """The events after a position, in the one order of the journal; none at its end."""
    feed = read_feed(_database(request), after=asked.after, limit=asked.limit)
    # Followers ask again and again at the journal's end: a page without events is about nobody.
    accesses.name_subject(request, f"{feed.events[0].position}-{feed.events[-1].position}" if feed.events else None)
    listed = [_event(stored) for stored in feed.events]
    if NDJSON in request.headers.get("accept", ""):
        lines = b"".join(event + b"\n" for event in listed)
        return tag(request, lines, tagged=lines, is_pinned=False, media_type=NDJSON)
    last = feed.events[-1].position if feed.events else asked.after
    body = b'{"head":%d,"next_after":%d,"events":[%b]}' % (feed.head, last, b",".join(listed))
    return tag(request, body, tagged=body, is_pinned=False, media_type=JSON)


def _event(stored: Stored) -> bytes:
    """As JSON, in which the stored bytes of a fact stand as they are."""
    envelope = {
        "position": stored.position,
        "type": stored.type,
        "effective_on": stored.effective_on,
        "recorded_at": stored.recorded_at.isoformat(),
        "command_id": stored.command_id,
        "actor": stored.actor,
        "tags": stored.tags,
    }
    if stored.type in FACTS:
        return to_json(envelope)[:-1] + b',"data":' + stored.data + b"}"
    return to_json(envelope | {"data_base64": base64.b64encode(stored.data).decode()})


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


class _Written(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a cursor says, in the order in which it says it."""

    account: str
    order: Literal["effective", "position"]
    known_at: Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]
    as_of: date | None
    effective_on: date
    position: Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]


def _spelled(cursor: Cursor, account: str) -> str:
    written = msgspec.json.encode([account, *cursor])
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def _cursor(text: str, account: str) -> Cursor:
    """Raises CursorInvalid, also for a cursor of another account."""
    try:
        padded = text + "=" * (-len(text) % 4)
        written = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=_Written)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise problems.CursorInvalid from None
    if written.account != account:
        raise problems.CursorInvalid
    return Cursor(written.order, written.known_at, written.as_of, written.effective_on, written.position)
