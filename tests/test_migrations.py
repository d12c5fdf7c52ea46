"""The tables, who may do what with them, and the guards that stand whoever asks."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors, sql

from migrations import (
    FOLDER,
    MigrationEdited,
    MigrationMissing,
    MigrationOutOfOrder,
    migrate,
    pending,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.database import Database, TemporaryServer

CONTRIBUTING = FOLDER.parent / "CONTRIBUTING.md"
NAMES = sorted(path.name for path in FOLDER.glob("*.sql"))
# With a column that nobody may change, as no other.
APPEND_ONLY = {
    "access_record": "status",
    "case_edition": "as_of",
    "command": "command_id",
    "event": "position",
    "event_tag": "position",
    "refused_message": "number",
    "reused_command": "command_id",
}
CHANGES = ("UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE")

INSERT_FACTS = """
INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor)
SELECT fact.position, 'Test', '{}', '{}', '2027-01-04', fact.recorded_at, 'c', 'a'
FROM unnest(%s::bigint[], %s::timestamptz[]) AS fact (position, recorded_at)
"""

INSERT_ACCESS = """
INSERT INTO access_record (access_id, actor, token_id, action, subject, question, purpose, status)
VALUES (gen_random_uuid(), 'user:li', 't', 'account', 'E1', '{}', 'audit', 200)
"""

INSERT_REFUSED = """
INSERT INTO refused_message (number, topic, topic_id, partition, message_offset, code, sentence, detail)
VALUES (1, 'pension.commands', 'id', 0, 0, 'MessageEmpty', 'It has no value.', '{}')
"""

INSERT_EDITION = """
INSERT INTO case_edition (number, position, as_of, least, digest)
VALUES (1, 1, '2027-01-04', 20, repeat('0', 64))
"""


def append(connection: psycopg.Connection, *facts: tuple[int, str], head: int) -> None:
    """Raise the head and insert facts, as (position, recorded_at), in one transaction."""
    with connection.transaction():
        connection.execute("UPDATE head SET size = %s, recorded_at = clock_timestamp()", (head,))
        positions = [position for position, _ in facts]
        connection.execute(INSERT_FACTS, (positions, [recorded_at for _, recorded_at in facts]))


def fill(database: Database) -> None:
    """Put one row into every append-only table."""
    with database.connect(autocommit=True) as connection:
        append(connection, (1, "2020-01-01"), head=1)
        connection.execute("INSERT INTO event_tag VALUES ('account:1', 1)")
        connection.execute("INSERT INTO command VALUES ('c', '', 1, 1, NULL, now())")
        connection.execute("INSERT INTO reused_command VALUES ('c', 'other', now())")
        connection.execute(INSERT_ACCESS)
        connection.execute(INSERT_REFUSED)
        connection.execute(INSERT_EDITION)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migration files that a test may spoil."""
    return shutil.copytree(FOLDER, tmp_path / "files", ignore=shutil.ignore_patterns("*.py", "__pycache__"))


ALL_SLOTS = {
    f"{table}_{slot}": granted
    for slot in (1, 2)
    for table, granted in {
        "control_total": "INSERT SELECT TRUNCATE UPDATE",
        "person_account": "INSERT SELECT TRUNCATE",
        "person_identity": "INSERT SELECT TRUNCATE UPDATE",
        "statement_line": "INSERT SELECT TRUNCATE",
    }.items()
}


