-- Agents, the soul and the policy, because every workspace starts with them; then set-up and workspaces.

create table duet.agent (
    workspace_id  uuid not null references duet.workspace (id),
    id            uuid not null,
    kind          text not null check (kind in ('companion_primary', 'executor_primary', 'specialist')),
    name          text not null check (private.is_name(name) and name = btrim(name)),
    prompt        text not null check (octet_length(prompt) <= 32768),
    model         text check (length(model) between 1 and 200),
    capabilities  text[] not null
        check (capabilities <@ array['read_memory', 'write_memory', 'run_tool', 'delegate', 'external_action']),
    memory_scopes jsonb not null,
    tools         text[] not null check (cardinality(tools) <= 200),
    active        boolean not null,
    version       int not null,
    created_at    timestamptz(3) not null,
    updated_at    timestamptz(3) not null,
    primary key (workspace_id, id),
    check (jsonb_typeof(memory_scopes -> 'domains') = 'array' and jsonb_typeof(memory_scopes -> 'private') = 'boolean'
           and length(memory_scopes::text) <= 1000)
);

create table duet.soul_version (
    workspace_id uuid not null references duet.workspace (id),
    version      int not null,
    soul         jsonb not null check (
        octet_length(soul ->> 'identity') <= 8192 and octet_length(soul ->> 'personality') <= 8192
        and octet_length(soul ->> 'style') <= 8192 and octet_length(soul ->> 'boundaries') <= 8192
        and soul - array['identity', 'personality', 'style', 'boundaries'] = '{}'),
    author       uuid not null references duet.account (id),
    created_at   timestamptz(3) not null,
    primary key (workspace_id, version)
);
create index soul_version_by_author on duet.soul_version (author);

-- A list of rules as duet_core::policy::Rule has them.
create function private.is_policy(rules jsonb) returns boolean
language sql immutable set search_path = '' as $$
    select jsonb_typeof(rules) = 'array' and jsonb_array_length(rules) <= 200 and coalesce((
        select bool_and(coalesce(
            jsonb_typeof(r) = 'object' and r - array['category', 'tool', 'role', 'agent', 'say', 'decider', 'why'] = '{}'
            and r ->> 'category' in ('memory_read', 'memory_write', 'conversation_read', 'question', 'external')
            and r ->> 'say' in ('allow', 'ask', 'deny')
            and (not r ? 'tool' or jsonb_typeof(r -> 'tool') = 'string' and btrim(r ->> 'tool') <> '' and octet_length(r ->> 'tool') <= 200)
            and (not r ? 'why' or jsonb_typeof(r -> 'why') = 'string' and btrim(r ->> 'why') <> '' and octet_length(r ->> 'why') <= 200)
            and (not r ? 'role' or r ->> 'role' in ('owner', 'member'))
            and (not r ? 'decider' or r ->> 'decider' in ('asker', 'owner') and r ->> 'say' = 'ask')
            and (not r ? 'agent' or r ->> 'agent' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'), false))
        from jsonb_array_elements(rules) r), true)
$$;
call private.expose('private', 'is_policy');

create table duet.policy_version (
    workspace_id uuid not null references duet.workspace (id),
    version      int not null,
    rules        jsonb not null check (private.is_policy(rules)),
    author       uuid not null references duet.account (id),
    created_at   timestamptz(3) not null,
    primary key (workspace_id, version)
);
create index policy_version_by_author on duet.policy_version (author);

call private.seclude('duet.agent');
call private.seclude('duet.soul_version');
call private.seclude('duet.policy_version');

grant select on duet.agent, duet.soul_version to authenticated, duet_agent;
create policy agent_read on duet.agent for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));
create policy soul_version_read on duet.soul_version for select to authenticated, duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));
grant select on duet.policy_version to authenticated;
create policy policy_version_read on duet.policy_version for select to authenticated
    using (workspace_id = any (array(select private.my_workspaces())));

create function private.workspace_json(workspace duet.workspace) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object('id', workspace.id, 'name', workspace.name, 'created_at', workspace.created_at)
$$;
call private.expose('private', 'workspace_json', 'authenticated', 'duet_agent');

-- Creates a workspace with its owner and initial content: `starter` has `agents`, `soul` and `policy` as
-- duet_core::starter::Starter gives them.
-- The owner could write all of it afterwards; the tables' checks bound it.
create function private.make_workspace(workspace uuid, owner uuid, workspace_name text, starter jsonb) returns duet.workspace
language plpgsql volatile set search_path = '' as $$
declare
    made duet.workspace;
    at timestamptz := private.now();
