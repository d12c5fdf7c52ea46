-- The roles, and a database that gives strangers nothing.
--
-- Runs as the administrator: a superuser, or the owner of this database with CREATEROLE. Roles belong
-- to the whole cluster, so another database of it may create them at the same moment.

DO $roles$
DECLARE
    role_options CONSTANT text[] := ARRAY['ledger_owner NOLOGIN', 'ledger_app LOGIN'];
    role_option text;
BEGIN
    FOREACH role_option IN ARRAY role_options LOOP
        CONTINUE WHEN EXISTS (
            SELECT
            FROM pg_roles
            WHERE rolname = split_part(role_option, ' ', 1)
        );
        BEGIN
            EXECUTE 'CREATE ROLE ' || role_option;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- Created by another database's migration between the look and the deed.
        END;
    END LOOP;

    -- A superuser may become any role. Another administrator must be a member; when the grant is
    -- not his to give, or given at this moment by another, the SET ROLE of the next file decides.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            GRANT ledger_owner TO CURRENT_USER;
        EXCEPTION
            WHEN insufficient_privilege OR internal_error THEN
                NULL;
        END;
    END IF;

    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ledger_app', current_database());
END
$roles$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ledger_owner;
GRANT USAGE ON SCHEMA public TO ledger_app;

ALTER TABLE migration OWNER TO ledger_owner;

SET LOCAL ROLE ledger_owner;

ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The application looks here at start, whether the tables are the ones it was written for.
GRANT SELECT ON migration TO ledger_app;

COMMENT ON TABLE migration IS 'Every migration file that was applied to this database.';
COMMENT ON COLUMN migration.name IS 'File name.';
COMMENT ON COLUMN migration.sha256 IS 'Fingerprint of the file as it was applied, in lower-case hex.';
COMMENT ON COLUMN migration.applied_at IS 'Database clock when the file was applied.';
