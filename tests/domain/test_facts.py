"""Facts are stored in one spelling for ever, name every entity they mention, and balance.

The golden samples are never rewritten: a fact that once stood in the journal must be read as it was. A changed shape
gets a new version, an upcast and a sample of its own. Beside each sample stand its tags, one a line.
"""

import json
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from ledger.domain import events as e
from ledger.domain.identifiers import Names, tags_of
from ledger.domain.postings import Posting, postings

GOLDEN = Path(__file__).parent.parent / "golden"
ENTRY_FIELDS: dict[type[e.Fact], str] = {
    e.BenefitPaid: "benefit",
    e.ContributionPosted: "contribution",
    e.FeeCharged: "fee",
    e.ReturnsCredited: "returns",
    e.BalanceTransferred: "transfer",
    e.EmployerPartVested: "vesting",
}

YOUNGER = {"adjustment"}
each_fact = pytest.mark.parametrize("name", e.FACTS)


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.v1.json").read_bytes()


def sample(name: str) -> e.Fact:
    return e.decode(name, golden(name))


@each_fact
def test_fact_reads_and_spells_its_golden_sample(name: str) -> None:
    """A fact without a golden sample fails here."""
    fact = sample(name)
    assert type(fact) is e.FACTS[name]
    assert e.encode(fact) == golden(name)


@each_fact
def test_fact_has_its_golden_tags(name: str) -> None:
    assert tags_of(sample(name)) == (GOLDEN / f"{name}.v1.tags").read_text(encoding="utf-8").splitlines()


def test_no_golden_sample_is_left_over() -> None:
    """A type that was ever stored stays readable."""
    assert {path.name.split(".")[0] for path in GOLDEN.iterdir()} == set(e.FACTS)


@each_fact
def test_golden_sample_fills_every_field(name: str) -> None:
    """But what is younger than the samples, and was left out of what they are samples of."""
    stored = json.loads(golden(name))
    assert list(stored) == sorted(get_type_hints(e.FACTS[name]).keys() - YOUNGER)


@each_fact
def test_fact_may_be_a_prior_period_adjustment(name: str) -> None:
    """Any fact may carry one: in the one spelling, and naming no further entity."""
    sampled = json.loads((GOLDEN / "FeeCharged.v1.adjusted.json").read_bytes())
    stored = json.loads(golden(name)) | {"adjustment": sampled["adjustment"]}
    data = json.dumps(stored, separators=(",", ":"), sort_keys=True).encode()
    fact = e.decode(name, data)
    assert e.encode(fact) == data
    assert tags_of(fact) == tags_of(sample(name))
    assert msgspec.structs.replace(fact, adjustment=None) == sample(name)


def test_adjusted_fact_reads_and_spells_its_golden_sample() -> None:
    data = (GOLDEN / "FeeCharged.v1.adjusted.json").read_bytes()
    fact = e.decode("FeeCharged", data)
    assert fact.adjustment == e.Adjustment(approvers=["user:lin"], period="2026-03", reason="late_notice")
    assert e.encode(fact) == data
    assert sorted(json.loads(data)) == sorted(get_type_hints(e.FeeCharged))


def in_one_spelling(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    assert keys == sorted(set(keys))
    assert all(key.isascii() for key in keys)
    assert None not in dict(pairs).values()
    return dict(pairs)


def no_float(text: str) -> float:
    raise AssertionError(f"a float: {text}")


@each_fact
def test_spelling_is_sorted_ascii_without_floats_nulls_and_spaces(name: str) -> None:
    """At every level, so that any JSON library can re-spell a fact and find the same bytes."""
    data = golden(name)
    stored = json.loads(data, object_pairs_hook=in_one_spelling, parse_float=no_float, parse_constant=no_float)
    assert json.dumps(stored, separators=(",", ":"), sort_keys=True).encode() == data


@each_fact
def test_absent_fields_are_left_out(name: str) -> None:
    data = golden(name).replace(b'"caused_by":7,', b"")
    fact = e.decode(name, data)
    assert fact.caused_by is None
    assert e.encode(fact) == data


@each_fact
def test_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(e.FactUnreadable, match="surprise"):
        e.decode(name, golden(name)[:-1] + b',"surprise":1}')


def test_unknown_field_inside_a_fact_is_refused() -> None:
    for name in ("IdentitiesLinked", "IdentitiesUnmerged", "EntryReversed"):
        stored = json.loads(golden(name))
        inner = stored["links"][0] if "links" in stored else None
        inner = inner or (stored["cannot_links"][0] if "cannot_links" in stored else stored["entry"])
        inner["surprise"] = 1
        with pytest.raises(e.FactUnreadable, match="surprise"):
            e.decode(name, json.dumps(stored).encode())


def test_unknown_type_is_refused() -> None:
    with pytest.raises(e.FactUnreadable, match="MoneyVanished"):
        e.decode("MoneyVanished", b"{}")


@pytest.mark.parametrize("amount", ["0", "-1", "1.0", '"1"', "true", str(2**53)])
def test_amount_is_a_positive_exact_integer(amount: str) -> None:
    changed = golden("FeeCharged").replace(b'"employee":300', f'"employee":{amount}'.encode())
    assert changed != golden("FeeCharged")
    with pytest.raises(e.FactUnreadable):
        e.decode("FeeCharged", changed)


def test_many_facts_are_read_at_once() -> None:
    data = golden("FeeCharged")
    assert e.decode_array("FeeCharged", b"[" + data + b"," + data + b"]") == [sample("FeeCharged")] * 2


def named_entities(annotation: object, value: object) -> set[str]:
    """Every identifier in a value, found by walking its types: slow and plain, unlike `tags_of`."""
    if value is None:
        return set()
    if get_origin(annotation) is Annotated:
        kinds = [extra.kind for extra in get_args(annotation)[1:] if isinstance(extra, Names)]
        return {f"{kinds[0]}:{value}"} if kinds else named_entities(get_args(annotation)[0], value)
    if isinstance(value, list):
        return {tag for each in value for tag in named_entities(get_args(annotation)[0], each)}
    if isinstance(value, e.Record):
        hints = get_type_hints(type(value), include_extras=True)
        return {tag for name, hint in hints.items() for tag in named_entities(hint, getattr(value, name))}
    return {
        tag for member in get_args(annotation) if not isinstance(value, dict) for tag in named_entities(member, value)
    }


@each_fact
def test_every_typed_identifier_is_among_the_tags(name: str) -> None:
    fact = sample(name)
    found = named_entities(type(fact), fact)
    assert found
    assert set(tags_of(fact)) == found
    assert len(tags_of(fact)) == len(found)


@each_fact
def test_postings_add_up_to_zero(name: str) -> None:
    assert sum(leg.amount_fen for leg in postings(sample(name))) == 0


@each_fact
def test_exactly_the_entries_and_their_reversals_move_money(name: str) -> None:
    assert bool(postings(sample(name))) == (name in e.ENTRIES or name == "EntryReversed")


@pytest.mark.parametrize("name", e.ENTRIES)
def test_reversal_is_the_exact_negation(name: str) -> None:
    entry = sample(name)
    held: dict[str, Any] = {ENTRY_FIELDS[type(entry)]: entry}
    reversal = msgspec.structs.replace(sample("EntryReversed"), entry=e.ReversedEntry(**held))
    assert postings(reversal) == [Posting(leg.account, leg.part, -leg.amount_fen) for leg in postings(entry)]
    assert set(tags_of(entry)) <= set(tags_of(reversal))
    assert e.decode("EntryReversed", e.encode(reversal)) == reversal
