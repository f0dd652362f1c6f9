-- A view runs with its owner's rights.
-- class: objects anywhere
-- found by: rule 05_views
create view duet.recent_message as select workspace_id, id, text from duet.message;
grant select on duet.recent_message to authenticated;
