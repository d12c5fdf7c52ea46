"""For the auditor: who read what about whom, when and what for."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ledger.access import MAX_CHARACTERS, MAX_RECORDS, AccessUnknown, read_records
from ledger.api import accesses, policy, problems
from ledger.api.answers import JSON
from ledger.api.documents import described
from ledger.api.parameters import DIGITS_ALONE, Id, Time, takes
from ledger.api.problems import responses
from ledger.api.tokens import Scope

DEFAULT_RECORDS = 50

router = APIRouter(tags=["auditing"])

Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


class AccessReading(BaseModel):
    """One reading: who, with which token, when, what about whom, what for, and the HTTP status that was answered."""

    access_id: UUID
    accessed_at: str
    actor: str
    token_id: str
    action: str
    subject: str
    question: dict[str, Any]
    purpose: str
    status: int


class AccessRecords(BaseModel):
    """Records, newest first; ask again with `after` set to `next_after`, as long as there is one."""

    records: list[AccessReading]
    next_after: UUID | None


class AccessQuestion(BaseModel):
    """Which records."""

    model_config = ConfigDict(extra="forbid")

    subject: Text | None = Field(
        default=None,
        description="About this person or account, named as it was asked for; `*` for readings about nobody in particular, "
        "`?` for those of an unknown name that was not kept because it may be personal.",
        examples=["EA-1"],
    )
    actor: Text | None = Field(default=None, description="By this subject of a token.", examples=["user:developer"])
    since: Time | None = Field(default=None, description="From this time on.", examples=["2026-01-01T00:00:00Z"])
    until: Time | None = Field(default=None, description="Before this time.", examples=["2027-01-01T00:00:00Z"])
    after: Id | None = Field(default=None, description="The `next_after` of the page before.")
    limit: Annotated[int, Field(ge=1, le=MAX_RECORDS), DIGITS_ALONE] = Field(
        default=DEFAULT_RECORDS, description="Records on a page."
    )


@router.get(
    "/v1/access-records",
    summary="List who read what",
    dependencies=[policy.allow(Scope.AUDITOR), accesses.purposeful(), takes(AccessQuestion)],
    responses={
        **described(AccessRecords),
        **responses(
            *policy.PROBLEMS,
            *accesses.PROBLEMS,
            problems.WrongParameter,
            problems.CursorInvalid,
            problems.LedgerUnavailable,
        ),
    },
)
@accesses.recorded("access_records")
def access_records(request: Request, asked: Annotated[AccessQuestion, Query()]) -> Response:
    """The records of all readings about people, newest first, a page at a time. Reading them is recorded too."""
    if asked.subject is not None:
        accesses.name_subject(request, asked.subject)
    try:
        page = read_records(
            request.app.state.database,
            subject=asked.subject,
            actor=asked.actor,
            since=asked.since,
            until=asked.until,
            after=asked.after,
            limit=asked.limit,
        )
    except AccessUnknown:
        raise problems.CursorInvalid from None
    listed = [each._asdict() | {"accessed_at": each.accessed_at.isoformat()} for each in page.records]
    return Response(to_json({"records": listed, "next_after": page.next_after}), media_type=JSON)
