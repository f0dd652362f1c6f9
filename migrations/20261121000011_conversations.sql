-- Conversations, their messages, and the runs that answer in them (their logs follow in the next file). A person sees only their own,
-- an agent only its person's. Only the functions made for it write these tables.

create table duet.conversation (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    user_id      uuid not null references duet.account (id),
    agent_id     uuid not null,
    title        text not null check (char_length(title) <= 200),
    archived     boolean not null default false,
    last_ordinal bigint not null default 0,
    head_id      uuid, -- the newest message of the branch that is shown
    created_at   timestamptz(3) not null,
    updated_at   timestamptz(3) not null,
    deleted_at   timestamptz(3), -- the row stays, because its runs refer to it, but holds no text
    primary key (workspace_id, id),
    unique (workspace_id, id, user_id),
    check (deleted_at is null or title = ''),
    foreign key (workspace_id, agent_id) references duet.agent (workspace_id, id)
);
create index conversation_by_person on duet.conversation (workspace_id, user_id, updated_at, id);
create index conversation_by_user on duet.conversation (user_id);
create index conversation_by_agent on duet.conversation (workspace_id, agent_id);

-- The words of a text in order, as full-text search sees them: lower case, without accents, split at everything that is neither a
-- letter nor a digit. The collation is explicit, because a database created under the locale C would fold only ASCII; Postgres 16 has
-- no such collation yet and falls back to the database's own.
do $$
begin
    execute format($make$
        create function private.words_of(content text) returns text[]
        language sql immutable set search_path = '' as $body$
            select coalesce(array_agg(left(word, 200) order by place), '{}')
            from regexp_split_to_table(
                regexp_replace(normalize(lower(content collate %1$s), NFD), '[\u0300-\u036f]+', '', 'g') collate %1$s,
                '[^[:alnum:]]+') with ordinality as t (word, place)
            where word <> ''
        $body$
    $make$, case when exists (select from pg_catalog.pg_collation c where c.collname = 'pg_c_utf8')
                 then 'pg_catalog.pg_c_utf8' else 'pg_catalog."default"' end);
end;
$$;
call private.expose('private', 'words_of');

-- Prefixes words with their owner: every index entry belongs to one person in one workspace, so that a search neither reads nor
-- counts what others wrote.
create function private.owned_words(workspace uuid, person uuid, words text[]) returns text[]
language sql immutable set search_path = '' as $$
    select coalesce(array_agg(o.owner || word order by place), '{}')
    from (select encode(substring(sha256(uuid_send(workspace) || uuid_send(person)) from 1 for 8), 'hex') as owner) o,
         unnest(words) with ordinality as t (word, place)
$$;
call private.expose('private', 'owned_words');

-- user_id is the conversation's, so that a policy can check ownership without a join. run_id is the run that wrote the message or the
-- latest that answers it (runs refer to messages, so this has no foreign key); agent_id is that run's. Messages are a tree: parent_id is
-- the one before, and a reply may come after others than the one that it answers. What is not on the way from the conversation's head
-- to the root is `aside`: lists and prompts leave it out. Along a branch ordinals only grow.
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
    answers_id      uuid,
    run_id          uuid,
    agent_id        uuid,
    trace           jsonb check (octet_length(trace::text) <= 1048576),
    labels          int not null default 0 check (labels between 0 and 15),
    aside           boolean not null default false,
    created_at      timestamptz(3) not null,
    -- Only the beginning of a very long reply is searchable: as much as fits into a tsvector whatever its words.
    words           tsvector not null generated always as (array_to_tsvector(
                        private.owned_words(workspace_id, user_id, private.words_of(left(text, 65536))))) stored,
    primary key (workspace_id, id),
    unique (workspace_id, conversation_id, ordinal),
    foreign key (workspace_id, conversation_id, user_id) references duet.conversation (workspace_id, id, user_id),
    foreign key (workspace_id, parent_id) references duet.message (workspace_id, id),
    foreign key (workspace_id, answers_id) references duet.message (workspace_id, id)
);
create index message_by_owner on duet.message (workspace_id, conversation_id, user_id);
create index message_by_parent on duet.message (workspace_id, parent_id, ordinal);
create index message_by_answered on duet.message (workspace_id, answers_id, ordinal);
create index message_roots on duet.message (workspace_id, conversation_id, ordinal) where parent_id is null;
create index message_words on duet.message using gin (words) with (fastupdate = off);

