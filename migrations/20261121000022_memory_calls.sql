-- duet_core::ports::MemoryStore, except recall and redaction.

create function private.memory_json(memory duet.memory, class duet.memory_class) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object(
        'id', memory.id, 'workspace_id', memory.workspace_id, 'domain', class.domain, 'text', coalesce(memory.text, ''),
        'sealed', encode(memory.sealed, 'hex'), 'speaker', memory.speaker, 'user_id', memory.user_id,
        'visibility', case when class.owner is null then 'shared' else 'private' end,
        'sensitive', memory.sensitive, 'egress', class.egress, 'taint', memory.taint, 'review', memory.review,
        'provenance', jsonb_build_object('conversation_id', memory.from_conversation, 'message_id', memory.from_message,
            'run_id', memory.from_run, 'agent_id', memory.from_agent, 'user_id', memory.from_user),
        'position', case when memory.conversation_id is not null
            then jsonb_build_object('conversation_id', memory.conversation_id, 'ordinal', memory.ordinal) end,
        'occurred_at', memory.occurred_at, 'valid_from', memory.valid_from, 'valid_to', memory.valid_to,
        'superseded_by', memory.superseded_by, 'expires_at', memory.expires_at, 'redacted_at', memory.redacted_at,
        'created_at', memory.created_at)
$$;
call private.expose('private', 'memory_json', 'authenticated', 'duet_agent');

-- The class that the caller writes into, created if missing.
create function private.my_class(workspace uuid, is_private boolean, memory_domain text, memory_egress text) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
    class_owner uuid := case when is_private then (select auth.uid()) end;
    found_key bigint;
begin
    if workspace not in (select private.my_workspaces())
       or current_setting('role', true) = 'duet_agent'
          and not exists (select from private.my_agent() a where 'write_memory' = any (a.capabilities)
                          and memory_domain = any (a.domains) and (a.sees_private or not is_private)) then
        raise exception 'no memory of that kind may be written here' using errcode = 'insufficient_privilege';
    end if;
    loop
        select c.key into found_key from duet.memory_class c
        where c.workspace_id = workspace and c.owner is not distinct from class_owner
          and c.domain = memory_domain and c.egress = memory_egress;
        exit when found;
        insert into duet.memory_class (workspace_id, owner, domain, egress)
        values (workspace, class_owner, memory_domain, memory_egress) on conflict do nothing;
    end loop;
    return found_key;
end;
$$;
call private.expose('private', 'my_class', 'authenticated', 'duet_agent');

