-- What people do with runs: start one, have a message answered again, stop one. The events are built here from checked arguments;
-- nobody can append an event of their own.

create function private.receipt_json(run duet.run) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object('message_id', run.message_id, 'run_id', run.id, 'reply_id', run.reply_id)
$$;
call private.expose('private', 'receipt_json');

-- A title made from the first message: the beginning of its first non-empty line.
create function private.made_title(content text) returns text
language sql immutable set search_path = '' as $$
    select coalesce((
        select case when char_length(line) <= 60 then line
                    else regexp_replace(left(line, 59), '\s+$', '') || '…' end
        from (select regexp_replace(l, '^\s+|\s+$', '', 'g') as line, place
              from regexp_split_to_table(left(content, 8192), '\n') with ordinality as t (l, place)) lines
        where line <> '' order by place limit 1), '')
$$;
call private.expose('private', 'made_title');

-- The limits of a turn with exactly the known fields; null for anything else or for absurd values.
create function private.known_turn_limits(limits jsonb) returns jsonb
language sql immutable set search_path = '' as $$
    select case when count(*) = 11 then jsonb_object_agg(field, limits -> field) end
    from (values ('max_steps', 1000), ('max_identical_calls', 1000), ('max_tokens', 100000000), ('max_attempts', 100),
                 ('max_output_tokens', 10000000), ('max_reply_bytes', 1000000), ('max_argument_bytes', 1000000),
                 ('max_calls_per_reply', 1000), ('max_calls', 10000), ('max_memories', 1000), ('max_seconds', 86400)) as known (field, most)
    where limits ->> field ~ '^[0-9]{1,9}$' and jsonb_typeof(limits -> field) = 'number' and (limits ->> field)::int <= most
$$;
call private.expose('private', 'known_turn_limits');

-- The limits a turn gets: those requested, capped by the operator's. Until a process has set the operator's, the defaults of
-- duet_core::domain::TurnLimits apply.
create function private.turn_limits(limits jsonb) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_object_agg(asked.field, least(asked.value::int, (allowed.limits ->> asked.field)::int))
    from jsonb_each_text(private.known_turn_limits(limits)) as asked (field, value),
         (select coalesce((select i.turn_limits from duet.installation i),
                          '{"max_steps": 8, "max_identical_calls": 2, "max_tokens": 200000, "max_attempts": 4, "max_output_tokens": 4096,
                            "max_reply_bytes": 262144, "max_argument_bytes": 65536, "max_calls_per_reply": 16, "max_calls": 64,
                            "max_memories": 16, "max_seconds": 900}')
                 as limits) allowed
$$;
call private.expose('private', 'turn_limits');

-- Queues a run with its first event. The caller has locked the conversation and found it free.
create function private.queue_run(
    conversation duet.conversation, message uuid, run uuid, reply uuid, prefix text, prefix_labels int, continues uuid, limits jsonb
) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
    queued duet.run;
    at timestamptz := private.now();
    answering uuid := conversation.agent_id;
begin
    if not exists (select from duet.agent a
                   where a.workspace_id = conversation.workspace_id and a.id = conversation.agent_id and a.active) then
        answering := coalesce(private.answering_agent(conversation.workspace_id), conversation.agent_id);
    end if;
    insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, labels, created_at, updated_at)
    values (conversation.workspace_id, run, conversation.user_id, conversation.id, message, reply, answering, 'queued', prefix_labels, at, at)
    returning * into queued;
    update duet.message m set run_id = run where m.workspace_id = conversation.workspace_id and m.id = message;
    perform private.append_events(queued, private.made_event('started', jsonb_build_object(
        'type', 'started', 'agent_id', answering, 'message_id', message, 'reply_id', reply, 'prefix', prefix, 'continues', continues,
        'limits', limits, 'labels', private.labels_json(prefix_labels))));
    perform private.hint_queued(conversation.workspace_id);
    perform private.hint_changed(conversation.workspace_id, conversation.user_id, 'runs');
    return private.ok(private.receipt_json(queued));
end;
$$;
call private.expose('private', 'queue_run');

-- A conversation of the caller, locked so that turns follow one another; the membership is locked too, so that a turn either exists
-- when the membership ends (and is ended with it) or never begins.
create function private.my_conversation(workspace uuid, conversation uuid) returns setof duet.conversation
language sql volatile set search_path = '' as $$
    select c.* from duet.conversation c
    join duet.member m on m.workspace_id = c.workspace_id and m.user_id = c.user_id
    where c.workspace_id = workspace and c.id = conversation and c.user_id = (select auth.uid()) and c.deleted_at is null
      and workspace in (select private.my_workspaces())
    for no key update of c for key share of m