-- last_seq and last_hash are the head of the run's event chain: a truncated log does not end there. stalls counts claims without
-- progress. commit_id is the worker's newest write and commit_seq its first event; they identify a write that is repeated because its
-- answer was lost. Ids are unique only within their workspace, so that a taken id reveals nothing about another workspace; a worker's
-- lease identifies its run unambiguously. Without an end a run is
-- `active`; it is `claimable` unless it waits for a person. It `holds` its conversation, where only one may be claimable, until it first
-- waits. It outlives its messages, which are
-- deleted with their conversation.
create table duet.run (
    workspace_id    uuid not null,
    id              uuid not null,
    user_id         uuid not null,
    conversation_id uuid not null,
    message_id      uuid not null,
    reply_id        uuid not null,
    agent_id        uuid not null,
    status          text not null check (status in
        ('queued', 'running', 'waiting', 'done', 'failed', 'cancelled', 'interrupted', 'needs_review', 'parked')),
    active          boolean not null generated always as (status in ('queued', 'running', 'waiting')) stored,
    claimable       boolean not null generated always as (status in ('queued', 'running')) stored,
    holds           boolean not null default true,
    attempt         int not null default 0,
    stalls          int not null default 0,
    last_seq        bigint not null default 0,
    last_hash       bytea not null default decode(repeat('00', 32), 'hex') check (length(last_hash) = 32),
    reason          text check (octet_length(reason) <= 4096),
    labels          int not null default 0 check (labels between 0 and 15), -- of all that it has read
    lease_token     uuid,
    lease_until     timestamptz(3),
    lease_millis    bigint,
    commit_id       uuid,
    commit_seq      bigint,
    created_at      timestamptz(3) not null,
    updated_at      timestamptz(3) not null,
    primary key (workspace_id, id),
    check ((status = 'running') = (lease_token is not null) and (lease_token is null) = (lease_until is null)),
    foreign key (workspace_id, conversation_id, user_id) references duet.conversation (workspace_id, id, user_id),
    foreign key (workspace_id, agent_id) references duet.agent (workspace_id, id)
) with (fillfactor = 70); -- room for the head to move without touching the indexes
create index run_by_id on duet.run (id);
create unique index run_one_active on duet.run (workspace_id, conversation_id) where claimable and holds;
create index run_to_claim on duet.run (created_at, id) where claimable;
create index run_by_conversation on duet.run (workspace_id, conversation_id, user_id, created_at, id);
create index run_by_message on duet.run (workspace_id, message_id);
create index run_by_agent on duet.run (workspace_id, agent_id);
create trigger run_labels_worsen before update on duet.run
    for each row when (old.labels & ~new.labels <> 0) execute function private.labels_only_worsen();

-- The run that the acting agent works in: running, and of the same person and agent. None for a person.
create function private.my_run() returns setof duet.run
language sql stable security definer set search_path = '' as $$
    select r.* from duet.run r
    where current_setting('role', true) = 'duet_agent'
      and r.workspace_id = nullif(current_setting('duet.workspace_id', true), '')::uuid
      and r.id = nullif(current_setting('duet.run_id', true), '')::uuid
      and r.agent_id = nullif(current_setting('duet.agent_id', true), '')::uuid
      and r.user_id = (select auth.uid()) and r.status = 'running'
$$;
call private.expose('private', 'my_run');

-- Whether text for local models only may reach the caller: a person, or an agent whose model runs on their own machines.
-- Without a stated locality it counts as elsewhere.
create function private.reads_local() returns boolean
language sql stable set search_path = '' as $$
    select current_setting('role', true) <> 'duet_agent' or coalesce(current_setting('duet.locality', true), '') = 'local'
