-- A unique key of a table whose rows belong to workspaces starts with the workspace, so that a taken key tells nothing about another one.
-- Some do not: a number that the database alone hands out, and the SHA-256 of 256 random bits, which is what keys and invitations are
-- found by.
select format('%s: a key that does not start with workspace_id', i.indexrelid::regclass)
from pg_index i
join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
join pg_attribute w on w.attrelid = c.oid and w.attname = 'workspace_id' and not w.attisdropped
where n.nspname in ('duet', 'private', 'driver', 'public') and i.indisunique and i.indkey[0] <> w.attnum
  and i.indexrelid::regclass::text not in ('duet.run_event_outbox_pkey', 'duet.api_key_secret_hash_key',
                                           'duet.invitation_token_hash_key')
union all
select format('%s keeps rows of workspaces and may be without one', c.oid::regclass)
from pg_attribute w join pg_class c on c.oid = w.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'duet' and c.relkind in ('r', 'p') and w.attname = 'workspace_id' and not w.attnotnull
