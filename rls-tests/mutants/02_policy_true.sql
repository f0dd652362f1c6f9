-- A second policy for conversations lets everything through.
-- class: row level security itself
-- found by: matrix
create policy conversation_all on duet.conversation for select to authenticated using (true);
