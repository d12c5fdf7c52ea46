"""JSON Schemas of every command and every fact, derived from their classes, with versions that never change what they mean.

1. A command's schema takes what the ledger reads, spelled as RFC 3339 and JSON say; what it refuses, the ledger refuses.
2. A fact's schema is of its stored bytes: an absent member is left out and never null, and an identifier is spelled as the
   command that brought it had to spell it.
3. A schema with another meaning has another version, and the digests of all versions are kept: `schema_versions.json`. Words
   and examples bind nobody, and are no part of the digest.
4. The tags of a fact can be derived from its schema alone: `x-tagged` lists, in order, the members that name entities, and
   `x-entity` beside an identifier says of which kind.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import StringConstraints, TypeAdapter

from ledger.domain.commands import COMMANDS, AnyCommand
from ledger.domain.events import FACTS
from ledger.domain.identifiers import Names

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Not an address to fetch from: a name that is the same wherever this ledger runs.
ROOT = "https://pension-ledger.example/contract"
VERSIONS = "schema_versions.json"
Kind = Literal["commands", "events", "headers", "documents"]
Schema = dict[str, Any]

WORDS = frozenset({"title", "description", "examples", "$comment"})
OF_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "$defs"})
PATTERNS = {
    "date": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "date-time": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    "(\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
}


class Name(NamedTuple):
    """A schema's name: its kind, what it is the schema of, and its version."""

    kind: Kind
    of: str
    version: int

    @property
    def uri(self) -> str:
        """Its `$id`, and the `ce_dataschema` of the facts that are spelled so."""
        return f"{ROOT}/{self.kind}/{self.of}/{self.version}"

    @property
    def path(self) -> str:
        """Its file in the exported contract."""
        return f"schemas/{self.kind}/{self.of}.v{self.version}.json"


def command_definitions(ref_template: str) -> dict[str, Schema]:
    """The schema of every command and of what they hold, by name; that of any one of them is `Command`."""
    command = TypeAdapter(AnyCommand).json_schema(ref_template=ref_template)
    definitions: dict[str, Schema] = command.pop("$defs")
    definitions["Command"] = command
    for schema in definitions.values():
        _close(schema)
    for name in COMMANDS:
        # In the program the class says it; in a message it must be said.
        definitions[name]["required"] = sorted([*definitions[name]["required"], "type"])
    return definitions


def _close(schema: Any) -> None:
    """Where keys have a pattern, pydantic takes no others, and forgets to say so."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for each in schema.values():
            _close(each)
    elif isinstance(schema, list):
        for each in schema:
            _close(each)


def command_schemas() -> dict[str, Schema]:
    """A schema for each command, complete in itself."""
    definitions = command_definitions("#/$defs/{model}")
    schemas = {}
    for name in COMMANDS:
        schema = json.loads(json.dumps(definitions[name]))
        if held := {each: definitions[each] for each in _named(schema, definitions)}:
            schema["$defs"] = json.loads(json.dumps(held))
        for each in _schemas_in(schema):
            _tidy(each)
        schemas[name] = {"title": name, "description": _said(COMMANDS[name]), **_without(schema, WORDS - {"examples"})}
    return schemas


def _named(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    """The definitions that a schema refers to, and those that these refer to."""
    found: dict[str, None] = {}
    waiting = [schema]
    while waiting:
        for each in _schemas_in(waiting.pop()):
            name = each.get("$ref", "").rpartition("/")[2]
            if name and name not in found:
                found[name] = None
                waiting.append(definitions[name])
    return sorted(found)


def _tidy(schema: Schema) -> None:
    """A name of ours repeated as a title says nothing; a date is spelled in one way."""
    if "description" not in schema:
        schema.pop("title", None)
    if "format" in schema:
        schema["pattern"] = PATTERNS[schema["format"]]


def fact_schemas() -> dict[str, Schema]:
    """A schema for each fact, complete in itself, true of its stored bytes."""
    schemas = {}
    for name, cls in FACTS.items():
        raw = msgspec.json.schema(cls)
        definitions = raw["$defs"]
        records = _records_of(cls)
        found = {each.__name__: _fact_schema(definitions[each.__name__], each) for each in records}
        schema = found.pop(name)
        schema = {"title": name, "description": _said(cls), **_without(schema, {"title", "description"})}
        if found:
            schema["$defs"] = found
        schemas[name] = schema
    return schemas


def _records_of(cls: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The class and every one that it holds, once each."""
    found, waiting = [cls], [cls]
    while waiting:
        for hint in get_type_hints(waiting.pop()).values():
            for each in _classes_in(hint):
                if each not in found:
                    found.append(each)
                    waiting.append(each)
    return found


