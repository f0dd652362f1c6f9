-- The right to read a class is enough to write into it.
-- class: rows put in
-- found by: inserts
create policy memory_insert_more on duet.memory for insert to duet_agent
    with check (class = any (array(select private.my_classes('read_memory')))
                and user_id = (select auth.uid()) and from_user = user_id
                and from_agent = nullif((select current_setting('duet.agent_id', true)), '')::uuid
                and from_run = nullif((select current_setting('duet.run_id', true)), '')::uuid
                and review = 'accepted' and taint = 'trusted');