$$;
call private.expose('private', 'my_conversation');

-- Shows the branch that ends with this message, or nothing of the conversation. The caller has locked it.
create function private.move_head(here duet.conversation, head uuid) returns duet.conversation
language plpgsql volatile set search_path = '' as $$
begin
    with recursive path (id, parent_id) as (
        select m.id, m.parent_id from duet.message m where m.workspace_id = here.workspace_id and m.id = head
        union
        select m.id, m.parent_id from path p join duet.message m on m.workspace_id = here.workspace_id and m.id = p.parent_id)
    update duet.message m set aside = not m.aside
    where m.workspace_id = here.workspace_id and m.conversation_id = here.id
      and m.aside = exists (select from path p where p.id = m.id);
    update duet.conversation c set head_id = head where c.workspace_id = here.workspace_id and c.id = here.id
    returning c.* into here;
    return here;
end;
$$;
call private.expose('private', 'move_head');

-- `follows` is the message that the new one comes after, and `instead` one of the person's that it is another version of; without
-- either it comes after the newest one that is shown.
create function private.start_turn(
    workspace uuid, conversation uuid, message uuid, run uuid, reply uuid, content text, follows uuid, instead uuid, idempotency text,
    limits jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    at timestamptz := private.now();
    request bytea := private.hash_of('duet.request.v1'::bytea, uuid_send(conversation), convert_to(content, 'UTF8'),
                                     coalesce(uuid_send(follows), ''), coalesce(uuid_send(instead), ''));
    bounds jsonb := private.turn_limits(limits);
    here duet.conversation;
    known duet.idempotency_key;
    sent duet.message;
    first duet.run;
    place duet.message;
    before uuid;
    answer jsonb;
begin
    if content !~ '\S' then
        return private.refused('message_empty');
    elsif octet_length(content) > 65536 then
        return private.refused('message_length', jsonb_build_object('most', 65536, 'has', octet_length(content)));
    elsif length(idempotency) not between 1 and 200 then
        return private.refused('key_length');
    elsif bounds is null then
        return private.refused('turn_limits');
    elsif follows is not null and instead is not null then
        return private.refused('two_places');
    end if;
    select * into here from private.my_conversation(workspace, conversation);
    if not found then
        return private.refused('not_found');
    end if;
    select * into known from duet.idempotency_key k
    where k.workspace_id = workspace and k.user_id = me and k.key = idempotency and k.expires_at > at;
    if found and known.request_hash = request then
        return private.ok(jsonb_build_object('message_id', known.message_id, 'run_id', known.run_id, 'reply_id', known.reply_id));
    elsif found then
        return private.refused('key_reused');
    end if;
    select * into sent from duet.message m where m.workspace_id = workspace and m.id = message;
    if found then
        select * into first from duet.run r
        where r.workspace_id = workspace and r.id = run and r.user_id = me and r.message_id = message
          and sent.conversation_id = conversation and sent.role = 'user' and sent.text = content;
        return case when first.id is null then private.refused('id_taken', '{"what": "message"}')
                    else private.ok(private.receipt_json(first)) end;
    end if;
    if reply = message or exists (select from duet.message m where m.workspace_id = workspace and m.id = reply) then
        return private.refused('id_taken', '{"what": "reply"}');
    end if;
    if exists (select from duet.run r where r.workspace_id = workspace and r.conversation_id = conversation
                                        and r.claimable and r.holds) then
        return private.refused('reply_active');
    end if;
    before := here.head_id;
    if follows is not null or instead is not null then
        select * into place from duet.message m
        where m.workspace_id = workspace and m.id = coalesce(follows, instead) and m.conversation_id = conversation and m.user_id = me;
        if not found then
            return private.refused('no_such_place');
        elsif instead is not null and place.role <> 'user' then
            return private.refused('not_your_message');
        end if;
        before := case when follows is not null then place.id else place.parent_id end;
        if before is distinct from here.head_id then
            perform private.move_head(here, before);
        end if;
    end if;
    update duet.conversation c
    set last_ordinal = c.last_ordinal + 1, head_id = message, updated_at = at,
        title = case when c.title = '' then private.made_title(content) else c.title end
    where c.workspace_id = workspace and c.id = conversation
    returning * into here;
    insert into duet.message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, created_at)
    values (workspace, message, conversation, me, here.last_ordinal, 'user', 'complete', content, before, at);
    answer := private.queue_run(here, message, run, reply, '', 0, null, bounds);
    if idempotency is not null then
        insert into duet.idempotency_key as k values (workspace, me, idempotency, request, message, run, reply, at + interval '48 hours')
        on conflict (workspace_id, user_id, key) do update
        set request_hash = request, message_id = message, run_id = run, reply_id = reply, expires_at = at + interval '48 hours'
        where k.expires_at <= at;
        if not found then
            -- The same key arrived in another conversation at the same moment: retry, so that this one sees it.
            raise exception 'the idempotency key is in use' using errcode = 'serialization_failure';
        end if;
    end if;
    return answer;
