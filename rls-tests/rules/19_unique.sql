-- What may be there once, by the unique keys that no primary key is. One that is lost, or that lets through what it did not, is a second
-- turn beside the first, an invitation beside the one that was taken back, or somebody else under the same address.
with declared (of, key) as (values
    ('duet.account', 'USING btree (email)'),
    ('duet.api_key', 'USING btree (secret_hash)'),
    ('duet.conversation', 'USING btree (workspace_id, id, user_id)'),
    ('duet.device_login', 'USING btree (user_hash)'),
    ('duet.embedding_model', 'USING btree (name, dimensions)'),
    ('duet.invitation', 'USING btree (token_hash)'),
    ('duet.invitation', 'USING btree (workspace_id, email) WHERE ((accepted_at IS NULL) AND (revoked_at IS NULL))'),
    ('duet.memory', 'USING btree (workspace_id, key)'),
    ('duet.memory_class', 'USING btree (workspace_id, owner, domain, egress) NULLS NOT DISTINCT'),
    ('duet.memory_partition', 'USING btree (workspace_id, name, dimensions)'),
    ('duet.message', 'USING btree (workspace_id, conversation_id, ordinal)'),
    ('duet.run', 'USING btree (workspace_id, conversation_id) WHERE (claimable AND holds)'),
    ('duet.session', 'USING btree (secret_hash)')
),
there (of, key) as (
    select i.indrelid::regclass::text, regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE UNIQUE INDEX \S+ ON \S+ ', '')
    from pg_index i join pg_class c on c.oid = i.indrelid
    where i.indisunique and not i.indisprimary and i.indisvalid and i.indimmediate and c.relnamespace = 'duet'::regnamespace
)
select format('%s has a unique key that is not declared in this rule: %s', t.of, t.key) from there t
where (t.of, t.key) not in (select d.of, d.key from declared d)
union all
select format('%s lacks its unique key: %s', d.of, d.key) from declared d where (d.of, d.key) not in (select t.of, t.key from there t)
union all
select format('%s has no primary key', c.oid::regclass) from pg_class c
where c.relnamespace = 'duet'::regnamespace and c.relkind in ('r', 'p')
  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
