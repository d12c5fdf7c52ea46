"""Apply the numbered SQL files of this folder to a database, each once and in order.

1. A file and the row that records it are committed in one transaction.
2. What was applied is what lies in the folder: an edited, a missing or a late file is refused
   before anything is applied.
3. Runners at the same time are safe, and running twice changes nothing.

Locking: each file's transaction holds the table `migration` exclusively, so a second runner waits
and then finds the file applied. Table locks, not advisory ones, so that any PostgreSQL will do.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
CREATE_ATTEMPTS = 5
# Which of them depends on how far the other runner has come: the table, its row type, its index.
COLLISIONS = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UniqueViolation,
)

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS public.migration (
    name text COLLATE "C" PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

# The administrator creates the table and the first file hands it to the owner role.
BECOME_TABLE_OWNER = """
SELECT set_config('role', tableowner, true)
FROM pg_tables
WHERE schemaname = 'public' AND tablename = 'migration'
"""

LOCK_TABLE = "LOCK TABLE public.migration IN EXCLUSIVE MODE"

SELECT_APPLIED = """
SELECT name, sha256
FROM public.migration
ORDER BY name
"""

INSERT_APPLIED = """
INSERT INTO public.migration (name, sha256)
VALUES (%s, %s)
"""


class MigrationError(Exception):
    """The migration files do not fit this database: {name}."""

    def __init__(self, *, name: str) -> None:
        """Take the message from the docstring of the class."""
        self.name = name
        super().__init__((self.__doc__ or "").format(name=name))


class MigrationEdited(MigrationError):
    """{name} was edited after it was applied: restore it, and write a new file for the change."""


class MigrationMissing(MigrationError):
    """{name} was applied, but its file is gone: this program is older than the database."""


class MigrationOutOfOrder(MigrationError):
    """{name} is not applied, but a later file is: give it a number after the last one."""


@dataclass(frozen=True)
class MigrationFile:
    """One SQL file, read once, so that what is checked is what is executed."""

    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Fingerprint in lower-case hex."""
        return hashlib.sha256(self.content).hexdigest()


def migrate(
    connection_or_url: psycopg.Connection[Any] | str,
    *,
    folder: Path = FOLDER,
) -> list[str]:
    """Apply what is not applied yet, as the administrator, and return the names of it.

    The administrator is a superuser, or the owner of the database with CREATEROLE.
    """
    files = read_files(folder)
    with _connected(connection_or_url) as connection:
        _ensure_table(connection)
        _unapplied(files, _applied(connection))
        return [file.name for file in files if _apply(connection, file)]


def pending(connection: psycopg.Connection[Any], *, folder: Path = FOLDER) -> list[str]:
    """Names of the files that are not applied yet; the application's own rights suffice."""
    files = read_files(folder)
    with connection.transaction():
        exists = connection.execute("SELECT to_regclass('public.migration') IS NOT NULL").fetchone()
        applied = _applied(connection) if exists is not None and exists[0] else {}
    return _unapplied(files, applied)


def read_files(folder: Path) -> list[MigrationFile]:
    """Read all migration files, in the order of their numbers."""
    return [MigrationFile(path.name, path.read_bytes()) for path in sorted(folder.glob("*.sql"))]


@contextmanager
def _connected(
    connection_or_url: psycopg.Connection[Any] | str,
) -> Iterator[psycopg.Connection[Any]]:
    if isinstance(connection_or_url, psycopg.Connection):
        yield connection_or_url
        return
    with psycopg.connect(connection_or_url, autocommit=True) as connection:
        yield connection


def _ensure_table(connection: psycopg.Connection[Any]) -> None:
    # CREATE TABLE IF NOT EXISTS still collides when two create at the same moment.
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        try:
            with connection.transaction():
                if connection.execute(BECOME_TABLE_OWNER).fetchone() is None:
                    connection.execute(CREATE_TABLE)
        except COLLISIONS:
            if attempt == CREATE_ATTEMPTS:
                raise
        else:
            return


def _applied(connection: psycopg.Connection[Any]) -> dict[str, str]:
    with connection.transaction():
        return {str(row[0]): str(row[1]) for row in connection.execute(SELECT_APPLIED)}


def _unapplied(files: list[MigrationFile], applied: dict[str, str]) -> list[str]:
    """Check the folder against what was applied, and name the rest."""
    names = {file.name for file in files}
    for name in applied:
        if name not in names:
            raise MigrationMissing(name=name)
    for file in files:
        if file.name in applied and applied[file.name] != file.sha256:
            raise MigrationEdited(name=file.name)
    rest = [file.name for file in files if file.name not in applied]
    for name in rest:
        if applied and name < max(applied):
            raise MigrationOutOfOrder(name=name)
    return rest


def _apply(connection: psycopg.Connection[Any], file: MigrationFile) -> bool:
    with connection.transaction():
        connection.execute(BECOME_TABLE_OWNER)
        connection.execute(LOCK_TABLE)
        if file.name in _applied(connection):
            return False
        connection.execute("SET LOCAL ROLE NONE")
        connection.execute(file.content)
        connection.execute("SET LOCAL ROLE NONE")
        connection.execute(BECOME_TABLE_OWNER)
        connection.execute(INSERT_APPLIED, (file.name, file.sha256))
    return True
