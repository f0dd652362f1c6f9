-- duet_core::ports::MemoryStore::redact: removes a memory's text from every place it reached, in one definer function that checks
-- again who may redact it. Overwritten text leaves the database's files with the next vacuum.

-- Removes a conversation's title if it was made from this message.
create function private.untitle(workspace uuid, source uuid) returns bigint
language plpgsql volatile set search_path = '' as $$
declare
    named duet.conversation;
    said text;
    start text;
begin
    select c.* into named from duet.message m
    join duet.conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id
    where m.workspace_id = workspace and m.id = source and c.title <> '';
    select btrim(regexp_replace(m.text, '\s+', ' ', 'g')) into said from duet.message m where m.workspace_id = workspace and m.id = source;
    start := btrim(regexp_replace(rtrim(named.title, '….'), '\s+', ' ', 'g'));
    if start is null or start = '' or not starts_with(said, start) then
        return 0;
    end if;
    update duet.conversation c set title = '' where c.workspace_id = workspace and c.id = named.id;
    return 1;
end;
$$;

-- Tells a person that somebody else redacted a memory that replies to them recalled. The events' mentions say which replies; these
-- belong to the person, who decides about them. `tombstone` says what that decision removed, as ids only.
create table duet.notice (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    user_id      uuid not null references duet.account (id),
    memory_id    uuid not null,
    redaction_id uuid not null,
    redacted_by  uuid not null references duet.account (id),
    created_at   timestamptz(3) not null,
    settled      text check (settled in ('blank', 'dismiss')),
    settled_at   timestamptz(3),
    tombstone    jsonb,
    primary key (workspace_id, id),
    check ((settled is null) = (settled_at is null)),
    check ((settled is not distinct from 'blank') = (tombstone is not null))
);
create index notice_open on duet.notice (workspace_id, user_id, created_at, id) where settled is null;
create index notice_by_person on duet.notice (user_id);
create index notice_by_redactor on duet.notice (redacted_by);
call private.seclude('duet.notice');
grant select on duet.notice to authenticated;
create policy notice_read on duet.notice for select to authenticated
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));

-- Empties what these runs wrote: their replies, the payloads of their events, their hints and the hashes of the requests that queued
-- them. The callers have locked the runs, and none of them is still going.
create function private.erase_runs(
    workspace uuid, runs uuid[], at timestamptz, out replies bigint, out payloads bigint, out asked bigint, out outbox bigint,
    out requests bigint
)
language plpgsql volatile set search_path = '' as $$
begin
    update duet.message m set text = '', status = 'redacted'
    where m.workspace_id = workspace and m.status <> 'redacted'
      and ((m.id, m.user_id) in (select r.reply_id, r.user_id from duet.run r where r.workspace_id = workspace and r.id = any (runs))
           -- What they said before they waited.
           or (m.answers_id, m.run_id, m.user_id) in (
               select r.message_id, r.id, r.user_id from duet.run r where r.workspace_id = workspace and r.id = any (runs)));
    get diagnostics replies = row_count;
    update duet.run_event_payload p set payload = null, salt = null, redacted_at = at
    where p.workspace_id = workspace and p.run_id = any (runs) and p.payload is not null;
    get diagnostics payloads = row_count;
    asked := private.redact_requests(workspace, runs, at);
    delete from duet.run_event_outbox o where o.workspace_id = workspace and o.run_id = any (runs);
    get diagnostics outbox = row_count;
    -- A request's hash would confirm a guess of its text. The key stays taken: resending the request does not bring the text back.
    update duet.idempotency_key k set request_hash = decode(repeat('00', 32), 'hex')
    where k.workspace_id = workspace and k.run_id = any (runs) and k.request_hash <> decode(repeat('00', 32), 'hex');
    get diagnostics requests = row_count;
end;
$$;

-- One of these runs that is still going.
create function private.run_going_on(workspace uuid, runs uuid[]) returns uuid
language sql volatile set search_path = '' as $$
    select r.id from duet.run r
    where r.workspace_id = workspace and r.id = any (runs) and r.claimable order by r.id limit 1
$$;

