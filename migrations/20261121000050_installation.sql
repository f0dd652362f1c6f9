-- What the processes of one installation share, and what they check before they serve.

-- The built-in issuer's key for signing access tokens. Created once, by whichever process starts first; it is not a setting. No role
-- has a grant on it, and a caller of the function below may act as any person anyway.
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

-- The applied migrations, from the ledgers of the three runners. Only the first ledger is Duet's alone: the others may list
-- migrations of the surrounding project.
create function driver.schema_version() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    ledger regclass;
    own text[];
    shared text[];
    more text[];
begin
    -- Each is queried only if it exists, and dynamically: `supabase db lint` checks static statements.
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

-- Proves that writes work: fails if they do not, and returns after one has.
create function driver.prove_writable() returns jsonb
language sql volatile security definer set search_path = '' as $$
    update duet.installation set proved_at = private.now();
    select private.ok('null');
$$;
call private.expose('driver', 'prove_writable', 'duet_worker');

-- Sets what the operator lets a turn cost, as configured in the processes' settings: the last one to start wins. Until it is set, a
-- turn has the limits of duet_core::domain::TurnLimits.
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
