-- An agent clears the labels of what it has read.
-- class: agents
-- found by: reach
create or replace function private.clear_my_message(workspace uuid, message uuid, wanted int) returns jsonb
language sql volatile security definer set search_path = '' as $$
    update duet.message m set labels = m.labels & ~wanted
    where m.workspace_id = workspace and m.id = message and m.user_id = (select auth.uid());
    select private.ok('null')
$$;
grant execute on function private.clear_my_message, public.message_clear_labels to duet_agent;
