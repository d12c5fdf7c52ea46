"""Compare a database with what the migrations make of it: every object, guard, grant, role and setting that differs.

1. What is compared lies outside the database that is checked: `baseline.json` beside this file, and the settings below.
2. The system catalogues are read, which every role may; the auditor's rights suffice.
3. The same database gives the same sentences, whoever runs it and whatever the database is called.

A baseline is renewed from a freshly migrated database: `python -m replay.drift URL > replay/baseline.json`.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import psycopg
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]
# By kind and name, what it is.
Catalogue = dict[str, dict[str, str]]

BASELINE = "baseline.json"
READ_CATALOGUE = "catalogue.sql"

USE_CATALOGUE_ALONE = b"SET LOCAL search_path = pg_catalog"
MAY_READ_GUARDED = b"SELECT coalesce(has_table_privilege(to_regclass('public.guarded'), 'SELECT'), false)"
READ_GUARDED = b"""
SELECT table_name, item
FROM public.guarded
ORDER BY table_name COLLATE "C", item COLLATE "C"
"""
# As a new session has it, whatever this one has set.
READ_SETTINGS = b"SELECT name, reset_val FROM pg_settings WHERE name = ANY (%s) OR name LIKE 'pgaudit.%%'"

# Where several are named, all of them are strict enough. A server that does not know one cannot have it switched off.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "allow_system_table_mods": ("off",),
    "event_triggers": ("on",),
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "ignore_checksum_failure": ("off",),
    "ignore_system_indexes": ("off",),
    "row_security": ("on",),
    "session_replication_role": ("origin",),
    "synchronous_commit": ("on", "remote_apply"),
    "zero_damaged_pages": ("off",),
}

AUDITED = ("ddl", "misc_set", "role", "write")
NO_AUDIT_LOG = "pgaudit is not loaded: the server itself does not record who changed what."


@dataclass(frozen=True)
class Difference:
    """One item that is not as it must be; None where it is missing or should be."""

    kind: str
    name: str
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        """Say it in one line."""
        if self.found is None:
            return f"The {self.kind} {self.name} is missing. Expected: {self.expected}."
        if self.expected is None:
            return f"The {self.kind} {self.name} must not be there. Found: {self.found}."
        return f"The {self.kind} {self.name} was changed. Expected: {self.expected}. Found: {self.found}."


@dataclass(frozen=True)
class Drift:
    """What differs, in the order of kinds and names; and what is worth knowing but no difference."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def drift(connection: Connection, *, baseline: Catalogue | None = None) -> Drift:
    """Compare this database, by default with the baseline of this version."""
    expected = read_baseline() if baseline is None else baseline
    found = read_catalogue(connection)
    settings = _read_settings(connection)
    differences = [*compare(expected, found), *loose_settings(settings), *loose_audit_log(settings)]
    differences.sort(key=lambda each: (each.kind, each.name))
    return Drift(differences, [] if "pgaudit.log" in settings else [NO_AUDIT_LOG])


def compare(expected: Catalogue, found: Catalogue) -> list[Difference]:
    """Name every item that is in one alone, or not the same in both."""
    return [
        Difference(kind, name, was, now)
        for kind in sorted({*expected, *found})
        for name in sorted({*expected.get(kind, {}), *found.get(kind, {})})
        if (was := expected.get(kind, {}).get(name)) != (now := found.get(kind, {}).get(name))
    ]


def loose_settings(settings: Mapping[str, str]) -> list[Difference]:
    """Name the server's settings that let facts be lost or guards be passed."""
    return [
        Difference("setting", name, " or ".join(accepted), settings[name])
        for name, accepted in SETTINGS.items()
        if settings.get(name, accepted[0]) not in accepted
    ]


def loose_audit_log(settings: Mapping[str, str]) -> list[Difference]:
    """Where pgaudit is loaded it must log changes of every kind, and never the values, which may be personal."""
    if "pgaudit.log" not in settings:
        return []
    found = []
    logged: set[str] = set()
    for word in settings["pgaudit.log"].lower().replace(" ", "").split(","):
        classes = set(AUDITED) if word.removeprefix("-") == "all" else {word.removeprefix("-")}
        logged = logged - classes if word.startswith("-") else logged | classes
    if not logged.issuperset(AUDITED):
        found.append(Difference("setting", "pgaudit.log", f"at least {','.join(AUDITED)}", settings["pgaudit.log"]))
    parameters = settings.get("pgaudit.log_parameter", "off")
    if parameters != "off":
        found.append(Difference("setting", "pgaudit.log_parameter", "off", parameters))
    return found


def read_catalogue(connection: Connection) -> Catalogue:
    """Read all that the database is made of."""
    query = resources.files("replay").joinpath(READ_CATALOGUE).read_bytes()
    found: Catalogue = {}
    # Rolled back, so that the search path is the caller's again.
    with connection.transaction(force_rollback=True):
        connection.execute(USE_CATALOGUE_ALONE)
        for kind, name, description in connection.execute(query):
            found.setdefault(kind, {})[name] = description
        if connection.execute(MAY_READ_GUARDED).fetchone() == (True,):
            rows = connection.execute(READ_GUARDED).fetchall()
            digest = hashlib.sha256("".join(f"{table} {item}\n" for table, item in rows).encode()).hexdigest()
            found["content"] = {"public.guarded": f"{len(rows)} rows, sha256 {digest}"}
    return found


def read_baseline() -> Catalogue:
    """Read what a freshly migrated database of this version is made of."""
    catalogue: Catalogue = json.loads(resources.files("replay").joinpath(BASELINE).read_text("utf-8"))
    return catalogue


def write_baseline(connection: Connection) -> str:
    """Write down a freshly migrated database, in the one spelling of the baseline."""
    return json.dumps(read_catalogue(connection), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _read_settings(connection: Connection) -> dict[str, str]:
    with connection.transaction():
        return {str(name): str(value) for name, value in connection.execute(READ_SETTINGS, (list(SETTINGS),))}


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as opened:
        sys.stdout.write(write_baseline(opened))
