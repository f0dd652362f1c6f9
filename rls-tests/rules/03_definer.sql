-- Functions with their owner's rights stand in `private` and `driver` alone.
select format('%s runs with its owner''s rights', p.oid::regprocedure)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and n.nspname not in ('private', 'driver', 'pg_catalog', 'information_schema')
  and n.nspname in ('duet', 'public')
