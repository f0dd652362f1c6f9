-- The server's login and the agents' role can do nothing by themselves: no superuser, no way past policies, nothing inherited.
select format('role %s can do too much', r.rolname)
from pg_roles r
where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker')
  and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication)
union all
select format('role %s inherits from %s', m.member::regrole, m.roleid::regrole)
from pg_auth_members m
where m.member::regrole::text in ('duet_worker', 'duet_agent') and m.inherit_option
union all
select format('duet_worker may become %s', m.roleid::regrole)
from pg_auth_members m
where m.member::regrole::text in ('duet_worker', 'duet_agent') and m.roleid::regrole::text not in ('authenticated', 'duet_agent')
union all
select format('%s may make things in schema %s', r.rolname, n.nspname)
from pg_roles r cross join pg_namespace n
where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker', 'service_role')
  and n.nspname in ('duet', 'private', 'driver', 'public', 'auth', 'extensions') and has_schema_privilege(r.oid, n.oid, 'create')
union all
select format('%s may use schema %s', r.rolname, n.nspname)
from pg_roles r cross join pg_namespace n
where (r.rolname, n.nspname) in (('anon', 'duet'), ('anon', 'private'), ('anon', 'driver'), ('authenticated', 'driver'),
    ('duet_agent', 'driver'), ('duet_worker', 'duet'), ('duet_worker', 'private'), ('service_role', 'duet'), ('service_role', 'driver'))
  and has_schema_privilege(r.oid, n.oid, 'usage')
