-- The audit log: one hash chain per workspace. Its head is kept apart so that a truncated log is noticed.

create table duet.audit_entry (
    workspace_id uuid not null references duet.workspace (id),
    seq          bigint not null,
    id           uuid not null,
    actor        uuid not null,
    agent_id     uuid,
    action       text not null check (length(action) between 1 and 100),
    target       text not null check (length(target) <= 400),
    outcome      text not null check (outcome in ('done', 'refused', 'failed')),
    details      text not null check (length(details) <= 16384), -- JSON as it was hashed
    at           timestamptz(3) not null,
    chain_hash   bytea not null check (length(chain_hash) = 32),
    primary key (workspace_id, seq)
);

create table duet.audit_head (
    workspace_id uuid primary key references duet.workspace (id),
    seq          bigint not null,
    hash         bytea not null check (length(hash) = 32)
);

call private.seclude('duet.audit_entry');
call private.seclude('duet.audit_head');

-- Makes rows write-once, for their owner too: changing one requires dropping the trigger first, and `duet audit verify` then finds
-- the change.
create function private.append_only() returns trigger
language plpgsql set search_path = '' as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end;
$$;
call private.expose('private', 'append_only');

create trigger audit_entry_fixed before update or delete on duet.audit_entry
    for each row execute function private.append_only();
create trigger audit_entry_kept before truncate on duet.audit_entry
    for each statement execute function private.append_only();

grant select on duet.audit_entry, duet.audit_head to authenticated;
create policy audit_entry_read on duet.audit_entry for select to authenticated
    using (workspace_id = any (array(select private.my_own_workspaces())));
create policy audit_head_read on duet.audit_head for select to authenticated
    using (workspace_id = any (array(select private.my_own_workspaces())));

-- Writes an entry in the same transaction as the action it records. Only definer functions call it.
create function private.record_audit(
    workspace uuid, actor uuid, agent uuid, action text, target text, outcome text, details text
) returns duet.audit_entry
language plpgsql volatile set search_path = '' as $$
declare
    head duet.audit_head;
    entry duet.audit_entry;
begin
    insert into duet.audit_head values (workspace, 0, decode(repeat('00', 32), 'hex')) on conflict do nothing;
    select * into strict head from duet.audit_head h where h.workspace_id = workspace for update;
    entry := row(workspace, head.seq + 1, private.new_id(), actor, agent, action, target, outcome, details, private.now(), null);
    entry.chain_hash := private.hash_of(
        'duet.audit.v1'::bytea, head.hash, uuid_send(entry.id), uuid_send(workspace), int8send(entry.seq), uuid_send(actor),
        coalesce(uuid_send(agent), ''::bytea), convert_to(action, 'UTF8'), convert_to(target, 'UTF8'), convert_to(outcome, 'UTF8'),
        convert_to(details, 'UTF8'), int8send(private.millis(entry.at)));
    insert into duet.audit_entry values (entry.*);
    update duet.audit_head h set seq = entry.seq, hash = entry.chain_hash where h.workspace_id = workspace;
    return entry;
end;
$$;
call private.expose('private', 'record_audit');

-- Records an action of a person or of their agent: the actor comes from the claims, never from an argument. Only the definer
-- functions that perform the actions call it.
create function private.audit(workspace uuid, action text, target text, outcome text default 'done', details jsonb default '{}')
returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
    if workspace not in (select private.my_workspaces()) then
        raise exception 'no audit entry in a workspace that is not yours' using errcode = 'insufficient_privilege';
    end if;
    perform private.record_audit(
        workspace, (select auth.uid()),
        case when current_setting('role', true) = 'duet_agent' then nullif(current_setting('duet.agent_id', true), '')::uuid end,
        action, target, outcome, details::text);
end;
$$;
call private.expose('private', 'audit');

create function private.audit_json(entry duet.audit_entry) returns jsonb
language sql immutable set search_path = '' as $$
    select to_jsonb(entry) || jsonb_build_object('details', entry.details::jsonb, 'chain_hash', encode(entry.chain_hash, 'hex'))
$$;
call private.expose('private', 'audit_json', 'authenticated');

-- duet_core::ports::AuditLog::append. The server records what no store sees (sign-ins, tool outcomes); a person cannot.
create function driver.audit_append(
    p_workspace uuid, p_actor uuid, p_agent uuid, p_action text, p_target text, p_outcome text, p_details text
) returns jsonb
language sql volatile security definer set search_path = '' as $$
    select private.ok(private.audit_json(
        private.record_audit(p_workspace, p_actor, p_agent, p_action, p_target, p_outcome, p_details)))
$$;
call private.expose('driver', 'audit_append', 'duet_worker');

-- duet_core::ports::AuditLog::entries
create function public.audit_entries(p_workspace uuid, p_before bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select case when private.my_role(p_workspace) = 'owner' then private.ok(coalesce(jsonb_agg(private.audit_json(e) order by e.seq desc), '[]'))
                else private.refused('owners_only') end
    from (select * from duet.audit_entry e
          where e.workspace_id = p_workspace and (p_before is null or e.seq < p_before)
          order by e.seq desc limit private.page_size(p_limit)) e
$$;
call private.expose('public', 'audit_entries', 'authenticated');
