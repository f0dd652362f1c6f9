-- Agents and the soul: every member reads them; owners change them, only through the functions here, so that each change increments
-- the version, is audited and leaves a primary active.

-- Only values that Duet can read back. (The tables are created with the workspaces, which start with both.)
alter table duet.agent
    add check (model ~ '^[^/\s]+/\S+$'),
    add check (octet_length(array_to_string(tools, ',')) <= 20000 and array_position(tools, null) is null),
    add check (memory_scopes - array['domains', 'private'] = '{}'
               and memory_scopes -> 'domains' <@ '["episodic", "semantic", "working"]');
alter table duet.soul_version
    add check (soul ?& array['identity', 'personality', 'style', 'boundaries']
               and jsonb_typeof(soul -> 'identity') = 'string' and jsonb_typeof(soul -> 'personality') = 'string'
               and jsonb_typeof(soul -> 'style') = 'string' and jsonb_typeof(soul -> 'boundaries') = 'string');

create trigger soul_version_fixed before update or delete on duet.soul_version
    for each row execute function private.append_only();
create trigger soul_version_kept before truncate on duet.soul_version
    for each statement execute function private.append_only();

create function private.agent_json(agent duet.agent) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(agent)
$$;
call private.expose('private', 'agent_json', 'authenticated', 'duet_agent');

create function private.soul_json(soul duet.soul_version) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(soul)
$$;
call private.expose('private', 'soul_json', 'authenticated', 'duet_agent');

