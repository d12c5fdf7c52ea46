"""What stands in the address: every parameter is known, comes once, and has one spelling.

1. What is not understood is refused: a parameter that is passed over would be one that the caller believes in.
2. Of two values for one parameter neither wins; the request is refused.
3. A date is ten characters, a time ends in Z, a number is digits alone: no sign, point, space or underscore, and no
   seconds since 1970.
"""

import re
from collections import Counter
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from fastapi.params import Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ledger.api.problems import WrongParameter

MAX_POSITION = 2**53 - 1
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DIGITS = re.compile(r"[0-9]{1,16}")
TRUTH = {"true": True, "false": False}


def _date(day: object) -> object:
    if isinstance(day, str) and DATE.fullmatch(day):
        return day
    raise PydanticCustomError("date_spelling", "A date is written YYYY-MM-DD")


def _time(moment: object) -> object:
    if isinstance(moment, str) and re.fullmatch(TIME, moment, re.ASCII):
        return moment
    raise PydanticCustomError("time_spelling", "A time is written YYYY-MM-DDThh:mm:ssZ, also with up to six decimals")


def _id(text: object) -> object:
    if isinstance(text, str) and ID.fullmatch(text):
        return text
    raise PydanticCustomError("id_spelling", "An id is written as a UUID in small letters, with its four hyphens")


def _number(number: object) -> object:
    if isinstance(number, str) and DIGITS.fullmatch(number):
        return int(number)
    raise PydanticCustomError("number_spelling", "A number is written in at most 16 digits, and nothing else")


def _truth(truth: object) -> object:
    if isinstance(truth, str) and truth in TRUTH:
        return TRUTH[truth]
    raise PydanticCustomError("truth_spelling", "Either true or false")


Day = Annotated[date, BeforeValidator(_date)]
Id = Annotated[UUID, BeforeValidator(_id)]
Time = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "pattern": f"^{TIME}$"})]
# Outermost, so that the bounds of the number stand in the OpenAPI document.
DIGITS_ALONE = BeforeValidator(_number)
Truth = Annotated[bool, BeforeValidator(_truth), WithJsonSchema({"type": "boolean"})]
Position = Annotated[int, Field(ge=0, le=MAX_POSITION), DIGITS_ALONE]


class Seen(BaseModel):
    """What the caller has seen already."""

    model_config = ConfigDict(extra="forbid")

    seen: Position | None = Field(
        default=None,
        description="A position that the caller has seen, such as that of its receipt: the answer waits for it, within "
        "a bound.",
        examples=[3],
    )


class Moment(Seen):
    """Both time axes: which facts count, by their effective date and by their position."""

    as_of: Day | None = Field(
        default=None,
        description="Facts effective up to this date count; all of them, if absent.",
        examples=["2025-12-31"],
    )
    known_at: Position | None = Field(
        default=None, description="Facts up to this position count; all recorded now, if absent.", examples=[3]
    )


class Taken:
    """A dependency that refuses parameters which come twice, and with no model all that come."""

    def __init__(self, model: type[BaseModel] | None) -> None:
        """Take the fields of the model; what it does not know is refused where its values are read."""
        self._model = model

    async def __call__(self, request: Request) -> None:
        """Raises WrongParameter."""
        if not request.scope["query_string"]:
            return
        counts = Counter(name for name, _ in request.query_params.multi_items())
        wrong = [name for name, count in counts.items() if count > 1 or self._model is None]
        if wrong:
            raise WrongParameter(self._error(name) for name in wrong)

    def _error(self, name: str) -> dict[str, Any]:
        """Only a name that is ours may be repeated to the caller."""
        if self._model is not None and name in self._model.model_fields:
            return {"type": "repeated", "loc": (name,), "msg": "Comes more than once"}
        return {"type": "extra_forbidden", "loc": (name,), "msg": "There is no such parameter here"}


NO_PARAMETERS = Taken(None)


def takes(model: type[BaseModel] | None = None) -> Depends:
    """For a route whose parameters are those of a model, each at most once; without one, for a route that takes none."""
    return Depends(NO_PARAMETERS if model is None else Taken(model))
