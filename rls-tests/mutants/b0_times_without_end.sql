-- A memory may have happened at any time, even at infinity, which no answer can represent.
-- class: broken requests
-- found by: silence
-- through: memory_remember
do $$
declare
    bound record;
begin
    for bound in
        select c.conname from pg_constraint c
        where c.conrelid = 'duet.memory'::regclass and pg_get_constraintdef(c.oid) like '%is_time%'
    loop
        execute format('alter table duet.memory drop constraint %I', bound.conname);
    end loop;
end;
$$
