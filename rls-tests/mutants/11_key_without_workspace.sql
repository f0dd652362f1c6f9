-- A key is unique over all workspaces: a taken one tells that somebody else has it.
-- found by: tells
alter table duet.conversation add constraint conversation_id_once unique (id);
