-- Set-up, and the built-in issuer's look-ups: all of it happens before there is a caller, so all of it is in `driver`.

-- duet_core::ports::AccountStore::needs_owner
create function driver.needs_owner() returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok(to_jsonb(owner_since is null)) from duet.installation
$$;
call private.expose('driver', 'needs_owner', 'duet_worker');

-- duet_core::ports::AccountStore::put_setup_token
create function driver.put_setup_token(p_token_hash bytea) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    update duet.installation set setup_token_hash = p_token_hash where owner_since is null;
    if not found then
        return private.refused('set_up');
    end if;
    return private.ok('null');
end;
$$;
call private.expose('driver', 'put_setup_token', 'duet_worker');

-- duet_core::ports::AccountStore::check_setup_token
create function driver.check_setup_token(p_token_hash bytea) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    here duet.installation;
begin
    select * into strict here from duet.installation;
    if here.owner_since is not null then
        return private.refused('set_up');
    end if;
    -- A missing token never matches: comparing with null is not true.
    if (here.setup_token_hash = p_token_hash) is not true then
        return private.refused('wrong_setup_token');
    end if;
    return private.ok('null');
end;
$$;
call private.expose('driver', 'check_setup_token', 'duet_worker');

create function private.account_json(account duet.account) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(account)
$$;
call private.expose('private', 'account_json');

-- duet_core::ports::AccountStore::create_owner. Locks the row of the installation: of several concurrent callers one wins.
create function driver.create_owner(
    p_token_hash bytea, p_user uuid, p_email text, p_display_name text, p_password_hash text,
    p_workspace uuid, p_workspace_name text, p_starter jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.installation;
    owner duet.account;
    made duet.workspace;
begin
    select * into strict here from duet.installation for update;
    if here.owner_since is not null then
        return private.refused('set_up');
    end if;
    -- A missing token never matches: comparing with null is not true.
    if (here.setup_token_hash = p_token_hash) is not true then
        return private.refused('wrong_setup_token');
    end if;
    insert into duet.account values (p_user, p_email, btrim(p_display_name), private.now()) returning * into owner;
    insert into duet.credential values (p_user, p_password_hash);
    made := private.make_workspace(p_workspace, p_user, p_workspace_name, p_starter);
    update duet.installation set owner_since = private.now(), setup_token_hash = null;
    perform private.record_audit(p_workspace, p_user, null, 'setup.owner', 'user:' || p_user, 'done', '{}');
    return private.ok(jsonb_build_object('user', private.account_json(owner), 'workspace', private.workspace_json(made)));
end;
$$;
call private.expose('driver', 'create_owner', 'duet_worker');

-- duet_core::ports::AccountStore::credentials
create function driver.credentials(p_email text) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok((
        select jsonb_build_object('user', private.account_json(a), 'password_hash', c.password_hash)
        from duet.account a join duet.credential c on c.user_id = a.id where a.email = p_email))
$$;
call private.expose('driver', 'credentials', 'duet_worker');

-- duet_core::ports::AccountStore::create_session
create function driver.create_session(
    p_id uuid, p_user uuid, p_secret_hash bytea, p_created_at timestamptz, p_expires_at timestamptz
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
    -- Repeating the same sign-in changes nothing; the same id with another secret or person is a clash.
    if exists (select from duet.session s where s.id = p_id and s.user_id = p_user and s.secret_hash = p_secret_hash) then
        return private.ok('null');
    end if;
    insert into duet.session values (p_id, p_user, p_secret_hash, p_created_at, p_expires_at);
    return private.ok('null');
exception when unique_violation then
    return private.refused('id_taken', '{"what": "sign-in"}');
end;
$$;
call private.expose('driver', 'create_session', 'duet_worker');

create function private.session_json(session duet.session, account duet.account) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(session) - 'secret_hash' || jsonb_build_object('user', private.account_json(account))
$$;
call private.expose('private', 'session_json');

-- duet_core::ports::AccountStore::session
create function driver.session(p_secret_hash bytea) returns jsonb
language sql stable security definer set search_path = '' as $$
    select private.ok((
        select private.session_json(s, a)
        from duet.session s join duet.account a on a.id = s.user_id
        where s.secret_hash = p_secret_hash and s.expires_at > private.now()))
$$;
call private.expose('driver', 'session', 'duet_worker');

-- duet_core::ports::AccountStore::end_session
create function driver.end_session(p_user uuid, p_id uuid) returns jsonb
language sql volatile security definer set search_path = '' as $$
    delete from duet.session s where s.id = p_id and s.user_id = p_user;
    select private.ok('null');
$$;
call private.expose('driver', 'end_session', 'duet_worker');

-- duet_core::ports::AccountStore::end_all_sessions
create function driver.end_all_sessions(p_user uuid) returns jsonb
language sql volatile security definer set search_path = '' as $$
    -- Waits for a device that is being let in, so that it is among those that are ended.
    select from duet.account a where a.id = p_user for update;
    with ended as (delete from duet.session s where s.user_id = p_user returning s.expires_at)
    select private.ok(to_jsonb(count(*) filter (where expires_at > private.now()))) from ended
$$;
call private.expose('driver', 'end_all_sessions', 'duet_worker');
