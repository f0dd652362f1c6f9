-- Recomputes the hash chains: finds what was edited, reordered, cut off or removed behind the triggers' back.

-- The number of valid entries in the audit log (`rows`), or the first invalid one (`broken`).
create function private.verify_audit(workspace uuid, out rows bigint, out broken bigint)
language plpgsql stable set search_path = '' as $$
declare
    entry duet.audit_entry;
    head duet.audit_head;
    previous bytea := decode(repeat('00', 32), 'hex');
begin
    rows := 0;
    for entry in select * from duet.audit_entry e where e.workspace_id = workspace order by e.seq loop
        if entry.seq <> rows + 1 then
            broken := rows + 1;
            return;
        end if;
        if entry.chain_hash <> private.hash_of(
            'duet.audit.v1'::bytea, previous, uuid_send(entry.id), uuid_send(workspace), int8send(entry.seq), uuid_send(entry.actor),
            coalesce(uuid_send(entry.agent_id), ''::bytea), convert_to(entry.action, 'UTF8'), convert_to(entry.target, 'UTF8'),
            convert_to(entry.outcome, 'UTF8'), convert_to(entry.details, 'UTF8'), int8send(private.millis(entry.at))) then
            broken := entry.seq;
            return;
        end if;
        rows := entry.seq;
        previous := entry.chain_hash;
    end loop;
    select * into head from duet.audit_head h where h.workspace_id = workspace;
    -- Every workspace has at least the entry of its creation.
    if rows = 0 or (head.seq, head.hash) is distinct from (rows, previous) then
        broken := rows + 1;
    end if;
end;
$$;
call private.expose('private', 'verify_audit');

-- The same for a run's log.
create function private.verify_run(workspace uuid, run uuid, out rows bigint, out broken bigint)
language plpgsql stable set search_path = '' as $$
declare
    event duet.run_event;
    body duet.run_event_payload;
    head duet.run;
    previous bytea := decode(repeat('00', 32), 'hex');
begin
    rows := 0;
    for event in
        select * from duet.run_event e where e.workspace_id = workspace and e.run_id = run order by e.seq
    loop
        select * into body from duet.run_event_payload p
        where p.workspace_id = workspace and p.run_id = run and p.seq = event.seq;
        if event.seq <> rows + 1 then
            broken := rows + 1;
            return;
        end if;
        -- A redacted payload is marked as such; a missing one was removed.
        if event.chain_hash <> private.event_hash(previous, run, event.seq, event.kind, event.at, event.payload_hash)
            or (body.payload is null and body.redacted_at is null)
            or private.payload_hash(body.salt, body.payload) <> event.payload_hash then
            broken := event.seq;
            return;
        end if;
        rows := event.seq;
        previous := event.chain_hash;
    end loop;
    select * into head from duet.run r where r.workspace_id = workspace and r.id = run;
    if (head.last_seq, head.last_hash) is distinct from (rows, previous) then
        broken := rows + 1;
    end if;
end;
$$;
call private.expose('private', 'verify_run');

-- Definer, because it recomputes the chains of all members' runs, of which the owner learns only whether they are valid.
create function private.verify_chains(workspace uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    total bigint;
    chain record;
    run uuid;
begin
    if workspace not in (select private.my_own_workspaces()) then
        return private.refused('owners_only');
    end if;
    chain := private.verify_audit(workspace);
    if chain.broken is not null then
        return private.ok(jsonb_build_object('chain', 'audit', 'seq', chain.broken));
    end if;
    total := chain.rows;
    -- A message still names its run when the run is gone with all its events.
    for run in
        select r.id from duet.run r where r.workspace_id = workspace
        union select m.run_id from duet.message m where m.workspace_id = workspace and m.run_id is not null
        order by 1
    loop
        chain := private.verify_run(workspace, run);
        if chain.broken is not null then
            return private.ok(jsonb_build_object('chain', 'run ' || run, 'seq', chain.broken));
        end if;
        total := total + chain.rows;
    end loop;
    return private.ok(jsonb_build_object('rows', total));
end;
$$;
call private.expose('private', 'verify_chains', 'authenticated');

-- duet_core::ports::AuditLog::verify: the number of valid `rows`, or the `chain` and `seq` of the first invalid one.
create function public.audit_verify(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.verify_chains(p_workspace)
$$;
call private.expose('public', 'audit_verify', 'authenticated');

-- duet_core::ports::SystemStore::audit_heads: the ends of the audit logs, for anchors outside the database.
create function driver.audit_heads(p_after uuid, p_limit int) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(jsonb_build_object(
        'workspace_id', h.workspace_id, 'owner', h.owner, 'seq', h.seq, 'hash', encode(h.hash, 'hex')) order by h.workspace_id), '[]'))
    from (select a.workspace_id, a.seq, a.hash, o.user_id as owner
          from duet.audit_head a
          cross join lateral (select m.user_id from duet.member m
                              where m.workspace_id = a.workspace_id and m.role = 'owner'
                              order by m.joined_at, m.user_id limit 1) o
          where p_after is null or a.workspace_id > p_after
          order by a.workspace_id limit least(greatest(p_limit, 0), 1000)) h
$$;
call private.expose('driver', 'audit_heads', 'duet_worker');
