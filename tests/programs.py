"""`ledger` and other programs as processes of their own, and what they have said so far."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Self

PATIENCE_S = 60


class Program:
    """A Python module that runs as a process, in a group of its own; killed at the end if it still runs."""

    def __init__(self, module: str, *arguments: str, settings: dict[str, str] | None = None) -> None:
        self.output = self.errors = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
            | (settings or {}),
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._listening = [
            threading.Thread(target=self._listen, args=("output", self.process.stdout)),
            threading.Thread(target=self._listen, args=("errors", self.process.stderr)),
        ]
        for each in self._listening:
            each.start()

    def _listen(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                setattr(self, name, getattr(self, name) + line)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until its output has this."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.output)) is None:
            assert self.process.poll() is None, f"it ended by itself: {self.output}{self.errors}"
            assert time.monotonic() < deadline, f"it does not say {pattern}: {self.output}{self.errors}"
            time.sleep(0.01)
        return found

    def wait(self) -> int:
        """Until it has ended by itself; its exit code."""
        code = self.process.wait(PATIENCE_S)
        for each in self._listening:
            each.join(PATIENCE_S)
        return code

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """It and its children at once, as when memory runs out."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for each in self._listening:
            each.join(PATIENCE_S)
