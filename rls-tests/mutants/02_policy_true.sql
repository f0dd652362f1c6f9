-- A second policy for conversations lets everything through.
-- found by: matrix
create policy conversation_all on duet.conversation for select to authenticated using (true);