-- A memory that the caller wrote. An agent does not see its own proposals, but a replayed effect has to find them.
create function private.my_written(workspace uuid, memory uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.memory_json(m, c)
    from duet.memory m join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
    where m.workspace_id = workspace and m.id = memory and m.user_id = (select auth.uid()) and m.redacted_at is null
      and m.workspace_id in (select private.my_workspaces())
      and (current_setting('role', true) <> 'duet_agent' or m.from_agent = nullif(current_setting('duet.agent_id', true), '')::uuid)
      and (c.egress = 'any' or private.reads_local())
$$;
call private.expose('private', 'my_written', 'authenticated', 'duet_agent');

-- Whether an id is unusable for a new memory, and why.
create function private.memory_id_state(workspace uuid, memory uuid) returns text
language sql stable security definer set search_path = '' as $$
    select case when workspace not in (select private.my_workspaces()) then 'free'
                when exists (select from duet.memory m where m.workspace_id = workspace and m.id = memory) then 'taken'
                when exists (select from duet.memory_tombstone t where t.workspace_id = workspace and t.memory_id = memory) then 'redacted'
                when exists (select from duet.memory_gone g where g.workspace_id = workspace and g.memory_id = memory) then 'gone'
                else 'free' end
$$;
call private.expose('private', 'memory_id_state', 'authenticated', 'duet_agent');

-- Adds the vector to a live memory that the caller wrote and that has none.
create function private.put_my_vector(workspace uuid, memory uuid, model_name text, vector extensions.vector) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
    mine duet.memory;
begin
    select m.* into mine from duet.memory m
    where m.workspace_id = workspace and m.id = memory and m.user_id = (select auth.uid()) and m.live and m.embedded is null
      and m.workspace_id in (select private.my_workspaces())
      and (current_setting('role', true) <> 'duet_agent' or m.from_agent = nullif(current_setting('duet.agent_id', true), '')::uuid)
    for update;
    if found then
        perform private.put_vector(mine, model_name, vector);
    end if;
end;
$$;
call private.expose('private', 'put_my_vector', 'authenticated', 'duet_agent');

-- The labels of what the acting agent has read; null outside a run.
create function private.my_labels() returns int
language sql stable security definer set search_path = '' as $$
    select r.labels from private.my_run() r
$$;
call private.expose('private', 'my_labels', 'authenticated', 'duet_agent');

-- Why a memory cannot be stored as given; null when it can. Columns check their own values; this checks what would be taken for
-- something else if it were left out.
create function private.memory_flaw(given jsonb) returns text
language sql immutable set search_path = '' as $$
    select case
        when jsonb_typeof(given) is distinct from 'object' or octet_length(given::text) > 500000 then 'text'
        when (given ->> 'visibility' in ('shared', 'private')) is not true then 'visibility'
        when (given ->> 'domain' in ('episodic', 'semantic', 'working')) is not true then 'domain'
        when (given ->> 'egress' in ('any', 'local_only')) is not true then 'egress'
        when (given ->> 'taint' in ('trusted', 'untrusted')) is not true then 'taint'
        when jsonb_typeof(given -> 'sensitive') is distinct from 'boolean' then 'sensitive'
    end
$$;
call private.expose('private', 'memory_flaw', 'authenticated', 'duet_agent');

-- duet_core::ports::MemoryStore::remember; an agent's memory carries the labels of everything its run has read, whatever the agent
-- claims. `p_memory` holds the fields of duet_core::domain::NewMemory, plus `terms` and `sealed` (hex).
create function public.memory_remember(p_workspace uuid, p_id uuid, p_memory jsonb, p_model text, p_vector text) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
    old_one jsonb;
    stored jsonb;
    class_key bigint;
    agent uuid := case when current_setting('role', true) = 'duet_agent' then nullif(current_setting('duet.agent_id', true), '')::uuid end;
    run uuid := case when agent is not null then nullif(current_setting('duet.run_id', true), '')::uuid end;
    read_labels int := case when agent is null then 0 else private.my_labels() end;
    kept_taint text := case when read_labels & 1 <> 0 then 'untrusted' else p_memory ->> 'taint' end;
    kept_visibility text := case when read_labels & 8 <> 0 then 'private' else p_memory ->> 'visibility' end;
begin
    if private.memory_flaw(p_memory) is not null then
        return private.refused('memory_form', jsonb_build_object('field', private.memory_flaw(p_memory)));
    elsif length(p_model) > 200 or length(p_vector) > 200000 then
        return private.refused('vector_size');
    elsif read_labels is null then
        return private.refused('run_over');
    elsif read_labels & 4 <> 0 and not (p_memory ->> 'sensitive')::boolean then
        return private.refused('run_sensitive');
    end if;
    case private.memory_id_state(p_workspace, p_id)
        when 'taken' then
            stored := coalesce(
                (select private.memory_json(m, c) from duet.memory m
                 join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                 where m.workspace_id = p_workspace and m.id = p_id),
                case when agent is not null then private.my_written(p_workspace, p_id) end);
            return case when stored is null then private.refused('id_taken', '{"what": "memory"}')
                        else private.ok(stored) end;
        when 'redacted' then
            return private.refused('id_redacted');
        when 'gone' then
            return private.refused('id_expired');
        else null;
    end case;
    if p_memory ->> 'supersedes' is not null then
        select private.memory_json(m, c) into old_one from duet.memory m
        join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
        where m.workspace_id = p_workspace and m.id = (p_memory ->> 'supersedes')::uuid;
        if not found then
            return private.refused('not_found');
        elsif old_one ->> 'redacted_at' is not null then
            return private.refused('superseded_redacted');
        elsif old_one ->> 'superseded_by' is not null then
            return private.refused('already_superseded');
        elsif old_one ->> 'visibility' <> kept_visibility then
            return private.refused('visibilities_differ', jsonb_build_object('new', kept_visibility, 'old', old_one ->> 'visibility'));
        end if;
    end if;
    -- A statement of its own: the policy that follows has to see a new class.
    class_key := private.my_class(p_workspace, kept_visibility = 'private', p_memory ->> 'domain',
                                  case when (p_memory ->> 'sensitive')::boolean or read_labels & 2 <> 0 then 'local_only'
                                       else p_memory ->> 'egress' end);
    insert into duet.memory (workspace_id, id, class, user_id, text, sealed, terms, speaker, sensitive, taint, review,
        from_conversation, from_message, from_run, from_agent, from_user, conversation_id, ordinal, occurred_at, expires_at, supersedes)
    select p_workspace, p_id, class_key, (select auth.uid()), p_memory ->> 'text', decode(p_memory ->> 'sealed', 'hex'), nullif(p_memory -> 'terms', 'null'),
           p_memory ->> 'speaker', (p_memory ->> 'sensitive')::boolean, kept_taint,
           case when not private.may_replace(p_workspace, (old_one ->> 'user_id')::uuid) then 'proposed'
                when agent is not null and kept_taint = 'untrusted' and (p_memory ->> 'domain' <> 'working' or old_one is not null)
                then 'proposed' else 'accepted' end,
           (p_memory #>> '{provenance,conversation_id}')::uuid, (p_memory #>> '{provenance,message_id}')::uuid, run, agent,
           (select auth.uid()), (p_memory #>> '{position,conversation_id}')::uuid, (p_memory #>> '{position,ordinal}')::bigint,
           (p_memory ->> 'occurred_at')::timestamptz, (p_memory ->> 'expires_at')::timestamptz, (p_memory ->> 'supersedes')::uuid
    on conflict do nothing;
    if found and p_vector is not null then
        perform private.put_my_vector(p_workspace, p_id, p_model, p_vector::extensions.vector);
    end if;
    -- Of two concurrent calls with one id, the first one's memory counts.
    stored := private.my_written(p_workspace, p_id);
    return case when stored is null then private.refused('id_taken', '{"what": "memory"}')
                else private.ok(stored) end;
end;
$$;
call private.expose('public', 'memory_remember', 'authenticated', 'duet_agent');

-- duet_core::ports::MemoryStore::memories
create function public.memory_read(p_workspace uuid, p_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
    select case when cardinality(p_ids) > 1000 then private.refused('too_many_memories')
        else (select private.ok(coalesce(jsonb_agg(private.memory_json(found.memory, c) order by asked.place), '[]'))
              from unnest(p_ids) with ordinality as asked (id, place)
              cross join lateral (
                  select m as memory from duet.memory m where m.workspace_id = p_workspace and m.id = asked.id
                  offset 0) found -- one at a time: a join may read every memory of the workspace
              join duet.memory_class c on c.workspace_id = p_workspace and c.key = (found.memory).class) end
$$;
call private.expose('public', 'memory_read', 'authenticated', 'duet_agent');

-- duet_core::ports::MemoryStore::ids
create function public.memory_ids(p_workspace uuid, p_low uuid, p_high uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(page.id order by page.id), '[]'))
    from (select m.id from duet.memory m
          where m.workspace_id = p_workspace and m.id between p_low and p_high order by m.id limit 10) page
$$;
call private.expose('public', 'memory_ids', 'authenticated');

-- duet_core::ports::MemoryStore::list; the cursor is the last memory's time and id.
create function public.memory_list(
    p_workspace uuid, p_domain text, p_review text, p_history boolean, p_superseded_by uuid, p_before timestamptz, p_before_id uuid,
    p_limit int
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    predecessor uuid;
begin
    if p_superseded_by is not null then
        -- The successor's row names the memory it superseded, or will supersede once accepted: no need to read the history.
        select o.id into predecessor from duet.memory s
        join duet.memory o on o.workspace_id = s.workspace_id and o.id = s.supersedes and o.superseded_by = s.id
        where s.workspace_id = p_workspace and s.id = p_superseded_by;
        return (
            select private.ok(coalesce(jsonb_agg(private.memory_json(m, c)), '[]'))
            from duet.memory m join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
            where m.workspace_id = p_workspace and m.id = predecessor and p_history and m.review = p_review
              and (p_before is null or (m.created_at, m.id) < (p_before, p_before_id)) and (p_domain is null or c.domain = p_domain));
    end if;
    return (
        select private.ok(coalesce(jsonb_agg(page.json order by page.created_at desc, page.id desc), '[]'))
        from (select m.created_at, m.id, private.memory_json(m, c) as json
              from duet.memory m join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
              where m.workspace_id = p_workspace and (p_before is null or (m.created_at, m.id) < (p_before, p_before_id))
                and (p_domain is null or c.domain = p_domain) and m.review = p_review
                and (p_history or (m.valid_to is null and m.redacted_at is null))
              order by m.created_at desc, m.id desc limit private.page_size(p_limit)) page);
end;
$$;
call private.expose('public', 'memory_list', 'authenticated', 'duet_agent');

-- A memory that the caller sees as a person, locked, if they may change or redact it; else why not.
create function private.lock_my_memory(workspace uuid, memory uuid, out mine duet.memory, out class duet.memory_class, out refusal jsonb)
language plpgsql volatile set search_path = '' as $$
begin
    select m.* into mine from duet.memory m
    where m.workspace_id = workspace and m.id = memory and m.class in (select private.my_classes('read_memory'))
      and (m.expires_at is null or m.expires_at > private.now())
    for update;
    if mine.id is null or current_setting('role', true) = 'duet_agent' then
        refusal := private.refused('not_found');
        return;
    end if;
    select c.* into strict class from duet.memory_class c where c.workspace_id = workspace and c.key = mine.class;
    if mine.user_id <> (select auth.uid()) and (class.owner is not null or private.my_role(workspace) <> 'owner') then
        refusal := private.refused('others_memory');
    end if;
end;
$$;
call private.expose('private', 'lock_my_memory');

create function private.edit_my_memory(workspace uuid, memory uuid, new_review text, new_visibility text, new_egress text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    mine duet.memory;
    edited duet.memory;
    kind duet.memory_class;
    locked record;
    vector record;
    old_one duet.memory;
begin
    select * into locked from private.lock_my_memory(workspace, memory);
    mine := locked.mine;
    kind := locked.class;
    select o.* into old_one from duet.memory o where o.workspace_id = workspace and o.id = mine.supersedes;
    -- A proposal is decided by the author of the memory it would supersede, or by an owner; not by its proposer.
    if locked.refusal is not null and not coalesce(
        kind.key is not null and mine.review = 'proposed' and old_one.user_id = (select auth.uid())
        and new_visibility is null and new_egress is null, false) then
        return locked.refusal;
    elsif new_review = 'accepted' and mine.review <> 'accepted' and not private.may_replace(workspace, old_one.user_id) then
        return private.refused('replaces_others');
    end if;
    if mine.redacted_at is not null then
        return private.refused('redacted', '{"what": "memory"}');
    elsif new_visibility not in ('shared', 'private') then
        return private.refused('visibility');
    end if;
    perform private.audit(workspace, 'memory.edit', 'memory:' || memory, 'done', jsonb_build_object(
        'review', new_review, 'visibility', new_visibility, 'egress', new_egress));
    edited := mine;
    edited.review := coalesce(new_review, mine.review);
    if (edited.review, coalesce(new_visibility, case when kind.owner is null then 'shared' else 'private' end),
        coalesce(new_egress, kind.egress)) = (mine.review, case when kind.owner is null then 'shared' else 'private' end, kind.egress) then
        return private.ok(private.memory_json(mine, kind));
    end if;

    select * into vector from private.withdraw(mine);
    insert into duet.memory_class as c (workspace_id, owner, domain, egress)
    values (workspace, case coalesce(new_visibility, case when kind.owner is null then 'shared' else 'private' end)
                when 'private' then mine.user_id end, kind.domain, coalesce(new_egress, kind.egress))
    on conflict (workspace_id, owner, domain, egress) do update set documents = c.documents
    returning c.* into kind;
    update duet.memory m set class = kind.key, review = edited.review
    where m.workspace_id = workspace and m.id = memory returning m.* into edited;
    perform private.bring_back(edited, vector.name, vector.vector);
    if edited.live then
        -- An accepted proposal supersedes its target, unless something else has in the meantime.
        if not mine.live and edited.supersedes is not null then
            select o.* into old_one from duet.memory o
            join duet.memory_class c on c.workspace_id = o.workspace_id and c.key = o.class
            where o.workspace_id = workspace and o.id = edited.supersedes and o.live
              and c.owner is not distinct from kind.owner
            for update of o;
            if found then
                perform private.supersede(old_one, edited.id, edited.valid_from);
            end if;
        end if;
    end if;
    return private.ok(private.memory_json(edited, kind));
end;
$$;
call private.expose('private', 'edit_my_memory', 'authenticated');

-- duet_core::ports::MemoryStore::edit
create function public.memory_edit(p_workspace uuid, p_id uuid, p_review text, p_visibility text, p_egress text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.edit_my_memory(p_workspace, p_id, p_review, p_visibility, p_egress)
$$;
call private.expose('public', 'memory_edit', 'authenticated');

-- A workspace's wrapped data keys; the server creates the first one.
create function public.workspace_keys(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(encode(k.wrapped, 'hex') order by k.version), '[]'))
    from duet.workspace_key k where k.workspace_id = p_workspace
$$;
call private.expose('public', 'workspace_keys', 'authenticated', 'duet_agent');

create function driver.workspace_keys(p_workspace uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(encode(k.wrapped, 'hex') order by k.version), '[]'))
    from duet.workspace_key k where k.workspace_id = p_workspace
$$;
call private.expose('driver', 'workspace_keys', 'duet_worker');

-- Of two concurrent calls, the first one's key counts.
create function driver.first_workspace_key(p_workspace uuid, p_wrapped bytea) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    insert into duet.workspace_key (workspace_id, version, wrapped) values (p_workspace, 1, p_wrapped) on conflict do nothing;
    return driver.workspace_keys(p_workspace);
end;
$$;
call private.expose('driver', 'first_workspace_key', 'duet_worker');