class TestRunner:
    """Each file once, in order, and only as it was applied."""

    def test_from_nothing_every_file_is_applied_and_running_twice_changes_nothing(
        self, empty_database: Database
    ) -> None:
        with psycopg.connect(empty_database.admin_url) as connection:
            assert pending(connection) == NAMES
        assert migrate(empty_database.admin_url) == NAMES
        assert migrate(empty_database.admin_url) == []
        with empty_database.connect() as connection:
            assert pending(connection) == []

    def test_an_edited_file_is_refused(self, database: Database, folder: Path) -> None:
        with (folder / NAMES[1]).open("a") as file:
            file.write("-- edited\n")
        with pytest.raises(MigrationEdited, match=f"{NAMES[1]} was edited after it was applied"):
            migrate(database.admin_url, folder=folder)

    def test_a_missing_file_is_refused(self, database: Database, folder: Path) -> None:
        (folder / NAMES[-1]).unlink()
        with pytest.raises(MigrationMissing, match=f"{NAMES[-1]} was applied, but its file"):
            migrate(database.admin_url, folder=folder)

    def test_a_late_file_with_an_early_number_is_refused(self, database: Database, folder: Path) -> None:
        (folder / "0001_a_late_one.sql").write_text("SELECT 1;\n")
        with pytest.raises(MigrationOutOfOrder, match="0001_a_late_one"):
            migrate(database.admin_url, folder=folder)

    def test_a_file_that_fails_leaves_nothing_behind(self, database: Database, folder: Path) -> None:
        (folder / "9999_broken.sql").write_text("CREATE TABLE half ();\nSELECT 1 / 0;\n")
        with pytest.raises(errors.DivisionByZero):
            migrate(database.admin_url, folder=folder)
        with database.connect() as connection:
            assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
            assert pending(connection, folder=folder) == ["9999_broken.sql"]

    def test_runners_at_the_same_time_apply_each_file_once(self, empty_database: Database) -> None:
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(migrate, [empty_database.admin_url] * 4))
        assert sorted(name for result in results for name in result) == NAMES

    def test_two_databases_of_a_cluster_are_migrated_at_the_same_time(self, server: TemporaryServer) -> None:
        """Roles belong to the cluster: both runners find none and create them."""
        names = ["twin_1", "twin_2"]
        urls = [server.create_empty_database(name).admin_url for name in names]
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(migrate, urls)) == [NAMES, NAMES]
        for name in names:
            server.drop_database(name)

    def test_the_administrator_need_not_be_a_superuser(self, server: TemporaryServer) -> None:
        """The owner of the database with CREATEROLE suffices, where it makes the roles itself."""
        with psycopg.connect(server.server.url(user="postgres", database="postgres")) as superuser:
            superuser.autocommit = True
            superuser.execute("CREATE ROLE keeper LOGIN CREATEROLE")
            # On a cluster where another administrator made the roles, membership must be given.
            superuser.execute("GRANT ledger_owner TO keeper")
            superuser.execute("CREATE DATABASE kept OWNER keeper")
            url = server.server.url(user="keeper", database="kept")
            assert migrate(url) == NAMES
            assert migrate(url) == []
            superuser.execute("DROP DATABASE kept")
            superuser.execute("DROP ROLE keeper")

    def test_a_later_file_changes_a_protected_table_as_contributing_says(
        self, database: Database, folder: Path
    ) -> None:
        """And is refused without that, with nothing left behind."""
        later = folder / "9999_later.sql"
        (recipe,) = re.findall(r"```sql\n(DO \$release\$.*?)```", CONTRIBUTING.read_text("utf-8"), re.DOTALL)
        change = "SET LOCAL ROLE ledger_owner; ALTER TABLE event ADD COLUMN channel text"
        later.write_text(change)
        with pytest.raises(errors.InsufficientPrivilege, match="protected table event"):
            migrate(database.admin_url, folder=folder)
        later.write_text(recipe)
        assert migrate(database.admin_url, folder=folder) == [later.name]
        with psycopg.connect(database.admin_url) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("ALTER TABLE event DROP COLUMN channel")


