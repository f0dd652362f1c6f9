-- Memories, their full-text postings and vectors, and who sees them.
--
-- Only memories that may be recalled (accepted, valid, not redacted: `live`) have postings and vectors, so that ranking never meets
-- anything else. Memories with the same audience form a class; postings, counters, vectors and codes are keyed by class, and every
-- policy checks the class: what a caller may not see is never read and never counted.

-- The data keys of field encryption, wrapped by a master key that is not in the database. Written once.
create table duet.workspace_key (
    workspace_id uuid not null references duet.workspace (id),
    version      int not null check (version >= 1),
    wrapped      bytea not null check (length(wrapped) between 32 and 200),
    created_at   timestamptz(3) not null default private.now(),
    primary key (workspace_id, version)
);

-- Model names with the length of their vectors. Rows that repeat them use small numbers instead. Only the server creates them; those
-- without vectors are swept.
create table duet.embedding_model (
    key        int generated always as identity primary key,
    name       text not null check (length(name) between 1 and 200),
    dimensions int not null check (dimensions between 1 and 8192),
    made_at    timestamptz(3) not null default private.now(),
    unique (name, dimensions)
);

create table duet.memory_class (
    workspace_id uuid not null references duet.workspace (id),
    key          bigint generated always as identity,
    owner        uuid references duet.account (id), -- of private memories; null for shared ones
    domain       text not null check (domain in ('episodic', 'semantic', 'working')),
    egress       text not null check (egress in ('any', 'local_only')),
    documents    bigint not null default 0, -- in the full-text index
    length       bigint not null default 0, -- their terms together
    primary key (workspace_id, key),
    unique nulls not distinct (workspace_id, owner, domain, egress)
) with (fillfactor = 50);
create index memory_class_by_owner on duet.memory_class (owner);

-- The terms a memory is indexed under, with their frequencies; they are computed outside the database, so their size is bounded here.
create function private.are_terms(terms jsonb) returns boolean
language sql immutable set search_path = '' as $$
    -- Their total is at most that of a text of the maximum size: document length affects the ranking of all memories.
    select jsonb_typeof(terms) = 'object' and octet_length(terms::text) <= 262144
       and coalesce((select count(*) <= 9000 and bool_and(char_length(key) between 1 and 40 and value::text ~ '^[1-9][0-9]{0,4}$')
                        and sum(case when value::text ~ '^[1-9][0-9]{0,4}$' then value::text::int else 0 end) <= 20000
                     from jsonb_each(terms)), true)
$$;
call private.expose('private', 'are_terms', 'authenticated', 'duet_agent');

-- `key` is the order in which memories were stored, and the small number that postings and codes repeat. `terms` is kept so that a
-- memory can be removed from the index exactly as it was added.
create table duet.memory (
    workspace_id      uuid not null references duet.workspace (id),
    id                uuid not null,
    key               bigint generated always as identity,
    class             bigint not null,
    user_id           uuid not null references duet.account (id),
    text              text check (octet_length(text) <= 16384 and text ~ '\S'), -- null when sealed or redacted
    sealed            bytea check (length(sealed) between 32 and 16500),        -- the text of a sensitive memory, encrypted for this row
    terms             jsonb check (private.are_terms(terms)),
    speaker           text check (octet_length(speaker) <= 1024),
    sensitive         boolean not null,
    taint             text not null check (taint in ('trusted', 'untrusted')),
    review            text not null check (review in ('accepted', 'proposed', 'rejected')),
    from_conversation uuid,
    from_message      uuid,
    from_run          uuid,
    from_agent        uuid,
    from_user         uuid,
    conversation_id   uuid,
    ordinal           bigint check (abs(ordinal) < 1000000000000000000),
    occurred_at       timestamptz(3) not null check (private.is_time(occurred_at)),
    expires_at        timestamptz(3) check (private.is_time(expires_at)),
    created_at        timestamptz(3) not null,
    valid_from        timestamptz(3) not null,
    valid_to          timestamptz(3),
    supersedes        uuid,
    superseded_by     uuid,
    redacted_at       timestamptz(3),
    embedded          int, -- the key of the model of its vector, if it has one
    live              boolean not null generated always as (review = 'accepted' and valid_to is null and redacted_at is null) stored,
    primary key (workspace_id, id),
    unique (workspace_id, key),
    foreign key (workspace_id, class) references duet.memory_class (workspace_id, key),
    foreign key (workspace_id, supersedes) references duet.memory (workspace_id, id) on delete set null (supersedes),
    check ((conversation_id is null) = (ordinal is null)),
    check (redacted_at is null or num_nonnulls(text, sealed, terms, speaker) = 0),
    check (redacted_at is not null or (text is null) = sensitive and (sealed is not null) = sensitive and (terms is null) = sensitive)
);
create index memory_by_class on duet.memory (workspace_id, class);
create index memory_by_time on duet.memory (workspace_id, created_at, id);
create index memory_by_place on duet.memory (workspace_id, conversation_id, ordinal) where conversation_id is not null;
create index memory_by_message on duet.memory (workspace_id, from_message) where from_message is not null;
create index memory_by_predecessor on duet.memory (workspace_id, supersedes);
create index memory_by_person on duet.memory (user_id);
create index memory_proposed on duet.memory (workspace_id, created_at, id)
    where review = 'proposed' and redacted_at is null and valid_to is null;
