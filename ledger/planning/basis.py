"""What every answer says of itself, so that anybody can compute it again: its day, its versions, and its rules."""

from datetime import date
from importlib.metadata import version
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from ledger.domain.commands import Day
from ledger.domain.rules import DIGEST, Cited, Rules
from ledger.domain.rules.rows import COUNTRY, Area
from ledger.planning.wording import Texts

DIGEST_CHARACTERS: Final = 16


class Asked(BaseModel):
    """A question: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=64)


class Ruled(Asked):
    """A question that the rules of a day and an area answer."""

    on: Annotated[Day, Field(description="the day whose rules hold", examples=["2026-11-22"])]
    area: Annotated[Area, Field(description="the area whose rules hold, such as CN-11 or CN-4403")] = COUNTRY
    known_on: Annotated[
        Day | None, Field(description="only what was known on this day; without it, all that is known now")
    ] = None

    def rules(self) -> Rules:
        """The rules that answer."""
        return Rules(self.on, self.area, self.known_on)


class Words(BaseModel):
    """What it means, in two sentences of daily life, in Chinese and in English."""

    zh: str
    en: str


def words(said: Texts) -> Words:
    """The sentences, as an answer carries them."""
    return Words(zh=said.zh, en=said.en)


class Version(BaseModel):
    """What computed the answer: the program, and the digest of its rule data."""

    program: str
    rules: str


VERSION: Final = Version(program=version("pension-ledger"), rules=DIGEST[:DIGEST_CHARACTERS])


class Basis(BaseModel):
    """What an answer rests on. `open_points`: rules among them that are uncertain, or need sign-off (confidence C)."""

    on: date
    area: str
    known_on: date | None
    version: Version
    rules: list[Cited]
    open_points: list[str]


def basis(rules: Rules) -> Basis:
    """What was consulted so far."""
    cited = list(rules.cited)
    return Basis(
        on=rules.on,
        area=rules.area,
        known_on=rules.known_on,
        version=VERSION,
        rules=cited,
        open_points=[
            _open_point(each) for each in cited if each.confidence == "C" or each.uncertain or each.carried_forward
        ],
    )


def _open_point(cited: Cited) -> str:
    said = [f"{cited.rule} ({cited.area}, confidence {cited.confidence})"]
    if cited.uncertain is not None:
        said.append(cited.uncertain.removesuffix("."))
    if cited.carried_forward:
        said.append(f"its period ended on {cited.valid_to}; it stands in for a value that is not published yet")
    return ": ".join(said)
