-- An owner reads what runs ask of their own people.
-- class: row level security itself
-- found by: matrix
drop policy request_read on duet.request;
create policy request_read on duet.request for select to authenticated
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces()))
           or workspace_id = any (array(select private.my_own_workspaces())));
