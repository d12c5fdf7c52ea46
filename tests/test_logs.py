"""What the workers log: one JSON object a line, without secrets, within bounds. Numbers in names are the module's invariants."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import socket
import subprocess
import sys
import threading
import warnings
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog
from pydantic import TypeAdapter, ValidationError

from ledger import logs
from ledger.broker import BrokerUnavailable
from ledger.logs import (
    LOOK_EVERY_S,
    MAX_CAUSES,
    MAX_CHARACTERS,
    MAX_KINDS,
    MOST_OF_OTHERS,
    MOST_OF_OURS,
    WINDOW_S,
    Bound,
    configure,
    redacted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.database import Database

CANARY = "canary-2f81"
OTHERS = logging.getLogger("kafka.somewhere")
PATIENCE_S = 60
CONFIGURED = "from ledger.logs import configure; configure(); "
TABLE = b"CREATE TEMPORARY TABLE canaries (name text CHECK (length(name) < 5)) ON COMMIT DROP"
MOMENT = r"%Y-%m-%dT%H:%M:%S.%fZ"


class Lines(io.StringIO):
    """What was logged so far."""

    def read_all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def last(self) -> dict[str, Any]:
        return self.read_all()[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging as a worker has it, to be read here; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.level, ours.level, sys.excepthook, threading.excepthook
    written = Lines()
    configure(written)
    yield written
    for handler in [each for each in root.handlers if isinstance(each, logs._Lines)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[0])
    ours.setLevel(before[1])
    sys.excepthook, threading.excepthook = before[2:]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def log(lines: Lines) -> Any:
    assert not lines.getvalue()
    return structlog.get_logger("ledger.intake")


def raised(fails: Callable[[], Any]) -> Exception:
    try:
        fails()
    except Exception as error:  # noqa: BLE001 - whichever it is
        return error
    raise AssertionError("it does not fail")


def away() -> None:
    raise BrokerUnavailable("away")


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A program that has configured its logs."""
    return subprocess.run(
        [sys.executable, "-c", CONFIGURED + program], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )


class TestALine:
    def test_it_has_time_level_event_logger_and_what_belongs_to_it_1(self, lines: Lines, log: Any) -> None:
        before = datetime.now(UTC)
        log.warning("refused", command_id="ea/1", code="AccountUnknown", partition=0, offset=7, item=None)
        line = lines.last()
        assert list(line)[:4] == ["time", "level", "event", "logger"]
        moment = datetime.strptime(line.pop("time"), MOMENT).replace(tzinfo=UTC)
        assert before <= moment <= datetime.now(UTC)
        assert line == {
            "level": "warning",
            "event": "refused",
            "logger": "ledger.intake",
            "command_id": "ea/1",
            "code": "AccountUnknown",
            "partition": 0,
            "offset": 7,
            "item": None,
        }

    @pytest.mark.parametrize("text", ["two\nlines", "\u2028", "\x1b[31m", "个人养老金", '"}{"'])
    def test_whatever_is_in_it_it_stays_one_line_1(self, lines: Lines, log: Any, text: str) -> None:
        log.info(text, why=text)
        OTHERS.warning("%s", text)
        assert len(lines.getvalue().splitlines()) == 2
        assert [line["event"] for line in lines.read_all()] == [text, text]
        assert lines.read_all()[0]["why"] == text

    def test_half_a_character_is_no_reason_to_lose_it_1(self) -> None:
        # In a program of its own: pytest cannot hand such a text from process to process.
        done = run("import structlog; structlog.get_logger('ledger').info('half', why=chr(0xD800))")
        assert json.loads(done.stderr)["why"] == "\ud800"

    def test_it_has_a_bound_4(self, lines: Lines, log: Any) -> None:
        word, sentence = "x" * 10**6, "x " * 10**6
        log.info("long", why=word, more=[sentence], numbers=list(range(10**5)), deep=[[[[[[1]]]]]])
        assert len(lines.getvalue()) < 3 * MAX_CHARACTERS

    def test_objects_within_it_are_shown_and_foreign_ones_are_not(self, lines: Lines, log: Any) -> None:
        log.info("moved", moves=[{"partition": 1, "until": 5}], by=threading.Lock(), at=datetime.now(UTC))
        line = lines.last()
        assert line["moves"] == [{"partition": 1, "until": 5}]
        assert (line["by"], line["at"]) == ("(lock)", "(datetime)")

    def test_debugging_is_not_shown(self, lines: Lines, log: Any) -> None:
        log.debug("posted")
        OTHERS.info("Initializing connection")
        assert not lines.getvalue()

    def test_to_configure_twice_logs_once(self, lines: Lines) -> None:
        configure(lines)
        OTHERS.warning("once")
        assert len(lines.read_all()) == 1


