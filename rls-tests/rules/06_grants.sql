-- On tables nobody but the owner has more than select, insert, update and delete, and nobody but people and agents has those; on sequences
-- nobody has anything.
with granted (what, kind, grantee, privilege) as (
    select c.oid::regclass::text, c.relkind, a.grantee, a.privilege_type
    from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> c.relowner
    union all
    select format('%s.%s', t.attrelid::regclass, t.attname), c.relkind, a.grantee, a.privilege_type
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> c.relowner
)
select format('%s on %s is granted to %s', privilege, what, case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end)
from granted
where kind = 'S' or privilege not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
   or grantee = 0 or grantee::regrole::text not in ('authenticated', 'duet_agent')
union all
select format('%s may pass on what it may itself do with %s', a.grantee::regrole, c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> c.relowner and a.is_grantable
