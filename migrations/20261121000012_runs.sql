-- The log of a run: headers that nobody changes, payloads that can only be redacted, the memories that they name, and hints for
-- live readers.

create table duet.run_event (
    workspace_id uuid not null,
    run_id       uuid not null,
    seq          bigint not null,
    kind         text not null check (kind in
        ('started', 'context', 'model', 'delta', 'reply', 'retry', 'tool', 'cancel', 'recovered', 'done', 'error')),
    at           timestamptz(3) not null,
    payload_hash bytea not null check (length(payload_hash) = 32),
    chain_hash   bytea not null check (length(chain_hash) = 32),
    primary key (workspace_id, run_id, seq),
    foreign key (workspace_id, run_id) references duet.run (workspace_id, id)
);
create trigger run_event_fixed before update or delete on duet.run_event
    for each row execute function private.append_only();
create trigger run_event_kept before truncate on duet.run_event
    for each statement execute function private.append_only();

-- Redaction empties payload and salt; the row stays, so that a payload that went missing otherwise shows.
create table duet.run_event_payload (
    workspace_id uuid not null,
    run_id       uuid not null,
    seq          bigint not null,
    salt         bytea check (length(salt) = 16),
    payload      text check (octet_length(payload) <= 4194304), -- JSON as it was hashed
    redacted_at  timestamptz(3),
    primary key (workspace_id, run_id, seq),
    check ((payload is null) = (redacted_at is not null) and (payload is null) = (salt is null)),
    foreign key (workspace_id, run_id, seq) references duet.run_event (workspace_id, run_id, seq)
);

-- Lets nothing pass but a redaction.
create function private.only_redacted() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'UPDATE' and new.payload is null
        and (new.workspace_id, new.run_id, new.seq) = (old.workspace_id, old.run_id, old.seq) then
        return new;
    end if;
    raise exception '% can only be redacted', tg_table_name using errcode = 'restrict_violation';
end;
$$;
call private.expose('private', 'only_redacted');
create trigger run_event_payload_fixed before update or delete on duet.run_event_payload
    for each row execute function private.only_redacted();
create trigger run_event_payload_kept before truncate on duet.run_event_payload
    for each statement execute function private.append_only();

create table duet.run_event_mention (
    workspace_id uuid not null,
    memory_id    uuid not null,
    run_id       uuid not null,
    seq          bigint not null,
    primary key (workspace_id, memory_id, run_id, seq),
    foreign key (workspace_id, run_id, seq) references duet.run_event (workspace_id, run_id, seq)
);
create index run_event_mention_by_event on duet.run_event_mention (workspace_id, run_id, seq);

create table duet.run_event_outbox (
    id           bigint primary key generated always as identity,
    workspace_id uuid not null,
    run_id       uuid not null,
    last_seq     bigint not null
);

create table duet.idempotency_key (
    workspace_id uuid not null references duet.workspace (id),
    user_id      uuid not null references duet.account (id),
    key          text not null check (length(key) between 1 and 200),
    request_hash bytea not null check (length(request_hash) = 32),
    message_id   uuid not null,
    run_id       uuid not null,
    reply_id     uuid not null,
    expires_at   timestamptz(3) not null,
    primary key (workspace_id, user_id, key)
);
create index idempotency_key_by_user on duet.idempotency_key (user_id);
create index idempotency_key_by_expiry on duet.idempotency_key (expires_at);

call private.seclude('duet.run_event');
call private.seclude('duet.run_event_payload');
call private.seclude('duet.run_event_mention');
call private.seclude('duet.run_event_outbox');
call private.seclude('duet.idempotency_key');

-- Whoever sees the run sees its log.
grant select on duet.run_event, duet.run_event_payload to authenticated, duet_agent;
create policy run_event_read on duet.run_event for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces()))
           and exists (select from duet.run r where r.workspace_id = run_event.workspace_id and r.id = run_event.run_id));
create policy run_event_payload_read on duet.run_event_payload for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces()))
           and exists (select from duet.run r
                       where r.workspace_id = run_event_payload.workspace_id and r.id = run_event_payload.run_id));
