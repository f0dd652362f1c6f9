-- Adds memories to the full-text index and the vectors, and removes them. All of it runs as the owner, from triggers and from
-- functions that have checked the caller; nobody may call it directly.

-- Counts a memory in (1) or out (-1).
create function private.count_memory(memory duet.memory, step int) returns void
language plpgsql volatile set search_path = '' as $$
declare
    terms_of_it bigint := (select coalesce(sum(value::int), 0) from jsonb_each_text(memory.terms));
begin
    update duet.memory_class c set documents = c.documents + step, length = c.length + step * terms_of_it
    where c.workspace_id = memory.workspace_id and c.key = memory.class;
    if memory.conversation_id is not null then
        insert into duet.memory_thread as t values (memory.workspace_id, memory.class, memory.conversation_id, step, step * terms_of_it)
        on conflict (workspace_id, class, conversation_id)
        do update set documents = t.documents + step, length = t.length + step * terms_of_it;
        if step < 0 then
            delete from duet.memory_thread t
            where t.workspace_id = memory.workspace_id and t.class = memory.class and t.conversation_id = memory.conversation_id
              and t.documents = 0;
        end if;
    end if;
end;
$$;
call private.expose('private', 'count_memory');

-- Indexes the text of a live memory.
create function private.index_text(memory duet.memory) returns void
language plpgsql volatile set search_path = '' as $$
begin
    if memory.terms is null then
        return;
    end if;
    insert into duet.memory_term
    select memory.workspace_id, memory.class, key, memory.key, value::int, sum(value::int) over () from jsonb_each_text(memory.terms);
    perform private.count_memory(memory, 1);
end;
$$;
call private.expose('private', 'index_text');

-- Takes a live memory out of the full-text index; returns how many postings it had.
create function private.unindex_text(memory duet.memory) returns bigint
language plpgsql volatile set search_path = '' as $$
declare
    removed bigint;
begin
    if memory.terms is null or not memory.live then
        return 0;
    end if;
    delete from duet.memory_term t
    where t.workspace_id = memory.workspace_id and t.class = memory.class and t.memory = memory.key
      and t.term = any (array(select jsonb_object_keys(memory.terms)));
    get diagnostics removed = row_count;
    perform private.count_memory(memory, -1);
    return removed;
end;
$$;
call private.expose('private', 'unindex_text');

-- Removes a memory's vector and code, if it has them, and its embedding refusals.
create function private.remove_vector(memory duet.memory, out vectors bigint, out codes bigint)
language plpgsql volatile set search_path = '' as $$
declare
    gone int;
begin
    delete from duet.memory_refusal f where f.workspace_id = memory.workspace_id and f.memory = remove_vector.memory.key;
    delete from duet.memory_code c where c.workspace_id = memory.workspace_id and c.memory = remove_vector.memory.key;
    get diagnostics codes = row_count;
    delete from duet.memory_vector v where v.workspace_id = memory.workspace_id and v.memory = remove_vector.memory.key
    returning v.model into gone;
    get diagnostics vectors = row_count;
    if vectors > 0 then
        update duet.memory_partition p set vectors = p.vectors - 1 where p.workspace_id = memory.workspace_id and p.model = gone;
        update duet.memory m set embedded = null where m.workspace_id = memory.workspace_id and m.id = memory.id;
    end if;
end;
$$;
call private.expose('private', 'remove_vector');

-- The signs of a vector relative to a mean. (The codes of memories and of the query must agree.)
create function private.code_of(vector extensions.vector, mean extensions.vector) returns "bit"
language sql immutable set search_path = '' as $$
    select extensions.binary_quantize(case when mean is null then vector else vector operator(extensions.-) mean end)
$$;
call private.expose('private', 'code_of', 'authenticated', 'duet_agent');

-- Stores a live memory's vector, replacing one of another model. The vector of a model that the server has not registered is ignored,
-- and the backlog embeds the memory. The partition's row is locked first, so that no code is computed with a mean that is being
-- replaced.
create function private.put_vector(memory duet.memory, model_name text, vector extensions.vector) returns void
language plpgsql volatile set search_path = '' as $$
declare
    size int := extensions.vector_dims(vector);
    model_key int := (select m.key from duet.embedding_model m where m.name = model_name and m.dimensions = size);
    centre extensions.vector;
begin
    if model_key is null then
        return;
    end if;
    perform private.remove_vector(memory);
    insert into duet.memory_partition as p (workspace_id, model, name, dimensions, vectors)
    values (memory.workspace_id, model_key, model_name, size, 1)
    on conflict (workspace_id, model) do update set vectors = p.vectors + 1
    returning p.mean into centre;
    insert into duet.memory_vector values (memory.workspace_id, memory.key, model_key, memory.class, memory.expires_at, vector);
    if size > 512 then
        insert into duet.memory_code
        values (memory.workspace_id, memory.key, model_key, memory.class, memory.expires_at, private.code_of(vector, centre));
    end if;
    update duet.memory m set embedded = model_key where m.workspace_id = memory.workspace_id and m.id = memory.id;
end;
$$;
call private.expose('private', 'put_vector');

-- Removes a memory that is about to change from the index, with its vector: everything keyed by its class moves with it.
create function private.withdraw(memory duet.memory, out name text, out vector extensions.vector)
language plpgsql volatile set search_path = '' as $$
begin
    select p.name, v.vector into withdraw.name, withdraw.vector from duet.memory_vector v
    join duet.memory_partition p on p.workspace_id = v.workspace_id and p.model = v.model
    where v.workspace_id = memory.workspace_id and v.memory = withdraw.memory.key;
    perform private.unindex_text(memory);
    perform private.remove_vector(memory);
