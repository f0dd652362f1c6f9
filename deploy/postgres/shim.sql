-- What the migrations and policies need of Supabase, for a plain Postgres 16 or newer. Run once by a superuser, before the
-- migrations; run again it changes nothing. A Supabase project has all of this already: never run it there.

do $$
declare
    role_name text;
begin
    foreach role_name in array array['anon', 'authenticated', 'service_role', 'supabase_auth_admin'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin noinherit', role_name);
        end if;
    end loop;
    alter role service_role bypassrls;
    if not exists (select from pg_roles where rolname = 'authenticator') then
        create role authenticator login noinherit;
    end if;
    if not exists (select from pg_roles where rolname = 'postgres') then
        create role postgres login nosuperuser createrole bypassrls;
    end if;
    grant anon, authenticated, service_role to authenticator with inherit false, set true;
    if not (select rolsuper from pg_roles where rolname = 'postgres') then
        grant anon, authenticated, service_role to postgres with admin option;
    end if;
    -- As in Supabase: the owner of the database is no superuser.
    execute format('alter database %I owner to postgres', current_database());
end;
$$;

create schema if not exists extensions;
create extension if not exists vector with schema extensions;
alter schema extensions owner to postgres;
grant usage on schema extensions to public;
grant usage on schema public to anon, authenticated, service_role;

create schema if not exists auth;
grant usage on schema auth to public;

create or replace function auth.jwt() returns jsonb
language sql stable set search_path = '' as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create or replace function auth.uid() returns uuid
language sql stable set search_path = '' as $$
    select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
grant execute on function auth.jwt(), auth.uid() to public;
-- Where there is an Auth, the owner reads its tables, as in Supabase.
grant select on all tables in schema auth to postgres;
