-- The policy of the audit log checks membership of the workspace, not ownership.
-- class: row level security itself
-- found by: matrix
drop policy audit_entry_read on duet.audit_entry;
create policy audit_entry_read on duet.audit_entry for select to authenticated
    using (workspace_id = any (array(select private.my_workspaces())));
