"""Each role tries everything, on a running server: what it may do, and above all what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from ledger.domain.leaves import leaf_text
from tests.tampering import past_all_guards

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.rows import TupleRow

    from ledger.database import Database

DENIED = "42501"
DONE = "done"

PROTECTED = (
    *("access_record", "case_edition", "checkpoint", "command", "event", "event_tag"),
    *("head", "refused_message", "reused_command", "tile"),
)
DERIVED = (
    *("memory", "dead_letter", "projection", "projection_slot"),
    *(f"{table}_{slot}" for table in ("statement_line", "person_identity", "person_account") for slot in (1, 2)),
    *("control_total_1", "control_total_2"),
    *("case_cell", "case_figure"),
)

FILL = {
    "ledger_app": (
        "UPDATE head SET size = 1, recorded_at = clock_timestamp()",
        """
        INSERT INTO event
        SELECT 1, 'Test', '{}', '{account:1}', '2027-01-04', recorded_at, 'c', 'system:test'
        FROM head
        """,
        "INSERT INTO event_tag VALUES ('account:1', 1)",
        "INSERT INTO command VALUES ('c', '', 1, 1, NULL, now())",
        "INSERT INTO reused_command VALUES ('c', 'other', now())",
        """
        INSERT INTO access_record (access_id, actor, token_id, action, subject, question, purpose, status)
        VALUES (gen_random_uuid(), 'a', 't', 'sheet', 's', '{}', 'test', 200)
        """,
        """
        INSERT INTO refused_message (number, topic, topic_id, partition, message_offset, value, code, sentence, detail)
        VALUES (1, 'commands', 'id', 0, 0, 'x', 'MessageMalformed', 'Send JSON.', '{}')
        """,
        "INSERT INTO intake_offset VALUES ('commands', 'id', 0, 1, 1, 1, 'one', now())",
        "INSERT INTO case_edition (number, position, as_of, least, digest) VALUES (1, 1, '2027-01-04', 20, repeat('0', 64))",
    ),
    "ledger_outlet": ("UPDATE outlet_position SET position = 1, published_at = clock_timestamp()",),
    "ledger_notary": (
        "INSERT INTO tile VALUES (0, 0, decode(repeat('00', 8192), 'hex'), sha256(''))",
        "INSERT INTO checkpoint VALUES (1, sha256(''), 'note', now())",
    ),
}

# How far what goes over Kafka has come.
KAFKA = ("intake_offset", "outlet_position")

# By role and table, what it may do. What does not stand here it may not; other tables of ours it may not even see.
SEES_ALL = dict.fromkeys((*PROTECTED, *DERIVED, *KAFKA, "migration", "event_json"), "SELECT")
RIGHTS: dict[str, dict[str, str]] = {
    "ledger_app": {
        **dict.fromkeys(("command", "event", "event_tag", "reused_command"), "INSERT SELECT"),
        # All columns but the time.
        **dict.fromkeys(("access_record", "case_edition", "refused_message"), "INSERT SELECT"),
        **dict.fromkeys(("checkpoint", "tile", "migration", "event_json", "outlet_position"), "SELECT"),
        "intake_offset": "INSERT SELECT UPDATE",
        "head": "SELECT UPDATE(recorded_at,size)",
        "memory": "DELETE INSERT SELECT UPDATE",
        **dict.fromkeys(("dead_letter", "case_cell", "case_figure"), "DELETE INSERT SELECT"),
        "projection": "SELECT UPDATE(live_slot,rebuilt_by)",
        "projection_slot": "SELECT UPDATE(halted,position)",
        **dict.fromkeys(
            ("statement_line_1", "statement_line_2", "person_account_1", "person_account_2"), "INSERT SELECT TRUNCATE"
        ),
        **dict.fromkeys(
            ("person_identity_1", "person_identity_2", "control_total_1", "control_total_2"),
            "INSERT SELECT TRUNCATE UPDATE",
        ),
    },
    "ledger_notary": {
        **dict.fromkeys(("migration", "head", "event"), "SELECT"),
        **dict.fromkeys(("tile", "checkpoint"), "INSERT SELECT"),
    },
    "ledger_outlet": {
        **dict.fromkeys(("migration", "head", "event", "refused_message"), "SELECT"),
        "outlet_position": "SELECT UPDATE(earlier_partitions,earlier_until,partitions,position,published_at,topic_id)",
    },
    "ledger_auditor": {**SEES_ALL, "guarded": "SELECT"},
    "ledger_reader": dict.fromkeys(
        (*DERIVED, *KAFKA, "case_edition", "migration", "head", "tile", "checkpoint"), "SELECT"
    ),
    "ledger_guard": {"guarded": "DELETE INSERT SELECT TRUNCATE UPDATE"},
}
LOGIN_ROLES = tuple(role for role in RIGHTS if role != "ledger_guard")

# Whatever else they fail of, they are denied only for want of the right.
VERBS = {
    "DELETE": "DELETE FROM {table} WHERE false",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "SELECT": "SELECT count(*) FROM {table}",
    "TRUNCATE": "TRUNCATE {table}",
}
UPDATE = 'UPDATE {table} SET "{column}" = DEFAULT WHERE false'

# What no role below a superuser may do, whatever it owns.
FORBIDDEN = (
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER ROLE ledger_app SUPERUSER",
    "GRANT ledger_owner TO ledger_app",
    "SET session_replication_role = replica",
    "SET event_triggers = off",
    "SET allow_system_table_mods = on",
    "ALTER DATABASE CURRENT SET session_replication_role = replica",
    "ALTER EVENT TRIGGER check_guards DISABLE",
    "DROP EVENT TRIGGER refuse_rewrite",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION check_guards()",
    "UPDATE pg_trigger SET tgenabled = 'D'",
    "DROP SCHEMA public CASCADE",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    # Large objects belong to no table.
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'mine')",
    "SELECT lo_put(1, 0, 'mine')",
    "SELECT lo_open(1, 131072)",
    "SELECT lowrite(0, 'mine')",
    "SELECT lo_unlink(1)",
    "SELECT lo_import('/etc/hostname')",
)
FORBIDDEN_OUTSIDE_A_TRANSACTION = (
    "CREATE DATABASE mine",
    "ALTER SYSTEM SET fsync = off",
)
FORBIDDEN_BUT_TO_THE_OWNER = (
    "CREATE TABLE mine ()",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW mine AS SELECT 1",
    "ALTER TABLE event DISABLE TRIGGER refuse_change",
    "DROP TRIGGER refuse_change ON event",
    "CREATE RULE mine AS ON INSERT TO event DO INSTEAD NOTHING",
    "ALTER TABLE event ENABLE ROW LEVEL SECURITY",
    "DROP TABLE event",
)
FORBIDDEN_BUT_TO_THE_GUARD = (
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION check_new_facts() SECURITY DEFINER",
    "ALTER FUNCTION refuse_fall() RENAME TO refuse_nothing",
    "ALTER FUNCTION check_guards() OWNER TO ledger_owner",
    "DROP FUNCTION refuse_change() CASCADE",
    "DROP FUNCTION refuse_rewrite() CASCADE",
    "DELETE FROM guarded",
    "DROP TABLE guarded",
)

# A column of each protected table that a forger would change.
FORGED = {
    "access_record": "subject",
    "case_edition": "as_of",
    "checkpoint": "note",
    "command": "received_at",
    "event": "data",
    "event_tag": "tag",
    "head": "size",
    "refused_message": "value",
    "reused_command": "received_at",
    "tile": "hashes",
}
CHANGE = "UPDATE {table} SET {column} = {column}"
OWNER_ON_EACH_TABLE = (
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE TRIGGER refuse_change",
    # Not switched off, but no longer ALWAYS.
    "ALTER TABLE {table} ENABLE TRIGGER refuse_change",
    "ALTER TABLE {table} ENABLE REPLICA TRIGGER refuse_truncate",
    "DROP TRIGGER refuse_change ON {table}",
    "ALTER TRIGGER refuse_truncate ON {table} RENAME TO accept_truncate",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "CREATE POLICY mine ON {table}",
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {table} ADD COLUMN mine text",
    "ALTER TABLE {table} ADD COLUMN mine float DEFAULT random()",
    "ALTER TABLE {table} DROP COLUMN {column} CASCADE",
    "ALTER TABLE {table} RENAME COLUMN {column} TO mine",
    "ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT NULL, ADD CHECK (true)",
    "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE",
    "ALTER TABLE {table} RENAME TO mine",
    "ALTER TABLE {table} SET SCHEMA aside",
    "CREATE TABLE mine () INHERITS ({table})",
    # One that is computed: it would run code at every insert.
    "CREATE INDEX ON {table} ((1))",
    "GRANT UPDATE ON {table} TO ledger_app",
    "GRANT TRIGGER ON {table} TO PUBLIC",
    "GRANT UPDATE ({column}) ON {table} TO ledger_notary",
    "REVOKE SELECT ON {table} FROM ledger_auditor",
    "DROP TABLE {table} CASCADE",
)
# The head's columns cannot change their type for another reason: its trigger looks at them.
OWNER_ON_EACH_BUT_THE_HEAD = (
    "DROP VIEW event_json; ALTER TABLE {table} ALTER COLUMN {column} TYPE text USING 'forged'",
    CHANGE,
    "INSERT INTO {table} DEFAULT VALUES",
    "GRANT INSERT ON {table} TO ledger_owner",
)
OWNER_ELSEWHERE = (
    "ALTER TABLE event ALTER COLUMN data DROP NOT NULL",
    "ALTER TABLE event SET UNLOGGED",
    "DROP OWNED BY ledger_owner CASCADE",
    "UPDATE head SET size = size - 1",
    "UPDATE head SET recorded_at = recorded_at - interval '1 second'",
    "DELETE FROM head",
    "INSERT INTO head VALUES (true, 5, now())",
    "GRANT INSERT ON event TO ledger_owner; INSERT INTO event DEFAULT VALUES",
)
SUPERUSER_ON_EACH_TABLE = (
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
    "ALTER TABLE {table} DISABLE TRIGGER USER",
    "ALTER TABLE {table} ADD COLUMN mine float DEFAULT random()",
    "DROP TABLE {table} CASCADE",
)
OWNER_MAY = (
    "CREATE TABLE mine (number int PRIMARY KEY)",
    "CREATE TEMPORARY TABLE event (number int)",
    "CREATE TABLE mine (n int); ALTER TABLE mine ALTER COLUMN n TYPE text USING 'x'; DROP TABLE mine",
    "CREATE TABLE mine (); CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mine EXECUTE FUNCTION refuse_change()",
    "CREATE OR REPLACE VIEW mine AS SELECT position FROM event",
    "CREATE INDEX ON event (actor)",
    "COMMENT ON TABLE event IS 'Facts'",
    "ALTER TABLE event ALTER COLUMN type SET STATISTICS 500, SET (autovacuum_vacuum_scale_factor = 0.1)",
    "ANALYZE event",
    "TRUNCATE memory, statement_line_1",
    "DROP TABLE statement_line_2",
    "ALTER TABLE memory ADD COLUMN more text",
)


INSERT_FACT = """
INSERT INTO event (position, type, data, tags, effective_on, recorded_at, command_id, actor)
SELECT size, {type}, {data}, {tags}, {effective_on}, {recorded_at}, {command_id}, {actor}
FROM head
"""
FACT = {
    "type": "'Test'",
    "data": "'{}'",
    "tags": "'{account:1}'",
    "effective_on": "'2027-01-04'",
    "recorded_at": "recorded_at",
    "command_id": "'c'",
    "actor": "'system:test'",
}
RAISE = "UPDATE head SET size = size + 1, recorded_at = clock_timestamp()"
NOW = {"recorded_at": "clock_timestamp()"}
CONTROL = [*range(1, 32), 127]
MOST_TAGS = 65_335 - len("Testcsystem:test") - 1
UNFIT = {
    "a date that is none": ("effective_on", ("'infinity'", "'-infinity'", "'0001-12-31 BC'", "'10000-01-01'")),
    # Before any other, so that it falls below none.
    "a moment that is none": ("recorded_at", ("'-infinity'", "'1969-12-31T23:59:59Z'", "'0001-01-01 BC'")),
    "no list of tags": (
        "tags",
        ("'{\"\"}'", "'{NULL}'", "'{a,NULL,b}'", "'{a,\"\"}'", "'{{a,b},{c,d}}'", "'{{NULL}}'"),
    ),
    "no type": ("type", ("''",)),
    "a control character in the type": ("type", [f"'a' || chr({code})" for code in CONTROL]),
    "a control character in a tag": ("tags", [f"ARRAY['a', chr({code}) || 'b']" for code in CONTROL]),
    "a control character in the command id": ("command_id", [f"chr({code}) || 'b'" for code in CONTROL]),
    "a control character in the actor": ("actor", [f"'a' || chr({code}) || 'b'" for code in CONTROL]),
    "a leaf too long by one tag": ("tags", (f"ARRAY[repeat('x', {MOST_TAGS + 1})]",)),
    "a leaf too long by many tags": ("tags", ("array_fill('x'::text, '{32700}')",)),
    "a leaf too long by its type": ("type", ("repeat('x', 65536)", "repeat('\u5e74', 22000)")),
    "too much data": ("data", ("decode(repeat('00', 4194305), 'hex')",)),
}
FITTING = {
    "effective_on": ("'0001-01-01'", "'9999-12-31'"),
    "tags": (
        *("'{}'", "'{\"NULL\"}'", "ARRAY['\"\\{}, ', E'\u0080\u5e74']", f"ARRAY[repeat('x', {MOST_TAGS})]"),
        "array_fill('x'::text, '{32600}')",
    ),
    "type": ("' '", "'Caf\u00e9'"),
    "data": ("''", "decode(repeat('00', 4194304), 'hex')"),
}


@pytest.fixture
def filled(database: Database) -> Database:
    """One row in every protected table, each put there by the role that may."""
    for role, statements in FILL.items():
        with psycopg.connect(database.url.replace("ledger_app", role)) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    return database


def as_role(database: Database, role: str) -> psycopg.Connection[TupleRow]:
    """Log in as the role, or where it has no login become it, as the administrator does for a migration."""
    if role in LOGIN_ROLES:
        return psycopg.connect(database.url.replace("ledger_app", role))
    connection = psycopg.connect(database.admin_url, autocommit=True)
    # With the rights of the role and no other: SET ROLE alone would leave a superuser's way back.
    connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
    connection.autocommit = False
    return connection


def outcome(connection: psycopg.Connection[TupleRow], statement: str) -> str:
    """SQLSTATE of the refusal, or that it was done; either way nothing is left of it."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate or "no code"
    return DONE