create index memory_by_expiry on duet.memory (expires_at) where expires_at is not null;
create index memory_to_embed on duet.memory (workspace_id, embedded, key) where live;

-- The full-text index. Its key holds everything that scoring reads. No foreign keys: only triggers write here, some thirty rows per
-- memory.
create table duet.memory_term (
    workspace_id uuid not null,
    class        bigint not null,
    term         text collate "C" not null,
    memory       bigint not null,
    frequency    int not null,
    length       int not null,
    primary key (workspace_id, class, term, memory) include (frequency, length)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

-- Per-conversation counters, for the conversation's own score.
create table duet.memory_thread (
    workspace_id    uuid not null,
    class           bigint not null,
    conversation_id uuid not null,
    documents       bigint not null,
    length          bigint not null,
    primary key (workspace_id, class, conversation_id),
    foreign key (workspace_id, class) references duet.memory_class (workspace_id, key)
);

-- One workspace's vectors by one model; codes are centred on `mean`, computed from `mean_of` of them.
create table duet.memory_partition (
    workspace_id uuid not null references duet.workspace (id),
    model        int not null references duet.embedding_model (key),
    name         text not null,
    dimensions   int not null,
    vectors      bigint not null default 0,
    mean         extensions.vector,
    mean_of      bigint not null default 0,
    primary key (workspace_id, model),
    unique (workspace_id, name, dimensions)
);
create index memory_partition_by_model on duet.memory_partition (model);

-- The vectors, of unit length, in single precision: half precision shifts a cosine by up to 5e-5, which reorders near ties. Storage
-- "main" keeps vectors of up to 2,000 dimensions in the row (one page at 1,536), so that a candidate costs one page read instead of
-- five from the TOAST table, and still accepts wider ones; "plain" would reject those.
create table duet.memory_vector (
    workspace_id uuid not null,
    memory       bigint not null,
    model        int not null,
    class        bigint not null,
    expires_at   timestamptz(3),
    vector       extensions.vector not null check (abs(extensions.vector_norm(vector) - 1) < 0.001),
    primary key (workspace_id, memory),
    foreign key (workspace_id, memory) references duet.memory (workspace_id, key),
    foreign key (workspace_id, model) references duet.memory_partition (workspace_id, model)
);
alter table duet.memory_vector alter column vector set storage main;
create index memory_vector_by_model on duet.memory_vector (workspace_id, model);

-- Signs relative to the partition's mean, for models of more than 512 dimensions. "bit" in quotes has no fixed length. Queries use
-- index-only scans of the covering index, which need a fresh visibility map.
create table duet.memory_code (
    workspace_id uuid not null,
    memory       bigint not null,
    model        int not null,
    class        bigint not null,
    expires_at   timestamptz(3),
    code         "bit" not null,
    primary key (workspace_id, memory),
    foreign key (workspace_id, memory) references duet.memory_vector (workspace_id, memory) on delete cascade
) with (autovacuum_vacuum_insert_threshold = 200, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02);
alter table duet.memory_code alter column code set storage plain;
create index memory_code_to_compare on duet.memory_code (workspace_id, model, class) include (expires_at, memory, code);

-- Memories whose text an embedder refused: skipped until `retry_at`, for that model only.
create table duet.memory_refusal (
    workspace_id uuid not null,
    memory       bigint not null,
    model        text not null check (length(model) between 1 and 200),
    dimensions   int not null,
    times        int not null,
    retry_at     timestamptz(3) not null,
    primary key (workspace_id, memory),
    foreign key (workspace_id, memory) references duet.memory (workspace_id, key) on delete cascade
);

-- Ids of deleted memories: a reference to one of them means the old memory.
create table duet.memory_gone (
    workspace_id uuid not null references duet.workspace (id),
    memory_id    uuid not null,
    primary key (workspace_id, memory_id)
);

-- What must stay redacted, as ids only.
create table duet.memory_tombstone (
    workspace_id uuid not null references duet.workspace (id),
    memory_id    uuid not null,
    redaction_id uuid not null,
    redacted_by  uuid not null references duet.account (id),
    redacted_at  timestamptz(3) not null,
    tombstone    jsonb not null,
    receipt      jsonb not null,
    primary key (workspace_id, memory_id)
);
create index memory_tombstone_by_person on duet.memory_tombstone (redacted_by);
create index memory_tombstone_by_redaction on duet.memory_tombstone (workspace_id, redaction_id);
create trigger memory_tombstone_fixed before update or delete on duet.memory_tombstone
    for each row execute function private.append_only();
create trigger memory_tombstone_kept before truncate on duet.memory_tombstone
    for each statement execute function private.append_only();

call private.seclude('duet.workspace_key');
call private.seclude('duet.embedding_model');
call private.seclude('duet.memory_class');
call private.seclude('duet.memory');
call private.seclude('duet.memory_term');
call private.seclude('duet.memory_thread');
call private.seclude('duet.memory_partition');
call private.seclude('duet.memory_vector');
call private.seclude('duet.memory_code');
call private.seclude('duet.memory_gone');
call private.seclude('duet.memory_refusal');
call private.seclude('duet.memory_tombstone');

-- What the acting agent may do: what its run was granted, as far as its row still allows it. No row when the agent is gone or
-- inactive, or works in no run.
create function private.my_agent(out capabilities text[], out domains text[], out sees_private boolean) returns setof record
language sql stable security definer set search_path = '' as $$
    select array(select c from jsonb_array_elements_text(given.scopes -> 'capabilities') c where c = any (a.capabilities)),
           array(select d from jsonb_array_elements_text(given.scopes #> '{memory_scopes,domains}') d
                 where a.memory_scopes -> 'domains' ? d),
           (given.scopes #>> '{memory_scopes,private}')::boolean and (a.memory_scopes ->> 'private')::boolean
    from (select nullif(current_setting('duet.agent_scopes', true), '')::jsonb as scopes) given
    join duet.agent a on a.workspace_id = nullif(current_setting('duet.workspace_id', true), '')::uuid
                     and a.id = nullif(current_setting('duet.agent_id', true), '')::uuid and a.active
    where current_setting('role', true) = 'duet_agent' and exists (select from private.my_run())
$$;

-- The classes that a policy opens to the caller for a given capability; to an agent, none whose text may not reach its model. A
-- caller that reads many rows of one workspace sets `duet.only_workspace`: each row is compared with all classes, so membership in a
-- hundred workspaces would cost a hundredfold. The setting can only narrow the result.
create function private.my_classes(capability text) returns setof bigint
language plpgsql stable security definer set search_path = '' as $$
declare
    me uuid := auth.uid();
    narrowed uuid := nullif(current_setting('duet.only_workspace', true), '')::uuid;
begin
    if current_setting('role', true) = 'duet_agent' then
        return query select c.key from duet.memory_class c cross join private.my_agent() a
                     where c.workspace_id = any (array(select private.my_workspaces())) and (c.owner is null or (c.owner = me and a.sees_private))
                       and capability = any (a.capabilities) and c.domain = any (a.domains)
                       and (c.egress = 'any' or capability <> 'read_memory' or private.reads_local());
    else
        -- Repeats private.my_workspaces(): calling it here costs a tenth of each query.
        return query select c.key from duet.member m join duet.memory_class c on c.workspace_id = m.workspace_id
                     where m.user_id = me and m.workspace_id = coalesce(narrowed, m.workspace_id)
                       and (c.owner is null or c.owner = me);
    end if;
end;
$$;

create function private.domain_of(workspace uuid, class bigint) returns text
language sql stable security definer set search_path = '' as $$
    select c.domain from duet.memory_class c where c.workspace_id = workspace and c.key = class
$$;

-- Whether the acting agent's write carries the labels of everything its run has read; false outside a run.
create function private.fits_my_run(workspace uuid, class bigint, taint text, sensitive boolean) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (
        select from private.my_run() r join duet.memory_class c on c.workspace_id = r.workspace_id and c.key = class
        where r.workspace_id = workspace
          and (r.labels & 1 = 0 or taint = 'untrusted') and (r.labels & 2 = 0 or c.egress = 'local_only')
          and (r.labels & 4 = 0 or sensitive) and (r.labels & 8 = 0 or c.owner is not null))
$$;

call private.expose('private', 'fits_my_run', 'authenticated', 'duet_agent');
call private.expose('private', 'my_agent', 'authenticated', 'duet_agent');
call private.expose('private', 'my_classes', 'authenticated', 'duet_agent');
call private.expose('private', 'domain_of', 'authenticated', 'duet_agent');

grant select on duet.memory_class, duet.memory, duet.memory_term, duet.memory_thread, duet.memory_partition, duet.memory_vector,
    duet.memory_code, duet.workspace_key to authenticated, duet_agent;
grant select on duet.memory_tombstone to authenticated;
grant insert (workspace_id, id, class, user_id, text, sealed, terms, speaker, sensitive, taint, review, from_conversation, from_message,
    from_run, from_agent, from_user, conversation_id, ordinal, occurred_at, expires_at, supersedes) on duet.memory
    to authenticated, duet_agent;

create policy workspace_key_read on duet.workspace_key for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));
create policy memory_partition_read on duet.memory_partition for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));
create policy memory_class_read on duet.memory_class for select to authenticated, duet_agent
    using (key = any (array(select private.my_classes('read_memory'))));
