"""The service as the real program: it says how to call it, ends when told to, and leaves no server of its own behind."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from ledger.application import Ledger
from ledger.domain.notes import VerifierKey, open_receipt
from ledger.keys import KeyFileUnusable
from tests.commands import open_account, register
from tests.programs import PATIENCE_S, Program

if TYPE_CHECKING:
    from ledger.database import Database

    Settings = dict[str, str]

CURL = r'curl -H "Authorization: Bearer (?P<token>\S+)" \\\n  (?P<url>http://\S+)\n'
SERVES = r"The API serves at (http://\S+);"
SOON_S = 10
SHARED_BUFFERS_MB = "64"
CONTRIBUTION = {
    "type": "PostContribution",
    "account": "A1",
    "actor": "system:ea",
    "amounts_fen": {"employee": 500},
    "command_id": "ea/c1",
    "decided_at": "2026-03-01T09:00:00Z",
    "effective_on": "2026-02-15",
    "period": "2026-02",
    "tax_treatment": "pre_tax",
}


@pytest.fixture
def external(database: Database, tmp_path: Path) -> Settings:
    """The settings of a program on the test's database, in which the account A1 of ea:1 is open."""
    Ledger(database).post([register("ea:1"), open_account("ea:1", "A1")])
    return {"LEDGER_DATABASE_URL": database.url, "LEDGER_DATA_FOLDER": str(tmp_path)}


@pytest.fixture
def embedded(server_folder: Path) -> Settings:
    """The settings of a program with a PostgreSQL of its own."""
    return {"LEDGER_DATA_FOLDER": str(server_folder), "LEDGER_SHARED_BUFFERS_MB": SHARED_BUFFERS_MB}


def serving(settings: Settings, *arguments: str) -> Program:
    return Program("ledger", "serve", "--port", "0", *arguments, settings=settings)


def address_of(program: Program) -> str:
    return program.wait_for(SERVES)[1]


def token(settings: Settings, *arguments: str) -> dict[str, str]:
    """The header of a development token, made by the program itself."""
    with Program("ledger", "token", *arguments, settings=settings) as program:
        assert program.wait() == 0, program.errors
    return {"Authorization": f"Bearer {program.output.strip()}"}


def posters(settings: Settings) -> dict[str, str]:
    return token(settings, "--scope", "poster", "--scope", "reader", "--source", "ea")


def balance_fen(address: str, headers: dict[str, str], **asked: Any) -> int:
    found = httpx.get(f"{address}/v1/accounts/A1/statement", headers=headers, params=asked)
    assert found.status_code == 200, found.text
    return int(found.json()["balance_fen"])


def postgres_of(folder: Path) -> list[str]:
    """The command lines of every process of a PostgreSQL that runs in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "postgres" in line and str(folder) in line:
            found.append(line)
    return found


def test_it_says_how_to_call_it_and_the_call_works(external: Settings) -> None:
    with serving(external) as program:
        curl = program.wait_for(CURL)
        assert curl["url"].startswith(address_of(program))
        headers = {"Authorization": f"Bearer {curl['token']}"}
        answered = httpx.get(curl["url"].replace("PERSON", "ea:1"), headers=headers)
        assert (answered.status_code, answered.json()["sheet"]["balance_fen"]) == (200, 0)
        assert httpx.get(curl["url"].replace("PERSON", "ea:1")).status_code == 401
        docs = program.wait_for(r"its documentation is at\s+(http://\S+)")[1]
        assert httpx.get(docs).status_code == 200
        assert httpx.get(f"{address_of(program)}/openapi.json").status_code == 200
        assert "another" in program.output
        assert program.end() == 0
    assert program.errors == ""


def test_its_receipts_are_signed_by_the_key_of_its_data_folder_which_it_made(external: Settings) -> None:
    folder = Path(external["LEDGER_DATA_FOLDER"])
    for _ in range(2):
        with serving(external) as program:
            address = address_of(program)
            posted = httpx.post(f"{address}/v1/commands", headers=posters(external), json=CONTRIBUTION).json()
            found = httpx.get(f"{address}/v1/log/keys").json()
            assert program.end() == 0
        key = VerifierKey.parse((folder / "receipt.vkey").read_text())
        assert (found["receipts"], found["notary"]) == (str(key), None)
        assert [position for position, _ in open_receipt(posted["receipt"], [key])] == [3]
    assert (folder / "receipt.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("content", "mode"), [("nothing", 0o600), ("", 0o644)])
def test_a_receipt_key_that_is_damaged_or_readable_by_others_is_a_wrong_setting(
    external: Settings, tmp_path: Path, content: str, mode: int
) -> None:
    path = tmp_path / "damaged.key"
    path.write_text(content)
    path.chmod(mode)
    with serving({**external, "LEDGER_RECEIPT_KEY": str(path)}) as program:
        assert program.wait() == 2
    assert program.errors == f"{path}: {KeyFileUnusable.__doc__}\n"


def test_what_it_posted_it_reads(external: Settings) -> None:
    """With `seen`, from the projections that it keeps itself."""
    headers = posters(external)
    with serving(external) as program:
        address = address_of(program)
        posted = httpx.post(f"{address}/v1/commands", json=CONTRIBUTION, headers=headers)
        assert posted.status_code == 200, posted.text
        assert balance_fen(address, headers, seen=posted.json()["last_position"]) == 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_answers_what_is_in_flight(
    database: Database, external: Settings, number: signal.Signals
) -> None:
    """A post that waits for the journal's head gets its receipt; nobody new is let in."""
    headers = posters(external)
    answers: list[httpx.Response] = []
    with serving(external) as program:
        address = address_of(program)

        def post() -> None:
            answers.append(httpx.post(f"{address}/v1/commands", json=CONTRIBUTION, headers=headers, timeout=PATIENCE_S))

        posting = threading.Thread(target=post)
        with database.connect() as other:
            other.execute("SELECT FROM head FOR UPDATE")
            posting.start()
            _wait_for_a_lock(database)
            begun = time.monotonic()
            program.process.send_signal(number)
            time.sleep(0.5)
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{address}/health")
            assert program.process.poll() is None
        posting.join()
        assert (program.wait(), program.errors) == (0, "")
        assert time.monotonic() - begun < SOON_S
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["last_position"] == 3


