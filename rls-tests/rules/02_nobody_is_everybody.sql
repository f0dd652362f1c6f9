-- PUBLIC, anon, service_role and the doorkeeper have nothing: no function, no table, no column, no schema but `public` itself.
with granted (what, grantee) as (
    select p.oid::regprocedure::text, a.grantee
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
         aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select c.oid::regclass::text, a.grantee
    from pg_class c join pg_namespace n on n.oid = c.relnamespace,
         aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
    union all
    select format('%s.%s', t.attrelid::regclass, t.attname), a.grantee
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public')
    union all
    select 'schema ' || n.nspname, a.grantee
    from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname in ('duet', 'private', 'driver')
)
select format('%s is granted to %s', what, case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end)
from granted
where grantee = 0 or grantee::regrole::text in ('anon', 'service_role', 'authenticator')
