-- Workspaces may be renamed by people directly, without a record, and the policy does not check what is written.
-- class: rows put in
-- found by: rule 12_policies_for_roles
grant update (name) on duet.workspace to authenticated;
create policy workspace_rename on duet.workspace for update to authenticated
    using (id = any (array(select private.my_own_workspaces()))) with check (true);
