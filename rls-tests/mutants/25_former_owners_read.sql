-- Invitations are visible to people who joined with one, even after they left the workspace.
-- class: changed roles
-- found by: matrix
drop policy invitation_read on duet.invitation;
create policy invitation_read on duet.invitation for select to authenticated
    using (workspace_id = any (array(select private.my_own_workspaces())) or accepted_by = (select auth.uid()));