$$;
call private.expose('private', 'reads_local', 'authenticated', 'duet_agent');

-- A run answers a message of its own conversation. Not a foreign key, because the message is deleted before the run.
create function private.answers_its_message() returns trigger
language plpgsql set search_path = '' as $$
begin
    if not exists (select from duet.message m
                   where (m.workspace_id, m.id, m.conversation_id, m.user_id)
                       = (new.workspace_id, new.message_id, new.conversation_id, new.user_id)) then
        raise exception 'a run answers a message of its conversation' using errcode = 'foreign_key_violation';
    end if;
    return new;
end;
$$;
call private.expose('private', 'answers_its_message');
create trigger run_answers_its_message before insert or update of workspace_id, message_id, conversation_id, user_id on duet.run
    for each row execute function private.answers_its_message();

call private.seclude('duet.conversation');
call private.seclude('duet.message');
call private.seclude('duet.run');

grant select on duet.conversation, duet.message, duet.run to authenticated, duet_agent;
create policy conversation_read on duet.conversation for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));
create policy message_read on duet.message for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces()))
           and (labels & 2 = 0 or (select private.reads_local())));
create policy run_read on duet.run for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));

create function private.conversation_json(conversation duet.conversation) returns jsonb
language sql stable set search_path = '' as $$
    select to_jsonb(conversation) - array['last_ordinal', 'deleted_at'] || jsonb_build_object('active_run', (
        select r.id from duet.run r
        where r.workspace_id = conversation.workspace_id and r.conversation_id = conversation.id
          and r.claimable and r.holds))
$$;
call private.expose('private', 'conversation_json', 'authenticated', 'duet_agent');

-- The other versions of a message: those of the same role after the same one. Null where there are none.
create function private.siblings_json(message duet.message) returns jsonb
language sql stable set search_path = '' as $$
    with versions as (
        select s.id, s.ordinal from duet.message s
        where message.parent_id is not null and s.workspace_id = message.workspace_id and s.parent_id = message.parent_id
          and s.role = message.role
        union all
        select s.id, s.ordinal from duet.message s
        where message.parent_id is null and s.parent_id is null and s.workspace_id = message.workspace_id
          and s.conversation_id = message.conversation_id and s.role = message.role)
    select case when count(*) > 1 then jsonb_build_object(
        'nth', count(*) filter (where v.ordinal <= message.ordinal), 'of', count(*),
        'previous', (array_agg(v.id order by v.ordinal desc) filter (where v.ordinal < message.ordinal))[1],
        'next', (array_agg(v.id order by v.ordinal) filter (where v.ordinal > message.ordinal))[1]) end
    from versions v
$$;
call private.expose('private', 'siblings_json', 'authenticated', 'duet_agent');

create function private.message_json(message duet.message) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'id', message.id, 'conversation_id', message.conversation_id, 'ordinal', message.ordinal, 'role', message.role,
        'status', message.status, 'text', message.text, 'parent_id', message.parent_id, 'answers_id', message.answers_id,
        'aside', message.aside, 'siblings', private.siblings_json(message), 'run_id', message.run_id,
        'agent_id', message.agent_id, 'trace', message.trace, 'ended', (
            select jsonb_build_object('status', r.status, 'reason', r.reason) from duet.run r
            where r.workspace_id = message.workspace_id and r.id = message.run_id and not r.active),
        'labels', private.labels_json(message.labels),
        'created_at', message.created_at)
$$;
call private.expose('private', 'message_json', 'authenticated', 'duet_agent');

