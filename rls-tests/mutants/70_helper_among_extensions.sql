-- A security definer function among the extensions, where nobody looks.
-- class: objects anywhere
-- found by: rule 03_definer
create function extensions.peek(person uuid) returns setof text
language sql stable security definer set search_path = '' as $$ select text from duet.message where user_id = person $$;
