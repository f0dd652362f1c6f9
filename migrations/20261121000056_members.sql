-- How people leave a workspace, and change roles in it.

-- Serialises changes of membership, so that two owners cannot remove each other: the second is checked again. Only members take the
-- lock, so that nobody else can hold up a workspace, or learn that it exists.
create function private.hold_members(workspace uuid) returns void
language sql volatile set search_path = '' as $$
    select from duet.workspace w where w.id = workspace and private.my_role(workspace) is not null for no key update
$$;
call private.expose('private', 'hold_members');

-- Whether the person is the only owner, who has to stay: nobody else could invite, or appoint another.
create function private.is_last_owner(workspace uuid, person uuid) returns boolean
language sql stable set search_path = '' as $$
    select exists (select from duet.member m where m.workspace_id = workspace and m.user_id = person and m.role = 'owner')
       and not exists (select from duet.member m where m.workspace_id = workspace and m.user_id <> person and m.role = 'owner')
$$;
call private.expose('private', 'is_last_owner');

-- Revokes the invitations with which a person could come back in, or let others in, after losing that right.
create function private.revoke_invitations(workspace uuid, person uuid) returns void
language sql volatile set search_path = '' as $$
    update duet.invitation i set revoked_at = private.now()
    where i.workspace_id = workspace and i.accepted_at is null and i.revoked_at is null
      and (i.created_by = person or i.email = (select a.email from duet.account a where a.id = person))
$$;
call private.expose('private', 'revoke_invitations');

create function private.remove_member(workspace uuid, person uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    refusal jsonb;
    here duet.run;
begin
    perform private.hold_members(workspace);
    refusal := private.unless_owner(workspace);
    if refusal is not null and not (person = me and private.my_role(workspace) is not null) then
        return refusal;
    elsif not exists (select from duet.member m where m.workspace_id = workspace and m.user_id = person) then
        return private.refused('not_found');
    elsif private.is_last_owner(workspace, person) then
        return private.refused('last_owner');
    end if;
    -- Before the row is deleted: a leaving member writes the entry while still a member.
    perform private.audit(workspace, case when person = me then 'member.leave' else 'member.remove' end, 'user:' || person);
    -- Runs before members, as where they are claimed.
    perform from duet.run r
    where r.workspace_id = workspace and r.user_id = person and r.active order by r.id for no key update;
    -- Turns that are being started lock this row, so none slips through.
    delete from duet.member m where m.workspace_id = workspace and m.user_id = person;
    update duet.api_key k set revoked_at = private.now()
    where k.workspace_id = workspace and k.user_id = person and k.revoked_at is null;
    perform private.revoke_invitations(workspace, person);
    for here in
        select r.* from duet.run r
        where r.workspace_id = workspace and r.user_id = person and r.active
        order by r.id for no key update
    loop
        perform private.park_run(here, 'The person who started it is no longer a member of this workspace.');
    end loop;
    return private.ok('null');
end;
$$;
call private.expose('private', 'remove_member', 'authenticated');

-- duet_core::ports::WorkspaceStore::remove_member
create function public.workspace_remove_member(p_workspace uuid, p_user uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.remove_member(p_workspace, p_user)
$$;
call private.expose('public', 'workspace_remove_member', 'authenticated');

create function private.change_role(workspace uuid, person uuid, new_role text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb;
    answer jsonb;
begin
    perform private.hold_members(workspace);
    refusal := private.unless_owner(workspace);
    if refusal is not null then
        return refusal;
    elsif new_role is null or new_role not in ('owner', 'member') then
        return private.refused('role');
    elsif not exists (select from duet.member m where m.workspace_id = workspace and m.user_id = person) then
        return private.refused('not_found');
    elsif new_role <> 'owner' and private.is_last_owner(workspace, person) then
        return private.refused('last_owner');
    elsif new_role = 'owner' and not private.signed_in_recently() then
        -- An owner appointed with an old sign-in in the wrong hands would outlast it.
        return private.refused('sign_in_again');
    end if;
    -- Runs before members, as where they are claimed.
    perform from duet.run r
    where r.workspace_id = workspace and r.user_id = person and r.active order by r.id for no key update;
    update duet.member m set role = new_role where m.workspace_id = workspace and m.user_id = person and m.role <> new_role;
    if found then
        perform private.audit(workspace, 'member.role', 'user:' || person, 'done', jsonb_build_object('role', new_role));
        perform private.change_role_of_runs(workspace, person);
        if new_role <> 'owner' then
            perform private.revoke_invitations(workspace, person);
        end if;
    end if;
    select private.ok(private.member_json(m, a)) into strict answer
    from duet.member m join duet.account a on a.id = m.user_id where m.workspace_id = workspace and m.user_id = person;
    return answer;
end;
$$;
call private.expose('private', 'change_role', 'authenticated');

-- duet_core::ports::WorkspaceStore::change_role
create function public.workspace_change_role(p_workspace uuid, p_user uuid, p_role text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.change_role(p_workspace, p_user, p_role)
$$;
call private.expose('public', 'workspace_change_role', 'authenticated');