-- Null if the caller is an owner acting in person, else the refusal. Another's workspace looks as if it did not exist.
create function private.refuse_unless_owner(workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select case private.my_role(workspace)
        when 'owner' then null
        when 'member' then private.refused('owners_only')
        else private.refused('not_found') end
$$;
call private.expose('private', 'refuse_unless_owner');

-- The agent that answers when none is named: the active companion, else the active executor.
create function private.answering_agent(workspace uuid) returns uuid
language sql stable set search_path = '' as $$
    select a.id from duet.agent a
    where a.workspace_id = workspace and a.active and a.kind in ('companion_primary', 'executor_primary')
    order by a.kind, a.created_at, a.id limit 1
$$;
call private.expose('private', 'answering_agent');

-- duet_core::ports::AgentStore::agents
create function public.agent_list(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(
        jsonb_agg(private.agent_json(a) order by a.kind = 'specialist', a.name collate "C", a.kind, a.id), '[]'))
    from duet.agent a where a.workspace_id = p_workspace
$$;
call private.expose('public', 'agent_list', 'authenticated', 'duet_agent');

-- duet_core::ports::AgentStore::agent
create function public.agent_read(p_workspace uuid, p_id uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok((select private.agent_json(a) from duet.agent a where a.workspace_id = p_workspace and a.id = p_id))
$$;
call private.expose('public', 'agent_read', 'authenticated', 'duet_agent');

create function private.edit_agent(workspace uuid, agent uuid, from_version int, edit jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb := private.refuse_unless_owner(workspace);
    fields constant text[] := array['name', 'prompt', 'model', 'capabilities', 'memory_scopes', 'tools', 'active'];
    here duet.agent;
begin
    if refusal is not null then
        return refusal;
    end if;
    if jsonb_typeof(edit) is distinct from 'object' or edit - fields <> '{}' then
        return private.refused('agent_edit');
    end if;
    -- Locks all agents, always in the same order: two concurrent edits could otherwise deactivate both primaries.
    perform from duet.agent a where a.workspace_id = workspace order by a.id for no key update;
    select * into here from duet.agent a where a.workspace_id = workspace and a.id = agent;
    if not found then
        return private.refused('not_found');
    end if;
    if here.version is distinct from from_version then
        return private.refused('agent_changed');
    end if;
    here.name := coalesce(btrim(edit ->> 'name'), here.name);
    here.prompt := coalesce(edit ->> 'prompt', here.prompt);
    here.model := case when edit ? 'model' then edit ->> 'model' else here.model end;
    here.capabilities := coalesce((select array_agg(distinct c order by c) from jsonb_array_elements_text(
        case when jsonb_typeof(edit -> 'capabilities') = 'array' then edit -> 'capabilities' end) c),
        case when jsonb_typeof(edit -> 'capabilities') = 'array' then '{}' else here.capabilities end);
    here.memory_scopes := coalesce(nullif(edit -> 'memory_scopes', 'null'), here.memory_scopes);
    here.tools := coalesce((select array_agg(distinct t order by t) from jsonb_array_elements_text(
        case when jsonb_typeof(edit -> 'tools') = 'array' then edit -> 'tools' end) t),
        case when jsonb_typeof(edit -> 'tools') = 'array' then '{}' else here.tools end);
    here.active := coalesce((edit ->> 'active')::boolean, here.active);
    here.version := here.version + 1;
    here.updated_at := private.now();
    if not here.active and here.kind <> 'specialist' and not exists (
        select from duet.agent a
        where a.workspace_id = workspace and a.id <> agent and a.active and a.kind <> 'specialist') then
        return private.refused('last_primary');
    end if;
    update duet.agent a
    set name = here.name, prompt = here.prompt, model = here.model, capabilities = here.capabilities,
        memory_scopes = here.memory_scopes, tools = here.tools, active = here.active, version = here.version,
        updated_at = here.updated_at
    where a.workspace_id = workspace and a.id = agent;
    -- Only the names of the changed fields; their content stays out of the audit log.
    perform private.audit(workspace, 'agent.edit', 'agent:' || agent, 'done', jsonb_build_object(
        'version', here.version,
        'fields', (select coalesce(jsonb_agg(f order by n), '[]') from unnest(fields) with ordinality as t (f, n)
                   where edit ? f and (f = 'model' or edit -> f <> 'null'))));
    return private.ok(private.agent_json(here));
end;
$$;
call private.expose('private', 'edit_agent', 'authenticated');

-- duet_core::ports::AgentStore::edit_agent; `p_edit` holds the changed fields of duet_core::domain::AgentEdit.
create function public.agent_edit(p_workspace uuid, p_id uuid, p_version int, p_edit jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select private.edit_agent(p_workspace, p_id, p_version, p_edit)
$$;
call private.expose('public', 'agent_edit', 'authenticated');

-- duet_core::ports::AgentStore::soul
create function public.soul_read(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce((select private.ok(private.soul_json(s)) from duet.soul_version s
                     where s.workspace_id = p_workspace order by s.version desc limit 1), private.refused('not_found'))
$$;
call private.expose('public', 'soul_read', 'authenticated', 'duet_agent');

-- duet_core::ports::AgentStore::soul_versions
create function public.soul_versions(p_workspace uuid, p_before bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.soul_json(s) order by s.version desc), '[]'))
    from (select * from duet.soul_version s
          where s.workspace_id = p_workspace and (p_before is null or s.version < p_before)
          order by s.version desc limit private.page_size(p_limit)) s
$$;
call private.expose('public', 'soul_versions', 'authenticated', 'duet_agent');

create function private.write_soul(workspace uuid, from_version int, new_soul jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb := private.refuse_unless_owner(workspace);
    written duet.soul_version;
begin
    if refusal is not null then
        return refusal;
    end if;
    -- One write at a time: the next version follows the one that was read.
    perform from duet.workspace w where w.id = workspace for no key update;
    if from_version is distinct from (select max(s.version) from duet.soul_version s where s.workspace_id = workspace) then
        return private.refused('soul_changed');
    end if;
    insert into duet.soul_version values (workspace, from_version + 1, new_soul, (select auth.uid()), private.now())
    returning * into written;
    perform private.audit(workspace, 'soul.write', 'workspace:' || workspace, 'done',
                          jsonb_build_object('version', written.version));
    return private.ok(private.soul_json(written));
end;
$$;
call private.expose('private', 'write_soul', 'authenticated');

-- duet_core::ports::AgentStore::write_soul
create function public.soul_write(p_workspace uuid, p_version int, p_soul jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select private.write_soul(p_workspace, p_version, p_soul)
$$;
call private.expose('public', 'soul_write', 'authenticated');