def not_refused(database: Database, role: str, statements: Iterable[str]) -> dict[str, str]:
    """Those of the statements that do not end with 42501, with what they end with."""
    with as_role(database, role) as connection:
        found = {statement: outcome(connection, statement) for statement in statements}
    return {statement: code for statement, code in found.items() if code != DENIED}


def rights(connection: psycopg.Connection[TupleRow], table: str, columns: list[str]) -> str:
    """What the role can do with the table, found by doing it."""
    verbs = {verb: statement.format(table=table) for verb, statement in VERBS.items()}
    if table == "event_json":
        verbs, columns = {"SELECT": verbs["SELECT"]}, []
    may = [verb for verb, statement in verbs.items() if outcome(connection, statement) != DENIED]
    updated = [
        column for column in sorted(columns) if outcome(connection, UPDATE.format(table=table, column=column)) != DENIED
    ]
    if updated:
        may.append("UPDATE" if len(updated) == len(columns) else f"UPDATE({','.join(updated)})")
    return " ".join(may)


@pytest.mark.parametrize("role", RIGHTS)
def test_a_role_may_do_with_each_table_exactly_this(filled: Database, role: str) -> None:
    """Every table and view of ours, as the catalogue lists them: a new one cannot be forgotten here."""
    with psycopg.connect(filled.admin_url) as connection:
        tables = connection.execute(
            """
            SELECT c.relname, array_agg(a.attname::text)
            FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
            GROUP BY c.relname
            """
        ).fetchall()
    with as_role(filled, role) as connection:
        found = {table: rights(connection, table, columns) for table, columns in tables}
    assert {table: may for table, may in found.items() if may} == RIGHTS[role]


