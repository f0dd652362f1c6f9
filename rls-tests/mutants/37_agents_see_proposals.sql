-- An agent sees memories that nobody has accepted yet.
-- class: rows in every state
-- found by: matrix
drop policy memory_read_by_agent on duet.memory;
create policy memory_read_by_agent on duet.memory for select to duet_agent
    using (class = any (array(select private.my_classes('read_memory')))
           and (live or review = 'proposed') and (expires_at is null or expires_at > (select private.now())));
