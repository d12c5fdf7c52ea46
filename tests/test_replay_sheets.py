"""Sheets out of facts alone: the API's bytes, now and then, and one digest over everybody."""

from __future__ import annotations

import json
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from ledger.application import Ledger
from ledger.domain.identifiers import one_id_of
from replay import everybody as everybody_of
from replay.everybody import Everybody, sheets_of_all
from replay.facts import opened
from replay.sheets import PersonUnknown, PositionNotRecorded, sheet_of
from tests.api.service import served
from tests.commands import CAP_FEN, PERSONAL, contribute, contribute_own, merge, open_account, register, unmerge
from tests.domain import histories
from tests.domain.scenario import Books
from tests.projected import facts_of, totals
from tests.sealing import auditor_url
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from ledger.database import Database
    from ledger.domain.commands import Command
    from ledger.domain.decider import Decision
    from tests.api.service import Service

DATES = [None, date(2024, 1, 1), date(2025, 7, 1), date(2025, 12, 31), date(2026, 3, 2)]
STEP = 30


class _KeptBooks(Books):
    """Books that keep the commands which were tried on them."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[Command] = []

    def post(self, command: Command) -> Decision:
        self.commands.append(command)
        return super().post(command)


def random_commands(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """Everything that can happen to six identities; some will be refused."""
    monkeypatch.setattr(histories, "Books", _KeptBooks)
    books = histories.History(seed).run(150).books
    assert isinstance(books, _KeptBooks)
    return books.commands


def answered(service: Service, person: str, *, as_of: date | None = None, known_at: int | None = None) -> bytes:
    asked = {"as_of": as_of, "known_at": known_at}
    response = service.get(
        f"/v1/people/{person}/balance-sheet",
        params={name: str(value) for name, value in asked.items() if value is not None},
    )
    assert response.status_code == 200, response.text
    return response.content


def everybody(database: Database, **asked: object) -> tuple[Everybody, list[bytes]]:
    lines: list[bytes] = []
    found = sheets_of_all(auditor_url(database), write=lines.append, **({"processes": 1} | asked))  # type: ignore[arg-type]
    return found, lines


@pytest.mark.parametrize("seed", [3, 5, 11])
def test_a_sheet_is_what_the_api_answers_and_what_it_answered_when_the_position_was_the_head(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35, byte for byte, for every identity at several positions and dates; asked twice it is the same."""
    ledger, commands = Ledger(database), random_commands(seed, monkeypatch)
    then: dict[int, dict[str, bytes]] = {}
    with served(database) as service:
        for start in range(0, len(commands), STEP):
            ledger.post(commands[start : start + STEP])
            facts = facts_of(database)
            sids = [fact.sid for _, fact in facts if type(fact).__name__ == "SourceIdentityRegistered"]  # type: ignore[attr-defined]
            then[len(facts)] = {sid: answered(service, sid) for sid in sids}
        with opened(auditor_url(database)) as connection:
            for known_at, by_sid in then.items():
                for sid, answer in by_sid.items():
                    assert sheet_of(connection, sid, known_at=known_at) == answer
                    for as_of in DATES:
                        now = sheet_of(connection, sid, as_of=as_of, known_at=known_at)
                        assert now == answered(service, sid, as_of=as_of, known_at=known_at)
                        assert now == sheet_of(connection, sid, as_of=as_of, known_at=known_at)
            last, by_sid = then.popitem()
            for sid, answer in by_sid.items():
                assert sheet_of(connection, sid) == answer
                assert sheet_of(connection, one_id_of(sid), known_at=last) == answer
        for known_at, by_sid in then.items():
            _, lines = everybody(database, known_at=known_at)
            assert {line.rstrip() for line in lines} == set(by_sid.values())


def two_people(database: Database) -> None:
    """Positions 1 to 9: two identities, two accounts, money from two dates, a merge, and another person."""
    Ledger(database).post(
        [
            register("ea:1"),
            register("pp:7"),
            open_account("ea:1", "A1"),
            open_account("pp:7", "P7", PERSONAL),
            contribute("A1", 500, effective_on=date(2026, 1, 5)),
            contribute_own("P7", CAP_FEN),
            merge("ea:1", "pp:7"),
            register("zz:9"),
            contribute("A1", 30),
        ]
    )


