-- An address may have two open invitations to a workspace.
-- class: keys across workspaces
-- found by: rule 19_unique
drop index duet.invitation_pending;
create index invitation_pending on duet.invitation (workspace_id, email) where accepted_at is null and revoked_at is null;
