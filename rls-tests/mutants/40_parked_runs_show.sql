-- A policy lets everybody in the workspace see the runs that somebody has to look at.
-- class: rows in every state
-- found by: matrix
create policy run_review on duet.run for select to authenticated
    using (status in ('needs_review', 'parked') and workspace_id = any (array(select private.my_workspaces())));
