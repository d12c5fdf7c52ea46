"""How figures are said in daily life, in Chinese and in English, and the templates of sentences that carry them.

A slot's name says how its value is spoken: `_fen` money, `_age_months` an age, `_months` a length of time, `_month` a month
of the calendar, `_bp` a share in hundredths of a percent, `_count` and `_of_100` whole numbers, `_name` one of the names of
the file or a pair of texts, `_label` a name that the asker gave. `{people_count:person|people}` says one and many, in
English alone. `{@group}` is a phrase: the file's wording for the case that the result is in.

A file that breaks an invariant stops the program:
1. Every variant that a result can be in has one template, and every template belongs to such a variant.
2. Chinese and English of a template fill exactly the slots that the variant gives, its phrases included.
3. Every text is two sentences in each language; a phrase is less than one.
4. No text has a word of the list of jargon.
5. Every phrase of the file is used.

Money is rounded half up to whole yuan; in Chinese, from a million yuan on, to the hundredth of 万.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from string import Formatter
from typing import Final

import msgspec

FEN: Final = 100
MONTHS: Final = 12
WAN: Final = 10**4
YI: Final = 10**8
MILLION: Final = 10**6
SENTENCES: Final = 2
LANGUAGES: Final = ("zh", "en")
MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_PHRASE: Final = "@"
LABEL: Final = r"^[^\x00-\x1f\x7f。.！!？?；;{}“”\"]{1,32}$"
_LABEL: Final = re.compile(LABEL)
_ENDS: Final = {"zh": re.compile("。"), "en": re.compile(r"\.(?=\s|$)")}
_OTHER_ENDS: Final = re.compile(r"[!?;！？；\n]")


class SentencesInvalid(ValueError):
    """The templates contradict the results they speak of: the release is broken and must not start."""


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wording in both languages."""

    zh: str
    en: str


class _Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    variant: str
    zh: str
    en: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jargon: dict[str, list[str]]
    names: dict[str, Texts]
    phrases: dict[str, dict[str, Texts]]
    sentences: list[_Template]


# The slots that a variant gives, by kind and variant; and the cases of each group of phrases that it can be in.
Slots = Mapping[str, Mapping[str, frozenset[str]]]


def _half_up(amount: int, divisor: int) -> int:
    return (2 * amount + divisor) // (2 * divisor)


def _decimals(whole: int, parts: int) -> str:
    """`whole` / `parts` with no more digits than it has."""
    digits = len(str(parts)) - 1
    text = f"{whole // parts:,}.{whole % parts:0{digits}d}"
    return text.rstrip("0").rstrip(".")