create policy memory_term_read on duet.memory_term for select to authenticated, duet_agent
    using (class = any (array(select private.my_classes('read_memory'))));
create policy memory_thread_read on duet.memory_thread for select to authenticated, duet_agent
    using (class = any (array(select private.my_classes('read_memory'))));
create policy memory_vector_read on duet.memory_vector for select to authenticated, duet_agent
    using (class = any (array(select private.my_classes('read_memory'))) and (expires_at is null or expires_at > (select private.now())));
create policy memory_code_read on duet.memory_code for select to authenticated, duet_agent
    using (class = any (array(select private.my_classes('read_memory'))) and (expires_at is null or expires_at > (select private.now())));
create policy memory_read on duet.memory for select to authenticated
    using (class = any (array(select private.my_classes('read_memory'))) and (expires_at is null or expires_at > (select private.now())));
-- An agent sees only memories that are valid.
create policy memory_read_by_agent on duet.memory for select to duet_agent
    using (class = any (array(select private.my_classes('read_memory'))) and live
           and (expires_at is null or expires_at > (select private.now())));
create policy memory_insert on duet.memory for insert to authenticated
    with check (class = any (array(select private.my_classes('write_memory')))
                and user_id = (select auth.uid()) and from_user = user_id and from_agent is null and from_run is null
                and (review = 'accepted' or review = 'proposed' and supersedes is not null));
-- An agent's untrusted text waits for a person's review, except working memory that supersedes nothing: nobody mistakes it for
-- knowledge, and it expires.
create policy memory_insert_by_agent on duet.memory for insert to duet_agent
    with check (class = any (array(select private.my_classes('write_memory')))
                and user_id = (select auth.uid()) and from_user = user_id
                and from_agent = nullif((select current_setting('duet.agent_id', true)), '')::uuid
                and from_run = nullif((select current_setting('duet.run_id', true)), '')::uuid
                and private.fits_my_run(workspace_id, class, taint, sensitive)
                and (review = 'proposed' and supersedes is not null
                     or review = case when taint = 'untrusted'
                                           and (private.domain_of(workspace_id, class) <> 'working' or supersedes is not null)
                                      then 'proposed' else 'accepted' end));
-- Everyone who sees the memory sees that it was redacted; after an older copy of the data was restored, at least the person who asked
-- for it.
create policy memory_tombstone_read on duet.memory_tombstone for select to authenticated
    using (workspace_id = any (array(select private.my_workspaces()))
           and (redacted_by = (select auth.uid())
                or exists (select from duet.memory m where m.workspace_id = memory_tombstone.workspace_id and m.id = memory_id)));
