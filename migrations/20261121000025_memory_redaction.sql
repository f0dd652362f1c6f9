-- duet_core::ports::MemoryStore::redact (M8): a memory's text goes from everywhere it went, by one definer function that asks again
-- whose memory it is. What is overwritten leaves the files of the database with the next vacuum.

-- Takes the title off a conversation where it was made from this message.
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

create function private.redact_my_memory(workspace uuid, memory uuid, redaction uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    locked record;
    here duet.memory;
    memories uuid[] := '{}';
    messages uuid[] := '{}';
    runs uuid[] := '{}';
    replies uuid[];
    one uuid;
    vector record;
    step bigint;
    removed_memory bigint := 0;
    removed_text bigint := 0;
    removed_vectors bigint := 0;
    removed_codes bigint := 0;
    removed_messages bigint;
    removed_replies bigint;
    removed_titles bigint := 0;
    removed_payloads bigint;
    removed_outbox bigint;
    removed_keys bigint;
    receipt jsonb;
begin
    select * into locked from private.lock_my_memory(workspace, memory);
    if locked.refusal is not null then
        return locked.refusal;
    end if;
    select t.receipt into receipt from duet.memory_tombstone t where t.workspace_id = workspace and t.memory_id = memory;
    if found then
        return private.ok(receipt);
    end if;

    -- Follows the text: the memories that this one superseded, the messages they came from, the runs that wrote or knew them.
    here := locked.mine;
    loop
        memories := memories || here.id;
        -- A message of another person cannot be named as the source to have it emptied.
        messages := messages || array(
            select m.id from duet.message m
            where m.workspace_id = workspace and m.id = here.from_message and m.user_id = here.user_id
            union
            select r.message_id from duet.run r where r.workspace_id = workspace and r.id = here.from_run);
        -- What names the memory may quote it. Mentions are written with the events; payloads are looked through as well, so that one
        -- event without its mention does not keep the text: those of its author's runs alone, because a person chooses the id of a
        -- memory, and could choose one that other people's runs name for another reason.
        runs := runs || array(
            select r.id from duet.run r where r.workspace_id = workspace and r.id = here.from_run
            union
            select n.run_id from duet.run_event_mention n where n.workspace_id = workspace and n.memory_id = here.id
            union
            select p.run_id from duet.run_event_payload p
            join duet.run r on r.workspace_id = p.workspace_id and r.id = p.run_id and r.user_id = here.user_id
            where p.workspace_id = workspace and position(here.id::text in p.payload) > 0);
        exit when here.supersedes is null;
        select m.* into strict here from duet.memory m where m.workspace_id = workspace and m.id = here.supersedes for update;
    end loop;
    messages := array(select distinct m from unnest(messages) m order by m);
    runs := array(select distinct r from unnest(runs) r order by r);
    perform from duet.run r where r.workspace_id = workspace and r.id = any (runs) order by r.id for update;
    select r.id into one from duet.run r
    where r.workspace_id = workspace and r.id = any (runs) and r.status in ('queued', 'running') order by r.id limit 1;
    if found then
        return private.refused('conflict', format(
            'A reply that knows this memory is being written (run %s). Wait for it, or stop it; then redact again.', one));
    end if;

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
    replies := array(select r.reply_id from duet.run r where r.workspace_id = workspace and r.id = any (runs));
    update duet.message m set text = '', status = 'redacted'
    where m.workspace_id = workspace and m.id = any (replies) and m.status <> 'redacted';
    get diagnostics removed_replies = row_count;
    update duet.run_event_payload p set payload = null, salt = null, redacted_at = at
    where p.workspace_id = workspace and p.run_id = any (runs) and p.payload is not null;
    get diagnostics removed_payloads = row_count;
    delete from duet.run_event_outbox o where o.workspace_id = workspace and o.run_id = any (runs);
    get diagnostics removed_outbox = row_count;
    -- A request's hash would confirm a guess of its text. The key stays taken: sent again, the request does not bring the text back.
    update duet.idempotency_key k set request_hash = decode(repeat('00', 32), 'hex')
    where k.workspace_id = workspace and (k.run_id = any (runs) or k.message_id = any (messages));
    get diagnostics removed_keys = row_count;

    receipt := jsonb_build_object(
        'id', redaction, 'memory_id', memory, 'redacted_by', (select auth.uid()), 'redacted_at', at,
        'removed', (select jsonb_agg(jsonb_build_object('place', p.place, 'count', p.count) order by p.number)
                    from unnest(array['memory', 'full_text', 'vectors', 'vector_codes', 'messages', 'replies', 'titles',
                                      'event_payloads', 'outbox', 'idempotency_keys'],
                                array[removed_memory, removed_text, removed_vectors, removed_codes, removed_messages, removed_replies,
                                      removed_titles, removed_payloads, removed_outbox, removed_keys])
                         with ordinality as p (place, count, number)));
    insert into duet.memory_tombstone
    select workspace, gone, redaction, (select auth.uid()), at,
           jsonb_build_object('id', redaction, 'workspace_id', workspace, 'memory_id', gone, 'messages', to_jsonb(messages),
                              'runs', to_jsonb(runs), 'redacted_by', (select auth.uid()), 'redacted_at', at),
           receipt
    from unnest(memories) gone
    on conflict do nothing;
    get diagnostics step = row_count;
    perform private.audit(workspace, 'memory.redact', 'memory:' || memory, 'done',
                          jsonb_build_object('receipt', redaction, 'memories', step));
    return private.ok(receipt);
end;
$$;
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
