-- A function takes the actor from an argument, so callers write audit entries in other people's names.
-- class: append-only and audit
-- found by: hostile
-- through: note
create function private.note(workspace uuid, person uuid, action text) returns void
language sql volatile security definer set search_path = '' as $$
    select private.record_audit(workspace, person, null, action, 'x', 'done', '{}')
$$;
call private.expose('private', 'note', 'authenticated');
