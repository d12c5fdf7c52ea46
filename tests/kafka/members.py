"""Processes of the ledger that a chaos run kills, stops and starts again, as a supervisor would."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

LEAVING_WITHIN_S = 60
# So long it may take until a program listens to signals, on a machine where much else starts at the same time.
LISTENS_WITHIN_S = 15
# As the ledger says it, and as the reference consumer passes on what its client says.
AWAY = ("The database does not answer", "KafkaTimeoutError: ", "KafkaConnectionError: ")
LOG_TAIL_BYTES = 1_500
RESTART_AFTER_S = 0.5


class EndedByItself(NamedTuple):
    """Nobody had told it to."""

    name: str
    code: int
    said: str
    ran_s: float

    @property
    def is_allowed(self) -> bool:
        """What cannot even begin, because the database or the broker is away, may leave it to its supervisor to try again.

        SIGTERM may also come before a program listens to it; then it has done nothing yet.
        """
        last = self.said.rpartition("\n")[2]
        if self.code == -signal.SIGTERM:
            return self.ran_s < LISTENS_WITHIN_S
        return last.startswith(AWAY)


class Member:
    """One process, with what it says on its standard error in a file. Threads take turns."""

    def __init__(self, name: str, command: list[str], settings: dict[str, str], folder: Path) -> None:
        """Nothing runs before `start`."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.slowest_leave_s = 0.0
        self.ended: list[EndedByItself] = []
        self._command = command
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith("LEDGER_")
        } | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._turn = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Its process id while it is meant to run."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start it, unless another has."""
        with self._turn, self.log.open("ab") as log:
            if self._process is not None:
                return
            self._started_s = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, to it and what it started."""
        with self._turn:
            if self._process is not None:
                process, self._process = self._process, None
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def leave(self) -> None:
        """SIGTERM; it must end by itself soon, and well."""
        with self._turn:
            if self._process is None:
                return
            process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        # It may be frozen.
        process.send_signal(signal.SIGCONT)
        began_s, ran_s = time.monotonic(), time.monotonic() - self._started_s
        try:
            code = process.wait(LEAVING_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        self.slowest_leave_s = max(self.slowest_leave_s, time.monotonic() - began_s)
        if code != 0:
            self.ended.append(EndedByItself(f"{self.name} at SIGTERM", code, self.said(), ran_s))

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT; nothing where it ended meanwhile."""
        with self._turn:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def supervise(self) -> None:
        """Start it again where it ended by itself, and take note."""
        with self._turn:
            if self._process is None:
                return
            code = self._process.poll()
            if code is None:
                return
            self.ended.append(EndedByItself(self.name, code, self.said(), time.monotonic() - self._started_s))
            self._process = None
            time.sleep(RESTART_AFTER_S)
            self.start()

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
