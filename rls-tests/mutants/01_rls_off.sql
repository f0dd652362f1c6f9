-- Row level security is off on the table of messages: everybody reads everybody's.
-- class: row level security itself
-- found by: rule 01_row_level_security
alter table duet.message disable row level security;
