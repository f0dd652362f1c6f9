-- Invitations: how people join a workspace. A link carries the token; only its SHA-256 is kept. An invitation is for one email
-- address, expires, works once and can be revoked.

create table duet.invitation (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    email        text not null check (octet_length(email) between 3 and 254 and email = lower(email) and email ~ '^[^@\s]+@[^@\s]+$'),
    role         text not null check (role in ('owner', 'member')),
    token_hash   bytea not null unique check (length(token_hash) = 32),
    created_by   uuid not null references duet.account (id),
    created_at   timestamptz(3) not null,
    expires_at   timestamptz(3) not null check (expires_at > created_at),
    accepted_at  timestamptz(3),
    accepted_by  uuid references duet.account (id),
    revoked_at   timestamptz(3),
    primary key (workspace_id, id),
    check ((accepted_at is null) = (accepted_by is null)),
    check (accepted_at is null or revoked_at is null)
);
-- An address has at most one open invitation to a workspace.
create unique index invitation_pending on duet.invitation (workspace_id, email) where accepted_at is null and revoked_at is null;
create index invitation_by_time on duet.invitation (workspace_id, created_at, id);
create index invitation_by_maker on duet.invitation (created_by);
create index invitation_by_guest on duet.invitation (accepted_by);
-- Who is invited at all: sign-ups are checked against this.
create index invitation_by_address on duet.invitation (email) where accepted_at is null and revoked_at is null;

call private.seclude('duet.invitation');

grant select on duet.invitation to authenticated;
create policy invitation_read on duet.invitation for select to authenticated
    using (workspace_id = any (array(select private.my_own_workspaces())));

create function private.invitation_status(invitation duet.invitation) returns text
language sql volatile set search_path = '' as $$
    select case when invitation.accepted_at is not null then 'accepted'
                when invitation.revoked_at < invitation.expires_at then 'revoked'
                when invitation.expires_at <= private.now() then 'expired'
                else 'open' end
$$;
call private.expose('private', 'invitation_status', 'authenticated');

create function private.invitation_json(invitation duet.invitation) returns jsonb
language sql volatile set search_path = '' as $$
    select to_jsonb(invitation) - 'token_hash' || jsonb_build_object('status', private.invitation_status(invitation))
$$;
call private.expose('private', 'invitation_json', 'authenticated');