@pytest.mark.parametrize("role", [*LOGIN_ROLES, "ledger_guard", "ledger_owner"])
def test_no_role_loosens_what_holds_it(filled: Database, role: str) -> None:
    forbidden = list(FORBIDDEN)
    if role != "ledger_owner":
        forbidden += FORBIDDEN_BUT_TO_THE_OWNER
    if role != "ledger_guard":
        forbidden += FORBIDDEN_BUT_TO_THE_GUARD
    with psycopg.connect(filled.admin_url) as connection:
        name = connection.info.dbname
    assert not_refused(filled, role, (statement.replace("CURRENT", name) for statement in forbidden)) == {}


@pytest.mark.parametrize("role", [*LOGIN_ROLES, "ledger_guard", "ledger_owner"])
def test_no_role_changes_the_server(filled: Database, role: str) -> None:
    with as_role(filled, role) as connection:
        connection.autocommit = True
        for statement in FORBIDDEN_OUTSIDE_A_TRANSACTION:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize("role", [*LOGIN_ROLES, "ledger_guard", "ledger_owner"])
def test_no_role_becomes_another(filled: Database, role: str) -> None:
    others = {*RIGHTS, "ledger_owner", "postgres"} - {role}
    assert not_refused(filled, role, (f"SET ROLE {other}" for other in sorted(others))) == {}


