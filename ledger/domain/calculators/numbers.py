"""Check the numbers of people and organisations: what a number is, what it says, and what its check digit proves.

1. A shape alone proves nothing: what a number says is `proven` only where its check digit was computed and fits.
2. A number that does not fit is refused by the rule of its kind, with what is wrong with it.
3. No number is kept, logged or repeated: neither a reading nor a refusal holds it.
4. The rules' date is the day on which the number was given out, or of which is asked; nobody is born after it.
GB 11643-1999, GB 32100-2015, GB 11714; RULES.md section 10.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.rules import RuleRefused, Rules, Terms

Kind = Literal[
    "resident_id",
    "resident_id_old",
    "residence_permit_hmt",
    "foreign_pr",
    "hm_permit",
    "tw_permit",
    "passport_chinese",
    "passport_foreign",
    "uscc",
    "organisation_code",
]
Wrong = Literal["shape", "area", "birth_date", "check_digit", "organisation_code"]
Proof = Literal["birth_date", "sex", "province", "country", "check_digit", "organisation_code"]
Sex = Literal["male", "female"]

# Where the parts of an 18-character number of a person stand (GB 11643-1999).
AREA: Final = slice(0, 6)
BIRTH: Final = slice(6, 14)
ORDER: Final = slice(14, 17)
PROVINCE_DIGITS: Final = 2
# The old number has two digits of the year, and no check digit.
OLD_BIRTH_YEAR: Final = slice(6, 8)
OLD_BIRTH_DAY: Final = slice(8, 12)
OLD_ORDER: Final = slice(12, 15)
MOST_SHAPES: Final = 32

SENTENCE_OF: Final[dict[Wrong, str]] = {
    "shape": "it does not have the shape of such a number; check that it was copied whole",
    "area": "its first digits are no area of such a number; check them",
    "birth_date": "its date of birth is no day of the calendar, or lies ahead; check it",
    "check_digit": "its last character does not fit the others: a digit is wrong, or two are exchanged; ask for it again",
    "organisation_code": "the organisation code inside it does not fit its own check; ask for it again",
}


class Reading(Struct, frozen=True, kw_only=True):
    """What a number is and says; never the number itself. `proves`: what its check digit stands for, empty without one.

    `birth_date` and `sex` of an old number are what it says, and proven by nothing. `area`: two digits of the province.
    """

    kind: Kind
    rule: str
    proves: frozenset[Proof] = frozenset()
    birth_date: date | None = None
    sex: Sex | None = None
    area: str | None = None
    area_name: str | None = None
    country: str | None = None

    @property
    def proven(self) -> bool:
        """Whether a check digit was computed and fits."""
        return "check_digit" in self.proves


@lru_cache(maxsize=MOST_SHAPES)
def _shape(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _wrong(terms: Terms, wrong: Wrong, rules: Rules) -> RuleRefused:
    return rules.refuse(terms.id, SENTENCE_OF[wrong], wrong=wrong)


def _must_fit(number: str, terms: Terms, rules: Rules) -> None:
    if _shape(terms.text("shape")).fullmatch(number) is None:
        raise _wrong(terms, "shape", rules)


def _check_of(digits: str, terms: Terms) -> str:
    """The check that the seventeen digits of a person's number give (ISO 7064, MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, terms.wholes("weights"), strict=True))
    return terms.text("checks")[total % terms.whole("modulus")]


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _birth_date(number: str, terms: Terms, rules: Rules) -> date:
    digits = number[BIRTH]
    first_year = rules.terms("id.resident_id").whole("first_birth_year")
    born = _day(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    if born is None or born.year < first_year or born > rules.on:
        raise _wrong(terms, "birth_date", rules)
    return born


def _area_name(area: str, terms: Terms, rules: Rules) -> str:
    areas = rules.terms("id.area")
    if area not in areas.values:
        raise _wrong(terms, "area", rules)
    return areas.text(area)


def _sex(order: str) -> Sex:
    return "male" if int(order) % 2 else "female"


def _must_check(number: str, terms: Terms, rules: Rules) -> None:
    if _check_of(number[:-1], rules.terms("id.resident_id")) != number[-1]:
        raise _wrong(terms, "check_digit", rules)


def resident_id(text: str, rules: Rules) -> Reading:
    """A resident ID number of 18 characters (公民身份号码, id.resident_id)."""
    terms = rules.terms("id.resident_id")
    _must_fit(text, terms, rules)
    number = text.upper()
    area = number[:PROVINCE_DIGITS]
    area_name = _area_name(area, terms, rules)
    permits = rules.find(Terms, "id.residence_permit_hmt")
    if permits is not None and number[AREA] in permits.values:
        raise _wrong(terms, "area", rules)
    born = _birth_date(number, terms, rules)
    _must_check(number, terms, rules)
    return Reading(
        kind="resident_id",
        rule=terms.id,
        proves=frozenset({"birth_date", "sex", "province", "check_digit"}),
        birth_date=born,
        sex=_sex(number[ORDER]),
        area=area,
        area_name=area_name,
    )


def resident_id_old(text: str, rules: Rules) -> Reading:
    """A resident ID number of 15 digits: it says birth date, sex and province, and proves none of them."""
    terms = rules.terms("id.resident_id.old")
    _must_fit(text, terms, rules)
    area = text[:PROVINCE_DIGITS]
    if area not in terms.texts("provinces"):
        raise _wrong(terms, "area", rules)
    year, day = int(text[OLD_BIRTH_YEAR]), text[OLD_BIRTH_DAY]
    born = _day(terms.whole("century") + year, int(day[:2]), int(day[2:]))
    if born is None or born > rules.on:
        raise _wrong(terms, "birth_date", rules)
    # Of these order numbers the century is not known, and so neither is the date.
    is_of_other_century = int(text[OLD_ORDER]) >= terms.whole("orders_of_other_century_from")
    return Reading(
        kind="resident_id_old",
        rule=terms.id,
        birth_date=None if is_of_other_century else born,
        sex=_sex(text[OLD_ORDER]),
        area=area,
        area_name=rules.terms("id.area").values.get(area),
    )


def upgraded(text: str, rules: Rules) -> str:
    """The 18 characters that an old number of 15 digits became: the century put in, the check added.

    Derived, and so proves no more than the old number did. Refused where the century is open.
    """
    if resident_id_old(text, rules).birth_date is None:
        raise rules.refuse(
            "id.resident_id.old",
            "its order number was kept for people of another century; ask for the number of today",
            wrong="birth_date",
        )
    century = rules.terms("id.resident_id.old").whole("century")
    digits = f"{text[AREA]}{century // 100}{text[OLD_BIRTH_YEAR.start :]}"
    return digits + _check_of(digits, rules.terms("id.resident_id"))


def residence_permit_hmt(text: str, rules: Rules) -> Reading:
    """A residence permit of a person from Hong Kong, Macau or Taiwan (港澳台居民居住证, id.residence_permit_hmt)."""
    terms = rules.terms("id.residence_permit_hmt")
    if _shape(rules.terms("id.resident_id").text("shape")).fullmatch(text) is None:
        raise _wrong(terms, "shape", rules)
    number = text.upper()
    if number[AREA] not in terms.values:
        raise _wrong(terms, "area", rules)
    born = _birth_date(number, terms, rules)
    _must_check(number, terms, rules)
    return Reading(
        kind="residence_permit_hmt",
        rule=terms.id,
        proves=frozenset({"birth_date", "sex", "province", "check_digit"}),
        birth_date=born,
        sex=_sex(number[ORDER]),
        area=number[:PROVINCE_DIGITS],
        area_name=terms.text(number[AREA]),
    )


def foreign_pr(text: str, rules: Rules) -> Reading:
    """A foreigner's permanent residence card (外国人永久居留身份证), in the shape of the day on which it was issued."""
    terms = rules.terms("id.foreign_pr")
    _must_fit(text, terms, rules)
    if terms.method != "check_digit":
        return Reading(kind="foreign_pr", rule=terms.id)
    layout = rules.terms("id.foreign_pr.layout")
    province, country = (text[slice(*layout.wholes(part))] for part in ("province", "country"))
    area_name = _area_name(province, terms, rules)
    born = _birth_date(text, terms, rules)
    _must_check(text, terms, rules)
    return Reading(
        kind="foreign_pr",
        rule=terms.id,
        proves=frozenset({"birth_date", "province", "country", "check_digit"}),
        birth_date=born,
        area=province,
        area_name=area_name,
        country=country,
    )


def _by_shape(text: str, kind: Kind, terms: Terms, rules: Rules) -> Reading:
    _must_fit(text, terms, rules)
    return Reading(kind=kind, rule=terms.id)


def hm_permit(text: str, rules: Rules) -> Reading:
    """A travel permit of a person from Hong Kong or Macau (港澳居民来往内地通行证): its shape alone."""
    return _by_shape(text, "hm_permit", rules.terms("id.hm_permit"), rules)


def tw_permit(text: str, rules: Rules) -> Reading:
    """A travel permit of a person from Taiwan (台湾居民来往大陆通行证): its shape alone."""
    return _by_shape(text, "tw_permit", rules.terms("id.tw_permit"), rules)


def passport_chinese(text: str, rules: Rules) -> Reading:
    """A Chinese passport: its shape alone."""
    return _by_shape(text, "passport_chinese", rules.terms("id.passport", "chinese"), rules)


def passport_foreign(text: str, rules: Rules) -> Reading:
    """A foreign passport: its length and characters alone."""
    return _by_shape(text, "passport_foreign", rules.terms("id.passport", "foreign"), rules)


def organisation_code(text: str, rules: Rules) -> Reading:
    """An organisation code (组织机构代码), eight characters and a check, with or without the hyphen between them."""
    terms = rules.terms("id.organisation_code")
    _must_fit(text, terms, rules)
    weights, modulus = terms.wholes("weights"), terms.whole("modulus")
    # Base 36 reads 0 to 9 as they are, and A to Z as 10 to 35.
    total = sum(int(character, 36) * weight for character, weight in zip(text[:-1].rstrip("-"), weights, strict=True))
    if terms.text("checks")[modulus - total % modulus] != text[-1]:
        raise _wrong(terms, "check_digit", rules)
    return Reading(kind="organisation_code", rule=terms.id, proves=frozenset({"check_digit", "organisation_code"}))


def uscc(text: str, rules: Rules) -> Reading:
    """A unified social credit code (统一社会信用代码), its own check and that of the organisation code inside."""
    terms = rules.terms("id.uscc")
    alphabet, modulus, base = terms.text("alphabet"), terms.whole("modulus"), terms.whole("base")
    if len(text) != terms.whole("characters") or not set(text).issubset(alphabet):
        raise _wrong(terms, "shape", rules)
    total = sum(alphabet.index(character) * pow(base, place, modulus) for place, character in enumerate(text[:-1]))
    if alphabet[-total % modulus] != text[-1]:
        raise _wrong(terms, "check_digit", rules)
    try:
        organisation_code(text[slice(*terms.wholes("organisation_code"))], rules)
    except RuleRefused as refused:
        raise _wrong(terms, "organisation_code", rules) from refused
    return Reading(kind="uscc", rule=terms.id, proves=frozenset({"check_digit", "organisation_code"}))


Check = Callable[[str, Rules], Reading]
# Those with a check digit first, and of the others the narrower shape: the order in which readings are given.
CHECKS: Final[dict[Kind, Check]] = {
    "resident_id": resident_id,
    "residence_permit_hmt": residence_permit_hmt,
    "foreign_pr": foreign_pr,
    "uscc": uscc,
    "organisation_code": organisation_code,
    "resident_id_old": resident_id_old,
    "hm_permit": hm_permit,
    "tw_permit": tw_permit,
    "passport_chinese": passport_chinese,
    "passport_foreign": passport_foreign,
}
# How near a number came to a kind: the later the step that failed, the more likely it was meant.
STEPS: Final[tuple[Wrong, ...]] = ("shape", "area", "birth_date", "check_digit", "organisation_code")


def read_number(text: str, rules: Rules) -> tuple[Reading, ...]:
    """Every kind that a number may be, those proven by a check digit first.

    A number that has the shape of a kind with a check digit, and fails it, is not taken for another by shape alone where
    that shape is the free one of foreign passports. Where no kind fits, the refusal is that of the nearest kind.
    """
    found: list[Reading] = []
    nearest: RuleRefused | None = None
    for check in CHECKS.values():
        try:
            found.append(check(text, rules))
        except RuleRefused as refused:
            if nearest is None or _step(refused) > _step(nearest):
                nearest = refused
    free_only = [reading.kind for reading in found] == ["passport_foreign"]
    if nearest is not None and (not found or (free_only and _step(nearest) > 0)):
        raise nearest
    return tuple(found)


def _step(refused: RuleRefused) -> int:
    return STEPS.index(refused.detail["wrong"]) if "wrong" in refused.detail else 0
