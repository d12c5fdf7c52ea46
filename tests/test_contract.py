"""The contract of the topics is true: of what the ledger takes, of what it stores, and of what it published before.

What is cited as 1 to 4 are the invariants of `ledger/schemas.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from ledger import terminal
from ledger.__main__ import app
from ledger.contract import asyncapi, exporting, headers, story, texts
from ledger.domain import commands as c
from ledger.domain import events as e
from ledger.domain.identifiers import tags_of
from ledger.domain.posters import OPERATOR_NEEDED, Poster, foreign
from ledger.domain.reading import read_command
from ledger.domain.refusals import REFUSALS
from ledger.messages import SENTENCES
from ledger.schemas import (
    PATTERNS,
    ROOT,
    Name,
    command_schemas,
    current,
    digest,
    fact_schema_uri,
    fact_schemas,
    published_versions,
)
from ledger.settings import Settings
from ledger.signing import HEADER, source_keys
from tests.domain.histories import History

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent
EXPORTED = PROJECT / "docs" / "contract"
GOLDEN = sorted((PROJECT / "tests" / "golden").glob("*.json"))
# `make asyncapi` puts it there.
OFFICIAL = PROJECT / ".asyncapi" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
HISTORIES = range(60)
EXAMPLES = 400

COMMAND_SCHEMAS = command_schemas()
FACT_SCHEMAS = fact_schemas()
FIRST_COMMANDS = story.first_commands()
DOCUMENT = json.loads((EXPORTED / exporting.DOCUMENT).read_bytes())

each_fact = pytest.mark.parametrize("name", e.FACTS)
each_command = pytest.mark.parametrize("name", c.COMMANDS)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Formats are checked too: without, 30 February is a date."""
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


COMMAND_VALIDATORS = {name: validator(schema) for name, schema in COMMAND_SCHEMAS.items()}
FACT_VALIDATORS = {name: validator(schema) for name, schema in FACT_SCHEMAS.items()}


def exported(name: Name) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXPORTED / name.path).read_bytes())
    return found


def versions_of_schemas() -> Iterator[tuple[Name, str]]:
    for kind, by_name in published_versions().items():
        for of, known in by_name.items():
            if kind != "documents":
                yield from ((Name(kind, of, int(version)), meant) for version, meant in known.items())  # type: ignore[arg-type]


