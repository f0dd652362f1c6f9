-- The memory part of duet_core::ports::SystemStore: embedding behind the writes, and upkeep.

-- duet_core::ports::SystemStore::unembedded. Three ranges of one index, oldest first in each, instead of a scan past everything that is
-- embedded already. No model has key 0: one that has no vector yet leaves everything to be embedded.
create function driver.memory_unembedded(p_model text, p_dimensions int, p_local boolean, p_limit int) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    model int := coalesce((select e.key from duet.embedding_model e where e.name = p_model and e.dimensions = p_dimensions), 0);
    most int := least(greatest(p_limit, 0), 1000);
begin
    return (
        select private.ok(coalesce(jsonb_agg(found.json order by found.key), '[]'))
        from (
            select lacking.key, private.memory_json(m, c) as json
            from (
                (select m.workspace_id, m.key from duet.memory m
                 join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                 where m.live and m.embedded is null and (p_local or (c.egress = 'any' and not m.sensitive)) order by m.key limit most)
                union all
                (select m.workspace_id, m.key from duet.memory m
                 join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                 where m.live and m.embedded < model and (p_local or (c.egress = 'any' and not m.sensitive))
                 order by m.embedded, m.key limit most)
                union all
                (select m.workspace_id, m.key from duet.memory m
                 join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                 where m.live and m.embedded > model and (p_local or (c.egress = 'any' and not m.sensitive))
                 order by m.embedded, m.key limit most)
            ) lacking
            join duet.memory m on m.workspace_id = lacking.workspace_id and m.key = lacking.key
            join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
            order by lacking.key limit most) found);
end;
$$;
call private.expose('driver', 'memory_unembedded', 'duet_worker');

-- duet_core::ports::SystemStore::put_embeddings, a batch: workspace, memory, model and vector of each. Memories that are gone,
-- superseded or redacted by now are passed over.
create function driver.memory_put_embeddings(p_items jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    item record;
    target duet.memory;
    grown record;
begin
    -- In the order of their keys, so that two batches do not wait for each other.
    for item in
        select i.workspace, i.memory, i.model, i.vector
        from jsonb_to_recordset(p_items) as i (workspace uuid, memory uuid, model text, vector text) order by i.workspace, i.memory
    loop
        select m.* into target from duet.memory m where m.workspace_id = item.workspace and m.id = item.memory and m.live for update;
        if found then
            perform private.put_vector(target, item.model, item.vector::extensions.vector);
        end if;
    end loop;
    for grown in
        select p.workspace_id, p.model from duet.memory_partition p
        where p.workspace_id in (select (i ->> 'workspace')::uuid from jsonb_array_elements(p_items) i)
          and p.dimensions > 512 and p.vectors >= 256 and p.vectors >= 4 * p.mean_of
        order by p.workspace_id, p.model
    loop
        perform private.recentre(grown.workspace_id, grown.model);
    end loop;
    return private.ok('null');
end;
$$;
call private.expose('driver', 'memory_put_embeddings', 'duet_worker');

-- duet_core::ports::SystemStore::embedding_progress
create function driver.memory_embedding_progress(p_model text, p_dimensions int, p_local boolean) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok(jsonb_build_object('total', count(*), 'embedded', count(*) filter (where m.embedded = e.key)))
    from duet.memory m join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
    left join duet.embedding_model e on e.name = p_model and e.dimensions = p_dimensions
    where m.live and (p_local or (c.egress = 'any' and not m.sensitive))
$$;
call private.expose('driver', 'memory_embedding_progress', 'duet_worker');

-- Deletes expired working memories, some at a time, and takes the means of grown partitions anew; returns how many memories went.
create function driver.memory_sweep(p_limit int) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    gone duet.memory;
    grown record;
    swept bigint := 0;
begin
    for gone in
        select m.* from duet.memory m where m.expires_at <= private.now()
        order by m.expires_at limit least(greatest(p_limit, 0), 1000) for update skip locked
    loop
        perform private.unindex_text(gone);
        perform private.remove_vector(gone);
        delete from duet.memory m where m.workspace_id = gone.workspace_id and m.id = gone.id;
        swept := swept + 1;
    end loop;
    for grown in
        select p.workspace_id, p.model from duet.memory_partition p
        where p.dimensions > 512 and p.vectors >= 256 and p.vectors >= 4 * p.mean_of
        order by p.workspace_id, p.model limit 10
    loop
        perform private.recentre(grown.workspace_id, grown.model);
    end loop;
    return private.ok(to_jsonb(swept));
end;
$$;
call private.expose('driver', 'memory_sweep', 'duet_worker');
