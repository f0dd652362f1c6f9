-- The key of classes allows a workspace two identical classes of shared memories.
-- class: keys across workspaces
-- found by: rule 07_keys
alter table duet.memory_class drop constraint memory_class_workspace_id_owner_domain_egress_key,
    add unique (workspace_id, owner, domain, egress);