def test_a_person_is_found_by_each_of_her_names(database: Database) -> None:
    two_people(database)
    with opened(auditor_url(database)) as connection:
        found = {
            sheet_of(connection, name) for name in ("ea:1", "pp:7", "A1", "P7", one_id_of("ea:1"), one_id_of("pp:7"))
        }
        assert len(found) == 1
        assert len({sheet_of(connection, name, known_at=6) for name in ("ea:1", "pp:7")}) == 2


@pytest.mark.parametrize(
    ("name", "known_at"),
    [("ea:2", None), ("A2", None), ("zz:9", 7), ("A1", 2), (one_id_of("zz:9"), 7), ("one_id:x", None), ("A1,A2", None)],
)
def test_who_is_not_known_at_the_position_is_unknown(database: Database, name: str, known_at: int | None) -> None:
    two_people(database)
    with opened(auditor_url(database)) as connection, pytest.raises(PersonUnknown):
        sheet_of(connection, name, known_at=known_at)


def test_a_position_beyond_the_journals_end_is_refused(database: Database) -> None:
    two_people(database)
    with opened(auditor_url(database)) as connection, pytest.raises(PositionNotRecorded) as raised:
        sheet_of(connection, "ea:1", known_at=10)
    assert str(raised.value) == "the journal ends at position 9, asked was 10"
    with pytest.raises(PositionNotRecorded):
        everybody(database, known_at=10)


def test_a_fact_that_cannot_be_read_is_said_on_the_sheet_as_the_api_says_it(database: Database) -> None:
    two_people(database)
    with past_all_guards(database) as connection:
        connection.execute("UPDATE event SET data = '{}' WHERE position = 5")
    with opened(auditor_url(database)) as reading, served(database) as service:
        found = sheet_of(reading, "ea:1", known_at=8)
        assert found == answered(service, "ea:1", known_at=8)
        assert b'{"about":"account:A1","code":"fact_unreadable","position":5}' in found


def test_everybody_stands_in_the_order_of_the_one_ids_under_one_digest(database: Database) -> None:
    two_people(database)
    found, lines = everybody(database)
    one_ids = [json.loads(line)["sheet"]["one_id"] for line in lines]
    assert one_ids == sorted([one_id_of("ea:1"), one_id_of("zz:9")])
    with opened(auditor_url(database)) as connection:
        assert lines == [sheet_of(connection, one_id) + b"\n" for one_id in one_ids]
    summary = json.loads(found.summary())
    assert summary["sheets_sha256"] == sha256(b"".join(lines)).hexdigest()
    assert (summary["people"], summary["known_at"], summary["trial_balance_fen"]) == (2, 9, 0)


def test_who_was_parted_stands_apart(database: Database) -> None:
    """Both parts of a person are gathered from the same facts, and each is on her own sheet."""
    two_people(database)
    Ledger(database).post([unmerge(["ea:1"], ["pp:7"])])
    assert [found.people for found in (everybody(database)[0], everybody(database, known_at=9)[0])] == [3, 2]
    _, lines = everybody(database)
    assert {account for line in lines for account in ("A1", "P7") if f'"account":"{account}"'.encode() in line}


def test_the_digest_does_not_depend_on_processes_or_chunks_or_what_came_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R38: byte-identical, with as many processes and in chunks of whatever size."""
    Ledger(database).post(random_commands(7, monkeypatch))
    size = len(facts_of(database))
    for as_of in (None, date(2025, 12, 31)):
        alone = everybody(database, as_of=as_of, known_at=size)
        monkeypatch.setattr(everybody_of, "CHUNK", 1)
        apart = everybody(database, as_of=as_of, known_at=size, processes=2)
        monkeypatch.undo()
        Ledger(database).post([register(f"later:{as_of}")])
        later = everybody(database, as_of=as_of, known_at=size)
        assert alone[1] == apart[1] == later[1]
        assert alone[0].summary() == apart[0].summary() == later[0].summary()


def test_its_totals_are_the_control_totals(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """R39: the second road, over the postings in the database, comes to the same sums."""
    with served(database) as service:
        Ledger(database).post(random_commands(13, monkeypatch))
        service.project()
    size = len(facts_of(database))
    for known_at, as_of in ((size, None), (size // 2, date(2026, 1, 1))):
        summary = json.loads(everybody(database, as_of=as_of, known_at=known_at)[0].summary())
        read = totals(database, as_of=as_of, known_at=known_at)
        kept = [line.model_dump(mode="json", exclude={"effective_on"}) for line in read.totals]
        assert sorted(map(str, summary["totals"])) == sorted(map(str, kept))
        assert summary["trial_balance_fen"] == read.trial_balance_fen == 0
