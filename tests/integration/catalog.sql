-- The schema as the catalog knows it, written as the statements that would make it. Weekly
-- partitions are left out: their names are the calendar's.
WITH tables AS (
    SELECT c.oid, c.relname AS name, c.relkind, c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relowner
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
),
members AS (
    SELECT t.oid, 1 AS part, a.attnum::integer AS position, a.attname::text AS name,
        format('    %I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
            COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')) AS text
    FROM tables t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT t.oid, 2, 0, k.conname, format('    CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
    FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype IN ('p', 'u', 'c')
),
statements AS (
    SELECT 1 AS part, t.name::text AS name, 0 AS position, ''::text AS detail,
        format(E'CREATE TABLE %I (\n%s\n)%s%s;', t.name,
            (SELECT string_agg(m.text, E',\n' ORDER BY m.part, m.position, m.name) FROM members m WHERE m.oid = t.oid),
            COALESCE(' PARTITION BY ' || pg_get_partkeydef(t.oid), ''),
            COALESCE(' WITH (' || array_to_string(t.reloptions, ', ') || ')', '')) AS text
    FROM tables t
    UNION ALL
    SELECT 1, t.name, 1, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) || ';'
    FROM tables t JOIN pg_index i ON i.indrelid = t.oid
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = t.oid)
    UNION ALL
    SELECT 1, t.name, 2, k.conname, format('ALTER TABLE %I ADD CONSTRAINT %I %s;', t.name, k.conname, pg_get_constraintdef(k.oid))
    FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
    UNION ALL
    SELECT 1, t.name, 3, '', format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY;', t.name) FROM tables t WHERE t.relrowsecurity
    UNION ALL
    SELECT 1, t.name, 4, '', format('ALTER TABLE %I FORCE ROW LEVEL SECURITY;', t.name) FROM tables t WHERE t.relforcerowsecurity
    UNION ALL
    SELECT 1, t.name, 5, p.policyname,
        format('CREATE POLICY %I ON %I FOR %s TO %s USING (%s) WITH CHECK (%s);', p.policyname, t.name, p.cmd,
            array_to_string(p.roles, ', '), p.qual, p.with_check)
    FROM tables t JOIN pg_policies p ON p.schemaname = 'public' AND p.tablename = t.name
    UNION ALL
    SELECT 1, t.name, 6, g.grantee::regrole::text,
        format('GRANT %s ON %I TO %s;', string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type), t.name, g.grantee::regrole)
    FROM tables t CROSS JOIN aclexplode(t.relacl) g
    WHERE g.grantee <> t.relowner
    GROUP BY t.name, g.grantee
    UNION ALL
    SELECT 0, p.proname, 0, pg_get_function_identity_arguments(p.oid), rtrim(pg_get_functiondef(p.oid), E'\n') || ';'
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 0, p.proname, 1, g.grantee::text,
        format('GRANT EXECUTE ON FUNCTION %I(%s) TO %s;', p.proname, pg_get_function_identity_arguments(p.oid),
            CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
    FROM pg_proc p CROSS JOIN aclexplode(p.proacl) g
    WHERE p.pronamespace = 'public'::regnamespace AND g.grantee <> p.proowner
)
SELECT string_agg(text, E'\n\n' ORDER BY part, name COLLATE "C", position, detail COLLATE "C") FROM statements
