-- A workspace's keys are visible to all its members.
-- class: members of one workspace
-- found by: matrix
drop policy api_key_read on duet.api_key;
create policy api_key_read on duet.api_key for select to authenticated
    using (workspace_id = any (array(select private.my_workspaces())));
