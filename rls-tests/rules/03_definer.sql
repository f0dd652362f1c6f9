-- Functions with their owner's rights stand in `private` and `driver` alone. Wherever else one belongs to Duet's owner, it was forgotten.
select format('%s runs with its owner''s rights', p.oid::regprocedure)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and n.nspname not in ('private', 'driver')
  and (n.nspname in ('duet', 'public') or p.proowner = (select d.nspowner from pg_namespace d where d.nspname = 'duet'))
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
