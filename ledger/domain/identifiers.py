"""Typed identifiers: the type of a field says which entity it names, and a fact's tags derive from that alone.

1. An identifier holds no control character, no space and no comma, so it can stand in a tag, a leaf and a list.
2. A name says what it names: a sid has a colon, a one_id is P and 16 hexadecimal digits, and no new account is spelled so.
3. A source identity (sid) is a pseudonym: a source key that is or holds a resident ID number, of 18 or of the old 15
   digits, is refused. So is the id of a new account that holds one of 18 digits.
4. What is asked about people is kept only where it is spelled as a name and holds no resident ID number (`is_keepable`).
5. Every entity a fact or command mentions through a typed identifier is among its tags; nobody writes tags by hand.
"""

import hashlib
import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from ledger.domain.rules import Rules

# A number is refused here whatever the date: as the last rows of its rules tell it (numbers.toml), read once.
_RULES: Final = Rules(date.max)
_NUMBER: Final = _RULES.terms("id.resident_id")
_OLD_NUMBER: Final = _RULES.terms("id.resident_id.old")
_WEIGHTS: Final = _NUMBER.wholes("weights")
_CHECKS: Final = _NUMBER.text("checks")
_MODULUS: Final = _NUMBER.whole("modulus")
_CENTURY: Final = _OLD_NUMBER.whole("century")
FIRST_BIRTH_YEAR, LAST_BIRTH_YEAR = _NUMBER.whole("first_birth_year"), _NUMBER.whole("last_birth_year")
RESIDENT_ID = re.compile(rf"(?<![0-9]){_NUMBER.text('shape')}(?![0-9])")
ONE_ID = re.compile(r"P[0-9A-F]{16}")
# The old number has no check digit. So the province counts, or too much would look like one.
# They are put together by first digit: of two digits at most eight are tried then, not 35 pairs.
_FIRSTS: Final = dict.fromkeys(province[0] for province in _OLD_NUMBER.texts("provinces"))
_OLD_PROVINCES: Final = "|".join(
    f"{first}[{''.join(each[1] for each in _OLD_NUMBER.texts('provinces') if each[0] == first)}]" for first in _FIRSTS
)
OLD_RESIDENT_ID = re.compile(
    rf"(?<![0-9A-Za-z])(?:{_OLD_PROVINCES})[0-9]{{4}}([0-9]{{2}})([0-9]{{2}})([0-9]{{2}})[0-9]{{3}}(?![0-9])"
)


@dataclass(frozen=True)
class Names:
    """Marks an identifier type with the kind of entity it names: the part of the tag before the colon."""

    kind: str


def is_resident_id(number: str) -> bool:
    """Whether 18 characters form a valid resident ID number: birth date and check digit (GB 11643-1999, MOD 11-2)."""
    if not RESIDENT_ID.fullmatch(number) or not FIRST_BIRTH_YEAR <= int(number[6:10]) <= LAST_BIRTH_YEAR:
        return False
    if not _is_day(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return _CHECKS[total % _MODULUS] == number[17].upper()


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _names_nobody(text: str) -> str:
    if any(map(is_resident_id, RESIDENT_ID.findall(text))):
        message = "a resident ID number must not stand in a fact; send a pseudonym, such as the system's own number"
        raise ValueError(message)
    return text


def _holds_old_resident_id(text: str) -> bool:
    return any(
        _is_day(_CENTURY + int(year), int(month), int(day)) for year, month, day in OLD_RESIDENT_ID.findall(text)
    )


def _is_no_one_id(account: str) -> str:
    if ONE_ID.fullmatch(account):
        message = "an account cannot be named as one_ids are: P and 16 hexadecimal digits"
        raise ValueError(message)
    return account


def _pseudonymous(sid: str) -> str:
    key = _names_nobody(sid).partition(":")[2]
    if _holds_old_resident_id(key):
        message = (
            "this may be a 15-digit resident ID number; send the system's own person number,"
            " with a letter before it if it only looks like one"
        )
        raise ValueError(message)
    return sid


Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
CommandId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
ACTOR: Final = r"^[a-z][a-z0-9_-]{0,31}:[A-Za-z0-9._-]{1,95}$"
Actor = Annotated[str, StringConstraints(pattern=ACTOR)]
EvidenceRef = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
OneId = Annotated[str, StringConstraints(pattern=r"^P[0-9A-F]{16}$"), Names("one_id")]

SID: Final = r"^[a-z][a-z0-9-]{0,31}:[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Sid = Annotated[
    str,
    StringConstraints(pattern=SID),
    AfterValidator(_pseudonymous),
    Names("identity"),
]
ACCOUNT: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
AccountId = Annotated[str, StringConstraints(pattern=ACCOUNT), Names("account")]
NewAccountId = Annotated[AccountId, AfterValidator(_names_nobody), AfterValidator(_is_no_one_id)]
EntryPosition = Annotated[int, Field(strict=True, ge=1, lt=2**53), Names("entry")]
QuotaId = Annotated[str, Names("quota")]
LinkId = Annotated[str, Names("link")]
DistinctId = Annotated[str, Names("distinct")]
MergeId = Annotated[str, Names("merge")]
UnmergeId = Annotated[str, Names("unmerge")]
BreachId = Annotated[str, Names("breach")]
FlagId = Annotated[str, Names("flag")]
# What is closed period by period. There is one set of books, and its memory is recalled with every batch.
BooksId = Annotated[Literal["ledger"], Names("books")]
BOOKS_TAG: Final = "books:ledger"