def test_the_access_records_time_is_not_the_applications_to_write(filled: Database) -> None:
    statement = "INSERT INTO access_record (access_id, accessed_at) VALUES (gen_random_uuid(), '2020-01-01')"
    assert not_refused(filled, "ledger_app", [statement]) == {}


def test_the_time_of_a_refused_message_is_not_the_applications_to_write(filled: Database) -> None:
    """Invariant 3 of 0012_kafka.sql: it is kept in the order of refusal, and nobody dates it back."""
    statement = "INSERT INTO refused_message (number, refused_at) VALUES (2, '2020-01-01')"
    assert not_refused(filled, "ledger_app", [statement]) == {}


def test_the_outlet_moves_its_two_streams_and_neither_makes_nor_ends_one(filled: Database) -> None:
    """It holds a row for as long as it publishes, and while it does so nobody else moves it."""
    held = "SELECT position FROM outlet_position WHERE stream = 'events' FOR UPDATE"
    with as_role(filled, "ledger_outlet") as outlet, as_role(filled, "ledger_outlet") as other:
        assert outlet.execute(held.encode()).fetchone() == (1,)
        assert other.execute(f"{held} SKIP LOCKED".encode()).fetchone() is None
    tried = (
        "INSERT INTO outlet_position VALUES ('mine', 0, now())",
        "DELETE FROM outlet_position",
        "UPDATE outlet_position SET stream = 'events'",
        "SELECT * FROM head FOR UPDATE",
        "SELECT * FROM event FOR UPDATE",
        "SELECT * FROM memory",
        "SELECT * FROM command",
        "SELECT * FROM intake_offset",
    )
    assert not_refused(filled, "ledger_outlet", tried) == {}


