-- A person clears labels (duet_core::domain::LabelEdit): of their own message, or of a memory that they may edit, each separately.
-- The labels of runs stay: a run that has read the text has read it, and a later reader finds it as it is then.

-- Label names, for the audit log.
create function private.label_names(labels int) returns jsonb
language sql immutable set search_path = '' as $$
    select coalesce(jsonb_agg(l.name order by l.bit), '[]')
    from (values (1, 'integrity'), (2, 'egress'), (4, 'sensitive'), (8, 'others')) as l (bit, name)
    where labels & l.bit <> 0
$$;
call private.expose('private', 'label_names');

create function private.clear_my_message(workspace uuid, message uuid, wanted int) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    here duet.message;
    cleared int;
begin
    if (wanted between 1 and 15) is not true then
        return private.refused('no_label');
    end if;
    select * into here from duet.message m where m.workspace_id = workspace and m.id = message and m.user_id = me;
    -- The conversation is locked as for a turn: a run either exists by now, or reads the cleared text.
    if not found or current_setting('role', true) = 'duet_agent'
       or not exists (select from private.my_conversation(workspace, here.conversation_id)) then
        return private.refused('not_found');
    elsif exists (select from duet.run r
                  where r.workspace_id = workspace and r.conversation_id = here.conversation_id
                    and r.active and (r.message_id = message or r.reply_id = message)) then
        return private.refused('reply_active');
    end if;
    select * into here from duet.message m where m.workspace_id = workspace and m.id = message and m.user_id = me for update;
    if not found then
        return private.refused('not_found');
    elsif here.status = 'redacted' then
        return private.refused('redacted', '{"what": "message"}');
    end if;
    cleared := here.labels & wanted;
    if cleared <> 0 then
        update duet.message m set labels = m.labels & ~wanted where m.workspace_id = workspace and m.id = message returning m.* into here;
        perform private.audit(workspace, 'message.clear_label', 'message:' || message, 'done',
                              jsonb_build_object('labels', private.label_names(cleared)));
    end if;
    return private.ok(private.message_json(here));
end;
$$;
call private.expose('private', 'clear_my_message', 'authenticated');

-- duet_core::ports::ConversationStore::clear_labels
create function public.message_clear_labels(p_workspace uuid, p_id uuid, p_labels int) returns jsonb
language sql volatile set search_path = '' as $$
    select private.clear_my_message(p_workspace, p_id, p_labels)
$$;
call private.expose('public', 'message_clear_labels', 'authenticated');

-- Unsealing a memory requires its text and index terms from the caller, because the database cannot open sealed text. So only the
-- memory's own person may do it: nobody else can put words into it.
create function private.clear_my_memory(workspace uuid, memory uuid, wanted int, opened text, opened_terms jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    locked record;
    mine duet.memory;
    kind duet.memory_class;
    cleared int;
    vector record;
begin
    if (wanted between 1 and 7) is not true then
        return private.refused('no_label_of_memory');
    end if;
    select * into locked from private.lock_my_memory(workspace, memory);
    if locked.refusal is not null then
        return locked.refusal;
    end if;
    mine := locked.mine;
    kind := locked.class;
    if mine.redacted_at is not null then
        return private.refused('redacted', '{"what": "memory"}');
    end if;
    cleared := wanted & ((mine.taint = 'untrusted')::int + (kind.egress = 'local_only')::int * 2 + mine.sensitive::int * 4);
    if cleared = 0 then
        return private.ok(private.memory_json(mine, kind));
    elsif cleared & 4 <> 0 and mine.user_id <> (select auth.uid()) then
        return private.refused('others_text');
    elsif cleared & 4 <> 0 and exists (select from duet.memory o
                                       where o.workspace_id = workspace and o.id = mine.supersedes and o.user_id <> mine.user_id) then
        return private.refused('replaced_others');
    elsif cleared & 4 <> 0 and (octet_length(opened) <= 16384 and opened ~ '\S' and private.are_terms(opened_terms)) is not true then
        return private.refused('unsealed_text');
    end if;
    perform private.audit(workspace, 'memory.clear_label', 'memory:' || memory, 'done',
                          jsonb_build_object('labels', private.label_names(cleared)));
    select * into vector from private.withdraw(mine);
    insert into duet.memory_class as c (workspace_id, owner, domain, egress)
    values (workspace, kind.owner, kind.domain, case when cleared & 2 <> 0 then 'any' else kind.egress end)
    on conflict (workspace_id, owner, domain, egress) do update set documents = c.documents
    returning c.* into kind;
    update duet.memory m
    set class = kind.key,
        taint = case when cleared & 1 <> 0 then 'trusted' else m.taint end,
        sensitive = m.sensitive and cleared & 4 = 0,
        text = case when cleared & 4 <> 0 then opened else m.text end,
        terms = case when cleared & 4 <> 0 then opened_terms else m.terms end,
        sealed = case when cleared & 4 = 0 then m.sealed end
    where m.workspace_id = workspace and m.id = memory
    returning m.* into mine;
    perform private.bring_back(mine, vector.name, vector.vector);
    return private.ok(private.memory_json(mine, kind));
end;
$$;
call private.expose('private', 'clear_my_memory', 'authenticated');

-- duet_core::ports::MemoryStore::clear_labels; `p_labels` are the bits of the labels to clear.
create function public.memory_clear_labels(p_workspace uuid, p_id uuid, p_labels int, p_text text, p_terms jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select private.clear_my_memory(p_workspace, p_id, p_labels, p_text, p_terms)
$$;
call private.expose('public', 'memory_clear_labels', 'authenticated');