create function private.create_conversation(workspace uuid, conversation uuid, agent uuid, new_title text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    made duet.conversation;
    answering uuid := agent;
    at timestamptz := private.now();
begin
    if workspace not in (select private.my_workspaces()) then
        return private.refused('not_found');
    end if;
    select * into made from duet.conversation c
    where c.workspace_id = workspace and c.id = conversation and c.user_id = (select auth.uid()) and c.deleted_at is null;
    if found then
        return private.ok(private.conversation_json(made));
    end if;
    if agent is null then
        answering := private.answering_agent(workspace);
    elsif not exists (select from duet.agent a where a.workspace_id = workspace and a.id = agent) then
        return private.refused('not_found');
    elsif not exists (select from duet.agent a where a.workspace_id = workspace and a.id = agent and a.active) then
        return private.refused('agent_inactive');
    end if;
    insert into duet.conversation (workspace_id, id, user_id, agent_id, title, created_at, updated_at)
    values (workspace, conversation, (select auth.uid()), answering, coalesce(btrim(new_title), ''), at, at)
    -- Several unique indexes hold the id.
    on conflict do nothing
    returning * into made;
    if not found then
        -- The same request, sent twice at once, or an id that somebody else has or that was deleted.
        select * into made from duet.conversation c
        where c.workspace_id = workspace and c.id = conversation and c.user_id = (select auth.uid()) and c.deleted_at is null;
    end if;
    return case when made.id is null then private.refused('id_taken', '{"what": "conversation"}')
                else private.ok(private.conversation_json(made)) end;
end;
$$;
call private.expose('private', 'create_conversation', 'authenticated');

-- duet_core::ports::ConversationStore::create
create function public.conversation_create(p_workspace uuid, p_id uuid, p_agent uuid, p_title text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.create_conversation(p_workspace, p_id, p_agent, p_title)
$$;
call private.expose('public', 'conversation_create', 'authenticated');

-- duet_core::ports::ConversationStore::conversation
create function public.conversation_read(p_workspace uuid, p_id uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok((select private.conversation_json(c) from duet.conversation c
                       where c.workspace_id = p_workspace and c.id = p_id and c.deleted_at is null))
$$;
call private.expose('public', 'conversation_read', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::list; the cursor is the last conversation's time and id.
create function public.conversation_list(
    p_workspace uuid, p_archived boolean, p_before timestamptz, p_before_id uuid, p_limit int
) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(
        jsonb_agg(private.conversation_json(row(page.*)::duet.conversation) order by page.updated_at desc, page.id desc), '[]'))
    from (select c.* from duet.conversation c
          where c.workspace_id = p_workspace and c.user_id = (select auth.uid()) and c.archived = p_archived and c.deleted_at is null
            and (p_before is null or (c.updated_at, c.id) < (p_before, p_before_id))
          order by c.updated_at desc, c.id desc limit private.page_size(p_limit)) page
$$;
call private.expose('public', 'conversation_list', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::ids
create function public.conversation_ids(p_workspace uuid, p_low uuid, p_high uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(page.id order by page.id), '[]'))
    from (select c.id from duet.conversation c
          where c.workspace_id = p_workspace and c.id between p_low and p_high and c.deleted_at is null order by c.id limit 10) page
$$;
call private.expose('public', 'conversation_ids', 'authenticated', 'duet_agent');

create function private.edit_conversation(workspace uuid, conversation uuid, new_title text, archive boolean) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    edited duet.conversation;
begin
    if char_length(btrim(new_title)) not between 1 and 200 then
        return private.refused('title_length');
    end if;
    update duet.conversation c set title = coalesce(btrim(new_title), c.title), archived = coalesce(archive, c.archived)
    where c.workspace_id = workspace and c.id = conversation and c.user_id = (select auth.uid()) and c.deleted_at is null
      and workspace in (select private.my_workspaces())
    returning * into edited;
    if not found then
        return private.refused('not_found');
    end if;
    return private.ok(private.conversation_json(edited));
end;
$$;
call private.expose('private', 'edit_conversation', 'authenticated');

-- duet_core::ports::ConversationStore::edit; null leaves a field unchanged.
create function public.conversation_edit(p_workspace uuid, p_id uuid, p_title text, p_archived boolean) returns jsonb
language sql volatile set search_path = '' as $$
    select private.edit_conversation(p_workspace, p_id, p_title, p_archived)
$$;
call private.expose('public', 'conversation_edit', 'authenticated');

-- Messages that may not reach the acting agent's model: their existence and what bounds them, but no text. Either those of `ids`, or
-- a page of a conversation.
create function private.withheld_messages(workspace uuid, conversation uuid, ids uuid[], before bigint, size int) returns setof duet.message
language plpgsql stable security definer set search_path = '' as $$
declare
    wanted uuid[] := ids;
    kept duet.message;
begin
    if private.reads_local() then
        return;
    end if;
    if wanted is null then
        wanted := array(
            select m.id from duet.message m
            where m.workspace_id = workspace and m.conversation_id = conversation and not m.aside
              and (before is null or m.ordinal < before)
            order by m.ordinal desc limit size);
    end if;
    for kept in
        select m.* from duet.message m
        where m.workspace_id = workspace and m.id = any (wanted) and m.user_id = (select auth.uid()) and m.labels & 2 <> 0
          and workspace in (select private.my_workspaces())
    loop
        kept.text := '';
        kept.words := '';
        kept.trace := null;
        return next kept;
    end loop;
end;
$$;
call private.expose('private', 'withheld_messages', 'authenticated', 'duet_agent');

-- A page of messages, given by their ordinals: {items, more}. It ends before the message that would exceed `size` messages or
-- PageRequest::MAX_BYTES in total; the first message is always included. Lengths are known without reading the texts. Looked up one
-- at a time: a join may read every message of the conversation.
create function private.messages_json(workspace uuid, conversation uuid, ordinals bigint[], size int) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'items', coalesce(jsonb_agg(private.message_json(weighed.message) order by weighed.place) filter (where weighed.kept), '[]'),
        'more', coalesce(not bool_and(weighed.kept), false))
    from (select found.message, asked.place,
                 asked.place = 1 or asked.place <= size and sum(found.bytes) over (order by asked.place) <= 1048576 as kept
          from unnest(ordinals) with ordinality as asked (ordinal, place)
          cross join lateral (
               (select m as message, octet_length(m.text) + coalesce(octet_length(m.trace::text), 0) as bytes from duet.message m
                where m.workspace_id = workspace and m.conversation_id = conversation and m.ordinal = asked.ordinal
                offset 0)
               union all
               select w, 0 from private.withheld_messages(workspace, conversation, null, asked.ordinal + 1, 1) w
               where w.ordinal = asked.ordinal) found) weighed
$$;
call private.expose('private', 'messages_json', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::messages
create function public.message_list(p_workspace uuid, p_conversation uuid, p_before bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select case when exists (select from duet.conversation c
                             where c.workspace_id = p_workspace and c.id = p_conversation and c.deleted_at is null)
        then private.ok(private.messages_json(p_workspace, p_conversation, array(
            select both_kinds.ordinal from (
                (select m.ordinal from duet.message m
                 where m.workspace_id = p_workspace and m.conversation_id = p_conversation and not m.aside
                   and (p_before is null or m.ordinal < p_before)
                 order by m.ordinal desc limit private.page_size(p_limit))
                union all
                select w.ordinal from private.withheld_messages(
                    p_workspace, p_conversation, null, p_before, private.page_size(p_limit)) w) both_kinds
            order by both_kinds.ordinal desc limit private.page_size(p_limit)), private.page_size(p_limit) - 1))
        else private.refused('not_found') end
$$;
call private.expose('public', 'message_list', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::transcript
create function public.message_transcript(p_workspace uuid, p_conversation uuid, p_after bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select case when exists (select from duet.conversation c
                             where c.workspace_id = p_workspace and c.id = p_conversation and c.deleted_at is null)
        then private.ok(private.messages_json(p_workspace, p_conversation, array(
            select m.ordinal from duet.message m
            where m.workspace_id = p_workspace and m.conversation_id = p_conversation and not m.aside
              and (p_after is null or m.ordinal > p_after)
            order by m.ordinal limit private.page_size(p_limit)), private.page_size(p_limit) - 1))
        else private.refused('not_found') end
$$;
call private.expose('public', 'message_transcript', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::messages_by_id
create function public.message_by_id(p_workspace uuid, p_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
    select case when cardinality(p_ids) > 1000
        then private.refused('too_many_messages')
        else private.ok((
            select coalesce(jsonb_agg(both_kinds.message order by both_kinds.place), '[]')
            from (
                select private.message_json(found.message) as message, asked.place
                from unnest(p_ids) with ordinality as asked (id, place)
                cross join lateral (
                    select m as message from duet.message m where m.workspace_id = p_workspace and m.id = asked.id
                    offset 0) found -- one at a time: a join may read every message of the workspace
                union all
                select private.message_json(w), asked.place
                from private.withheld_messages(p_workspace, null, p_ids, null, 0) w
                join unnest(p_ids) with ordinality as asked (id, place) on asked.id = w.id) both_kinds)) end
$$;
call private.expose('public', 'message_by_id', 'authenticated', 'duet_agent');

-- A message and those before it on its branch, newest first. Definer, because an agent does not see what lies between.
create function private.path_of(workspace uuid, message uuid, size int) returns table (id uuid, place bigint)
language sql stable security definer set search_path = '' as $$
    with recursive path (id, parent_id, place) as (
        select m.id, m.parent_id, 1::bigint from duet.message m
        where m.workspace_id = workspace and m.id = message and m.user_id = (select auth.uid())
          and workspace in (select private.my_workspaces())
        union all
        select m.id, m.parent_id, p.place + 1 from path p
        join duet.message m on m.workspace_id = workspace and m.id = p.parent_id
        where p.place < size)
    select p.id, p.place from path p
$$;
call private.expose('private', 'path_of', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::path
create function public.message_path(p_workspace uuid, p_message uuid, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select public.message_by_id(p_workspace, array(
        select p.id from private.path_of(p_workspace, p_message, least(greatest(coalesce(p_limit, 1), 1), 200)) p order by p.place))
$$;
call private.expose('public', 'message_path', 'authenticated', 'duet_agent');

-- The caller's messages that contain all the words; the last word may be a prefix. Definer, because an index on words cannot be used
-- through row level security; it reads only the caller's own entries.
create function private.search_messages(
    workspace uuid, query text, before timestamptz, before_id uuid, size int
) returns setof duet.message
language sql stable security definer set search_path = '' as $$
    with asked as (
        select private.owned_words(workspace, (select auth.uid()), (private.words_of(left(query, 4096)))[1:32]) as words
    ), wanted as (
        select string_agg('''' || word || case when place = cardinality(words) then ''':*' else '''' end, ' & ')::tsquery as words
        from asked, unnest(words) with ordinality as t (word, place)
    )
    select m.* from duet.message m
    where m.words @@ (select w.words from wanted w)
      and m.workspace_id = workspace and m.user_id = (select auth.uid()) and workspace in (select private.my_workspaces())
      and (before is null or (m.created_at, m.id) < (before, before_id))
      and (m.labels & 2 = 0 or (select private.reads_local())) -- a hit would reveal a word of it
    order by m.created_at desc, m.id desc limit private.page_size(size)
$$;
call private.expose('private', 'search_messages', 'authenticated', 'duet_agent');

-- duet_core::ports::ConversationStore::search; returns the searchable part of the text, of which the server shows a passage.
create function public.message_search(
    p_workspace uuid, p_query text, p_before timestamptz, p_before_id uuid, p_limit int
) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(
        jsonb_build_object('conversation_id', m.conversation_id, 'title', c.title, 'message_id', m.id, 'role', m.role,
                           'text', left(m.text, 65536), 'aside', m.aside, 'labels', private.labels_json(m.labels),
                           'created_at', m.created_at)
        order by m.created_at desc, m.id desc), '[]'))
    from private.search_messages(p_workspace, p_query, p_before, p_before_id, p_limit) m
    join duet.conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id
$$;
call private.expose('public', 'message_search', 'authenticated', 'duet_agent');