create function private.redact_my_memory(workspace uuid, memory uuid, redaction uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    me uuid := (select auth.uid());
    everybody boolean;
    locked record;
    here duet.memory;
    older duet.memory;
    memories uuid[] := '{}';
    messages uuid[] := '{}';
    runs uuid[] := '{}';
    one uuid;
    vector record;
    erased record;
    step bigint;
    removed_memory bigint := 0;
    removed_text bigint := 0;
    removed_vectors bigint := 0;
    removed_codes bigint := 0;
    removed_messages bigint;
    removed_titles bigint := 0;
    removed_keys bigint;
    receipt jsonb;
begin
    if redaction is null then
        return private.refused('no_redaction_id');
    end if;
    -- One redaction per person at a time, or two concurrent ones would both find their id unused.
    perform from duet.member m where m.workspace_id = workspace and m.user_id = me for no key update;
    select * into locked from private.lock_my_memory(workspace, memory);
    if locked.refusal is not null then
        return locked.refusal;
    end if;
    select t.receipt into receipt from duet.memory_tombstone t where t.workspace_id = workspace and t.memory_id = memory;
    if found then
        return private.ok(receipt);
    elsif exists (select from duet.memory_tombstone t
                  where t.workspace_id = workspace and t.redaction_id = redaction and t.redacted_by = me) then
        -- A decision on a notice covers what it names, and nothing added to it later.
        return private.refused('redaction_done');
    end if;
    everybody := coalesce(private.my_role(workspace) = 'owner', false);

    -- Follows the text: the memories that this one superseded, as far as the caller may redact them, the messages they came from, and
    -- the runs that wrote or read them. Messages and runs are the caller's own, or everybody's when an owner asks.
    here := locked.mine;
    loop
        memories := memories || here.id;
        -- Nobody can have another person's message emptied by naming it as the source.
        messages := messages || array(
            select m.id from duet.message m
            where m.workspace_id = workspace and m.id = here.from_message and m.user_id = here.user_id and (everybody or m.user_id = me)
            union
            select r.message_id from duet.run r
            where r.workspace_id = workspace and r.id = here.from_run and (everybody or r.user_id = me));
        -- Whatever names the memory may quote it. Mentions are written with the events; payloads are searched as well, so that one
        -- event without its mention does not keep the text. Only those of the author's runs: a person chooses a memory's id, and
        -- could choose one that other people's runs name for another reason.
        runs := runs || array(
            select r.id from duet.run r
            where r.workspace_id = workspace and r.id = here.from_run and (everybody or r.user_id = me)
            union
            select r.id from duet.run_event_mention n
            join duet.run r on r.workspace_id = n.workspace_id and r.id = n.run_id and (everybody or r.user_id = me)
            where n.workspace_id = workspace and n.memory_id = here.id
            union
            select r.id from duet.run_event_payload p
            join duet.run r on r.workspace_id = p.workspace_id and r.id = p.run_id and r.user_id = here.user_id
                           and (everybody or r.user_id = me)
            where p.workspace_id = workspace and position(here.id::text in p.payload) > 0);
        select m.* into older from duet.memory m
        join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
        where m.workspace_id = workspace and m.id = here.supersedes and m.superseded_by = here.id
          and (m.user_id = me or everybody and c.owner is null)
        for update of m;
        exit when not found;
        here := older;
    end loop;
    messages := array(select distinct m from unnest(messages) m order by m);
    -- A run that continues a reply keeps its beginning, without mentioning the memory.
    runs := array(
        select distinct b.id from duet.run a
        join duet.run b on b.workspace_id = a.workspace_id and b.reply_id = a.reply_id
        where a.workspace_id = workspace and a.id = any (runs) and (everybody or b.user_id = me) order by b.id);
    perform from duet.run r where r.workspace_id = workspace and r.id = any (runs) order by r.id for update;
    one := private.run_going_on(workspace, runs);
    if one is not null then
        return private.refused('reply_knows_memory', jsonb_build_object('run', one));
    end if;
    -- Those that wait cannot go on without what they had read.
    perform private.end_waiting(r, 'What it was about was redacted.') from duet.run r
    where r.workspace_id = workspace and r.id = any (runs) and r.status = 'waiting';

    for here in select m.* from duet.memory m where m.workspace_id = workspace and m.id = any (memories) loop
        removed_text := removed_text + private.unindex_text(here);
        select * into vector from private.remove_vector(here);
        removed_vectors := removed_vectors + vector.vectors;
        removed_codes := removed_codes + vector.codes;
    end loop;
    update duet.memory m set text = null, sealed = null, terms = null, speaker = null, redacted_at = at
    where m.workspace_id = workspace and m.id = any (memories) and m.redacted_at is null;
    get diagnostics removed_memory = row_count;
    foreach one in array messages loop
        removed_titles := removed_titles + private.untitle(workspace, one);
    end loop;
    update duet.message m set text = '', status = 'redacted'
    where m.workspace_id = workspace and m.id = any (messages) and m.status <> 'redacted';
    get diagnostics removed_messages = row_count;
    select * into erased from private.erase_runs(workspace, runs, at);
    update duet.idempotency_key k set request_hash = decode(repeat('00', 32), 'hex')
    where k.workspace_id = workspace and k.message_id = any (messages) and k.request_hash <> decode(repeat('00', 32), 'hex');
    get diagnostics removed_keys = row_count;

    -- In the order of duet_core::domain::RedactionReceipt::PLACES. Postgres has no bit index beside the codes, and no cache.
    receipt := jsonb_build_object(
        'id', redaction, 'memory_id', memory, 'redacted_by', me, 'redacted_at', at,
        'removed', (select jsonb_agg(jsonb_build_object('place', p.place, 'count', p.count) order by p.number)
                    from unnest(array['memory', 'full_text', 'vectors', 'vector_codes', 'bit_index', 'messages', 'replies', 'titles',
                                      'event_payloads', 'requests', 'outbox', 'idempotency_keys', 'caches'],
                                array[removed_memory, removed_text, removed_vectors, removed_codes, 0, removed_messages, erased.replies,
                                      removed_titles, erased.payloads, erased.asked, erased.outbox, removed_keys + erased.requests, 0])
                         with ordinality as p (place, count, number)));
    insert into duet.memory_tombstone
    select workspace, gone, redaction, me, at,
           jsonb_build_object('id', redaction, 'workspace_id', workspace, 'memory_id', gone, 'messages', to_jsonb(messages),
                              'runs', to_jsonb(runs), 'redacted_by', me, 'redacted_at', at),
           receipt
    from unnest(memories) gone
    on conflict do nothing;
    get diagnostics step = row_count;
    if not everybody then
        insert into duet.notice (workspace_id, id, user_id, memory_id, redaction_id, redacted_by, created_at)
        select workspace, private.new_id(), known.user_id, memory, redaction, me, at
        from (select distinct r.user_id from duet.run_event_mention n
              join duet.run r on r.workspace_id = n.workspace_id and r.id = n.run_id
              where n.workspace_id = workspace and n.memory_id = any (memories) and r.user_id <> me) known;
    end if;
    perform private.audit(workspace, 'memory.redact', 'memory:' || memory, 'done',
                          jsonb_build_object('receipt', redaction, 'memories', step));
    return private.ok(receipt);
end;
$$;
call private.expose('private', 'erase_runs');
call private.expose('private', 'run_going_on');
call private.expose('private', 'untitle');
call private.expose('private', 'redact_my_memory', 'authenticated');

create function public.memory_redact(p_workspace uuid, p_id uuid, p_redaction uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.redact_my_memory(p_workspace, p_id, p_redaction)
$$;
call private.expose('public', 'memory_redact', 'authenticated');

-- duet_core::ports::MemoryStore::receipt
create function public.memory_receipt(p_workspace uuid, p_id uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok((select t.receipt from duet.memory_tombstone t where t.workspace_id = p_workspace and t.memory_id = p_id))
$$;
call private.expose('public', 'memory_receipt', 'authenticated');

-- The caller's runs that name what this notice's redaction removed, as far as their conversations exist.
create function private.noticed_runs(workspace uuid, notice uuid)
returns table (id uuid, conversation_id uuid, title text, reply_id uuid, created_at timestamptz)
language sql stable security definer set search_path = '' as $$
    select distinct r.id, r.conversation_id, c.title, r.reply_id, r.created_at
    from duet.notice told
    join duet.memory_tombstone t on t.workspace_id = told.workspace_id and t.redaction_id = told.redaction_id
                                and t.redacted_by = told.redacted_by
    join duet.run_event_mention n on n.workspace_id = t.workspace_id and n.memory_id = t.memory_id
    join duet.run r on r.workspace_id = n.workspace_id and r.id = n.run_id and r.user_id = told.user_id
    join duet.conversation c on c.workspace_id = r.workspace_id and c.id = r.conversation_id and c.deleted_at is null
    where told.workspace_id = workspace and told.id = notice and told.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces())
$$;
call private.expose('private', 'noticed_runs', 'authenticated');

create function private.notice_json(notice duet.notice) returns jsonb
language sql stable set search_path = '' as $$
    select to_jsonb(notice) - '{redaction_id,tombstone}'::text[] || jsonb_build_object('replies', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'run_id', r.id, 'conversation_id', r.conversation_id, 'title', r.title, 'message_id', r.reply_id)
            order by r.created_at desc, r.id desc), '[]')
        from (select r.* from private.noticed_runs(notice.workspace_id, notice.id) r
              order by r.created_at desc, r.id desc limit 50) r))
