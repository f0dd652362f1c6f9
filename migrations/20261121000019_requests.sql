-- Requests: what runs ask of people. A person reads those of their own runs, and an owner those that wait for an owner; nobody writes
-- them but the functions here. Lock order: the run, then its requests.

-- `arguments` and `approved` are JSON in its canonical form (RFC 8785); `approved` is what was approved, which a person may have changed.
-- Redaction empties every text and the salt. Something may still come of a `pending` one: a decision, or the use of an approval.
create table duet.request (
    workspace_id    uuid not null,
    id              uuid not null,
    run_id          uuid not null,
    user_id         uuid not null,
    conversation_id uuid not null,
    step            int not null,
    position        int not null,
    agent_id        uuid not null,
    kind            text not null check (kind in ('approval', 'question', 'review')),
    tool            text not null check (octet_length(tool) <= 200),
    arguments       text check (octet_length(arguments) <= 65536),
    salt            bytea check (length(salt) = 16),
    hash            bytea not null check (length(hash) = 32),
    why             text not null check (octet_length(why) <= 8192),
    decider         text not null check (decider in ('asker', 'owner')),
    policy_version  int not null,
    labels          int not null check (labels between 0 and 15),
    state           text not null check (state in ('open', 'approved', 'rejected', 'answered', 'dismissed', 'expired', 'voided')),
    decision        jsonb check (octet_length(decision::text) <= 262144),
    approved        text check (octet_length(approved) <= 65536),
    decided_by      uuid,
    decided_at      timestamptz(3),
    used_at         timestamptz(3),
    pending         boolean not null generated always as (state = 'open' or state = 'approved' and used_at is null) stored,
    redacted_at     timestamptz(3),
    expires_at      timestamptz(3) not null check (private.is_time(expires_at)),
    created_at      timestamptz(3) not null,
    primary key (workspace_id, id),
    foreign key (workspace_id, run_id) references duet.run (workspace_id, id),
    check ((state = 'open') = (decided_at is null)),
    check (used_at is null or state = 'approved'),
    check ((redacted_at is null) = (arguments is not null) and (arguments is null) = (salt is null)),
    check (redacted_at is null or (why = '' and decision is null and approved is null))
);
create index request_by_run on duet.request (workspace_id, run_id);
create index request_by_person on duet.request (workspace_id, user_id, created_at, id);
create index request_open on duet.request (workspace_id, created_at, id) where state = 'open';
create index request_pending on duet.request (workspace_id, user_id, run_id) where pending;
create index request_by_expiry on duet.request (expires_at) where pending;

-- What was asked stays as it was asked, and a decision is final.
create function private.request_fixed() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'UPDATE'
        and (new.workspace_id, new.id, new.run_id, new.user_id, new.conversation_id, new.step, new.position, new.agent_id, new.kind,
             new.tool, new.hash, new.decider, new.policy_version, new.labels, new.expires_at, new.created_at)
          = (old.workspace_id, old.id, old.run_id, old.user_id, old.conversation_id, old.step, old.position, old.agent_id, old.kind,
             old.tool, old.hash, old.decider, old.policy_version, old.labels, old.expires_at, old.created_at)
        and (new.arguments is null or new.arguments is not distinct from old.arguments)
        and (new.approved is null or old.state = 'open' or new.approved is not distinct from old.approved)
        and (old.state = 'open' or new.state = old.state or old.pending and new.state in ('expired', 'voided'))
        and (old.used_at is null or new.used_at is not distinct from old.used_at)
        and (old.redacted_at is null or new.redacted_at is not distinct from old.redacted_at)
        and (new.redacted_at is not null or (new.why, new.salt) = (old.why, old.salt))
        -- Decided once, then at most out of time, voided or redacted.
        and (old.state = 'open' or new.state <> old.state
             or (new.decided_by, new.decided_at) is not distinct from (old.decided_by, old.decided_at)
                and (new.decision is not distinct from old.decision or new.redacted_at is not null and new.decision is null)) then
        return new;
    end if;
    raise exception 'a request stays as it was asked, and as it was decided' using errcode = 'restrict_violation';
end;
$$;
call private.expose('private', 'request_fixed');
create trigger request_fixed before update or delete on duet.request
    for each row execute function private.request_fixed();
create trigger request_kept before truncate on duet.request
    for each statement execute function private.append_only();

call private.seclude('duet.request');
grant select on duet.request to authenticated;
create policy request_read on duet.request for select to authenticated
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces()))
           or decider = 'owner' and workspace_id = any (array(select private.my_own_workspaces())));

