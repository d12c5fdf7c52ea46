"""What the workers log: one JSON object a line, without secrets, within bounds. Numbers in names are the module's invariants."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog

from ledger import logs
from ledger.logs import MAX_CHARACTERS, MAX_KINDS, MOST_OF_OTHERS, WINDOW_S, Bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.database import Database

CANARY = "canary-3141592653"


class Said:
    """What was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def said() -> Iterator[Said]:
    """Logging as a worker does it; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.handlers[:], root.level, ours.level, sys.excepthook, threading.excepthook
    found = Said()
    logs.configure(found.stream)
    yield found
    added = [each for each in root.handlers if each not in before[0]]
    root.handlers, level, our_level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    ours.setLevel(our_level)
    for each in added:
        each.close()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_line_has_time_level_event_logger_and_what_belongs_to_it_1(said: Said) -> None:
    structlog.get_logger("ledger.intake").warning(
        "refused", command_id="ea/1", code="AccountUnknown", offset=7, item=None
    )
    (line,) = said.lines
    assert list(line)[:4] == ["time", "level", "event", "logger"]
    assert line["time"].endswith("Z")
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "warning",
        "event": "refused",
        "logger": "ledger.intake",
        "command_id": "ea/1",
        "code": "AccountUnknown",
        "offset": 7,
        "item": None,
    }


def test_libraries_go_the_same_way_from_warnings_up_2(said: Said) -> None:
    logging.getLogger("kafka.net").info("nothing")
    logging.getLogger("kafka.net").error("Connection to %s failed\nagain", "node 1")
    logging.getLogger("psycopg.pool").warning("error connecting in %r", "ledger")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert [(line["level"], line["logger"]) for line in said.lines] == [
        ("error", "kafka.net"),
        ("warning", "psycopg.pool"),
        ("warning", "py.warnings"),
    ]
    assert said.lines[0]["event"] == "Connection to node 1 failed\nagain"


@pytest.mark.parametrize(
    "text",
    [
        f"connecting to postgresql://ledger_app:{CANARY}@127.0.0.1/ledger failed",
        f"postgresql://u:p@{CANARY}@host/ledger",
        f"host=h password={CANARY} user=u",
        f"sasl_plain_password='{CANARY}'",
        f'{{"sasl_plain_password": "{CANARY}", "x": 1}}',
        f"Authorization: Bearer {CANARY}",
        f"token eyJhbGciOi.{CANARY}.x",
        f"the value b'{CANARY}' is none",
    ],
)
def test_no_secret_is_in_a_line_wherever_it_stands_3(said: Said, text: str) -> None:
    log = structlog.get_logger("ledger.x")
    log.warning(text)
    log.warning("within", why=text, more=[{"deep": text}])
    logging.getLogger("kafka.x").warning("it says %s", text)
    assert len(said.lines) == 3
    assert CANARY not in said.stream.getvalue()


def test_no_value_is_in_a_line_under_whatever_name_3(said: Said, database: Database) -> None:
    log = structlog.get_logger("ledger.x")
    log.warning("named", value=CANARY, payload=CANARY, password=CANARY, token=CANARY, raw=CANARY.encode())
    logging.getLogger("kafka.x").warning("%r %s", CANARY.encode(), CANARY.encode())
    for failing in (f"SELECT '{CANARY}'::int", f"SELECT {CANARY.replace('-', '_')}"):
        with pytest.raises(psycopg.Error) as raised, database.connection() as connection:
            connection.execute(failing.encode())
        log.error("failed", exc_info=raised.value)
    try:
        int(CANARY)
    except ValueError:
        log.exception("failed")
    assert CANARY not in said.stream.getvalue()
    assert CANARY.replace("-", "_") not in said.stream.getvalue()
    errors = [line["errors"][0] for line in said.lines if "errors" in line]
    assert [each.get("sqlstate") for each in errors] == ["22P02", "42703", None]
    assert errors[2]["error"] == "builtins.ValueError"
    assert any("test_logs" in place for place in errors[2]["at"])


def test_a_bug_that_ends_the_program_or_a_thread_is_told_without_values_3(said: Said) -> None:
    def fails() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fails, name="reading")
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    assert [(line["level"], line.get("thread")) for line in said.lines] == [("critical", "reading"), ("critical", None)]
    assert CANARY not in said.stream.getvalue()


def test_a_line_has_a_bound_4(said: Said) -> None:
    structlog.get_logger("ledger.x").warning("long", why="x" * 100_000, more=["y" * 100_000], many=list(range(10_000)))
    assert len(said.stream.getvalue()) < 3 * MAX_CHARACTERS


def test_of_lines_that_are_alike_so_many_are_written_and_the_others_counted_4(said: Said) -> None:
    for number in range(100):
        logging.getLogger("kafka.net").error("Connection %s failed", number)
        logging.getLogger("kafka.cluster").error(f"No broker {number}")  # noqa: G004 - as the client of Kafka does
        structlog.get_logger("ledger.intake").info("posted", messages=1)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logs._Lines):
            handler.close()
    counts = {
        logger: sum(line["logger"] == logger for line in said.lines if "like" not in line)
        for logger in ("kafka.net", "kafka.cluster", "ledger.intake")
    }
    assert counts == {"kafka.net": MOST_OF_OTHERS, "kafka.cluster": MOST_OF_OTHERS, "ledger.intake": 100}
    left_out = {line["logger"]: line["count"] for line in said.lines if "like" in line}
    assert left_out == {"kafka.net": 100 - MOST_OF_OTHERS, "kafka.cluster": 100 - MOST_OF_OTHERS}


def test_after_a_while_they_are_written_again_4() -> None:
    now_s = 0.0
    bound = Bound(lambda: now_s)
    written = [bound.admits("kafka.x", f"failed {number}") for number in range(10)]
    assert written == [True] * MOST_OF_OTHERS + [False] * (10 - MOST_OF_OTHERS)
    now_s = WINDOW_S
    assert bound.left_out() == [("kafka.x", "failed #", 10 - MOST_OF_OTHERS)]
    assert bound.left_out() == []
    assert bound.admits("kafka.x", "failed 11")


def test_kinds_have_a_bound_4() -> None:
    bound = Bound(lambda: 0.0)
    for number in range(2 * MAX_KINDS):
        bound.admits("kafka.x", f"failed {chr(0x4E00 + number)}")
    assert len(bound._windows) <= MAX_KINDS + 1


def test_in_a_terminal_it_is_no_json(said: Said) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.configure(terminal)
    structlog.get_logger("ledger.x").warning("refused", code="AccountUnknown")
    assert "AccountUnknown" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert said.lines == []