class TestLibraries:
    def test_they_go_the_same_way_2(self, lines: Lines) -> None:
        for name in ("kafka.net.manager", "uvicorn.error", "psycopg.pool"):
            logging.getLogger(name).error("Connection to %s failed (%d)", "127.0.0.1", 3)
            assert lines.last()["event"] == "Connection to 127.0.0.1 failed (3)"
            assert (lines.last()["logger"], lines.last()["level"]) == (name, "error")

    def test_warnings_too_2(self, lines: Lines) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("soon to be removed", DeprecationWarning, stacklevel=1)
        assert lines.last()["logger"] == "py.warnings"
        assert "soon to be removed" in lines.last()["event"]

    def test_a_line_of_theirs_that_does_not_fit_its_template_is_told_without_its_values_3(
        self, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Those of pytest cannot bear it.
        (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, logs._Lines))
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
        OTHERS.error("%s and %s", CANARY)
        OTHERS.error("%d", CANARY)
        assert [line["event"] for line in lines.read_all()] == ["%s and %s", "%d"]

    def test_a_line_that_cannot_be_written_is_told_without_its_values_3(
        self, lines: Lines, log: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "_plain", lambda _value: 1 / 0)
        log.info("posted", why=CANARY)
        assert CANARY not in lines.getvalue()
        assert (lines.last()["event"], lines.last()["error"]) == ("a line could not be written", "ZeroDivisionError")


TEXTS = [
    f"postgresql://ledger_app:{CANARY}@localhost/ledger",
    f"connecting to 'postgresql://ledger_app:p@{CANARY}/x@localhost/ledger' failed",
    f"http://user:{CANARY}@proxy:3128/",
    f"host=localhost password={CANARY} user=ledger_app",
    f"host=localhost password='{CANARY} {CANARY}' user=ledger_app",
    f'{{"sasl_plain_password": "{CANARY}", "sasl_plain_username": "ledger"}}',
    f"{{'sasl_plain_password': '{CANARY}', 'sasl_plain_username': 'ledger'}}",
    f"ssl_password: {CANARY}",
    f"sasl_oauth_token={CANARY}",
    f"LEDGER_ADMIN_PASSWORD={CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"authorization: Basic {CANARY}",
    f"eyJhbGciOiJFZERTQSJ9.{CANARY}.{CANARY}",
    f"api_key={CANARY}&x=1",
    f"got {CANARY.encode()!r}",
    f"got {(CANARY + chr(39)).encode()!r}",
    f"got {('{' + CANARY).encode()!r}"[:-1],
    f"{b'x' * 3_000!r} {'y' * 980} postgresql://u:{CANARY}-{'z' * 200}@localhost/ledger",
]


class TestSecrets:
    @pytest.mark.parametrize("text", TEXTS)
    def test_texts_hold_none_3(self, lines: Lines, log: Any, text: str) -> None:
        log.warning(text, why=text, several=[text], named={"why": text, text: 1})
        OTHERS.warning(text)
        OTHERS.warning("Connection failed: %s", text)
        log.warning("failed", exc_info=BrokerUnavailable(text))
        assert CANARY not in lines.getvalue()
        assert len(lines.read_all()) == 4

    def test_members_that_are_named_so_hold_none_3(self, lines: Lines, log: Any) -> None:
        named = dict.fromkeys(("value", "token", "password", "sasl_plain_password", "signature", "payload"), CANARY)
        log.warning("read", **named, inner=named)
        assert CANARY not in lines.getvalue()

    def test_bytes_are_counted_and_not_shown_3(self, lines: Lines, log: Any) -> None:
        value = CANARY.encode()
        log.warning("read", of=value, several=[value, bytearray(value), memoryview(value)])
        OTHERS.error("Unable to decode %d-byte buffer: %r", len(value), value)
        OTHERS.error("Unable to decode: %(buffer)r", {"buffer": value})
        assert CANARY not in lines.getvalue()
        assert "11 bytes" in lines.last()["event"]

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (
                "connecting to postgresql://u:p@db/x failed: refused",
                "connecting to postgresql://***@db/x failed: refused",
            ),
            ("password authentication failed for user", "password authentication failed for user"),
            ("Check LEDGER_TOKEN_KEYS and 127.0.0.1:9092", "Check LEDGER_TOKEN_KEYS and 127.0.0.1:9092"),
        ],
    )
    def test_the_rest_of_a_sentence_is_left(self, text: str, shown: str) -> None:
        assert redacted(text) == shown

    @pytest.mark.parametrize("text", ["b'", "a", "://", "a://", "password", "b'\\", "eyJ.", "a.-", "basic ", 'token="'])
    def test_what_looks_like_a_secret_again_and_again_is_found_in_time(self, lines: Lines, log: Any, text: str) -> None:
        """A pattern that goes back and forth would take for ever."""
        log.warning(text * 10**5)
        assert len(lines.read_all()) == 1


