-- A policy compares the run's id with itself instead of the workspace's.
-- class: row level security itself
-- found by: matrix
drop policy conversation_read on duet.conversation;
create policy conversation_read on duet.conversation for select to authenticated, duet_agent
    using (user_id = (select auth.uid()) and workspace_id in (select m.workspace_id from duet.member m where m.workspace_id = conversation.workspace_id)
           or agent_id = id and workspace_id = any (array(select private.my_workspaces())) or user_id = (select auth.uid()));
