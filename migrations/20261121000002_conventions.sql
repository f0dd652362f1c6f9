-- What all functions share: answers, time, ids, hashes.
--
-- A function answers {"ok": …} or {"refused": {"code": …, "args": {…}}}: `not_found`, or a code of duet_core::refusal::Refusal, which
-- holds its sentence. A refusal is data, not an error, so that what was written on the way (audit rows, counters) commits. Only
-- broken requests raise.

create function private.ok(answer jsonb) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object('ok', answer)
$$;

create function private.refused(code text, args jsonb default '{}') returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object('refused', case args when '{}' then jsonb_build_object('code', code)
                                         else jsonb_build_object('code', code, 'args', args) end)
$$;

-- Nothing finer than a millisecond leaves the database.
create function private.now() returns timestamptz
language sql volatile set search_path = '' as $$
    select date_trunc('milliseconds', clock_timestamp())
$$;

create function private.millis(at timestamptz) returns bigint
language sql immutable set search_path = '' as $$
    select (extract(epoch from at) * 1000)::bigint
$$;

-- The times that rows may hold: finite, and within the years that every reader supports (duet_core::Timestamp::EARLIEST and LATEST).
create function private.is_time(at timestamptz) returns boolean
language sql immutable set search_path = '' as $$
    select at between '0001-01-01 00:00:00+00'::timestamptz and '9999-12-30 00:00:00+00'::timestamptz
$$;

-- A UUIDv7 (RFC 9562), for rows that only the database creates. (uuidv7() needs Postgres 18.)
create function private.new_id() returns uuid
language sql volatile set search_path = '' as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid()) placing substring(int8send(private.millis(private.now())) from 3) from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid
$$;

-- SHA-256 over length-prefixed fields, as in duet_core::crypto: no byte can move from one field into the next.
create function private.hash_of(variadic fields bytea[]) returns bytea
language sql immutable set search_path = '' as $$
    select sha256(string_agg(int8send(length(field)::bigint) || field, ''::bytea order by place))
    from unnest(fields) with ordinality as t (field, place)
$$;

-- Labels (duet_core::domain::Labels) are bits, so that text made of several texts carries the union of their labels: 1 untrusted, 2
-- for local models only, 4 sensitive, 8 contains another member's shared memory.
create function private.labels_json(labels int) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_build_object(
        'integrity', case labels & 1 when 0 then 'trusted' else 'untrusted' end,
        'egress', case labels & 2 when 0 then 'any' else 'local_only' end,
        'sensitive', labels & 4 <> 0, 'others', labels & 8 <> 0)
$$;

create function private.labels_only_worsen() returns trigger
language plpgsql set search_path = '' as $$
begin
    raise exception 'labels only get worse' using errcode = 'restrict_violation';
end;
$$;

-- Names that people choose have 1 to 80 characters.
create function private.is_name(name text) returns boolean
language sql immutable set search_path = '' as $$
    select char_length(btrim(name)) between 1 and 80
$$;

-- How many rows to fetch for a page: one more than it shows, to know whether there are more.
create function private.page_size(wanted int) returns int
language sql immutable set search_path = '' as $$
    select least(greatest(wanted, 1), 200) + 1
$$;

call private.expose('private', 'ok', 'authenticated', 'duet_agent');
call private.expose('private', 'refused', 'authenticated', 'duet_agent');
call private.expose('private', 'now', 'authenticated', 'duet_agent');
call private.expose('private', 'millis', 'authenticated', 'duet_agent');
call private.expose('private', 'new_id', 'authenticated', 'duet_agent');
call private.expose('private', 'labels_json', 'authenticated', 'duet_agent');
call private.expose('private', 'labels_only_worsen');
call private.expose('private', 'is_name', 'authenticated', 'duet_agent');
call private.expose('private', 'is_time', 'authenticated', 'duet_agent');
call private.expose('private', 'page_size', 'authenticated', 'duet_agent');
call private.expose('private', 'hash_of');
