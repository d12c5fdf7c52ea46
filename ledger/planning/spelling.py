"""How questions are spelled: exact decimals are text, and what does not fit together is told apart from what is wrong."""

import re
from decimal import Decimal
from typing import Any, Final, LiteralString

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

CONTRADICTORY: Final = "contradictory"
PLACES: Final = 6


def contradiction(sentence: LiteralString) -> PydanticCustomError:
    """For the validators of whole models: the fields are right each by itself, and do not fit together."""
    return PydanticCustomError(CONTRADICTORY, sentence)


class DecimalText:
    """Marks a Decimal that is written as text, from `least` to `most`; a JSON number has already lost its decimals.

    The pattern says the same to a schema, which knows no bounds of texts.
    """

    def __init__(self, least: str, most: str, pattern: str, *, places: int = PLACES) -> None:
        """Take the bounds, both included."""
        self._least, self._most, self._pattern = Decimal(least), Decimal(most), re.compile(pattern)
        self._places = places

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Text by the pattern; in Python also a Decimal or a whole number."""
        bounded = core_schema.decimal_schema(ge=self._least, le=self._most, decimal_places=self._places)
        return core_schema.with_info_before_validator_function(self._read, bounded)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The same for reading and writing."""
        return {"type": "string", "pattern": self._pattern.pattern}

    def _read(self, value: object, info: ValidationInfo) -> object:
        is_number = isinstance(value, Decimal | int) and not isinstance(value, bool)
        if is_number and info.mode == "python":
            return value
        if isinstance(value, str) and self._pattern.fullmatch(value):
            return Decimal(value)
        raise PydanticCustomError(
            "decimal_text",
            "An exact decimal is written as text, from {least} to {most} with up to {places} decimals",
            {"least": str(self._least), "most": str(self._most), "places": self._places},
        )


SHARE: Final = DecimalText("0", "1", r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$", places=4)
INDEX: Final = DecimalText("0", "5", r"^([0-4](\.[0-9]{1,6})?|5(\.0{1,6})?)$")
SHIFT: Final = DecimalText("-0.05", "0.05", r"^-?0(\.0([0-4][0-9]{0,4}|50{0,4})?)?$")
RATE: Final = DecimalText(
    "-0.1", "0.12", r"^(-0(\.(0[0-9]{0,5}|10{0,5}))?|0(\.(0[0-9]{0,5}|1([01][0-9]{0,4})?|120{0,4}))?)$"
)
