-- Whatever table the schema gets next is everybody's to read.
-- class: grants and roles
-- found by: rule 06_grants
alter default privileges in schema duet grant select on tables to authenticated;
