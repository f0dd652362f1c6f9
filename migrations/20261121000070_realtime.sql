-- Live hints through Supabase Realtime, if the database has it: how far a run's log has grown, on a private topic that only the run's
-- person may join. A hint carries no text, only where to look; its receiver reads the log, and a client that misses one polls.

-- Whether the current person may join a topic. Row level security of duet.run decides; another person's run, one of a workspace that
-- the person has left and one that does not exist all look the same.
create function private.may_hear(topic text) returns boolean
language sql stable set search_path = '' as $$
    select case
        when topic ~ '^run(:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){2}$' then exists (
            select from duet.run r
            where r.workspace_id = split_part(topic, ':', 2)::uuid and r.id = split_part(topic, ':', 3)::uuid
              and r.user_id = (select auth.uid()))
        else false end
$$;
call private.expose('private', 'may_hear', 'authenticated');

-- Sends a hint in the transaction that grew a run's log or changed its status. Pieces of a reply arrive every 50 ms: of these only
-- one per quarter of a second is sent. Everything else is sent at once.
create function private.hint_run() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    kinds text[] := array(
        select distinct e.kind from duet.run_event e
        where e.workspace_id = new.workspace_id and e.run_id = new.id and e.seq > old.last_seq and e.seq <= new.last_seq
        order by e.kind);
begin
    if kinds = '{delta}' and new.status = old.status
        and floor(extract(epoch from new.updated_at) * 4) = floor(extract(epoch from old.updated_at) * 4) then
        return null;
    end if;
    perform realtime.send(
        jsonb_build_object('run', new.id, 'first_seq', old.last_seq + 1, 'last_seq', new.last_seq, 'kinds', kinds, 'status', new.status),
        'hint', format('run:%s:%s', new.workspace_id, new.id), true);
    return null;
exception when others then
    -- A run continues without hints; driver.realtime_state reports what is wrong.
    raise warning 'no hint of run % was sent: %', new.id, sqlerrm;
    return null;
end;
$$;
call private.expose('private', 'hint_run');

-- Connects the log with Realtime if that exists and is not connected yet. `duet-api migrate` calls it too: a project may get Realtime
-- after Duet.
create function private.attach_realtime() returns boolean
language plpgsql volatile set search_path = '' as $$
begin
    if to_regclass('realtime.messages') is null or to_regprocedure('realtime.send(jsonb,text,text,boolean)') is null
        or to_regprocedure('realtime.topic()') is null then
        return false;
    end if;
    if not exists (select from pg_catalog.pg_policy p
                   where p.polrelid = to_regclass('realtime.messages') and p.polname = 'duet_run_hints') then
        -- Only the trigger may send: there is no policy for insert. Joining one topic shows its rows and no others.
        create policy duet_run_hints on realtime.messages for select to authenticated
            using (extension = 'broadcast' and topic = (select realtime.topic())
                   and (select private.may_hear((select realtime.topic()))));
    end if;
    if not exists (select from pg_catalog.pg_trigger t
                   where t.tgrelid = to_regclass('duet.run') and t.tgname = 'run_hints') then
        create trigger run_hints after update of last_seq, status on duet.run for each row
            when (new.last_seq > old.last_seq or new.status <> old.status) execute function private.hint_run();
    end if;
    return true;
end;
$$;
call private.expose('private', 'attach_realtime');

select private.attach_realtime();

-- What keeps hints from arriving. realtime.send turns its failures into warnings that nobody reads, so this sends a test hint and
-- rolls it back.
create function driver.realtime_state() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here boolean := to_regclass('realtime.messages') is not null
        and to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null;
    arrived boolean := false;
    secured boolean := false;
    senders text[] := '{}';
begin
    if here then
        begin
            perform realtime.send('{}', 'probe', 'duet:probe', true);
            execute 'select exists (select from realtime.messages where topic = $1 and event = $2)'
                into arrived using 'duet:probe', 'probe';
            raise exception using errcode = 'DU000';
        exception when others then
            arrived := arrived and sqlstate = 'DU000';
        end;
        select c.relrowsecurity into secured from pg_catalog.pg_class c where c.oid = to_regclass('realtime.messages');
        senders := array(
            select p.polname::text from pg_catalog.pg_policy p
            where p.polrelid = to_regclass('realtime.messages') and p.polcmd in ('a', '*') order by p.polname);
    end if;
    return private.ok(jsonb_build_object(
        'here', here,
        'trigger', exists (select from pg_catalog.pg_trigger t
            where t.tgrelid = to_regclass('duet.run') and t.tgname = 'run_hints' and t.tgenabled <> 'D'),
        'policy', exists (select from pg_catalog.pg_policy p
            where p.polrelid = to_regclass('realtime.messages') and p.polname = 'duet_run_hints'),
        'secured', secured,
        'arrives', arrived,
        'senders', to_jsonb(senders),
        'published', coalesce((
            select jsonb_agg(t.tablename order by t.tablename) from pg_catalog.pg_publication_tables t
            where t.pubname = 'supabase_realtime' and t.schemaname = 'duet'), '[]')));
end;
$$;
call private.expose('driver', 'realtime_state', 'duet_worker');
