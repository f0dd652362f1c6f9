-- Every function has an empty search path: nobody can put something else in the way of a name. And it sets nothing else but how its
-- plans are kept: a function that sets the role, the claims or row security answers as somebody else.
select format('%s has no empty search_path', p.oid::regprocedure)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('duet', 'private', 'driver', 'public')
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  and not coalesce(p.proconfig, '{}') @> array['search_path=""']
union all
select format('%s sets %s', p.oid::regprocedure, setting)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace, unnest(p.proconfig) setting
where n.nspname in ('duet', 'private', 'driver', 'public')
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  and setting not in ('search_path=""', 'plan_cache_mode=force_generic_plan')
