-- A conversation may name an agent of another workspace.
-- class: keys across workspaces
-- found by: rule 08_foreign_keys
alter table duet.agent add constraint agent_id_once unique (id);
alter table duet.conversation add constraint conversation_agent foreign key (agent_id) references duet.agent (id);