def test_the_application_can_only_raise_the_head(filled: Database) -> None:
    tried = {
        "UPDATE head SET size = size - 1": DENIED,
        "UPDATE head SET recorded_at = recorded_at - interval '1 microsecond'": DENIED,
        "UPDATE head SET size = size + 1, recorded_at = '2020-01-01'": DENIED,
        "UPDATE head SET size = size + 1, recorded_at = clock_timestamp()": DONE,
        "UPDATE head SET recorded_at = recorded_at": DONE,
    }
    with as_role(filled, "ledger_app") as connection:
        assert {statement: outcome(connection, statement) for statement in tried} == tried


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_could_never_be_sealed_is_not_recorded(database: Database, unfit: str) -> None:
    column, values = UNFIT[unfit]
    found = {}
    with as_role(database, "ledger_app") as connection:
        for value in values:
            with pytest.raises(psycopg.errors.CheckViolation) as refused:
                _record(connection, FACT | {column: value})
            found[value] = refused.value.diag.constraint_name
    assert found == dict.fromkeys(values, "event_fits_a_leaf")


def test_what_is_unfit_is_found_among_many(database: Database) -> None:
    with as_role(database, "ledger_app") as connection:
        connection.execute("UPDATE head SET size = 1000, recorded_at = clock_timestamp()")
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            connection.execute(
                "INSERT INTO event SELECT step, CASE step WHEN 777 THEN E'a\\n' ELSE 'a' END, '', '{}', '2027-01-04', "
                "recorded_at, 'c', 'a' FROM head, generate_series(1, 1000) AS step"
            )
        connection.rollback()
    assert refused.value.diag.constraint_name == "event_fits_a_leaf"


