-- Nobody but people, agents and the server's login has anything: PUBLIC, anon, service_role, the doorkeeper and whatever other role there
-- is have no function, no table, no column, no type, no language of Duet's, and no schema but `public` itself. One function is Auth's to ask.
with granted (what, grantee, owner) as (
    select p.oid::regprocedure::text, a.grantee, p.proowner
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
         aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select c.oid::regclass::text, a.grantee, c.relowner
    from pg_class c join pg_namespace n on n.oid = c.relnamespace,
         aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
    union all
    select format('%s.%s', t.attrelid::regclass, t.attname), a.grantee, c.relowner
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
    union all
    select 'schema ' || n.nspname, a.grantee, n.nspowner
    from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname in ('duet', 'private', 'driver')
)
select format('%s is granted to %s', what, case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end)
from granted
where (grantee = 0 or grantee <> owner and grantee::regrole::text not in ('authenticated', 'duet_agent', 'duet_worker'))
  and (what, case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end) not in (
      ('private.before_user_created(jsonb)', 'supabase_auth_admin'), ('schema private', 'supabase_auth_admin'))
