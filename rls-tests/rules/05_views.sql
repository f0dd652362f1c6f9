-- A view asks with the rights of who reads it; a materialised one cannot, so there is none.
select format('%s shows what its owner sees', c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('duet', 'private', 'driver', 'public')
  and (c.relkind = 'm' or c.relkind = 'v' and not coalesce(c.reloptions, '{}') && array['security_invoker=true', 'security_invoker=on'])