@pytest.mark.parametrize("column", FITTING)
def test_what_just_fits_is_recorded_and_has_a_leaf(database: Database, column: str) -> None:
    with as_role(database, "ledger_app") as connection:
        for value in FITTING[column]:
            _record(connection, FACT | {column: value})
        rows = connection.execute(
            "SELECT position, type, tags, effective_on, recorded_at, command_id, actor, data FROM event"
        ).fetchall()
    assert len([leaf_text(*row) for row in rows]) == len(FITTING[column])


def _record(connection: psycopg.Connection[TupleRow], fact: dict[str, str]) -> None:
    with connection.transaction():
        connection.execute(RAISE)
        connection.execute(INSERT_FACT.format(**fact).encode())


@pytest.mark.parametrize(
    ("update", "rule"),
    [
        ("UPDATE head SET size = size + 1", "head_ends_at_a_fact"),
        ("UPDATE head SET size = size + 100, recorded_at = clock_timestamp()", "head_ends_at_a_fact"),
        ("UPDATE head SET size = 9223372036854775807", "head_ends_at_a_fact"),
        ("UPDATE head SET recorded_at = '294000-01-01'", "event_time_not_ahead"),
        ("UPDATE head SET recorded_at = 'infinity'", "event_time_not_ahead"),
        ("UPDATE head SET recorded_at = clock_timestamp() + interval '1 minute'", "event_time_not_ahead"),
    ],
)
def test_the_application_cannot_raise_the_head_for_good(filled: Database, update: str, rule: str) -> None:
    """Neither beyond the journal nor beyond the clock: it could not fall again, and nothing more be recorded."""
    with as_role(filled, "ledger_app") as connection:
        with pytest.raises(psycopg.errors.CheckViolation) as refused, connection.transaction():
            connection.execute(update.encode())
        assert refused.value.diag.constraint_name == rule
        _record(connection, FACT)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((RAISE, INSERT_FACT.format(**FACT), "UPDATE head SET size = size + 1"), "the head says 3 facts"),
        (("UPDATE head SET size = size + 1", INSERT_FACT.format(**FACT | NOW)), "the head says 2 facts"),
    ],
)
def test_facts_do_not_excuse_a_head_that_lies(filled: Database, statements: tuple[str, ...], said: str) -> None:
    """Raised once more after them, or left at a time before the last of them."""
    with as_role(filled, "ledger_app") as connection:
        for statement in statements:
            connection.execute(statement.encode())
        with pytest.raises(psycopg.errors.CheckViolation, match=said):
            connection.commit()
        _record(connection, FACT)


