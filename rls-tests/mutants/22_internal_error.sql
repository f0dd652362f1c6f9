-- A function fails on unexpected input and shows the database's own message.
-- class: broken requests
-- found by: hostile
-- through: workspace_read
create or replace function public.workspace_read(p_workspace uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    here duet.workspace;
begin
    select * into strict here from duet.workspace w where w.id = p_workspace;
    return private.ok(private.workspace_json(here));
end;
$$;
