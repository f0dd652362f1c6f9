-- API keys: a person's own. Only the SHA-256 of the secret is kept.

create table duet.api_key (
    workspace_id uuid not null references duet.workspace (id),
    id           uuid not null,
    user_id      uuid not null references duet.account (id),
    name         text not null check (private.is_name(name) and name = btrim(name)),
    prefix       text not null check (length(prefix) <= 32),
    secret_hash  bytea not null unique check (length(secret_hash) = 32),
    scopes       text[] not null
        check (cardinality(scopes) between 1 and 4 and scopes <@ array['chat', 'memory_read', 'memory_write', 'admin']),
    created_at   timestamptz(3) not null,
    expires_at   timestamptz(3) check (expires_at between '2000-01-01 00:00+00' and '9999-01-01 00:00+00'),
    last_used_at timestamptz(3),
    revoked_at   timestamptz(3),
    primary key (workspace_id, id)
);
create index api_key_by_person on duet.api_key (workspace_id, user_id, created_at);
create index api_key_by_user on duet.api_key (user_id);

call private.seclude('duet.api_key');

grant select on duet.api_key to authenticated;
create policy api_key_read on duet.api_key for select to authenticated
    using (user_id = (select auth.uid()) and workspace_id = any (array(select private.my_workspaces())));

create function private.key_json(key duet.api_key) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(key) - 'secret_hash'
$$;
call private.expose('private', 'key_json', 'authenticated');

-- Whether the current person has signed in within the last 15 minutes, where the database can know: it does for sign-ins at Supabase
-- Auth, which the person's own token names. A call without one comes from the server, which has checked; PostgREST reports what it
-- was asked.
create function private.signed_in_recently() returns boolean
language plpgsql stable set search_path = '' as $$
declare
    named text := auth.jwt() ->> 'session_id';
    since timestamptz;
begin
    if to_regclass('auth.sessions') is null
        or (named is null and coalesce(current_setting('request.method', true), '') = '') then
        return true;
    elsif named is null or named !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        return false;
    end if;
    execute 'select s.created_at from auth.sessions s where s.id = $1 and s.user_id = $2'
        into since using named::uuid, auth.uid();
    return coalesce(since > private.now() - interval '15 minutes', false);
end;
$$;
call private.expose('private', 'signed_in_recently');

create function private.create_key(
    workspace uuid, key uuid, key_name text, shown text, hash bytea, opens text[], until timestamptz
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    made duet.api_key;
begin
    if workspace not in (select private.my_workspaces()) then
        return private.refused('not_found');
    elsif coalesce(cardinality(opens), 0) = 0 then
        return private.refused('no_scopes');
    elsif not private.signed_in_recently() then
        return private.refused('sign_in_again');
    elsif 'admin' = any (opens) and private.my_role(workspace) <> 'owner' then
        return private.refused('owners_only');
    end if;
    select * into made from duet.api_key k where k.workspace_id = workspace and k.id = key and k.user_id = me;
    if found then
        return private.ok(private.key_json(made));
    end if;
    insert into duet.api_key values (
        workspace, key, me, btrim(key_name), shown, hash, array(select distinct s from unnest(opens) s order by s), private.now(), until)
    -- The secret is unique too, and either index may notice the other request.
    on conflict do nothing
    returning * into made;
    if not found then
        -- The same request, sent twice at once, or an id that somebody else has.
        select * into made from duet.api_key k where k.workspace_id = workspace and k.id = key and k.user_id = me;
        return case when made.id is null then private.refused('id_taken', '{"what": "key"}')
                    else private.ok(private.key_json(made)) end;
    end if;
    perform private.audit(workspace, 'key.create', 'key:' || key, 'done', jsonb_build_object('scopes', made.scopes));
    return private.ok(private.key_json(made));
end;
$$;
call private.expose('private', 'create_key', 'authenticated');

-- duet_core::ports::KeyStore::create
create function public.key_create(
    p_workspace uuid, p_id uuid, p_name text, p_prefix text, p_secret_hash bytea, p_scopes text[], p_expires_at timestamptz
) returns jsonb
language sql volatile set search_path = '' as $$
    select private.create_key(p_workspace, p_id, p_name, p_prefix, p_secret_hash, p_scopes, p_expires_at)
$$;
call private.expose('public', 'key_create', 'authenticated');

-- duet_core::ports::KeyStore::list
create function public.key_list(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(jsonb_agg(private.key_json(k) order by k.created_at desc, k.id desc), '[]'))
    from duet.api_key k where k.workspace_id = p_workspace and k.user_id = (select auth.uid())
$$;
call private.expose('public', 'key_list', 'authenticated');

create function private.revoke_key(workspace uuid, key uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.api_key;
begin
    select k.* into here from duet.api_key k
    where k.workspace_id = workspace and k.id = key and k.user_id = (select auth.uid())
      and workspace in (select private.my_workspaces())
    for no key update of k;
    if not found then
        return private.refused('not_found');
    end if;
    if here.revoked_at is null then
        update duet.api_key k set revoked_at = private.now() where k.workspace_id = workspace and k.id = key
        returning * into here;
        perform private.audit(workspace, 'key.revoke', 'key:' || key);
    end if;
    return private.ok(private.key_json(here));
end;
$$;
call private.expose('private', 'revoke_key', 'authenticated');

-- duet_core::ports::KeyStore::revoke
create function public.key_revoke(p_workspace uuid, p_id uuid) returns jsonb
language sql volatile set search_path = '' as $$
    select private.revoke_key(p_workspace, p_id)
$$;
call private.expose('public', 'key_revoke', 'authenticated');

-- duet_core::ports::SystemStore::api_key; records the key's use to within a minute.
create function driver.api_key(p_secret_hash bytea) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    here duet.api_key;
    person_role text;
begin
    select * into here from duet.api_key k
    where k.secret_hash = p_secret_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > at);
    if not found then
        return private.ok('null');
    end if;
    select m.role into person_role from duet.member m where m.workspace_id = here.workspace_id and m.user_id = here.user_id;
    if not found then
        return private.ok('null');
    end if;
    if here.last_used_at is null or here.last_used_at <= at - interval '1 minute' then
        here.last_used_at := at;
        update duet.api_key k set last_used_at = at where k.workspace_id = here.workspace_id and k.id = here.id;
    end if;
    return private.ok(jsonb_build_object('key', private.key_json(here), 'role', person_role));
end;
$$;
call private.expose('driver', 'api_key', 'duet_worker');
