-- The guards of the guards: nobody below a superuser changes what protects the journal.
--
-- 1. The guard functions belong to ledger_guard, so the owner of the tables cannot replace them.
-- 2. The head only rises: its size and its time never fall, and its one row is neither added to nor removed. It rises no higher
--    than the journal and the clock: what could not fall again would stop every further append.
-- 3. No statement rewrites a protected table, and none ends with one that differs from what stands in guarded.
-- 4. The owner of the tables adds neither facts nor seals.
--
-- Event triggers need a superuser. Where the administrator is none, they are left out with a warning, and the
-- auditor's drift check reports them missing.

SET LOCAL ROLE ledger_owner;

CREATE FUNCTION refuse_fall() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('%s of table %I is refused: its one row can only rise', TG_OP, TG_TABLE_NAME),
        TABLE = TG_TABLE_NAME;
END
$body$;

COMMENT ON FUNCTION refuse_fall() IS 'Guard of the head: refuses INSERT, DELETE, TRUNCATE, and any UPDATE that lowers it.';

CREATE FUNCTION refuse_time_ahead() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'check_violation',
        CONSTRAINT = 'event_time_not_ahead',
        MESSAGE = format('recorded_at %s of the head lies after the database clock', NEW.recorded_at),
        TABLE = TG_TABLE_NAME;
END
$body$;

COMMENT ON FUNCTION refuse_time_ahead() IS 'Guard of the head: refuses any UPDATE that raises its time above the clock.';

CREATE FUNCTION check_head() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
DECLARE
    head_size bigint;
    head_recorded_at timestamptz;
    fact_recorded_at timestamptz;
BEGIN
    SELECT h.size, h.recorded_at, e.recorded_at
    INTO head_size, head_recorded_at, fact_recorded_at
    FROM head AS h
    LEFT JOIN event AS e ON e.position = h.size;

    IF head_size > 0 AND (fact_recorded_at <= head_recorded_at) IS NOT TRUE THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = TG_NAME,
            MESSAGE = format('the head says %s facts until %s, but the fact there is of %s',
                head_size, head_recorded_at, coalesce(fact_recorded_at::text, 'no time, for there is none')),
            TABLE = TG_TABLE_NAME;
    END IF;

    RETURN NULL;
END
$body$;

COMMENT ON FUNCTION check_head() IS 'Guard of the head, at commit: the last fact stands where it says, and no later than it says.';

-- The conditions are all that an ordinary posting pays: the functions are called only to refuse. After the update, so that
-- no other trigger changes the row behind the condition. The clock matters only where the time rises: a head that the clock
-- fell behind may stay.
CREATE TRIGGER refuse_fall
AFTER UPDATE ON head
FOR EACH ROW
WHEN (NEW.size < OLD.size OR NEW.recorded_at < OLD.recorded_at)
EXECUTE FUNCTION refuse_fall();

CREATE TRIGGER refuse_time_ahead
AFTER UPDATE ON head
FOR EACH ROW
WHEN (NEW.recorded_at > OLD.recorded_at AND NEW.recorded_at > clock_timestamp())
EXECUTE FUNCTION refuse_time_ahead();

-- At commit, because the facts are inserted after the head is raised.
CREATE CONSTRAINT TRIGGER head_ends_at_a_fact
AFTER UPDATE ON head
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW
WHEN (NEW.size <> OLD.size)
EXECUTE FUNCTION check_head();

CREATE TRIGGER refuse_change
BEFORE INSERT OR DELETE ON head
FOR EACH ROW
EXECUTE FUNCTION refuse_fall();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON head
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_fall();

ALTER TABLE head
    ENABLE ALWAYS TRIGGER head_ends_at_a_fact,
    ENABLE ALWAYS TRIGGER refuse_fall,
    ENABLE ALWAYS TRIGGER refuse_time_ahead,
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TABLE guarded (
    table_name text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    PRIMARY KEY (table_name, item)
);

COMMENT ON TABLE guarded IS 'The protected tables and all that makes each what it is: what every DDL statement must leave standing.';
COMMENT ON COLUMN guarded.table_name IS 'A table of the schema public.';
COMMENT ON COLUMN guarded.item IS 'A column, trigger, constraint or grant of it, as standing_guards spells it.';

