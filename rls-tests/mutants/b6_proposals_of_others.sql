-- A proposal can be made in anybody's name.
-- class: rows put in
-- found by: inserts
drop policy memory_insert on duet.memory;
create policy memory_insert on duet.memory for insert to authenticated
    with check (class = any (array(select private.my_classes('write_memory'))) and from_agent is null and from_run is null
                and (user_id = (select auth.uid()) and from_user = user_id and review = 'accepted'
                     or review = 'proposed' and supersedes is not null));
