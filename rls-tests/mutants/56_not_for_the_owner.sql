-- Row level security does not bind the owner of one table.
-- class: row level security itself
-- found by: rule 01_row_level_security
alter table duet.memory_tombstone no force row level security;
