-- On tables nobody but the owner has more than select, insert, update and delete, and nobody but people and agents has those; on sequences
-- nobody has anything. Nobody passes on what they have, and nothing that is made later is granted by itself.
with granted (what, kind, grantee, privilege, passed_on) as (
    select c.oid::regclass::text, c.relkind::text, a.grantee, a.privilege_type, a.is_grantable
    from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> c.relowner
    union all
    select format('%s.%s', t.attrelid::regclass, t.attname), c.relkind::text, a.grantee, a.privilege_type, a.is_grantable
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> c.relowner
    union all
    select p.oid::regprocedure::text, 'function', a.grantee, a.privilege_type, a.is_grantable
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a
    where n.nspname in ('duet', 'private', 'driver', 'public') and a.grantee <> p.proowner
    union all
    select 'schema ' || n.nspname, 'schema', a.grantee, a.privilege_type, a.is_grantable
    from pg_namespace n, aclexplode(n.nspacl) a
    where n.nspname in ('duet', 'private', 'driver') and a.grantee <> n.nspowner
)
select format('%s on %s is granted to %s', privilege, what, case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end)
from granted
where kind not in ('function', 'schema')
  and (kind = 'S' or privilege not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
       or grantee = 0 or grantee::regrole::text not in ('authenticated', 'duet_agent'))
union all
select format('%s may pass on what it may itself do with %s', grantee::regrole, what) from granted where passed_on
union all
select format('%s is granted to %s on whatever %s makes%s', a.privilege_type,
              case when a.grantee = 0 then 'PUBLIC' else a.grantee::regrole::text end, d.defaclrole::regrole,
              case when d.defaclnamespace = 0 then '' else ' in ' || d.defaclnamespace::regnamespace end)
from pg_default_acl d, aclexplode(d.defaclacl) a
where a.grantee <> d.defaclrole
  and (d.defaclnamespace = 0 and d.defaclrole = (select nspowner from pg_namespace where nspname = 'duet')
       and not (a.grantee = 0 and d.defaclobjtype in ('f', 'T'))
       or d.defaclnamespace in (select oid from pg_namespace where nspname in ('duet', 'private', 'driver')))
