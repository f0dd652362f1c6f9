-- An exclusion constraint compares conversation ids across all workspaces.
-- class: keys across workspaces
-- found by: rule 07_keys
alter table duet.conversation add constraint conversation_excluded exclude using btree (id with =);
