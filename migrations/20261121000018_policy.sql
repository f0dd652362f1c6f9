-- The policy of a workspace: every member reads it; an owner changes it. Agents do not see it. (The table is created with the
-- workspaces, which start with a policy.)

create trigger policy_version_fixed before update or delete on duet.policy_version
    for each row execute function private.append_only();
create trigger policy_version_kept before truncate on duet.policy_version
    for each statement execute function private.append_only();

create function private.policy_json(policy duet.policy_version) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(policy)
$$;
call private.expose('private', 'policy_json', 'authenticated');

-- duet_core::ports::PolicyStore::policy
create function public.policy_read(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce((select private.ok(private.policy_json(p)) from duet.policy_version p
                     where p.workspace_id = p_workspace order by p.version desc limit 1), private.refused('not_found'))
$$;
call private.expose('public', 'policy_read', 'authenticated');

-- duet_core::ports::PolicyStore::policy_versions
create function public.policy_versions(p_workspace uuid, p_before bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.policy_json(p) order by p.version desc), '[]'))
    from (select * from duet.policy_version p
          where p.workspace_id = p_workspace and (p_before is null or p.version < p_before)
          order by p.version desc limit private.page_size(p_limit)) p
$$;
call private.expose('public', 'policy_versions', 'authenticated');

create function private.write_policy(workspace uuid, from_version int, new_rules jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    refusal jsonb := private.refuse_unless_owner(workspace);
    written duet.policy_version;
begin
    if refusal is not null then
        return refusal;
    elsif jsonb_typeof(new_rules) = 'array' and jsonb_array_length(new_rules) > 200 then
        return private.refused('policy_length', jsonb_build_object('most', 200, 'has', jsonb_array_length(new_rules)));
    elsif private.is_policy(new_rules) is not true then
        return private.refused('policy_form', jsonb_build_object('rule', coalesce((
            select min(n) from jsonb_array_elements(case jsonb_typeof(new_rules) when 'array' then new_rules else '[null]' end)
                with ordinality as t (r, n)
            where private.is_policy(jsonb_build_array(r)) is not true), 1)));
    end if;
    -- One write at a time: the next version follows the one that was read.
    perform from duet.workspace w where w.id = workspace for no key update;
    if from_version is distinct from (select max(p.version) from duet.policy_version p where p.workspace_id = workspace) then
        return private.refused('policy_changed');
    end if;
    insert into duet.policy_version values (workspace, from_version + 1, new_rules, (select auth.uid()), private.now())
    returning * into written;
    perform private.void_earlier_approvals(workspace);
    perform private.audit(workspace, 'policy.write', 'workspace:' || workspace, 'done',
                          jsonb_build_object('version', written.version));
    return private.ok(private.policy_json(written));
end;
$$;
call private.expose('private', 'write_policy', 'authenticated');

-- duet_core::ports::PolicyStore::write_policy
create function public.policy_write(p_workspace uuid, p_version int, p_rules jsonb) returns jsonb
language sql volatile set search_path = '' as $$
    select private.write_policy(p_workspace, p_version, p_rules)
$$;
call private.expose('public', 'policy_write', 'authenticated');