QUOTA_RULE = "pp.cap.year"

# A one_id is spelled as an account is.
_KEEPABLE = re.compile(f"{SID}|{ACCOUNT}|{ACTOR}")


def is_keepable(asked: str) -> bool:
    """Whether a text from outside may be kept as a name: spelled as a sid, one_id, account or actor, no resident ID in it."""
    if not _KEEPABLE.fullmatch(asked) or _holds_old_resident_id(asked):
        return False
    return not any(map(is_resident_id, RESIDENT_ID.findall(asked)))


def quota_id(sid: str, year: int) -> str:
    """The counter of one source identity's personal pension contributions in one calendar year."""
    return f"{sid}/{QUOTA_RULE}/{year}"


def derived_id(prefix: str, *parts: object) -> str:
    """A stable id made from what it identifies, so that replay and refold give the same one."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{prefix}{digest[:16].upper()}"


def one_id_of(sid: str) -> str:
    """The one_id born with a source identity; it never changes and is never reused."""
    return derived_id("P", "one-id/v1", sid)


Extract = Callable[[Any], Iterator[str]]


def _extractor(annotation: object) -> Extract | None:
    """How to find the tags inside a value of this type, or None if no identifier can be in it."""
    if get_origin(annotation) is Annotated:
        base, *extras = get_args(annotation)
        for extra in extras:
            if isinstance(extra, Names):
                prefix = extra.kind + ":"
                return lambda value: iter((f"{prefix}{value}",))
        return _extractor(base)
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        return _union_extractor(annotation)
    if origin in (list, tuple):
        inner = next((found for arg in get_args(annotation) if (found := _extractor(arg))), None)
        return (lambda values: (tag for value in values for tag in inner(value))) if inner else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | Struct):
        return (lambda value: iter(tags_of(value))) if _plan(annotation) else None
    return None


def _union_extractor(annotation: object) -> Extract | None:
    members = [arg for arg in get_args(annotation) if arg is not type(None)]
    found = [extract for arg in members if (extract := _extractor(arg))]
    if not found:
        return None
    if len(members) > 1 and any(get_origin(arg) is Annotated for arg in members):
        message = f"a union of identifier types cannot be told apart: {annotation}"
        raise TypeError(message)
    extract = found[0]
    return lambda value: iter(()) if value is None else extract(value)


def _plain_kind(annotation: object) -> str | None:
    """The kind of entity that a field names by itself, with or without None; None where it takes an extractor."""
    members = [arg for arg in get_args(annotation) if arg is not type(None)]
    if get_origin(annotation) in (Union, types.UnionType) and len(members) == 1:
        return _plain_kind(members[0])
    if get_origin(annotation) is not Annotated:
        return None
    return next((extra.kind for extra in get_args(annotation)[1:] if isinstance(extra, Names)), None)


@cache
def _plan(cls: type) -> tuple[tuple[str, str | None, Extract], ...]:
    """For each field that can name entities: its name, the prefix of its tag if it is a plain identifier, how else."""
    hints = get_type_hints(cls, include_extras=True)
    names: Iterable[str] = getattr(cls, "__struct_fields__", None) or sorted(hints)
    found = ((name, hints[name], _extractor(hints[name])) for name in names)
    return tuple(
        (name, None if (kind := _plain_kind(hint)) is None else kind + ":", extract)
        for name, hint, extract in found
        if extract is not None
    )


@cache
def _plain_fields(cls: type) -> tuple[tuple[str, str], ...] | None:
    """Name and prefix of each identifier of a class, if all of them are plain; most are so."""
    fields = tuple((name, prefix) for name, prefix, _ in _plan(cls) if prefix is not None)
    return fields if len(fields) == len(_plan(cls)) else None


def tags_of(record: Any) -> list[str]:
    """The tags of a fact or command: one for each entity it mentions, in field order, none twice."""
    cls = record.__class__
    plain = _plain_fields(cls)
    if plain is not None:
        tags = [f"{prefix}{value}" for name, prefix in plain if (value := getattr(record, name)) is not None]
    else:
        tags = []
        for name, prefix, extract in _plan(cls):
            value = getattr(record, name)
            if value is not None:
                tags += extract(value) if prefix is None else (f"{prefix}{value}",)
    return tags if len(tags) < 2 else list(dict.fromkeys(tags))  # noqa: PLR2004 - two can be the same, one cannot
