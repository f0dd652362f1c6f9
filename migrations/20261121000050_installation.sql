-- What processes of one installation share, and what they check before they serve.

-- What the built-in issuer signs access tokens with. Made once, by whichever process comes first; nobody has it as a setting. No role
-- has a grant on it, and whoever may call the function below may act as any person anyway.
create table duet.issuer (
    id          int primary key default 1 check (id = 1),
    signing_key bytea not null check (length(signing_key) = 32),
    made_at     timestamptz(3) not null
);
call private.seclude('duet.issuer');

create function driver.signing_key(p_candidate bytea) returns jsonb
language sql volatile security definer set search_path = '' as $$
    insert into duet.issuer (signing_key, made_at) values (p_candidate, private.now()) on conflict do nothing;
    select private.ok(to_jsonb(encode(signing_key, 'hex'))) from duet.issuer;
$$;
call private.expose('driver', 'signing_key', 'duet_worker');

-- Which migrations are applied, by the ledgers of the three runners. Only the first is Duet's alone: the others may name migrations
-- of the project around it.
create function driver.schema_version() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    ledger regclass;
    own text[];
    shared text[];
    more text[];
begin
    -- Each is named when it is there: `supabase db lint` looks into statements that are written out.
    ledger := to_regclass('duet_migrations.applied');
    if ledger is not null then
        execute format('select array_agg(version::text order by version) from %s where success', ledger) into own;
    end if;
    ledger := to_regclass('supabase_migrations.schema_migrations');
    if ledger is not null then
        execute format('select array_agg(version::text order by version) from %s', ledger) into shared;
    end if;
    ledger := to_regclass('public._sqlx_migrations');
    if ledger is not null then
        execute format('select array_agg(version::text order by version) from %s where success', ledger) into more;
    end if;
    return private.ok(jsonb_build_object(
        'own', to_jsonb(coalesce(own, '{}')), 'shared', to_jsonb(coalesce(shared, '{}') || coalesce(more, '{}'))));
end;
$$;
call private.expose('driver', 'schema_version', 'duet_worker');

-- Whether anything can be written: it fails where it cannot, and answers once it was.
create function driver.prove_writable() returns jsonb
language sql volatile security definer set search_path = '' as $$
    update duet.installation set proved_at = private.now();
    select private.ok('null');
$$;
call private.expose('driver', 'prove_writable', 'duet_worker');

-- What the operator lets a turn cost, as the processes have it in their settings: whoever starts last says it. Without these a turn has the
-- bounds of duet_core::domain::TurnLimits.
create function driver.set_turn_limits(p_limits jsonb) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
    bounds jsonb := private.known_turn_limits(p_limits);
begin
    if bounds is null then
        return private.refused('turn_limits');
    end if;
    update duet.installation set turn_limits = bounds where turn_limits is distinct from bounds;
    return private.ok('null');
end;
$$;
call private.expose('driver', 'set_turn_limits', 'duet_worker');
