-- Schemas and roles. `duet` holds the tables and is not exposed by the Data API; `public` holds the functions a person may call,
-- `private` their helpers, `driver` what only the server's own login may call. docs/adr has the reasons.

create schema if not exists extensions;
create extension if not exists vector with schema extensions;

create schema duet;
create schema private;
create schema driver;
revoke all on schema duet, private, driver from public;

-- Roles belong to the cluster, not the database: another Duet on it may have created them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'duet_agent') then
        create role duet_agent nologin noinherit nobypassrls;
    end if;
    if not exists (select from pg_roles where rolname = 'duet_worker') then
        create role duet_worker login noinherit nobypassrls;
    end if;
end;
$$;
grant authenticated, duet_agent to duet_worker with inherit false, set true;

grant usage on schema duet, private, extensions to authenticated, duet_agent;
grant usage on schema public to authenticated, duet_agent, duet_worker;
grant usage on schema driver to duet_worker;

-- Only the owner may create temporary objects here: their names resolve before all others, even inside security definer functions. (A
-- copied or restored database needs this again; `duet-api check` looks for it.)
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
end;
$$;

-- Revokes a function from everybody and grants it to the named roles only. Postgres lets PUBLIC execute new functions, and older
-- Supabase projects let anon, so every function passes through here in the migration that creates it.
create procedure private.expose(schema_name text, function_name text, variadic roles text[] default '{}')
language plpgsql set search_path = '' as $$
declare
    found regprocedure;
    role_name text;
    counted int := 0;
begin
    for found in
        select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname = schema_name and p.proname = function_name
    loop
        counted := counted + 1;
        execute format('revoke all on routine %s from public, anon, authenticated, service_role', found);
        foreach role_name in array roles loop
            execute format('grant execute on routine %s to %I', found, role_name);
        end loop;
    end loop;
    if counted = 0 then
        raise exception 'there is no function %.%', schema_name, function_name;
    end if;
end;
$$;
revoke all on procedure private.expose(text, text, text[]) from public;

-- Enables row level security on a table and grants nothing; grants and policies follow explicitly.
create procedure private.seclude(target regclass)
language plpgsql set search_path = '' as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('revoke all on table %s from public, anon, authenticated, service_role', target);
end;
$$;
revoke all on procedure private.seclude(regclass) from public;
