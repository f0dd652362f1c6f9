-- Conversations, their messages, and the runs that answer in them (their logs follow in the next file). A person sees their own
-- only; an agent those of its person. Nobody writes these tables but the functions that are made for it.

create table duet.conversation (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    user_id      uuid not null references duet.account (id),
    agent_id     uuid not null,
    title        text not null check (char_length(title) <= 200),
    archived     boolean not null default false,
    last_ordinal bigint not null default 0,
    created_at   timestamptz(3) not null,
    updated_at   timestamptz(3) not null,
    primary key (workspace_id, id),
    unique (workspace_id, id, user_id),
    foreign key (workspace_id, agent_id) references duet.agent (workspace_id, id)
);
create index conversation_by_person on duet.conversation (workspace_id, user_id, updated_at, id);
create index conversation_by_user on duet.conversation (user_id);
create index conversation_by_agent on duet.conversation (workspace_id, agent_id);

-- The words of a text as full-text search knows them: lower case, without accents, split where neither letter nor digit stands.
-- The collation is named, because a database made under the locale C would know the case of ASCII alone; Postgres 16 has no
-- such collation yet, and there the database's own must do.
do $$
begin
    execute format($make$
        create function private.words_of(content text) returns text[]
        language sql immutable set search_path = '' as $body$
            select coalesce(array_agg(distinct left(word, 200)), '{}')
            from regexp_split_to_table(
                regexp_replace(normalize(lower(content collate %1$s), NFD), '[\u0300-\u036f]+', '', 'g') collate %1$s,
                '[^[:alnum:]]+') word
            where word <> ''
        $body$
    $make$, case when exists (select from pg_catalog.pg_collation c where c.collname = 'pg_c_utf8')
                 then 'pg_catalog.pg_c_utf8' else 'pg_catalog."default"' end);
end;
$$;
call private.expose('private', 'words_of', 'authenticated');

-- Words under their owner: every entry of the index belongs to one person in one workspace, so that a search neither reads nor
-- counts what others wrote.
create function private.owned_words(workspace uuid, person uuid, words text[]) returns text[]
language sql immutable set search_path = '' as $$
    select coalesce(array_agg(o.owner || word), '{}')
    from (select encode(substring(sha256(uuid_send(workspace) || uuid_send(person)) from 1 for 8), 'hex') as owner) o,
         unnest(words) word
$$;
call private.expose('private', 'owned_words');

-- user_id is the conversation's, so that a policy needs no join to know whose it is. run_id is the run that wrote it or the
-- latest that answers it (runs refer to messages, so this has no foreign key); agent_id is that run's.
create table duet.message (
    workspace_id    uuid not null,
    id              uuid not null,
    conversation_id uuid not null,
    user_id         uuid not null,
    ordinal         bigint not null check (ordinal > 0),
    role            text not null check (role in ('user', 'assistant')),
    status          text not null check (status in ('complete', 'stopped', 'interrupted', 'limited', 'redacted')),
    text            text not null check (octet_length(text) <= 1048576),
    parent_id       uuid,
    run_id          uuid,
    agent_id        uuid,
    trace           text check (octet_length(trace) <= 1048576), -- JSON
    superseded      boolean not null default false,
    created_at      timestamptz(3) not null,
    -- More words of one message than fit here are not found.
    words           tsvector not null generated always as (array_to_tsvector(
                        private.owned_words(workspace_id, user_id, private.words_of(left(text, 131072))))) stored,
    primary key (workspace_id, id),
    unique (workspace_id, conversation_id, ordinal),
    foreign key (workspace_id, conversation_id, user_id) references duet.conversation (workspace_id, id, user_id),
    foreign key (workspace_id, parent_id) references duet.message (workspace_id, id)
);
create index message_by_owner on duet.message (workspace_id, conversation_id, user_id);
create index message_by_parent on duet.message (workspace_id, parent_id);
create index message_words on duet.message using gin (words) with (fastupdate = off);

-- last_seq and last_hash are the head of the run's event chain: a log whose tail was cut does not end there. Ids are unique in
-- their workspace only, so that a taken id tells nothing about another one; a worker's lease names its run beyond doubt.
create table duet.run (
    workspace_id    uuid not null,
    id              uuid not null,
    user_id         uuid not null,
    conversation_id uuid not null,
    message_id      uuid not null,
    reply_id        uuid not null,
    agent_id        uuid not null,
    status          text not null check (status in
        ('queued', 'running', 'done', 'failed', 'cancelled', 'interrupted', 'needs_review', 'parked')),
    attempt         int not null default 0,
    last_seq        bigint not null default 0,
    last_hash       bytea not null default decode(repeat('00', 32), 'hex') check (length(last_hash) = 32),
    reason          text check (octet_length(reason) <= 4096),
    lease_token     uuid,
    lease_until     timestamptz(3),
    lease_millis    bigint,
    created_at      timestamptz(3) not null,
    updated_at      timestamptz(3) not null,
    primary key (workspace_id, id),
    check ((status = 'running') = (lease_token is not null) and (lease_token is null) = (lease_until is null)),
    foreign key (workspace_id, conversation_id, user_id) references duet.conversation (workspace_id, id, user_id),
    foreign key (workspace_id, message_id) references duet.message (workspace_id, id),
    foreign key (workspace_id, agent_id) references duet.agent (workspace_id, id)
) with (fillfactor = 70); -- room for the head to move without touching the indexes
create index run_by_id on duet.run (id);
create unique index run_one_active on duet.run (workspace_id, conversation_id) where status in ('queued', 'running');
create index run_to_claim on duet.run (created_at, id) where status in ('queued', 'running');
create index run_by_conversation on duet.run (workspace_id, conversation_id, user_id, created_at, id);
create index run_by_message on duet.run (workspace_id, message_id);
create index run_by_agent on duet.run (workspace_id, agent_id);

call private.seclude('duet.conversation');
call private.seclude('duet.message');
call private.seclude('duet.run');

grant select on duet.conversation, duet.message, duet.run to authenticated, duet_agent;
create policy conversation_read on duet.conversation for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));
create policy message_read on duet.message for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));
create policy run_read on duet.run for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));
