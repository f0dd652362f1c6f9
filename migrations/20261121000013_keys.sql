-- API keys: a person's own. Only the SHA-256 of the secret is kept.

create table duet.api_key (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    user_id      uuid not null references duet.account (id),
    name         text not null check (private.is_name(name) and name = btrim(name)),
    prefix       text not null check (length(prefix) <= 32),
    secret_hash  bytea not null unique check (length(secret_hash) = 32),
    scopes       text[] not null
        check (cardinality(scopes) between 1 and 4 and scopes <@ array['chat', 'memory_read', 'memory_write', 'admin']),
    created_at   timestamptz(3) not null,
    expires_at   timestamptz(3),
    last_used_at timestamptz(3),
    revoked_at   timestamptz(3),
    primary key (workspace_id, id)
);
create index api_key_by_person on duet.api_key (workspace_id, user_id, created_at);
create index api_key_by_user on duet.api_key (user_id);

call private.seclude('duet.api_key');