begin
    insert into duet.workspace values (workspace, btrim(workspace_name), owner, at) returning * into made;
    insert into duet.member values (workspace, owner, 'owner', at);
    insert into duet.agent
    select workspace, a.id, a.kind, btrim(a.name), a.prompt, null, a.capabilities, a.memory_scopes, a.tools, true, 1, at, at
    from jsonb_to_recordset(starter -> 'agents')
        as a (id uuid, kind text, name text, prompt text, capabilities text[], memory_scopes jsonb, tools text[])
    where a.kind in ('companion_primary', 'executor_primary');
    if (select array_agg(a.kind order by a.kind) from duet.agent a where a.workspace_id = workspace)
        is distinct from array['companion_primary', 'executor_primary'] then
        raise exception 'a workspace starts with one companion and one executor' using errcode = 'check_violation';
    end if;
    insert into duet.soul_version values (workspace, 1, starter -> 'soul', owner, at);
    insert into duet.policy_version values (workspace, 1, starter -> 'policy', owner, at);
    perform private.record_audit(workspace, owner, null, 'workspace.create', 'workspace:' || workspace, 'done', '{}');
    return made;
end;
$$;
call private.expose('private', 'make_workspace');

-- Acts as the person in the claims; bypasses row level security only for the rows that make_workspace writes. Null if somebody else's
-- workspace has the id.
create function private.make_my_workspace(workspace uuid, workspace_name text, starter jsonb) returns duet.workspace
language plpgsql volatile security definer set search_path = '' as $$
declare
    made duet.workspace;
begin
    select * into made from duet.workspace w where w.id = workspace and w.created_by = (select auth.uid());
    if found then
        return made;
    end if;
    if not exists (select from duet.account a where a.id = (select auth.uid())) then
        raise exception 'there is no account of that person' using errcode = 'insufficient_privilege';
    end if;
    if exists (select from duet.workspace w where w.id = workspace) then
        return null;
    end if;
    return private.make_workspace(workspace, (select auth.uid()), workspace_name, starter);
end;
$$;
call private.expose('private', 'make_my_workspace', 'authenticated');

-- duet_core::ports::WorkspaceStore::create
create function public.workspace_create(p_id uuid, p_name text, p_starter jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select case when private.is_name(p_name)
        then coalesce((select private.ok(private.workspace_json(made)) from private.make_my_workspace(p_id, p_name, p_starter) made
                       where made.id is not null),
                      private.refused('id_taken', '{"what": "workspace"}'))
        else private.refused('name_length', '{"what": "workspace"}') end
$$;
call private.expose('public', 'workspace_create', 'authenticated');

-- duet_core::ports::WorkspaceStore::memberships
create function public.workspace_memberships() returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(
        jsonb_build_object('workspace', private.workspace_json(w), 'role', m.role) order by w.created_at, w.id), '[]'))
    from duet.member m join duet.workspace w on w.id = m.workspace_id
    where m.user_id = (select auth.uid())
$$;
call private.expose('public', 'workspace_memberships', 'authenticated');

-- duet_core::ports::WorkspaceStore::role
create function public.workspace_role(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(to_jsonb(private.my_role(p_workspace)))
$$;
call private.expose('public', 'workspace_role', 'authenticated');

-- duet_core::ports::WorkspaceStore::workspace
create function public.workspace_read(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce((select private.ok(private.workspace_json(w)) from duet.workspace w where w.id = p_workspace),
                    private.refused('not_found'))
$$;
call private.expose('public', 'workspace_read', 'authenticated', 'duet_agent');

create function private.rename_workspace(workspace uuid, new_name text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    renamed duet.workspace;
begin
    if not private.is_name(new_name) then
        return private.refused('name_length', '{"what": "workspace"}');
    end if;
    case private.my_role(workspace)
        when 'owner' then null;
        when 'member' then return private.refused('owners_only');
        else return private.refused('not_found');
    end case;
    update duet.workspace w set name = btrim(new_name) where w.id = workspace and w.name <> btrim(new_name);
    if found then
        perform private.audit(workspace, 'workspace.rename', 'workspace:' || workspace);
    end if;
    select * into strict renamed from duet.workspace w where w.id = workspace;
    return private.ok(private.workspace_json(renamed));
end;
$$;
call private.expose('private', 'rename_workspace', 'authenticated');

-- duet_core::ports::WorkspaceStore::rename
create function public.workspace_rename(p_workspace uuid, p_name text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.rename_workspace(p_workspace, p_name)
$$;
call private.expose('public', 'workspace_rename', 'authenticated');

create function private.member_json(member duet.member, account duet.account) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object('user_id', member.user_id, 'email', account.email, 'display_name', account.display_name,
                              'role', member.role, 'joined_at', member.joined_at)
$$;
call private.expose('private', 'member_json', 'authenticated', 'duet_agent');

-- duet_core::ports::WorkspaceStore::members; the cursor is the last member's time and id.
create function public.workspace_members(p_workspace uuid, p_after timestamptz, p_after_id uuid, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.member_json(row(page.*)::duet.member, a) order by page.joined_at, page.user_id), '[]'))
    from (select m.* from duet.member m
          where m.workspace_id = p_workspace
            and (p_after is null or (m.joined_at, m.user_id) > (p_after, p_after_id))
          order by m.joined_at, m.user_id limit private.page_size(p_limit)) page
    join duet.account a on a.id = page.user_id
$$;
call private.expose('public', 'workspace_members', 'authenticated', 'duet_agent');
