-- People, workspaces and memberships.

create table duet.installation (
    id               int primary key default 1 check (id = 1),
    setup_token_hash bytea check (length(setup_token_hash) = 32),
    owner_since      timestamptz(3),
    turn_limits      jsonb,         -- the operator's limits, which no turn exceeds
    proved_at        timestamptz(3) -- when a write was last proved possible
);
insert into duet.installation default values;

-- One row per person. On Supabase, Auth holds their address and password, and this row follows auth.users; elsewhere the built-in
-- issuer's credential belongs to it.
create table duet.account (
    id           uuid primary key,
    email        text not null unique check (length(email) between 3 and 254 and email = lower(email)),
    display_name text not null check (char_length(display_name) <= 200),
    created_at   timestamptz(3) not null
);

create table duet.credential (
    user_id       uuid primary key references duet.account (id),
    password_hash text not null check (password_hash like '$argon2id$%')
);

create table duet.session (
    id          uuid primary key,
    user_id     uuid not null references duet.account (id),
    secret_hash bytea not null unique check (length(secret_hash) = 32),
    created_at  timestamptz(3) not null,
    expires_at  timestamptz(3) not null,
    by_device   boolean not null default false
);
create index session_by_user on duet.session (user_id);
create index session_by_expiry on duet.session (expires_at);

create table duet.workspace (
    id         uuid primary key,
    name       text not null check (private.is_name(name) and name = btrim(name)),
    created_by uuid not null references duet.account (id),
    created_at timestamptz(3) not null
);
create index workspace_by_maker on duet.workspace (created_by);

create table duet.member (
    workspace_id uuid not null references duet.workspace (id),
    user_id      uuid not null references duet.account (id),
    role         text not null check (role in ('owner', 'member')),
    joined_at    timestamptz(3) not null,
    primary key (workspace_id, user_id)
);
create index member_by_user on duet.member (user_id);

call private.seclude('duet.installation');
call private.seclude('duet.account');
call private.seclude('duet.credential');
call private.seclude('duet.session');
call private.seclude('duet.workspace');
call private.seclude('duet.member');

-- The workspaces that a policy opens: the caller's own; for an agent only the one it acts in, while its person is a member and the
-- agent is active. Definer, because a policy on duet.member cannot query duet.member. Policies wrap it in an array so that it runs
-- once per statement instead of once per row (measured: a factor of twenty). PL/pgSQL, because it keeps its plans: before Postgres 18
-- an SQL function is planned anew in each statement that calls it.
create function private.my_workspaces() returns setof uuid
language plpgsql stable security definer set search_path = '' as $$
declare
    me uuid := auth.uid();
begin
    if current_setting('role', true) = 'duet_agent' then
        return query select m.workspace_id from duet.member m
                     join duet.agent a on a.workspace_id = m.workspace_id
                     where m.user_id = me and m.workspace_id = nullif(current_setting('duet.workspace_id', true), '')::uuid
                       and a.id = nullif(current_setting('duet.agent_id', true), '')::uuid and a.active;
    else
        return query select m.workspace_id from duet.member m where m.user_id = me;
    end if;
end;
$$;

-- The caller's role in a workspace; null for strangers, and for agents, because only people have roles.
create function private.my_role(workspace uuid) returns text
language sql stable security definer set search_path = '' as $$
    select m.role from duet.member m
    where m.workspace_id = workspace and m.user_id = (select auth.uid()) and current_setting('role', true) <> 'duet_agent'
$$;

-- The workspaces that the caller owns, as a person.
create function private.my_own_workspaces() returns setof uuid
language sql stable security definer set search_path = '' as $$
    select m.workspace_id from duet.member m
    where m.user_id = (select auth.uid()) and m.role = 'owner' and current_setting('role', true) <> 'duet_agent'
$$;

call private.expose('private', 'my_workspaces', 'authenticated', 'duet_agent');
call private.expose('private', 'my_role', 'authenticated', 'duet_agent');
call private.expose('private', 'my_own_workspaces', 'authenticated', 'duet_agent');

grant select on duet.workspace, duet.member, duet.account to authenticated, duet_agent;

create policy workspace_read on duet.workspace for select to authenticated, duet_agent
    using (id = any (array(select private.my_workspaces())));
create policy member_read on duet.member for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));
-- People see themselves and those they share a workspace with; an agent sees the members of the workspace it acts in.
create policy account_read on duet.account for select to authenticated
    using (id = (select auth.uid()) or exists (select from duet.member m where m.user_id = account.id));
create policy account_read_by_agent on duet.account for select to duet_agent
    using (exists (select from duet.member m where m.user_id = account.id));
