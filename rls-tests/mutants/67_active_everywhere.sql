-- One active run per conversation id, whatever the workspace.
-- class: keys across workspaces
-- found by: rule 07_keys
drop index duet.run_one_active;
create unique index run_one_active on duet.run (conversation_id) where claimable and holds;