class TestVersions:
    def test_nothing_changes_its_meaning_without_a_new_version(self) -> None:
        """If this fails, do as the sentences say."""
        assert exporting.changed() == []

    def test_what_is_exported_is_what_the_code_generates(self) -> None:
        """If this fails: `ledger contract`."""
        stale = [path for path, content in exporting.files() if (EXPORTED / path).read_bytes() != content]
        assert stale == []

    def test_every_version_is_still_published_and_means_what_it_meant(self) -> None:
        """Invariant 3."""
        for name, meant in versions_of_schemas():
            schema = exported(name)
            assert schema["$id"] == name.uri
            assert digest({word: value for word, value in schema.items() if word != "$schema"}) == meant, name.path

    def test_versions_are_counted_from_one_without_gaps(self) -> None:
        for by_name in published_versions().values():
            for known in by_name.values():
                assert list(known) == [str(version) for version in range(1, len(known) + 1)]

    def test_no_file_is_left_over(self) -> None:
        named = {name.path for name, _ in versions_of_schemas()} | {exporting.DOCUMENT, exporting.VERSIONS_FILE}
        assert {path.relative_to(EXPORTED).as_posix() for path in EXPORTED.rglob("*.*")} == named

    def test_words_are_no_part_of_the_meaning_and_members_are(self) -> None:
        schema = {"type": "object", "description": "a", "properties": {"title": {"type": "string", "title": "b"}}}
        assert digest(schema) == digest({"type": "object", "properties": {"title": {"type": "string"}}})
        assert digest(schema) != digest({"type": "object", "properties": {}})
        assert digest(schema) == digest({**schema, "$id": "other"})

    def test_a_changed_fact_is_not_exported_before_it_has_a_new_version_which_leaves_the_old_one(
        self, tmp_path: Path
    ) -> None:
        """On a copy of the sources, as a developer meets it."""
        copied = tmp_path / "source"
        shutil.copytree(PROJECT / "ledger", copied / "ledger", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(EXPORTED, copied / "docs" / "contract")
        shutil.copy(PROJECT / "pyproject.toml", copied)
        events = copied / "ledger" / "domain" / "events.py"
        events.write_text(
            events.read_text("utf-8").replace("    fee: Slug\n", "    fee: Slug\n    invoice: Slug | None = None\n"),
            "utf-8",
        )
        export = "from pathlib import Path; from ledger.contract import exporting as x; "

        def run(code: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", export + code]
            return subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)

        refused = run("x.export(Path('docs/contract'))")
        assert refused.returncode == 1
        assert "`ledger contract --bump FeeCharged` makes version 2 and leaves the file of version 1." in refused.stderr
        undue = run("x.bump(['FeeCharged', 'AccountOpened'])")
        assert "VersionNotDue: AccountOpened: " in undue.stderr
        bumped = run("print(*(name.uri for name in x.bump(['FeeCharged'])))")
        # What holds an entry whole changes with it, and the document waits for that.
        assert bumped.stdout.split() == [f"{ROOT}/events/FeeCharged/2"], bumped.stderr
        assert "events/EntryReversed means something else" in run("x.export(Path('docs/contract'))").stderr
        bumped = run("print(*(name.uri for name in x.bump(['EntryReversed'])))")
        following = current("documents", "asyncapi").version + 1
        assert bumped.stdout.split() == [f"{ROOT}/events/EntryReversed/2", f"{ROOT}/documents/asyncapi/{following}"]
        assert run("x.export(Path('docs/contract'))").returncode == 0

        schemas = copied / "docs" / "contract" / "schemas" / "events"
        before = EXPORTED / "schemas" / "events" / "FeeCharged.v1.json"
        assert (schemas / "FeeCharged.v1.json").read_bytes() == before.read_bytes()
        assert "invoice" in json.loads((schemas / "FeeCharged.v2.json").read_bytes())["properties"]
        document = json.loads((copied / "docs" / "contract" / "asyncapi.json").read_bytes())
        assert document["info"]["version"] == f"{following}.0.0"
        assert document["components"]["messages"]["FeeCharged"]["payload"]["$ref"].endswith("FeeCharged.v2.json")


class TestCommandLine:
    def test_it_writes_the_contract(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["contract", "--out", str(tmp_path), "--json"], catch_exceptions=False)
        assert result.exit_code == 0
        written = [Path(path).relative_to(tmp_path) for path in json.loads(result.output)["files"]]
        assert len(written) > len(c.COMMANDS) + len(e.FACTS)
        assert [path for path in written if (tmp_path / path).read_bytes() != (EXPORTED / path).read_bytes()] == []

    def test_what_did_not_change_gets_no_version(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["contract", "--bump", "FeeCharged", "--out", str(tmp_path)])
        assert result.exit_code == terminal.WRONG_USAGE
        assert "FeeCharged: No such name is in the contract, or it means what its version says" in result.output
        assert list(tmp_path.iterdir()) == []


class TestFacts:
    @pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
    def test_every_golden_fact_is_valid(self, path: Path) -> None:
        """Those of earlier shapes too: what a schema adds is optional."""
        FACT_VALIDATORS[path.name.partition(".")[0]].validate(json.loads(path.read_bytes()))

    @pytest.mark.parametrize("seed", HISTORIES)
    def test_every_fact_of_a_random_history_is_valid_and_has_the_tags_that_its_schema_says(self, seed: int) -> None:
        """Invariants 2 and 4."""
        for fact in History(seed).run().books.facts:
            name, stored = type(fact).__name__, json.loads(e.encode(fact))
            FACT_VALIDATORS[name].validate(stored)
            assert tags_by_schema(FACT_SCHEMAS[name], stored) == tags_of(fact)

    @each_fact
    def test_tags_follow_from_the_schema_alone(self, name: str) -> None:
        """Invariant 4."""
        stored = json.loads((PROJECT / "tests" / "golden" / f"{name}.v1.json").read_bytes())
        tags = (PROJECT / "tests" / "golden" / f"{name}.v1.tags").read_text(encoding="utf-8").splitlines()
        assert tags_by_schema(FACT_SCHEMAS[name], stored) == tags

    @each_fact
    def test_what_is_absent_is_never_null_and_what_is_unknown_is_refused(self, name: str) -> None:
        """Invariant 2."""
        stored = json.loads((PROJECT / "tests" / "golden" / f"{name}.v1.json").read_bytes())
        schema = FACT_VALIDATORS[name]
        assert schema.is_valid({field: value for field, value in stored.items() if field != "caused_by"})
        assert not schema.is_valid({**stored, "caused_by": None})
        assert not schema.is_valid({**stored, "surprise": 1})
        assert all(not schema.is_valid({**stored, field: None}) for field in stored)

    @each_fact
    def test_a_schema_has_its_id_title_and_description(self, name: str) -> None:
        schema = exported(current("events", name))
        assert schema["$id"] == fact_schema_uri(name)
        assert re.fullmatch(r"https://[^ ]+/[1-9][0-9]*", schema["$id"])
        assert schema["title"] == name
        assert schema["description"]

    def test_events_of_others_have_no_schema(self) -> None:
        assert fact_schema_uri("MoneyVanished") is None


def tags_by_schema(schema: dict[str, Any], record: Any) -> list[str]:
    """As a consumer would derive them, who has nothing but the schema."""

    def walk(node: dict[str, Any], value: Any) -> Iterator[str]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if "x-entity" in node:
            yield f"{node['x-entity']}:{value}"
        elif isinstance(value, list):
            for each in value:
                yield from walk(node["items"], each)
        for member in node.get("x-tagged", ()):
            if member in value:
                yield from walk(node["properties"][member], value[member])

    return list(dict.fromkeys(walk(schema, record)))


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.sampled_from([0, 1, -1, 10**13, 10**13 + 1, 2**53 - 1, 2**53, 1.0, 0.5, "", "1", "a", "A", "a:b", "EA-1"]),
    st.sampled_from(["2025-02-28", "2025-02-30", "2025-2-3", "20250203", "1738540800", "2025-01", "2025-13"]),
    st.sampled_from(
        ["2025-01-25T20:00:00+08:00", "2025-01-25T20:00:00Z", "2025-01-25T24:00:00Z", "0001-01-01T00:00:00Z"]
    ),
    st.sampled_from(["P0123456789ABCDEF", "hr:110101199003070011", "hr:A1", "hr:130503670401001", "x\n", "Ａ", "１"]),
    st.text(max_size=8),
    st.sampled_from([[], {}, [[]], ["system:x"], ["system:x"] * 9, [["hr:1"]], {"employee": 1}, {"Employee": 1}]),
    st.dictionaries(st.from_regex(r"\A[a-z_A-Z]{1,33}\Z"), st.integers(-(10**14), 10**14), max_size=17),
)
# What a schema cannot say, or does not say because no reader would understand it.
UNSAID = {
    "value_error",  # A resident ID number in a sid, an account named as one_ids are.
    "int_type",  # To a schema 1.0 is a whole number.
    "greater_than_equal",  # The first and the last moment.
    "less_than",
}


