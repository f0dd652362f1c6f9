-- Everything belongs to the database's owner, who is no superuser: a function with its owner's rights is not a way to all of them.
select format('%s belongs to %s', c.oid::regclass, c.relowner::regrole)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('duet', 'private', 'driver') and c.relowner::regrole::text <> 'postgres'
union all
select format('%s belongs to %s', p.oid::regprocedure, p.proowner::regrole)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('duet', 'private', 'driver', 'public') and p.proowner::regrole::text <> 'postgres'
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
