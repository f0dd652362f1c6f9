-- An agent sees the address of everybody, not only of those who are in its workspace.
-- class: agents
-- found by: matrix
drop policy account_read_by_agent on duet.account;
create policy account_read_by_agent on duet.account for select to duet_agent using (true);
