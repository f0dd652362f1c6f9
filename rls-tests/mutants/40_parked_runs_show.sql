-- A policy shows parked runs to every member of the workspace.
-- class: rows in every state
-- found by: matrix
create policy run_review on duet.run for select to authenticated
    using (status in ('needs_review', 'parked') and workspace_id = any (array(select private.my_workspaces())));
