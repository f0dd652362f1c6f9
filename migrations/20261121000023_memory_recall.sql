-- The reading behind duet_core::recall: everything that ranking looks at, in one answer and so from one snapshot. Ranking itself is
-- duet_core::recall::rank, the same code as on SQLite.
--
-- The answer is columnar: memories are given by their index in `documents`, which is in storage order; `terms` has the number of
-- memories with each query term, `postings` those of the best matches, `nearest` the nearest vectors (by falling cosine, ties by id),
-- `cosines` those of the word matches.
create function public.memory_recall_bundle(
    p_workspace uuid, p_domains text[], p_local boolean, p_terms text[], p_text_pool int, p_widened int, p_reach int,
    p_model text, p_vector text, p_nearest int
) returns jsonb
-- One plan for all queries: planning these statements takes longer than running some of them.
language plpgsql stable set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
    classes bigint[];
    pool int := least(greatest(p_text_pool, 1), 1000);
    widened int := least(greatest(p_widened, 0), 1000);
    reach int := least(greatest(p_reach, 0), 5);
    near int := least(greatest(p_nearest, 0), 1000);
    totals record;
    words record;
    matched record;
    threads bigint := 0;
    threads_length bigint := 0;
    thread_ids uuid[];
    thread_lengths bigint[];
    partition duet.memory_partition;
    question extensions.vector;
    question_code "bit";
    nearest bigint[] := '{}';
    nearest_cosines real[] := '{}';
    neighbours bigint[] := '{}';
    documents record;
    cosines record;
