-- The roles beside owner and application: who keeps the guards, who seals, who audits, who reads.
--
-- 1. ledger_guard owns what guards the journal, so that the tables' owner cannot replace it. It cannot log in.
-- 2. ledger_notary reads the journal and writes seals, and nothing else.
-- 3. ledger_auditor reads everything and writes nothing.
-- 4. ledger_reader reads what is derived, for reports: neither facts nor commands.
-- 5. Nobody writes large objects, which belong to no table and so to no grant of ours.

DO $roles$
DECLARE
    role_options CONSTANT text[] := ARRAY[
        'ledger_guard NOLOGIN', 'ledger_notary LOGIN', 'ledger_auditor LOGIN', 'ledger_reader LOGIN'
    ];
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

    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO ledger_notary, ledger_auditor, ledger_reader', current_database()
    );
END
$roles$;

-- The system's functions are a superuser's to take away. Where the administrator is none, the drift check reports them.
DO $large_objects$
DECLARE
    function_name regprocedure;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOR function_name IN
        SELECT oid
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^(lo_|loread$|lowrite$)'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function_name);
    END LOOP;
END
$large_objects$;

GRANT USAGE ON SCHEMA public TO ledger_notary, ledger_auditor, ledger_reader;

SET LOCAL ROLE ledger_owner;

GRANT SELECT ON migration TO ledger_notary, ledger_auditor, ledger_reader;
GRANT SELECT ON head TO ledger_notary, ledger_auditor, ledger_reader;
GRANT SELECT ON event TO ledger_notary, ledger_auditor;
GRANT SELECT ON event_tag, command, reused_command, event_json TO ledger_auditor;
GRANT EXECUTE ON FUNCTION json_or_null(bytea) TO ledger_auditor;
GRANT SELECT
    ON memory, projection, projection_slot, dead_letter, statement_line_1, statement_line_2, person_identity_1,
    person_identity_2, person_account_1, person_account_2, control_total_1, control_total_2
    TO ledger_auditor, ledger_reader;
