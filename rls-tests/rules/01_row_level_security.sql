-- Every table has row level security.
select format('%s has no row level security', c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('duet', 'private', 'driver', 'public') and c.relkind in ('r', 'p') and not c.relrowsecurity
