-- Runs as the server drives them: claims, leases, log writes, the outbox. All of it is in `driver`; every write by a worker carries
-- its lease token, and a lost lease writes nothing. Only this database's clock counts for leases.
--
-- A worker that misses the answer to a write repeats it under the same commit id: if the first attempt was written, it gets the same
-- answer, unless another worker has taken over the run.

-- The run that this lease holds, locked; no row if the lease is lost. Repeating the newest write writes nothing, so for that the
-- lease may have expired, as long as it is still the run's.
create function private.held_run(run uuid, lease uuid, commit uuid) returns setof duet.run
language sql volatile set search_path = '' as $$
    select r.* from duet.run r
    where r.id = run and r.lease_token = lease and r.status = 'running'
      and (r.commit_id = commit or r.lease_until > private.now())
    for no key update of r
$$;
call private.expose('private', 'held_run');

create function private.lost_lease() returns jsonb
language sql immutable set search_path = '' as $$
    select private.refused('lease_lost')
$$;
call private.expose('private', 'lost_lease');

-- Appends a worker's events under the id of its write.
create function private.append_commit(held duet.run, commit uuid, progress boolean, events jsonb) returns duet.run
language plpgsql volatile set search_path = '' as $$
begin
    held.commit_id := commit;
    held.commit_seq := held.last_seq + 1;
    held.stalls := case when progress then 0 else held.stalls end;
    return private.append_events(held, events);
end;
$$;
call private.expose('private', 'append_commit');

-- duet_core::ports::RunLog::heartbeat
create function driver.heartbeat_run(p_run uuid, p_lease uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    held duet.run;
begin
    update duet.run r set lease_until = private.now() + r.lease_millis * interval '1 millisecond'
    where r.id = p_run and r.lease_token = p_lease and r.lease_until > private.now() and r.status = 'running'
    returning * into held;
    if not found then
        return private.lost_lease();
    end if;
    return private.ok(to_jsonb(held.last_seq));
end;
$$;
call private.expose('driver', 'heartbeat_run', 'duet_worker');

-- Stores the reply, or extends an existing one, with the labels of everything its run has read.
create function private.keep_reply(held duet.run, status text, content text, trace jsonb) returns void
language plpgsql volatile set search_path = '' as $$
declare
    at timestamptz := private.now();
    asked duet.message;
    here duet.conversation;
    before uuid;
begin
    -- The conversation before its messages, as where a branch is shown.
    perform from duet.conversation c where c.workspace_id = held.workspace_id and c.id = held.conversation_id for no key update;
    -- Text redacted in the meantime stays redacted.
    if exists (select from duet.message m
               where m.workspace_id = held.workspace_id and m.id = held.reply_id and m.status = 'redacted') then
        return;
    end if;
    update duet.message m
    set status = keep_reply.status, text = content, trace = keep_reply.trace, run_id = held.id, agent_id = held.agent_id,
        labels = m.labels | held.labels
    where m.workspace_id = held.workspace_id and m.id = held.reply_id and m.answers_id = held.message_id;
    if found then
        update duet.conversation c set updated_at = at where c.workspace_id = held.workspace_id and c.id = held.conversation_id;
        return;
    end if;
    update duet.conversation c set last_ordinal = c.last_ordinal + 1, updated_at = at
    where c.workspace_id = held.workspace_id and c.id = held.conversation_id
    returning c.* into strict here;
    select m.* into strict asked from duet.message m where m.workspace_id = held.workspace_id and m.id = held.message_id;
    -- A late reply follows whatever is shown by now; where what it answers is not, it goes on with that branch, unseen.
    before := case when not asked.aside then here.head_id else coalesce((
        select m.id from duet.message m
        where m.workspace_id = held.workspace_id and m.answers_id = asked.id and m.run_id = held.id
        order by m.ordinal desc limit 1), asked.id) end;
    insert into duet.message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, answers_id, aside,
                              run_id, agent_id, trace, labels, created_at)
    values (held.workspace_id, held.reply_id, held.conversation_id, held.user_id, here.last_ordinal, 'assistant', status, content,
            before, asked.id, asked.aside, held.id, held.agent_id, trace, held.labels, at);
    if not asked.aside then
        update duet.conversation c set head_id = held.reply_id
        where c.workspace_id = held.workspace_id and c.id = held.conversation_id;
    end if;
