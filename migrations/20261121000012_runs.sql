-- A run's log: headers that never change, payloads that can only be redacted, the memories they mention, and hints for live readers.

create table duet.run_event (
    workspace_id uuid not null,
    run_id       uuid not null,
    seq          bigint not null,
    kind         text not null check (kind in
        ('started', 'context', 'model', 'delta', 'reply', 'retry', 'tool', 'limit', 'asked', 'decided', 'pause', 'suspended', 'resumed',
         'cancel', 'recovered', 'done', 'error')),
    at           timestamptz(3) not null,
    payload_hash bytea not null check (length(payload_hash) = 32),
    chain_hash   bytea not null check (length(chain_hash) = 32),
    primary key (workspace_id, run_id, seq),
    foreign key (workspace_id, run_id) references duet.run (workspace_id, id)
);
-- Folding a log reads its steps, not the deltas of those that have ended.
create index run_event_steps on duet.run_event (workspace_id, run_id, seq) include (kind) where kind <> 'delta';
create trigger run_event_fixed before update or delete on duet.run_event
    for each row execute function private.append_only();
create trigger run_event_kept before truncate on duet.run_event
    for each statement execute function private.append_only();

-- Redaction empties payload and salt; the row stays, so that a payload lost in any other way is noticed.
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

-- Allows only a redaction, and only once.
create function private.only_redacted() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'UPDATE' and old.payload is not null and new.payload is null
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

