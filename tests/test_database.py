"""The door to PostgreSQL: our own server and somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from ledger.database import DatabaseBehind, migrate_database, open_database
from ledger.embedded import EmbeddedServer, EmbeddedServerFailed
from ledger.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.database import Database, TemporaryServer


def settings_in(folder: Path) -> Settings:
    return Settings(data_folder=folder, shared_buffers_mb=16)


class TestConnections:
    """How every connection is set up."""

    def test_pooled_and_dedicated_connections_have_the_same_session(self, database: Database) -> None:
        query = """
            SELECT current_user, current_setting('TimeZone'), current_setting('jit'),
                current_setting('lock_timeout'), current_setting('statement_timeout'),
                current_setting('application_name')
        """
        expected = ("ledger_app", "UTC", "off", "10s", "5min", "ledger")
        with database.connection() as connection:
            assert connection.execute(query).fetchone() == expected
        with database.connect() as connection:
            assert connection.execute(query).fetchone() == expected

    def test_a_borrowed_connection_commits_at_the_end_and_rolls_back_on_an_error(self, database: Database) -> None:
        insert = "INSERT INTO memory VALUES (%s, 1, '')"
        with database.connection() as connection:
            connection.execute(insert, ("kept",))

        def insert_twice() -> None:
            with database.connection() as connection:
                connection.execute(insert, ("lost",))
                connection.execute(insert, ("kept",))

        with pytest.raises(errors.UniqueViolation):
            insert_twice()
        with database.connection() as connection:
            assert connection.execute("SELECT tag FROM memory").fetchall() == [("kept",)]

    def test_the_pool_holds_as_many_connections_as_the_settings_say(
        self, server: TemporaryServer, database: Database
    ) -> None:
        assert database.pool.max_size == Settings().pool_size
        assert server.server.is_running()


class TestExternalDatabase:
    """A database that somebody else runs."""

    def external(self, database: Database) -> Settings:
        return Settings(database_url=database.url, admin_database_url=database.admin_url)

    def test_opening_an_empty_one_says_what_to_run_and_changes_nothing(self, empty_database: Database) -> None:
        url = empty_database.admin_url
        with (
            pytest.raises(DatabaseBehind, match="run `ledger migrate`"),
            open_database(Settings(database_url=url)),
        ):
            pass
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT to_regclass('migration')").fetchone() == (None,)

    def test_after_migrate_it_opens(self, empty_database: Database) -> None:
        settings = self.external(empty_database)
        assert migrate_database(settings)
        with open_database(settings) as database:
            assert not database.embedded
            with database.connection() as connection:
                assert connection.execute("SELECT size FROM head").fetchone() == (0,)


class TestEmbeddedServer:
    """Our own PostgreSQL; the numbers are the invariants of ledger/embedded.py."""

    def test_the_first_opening_makes_a_database_and_the_last_user_stops_the_server(self, server_folder: Path) -> None:
        """Invariant 3, within one process."""
        settings = settings_in(server_folder)
        server = EmbeddedServer(server_folder)
        with open_database(settings) as first:
            with first.connection() as connection:
                connection.execute("INSERT INTO memory VALUES ('kept', 1, '')")
            with open_database(settings):
                pass
            assert server.is_running()
        assert not server.is_running()
        with open_database(settings) as again, again.connection() as connection:
            assert connection.execute("SELECT tag FROM memory").fetchall() == [("kept",)]

    def test_another_process_keeps_the_server_alive_and_a_killed_one_does_not_count(self, server_folder: Path) -> None:
        """Invariant 3, between processes."""
        program = (
            "import sys; from pathlib import Path; from ledger.embedded import EmbeddedServer; "
            "EmbeddedServer(Path(sys.argv[1]), shared_buffers_mb=16).start(); "
            "print('started', flush=True); sys.stdin.read()"
        )
        server = EmbeddedServer(server_folder, shared_buffers_mb=16)
        with subprocess.Popen(
            [sys.executable, "-c", program, str(server_folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"started\n"
            with server:
                pid = server.pid
            assert server.is_running()
            with server:
                assert server.pid == pid
                other.kill()
                other.wait()
        assert not server.is_running()

    def test_processes_that_start_together_share_one_server(self, server_folder: Path) -> None:
        """Invariant 3, at the first start, when there is no folder yet."""
        settings = settings_in(server_folder)
        together = threading.Barrier(3)
        pids = []

        def use() -> None:
            with open_database(settings):
                pids.append(EmbeddedServer(server_folder).pid)
                together.wait(timeout=60)

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pids) == len(threads)
        assert len(set(pids)) == 1
        assert not EmbeddedServer(server_folder).is_running()

    def test_a_killed_server_recovers_at_the_next_start(self, server_folder: Path) -> None:
        """Invariants 1 and 4."""
        settings = settings_in(server_folder)
        server = EmbeddedServer(server_folder, shared_buffers_mb=16)
        with server, open_database(settings) as database:
            for number in range(3):
                with database.connect() as connection:
                    connection.execute("INSERT INTO memory VALUES (%s, 1, '')", (str(number),))
                os.kill(server.pid, signal.SIGKILL)
                server.start()
            with database.connect() as connection:
                assert connection.execute("SELECT count(*) FROM memory").fetchone() == (3,)

    def test_a_half_made_folder_is_made_anew(self, server_folder: Path) -> None:
        """Invariant 4, when the first start was killed."""
        (server_folder / "postgres.new").mkdir()
        (server_folder / "postgres.new" / "PG_VERSION").write_text("18\n")
        with EmbeddedServer(server_folder, shared_buffers_mb=16) as server:
            assert server.is_running()

    def test_a_folder_with_a_long_path_and_odd_letters_works(self, server_folder: Path) -> None:
        """Invariant 2: the socket moves to a short name, which is private too."""
        folder = server_folder / ("养老金 it's & 100%" * 4)
        server = EmbeddedServer(folder, shared_buffers_mb=16)
        with open_database(settings_in(folder)) as database, database.connection():
            assert server.socket_folder != server.data
            assert server.socket_folder.stat().st_mode & 0o077 == 0
        server.socket_folder.rmdir()

    def test_it_is_durable_and_private(self, server: TemporaryServer) -> None:
        """Invariants 1 and 2."""
        with psycopg.connect(server.server.url(user="postgres", database="postgres")) as connection:
            values = {
                name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
                for name in (
                    "fsync",
                    "synchronous_commit",
                    "full_page_writes",
                    "data_checksums",
                    "listen_addresses",
                )
            }
        assert values == {
            "fsync": ("on",),
            "synchronous_commit": ("on",),
            "full_page_writes": ("on",),
            "data_checksums": ("on",),
            "listen_addresses": ("",),
        }
        assert server.server.data.stat().st_mode & 0o077 == 0

    def test_a_server_that_cannot_start_shows_the_end_of_its_log(self, server_folder: Path) -> None:
        server = EmbeddedServer(server_folder, shared_buffers_mb=16)
        with server:
            pass
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("no_such_setting = 1\n")
        with pytest.raises(EmbeddedServerFailed, match="no_such_setting"):
            server.start()
