-- An agent sees everybody's address, not only those of its workspace's members.
-- class: agents
-- found by: matrix
drop policy account_read_by_agent on duet.account;
create policy account_read_by_agent on duet.account for select to duet_agent using (true);
