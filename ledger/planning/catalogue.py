"""The products that savings may go to, as effective-dated data: what each is expected to bring, costs and demands.

The packaged catalogue is a sample for trying things out and not an offer; a caller loads his own with `read_catalogue`.

1. Unknown keys, missing keys, floats and values outside their range are refused, each with its place.
2. Rows of one product never overlap in time; a row never ends before it starts.
3. Personal-pension kinds, and only they, have the relief of the personal pension, and are locked until retirement.
4. On every day on which anything is offered there is exactly one baseline: the bank account in which money stays
   when nothing is done. It takes any fen, costs nothing, is never locked and has the lowest risk grade.
5. Purchases are whole steps: the minimum and the maximum are whole numbers of steps.
"""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import KW_ONLY
from datetime import date
from fractions import Fraction
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import combinations
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

STRICT: Final = ConfigDict(extra="forbid", strict=True, str_min_length=1, str_max_length=400)
MAX_PRODUCTS: Final = 1000
MAX_PURCHASE_FEN: Final = 10**11
MAX_LOCK_MONTHS: Final = 720
COUNTRY: Final = "CN"
PROVINCE: Final = len("CN-11")
_EXACT: Final = re.compile(r"0|(0|[1-9][0-9]*)\.[0-9]{1,8}")

PENSION_KINDS: Final = frozenset(
    (
        "personal_pension_deposit",
        "personal_pension_fund",
        "personal_pension_insurance",
        "personal_pension_wealth",
        "personal_pension_government_bond",
    )
)
ProductKind = Literal[
    "personal_pension_deposit",
    "personal_pension_fund",
    "personal_pension_insurance",
    "personal_pension_wealth",
    "personal_pension_government_bond",
    "commercial_pension",
    "exclusive_annuity",
    "bank_saving",
    "government_bond",
    "fund",
    "insurance",
    "wealth",
]
Relief = Literal["personal_pension", "none"]


class CatalogueInvalid(ValueError):
    """The catalogue contradicts itself or has another shape. `problems`: each with its place."""

    def __init__(self, problems: list[str]) -> None:
        """List all that is wrong, so that it can be mended at once."""
        super().__init__("; ".join(problems))
        self.problems = problems


def _exact(value: object) -> object:
    """Read exact decimal text; a float has already lost the value."""
    if isinstance(value, str) and _EXACT.fullmatch(value):
        return Fraction(value)
    raise ValueError('write an exact decimal of at most 8 places as text, such as "0.0175"')


Share = Annotated[Fraction, BeforeValidator(_exact), Field(strict=False, ge=0, lt=1)]
Area = Annotated[str, Field(pattern=r"^CN(-[0-9]{2}([0-9]{2})?)?$")]
LockIn = Annotated[int, Field(ge=0, le=MAX_LOCK_MONTHS)] | Literal["until_retirement"]


@dataclass(frozen=True, config=STRICT)
class Offer:
    """One product as it is offered from one day to another, both inclusive.

    `yearly_return` is what is expected before `yearly_fee` and after any tax on the return itself;
    `volatility` is its yearly standard deviation. `tax`: "personal_pension" is deducted when paid and
    taxed when drawn; "none" is paid from taxed money. `basis`: published, or only assumed.
    """

    _: KW_ONLY
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    name_zh: str
    name_en: str
    kind: ProductKind
    tax: Relief
    yearly_return: Share
    volatility: Share
    risk_grade: Annotated[int, Field(ge=1, le=5)]
    lock_in_months: LockIn
    minimum_fen: Annotated[int, Field(ge=1, le=MAX_PURCHASE_FEN)]
    step_fen: Annotated[int, Field(ge=1, le=MAX_PURCHASE_FEN)]
    entry_fee: Share
    yearly_fee: Share
    valid_from: date
    source: str
    basis: Literal["published", "assumption"]
    maximum_fen: Annotated[int, Field(ge=1, le=MAX_PURCHASE_FEN)] | None = None
    valid_to: date | None = None
    areas: Annotated[tuple[Area, ...], Field(min_length=1)] = (COUNTRY,)
    baseline: bool = False
    note: str | None = None

    def in_force(self, on: date) -> bool:
        """Whether it is offered on that day."""
        return self.valid_from <= on and (self.valid_to is None or on <= self.valid_to)

    def offered_in(self, area: str) -> bool:
        """Whether it is offered in that city, its province or the whole country."""
        return not {area, area[:PROVINCE], COUNTRY}.isdisjoint(self.areas)

    def overlaps(self, other: "Offer") -> bool:
        """Whether both are offered on one day."""
        return self.valid_from <= (other.valid_to or date.max) and other.valid_from <= (self.valid_to or date.max)

    @cached_property
    def has_relief(self) -> bool:
        """Whether it is bought inside the personal pension."""
        return self.tax == "personal_pension"


@dataclass(frozen=True, config=STRICT)
class Heading:
    """What the catalogue is. `sample`: it was made up, and nobody offers these products."""

    name: str
    sample: bool
    notice_zh: str
    notice_en: str