end;
$$;
call private.expose('private', 'keep_reply');

-- Ends a run: it releases the lease, and nothing may follow. What it asked cannot be decided any more.
create function private.end_run(held duet.run, final_status text, why text) returns duet.run
language plpgsql volatile set search_path = '' as $$
declare
    ended duet.run;
begin
    update duet.run r
    set status = final_status, reason = why, lease_token = null, lease_until = null,
        commit_id = held.commit_id, commit_seq = held.commit_seq, updated_at = greatest(private.now(), r.updated_at)
    where r.workspace_id = held.workspace_id and r.id = held.id
    returning r.* into ended;
    perform private.void_requests(held, 'run_ended');
    perform private.hint_changed(held.workspace_id, held.user_id, 'runs');
    return ended;
end;
$$;
call private.expose('private', 'end_run');

-- Lets a run wait: it has no lease any more, and its conversation is free. What it has said so far is stored; its next reply is
-- another message then.
create function private.suspend_run(held duet.run, next_reply uuid) returns void
language plpgsql volatile set search_path = '' as $$
begin
    update duet.run r
    set status = 'waiting', holds = false, reply_id = coalesce(next_reply, r.reply_id), lease_token = null, lease_until = null,
        updated_at = greatest(private.now(), r.updated_at)
    where r.workspace_id = held.workspace_id and r.id = held.id;
    perform private.hint_changed(held.workspace_id, held.user_id, 'runs');
end;
$$;
call private.expose('private', 'suspend_run');