class TestRights:
    """The application may add facts, and never change them."""

    @pytest.mark.parametrize("table", APPEND_ONLY)
    @pytest.mark.parametrize("statement", CHANGES)
    def test_the_app_role_cannot_change_facts(self, database: Database, table: str, statement: str) -> None:
        column = sql.Identifier(APPEND_ONLY[table])
        query = sql.SQL(statement).format(sql.Identifier(table), column, column)
        with (
            database.connect() as connection,
            pytest.raises(errors.InsufficientPrivilege, match="permission denied"),
        ):
            connection.execute(query)

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE mine ()",
            "CREATE TEMPORARY TABLE mine ()",
            "CREATE SCHEMA mine",
            "TRUNCATE memory",
            "INSERT INTO head (size, recorded_at) VALUES (0, now())",
            "DELETE FROM head",
            "INSERT INTO migration (name, sha256) VALUES ('x', 'x')",
            "ALTER TABLE event DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "SET ROLE ledger_owner",
        ],
    )
    def test_the_app_role_may_nothing_else(self, database: Database, statement: str) -> None:
        with (
            database.connect() as connection,
            pytest.raises(errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())

    def test_the_app_role_has_exactly_these_grants(self, database: Database) -> None:
        with psycopg.connect(database.admin_url) as connection:
            rows = connection.execute(
                """
                SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type)
                FROM information_schema.role_table_grants
                WHERE table_schema = 'public' AND grantee IN ('ledger_app', 'PUBLIC')
                GROUP BY table_name
                """
            ).fetchall()
            inserted = connection.execute(
                """
                SELECT table_name, string_agg(column_name, ' ' ORDER BY column_name)
                FROM information_schema.role_column_grants
                WHERE grantee = 'ledger_app'
                    AND table_name IN ('access_record', 'case_edition', 'refused_message')
                    AND privilege_type = 'INSERT'
                GROUP BY table_name
                """
            ).fetchall()
            columns = connection.execute(
                """
                SELECT table_name, column_name
                FROM information_schema.role_column_grants
                WHERE grantee = 'ledger_app'
                    AND privilege_type = 'UPDATE'
                    AND table_name NOT IN ('memory', 'intake_offset')
                    AND table_name !~ '_[12]$'
                """
            ).fetchall()
        assert dict(rows) == {
            "access_record": "SELECT",
            "case_cell": "DELETE INSERT SELECT",
            "case_edition": "SELECT",
            "case_figure": "DELETE INSERT SELECT",
            "command": "INSERT SELECT",
            "dead_letter": "DELETE INSERT SELECT",
            "projection": "SELECT",
            "projection_slot": "SELECT",
            "event": "INSERT SELECT",
            "event_json": "SELECT",
            "event_tag": "INSERT SELECT",
            "head": "SELECT",
            "intake_offset": "INSERT SELECT UPDATE",
            "memory": "DELETE INSERT SELECT UPDATE",
            "migration": "SELECT",
            "outlet_position": "SELECT",
            "refused_message": "SELECT",
            "reused_command": "INSERT SELECT",
            "checkpoint": "SELECT",
            "tile": "SELECT",
            **ALL_SLOTS,
        }
        # All but the time, which the database writes.
        assert dict(inserted) == {
            "access_record": "access_id action actor purpose question status subject token_id",
            "case_edition": "as_of digest least number position",
            "refused_message": "code command_id detail item key message_offset number partition produced_at sentence "
            "signature topic topic_id value",
        }
        assert set(columns) == {
            ("head", "size"),
            ("head", "recorded_at"),
            ("projection", "live_slot"),
            ("projection", "rebuilt_by"),
            ("projection_slot", "position"),
            ("projection_slot", "halted"),
        }

    def test_strangers_have_nothing(self, database: Database) -> None:
        """Neither the schema nor a function is open to PUBLIC."""
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("CREATE ROLE stranger")
            rows = connection.execute(
                """
                SELECT has_schema_privilege('stranger', 'public', 'USAGE')
                    OR has_database_privilege('stranger', current_database(), 'CONNECT')
                    OR bool_or(has_function_privilege('stranger', p.oid, 'EXECUTE'))
                FROM pg_proc AS p
                WHERE p.pronamespace = 'public'::regnamespace
                """
            ).fetchall()
            connection.rollback()
        assert rows == [(False,)]

    def test_the_owner_owns_the_tables_and_the_guard_owns_what_guards_them(self, database: Database) -> None:
        with psycopg.connect(database.admin_url) as connection:
            owners = connection.execute(
                """
                SELECT pg_get_userbyid(relowner), relname
                FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
                UNION
                SELECT pg_get_userbyid(proowner), proname
                FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace
                """
            ).fetchall()
            may = connection.execute(
                """
                SELECT rolname, rolcanlogin, has_schema_privilege(oid, 'public', 'CREATE')
                FROM pg_roles
                WHERE rolname IN ('ledger_owner', 'ledger_guard')
                ORDER BY rolname
                """
            ).fetchall()
        assert {owner for owner, _ in owners} == {"ledger_owner", "ledger_guard"}
        assert {name for owner, name in owners if owner == "ledger_guard"} == {
            "check_guards",
            "check_head",
            "check_new_facts",
            "guarded",
            "refuse_change",
            "refuse_fall",
            "refuse_rewrite",
            "refuse_time_ahead",
            "standing_guards",
        }
        assert may == [("ledger_guard", False, False), ("ledger_owner", False, True)]


class TestGuards:
    """What the tables refuse whoever asks, a superuser included."""

    @pytest.mark.parametrize("table", APPEND_ONLY)
    @pytest.mark.parametrize("replication_role", ["origin", "replica"])
    @pytest.mark.parametrize("statement", CHANGES)
    def test_a_superuser_cannot_change_facts_in_any_replication_role(
        self, database: Database, table: str, statement: str, replication_role: str
    ) -> None:
        fill(database)
        column = sql.Identifier(APPEND_ONLY[table])
        query = sql.SQL(statement).format(sql.Identifier(table), column, column)
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("SELECT set_config(%s, %s, true)", ("session_replication_role", replication_role))
            with pytest.raises(errors.InsufficientPrivilege, match=f"table {table} is refused"):
                connection.execute(query)

    def test_facts_in_order_are_accepted(self, database: Database) -> None:
        with database.connect() as connection:
            append(connection, (1, "2020-01-01"), (2, "2020-01-01"), head=2)
            append(connection, (3, "2020-01-01"), (4, "2020-01-02"), head=4)
            append(connection, (6, "2020-01-04"), (5, "2020-01-03"), head=6)
            append(connection, head=6)

    @pytest.mark.parametrize(
        ("facts", "head", "rule"),
        [
            pytest.param([(2, "2020-01-02")], 1, "event_ends_at_head", id="head not raised"),
            pytest.param([(2, "2020-01-02")], 3, "event_ends_at_head", id="head raised too far"),
            pytest.param([(3, "2020-01-02")], 3, "event_is_gapless", id="gap before"),
            pytest.param([(2, "2020-01-02"), (4, "2020-01-02")], 4, "event_is_gapless", id="gap within"),
            pytest.param([(2, "2020-01-01")], 2, "event_time_never_falls", id="time falls before"),
            pytest.param(
                [(2, "2020-01-04"), (3, "2020-01-03")],
                3,
                "event_time_never_falls",
                id="time falls within",
            ),
            pytest.param([(2, "2999-01-01")], 2, "event_time_not_ahead", id="time in the future"),
        ],
    )
    @pytest.mark.parametrize("role", ["app", "superuser as replica"])
    def test_facts_out_of_order_are_refused(
        self, database: Database, facts: list[tuple[int, str]], head: int, rule: str, role: str
    ) -> None:
        with database.connect() as connection:
            append(connection, (1, "2020-01-02"), head=1)
        url = database.url if role == "app" else database.admin_url
        with psycopg.connect(url) as connection:
            if role != "app":
                connection.execute("SET session_replication_role = replica")
            with pytest.raises(errors.CheckViolation) as refused:
                append(connection, *facts, head=head)
        assert refused.value.diag.constraint_name == rule

    @pytest.mark.parametrize("role", ["app", "superuser as replica"])
    def test_a_head_beyond_the_journal_is_not_committed(self, database: Database, role: str) -> None:
        with psycopg.connect(database.url if role == "app" else database.admin_url) as connection:
            if role != "app":
                connection.execute("SET session_replication_role = replica")
                connection.commit()
            with pytest.raises(errors.CheckViolation) as refused:
                append(connection, head=1)
        assert refused.value.diag.constraint_name == "head_ends_at_a_fact"
        with database.connect() as connection:
            append(connection, (1, "2020-01-01"), head=1)

    def test_a_head_may_be_raised_step_by_step_in_one_transaction(self, database: Database) -> None:
        with database.connect() as connection, connection.transaction():
            append(connection, (1, "2020-01-01"), head=1)
            append(connection, head=1)
            connection.execute("UPDATE head SET size = 2")
            append(connection, (2, "2020-01-01"), (3, "2020-01-01"), head=3)

    def test_copy_is_guarded_like_insert(self, database: Database) -> None:
        with (
            database.connect() as connection,
            pytest.raises(errors.CheckViolation),
            connection.cursor().copy("COPY event FROM STDIN") as copy,
        ):
            copy.write_row([2, "T", b"", [], "2027-01-04", "2020-01-01", "c", "a"])

    @pytest.mark.parametrize(("positions", "refusal"), [((1, None), None), ((2, 1), None), ((1, 1), "{}")])
    def test_a_command_has_a_range_of_positions_or_a_refusal(
        self, database: Database, positions: tuple[int, int | None], refusal: str | None
    ) -> None:
        with database.connect() as connection, pytest.raises(errors.CheckViolation):
            connection.execute("INSERT INTO command VALUES ('c', '', %s, %s, %s, now())", (*positions, refusal))


class TestReadings:
    """What a reader of the tables finds."""

    def test_every_table_column_and_function_has_a_comment(self, database: Database) -> None:
        with psycopg.connect(database.admin_url) as connection:
            silent = connection.execute(
                """
                SELECT c.relname, a.attname
                FROM pg_class AS c
                CROSS JOIN LATERAL (
                    SELECT 0::smallint AS attnum, NULL::name AS attname
                    UNION ALL
                    SELECT attnum, attname
                    FROM pg_attribute
                    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                ) AS a
                WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relkind IN ('r', 'p', 'v', 'm')
                    AND col_description(c.oid, a.attnum) IS NULL
                    AND (a.attnum > 0 OR obj_description(c.oid, 'pg_class') IS NULL)
                UNION ALL
                SELECT proname, NULL
                FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace
                    AND obj_description(oid, 'pg_proc') IS NULL
                """
            ).fetchall()
        assert silent == []

    @pytest.mark.parametrize(
        ("data", "shown"),
        [
            (b'{"amount_fen":5}', {"amount_fen": 5}),
            (b"plain text", None),
            (b"\xff\xfe", None),
            (b'"\\u0000"', None),
            (b"", None),
            (b"[" * 100_000, None),
        ],
    )
    def test_event_json_shows_json_and_never_fails(self, database: Database, data: bytes, shown: object) -> None:
        with database.connect() as connection:
            connection.execute("UPDATE head SET size = 1, recorded_at = clock_timestamp()")
            connection.execute(
                "INSERT INTO event VALUES (1, 'T', %s, '{}', '2027-01-04', now(), 'c', 'a')",
                (data,),
            )
            assert connection.execute("SELECT data FROM event_json").fetchone() == (shown,)
