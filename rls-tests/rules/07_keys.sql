-- A unique key of a table whose rows belong to workspaces starts with the workspace, so that a taken key tells nothing about another one.
-- Some do not: a number that the database alone hands out, and the SHA-256 of 256 random bits, which is what keys and invitations are
-- found by. What excludes rows that are alike in some other way does the same as a key.
select format('%s: a key that does not start with workspace_id', i.indexrelid::regclass)
from pg_index i
join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
join pg_attribute w on w.attrelid = c.oid and w.attname = 'workspace_id' and not w.attisdropped
where n.nspname in ('duet', 'private', 'driver', 'public') and i.indisunique and i.indkey[0] <> w.attnum
  and i.indexrelid::regclass::text not in ('duet.run_event_outbox_pkey', 'duet.api_key_secret_hash_key',
                                           'duet.invitation_token_hash_key')
union all
select format('%s of %s excludes rows%s', x.conname, x.conrelid::regclass,
              case when w.attnum is null then '' else ' of all workspaces' end)
from pg_constraint x
join pg_namespace n on n.oid = x.connamespace
left join pg_attribute w on w.attrelid = x.conrelid and w.attname = 'workspace_id' and not w.attisdropped
where n.nspname in ('duet', 'private', 'driver', 'public') and x.contype = 'x'
  and not exists (
      select from unnest(x.conkey, x.conexclop) as part (attnum, operator) join pg_operator o on o.oid = part.operator
      where part.attnum = w.attnum and o.oprname = '=')
union all
select format('%s keeps rows of workspaces and may be without one', c.oid::regclass)
from pg_attribute w join pg_class c on c.oid = w.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'duet' and c.relkind in ('r', 'p') and w.attname = 'workspace_id' and not w.attnotnull
union all
-- Nothing is unlike nothing, unless a key says otherwise: of rows without a value there could be two.
select format('%s: a key that lets rows without a value be there twice', i.indexrelid::regclass)
from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('duet', 'private', 'driver', 'public') and i.indisunique and not i.indnullsnotdistinct
  and exists (select from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k
              where not a.attnotnull)
union all
-- A key that puts off its look, or a constraint that does not hold for what is there, holds nobody back.
select format('%s of %s is put off, or does not hold for all rows', k.conname, k.conrelid::regclass)
from pg_constraint k join pg_namespace n on n.oid = k.connamespace
where n.nspname in ('duet', 'private', 'driver', 'public') and k.conrelid <> 0 and (k.condeferrable or not k.convalidated)
