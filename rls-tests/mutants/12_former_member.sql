-- Former members of a workspace still see what they wrote there.
-- class: other workspaces
-- found by: matrix
drop policy message_read on duet.message;
create policy message_read on duet.message for select to authenticated, duet_agent
    using (user_id = (select auth.uid()));
