-- A view on messages in a schema of its own, readable by people.
-- class: objects anywhere
-- found by: rule 17_nothing_elsewhere
create schema reports;
create view reports.usage with (security_invoker = off) as
    select workspace_id, user_id, max(text) as latest from duet.message group by 1, 2;
grant usage on schema reports to authenticated;
grant select on reports.usage to authenticated;
