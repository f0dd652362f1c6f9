-- Every table has row level security, for its owner too: whatever runs with the owner's rights and is no superuser is bound by it where
-- the owner is not made to pass it.
select format('%s has no row level security%s', c.oid::regclass, case when c.relrowsecurity then ' for its owner' else '' end)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('duet', 'private', 'driver', 'public') and c.relkind in ('r', 'p')
  and not (c.relrowsecurity and c.relforcerowsecurity)
  and not (n.nspname = 'public' and c.relname = '_sqlx_migrations')
