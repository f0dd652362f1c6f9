-- Cancelling a run answers differently for somebody else's run and for one that does not exist.
-- class: members of one workspace
-- found by: tells
-- through: run_cancel
create or replace function private.cancel_run(workspace uuid, run uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    if exists (select from duet.run r where r.workspace_id = workspace and r.id = run and r.user_id <> (select auth.uid())) then
        return private.refused('owners_only');
    end if;
    return private.refused('not_found');
end;
$$;
