-- Everybody may read any table that is added to the schema later.
-- class: grants and roles
-- found by: rule 06_grants
alter default privileges in schema duet grant select on tables to authenticated;
