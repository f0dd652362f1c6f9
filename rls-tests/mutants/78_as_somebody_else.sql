-- The author named on a memory is not compared with its writer.
-- class: rows put in
-- found by: inserts
drop policy memory_insert on duet.memory;
create policy memory_insert on duet.memory for insert to authenticated
    with check (class = any (array(select private.my_classes('write_memory')))
                and from_user = user_id and from_agent is null and from_run is null and review = 'accepted');
