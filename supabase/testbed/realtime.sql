-- A stand-in for tests: what Supabase Realtime makes in a project's database, as of November 2026. The server itself (Elixir)
-- cannot be had where the tests run; a real project has all of this. Run once by a superuser, before Duet's migrations.

do $$
begin
    if not exists (select from pg_roles where rolname = 'supabase_realtime_admin') then
        create role supabase_realtime_admin nologin noinherit;
    end if;
end;
$$;
grant supabase_realtime_admin to postgres;

create schema if not exists realtime;
grant usage on schema realtime to anon, authenticated, service_role, postgres, supabase_realtime_admin;

create table realtime.messages (
    topic       text not null,
    extension   text not null,
    payload     jsonb,
    event       text,
    private     boolean default false,
    updated_at  timestamp not null default now(),
    inserted_at timestamp not null default now(),
    id          uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
) partition by range (inserted_at);
alter table realtime.messages enable row level security;
alter table realtime.messages owner to supabase_realtime_admin;
grant select, insert, update on realtime.messages to anon, authenticated, service_role, postgres;

-- Realtime keeps a partition for each of the next days.
do $$
declare
    day date;
begin
    for offset_days in -1 .. 3 loop
        day := current_date + offset_days;
        execute format('create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
                       'messages_' || to_char(day, 'YYYY_MM_DD'), day, day + 1);
    end loop;
end;
$$;

create function realtime.topic() returns text language sql stable as $$
    select nullif(current_setting('realtime.topic', true), '')
$$;

-- Swallows every failure, as the platform's does.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
declare
    message uuid := gen_random_uuid();
begin
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (id, payload, event, topic, private, extension)
    values (message, payload || jsonb_build_object('id', coalesce(payload -> 'id', to_jsonb(message))), event, topic, private, 'broadcast');
exception when others then
    raise warning 'a broadcast was not sent: %', sqlerrm;
end;
$$;

create publication supabase_realtime;