def _classes_in(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for each in get_args(hint):
        yield from _classes_in(each)


def _fact_schema(schema: Schema, cls: type[msgspec.Struct]) -> Schema:
    """What msgspec says of a struct, with what it does not look at: patterns, kinds of entities, that nothing is null."""
    hints = get_type_hints(cls, include_extras=True)
    optional = set(cls.__struct_fields__) - set(schema["required"])
    assert all(schema["properties"][field].get("default", ...) is None for field in optional), (
        f"{cls.__name__}: only None is left out"
    )
    properties = {field: _member(schema["properties"][field], hints[field]) for field in cls.__struct_fields__}
    said = {"title": cls.__name__, "description": _said(cls)}
    tagged = [field for field in cls.__struct_fields__ if _names_entities(hints[field])]
    closed = {"type": "object", "properties": properties, "required": schema["required"], "additionalProperties": False}
    return {**said, **closed, **({"x-tagged": tagged} if tagged else {})}


def _member(schema: Schema, hint: Any) -> Schema:
    """The schema of a member with what its annotation says beyond msgspec's reading of it."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *extras = get_args(hint)
        return _member(schema, base) | _further(extras)
    if origin in (Union, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        (kept,) = (each for each in schema["anyOf"] if each != {"type": "null"})
        return _member(kept, inner)
    if origin is list:
        return schema | {"items": _member(schema["items"], get_args(hint)[0])}
    return schema | {"pattern": PATTERNS[schema["format"]]} if "format" in schema else schema


def _further(extras: list[Any]) -> Schema:
    found: Schema = {}
    for extra in extras:
        if isinstance(extra, StringConstraints):
            found["pattern"] = extra.pattern
        elif isinstance(extra, Names):
            found["x-entity"] = extra.kind
        else:
            found |= {
                word: bound
                for word, attribute in (("minimum", "ge"), ("exclusiveMinimum", "gt"), ("exclusiveMaximum", "lt"))
                for part in (extra, *getattr(extra, "metadata", ()))
                if (bound := getattr(part, attribute, None)) is not None
            }
    return found


def _names_entities(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return any(map(_names_entities, get_type_hints(hint, include_extras=True).values()))
    return any(isinstance(each, Names) or _names_entities(each) for each in get_args(hint))


def _said(cls: type) -> str:
    """What the docstring says; for most of them the name says it all."""
    return " ".join(inspect.cleandoc(cls.__dict__.get("__doc__") or f"{cls.__name__}.").split())


def _schemas_in(schema: Schema) -> Iterator[Schema]:
    """The schema and all within it; never what only looks like one, such as a member that is called `title`."""
    yield schema
    for word, value in schema.items():
        if word in OF_SCHEMAS_BY_NAME:
            within = list(value.values())
        elif word in {"items", "additionalProperties", "not"}:
            within = [value]
        elif word in {"anyOf", "oneOf", "allOf"}:
            within = value
        else:
            continue
        for each in within:
            if isinstance(each, dict):
                yield from _schemas_in(each)


def _without(schema: Schema, words: set[str] | frozenset[str]) -> Schema:
    return {word: value for word, value in schema.items() if word not in words}


def digest(schema: Schema) -> str:
    """SHA-256 of what the schema means: canonical JSON (sorted, no spaces), without its name and without words."""
    bare = json.loads(json.dumps(_without(schema, {"$id"})))
    for each in list(_schemas_in(bare)):
        for word in WORDS & each.keys():
            del each[word]
    return hashlib.sha256(canonical(bare)).hexdigest()


def canonical(value: object) -> bytes:
    """Sorted keys, no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


@cache
def published_versions() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """By kind and name, the digest of each version that was ever published, from "1" on."""
    text = resources.files("ledger").joinpath(VERSIONS).read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, str]]] = json.loads(text)
    return found


def current(kind: Kind, of: str) -> Name:
    """The name of the schema that this version of the program writes by. Raises KeyError where there is none."""
    return Name(kind, of, len(published_versions()[kind][of]))


@cache
def fact_schema_uri(type_name: str) -> str | None:
    """The `ce_dataschema` of a fact of this type; None for events that are none of this ledger's facts."""
    return current("events", type_name).uri if type_name in FACTS else None


def published(name: Name, schema: Schema) -> Schema:
    """The schema as it is exported, under its name."""
    return {"$schema": DIALECT, "$id": name.uri, **schema}
