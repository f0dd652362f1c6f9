-- Whoever holds an invitation comes in by it, whatever their address.
-- found by: hostile
do $$
declare
    body text := pg_get_functiondef('private.accept_invitation'::regproc);
    narrow text := 'elsif here.email <> address then';
begin
    if position(narrow in body) = 0 then
        raise exception 'this hole can no longer be made in this way';
    end if;
    execute replace(body, narrow, 'elsif false then');
end;
$$;