@st.composite
def mutated_commands(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A command of the story, and up to three of its members, at any depth, replaced, removed or added."""
    name = draw(st.sampled_from(list(c.COMMANDS)))
    command = json.loads(json.dumps(FIRST_COMMANDS[name]))
    for _ in range(draw(st.integers(1, 3))):
        places = list(containers(command))
        place = draw(st.sampled_from(places))
        if isinstance(place, list):
            kept = draw(st.sampled_from([[], place[:1], [*place, *place]]))
            place[:] = [*kept, *draw(st.lists(VALUES, max_size=1))]
        else:
            known = COMMAND_SCHEMAS[name]["properties"]
            member = draw(st.sampled_from([*sorted(place), *sorted(known), "surprise"]))
            if draw(st.integers(0, 5)) == 0:
                place.pop(member, None)
            else:
                place[member] = draw(st.one_of(VALUES, like(known.get(member, {}))))
        command = json.loads(json.dumps(command))  # Drawn values may be drawn again, and must not have changed.
    return name, command


def like(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that this schema takes, or nearly."""
    if "anyOf" in schema:
        return st.one_of(*map(like, schema["anyOf"]))
    if "format" in schema:
        return st.one_of(
            st.dates().map(str), st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
        )
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "integer":
        return st.integers(schema["minimum"], schema.get("maximum", schema.get("exclusiveMaximum")))
    if schema.get("type") == "array":
        return st.lists(like(schema["items"]), max_size=9)
    if "patternProperties" in schema:
        ((parts, amount),) = schema["patternProperties"].items()
        return st.dictionaries(st.from_regex(parts, fullmatch=True), like(amount), max_size=17)
    return st.none()


def containers(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list):
        yield node
        for each in node.values() if isinstance(node, dict) else node:
            yield from containers(each)


def spelled_loosely(moment: object) -> bool:
    """The ledger reads more spellings of a moment than RFC 3339 has, and a sender should use none of them."""
    return isinstance(moment, str) and re.fullmatch(PATTERNS["date-time"], moment) is None


def reasons(command: dict[str, Any]) -> set[str]:
    """The kinds of reasons why the ledger does not take it."""
    try:
        read_command(json.dumps(command).encode())
    except ValidationError as error:
        return {each["type"] for each in error.errors()}
    return set()


class TestCommands:
    @each_command
    def test_every_example_is_valid_and_is_taken(self, name: str) -> None:
        COMMAND_VALIDATORS[name].validate(FIRST_COMMANDS[name])
        assert type(read_command(json.dumps(FIRST_COMMANDS[name]).encode())) is c.COMMANDS[name]

    @each_command
    def test_a_command_as_the_ledger_spells_it_is_valid(self, name: str) -> None:
        """With every member that has a default."""
        read = read_command(json.dumps(FIRST_COMMANDS[name]).encode())
        COMMAND_VALIDATORS[name].validate(json.loads(read.model_dump_json()))

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(mutated_commands())
    def test_what_the_schema_refuses_the_ledger_refuses_and_the_other_way_round(
        self, mutated: tuple[str, dict[str, Any]]
    ) -> None:
        """Invariant 1, as far as schemas can say."""
        name, command = mutated
        valid = command.get("type") == name and COMMAND_VALIDATORS[name].is_valid(command)
        said = reasons(command)
        if said:
            assert not valid or said <= UNSAID, (command, said)
        else:
            becomes = command["type"]
            valid_so = becomes in COMMAND_VALIDATORS and COMMAND_VALIDATORS[becomes].is_valid(command)
            assert valid_so or spelled_loosely(command["decided_at"]), command

    @each_command
    def test_a_schema_has_its_id_title_and_description(self, name: str) -> None:
        schema = exported(current("commands", name))
        assert schema["$id"] == f"{ROOT}/commands/{name}/{current('commands', name).version}"
        assert schema["title"] == name
        assert schema["description"]


class TestDocument:
    def test_it_is_valid_by_the_official_schema(self) -> None:
        if not OFFICIAL.exists():
            pytest.skip("the official schema is not here: `make asyncapi` gets it, with npm")
        official = jsonschema_rs.validator_for(json.loads(OFFICIAL.read_bytes()))
        assert [(error.instance_path, error.message[:200]) for error in official.iter_errors(DOCUMENT)] == []
        assert not official.is_valid({**DOCUMENT, "channels": {"commands": {"addresses": "x"}}})

    def test_it_has_the_members_that_asyncapi_3_requires(self) -> None:
        """The specification's tables of fixed fields, for what stands in this document."""
        assert DOCUMENT["asyncapi"] == "3.0.0"
        assert {"title", "version"} <= DOCUMENT["info"].keys()
        assert all({"host", "protocol"} <= server.keys() for server in DOCUMENT["servers"].values())
        for operation in DOCUMENT["operations"].values():
            assert operation["action"] in {"send", "receive"}
            assert operation["channel"].keys() == {"$ref"}
        for channel in DOCUMENT["channels"].values():
            assert channel["address"]
            assert channel["bindings"]["kafka"]["bindingVersion"] == "0.5.0"
        assert all("location" in each for each in DOCUMENT["components"]["correlationIds"].values())
        assert all("type" in each for each in DOCUMENT["components"]["securitySchemes"].values())

    def test_every_reference_leads_somewhere(self) -> None:
        references = list(references_in(DOCUMENT))
        assert len(references) > 100
        for reference in references:
            assert resolved(reference)

    def test_an_operation_refers_to_all_messages_of_its_channel(self) -> None:
        """The specification: by the channel, not by the components."""
        for operation in DOCUMENT["operations"].values():
            channel = operation["channel"]["$ref"]
            messages = resolved(channel)["messages"]
            assert [each["$ref"] for each in operation["messages"]] == [
                f"{channel}/messages/{name}" for name in messages
            ]

    def test_there_is_a_message_of_every_command_that_may_come_so_and_of_every_fact(self) -> None:
        closers = {name for name, spelled in FIRST_COMMANDS.items() if why_not(spelled) == OPERATOR_NEEDED}
        channels = DOCUMENT["channels"]
        assert set(channels["commands"]["messages"]) == {*c.COMMANDS, "CommandList"} - closers
        assert set(channels["events"]["messages"]) == set(e.FACTS)

    @pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
    def test_every_example_is_valid(self, name: str) -> None:
        message = DOCUMENT["components"]["messages"][name]
        for example in message["examples"]:
            validator(inlined(message["payload"])).validate(example["payload"])
            validator(inlined(message["headers"])).validate(example["headers"])

    def test_the_published_examples_are_facts_of_the_story(self) -> None:
        for name, recorded in story.first_facts().items():
            (example,) = DOCUMENT["components"]["messages"][name]["examples"]
            assert example["payload"] == json.loads(e.encode(recorded.fact))
            assert example["headers"]["ce_subject"] == json.loads(example["headers"]["ce_tags"])[0]

    def test_its_headers_are_those_that_the_program_reads_and_writes(self) -> None:
        """The tests of the outlet compare them with what it has published."""
        fact = DOCUMENT["components"]["messages"]["AccountOpened"]["examples"][0]["headers"]
        assert fact.keys() == headers.FACT_MESSAGE.keys()
        refused = DOCUMENT["components"]["messages"]["RefusedMessage"]["examples"][0]["headers"]
        assert headers.REFUSED_MESSAGE.keys() - refused.keys() == {"refusal-item"}
        assert refused.keys() <= headers.REFUSED_MESSAGE.keys()

    def test_the_signatures_of_its_examples_verify(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": [asyncapi.example_key() | {"sub": "system:ea-core", "source": "ea-core"}]}))
        keys = source_keys(Settings(source_keys=path))
        for name in DOCUMENT["channels"]["commands"]["messages"]:
            (example,) = DOCUMENT["components"]["messages"][name]["examples"]
            first = example["payload"][0] if name == "CommandList" else example["payload"]
            key = tags_of(read_command(json.dumps(first).encode()))[0].encode()
            assert f"`{key.decode()}`" in example["summary"]
            value = json.dumps(example["payload"], separators=(",", ":")).encode()
            signature = example["headers"][HEADER].encode()
            assert keys.poster_of(signature, topic=texts.COMMANDS_TOPIC, key=key, value=value) is not None

    def test_it_lists_every_code_of_a_refusal(self) -> None:
        said = DOCUMENT["channels"]["refusals"]["description"]
        assert [code for code in (*SENTENCES, *REFUSALS) if f"| `{code}` |" not in said] == []


def why_not(spelled: dict[str, Any]) -> str | None:
    """Why nobody with a key could post this command."""
    source = spelled["command_id"].partition("/")[0]
    command = read_command(json.dumps(spelled).encode())
    return foreign(Poster(command.actor, source, None, is_steward=True), command)


def references_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for each in node.values():
            yield from references_in(each)
    elif isinstance(node, list):
        for each in node:
            yield from references_in(each)


def resolved(reference: str) -> Any:
    """What a reference of the document leads to: a place in it, or a file beside it."""
    path, _, pointer = reference.partition("#")
    found = json.loads((EXPORTED / path).read_bytes()) if path else DOCUMENT
    for step in pointer.split("/")[1:]:
        found = found[step]
    return resolved(found["$ref"]) if isinstance(found, dict) and found.keys() == {"$ref"} else found


def inlined(node: Any) -> Any:
    """The schema with the files that it refers to in their places, each under its own `$id`."""
    if isinstance(node, dict):
        if node.keys() == {"$ref"} and not node["$ref"].startswith("#"):
            return resolved(node["$ref"])
        return {key: inlined(value) for key, value in node.items()}
    return [inlined(each) for each in node] if isinstance(node, list) else node