-- Refuses anyone who does not own the workspace.
create function private.unless_owner(workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select case private.my_role(workspace)
        when 'owner' then null
        when 'member' then private.refused('owners_only')
        else private.refused('not_found') end
$$;
call private.expose('private', 'unless_owner', 'authenticated');

create function private.invite(workspace uuid, invitation uuid, address text, new_role text, hash bytea, seconds bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb := private.unless_owner(workspace);
    at timestamptz := private.now();
    guest text := lower(btrim(address));
    made duet.invitation;
begin
    if refusal is not null then
        return refusal;
    elsif guest is null or octet_length(guest) not between 3 and 254 or guest !~ '^[^@\s]+@[^@\s]+$' then
        return private.refused('email');
    elsif new_role is null or new_role not in ('owner', 'member') then
        return private.refused('role');
    elsif seconds is null or seconds not between 3600 and 2592000 then
        return private.refused('invitation_lifetime');
    elsif not private.signed_in_recently() then
        return private.refused('sign_in_again');
    end if;
    -- One invitation per workspace at a time, so that they can be counted.
    perform from duet.workspace w where w.id = workspace for no key update;
    select * into made from duet.invitation i
    where i.workspace_id = workspace and i.id = invitation and i.token_hash = hash and i.created_by = (select auth.uid());
    if found then
        return private.ok(private.invitation_json(made));
    end if;
    if exists (select from duet.member m join duet.account a on a.id = m.user_id
               where m.workspace_id = workspace and a.email = guest) then
        return private.refused('already_member');
    end if;
    -- The link is shown once. If it is lost, a new invitation replaces it and the old link stops working.
    update duet.invitation i set revoked_at = at
    where i.workspace_id = workspace and i.email = guest and i.accepted_at is null and i.revoked_at is null;
    if (select count(*) from duet.invitation i
        where i.workspace_id = workspace and i.accepted_at is null and i.revoked_at is null and i.expires_at > at) >= 100 then
        return private.refused('invitations_full');
    end if;
    insert into duet.invitation (workspace_id, id, email, role, token_hash, created_by, created_at, expires_at)
    values (workspace, invitation, guest, new_role, hash, (select auth.uid()), at, at + seconds * interval '1 second')
    returning * into made;
    perform private.audit(workspace, 'invitation.create', 'invitation:' || invitation, 'done', jsonb_build_object('role', new_role));
    return private.ok(private.invitation_json(made));
end;
$$;
call private.expose('private', 'invite', 'authenticated');

-- duet_core::ports::InvitationStore::create
create function public.invitation_create(
    p_workspace uuid, p_id uuid, p_email text, p_role text, p_token_hash bytea, p_seconds bigint
) returns jsonb
language sql volatile set search_path = '' as $$
    select private.invite(p_workspace, p_id, p_email, p_role, p_token_hash, p_seconds)
$$;
call private.expose('public', 'invitation_create', 'authenticated');

-- duet_core::ports::InvitationStore::list; the cursor is the last invitation's time and id.
create function public.invitation_list(p_workspace uuid, p_before timestamptz, p_before_id uuid, p_limit int) returns jsonb
language sql volatile set search_path = '' as $$
    select coalesce(private.unless_owner(p_workspace), private.ok((
        select coalesce(jsonb_agg(private.invitation_json(row(page.*)::duet.invitation) order by page.created_at desc, page.id desc), '[]')
        from (select i.* from duet.invitation i
              where i.workspace_id = p_workspace and (p_before is null or (i.created_at, i.id) < (p_before, p_before_id))
              order by i.created_at desc, i.id desc limit private.page_size(p_limit)) page)))
$$;
call private.expose('public', 'invitation_list', 'authenticated');

create function private.revoke_invitation(workspace uuid, invitation uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb := private.unless_owner(workspace);
    here duet.invitation;
begin
    if refusal is not null then
        return refusal;
    end if;
    select * into here from duet.invitation i where i.workspace_id = workspace and i.id = invitation for no key update;
    if not found then
        return private.refused('not_found');
    elsif here.accepted_at is not null then
        return private.refused('invitation_accepted');
    elsif here.revoked_at is null then
        update duet.invitation i set revoked_at = private.now() where i.workspace_id = workspace and i.id = invitation
        returning * into here;
        perform private.audit(workspace, 'invitation.revoke', 'invitation:' || invitation);
    end if;
    return private.ok(private.invitation_json(here));
end;
$$;
call private.expose('private', 'revoke_invitation', 'authenticated');

-- duet_core::ports::InvitationStore::revoke
create function public.invitation_revoke(p_workspace uuid, p_id uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.revoke_invitation(p_workspace, p_id)
$$;
call private.expose('public', 'invitation_revoke', 'authenticated');

-- Why an invitation cannot be accepted; null when it can.
create function private.invitation_refusal(invitation duet.invitation) returns jsonb
language sql volatile set search_path = '' as $$
    select case when invitation.id is null then private.refused('not_found') else
        case private.invitation_status(invitation)
            when 'accepted' then private.refused('invitation_used')
            when 'revoked' then private.refused('invitation_revoked')
            when 'expired' then private.refused('invitation_expired')
        end end
$$;
call private.expose('private', 'invitation_refusal');

-- Admits a guest with an invitation whose row is locked and open.
create function private.admit(invitation duet.invitation, guest uuid) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
    at timestamptz := private.now();
begin
    insert into duet.member values (invitation.workspace_id, guest, invitation.role, at) on conflict do nothing;
    if not found then
        return private.refused('you_are_member');
    end if;
    update duet.invitation i set accepted_at = at, accepted_by = guest
    where i.workspace_id = invitation.workspace_id and i.id = invitation.id;
    perform private.record_audit(invitation.workspace_id, guest, null, 'invitation.accept', 'invitation:' || invitation.id, 'done',
                                 jsonb_build_object('role', invitation.role)::text);
    return private.ok(jsonb_build_object(
        'workspace', (select private.workspace_json(w) from duet.workspace w where w.id = invitation.workspace_id),
        'role', invitation.role));
end;
$$;
call private.expose('private', 'admit');

-- A person's email address once it is proved to be theirs, else null. On Supabase, Auth proves it; never a claim of the token, which
-- people can shape with metadata of their own. Anyone with a password of the built-in issuer came by an invitation to that address or
-- set up this Duet. Only Supabase has the table auth.users.
create function private.proved_email(person uuid) returns text
language plpgsql stable set search_path = '' as $$
begin
    if to_regclass('auth.users') is null or exists (select from duet.credential c where c.user_id = person) then
        return (select a.email from duet.account a where a.id = person);
    end if;
    return private.confirmed_email(person);
end;
$$;
call private.expose('private', 'proved_email');

create function private.accept_invitation(hash bytea, guest_name text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    address text := private.proved_email(me);
    here duet.invitation;
    refusal jsonb;
begin
    if address is null then
        return private.refused('email_unconfirmed');
    end if;
    select * into here from duet.invitation i where i.token_hash = hash for no key update;
    refusal := private.invitation_refusal(here);
    if refusal is not null then
        return refusal;
    elsif here.email <> address then
        return private.refused('email_differs');
    end if;
    if not exists (select from duet.account a where a.id = me) then
        if not coalesce(private.is_name(guest_name), false) then
            return private.refused('name_length', '{"what": "person"}');
        end if;
        insert into duet.account values (me, address, btrim(guest_name), private.now()) on conflict do nothing;
        if not found then
            return private.refused('account_differs');
        end if;
    end if;
    return private.admit(here, me);
end;
$$;
call private.expose('private', 'accept_invitation', 'authenticated');

-- duet_core::ports::InvitationStore::accept
create function public.invitation_accept(p_token_hash bytea, p_display_name text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.accept_invitation(p_token_hash, p_display_name)
$$;
call private.expose('public', 'invitation_accept', 'authenticated');

-- duet_core::ports::InvitationStore::look_up: what the holder of the token is told before accepting.
create function driver.invitation(p_token_hash bytea) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.invitation;
begin
    select * into here from duet.invitation i where i.token_hash = p_token_hash;
    return coalesce(private.invitation_refusal(here), private.ok(jsonb_build_object(
        'workspace_name', (select w.name from duet.workspace w where w.id = here.workspace_id),
        'email', here.email, 'role', here.role, 'expires_at', here.expires_at,
        'invited_by', (select a.display_name from duet.account a where a.id = here.created_by),
        'has_account', exists (select from duet.account a where a.email = here.email))));
end;
$$;
call private.expose('driver', 'invitation', 'duet_worker');

-- duet_core::ports::InvitationStore::accept_as_newcomer: account, password and membership in one transaction.
create function driver.accept_as_newcomer(p_token_hash bytea, p_user uuid, p_display_name text, p_password_hash text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.invitation;
    refusal jsonb;
    newcomer duet.account;
begin
    select * into here from duet.invitation i where i.token_hash = p_token_hash for no key update;
    refusal := private.invitation_refusal(here);
    if refusal is not null then
        return refusal;
    elsif not coalesce(private.is_name(p_display_name), false) then
        return private.refused('name_length', '{"what": "person"}');
    end if;
    insert into duet.account values (p_user, here.email, btrim(p_display_name), private.now()) on conflict (email) do nothing
    returning * into newcomer;
    if not found then
        return private.refused('account_exists');
    end if;
    insert into duet.credential values (p_user, p_password_hash);
    perform private.admit(here, p_user);
    return private.ok(private.account_json(newcomer));
end;
$$;
call private.expose('driver', 'accept_as_newcomer', 'duet_worker');
