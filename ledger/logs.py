"""What the workers log: one JSON object a line on standard error, or something to read where that is a terminal.

1. Every line has `time` (UTC, RFC 3339), `level`, `event` and `logger`; what belongs to it follows as members of its own.
2. The libraries' lines go the same way: the client of Kafka, the HTTP server, the connection pool, Python's warnings.
3. No line holds the value of a message, a token or a password: our own do not log them, and what libraries say, and errors,
   whose texts quote what they were given, is stripped of them here.
4. Lines have a bound, in length and in number: of lines that are alike, so many are written in a while, and then how many
   were left out. A broker that is away makes its client say so several times a second.
"""

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import psycopg
import structlog
from structlog.stdlib import ProcessorFormatter

MAX_CHARACTERS = 2_000
MAX_LOOKED_AT = 2 * MAX_CHARACTERS
MAX_ITEMS = 50
MAX_DEPTH = 4
MAX_FRAMES = 20
MAX_CAUSES = 5

OURS = "ledger"
# Of lines that are alike, ours and those of libraries, in a window.
WINDOW_S = 60.0
MOST_OF_OURS = 3_000
MOST_OF_OTHERS = 5
MAX_KINDS = 500
MAX_KIND_CHARACTERS = 120
LOOK_EVERY_S = 1.0

