-- A key is unique across all workspaces: a taken one reveals that somebody else has it.
-- class: keys across workspaces
-- found by: tells
-- through: conversation_create
alter table duet.conversation add constraint conversation_id_once unique (id);
