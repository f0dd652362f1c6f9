-- Every foreign key has an index that starts with its columns.
select format('%s of %s has no index', f.conname, f.conrelid::regclass)
from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
where f.contype = 'f' and n.nspname in ('duet', 'private', 'driver', 'public')
  and not exists (
      select from pg_index i
      where i.indrelid = f.conrelid
        and (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey)
