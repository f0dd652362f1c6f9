-- The memory part of duet_core::ports::SystemStore: embedding behind the writes, and maintenance.

-- duet_core::ports::SystemStore::unembedded: the oldest memory of each workspace, then the next of each. Three ranges of one index,
-- oldest first in each, instead of a scan past everything already embedded. No model has key 0: with a model that has no vectors yet,
-- everything is left to embed.
create function driver.memory_unembedded(p_model text, p_dimensions int, p_local boolean, p_limit int) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    model int := coalesce((select e.key from duet.embedding_model e where e.name = p_model and e.dimensions = p_dimensions), 0);
    most int := least(greatest(p_limit, 0), 1000);
begin
    return (
        select private.ok(coalesce(jsonb_agg(found.json order by found.place, found.key), '[]'))
        from (
            select turn.place, turn.key, private.memory_json(m, c) as json
            from (
                select lacking.workspace_id, lacking.key,
                       row_number() over (partition by lacking.workspace_id order by lacking.key) as place
                from duet.workspace w
                cross join lateral (
                    (select m.workspace_id, m.key from duet.memory m
                     join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                     where m.workspace_id = w.id and m.live and m.embedded is null
                       and (p_local or (c.egress = 'any' and not m.sensitive))
                       and not exists (select from duet.memory_refusal f
                                       where f.workspace_id = w.id and f.memory = m.key and f.model = p_model
                                         and f.dimensions = p_dimensions and f.retry_at > at)
                     order by m.key limit most)
                    union all
                    (select m.workspace_id, m.key from duet.memory m
                     join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                     where m.workspace_id = w.id and m.live and m.embedded < model
                       and (p_local or (c.egress = 'any' and not m.sensitive))
                       and not exists (select from duet.memory_refusal f
                                       where f.workspace_id = w.id and f.memory = m.key and f.model = p_model
                                         and f.dimensions = p_dimensions and f.retry_at > at)
                     order by m.embedded, m.key limit most)
                    union all
                    (select m.workspace_id, m.key from duet.memory m
                     join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
                     where m.workspace_id = w.id and m.live and m.embedded > model
                       and (p_local or (c.egress = 'any' and not m.sensitive))
                       and not exists (select from duet.memory_refusal f
                                       where f.workspace_id = w.id and f.memory = m.key and f.model = p_model
                                         and f.dimensions = p_dimensions and f.retry_at > at)
                     order by m.embedded, m.key limit most)
                ) lacking
                order by place, lacking.key limit most
            ) turn
            join duet.memory m on m.workspace_id = turn.workspace_id and m.key = turn.key
            join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
        ) found);
end;
$$;
call private.expose('driver', 'memory_unembedded', 'duet_worker');

-- duet_core::ports::SystemStore::put_off_embeddings: for a minute, doubling with each further refusal, up to a day.
create function driver.memory_put_off(p_model text, p_dimensions int, p_items jsonb) returns jsonb
language sql volatile security definer set search_path = '' as $$
    insert into duet.memory_refusal as f (workspace_id, memory, model, dimensions, times, retry_at)
    select m.workspace_id, m.key, p_model, p_dimensions, 1, private.now() + interval '1 minute'
    from jsonb_to_recordset(p_items) as i (workspace uuid, memory uuid)
    join duet.memory m on m.workspace_id = i.workspace and m.id = i.memory and m.live
    order by m.workspace_id, m.key
    on conflict (workspace_id, memory) do update set
        model = excluded.model, dimensions = excluded.dimensions,
        times = case when (f.model, f.dimensions) = (excluded.model, excluded.dimensions) then least(f.times + 1, 20) else 1 end,
        retry_at = private.now() + case when (f.model, f.dimensions) = (excluded.model, excluded.dimensions)
            then least(interval '1 minute' * (2 ^ least(f.times, 20)), interval '1 day') else interval '1 minute' end;
    select private.ok('null');
$$;
call private.expose('driver', 'memory_put_off', 'duet_worker');

-- Registers a model that the server embeds with, so that its vectors are kept.
create function driver.memory_model(p_model text, p_dimensions int) returns jsonb
language sql volatile security definer set search_path = '' as $$
    insert into duet.embedding_model (name, dimensions) values (p_model, p_dimensions) on conflict do nothing;
    select private.ok('null');
$$;
call private.expose('driver', 'memory_model', 'duet_worker');

-- duet_core::ports::SystemStore::put_embeddings, in a batch: workspace, memory, model and vector of each. Skips memories that are
-- gone, superseded or redacted by now.
create function driver.memory_put_embeddings(p_items jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    item record;
    target duet.memory;
    grown record;
begin
    insert into duet.embedding_model (name, dimensions)
    select distinct i.model, extensions.vector_dims(i.vector::extensions.vector)
    from jsonb_to_recordset(p_items) as i (workspace uuid, memory uuid, model text, vector text)
    join duet.memory m on m.workspace_id = i.workspace and m.id = i.memory and m.live
    order by 1, 2
    on conflict do nothing;
    -- In key order, so that two batches do not deadlock.
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

-- Deletes expired working memories, some at a time, recomputes the means of grown partitions, and drops partitions and models that
-- have no vectors left; returns how many memories it deleted.
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
        insert into duet.memory_gone values (gone.workspace_id, gone.id);
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
    delete from duet.memory_partition p
    where (p.workspace_id, p.model) in (
        select e.workspace_id, e.model from duet.memory_partition e
        where e.vectors = 0
          and not exists (select from duet.memory_vector v where v.workspace_id = e.workspace_id and v.model = e.model)
        order by e.workspace_id, e.model limit 1000 for update skip locked);
    -- A newly registered model has no vectors yet.
    delete from duet.embedding_model e
    where e.made_at < private.now() - interval '1 day' and not exists (select from duet.memory_partition p where p.model = e.key);
    return private.ok(to_jsonb(swept));
end;
$$;
call private.expose('driver', 'memory_sweep', 'duet_worker');
