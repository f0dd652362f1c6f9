-- Every member of a workspace reads what its runs ask.
-- class: row level security itself
-- found by: matrix
drop policy request_read on duet.request;
create policy request_read on duet.request for select to authenticated
    using (workspace_id = any (array(select private.my_workspaces())));
