-- Revoking a key checks neither its owner nor whether the caller is in that workspace.
-- class: other workspaces
-- found by: hostile
-- through: revoke_key key_revoke
create or replace function private.revoke_key(workspace uuid, key uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    update duet.api_key k set revoked_at = private.now() where k.workspace_id = workspace and k.id = key;
    return private.refused('not_found');
end;
$$;
