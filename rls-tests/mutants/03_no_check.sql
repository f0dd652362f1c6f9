-- People may rename workspaces directly, without an audit entry, and the policy does not check the new row.
-- class: rows put in
-- found by: rule 12_policies_for_roles
grant update (name) on duet.workspace to authenticated;
create policy workspace_rename on duet.workspace for update to authenticated
    using (id = any (array(select private.my_own_workspaces()))) with check (true);