def _wait_for_a_lock(database: Database) -> None:
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            if connection.execute(waiting).fetchone() is not None:
                return
            time.sleep(0.01)
    pytest.fail("nobody waits")


def test_an_idle_connection_does_not_keep_it(external: Settings) -> None:
    with serving(external) as program, httpx.Client(base_url=address_of(program)) as client:
        assert client.get("/health").status_code == 200
        begun = time.monotonic()
        assert program.end() == 0
        assert time.monotonic() - begun < SOON_S


def test_a_second_signal_ends_it_as_well(external: Settings) -> None:
    with serving(external) as program:
        address_of(program)
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == 0
    assert "Traceback" not in program.errors


def test_an_address_that_is_taken_is_2(external: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with Program("ledger", "serve", "--port", port, settings=external) as program:
            assert program.wait() == 2
    assert f"127.0.0.1:{port}: Address already in use" in program.errors
    assert "--port" in program.errors
    assert len(program.errors.splitlines()) == 1


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a..b", "::g"])
def test_an_address_that_is_not_ours_is_2(external: Settings, host: str) -> None:
    with serving(external, "--host", host) as program:
        assert program.wait() == 2
    assert host in program.errors
    assert "Traceback" not in program.errors


def test_a_projector_that_dies_of_a_bug_ends_the_service(database: Database, external: Settings) -> None:
    """A service that would answer less and less says why and ends, so that whoever watches it starts it anew."""
    with serving(external) as program:
        address_of(program)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("ALTER TABLE projection RENAME TO mislaid")
        assert program.wait() not in {0, 2}
    assert 'relation "projection" does not exist' in program.errors


def test_the_projector_may_be_a_process_of_its_own(external: Settings) -> None:
    headers = posters(external)
    with serving(external, "--no-project") as service:
        address = address_of(service)
        posted = httpx.post(f"{address}/v1/commands", json=CONTRIBUTION, headers=headers)
        seen = posted.json()["last_position"]
        assert httpx.get(f"{address}/v1/accounts/A1/statement", headers=headers, params={"seen": seen}).is_error
        with Program("ledger", "project", settings=external) as projector:
            projector.wait_for("Projecting")
            _wait_until_read(address, headers, seen)
            assert balance_fen(address, headers, seen=seen) == 500
            assert (projector.end(), projector.errors) == (0, "")
        assert service.end() == 0


def _wait_until_read(address: str, headers: dict[str, str], seen: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while httpx.get(f"{address}/v1/accounts/A1/statement", headers=headers, params={"seen": seen}).is_error:
        assert time.monotonic() < deadline, "the projector does not follow"


def test_our_own_server_ends_with_it_and_the_data_stay(embedded: Settings, server_folder: Path) -> None:
    headers = posters(embedded)
    opening = [register("ea:1", "ea/r"), open_account("ea:1", "A1", command_id="ea/o")]
    commands = [
        each.model_dump(mode="json", exclude_none=True) | {"type": type(each).__name__, "actor": "system:ea"}
        for each in opening
    ]
    with serving(embedded) as program:
        address = address_of(program)
        posted = httpx.post(f"{address}/v1/commands", json=[*commands, CONTRIBUTION], headers=headers)
        assert posted.json()["accepted"] == 3, posted.text
        assert postgres_of(server_folder) != []
        assert program.end() == 0
    assert postgres_of(server_folder) == []
    with serving(embedded) as one, serving(embedded) as other:
        for address in map(address_of, (one, other)):
            assert balance_fen(address, headers, seen=3) == 500
        assert one.end(signal.SIGINT) == 0
        again = httpx.post(f"{address_of(other)}/v1/commands", json=CONTRIBUTION, headers=headers)
        assert again.json()["repeated"] is True
        assert postgres_of(server_folder) != []
        assert other.end() == 0
    assert postgres_of(server_folder) == []


def test_the_demo_serves_what_it_posted(embedded: Settings, server_folder: Path) -> None:
    """`make run`: the sample, the sheet, then the service on its usual address, with a call that works as printed."""
    arguments = ("--people", "5", "--months", "2", "--port", "0")
    with Program("ledger", "demo", *arguments, settings=embedded) as program:
        curl = program.wait_for(CURL)
        answered = httpx.get(curl["url"], headers={"Authorization": f"Bearer {curl['token']}"})
        assert answered.status_code == 200
        fen = answered.json()["sheet"]["balance_fen"]
        total = re.search(r"合计 Total .*?([\d,]+\.\d\d) *\n", program.output[program.output.index("5. One person") :])
        assert total is not None
        assert total[1] == f"{fen / 100:,.2f}"
        assert httpx.get(program.wait_for(r"documentation is at\s+(http://\S+)")[1]).status_code == 200
        assert program.end(signal.SIGINT) == 0
    assert program.errors == ""
    assert postgres_of(server_folder) == []


def test_it_serves_at_8000_of_this_machine_alone_unless_told() -> None:
    with Program("ledger", "serve", "--help", settings={"COLUMNS": "200"}) as program:
        assert program.wait() == 0
    assert "[default: 127.0.0.1]" in program.output
    assert "[default: 8000]" in program.output