begin
    if cardinality(p_terms) > 64 or octet_length(array_to_string(p_terms, '')) > 65536 or cardinality(p_domains) > 16
        or length(p_model) > 200 or length(p_vector) > 200000 then
        return private.refused('question_size');
    end if;
    perform set_config('duet.only_workspace', p_workspace::text, true);
    -- Row level security leaves only the classes that the caller may see.
    select coalesce(array_agg(c.key), '{}') as classes,
           greatest(coalesce(sum(c.documents), 0), 1)::float8 as scored, coalesce(sum(c.documents), 0) as documents,
           coalesce(sum(c.length), 0) as length,
           greatest(coalesce(sum(c.length), 0) / greatest(coalesce(sum(c.documents), 0), 1)::float8, 1) as average
    into totals from duet.memory_class c
    where c.workspace_id = p_workspace and c.domain = any (p_domains) and (p_local or c.egress = 'any');
    classes := totals.classes;

    -- BM25 as in duet_core::recall::Bm25::memories, to find the best; the scores that count are computed there.
    with found as materialized (
        select asked.place, t.memory, t.frequency, t.length
        from unnest(p_terms) with ordinality as asked (term, place)
        cross join lateral (
            select t.memory, t.frequency, t.length from duet.memory_term t
            where t.workspace_id = p_workspace and t.class = any (classes) and t.term = asked.term
            offset 0) t -- one term at a time: a join would read all terms of the workspace
    ), rarity as materialized (
        select f.place, count(*) as documents,
               ln(1 + (totals.scored - least(count(*), totals.scored) + 0.5) / (least(count(*), totals.scored) + 0.5)) as rarity
        from found f group by f.place
    ), best as materialized (
        select f.memory,
               sum(r.rarity * f.frequency * 2.2 / (f.frequency + 1.2 * (0.5 + 0.5 * f.length / totals.average))) as own
        from found f join rarity r on r.place = f.place
        group by f.memory order by own desc, f.memory limit pool
    )
    select (select array_agg(coalesce(r.documents, 0) order by a.place)
            from generate_series(1, cardinality(p_terms)) as a (place) left join rarity r on r.place = a.place) as documents,
           (select array_agg(b.memory order by b.own desc, b.memory) from best b) as memories,
           array_agg(f.place - 1) as terms_of, array_agg(f.memory) as memories_of, array_agg(f.frequency) as frequencies_of,
           array_agg(f.length) as lengths_of
    -- A subquery that cannot become a join uses a hash table; the planner, which expects few rows, would pick a nested loop.
    into words from found f where coalesce(f.memory in (select b.memory from best b), false);

    -- The neighbours of the best, including those that share no word with the query. The caller does not see expired ones.
    select array_agg(m.key order by b.place) as memories,
           array_agg(m.conversation_id order by b.place) as conversations, array_agg(m.ordinal order by b.place) as ordinals,
           count(m.conversation_id) > 0 as placed
    into matched
    from unnest(words.memories) with ordinality as b (memory, place)
    join duet.memory m on m.workspace_id = p_workspace and m.key = b.memory and m.live;
    if matched.placed then
        neighbours := array(
            select n.key
            from (select distinct b.conversation_id, b.ordinal + distance as ordinal
                  from unnest(matched.conversations[:widened], matched.ordinals[:widened]) as b (conversation_id, ordinal)
                  cross join generate_series(-reach, reach) as distance
                  where b.conversation_id is not null) place
            join duet.memory n on n.workspace_id = p_workspace and n.conversation_id = place.conversation_id
                              and n.ordinal = place.ordinal and n.class = any (classes) and n.live);
        select count(*), coalesce(sum(t.length), 0),
               array_agg(t.conversation_id) filter (where t.conversation_id = any (matched.conversations)),
               array_agg(t.length) filter (where t.conversation_id = any (matched.conversations))
        into threads, threads_length, thread_ids, thread_lengths
        from (select t.conversation_id, sum(t.length) as length from duet.memory_thread t
              where t.workspace_id = p_workspace and t.class = any (classes) group by t.conversation_id) t;
    end if;

    if near > 0 and p_vector is not null then
        question := p_vector::extensions.vector;
        select * into partition from duet.memory_partition p
        where p.workspace_id = p_workspace and p.name = p_model and p.dimensions = extensions.vector_dims(question);
        question_code := private.code_of(question, partition.mean);
    end if;
    if partition.dimensions <= 512 then
        select array_agg(n.memory order by n.cosine desc, n.id), array_agg(n.cosine order by n.cosine desc, n.id)
        into nearest, nearest_cosines
        from (select v.memory, v.cosine, m.id
              from (select v.memory, (- (v.vector operator(extensions.<#>) question))::real as cosine
                    from duet.memory_vector v
                    where v.workspace_id = p_workspace and v.model = partition.model and v.class = any (classes)
                    order by (v.vector operator(extensions.<#>) question) + 0 fetch first near rows with ties) v
              join duet.memory m on m.workspace_id = p_workspace and m.key = v.memory
              order by v.cosine desc, m.id limit near) n;
    elsif partition.dimensions > 512 then
        -- `+ 0` keeps the planner from an approximate index, should one exist: it would filter after choosing.
        select array_agg(n.memory order by n.cosine desc, n.id), array_agg(n.cosine order by n.cosine desc, n.id)
        into nearest, nearest_cosines
        from (select v.memory, v.cosine, m.id
              from (select v.memory, (- (v.vector operator(extensions.<#>) question))::real as cosine
                    from (select c.memory from duet.memory_code c
                          where c.workspace_id = p_workspace and c.model = partition.model and c.class = any (classes)
                          order by (c.code operator(extensions.<~>) question_code) + 0
                          limit greatest(400, 4 * near)) candidate
                    join duet.memory_vector v on v.workspace_id = p_workspace and v.memory = candidate.memory
                    order by (v.vector operator(extensions.<#>) question) + 0 fetch first near rows with ties) v
              join duet.memory m on m.workspace_id = p_workspace and m.key = v.memory
              order by v.cosine desc, m.id limit near) n;
    end if;

    select array_agg(d.key order by d.key) as keys,
           jsonb_build_object('id', array_agg(d.id order by d.key), 'conversation_id', array_agg(d.conversation_id order by d.key),
                              'ordinal', array_agg(d.ordinal order by d.key),
                              'occurred_at', array_agg((extract(epoch from d.occurred_at) * 1000)::bigint order by d.key)) as columns
    into documents
    from duet.memory d
    where d.workspace_id = p_workspace and d.key = any (matched.memories || neighbours || nearest) and d.live;
    select array_agg(v.memory) as memories, array_agg((- (v.vector operator(extensions.<#>) question))::real) as cosines
    into cosines
    from duet.memory_vector v
    where v.workspace_id = p_workspace and v.model = partition.model and v.memory = any (matched.memories || neighbours)
      and v.memory <> all (coalesce(nearest, '{}'));

    perform set_config('duet.only_workspace', '', true);
    -- Keys count all memories of the installation, so they stay inside it.
    return private.ok(jsonb_build_object(
        'totals', jsonb_build_object('documents', totals.documents, 'length', totals.length),
        'terms', words.documents, 'documents', documents.columns,
        'postings', (select jsonb_build_object('term', array_agg(f.term), 'memory', array_agg(d.place - 1),
                                               'frequency', array_agg(f.frequency), 'length', array_agg(f.length))
                     from unnest(words.terms_of, words.memories_of, words.frequencies_of, words.lengths_of)
                         as f (term, memory, frequency, length)
                     join unnest(documents.keys) with ordinality as d (key, place) on d.key = f.memory),
        'conversations', jsonb_build_object('documents', threads, 'length', threads_length, 'id', thread_ids, 'of', thread_lengths),
        'nearest', (select jsonb_build_object('memory', array_agg(d.place - 1 order by n.place),
                                              'cosine', array_agg(n.cosine order by n.place))
                    from unnest(nearest, nearest_cosines) with ordinality as n (memory, cosine, place)
                    join unnest(documents.keys) with ordinality as d (key, place) on d.key = n.memory),
        'cosines', (select jsonb_build_object('memory', array_agg(d.place - 1), 'cosine', array_agg(c.cosine))
                    from unnest(cosines.memories, cosines.cosines) as c (memory, cosine)
                    join unnest(documents.keys) with ordinality as d (key, place) on d.key = c.memory)));
end;
$$;
call private.expose('public', 'memory_recall_bundle', 'authenticated', 'duet_agent');
