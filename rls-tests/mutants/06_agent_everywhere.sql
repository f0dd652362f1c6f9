-- An agent is in all of its person's workspaces, not only in its run's.
-- class: agents
-- found by: matrix
create or replace function private.my_workspaces() returns setof uuid
language sql stable security definer set search_path = '' as $$
    select m.workspace_id from duet.member m where m.user_id = (select auth.uid())
$$;
