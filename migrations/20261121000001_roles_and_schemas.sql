-- Schemas and roles. `duet` holds the tables and is not exposed by the Data API; `public` the functions that a person may call;
-- `private` what these stand on; `driver` what only the server's own login may call. docs/adr tells why.

create schema if not exists extensions;
create extension if not exists vector with schema extensions;

create schema duet;
create schema private;
create schema driver;
revoke all on schema duet, private, driver from public;

-- Roles are the cluster's, not the database's: another Duet beside this one may have made them.
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

-- Nobody but the owner makes temporary objects here: their names are found before all others, also by functions with their owner's
-- rights. (A copy of the database, or a restored one, has to be told again; `duet-api check` looks.)
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
end;
$$;

-- Takes a function of Duet from everybody and gives it to the named roles alone. Postgres lets PUBLIC execute new functions, and
-- older Supabase projects let anon: every function goes through here in the migration that makes it.
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

-- Puts a table behind row level security with nothing granted; grants and policies follow it explicitly.
create procedure private.seclude(target regclass)
language plpgsql set search_path = '' as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('revoke all on table %s from public, anon, authenticated, service_role', target);
end;
$$;
revoke all on procedure private.seclude(regclass) from public;