-- duet_core::ports::RunLog::commit: `interleaved` is what others appended after `p_after`, `first` the number of the worker's first
-- event, `at` its time. `p_progress` says that these events complete an effect. `p_asks` and `p_uses` are lists of what the run asks of
-- people and of the approvals that it uses up. `p_then` is null where the worker keeps the run, {reply, next_reply} where it waits, and
-- {reply, status, reason} where it ends; a reply is {status, text, trace}, or null.
create function driver.commit_run(
    p_run uuid, p_lease uuid, p_after bigint, p_commit uuid, p_progress boolean, p_events jsonb, p_asks jsonb, p_uses jsonb, p_then jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    held duet.run;
    final_status text := p_then ->> 'status';
    reply jsonb := nullif(p_then -> 'reply', 'null');
    refusal jsonb;
    first bigint;
    at timestamptz;
begin
    if final_status in ('queued', 'running', 'waiting') then
        return private.refused('not_an_end', jsonb_build_object('status', final_status));
    end if;
    select * into held from private.held_run(p_run, p_lease, p_commit);
    if not found and p_then is not null then
        -- Let go by this very write: nobody holds it any more.
        select * into held from duet.run r
        where r.id = p_run and r.commit_id = p_commit and r.lease_token is null
          and case when final_status is not null then not r.active else exists (
              select from duet.run_event e
              where e.workspace_id = r.workspace_id and e.run_id = r.id and e.seq >= r.commit_seq and e.kind = 'suspended') end;
    end if;
    if held.id is null then
        return private.lost_lease();
    elsif held.commit_id = p_commit then
        first := held.commit_seq;
        select e.at into at from duet.run_event e
        where e.workspace_id = held.workspace_id and e.run_id = p_run and e.seq = first;
    elsif p_after > held.last_seq then
        return private.refused('not_folded', jsonb_build_object('events', held.last_seq, 'after', p_after));
    elsif p_after < held.last_seq and p_then is not null then
        return private.refused('log_grew');
    else
        if p_asks <> '[]' or p_uses <> '[]' then
            refusal := coalesce(private.refuse_asking(held, p_asks), private.use_approvals(held, p_uses, p_events));
            -- A refusal is no error: nothing may have been written by now.
            if refusal is not null then
                return refusal;
            end if;
            perform private.ask_people(held, p_asks, p_events);
        end if;
        first := held.last_seq + 1;
        held := private.append_commit(held, p_commit, p_progress, p_events);
        at := held.updated_at;
        if reply is not null then
            perform private.keep_reply(held, reply ->> 'status', reply ->> 'text', nullif(reply -> 'trace', 'null'));
        end if;
        if final_status is not null then
            perform private.end_run(held, final_status, p_then ->> 'reason');
        elsif p_then is not null then
            perform private.suspend_run(held, case when reply is not null then (p_then ->> 'next_reply')::uuid end);
        end if;
    end if;
    return private.ok(jsonb_build_object(
        'interleaved', case when p_after < first - 1
            then private.events_json(held.workspace_id, p_run, p_after, (first - 1 - p_after)::int, 0) else '[]' end,
        'first', first, 'at', at));
end;
$$;
call private.expose('driver', 'commit_run', 'duet_worker');

-- duet_core::ports::RunLog::hand_back: a leaving worker does not count against the run.
create function driver.hand_back_run(p_run uuid, p_lease uuid, p_leaving boolean) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    update duet.run r
    set status = 'queued', lease_token = null, lease_until = null,
        stalls = case when p_leaving then greatest(r.stalls - 1, 0) else r.stalls end
    where r.id = p_run and r.lease_token = p_lease and r.lease_until > private.now() and r.status = 'running';
    if not found then
        return private.lost_lease();
    end if;
    perform private.hint_queued(r.workspace_id) from duet.run r where r.id = p_run and r.status = 'queued';
    return private.ok('null');
end;
$$;
call private.expose('driver', 'hand_back_run', 'duet_worker');

-- Appends to an active run's log, and queues the run if it was waiting. The caller has locked it. `progress` as in
-- private.append_commit.
create function private.wake_run(here duet.run, events jsonb, progress boolean) returns duet.run
language plpgsql volatile set search_path = '' as $$
begin
    if not here.active then
        return here;
    end if;
    here.stalls := case when progress then 0 else here.stalls end;
    here := private.append_events(here, events);
    if here.status = 'waiting' then
        update duet.run r set status = 'queued' where r.workspace_id = here.workspace_id and r.id = here.id returning r.* into here;
        perform private.hint_queued(here.workspace_id);
        perform private.hint_changed(here.workspace_id, here.user_id, 'runs');
    end if;
    return here;
end;
$$;
call private.expose('private', 'wake_run');

-- Ends a run that no worker holds and that has nothing more to say: it waits, or never began. What it has used stands in its newest
-- suspension.
create function private.end_waiting(here duet.run, why text) returns duet.run
language plpgsql volatile set search_path = '' as $$
declare
    spent jsonb := coalesce((
        select p.payload::jsonb from duet.run_event e
        join duet.run_event_payload p on p.workspace_id = e.workspace_id and p.run_id = e.run_id and p.seq = e.seq
        where e.workspace_id = here.workspace_id and e.run_id = here.id and e.kind <> 'delta' and e.kind = 'suspended'
        order by e.seq desc limit 1), '{"usage": {"input_tokens": 0, "output_tokens": 0}, "cost_micros": 0}');
begin
    here := private.append_events(here, private.made_event('cancel',
        jsonb_build_object('type', 'cancel_requested', 'by', (select auth.uid()))));
    here := private.append_events(here, private.made_event('done', jsonb_build_object(
        'type', 'finished', 'outcome', jsonb_build_object('outcome', 'cancelled'), 'reply', null,
        'usage', spent -> 'usage', 'cost_micros', spent -> 'cost_micros')));
    return private.end_run(here, 'cancelled', why);
end;
$$;
call private.expose('private', 'end_waiting');

-- Parks a run that nobody will drive any more; closes its log, so that readers know.
create function private.park_run(held duet.run, why text) returns void
language plpgsql volatile set search_path = '' as $$
begin
    held := private.append_events(held, private.made_event('done', jsonb_build_object(
        'type', 'finished', 'outcome', jsonb_build_object('outcome', 'interrupted'), 'reply', null,
        'usage', jsonb_build_object('input_tokens', 0, 'output_tokens', 0), 'cost_micros', null)));
    perform private.end_run(held, 'parked', why);
end;
$$;
call private.expose('private', 'park_run');

-- Ends a claimed run that its worker cannot read.
create function driver.park_run(p_run uuid, p_lease uuid, p_reason text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    held duet.run;
begin
    select * into held from private.held_run(p_run, p_lease, null);
    if not found then
        return private.lost_lease();
    end if;
    perform private.park_run(held, p_reason);
    return private.ok('null');
end;
$$;
call private.expose('driver', 'park_run', 'duet_worker');

-- duet_core::ports::SystemStore::claim_run: the oldest run that is queued or has lost its worker. Skips rows that another worker is
-- claiming, and runs with event kinds that this worker does not know.
create function driver.claim_run(p_lease uuid, p_lease_millis bigint, p_max_attempts int, p_kinds text[]) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    found_run duet.run;
    person_role text;
begin
    loop
        select r.* into found_run from duet.run r
        where r.claimable and (r.status = 'queued' or r.lease_until <= private.now())
          and not exists (select from duet.run_event e
                          where e.workspace_id = r.workspace_id and e.run_id = r.id and e.kind <> 'delta' and e.kind <> all (p_kinds))
        order by r.created_at, r.id limit 1
        for no key update of r skip locked;
        if not found then
            return private.ok('null');
        end if;
        -- The role holds for as long as the lease: whoever changes it takes the run back.
        select m.role into person_role from duet.member m
        where m.workspace_id = found_run.workspace_id and m.user_id = found_run.user_id for share;
        if not found then
            perform private.park_run(found_run, 'The person who started it is no longer a member of this workspace.');
            continue;
        end if;
        if found_run.stalls >= p_max_attempts then
            perform private.park_run(found_run, format(
                'Given up after %s attempts that came to nothing. Try again.', found_run.stalls));
            continue;
        end if;
        update duet.run r
        set status = 'running', attempt = r.attempt + 1, stalls = r.stalls + 1, lease_token = p_lease, lease_millis = p_lease_millis,
            lease_until = private.now() + p_lease_millis * interval '1 millisecond',
            updated_at = greatest(private.now(), r.updated_at)
        where r.workspace_id = found_run.workspace_id and r.id = found_run.id
        returning * into found_run;
        return private.ok(jsonb_build_object(
            'run', private.run_json(found_run), 'role', person_role, 'lease', p_lease,
            'log', private.events_json(found_run.workspace_id, found_run.id, 0, found_run.last_seq::int, found_run.last_seq)));
    end loop;
end;
$$;
call private.expose('driver', 'claim_run', 'duet_worker');

-- duet_core::ports::SystemStore::take_outbox; notifies the relays of all processes, once per run and once per other hint. A hint may
-- arrive twice but not get lost, so nothing waits for the disk here.
create function driver.take_outbox(p_limit int) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    hints jsonb;
begin
    perform set_config('synchronous_commit', 'off', true);
    with taken as (
        delete from duet.run_event_outbox o
        where o.id in (select n.id from duet.run_event_outbox n order by n.id limit greatest(p_limit, 0) for update skip locked)
        returning o.*
    )
    select coalesce(jsonb_agg(case
        when t.run_id is not null then jsonb_build_object('hint', 'run', 'run', t.run_id, 'last_seq', t.last_seq)
        when t.changed is null then '{"hint": "queued"}'
        else jsonb_build_object('hint', 'person', 'workspace', t.workspace_id, 'user', t.user_id, 'changed', t.changed)
        end order by t.id), '[]') into hints
    from taken t;
    perform pg_notify('duet_run', (h ->> 'run') || ' ' || max((h ->> 'last_seq')::bigint))
    from jsonb_array_elements(hints) h where h ->> 'hint' = 'run' group by h ->> 'run';
    perform pg_notify('duet_hint', h::text) from (select distinct h from jsonb_array_elements(hints) h where h ->> 'hint' <> 'run') t (h);
    return private.ok(hints);
end;
$$;
call private.expose('driver', 'take_outbox', 'duet_worker');

-- The heads of these runs' logs, for a relay that missed notifications.
create function driver.run_heads(p_runs uuid[]) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(jsonb_build_object('run', r.id, 'last_seq', r.last_seq)), '[]'))
    from duet.run r where r.id = any (p_runs)
$$;
call private.expose('driver', 'run_heads', 'duet_worker');

-- duet_core::ports::SystemStore::sweep, except its memory part.
create function driver.sweep() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    requests bigint;
    sessions bigint;
    keys bigint;
    devices bigint;
begin
    requests := private.expire_requests();
    delete from duet.session s where s.expires_at <= at;
    get diagnostics sessions = row_count;
    delete from duet.idempotency_key k where k.expires_at <= at;
    get diagnostics keys = row_count;
    delete from duet.device_login d where d.expires_at <= at - interval '1 hour';
    get diagnostics devices = row_count;
    return private.ok(to_jsonb(requests + sessions + keys + devices));
end;
$$;
call private.expose('driver', 'sweep', 'duet_worker');
