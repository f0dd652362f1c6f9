-- A constraint excludes conversations of one id in all workspaces.
-- class: keys across workspaces
-- found by: rule 07_keys
alter table duet.conversation add constraint conversation_excluded exclude using btree (id with =);
