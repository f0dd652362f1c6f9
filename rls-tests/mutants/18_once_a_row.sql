-- A policy looks up the workspaces once per row.
-- class: row level security itself
-- found by: rule 11_policies_once
drop policy agent_read on duet.agent;
create policy agent_read on duet.agent for select to authenticated, duet_agent
    using (workspace_id in (select private.my_workspaces()) and auth.uid() is not null);