end;
$$;
call private.expose('private', 'start_turn', 'authenticated');

-- duet_core::ports::RunStore::start_turn
create function public.run_start_turn(
    p_workspace uuid, p_conversation uuid, p_message uuid, p_run uuid, p_reply uuid, p_text text, p_after uuid, p_instead uuid,
    p_key text, p_limits jsonb
) returns jsonb
language sql volatile set search_path = '' as $$
    select private.start_turn(p_workspace, p_conversation, p_message, p_run, p_reply, p_text, p_after, p_instead, p_key, p_limits)
$$;
call private.expose('public', 'run_start_turn', 'authenticated');

create function private.retry_turn(workspace uuid, message uuid, run uuid, reply uuid, mode text, limits jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    bounds jsonb := private.turn_limits(limits);
    asked duet.message;
    here duet.conversation;
    known duet.run;
    shown duet.message;
    before uuid;
begin
    if mode is null or mode not in ('restart', 'continue') or bounds is null then
        return private.refused('turn_limits');
    end if;
    select * into asked from duet.message m where m.workspace_id = workspace and m.id = message and m.user_id = me;
    if not found then
        return private.refused('not_found');
    end if;
    select * into here from private.my_conversation(workspace, asked.conversation_id);
    if not found then
        return private.refused('not_found');
    end if;
    select * into known from duet.run r where r.workspace_id = workspace and r.id = run and r.user_id = me;
    if found then
        return case when known.message_id = message then private.ok(private.receipt_json(known))
                    else private.refused('id_taken', '{"what": "run"}') end;
    end if;
    if asked.role <> 'user' then
        return private.refused('not_your_message');
    elsif asked.status = 'redacted' then
        return private.refused('nothing_to_answer');
    elsif exists (select from duet.run r where r.workspace_id = workspace and r.conversation_id = here.id
                                           and r.claimable and (r.holds or r.message_id = message)) then
        return private.refused('reply_active');
    elsif mode = 'continue' and (asked.aside or exists (
        select from duet.message m where m.workspace_id = workspace and m.conversation_id = here.id and not m.aside
                                     and m.ordinal > asked.ordinal and m.role = 'user')) then
        return private.refused('moved_on');
    end if;
    select * into shown from duet.message m
    where m.workspace_id = workspace and m.answers_id = message and not m.aside order by m.ordinal desc limit 1;
    -- A refusal is no error: nothing may have been written by then.
    if mode = 'continue' and coalesce(shown.status not in ('stopped', 'limited', 'interrupted'), true) then
        return private.refused('nothing_to_continue');
    elsif mode = 'restart' and exists (select from duet.message m where m.workspace_id = workspace and m.id = reply) then
        return private.refused('id_taken', '{"what": "reply"}');
    end if;
    for known in
        select r.* from duet.run r
        where r.workspace_id = workspace and r.message_id = message and r.status = 'waiting' order by r.id for no key update
    loop
        perform private.end_waiting(known, null);
    end loop;
    if mode = 'continue' then
        return private.queue_run(here, message, run, shown.id, shown.text, shown.labels, shown.run_id, bounds);
    end if;
    -- The new reply is another version of the first that was shown: a run that waited has left more than one.
    before := coalesce((select m.parent_id from duet.message m
                        where m.workspace_id = workspace and m.answers_id = message and not m.aside order by m.ordinal limit 1), message);
    if before is distinct from here.head_id then
        here := private.move_head(here, before);
    end if;
    return private.queue_run(here, message, run, reply, '', 0, null, bounds);
end;
$$;
call private.expose('private', 'retry_turn', 'authenticated');

-- duet_core::ports::RunStore::retry_turn
create function public.run_retry_turn(p_workspace uuid, p_message uuid, p_run uuid, p_reply uuid, p_mode text, p_limits jsonb)
returns jsonb
language sql volatile set search_path = '' as $$
    select private.retry_turn(p_workspace, p_message, p_run, p_reply, p_mode, p_limits)
$$;
call private.expose('public', 'run_retry_turn', 'authenticated');

create function private.show_message(workspace uuid, conversation uuid, message uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.conversation;
    named duet.message;
    newest uuid;
begin
    select * into here from private.my_conversation(workspace, conversation);
    if not found then
        return private.refused('not_found');
    end if;
    select * into named from duet.message m
    where m.workspace_id = workspace and m.id = message and m.conversation_id = conversation and m.user_id = (select auth.uid());
    if not found then
        return private.refused('no_such_place');
    elsif named.aside and exists (select from duet.run r where r.workspace_id = workspace and r.conversation_id = conversation
                                                           and r.claimable and r.holds) then
        return private.refused('reply_active');
    elsif named.aside then
        with recursive below (id, ordinal) as (
            select named.id, named.ordinal
            union
            select m.id, m.ordinal from below b join duet.message m on m.workspace_id = workspace and m.parent_id = b.id)
        select b.id into newest from below b order by b.ordinal desc limit 1;
        here := private.move_head(here, newest);
    end if;
    return private.ok(private.conversation_json(here));
end;
$$;
call private.expose('private', 'show_message', 'authenticated');

-- duet_core::ports::ConversationStore::show
create function public.conversation_show(p_workspace uuid, p_id uuid, p_message uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.show_message(p_workspace, p_id, p_message)
$$;
call private.expose('public', 'conversation_show', 'authenticated');

create function private.cancel_run(workspace uuid, run uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.run;
begin
    select r.* into here from duet.run r
    where r.workspace_id = workspace and r.id = run and r.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces())
    for no key update of r;
    if not found then
        return private.refused('not_found');
    end if;
    if here.active and not exists (
        select from duet.run_event e where e.workspace_id = workspace and e.run_id = run and e.kind = 'cancel') then
        if here.status = 'waiting' or here.status = 'queued' and here.attempt = 0 then
            here := private.end_waiting(here, null);
        else
            perform private.void_requests(here, 'run_stopped');
            here := private.append_events(here, private.made_event('cancel',
                jsonb_build_object('type', 'cancel_requested', 'by', (select auth.uid()))));
        end if;
    end if;
    return private.ok(private.run_json(here));
end;
$$;
call private.expose('private', 'cancel_run', 'authenticated');

create function private.pause_run(workspace uuid, run uuid, pause boolean) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.run;
    paused boolean;
begin
    select r.* into here from duet.run r
    where r.workspace_id = workspace and r.id = run and r.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces())
    for no key update of r;
    if not found then
        return private.refused('not_found');
    elsif not here.active then
        return private.refused('run_ended');
    end if;
    select p.payload::jsonb ->> 'type' = 'pause_requested' into paused
    from duet.run_event e
    join duet.run_event_payload p on p.workspace_id = e.workspace_id and p.run_id = e.run_id and p.seq = e.seq
    where e.workspace_id = workspace and e.run_id = run and e.kind <> 'delta' and e.kind = 'pause'
    order by e.seq desc limit 1;
    if coalesce(paused, false) <> pause then
        here := private.wake_run(here, private.made_event('pause', jsonb_build_object(
            'type', case when pause then 'pause_requested' else 'resume_requested' end, 'by', (select auth.uid()))), false);
    end if;
    return private.ok(private.run_json(here));
end;
$$;
call private.expose('private', 'pause_run', 'authenticated');

-- duet_core::ports::RunStore::pause
create function public.run_pause(p_workspace uuid, p_id uuid, p_pause boolean) returns jsonb
language sql volatile set search_path = '' as $$
    select private.pause_run(p_workspace, p_id, p_pause)
$$;
call private.expose('public', 'run_pause', 'authenticated');

-- duet_core::ports::RunStore::cancel
create function public.run_cancel(p_workspace uuid, p_id uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.cancel_run(p_workspace, p_id)
$$;
call private.expose('public', 'run_cancel', 'authenticated');
