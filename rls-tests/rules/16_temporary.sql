-- Nobody makes temporary objects: names in functions would be found there first.
select format('%s may make temporary objects', r.rolname)
from pg_roles r
where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker', 'service_role')
  and has_database_privilege(r.oid, current_database(), 'temporary')