def money(amount_fen: int, language: str) -> str:
    """An amount as one says it: 8,234 yuan; 8,234元, 12.3万元, 1.2亿元. Not below zero: words tell a loss."""
    assert amount_fen >= 0, "a template tells in words that an amount is lost"
    yuan = _half_up(amount_fen, FEN)
    if amount_fen and not yuan:
        return "不到1元" if language == "zh" else "less than 1 yuan"
    if language == "en":
        return f"{yuan:,} yuan"
    if yuan >= YI:
        return f"{_decimals(_half_up(yuan, YI // FEN), FEN)}亿元"
    if yuan >= MILLION or (yuan >= WAN and yuan % (WAN // FEN) == 0):
        return f"{_decimals(_half_up(yuan, WAN // FEN), FEN)}万元"
    return f"{yuan:,}元"


def age(months: int, language: str) -> str:
    """An age: 63 years and 2 months, or just 63; 63岁2个月."""
    if language == "en" and months % MONTHS == 0:
        return str(months // MONTHS)
    return duration(months, language, year="岁")


def duration(months: int, language: str, *, year: str = "年") -> str:
    """A length of time: 2 years and 6 months; 2年6个月."""
    assert months >= 0, "time does not run backwards"
    years, rest = divmod(months, MONTHS)
    if language == "zh":
        parts = [f"{years}{year}"] * bool(years) + [f"{rest}个月"] * bool(rest or not years)
        return "".join(parts)
    parts = [_plural(years, "year|years")] * bool(years) + [_plural(rest, "month|months")] * bool(rest or not years)
    return " and ".join(parts)


def calendar_month(period: str, language: str) -> str:
    """2039-11 is 2039年11月, November 2039."""
    year, month = int(period[:4]), int(period[5:])
    return f"{year}年{month}月" if language == "zh" else f"{MONTH_NAMES[month - 1]} {year}"


def _plural(count: int, forms: str) -> str:
    one, many = forms.split("|")
    return f"{count:,} {one if count == 1 else many}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a text is about: plain figures, and which variant and which cases of phrases they are in."""

    @property
    def variant(self) -> str:
        """Which template says it."""
        raise NotImplementedError

    @property
    def cases(self) -> Mapping[str, str]:
        """Which phrase of each group says its part."""
        return {}


def _spoken(slot: str, spec: str, value: object, language: str, names: Mapping[str, Texts]) -> str:
    """One value as its slot says."""
    text: str
    if slot.endswith("_name"):
        pair = names[value] if isinstance(value, str) else value
        assert isinstance(pair, Texts), f"{slot} is a name of the file or Texts"
        return pair.zh if language == "zh" else pair.en
    if isinstance(value, str):
        if slot.endswith("_month"):
            return calendar_month(value, language)
        assert _LABEL.fullmatch(value), f"{slot} is a label without marks that end a sentence"
        return value
    assert isinstance(value, int), f"{slot} is given in this variant"
    if slot.endswith("_fen"):
        text = money(value, language)
    elif slot.endswith("_age_months"):
        text = age(value, language)
    elif slot.endswith("_months"):
        text = duration(value, language)
    elif slot.endswith("_bp"):
        text = f"{_decimals(value, FEN)}%"
    else:
        text = _plural(value, spec) if spec else f"{value:,}"
    return text


def _fields(template: str) -> Iterator[tuple[str, str]]:
    """Each slot of a template with what stands after its colon."""
    for _, name, spec, conversion in Formatter().parse(template):
        if name is not None:
            if not name or conversion:
                raise SentencesInvalid(f"{template!r} has a slot without a name, or with a conversion")
            yield name, spec or ""


class Sentences:
    """The templates, checked against what the results give."""

    def __init__(self, tables: Mapping[str, object], slots: Slots, cases: Mapping[str, frozenset[str]]) -> None:
        """Check a parsed file. Raises SentencesInvalid."""
        try:
            file = msgspec.convert(tables, _File)
        except msgspec.ValidationError as error:
            raise SentencesInvalid(str(error)) from error
        self.names = file.names
        self.jargon = file.jargon
        self._phrases = file.phrases
        self._templates = {(each.kind, each.variant): each for each in file.sentences}
        if len(self._templates) != len(file.sentences):
            raise SentencesInvalid("a variant has two templates")
        _same("variants", set(self._templates), {(kind, variant) for kind in slots for variant in slots[kind]})
        _same("phrases", {g: frozenset(file.phrases[g]) for g in file.phrases}.items(), cases.items())
        used: set[str] = set()
        for each in file.sentences:
            for language in LANGUAGES:
                self._check(each, language, slots[each.kind][each.variant], used)
        _same("phrases in use", used, set(cases))
        for name, texts in file.names.items():
            for language in LANGUAGES:
                self._check_words(f"name {name}", getattr(texts, language), language, 0)

    def _check(self, template: _Template, language: str, given: frozenset[str], used: set[str]) -> None:
        """Invariants 2, 3 and 4 of one text."""
        place = f"{template.kind}.{template.variant} ({language})"
        text: str = getattr(template, language)
        self._check_words(place, text, language, SENTENCES)
        found: set[str] = set()
        for slot, spec in _fields(text):
            if not slot.startswith(_PHRASE):
                found.add(_checked(place, slot, spec, language))
                continue
            group = slot.removeprefix(_PHRASE)
            if group not in self._phrases:
                raise SentencesInvalid(f"{place}: there is no phrase {group}")
            used.add(group)
            for case, texts in self._phrases[group].items():
                phrase: str = getattr(texts, language)
                self._check_words(f"phrase {group}.{case} ({language})", phrase, language, 0)
                found.update(_checked(f"phrase {group}.{case}", each, spec, language) for each, spec in _fields(phrase))
        _same(f"{place}: slots", found, set(given))

    def _check_words(self, place: str, text: str, language: str, sentences: int) -> None:
        bare = re.sub(r"\{[^}]*\}", "1", text)
        if len(_ENDS[language].findall(bare)) != sentences or _OTHER_ENDS.search(bare):
            raise SentencesInvalid(f"{place} is not {sentences} sentences")
        if sentences and not bare.endswith("。" if language == "zh" else "."):
            raise SentencesInvalid(f"{place} goes on after its last sentence")
        heard = [word for word in self.jargon[language] if word.lower() in bare.lower()]
        if heard:
            raise SentencesInvalid(f"{place} has jargon: {', '.join(heard)}")

    def say(self, kind: str, result: Result) -> Texts:
        """The two sentences of a result in both languages."""
        template = self._templates[kind, result.variant]
        return Texts(self._fill(template.zh, result, "zh"), self._fill(template.en, result, "en"))

    def _fill(self, template: str, result: Result, language: str) -> str:
        said: list[str] = []
        for before, slot, spec, _ in Formatter().parse(template):
            said.append(before)
            if slot is None:
                continue
            if slot.startswith(_PHRASE):
                group = slot.removeprefix(_PHRASE)
                phrase: str = getattr(self._phrases[group][result.cases[group]], language)
                said.append(self._fill_phrase(phrase, result, language))
            else:
                said.append(_spoken(slot, spec or "", getattr(result, slot), language, self.names))
        text = "".join(said)
        return text if language == "zh" else text[:1].upper() + text[1:]

    def _fill_phrase(self, phrase: str, result: Result, language: str) -> str:
        """A phrase tells by its words whether something is gained or lost, so its amounts are sizes."""
        said: list[str] = []
        for before, slot, spec, _ in Formatter().parse(phrase):
            said.append(before)
            if slot is not None:
                value = getattr(result, slot)
                size = abs(value) if isinstance(value, int) else value
                said.append(_spoken(slot, spec or "", size, language, self.names))
        return "".join(said)


def _checked(place: str, slot: str, spec: str, language: str) -> str:
    if spec and (language == "zh" or spec.count("|") != 1 or not slot.endswith(("_count", "_of_100"))):
        raise SentencesInvalid(f"{place}: {slot} has a plural that it cannot have")
    return slot


def _same(what: str, found: object, wanted: object) -> None:
    """Both sides hold the same; else what is too much and what is missing."""
    left, right = set(found), set(wanted)  # type: ignore[call-overload]  # both are sets or views of pairs
    if left != right:
        raise SentencesInvalid(
            f"{what}: unknown {sorted(map(str, left - right))}, missing {sorted(map(str, right - left))}"
        )


def packaged(slots: Slots, cases: Mapping[str, frozenset[str]]) -> Sentences:
    """Read sentences.toml and check it."""
    text = files(__package__).joinpath("sentences.toml").read_text(encoding="utf-8")
    return Sentences(tomllib.loads(text), slots, cases)
