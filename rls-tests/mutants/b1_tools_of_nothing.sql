-- The tools of an agent may have a hole in their list, which nobody can read back.
-- class: broken requests
-- found by: silence
-- through: agent_edit
do $$
declare
    bound record;
begin
    for bound in
        select c.conname from pg_constraint c
        where c.conrelid = 'duet.agent'::regclass and pg_get_constraintdef(c.oid) like '%array_position%'
    loop
        execute format('alter table duet.agent drop constraint %I', bound.conname);
    end loop;
end;
$$
