"""Commands in over HTTP: the numbers are the invariants of ledger/api/commands.py."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from ledger.api import bodies
from ledger.api.answers import JSON, NDJSON
from ledger.api.tokens import Scope
from ledger.application import MAX_COMMANDS
from ledger.domain.notes import open_receipt
from ledger.domain.reading import MAX_COMMAND_BYTES
from tests.api.service import RECEIPT_KEY, bearer, own, problem
from tests.books import assert_whole, commands_recorded
from tests.commands import contribute, merge, open_account, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger.database import Database
    from tests.api.service import Service

SID, ACCOUNT = "ea-core:1", "E1"
GOOD = own(contribute(ACCOUNT, 100, "good"))
GOOD_BYTES = json.dumps(GOOD).encode()


@pytest.fixture
def opened(service: Service) -> Service:
    """A service with one account; its facts are at positions 1 and 2."""
    response = service.post([own(register(SID, "1")), own(open_account(SID, ACCOUNT, command_id="2"))])
    assert response.json()["refused"] == 0
    return service


def lines(*commands: object) -> bytes:
    return b"".join(json.dumps(command).encode() + b"\n" for command in commands)


class TestOne:
    def test_its_receipt_names_its_positions_and_a_repeat_gets_the_same(self, opened: Service) -> None:
        """Invariant 2."""
        receipt = {
            "command_id": "ea-core/good",
            "status": "accepted",
            "first_position": 3,
            "last_position": 3,
            "repeated": False,
        }
        found = opened.post(GOOD).json()
        assert found == receipt | {"receipt": found["receipt"]}
        assert [position for position, _ in open_receipt(found["receipt"], [RECEIPT_KEY.verifier])] == [3]
        again = opened.post(GOOD | {"decided_at": "2026-03-02T00:00:00Z"}).json()
        assert again == found | {"repeated": True}

    def test_refused_it_is_a_problem_with_its_reason_and_so_is_its_repeat(self, opened: Service) -> None:
        """Invariant 3."""
        refused = own(contribute("E9", 1, "9"))
        for _ in range(2):
            found = problem(opened.post(refused), 422, "command-refused")
            assert found["refusal"]["code"] == "AccountUnknown"
            assert found["command_id"] == "ea-core/9"

    def test_other_content_under_a_known_id_is_a_conflict(self, opened: Service) -> None:
        """Invariant 2."""
        opened.post(GOOD)
        changed = GOOD | {"amounts_fen": {"employee": 101}}
        assert problem(opened.post(changed), 409, "command-id-reused")["refusal"]["code"] == "CommandIdReused"


class TestAList:
    def test_each_stands_at_its_place_refused_or_not(self, opened: Service) -> None:
        """Invariant 3."""
        listed = [GOOD, own(contribute("E9", 1, "9")), own(contribute(ACCOUNT, 2, "b")), GOOD]
        found = opened.post(listed).json()
        assert (found["accepted"], found["refused"]) == (3, 1)
        assert [each["command_id"] for each in found["outcomes"]] == [each["command_id"] for each in listed]
        assert [each["status"] for each in found["outcomes"]] == ["accepted", "refused", "accepted", "accepted"]
        assert [each.get("first_position") for each in found["outcomes"]] == [3, None, 4, 3]
        assert [each["repeated"] for each in found["outcomes"]] == [False, False, False, True]
        assert found["outcomes"][1]["refusal"]["code"] == "AccountUnknown"

    def test_an_empty_one_is_answered_empty(self, service: Service) -> None:
        assert service.post([]).json() == {"accepted": 0, "refused": 0, "receipt": None, "outcomes": []}
        assert service.post_bytes(b"\n \r\n", NDJSON).content == b'{"receipt":null}\n'

    def test_of_one_is_answered_as_a_list(self, opened: Service) -> None:
        assert opened.post([own(contribute("E9", 1, "9"))]).json()["refused"] == 1

    def test_lines_are_answered_by_lines_whatever_ends_them_and_blank_ones_pass(self, opened: Service) -> None:
        body = GOOD_BYTES + b"\r\n\r\n  \n" + json.dumps(own(contribute("E9", 1, "9"))).encode()
        response = opened.post_bytes(body, NDJSON)
        assert response.headers["content-type"] == NDJSON
        *answered, receipt = [json.loads(line) for line in response.text.splitlines()]
        assert [each["status"] for each in answered] == ["accepted", "refused"]
        assert [position for position, _ in open_receipt(receipt["receipt"], [RECEIPT_KEY.verifier])] == [3]

    def test_of_ten_thousand_is_posted_and_one_more_is_too_many(self, opened: Service, database: Database) -> None:
        listed = [own(contribute(ACCOUNT, 1, f"n/{number}")) for number in range(MAX_COMMANDS + 1)]
        for body, media_type in ((json.dumps(listed).encode(), JSON), (lines(*listed), NDJSON)):
            assert problem(opened.post_bytes(body, media_type), 413, "batch-too-large")["most"] == MAX_COMMANDS
        assert len(commands_recorded(database)) == 2
        found = opened.post(listed[:-1]).json()
        assert (found["accepted"], found["outcomes"][-1]["last_position"]) == (MAX_COMMANDS, MAX_COMMANDS + 2)
        *again, last = opened.post_bytes(lines(*listed[:-1]), NDJSON).text.splitlines()
        assert [json.loads(line)["repeated"] for line in again] == [True] * MAX_COMMANDS
        assert len(open_receipt(found["receipt"], [RECEIPT_KEY.verifier])) == MAX_COMMANDS
        assert json.loads(last)["receipt"] == found["receipt"]
        assert_whole(database)

    @pytest.mark.parametrize("media_type", [JSON, NDJSON])
    def test_with_one_that_is_no_command_is_not_posted_and_its_place_is_named(
        self, opened: Service, database: Database, media_type: str
    ) -> None:
        """Invariant 1."""
        wrong = [GOOD, GOOD | {"account": 7, "period": "2026"}, {"type": "Nothing"}]
        body = json.dumps(wrong).encode() if media_type == JSON else lines(*wrong)
        first = 0 if media_type == JSON else 1  # Lines are counted as editors do.
        found = problem(opened.post_bytes(body, media_type), 400, "malformed-command")
        assert [error["place"] for error in found["errors"]] == [
            f"[{first + 1}].account",
            f"[{first + 1}].period",
            f"[{first + 2}].type",
        ]
        assert len(commands_recorded(database)) == 2


class TestWhoPosts:
    OTHER = bearer(Scope.POSTER, source="bank", subject="system:bank")

    def test_for_another_source_is_forbidden_and_the_id_stays_free(self, opened: Service, database: Database) -> None:
        foreign = {**GOOD, "actor": "system:bank", "command_id": "bank/1"}
        found = problem(opened.post(foreign, caller=self.OTHER), 403, "poster-not-permitted")
        assert found["refusal"]["detail"] == {"reason": "source_not_own"}
        assert len(commands_recorded(database)) == 2
        own_one = {**own(register("bank:1")), "actor": "system:bank", "command_id": "bank/1"}
        assert opened.post(own_one, caller=self.OTHER).json()["repeated"] is False

    def test_in_a_list_it_is_refused_at_its_place_and_the_rest_is_posted(self, opened: Service) -> None:
        mine = {**own(register("bank:1")), "actor": "system:bank", "command_id": "bank/1"}
        foreign = {**GOOD, "actor": "system:bank", "command_id": "bank/2"}
        found = opened.post([foreign, mine], caller=self.OTHER).json()["outcomes"]
        assert [each["status"] for each in found] == ["refused", "accepted"]
        assert found[0]["refusal"]["code"] == "PosterNotPermitted"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"actor": "system:bank"}, "actor_not_subject"),
            ({"command_id": "bank/1"}, "command_id_not_own"),
            ({"command_id": "ea-core-2/1"}, "command_id_not_own"),
        ],
    )
    def test_nobody_speaks_for_another(self, opened: Service, changes: dict[str, str], reason: str) -> None:
        found = problem(opened.post(GOOD | changes), 403, "poster-not-permitted")
        assert found["refusal"]["detail"] == {"reason": reason}

    def test_only_a_steward_decides_who_is_one_person(self, opened: Service) -> None:
        opened.post(own(register("ea-core:2", "3")))
        joined = own(merge("ea-core:1", "ea-core:2", command_id="m"))
        found = problem(opened.post(joined, caller=bearer(Scope.POSTER)), 403, "poster-not-permitted")
        assert found["refusal"]["detail"] == {"reason": "steward_needed"}
        steward = bearer(Scope.STEWARD, subject="person:li")
        by_li = joined | {"actor": "person:li", "command_id": "li/m"}
        assert opened.post(by_li, caller=steward).json()["status"] == "accepted"
        found = problem(
            opened.post(GOOD | {"actor": "person:li", "command_id": "li/c"}, caller=steward),
            403,
            "poster-not-permitted",
        )
        assert found["refusal"]["detail"] == {"reason": "source_needed"}


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD_BYTES
    return GOOD_BYTES.replace(old, new)


# None of these is JSON that could be read in one way; what a parser says of it is named, and nothing is quoted.
NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b" \t ",
    "cut off": GOOD_BYTES[:-1],
    "two values": GOOD_BYTES + b" " + GOOD_BYTES,
    "trailing comma": GOOD_BYTES[:-1] + b",}",
    "single quotes": GOOD_BYTES.replace(b'"', b"'"),
    "comment": GOOD_BYTES + b"// note",
    "form feed": b"\x0c" + GOOD_BYTES,
    "raw control character": changed(b'"E1"', b'"E\x011"'),
    "byte order mark": b"\xef\xbb\xbf" + GOOD_BYTES,
    "UTF-16": GOOD_BYTES.decode().encode("utf-16"),
    "UTF-16 without mark": GOOD_BYTES.decode().encode("utf-16-le"),
    "UTF-32": GOOD_BYTES.decode().encode("utf-32"),
    "GBK": changed(b'"E1"', '"企业年金"'.encode("gbk")),
    "lone surrogate": changed(b'"E1"', b'"\\ud800"'),
    "lone surrogate in UTF-8": changed(b'"E1"', b'"\xed\xa0\x80"'),
    "overlong UTF-8": changed(b'"E1"', b'"\xc0\xaf"'),
    "deep arrays": b'{"a":' + b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "integer of 5,000 digits": changed(b"100", b"1" * 5_000),
}
# These are JSON, and no command; the place of what is wrong is named.
NO_COMMAND: dict[str, tuple[bytes, str]] = {
    "null": (b"null", ""),
    "number": (b"1", ""),
    "string": (b'"x"', ""),
    "truth": (b"true", ""),
    "no type": (b"{}", "type"),
    "unknown type": (changed(b'"PostContribution"', b'"DropTable"'), "type"),
    "type of another type": (changed(b'"PostContribution"', b'["PostContribution"]'), "type"),
    "unknown field": (GOOD_BYTES[:-1] + b',"amount":1}', "?"),
    "seconds for a date": (changed(b'"2026-02-15"', b'"1771113600"'), "effective_on"),
    "member twice": (GOOD_BYTES[:-1] + b',"account":"E2"}', ""),
    "part twice": (changed(b'{"employee": 100}', b'{"employee": 100, "employee": 1}'), ""),
    "NaN": (changed(b"100", b"NaN"), "amounts_fen.employee"),
    "Infinity": (changed(b"100", b"-Infinity"), "amounts_fen.employee"),
    "1e400": (changed(b"100", b"1e400"), "amounts_fen.employee"),
    "a float": (changed(b"100", b"100.0"), "amounts_fen.employee"),
    "a number in quotes": (changed(b"100", b'"100"'), "amounts_fen.employee"),
    "a truth for a number": (changed(b"100", b"true"), "amounts_fen.employee"),
    "a number beyond 64 bits": (changed(b"100", b"18446744073709551616"), "amounts_fen.employee"),
    "a number of 4,000 digits": (changed(b"100", b"1" * 4_000), "amounts_fen.employee"),
    "NUL in an id": (changed(b'"E1"', b'"E\\u0000"'), "account"),
    "line feed in an id": (changed(b'"E1"', b'"E1\\n"'), "account"),
    "line feed in the command id": (changed(b"ea-core/good", b"ea-core/good\\n"), "command_id"),
    "letters of another script": (changed(b'"E1"', '"Е1"'.encode()), "account"),
    "a day that is none": (changed(b'"2026-02-15"', b'"2026-02-30"'), "effective_on"),
    "a day without dashes": (changed(b'"2026-02-15"', b'"20260215"'), "effective_on"),
    "a day as a number": (changed(b'"2026-02-15"', b"1771113600"), "effective_on"),
    "a moment as a number": (changed(b'"2026-03-01T09:00:00Z"', b"1772355600"), "decided_at"),
    "a moment without an offset": (changed(b'"2026-03-01T09:00:00Z"', b'"2026-03-01T09:00:00"'), "decided_at"),
    "too long": (GOOD_BYTES[:-1] + b" " * MAX_COMMAND_BYTES + b"}", ""),
    "many errors": (GOOD_BYTES[:-1] + b"".join(b',"f%d":1' % n for n in range(5_000)) + b"}", ""),
}


class TestBadInput:
    """Invariants 1 and 4: a clear problem, and nothing posted."""

    def test_what_is_no_json_says_where_it_ends_to_be(self, opened: Service, database: Database) -> None:
        for name, body in NO_JSON.items():
            found = problem(opened.post_bytes(body), 400, "malformed-json")
            assert found["errors"][0]["reason"], name
            listed = opened.post_bytes(b"[" + body + b"]")
            if body.strip():
                problem(listed, 400, listed.json()["type"].removeprefix("/problems/"))
        assert len(commands_recorded(database)) == 2

    def test_what_is_no_command_says_which_field(self, opened: Service, database: Database) -> None:
        for name, (body, place) in NO_COMMAND.items():
            found = problem(opened.post_bytes(body), 400, "malformed-command")
            assert [found["errors"][0]["place"]] == [place], name
            for wrapped, media_type, number in ((b"[" + body + b"]", JSON, 0), (body, NDJSON, 1)):
                response = opened.post_bytes(wrapped, media_type)
                kind = response.json()["type"].removeprefix("/problems/")
                found = problem(response, 400, kind)
                if kind == "malformed-command":
                    assert found["errors"][0]["place"] == f"[{number}]" + (f".{place}" if place else "")
                else:
                    assert b"NaN" in body or b"Infinity" in body
        assert len(commands_recorded(database)) == 2

    def test_of_a_list_that_is_all_wrong_the_first_errors_are_listed(self, service: Service) -> None:
        """Invariant 5."""
        for body in (b"[" + b",".join([b"1"] * 9_999) + b"]", lines(*[1] * 9_999)):
            media_type = JSON if body[:1] == b"[" else NDJSON
            found = problem(service.post_bytes(body, media_type), 400, "malformed-command")
            assert len(found["errors"]) == 21

    @pytest.mark.parametrize(
        "content_type",
        [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/problem+json",
            "application/json, text/plain",
            "application/json; charset=gbk",
            "application/json; charset=utf-16",
            "application/json; charset=",
            "application",
            ";;;",
            "multipart/form-data; boundary=x",
        ],
    )
    def test_another_media_type_or_character_set_is_not_taken(self, service: Service, content_type: str) -> None:
        response = service.post_bytes(GOOD_BYTES, content_type.encode("latin-1"))  # type: ignore[arg-type]
        problem(response, 415, "unsupported-media-type")

    @pytest.mark.parametrize("content_type", ["APPLICATION/JSON", 'application/json; charset="UTF-8"', JSON + ";x=y"])
    def test_the_same_media_type_may_be_spelled_otherwise(self, opened: Service, content_type: str) -> None:
        assert opened.post_bytes(GOOD_BYTES, content_type).status_code == 200

    def test_none_is_none(self, service: Service) -> None:
        problem(service.request("POST", "/v1/commands", content=GOOD_BYTES), 415, "unsupported-media-type")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
    def test_an_encoded_body_is_not_taken(self, service: Service, encoding: str) -> None:
        response = service.post_bytes(gzip.compress(GOOD_BYTES), headers={"Content-Encoding": encoding})
        problem(response, 415, "unsupported-media-type")

    def test_parameters_that_nobody_reads_are_refused(self, opened: Service, database: Database) -> None:
        """Who asks for a trial run must not be taken at his word without it."""
        response = opened.request("POST", "/v1/commands?dry_run=true", json=GOOD)
        assert problem(response, 400, "wrong-parameter")["errors"][0]["place"] == "?"
        assert len(commands_recorded(database)) == 2


class TestLargeBodies:
    """Invariant 5."""

    def test_an_announced_length_is_refused_before_the_body_is_read(self, service: Service) -> None:
        for length in (str(bodies.MAX_BODY_BYTES + 1), "9" * 5_000):
            response = service.post_bytes(b"[]", headers={"Content-Length": length})
            assert problem(response, 413, "body-too-large")["most_bytes"] == bodies.MAX_BODY_BYTES

    def test_an_unannounced_one_is_refused_as_soon_as_it_is_too_large(self, service: Service) -> None:
        sent: list[int] = []

        async def endless() -> AsyncIterator[bytes]:
            while True:
                sent.append(2**20)
                yield b" " * 2**20

        problem(service.post_bytes(endless()), 413, "body-too-large")
        assert sum(sent) <= bodies.MAX_BODY_BYTES + 2 * 2**20

    def test_in_many_small_chunks_it_is_read_as_one(self, opened: Service) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(0, len(GOOD_BYTES), 7):
                yield GOOD_BYTES[number : number + 7]

        assert opened.post_bytes(chunks()).json()["first_position"] == 3

    def test_when_many_are_held_others_are_told_to_come_again(
        self, opened: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "MAX_HELD_BYTES", 10)
        problem(opened.post(GOOD), 503, "ledger-busy")
        monkeypatch.undo()
        assert opened.app.state.intake._held_bytes == 0
        assert opened.post(GOOD).status_code == 200

    def test_one_caller_does_not_take_all_of_the_room(self, opened: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "MAX_HELD_BYTES_OF_ONE", 10)
        problem(opened.post(GOOD), 503, "ledger-busy")
        assert not opened.app.state.intake._held_by

    def test_one_that_does_not_come_is_not_waited_for(self, opened: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "MAX_BODY_S", 0.1)

        async def chunks() -> AsyncIterator[bytes]:
            yield GOOD_BYTES[:7]
            await asyncio.sleep(5)

        problem(opened.post_bytes(chunks()), 408, "body-too-slow")
        assert opened.app.state.intake._held_bytes == 0

    def test_one_as_large_as_may_be_is_read(self, opened: Service) -> None:
        body = b"[" + GOOD_BYTES + b"]"
        padded = body + b" " * (bodies.MAX_BODY_BYTES - len(body))
        assert opened.post_bytes(padded).json()["accepted"] == 1
        problem(opened.post_bytes(padded + b" "), 413, "body-too-large")

    def test_sixteen_mebibytes_of_errors_are_no_more_than_a_few(self, service: Service) -> None:
        extra: Any = GOOD_BYTES[:-1] + b"".join(b',"%x":1' % number for number in range(1_400_000)) + b"}"
        found = problem(service.post_bytes(extra), 400, "malformed-command")
        assert found["errors"] == [{"place": "", "reason": f"A command is at most {MAX_COMMAND_BYTES} bytes long"}]
        many = b"[" + b",".join([b"1"] * 8_000_000) + b"]"
        problem(service.post_bytes(many), 413, "batch-too-large")