-- Hints on their way: to those who follow a run (`run_id`, `last_seq`), to people (`changed`, and whose: `user_id`), or else to
-- workers.
create table duet.run_event_outbox (
    id           bigint primary key generated always as identity,
    workspace_id uuid not null,
    run_id       uuid,
    last_seq     bigint,
    user_id      uuid,
    changed      text check (changed in ('runs', 'inbox')),
    check ((run_id is null) = (last_seq is null) and (run_id is null or changed is null) and (user_id is null) = (changed is null))
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

-- The hash of an event that follows `previous`: private.hash_of('duet.event.v1', previous, run, seq, kind, at, payload), written out
-- because every piece of a reply passes through it.
create function private.event_hash(previous bytea, run uuid, seq bigint, kind text, at timestamptz, payload_hash bytea)
returns bytea
language sql immutable set search_path = '' as $$
    select sha256('\x000000000000000d'::bytea || 'duet.event.v1'::bytea
        || int8send(32) || previous || int8send(16) || uuid_send(run) || int8send(8) || int8send(seq)
        || int8send(octet_length(kind)) || convert_to(kind, 'UTF8') || int8send(8) || int8send(private.millis(at))
        || int8send(32) || payload_hash)
$$;
call private.expose('private', 'event_hash');

-- private.hash_of('duet.event.payload.v1', salt, payload)
create function private.payload_hash(salt bytea, payload text) returns bytea
language sql immutable set search_path = '' as $$
    select sha256('\x0000000000000015'::bytea || 'duet.event.payload.v1'::bytea
        || int8send(length(salt)) || salt || int8send(octet_length(payload)) || convert_to(payload, 'UTF8'))
$$;
call private.expose('private', 'payload_hash');

-- Tells workers that a run waits to be claimed.
create function private.hint_queued(workspace uuid) returns void
language sql volatile set search_path = '' as $$
    insert into duet.run_event_outbox (workspace_id) values (workspace)
$$;
call private.expose('private', 'hint_queued');

-- Tells a person that something of theirs has changed.
create function private.hint_changed(workspace uuid, person uuid, what text) returns void
language sql volatile set search_path = '' as $$
    insert into duet.run_event_outbox (workspace_id, user_id, changed) values (workspace, person, what)
$$;
call private.expose('private', 'hint_changed');

-- Appends events after the head of a run whose row the caller has locked, moves the head and leaves a hint in the outbox. It does not
-- notify: Postgres serialises the commits of transactions that notify, each with its own flush (measured with 50 writers: 220 appends
-- a second instead of 2,500). driver.take_outbox notifies for many at once. `events` is a list of {kind, payload, salt, mentions,
-- labels}: payload as JSON text, salt in hex; labels are those of what the run has read with the event, and are added to the run's
-- own.
create function private.append_events(held duet.run, events jsonb) returns duet.run
language plpgsql volatile set search_path = '' as $$
declare
    event record;
    -- Never earlier than the last event, even if the clock was set back.
    at timestamptz(3) := greatest(private.now(), held.updated_at);
    hash bytea;
begin
    if jsonb_array_length(events) = 0 then
        return held;
    end if;
    for event in
        select e.kind, e.payload, decode(e.salt, 'hex') as salt, e.mentions, coalesce(e.labels, 0) as labels
        from jsonb_to_recordset(events) as e (kind text, payload text, salt text, mentions uuid[], labels int)
    loop
        hash := private.payload_hash(event.salt, event.payload);
        held.last_seq := held.last_seq + 1;
        held.labels := held.labels | event.labels;
        held.last_hash := private.event_hash(held.last_hash, held.id, held.last_seq, event.kind, at, hash);
        insert into duet.run_event values (held.workspace_id, held.id, held.last_seq, event.kind, at, hash, held.last_hash);
        insert into duet.run_event_payload values (held.workspace_id, held.id, held.last_seq, event.salt, event.payload, null);
        insert into duet.run_event_mention
        select distinct held.workspace_id, m, held.id, held.last_seq from unnest(event.mentions) m;
    end loop;
    held.updated_at := at;
    update duet.run r
    set last_seq = held.last_seq, last_hash = held.last_hash, updated_at = at,
        stalls = held.stalls, commit_id = held.commit_id, commit_seq = held.commit_seq, labels = held.labels
    where r.workspace_id = held.workspace_id and r.id = held.id;
    insert into duet.run_event_outbox (workspace_id, run_id, last_seq) values (held.workspace_id, held.id, held.last_seq);
    return held;
end;
$$;
call private.expose('private', 'append_events');

-- The labels of what a run reads with these events.
create function private.labels_of_events(events jsonb) returns int
language sql immutable set search_path = '' as $$
    select coalesce(bit_or(coalesce((e ->> 'labels')::int, 0)), 0) from jsonb_array_elements(events) e
$$;
call private.expose('private', 'labels_of_events');

-- An event created by the database itself, in the form private.append_events takes.
create function private.made_event(kind text, payload jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select jsonb_build_array(jsonb_build_object(
        'kind', kind, 'payload', payload::text, 'salt', encode(uuid_send(gen_random_uuid()), 'hex'), 'mentions', '[]'::jsonb))
$$;
call private.expose('private', 'made_event');

create function private.run_json(run duet.run) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(run) - array['last_hash', 'lease_token', 'lease_until', 'lease_millis', 'stalls', 'commit_id', 'commit_seq', 'active', 'claimable',
                                  'holds']
        || jsonb_build_object('labels', private.labels_json(run.labels))
$$;
call private.expose('private', 'run_json', 'authenticated', 'duet_agent');

-- duet_core::ports::RunStore::run
create function public.run_read(p_workspace uuid, p_id uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok((select private.run_json(r) from duet.run r where r.workspace_id = p_workspace and r.id = p_id))
$$;
call private.expose('public', 'run_read', 'authenticated', 'duet_agent');

-- duet_core::ports::RunStore::runs; the cursor is the last run's time and id.
create function public.run_list(p_workspace uuid, p_conversation uuid, p_before timestamptz, p_before_id uuid, p_limit int)
returns jsonb
language sql stable set search_path = '' as $$
    select case when exists (select from duet.conversation c
                             where c.workspace_id = p_workspace and c.id = p_conversation and c.deleted_at is null)
        then private.ok((
            select coalesce(jsonb_agg(private.run_json(row(page.*)::duet.run) order by page.created_at desc, page.id desc), '[]')
            from (select r.* from duet.run r
                  where r.workspace_id = p_workspace and r.conversation_id = p_conversation
                    and r.user_id = (select auth.uid())
                    and (p_before is null or (r.created_at, r.id) < (p_before, p_before_id))
                  order by r.created_at desc, r.id desc limit private.page_size(p_limit)) page))
        else private.refused('not_found') end
$$;
call private.expose('public', 'run_list', 'authenticated', 'duet_agent');

-- Events after a number as a list of {seq, kind, at, payload}, without the deltas before the newest reply up to `closed_by`
-- (duet_core::domain::LogRange). The payload stays JSON text, null once redacted. Payloads are looked up by key: a planner without
-- statistics would join the two tables in quadratic time.
create function private.events_json(workspace uuid, run uuid, after bigint, size int, closed_by bigint) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    closed bigint := 0;
begin
    if closed_by > 0 then
        select e.seq into closed from duet.run_event e
        where e.workspace_id = workspace and e.run_id = run and e.seq <= closed_by and e.kind <> 'delta' and e.kind = 'reply'
        order by e.seq desc limit 1;
        closed := coalesce(closed, 0);
    end if;
    return (
        select coalesce(jsonb_agg(jsonb_build_object('seq', page.seq, 'kind', page.kind, 'at', page.at, 'payload', (
            select p.payload from duet.run_event_payload p
            where p.workspace_id = workspace and p.run_id = run and p.seq = page.seq)) order by page.seq), '[]')
        from (select both_parts.* from (
                  (select e.seq, e.kind, e.at from duet.run_event e
                   where e.workspace_id = workspace and e.run_id = run and e.seq > after and e.seq <= closed and e.kind <> 'delta'
                   order by e.seq limit size)
                  union all
                  (select e.seq, e.kind, e.at from duet.run_event e
                   where e.workspace_id = workspace and e.run_id = run and e.seq > greatest(after, closed)
                   order by e.seq limit size)) both_parts
              order by both_parts.seq limit size) page);
end;
$$;
call private.expose('private', 'events_json');

-- Access to the run is access to its log, so it is checked once and not per event. A log holds the reply's text as it arrived, which
-- is the message's.
create function private.read_events(workspace uuid, run uuid, after bigint, size int, closed_by bigint) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    here duet.run;
begin
    select * into here from duet.run r
    where r.workspace_id = workspace and r.id = run and r.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces()) and (r.labels & 2 = 0 or private.reads_local());
    if not found then
        return private.refused('not_found');
    elsif after > here.last_seq then
        return private.refused('no_such_event', jsonb_build_object('events', here.last_seq, 'after', after));
    end if;
    return private.ok(jsonb_build_object(
        'events', private.events_json(workspace, run, after, least(greatest(size, 1), 1000), closed_by),
        'last_seq', here.last_seq, 'ended', not here.claimable));
end;
$$;
call private.expose('private', 'read_events', 'authenticated', 'duet_agent');

-- duet_core::ports::RunStore::events
create function public.run_events(p_workspace uuid, p_run uuid, p_after bigint, p_limit int, p_closed_by bigint default 0)
returns jsonb
language sql stable set search_path = '' as $$
    select private.read_events(p_workspace, p_run, p_after, p_limit, p_closed_by)
$$;
call private.expose('public', 'run_events', 'authenticated', 'duet_agent');