-- The search path makes every definition spell out its schemas, and so the same text whoever asks. Plain indexes are
-- left out, because they run no code; MAINTAIN, because it changes no data and exists from PostgreSQL 17 on.
CREATE FUNCTION standing_guards(tables text[]) RETURNS TABLE (table_name text, item text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
    WITH protected AS (
        SELECT c.*
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (tables)
    )
    SELECT p.relname, format(
        'relation of kind %s, persistence %s, owner %s, row security %s',
        p.relkind, p.relpersistence, p.relowner::regrole, p.relrowsecurity OR p.relforcerowsecurity
    )
    FROM protected AS p
    UNION ALL
    SELECT p.relname, concat_ws(
        ' ',
        'column', a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> 0 THEN 'COLLATE ' || a.attcollation::regcollation END,
        CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
        'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
    )
    FROM protected AS p
    JOIN pg_attribute AS a ON a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT p.relname, format(
        'trigger enabled %s: %s; function of %s, sha256 %s',
        t.tgenabled, pg_get_triggerdef(t.oid), f.proowner::regrole, encode(sha256(convert_to(f.prosrc, 'UTF8')), 'hex')
    )
    FROM protected AS p
    JOIN pg_trigger AS t ON t.tgrelid = p.oid AND NOT t.tgisinternal
    JOIN pg_proc AS f ON f.oid = t.tgfoid
    UNION ALL
    SELECT p.relname, format('trigger of constraint %s enabled %s: %s', k.conname, t.tgenabled, t.tgfoid::regproc)
    FROM protected AS p
    JOIN pg_trigger AS t ON t.tgrelid = p.oid AND t.tgisinternal
    LEFT JOIN pg_constraint AS k ON k.oid = t.tgconstraint
    UNION ALL
    SELECT p.relname, format('constraint %s: %s', k.conname, pg_get_constraintdef(k.oid))
    FROM protected AS p
    JOIN pg_constraint AS k ON k.conrelid = p.oid AND k.contype <> 'n'
    UNION ALL
    SELECT p.relname, 'index: ' || pg_get_indexdef(i.indexrelid)
    FROM protected AS p
    JOIN pg_index AS i ON i.indrelid = p.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT p.relname, 'rule ' || r.rulename
    FROM protected AS p
    JOIN pg_rewrite AS r ON r.ev_class = p.oid
    UNION ALL
    SELECT p.relname, 'policy ' || y.polname
    FROM protected AS p
    JOIN pg_policy AS y ON y.polrelid = p.oid
    UNION ALL
    SELECT p.relname, format('%s inherits from %s', h.inhrelid::regclass, h.inhparent::regclass)
    FROM protected AS p
    JOIN pg_inherits AS h ON p.oid IN (h.inhrelid, h.inhparent)
    UNION ALL
    SELECT p.relname, format(
        'grant %s%s to %s%s',
        g.privilege_type,
        ' (' || granted.attname || ')',
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
        CASE WHEN g.is_grantable THEN ' with grant option' END
    )
    FROM protected AS p
    CROSS JOIN LATERAL (
        SELECT NULL::name AS attname, coalesce(p.relacl, acldefault('r', p.relowner)) AS acl
        UNION ALL
        SELECT a.attname, a.attacl
        FROM pg_attribute AS a
        WHERE a.attrelid = p.oid AND NOT a.attisdropped
    ) AS granted
    CROSS JOIN LATERAL aclexplode(granted.acl) AS g
    WHERE g.privilege_type <> 'MAINTAIN'
$body$;

COMMENT ON FUNCTION standing_guards(text[]) IS 'All that makes each of these tables what it is, at this moment.';

CREATE FUNCTION check_guards() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    changes_shown CONSTANT int := 5;
    changed_table text;
    changes text;
BEGIN
    SELECT min(change.table_name), string_agg(change.line, E'\n' ORDER BY change.line)
    INTO changed_table, changes
    FROM (
        SELECT
            coalesce(g.table_name, s.table_name) AS table_name,
            CASE
                WHEN s.item IS NULL THEN format('%s lacks %s', g.table_name, g.item)
                ELSE format('%s has gained %s', s.table_name, s.item)
            END COLLATE "C" AS line
        FROM public.guarded AS g
        FULL JOIN public.standing_guards(ARRAY(SELECT DISTINCT k.table_name FROM public.guarded AS k)) AS s
            ON s.table_name COLLATE "C" = g.table_name AND s.item COLLATE "C" = g.item
        WHERE g.item IS NULL OR s.item IS NULL
        ORDER BY line
        LIMIT changes_shown
    ) AS change;

    IF changes IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s is refused: it changes the protected table %I', TG_TAG, changed_table),
            DETAIL = changes,
            TABLE = changed_table;
    END IF;
END
$body$;

COMMENT ON FUNCTION check_guards() IS 'After every DDL statement: refuses it if a protected table is no longer what it was.';

CREATE FUNCTION refuse_rewrite() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    rewritten text;
BEGIN
    SELECT c.relname
    INTO rewritten
    FROM pg_class AS c
    JOIN public.guarded AS g ON g.table_name = c.relname
    WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relnamespace = 'public'::regnamespace
    LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s is refused: it rewrites the rows of the protected table %I', TG_TAG, rewritten),
            TABLE = rewritten;
    END IF;
END
$body$;

COMMENT ON FUNCTION refuse_rewrite() IS 'Before a statement rewrites a table: refuses it for a protected one.';

-- Who owns a table may insert into it unless that is taken away; to give it back to himself is then a change of grants.
REVOKE INSERT ON access_record, checkpoint, command, event, event_tag, reused_command, tile FROM ledger_owner;

REVOKE EXECUTE
    ON FUNCTION refuse_fall(), refuse_time_ahead(), check_head(), standing_guards(text[]), check_guards(), refuse_rewrite()
    FROM PUBLIC;
GRANT SELECT ON guarded TO ledger_auditor;

SET LOCAL ROLE NONE;

GRANT USAGE ON SCHEMA public TO ledger_guard;

DO $hand_over$
DECLARE
    is_superuser CONSTANT boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    -- Who gives a function away must be able to become its new owner, and that one to create in the schema.
    IF NOT is_superuser THEN
        GRANT ledger_guard TO CURRENT_USER;
    END IF;
    GRANT CREATE ON SCHEMA public TO ledger_guard;
    ALTER FUNCTION refuse_change() OWNER TO ledger_guard;
    ALTER FUNCTION check_new_facts() OWNER TO ledger_guard;
    ALTER FUNCTION refuse_fall() OWNER TO ledger_guard;
    ALTER FUNCTION refuse_time_ahead() OWNER TO ledger_guard;
    ALTER FUNCTION check_head() OWNER TO ledger_guard;
    ALTER FUNCTION standing_guards(text[]) OWNER TO ledger_guard;
    ALTER FUNCTION check_guards() OWNER TO ledger_guard;
    ALTER FUNCTION refuse_rewrite() OWNER TO ledger_guard;
    ALTER TABLE guarded OWNER TO ledger_guard;
    -- So that later append-only tables can have it as their guard.
    GRANT EXECUTE ON FUNCTION refuse_change() TO ledger_owner;
    REVOKE CREATE ON SCHEMA public FROM ledger_guard;
    IF NOT is_superuser THEN
        REVOKE ledger_guard FROM CURRENT_USER;
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR internal_error THEN
        RAISE WARNING 'The guard functions stay with ledger_owner: % cannot become ledger_guard', current_user;
END
$hand_over$;

DO $watch$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE WARNING 'The event triggers are left out: % is no superuser', current_user;
        RETURN;
    END IF;

    INSERT INTO guarded (table_name, item)
    SELECT table_name, item
    FROM standing_guards(
        ARRAY['access_record', 'checkpoint', 'command', 'event', 'event_tag', 'head', 'reused_command', 'tile']
    );

    CREATE EVENT TRIGGER check_guards ON ddl_command_end
    EXECUTE FUNCTION check_guards();

    CREATE EVENT TRIGGER check_guards_after_drop ON sql_drop
    EXECUTE FUNCTION check_guards();

    CREATE EVENT TRIGGER refuse_rewrite ON table_rewrite
    EXECUTE FUNCTION refuse_rewrite();

    -- ALWAYS, because session_replication_role = replica switches plain event triggers off, too.
    ALTER EVENT TRIGGER check_guards ENABLE ALWAYS;
    ALTER EVENT TRIGGER check_guards_after_drop ENABLE ALWAYS;
    ALTER EVENT TRIGGER refuse_rewrite ENABLE ALWAYS;
END
$watch$;
