-- No row moves to another workspace or person: nobody may update what says whose it is.
select format('%s may update %s.%s', r.rolname, c.oid::regclass, t.attname)
from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
cross join pg_roles r
where n.nspname = 'duet' and c.relkind in ('r', 'p') and r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker', 'service_role')
  and (t.attname in ('workspace_id', 'user_id', 'created_by', 'actor', 'author') or t.attname = 'id' and not t.attisdropped)
  and has_column_privilege(r.oid, c.oid, t.attnum, 'update')
