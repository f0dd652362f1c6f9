-- People still see working memories after they expire.
-- class: rows in every state
-- found by: matrix
drop policy memory_read on duet.memory;
create policy memory_read on duet.memory for select to authenticated
    using (class = any (array(select private.my_classes('read_memory'))));