@dataclass(frozen=True, config=STRICT)
class Catalogue:
    """A checked catalogue."""

    catalogue: Heading
    product: Annotated[tuple[Offer, ...], Field(min_length=1, max_length=MAX_PRODUCTS)]

    def offers(self, on: date, area: str = COUNTRY) -> tuple[Offer, ...]:
        """What is offered on that day in that area, without the baseline, in order of the ids."""
        found = (each for each in self.product if each.in_force(on) and each.offered_in(area) and not each.baseline)
        return tuple(sorted(found, key=lambda offer: offer.id))

    def baseline(self, on: date) -> Offer | None:
        """The bank account of that day; None when the catalogue offers nothing then."""
        return next((each for each in self.product if each.baseline and each.in_force(on)), None)


def _faults_of(offer: Offer) -> list[str]:
    """What is wrong with one row (invariants 2 to 5)."""
    pension_kind = offer.kind in PENSION_KINDS
    maximum_fen = offer.maximum_fen
    limits = (
        (offer.valid_to is None or offer.valid_from <= offer.valid_to, "valid_to is before valid_from"),
        (offer.has_relief == pension_kind, f"tax {offer.tax} does not fit kind {offer.kind}"),
        (
            not pension_kind or offer.lock_in_months == "until_retirement",
            'lock_in_months of a personal-pension product is "until_retirement"',
        ),
        (offer.minimum_fen % offer.step_fen == 0, "minimum_fen is not a whole number of step_fen"),
        (maximum_fen is None or maximum_fen % offer.step_fen == 0, "maximum_fen is not a whole number of step_fen"),
        (maximum_fen is None or offer.minimum_fen <= maximum_fen, "maximum_fen is below minimum_fen"),
        (len(set(offer.areas)) == len(offer.areas), "areas names one twice"),
        (not offer.baseline or _may_be_baseline(offer), "a baseline is a bank account open to any fen, free of charge"),
    )
    return [f"product {offer.id} from {offer.valid_from}: {fault}" for holds, fault in limits if not holds]


def _may_be_baseline(offer: Offer) -> bool:
    """Invariant 4."""
    free = offer.entry_fee == offer.yearly_fee == 0 and offer.maximum_fen is None
    open_to_all = offer.minimum_fen == offer.step_fen == 1 and offer.areas == (COUNTRY,)
    return free and open_to_all and offer.kind == "bank_saving" and offer.risk_grade == 1 and offer.lock_in_months == 0


def _faults_between(offers: tuple[Offer, ...]) -> list[str]:
    """What is wrong between rows (invariants 2 and 4)."""
    faults: list[str] = []
    by_id: dict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_id[offer.id].append(offer)
    for product_id, rows in by_id.items():
        for one, other in combinations(rows, 2):
            if one.overlaps(other):
                faults.append(f"product {product_id}: rows from {one.valid_from} and {other.valid_from} overlap")
        if len({row.baseline for row in rows}) > 1:
            faults.append(f"product {product_id} is the baseline in one row and not in another")
    baselines = [offer for offer in offers if offer.baseline]
    for one, other in combinations(baselines, 2):
        if one.id != other.id and one.overlaps(other):
            faults.append(f"{one.id} and {other.id} are both the baseline")
    # Days between which nothing changes: it is enough to look at the first of each.
    for day in sorted({offer.valid_from for offer in offers}.union(_days_after(baselines))):
        offered = [offer for offer in offers if offer.in_force(day)]
        if offered and not any(offer.baseline for offer in offered):
            faults.append(f"no baseline on {day}, when {offered[0].id} is offered")
    return faults


def _days_after(offers: list[Offer]) -> set[date]:
    ends = (offer.valid_to for offer in offers if offer.valid_to is not None and offer.valid_to < date.max)
    return {date.fromordinal(end.toordinal() + 1) for end in ends}


def read_catalogue(tables: Mapping[str, Any]) -> Catalogue:
    """Check a parsed file (TOML or JSON). Raises CatalogueInvalid with everything that is wrong, each with its place."""
    try:
        # Through JSON: only there does strict mode take an array for a tuple, a table for a dataclass.
        text = json.dumps(dict(tables), default=_day_text)
        catalogue: Catalogue = TypeAdapter(Catalogue).validate_json(text)
    except ValidationError as error:
        places = [(".".join(str(part) for part in each["loc"]), each["msg"]) for each in error.errors()]
        raise CatalogueInvalid([f"{place or 'catalogue'}: {message}" for place, message in places]) from error
    faults = [fault for offer in catalogue.product for fault in _faults_of(offer)]
    if faults := faults + _faults_between(catalogue.product):
        raise CatalogueInvalid(faults)
    return catalogue


def _day_text(value: object) -> str:
    if type(value) is date:
        return value.isoformat()
    raise CatalogueInvalid([f"{value!r} is neither text, whole number, truth nor day"])


@lru_cache(maxsize=1)
def sample_catalogue() -> Catalogue:
    """The packaged sample: made up, and not an offer."""
    return read_catalogue(tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")))