-- Another person's conversation is not named to an owner who decides.
create function private.request_json(request duet.request) returns jsonb
language sql stable set search_path = '' as $$
    select to_jsonb(request) - '{step,position,salt,hash,approved,pending,redacted_at}'::text[] || jsonb_build_object(
        'effect', jsonb_build_object('step', request.step, 'index', request.position),
        'labels', private.labels_json(request.labels),
        'conversation_id', case when request.user_id = (select auth.uid()) then request.conversation_id end)
$$;
call private.expose('private', 'request_json', 'authenticated');

-- Tells whoever decides that their Inbox has changed. An owner's request is in the Inbox of every owner.
create function private.hint_inbox(request duet.request) returns void
language sql volatile set search_path = '' as $$
    select private.hint_changed(request.workspace_id, m.user_id, 'inbox') from duet.member m
    where m.workspace_id = request.workspace_id
      and case request.decider when 'asker' then m.user_id = request.user_id else m.role = 'owner' end
$$;
call private.expose('private', 'hint_inbox');

-- Null, or why a run may not ask this: it or its person's other runs have asked enough, or the policy has changed since it was read.
-- Whether something happened is asked in any case: a worker was lost for it, which nobody can repeat at will.
create function private.refuse_asking(held duet.run, asks jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    newest int := (select max(p.version) from duet.policy_version p where p.workspace_id = held.workspace_id);
    asked int := (select count(*) from jsonb_array_elements(asks) a where a ->> 'kind' <> 'review');
    of_run bigint;
    of_person bigint;
begin
    select count(*) filter (where q.run_id = held.id), count(*) into of_run, of_person
    from duet.request q where q.workspace_id = held.workspace_id and q.user_id = held.user_id and q.pending;
    if asked > 0 and asked + of_run > 16 then
        return private.refused('too_many_requests', '{"most": 16}');
    elsif asked > 0 and asked + of_person > 200 then
        return private.refused('too_many_requests', '{"most": 200}');
    elsif exists (select from jsonb_array_elements(asks) a
                  where a ->> 'kind' = 'approval' and (a ->> 'policy_version')::int is distinct from newest) then
        return private.refused('approval_stale');
    end if;
    return null;
end;
$$;
call private.expose('private', 'refuse_asking');

-- Stores what a run asks. The labels are those that the run has after the events of this write.
create function private.ask_people(held duet.run, asks jsonb, events jsonb) returns void
language plpgsql volatile set search_path = '' as $$
declare
    asked duet.request;
begin
    for asked in
        insert into duet.request (workspace_id, id, run_id, user_id, conversation_id, step, position, agent_id, kind, tool, arguments, salt,
                                  hash, why, decider, policy_version, labels, state, expires_at, created_at)
        select held.workspace_id, a.id, held.id, held.user_id, held.conversation_id, a.step, a.position, held.agent_id, a.kind, a.tool,
               a.arguments, decode(a.salt, 'hex'), decode(a.hash, 'hex'), a.why, a.decider, a.policy_version,
               held.labels | private.labels_of_events(events), 'open', a.expires_at, private.now()
        from jsonb_to_recordset(asks) as a (id uuid, step int, position int, kind text, tool text, arguments text, salt text, hash text,
                                            why text, decider text, policy_version int, expires_at timestamptz)
        returning *
    loop
        perform private.hint_inbox(asked);
    end loop;
end;
$$;
call private.expose('private', 'ask_people');

-- Uses up approvals, as far as they still hold for the calls as they are about to be made. Null, or why not.
create function private.use_approvals(held duet.run, uses jsonb, events jsonb) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
    used record;
    asked duet.request;
begin
    if (select count(*) <> count(distinct coalesce(u ->> 'request', '')) from jsonb_array_elements(uses) u) then
        return private.refused('approval_spent');
    end if;
    for used in select u.request, u.arguments from jsonb_to_recordset(uses) as u (request uuid, arguments text) loop
        select * into asked from duet.request q
        where q.workspace_id = held.workspace_id and q.id = used.request and q.run_id = held.id for update;
        if asked.used_at is not null then
            return private.refused('approval_spent');
        end if;
        if (asked.state = 'approved' and asked.kind = 'approval' and asked.expires_at > private.now()
            and asked.approved = used.arguments
            -- Whoever said yes for the owners is still one of them.
            and (asked.decider = 'asker' or exists (select from duet.member m where m.workspace_id = held.workspace_id
                                                                                and m.user_id = asked.decided_by and m.role = 'owner'))
            and asked.policy_version = (select max(p.version) from duet.policy_version p where p.workspace_id = held.workspace_id)
            and (held.labels | private.labels_of_events(events)) & ~asked.labels = 0
            and exists (select from duet.agent a where a.workspace_id = held.workspace_id and a.id = held.agent_id and a.active
                                                   and asked.tool = any (a.tools))) is not true then
            return private.refused('approval_stale');
        end if;
    end loop;
    -- All or none: a refusal is no error, and what was written before it would stay.
    update duet.request q set used_at = private.now()
    where q.workspace_id = held.workspace_id and q.id in (select (u ->> 'request')::uuid from jsonb_array_elements(uses) u);
    return null;
end;
$$;
call private.expose('private', 'use_approvals');

-- Voids a run's open requests and unused approvals, because it is over. Reviews stay open: somebody still has to look.
create function private.void_requests(here duet.run, because text) returns void
language plpgsql volatile set search_path = '' as $$
declare
    asked duet.request;
begin
    for asked in
        update duet.request q
        set state = 'voided', decided_by = null, decided_at = private.now(),
            decision = case when q.redacted_at is null then jsonb_build_object('decision', 'voided', 'because', because) end
        where q.workspace_id = here.workspace_id and q.run_id = here.id and q.kind <> 'review' and q.pending
        returning *
    loop
        perform private.hint_inbox(asked);
    end loop;
end;
$$;
call private.expose('private', 'void_requests');

-- Empties the texts of these runs' requests, which ends what could still be decided or used. Returns how many had any.
create function private.redact_requests(workspace uuid, runs uuid[], at timestamptz) returns bigint
language plpgsql volatile set search_path = '' as $$
declare
    emptied bigint := 0;
    asked duet.request;
begin
    for asked in
        update duet.request q
        set arguments = null, salt = null, why = '', decision = null, approved = null, redacted_at = at,
            state = case when q.pending then 'voided' else q.state end,
            decided_at = coalesce(q.decided_at, at)
        where q.workspace_id = workspace and q.run_id = any (runs) and q.redacted_at is null
        returning *
    loop
        emptied := emptied + 1;
        perform private.hint_inbox(asked);
    end loop;
    return emptied;
end;
$$;
call private.expose('private', 'redact_requests');

-- Records what became of a request, in its row and in the log of its run, and ends the run's wait. The caller has locked both.
create function private.close_request(asked duet.request, final_state text, decided jsonb, by uuid, allowed text) returns duet.request
language plpgsql volatile set search_path = '' as $$
declare
    closed duet.request;
    here duet.run;
begin
    update duet.request q
    set state = final_state, decision = case when q.redacted_at is null then decided end, approved = coalesce(allowed, q.approved),
        decided_by = by, decided_at = private.now()
    where q.workspace_id = asked.workspace_id and q.id = asked.id returning * into closed;
    perform private.hint_inbox(closed);
    select * into strict here from duet.run r where r.workspace_id = asked.workspace_id and r.id = asked.run_id;
    perform private.wake_run(here, private.made_event('decided', jsonb_build_object(
        'type', 'decided', 'effect', jsonb_build_object('step', asked.step, 'index', asked.position), 'request', asked.id,
        'decision', decided, 'by', by)), true);
    return closed;
end;
$$;
call private.expose('private', 'close_request');

-- Locks the runs of these requests in their order, then closes those that are still as they were. Returns how many.
create function private.close_all(asked duet.request[], final_state text, decided jsonb) returns bigint
language plpgsql volatile set search_path = '' as $$
declare
    one duet.request;
    closed bigint := 0;
begin
    perform from duet.run r
    where (r.workspace_id, r.id) in (select a.workspace_id, a.run_id from unnest(asked) a)
    order by r.workspace_id, r.id for no key update;
    for one in
        select q.* from duet.request q join unnest(asked) a on a.workspace_id = q.workspace_id and a.id = q.id
        where q.state = a.state and q.pending order by q.workspace_id, q.run_id, q.id for update of q
    loop
        perform private.close_request(one, final_state, decided, null, null);
        closed := closed + 1;
    end loop;
    return closed;
end;
$$;
call private.expose('private', 'close_all');

-- After a change of the policy: approvals that were asked for or given under an earlier version are void, and their runs go on.
create function private.void_earlier_approvals(workspace uuid) returns bigint
language sql volatile set search_path = '' as $$
    select private.close_all(
        array(select q from duet.request q where q.workspace_id = workspace and q.kind = 'approval' and q.pending),
        'voided', '{"decision": "voided", "because": "policy_changed"}')
$$;
call private.expose('private', 'void_earlier_approvals');

-- After a change of a member's role: what was asked for or given under the other role is void. Their runs go on, and not under a
-- worker that claimed them for the other role.
create function private.change_role_of_runs(workspace uuid, person uuid) returns void
language sql volatile set search_path = '' as $$
    update duet.run r
    set status = 'queued', lease_token = null, lease_until = null, stalls = greatest(r.stalls - 1, 0)
    where r.workspace_id = workspace and r.user_id = person and r.status = 'running';
    select private.hint_queued(workspace);
    select private.close_all(
        array(select q from duet.request q
              where q.workspace_id = workspace and q.user_id = person and q.kind = 'approval' and q.pending),
        'voided', '{"decision": "voided", "because": "role_changed"}');
$$;
call private.expose('private', 'change_role_of_runs');

-- Ends the wait of what nobody decided in time, and approvals whose calls were not made in time, many at a time.
create function private.expire_requests() returns bigint
language sql volatile set search_path = '' as $$
    select private.close_all(
        array(select q from duet.request q where q.pending and q.expires_at <= private.now() order by q.expires_at limit 1000),
        'expired', '{"decision": "expired"}')
$$;
call private.expose('private', 'expire_requests');

-- Whether this is a live sign-in of the current person. Their own token names it where Supabase Auth is the issuer; the server names it
-- on its own connection, where it has just looked it up. PostgREST reports what it was asked, and takes nobody's word.
create function private.is_live_session(session uuid) returns boolean
language plpgsql stable set search_path = '' as $$
declare
    named text := auth.jwt() ->> 'session_id';
    live boolean := false;
begin
    if session is null or named is not null and named is distinct from session::text
        or named is null and coalesce(current_setting('request.method', true), '') <> '' then
        return false;
    end if;
    if named is null and exists (select from duet.session s
                                 where s.id = session and s.user_id = (select auth.uid()) and s.expires_at > private.now()) then
        return true;
    end if;
    if to_regclass('auth.sessions') is not null then
        execute 'select exists (select from auth.sessions s
                                where s.id = $1 and s.user_id = $2 and (s.not_after is null or s.not_after > $3))'
            into live using session, (select auth.uid()), private.now();
    end if;
    return live;
