-- duet_core::ports::ConversationStore::delete: removes a conversation's text from every place that holds it, in one definer function
-- that checks ownership again. The hash chains of its runs stay. Deleted text leaves the database's files with the next vacuum.

create function private.delete_conversation(workspace uuid, conversation uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    runs uuid[];
    removed bigint;
begin
    -- Locked: a turn either exists by now, or finds no conversation.
    if not exists (select from private.my_conversation(workspace, conversation)) then
        return private.refused('not_found');
    end if;
    perform from duet.run r where r.workspace_id = workspace and r.conversation_id = conversation order by r.id for update;
    if exists (select from duet.run r where r.workspace_id = workspace and r.conversation_id = conversation and r.claimable) then
        return private.refused('reply_active');
    end if;
    perform private.end_waiting(r, null) from duet.run r
    where r.workspace_id = workspace and r.conversation_id = conversation and r.status = 'waiting';
    runs := array(select r.id from duet.run r where r.workspace_id = workspace and r.conversation_id = conversation);
    update duet.run r set reason = null where r.workspace_id = workspace and r.id = any (runs) and r.reason is not null;
    update duet.run_event_payload p set payload = null, salt = null, redacted_at = at
    where p.workspace_id = workspace and p.run_id = any (runs) and p.payload is not null;
    perform private.redact_requests(workspace, runs, at);
    delete from duet.run_event_outbox o where o.workspace_id = workspace and o.run_id = any (runs);
    delete from duet.idempotency_key k where k.workspace_id = workspace and k.run_id = any (runs);
    delete from duet.message m where m.workspace_id = workspace and m.conversation_id = conversation;
    get diagnostics removed = row_count;
    update duet.conversation c set title = '', head_id = null, deleted_at = at where c.workspace_id = workspace and c.id = conversation;
    perform private.audit(workspace, 'conversation.delete', 'conversation:' || conversation, 'done',
                          jsonb_build_object('messages', removed, 'runs', cardinality(runs)));
    return private.ok('null');
end;
$$;
call private.expose('private', 'delete_conversation', 'authenticated');

create function public.conversation_delete(p_workspace uuid, p_id uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.delete_conversation(p_workspace, p_id)
$$;
call private.expose('public', 'conversation_delete', 'authenticated');
