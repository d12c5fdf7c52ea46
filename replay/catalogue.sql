-- All that a database is made of and who may do what with it: kind, name and description, one row an item.
--
-- Reads the system catalogues alone, which everybody may. To be run with `search_path = pg_catalog`, so that every name
-- of ours is written with its schema. What versions 15 to 18 write differently is left out: NOT NULL as a constraint (it
-- stands with its column) and the privilege MAINTAIN. What belongs to an extension is left out; the extension is named.
WITH member AS (
    SELECT classid, objid
    FROM pg_depend
    WHERE deptype = 'e'
), place AS (
    SELECT oid, nspname
    FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS (
    SELECT c.*
    FROM pg_class AS c
    JOIN place AS n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), function AS (
    SELECT p.*
    FROM pg_proc AS p
    -- Functions of our own number in the system's schema, too: there they would be called before all others.
    WHERE p.oid >= 16384
        AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
), acl AS (
    SELECT 'database' AS object, coalesce(datacl, acldefault('d', datdba)) AS acl, datdba AS without
    FROM pg_database
    WHERE datname = current_database()
    UNION ALL
    SELECT 'schema ' || quote_ident(n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner)), n.nspowner
    FROM pg_namespace AS n
    JOIN place USING (oid)
    UNION ALL
    SELECT c.oid::regclass::text, coalesce(c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner)), 0
    FROM relation AS c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT format('%s (%I)', c.oid::regclass, a.attname), a.attacl, 0
    FROM relation AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
    UNION ALL
    SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
    FROM function AS p
    UNION ALL
    -- Parameters belong to the superuser that made the cluster, who has the first number.
    SELECT 'parameter ' || parname, paracl, 10
    FROM pg_parameter_acl
), granted AS (
    SELECT acl.object, g.grantee, g.privilege_type, g.is_grantable
    FROM acl
    CROSS JOIN LATERAL aclexplode(acl.acl) AS g
    WHERE g.grantee <> acl.without OR acl.without = 0
    UNION ALL
    -- What the system keeps for itself, and somebody gave to one of our roles.
    SELECT s.object, g.grantee, g.privilege_type, g.is_grantable
    FROM (
        SELECT oid::regclass::text AS object, relacl AS acl FROM pg_class WHERE oid < 16384
        UNION ALL
        SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE oid < 16384
    ) AS s
    CROSS JOIN LATERAL aclexplode(s.acl) AS g
    JOIN pg_roles AS r ON r.oid = g.grantee AND r.rolname ~ '^ledger_'
    UNION ALL
    -- What everybody has from the system, and was taken away: with it large objects are written.
    SELECT p.oid::regprocedure::text, g.grantee, g.privilege_type, g.is_grantable
    FROM pg_proc AS p
    CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS g
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_|loread$|lowrite$)' AND g.grantee = 0
), item (kind, name, description) AS (
    SELECT 'schema', n.nspname::text, 'owner ' || n.nspowner::regrole::text
    FROM pg_namespace AS n
    JOIN place USING (oid)
    UNION ALL
    SELECT 'extension', extname, 'installed'
    FROM pg_extension
    -- What an audit installs: the log of statements and the check of pages.
    WHERE extname NOT IN ('amcheck', 'pgaudit')
    UNION ALL
    SELECT 'relation', c.oid::regclass::text, concat_ws(
        ', ',
        'kind ' || c.relkind::text,
        'persistence ' || c.relpersistence::text,
        'owner ' || c.relowner::regrole::text,
        'row security ' || CASE WHEN c.relforcerowsecurity THEN 'forced' WHEN c.relrowsecurity THEN 'on' ELSE 'off' END,
        CASE WHEN c.relkind = 'v' THEN 'options ' || array_to_string(c.reloptions, ' ') END
    )
    FROM relation AS c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    UNION ALL
    SELECT 'column', format('%s.%I', c.oid::regclass, a.attname), concat_ws(
        ' ',
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> 0 THEN 'COLLATE ' || a.attcollation::regcollation::text END,
        CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        'IDENTITY ' || nullif(a.attidentity::text, ''),
        'GENERATED ' || nullif(a.attgenerated::text, ''),
        'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
    )
    FROM relation AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    UNION ALL
    SELECT 'constraint', format('%s.%I', k.conrelid::regclass, k.conname), pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k
    JOIN relation AS c ON c.oid = k.conrelid
    WHERE k.contype <> 'n'
    UNION ALL
    SELECT 'index', i.indexrelid::regclass::text, concat_ws(
        ', ',
        pg_get_indexdef(i.indexrelid),
        'owner ' || c.relowner::regrole::text,
        CASE WHEN NOT i.indisvalid THEN 'invalid' END
    )
    FROM pg_index AS i
    JOIN relation AS c ON c.oid = i.indexrelid
    UNION ALL
    SELECT 'trigger', format('%s.%I', t.tgrelid::regclass, t.tgname), format('enabled %s: %s', t.tgenabled, pg_get_triggerdef(t.oid))
    FROM pg_trigger AS t
    JOIN relation AS c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'trigger', format('%s.%I by %s', t.tgrelid::regclass, k.conname, p.proname), format('enabled %s', t.tgenabled)
    FROM pg_trigger AS t
    JOIN relation AS c ON c.oid = t.tgrelid
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    LEFT JOIN pg_constraint AS k ON k.oid = t.tgconstraint
    WHERE t.tgisinternal
    UNION ALL
    -- Only from version 16 on does a view of one table leave out whose columns they are.
    SELECT 'view', c.oid::regclass::text, trim(
        regexp_replace(regexp_replace(pg_get_viewdef(c.oid), '\m[a-z_0-9]+\.', '', 'g'), '\s+', ' ', 'g')
    )
    FROM relation AS c
    WHERE c.relkind IN ('v', 'm')
    UNION ALL
    SELECT 'rule', format('%s.%I', r.ev_class::regclass, r.rulename), format('enabled %s: %s', r.ev_enabled, pg_get_ruledef(r.oid))
    FROM pg_rewrite AS r
    JOIN relation AS c ON c.oid = r.ev_class
    WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', format('%s.%I', y.polrelid::regclass, y.polname), concat_ws(
        ', ',
        CASE WHEN y.polpermissive THEN 'permissive' ELSE 'restrictive' END,
        'for ' || y.polcmd::text,
        'using ' || pg_get_expr(y.polqual, y.polrelid),
        'with check ' || pg_get_expr(y.polwithcheck, y.polrelid)
    )
    FROM pg_policy AS y
    JOIN relation AS c ON c.oid = y.polrelid
    UNION ALL
    SELECT 'inheritance', format('%s from %s', h.inhrelid::regclass, h.inhparent::regclass), 'inherits'
    FROM pg_inherits AS h
    JOIN relation AS c ON c.oid = h.inhparent
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, concat_ws(
        ', ',
        'owner ' || p.proowner::regrole::text,
        'language ' || l.lanname,
        'arguments ' || nullif(pg_get_function_arguments(p.oid), ''),
        'returns ' || pg_get_function_result(p.oid),
        'volatility ' || p.provolatile::text,
        'parallel ' || p.proparallel::text,
        CASE WHEN p.proisstrict THEN 'strict' END,
        CASE WHEN p.proleakproof THEN 'leakproof' END,
        CASE WHEN p.prosecdef THEN 'security definer' ELSE 'security invoker' END,
        'set ' || array_to_string(p.proconfig, ' and '),
        'sha256 ' || encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), 'UTF8')), 'hex')
    )
    FROM function AS p
    JOIN pg_language AS l ON l.oid = p.prolang
    UNION ALL
    SELECT 'event trigger', e.evtname, format(
        'on %s, for %s, function %s, enabled %s, owner %s',
        e.evtevent,
        coalesce(array_to_string(e.evttags, ' and '), 'all statements'),
        e.evtfoid::regproc,
        e.evtenabled,
        CASE WHEN o.rolsuper THEN 'a superuser' ELSE o.rolname END
    )
    FROM pg_event_trigger AS e
    JOIN pg_roles AS o ON o.oid = e.evtowner
    WHERE NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid)
    UNION ALL
    SELECT 'type', t.oid::regtype::text, format('kind %s, owner %s', t.typtype, t.typowner::regrole)
    FROM pg_type AS t
    JOIN place AS n ON n.oid = t.typnamespace
    WHERE t.typrelid = 0
        AND t.typcategory <> 'A'
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
    UNION ALL
    SELECT 'operator', o.oid::regoperator::text, 'function ' || o.oprcode::text
    FROM pg_operator AS o
    WHERE o.oid >= 16384
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
    UNION ALL
    SELECT 'cast', format('%s to %s', k.castsource::regtype, k.casttarget::regtype), 'function ' || k.castfunc::regprocedure::text
    FROM pg_cast AS k
    WHERE k.oid >= 16384
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_cast'::regclass AND m.objid = k.oid)
    UNION ALL
    SELECT 'publication', pubname, 'owner ' || pubowner::regrole::text
    FROM pg_publication
    UNION ALL
    SELECT 'subscription', subname, 'owner ' || subowner::regrole::text
    FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT
        'grant',
        format('to %s on %s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, g.object),
        string_agg(
            g.privilege_type || CASE WHEN g.is_grantable THEN ' with grant option' ELSE '' END,
            ', ' ORDER BY g.privilege_type COLLATE "C"
        )
    FROM (SELECT DISTINCT object, grantee, privilege_type, is_grantable FROM granted) AS g
    WHERE g.privilege_type <> 'MAINTAIN'
    GROUP BY g.grantee, g.object
    UNION ALL
    SELECT
        'default grant',
        format(
            'of %s on %s in %s',
            d.defaclrole::regrole,
            CASE d.defaclobjtype
                WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'objects'
            END,
            CASE d.defaclnamespace WHEN 0 THEN 'every schema' ELSE d.defaclnamespace::regnamespace::text END
        ),
        coalesce(
            (
                SELECT string_agg(
                    format('%s to %s', g.privilege_type, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END),
                    ', ' ORDER BY g.grantee::regrole::text COLLATE "C", g.privilege_type COLLATE "C"
                )
                FROM aclexplode(d.defaclacl) AS g
                WHERE g.grantee <> d.defaclrole AND g.privilege_type <> 'MAINTAIN'
            ),
            'nothing to others'
        )
    FROM pg_default_acl AS d
    UNION ALL
    SELECT 'role', r.rolname, concat_ws(
        ', ',
        CASE WHEN r.rolcanlogin THEN 'login' ELSE 'no login' END,
        CASE WHEN r.rolinherit THEN 'inherit' ELSE 'no inherit' END,
        CASE WHEN r.rolsuper THEN 'superuser' END,
        CASE WHEN r.rolcreatedb THEN 'creates databases' END,
        CASE WHEN r.rolcreaterole THEN 'creates roles' END,
        CASE WHEN r.rolreplication THEN 'replication' END,
        CASE WHEN r.rolbypassrls THEN 'bypasses row security' END
    )
    FROM pg_roles AS r
    WHERE r.rolname ~ '^ledger_'
    UNION ALL
    SELECT
        'membership',
        format('of %s in %s', m.rolname, r.rolname),
        CASE WHEN bool_or(a.admin_option) THEN 'member with admin option' ELSE 'member' END
    FROM pg_auth_members AS a
    JOIN pg_roles AS m ON m.oid = a.member
    JOIN pg_roles AS r ON r.oid = a.roleid
    WHERE m.rolname ~ '^ledger_' OR r.rolname ~ '^ledger_'
    GROUP BY m.rolname, r.rolname
    UNION ALL
    -- Another's own settings concern us only where they would loosen a guard.
    SELECT
        'setting',
        format(
            '%s for %s in %s',
            split_part(c.line, '=', 1),
            coalesce(r.rolname, 'every role'),
            CASE s.setdatabase WHEN 0 THEN 'every database' ELSE 'this database' END
        ),
        substr(c.line, strpos(c.line, '=') + 1)
    FROM pg_db_role_setting AS s
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole
    CROSS JOIN LATERAL unnest(s.setconfig) AS c (line)
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND (
            s.setrole = 0
            OR r.rolname ~ '^ledger_'
            OR split_part(c.line, '=', 1) ~ '^(session_replication_role|event_triggers|synchronous_commit|row_security'
                '|zero_damaged_pages|ignore_checksum_failure|ignore_system_indexes|allow_system_table_mods|pgaudit\..*)$'
        )
)
SELECT kind, name, string_agg(description, '; ' ORDER BY description COLLATE "C")
FROM item
GROUP BY kind, name
