"""Messages of Kafka become commands or reasons. Numbers in names are the module's invariants."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord

from ledger.application import MAX_COMMANDS
from ledger.messages import SENTENCES, failed, read_message
from ledger.signing import HEADER, Signer, SourceKeys, hmac_signing_key, sign
from ledger.signing import _hmac as verifies_hmac
from tests.commands import contribute

TOPIC = "pension.commands"
SECRET = bytes(32)
SOURCE = hmac_signing_key("source", SECRET)
KEYS = SourceKeys({"source": Signer(None, verifies_hmac(SECRET))})


def record(value: bytes | None, *, key: bytes | None = None, headers: list[tuple[str, bytes]] | None = None) -> Any:
    """A message as the consumer gives it; signed unless its headers are given."""
    if headers is None:
        headers = [(HEADER, sign(SOURCE, topic=TOPIC, key=key, value=value or b""))]
    return ConsumerRecord(TOPIC, 3, 0, 7, 1_800_000_000_000, 0, key, value, headers, None, 0, 0, 0)


def command(number: int) -> dict[str, Any]:
    return contribute("EA-1", 100, f"ea-core/{number}").model_dump(mode="json", exclude_none=True)


def spelled(content: object) -> bytes:
    return json.dumps(content).encode()


class TestCommands:
    def test_one_command_is_itself(self) -> None:
        value = spelled(command(1))
        message = read_message(record(value, key=b"k"), KEYS)
        assert [each.command_id for each in message.commands] == ["ea-core/1"]
        assert message.items == [(None, value)]
        assert (message.partition, message.offset, message.key) == (3, 7, b"k")
        assert not message.refused

    def test_a_list_is_its_commands_in_order(self) -> None:
        message = read_message(record(spelled([command(number) for number in range(5)])), KEYS)
        assert [each.command_id for each in message.commands] == [f"ea-core/{number}" for number in range(5)]
        assert [item for item, _ in message.items] == [0, 1, 2, 3, 4]

    def test_an_item_that_is_no_command_refuses_itself_alone_2(self) -> None:
        value = b'[%b, {"command_id": "ea-core/x"},  17 ,%b]' % (spelled(command(1)), spelled(command(2)))
        message = read_message(record(value), KEYS)
        assert [each.command_id for each in message.commands] == ["ea-core/1", "ea-core/2"]
        assert [item for item, _ in message.items] == [0, 3]
        assert [(kept.item, kept.command_id, kept.value) for kept in message.refused] == [
            (1, "ea-core/x", b'{"command_id": "ea-core/x"}'),
            (2, None, b"17"),
        ]
        assert {kept.code for kept in message.refused} == {"CommandMalformed"}

    def test_a_member_that_comes_twice_is_not_understood(self) -> None:
        value = spelled(command(1)).replace(b"{", b'{"actor": "system:other", ', 1)
        (kept,) = read_message(record(value), KEYS).refused
        assert "twice" in kept.detail["reason"]


class TestRefused:
    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (None, "MessageEmpty"),
            (b"", "MessageEmpty"),
            (b"[]", "MessageEmpty"),
            (b"[", "MessageMalformed"),
            (b'[{"type": "PostContribution"}', "MessageMalformed"),
            (b" \n[" * 100_000, "MessageMalformed"),
            (b"[" + b",".join([b"1"] * (MAX_COMMANDS + 1)) + b"]", "TooManyCommands"),
            (b"{", "CommandMalformed"),
            (b"\xff\xfe{}", "CommandMalformed"),
            (b"null", "CommandMalformed"),
        ],
    )
    def test_what_is_no_message_has_its_code_and_its_bytes_3(self, value: bytes | None, code: str) -> None:
        message = read_message(record(value), KEYS)
        assert [(kept.item, kept.code, kept.value) for kept in message.refused] == [(None, code, value)]
        assert not message.commands

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ([], "MessageUnsigned"),
            ([("other", b"x")], "MessageUnsigned"),
            ([(HEADER, b"source.AAAA"), (HEADER, b"source.AAAA")], "MessageUnsigned"),
            ([(HEADER, b"")], "SignerUnknown"),
            ([(HEADER, b"nobody.AAAA")], "SignerUnknown"),
            ([(HEADER, b"source.AAAA")], "SignatureInvalid"),
            ([(HEADER, b"source")], "SignatureInvalid"),
        ],
    )
    def test_nothing_counts_before_the_signature_1(self, headers: list[tuple[str, bytes]], code: str) -> None:
        message = read_message(record(spelled(command(1)), headers=headers), KEYS)
        assert [kept.code for kept in message.refused] == [code]
        assert not message.commands

    def test_a_reason_quotes_no_value_3(self) -> None:
        personal = "11010519491231002X"
        wrong = [
            command(1) | {"type": personal},
            command(1) | {personal: 1},
            command(1) | {"account": personal * 9},
            command(1) | {"amounts_fen": {personal: "x"}},
        ]
        for each in wrong:
            (kept,) = read_message(record(spelled(each)), KEYS).refused
            assert personal not in json.dumps([kept.code, kept.sentence, kept.detail])

    def test_a_message_that_the_ledger_fails_at_is_set_aside_whole(self) -> None:
        value = spelled([command(1), command(2)])
        message = failed(read_message(record(value), KEYS))
        assert [(kept.code, kept.value) for kept in message.refused] == [("CommandFailed", value)]
        assert not message.commands
        assert not message.items

    def test_every_sentence_says_what_to_do(self) -> None:
        assert all(sentence.endswith(".") and ("; " in sentence) for sentence in SENTENCES.values())


@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)
            ),
            max_leaves=20,
        ).map(lambda content: json.dumps(content, ensure_ascii=True).encode()),
    )
)
def test_whatever_bytes_come_they_are_commands_or_reasons(value: bytes) -> None:
    message = read_message(record(value), KEYS)
    assert message.commands or message.refused
    for kept in message.refused:
        assert kept.code in SENTENCES
        assert kept.value is not None
        assert kept.value in value
        # What PostgreSQL could not store would stop the partition.
        assert "\\u0000" not in json.dumps([kept.command_id, kept.detail])
