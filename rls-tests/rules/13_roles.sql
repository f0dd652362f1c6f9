-- The server's login and the agents' role can do nothing by themselves: no superuser, no way past policies, nothing inherited.
select format('role %s can do too much', r.rolname)
from pg_roles r
where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker')
  and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
       or r.rolcanlogin and r.rolname <> 'duet_worker' or r.rolinherit and r.rolname like 'duet%')
union all
select format('role %s inherits from %s', m.member::regrole, m.roleid::regrole)
from pg_auth_members m
where m.member::regrole::text in ('duet_worker', 'duet_agent') and m.inherit_option
union all
select format('%s may become %s', m.member::regrole, m.roleid::regrole)
from pg_auth_members m
where m.member::regrole::text in ('anon', 'authenticated', 'duet_worker', 'duet_agent')
  and (m.member::regrole::text <> 'duet_worker' or m.roleid::regrole::text not in ('authenticated', 'duet_agent') or m.admin_option)
union all
-- Nobody but superusers becomes one of Duet's, or its owner, beside those who made them.
select format('%s may become %s', m.member::regrole, m.roleid::regrole)
from pg_auth_members m join pg_roles r on r.oid = m.member
cross join (select nspowner from pg_namespace where nspname = 'duet') d
where (m.roleid::regrole::text in ('duet_worker', 'duet_agent') and m.member <> d.nspowner
           and (m.roleid::regrole::text, m.member::regrole::text) <> ('duet_agent', 'duet_worker')
       or m.roleid = d.nspowner and r.rolname not like 'cli\_login\_%')
  and not r.rolsuper
union all
-- Whoever serves requests has none of the rights that Postgres has roles for, such as reading everything.
select format('%s has %s', m.member::regrole, m.roleid::regrole)
from pg_auth_members m
where m.roleid::regrole::text like 'pg\_%'
  and m.member::regrole::text in ('anon', 'authenticated', 'service_role', 'authenticator', 'duet_agent', 'duet_worker',
                                  'supabase_auth_admin', 'dashboard_user', 'pgbouncer')
  and not (m.member::regrole::text = 'dashboard_user' and m.roleid::regrole::text in ('pg_monitor', 'pg_signal_backend'))
union all
select format('%s may make things in schema %s', r.rolname, n.nspname)
from pg_roles r cross join pg_namespace n
where not r.rolsuper and r.oid <> n.nspowner
  and (r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker', 'service_role', 'authenticator')
           and n.nspname in ('public', 'auth', 'extensions')
       or n.nspname in ('duet', 'private', 'driver'))
  and has_schema_privilege(r.oid, n.oid, 'create')
  and r.oid <> (select nspowner from pg_namespace where nspname = 'duet')
  and r.rolname not like 'cli\_login\_%'
union all
select format('%s may use schema %s', r.rolname, n.nspname)
from pg_roles r cross join pg_namespace n
where (r.rolname, n.nspname) in (('anon', 'duet'), ('anon', 'private'), ('anon', 'driver'), ('authenticated', 'driver'),
    ('duet_agent', 'driver'), ('duet_worker', 'duet'), ('duet_worker', 'private'), ('service_role', 'duet'), ('service_role', 'driver'))
  and has_schema_privilege(r.oid, n.oid, 'usage')
union all
-- What a role starts its sessions with is nobody's way around what it may.
select format('%s starts with %s', case when s.setrole = 0 then 'everybody' else s.setrole::regrole::text end, setting)
from pg_db_role_setting s, unnest(s.setconfig) setting
where (s.setrole = 0 or s.setrole::regrole::text in ('anon', 'authenticated', 'service_role', 'duet_agent', 'duet_worker'))
  and (s.setdatabase = 0 or s.setdatabase = (select oid from pg_database where datname = current_database()))
  and setting ~ '^(role|row_security|session_replication_role|search_path|session_preload_libraries|local_preload_libraries|request\.|duet\.)'
  and not (s.setrole = 0 and setting like 'search_path=%')
