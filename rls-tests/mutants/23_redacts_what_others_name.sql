-- Redaction empties every run that has the memory's id in its log. Who chooses that id empties other people's.
-- found by: hostile
do $$
declare
    body text := pg_get_functiondef('private.redact_my_memory'::regproc);
    narrow text := ' and r.user_id = here.user_id
            where p.workspace_id';
begin
    if position(narrow in body) = 0 then
        raise exception 'this hole can no longer be made in this way';
    end if;
    execute replace(body, narrow, ' where p.workspace_id');
end;
$$;