$$;
call private.expose('private', 'notice_json', 'authenticated');

-- duet_core::ports::NoticeStore::list; the cursor is the last notice's time and id. Skips notices whose replies are all gone with
-- their conversations.
create function public.notice_list(p_workspace uuid, p_before timestamptz, p_before_id uuid, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.notice_json(row(page.*)::duet.notice) order by page.created_at desc, page.id desc), '[]'))
    from (select n.* from duet.notice n
          where n.workspace_id = p_workspace and n.user_id = (select auth.uid()) and n.settled is null
            and (p_before is null or (n.created_at, n.id) < (p_before, p_before_id))
            and exists (select from private.noticed_runs(n.workspace_id, n.id))
          order by n.created_at desc, n.id desc limit private.page_size(p_limit)) page
$$;
call private.expose('public', 'notice_list', 'authenticated');

create function private.settle_notice(workspace uuid, notice uuid, action text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    here duet.notice;
    runs uuid[] := '{}';
    one uuid;
begin
    if action is null or action not in ('blank', 'dismiss') then
        return private.refused('notice_decision');
    end if;
    select n.* into here from duet.notice n
    where n.workspace_id = workspace and n.id = notice and n.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces())
    for update;
    if not found then
        return private.refused('not_found');
    elsif here.settled is not null then
        return private.ok(private.notice_json(here));
    end if;
    if action = 'blank' then
        -- A run that continues a reply keeps its beginning, without mentioning the memory.
        runs := array(
            select distinct b.id from private.noticed_runs(workspace, notice) a
            join duet.run b on b.workspace_id = workspace and b.reply_id = a.reply_id and b.user_id = here.user_id order by b.id);
        perform from duet.run r where r.workspace_id = workspace and r.id = any (runs) order by r.id for update;
        one := private.run_going_on(workspace, runs);
        if one is not null then
            return private.refused('reply_of_notice_active', jsonb_build_object('run', one));
        end if;
        perform private.end_waiting(r, 'What it was about was redacted.') from duet.run r
        where r.workspace_id = workspace and r.id = any (runs) and r.status = 'waiting';
        perform private.erase_runs(workspace, runs, at);
    end if;
    update duet.notice n
    set settled = action, settled_at = at,
        tombstone = case action when 'blank' then jsonb_build_object('notice_id', n.id, 'workspace_id', workspace, 'user_id', n.user_id,
                                                                     'runs', to_jsonb(runs), 'blanked_at', at) end
    where n.workspace_id = workspace and n.id = notice returning * into here;
    perform private.audit(workspace, 'notice.settle', 'notice:' || notice, 'done',
                          jsonb_build_object('action', action, 'runs', cardinality(runs)));
    return private.ok(private.notice_json(here));
end;
$$;
call private.expose('private', 'settle_notice', 'authenticated');

-- duet_core::ports::NoticeStore::settle
create function public.notice_settle(p_workspace uuid, p_id uuid, p_action text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.settle_notice(p_workspace, p_id, p_action)
$$;
call private.expose('public', 'notice_settle', 'authenticated');
