-- Supabase Auth: its people are Duet's. An account has the id of its row in auth.users; Auth holds address and password. A plain
-- Postgres has no auth.users: there these functions know nobody, and the built-in issuer uses its own tables.

-- A person's address in lower case, if they have confirmed it and Auth lets them sign in. Read only from Auth's own row: what a token
-- says about its bearer (user_metadata) they could have written themselves.
create function private.confirmed_email(person uuid) returns text
language plpgsql stable set search_path = '' as $$
declare
    address text;
begin
    if to_regclass('auth.users') is null then
        return null;
    end if;
    execute 'select lower(u.email) from auth.users u
             where u.id = $1 and u.email_confirmed_at is not null and u.deleted_at is null and not u.is_anonymous
               and (u.banned_until is null or u.banned_until <= $2)'
        into address using person, private.now();
    return address;
end;
$$;
call private.expose('private', 'confirmed_email');

-- The person behind a sign-in at Supabase Auth; null once it has ended, which an access token does not show until it expires. People
-- who have not been admitted yet have no account. An address changed at Auth is changed here.
create function driver.signed_in(p_user uuid, p_session uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    since timestamptz;
    address text := private.confirmed_email(p_user);
    here duet.account;
begin
    if to_regclass('auth.sessions') is not null then
        execute 'select s.created_at from auth.sessions s
                 where s.id = $1 and s.user_id = $2 and (s.not_after is null or s.not_after > $3)'
            into since using p_session, p_user, private.now();
    end if;
    if since is null or address is null then
        return private.ok('null');
    end if;
    select * into here from duet.account a where a.id = p_user;
    if found and here.email <> address and not exists (select from duet.account a where a.email = address) then
        update duet.account a set email = address where a.id = p_user returning * into here;
    end if;
    return private.ok(jsonb_build_object(
        'email', address, 'since', date_trunc('milliseconds', since),
        'account', case when here.id is not null then private.account_json(here) end));
end;
$$;
call private.expose('driver', 'signed_in', 'duet_worker');

-- Acts as the person in the claims; bypasses row level security for what set-up creates. Locks the row of the installation: of
-- several concurrent callers one wins. A caller without the token holds the lock no longer than the comparison takes.
create function private.claim(presented bytea, person_name text, workspace uuid, workspace_name text, starter jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    me uuid := (select auth.uid());
    address text;
    here duet.installation;
    owner duet.account;
    made duet.workspace;
begin
    select * into strict here from duet.installation for update;
    if here.owner_since is not null then
        -- The owner's own call, repeated.
        select a.* into owner from duet.account a where a.id = me;
        select w.* into made from duet.workspace w where w.id = workspace and w.created_by = me;
        if found then
            return private.ok(jsonb_build_object('user', private.account_json(owner), 'workspace', private.workspace_json(made)));
        end if;
        return private.refused('set_up');
    end if;
    -- A missing token never matches: comparing with null is not true.
    if (here.setup_token_hash = presented) is not true then
        return private.refused('wrong_setup_token');
    end if;
    address := private.confirmed_email(me);
    if address is null then
        return private.refused('email_unconfirmed');
    end if;
    if private.is_name(person_name) is not true then
        return private.refused('name_length', '{"what": "person"}');
    elsif private.is_name(workspace_name) is not true then
        return private.refused('name_length', '{"what": "workspace"}');
    end if;
    insert into duet.account values (me, address, btrim(person_name), private.now()) on conflict do nothing returning * into owner;
    if not found then
        return private.refused('account_differs');
    end if;
    made := private.make_workspace(workspace, me, workspace_name, starter);
    update duet.installation set owner_since = private.now(), setup_token_hash = null;
    perform private.record_audit(workspace, me, null, 'setup.owner', 'user:' || me, 'done', '{}');
    return private.ok(jsonb_build_object('user', private.account_json(owner), 'workspace', private.workspace_json(made)));
end;
$$;
call private.expose('private', 'claim', 'authenticated');

-- Set-up with Supabase Auth: the first signed-in person who presents the setup token becomes the owner. The token has too many bits
-- to be guessed; the API limits attempts all the same.
create function public.claim_installation(
    p_token_hash bytea, p_display_name text, p_workspace uuid, p_workspace_name text, p_starter jsonb
) returns jsonb
language sql volatile set search_path = '' as $$
    select private.claim(p_token_hash, p_display_name, p_workspace, p_workspace_name, p_starter)
$$;
call private.expose('public', 'claim_installation', 'authenticated');

-- Supabase Auth asks this before it creates a user ("before user created" hook): until there is an owner anybody may sign up, then
-- only addresses with an open invitation. Signing up does not create an account in Duet, and shows nothing.
create function private.before_user_created(event jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    address text := lower(btrim(event #>> '{user,email}'));
    owned boolean;
begin
    if coalesce(address, '') = '' or coalesce(event #>> '{user,is_anonymous}', 'false') <> 'false' then
        return jsonb_build_object('error', jsonb_build_object(
            'http_code', 403, 'message', 'Sign up with an email address.'));
    end if;
    select i.owner_since is not null into strict owned from duet.installation i;
    if owned and not exists (
        select from duet.invitation i
        where i.email = address and i.accepted_at is null and i.revoked_at is null and i.expires_at > private.now()
    ) then
        return jsonb_build_object('error', jsonb_build_object(
            'http_code', 403, 'message', 'Signing up needs an invitation to this address. Ask an owner of this Duet for one.'));
    end if;
    return '{}';
end;
$$;
call private.expose('private', 'before_user_created');

-- The role is Supabase's; a plain Postgres has it only in tests.
do $$
begin
    if exists (select from pg_roles where rolname = 'supabase_auth_admin') then
        grant usage on schema private to supabase_auth_admin;
        grant execute on function private.before_user_created(jsonb) to supabase_auth_admin;
    end if;
end;
$$;
