-- A row can be moved to another workspace of the same person.
-- class: rows put in
-- found by: rule 10_workspace_stays
grant update (workspace_id) on duet.conversation to authenticated;
create policy conversation_move on duet.conversation for update to authenticated
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())))
    with check (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));
