"""One door to PostgreSQL: an external one by its URL, or our own when no URL is given.

1. Every connection speaks UTC, has a lock and a statement timeout, and is named `ledger`.
2. The application connects as `ledger_app`; the administrator's address is for migrations only.
3. An external database is never changed by opening it: if it is behind, opening says what to run.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool

from ledger.embedded import SUPERUSER, EmbeddedServer, temporary_embedded_server
from migrations import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg.rows import TupleRow

    from ledger.settings import Settings

APP_ROLE = "ledger_app"
NOTARY_ROLE = "ledger_notary"
AUDITOR_ROLE = "ledger_auditor"
READER_ROLE = "ledger_reader"
OUTLET_ROLE = "ledger_outlet"
LOGIN_ROLES = (APP_ROLE, NOTARY_ROLE, AUDITOR_ROLE, READER_ROLE, OUTLET_ROLE)
DATABASE_NAME = "ledger"
TEMPLATE_NAME = "ledger_template"

CONNECTION_WAIT_S = 10.0
MAX_IDLE_MS = 60_000


class DatabaseBehind(RuntimeError):
    """The database lacks tables of this version."""

    def __init__(self, *, names: list[str]) -> None:
        """Say what is missing and what to run."""
        self.names = names
        super().__init__(
            f"The database has not had {', '.join(names)}: run `ledger migrate` (with LEDGER_ADMIN_DATABASE_URL) first."
        )


class Database:
    """One migrated database and the ways to connect to it."""

    def __init__(  # noqa: PLR0913 - an address for each role
        self,
        *,
        url: str,
        admin_url: str,
        notary_url: str | None = None,
        auditor_url: str | None = None,
        outlet_url: str | None = None,
        embedded: bool,
        settings: Settings,
    ) -> None:
        """Take the addresses; nothing is connected yet. Of an external database each process has only its own."""
        self.url = url
        self.notary_url = notary_url or url
        self.auditor_url = auditor_url or url
        self.outlet_url = outlet_url or url
        self.admin_url = admin_url
        self.embedded = embedded
        self._settings = settings
        self._pool: ConnectionPool[psycopg.Connection[TupleRow]] | None = None
        self._pool_lock = threading.Lock()

    @property
    def pool(self) -> ConnectionPool[psycopg.Connection[TupleRow]]:
        """The connections that the threads of this process share; opened on first use."""
        with self._pool_lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self.url,
                    kwargs=self._connection_arguments(),
                    min_size=1,
                    max_size=self._settings.pool_size,
                    name="ledger",
                    open=True,
                )
            return self._pool

    @contextmanager
    def connection(self, *, wait_s: float = CONNECTION_WAIT_S) -> Iterator[psycopg.Connection[TupleRow]]:
        """Borrow a pooled connection: committed at the end, rolled back on an error.

        Raises PoolTimeout, an OperationalError, if none is free or to be had within that time.
        """
        pool = self.pool
        with pool.connection(timeout=wait_s) as connection:
            try:
                yield connection
            except psycopg.OperationalError:
                if connection.closed:
                    # Whatever cut this one off may have cut off the idle ones too: one error for that is enough.
                    pool.check()
                raise

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection[TupleRow]:
        """Open a connection of one's own, to listen, stream or write; the caller closes it."""
        return psycopg.connect(self.url, autocommit=autocommit, **self._connection_arguments())

    def connect_as_notary(self) -> psycopg.Connection[TupleRow]:
        """Open a connection to read the journal and write seals; the caller closes it."""
        return psycopg.connect(self.notary_url, **self._connection_arguments())

    def connect_as_outlet(self) -> psycopg.Connection[TupleRow]:
        """Open a connection to read the journal and write how far it was published; the caller closes it."""
        return psycopg.connect(self.outlet_url, **self._connection_arguments())

    def close(self) -> None:
        """Close the pool; it opens again when used."""
        with self._pool_lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _connection_arguments(self) -> dict[str, Any]:
        # As start-up options, so that a new connection costs no further round trip.
        options = {
            "TimeZone": "UTC",
            "search_path": "public",
            "jit": "off",
            # Lists arrive as one text, of whose length a custom plan makes too much: it would read whole tables.
            "plan_cache_mode": "force_generic_plan",
            "lock_timeout": self._settings.lock_timeout_ms,
            "statement_timeout": self._settings.statement_timeout_ms,
            # A writer that is frozen in a transaction holds the journal's head, and so all others.
            "idle_in_transaction_session_timeout": MAX_IDLE_MS,
        }
        return {
            "application_name": "ledger",
            # A server that vanishes without a word is given up soon, and not after the hours that TCP would wait.
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        }


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the external database, or start our own and bring its tables up to date."""
    with _reachable_database(settings) as database:
        try:
            if database.embedded:
                migrate(database.admin_url)
            else:
                _require_current(database)
            yield database
        finally:
            database.close()


def migrate_database(settings: Settings) -> list[str]:
    """Bring the external or our own database up to date; return the names of what was applied."""
    with _reachable_database(settings) as database:
        return migrate(database.admin_url)


@contextmanager
def _reachable_database(settings: Settings) -> Iterator[Database]:
    if settings.database_url is not None:
        yield Database(
            url=settings.database_url,
            admin_url=settings.admin_database_url or settings.database_url,
            embedded=False,
            settings=settings,
        )
        return
    server = EmbeddedServer(settings.data_folder, shared_buffers_mb=settings.shared_buffers_mb)
    with server:
        _ensure_database(server)
        yield _database_of(server, DATABASE_NAME, settings)


def _database_of(server: EmbeddedServer, name: str, settings: Settings) -> Database:
    return Database(
        url=server.url(user=APP_ROLE, database=name),
        admin_url=server.url(user=SUPERUSER, database=name),
        notary_url=server.url(user=NOTARY_ROLE, database=name),
        auditor_url=server.url(user=AUDITOR_ROLE, database=name),
        outlet_url=server.url(user=OUTLET_ROLE, database=name),
        embedded=True,
        settings=settings,
    )


def _ensure_database(server: EmbeddedServer) -> None:
    with _administration(server) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE_NAME,)).fetchone():
            return
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE_NAME)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # Another process of the same first start was quicker.


def _require_current(database: Database) -> None:
    with database.connect() as connection:
        names = pending(connection)
    if names:
        raise DatabaseBehind(names=names)


def _administration(server: EmbeddedServer) -> psycopg.Connection[TupleRow]:
    return psycopg.connect(server.url(user=SUPERUSER, database=SUPERUSER), autocommit=True)


class TemporaryServer:
    """A server for tests and benchmarks, where fresh migrated databases are cheap."""

    def __init__(self, server: EmbeddedServer, settings: Settings) -> None:
        """Migrate one database, which all others are copied from."""
        self.server = server
        self._settings = settings
        self.create_empty_database(TEMPLATE_NAME)
        migrate(server.url(user=SUPERUSER, database=TEMPLATE_NAME))

    def create_database(self, name: str) -> Database:
        """Copy the migrated template."""
        return self.create_copy(name, of=TEMPLATE_NAME)

    def create_copy(self, name: str, *, of: str) -> Database:
        """Copy a database that nobody is connected to."""
        with _administration(self.server) as connection:
            new, template = sql.Identifier(name), sql.Identifier(of)
            # The rights on the database itself are not copied with it.
            for statement in (
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(new, template),
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(new),
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    new, sql.SQL(", ").join(map(sql.Identifier, LOGIN_ROLES))
                ),
            ):
                connection.execute(statement)
        return _database_of(self.server, name, self._settings)

    def create_empty_database(self, name: str) -> Database:
        """Create a database without any table of ours."""
        with _administration(self.server) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return _database_of(self.server, name, self._settings)

    def drop_database(self, name: str) -> None:
        """Drop a database, and cut off whoever is still connected to it."""
        with _administration(self.server) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def temporary_server(settings: Settings, *, folder: Path | None = None) -> Iterator[TemporaryServer]:
    """Run a server in a folder (by default a new temporary one) that is deleted afterwards."""
    with ExitStack() as stack:
        server = stack.enter_context(
            temporary_embedded_server(folder=folder, shared_buffers_mb=settings.shared_buffers_mb)
        )
        yield TemporaryServer(server, settings)