end;
$$;
call private.expose('private', 'withdraw');

-- Puts the changed memory back, if it may be recalled.
create function private.bring_back(memory duet.memory, model_name text, vector extensions.vector) returns void
language plpgsql volatile set search_path = '' as $$
begin
    if memory.live then
        perform private.index_text(memory);
        if model_name is not null then
            perform private.put_vector(memory, model_name, vector);
        end if;
    end if;
end;
$$;
call private.expose('private', 'bring_back');

-- Recomputes a partition's mean when it has grown fourfold, and its codes with it.
create function private.recentre(workspace uuid, partition_model int) returns void
language plpgsql volatile set search_path = '' as $$
declare
    here duet.memory_partition;
begin
    select * into here from duet.memory_partition p where p.workspace_id = workspace and p.model = partition_model for update;
    if not found or here.dimensions <= 512 or here.vectors < 256 or here.vectors < 4 * here.mean_of then
        return;
    end if;
    select extensions.avg(v.vector), count(*) into here.mean, here.mean_of
    from duet.memory_vector v where v.workspace_id = workspace and v.model = partition_model;
    update duet.memory_partition p set mean = here.mean, mean_of = here.mean_of
    where p.workspace_id = workspace and p.model = partition_model;
    update duet.memory_code c set code = private.code_of(v.vector, here.mean)
    from duet.memory_vector v
    where v.workspace_id = workspace and v.model = partition_model and c.workspace_id = workspace and c.memory = v.memory;
end;
$$;
call private.expose('private', 'recentre');

-- Ends the validity of a memory in favour of another. Its text stays, for history; it is no longer recalled.
create function private.supersede(old duet.memory, successor uuid, since timestamptz) returns void
language plpgsql volatile set search_path = '' as $$
begin
    perform private.unindex_text(old);
    perform private.remove_vector(old);
    update duet.memory m set valid_to = greatest(since, old.valid_from), superseded_by = successor
    where m.workspace_id = old.workspace_id and m.id = old.id;
end;
$$;
call private.expose('private', 'supersede');

-- Whether the caller may supersede a memory directly: its author or an owner. For everybody else, and for an agent whose person is
-- not the author, it becomes a proposal that the author or an owner decides on (duet_core::domain::Memory::may_be_replaced_by).
create function private.may_replace(workspace uuid, author uuid) returns boolean
language sql stable set search_path = '' as $$
    select author = (select auth.uid())
        or current_setting('role', true) <> 'duet_agent' and coalesce(private.my_role(workspace) = 'owner', false)
$$;
call private.expose('private', 'may_replace', 'authenticated', 'duet_agent');

-- What follows from a new memory, whoever writes it: its times, postings and audit entry, and the end of the memory it supersedes.
-- The writer must be able to see the superseded memory, and both must have the same owner: anyone who sees one has to see the other.
create function private.memory_arrives() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    new.created_at := private.now();
    new.valid_from := least(new.occurred_at, new.created_at);
    if exists (select from duet.memory_gone g where g.workspace_id = new.workspace_id and g.memory_id = new.id) then
        raise exception 'the id of a memory that is gone is not given again' using errcode = 'unique_violation';
    end if;
    if (private.domain_of(new.workspace_id, new.class) = 'working') <> (new.expires_at is not null) then
        raise exception 'a working memory expires, and no other does' using errcode = 'check_violation';
    end if;
    -- No caller to check when the database's owner imports memories.
    if new.sensitive and (select auth.uid()) is not null and exists (select from duet.memory_class c
                                 where c.workspace_id = new.workspace_id and c.key = new.class and c.egress = 'any') then
        raise exception 'a sensitive memory is for local models until its owner opens it' using errcode = 'check_violation';
    end if;
    return new;
end;
$$;
call private.expose('private', 'memory_arrives');
create trigger memory_arrives before insert on duet.memory for each row execute function private.memory_arrives();

create function private.memory_stored() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    old_one duet.memory;
begin
    if new.supersedes is not null then
        select o.* into old_one from duet.memory o join duet.memory_class c on c.workspace_id = o.workspace_id and c.key = o.class
        join duet.memory_class n on n.workspace_id = new.workspace_id and n.key = new.class
        where o.workspace_id = new.workspace_id and o.id = new.supersedes and c.owner is not distinct from n.owner
          and c.key in (select private.my_classes('read_memory')) and o.redacted_at is null and o.superseded_by is null
        for update of o;
        if not found then
            raise exception 'what a memory supersedes has to be there for its writer' using errcode = 'insufficient_privilege';
        elsif new.live and not private.may_replace(new.workspace_id, old_one.user_id) then
            raise exception 'taking the place of another''s memory is a proposal' using errcode = 'insufficient_privilege';
        end if;
    end if;
    if new.live then
        perform private.index_text(new);
        if new.supersedes is not null then
            perform private.supersede(old_one, new.id, new.valid_from);
        end if;
    end if;
    -- No caller to check when the database's owner imports memories.
    if (select auth.uid()) is not null then
        perform private.audit(new.workspace_id, 'memory.create', 'memory:' || new.id, 'done',
                              jsonb_build_object('supersedes', new.supersedes, 'run', new.from_run));
    end if;
    return null;
end;
$$;
call private.expose('private', 'memory_stored');
create trigger memory_stored after insert on duet.memory for each row execute function private.memory_stored();
