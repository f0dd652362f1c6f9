-- People write audit entries directly.
-- class: append-only and audit
-- found by: matrix
grant insert on duet.audit_entry to authenticated;
create policy audit_entry_write on duet.audit_entry for insert to authenticated
    with check (workspace_id = any (array(select private.my_workspaces())));
