-- Devices that the built-in issuer signs in by a code: the device keeps one secret and shows another, short one, which a person confirms
-- where they are signed in. Only hashes of both are kept. All of it happens for somebody who is nobody yet, so all of it is in `driver`.

create table duet.device_login (
    device_hash bytea primary key check (length(device_hash) = 32),
    user_hash   bytea not null unique check (length(user_hash) = 32),
    client      text not null check (client = btrim(client) and char_length(client) between 1 and 80),
    address     text not null check (octet_length(address) between 1 and 64),
    state       text not null check (state in ('waiting', 'approved', 'denied', 'used')),
    created_at  timestamptz(3) not null,
    expires_at  timestamptz(3) not null check (expires_at > created_at and expires_at <= created_at + interval '10 minutes'),
    -- When the device asked last, so that it does not ask too often.
    asked_at    timestamptz(3),
    decided_by  uuid references duet.account (id),
    -- A yes ends with the sign-in that gave it: signing out everywhere leaves no device that is about to be let in.
    decided_in  uuid references duet.session (id) on delete cascade,
    check ((state = 'waiting') = (decided_by is null)),
    check ((decided_by is null) = (decided_in is null))
);
create index device_login_by_expiry on duet.device_login (expires_at);
create index device_login_by_person on duet.device_login (decided_by);
create index device_login_by_session on duet.device_login (decided_in);

call private.seclude('duet.device_login');

create function private.device_state(device duet.device_login) returns text
language sql volatile set search_path = '' as $$
    select case when device.state in ('waiting', 'approved') and device.expires_at <= private.now() then 'expired' else device.state end
$$;
call private.expose('private', 'device_state');

create function private.device_json(device duet.device_login) returns jsonb
language sql volatile set search_path = '' as $$
    select jsonb_build_object('client', device.client, 'address', device.address, 'created_at', device.created_at,
                              'expires_at', device.expires_at, 'state', private.device_state(device))
$$;
call private.expose('private', 'device_json');

-- duet_core::ports::DeviceStore::create
create function driver.device_create(p_device_hash bytea, p_user_hash bytea, p_client text, p_address text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    made duet.device_login;
begin
    if p_client is null or p_client <> btrim(p_client) or char_length(p_client) not between 1 and 80 then
        return private.refused('device_name');
    end if;
    -- One at a time, so that they can be counted.
    perform from duet.installation for no key update;
    if (select count(*) from duet.device_login d where d.state in ('waiting', 'approved') and d.expires_at > at) >= 1000 then
        return private.refused('device_logins_full');
    end if;
    insert into duet.device_login (device_hash, user_hash, client, address, state, created_at, expires_at)
    values (p_device_hash, p_user_hash, p_client, p_address, 'waiting', at, at + interval '10 minutes')
    on conflict do nothing returning * into made;
    if not found then
        return private.refused('clash');
    end if;
    return private.ok(private.device_json(made));
end;
$$;
call private.expose('driver', 'device_create', 'duet_worker');

-- duet_core::ports::DeviceStore::look_up
create function driver.device(p_user_hash bytea) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    here duet.device_login;
begin
    select * into here from duet.device_login d
    where d.user_hash = p_user_hash and d.expires_at > private.now() - interval '1 hour';
    if not found then
        return private.refused('not_found');
    end if;
    return private.ok(private.device_json(here));
end;
$$;
call private.expose('driver', 'device', 'duet_worker');

-- duet_core::ports::DeviceStore::decide. A yes takes a sign-in of the last 15 minutes by password: a device that was let in lets in no
-- other one.
create function driver.device_decide(p_user uuid, p_session uuid, p_user_hash bytea, p_approve boolean) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    given duet.session;
    here duet.device_login;
    word text := case when p_approve then 'approved' else 'denied' end;
begin
    -- Held, so that it cannot end meanwhile and leave its yes behind.
    select * into given from duet.session s
    where s.id = p_session and s.user_id = p_user and s.expires_at > at for key share;
    if not found then
        return private.refused('not_live');
    elsif p_approve is not false and (given.by_device or given.created_at < at - interval '15 minutes') then
        return private.refused('sign_in_again');
    end if;
    select * into here from duet.device_login d
    where d.user_hash = p_user_hash and d.expires_at > at - interval '1 hour' for update;
    if not found then
        return private.refused('not_found');
    elsif private.device_state(here) = word and here.decided_by = p_user then
        return private.ok(private.device_json(here));
    elsif private.device_state(here) <> 'waiting' then
        return private.refused('device_decided', jsonb_build_object('state', private.device_state(here)));
    end if;
    update duet.device_login d set state = word, decided_by = p_user, decided_in = p_session
    where d.device_hash = here.device_hash returning * into here;
    return private.ok(private.device_json(here));
end;
$$;
call private.expose('driver', 'device_decide', 'duet_worker');

-- duet_core::ports::DeviceStore::redeem. Locks the row: of several concurrent questions one gets the sign-in.
create function driver.device_redeem(p_device_hash bytea, p_session uuid, p_secret_hash bytea, p_seconds bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    at timestamptz := private.now();
    here duet.device_login;
    made duet.session;
    held boolean;
begin
    -- The account before the row, as where all sign-ins of a person are ended.
    perform from duet.device_login d join duet.account a on a.id = d.decided_by where d.device_hash = p_device_hash for key share of a;
    held := found;
    select * into here from duet.device_login d where d.device_hash = p_device_hash for update;
    if not found or private.device_state(here) in ('expired', 'used') or p_seconds is null or p_seconds not between 1 and 315360000 then
        return private.refused('expired_token');
    elsif here.state = 'denied' then
        return private.refused('access_denied');
    end if;
    update duet.device_login d set asked_at = at where d.device_hash = p_device_hash;
    if here.asked_at > at - interval '5 seconds' then
        return private.refused('slow_down');
    elsif here.state = 'waiting' or not held then
        return private.refused('authorization_pending');
    elsif not exists (select from duet.session s where s.id = here.decided_in and s.expires_at > at) then
        return private.refused('expired_token');
    end if;
    insert into duet.session values (p_session, here.decided_by, p_secret_hash, at, at + p_seconds * interval '1 second', true)
    returning * into made;
    update duet.device_login d set state = 'used' where d.device_hash = p_device_hash;
    return private.ok((
        select private.session_json(made, a) from duet.account a where a.id = made.user_id));
exception when unique_violation then
    return private.refused('id_taken', '{"what": "sign-in"}');
end;
$$;
call private.expose('driver', 'device_redeem', 'duet_worker');
