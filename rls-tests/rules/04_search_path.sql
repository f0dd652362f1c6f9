-- Every function has an empty search path: nobody can put something else in the way of a name.
select format('%s has no empty search_path', p.oid::regprocedure)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('duet', 'private', 'driver', 'public')
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  and not coalesce(p.proconfig, '{}') @> array['search_path=""']