end;
$$;
call private.expose('private', 'is_live_session');

-- What is wrong with a decision; null if nothing is. Whether answers fit the form of a question is checked by the server: whoever calls
-- this by hand puts any words only into their own run.
create function private.refuse_decision(asked duet.request, decision jsonb, allowed text) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
    word text := decision ->> 'decision';
    fits boolean := case word
        when 'dismiss' then true
        when 'approve' then asked.kind = 'approval'
        when 'reject' then asked.kind = 'approval'
        when 'respond' then asked.kind <> 'review'
        when 'happened' then asked.kind = 'review'
        when 'did_not' then asked.kind = 'review'
        else false end;
begin
    if jsonb_typeof(decision) is distinct from 'object' or fits is not true then
        return private.refused('decision_unfit', jsonb_build_object('kind', asked.kind, 'decision', left(coalesce(word, ''), 40)));
    elsif decision - 'decision' - (case word when 'approve' then 'arguments' when 'reject' then 'reason' when 'respond' then 'answers'
                                        else '' end) <> '{}' then
        return private.refused('decision_unfit', jsonb_build_object('kind', asked.kind, 'decision', word));
    elsif decision ? 'arguments' and (jsonb_typeof(decision -> 'arguments') <> 'object' or allowed is null
                                      or allowed::jsonb is distinct from decision -> 'arguments') then
        return private.refused('arguments_form');
    elsif exists (select from jsonb_path_query(decision, '$.** ? (@.type() == "number")') n
                  where abs(n::text::numeric) > 1.7976931348623157e308) then
        return private.refused('argument_number');
    elsif jsonb_path_exists(decision, 'strict $.**{33 to last} ? (@.type() == "array" || @.type() == "object")') then
        return private.refused('arguments_depth', '{"most": 32}');
    elsif octet_length(allowed) > 65536 then
        return private.refused('arguments_length', jsonb_build_object('most', 65536, 'has', octet_length(allowed)));
    elsif decision ? 'reason' and jsonb_typeof(decision -> 'reason') <> 'string'
        or word = 'respond' and jsonb_typeof(decision -> 'answers') is distinct from 'object' then
        return private.refused('decision_unfit', jsonb_build_object('kind', asked.kind, 'decision', word));
    elsif octet_length(decision ->> 'reason') > 4096 then
        return private.refused('answer_length', jsonb_build_object('most', 4096, 'has', octet_length(decision ->> 'reason')));
    elsif octet_length(decision ->> 'answers') > 65536 then
        return private.refused('answer_length', jsonb_build_object('most', 65536, 'has', octet_length(decision ->> 'answers')));
    end if;
    return null;