class TestErrors:
    def test_they_tell_kind_place_and_cause(self, lines: Lines, log: Any) -> None:
        def fails() -> None:
            try:
                away()
            except BrokerUnavailable as error:
                raise RuntimeError("x") from error

        log.error("failed", exc_info=raised(fails))
        first, cause = lines.last()["errors"]
        assert first["error"] == "builtins.RuntimeError"
        assert (cause["error"], cause["text"]) == ("ledger.broker.BrokerUnavailable", "away")
        assert first["at"][-1].startswith("tests.test_logs:")
        assert first["at"][-1].endswith(" fails")

    def test_the_one_that_is_handled_is_meant_where_none_is_named(self, lines: Lines, log: Any) -> None:
        try:
            away()
        except BrokerUnavailable:
            log.exception("failed")
            OTHERS.exception("failed")
        assert [line["errors"][0]["text"] for line in lines.read_all()] == ["away", "away"]

    def test_what_they_were_given_is_not_shown_3(self, lines: Lines, log: Any, database: Database) -> None:
        """Texts of errors quote rows, keys and inputs; tracebacks of some renderers show what variables held."""

        def asks(query: str, *values: str) -> Callable[[], Any]:
            def ask() -> None:
                with psycopg.connect(database.admin_url) as connection:
                    connection.execute(TABLE)
                    connection.execute(query.encode(), values)

            return ask

        held = CANARY
        failures: list[Callable[[], Any]] = [
            lambda: dict[str, int]()[held],
            lambda: int(held),
            lambda: TypeAdapter(int).validate_python(held),
            lambda: json.loads("{" + held),
            asks("SELECT %s::int", held),
            asks(f'SELECT "{held}"'),
            asks("SELECT %s::text FROM nowhere", held),
            asks("INSERT INTO canaries VALUES (%s)", held),
        ]
        found = [raised(fails) for fails in failures]
        assert {type(error) for error in found} >= {KeyError, ValidationError, psycopg.errors.CheckViolation}
        for error in found:
            log.error("failed", exc_info=error)
            log.error("failed", why=error)
            OTHERS.error("failed", exc_info=error)
        assert CANARY not in lines.getvalue()
        told = [
            line["errors"][0] for line in lines.read_all() if line["logger"] == "ledger.intake" and "errors" in line
        ]
        assert [each.get("sqlstate") for each in told] == [None] * 4 + ["22P02", "42703", "42P01", "23514"]
        assert told[-1]["table"] == "canaries"

    def test_what_the_server_says_of_itself_is_shown(self, lines: Lines, log: Any) -> None:
        log.error("failed", exc_info=raised(lambda: psycopg.connect(f"postgresql://u:{CANARY}@127.0.0.1:1/x")))
        assert "Connection refused" in lines.last()["errors"][0]["text"]
        assert CANARY not in lines.getvalue()

    def test_a_chain_without_end_ends(self, lines: Lines, log: Any) -> None:
        first, second = RuntimeError(), RuntimeError()
        first.__cause__, second.__cause__ = second, first
        log.error("failed", exc_info=first)
        assert len(lines.last()["errors"]) == MAX_CAUSES

    @pytest.mark.parametrize(
        ("crash", "code"),
        [("crash()", 1), ("import threading; threading.Thread(target=crash, name='reading').start()", 0)],
    )
    def test_a_bug_that_ends_the_program_or_a_thread_is_a_line_too_3(self, crash: str, code: int) -> None:
        done = run(f"crash = lambda: int('{CANARY}'); {crash}")
        (line,) = map(json.loads, done.stderr.splitlines())
        assert (line["level"], line["errors"][0]["error"]) == ("critical", "builtins.ValueError")
        assert line.get("thread") == (None if code else "reading")
        assert done.returncode == code
        assert CANARY not in done.stderr