@pytest.mark.parametrize("table", PROTECTED)
def test_the_owner_cannot_touch_a_protected_table(filled: Database, table: str) -> None:
    """Neither its rows nor anything that makes it what it is; each refusal leaves all as it was."""
    with psycopg.connect(filled.admin_url) as connection:
        # Somewhere to move a table to, which the owner could not make himself.
        connection.execute("CREATE SCHEMA aside AUTHORIZATION ledger_owner")
    statements = OWNER_ON_EACH_TABLE if table == "head" else OWNER_ON_EACH_TABLE + OWNER_ON_EACH_BUT_THE_HEAD
    tried = (statement.format(table=table, column=FORGED[table]) for statement in statements)
    assert not_refused(filled, "ledger_owner", tried) == {}


def test_the_owner_cannot_pass_the_guards_elsewhere(filled: Database) -> None:
    assert not_refused(filled, "ledger_owner", OWNER_ELSEWHERE) == {}


def test_the_owner_does_his_ordinary_work(filled: Database) -> None:
    """Migrations that add tables, temporary ones, projections thrown away: no guard stands in the way."""
    with psycopg.connect(filled.admin_url) as connection:
        # Which a migration has from its administrator.
        connection.execute(f"GRANT TEMPORARY ON DATABASE {connection.info.dbname} TO ledger_owner".encode())
    with as_role(filled, "ledger_owner") as connection:
        found = {statement: outcome(connection, statement) for statement in OWNER_MAY}
    assert {statement: code for statement, code in found.items() if code != DONE} == {}


def test_the_sentence_says_what_was_refused_and_why(filled: Database) -> None:
    with (
        as_role(filled, "ledger_owner") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"ALTER TABLE is refused.*table event") as refused,
    ):
        connection.execute("ALTER TABLE event ENABLE TRIGGER refuse_truncate")
    said = str(refused.value.diag.message_detail)
    assert "event lacks trigger enabled A: CREATE TRIGGER refuse_truncate" in said
    assert "event has gained trigger enabled O: CREATE TRIGGER refuse_truncate" in said
    with (
        as_role(filled, "ledger_owner") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"ALTER TABLE is refused: it rewrites.*event_tag"),
    ):
        connection.execute("ALTER TABLE event_tag ALTER COLUMN tag TYPE text USING 'account:2'")


class TestSuperuser:
    """He is held as long as he does not take the guards down on purpose, and that is for the drift check to find."""

    @pytest.mark.parametrize("table", PROTECTED)
    def test_in_replica_mode_every_guard_still_stands(self, filled: Database, table: str) -> None:
        statements = SUPERUSER_ON_EACH_TABLE if table == "head" else (*SUPERUSER_ON_EACH_TABLE, CHANGE)
        with psycopg.connect(filled.admin_url) as connection:
            connection.execute("SET session_replication_role = replica")
            found = {
                outcome(connection, statement.format(table=table, column=FORGED[table])) for statement in statements
            }
        assert found == {DENIED}

    def test_a_guard_function_replaced_is_refused_too(self, filled: Database) -> None:
        with psycopg.connect(filled.admin_url) as connection:
            replaced = outcome(connection, FORBIDDEN_BUT_TO_THE_GUARD[0])
        assert replaced == DENIED

    def test_without_event_triggers_nothing_holds_him(self, filled: Database) -> None:
        with past_all_guards(filled) as connection:
            connection.execute("UPDATE event SET data = 'forged'")
        with psycopg.connect(filled.admin_url) as connection:
            assert connection.execute("SELECT data FROM event").fetchone() == (b"forged",)

    def test_a_copy_of_a_database_is_guarded_as_well(self, filled: Database) -> None:
        """The databases of these tests are copies themselves."""
        with psycopg.connect(filled.admin_url) as connection:
            found = connection.execute("SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY evtname").fetchall()
        assert found == [("check_guards", "A"), ("check_guards_after_drop", "A"), ("refuse_rewrite", "A")]
