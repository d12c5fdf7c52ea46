"""The drift check: a fresh database has none, and whatever is changed is named."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from migrations import migrate
from replay.drift import (
    BASELINE,
    NO_AUDIT_LOG,
    SETTINGS,
    Difference,
    drift,
    loose_audit_log,
    loose_settings,
    read_baseline,
    write_baseline,
)
from tests.sealing import auditor_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from ledger.database import Database, TemporaryServer

REPLACE = "CREATE OR REPLACE FUNCTION {}() RETURNS {} LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
REPLACE_EVENT_TRIGGER = "CREATE OR REPLACE FUNCTION {}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"

# What a superuser does, and all that the drift check then names, as kind and name.
MUTATIONS: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "table grant": ("GRANT UPDATE ON event TO ledger_app", {("grant", "to ledger_app on public.event")}),
    "table revoke": ("REVOKE SELECT ON tile FROM ledger_auditor", {("grant", "to ledger_auditor on public.tile")}),
    "large objects for everybody": (
        "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC",
        {("grant", "to PUBLIC on lo_create(oid)")},
    ),
    "grant to the owner": ("GRANT INSERT ON event TO ledger_owner", {("grant", "to ledger_owner on public.event")}),
    "grant to PUBLIC": ("GRANT SELECT ON memory TO PUBLIC", {("grant", "to PUBLIC on public.memory")}),
    "grant option": (
        "GRANT SELECT ON event TO ledger_auditor WITH GRANT OPTION",
        {("grant", "to ledger_auditor on public.event")},
    ),
    "column grant": (
        "GRANT UPDATE (data) ON event TO ledger_notary",
        {("grant", "to ledger_notary on public.event (data)")},
    ),
    "function grant": (
        "GRANT EXECUTE ON FUNCTION standing_guards(text[]) TO PUBLIC",
        {("grant", "to PUBLIC on public.standing_guards(text[])")},
    ),
    "schema grant": ("GRANT CREATE ON SCHEMA public TO ledger_app", {("grant", "to ledger_app on schema public")}),
    "parameter grant": (
        "GRANT SET ON PARAMETER session_replication_role TO ledger_app",
        {("grant", "to ledger_app on parameter session_replication_role")},
    ),
    "catalogue grant": ("GRANT SELECT ON pg_authid TO ledger_app", {("grant", "to ledger_app on pg_authid")}),
    "system function grant": (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO ledger_reader",
        {("grant", "to ledger_reader on pg_read_file(text)")},
    ),
    "default grant": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE ledger_owner GRANT INSERT ON TABLES TO ledger_app",
        {("default grant", "of ledger_owner on tables in every schema")},
    ),
    "trigger disabled": (
        "ALTER TABLE event DISABLE TRIGGER refuse_change",
        {("trigger", "public.event.refuse_change")},
    ),
    "trigger no longer ALWAYS": (
        "ALTER TABLE tile ENABLE TRIGGER refuse_truncate",
        {("trigger", "public.tile.refuse_truncate")},
    ),
    "trigger dropped": ("DROP TRIGGER refuse_fall ON head", {("trigger", "public.head.refuse_fall")}),
    "trigger calling another function": (
        """
        CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON event
        FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        ALTER TABLE event ENABLE ALWAYS TRIGGER refuse_change
        """,
        {("trigger", "public.event.refuse_change")},
    ),
    "trigger added": (
        "CREATE TRIGGER mine BEFORE INSERT ON memory EXECUTE FUNCTION refuse_change()",
        {("trigger", "public.memory.mine")},
    ),
    "foreign key's trigger disabled": (
        """
        ALTER TABLE reused_command DISABLE TRIGGER ALL;
        ALTER TABLE reused_command
            ENABLE ALWAYS TRIGGER refuse_change,
            ENABLE ALWAYS TRIGGER refuse_truncate
        """,
        {
            ("trigger", "public.reused_command.reused_command_command_id_fkey by RI_FKey_check_ins"),
            ("trigger", "public.reused_command.reused_command_command_id_fkey by RI_FKey_check_upd"),
        },
    ),
    "function body": (REPLACE.format("check_new_facts", "trigger"), {("function", "public.check_new_facts()")}),
    "event trigger's function body": (
        REPLACE_EVENT_TRIGGER.format("refuse_rewrite"),
        {("function", "public.refuse_rewrite()")},
    ),
    "function setting": (
        "ALTER FUNCTION refuse_change() SET session_replication_role = replica",
        {("function", "public.refuse_change()")},
    ),
    "function owner": (
        "ALTER FUNCTION refuse_change() OWNER TO ledger_owner",
        # A grant to the owner himself is none to others.
        {("function", "public.refuse_change()"), ("grant", "to ledger_owner on public.refuse_change()")},
    ),
    "function of the definer": (
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        {("function", "public.mine()"), ("grant", "to PUBLIC on public.mine()")},
    ),
    "function beside the system's own": (
        "CREATE FUNCTION pg_catalog.sha256(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        {("function", "sha256(text)"), ("grant", "to PUBLIC on sha256(text)")},
    ),
    "rule": ("CREATE RULE mine AS ON INSERT TO memory DO ALSO NOTHING", {("rule", "public.memory.mine")}),
    "row security": ("ALTER TABLE event ENABLE ROW LEVEL SECURITY", {("relation", "public.event")}),
    "policy": ("CREATE POLICY mine ON event USING (false)", {("policy", "public.event.mine")}),
    "table owner": (
        "ALTER TABLE migration OWNER TO postgres",
        {
            ("relation", "public.migration"),
            ("index", "public.migration_pkey"),
            ("grant", "to ledger_owner on public.migration"),
            ("grant", "to postgres on public.migration"),
        },
    ),
    "table that is not logged": ("ALTER TABLE memory SET UNLOGGED", {("relation", "public.memory")}),
    "column added": ("ALTER TABLE event ADD COLUMN mine text", {("column", "public.event.mine")}),
    "column retyped": ("ALTER TABLE event_tag ALTER COLUMN tag TYPE varchar", {("column", "public.event_tag.tag")}),
    "column that may be empty": (
        "ALTER TABLE event ALTER COLUMN actor DROP NOT NULL",
        {("column", "public.event.actor")},
    ),
    "column default": ("ALTER TABLE event ALTER COLUMN actor SET DEFAULT 'x'", {("column", "public.event.actor")}),
    "constraint dropped": (
        "ALTER TABLE event DROP CONSTRAINT event_position_check",
        {("constraint", "public.event.event_position_check")},
    ),
    "key dropped": (
        "ALTER TABLE event_tag DROP CONSTRAINT event_tag_pkey",
        {("constraint", "public.event_tag.event_tag_pkey"), ("index", "public.event_tag_pkey")},
    ),
    "index added": ("CREATE INDEX mine ON event ((upper(actor)))", {("index", "public.mine")}),
    "view": (
        """
        CREATE OR REPLACE VIEW event_json WITH (security_invoker = true) AS
        SELECT position, type, json_or_null(data) AS data, tags, effective_on, recorded_at, command_id, actor
        FROM event WHERE position <> 7
        """,
        {("view", "public.event_json")},
    ),
    "view that reads with its owner's rights": (
        "ALTER VIEW event_json RESET (security_invoker)",
        {("relation", "public.event_json")},
    ),
    "heir": (
        "CREATE TABLE mine (); ALTER TABLE event_tag INHERIT mine",
        {
            ("inheritance", "public.event_tag from public.mine"),
            ("relation", "public.mine"),
            ("grant", "to postgres on public.mine"),
        },
    ),
    "event trigger disabled": ("ALTER EVENT TRIGGER check_guards DISABLE", {("event trigger", "check_guards")}),
    "event trigger no longer ALWAYS": (
        "ALTER EVENT TRIGGER refuse_rewrite ENABLE",
        {("event trigger", "refuse_rewrite")},
    ),
    "event trigger dropped": (
        "DROP EVENT TRIGGER check_guards_after_drop",
        {("event trigger", "check_guards_after_drop")},
    ),
    "event trigger of few statements": (
        """
        DROP EVENT TRIGGER check_guards;
        CREATE EVENT TRIGGER check_guards ON ddl_command_end WHEN TAG IN ('GRANT') EXECUTE FUNCTION check_guards();
        ALTER EVENT TRIGGER check_guards ENABLE ALWAYS
        """,
        {("event trigger", "check_guards")},
    ),
    "what is guarded": (
        "DELETE FROM guarded WHERE item LIKE 'trigger%' AND table_name = 'event'",
        {("content", "public.guarded")},
    ),
    "role that logs in": ("ALTER ROLE ledger_guard LOGIN", {("role", "ledger_guard")}),
    "role made superuser": ("ALTER ROLE ledger_reader SUPERUSER", {("role", "ledger_reader")}),
    "role past row security": ("ALTER ROLE ledger_app BYPASSRLS", {("role", "ledger_app")}),
    "role that replicates": ("ALTER ROLE ledger_notary REPLICATION", {("role", "ledger_notary")}),
    "role that makes roles": ("ALTER ROLE ledger_auditor CREATEROLE CREATEDB", {("role", "ledger_auditor")}),
    "role added": ("CREATE ROLE ledger_helper LOGIN", {("role", "ledger_helper")}),
    "membership in a role": (
        "CREATE ROLE clerk; GRANT ledger_owner TO clerk",
        {("membership", "of clerk in ledger_owner")},
    ),
    "membership of a role": (
        "GRANT pg_write_all_data TO ledger_app WITH ADMIN OPTION",
        {("membership", "of ledger_app in pg_write_all_data")},
    ),
    "setting of the database": (
        "ALTER DATABASE {database} SET session_replication_role = replica",
        {("setting", "session_replication_role for every role in this database")},
    ),
    "setting of a role": (
        "ALTER ROLE ledger_app SET search_path = mine, public",
        {("setting", "search_path for ledger_app in every database")},
    ),
    "setting of a role here": (
        "ALTER ROLE ledger_app IN DATABASE {database} SET synchronous_commit = off",
        {("setting", "synchronous_commit for ledger_app in this database")},
    ),
    "setting of another role that loosens guards": (
        "ALTER ROLE postgres SET event_triggers = off; ALTER ROLE postgres SET work_mem = '64MB'",
        {("setting", "event_triggers for postgres in every database")},
    ),
    "audit log switched off": (
        """ALTER DATABASE {database} SET "pgaudit.log" = 'none'; ALTER ROLE postgres SET "pgaudit.log" = 'none'""",
        {
            ("setting", "pgaudit.log for every role in this database"),
            ("setting", "pgaudit.log for postgres in every database"),
        },
    ),
    "setting of everybody": (
        "ALTER ROLE ALL SET row_security = off",
        {("setting", "row_security for every role in every database")},
    ),
    "schema": ("CREATE SCHEMA mine", {("schema", "mine")}),
    "schema owner": (
        "ALTER SCHEMA public OWNER TO ledger_app",
        {("schema", "public"), ("grant", "to ledger_app on schema public")},
    ),
    "type": ("CREATE DOMAIN mine AS text", {("type", "public.mine")}),
    "operator": (
        """
        CREATE FUNCTION mine(bigint, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        REVOKE EXECUTE ON FUNCTION mine FROM PUBLIC;
        CREATE OPERATOR = (LEFTARG = bigint, RIGHTARG = text, FUNCTION = mine)
        """,
        {("operator", "public.=(bigint,text)"), ("function", "public.mine(bigint,text)")},
    ),
    "cast": ("CREATE CAST (bytea AS date) WITH INOUT", {("cast", "bytea to date")}),
    "publication": ("CREATE PUBLICATION mine FOR TABLE event", {("publication", "mine")}),
    "subscription": (
        "CREATE SUBSCRIPTION mine CONNECTION '' PUBLICATION mine WITH (connect = false)",
        {("subscription", "mine")},
    ),
}


@pytest.fixture
def superuser(database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    """One transaction past all event triggers, rolled back: roles belong to all databases of the server."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("SET LOCAL event_triggers = off")
        yield connection
        connection.rollback()


def test_the_baseline_is_what_a_fresh_database_gives(database: Database) -> None:
    """After a change of the tables, renew it: `python -m replay.drift URL > replay/baseline.json`, and read the diff."""
    with psycopg.connect(auditor_url(database)) as connection:
        assert write_baseline(connection) == resources.files("replay").joinpath(BASELINE).read_text("utf-8")
        found = drift(connection)
        assert [str(each) for each in found.differences] == []
        assert found.notes == [NO_AUDIT_LOG]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_whatever_is_changed_is_named_and_nothing_else(superuser: psycopg.Connection[TupleRow], mutation: str) -> None:
    statement, expected = MUTATIONS[mutation]
    superuser.execute(statement.replace("{database}", superuser.info.dbname).encode())
    found = {(each.kind, each.name) for each in drift(superuser).differences}
    assert found == expected


def test_a_sentence_says_what_was_expected_and_what_was_found(superuser: psycopg.Connection[TupleRow]) -> None:
    superuser.execute("GRANT UPDATE ON event TO ledger_app")
    superuser.execute("DROP TRIGGER refuse_truncate ON event")
    superuser.execute("ALTER ROLE ledger_guard LOGIN")
    superuser.execute("CREATE ROLE ledger_helper")
    assert [str(each) for each in drift(superuser).differences] == [
        "The grant to ledger_app on public.event was changed. Expected: INSERT, SELECT. Found: INSERT, SELECT, UPDATE.",
        "The role ledger_guard was changed. Expected: no login, inherit. Found: login, inherit.",
        "The role ledger_helper must not be there. Found: no login, inherit.",
        "The trigger public.event.refuse_truncate is missing. Expected: "
        + read_baseline()["trigger"]["public.event.refuse_truncate"]
        + ".",
    ]


def test_the_auditor_sees_settings_as_new_sessions_get_them(database: Database) -> None:
    """Whatever his own session has set."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET session_replication_role = replica").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = local").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {} SET row_security = on").format(name))
    with psycopg.connect(auditor_url(database)) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("SET row_security = off")
        found = drift(connection).differences
    assert [each for each in found if " for " not in each.name] == [
        Difference("setting", "session_replication_role", "origin", "replica"),
        Difference("setting", "synchronous_commit", "on or remote_apply", "local"),
    ]
    assert len(found) == 5


def test_the_callers_search_path_is_left_as_it_was(database: Database) -> None:
    with psycopg.connect(auditor_url(database)) as connection:
        connection.execute("SET search_path = public, pg_temp")
        drift(connection)
        assert connection.execute("SHOW search_path").fetchone() == ("public, pg_temp",)


def test_a_database_without_our_tables_lacks_everything(empty_database: Database) -> None:
    with psycopg.connect(empty_database.admin_url) as connection:
        found = drift(connection).differences
    missing = {each.kind for each in found if each.found is None}
    assert missing >= {"column", "content", "event trigger", "function", "relation", "trigger"}


def test_an_administrator_without_superuser_leaves_guards_out_and_that_is_named(server: TemporaryServer) -> None:
    with psycopg.connect(server.server.url(user="postgres", database="postgres"), autocommit=True) as superuser:
        superuser.execute("CREATE ROLE warden LOGIN CREATEROLE")
        superuser.execute("GRANT ledger_owner TO warden")
        superuser.execute("CREATE DATABASE warded OWNER warden")
        try:
            migrate(server.server.url(user="warden", database="warded"))
            with psycopg.connect(server.server.url(user="ledger_auditor", database="warded")) as connection:
                found = {(each.kind, each.name) for each in drift(connection).differences}
        finally:
            superuser.execute("DROP DATABASE warded WITH (FORCE)")
            superuser.execute("DROP ROLE warden")
    assert found >= {
        ("event trigger", "check_guards"),
        ("event trigger", "check_guards_after_drop"),
        ("event trigger", "refuse_rewrite"),
        ("function", "public.refuse_change()"),
        ("grant", "to PUBLIC on lo_create(oid)"),
        ("membership", "of warden in ledger_owner"),
    }
    assert {kind for kind, _ in found} == {
        *("content", "event trigger", "function", "grant", "index", "membership", "relation"),
    }


class TestSettings:
    """What a server without these settings cannot show here."""

    def test_settings_as_they_must_be_are_no_difference(self) -> None:
        assert loose_settings({name: accepted[-1] for name, accepted in SETTINGS.items()}) == []

    def test_a_setting_that_this_server_does_not_know_is_no_difference(self) -> None:
        """Such as event_triggers before PostgreSQL 17."""
        assert loose_settings({}) == []

    @pytest.mark.parametrize("name", SETTINGS)
    def test_each_setting_is_named_when_it_is_loose(self, name: str) -> None:
        assert [each.name for each in loose_settings({name: "loose"})] == [name]

    @pytest.mark.parametrize(
        "log", ["ddl,role,write,misc_set", "all", "ALL, -READ", "none,ddl,write,role,misc_set,function", "-all,all"]
    )
    def test_an_audit_log_of_all_changes_is_enough(self, log: str) -> None:
        assert loose_audit_log({"pgaudit.log": log, "pgaudit.log_parameter": "off"}) == []

    @pytest.mark.parametrize("log", ["none", "", "ddl,role,write", "all,-write", "read", "all,-all"])
    def test_an_audit_log_with_gaps_is_named(self, log: str) -> None:
        assert [each.name for each in loose_audit_log({"pgaudit.log": log})] == ["pgaudit.log"]

    def test_an_audit_log_of_values_is_named(self) -> None:
        found = loose_audit_log({"pgaudit.log": "all", "pgaudit.log_parameter": "on"})
        assert found == [Difference("setting", "pgaudit.log_parameter", "off", "on")]


def test_every_protected_table_is_in_the_baseline_with_its_guards() -> None:
    baseline = read_baseline()
    for table in ("access_record", "checkpoint", "command", "event", "event_tag", "head", "reused_command", "tile"):
        for trigger in ("refuse_change", "refuse_truncate"):
            assert baseline["trigger"][f"public.{table}.{trigger}"].startswith("enabled A: ")