class Clock:
    """A time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class TestHowMany:
    def test_of_lines_that_are_alike_so_many_are_written_4(self, lines: Lines) -> None:
        for number in range(100):
            OTHERS.error("Bootstrap to node %s failed (backoff %.2f secs)", number, number / 7)
            # As the client of Kafka does in places.
            OTHERS.error(f"Bootstrap attempt to bootstrap-{number} failed: 127.0.0.1:{number}")
        assert len(lines.read_all()) == 2 * MOST_OF_OTHERS
        OTHERS.error("Something else")
        assert lines.last()["event"] == "Something else"

    def test_ours_have_a_bound_of_their_own_4(self, lines: Lines, log: Any) -> None:
        for number in range(MOST_OF_OURS + 10):
            log.warning("refused", offset=number)
        assert len(lines.getvalue().splitlines()) == MOST_OF_OURS
        log.warning("partition taken")
        assert lines.last()["event"] == "partition taken"

    def test_after_a_while_it_is_told_how_many_were_left_out_and_all_begins_anew_4(self) -> None:
        clock = Clock()
        bound = Bound(clock)
        assert sum(bound.admits("kafka", f"failed {number}") for number in range(20)) == MOST_OF_OTHERS
        assert bound.left_out() == []
        clock.now_s += WINDOW_S
        assert bound.left_out() == [("kafka", "failed #", 20 - MOST_OF_OTHERS)]
        assert bound.left_out() == []
        assert sum(bound.admits("kafka", f"failed {number}") for number in range(20)) == MOST_OF_OTHERS

    def test_of_a_storm_that_goes_on_every_line_is_written_or_counted_4(self) -> None:
        clock = Clock()
        bound = Bound(clock)
        written = told = 0
        for _ in range(10_000):
            clock.now_s += 0.1
            told += sum(count for _, _, count in bound.left_out())
            written += bound.admits("kafka", "failed")
        told += sum(count for _, _, count in bound.left_out(at_last=True))
        windows = 10_000 * 0.1 / WINDOW_S
        assert written + told == 10_000
        assert MOST_OF_OTHERS * int(windows) <= written <= MOST_OF_OTHERS * (windows + 2)

    def test_slow_lines_are_all_written(self) -> None:
        clock = Clock()
        bound = Bound(clock)
        for _ in range(1_000):
            clock.now_s += WINDOW_S / MOST_OF_OTHERS + LOOK_EVERY_S
            assert bound.left_out() == []
            assert bound.admits("kafka", "failed")

    def test_kinds_have_a_bound_and_those_beyond_are_counted_together_4(self) -> None:
        bound = Bound(Clock())
        admitted = [bound.admits("kafka.x", f"failed {chr(0x4E00 + number)}") for number in range(MAX_KINDS + 100)]
        assert admitted[:MAX_KINDS] == [True] * MAX_KINDS
        assert sum(admitted[MAX_KINDS:]) == MOST_OF_OTHERS
        assert len(bound._windows) <= MAX_KINDS + 1

    def test_a_real_client_whose_broker_is_away_says_so_a_few_times_4(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            done = run(
                "from kafka.admin import KafkaAdminClient\n"
                f"KafkaAdminClient(bootstrap_servers='127.0.0.1:{port}', reconnect_backoff_max_ms=50, bootstrap_timeout_ms=3_000)"
            )
        found = [json.loads(line) for line in done.stderr.splitlines()]
        assert any(line["event"] == "ended by an error" for line in found)
        written = Counter((line["logger"], line["event"]) for line in found if "like" not in line)
        counts = [line["count"] for line in found if "like" in line]
        assert max(written.values()) <= MOST_OF_OTHERS
        assert sum(counts) > written.total()

    def test_the_last_word_is_spoken_at_the_end_4(self) -> None:
        done = run("import logging; [logging.getLogger('kafka').error('away') for _ in range(20)]")
        *written, last = map(json.loads, done.stderr.splitlines())
        assert len(written) == MOST_OF_OTHERS
        assert (last["like"], last["count"]) == ("away", 20 - MOST_OF_OTHERS)


class TestWhere:
    def test_people_at_a_terminal_get_something_to_read(self) -> None:
        ours, theirs = pty.openpty()
        say = "import structlog; structlog.get_logger('ledger').info('posted', command_id='ea/1', password='canary')"
        with subprocess.Popen([sys.executable, "-c", CONFIGURED + say], stderr=theirs) as program:
            os.close(theirs)
            shown = os.read(ours, 4_096).decode()
            assert program.wait(PATIENCE_S) == 0
        os.close(ours)
        assert "posted" in shown
        assert "ea/1" in shown
        assert "canary" not in shown
        assert not shown.startswith("{")

    def test_standard_output_stays_free(self) -> None:
        done = run("import structlog; structlog.get_logger('ledger').info('posted')")
        assert not done.stdout
        assert json.loads(done.stderr)["event"] == "posted"

    def test_that_nobody_reads_it_any_more_ends_nothing(self) -> None:
        done = run(
            "import os, structlog; log = structlog.get_logger('ledger'); ours, theirs = os.pipe(); os.close(ours); "
            "os.dup2(theirs, 2); [log.info('posted') for _ in range(10)]; print('went on', flush=True); os._exit(0)"
        )
        assert done.stdout == "went on\n"