HIDDEN = "***"
HIDDEN_NAMES = r"password|passwd|passphrase|secret|token|authorization|api_?key|private_?key"
HIDDEN_MEMBER = re.compile(rf"(?i).*(?:{HIDDEN_NAMES})|value|payload|signature")
# None of them takes longer than with the square of a text, and that is short.
SECRETS = (
    # Who logs in, in an address.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), HIDDEN),
    (
        re.compile(
            rf"(?i)((?:{HIDDEN_NAMES})\w{{0,40}}[\"']?\s{{0,4}}[=:]\s{{0,4}})(\"[^\"]*\"|'[^']*'|[^\s,;)}}\]]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    # Bytes as Python spells them: of a message, or of a part of the protocol.
    (re.compile(r"\bb(?:'(?:\\.|[^'\\]){8,}'?|\"(?:\\.|[^\"\\]){8,}\"?)"), "(bytes)"),
)

# What the server says of itself and not of the values that it was given.
STATES_OF_THE_SERVER = ("08", "25", "28", "40", "53", "55", "57", "58")
SAYING_NOTHING_OF_VALUES = ("ledger", "migrations", "kafka")


def configure(stream: TextIO | None = None) -> None:
    """Log from now on. Called by the commands that start a worker; where it is not called nothing changes."""
    to = sys.stderr if stream is None else stream
    handler = _Lines(to)
    renderer: Any = (
        structlog.dev.ConsoleRenderer(timestamp_key="time", sort_keys=False)
        if to.isatty()
        else structlog.processors.JSONRenderer()
    )
    handler.setFormatter(ProcessorFormatter(processors=[_line, renderer]))
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _Lines)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(logging.INFO)
    structlog.configure(
        processors=[ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed


def redacted(text: str) -> str:
    """Without passwords, tokens and bytes, and no longer than a line may be."""
    shown = text
    if len(text) > MAX_LOOKED_AT:
        # Not in the middle of a word: a secret that is cut may lose what it is known by.
        shown = text[:MAX_LOOKED_AT].rpartition(" ")[0]
    for pattern, instead in SECRETS:
        shown = pattern.sub(instead, shown)
    return shown if len(text) <= MAX_LOOKED_AT and len(shown) <= MAX_CHARACTERS else f"{shown[:MAX_CHARACTERS]}…"


def _line(_logger: object, _name: str, said: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A line of ours or of a library, as it is written."""
    record: logging.LogRecord = said.pop("_record")
    said.pop("_from_structlog")
    error = _error_of(said.pop("exc_info", None))
    said.pop("stack_info", None)
    line: dict[str, Any] = {
        "time": _moment(record.created),
        "level": record.levelname.lower(),
        "event": redacted(str(said.pop("event", ""))),
        "logger": record.name,
    }
    for name, value in said.items():
        line[name] = HIDDEN if HIDDEN_MEMBER.fullmatch(name) else _plain(value)
    if error is not None:
        line["errors"] = _told(error)
    return line


def _moment(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: Any, depth: int = 0) -> Any:
    """As JSON takes it, redacted and within bounds; of what is none of its kinds only the kind is told."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return redacted(value)
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
        case BaseException():
            return _one(value)
        case _ if depth == MAX_DEPTH:
            return f"({type(value).__name__})"
        case Mapping():
            return {
                redacted(str(name)): HIDDEN if HIDDEN_MEMBER.fullmatch(str(name)) else _plain(each, depth + 1)
                for name, each in list(value.items())[:MAX_ITEMS]
            }
        case list() | tuple() | set() | frozenset():
            return [_plain(each, depth + 1) for each in list(value)[:MAX_ITEMS]]
        case _:
            return f"({type(value).__name__})"


def _error_of(given: Any) -> BaseException | None:
    if given is True:
        return sys.exc_info()[1]
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 else None
    return given if isinstance(given, BaseException) else None


def _told(error: BaseException) -> list[dict[str, Any]]:
    """An error and what caused it: their kinds and places, and their texts where these quote nothing."""
    told: list[dict[str, Any]] = []
    each: BaseException | None = error
    while each is not None and len(told) < MAX_CAUSES:
        told.append(_one(each))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return told


def _one(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    told: dict[str, Any] = {"error": f"{kind.__module__}.{kind.__qualname__}"}
    if text := _text(error):
        told["text"] = redacted(text.partition("\n")[0])
    if isinstance(error, psycopg.Error):
        told |= {
            name: found
            for name, found in (
                ("sqlstate", error.sqlstate),
                ("table", error.diag.table_name),
                ("constraint", error.diag.constraint_name),
            )
            if found
        }
    told["at"] = [
        f"{frame.f_globals.get('__name__', '?')}:{number} {frame.f_code.co_name}"
        for frame, number in list(traceback.walk_tb(error.__traceback__))[-MAX_FRAMES:]
    ]
    return told


def _text(error: BaseException) -> str | None:
    """What an error says, unless it may quote what it was given: a row, a key, a text that cannot be read."""
    match error:
        case psycopg.Error():
            about_the_server = error.sqlstate is None or error.sqlstate.startswith(STATES_OF_THE_SERVER)
            return str(error) if about_the_server else None
        case OSError():
            return error.strerror
        case _:
            return str(error) if type(error).__module__.partition(".")[0] in SAYING_NOTHING_OF_VALUES else None


@dataclass(slots=True)
class _Window:
    """Lines that are alike, since it began."""

    began_s: float
    written: int = 0
    left_out: int = 0


class Bound:
    """Says which lines are written, and how many were not; called under the lock of the handler."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was written yet."""
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._looked_s = clock()

    def admits(self, logger: str, event: str) -> bool:
        """Whether a line is written."""
        now_s = self._clock()
        kind = logger, re.sub(r"\d+", "#", event[:MAX_KIND_CHARACTERS])
        if kind not in self._windows and len(self._windows) >= MAX_KINDS:
            kind = logger.partition(".")[0], ""
        window = self._windows.setdefault(kind, _Window(now_s))
        if window.left_out == 0 and now_s >= window.began_s + WINDOW_S:
            window.began_s, window.written = now_s, 0
        most = MOST_OF_OURS if _is_ours(logger) else MOST_OF_OTHERS
        if window.written < most:
            window.written += 1
            return True
        window.left_out += 1
        return False

    def left_out(self, *, at_last: bool = False) -> list[tuple[str, str, int]]:
        """Logger, event and number of what was left out in windows that are over, each told once; at last, in all."""
        now_s = self._clock()
        if not at_last and now_s < self._looked_s + LOOK_EVERY_S:
            return []
        self._looked_s = now_s
        over = {kind: each for kind, each in self._windows.items() if at_last or now_s >= each.began_s + WINDOW_S}
        for kind in over:
            del self._windows[kind]
        return [(*kind, each.left_out) for kind, each in over.items() if each.left_out]


def _is_ours(logger: str) -> bool:
    return logger == OURS or logger.startswith(f"{OURS}.")


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines, within the bound."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._bound = Bound()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, unless there were too many like it; before it, what was left out."""
        self._tell(self._bound.left_out())
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
        if self._bound.admits(record.name, str(event)):
            super().emit(record if isinstance(record.msg, dict) else _of_a_library(record))

    def close(self) -> None:
        """With the last word on what was left out."""
        if not self.stream.closed:
            self._tell(self._bound.left_out(at_last=True))
        super().close()

    def _tell(self, left_out: list[tuple[str, str, int]]) -> None:
        for logger, event, count in left_out:
            said = {"event": "lines like this were left out", "like": event, "count": count}
            record = logging.LogRecord(logger, logging.WARNING, "", 0, said, None, None)
            record.__dict__ |= {"_logger": None, "_name": "warning"}
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by the library
        """That a line cannot be written is told without its values, which the library's own way would quote."""
        error = sys.exc_info()[1]
        line = {
            "time": _moment(time.time()),
            "level": "error",
            "event": "a line could not be written",
            "logger": record.name,
            "error": type(error).__name__,
        }
        # Where nobody reads the stream any more there is nobody to tell.
        with suppress(OSError, ValueError):
            self.stream.write(f"{json.dumps(line)}\n")


def _of_a_library(record: logging.LogRecord) -> logging.LogRecord:
    """With its text made, of anything but bytes; a line whose text cannot be made is told by its template."""
    made = logging.makeLogRecord(record.__dict__)
    try:
        made.msg, made.args = str(record.msg) % _arguments(record.args) if record.args else str(record.msg), ()
    except (TypeError, ValueError, KeyError):
        made.msg, made.args = str(record.msg), ()
    return made


def _arguments(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: _no_bytes(value) for name, value in given.items()}
    return tuple(_no_bytes(value) for value in given)


def _no_bytes(value: Any) -> Any:
    return f"({len(value)} bytes)" if isinstance(value, bytes | bytearray | memoryview) else value


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A program that ends by a bug says so as it says all else, and not with what its variables held."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(OURS).critical("ended by an error", exc_info=error)


def _thread_crashed(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        name = None if arguments.thread is None else arguments.thread.name
        structlog.get_logger(OURS).critical("a thread ended by an error", thread=name, exc_info=arguments.exc_value)
