-- Nobody makes temporary objects: names in functions would be found there first. Nor schemas of their own.
select format('%s may make %s', r.rolname, case kind when 'create' then 'schemas' else 'temporary objects' end)
from pg_roles r cross join unnest(array['temporary', 'create']) kind
where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker', 'service_role')
  and has_database_privilege(r.oid, current_database(), kind)
