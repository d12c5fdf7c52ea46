"""The HTTP service of one process: the API on its event loop, posting on one thread, projecting on another.

It ends on SIGINT and SIGTERM: no new requests, answers to those that are there, what waits is posted, then the threads end.
"""

import signal
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType
from typing import Any

import uvicorn

from ledger.api.app import create_app
from ledger.api.tokens import verifier
from ledger.application import Ledger
from ledger.batching import GroupCommit
from ledger.database import Database
from ledger.listening import base_url, listen
from ledger.notary import PUBLIC_KEY
from ledger.projector import Projector
from ledger.receipts import open_receipts
from ledger.settings import Settings

# More requests at once than these are answered with 503, by the server itself.
MAX_REQUESTS_AT_ONCE = 1_024
KEEP_ALIVE_S = 75
LAST_ANSWERS_S = 10
# The event loop and the posting thread take turns often: with the usual 5 ms each would wait for the other.
SWITCH_S = 0.0005


def serve(  # noqa: PLR0913 - what a service is started with
    database: Database, settings: Settings, *, host: str, port: int, projects: bool, ready: Callable[[str], Any]
) -> None:
    """Serve until told to end; `ready` is called with the base URL as soon as requests are taken.

    Raises AddressTaken, KeysUnusable, KeyExposed, KeyFileUnusable, OSError, and what ended the projector if that was no end.
    """
    listening = listen(host, port)
    sys.setswitchinterval(SWITCH_S)
    with listening, GroupCommit(Ledger(database)) as group:
        app = create_app(
            database,
            group,
            verifier(settings),
            open_receipts(settings),
            notary_key=settings.notary_files / PUBLIC_KEY,
            version=version("pension-ledger"),
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                access_log=False,
                log_level="warning",
                server_header=False,
                limit_concurrency=MAX_REQUESTS_AT_ONCE,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=LAST_ANSWERS_S,
            )
        )
        stop = threading.Event()
        failed: list[BaseException] = []
        projecting = threading.Thread(
            target=_project, args=(database, stop, server, failed), name="ledger-projecting", daemon=True
        )
        # Uvicorn raises the signal again when it has ended: without a handler of ours that would end the process before
        # our own server is stopped.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            if projects:
                projecting.start()
            ready(base_url(host, listening))
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
            if projecting.is_alive():
                projecting.join()
            signal.signal(signal.SIGTERM, before)
    if failed:
        raise failed[0]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _project(database: Database, stop: threading.Event, server: uvicorn.Server, failed: list[BaseException]) -> None:
    """Project until stopped. A service whose projector died would answer, and answer less and less: it ends with it."""
    try:
        Projector(database).run(stop, report=lambda sentence: print(sentence, file=sys.stderr))  # noqa: T201 - its log
    except BaseException as error:  # noqa: BLE001 - raised where the service was started
        failed.append(error)
        server.should_exit = True