end;
$$;
call private.expose('private', 'refuse_decision');

create function private.decide_request(workspace uuid, request uuid, session uuid, decision jsonb, allowed text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    my_role text := private.my_role(workspace);
    asked duet.request;
    refusal jsonb;
begin
    if my_role is null then
        return private.refused('not_found');
    elsif private.is_live_session(session) is not true then
        return private.refused('not_live');
    end if;
    -- The run first, as everywhere.
    perform from duet.run r join duet.request q on q.workspace_id = r.workspace_id and q.run_id = r.id
    where q.workspace_id = workspace and q.id = request and (q.user_id = me or q.decider = 'owner' and my_role = 'owner')
    for no key update of r;
    select * into asked from duet.request q
    where q.workspace_id = workspace and q.id = request and (q.user_id = me or q.decider = 'owner' and my_role = 'owner') for update;
    if not found then
        return private.refused('not_found');
    elsif asked.decider = 'owner' and my_role <> 'owner' then
        return private.refused('not_decider');
    elsif asked.state <> 'open' and asked.decided_by = me and asked.decision = decision then
        return private.ok(private.request_json(asked));
    elsif asked.state <> 'open' then
        return private.refused('request_decided', jsonb_build_object('state', asked.state));
    end if;
    refusal := private.refuse_decision(asked, decision, allowed);
    if refusal is not null then
        return refusal;
    elsif asked.expires_at <= private.now() or asked.arguments is null then
        return private.refused('request_over');
    end if;
    asked := private.close_request(
        asked,
        case decision ->> 'decision' when 'approve' then 'approved' when 'reject' then 'rejected' when 'dismiss' then 'dismissed'
                                     else 'answered' end,
        decision, me,
        case decision ->> 'decision' when 'approve' then case when decision ? 'arguments' then allowed else asked.arguments end end);
    perform private.audit(workspace, 'request.decide', 'request:' || request, 'done', jsonb_build_object(
        'decision', decision ->> 'decision', 'kind', asked.kind, 'run', asked.run_id));
    return private.ok(private.request_json(asked));
end;
$$;
call private.expose('private', 'decide_request', 'authenticated');

-- duet_core::ports::RequestStore::decide; `p_allowed` is the canonical form of the arguments in `p_decision`, if it has any.
create function public.request_decide(p_workspace uuid, p_id uuid, p_session uuid, p_decision jsonb, p_allowed text) returns jsonb
language sql volatile set search_path = '' as $$
    select private.decide_request(p_workspace, p_id, p_session, p_decision, p_allowed)
$$;
call private.expose('public', 'request_decide', 'authenticated');

-- duet_core::ports::RequestStore::requests
create function public.request_read(p_workspace uuid, p_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.request_json(q) order by asked.place), '[]'))
    from unnest(p_ids[1:1000]) with ordinality as asked (id, place)
    join duet.request q on q.workspace_id = p_workspace and q.id = asked.id
$$;
call private.expose('public', 'request_read', 'authenticated');

-- duet_core::ports::RequestStore::list; the cursor is the last request's time and id.
create function public.request_list(
    p_workspace uuid, p_conversation uuid, p_open boolean, p_before timestamptz, p_before_id uuid, p_limit int
) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(
        jsonb_agg(private.request_json(row(page.*)::duet.request) order by page.created_at desc, page.id desc), '[]'))
    from (select q.* from duet.request q
          where q.workspace_id = p_workspace
            and (p_conversation is null or q.conversation_id = p_conversation and q.user_id = (select auth.uid()))
            and (not p_open or q.state = 'open')
            and (p_before is null or (q.created_at, q.id) < (p_before, p_before_id))
          order by q.created_at desc, q.id desc limit private.page_size(p_limit)) page
$$;
call private.expose('public', 'request_list', 'authenticated');

-- duet_core::ports::RequestStore::ids
create function public.request_ids(p_workspace uuid, p_low uuid, p_high uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(page.id order by page.id), '[]'))
    from (select q.id from duet.request q where q.workspace_id = p_workspace and q.id between p_low and p_high order by q.id limit 10) page
$$;
call private.expose('public', 'request_ids', 'authenticated');
